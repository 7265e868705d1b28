import { type Device, GaussianDiffusion, NoiseSchedule, UNet } from 'diffusion-native';

/** Side of the images of the small model. */
export const smallSize = 16;

/** A network and its process, so small that what is not arithmetic shows. */
export function smallModel(device: Device) {
  const options = { imageSize: smallSize, baseChannels: 32, channelMults: [1, 2, 2], resBlocks: 1, attentionResolutions: [4] };
  return { model: new UNet(device, options), diffusion: new GaussianDiffusion(device, NoiseSchedule.cosine()) };
}
