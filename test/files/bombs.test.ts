import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { FileFormatError } from '../../lib/errors.js';
import { parseJson } from '../../lib/files/json.js';
import { readSafetensors } from '../../lib/files/safetensors.js';
import { processOf } from '../../lib/files/schedulerConfig.js';
import { readStateDict } from '../../lib/files/torch/stateDict.js';
import { craftSafetensors } from '../support/craft.js';
import { delayDuring, quietest } from '../support/eventLoop.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { zipOf } from '../support/torchFile.js';

const temporary = temporaryFolder();
const latin = (text: string) => Buffer.from(text, 'latin1');

/** Refused by a typed error within seconds and within some hundred megabytes. */
async function expectRefused(read: () => unknown, message: RegExp): Promise<void> {
  const start = performance.now();
  const before = process.resourceUsage().maxRSS;
  const error = await Promise.resolve()
    .then(read)
    .then(
      () => undefined,
      (reason) => reason as Error,
    );
  expect(error).toBeInstanceOf(FileFormatError);
  expect(error?.message).toMatch(message);
  expect(error?.message.length).toBeLessThan(2000);
  expect(performance.now() - start).toBeLessThan(10_000);
  expect((process.resourceUsage().maxRSS - before) / 1024).toBeLessThan(700);
}

async function torchFile(pickle: Buffer, deflate = false): Promise<string> {
  const path = join(temporary, 'bomb.pt');
  await writeFile(path, zipOf({ 'a/data.pkl': pickle }, { deflate }));
  return path;
}

/** Tuples of two of the one before: 2³⁰ leaves. */
const laughs = latin(`\x80\x02Nq\x00${'h\x00h\x00\x86q\x00'.repeat(30)}.`);

test.each<[string, Buffer, RegExp]>([
  ['tuples that share tuples', laughs, /ends with 31 values/],
  ['marks within marks', latin('('.repeat(1_500_000)), /cut short/],
  ['lists within lists', latin(`${']'.repeat(500_000)}${'a'.repeat(499_999)}.`), /must hold a dictionary/],
  ['a key of lists within lists', latin(`}${']'.repeat(50_000)}${'a'.repeat(49_999)}Ns.`), /none among its entries \[\[\[/],
  ['instructions without end', latin('N0'.repeat(2_000_000)), /more than 2000000 instructions/],
  ['a memo of everything', latin(`N${'\x94'.repeat(1_999_000)}`), /cut short/],
  [
    'a large string again and again',
    latin(`X\x00\x00\x10\x00${'y'.repeat(1 << 20)}q\x00${'h\x00'.repeat(900_000)}.`),
    /ends with 900001 values/,
  ],
  ['a name of a megabyte', latin(`c${'y'.repeat(1 << 20)}\nz\n.`), /names y+/],
  ['a dictionary of numbers', latin(`}(${'K\x01N'.repeat(600_000)}u.`), /none among its entries 1/],
])('pickles: %s', async (_, pickle, message) => {
  const path = await torchFile(pickle);
  await expectRefused(() => readStateDict(path), message);
});

test('a deflated pickle of a gigabyte, honest or not', async () => {
  const packed = deflateRawSync(Buffer.alloc(1 << 26, ']'));
  for (const claimed of [1 << 26, 1 << 12, 1 << 30, 0xffffffff]) {
    const path = join(temporary, 'bomb.pt');
    const claim = (record: Buffer) => {
      record.writeUInt16LE(8, 10);
      record.writeUInt32LE(claimed, 24);
    };
    await writeFile(path, zipOf({ 'a/data.pkl': packed }, { record: claim }));
    await expectRefused(() => readStateDict(path), /more than|cannot hold/);
  }
});

test('a long pickle does not hold up the event loop', async () => {
  const path = await torchFile(latin(`${'}0'.repeat(900_000)}N.`));
  const delay = await quietest(3, () => delayDuring(() => expectRefused(() => readStateDict(path), /must hold a dictionary/)));
  expect(delay).toBeLessThan(10);
});

test.each<[string, string]>([
  ['arrays within arrays', '['.repeat(200_000)],
  ['closed ones too', `${'['.repeat(200_000)}NaN${']'.repeat(200_000)}`],
  ['objects within objects', '{"a":'.repeat(100_000)],
  ['a string that does not end', `{"a": "${'\\"'.repeat(1_000_000)}`],
  ['quotation marks', '"'.repeat(1_000_001)],
  ['backslashes', `"${'\\'.repeat(1_000_001)}`],
  ['minus signs', '-'.repeat(1_000_000)],
])('JSON: %s', async (_, text) => {
  await expectRefused(() => parseJson(text, 'it'), /it is not valid JSON/);
});

test('a configuration of arrays within arrays', async () => {
  const config = `{"beta_schedule": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  await expectRefused(() => processOf(parseJson(config, 'it'), 'it'), /got \[\[\[\[…\]\]\]\]/);
});

test('headers of safetensors', async () => {
  const path = join(temporary, 'bomb.safetensors');
  for (const header of [
    `{"a":${'['.repeat(300_000)}${']'.repeat(300_000)}}`,
    `{"a":{"dtype":"F32","shape":[${'4294967296,'.repeat(30)}1],"data_offsets":[0,4]}}`,
    `{"a":{"dtype":"F32","shape":[${'1,'.repeat(300_000)}1],"data_offsets":[0,8]}}`,
    `{${'"\\u0061":{},'.repeat(100_000)}"b":{}}`,
  ]) {
    await craftSafetensors(path, header, new Uint8Array(4));
    await expectRefused(() => readSafetensors(path), /tensor 'a'|names 'a' twice/);
  }
});
