// Writes the numbers of docs/guide/the-article.md, between their markers, from the newest files of bench/results.
//   node scripts/article-page.mjs           rewrites the page
//   node scripts/article-page.mjs --check   fails when the page differs
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = join(root, 'bench', 'results');

function newest(benchmark) {
  const results = readdirSync(folder)
    .filter((name) => name.startsWith(`${benchmark}-`) && name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')))
    .sort((a, b) => a.date.localeCompare(b.date));
  const last = results.at(-1);
  if (!last) throw new Error(`bench/results holds no result of '${benchmark}'`);
  return last;
}

const figures = newest('figures');
const bits = newest('learned-variance');

const measured = ({ value, error }, digits) => `${value.toFixed(digits)} ± ${error.toFixed(digits)}`;
const distance = ({ frechet, slicedWasserstein }) => measured(frechet ?? slicedWasserstein, frechet ? 2 : 4);
const holds = (value) => (value ? 'holds' : '**does not hold**');
const provenance = ({ cpu, isa, node, commit, date, dtype }) =>
  `${cpu}, ${isa}, ${dtype}, Node ${node}, commit ${commit}, ${date.slice(0, 10)}`;

/** A row a place, a column a curve. */
function table(unit, show, curves) {
  const rows = curves[0].points.map((point, i) => {
    const cells = curves.map(({ points }) => (points[i] ? distance(points[i]) : ''));
    return `| ${[show(point[unit]), ...cells].join(' | ')} |`;
  });
  return [`| | ${curves.map(({ name }) => name).join(' | ')} |`, `|---|${'---|'.repeat(curves.length)}`, ...rows];
}

const claimRow = ({ claim, test, numbers, holds: verdict }) => {
  const found = Object.entries(numbers).map(([name, { value, error, percent }]) => {
    const sign = value < 0 ? '' : '+';
    return `${name} ${sign}${measured({ value, error }, 2)} (${sign}${percent.toFixed(0)} %)`;
  });
  return `| ${claim} | ${test} | ${found.join('; ')} | ${holds(verdict)} |`;
};

const parts = {
  setup() {
    const { data, samples, settings, classifierAccuracy, imagesNotLearnedFrom } = figures;
    const { steps, batchSize, learningRate } = settings.training;
    return [
      `Data: ${data.about}, ${data.learnedFrom} images. Networks: \`UNet\` with base ${settings.network.baseChannels} channels, multipliers ` +
        `${settings.network.channelMults.join(', ')}, ${settings.network.resBlocks} block a level, trained for ${steps} steps of ${batchSize} images at ` +
        `a learning rate of ${learningRate} with T = ${settings.T}. The classifier names ${(100 * classifierAccuracy).toFixed(1)} % of the ${data.others} test ` +
        `images rightly. Each point is ${samples} samples; as many test images are ${distance(imagesNotLearnedFrom)} away. ${provenance(figures)}.`,
    ];
  },
  claims: () => [
    '| the article says | the test | what was added to the distance | here it |',
    '|---|---|---|---|',
    ...figures.claims.map(claimRow),
  ],
  skipped: () => table('skipped', (share) => `${Math.round(100 * share)} % left out`, figures.skippedSteps),
  steps: () => table('steps', (count) => `${count} steps`, figures.samplingSteps),
  bits() {
    const names = { learnedRange: 'learned', fixedSmall: 'fixed, β̃', fixedLarge: 'fixed, β' };
    const rows = Object.entries(bits.variances).map(([variance, { bitsPerDimension, lastStep }]) => {
      const lower = bits.lowerBy[variance] ? measured(bits.lowerBy[variance], 3) : '';
      return `| ${names[variance]} | ${measured(bitsPerDimension, 3)} | ${measured(lastStep, 3)} | ${lower} |`;
    });
    return [
      '| variance | bits/dim | of these, the last step | learned is lower by |',
      '|---|---|---|---|',
      ...rows,
      '',
      `${bits.images} images that were not learned from (${bits.data.about}), all ${bits.evaluationsPerImage} steps, ± a standard error. The claim ` +
        `that the learned variance is lower than each fixed one ${holds(bits.holds)}. ${provenance(bits)}.`,
    ];
  },
};

const path = join(root, 'docs', 'guide', 'the-article.md');
const before = readFileSync(path, 'utf8');
let after = before;
for (const [name, lines] of Object.entries(parts)) {
  const marked = new RegExp(`(<!-- figures:${name} -->\n)[^]*?(<!-- /figures:${name} -->)`);
  if (!marked.test(after)) throw new Error(`docs/guide/the-article.md has no markers for '${name}'`);
  after = after.replace(marked, (_, open, close) => `${open}${lines().join('\n')}\n${close}`);
}
if (process.argv.includes('--check')) {
  if (after !== before) {
    console.error('docs/guide/the-article.md differs from bench/results; run node scripts/article-page.mjs');
    process.exit(1);
  }
} else writeFileSync(path, after);
