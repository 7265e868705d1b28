import { OptionError } from '../errors.js';
import { show } from '../options.js';
import {
  type BetaCurve,
  type BetaRangeOptions,
  betaCurves,
  type CosineScheduleOptions,
  checkBetas,
  type LinearScheduleOptions,
  type LucidrainsSigmoidOptions,
  zeroTerminalSnrBetas,
} from './betas.js';
import { parseRespacing, type Respacing, selectTimesteps } from './respace.js';
import { parseScheduleJson, type ScheduleJson, type ScheduleOrigin } from './scheduleJson.js';

export type { BetaRangeOptions, CosineScheduleOptions, LinearScheduleOptions, LucidrainsSigmoidOptions, Respacing, ScheduleJson };

/**
 * The variances of a discrete diffusion process and everything derived from them, in float64.
 * Arrays have length T and are indexed from 0: entry t belongs to step t + 1 of the papers.
 * Formulas: Ho et al. 2020 (arXiv 2006.11239), equations 4, 6 and 7; entry order and rounding follow improved-diffusion.
 */
export class NoiseSchedule {
  /** β_t, the variance added by step t. */
  readonly betas: Float64Array;
  /** ᾱ_t = ∏ (1 - β). */
  readonly alphasCumprod: Float64Array;
  /** ᾱ_{t-1}; 1 at t = 0. */
  readonly alphasCumprodPrev: Float64Array;
  /** β̃_t = β_t (1 - ᾱ_{t-1}) / (1 - ᾱ_t); 0 at t = 0. */
  readonly posteriorVariance: Float64Array;
  /** log β̃_t, where entry 0 repeats entry 1 (of a single step: log β_0), since log β̃_0 is -∞. */
  readonly posteriorLogVarianceClipped: Float64Array;
  /** Factor of x_0 in the posterior mean: √ᾱ_{t-1} β_t / (1 - ᾱ_t). */
  readonly posteriorMeanCoef1: Float64Array;
  /** Factor of x_t in the posterior mean: √α_t (1 - ᾱ_{t-1}) / (1 - ᾱ_t). */
  readonly posteriorMeanCoef2: Float64Array;
  /** The original step of each step of this schedule; 0 … T-1 unless respaced. */
  readonly timesteps: Int32Array;
  /** T of the schedule before any respacing: the range of the steps that the model sees. */
  readonly originalTimesteps: number;
  readonly #origin: ScheduleOrigin;
  readonly #respacing: readonly Respacing[];

  private constructor(
    betas: Float64Array,
    origin: ScheduleOrigin,
    respaced?: { timesteps: Int32Array; originalTimesteps: number; respacing: readonly Respacing[] },
  ) {
    checkBetas(betas, `NoiseSchedule.${origin.kind === 'betas' ? 'fromBetas' : origin.kind}`);
    let product = 1;
    this.betas = betas;
    this.alphasCumprod = betas.map((beta) => (product *= 1 - beta));
    this.alphasCumprodPrev = new Float64Array(betas.length);
    this.alphasCumprodPrev[0] = 1;
    this.alphasCumprodPrev.set(this.alphasCumprod.subarray(0, -1), 1);
    const table = (entry: (beta: number, alphaBar: number, alphaBarPrev: number) => number) =>
      betas.map((beta, t) => entry(beta, this.alphasCumprod[t] as number, this.alphasCumprodPrev[t] as number));
    this.posteriorVariance = table((beta, alphaBar, alphaBarPrev) => (beta * (1 - alphaBarPrev)) / (1 - alphaBar));
    this.posteriorLogVarianceClipped = this.posteriorVariance.map(Math.log);
    this.posteriorLogVarianceClipped[0] = Math.log((betas.length > 1 ? this.posteriorVariance[1] : betas[0]) as number);
    this.posteriorMeanCoef1 = table((beta, alphaBar, alphaBarPrev) => (beta * Math.sqrt(alphaBarPrev)) / (1 - alphaBar));
    this.posteriorMeanCoef2 = table(
      (beta, alphaBar, alphaBarPrev) => ((1 - alphaBarPrev) * Math.sqrt(1 - beta)) / (1 - alphaBar),
    );
    this.timesteps = respaced?.timesteps ?? Int32Array.from(betas.keys());
    this.originalTimesteps = respaced?.originalTimesteps ?? betas.length;
    this.#origin = origin;
    this.#respacing = respaced?.respacing ?? [];
  }

  /** The number of steps. */
  get length(): number {
    return this.betas.length;
  }

  /**
   * Betas in a straight line (Ho et al. 2020, section 4).
   * @throws OptionError for an unknown or invalid option, or when a beta leaves (0, 1].
   */
  static linear(options?: LinearScheduleOptions): NoiseSchedule {
    return NoiseSchedule.#curve('linear', betaCurves.linear(options));
  }

  /**
   * ᾱ(u) = cos²((u + s)/(1 + s) · π/2), β_t = min(1 - ᾱ((t+1)/T)/ᾱ(t/T), maxBeta) (Nichol & Dhariwal 2021, arXiv 2102.09672,
   * eq. 17); `cosine` of improved-diffusion and of lucidrains, `squaredcos_cap_v2` of diffusers.
   * @throws OptionError for an unknown or invalid option.
   */
  static cosine(options?: CosineScheduleOptions): NoiseSchedule {
    return NoiseSchedule.#curve('cosine', betaCurves.cosine(options));
  }

