import type { Device } from '../device.js';
import type { Tensor } from '../tensor.js';
import { DeviceTables } from './deviceTables.js';
import type { NoiseSchedule } from './schedule.js';
import {
  type FixedVariance,
  forwardStepTable,
  logVarianceTable,
  modelTimesteps,
  type Prediction,
  posteriorTable,
  type ReverseTableOptions,
  reverseColumns,
  reverseTable,
  signalTable,
  varianceTable,
} from './tables.js';

/** What decides the tables of a process. */
export interface ProcessSettings {
  readonly device: Device;
  readonly schedule: NoiseSchedule;
  readonly prediction: Prediction;
  readonly variance: FixedVariance;
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
  reverseVariance(kind: FixedVariance = this.#settings.variance): { variance: Tensor; logVariance: Tensor } {
    const { schedule } = this.#settings;
    return {
      variance: this.#tables.get(`variance:${kind}`, 1, () => varianceTable(schedule, kind)),
      logVariance: this.#tables.get(`logVariance:${kind}`, 1, () => logVarianceTable(schedule, kind)),
    };
  }

  /** Rows of `reverseStep`, [T, 13]. */
  reverse(kind: ReverseTableOptions['kind'], eta = 0): Tensor {
    const { schedule, prediction, variance } = this.#settings;
    return this.#tables.get(`${kind}:${eta}`, reverseColumns, () => reverseTable(schedule, { prediction, variance, kind, eta }));
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
