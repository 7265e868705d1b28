import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Two trainings are taken for alike when the means of their last losses differ by less than this. */
const tolerance = 0.05;

/**
 * The demo's first steps on a device beside the CPU's in float32. Data, noise and dropout are functions of the seed, so losses
 * differ by rounding, which training magnifies.
 */
export function compareTrainings({ root, device, dtypes, steps, path, about }) {
  const losses = (id, dtype) => {
    const file = join(root, 'results', 'losses.json');
    const given = ['--device', id, '--dtype', dtype, '--steps', String(steps), '--losses', file];
    const { status } = spawnSync(process.execPath, ['scripts/demo.mjs', ...given], { cwd: root, stdio: 'inherit' });
    return status === 0 ? JSON.parse(readFileSync(file, 'utf8')) : null;
  };
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const tail = (values) => mean(values.slice(-Math.ceil(steps / 4)));
  const reference = losses('cpu', 'f32');
  if (reference === null) return false;
  let ok = true;
  const trainings = {};
  for (const dtype of dtypes) {
    const own = losses(device, dtype);
    if (own === null) return false;
    const difference = mean(own.map((loss, i) => Math.abs(loss - reference[i]) / reference[i]));
    const lastDifference = Math.abs(tail(own) - tail(reference)) / tail(reference);
    trainings[dtype] = { losses: own, difference, lastDifference };
    ok = lastDifference < tolerance && ok;
    console.log(
      `training on ${device} in ${dtype}: losses differ from the CPU's by ${(100 * difference).toFixed(3)}% a step, ` +
        `the last quarter's mean by ${(100 * lastDifference).toFixed(3)}%`,
    );
  }
  writeFileSync(path, `${JSON.stringify({ benchmark: 'training', ...about, steps, reference, trainings }, null, 2)}\n`);
  console.log(path);
  return ok;
}
