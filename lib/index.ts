export { backward } from './autograd/backward.js';
export type { NormalInit, ParameterOptions, UniformInit } from './autograd/initial.js';
export { Parameter } from './autograd/parameter.js';
export type { ParameterKind } from './autograd/parameterLayout.js';
export { noGrad } from './autograd/tape.js';
export type { Cifar10Options } from './data/cifar10.js';
export type { LoadingOptions } from './data/concurrent.js';
export { ImageDataset } from './data/dataset.js';
export type { FolderOptions } from './data/folder.js';
export type { IconBox, IconCollection, IconEntry, IconPackage, IconSource } from './data/iconify.js';
export type { IconOptions } from './data/icons.js';
export type { IdxOptions } from './data/idx.js';
export type { ImageItem, ImageIterable, ImageIterableSource, LabelledImage } from './data/imageIterable.js';
export type { ImageSize } from './data/images.js';
export type { IterableOptions } from './data/iterableSource.js';
export type { ImageReader, ReadingOptions } from './data/source.js';
export type { TensorDatasetOptions } from './data/tensorImages.js';
export { Device, type DeviceMemory } from './device.js';
export { type DeviceInfo, listDevices } from './deviceList.js';
export type { Labels, NoiseOptions, Timesteps } from './diffusion/arguments.js';
export type { BitsPerDimension, BitsPerDimensionOptions } from './diffusion/bitsPerDimension.js';
export { GaussianDiffusion, type LossesOf } from './diffusion/gaussian.js';
export type {
  DdimSampleOptions,
  DynamicThreshold,
  GaussianDiffusionOptions,
  GaussianMoments,
  LossKind,
  NoisedSample,
  PSampleOptions,
  QSampleOptions,
  ReverseMoments,
  ReverseSample,
  TrainingLosses,
  TrainingLossesOptions,
} from './diffusion/gaussianOptions.js';
export type { ForwardOptions, Model, ModelFunction, Network } from './diffusion/model.js';
export type { Respacing, SpacedSteps } from './diffusion/respace.js';
export {
  type BetaRangeOptions,
  type CosineScheduleOptions,
  type LinearScheduleOptions,
  type LucidrainsSigmoidOptions,
  NoiseSchedule,
  type ScheduleJson,
} from './diffusion/schedule.js';
export type { FixedVariance, Prediction, Variance } from './diffusion/tables.js';
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
export { type BitsEvaluation, type EvaluateBitsOptions, evaluateBits } from './evaluation/bitsPerDimension.js';
export type { EvaluationOptions } from './evaluation/evaluation.js';
export {
  type EvaluateLossOptions,
  evaluateLoss,
  type LossEvaluation,
  type MeanError,
  type QuartileError,
} from './evaluation/lossByTimestep.js';
export { type SlicedWassersteinOptions, slicedWasserstein } from './evaluation/slicedWasserstein.js';
export {
  type LoadPipelineOptions,
  loadPipeline,
  type Pipeline,
  type SavePipelineOptions,
  savePipeline,
} from './files/pipeline.js';
export type { DataArray, DType } from './native.js';
export * as blocks from './nn/blocks/index.js';
export type { OpenAiOptions } from './nn/openaiOptions.js';
export { UNet } from './nn/unet.js';
export type { UNetForwardOptions, UNetFromDiffusersOptions, UNetLoadOptions } from './nn/unetArguments.js';
export type { Resampling } from './nn/unetBlockNames.js';
export type { ModelLabels, ModelTimesteps } from './nn/unetInputs.js';
export type { UNetOptions } from './nn/unetOptions.js';
export { type OpenDeviceOptions, openDevice } from './openDevice.js';
export type { FloatType } from './ops/check.js';
export * as ops from './ops/index.js';
export { mean, mseLoss } from './ops/reduce.js';
export { Program, type ProgramCommand } from './program.js';
export type { RngOptions, Seed } from './random.js';
export { type RunMetrics, readMetrics } from './recording/metrics.js';
export type { PreviewOptions } from './recording/preview.js';
export { type RecordedStep, type RecordOptions, recordRun } from './recording/record.js';
export type { FromDiffusersOptions } from './sampling/diffusers/options.js';
export type { SampleOptions, SamplerMethod, SamplerOptions, SamplerStepsOptions } from './sampling/options.js';
export { Sampler, type SamplerStep } from './sampling/sampler.js';
export { type Layout, Tensor } from './tensor.js';
export { AdamW, type AdamWOptions } from './training/adamW.js';
export type { LearningRateSchedule } from './training/learningRate.js';
export {
  type DrawnTimesteps,
  type DrawOptions,
  type LossHistory,
  LossSecondMomentSampler,
} from './training/lossSecondMoment.js';
export { Trainer, type TrainingProgress } from './training/trainer.js';
export type { ResumeOptions, TrainerOptions } from './training/trainerOptions.js';
