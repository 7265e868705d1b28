// Writes the benchmark tables of README.md, between their markers, from the newest results of the CPU in bench/results.
//   node scripts/readme-tables.mjs           rewrites README.md
//   node scripts/readme-tables.mjs --check   fails when README.md differs
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = join(root, 'bench', 'results');

/** What was measured in full on the CPU, oldest first. */
const results = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')))
  .filter(({ benchmark, quick, machine }) => benchmark === 'suite' && !quick && machine.device === 'cpu')
  .sort((a, b) => a.machine.date.localeCompare(b.machine.date));

/** The newest that has something. */
function newest(has, what) {
  const last = results.findLast(has);
  if (!last) throw new Error(`bench/results holds no ${what} on the CPU; npm run bench -- --device cpu measures it`);
  return last;
}

const where = ({ machine, threads }) =>
  `${machine.cpu}, ${machine.isa}, ${threads} threads, Node ${machine.node}, commit ${machine.commit}, ${machine.date.slice(0, 10)}`;

/** In the unit in which it reads best. */
function time(seconds) {
  if (seconds >= 1) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
}

/** Three digits, or all of a whole number. */
const digits = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

/** What the others are called: the beginnings of their sides' names. */
const others = { onnxruntime: 'onnxruntime-node', torch: 'PyTorch' };

const megabytes = (bytes) => (bytes ? `${(bytes / 2 ** 20).toFixed(0)} MB` : '');

/** The fastest way in which another engine was run, by its median. */
function fastest(sides, engine) {
  const ways = Object.entries(sides).filter(([name]) => name.split(' ')[0] === engine);
  return ways.sort(([, a], [, b]) => a.seconds.median - b.seconds.median)[0];
}

/** How many times our time it took, how it was run, and its memory. */
function beside({ sides, dtype }, engine) {
  const found = fastest(sides, engine);
  if (!found) return '| ';
  const [name, side] = found;
  const way = name.split(' ').slice(1).join(' ');
  const how = way && way !== dtype ? ` ${way}` : '';
  return `${(side.seconds.median / sides.ours.seconds.median).toFixed(2)}×${how} | ${megabytes(side.peakBytes)}`;
}

/** An engine with its version, from what its side says of itself. */
function versions({ measurements }) {
  const about = Object.keys(others).map((engine) => {
    const found = measurements.filter(isNetwork).flatMap(({ sides }) => fastest(sides, engine) ?? []);
    return found.length > 0 ? found[1].about.split(',')[0] : undefined;
  });
  return about.filter(Boolean).join(' and ');
}

const isNetwork = ({ suite }) => suite === 'train' || suite === 'sample';

const tables = {
  unet() {
    const result = newest(({ measurements }) => measurements.some(isNetwork), 'training or sampling of a whole network');
    const present = Object.keys(others).filter((engine) => result.measurements.some(({ sides }) => fastest(sides, engine)));
    const rows = result.measurements.filter(isNetwork).map((one) => {
      const { name, dtype, batch, images, floor, sides } = one;
      const { seconds, peakBytes } = sides.ours;
      const share = floor ? `${((100 * floor) / seconds.median).toFixed(0)} %` : '';
      const rate = images ? digits(images / seconds.median) : '';
      const cells = present.map((engine) => beside(one, engine));
      return `| ${[name, batch, dtype, time(seconds.median), rate, share, megabytes(peakBytes), ...cells].join(' | ')} |`;
    });
    const limits = result.ceilings.map(
      ({ dtype, flopsPerSecond, bytesPerSecond }) =>
        `${(flopsPerSecond / 1e9).toFixed(0)} GFLOP/s and ${(bytesPerSecond / 1e9).toFixed(0)} GB/s in ${dtype}`,
    );
    return [
      `| job | batch | type | median | images/s | of the floor | peak memory | ${present.map((engine) => `${others[engine]} takes | its memory`).join(' | ')} |`,
      `|---|---|---|---|---|---|---|${'---|---|'.repeat(present.length)}`,
      ...rows,
      '',
      `Beside ${versions(result)}, by turns in one run, each checked against one reference, and each in the fastest of the ways it was run; onnxruntime-node computes in f32 beside our bf16 too, and bf16 is autocast in PyTorch. A step is noising, forward with dropout, loss, backward, clip, AdamW and moving average; \`cifar10\` is the UNet of DDPM (35.7 M parameters). ${limits.length > 0 ? `The floor is what the operations take one by one at the most that this machine was seen to do, ${limits.join(', ')}. ` : ''}${where(result)}.`,
      ...(result.note ? ['', result.note] : []),
    ];
  },
  overhead() {
    const result = newest(({ overheads }) => overheads.length > 0, 'costs of calls');
    const show = ({ median }, unit) => (unit === 'bytes' ? `${(median / 1e6).toFixed(1)} MB` : `${digits(median)} ${unit}`);
    return [
      '| besides the arithmetic | median |',
      '|---|---|',
      ...result.overheads.map(({ name, unit, value }) => `| ${name} | ${show(value, unit)} |`),
      '',
      `${where(result)}.`,
    ];
  },
};

const path = join(root, 'README.md');
const before = readFileSync(path, 'utf8');
let after = before;
for (const [name, table] of Object.entries(tables)) {
  const marked = new RegExp(`(<!-- bench:${name} -->\n)[^]*?(<!-- /bench:${name} -->)`);
  if (!marked.test(after)) throw new Error(`README.md has no markers for the table '${name}'`);
  after = after.replace(marked, (_, open, close) => `${open}${table().join('\n')}\n${close}`);
}
if (process.argv.includes('--check')) {
  if (after !== before) {
    console.error('README.md: the benchmark tables differ from bench/results; run node scripts/readme-tables.mjs');
    process.exit(1);
  }
} else writeFileSync(path, after);
