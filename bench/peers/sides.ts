// Which engines take part in a case of a whole network, each in a process of its own.
import { join } from 'node:path';
import type { Network } from '../networks.js';
import { hasModule } from '../python.js';
import type { DTypeName } from '../result.js';
import type { SuiteContext } from '../suite.js';
import { type Job, samplingOf } from './jobs.js';
import { findRuntime } from './onnxRuntime.js';
import { Peer, type PeerOptions } from './peer.js';

/** A job of one network at one batch size and in one element type. */
export interface Case {
  network: Network;
  job: Job;
  batch: number;
  dtype: DTypeName;
}

/** What decides which cases there are. */
export type CaseChoice = Pick<SuiteContext, 'device' | 'dtypes' | 'quick' | 'only' | 'batches'>;

/** How a side is started. */
interface Command {
  command: string;
  program: string;
  /** What it is told besides the case. */
  more?: object;
}

const root = join(__dirname, '..', '..', '..');

/** The sides of a case by name, ours first; those of others that do not start are left out, and the user is told. */
export async function startSides(context: SuiteContext, one: Case, reference: string): Promise<Map<string, Peer>> {
  const { threads, device, ceilings } = context;
  const told: PeerOptions = { ...one, threads, device, reference, ceilings };
  const sides = new Map<string, Peer>();
  try {
    for (const [name, { command, program, more }] of Object.entries(commandsOf(context, one))) {
      const starting = Peer.start(command, program, JSON.stringify({ ...told, ...more }));
      const peer = name === 'ours' ? await starting : await starting.catch(() => null);
      if (peer) sides.set(name, peer);
      else console.error(`${name} did not start, and is left out`);
    }
  } catch (error) {
    for (const peer of sides.values()) await peer.end();
    throw error;
  }
  return sides;
}

function commandsOf({ peers, device, python, quick }: SuiteContext, { job, dtype }: Case): Record<string, Command> {
  const node = (name: string): Command => ({ command: process.execPath, program: join(__dirname, `${name}.js`) });
  const commands: Record<string, Command> = { ours: node('ours') };
  if (!peers) return commands;
  const method = samplingOf(job)?.method ?? job;
  // It computes in f32 alone, and is what one has in JavaScript.
  if (device === 'cpu' && (method === 'forward' || method === 'ddim') && findRuntime() !== null)
    commands[dtype === 'f32' ? 'onnxruntime' : 'onnxruntime f32'] = node('onnx');
  if (method !== 'dpmSolver++' && hasModule(python, 'torch'))
    for (const variant of torchVariants(device, dtype, quick))
      commands[`torch ${variant}`] = {
        command: python,
        program: join(root, 'bench', 'peers', 'torch_unet.py'),
        more: { variant },
      };
  return commands;
}

/** How PyTorch is run (bench/peers/torch_unet.py): all ways that may be its fastest. */
function torchVariants(device: string, dtype: DTypeName, quick: boolean): string[] {
  if (device.startsWith('cuda')) {
    if (dtype === 'f32') return quick ? ['graph'] : ['graph', 'compile'];
    return quick ? ['graph weights'] : ['graph', 'graph weights', 'compile', 'compile weights'];
  }
  if (device !== 'cpu') return [];
  if (quick) return ['channels_last'];
  return ['contiguous', 'channels_last', ...(dtype === 'bf16' ? ['channels_last weights'] : [])];
}

/** Says once what cannot take part here. */
export function sayWhoIsMissing({ peers, device, python }: SuiteContext): void {
  if (!peers) return;
  if (!hasModule(python, 'torch')) console.error(`PyTorch is not measured: ${python} cannot import torch (option --python)`);
  if (device === 'cpu' && findRuntime() === null)
    console.error('onnxruntime is not measured: there is no onnxruntime-node (npm install onnxruntime-node)');
}
