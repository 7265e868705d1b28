import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { readCifar10 } from '../../lib/data/cifar10.js';
import { readIdx } from '../../lib/data/idx.js';
import { DatasetError, FileFormatError } from '../../lib/errors.js';
import { readModelFiles } from '../../lib/files/diffusers.js';
import { parseJson } from '../../lib/files/json.js';
import { readSafetensors } from '../../lib/files/safetensors.js';
import { processOf } from '../../lib/files/schedulerConfig.js';
import { TorchHost } from '../../lib/files/torch/host.js';
import { readPickle } from '../../lib/files/torch/pickle.js';
import { PickleInput } from '../../lib/files/torch/pickleInput.js';
import { readStateDict } from '../../lib/files/torch/stateDict.js';
import { TorchStorage } from '../../lib/files/torch/tensor.js';
import { findWeightFiles } from '../../lib/files/weightFiles.js';
import { readDescription } from '../../lib/training/checkpoint.js';
import { jsonTokens, mutate, numbers } from '../support/mutate.js';
import { goldenPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { pickleOf, zipOf } from '../support/torchFile.js';

const temporary = temporaryFolder();
const golden = (path: string) => readFileSync(goldenPath(path));
const bytesOf = (text: string) => Buffer.from(text, 'latin1');

/** The longest that one input may take, with much else running; one that grows with the square of its size takes minutes. */
const greatestMilliseconds = 5000;
/** The most that resident memory may grow over all inputs of a reader: they are a few kilobytes each. */
const greatestGrowth = 256 << 20;

/** Reads many mutated inputs: each is read or refused by a typed error, in time. */
async function fuzz(
  count: number,
  seeds: readonly Buffer[],
  tokens: readonly Buffer[],
  read: (bytes: Buffer) => Promise<unknown>,
): Promise<void> {
  const before = process.resourceUsage().maxRSS;
  let refused = 0;
  for (let i = 0; i < count; i++) {
    const random = numbers(i);
    const bytes = mutate(seeds[i % seeds.length] as Buffer, random, seeds, tokens);
    const start = performance.now();
    try {
      await read(bytes);
    } catch (error) {
      if (!(error instanceof FileFormatError || error instanceof DatasetError))
        throw new Error(`input ${i} (${bytes.length} bytes): ${(error as Error).stack}`, { cause: error });
      refused++;
    }
    expect(performance.now() - start, `milliseconds of input ${i}`).toBeLessThan(greatestMilliseconds);
  }
  expect((process.resourceUsage().maxRSS - before) * 1024, 'growth in bytes').toBeLessThan(greatestGrowth);
  expect(refused, 'inputs refused').toBeGreaterThan(count / 20);
}

/** A reader of files by path, each input under the same name. */
function throughFile(name: string, read: (path: string) => Promise<unknown>): (bytes: Buffer) => Promise<unknown> {
  const path = join(temporary, name);
  mkdirSync(join(path, '..'), { recursive: true });
  return (bytes) => {
    writeFileSync(path, bytes);
    return read(path);
  };
}

async function readAll(tensors: ReadonlyMap<string, { float32(): Promise<Float32Array> }>): Promise<void> {
  for (const tensor of tensors.values()) await tensor.float32();
}

const pickleTokens = [
  ...[
    '.',
    '(',
    't',
    ')',
    'R',
    'b',
    'Q',
    '}',
    ']',
    'u',
    's',
    'a',
    'e',
    '0',
    '2',
    'N',
    '\x81',
    '\x93',
    '\x94',
    '\x85',
    '\x86',
    '\x87',
  ],
  ...[
    'cos\nsystem\n',
    'cbuiltins\neval\n',
    'ctorch\nFloatStorage\n',
    'ctorch._utils\n_rebuild_parameter\n',
    'ccollections\nOrderedDict\n',
  ],
  ...['h\x00', 'q\x00', 'j\xff\xff\xff\xff', 'X\xff\xff\xff\xff', '\x8a\x0f', 'I99999999999\n', 'Fnan\n', 'K\x00', 'M\xff\xff'],
].map(bytesOf);

const tensor = { shape: [2, 3], strides: [3, 1], offset: 0, elements: 6 };
const small = { 'a/data.pkl': pickleOf({ w: tensor, v: tensor }), 'a/data/0': Buffer.alloc(24, 63) };
const archives = [
  zipOf(small),
  zipOf(small, { deflate: true }),
  golden('files/zip64.pt'),
  golden('files/wrapped.pt'),
  golden('files/old-form.pt'),
];

test('3 000 safetensors files', async () => {
  const seeds = [golden('files/extremes.safetensors'), golden('files/forms.safetensors')];
  const read = async (path: string) => readAll((await readSafetensors(path)).tensors);
  await fuzz(3000, seeds, jsonTokens, throughFile('any.safetensors', read));
});

test('3 500 archives of PyTorch', async () => {
  await fuzz(
    3500,
    archives,
    pickleTokens,
    throughFile('any.pt', async (path) => readAll(await readStateDict(path))),
  );
});

test('1 500 legacy files of PyTorch', async () => {
  const seeds = [golden('files/forms-legacy.pt')];
  await fuzz(
    1500,
    seeds,
    pickleTokens,
    throughFile('legacy.pt', async (path) => readAll(await readStateDict(path))),
  );
});

test('8 000 pickles', async () => {
  const seeds = [
    pickleOf({ w: tensor, v: tensor }),
    pickleOf({}),
    bytesOf('(dX\x01\x00\x00\x00aI5\nsX\x01\x00\x00\x00b(lp0\nF1.5\nas.'),
  ];
  const open = (key: string, dtype: TorchStorage['dtype'], bytes: number) =>
    new TorchStorage(key, dtype, bytes, async () => new Uint8Array(0));
  await fuzz(8000, seeds, pickleTokens, (bytes) => readPickle(new PickleInput(bytes, 'it'), new TorchHost('it', 1000, open)));
});

test('4 000 configurations, lists of parts and descriptions of checkpoints', async () => {
  const folder = join(temporary, 'model');
  const config = golden('unet/d1_cifar_style/config.json');
  const scheduler = golden('unet/d1_cifar_style/scheduler_config.json');
  const models = throughFile('model/config.json', () => readModelFiles(folder));
  writeFileSync(join(folder, 'diffusion_pytorch_model.safetensors'), golden('files/extremes.safetensors'));
  await fuzz(1500, [config], jsonTokens, models);
  await fuzz(1000, [scheduler, config], jsonTokens, async (bytes) => processOf(parseJson(bytes.toString(), 'it'), 'it'));
  const index = { metadata: { total_size: 12 }, weight_map: { a: 'a.safetensors', b: 'b.safetensors' } };
  const indexName = 'parts/diffusion_pytorch_model.safetensors.index.json';
  const parts = throughFile(indexName, () => findWeightFiles(join(temporary, 'parts')));
  await fuzz(750, [bytesOf(JSON.stringify(index))], jsonTokens, parts);
  const descriptions = throughFile('run/trainer.json', () => readDescription(join(temporary, 'run')));
  await fuzz(750, [bytesOf(JSON.stringify({ step: 3, previous: ['checkpoint-1'], model: {} }))], jsonTokens, descriptions);
});

test('1 500 images in IDX files, plain and gzip, and CIFAR-10 batches', async () => {
  const idx = Buffer.concat([Buffer.from([0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5]), Buffer.alloc(60, 7)]);
  await fuzz(
    1000,
    [idx, gzipSync(idx), gzipSync(Buffer.alloc(2000))],
    [],
    throughFile('images-idx3-ubyte', (path) => readIdx(path)),
  );
  const batch = Buffer.alloc(2 * 3073, 5);
  const cifar = throughFile('cifar/test_batch.bin', () => readCifar10(join(temporary, 'cifar'), { split: 'test' }));
  await fuzz(500, [batch], [], cifar);
});
