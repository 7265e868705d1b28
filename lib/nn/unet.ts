import type { Parameter } from '../autograd/parameter.js';
import { noGrad } from '../autograd/tape.js';
import type { Device } from '../device.js';
import { DisposedError } from '../errors.js';
import { writeModelFolder } from '../files/diffusers.js';
import { writeOnnx } from '../files/onnx/write.js';
import type { FloatType, TensorLike } from '../ops/check.js';
import { checkPath, parseOptions } from '../options.js';
import { toRng } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { OpenAiOptions } from './openaiOptions.js';
import type { ParameterStore } from './parameters.js';
import { forwardSchema, type UNetForwardOptions, type UNetFromDiffusersOptions, type UNetLoadOptions } from './unetArguments.js';
import { classesOf, type UNet2DConfig } from './unetConfig.js';
import { Description } from './unetDescription.js';
import { checkImages, type ModelTimesteps } from './unetInputs.js';
import { type StoredNetwork, storedNetwork, storedOpenAiNetwork } from './unetLoading.js';
import { UNetNetwork } from './unetNetwork.js';
import { checkDevice, type UNetOptions } from './unetOptions.js';

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
  readonly #network: UNetNetwork;
  #disposed = false;

  /**
   * A network with new weights: PyTorch's defaults drawn from `seed`, the last layer of each block zero.
   * @throws OptionError naming the option; DTypeError when the device cannot compute in `dtype`; OutOfMemoryError.
   */
  constructor(device: Device, options: UNetOptions = {}) {
    this.device = device;
    const description = Description.ofOptions(device, options);
    this.architecture = description.config;
    this.config = description.options;
    this.#network = new UNetNetwork(device, description);
    this.store = this.#network.store;
  }

  /**
   * Reads a network that diffusers or `save` wrote: safetensors, or what `torch.save` wrote (no Python is needed, and nothing of the
   * file is executed), in one file or in parts, of any floating-point type. With OpenAI's arguments as `config` it reads what
   * `UNet.loadOpenAI` does.
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
    return UNet.#described(device, Description.ofConfig(device, config, options));
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
    const images = checkImages(this.device, this.architecture, xt);
    if (seed !== undefined) toRng('UNet.forward', this.device, { seed }); // wrong ones are reported without dropout too
    const run = () => this.#network.forward(images, t, { labels, train, seed });
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

  /**
   * Writes the network as a standard ONNX file (opset 17), replaced in one step, for onnxruntime and other engines: `sample` f32
   * [N, inChannels, H, W] and `timestep` i64 [N] → `out_sample` f32 [N, outChannels, H, W], for any N, H and W that `forward` takes.
   * With classes there is `class_labels` i64 [N], −1 for none; with `classEmbedType` 'timestep' they are i64 [N], with 'identity' f32
   * [N, D]. Weights and arithmetic in the file are f32 whatever `dtype` is. The weights are read one at a time: leave them unchanged
   * until the promise settles.
   * @throws FileFormatError naming the file that cannot be written, or that would reach the 2 GB that ONNX files end at; OptionError for
   * what is no path; DisposedError when the network is disposed or its device closed.
   */
  async exportOnnx(path: string): Promise<void> {
    if (this.#disposed) throw new DisposedError('UNet.exportOnnx: the network has been disposed');
    checkDevice('UNet.exportOnnx', this.device);
    checkPath('UNet.exportOnnx', 'path', path);
    await writeOnnx(path, this.architecture, this.store.parameters);
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
    this.#network.dispose();
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
