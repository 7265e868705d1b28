import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = join(__dirname, '../..');
const reason = existsSync(join(root, 'dist/index.mjs')) ? undefined : 'skipped: dist is not built, run `npm run build:ts`';

/** A fenced block: ```ts run is a program to run. Without an import it needs `context`. */
interface Block {
  /** Page and number of the block. */
  name: string;
  mark: string;
  code: string;
}

function blocksOf(path: string): Block[] {
  const page = path.replace(/^.*\/|\.md$/g, '') + (path.includes('/') ? '' : '-root');
  const fences = readFileSync(join(root, path), 'utf8').matchAll(
    /^```(ts|typescript|js|javascript|mjs)\b *(.*)\n([\s\S]*?)^```$/gm,
  );
  return [...fences].map(([, , mark, code], i) => ({ name: `${page}-${i + 1}`, mark: mark as string, code: code as string }));
}

const pages = readdirSync(join(root, 'docs/guide')).map((name) => `docs/guide/${name}`);
const blocks = ['README.md', ...pages].flatMap(blocksOf);
const programs = blocks.filter(({ mark }) => mark === 'run');

/** What blocks without imports take for granted: the exports of the package, and these. */
const context = () => `
import { ${Object.keys(createRequire(__filename)(root)).join(', ')} } from 'diffusion-native';
import type * as types from 'diffusion-native';
declare const diffusion: types.GaussianDiffusion, model: types.UNet, x0: types.Tensor, t: Int32Array;
declare function myEpsilon(xt: types.Tensor, t: types.Tensor): Promise<types.Tensor>;
declare function drawings(epoch: number): AsyncIterable<{ image: Uint8Array; label: number }>;
`;

/** Sizes as the guide has them, and as they are run here. */
const shrunk: Record<string, Record<string, string>> = {
  'train-your-own-images-1': {
    'baseChannels: 64': 'baseChannels: 8',
    'channelMults: [1, 2, 2]': 'channelMults: [1, 2]',
    'size: 32': 'size: 8',
    'imageSize: 32': 'imageSize: 8',
    'batchSize: 32': 'batchSize: 2',
    'steps: 20_000': 'steps: 3',
    'step % 100 ': 'step % 1 ',
    'step % 1000 ': 'step % 3 ',
    'steps: 50': 'steps: 2',
  },
  'train-your-own-images-2': { 'size: 32': 'size: 8', 'steps: 5_000': 'steps: 2' },
  'sample-in-a-server-1': { 'steps: 50': 'steps: 3' },
  'other-runtimes-2': { '[2, 3, 32, 32]': '[2, 3, 4, 6]' },
  'bring-your-own-model-1': { 'shape: [32, 32, 3]': 'shape: [4, 6, 3]', 'steps: 50': 'steps: 3' },
  'your-own-network-1': {
    '[16, 32, 16]': '[8, 8, 2]',
    '10_000': '3',
    'n % 100 ': 'n % 1 ',
    'steps: 50': 'steps: 2',
  },
  'write-your-own-loop-1': { '[16, 32, 32]': '[8, 16, 2]', '10_000': '3', 'n % 100 ': 'n % 1 ', 'steps: 50': 'steps: 2' },
};

function shrink({ name, code }: Block): string {
  return Object.entries(shrunk[name] ?? {}).reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`${name} holds no '${from}' to make smaller`);
    return text.replaceAll(from, to);
  }, code);
}

let project = '';
const write = (name: string, text: string | Buffer): void => {
  mkdirSync(join(project, name, '..'), { recursive: true });
  writeFileSync(join(project, name), text);
};

