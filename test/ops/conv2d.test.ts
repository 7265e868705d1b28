import { expect, test } from 'vitest';
import { conv2d } from '../../lib/ops/conv2d.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation, type Definition } from '../support/operation.js';
import * as reference from '../support/reference.js';

type Four = [number, number, number, number];

interface Geometry {
  n: number;
  h: number;
  w: number;
  c: number;
  k: number;
  filter: number;
  stride?: number;
  padding?: number | Four;
  upsample?: boolean;
}

/** The whole operation or parts of it: `extras` says which of skip (two channels), shift and residual take part. */
function definition(g: Geometry, extras: ('skip' | 'shift' | 'residual')[] = []): Definition<string> {
  const { n, h, w, c, k, filter, stride = 1, padding = 0, upsample = false } = g;
  const sides: Four = Array.isArray(padding) ? padding : [padding, padding, padding, padding];
  const c2 = extras.includes('skip') ? 2 : 0;
  const [hh, ww] = upsample ? [2 * h, 2 * w] : [h, w];
  const oh = Math.floor((hh + sides[0] + sides[2] - filter) / stride) + 1;
  const ow = Math.floor((ww + sides[1] + sides[3] - filter) / stride) + 1;
  const weightShape: Four = [filter, filter, c + c2, k];
  const inputs: Record<string, number[]> = { x: [n, h, w, c], weight: weightShape, bias: [k] };
  if (extras.includes('skip')) inputs.skip = [n, h, w, c2];
  if (extras.includes('shift')) inputs.shift = [n, k];
  if (extras.includes('residual')) inputs.residual = [n, oh, ow, k];
  return {
    inputs,
    shape: [n, oh, ow, k],
    terms: Math.max(filter * filter * (c + c2), n * oh * ow, filter * filter * k * 4),
    run: ({ x, weight, ...rest }) => conv2d(x as never, weight as never, { ...rest, stride, padding, upsample }),
    reference: ({ x, skip, weight, bias, shift, residual }) => {
      const pair = skip ? reference.concat(x as Float64Array, c, skip, c2) : (x as Float64Array);
      const shape: Four = [n, h, w, c + c2];
      return reference.conv2d({
        x: upsample ? reference.upsample(pair, shape) : pair,
        shape: [n, hh, ww, c + c2],
        weight: weight as Float64Array,
        weightShape,
        bias,
        shift,
        residual,
        stride,
        padding: sides,
      });
    },
  };
}

const odd = { h: 5, w: 7, c: 3, k: 5 };

eachDevice((id, open) => {
  test.each([1, 3])(`conv2d on ${id}: 3 × 3, batch %i`, async (n) => {
    await checkOperation(await open(), definition({ n, ...odd, filter: 3, padding: 1 }));
  });

  test(`conv2d on ${id}: 1 × 1`, async () => {
    await checkOperation(await open(), definition({ n: 3, ...odd, filter: 1 }));
  });

  test(`conv2d on ${id}: one channel to one channel, no padding`, async () => {
    await checkOperation(await open(), definition({ n: 1, h: 5, w: 4, c: 1, k: 1, filter: 3 }));
  });

  test(`conv2d on ${id}: stride 2, one pixel of zeros all around`, async () => {
    await checkOperation(await open(), definition({ n: 2, ...odd, filter: 3, stride: 2, padding: 1 }));
  });

  test.each([
    [5, 7],
    [6, 4],
  ])(`conv2d on ${id}: stride 2, zeros at the bottom and right of %i × %i`, async (h, w) => {
    await checkOperation(await open(), definition({ n: 2, ...odd, h, w, filter: 3, stride: 2, padding: [0, 0, 1, 1] }));
  });

  test(`conv2d on ${id}: four different paddings`, async () => {
    await checkOperation(await open(), definition({ n: 1, ...odd, filter: 3, padding: [2, 0, 1, 3] }));
  });

  test(`conv2d on ${id}: enlarged input`, async () => {
    await checkOperation(await open(), definition({ n: 2, h: 3, w: 4, c: 3, k: 5, filter: 3, padding: 1, upsample: true }));
  });

  test(`conv2d on ${id}: second input, shift and residual`, async () => {
    await checkOperation(
      await open(),
      definition({ n: 2, h: 3, w: 5, c: 3, k: 5, filter: 3, padding: 1 }, ['skip', 'shift', 'residual']),
    );
  });

  test(`conv2d on ${id}: second input, enlarged`, async () => {
    await checkOperation(
      await open(),
      definition({ n: 2, h: 2, w: 3, c: 3, k: 2, filter: 3, padding: 1, upsample: true }, ['skip', 'shift']),
    );
  });

  test(`conv2d on ${id}: 1 × 1 with a second input and a residual`, async () => {
    await checkOperation(await open(), definition({ n: 2, h: 3, w: 5, c: 3, k: 5, filter: 1 }, ['skip', 'residual']));
  });

  test(`conv2d on ${id}: a filter as large as the padded image`, async () => {
    await checkOperation(await open(), definition({ n: 2, h: 1, w: 1, c: 4, k: 3, filter: 3, padding: 1 }));
  });

  test(`conv2d on ${id}: without a bias`, async () => {
    const device = await open();
    const x = device.randn([2, 4, 5, 3], { seed: 1 });
    const weight = device.randn([3, 3, 3, 2], { seed: 2 });
    const without = await conv2d(x, weight, { padding: 1 }).read();
    expect(without).toEqual(await conv2d(x, weight, { padding: 1, bias: device.zeros([2]) }).read());
  });
});
