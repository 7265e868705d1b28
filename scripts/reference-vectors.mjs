// node scripts/reference-vectors.mjs <folder of the reference data>: writes vectors/, the small selection of reference numbers that is
// part of the package and that `diffusion-native verify` compares a device with. Every number was computed by the field's own code:
// improved-diffusion, diffusers (0.20 and 0.35) and PyTorch, on a CPU.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readSafetensors, writeSafetensors } from '../dist/files/safetensors.js';

const golden = process.argv[2];
if (!golden) throw new Error('usage: node scripts/reference-vectors.mjs <folder of the reference data>');
const out = fileURLToPath(new URL('../vectors/', import.meta.url));
const json = (path) => JSON.parse(readFileSync(join(golden, path), 'utf8'));
const pick = (object, ...keys) => Object.fromEntries(keys.map((key) => [key, object[key]]));
const tensors = new Map();

/** Keeps tensors of a file, `renamed(name)` as they are called in the vectors, null to leave one out. */
async function keep(path, renamed) {
  for (const [name, tensor] of (await readSafetensors(join(golden, path))).tensors) {
    const kept = renamed(name);
    if (kept) tensors.set(kept, { name: kept, shape: tensor.shape, data: await tensor.data() });
  }
}
const keepCases = (path, group, ids) =>
  keep(path, (name) => (ids.some((id) => name.startsWith(`${id}/`)) ? `${group}/${name}` : null));

function schedules() {
  const entries = [0, 1, 2, 250, 499, 500, 998, 999];
  const arrays = [
    'betas',
    'alphas_cumprod',
    'posterior_variance',
    'posterior_log_variance_clipped',
    'posterior_mean_coef1',
    'posterior_mean_coef2',
  ];
  return ['linear', 'cosine'].map((name) => {
    const source = json(`schedules/iddpm_${name}_T1000.json`);
    return { id: name, entries, ...Object.fromEntries(arrays.map((key) => [key, entries.map((i) => source[key][i])])) };
  });
}

const contexts = ['lin1000', 'cos4000_ddim25r'];
async function process_() {
  const kinds = ['q', 'in', 'p_eps_fixed_small_clip', 'p_x0_fixed_large_noclip', 'p_eps_learned_range_clip', 'ddim_eps_clip'];
  const ids = contexts.flatMap((context) => kinds.map((kind) => `${context}/${kind}`));
  await keepCases('process/iddpm_steps.safetensors', 'process', ids);
  const cases = json('process/iddpm_steps.json').cases.filter(({ id }) => ids.includes(id));
  return cases.map((one) =>
    pick(one, 'id', 'kind', 'mean', 'var', 'clip', 'etas', 'noise', 'schedule', 'T', 'sections', 'rescale_timesteps', 't'),
  );
}

async function losses() {
  const kinds = [
    'in',
    'mse_eps_fixed_large',
    'rescaled_mse_eps_learned_range',
    'kl_eps_fixed_small',
    'rescaled_kl_eps_learned_range',
  ];
  const ids = kinds.map((kind) => `cos1000_s40/${kind}`);
  await keepCases('process/iddpm_losses.safetensors', 'losses', ids);
  const cases = json('process/iddpm_losses.json').cases.filter(({ id }) => ids.includes(id));
  return cases.map((one) =>
    pick(
      one,
      'id',
      'loss',
      'mean',
      'var',
      'noise',
      'ill_conditioned_examples',
      'schedule',
      'T',
      'sections',
      'rescale_timesteps',
      't',
    ),
  );
}

async function samplers() {
  const ids = [
    'ddpm_leading_n10',
    'ddim_eta0.5',
    'dpmpp2m_leading_n10',
    'dpmpp_order3',
    'dpmpp_2m_karras',
    'euler_leading_n10',
    'euler_churn',
    'heun_leading_n6',
  ];
  const newer = json('schedulers/diffusers_0_35_2.json').cases;
  const older = json('schedulers/diffusers_0_20_2.json').cases;
  const cases = [];
  for (const id of ids) {
    const one = newer.find((item) => item.id === id);
    const stored = one.tensors_in ? '0_20_2' : '0_35_2';
    const config = typeof one.config === 'string' ? older.find((item) => item.id === id).config : one.config;
    await keep(`schedulers/diffusers_${stored}.safetensors`, (name) =>
      name.startsWith(`${id}/`) && /(init_sample|noises|prev_sample)$/.test(name) ? `samplers/${name}` : null,
    );
    cases.push({ ...pick(one, 'id', 'num_inference_steps', 'step_kwargs', 'model', 'noise_per_step', 'noise_matters'), config });
  }
  return cases;
}

async function networks() {
  const cases = [];
  for (const id of ['d1_cifar_style', 'd2_default_ss', 'd3_resnet_updown_cls']) {
    const one = json(`unet/${id}/case.json`);
    await keep(`unet/${id}/io.safetensors`, (name) => (/^(x|t|target|out|grad_x)$/.test(name) ? `unet/${id}/${name}` : null));
    const config = json(`unet/${id}/${id === 'd2_default_ss' ? 'unet/' : ''}config.json`);
    const parameters = one.params.map(({ name, grad }) => ({ name, gradient: Number(grad.l2.toPrecision(9)) }));
    const zero = one.float32_vs_float64_noise.zero_gradient_tensors;
    cases.push({ ...pick(one, 'id', 'seed', 'labels', 'loss'), config, parameters, zero_gradient_tensors: zero });
  }
  return cases;
}

async function optimizer() {
  const one = json('optim/case.json');
  await keep('optim/data.safetensors', (name) => `optimizer/${name}`);
  await keep('optim/ema.safetensors', (name) => (name === 'conv_out.weight' ? 'optimizer/ema' : null));
  await keep('optim/final.safetensors', (name) => (name === 'conv_out.weight' ? 'optimizer/final' : null));
  const config = json('optim/model_init/config.json');
  return { ...pick(one, 'steps', 'lr', 'wd', 'betas', 'eps', 'ema', 'clip', 'seed', 'losses', 'grad_norm_before_clip'), config };
}

const description = {
  sources: {
    'improved-diffusion': '1bc7bbb',
    diffusers: '0.35.2 (schedulers), 0.20.2 (networks)',
    torch: '1.13.1',
  },
  schedules: schedules(),
  respacings: json('schedules/space_timesteps.json').cases.filter(({ timesteps }) => timesteps && timesteps.length <= 60),
  process: await process_(),
  losses: await losses(),
  samplers: await samplers(),
  networks: await networks(),
  optimizer: await optimizer(),
};
await writeSafetensors(join(out, 'vectors.safetensors'), [...tensors.values()]);
writeFileSync(join(out, 'vectors.json'), `${JSON.stringify(description)}\n`);
