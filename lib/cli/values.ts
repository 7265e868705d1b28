import { InvalidArgumentError, Option } from 'commander';

/** Parser of an option's whole number. */
export function integer(minimum: number) {
  return (text: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < minimum)
      throw new InvalidArgumentError(`A whole number of at least ${minimum} is expected.`);
    return value;
  };
}

/** Parser of an option's number. */
export function number(minimum: number) {
  return (text: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value) || value < minimum)
      throw new InvalidArgumentError(`A number of at least ${minimum} is expected.`);
    return value;
  };
}

/** Parser of numbers separated by commas. */
export function list(parse: (text: string) => number) {
  return (text: string): number[] => text.split(',').map(parse);
}

/** Parser of one side in pixels, or of height×width. */
export function size(text: string): number | [height: number, width: number] {
  const sides = text.split(/[x×]/).map(Number);
  if (sides.length > 2 || !sides.every((side) => Number.isSafeInteger(side) && side >= 1))
    throw new InvalidArgumentError('A side in pixels, or HEIGHTxWIDTH, is expected.');
  return sides.length === 1 ? (sides[0] as number) : (sides as [number, number]);
}

/** An option with a fixed set of values. */
export const choice = (flags: string, description: string, ...choices: string[]) =>
  new Option(flags, description).choices(choices);

/** The options that every command with a device has. */
export const deviceOptions = () => [
  new Option('--device <id>', "'auto', 'cpu', 'cuda' or 'cuda:1'")
    .env('DIFFUSION_DEVICE')
    .argParser((id) => id || 'auto') // an empty variable is as good as none
    .default('auto'),
  new Option('--threads <n>', 'CPU threads (default: all)').argParser(integer(1)),
];

/** The option for results that programs read. */
export const jsonOption = () =>
  new Option('--json [file]', 'write the result as JSON to a file, or instead of text to the standard output');
