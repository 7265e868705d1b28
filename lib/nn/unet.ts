import * as v from 'valibot';
import type { Parameter } from '../autograd/parameter.js';
import { noGrad } from '../autograd/tape.js';
import type { Device } from '../device.js';
import { DisposedError, OptionError } from '../errors.js';
import { readModelFolder, writeModelFolder } from '../files/diffusers.js';
import type { TensorLike } from '../ops/check.js';
import { conv2d } from '../ops/conv2d.js';
import { scale, silu } from '../ops/elementwise.js';
import { embedding } from '../ops/embedding.js';
import { groupNorm } from '../ops/groupNorm.js';
import { boolean, parseOptions, show, string } from '../options.js';
import { type Seed, snapshotSeed } from '../random.js';
import type { Tensor } from '../tensor.js';
import { attention, down, residual, timeEmbedding, up } from './blocks/index.js';
import { ParameterStore } from './parameters.js';
import type { UNet2DConfig } from './unetConfig.js';
import { checkImages, labelTensor, type ModelLabels, type ModelTimesteps, timestepTensor } from './unetInputs.js';
import { type AttentionLayer, type Block, type ResidualLayer, type UNetLayers, unetLayers } from './unetLayers.js';
import { checkComputeType, checkUNetOptions, configOf, optionsOf, type UNetOptions } from './unetOptions.js';

/** Options of `UNet.forward`. */
export interface UNetForwardOptions {
  /** One class a sample; needed exactly when the network has classes. */
  labels?: ModelLabels | null;
  /** Whether dropout acts and gradients are recorded; false. */
  train?: boolean;
  /** Seed of the dropout; left out: the device's own stream. */
  seed?: Seed;
}

/** Options of `UNet.load`. */
export interface UNetLoadOptions {
  /** Element type of the arithmetic. */
  dtype?: 'f32' | 'bf16';
  /** Which of several weight files: 'fp16' takes `diffusion_pytorch_model.fp16.safetensors`. */
  variant?: string;
}

const forwardSchema = v.strictObject({
  labels: v.optional(v.unknown()),
  train: v.optional(boolean(), false),
  seed: v.optional(v.unknown()),
});
const loadSchema = v.strictObject({ dtype: v.optional(v.unknown(), 'f32'), variant: v.optional(string()) });

/** A network as a file describes it: what the constructor makes when it is not given options. */
class Description {
  constructor(
    readonly config: UNet2DConfig,
    readonly options: Readonly<UNetOptions>,
  ) {}
}

/**
 * The UNet of DDPM (Ho et al. 2020) with the variations of its successors, as a `UNet2DModel` of diffusers: residual blocks at
 * several sizes on the way down and up, joined by skips, self-attention at some of them.
 */
export class UNet {
  readonly device: Device;
  /** The options that make it; of a loaded network, those that come nearest. */
  readonly config: Readonly<UNetOptions>;
  /** The same in diffusers' words, and complete. @internal */
  readonly architecture: UNet2DConfig;
  /** @internal */
  readonly store: ParameterStore;
  readonly #layers: UNetLayers;
  #disposed = false;

  /**
   * A network with new weights: PyTorch's defaults drawn from `seed`, the last layer of each block zero.
   * @throws OptionError naming the option; DTypeError when the device cannot compute in `dtype`; OutOfMemoryError.
   */
  constructor(device: Device, options: UNetOptions = {}) {
    this.device = device;
    let seed: number | null = null;
    let zeroInit = true;
    if (options instanceof Description) {
      this.architecture = options.config;
      this.config = options.options;
    } else {
      const checked = checkUNetOptions('new UNet', device, options);
      this.architecture = configOf('new UNet', checked);
      this.config = Object.freeze(checked);
      ({ seed, zeroInit } = checked);
    }
    const layers = (declare: Parameters<typeof unetLayers>[0]) => unetLayers(declare, this.architecture, zeroInit);
    const { store, network } = ParameterStore.build(device, seed, layers);
    this.store = store;
    this.#layers = network;
  }

  /**
   * Reads a network that diffusers or `save` wrote.
   * @param path a model folder, a pipeline folder (its `unet/`), or a .safetensors file with config.json beside it
   * @throws FileFormatError naming the file and the key or tensor at fault; OptionError; DTypeError.
   */
  static async load(device: Device, path: string, options: UNetLoadOptions = {}): Promise<UNet> {
    const { dtype, variant } = parseOptions('UNet.load', loadSchema, options);
    checkComputeType('UNet.load', device, dtype);
    if (typeof path !== 'string') throw new OptionError(`UNet.load: path must be a string, got ${show(path)}`);
    const folder = await readModelFolder(path, variant);
    const model = UNet.#described(device, folder.config, optionsOf(folder.config));
    try {
      await folder.loadInto(model.store.parameters);
    } catch (error) {
      model.dispose();
      throw error;
    }
    return model;
  }

