// What ptxas says of every kernel of a build with --resource-usage and scripts/keep-log.sh, and whether it may be so:
// a kernel that the time goes into keeps its values in registers, and the library stays small.
//   node scripts/cuda-resources.mjs <build folder>
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';

/** Files of native/cuda whose kernels may neither spill nor have arrays in local memory. */
const hot = /^(adamw|attention|conv|gemm|group_norm|linear|mma|process|reverse_step|variational)/;
/**
 * Bytes that kernels of these files may keep on the stack after all: in the float32 products (gemm.cuh) ptxas puts one value
 * there for some architectures rather than take more than 80 registers.
 */
const allowance = { conv2d_backward: 8, linear_group: 8 };
const largestLibrary = 30 * 2 ** 20;

/** The kernels of one compilation: ptxas says name, stack and registers of one kernel after the other. */
export function kernelsOf(log) {
  const pattern =
    /Compiling entry function '(\S+)' for '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers/gs;
  return [...log.matchAll(pattern)].map(([, name, architecture, ...numbers]) => {
    const [stack, stores, loads, registers] = numbers.map(Number);
    return { name, architecture, stack, spills: stores + loads, registers };
  });
}

/** What is wrong with kernels of the file `stem`.cu. */
export function faultsOf(stem, kernels) {
  if (!hot.test(stem)) return [];
  const allowed = allowance[stem] ?? 0;
  return kernels
    .filter(({ stack, spills }) => stack > allowed || spills > 2 * allowed)
    .map(
      ({ name, architecture, stack, spills }) =>
        `${stem}.cu, ${architecture}: ${spills} bytes spilled, ${stack} bytes of stack (${allowed} allowed) in ${name}`,
    );
}

/** Prints a line for each file and architecture of a build; ends the process with 1 when something is not as it must be. */
export function checkResources(folder) {
  const logs = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.cu.o.log'));
  const faults = [];
  let count = 0;
  console.log('file                      architecture  kernels  most registers  most stack  most spilled');
  for (const path of logs.sort()) {
    const stem = basename(path, '.cu.o.log');
    const kernels = kernelsOf(readFileSync(join(folder, path), 'utf8'));
    count += kernels.length;
    faults.push(...faultsOf(stem, kernels));
    for (const architecture of new Set(kernels.map((kernel) => kernel.architecture))) {
      const own = kernels.filter((kernel) => kernel.architecture === architecture);
      const most = (field) => String(Math.max(...own.map((kernel) => kernel[field])));
      const numbers = [String(own.length).padEnd(9), most('registers').padEnd(16), most('stack').padEnd(12), most('spills')];
      console.log(stem.padEnd(26) + architecture.padEnd(14) + numbers.join(''));
    }
  }
  const { size } = statSync(join(folder, 'Release/libdiffusion_cuda.so'));
  if (count === 0) faults.push(`no compiler output below ${folder}: build with scripts/cuda-build.mjs`);
  if (size > largestLibrary) faults.push(`libdiffusion_cuda.so has ${size} bytes, more than ${largestLibrary}`);
  console.log(`${count} kernels; libdiffusion_cuda.so: ${(size / 2 ** 20).toFixed(1)} MiB`);
  for (const fault of faults) console.error(fault);
  if (faults.length > 0) process.exit(1);
}

if (import.meta.filename === process.argv[1]) checkResources(process.argv[2]);
