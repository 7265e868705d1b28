import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = join(__dirname, '../..');
const reason = existsSync(join(root, 'dist/index.mjs')) ? undefined : 'skipped: dist is not built, run `npm run build:ts`';

const typedConsumer = `
import { NoiseSchedule, openDevice } from 'diffusion-native';
const schedule: NoiseSchedule = NoiseSchedule.linear({ timesteps: 10 });
export const betas: Float64Array = schedule.betas;
export const opened: Promise<{ close(): Promise<void> }> = openDevice('cpu');
// @ts-expect-error an option that does not exist
NoiseSchedule.linear({ timestep: 10 });
`;

const esmConsumer = `
import { createRequire } from 'node:module';
import * as imported from 'diffusion-native';
import { NoiseSchedule } from 'diffusion-native';
const required = createRequire(import.meta.url)('diffusion-native');
const names = Object.keys(required).sort();
const interop = ['default', '__esModule', 'module.exports'];
const seen = Object.keys(imported).filter((name) => !interop.includes(name)).sort();
const same = names.filter((name) => imported[name] === required[name]);
const schedule = required.NoiseSchedule.linear({ timesteps: 10 });
console.log(JSON.stringify({ names, seen, same, instance: schedule instanceof NoiseSchedule }));
`;

/** A project that depends on this package as an installed one would. */
let project = '';

function write(name: string, text: string): void {
  writeFileSync(join(project, name), text);
}

/** Errors that the TypeScript compiler reports for one file of the project. */
function typeErrors(file: string, compilerOptions: Record<string, unknown>): string {
  const options = { ...compilerOptions, strict: true, noEmit: true, skipLibCheck: true, target: 'ES2022', types: [] };
  write('tsconfig.json', JSON.stringify({ compilerOptions: options, files: [file] }));
  try {
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project], { stdio: 'pipe' });
    return '';
  } catch (error) {
    return String((error as { stdout?: Buffer }).stdout);
  }
}

describe.skipIf(reason)(`the built package${reason ? ` (${reason})` : ''}`, () => {
  beforeAll(() => {
    project = mkdtempSync(join(tmpdir(), 'diffusion-consumer-'));
    mkdirSync(join(project, 'node_modules'));
    symlinkSync(root, join(project, 'node_modules/diffusion-native'));
    write('package.json', JSON.stringify({ name: 'consumer', private: true }));
  });
  afterAll(() => rmSync(project, { recursive: true, force: true }));

  test('import and require give the same classes', () => {
    write('consumer.mjs', esmConsumer);
    const output = execFileSync(process.execPath, ['consumer.mjs'], { cwd: project, encoding: 'utf8' });
    const { names, seen, same, instance } = JSON.parse(output);
    expect(names).toEqual(expect.arrayContaining(['NoiseSchedule', 'openDevice']));
    expect(seen).toEqual(names);
    expect(same).toEqual(names);
    expect(instance).toBe(true);
  });

  test.each([
    ['an ES module under nodenext', 'consumer.mts', { module: 'nodenext' }],
    ['a CommonJS module under nodenext', 'consumer.cts', { module: 'nodenext' }],
    ['a bundler', 'consumer.ts', { module: 'esnext', moduleResolution: 'bundler' }],
  ])('types are found by %s', (_, file, compilerOptions) => {
    write(file, typedConsumer);
    expect(typeErrors(file, compilerOptions)).toBe('');
  });

  test('the command line program starts', () => {
    const help = execFileSync(join(root, 'dist/cli/main.js'), ['--help'], { encoding: 'utf8' });
    expect(help).toMatch(/Usage: diffusion-native/);
  });

  test('the command line program goes on, without complaint, when nobody reads what it prints', async () => {
    const child = spawn(process.execPath, [join(root, 'dist/cli/main.js'), 'devices'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let stderr = '';
    child.stderr.on('data', (text) => (stderr += text));
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
    expect(stderr).toBe('');
  });
});
