import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eachDevice } from '../support/devices.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { readTrace } from '../support/trace.js';

const folder = temporaryFolder();
const library = JSON.stringify(join(__dirname, '..', '..', 'dist'));

eachDevice((id) => {
  let files = 0;
  /** Runs a program of its own in an empty folder, with DIFFUSION_PROFILE = `profile`. */
  const run = (body: string, profile?: string) => {
    const cwd = join(folder, `${id}-${files++}`);
    const { DIFFUSION_PROFILE: _, ...env } = process.env;
    const program = `
      const { ops, openDevice } = require(${library});
      const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      (async () => {
        const device = await openDevice('${id}');
        ${body}
      })();`;
    const setUp = `require('node:fs').mkdirSync(${JSON.stringify(cwd)}); process.chdir(${JSON.stringify(cwd)});`;
    const result = spawnSync(process.execPath, ['-e', setUp + program], {
      encoding: 'utf8',
      env: profile === undefined ? env : { ...env, DIFFUSION_PROFILE: profile },
    });
    expect(result.stderr).toBe('');
    return { cwd, signal: result.signal };
  };
  const names = (cwd: string, file = 'trace.json') => readTrace(join(cwd, file)).events.map(({ name }) => name);

  test('nothing is written unless asked for', () => {
    expect(readdirSync(run('await ops.silu(device.zeros([3])).read();').cwd)).toEqual([]);
    expect(readdirSync(run('await ops.silu(device.zeros([3])).read();', '').cwd)).toEqual([]);
  });

  test('the environment names the file; what has run is in it when the process ends without closing', () => {
    const { cwd } = run('await ops.silu(device.zeros([3])).read();', 'trace.json');
    expect(names(cwd)).toEqual(['fill', 'silu', 'download']);
  });

  test('or calls process.exit()', () => {
    const { cwd } = run('await ops.silu(device.zeros([3])).read(); process.exit(0);', 'trace.json');
    expect(names(cwd)).toEqual(['fill', 'silu', 'download']);
  });

  test('a process that is killed leaves what was written by then, whole', () => {
    const body =
      "ops.silu(device.zeros([3])); await device.synchronize(); device.zeros([5]); process.kill(process.pid, 'SIGKILL');";
    const { cwd, signal } = run(body, 'trace.json');
    expect(signal).toBe('SIGKILL');
    expect(names(cwd).slice(0, 2)).toEqual(['fill', 'silu']);
  });

  test('a command more than half a second after the last write takes the others with it', () => {
    const body = `
      ops.silu(device.zeros([3]));
      for (let i = 0; i < 3; i++) await sleep(300), device.zeros([5]);
      await sleep(100);
      process.kill(process.pid, 'SIGKILL');`;
    expect(names(run(body, 'trace.json').cwd).slice(0, 3)).toEqual(['fill', 'silu', 'fill']);
  });

  test('a device that is lost leaves the trace as it was before', (context) => {
    if (id !== 'emulator') return context.skip('only the emulator can be lost at will');
    const { cwd } = run(
      `
      const x = device.zeros([8, 64, 8]);
      await device.synchronize();
      device.native.sumPixels(x.handle, device.native.alias(x.handle, 0, 8, 8)); // blocks write what others read
      const messages = [];
      for (let i = 0; i < 3; i++) await ops.silu(x).read().catch(({ message }) => messages.push(message));
      if (messages.length < 3 || !messages.every((message) => /cudaErrorLaunchFailure/.test(message))) console.error(messages);
      await device.close();`,
      'trace.json',
    );
    expect(names(cwd)).toEqual(['fill']);
  });

  test('workers share the file, whether they close their devices or end', () => {
    const worker = join(folder, `${id}-worker.cjs`);
    writeFileSync(
      worker,
      `const { ops, openDevice } = require(${library});
       openDevice('${id}').then(async (device) => {
         for (let i = 0; i < 50; i++) await ops.silu(device.zeros([3])).read();
       });`,
    );
    const body = `
      const { Worker } = require('node:worker_threads');
      const ends = [1, 2].map(() => new Promise((resolve) => new Worker(${JSON.stringify(worker)}).once('exit', resolve)));
      for (let i = 0; i < 50; i++) await ops.silu(device.zeros([3])).read();
      await Promise.all(ends);
      await device.close();`;
    const { cwd } = run(body, 'trace.json');
    const { events, rows } = readTrace(join(cwd, 'trace.json'));
    expect(rows.size).toBe(3);
    expect(new Set(rows.values()).size).toBe(1);
    for (const tid of rows.keys())
      expect(events.filter((event) => event.tid === tid).map(({ name }) => name)).toEqual(
        Array(50).fill(['fill', 'silu', 'download']).flat(),
      );
  });
});