  static #described(device: Device, config: UNet2DConfig, options: Readonly<UNetOptions>): UNet {
    return new UNet(device, new Description(config, options) as UNetOptions);
  }

  /** Height and width that it is meant for; null when its file does not say. */
  get imageSize(): readonly [height: number, width: number] | null {
    const size = this.architecture.sample_size;
    return typeof size === 'number' ? [size, size] : size;
  }

  get inChannels(): number {
    return this.architecture.in_channels;
  }

  get outChannels(): number {
    return this.architecture.out_channels;
  }

  /** 0 where it has no classes. */
  get numClasses(): number {
    return this.architecture.num_class_embeds ?? 0;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** All parameters under diffusers' names. */
  parameters(): Map<string, Parameter> {
    return new Map(this.store.parameters);
  }

  /**
   * The prediction for noisy images. Gradients are recorded, and dropout acts, only with `train: true`.
   * @param xt f32 [N, H, W, inChannels], height and width divisible by 2 for each level but the first
   * @param t one step a sample, as the network was trained with
   * @returns f32 [N, H, W, outChannels]
   * @throws ShapeError, DTypeError, OptionError, DeviceMismatchError or DisposedError naming the argument.
   */
  forward(xt: TensorLike, t: ModelTimesteps, options: UNetForwardOptions = {}): Tensor {
    if (this.#disposed) throw new DisposedError('UNet.forward: the network has been disposed');
    const { labels, train, seed } = parseOptions('UNet.forward', forwardSchema, options) as UNetForwardOptions;
    const { device, architecture } = this;
    const images = checkImages(device, architecture, xt);
    const batch = images.shape[0] as number;
    const run = () =>
      device.scope(() => {
        const steps = timestepTensor(device, t, batch);
        const classes = labelTensor(device, architecture, labels, batch);
        const dropout = train && architecture.dropout > 0 ? architecture.dropout : 0;
        const random = dropout > 0 ? { dropout, seed: seed ?? snapshotSeed(device) } : {};
        return this.#predict(images, this.#embedTime(steps, classes), random);
      });
    return train ? run() : noGrad(run);
  }

  /** What every residual block gets of the step and the class: silu(embedding), [N, D]. */
  #embedTime(steps: Tensor, classes: Tensor | null): Tensor {
    const { timeEmbedding: weights, classEmbedding } = this.#layers;
    const { block_out_channels, flip_sin_to_cos: flipSinToCos, freq_shift: freqShift } = this.architecture;
    const time = timeEmbedding(steps, weights, { channels: block_out_channels[0] as number, flipSinToCos, freqShift });
    return silu(classes && classEmbedding ? embedding(classes, classEmbedding, { addend: time }) : time);
  }

  #predict(images: Tensor, time: Tensor, random: { dropout?: number; seed?: Seed }): Tensor {
    const { convIn, middle, normOut, convOut, ...layers } = this.#layers;
    const { center_input_sample, downsample_padding, norm_num_groups: groups, norm_eps: eps } = this.architecture;
    const { device } = this;
    const resnet = (x: Tensor, { weights, options }: ResidualLayer, skip?: Tensor) =>
      residual(x, weights, { ...options, ...random, time, skip });
    const attend = (x: Tensor, layer: AttentionLayer | null) => (layer ? attention(x, layer.weights, layer.options) : x);
    const run = (x: Tensor, { residual, attention }: Block, skip?: Tensor) =>
      device.scope(() => attend(resnet(x, residual, skip), attention));

    let x = conv2d(center_input_sample ? scale(images, 2, -1) : images, convIn.weight, { bias: convIn.bias, padding: 1 });
    const skips = [x];
    const goDown = (made: Tensor) => {
      x = made;
      skips.push(made);
    };
    for (const { blocks, resample } of layers.down) {
      for (const block of blocks) goDown(run(x, block));
      if (resample) goDown(down(x, resample, { padding: downsample_padding }));
    }
    if (middle) x = device.scope(() => resnet(attend(resnet(x, middle.first), middle.attention), middle.last));
    const goUp = (made: Tensor, skip?: Tensor) => {
      skip?.dispose();
      x.dispose(); // without gradients its memory is free from here on
      x = made;
    };
    for (const { blocks, resample } of layers.up) {
      for (const block of blocks) {
        const skip = skips.pop() as Tensor;
        goUp(run(x, block, skip), skip);
      }
      if (resample) goUp(up(x, resample));
    }
    const normed = groupNorm(x, normOut.weight, normOut.bias, { groups, eps, silu: true });
    return conv2d(normed, convOut.weight, { bias: convOut.bias, padding: 1 });
  }

  /**
   * Writes config.json and diffusion_pytorch_model.safetensors as diffusers does, each replaced in one step. The weights are read
   * one at a time: leave them unchanged until the promise settles.
   * @throws FileFormatError naming the file that cannot be written.
   */
  async save(folder: string): Promise<void> {
    if (this.#disposed) throw new DisposedError('UNet.save: the network has been disposed');
    await writeModelFolder(folder, this.architecture, this.store.parameters);
  }

  /** The same network on the same device with weights of its own. */
  clone(): UNet {
    if (this.#disposed) throw new DisposedError('UNet.clone: the network has been disposed');
    const copy = UNet.#described(this.device, this.architecture, this.config);
    copy.store.copyFrom(this.store.flatValues);
    return copy;
  }

  /** Frees weights and gradients; a second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.store.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
