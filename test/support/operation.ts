import { expect } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { relL2 } from './compare.js';
import { randomValues, sizeOf, tolerance, widen } from './values.js';

/** An operation and its definition in float64, over named inputs in the engine's layout. */
export interface Definition<K extends string> {
  inputs: Record<K, readonly number[]>;
  shape: readonly number[];
  run(tensors: Record<K, ops.TensorLike>): Tensor;
  reference(values: Record<K, Float64Array>): ArrayLike<number>;
  /** The longest sum in it, forward or backward. */
  terms: number;
  /** Makes of a standard normal what an input holds. */
  prepare?: Partial<Record<K, (value: number) => number>>;
}

/**
 * The output against the definition, and the gradient of every input against central differences of the definition: all inputs
 * together and each alone, as parameters and as results of other operations, each summed over two backward passes.
 */
export async function checkOperation<K extends string>(device: Device, definition: Definition<K>): Promise<void> {
  const names = Object.keys(definition.inputs) as K[];
  const values = record(names, (name, i) => {
    const prepare = definition.prepare?.[name] ?? ((value: number) => value);
    return randomValues(sizeOf(definition.inputs[name]), i + 1).map(prepare);
  });
  const limit = tolerance(definition.terms);
  const plain = record(names, (name) => device.tensor(values[name], definition.inputs[name]));
  const exact = record(names, (name) => widen(values[name]));
  const y = definition.run(plain);
  expect(y.shape).toEqual(definition.shape);
  expect(relL2(await y.read(), definition.reference(exact)), 'output').toBeLessThan(limit);

  const cotangents = [randomValues(y.size, 101), randomValues(y.size, 102)];
  const gradients = differences(exact, definition.reference, cotangents);
  for (const wanted of [names, ...names.map((name) => [name])]) {
    for (const through of ['parameter', 'result'] as const) {
      const parameters = record(wanted, (name) => {
        const shape = definition.inputs[name];
        const unset = device.full(shape, Number.NaN); // memory that nothing was added to is not read
        return new Parameter(name, shape, 'plain', device.tensor(values[name], shape), unset);
      });
      for (const [pass, cotangent] of cotangents.entries()) {
        const inputs: Record<K, ops.TensorLike> = { ...plain };
        for (const name of wanted) inputs[name] = through === 'parameter' ? parameters[name] : ops.scale(parameters[name], 1);
        backward(ops.mean(ops.mul(definition.run(inputs), device.tensor(cotangent, y.shape))));
        for (const name of wanted) {
          const expected = gradients[name].map((sums) => (pass === 0 ? sums[0] : sums[0] + sums[1]) / y.size);
          const context = `gradient of ${name} (${through}, ${wanted.length} wanted, pass ${pass + 1})`;
          expect(relL2(await parameters[name].grad.read(), expected), context).toBeLessThan(limit);
        }
      }
    }
  }
}

function record<K extends string, T>(names: readonly K[], make: (name: K, i: number) => T): Record<K, T> {
  return Object.fromEntries(names.map((name, i) => [name, make(name, i)])) as Record<K, T>;
}

/** For every element x of every input, Σ cotangent · ∂y/∂x for both cotangents. */
function differences<K extends string>(
  values: Record<K, Float64Array>,
  reference: (values: Record<K, Float64Array>) => ArrayLike<number>,
  cotangents: Float32Array[],
): Record<K, [number, number][]> {
  const h = 1e-5;
  const names = Object.keys(values) as K[];
  return record(names, (name) =>
    Array.from(values[name], (x, i) => {
      const at = (value: number): ArrayLike<number> => {
        values[name][i] = value;
        const y = widen(reference(values)); // a copy: the definition may return its input
        values[name][i] = x;
        return y;
      };
      const [above, below] = [at(x + h), at(x - h)];
      return cotangents.map((cotangent) =>
        cotangent.reduce((sum, c, j) => sum + (c * ((above[j] as number) - (below[j] as number))) / (2 * h), 0),
      ) as [number, number];
    }),
  );
}
