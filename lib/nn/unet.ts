import type { Parameter } from '../autograd/parameter.js';
import { noGrad } from '../autograd/tape.js';
import type { Device } from '../device.js';
import { DisposedError, OptionError } from '../errors.js';
import { writeModelFolder } from '../files/diffusers.js';
import type { FloatType, TensorLike } from '../ops/check.js';
import { checkPath, parseOptions } from '../options.js';
import { snapshotSeed, toRng } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { OpenAiOptions } from './openaiOptions.js';
import { ParameterStore } from './parameters.js';
import { isTimeProjection, TimeProjections } from './timeProjections.js';
import {
  forwardSchema,
  fromSchema,
  type UNetForwardOptions,
  type UNetFromDiffusersOptions,
  type UNetLoadOptions,
} from './unetArguments.js';
import { classesOf, contradiction, parseConfig, type UNet2DConfig } from './unetConfig.js';
import { embedTime, predict } from './unetForward.js';
import { checkImages, labelTensor, type ModelTimesteps, timestepTensor } from './unetInputs.js';
import { type UNetLayers, unetLayers } from './unetLayers.js';
import { type StoredNetwork, storedNetwork, storedOpenAiNetwork } from './unetLoading.js';
import { checkComputeType, checkDevice, checkUNetOptions, type UNetOptions } from './unetOptions.js';
import { configOf, optionsOf } from './unetTranslation.js';

/** A network as a file describes it: what the constructor makes when it is not given options. */
class Description {
  constructor(
    readonly config: UNet2DConfig,
    readonly options: Readonly<UNetOptions>,
    /** Of new weights; null: zeros, to be filled. */
    readonly seed: number | null = null,
    readonly zeroInit = true,
  ) {}
}

/**
 * The UNet of DDPM (Ho et al. 2020) with the variations of its successors, as a `UNet2DModel` of diffusers: residual blocks at
 * several sizes on the way down and up, joined by skips, self-attention at some of them.
 */
