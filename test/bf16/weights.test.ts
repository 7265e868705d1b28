import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { noGrad } from '../../lib/autograd/tape.js';
import type { Device } from '../../lib/device.js';
import { OptionError } from '../../lib/errors.js';
import { UNet } from '../../lib/nn/unet.js';
import * as ops from '../../lib/ops/index.js';
import { AdamW } from '../../lib/training/adamW.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { randomValues, toBf16 } from '../support/values.js';

const options = { imageSize: 8, baseChannels: 8, channelMults: [1], resBlocks: 1, attentionResolutions: [], zeroInit: false };

function standalone(device: Device, seed = 1): Parameter {
  const value = device.tensor(randomValues(15, seed), [3, 5]);
  return new Parameter('weight', [3, 5], 'plain', value, device.zeros([3, 5]));
}

/** How far the copy of all weights, as it is and not brought up to date, is from what it should be. */
async function staleness(model: UNet): Promise<number> {
  const { memory } = model.store.copy;
  if (!memory) throw new Error('there is no copy');
  return maxAbs(await memory.read(), toBf16((await model.store.flatValues.read()) as Float32Array));
}

eachDevice((id, open) => {
  test(`a parameter's copy in bf16 on ${id} follows every way of writing it`, async () => {
    const device = await open();
    const parameter = standalone(device);
    expect(parameter.as('f32')).toBe(parameter.value);
    const copy = parameter.as('bf16');
    expect([copy.dtype, copy.shape]).toEqual(['bf16', [3, 5]]);
    expect(await copy.read()).toEqual(toBf16(randomValues(15, 1)));
    parameter.write(randomValues(15, 2));
    expect(await parameter.as('bf16').read()).toEqual(toBf16(randomValues(15, 2)));
    parameter.value.write(randomValues(15, 3));
    expect(await parameter.as('bf16').read()).toEqual(toBf16(randomValues(15, 3)));
    ops.reshape(parameter, [15]).write(randomValues(15, 4));
    expect(await parameter.as('bf16').read()).toEqual(toBf16(randomValues(15, 4)));
    using optimizer = new AdamW(new Map([['weight', parameter]]), { learningRate: 0.1 });
    for (let step = 0; step < 2; step++) {
      parameter.grad.write(randomValues(15, 5));
      optimizer.step();
      const before = (await parameter.value.read()) as Float32Array;
      expect(await parameter.as('bf16').read()).toEqual(toBf16(before));
    }
  });

  test(`a network on ${id} keeps one copy, of parameters and of averages`, async () => {
    const device = await open();
    using model = new UNet(device, options);
    const { usedBytes } = device.memory();
    const names = [...model.parameters().keys()];
    for (const parameter of model.parameters().values()) parameter.as('bf16');
    const added = device.memory().usedBytes - usedBytes;
    expect(added).toBeGreaterThanOrEqual(2 * model.store.flatValues.size);
    expect(added).toBeLessThan(2 * model.store.flatValues.size + 4096);
    for (const name of [names[0], names[7], names.at(-1)] as string[]) {
      const parameter = model.parameters().get(name) as Parameter;
      const values = (await parameter.value.read()) as Float32Array;
      expect(await parameter.as('bf16').read(), name).toEqual(toBf16(values));
    }
    using other = new UNet(device, { ...options, seed: 1 });
    model.store.copyFrom(other.store.flatValues);
    expect(await staleness(model)).toBeGreaterThan(0);
    model.parameters().get('conv_in.weight')?.as('bf16');
    expect(await staleness(model)).toBe(0);
  });

  test(`AdamW on ${id} writes the copy in its own pass`, async (context) => {
    const device = await openForBf16(open, context);
    using model = new UNet(device, options);
    const all = [...model.parameters()];
    const some = all.filter((_, i) => i % 3 > 0);
    const first = model.parameters().get('conv_in.weight') as Parameter;
    for (const parameters of [all, some]) {
      first.as('bf16');
      using optimizer = new AdamW(new Map(parameters), { learningRate: 0.1 });
      for (const [i, [, parameter]] of parameters.entries()) parameter.grad.write(randomValues(parameter.grad.size, i));
      optimizer.step();
      expect(await staleness(model)).toBe(0);
      first.write(randomValues(first.value.size, 9)); // within the reach of this optimiser or not
      optimizer.step();
      expect(await staleness(model)).toBe(0);
    }
  });

  test(`a recording on ${id} never reads a copy that is out of date`, async (context) => {
    const device = await openForBf16(open, context);
    const parameter = standalone(device);
    const x = device.tensor(toBf16(randomValues(6, 8)), [2, 3], { dtype: 'bf16' });
    const eager = () => noGrad(() => ops.linear(x, parameter));
    for (const upToDate of [false, true]) {
      parameter.write(randomValues(15, 10));
      if (upToDate) parameter.as('bf16');
      using program = device.record(eager);
      for (const seed of [11, 12]) {
        parameter.write(randomValues(15, seed));
        program.run();
        expect(await program.result.read()).toEqual(await eager().read());
      }
      using optimizer = new AdamW(new Map([['weight', parameter]]), { learningRate: 0.1 });
      parameter.grad.write(randomValues(15, 13));
      using update = device.record(() => {
        optimizer.enqueue();
        return eager();
      });
      optimizer.prepare();
      update.run();
      expect(await update.result.read()).toEqual(await eager().read());
      program.run();
      expect(await program.result.read()).toEqual(await eager().read());
    }
    using written = device.record(() => {
      parameter.write(randomValues(15, 14));
      return eager();
    });
    parameter.write(randomValues(15, 15));
    written.run();
    expect(await written.result.read()).toEqual(await eager().read());
    parameter.write(randomValues(15, 14));
    expect(await written.result.read()).toEqual(await eager().read());
  });

  test(`weights on ${id} that are written before backward are an error in bf16 too`, async (context) => {
    const device = await openForBf16(open, context);
    const parameter = standalone(device);
    const input = new Parameter('x', [2, 3], 'plain', device.full([2, 3], 1), device.zeros([2, 3]));
    const loss = ops.mean(ops.linear(ops.cast(input, 'bf16'), parameter));
    parameter.write(randomValues(15, 2));
    expect(() => backward(loss)).toThrow(OptionError);
    expect(() => backward(loss)).toThrow(/shape \[3,5\] that linear saved was written in place/);
  });
});
