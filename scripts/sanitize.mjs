// The addon, the engine and the emulated CUDA backend under AddressSanitizer and UndefinedBehaviorSanitizer: builds them into
// out/sanitize and runs a part of the tests on the emulator. Exit status 1 for any report, even where the tests pass.
//   npm run test:sanitize [-- <test files instead of the usual ones>]
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const folder = join(root, 'out/sanitize');
const reports = join(folder, 'reports');

// Every kernel once, the engine's queue, memory and programs, several workers; what takes long is left out.
const usual = ['test/ops', 'test/cuda', 'test/bf16/ops.test.ts', 'test/emulator/workers.test.ts'];

function run(command, args, env) {
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  return status === 0;
}

function build() {
  const jobs = String(availableParallelism());
  const ready =
    run('cmake', ['-S', '.', '-B', folder, '-DDIFFUSION_SANITIZE=address,undefined', '--log-level=WARNING']) &&
    run('cmake', ['--build', folder, '--target', 'diffusion_native', 'emulator', '--parallel', jobs]);
  if (!ready) process.exit(1);
  // oneDNN and OpenMP are not what is looked at: the CPU backend is that of the usual build.
  const cpu = join(folder, 'Release/libdiffusion_cpu.so');
  rmSync(cpu, { force: true });
  symlinkSync(join(root, 'out/cmake/Release/libdiffusion_cpu.so'), cpu);
}

/** A library of the compiler's; it has to come before all others of a process. */
const library = (name) => execFileSync(process.env.CXX ?? 'g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();

function test(files) {
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  const common = `log_path=${join(reports, 'report')}:print_stacktrace=1`;
  return run('npx', ['vitest', 'run', '--testNamePattern', 'emulator', ...files], {
    DIFFUSION_NATIVE_PATH: join(folder, 'Release'),
    LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
    // Node leaks at its end, and wild accesses of kernels are the emulator's to report.
    ASAN_OPTIONS: `${common}:detect_leaks=0:detect_stack_use_after_return=0:handle_segv=0:handle_sigbus=0:allow_user_segv_handler=1`,
    UBSAN_OPTIONS: common,
  });
}

build();
const passed = test(process.argv.length > 2 ? process.argv.slice(2) : usual);
const found = existsSync(reports) ? readdirSync(reports) : [];
for (const name of found) console.error(readFileSync(join(reports, name), 'utf8'));
if (found.length > 0) console.error(`${found.length} processes reported`);
process.exit(passed && found.length === 0 ? 0 : 1);
