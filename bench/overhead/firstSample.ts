// A program that draws one image of a small network and prints when it had it: milliseconds since 1970.
import { openDevice, Sampler } from 'diffusion-native';
import { smallModel } from './smallModel.js';

async function main(id: string, threads: number): Promise<void> {
  const device = await openDevice(id, { threads });
  const { model, diffusion } = smallModel(device);
  const steps = id.startsWith('emulator') ? 2 : 10;
  const images = await new Sampler(diffusion, model, { method: 'ddim', steps }).sample({ count: 1, seed: 1 });
  await images.read();
  console.log(Date.now());
  await device.close();
}

void main(process.argv[2] as string, Number(process.argv[3]));
