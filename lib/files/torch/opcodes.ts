import { show } from '../../options.js';
import { PickleGlobal, type PickleHost, type PickleValue } from './pickleHost.js';
import type { PickleInput } from './pickleInput.js';

/** State of the machine that a pickle is a program for. */
export interface Machine {
  readonly input: PickleInput;
  readonly host: PickleHost;
  stack: PickleValue[];
  /** Heights of the stack at the marks that are open. */
  marks: number[];
  memo: Map<number, PickleValue>;
}

type Instruction = (machine: Machine) => void;

const push =
  (value: (input: PickleInput) => PickleValue): Instruction =>
  ({ stack, input }) => {
    stack.push(value(input));
  };

function pop({ input, stack, marks }: Machine): PickleValue {
  if (stack.length <= (marks.at(-1) ?? 0)) throw input.fail('its pickle takes a value from an empty stack');
  return stack.pop() as PickleValue;
}

function top({ input, stack, marks }: Machine): PickleValue {
  if (stack.length <= (marks.at(-1) ?? 0)) throw input.fail('its pickle looks at an empty stack');
  return stack.at(-1) as PickleValue;
}

/** What was pushed since the last mark. */
function popMarked({ input, stack, marks }: Machine): PickleValue[] {
  const height = marks.pop();
  if (height === undefined) throw input.fail('its pickle has no mark');
  return stack.splice(height);
}

function take(machine: Machine, count: number): PickleValue[] {
  const values: PickleValue[] = [];
  for (let i = 0; i < count; i++) values.unshift(pop(machine));
  return values;
}

function append(machine: Machine, values: readonly PickleValue[]): void {
  const list = top(machine);
  if (!Array.isArray(list)) throw machine.input.fail(`its pickle appends to ${show(list)}`);
  for (const value of values) list.push(value);
}

function setItems(machine: Machine, values: readonly PickleValue[]): void {
  const map = top(machine);
  if (!(map instanceof Map) || values.length % 2 !== 0) throw machine.input.fail(`its pickle sets items of ${show(map)}`);
  for (let i = 0; i < values.length; i += 2) map.set(values[i] as PickleValue, values[i + 1] as PickleValue);
}

function toMap(machine: Machine, values: readonly PickleValue[]): Map<PickleValue, PickleValue> {
  machine.stack.push(new Map());
  setItems(machine, values);
  return machine.stack.pop() as Map<PickleValue, PickleValue>;
}

const get = (index: (input: PickleInput) => number): Instruction => {
  return ({ input, stack, memo }) => {
    const at = index(input);
    const value = memo.get(at);
    if (value === undefined) throw input.fail(`its pickle reads the memo at ${at}, where nothing is`);
    stack.push(value);
  };
};

const put = (index: (machine: Machine) => number): Instruction => {
  return (machine) => {
    machine.memo.set(index(machine), top(machine));
  };
};

function pushGlobal({ host, stack }: Machine, module: PickleValue, name: PickleValue): void {
  const global = new PickleGlobal(String(module), String(name));
  host.check(global);
  stack.push(global);
}

/** A call, or a new object of a class: the host says what it stands for. */
function reduce(machine: Machine): void {
  const [callee, args] = take(machine, 2);
  if (!(callee instanceof PickleGlobal) || !Array.isArray(args))
    throw machine.input.fail(`its pickle calls ${show(callee)} with ${show(args)}`);
  machine.stack.push(machine.host.call(callee, args));
}

/** Attributes of a dictionary, such as `_metadata` of a state dict, say nothing about tensors. */
function build(machine: Machine): void {
  pop(machine);
  const object = top(machine);
  if (!(object instanceof Map)) throw machine.input.fail(`its pickle sets attributes of ${show(object)}`);
}

function decimal(input: PickleInput, line: string): PickleValue {
  if (line === '00' || line === '01') return line === '01';
  const digits = line.endsWith('L') ? line.slice(0, -1) : line;
  if (!/^-?\d{1,38}$/.test(digits)) throw input.fail(`its pickle has the integer '${line.slice(0, 40)}'`);
  return Number.isSafeInteger(Number(digits)) ? Number(digits) : BigInt(digits);
}

function real(input: PickleInput, line: string): number {
  const value = { inf: Infinity, '-inf': -Infinity, nan: Number.NaN }[line] ?? Number(line === '' ? 'none' : line);
  if (Number.isNaN(value) && line !== 'nan') throw input.fail(`its pickle has the number '${line.slice(0, 40)}'`);
  return value;
}

