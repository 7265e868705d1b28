import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FileFormatError } from 'diffusion-native';
import { describe, expect, test } from 'vitest';
import { parseResult, readResult } from '../../bench/schema.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { measurement, result } from './results.js';

const scratch = temporaryFolder();
const folder = join(__dirname, '..', '..', 'bench', 'results');

describe('result files', () => {
  test('a result passes as it is', () => {
    const whole = result({ measurements: [measurement('conv')], note: 'by hand' });
    expect(parseResult(JSON.parse(JSON.stringify(whole)), 'a.json')).toEqual(whole);
  });

  test('every result of the suite in bench/results passes', async () => {
    const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
    const ofSuite = files.filter((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')).benchmark === 'suite');
    for (const name of ofSuite) await expect(readResult(join(folder, name)), name).resolves.toBeDefined();
  });

  const wrong: [string, unknown, RegExp][] = [
    ['another benchmark', { ...result(), benchmark: 'unet' }, /'a\.json'.*benchmark: /],
    ['another format', { ...result(), format: 2 }, /'a\.json' has format 2, .* reads format 1/],
    [
      'a time that is not positive',
      result({ measurements: [measurement('a'), measurement('b', 0)] }),
      /measurements\.1\.sides\.ours\.seconds\.median: /,
    ],
    ['a time without end', result({ measurements: [measurement('a', JSON.parse('1e999'))] }), /seconds\.median: /],
    ['a field that nobody knows', { ...result(), extra: 1 }, /extra: /],
    ['a missing field', { ...result(), threads: undefined }, /threads: /],
    ['no object', 'text', /'a\.json' is not a result/],
  ];
  test.each(wrong)('%s is refused by the name of the field', (_, value, message) => {
    expect(() => parseResult(value, 'a.json')).toThrow(FileFormatError);
    expect(() => parseResult(value, 'a.json')).toThrow(message);
  });

  test('a file that is missing or not JSON is named', async () => {
    const path = join(scratch, 'broken.json');
    await expect(readResult(path)).rejects.toThrow(path);
    writeFileSync(path, '{');
    await expect(readResult(path)).rejects.toThrow(/broken\.json/);
  });
});
