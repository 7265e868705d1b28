import { describe, expect, test } from 'vitest';
import {
  DeviceMismatchError,
  type DiffusionError,
  DisposedError,
  DTypeError,
  OptionError,
  ShapeError,
} from '../../lib/errors.js';
import type { DType } from '../../lib/native.js';
import { openDevice } from '../../lib/openDevice.js';
import { eachDevice } from '../support/devices.js';
import { type Arguments, operations, type Shape } from '../support/operations.js';

/** The error of a call, which must be of this class and name the operation and the argument. */
function expectError(call: () => unknown, type: abstract new (...args: never[]) => DiffusionError, ...mentions: RegExp[]): void {
  expect(call).toThrow(type);
  for (const mention of mentions) expect(call).toThrow(mention);
}

eachDevice((id, open) => {
  describe.each(Object.entries(operations))(`arguments of %s on ${id}`, (name, operation) => {
    const names = Object.keys(operation.arguments);
    const dtypeOf = (argument: string): DType => operation.dtypes?.[argument] ?? 'f32';
    const tensors = async (): Promise<Arguments> => {
      const device = await open();
      return Object.fromEntries(
        names.map((one) => [one, device.zeros(operation.arguments[one] as Shape, { dtype: dtypeOf(one) })]),
      );
    };

    test.each(names)('%s', async (argument) => {
      const device = await open();
      const good = await tensors();
      const shape = operation.arguments[argument] as Shape;
      const mention = [new RegExp(`^${name}: `), new RegExp(argument)];
      expect(() => operation.run(good)).not.toThrow();

      if (!operation.anyShape?.includes(argument)) {
        const five = { ...good, [argument]: device.zeros([1, 1, 1, 1, 7], { dtype: dtypeOf(argument) }) };
        expectError(() => operation.run(five), ShapeError, ...mention.slice(0, 1));
      }
      if (!operation.anyDType?.includes(argument))
        expectError(() => operation.run({ ...good, [argument]: device.zeros(shape, { dtype: 'u8' }) }), DTypeError, ...mention);
      for (const wrong of [5, 'x', {}, new Float32Array(3)])
        expectError(() => operation.run({ ...good, [argument]: wrong as never }), OptionError, ...mention);
      const disposed = device.zeros(shape, { dtype: dtypeOf(argument) });
      disposed.dispose();
      expectError(() => operation.run({ ...good, [argument]: disposed }), DisposedError, ...mention);
      if (names.length > 1) {
        const other = await openDevice(id);
        const foreign = other.zeros(shape, { dtype: dtypeOf(argument) });
        expectError(() => operation.run({ ...good, [argument]: foreign }), DeviceMismatchError, mention[0] as RegExp);
        await other.close();
        expectError(() => operation.run({ ...good, [argument]: foreign }), DisposedError, ...mention);
      }
    });

    test.each(operation.wrong ?? [])('option %o is refused', async (options, mention) => {
      const good = await tensors();
      expectError(() => operation.run(good, options), OptionError, new RegExp(`^${name}: `), mention);
    });

    test('an unknown option is refused with the known ones', async () => {
      if (!operation.wrong) return; // takes no options
      const good = await tensors();
      expectError(() => operation.run(good, { sillu: true }), OptionError, /unknown option 'sillu'; known options are /);
    });
  });
});
