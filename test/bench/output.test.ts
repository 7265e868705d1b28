import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FileFormatError } from 'diffusion-native';
import { describe, expect, test } from 'vitest';
import { checkWritable, resultText, writeFile } from '../../bench/output.js';
import { parseResult, readResult } from '../../bench/schema.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { measurement, result } from './results.js';

const folder = temporaryFolder();
const committed = join(__dirname, '..', '..', 'bench', 'results');
const whole = () => result({ measurements: [measurement('one'), measurement('two, 3 → 4')], note: 'by "hand"' });

describe('the text of a result', () => {
  test('has a line for each measurement and says what the result says', () => {
    const text = resultText(whole());
    expect(JSON.parse(text)).toEqual(whole());
    for (const one of whole().measurements) expect(text.split('\n')).toContainEqual(expect.stringContaining(JSON.stringify(one)));
    expect(text.endsWith('}\n')).toBe(true);
  });

  test('of an empty result, and of one without a note, is JSON', () => {
    expect(JSON.parse(resultText(result()))).toEqual(result());
    expect(JSON.parse(resultText({ ...result(), note: undefined }))).toEqual(result());
  });

  test('is read, and so is an indented one', async () => {
    for (const text of [resultText(whole()), JSON.stringify(whole(), null, 2)]) {
      writeFileSync(join(folder, 'either.json'), text);
      await expect(readResult(join(folder, 'either.json'))).resolves.toEqual(whole());
    }
  });

  test('is that of the results of the suite in bench/results', () => {
    const texts = readdirSync(committed).map((name) => readFileSync(join(committed, name), 'utf8'));
    for (const text of texts.filter((one) => JSON.parse(one).benchmark === 'suite'))
      expect(text === resultText(parseResult(JSON.parse(text), 'a committed result'))).toBe(true);
  });
});

describe('files that are to be written', () => {
  test('are left as they are by the look ahead, which makes their folder', async () => {
    const there = join(folder, 'there.json');
    writeFileSync(there, 'before');
    await checkWritable(there);
    expect(readFileSync(there, 'utf8')).toBe('before');
    const absent = join(folder, 'made', 'absent.json');
    await checkWritable(absent);
    expect(existsSync(absent)).toBe(false);
    expect(readdirSync(join(folder, 'made'))).toEqual([]);
  });

  test.each(['checkWritable', 'writeFile'])('fail by their name where they cannot be written: %s', async (name) => {
    const attempt = (path: string) => (name === 'writeFile' ? writeFile(path, 'x') : checkWritable(path));
    writeFileSync(join(folder, 'file'), '');
    for (const path of [folder, join(folder, 'file', 'below.json')]) {
      await expect(attempt(path)).rejects.toThrow(FileFormatError);
      await expect(attempt(path)).rejects.toThrow(path);
    }
  });
});
