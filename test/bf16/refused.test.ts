import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { listDevices } from '../../lib/deviceList.js';
import { DTypeError } from '../../lib/errors.js';
import { UNet } from '../../lib/nn/unet.js';
import { openDevice } from '../../lib/openDevice.js';
import * as ops from '../../lib/ops/index.js';
import { goldenPath } from '../support/shared.js';

// A processor without bf16: oneDNN leaves instruction sets unused where it is told so before its first use.
process.env.ONEDNN_MAX_CPU_ISA = 'AVX512_CORE_VNNI';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(async () => {
  await device.close();
  delete process.env.ONEDNN_MAX_CPU_ISA;
});

test('a processor without bf16 says so', () => {
  expect(device.info.bf16).toBe(false);
  expect(device.info.isa).not.toBe('avx512_bf16');
  expect(listDevices().find(({ id }) => id === 'cpu')?.bf16).toBe(false);
});

test('its operations refuse bf16 with the instruction set, its addon too', () => {
  const x = device.zeros([2, 3], { dtype: 'bf16' });
  const y = device.zeros([2, 3], { dtype: 'bf16' });
  expect(() => ops.silu(x)).toThrow(DTypeError);
  expect(() => ops.silu(x)).toThrow(`cpu (${device.info.isa}) cannot compute; cast it to f32`);
  expect(() => device.native.silu(x.handle, y.handle)).toThrow('silu: this device does not compute in bf16');
});

test('a network that computes in bf16 is refused', async () => {
  const refused = () => new UNet(device, { baseChannels: 8, dtype: 'bf16' });
  expect(refused).toThrow(DTypeError);
  expect(refused).toThrow(`dtype 'bf16' is not available on cpu (${device.info.isa})`);
  await expect(UNet.load(device, goldenPath('unet/d1_cifar_style'), { dtype: 'bf16' })).rejects.toThrow(DTypeError);
});

test('bf16 is still converted, moved and stored', async () => {
  const x = device.tensor([1, 2.5, -3], [3], { dtype: 'bf16' });
  expect(await ops.cast(x, 'f32').read()).toEqual(Float32Array.of(1, 2.5, -3));
});
