import { Slices } from '../../slices.js';
import { codes, type Machine } from './opcodes.js';
import type { PickleHost, PickleValue } from './pickleHost.js';
import type { PickleInput } from './pickleInput.js';

/** A checkpoint of a thousand tensors has some 30 000. */
const greatestCount = 2_000_000;

/** Instructions between two looks at the clock. */
const sliceInstructions = 1000;

/**
 * Reads one pickle, protocols 0 to 5, from where `input` stands to behind its end. Nothing is executed: names are handed to `host`,
 * which knows a few; of the instructions only those that make plain values are known.
 * @throws FileFormatError naming the instruction or the name at fault.
 */
export async function readPickle(input: PickleInput, host: PickleHost): Promise<PickleValue> {
  const machine: Machine = { input, host, stack: [], marks: [], memo: new Map() };
  const slices = new Slices();
  for (let count = 1; count <= greatestCount; count++) {
    if (count % sliceInstructions === 0) await slices.next();
    const at = input.position;
    const code = input.byte();
    if (code === stop) return onlyValue(machine);
    const instruction = codes.get(code);
    if (instruction === undefined)
      throw input.fail(`its pickle has the instruction 0x${code.toString(16).padStart(2, '0')} at byte ${at}, which is not read`);
    instruction(machine);
  }
  throw input.fail(`its pickle has more than ${greatestCount} instructions`);
}

const stop = 0x2e;

function onlyValue({ input, stack, marks }: Machine): PickleValue {
  if (stack.length === 1 && marks.length === 0) return stack[0] as PickleValue;
  throw input.fail(`its pickle ends with ${stack.length} values, expected one`);
}
