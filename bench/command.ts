// The commands of the command line program that belong to the bench suite; lib/cli loads this file by its path in the package.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { interruptible } from '#lib/cli/interrupt.js';
import { deviceOptions, integer, jsonOption, list } from '#lib/cli/values.js';
import { addReportCommand } from './report/command.js';
import type { SuiteName } from './result.js';
import type { BenchArguments } from './run.js';

const suites: readonly SuiteName[] = ['kernels', 'blocks', 'train', 'sample', 'overhead'];

/** Adds them to the program. */
export function addBenchCommands(program: Command): void {
  const command = program
    .command('bench')
    .description(
      'measure this package: operations, blocks, training, sampling and costs of calls, against what the machine can do',
    );
  for (const option of [...options(), ...deviceOptions(), jsonOption()]) command.addOption(option);
  command.action((given: BenchArguments) =>
    interruptible(async (signal) => {
      const { bench } = await import('./run.js');
      await bench(given, signal);
    }),
  );
  addReportCommand(program);
}

const options = () => [
  new Option('--suite <list>', `of ${suites.join(', ')}, or all`).argParser(suiteList).default(suites, 'all'),
  new Option('--quick', 'few cases and few repetitions'),
  new Option('--only <text>', 'only what has this in its name (default: all)'),
  new Option('--dtype <list>', 'of the element types f32, bf16 (default: all that the device computes in)').argParser(dtypeList),
  new Option('--batch <list>', "batch sizes, instead of each suite's own").argParser(list(integer(1))),
  new Option('--repetitions <n>', "how often each case is timed, instead of each suite's own").argParser(integer(1)),
  new Option('--peers', 'measure PyTorch and onnxruntime as well, in turn, where they are installed'),
  new Option('--python <command>', 'the Python that may have PyTorch').default('python3'),
  new Option('--compare <files...>', 'result files: one to compare with, or two to compare with each other instead of measuring'),
  new Option('--report [file]', 'make a page with tables and pictures of it (default: report.html)'),
  new Option('--note <text>', 'goes into the result'),
];

function suiteList(text: string): readonly SuiteName[] {
  if (text === 'all') return suites;
  return oneOf(text, suites, "'all'");
}

function dtypeList(text: string) {
  return oneOf(text, ['f32', 'bf16'] as const);
}

/** Some of these, in their order. */
function oneOf<T extends string>(text: string, known: readonly T[], also = ''): readonly T[] {
  const given = text.split(',');
  const unknown = given.find((name) => !(known as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw new InvalidArgumentError(`'${unknown}' is not among ${known.join(', ')}${also && `, nor is it ${also}`}.`);
  return known.filter((name) => given.includes(name));
}
