import type { Command } from 'commander';
import { type DeviceInfo, listDevices } from '../deviceList.js';
import { type JsonTarget, say, writeResult } from './output.js';
import { jsonOption } from './values.js';

/** `diffusion-native devices` */
export function addDevicesCommand(program: Command): void {
  program
    .command('devices')
    .description('list the devices of this machine, and why others cannot be used')
    .addOption(jsonOption())
    .action(async ({ json }: { json?: JsonTarget }) => {
      const devices = listDevices();
      if (json !== true) for (const device of devices) say(json, line(device));
      await writeResult(json, { devices });
    });
}

function line({ id, available, name, isa, computeCapability, threads, memoryBytes, reason }: DeviceInfo): string {
  if (!available) return `${id.padEnd(8)} not available: ${reason}`;
  const facts = [
    name,
    isa,
    computeCapability && `compute capability ${computeCapability}`,
    threads && `${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    memoryBytes && `${(memoryBytes / 2 ** 30).toFixed(1)} GiB`,
  ];
  return `${id.padEnd(8)} ${facts.filter(Boolean).join(', ')}`;
}
