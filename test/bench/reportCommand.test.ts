import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixture, resultWith } from '../support/benchResult.js';
import { texts } from '../support/svg.js';

const program = join(__dirname, '../../dist/cli/main.js');
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'report-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The built command line program. */
function report(args: string[], nodeOptions: string[] = []) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...nodeOptions, program, 'report', ...args], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

describe('diffusion-native report', () => {
  it('writes the page and each picture as SVG and PNG', async () => {
    const [output, pictures, json] = ['page.html', 'pictures', 'done.json'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const { status, stdout, stderr } = report([fixture, '-o', output, '--pictures', pictures, '--json', json]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain(`${output}: `);
    const done = JSON.parse(await readFile(json, 'utf8')) as { report: string; pictures: string[]; leftOut: string[] };
    expect(done).toMatchObject({ report: output, leftOut: [] });
    expect(done.pictures.map((path) => path.slice(pictures.length + 1)).sort()).toEqual((await readdir(pictures)).sort());
    const page = await readFile(output, 'utf8');
    for (const path of done.pictures.filter((one) => one.endsWith('.svg'))) {
      const svg = await readFile(path, 'utf8');
      expect(page).toContain(svg);
      const [, width, height] = /^<svg width="(\d+)" height="(\d+)"/.exec(svg) as unknown as [string, string, string];
      const png = sharp(path.replace(/svg$/, 'png'));
      expect(await png.metadata()).toMatchObject({ format: 'png', width: 2 * Number(width), height: 2 * Number(height) });
      // The title is written: dark ink where it stands, on a light ground.
      const title = await png.extract({ left: 0, top: 20, width: 700, height: 60 }).greyscale().raw().toBuffer();
      expect(Math.min(...title)).toBeLessThan(80);
      expect(title.filter((value) => value < 128).length).toBeGreaterThan(200);
      expect(texts(svg).length).toBeGreaterThan(5);
    }
    expect(done.pictures.length).toBeGreaterThan(20);
  });

  it('says what is left out, and puts several results side by side', async () => {
    const bare = join(folder, 'bare.json');
    await writeFile(bare, JSON.stringify(await resultWith({ measurements: [], breakdowns: [] })));
    const output = join(folder, 'two.html');
    const { status, stdout } = report([fixture, bare, '-o', output]);
    expect(status).toBe(0);
    expect(stdout.split('\n').filter((line) => line.startsWith('bare: No '))).toHaveLength(5);
    expect(stdout).not.toContain('result: No ');
    expect(await readFile(output, 'utf8')).toContain('>bare</th>');
  });

  it('fails with one line on files that are no results', async () => {
    const broken = join(folder, 'broken.json');
    await writeFile(broken, JSON.stringify({ ...(await resultWith()), threads: 'many' }));
    expect(report([broken, '-o', join(folder, 'no.html')])).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^error: '.*broken\.json' .*threads.*\n$/),
    });
    expect(report([join(folder, 'missing.json')])).toMatchObject({ status: 1, stderr: expect.stringContaining('missing.json') });
    expect(await readdir(folder)).not.toContain('no.html');
  });

  it('does not replace a result by the page', () => {
    expect(report([fixture, '-o', fixture])).toMatchObject({ status: 2, stderr: expect.stringContaining('replace') });
    expect(report([])).toMatchObject({ status: 2 });
  });

  it('says how to install the chart library where it is missing', () => {
    const hook = `export async function resolve(name, context, next) {
      if (name !== 'echarts') return next(name, context);
      throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
    }`;
    const register = `import { register } from 'node:module'; register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)});`;
    const { status, stderr } = report([fixture], ['--import', `data:text/javascript,${encodeURIComponent(register)}`]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: .*npm install echarts\n$/);
  });
});
