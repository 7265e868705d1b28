// Loads the built package with the native files of DIFFUSION_NATIVE_PATH and moves one tensor to the CPU backend and back.
const assert = require('node:assert/strict');
const { readFileSync, realpathSync } = require('node:fs');
const { openDevice } = require('..');

async function main() {
  const device = await openDevice('cpu');
  const values = await device.full([3, 5], 1.5).read();
  assert.deepEqual(values, new Float32Array(15).fill(1.5));
  await device.close();

  const folder = realpathSync(process.env.DIFFUSION_NATIVE_PATH);
  const mapped = readFileSync('/proc/self/maps', 'utf8');
  for (const file of ['diffusion_native.node', 'libdiffusion_cpu.so']) {
    assert.ok(mapped.includes(`${folder}/${file}`), `${file} was not loaded from ${folder}`);
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