export class UNet {
  /** Where its weights are. */
  readonly device: Device;
  /** The options that make it; of a loaded network, those that come nearest. */
  readonly config: Readonly<UNetOptions>;
  /** The same in diffusers' words, and complete. @internal */
  readonly architecture: UNet2DConfig;
  /** @internal */
  readonly store: ParameterStore;
  readonly #layers: UNetLayers;
  readonly #timeProjections: TimeProjections;
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
      ({ seed, zeroInit } = options);
    } else {
      const checked = checkUNetOptions('new UNet', device, options);
      this.architecture = configOf('new UNet', checked);
      this.config = Object.freeze(checked);
      ({ seed, zeroInit } = checked);
    }
    const layers = (declare: Parameters<typeof unetLayers>[0]) => unetLayers(declare, this.architecture, zeroInit);
    const { store, network } = ParameterStore.build(device, seed, layers, isTimeProjection);
    this.store = store;
    this.#layers = network;
    this.#timeProjections = new TimeProjections(store, network);
  }

  /**
   * Reads a network that diffusers or `save` wrote: safetensors, or what `torch.save` wrote (no Python is needed, and nothing of the
   * file is executed), in one file or in parts, of any floating-point type.
   * @param path a model folder, a pipeline folder (its `unet/`), or a weight file with config.json beside it
   * @throws FileFormatError naming the file and the key or tensor at fault; OptionError; DTypeError.
   */
  static async load(device: Device, path: string, options: UNetLoadOptions = {}): Promise<UNet> {
    return UNet.#loaded(device, await storedNetwork(device, path, options));
  }

  /**
   * Reads a network that the code of openai/improved-diffusion or openai/guided-diffusion wrote: `model…pt` or `ema_….pt`, or
   * safetensors with the same names.
   * @param options the arguments of `UNetModel`, or of the scripts, that the network was made with: the file does not say them
   * @throws OptionError naming the argument; FileFormatError naming the file and, by OpenAI's names, tensors that are missing, left over
   * or of another shape; DTypeError.
   */
  static async loadOpenAI(device: Device, path: string, options: OpenAiOptions): Promise<UNet> {
    return UNet.#loaded(device, await storedOpenAiNetwork(device, path, options));
  }

  static async #loaded(device: Device, { config, options, weights }: StoredNetwork): Promise<UNet> {
    const model = UNet.#described(device, new Description(config, options));
    try {
      await weights.loadInto(model.store.parameters);
    } catch (error) {
      model.dispose();
      throw error;
    }
    return model;
  }

  /**
   * A network with new weights as a configuration of diffusers' `UNet2DModel` describes it; entries that are left out have that
   * class's defaults.
   * @param config the contents of config.json
   * @throws OptionError naming the entry that this package does not compute; DTypeError; OutOfMemoryError.
   */
  static fromDiffusers(device: Device, config: object, options: UNetFromDiffusersOptions = {}): UNet {
    const owner = 'UNet.fromDiffusers';
    checkDevice(owner, device);
    const { dtype, gradientCheckpointing, seed, zeroInit } = parseOptions(owner, fromSchema, options);
    checkComputeType(owner, device, dtype);
    const architecture = parseConfig(owner, config);
    const problem = contradiction(architecture);
    if (problem !== null) throw new OptionError(`${owner}: ${problem}`);
    const nearest = optionsOf(architecture, dtype, gradientCheckpointing);
    return UNet.#described(device, new Description(architecture, nearest, seed, zeroInit));
  }

  static #described(device: Device, description: Description): UNet {
    return new UNet(device, description as UNetOptions);
  }

  /** Height and width that it is meant for; null when its file does not say. */
  get imageSize(): readonly [height: number, width: number] | null {
    const size = this.architecture.sample_size;
    return typeof size === 'number' ? [size, size] : size;
  }

  /** Channels of the noisy images. */
  get inChannels(): number {
    return this.architecture.in_channels;
  }

  /** Channels of the prediction. */
  get outChannels(): number {
    return this.architecture.out_channels;
  }

  /** 0 where it has no classes. */
  get numClasses(): number {
    return classesOf(this.architecture) ?? 0;
  }

  /** Whether `forward` needs labels. @internal */
  get takesLabels(): boolean {
    return this.numClasses > 0 || this.architecture.class_embed_type !== null;
  }

  /** Whether `dispose` has been called. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Element type of the arithmetic on images. @internal */
  get dtype(): FloatType {
    return this.config.dtype ?? 'f32';
  }

  /**
   * Brings the copy of the weights up to date that bf16 arithmetic reads: before a recording that shall not do so by itself at
   * every run. @internal
   */
  refreshWeights(): void {
    if (this.dtype === 'bf16') this.store.copy.refreshed();
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
    if (seed !== undefined) toRng('UNet.forward', device, { seed }); // wrong ones are reported without dropout too
    const run = () =>
      device.scope(() => {
        const steps = timestepTensor(device, architecture, t, batch);
        const classes = labelTensor(device, architecture, labels, batch);
        const dropout = train && architecture.dropout > 0 ? architecture.dropout : 0;
        return predict(this.#layers, architecture, images, {
          dtype: this.dtype,
          time: this.#timeProjections.of(embedTime(this.#layers, architecture, steps, classes)),
          dropout,
          ...(dropout > 0 && { seed: seed ?? snapshotSeed(device) }),
          recompute: train && this.config.gradientCheckpointing ? this.store.flatValues : null,
        });
      });
    return train ? run() : noGrad(run);
  }

  /**
   * Writes config.json and diffusion_pytorch_model.safetensors as diffusers does, each replaced in one step. The weights are read
   * one at a time: leave them unchanged until the promise settles.
   * @throws FileFormatError naming the file that cannot be written.
   */
  async save(folder: string): Promise<void> {
    if (this.#disposed) throw new DisposedError('UNet.save: the network has been disposed');
    checkPath('UNet.save', 'folder', folder);
    await writeModelFolder(folder, this.architecture, this.store.parameters);
  }

  /** The same network on the same device with weights of its own. */
  clone(): UNet {
    if (this.#disposed) throw new DisposedError('UNet.clone: the network has been disposed');
    const copy = UNet.#described(this.device, new Description(this.architecture, this.config));
    copy.store.copyFrom(this.store.flatValues);
    return copy;
  }

  /** Frees weights and gradients; a second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#timeProjections.dispose();
    this.store.dispose();
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