/** Compiles files of the project as strict ES modules; gives the compiler's complaints. */
function compile(files: string[]): string[] {
  const program = ts.createProgram(
    files.map((name) => join(project, name)),
    {
      strict: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      skipLibCheck: true,
      typeRoots: [join(root, 'node_modules/@types')],
      types: ['node'],
    },
  );
  program.emit();
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const line = file ? `${file.fileName.slice(project.length + 1)}:${file.getLineAndCharacterOfPosition(start).line + 1}` : '';
    return `${line} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

const environment = { ...process.env, DIFFUSION_DEVICE: 'cpu', PORT: '0' };
const run = (name: string): string =>
  execFileSync(process.execPath, [`${name}.mjs`], { cwd: project, encoding: 'utf8', env: environment, timeout: 60_000 });
const made = (name: string) => existsSync(join(project, name));

describe.skipIf(reason)(`programs of the guide and README${reason ? ` (${reason})` : ''}`, () => {
  let complaints: string[] = [];

  beforeAll(async () => {
    project = mkdtempSync(join(tmpdir(), 'diffusion-guide-'));
    mkdirSync(join(project, 'node_modules'));
    symlinkSync(root, join(project, 'node_modules/diffusion-native'));
    symlinkSync(join(root, 'node_modules/onnxruntime-node'), join(project, 'node_modules/onnxruntime-node'));
    for (const block of blocks) write(`${block.name}.mts`, (/^import /m.test(block.code) ? '' : context()) + shrink(block));
    write('wrong.mts', "import { openDevice } from 'diffusion-native';\nawait openDevice('cpu', { thread: 2 });\n");
    complaints = compile([...blocks.map(({ name }) => `${name}.mts`), 'wrong.mts']);
    for (let k = 0; k < 3; k++) {
      const picture = sharp({ create: { width: 11, height: 9 + k, channels: 3, background: { r: 80 * k, g: 40, b: 200 } } });
      write(`photos/${k}.png`, await picture.png().toBuffer());
    }
  });
  afterAll(() => rmSync(project, { recursive: true, force: true }));

  test('all type-check, and what is wrong would be noticed', () => {
    expect(complaints.filter((line) => !line.startsWith('wrong.mts'))).toEqual([]);
    expect(complaints.filter((line) => line.startsWith('wrong.mts:2'))).toHaveLength(1);
  });

  test('every program that says so is run below', () => {
    expect(programs.map(({ name }) => name).sort()).toEqual([...Object.keys(shrunk), 'platforms-1', 'other-runtimes-1'].sort());
  });

  test('train your own images, and go on later', () => {
    expect(run('train-your-own-images-1')).toMatch(/^step 1, loss \d.*\nstep 2.*\nstep 3/);
    expect(['grid-3.png', 'photos-pipeline/model_index.json', 'runs/photos'].filter((name) => !made(name))).toEqual([]);
    expect(run('train-your-own-images-2')).toMatch(/^4 [\d.]+\n5 [\d.]+\n$/);
    expect(made('photos-model/config.json')).toBe(true);
  });

  test('export, and predict with ONNX Runtime', () => {
    expect(run('other-runtimes-1')).toBe('');
    expect(run('other-runtimes-2')).toBe('2,3,4,6\n');
  });

  test('sample in a server', async () => {
    const server = spawn(process.execPath, ['sample-in-a-server-1.mjs'], { cwd: project, env: environment });
    try {
      const exit = new Promise((resolve) => server.once('exit', resolve));
      const port = await new Promise<string>((resolve, reject) => {
        let text = '';
        server.stdout.on('data', (chunk) => {
          text += chunk;
          const found = /port: (\d+)/.exec(text);
          if (found) resolve(found[1] as string);
        });
        server.once('exit', () => reject(new Error(`the server ended: ${text}`)));
      });
      const get = async (path: string) => {
        const response = await fetch(`http://localhost:${port}${path}`, { headers: { connection: 'close' } });
        return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
      };
      const [one, again, health, negative] = await Promise.all(['/?seed=7', '/?seed=7', '/health', '/?seed=-1'].map(get));
      expect([one?.status, negative?.status, health?.body.toString()]).toEqual([200, 400, 'ok']);
      expect(await sharp(one?.body).metadata()).toMatchObject({ format: 'png' });
      expect(again?.body.equals(one?.body as Buffer)).toBe(true);
      server.kill('SIGTERM');
      expect(await exit).toBe(0);
    } finally {
      server.kill('SIGKILL');
    }
  });

  test.each([
    ['bring-your-own-model-1', /^$/], // reads what other-runtimes-1 wrote
    ['your-own-network-1', /^0 [\d.]+\n1 [\d.]+\n2 [\d.]+\n$/],
    ['write-your-own-loop-1', /^0 [\d.]+\n1 [\d.]+\n2 [\d.]+\n$/],
    ['platforms-1', /^cpu /m],
  ])('%s', (name, output) => {
    rmSync(join(project, 'grid.png'), { force: true });
    expect(run(name)).toMatch(output);
    expect(made('grid.png')).toBe(name !== 'platforms-1');
  });
});
