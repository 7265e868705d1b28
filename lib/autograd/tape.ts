import { OptionError } from '../errors.js';
import { checkFunction } from '../options.js';
import { countNode } from '../scope.js';
import type { Tensor } from '../tensor.js';
import type { Parameter } from './parameter.js';

/** What a tensor was computed from: an operation on the tape, or a parameter. */
export type Edge = TapeNode | Parameter;

/**
 * The gradient with respect to each input, in their order and in the input's element type; null where none is wanted or it has been
 * delivered already.
 */
export type Backward = (dy: Tensor) => readonly (Tensor | null)[];

/** One operation of the graph that hangs off a tensor. */
export class TapeNode {
  /** @internal */
  freed = false;
  /** In the order of their making. @internal */
  readonly number = countNode();

  constructor(
    readonly operation: string,
    readonly shape: readonly number[],
    readonly inputs: readonly (Edge | null)[],
    readonly saved: readonly Saved[],
    readonly backward: Backward | null,
    /** Memory for the gradient of the output, where it should be written if it is new; null for a second one. */
    readonly place: (() => Tensor | null) | null = null,
    /** In place of `backward`: computes the output once more, this time with the operations that it is made of on the tape. */
    readonly again: (() => Tensor) | null = null,
  ) {}

  free(): void {
    this.freed = true;
    for (const saved of this.saved) saved.dispose();
  }
}

/** A tensor kept for the backward pass: its own handle, and the count of writes at the time. */
export class Saved {
  readonly #alias: Tensor;
  readonly #version: number;

  constructor(tensor: Tensor) {
    this.#alias = tensor.device.unscoped(() => tensor.alias());
    this.#version = tensor.cell.version;
  }

  /** Throws OptionError when the tensor has been written in place since. */
  get(operation: string): Tensor {
    if (this.#alias.cell.version !== this.#version)
      throw new OptionError(
        `backward: a tensor of shape [${this.#alias.shape}] that ${operation} saved was written in place before backward`,
      );
    return this.#alias;
  }

  dispose(): void {
    this.#alias.dispose();
  }
}

let taping = true;

/** Whether operations are recorded for gradients just now. */
export function isTaping(): boolean {
  return taping;
}

/** Runs `body` with nothing recorded for gradients. The function must not be async. */
export function noGrad<T>(body: () => T): T {
  checkFunction('noGrad', body);
  return withTaping(false, body);
}

/** @internal */
export function withTaping<T>(on: boolean, body: () => T): T {
  const before = taping;
  taping = on;
  try {
    const result = body();
    if (result instanceof Promise) {
      result.catch(() => {});
      throw new OptionError('noGrad: the function must not be async: what follows an await would be recorded');
    }
    return result;
  } finally {
    taping = before;
  }
}

/** Whether an operation on these inputs must be taped. */
export function wantsGradient(...inputs: (Tensor | null | undefined)[]): boolean {
  if (!taping) return false;
  for (const input of inputs) if (input?.edge) return true;
  return false;
}

/**
 * Hangs the graph of an operation off its output, when an input wants gradients. `saved` are the tensors that the backward
 * pass reads; it gets them back in their order. The backward function runs inside a scope: what it returns is kept.
 */
export function tape(
  operation: string,
  output: Tensor,
  inputs: readonly (Tensor | null | undefined)[],
  saved: readonly (Tensor | null | undefined)[],
  backward: (dy: Tensor, saved: Tensor[]) => readonly (Tensor | null)[],
): Tensor {
  if (!wantsGradient(...inputs)) return output;
  const kept = saved.map((tensor) => (tensor ? new Saved(tensor) : null));
  output.edge = new TapeNode(
    operation,
    output.shape,
    inputs.map((input) => input?.edge ?? null),
    kept.filter((one) => one !== null),
    (dy) =>
      backward(
        dy,
        kept.map((one) => one?.get(operation) as Tensor),
      ),
  );
  return output;
}
