import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../support/temporaryFolder.js';

const root = join(__dirname, '..', '..');

interface Versions {
  tooNew(files: string[]): string[];
  lowerVersions(file: string, paths: Map<string, string>, provided?: Set<string>): void;
  isOld(version: string): boolean;
}
interface Libraries {
  sharedLibraries(files: string[]): Record<'system' | 'cxx' | 'others', [string, string][]>;
}
const versions = () => import(join(root, 'scripts/prebuilt/versions.mjs')) as Promise<Versions>;
const libraries = () => import(join(root, 'scripts/gpu/libraries.mjs')) as Promise<Libraries>;

/** The shared files of a built prebuilt package, or nothing where `npm run prebuilt` has not run. */
function prebuilt(): string[] {
  const folder = join(root, 'out', 'prebuilt');
  try {
    const names = readdirSync(folder, { recursive: true }) as string[];
    return names.filter((name) => /^linux-[^/]*\/.*(\.node|\.so[.\d]*)$/.test(name)).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

test('what systems of 2018 have: glibc 2.28 and the C++ runtime of GCC 8', async () => {
  const { isOld } = await versions();
  for (const version of ['GLIBC_2.28', 'GLIBC_2.2.5', 'GLIBC_2.3', 'GLIBCXX_3.4', 'GLIBCXX_3.4.25', 'CXXABI_1.3.11', 'GOMP_9.0'])
    expect(isOld(version), version).toBe(true);
  for (const version of ['GLIBC_2.29', 'GLIBC_2.34', 'GLIBCXX_3.4.26', 'CXXABI_1.3.12', 'GLIBC_ABI_DT_RELR', 'GCC_12.0.0'])
    expect(isOld(version), version).toBe(false);
});

const { glibcVersionRuntime: glibc = '' } = (process.report.getReport() as { header: { glibcVersionRuntime?: string } }).header;
const reason = Number(glibc.split('.')[1]) >= 36 ? undefined : `this machine's glibc ${glibc} is older than 2.36`;

describe.skipIf(reason)(`a library that is linked here${reason ? ` (skipped: ${reason})` : ''}`, () => {
  const folder = temporaryFolder();
  const compile = (name: string, code: string, ...flags: string[]) => {
    const [source, target] = [join(folder, `${name}.cc`), join(folder, name)];
    writeFileSync(source, code);
    execFileSync(process.env.CXX ?? 'g++', ['-O1', '-fno-builtin', source, ...flags, '-o', target]);
    return target;
  };
  const code = `
    #include <dlfcn.h>
    #include <math.h>
    #include <pthread.h>
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static double made;
    extern "C" double work(double x) {
      pthread_once(&once, [] { made = dlsym(RTLD_DEFAULT, "malloc") != nullptr ? 1 : 0; });
      return made * pow(x, 3) + exp(x) + log2(x);
    }`;

  test('asks for symbols as the old systems have them, and computes the same', async () => {
    const { tooNew, lowerVersions } = await versions();
    const { sharedLibraries } = await libraries();
    const library = compile('libwork.so', code, '-shared', '-fPIC', '-lm');
    const caller = compile(
      'caller',
      `#include <stdio.h>\nextern "C" double work(double);\nint main() { printf("%a", work(1.7)); }`,
      library,
      `-Wl,-rpath,${folder}`,
    );
    const before = execFileSync(caller, { encoding: 'utf8' });
    expect(tooNew([library]).join('\n')).toMatch(/GLIBC_2\.29 of libm\.so\.6 for .*pow/);
    const { system, cxx } = sharedLibraries([library]);
    lowerVersions(library, new Map([...system, ...cxx]));
    expect(tooNew([library])).toEqual([]);
    const env = { ...process.env, LD_BIND_NOW: '1' };
    expect(execFileSync(caller, { encoding: 'utf8', env })).toBe(before);
  });

  test('cannot be made to run there when it needs what they lack', async () => {
    const { tooNew, lowerVersions } = await versions();
    const { sharedLibraries } = await libraries();
    const newer = `#include <stdlib.h>\n#include <math.h>\nextern "C" double work() { return arc4random() + pow(3, work()); }`;
    const library = compile('libnewer.so', newer, '-shared', '-fPIC', '-lm');
    const { system, cxx } = sharedLibraries([library]);
    expect(tooNew([library]).join('\n')).toMatch(/GLIBC_2\.36 of libc\.so\.6 for .*arc4random/);
    expect(() => lowerVersions(library, new Map([...system, ...cxx]))).toThrow(/arc4random of libc\.so\.6 has no version before/);
  });
});

const files = prebuilt();
const absent = files.length > 0 ? '' : ' (skipped: npm run prebuilt has not run)';
test.skipIf(absent)(`the prebuilt packages ask for nothing newer${absent}`, async () => {
  const { tooNew } = await versions();
  expect(tooNew(files)).toEqual([]);
  for (const file of files) expect(readFileSync(file).includes('libOpenCL')).toBe(false);
});
