import type { Command } from 'commander';
import { DeviceError } from '../errors.js';
import { openDevice } from '../openDevice.js';
import type { Check } from '../verification/check.js';
import { Vectors } from '../verification/vectors.js';
import { verify } from '../verification/verify.js';
import { interruptible } from './interrupt.js';
import { duration, type JsonTarget, say, writeResult } from './output.js';
import { deviceOptions, jsonOption } from './values.js';

interface VerifyArguments {
  device: string;
  threads?: number;
  vectors?: string;
  json?: JsonTarget;
}

/** `diffusion-native verify` */
export function addVerifyCommand(program: Command): void {
  const command = program
    .command('verify')
    .description('compare a device with numbers of improved-diffusion, diffusers and PyTorch that come with the package')
    .option('--vectors <folder>', 'other reference numbers, as scripts/reference-vectors.mjs writes them');
  for (const option of [...deviceOptions(), jsonOption()]) command.addOption(option);
  command.action((given: VerifyArguments) => interruptible((signal) => verifyDevice(given, signal)));
}

async function verifyDevice({ device: id, threads, vectors: folder, json }: VerifyArguments, signal: AbortSignal): Promise<void> {
  const vectors = await Vectors.load(folder);
  const device = await openDevice(id, { threads });
  const began = performance.now();
  const checks: Check[] = [];
  try {
    if (json !== true) say(json, row('case', 'quantity', 'tolerance', 'error', 'verdict'));
    for await (const check of verify(device, vectors, signal)) {
      checks.push(check);
      if (json !== true) say(json, line(check));
    }
  } finally {
    await device.close();
  }
  const failed = checks.filter(({ passed }) => !passed);
  const seconds = (performance.now() - began) / 1000;
  const summary = `${checks.length - failed.length} passed, ${failed.length} failed on ${device.info.id} (${device.info.name}) in ${duration(seconds)}`;
  say(json, summary);
  const { sources } = vectors.description;
  await writeResult(json, {
    device: device.info,
    sources,
    passed: checks.length - failed.length,
    failed: failed.length,
    seconds,
    checks,
  });
  if (failed.length > 0) throw new DeviceError(`${device.info.id} failed ${failed.length} of ${checks.length} comparisons`);
}

const row = (name: string, quantity: string, ...cells: string[]) =>
  [name.padEnd(46), quantity.padEnd(52), ...cells.map((cell) => cell.padEnd(10))].join(' ').trimEnd();

function line({ name, quantity, tolerance, error, passed }: Check): string {
  return row(name, quantity, tolerance.toExponential(0), error.toExponential(1), passed ? 'passed' : 'FAILED');
}
