export { Parameter } from './autograd/parameter.js';
export { backward, noGrad } from './autograd/tape.js';
export { ImageDataset, type TensorDatasetOptions } from './data/dataset.js';
export type { FolderOptions } from './data/folder.js';
export type { ImageItem, ImageIterable, ImageIterableSource } from './data/imageIterable.js';
export type { IterableOptions } from './data/iterableSource.js';
export type { ImageReader, ReadingOptions } from './data/source.js';
export { Device } from './device.js';
export { type DeviceInfo, listDevices } from './deviceList.js';
export type { Labels, NoiseOptions, Timesteps } from './diffusion/arguments.js';
export { GaussianDiffusion, type ReverseSample } from './diffusion/gaussian.js';
export type {
  DdimSampleOptions,
  GaussianDiffusionOptions,
  GaussianMoments,
  QSampleOptions,
  TrainingLosses,
  TrainingLossesOptions,
} from './diffusion/gaussianOptions.js';
export type { ForwardOptions, Model, ModelFunction, Network } from './diffusion/model.js';
export { NoiseSchedule } from './diffusion/schedule.js';
export {
  DatasetError,
  DeviceError,
  DeviceMismatchError,
  DiffusionError,
  type DiffusionErrorCode,
  DisposedError,
  DTypeError,
  FileFormatError,
  NonFiniteError,
  OptionError,
  OutOfMemoryError,
  ShapeError,
} from './errors.js';
export { loadPipeline, type Pipeline, type SavePipelineOptions, savePipeline } from './files/pipeline.js';
export type { DataArray, DType } from './native.js';
export * as blocks from './nn/blocks/index.js';
export { UNet, type UNetForwardOptions, type UNetLoadOptions } from './nn/unet.js';
export type { ModelLabels, ModelTimesteps } from './nn/unetInputs.js';
export type { UNetOptions } from './nn/unetOptions.js';
export { type OpenDeviceOptions, openDevice } from './openDevice.js';
export * as ops from './ops/index.js';
export { mean, mseLoss } from './ops/reduce.js';
export { Program } from './program.js';
export type { Seed } from './random.js';
export type { SampleOptions, SamplerOptions, SamplerStepsOptions } from './sampling/options.js';
export { Sampler, type SamplerStep } from './sampling/sampler.js';
export { type Layout, Tensor } from './tensor.js';
export { AdamW, type AdamWOptions } from './training/adamW.js';
export { Trainer, type TrainingProgress } from './training/trainer.js';
export type { TrainerOptions } from './training/trainerOptions.js';
