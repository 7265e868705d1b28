import { expect, test } from 'vitest';
import { DTypeError, OptionError } from '../../lib/errors.js';
import { UNet } from '../../lib/nn/unet.js';
import { eachDevice } from '../support/devices.js';

const tiny = { imageSize: 8, baseChannels: 8, channelMults: [1, 2] };

eachDevice((_id, open) => {
  test.each([
    [{ imageSize: 0 }, /'imageSize' must be a positive integer or \[height, width\], got 0/],
    [{ imageSize: [8] }, /'imageSize' must be/],
    [{ imageSize: [8, 9] }, /'imageSize' must be divisible by 2, the reduction of 2 levels, got \[8, 9\]/],
    [{ channelMults: [] }, /'channelMults' must be an array of one or more/],
    [{ channelMults: [1, 0.3] }, /'channelMults' must be whole channels when multiplied by 8/],
    [{ groups: 3 }, /'groups' must be a divisor of the channels 8,16, got 3/],
    [{ heads: 3 }, /'heads' must be a divisor of the attention's channels 16, got 3/],
    [{ headChannels: 32 }, /'headChannels' must be a divisor of the attention's channels 16, got 32/],
    [{ heads: 2, headChannels: 8 }, /'headChannels' must be left out where heads is given/],
    [{ dropout: 1 }, /'dropout' must be a number of at least 0 and below 1, got 1/],
    [{ timeEmbedding: 'scale_shift' }, /'timeEmbedding' must be one of 'add', 'scaleShift', got 'scale_shift'/],
    [{ resample: 'fir' }, /'resample' must be one of 'conv', 'resBlock', 'pool', got 'fir'/],
    [{ downsamplePadding: 2 }, /'downsamplePadding' must be 0 or 1, got 2/],
    [{ attnNormGroups: 3 }, /attn_norm_num_groups 3 does not divide 16 channels/],
    [{ midBlockScaleFactor: 0 }, /'midBlockScaleFactor' must be a finite number above 0, got 0/],
    [{ timeEmbeddingType: 'fourier' }, /'timeEmbeddingType' must be one of 'positional', 'learned', got 'fourier'/],
    [{ timeEmbeddingType: 'learned' }, /'numTrainTimesteps' must be given where timeEmbeddingType is 'learned', and only there/],
    [{ numTrainTimesteps: 10 }, /'numTrainTimesteps' must be given where timeEmbeddingType is 'learned', and only there, got 10/],
    [{ classEmbedType: 'identity', numClasses: 2 }, /'classEmbedType' must be null where numClasses is given/],
    [{ gradientCheckpointing: 1 }, /'gradientCheckpointing' must be true or false, got 1/],
    [{ numClasses: -1 }, /'numClasses' must be an integer of at least 0/],
    [{ seed: 1.5 }, /'seed' must be an integer/],
    [{ dtype: 'f16' }, /'dtype' must be one of 'f32', 'bf16', got 'f16'/],
    [{ channels: 3 }, /unknown option 'channels'; known options are imageSize, /],
  ])('%o', async (options, message) => {
    const device = await open();
    const { usedBytes } = device.memory();
    expect(() => new UNet(device, { ...tiny, ...options } as never)).toThrow(OptionError);
    expect(() => new UNet(device, { ...tiny, ...options } as never)).toThrow(message);
    expect(device.memory().usedBytes).toBe(usedBytes);
  });

  test('bf16 where the device has no arithmetic for it', async () => {
    const device = await open();
    if (device.info.bf16) {
      using model = new UNet(device, { ...tiny, dtype: 'bf16' });
      using copy = model.clone();
      expect([model.config.dtype, copy.config.dtype]).toEqual(['bf16', 'bf16']);
      return;
    }
    expect(() => new UNet(device, { ...tiny, dtype: 'bf16' })).toThrow(DTypeError);
    expect(() => new UNet(device, { ...tiny, dtype: 'bf16' })).toThrow(/dtype 'bf16' is not available on \S+ \(.+\)/);
  });

  test('what a network says of itself', async () => {
    const device = await open();
    using model = new UNet(device, { ...tiny, inChannels: 1, numClasses: 5 });
    expect(model.imageSize).toEqual([8, 8]);
    expect([model.inChannels, model.outChannels, model.numClasses, model.disposed]).toEqual([1, 1, 5, false]);
    expect(model.config).toMatchObject({
      imageSize: 8,
      groups: 2,
      resBlocks: 2,
      timeEmbedding: 'add',
      attentionResolutions: [16],
    });
    using again = new UNet(device, model.config);
    expect(again.architecture).toEqual(model.architecture);
    const parameters = model.parameters();
    expect(parameters.get('conv_in.weight')?.shape).toEqual([8, 1, 3, 3]);
    expect(parameters.get('class_embedding.weight')?.shape).toEqual([5, 32]);
    expect(parameters.has('mid_block.attentions.0.to_out.0.weight')).toBe(true);
    expect(parameters.has('down_blocks.0.attentions.0.to_q.weight')).toBe(false);
  });

  test('levels that have attention, and their heads', async () => {
    const device = await open();
    using model = new UNet(device, { ...tiny, imageSize: [8, 16], attentionResolutions: [8], heads: 2 });
    expect(model.architecture).toMatchObject({
      down_block_types: ['AttnDownBlock2D', 'DownBlock2D'],
      up_block_types: ['UpBlock2D', 'AttnUpBlock2D'],
      attention_head_dim: [4, 8],
    });
    using alike = new UNet(device, { ...tiny, heads: 2 });
    expect(alike.architecture.attention_head_dim).toBe(8);
    using single = new UNet(device, tiny);
    expect(single.architecture.attention_head_dim).toBe(null);
  });

  test.each([
    [{ baseChannels: 128 }, 32],
    [{ baseChannels: 8 }, 2],
    [{ baseChannels: 3 }, 1],
    [{ baseChannels: 132 }, 22],
    [{ baseChannels: 16, channelMults: [1, 1.5] }, 4],
  ])('default groups of %o: %i', async (options, groups) => {
    const device = await open();
    using model = new UNet(device, { imageSize: 8, resBlocks: 1, channelMults: [1], ...options });
    expect(model.config.groups).toBe(groups);
  });

  test("initial weights: PyTorch's ranges, by the seed, zero at the end of each block", async () => {
    const device = await open();
    using model = new UNet(device, { ...tiny, baseChannels: 32, numClasses: 50 });
    using same = new UNet(device, { ...tiny, baseChannels: 32, numClasses: 50 });
    using other = new UNet(device, { ...tiny, baseChannels: 32, numClasses: 50, seed: 1 });
    const seen = new Set<number>();
    for (const [name, parameter] of model.parameters()) {
      const values = await parameter.read();
      expect(await same.parameters().get(name)?.read(), name).toEqual(values);
      const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      if (/norm/.test(name))
        expect(
          values.every((value) => value === (name.endsWith('weight') ? 1 : 0)),
          name,
        ).toBe(true);
      else if (/conv2|to_out|conv_out/.test(name)) expect(largest, name).toBe(0);
      else {
        expect(await other.parameters().get(name)?.read(), name).not.toEqual(values);
        expect(seen.has(values[0] as number), name).toBe(false);
        seen.add(values[0] as number);
        const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
        const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
        const fanIn = fanInOf(model, name);
        const expected = name.startsWith('class_embedding') ? 1 : 1 / Math.sqrt(3 * fanIn);
        expect(Math.abs(deviation / expected - 1), name).toBeLessThan(4 / Math.sqrt(values.length));
        if (!name.startsWith('class_embedding')) expect(largest, name).toBeLessThanOrEqual(Math.fround(1 / Math.sqrt(fanIn)));
      }
    }
    using started = new UNet(device, { ...tiny, zeroInit: false });
    expect((await started.parameters().get('conv_out.weight')?.read())?.some((value) => value !== 0)).toBe(true);
  });

  test('all parameters lie in one tensor, padded with zeros', async () => {
    const device = await open();
    using model = new UNet(device, { ...tiny, baseChannels: 12, zeroInit: false });
    const { layout, flatValues, parameters } = model.store;
    const flat = (await flatValues.read()) as Float32Array;
    let end = 0;
    for (const [name, { offset, size }] of [...layout].sort((a, b) => a[1].offset - b[1].offset)) {
      expect(offset % 16, name).toBe(0);
      expect(offset).toBeGreaterThanOrEqual(end);
      expect(flat.subarray(end, offset).every((value) => value === 0)).toBe(true);
      expect(flat.subarray(offset, offset + size), name).toEqual(await parameters.get(name)?.value.read());
      end = offset + size;
    }
    expect(flat.length - end).toBeLessThan(16);
    expect([...layout.keys()]).toEqual([...model.parameters().keys()]);
  });

  test('a clone has the same weights and then its own', async () => {
    const device = await open();
    const { usedBytes } = device.memory();
    const model = new UNet(device, tiny);
    const copy = model.clone();
    const bias = (network: UNet) => network.parameters().get('conv_in.bias');
    expect(await bias(copy)?.read()).toEqual(await bias(model)?.read());
    expect(copy.config).toEqual(model.config);
    const before = await bias(copy)?.read();
    bias(model)?.write(new Float32Array(8).fill(3));
    expect(await bias(copy)?.read()).toEqual(before);
    model.dispose();
    copy.dispose();
    expect(device.memory().usedBytes).toBe(usedBytes);
  });
});

/** Inputs to one output of the layer that a weight or bias belongs to. */
function fanInOf(model: UNet, name: string): number {
  const { shape } = model.parameters().get(name.replace(/bias$/, 'weight')) as { shape: readonly number[] };
  return shape.slice(1).reduce((product, axis) => product * axis, 1);
}
