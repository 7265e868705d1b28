import type { Device } from '../device.js';
import type { Tensor } from '../tensor.js';
import { DeviceTables } from './deviceTables.js';
import { minSnrWeights } from './lossWeights.js';
import type { NoiseSchedule } from './schedule.js';
import {
  boundColumns,
  boundTable,
  type DirectPrediction,
  type FixedVariance,
  forwardStepTable,
  logVarianceRange,
  logVarianceTable,
  modelTimesteps,
  type Prediction,
  posteriorTable,
  type ReverseTableOptions,
  reverseColumns,
  reverseTable,
  signalTable,
  type Variance,
  varianceTable,
} from './tables.js';

/** What decides the tables of a process. */
export interface ProcessSettings {
  readonly device: Device;
  readonly schedule: NoiseSchedule;
  readonly prediction: Prediction;
  readonly variance: Variance;
  readonly rescaleTimesteps: boolean;
}

/** The coefficient tables of a `GaussianDiffusion` on its device; each is made on first use. */
export class ProcessTables {
  readonly #settings: ProcessSettings;
  readonly #tables: DeviceTables;

  constructor(settings: ProcessSettings) {
    this.#settings = settings;
    this.#tables = new DeviceTables('GaussianDiffusion', settings.device);
  }

  /** (√ᾱ, √(1-ᾱ)), [T, 2]. */
  signal(): Tensor {
    return this.#tables.get('signal', 2, () => signalTable(this.#settings.schedule));
  }

  /** (√(1-β), √β), [T, 2]. */
  forwardStep(): Tensor {
    return this.#tables.get('forwardStep', 2, () => forwardStepTable(this.#settings.schedule));
  }

  /** Factors of x_0 and x_t in the posterior mean, [T, 2]. */
  posterior(): Tensor {
    return this.#tables.get('posterior', 2, () => posteriorTable(this.#settings.schedule));
  }

  /** Variance of q(x_t | x_0) and its logarithm, [T]. */
  marginalVariance(): { variance: Tensor; logVariance: Tensor } {
    const variance = () => this.#settings.schedule.alphasCumprod.map((alphaBar) => 1 - alphaBar);
    return {
      variance: this.#tables.get('marginalVariance', 1, variance),
      logVariance: this.#tables.get('marginalLogVariance', 1, () => variance().map(Math.log)),
    };
  }

  /** Variance of a reverse step and its logarithm, [T]. */
  fixedVariance(kind: FixedVariance): { variance: Tensor; logVariance: Tensor } {
    const { schedule } = this.#settings;
    return {
      variance: this.#tables.get(`variance:${kind}`, 1, () => varianceTable(schedule, kind)),
      logVariance: this.#tables.get(`logVariance:${kind}`, 1, () => logVarianceTable(schedule, kind)),
    };
  }

  /** Logarithms of the variances between which a learned one lies, [T, 2]. */
  varianceRange(): Tensor {
    return this.#tables.get('varianceRange', 2, () => {
      const [small, large] = logVarianceRange(this.#settings.schedule);
      return Float64Array.from({ length: 2 * small.length }, (_, i) => (i % 2 === 0 ? small : large)[i >> 1] as number);
    });
  }

  /** Rows of `reverseStep`, [T, 13]. */
  reverse(kind: ReverseTableOptions['kind'], eta = 0, prediction = this.#settings.prediction): Tensor {
    const { schedule, variance } = this.#settings;
    const make = () => reverseTable(schedule, { prediction, variance, kind, eta });
    return this.#tables.get(`${kind}:${prediction}:${eta}`, reverseColumns, make);
  }

  /** Rows of `variationalBound`, [T, 9]. */
  bound(prediction = this.#settings.prediction): Tensor {
    const { schedule, variance } = this.#settings;
    return this.#tables.get(`bound:${prediction}`, boundColumns, () => boundTable(schedule, { prediction, variance }));
  }

  /** (1, variance) of the process, [T, 2]: what a classifier's gradient adds to the mean. */
  meanShift(kind: FixedVariance): Tensor {
    return this.#tables.get(`meanShift:${kind}`, 2, () => besideOne(varianceTable(this.#settings.schedule, kind)));
  }

  /** (1, (1-ᾱ)/√ᾱ), [T, 2]: what a classifier's gradient adds to x_0. */
  startShift(): Tensor {
    const { alphasCumprod } = this.#settings.schedule;
    return this.#tables.get('startShift', 2, () =>
      besideOne(alphasCumprod.map((alphaBar) => (1 - alphaBar) / Math.sqrt(alphaBar))),
    );
  }

  /** Weights of the squared error by min-SNR, [T]. */
  minSnr(gamma: number): Tensor {
    const { schedule, prediction } = this.#settings;
    return this.#tables.get('minSnr', 1, () => minSnrWeights(schedule, prediction as DirectPrediction, gamma));
  }

  /** The steps that a model is given, [T]: i32, or f32 when they are rescaled. */
  modelTimesteps(): Tensor {
    const { schedule, rescaleTimesteps } = this.#settings;
    return this.#tables.get('modelTimesteps', 1, () => modelTimesteps(schedule, rescaleTimesteps));
  }

  /** Throws DisposedError after `dispose()`. */
  check(): void {
    this.#tables.check();
  }

  dispose(): void {
    this.#tables.dispose();
  }
}

function besideOne(values: Float64Array): Float64Array {
  return Float64Array.from({ length: 2 * values.length }, (_, i) => (i % 2 === 0 ? 1 : (values[i >> 1] as number)));
}