const skip = (bytes: 1 | 8): Instruction => {
  return ({ input }) => {
    input.slice(bytes);
  };
};

/** Instructions by code. Those that import (INST, EXT1…), quote Python (STRING) or share buffers are not among them. */
export const codes: ReadonlyMap<number, Instruction> = new Map<number, Instruction>([
  [0x80, skip(1)], // PROTO
  [0x95, skip(8)], // FRAME
  [0x28, ({ stack, marks }) => void marks.push(stack.length)], // MARK
  [0x30, (machine) => void pop(machine)], // POP
  [0x31, (machine) => void popMarked(machine)], // POP_MARK
  [0x32, (machine) => void machine.stack.push(top(machine))], // DUP
  [0x4e, push(() => null)], // NONE
  [0x88, push(() => true)], // NEWTRUE
  [0x89, push(() => false)], // NEWFALSE
  [0x49, push((input) => decimal(input, input.line()))], // INT
  [0x4c, push((input) => decimal(input, input.line()))], // LONG
  [0x46, push((input) => real(input, input.line()))], // FLOAT
  [0x4a, push((input) => input.int32())], // BININT
  [0x4b, push((input) => input.unsigned(1))], // BININT1
  [0x4d, push((input) => input.unsigned(2))], // BININT2
  [0x8a, push((input) => input.integer(input.unsigned(1)))], // LONG1
  [0x47, push((input) => input.float64())], // BINFLOAT
  [0x56, push((input) => input.line())], // UNICODE
  [0x58, push((input) => input.text(input.unsigned(4)))], // BINUNICODE
  [0x8c, push((input) => input.text(input.unsigned(1)))], // SHORT_BINUNICODE
  [0x8d, push((input) => input.text(input.long()))], // BINUNICODE8
  [0x54, push((input) => input.text(input.unsigned(4)))], // BINSTRING
  [0x55, push((input) => input.text(input.unsigned(1)))], // SHORT_BINSTRING
  [0x42, push((input) => input.slice(input.unsigned(4)))], // BINBYTES
  [0x43, push((input) => input.slice(input.unsigned(1)))], // SHORT_BINBYTES
  [0x8e, push((input) => input.slice(input.long()))], // BINBYTES8
  [0x29, push(() => [])], // EMPTY_TUPLE
  [0x85, (machine) => void machine.stack.push(take(machine, 1))], // TUPLE1
  [0x86, (machine) => void machine.stack.push(take(machine, 2))], // TUPLE2
  [0x87, (machine) => void machine.stack.push(take(machine, 3))], // TUPLE3
  [0x74, (machine) => void machine.stack.push(popMarked(machine))], // TUPLE
  [0x5d, push(() => [])], // EMPTY_LIST
  [0x6c, (machine) => void machine.stack.push(popMarked(machine))], // LIST
  [0x61, (machine) => append(machine, take(machine, 1))], // APPEND
  [0x65, (machine) => append(machine, popMarked(machine))], // APPENDS
  [0x7d, push(() => new Map())], // EMPTY_DICT
  [0x64, (machine) => void machine.stack.push(toMap(machine, popMarked(machine)))], // DICT
  [0x73, (machine) => setItems(machine, take(machine, 2))], // SETITEM
  [0x75, (machine) => setItems(machine, popMarked(machine))], // SETITEMS
  [0x8f, push(() => [])], // EMPTY_SET
  [0x90, (machine) => append(machine, popMarked(machine))], // ADDITEMS
  [0x67, get((input) => Number(input.line()))], // GET
  [0x68, get((input) => input.unsigned(1))], // BINGET
  [0x6a, get((input) => input.unsigned(4))], // LONG_BINGET
  [0x70, put(({ input }) => Number(input.line()))], // PUT
  [0x71, put(({ input }) => input.unsigned(1))], // BINPUT
  [0x72, put(({ input }) => input.unsigned(4))], // LONG_BINPUT
  [0x94, put(({ memo }) => memo.size)], // MEMOIZE
  [0x63, (machine) => pushGlobal(machine, machine.input.line(), machine.input.line())], // GLOBAL
  [0x93, (machine) => pushGlobal(machine, ...(take(machine, 2) as [PickleValue, PickleValue]))], // STACK_GLOBAL
  [0x52, reduce], // REDUCE
  [0x81, reduce], // NEWOBJ
  [0x62, build], // BUILD
  [0x51, (machine) => void machine.stack.push(machine.host.persistent(pop(machine)))], // BINPERSID
]);
