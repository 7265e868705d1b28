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
