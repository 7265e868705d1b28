import { afterAll, beforeAll, describe, test } from 'vitest';
import { type Device, openDevice } from '../../lib/index.js';
import { type ConvolutionCase, checkBackward } from '../support/convolutionCase.js';
import { openForBf16 } from '../support/devices.js';

// On the CPU the gradient of a filter is divided among the threads by images or by channels, or left to oneDNN.
const cases: Record<string, ConvolutionCase> = {
  'by images': { n: 4, h: 9, w: 6, c: 16, k: 24, filter: 3, padding: 1 },
  'by images, a pair, stride 2': { n: 8, h: 7, w: 8, c: 3, c2: 8, k: 5, filter: 3, stride: 2, padding: [0, 0, 1, 1] },
  'by images, enlarged': { n: 4, h: 3, w: 4, c: 8, k: 8, filter: 3, padding: 1, upsample: true },
  'by channels, one image': { n: 1, h: 5, w: 7, c: 24, k: 64, filter: 3, padding: 1 },
  'by channels, few pixels': { n: 4, h: 3, w: 2, c: 72, k: 128, filter: 3, padding: 1 },
  'by channels, a pair, 1 × 1': { n: 3, h: 5, w: 3, c: 8, c2: 16, k: 64, filter: 1 },
  'by channels, enlarged': { n: 1, h: 3, w: 4, c: 8, k: 64, filter: 3, padding: 1, upsample: true },
  'by channels, memory at odd elements': { n: 3, h: 5, w: 6, c: 8, c2: 8, k: 64, filter: 3, padding: 1, odd: true },
  'not divided': { n: 3, h: 5, w: 6, c: 8, k: 40, filter: 3, padding: 1 },
};

describe.each([1, 2, 4])('gradients of filters in bf16 on the CPU, %i threads', (threads) => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice('cpu', { threads });
  });
  afterAll(() => device.close());

  for (const [name, args] of Object.entries(cases))
    test(name, async (context) => checkBackward(await openForBf16(async () => device, context), args));
});
