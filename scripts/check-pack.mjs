// What `npm pack` would publish: everything that a user needs to run and to build from source, and nothing local.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { groups } = createRequire(import.meta.url)('./native-sources.cjs');

const listing = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
  cwd: root,
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'ignore'],
});
const [{ files, size }] = JSON.parse(listing);
const packed = new Set(files.map(({ path }) => path));

const needed = [
  ...['dist/index.js', 'dist/index.d.ts', 'dist/index.mjs', 'dist/index.d.mts', 'dist/cli/main.js', 'dist/bench/command.js'],
  ...['CMakeLists.txt', 'bindings.gyp', 'binding.gyp', 'scripts/native-sources.cjs', 'scripts/onednn.cjs'],
  ...[
    'native/backend.map',
    'docs/guide/README.md',
    'vectors/vectors.json',
    'vectors/vectors.safetensors',
    'package.json',
    'LICENSE',
    'README.md',
  ],
  ...['addon', 'cpu', 'isa', 'cuda'].flatMap((group) => groups[group]()),
];
const expected = [
  /^dist\/.+\.(js|mjs|d\.ts|d\.mts|js\.map)$/,
  /^bench\/peers\/[^/]+\.py$/,
  /^native\/(?!emulator\/).+\.(cc|cu|cuh|h|map)$/,
  /^scripts\/(native-sources|onednn)\.cjs$/,
  /^vectors\/vectors\.(json|safetensors)$/,
  /^docs\/guide\/[^/]+\.md$/,
  /^(CMakeLists\.txt|bindings?\.gyp|package\.json|LICENSE|README\.md|HACKING\.md)$/,
];

/** dist/bench is built from bench, all else from lib. */
const sourceOf = (path) => path.replace(/^dist\/(bench\/)?(.+)js$/, (_, bench, name) => `${bench ?? 'lib/'}${name}ts`);

const problems = [
  ...needed.filter((path) => !packed.has(path)).map((path) => `missing: ${path}`),
  ...[...packed].filter((path) => !expected.some((pattern) => pattern.test(path))).map((path) => `unexpected: ${path}`),
  ...[...packed]
    .filter((path) => /^dist\/.+\.js$/.test(path) && !existsSync(join(root, sourceOf(path))))
    .map((path) => `left over from a deleted source: ${path}`),
];
for (const problem of problems) console.error(`npm pack: ${problem}`);
console.log(`npm pack: ${packed.size} files, ${(size / 1024).toFixed(0)} KiB`);
process.exit(problems.length > 0 ? 1 : 0);
