import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { addon, operations } from '../../lib/native.js';

/** The test file of every operation that the addon exports. */
const testedIn: Record<(typeof operations)[number], string> = {
  conv2d: 'conv2d',
  conv2dBackwardData: 'conv2d',
  conv2dBackwardWeights: 'conv2d',
  linear: 'linear',
  linearBackwardData: 'linear',
  linearBackwardWeights: 'linear',
  linearGroup: 'linearGroup',
  linearGroupBackwardData: 'linearGroup',
  linearGroupBackwardWeights: 'linearGroup',
  groupNorm: 'groupNorm',
  groupNormBackward: 'groupNorm',
  attention: 'attention',
  attentionBackward: 'attention',
  silu: 'elementwise',
  siluBackward: 'elementwise',
  add: 'elementwise',
  mul: 'elementwise',
  scale: 'elementwise',
  dropout: 'elementwise',
  fill: 'layout',
  cast: 'layout',
  permute: 'layout',
  concat: 'layout',
  split: 'layout',
  upsample: 'upsample',
  upsampleBackward: 'upsample',
  avgPool2d: 'pooling',
  avgPool2dBackward: 'pooling',
  maxPool2d: 'pooling',
  maxPool2dBackward: 'pooling',
  activation: 'activation',
  activationBackward: 'activation',
  softmax: 'softmax',
  softmaxBackward: 'softmax',
  layerNorm: 'layerNorm',
  layerNormBackward: 'layerNorm',
  broadcast: 'broadcast',
  reduceSum: 'broadcast',
  pad: 'pad',
  place: 'pad',
  timestepEmbedding: 'embedding',
  embedding: 'embedding',
  embeddingBackward: 'embedding',
  noising: 'process',
  blend: 'process',
  gather: 'process',
  reverseStep: 'reverseStep',
  threshold: 'threshold',
  modelVariance: 'variational',
  variationalBound: 'variational',
  variationalBoundBackward: 'variational',
  importanceTimesteps: 'timesteps',
  recordLosses: 'timesteps',
  mean: 'reduce',
  meanBackward: 'reduce',
  sumPixels: 'reduce',
  mseLoss: 'reduce',
  mseLossBackward: 'reduce',
  randomNormal: 'random',
  randomUniform: 'random',
  randomIntegers: 'random',
  advanceSeed: 'random',
  gradientNorm: 'adamW',
  adamW: 'adamW',
};

/** What an operation's backward pass is called by, in the tests: the operation itself. */
const forward = (name: string): string => (name === 'split' ? 'concat' : name.replace(/Backward(Data|Weights)?$/, ''));

const engine = [
  'abandonRecording',
  'abi',
  'alias',
  'allocate',
  'beginRecording',
  'destroy',
  'download',
  'endRecording',
  'halt',
  'list',
  'memory',
  'open',
  'pauseRecording',
  'programWork',
  'release',
  'releaseProgram',
  'resumeRecording',
  'runProgram',
  'start',
  'synchronize',
  'upload',
  'uploadInPlace',
];

test('the addon exports the operations, the engine, and nothing else', () => {
  expect(Object.keys(addon()).sort()).toEqual([...operations, ...engine].sort());
});

test.each([...operations])('%s has a test', (name) => {
  const source = readFileSync(join(__dirname, `${testedIn[name]}.test.ts`), 'utf8');
  expect(new RegExp(`\\b${forward(name)}\\b`).test(source)).toBe(true);
});

test('every family of operations has one source in each backend, under one stem', () => {
  const native = join(__dirname, '..', '..', 'native');
  const stems = (folder: string, extension: string): string[] =>
    readdirSync(join(native, folder))
      .filter((name) => name.endsWith(extension))
      .map((name) => name.slice(0, -extension.length));
  const families = stems('core/ops', '.h').filter((stem) => stem !== 'check' && stem !== 'ops');
  expect(stems('cpu', '.cc')).toEqual(expect.arrayContaining(families));
});
