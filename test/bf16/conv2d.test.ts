import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { relL2 } from '../support/compare.js';
import { type ConvolutionCase, checkBackward, checkForward, checkSums, setUp } from '../support/convolutionCase.js';
import { eachDevice, openForBf16 } from '../support/devices.js';

const cases: Record<string, ConvolutionCase> = {
  '3 channels to 5': { n: 1, h: 5, w: 7, c: 3, k: 5, filter: 3, padding: 1 },
  'chunks of 8': { n: 3, h: 9, w: 6, c: 16, k: 24, filter: 3, padding: 1 },
  'a shift and a residual': { n: 3, h: 9, w: 6, c: 16, k: 24, filter: 3, padding: 1, shift: true, residual: true },
  'a pair': { h: 5, w: 6, c: 8, c2: 16, k: 8, filter: 3, padding: 1, residual: true },
  'a pair cut anywhere': { h: 5, w: 6, c: 3, c2: 5, k: 16, filter: 3, padding: 1, shift: true, residual: true },
  'stride 2, padded all around': { h: 7, w: 6, c: 8, k: 16, filter: 3, stride: 2, padding: 1 },
  'stride 2, padded below and on the right': { h: 6, w: 8, c: 8, k: 16, filter: 3, stride: 2, padding: [0, 0, 1, 1] },
  'stride 2 over odd sizes': { h: 7, w: 5, c: 5, k: 3, filter: 3, stride: 2, padding: [0, 0, 1, 1] },
  'stride 3 with a smaller filter': { h: 8, w: 7, c: 8, k: 8, filter: 2, stride: 3 },
  '1 × 1': { h: 5, w: 7, c: 24, k: 40, filter: 1, residual: true },
  '1 × 1 with a pair': { h: 3, w: 5, c: 8, c2: 24, k: 33, filter: 1 },
  '5 × 5': { h: 6, w: 7, c: 8, k: 8, filter: 5, padding: 2 },
  'four different paddings': { n: 1, h: 5, w: 4, c: 16, k: 8, filter: 3, padding: [2, 0, 1, 3] },
  '33 channels from 8': { h: 4, w: 5, c: 8, k: 33, filter: 3, padding: 1, shift: true },
  'enlarged, in four phases': { h: 3, w: 5, c: 16, k: 24, filter: 3, padding: 1, upsample: true, shift: true, residual: true },
  'enlarged pair, in four phases': { h: 4, w: 3, c: 8, c2: 16, k: 8, filter: 3, padding: 1, upsample: true },
  'enlarged, any channels': { h: 3, w: 4, c: 3, k: 5, filter: 3, padding: 1, upsample: true, shift: true },
  'enlarged pair, another filter': { h: 3, w: 4, c: 8, c2: 8, k: 16, filter: 5, padding: 2, upsample: true },
  'enlarged, stride 2': { h: 3, w: 4, c: 8, k: 8, filter: 3, padding: 1, stride: 2, upsample: true },
  'a result in f32': { h: 5, w: 6, c: 16, k: 24, filter: 3, padding: 1, f32: true, shift: true },
  'a result in f32, any channels': { h: 5, w: 6, c: 3, k: 5, filter: 3, padding: 1, f32: true },
  'memory at odd elements': { h: 5, w: 6, c: 8, c2: 8, k: 16, filter: 3, padding: 1, shift: true, residual: true, odd: true },
  'enlarged, memory at odd elements': { h: 3, w: 4, c: 8, k: 8, filter: 3, padding: 1, upsample: true, odd: true },
  'a depth in parts': { n: 1, h: 4, w: 4, c: 72, k: 16, filter: 3, padding: 1, residual: true, shift: true },
  'a depth in parts, any channels': { n: 2, h: 4, w: 3, c: 75, k: 13, filter: 3, padding: 1, residual: true },
  'a depth in parts, enlarged': { n: 1, h: 4, w: 4, c: 136, k: 8, filter: 3, padding: 1, upsample: true },
  'pixels in parts': { n: 3, h: 15, w: 14, c: 8, k: 8, filter: 3, padding: 1 },
  'pixels in parts, enlarged': { n: 3, h: 15, w: 14, c: 8, k: 8, filter: 3, padding: 1, upsample: true },
  'large tiles': { n: 1, h: 111, w: 112, c: 72, k: 72, filter: 1 },
  'filters of many channels': { n: 1, h: 12, w: 12, c: 64, c2: 16, k: 136, filter: 3, padding: 1 },
};

eachDevice((id, open) => {
  const on = (name: string, body: (device: Device) => Promise<void>) =>
    test(`conv2d in bf16 on ${id}: ${name}`, async (context) => {
      const device = await openForBf16(open, context);
      await body(device);
    });

  for (const [name, args] of Object.entries(cases)) {
    on(name, (device) => checkForward(device, args));
    if (!args.f32) on(`gradients of ${name}`, (device) => checkBackward(device, args));
  }

  const summed: Record<string, ConvolutionCase> = {
    'chunks of 8': { n: 3, h: 8, w: 16, c: 8, k: 24, filter: 3, padding: 1, shift: true, residual: true },
    'any channels': { h: 16, w: 8, c: 3, k: 13, filter: 3, padding: 1 },
    'in parts': { n: 1, h: 16, w: 8, c: 64, k: 40, filter: 3, padding: 1, residual: true },
    'large tiles': { n: 2, h: 64, w: 96, c: 136, k: 72, filter: 1, shift: true },
    'four phases': { h: 8, w: 16, c: 8, k: 24, filter: 3, padding: 1, upsample: true, shift: true },
    'four phases in parts': { n: 3, h: 8, w: 8, c: 136, k: 8, filter: 3, padding: 1, upsample: true, residual: true },
    'too small for phases': { h: 4, w: 4, c: 8, k: 8, filter: 3, padding: 1, upsample: true },
  };
  for (const [name, args] of Object.entries(summed)) on(`sums of ${name}`, (device) => checkSums(device, args));

  on('a sample does not depend on the batch', async (device) => {
    const whole = setUp(device, { n: 96, h: 8, w: 8, c: 64, k: 8, filter: 3, padding: 1 });
    const y = [1, 96].map(async (n) => {
      const [x, weight] = [whole.place(whole.x, whole.shapes.x), whole.place(whole.weight, whole.shapes.weight)];
      const result = device.empty([n, 8, 8, 8], 'f32');
      device.native.conv2d(
        x.tensor.alias([n, 8, 8, 64]).handle,
        0,
        weight.tensor.handle,
        0,
        0,
        0,
        result.handle,
        0,
        ...whole.window,
      );
      return (await result.read()).slice(0, 8 * 8 * 8);
    });
    const [alone, among] = await Promise.all(y);
    expect(relL2(alone as Float32Array, among as Float32Array)).toBeLessThan(1e-6);
    if (id === 'cpu') expect(alone, 'the same bits').toEqual(among);
    else expect(alone, 'the depth is cut for one sample only, so the bits differ').not.toEqual(among);
  });
});
