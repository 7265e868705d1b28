import type { TapeNode } from './autograd/tape.js';
import { OptionError } from './errors.js';
import { checkFunction } from './options.js';
import { Tensor } from './tensor.js';

/** The tensors in a value: itself, or inside arrays, maps, sets and plain objects, however deep. */
export function keptTensors(value: unknown, found = new Set<Tensor>(), seen = new Set<unknown>()): Set<Tensor> {
  if (value === null || typeof value !== 'object' || seen.has(value)) return found;
  seen.add(value);
  if (value instanceof Tensor) found.add(value);
  else if (Array.isArray(value) || value instanceof Set) for (const item of value) keptTensors(item, found, seen);
  else if (value instanceof Map) for (const item of value.values()) keptTensors(item, found, seen);
  else if (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null)
    for (const item of Object.values(value)) keptTensors(item, found, seen);
  return found;
}

let nodes = 0;

/** Counts the operations that are taped, in all. */
export const countNode = (): number => ++nodes;

/** How many operations have been taped so far. */
export const countedNodes = (): number => nodes;

/**
 * Frees what the graphs of some tensors keep for a backward pass that will not come, of operations taped after so many others.
 * Otherwise that memory would come back only with the garbage collector, and what failed for lack of memory would fail again.
 */
export function abandonGraphs(tensors: Iterable<Tensor>, since: number): void {
  const isNew = (edge: Tensor['edge']): edge is TapeNode =>
    edge !== null && 'saved' in edge && edge.number > since && !edge.freed;
  const waiting = [...tensors].map((tensor) => tensor.edge).filter(isNew);
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    node.free();
    waiting.push(...node.inputs.filter(isNew));
  }
}

/** The scopes that are open on a device, each with the tensors made in it. */
export class Scopes {
  readonly #open: Set<Tensor>[] = [];

  /** The innermost scope will dispose it. */
  add(tensor: Tensor): void {
    this.#open.at(-1)?.add(tensor);
  }

  /** Disposes what `body` makes, except what it returns: that belongs to the scope around. */
  run<T>(body: () => T): T {
    checkFunction('scope', body);
    const made = new Set<Tensor>();
    this.#open.push(made);
    const before = countedNodes();
    let kept: Set<Tensor> = new Set();
    try {
      const result = body();
      if (result instanceof Promise) {
        result.catch(() => {});
        throw new OptionError('scope: the function must not be async: what it makes after an await would escape');
      }
      kept = keptTensors(result);
      return result;
    } catch (error) {
      abandonGraphs(made, before);
      throw error;
    } finally {
      this.#open.pop();
      for (const tensor of made) {
        if (kept.has(tensor)) this.add(tensor);
        else tensor.dispose();
      }
    }
  }

  /** What `body` makes belongs to none of them. */
  without<T>(body: () => T): T {
    const open = this.#open.splice(0);
    try {
      return body();
    } finally {
      this.#open.push(...open);
    }
  }
}
