/** Stretches of steps that a curve is made of, at most. */
const capacity = 512;

/** A stretch of steps: their mean loss and the smallest and largest. */
export interface CurvePoint {
  /** The middle of the stretch. */
  step: number;
  mean: number;
  low: number;
  high: number;
}

interface Bucket {
  count: number;
  sum: number;
  steps: number;
  low: number;
  high: number;
}

/** The losses of a run of any length in bounded memory: when there is no room, neighbouring stretches become one. */
export class LossCurve {
  #width = 1;
  #buckets: (Bucket | undefined)[] = [];
  #last = 0;

  /** The highest step so far. */
  get last(): number {
    return this.#last;
  }

  /** `step` counts from 1; a loss that is not finite leaves a gap. */
  add(step: number, loss: number | null): void {
    this.#last = Math.max(this.#last, step);
    if (loss === null || !Number.isFinite(loss)) return;
    while ((step - 1) / this.#width >= capacity) this.#halve();
    const at = Math.floor((step - 1) / this.#width);
    this.#buckets[at] = joined(this.#buckets[at], { count: 1, sum: loss, steps: step, low: loss, high: loss });
  }

  /** In the order of the steps. */
  points(): CurvePoint[] {
    return this.#buckets.flatMap((bucket) => {
      if (!bucket) return [];
      const { count, sum, steps, low, high } = bucket;
      return [{ step: steps / count, mean: sum / count, low, high }];
    });
  }

  #halve(): void {
    this.#width *= 2;
    this.#buckets = Array.from({ length: capacity / 2 }, (_, at) => joined(this.#buckets[2 * at], this.#buckets[2 * at + 1]));
  }
}

function joined(a: Bucket | undefined, b: Bucket | undefined): Bucket | undefined {
  if (!a || !b) return a ?? b;
  return {
    count: a.count + b.count,
    sum: a.sum + b.sum,
    steps: a.steps + b.steps,
    low: Math.min(a.low, b.low),
    high: Math.max(a.high, b.high),
  };
}
