import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FileFormatError } from '../../lib/errors.js';
import { writeFileAtomic } from '../../lib/files/atomic.js';
import { duplicateName, parseJson, readJson, writeJson } from '../../lib/files/json.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'json-'));
});
afterAll(() => rm(folder, { recursive: true }));

test("reads Python's Infinity and NaN, but not inside strings", async () => {
  const path = join(folder, 'scheduler_config.json');
  const text = '\uFEFF{"a": -Infinity, "b": [Infinity, NaN, -1.5], "c": "-Infinity, \\"NaN\\\\", "NaN": "x"}';
  await writeFile(path, text);
  expect(await readJson(path)).toEqual({ a: -Infinity, b: [Infinity, Number.NaN, -1.5], c: '-Infinity, "NaN\\', NaN: 'x' });
});

test.each(['', '{', '{"a": Infinit}', '{"a": nan}', "{'a': 1}", '{"a": "unterminated', `"${'x'.repeat(200_000)}`])(
  'text %# is no JSON',
  (text) => {
    expect(() => parseJson(text, "'config.json'")).toThrow(FileFormatError);
    expect(() => parseJson(text, "'config.json'")).toThrow(/^'config\.json' is not valid JSON: /);
  },
);

test('a missing file is a FileFormatError naming it', async () => {
  await expect(readJson(join(folder, 'none.json'))).rejects.toThrow(FileFormatError);
  await expect(readJson(join(folder, 'none.json'))).rejects.toThrow(/cannot read '.*none\.json'/);
});

test('writes sorted keys, indent 2 and a final newline', async () => {
  const path = join(folder, 'config.json');
  await writeJson(path, { b: [1, { d: null, c: 'x' }], _class_name: 'UNet2DModel', a: undefined });
  expect(await readFile(path, 'utf8')).toBe(
    '{\n  "_class_name": "UNet2DModel",\n  "b": [\n    1,\n    {\n      "c": "x",\n      "d": null\n    }\n  ]\n}\n',
  );
});

test('refuses a number that JSON cannot hold', async () => {
  const path = join(folder, 'infinite.json');
  await expect(writeJson(path, { lambda_min_clipped: -Infinity })).rejects.toThrow(/'lambda_min_clipped' is -Infinity/);
  expect(await readdir(folder)).not.toContain('infinite.json');
});

test('finds a name given twice in one object only', () => {
  expect(duplicateName('{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}], "c": "a", "d": "c:{"}')).toBeUndefined();
  expect(duplicateName('{"x": {"y": 1, "z\\"": 2, "z\\u0022" : 3}}')).toBe('z"');
});

test('writeFileAtomic takes text, bytes and pieces, and concurrent writers leave one whole file', async () => {
  const path = join(folder, 'file');
  await writeFileAtomic(path, 'text ü');
  expect(await readFile(path, 'utf8')).toBe('text ü');
  await writeFileAtomic(path, new Uint16Array([1, 2, 3]).subarray(1));
  expect([...(await readFile(path))]).toEqual([2, 0, 3, 0]);
  const writers = Array.from({ length: 8 }, (_, i) =>
    writeFileAtomic(path, async (append) => {
      for (let k = 0; k < 4; k++) await append(new Uint8Array(1000).fill(i));
    }),
  );
  await Promise.all(writers);
  const content = await readFile(path);
  expect(content.length).toBe(4000);
  expect(new Set(content).size).toBe(1);
  expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
});
