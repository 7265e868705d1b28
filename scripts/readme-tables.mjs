// Writes the benchmark tables of README.md, between their markers, from the newest files in bench/results.
//   node scripts/readme-tables.mjs           rewrites README.md
//   node scripts/readme-tables.mjs --check   fails when README.md differs
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = join(root, 'bench', 'results');

/** The newest result of a benchmark on the CPU. */
function newest(benchmark) {
  const results = readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')))
    .filter((result) => result.benchmark === benchmark && (result.device ?? 'cpu') === 'cpu')
    .sort((a, b) => a.date.localeCompare(b.date));
  const last = results.at(-1);
  if (!last) throw new Error(`bench/results holds no result of '${benchmark}'`);
  return last;
}

const where = (result) =>
  `${result.cpu}, ${result.isa}, ${result.cores} cores, Node ${result.node}, commit ${result.commit}, ${result.date.slice(0, 10)}`;

const tables = {
  unet() {
    const result = newest('unet');
    const engine = (name, about) => {
      const [side, ...variant] = name.split(' ').slice(0, -1);
      if (side === 'ours') return 'diffusion-native';
      return side === 'torch' ? `PyTorch ${about.split(' ')[1]}, ${variant.join(' ')}` : about.split(' ').slice(1).join(' ');
    };
    const rows = result.cases.flatMap(({ job, batch, results }) =>
      Object.entries(results).map(([name, { about, dtype, seconds, peakBytes }]) => {
        const ratio = (seconds.median / results[`ours ${dtype}`].seconds.median).toFixed(2);
        const times = `${(seconds.median * 1e3).toFixed(0)} ms | ${name.startsWith('ours') ? '1' : ratio}`;
        return `| ${job} | ${batch} | ${dtype} | ${engine(name, about)} | ${times} | ${(peakBytes / 2 ** 20).toFixed(0)} MB |`;
      }),
    );
    return [
      '| job | batch | | engine | median | time relative to ours | peak memory |',
      '|---|---|---|---|---|---|---|',
      ...rows,
      '',
      `CIFAR-10 UNet of DDPM (35.7 M parameters), ${result.threads} threads, all sides of a case by turns in one run, each checked against one prediction and its gradients; bf16 is autocast in PyTorch; a step is noising, forward with dropout, loss, backward, clip, AdamW and moving average: ${where(result)}.`,
      ...(result.note ? ['', result.note] : []),
    ];
  },
  overhead() {
    const result = newest('overhead');
    return [
      '| what the JavaScript thread pays for | median |',
      '|---|---|',
      ...Object.entries(result.microseconds).map(([name, { median }]) => `| ${name} | ${median.toFixed(2)} µs |`),
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
