import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(__dirname, '..', '..');
const library = JSON.stringify(join(root, 'dist', 'index.js'));

/** Runs a program in a Node process of its own; what it prints, and how it ended. */
function node(
  program: string,
  ...flags: string[]
): Promise<{ code: number | string | null; output: string; milliseconds: number }> {
  const start = performance.now();
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...flags, '-e', `const { openDevice, ops } = require(${library});\n${program}`],
      (error, stdout, stderr) =>
        resolve({
          code: error ? (error.signal ?? error.code ?? 1) : 0,
          output: stdout + stderr,
          milliseconds: performance.now() - start,
        }),
    );
  });
}

/** Some seconds of queued work. */
const flood = `
  async function flood() {
    const device = await openDevice('cpu');
    const x = device.randn([4_000_000], { seed: 1 });
    for (let i = 0; i < 2000; i++) ops.silu(x).dispose();
    return device;
  }`;

describe('a process ends cleanly', () => {
  test('by itself, without close(), when nothing is awaited', async () => {
    const { code, output } = await node(
      `openDevice('cpu').then((device) => { ops.silu(device.zeros([10])); console.log('done'); });`,
    );
    expect(output).toBe('done\n');
    expect(code).toBe(0);
  });

  test('stays alive while a read is pending', async () => {
    const { code, output } = await node(
      `openDevice('cpu').then((device) => ops.silu(device.full([3], 0)).read()).then((values) => console.log(values.length));`,
    );
    expect(output).toBe('3\n');
    expect(code).toBe(0);
  });

  test('by process.exit() with work queued, at once', async () => {
    const { code, output, milliseconds } = await node(`${flood}\nflood().then(() => process.exit(7));`);
    expect(output).toBe('');
    expect(code).toBe(7);
    expect(milliseconds).toBeLessThan(5000);
  });

  test('by an uncaught exception with work queued', async () => {
    const { code, output } = await node(`${flood}\nflood().then(() => setImmediate(() => { throw new Error('mine'); }));`);
    expect(code).toBe(1);
    expect(output).toContain('Error: mine');
  });

  test('after close()', async () => {
    const { code } = await node(`openDevice('cpu').then((device) => device.close());`);
    expect(code).toBe(0);
  });
});

describe('forgotten tensors', () => {
  test('are freed by the garbage collector once the event loop turns', async () => {
    const { code, output } = await node(
      `(async () => {
        const device = await openDevice('cpu');
        let most = 0;
        for (let i = 0; i < 300; i++) {
          ops.silu(device.zeros([250_000]));
          if (i % 10 === 9) { global.gc(); await device.synchronize(); await new Promise(setImmediate); }
          most = Math.max(most, device.memory().usedBytes);
        }
        console.log(most < 60e6);
      })();`,
      '--expose-gc',
    );
    expect(output).toBe('true\n');
    expect(code).toBe(0);
  });

  test('are reported to V8, so that it collects by itself', async () => {
    const { output } = await node(
      `(async () => {
        const device = await openDevice('cpu');
        let most = 0;
        for (let i = 0; i < 2000; i++) {
          device.zeros([250_000]);
          if (i % 5 === 4) await device.synchronize();
          most = Math.max(most, device.memory().usedBytes);
        }
        console.log(most < 1e9 ? 'bounded' : most);
      })();`,
    );
    expect(output).toBe('bounded\n'); // 2 GB were allocated
  });
});