  /**
   * Betas whose square roots lie in a straight line, the `scaled_linear` of latent diffusion.
   * @throws OptionError for an unknown or invalid option, or when a beta leaves (0, 1].
   */
  static scaledLinear(options?: BetaRangeOptions): NoiseSchedule {
    return NoiseSchedule.#curve('scaledLinear', betaCurves.scaledLinear(options));
  }

  /**
   * Betas along a logistic curve over [-6, 6], the `sigmoid` of diffusers (from GeoDiff).
   * @throws OptionError for an unknown or invalid option, or when a beta leaves (0, 1].
   */
  static sigmoid(options?: BetaRangeOptions): NoiseSchedule {
    return NoiseSchedule.#curve('sigmoid', betaCurves.sigmoid(options));
  }

  /**
   * ᾱ along a falling logistic curve from `start` to `end` at temperature `tau` (Jabri et al. 2022, arXiv 2212.11972), the `sigmoid`
   * of lucidrains; β_t = min(1 - ᾱ((t+1)/T)/ᾱ(t/T), maxBeta). It is another curve than `NoiseSchedule.sigmoid`.
   * @throws OptionError for an unknown or invalid option.
   */
  static lucidrainsSigmoid(options?: LucidrainsSigmoidOptions): NoiseSchedule {
    return NoiseSchedule.#curve('lucidrainsSigmoid', betaCurves.lucidrainsSigmoid(options));
  }

  /**
   * A schedule of one's own; the betas are copied.
   * @throws OptionError when there are none, or when one is not a finite number in (0, 1].
   */
  static fromBetas(betas: ArrayLike<number>): NoiseSchedule {
    if (!Array.isArray(betas) && !(ArrayBuffer.isView(betas) && !(betas instanceof DataView))) {
      throw new OptionError(`NoiseSchedule.fromBetas: betas must be a Float64Array or an array of numbers, got ${show(betas)}`);
    }
    const stranger = Array.prototype.findIndex.call(betas, (beta: unknown) => typeof beta !== 'number');
    if (stranger >= 0) {
      throw new OptionError(`NoiseSchedule.fromBetas: betas[${stranger}] must be a number, got ${show(betas[stranger])}`);
    }
    return new NoiseSchedule(Float64Array.from(betas), { kind: 'betas', options: { betas: Array.from(betas) } });
  }

  /**
   * A shorter schedule over some of these steps, without retraining: β = 1 - ᾱ_{S_i}/ᾱ_{S_{i-1}}; `timesteps` maps to the original steps.
   * @param respacing a number of evenly spaced steps (the first and the last included), 'ddimN', sections ([10, 15, 20] or '10,15,20')
   *   as in improved-diffusion, or `{ steps, spacing, offset }` as in diffusers
   * @throws OptionError when the form is unknown or asks for steps that this schedule does not have.
   */
  respace(respacing: Respacing): NoiseSchedule {
    const checked = parseRespacing(respacing);
    const kept = selectTimesteps(this.length, checked);
    let previous = 1;
    const betas = Float64Array.from(kept, (t) => {
      const alphaBar = this.alphasCumprod[t] as number;
      const beta = previous === 0 ? 1 : 1 - alphaBar / previous;
      previous = alphaBar;
      return beta;
    });
    return new NoiseSchedule(betas, this.#origin, {
      timesteps: Int32Array.from(kept, (t) => this.timesteps[t] as number),
      originalTimesteps: this.originalTimesteps,
      respacing: [...this.#respacing, checked],
    });
  }

  /**
   * The same schedule with √ᾱ shifted and scaled so that it keeps its first value and ends at zero: pure noise at the last step
   * (Lin et al. 2023, arXiv 2305.08891, algorithm 1). At ᾱ = 0 the noise says nothing of x_0: predict 'v' or 'sample'.
   * @throws OptionError for a respaced schedule (rescale first), or one of a single step.
   */
  rescaleZeroTerminalSnr(): NoiseSchedule {
    const owner = 'schedule.rescaleZeroTerminalSnr';
    if (this.#origin.zeroTerminalSnr) return this;
    if (this.#respacing.length > 0) throw new OptionError(`${owner}: the schedule has been respaced; rescale it before`);
    if (this.length === 1) throw new OptionError(`${owner}: the schedule must have at least 2 steps, got 1`);
    return new NoiseSchedule(zeroTerminalSnrBetas(this.alphasCumprod), { ...this.#origin, zeroTerminalSnr: true });
  }

  /** A readable description for JSON, from which `NoiseSchedule.fromJSON` makes the same schedule bit for bit. */
  toJSON(): ScheduleJson {
    return structuredClone({ ...this.#origin, ...(this.#respacing.length > 0 && { respacing: [...this.#respacing] }) });
  }

  /**
   * Rebuilds a schedule from what `toJSON` gave.
   * @throws OptionError when the description is not one of a schedule.
   */
  static fromJSON(json: unknown): NoiseSchedule {
    const { kind, options, zeroTerminalSnr, respacing } = parseScheduleJson('NoiseSchedule.fromJSON', json);
    const made = kind === 'betas' ? NoiseSchedule.fromBetas(options.betas as number[]) : NoiseSchedule[kind](options as object);
    const schedule = zeroTerminalSnr ? made.rescaleZeroTerminalSnr() : made;
    return respacing.reduce<NoiseSchedule>((result, item) => result.respace(item as Respacing), schedule);
  }

  static #curve(kind: ScheduleJson['kind'], { betas, options }: BetaCurve): NoiseSchedule {
    return new NoiseSchedule(betas, { kind, options });
  }
}
