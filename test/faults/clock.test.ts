import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { note, times } from './long.js';
import { train } from './trainee.js';

const root = join(__dirname, '..', '..');
const compiler = process.env.CXX ?? 'g++';
const missing = spawnSync(compiler, ['--version']).status === 0 ? undefined : `${compiler} is not installed`;

/** Takes the place of the C library's: the clock of the system jumps by a day and more, forwards and back, each time it is asked. */
const jumping = `
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long jump() { static int calls = 0; return (++calls % 2 ? 1 : -1) * (86400L + calls % 1000); }
extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  const int status = syscall(SYS_clock_gettime, clock, now);
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += jump();
  return status;
}
extern "C" int gettimeofday(timeval* now, void*) noexcept {
  timespec precise;
  clock_gettime(CLOCK_REALTIME, &precise);
  *now = {precise.tv_sec, precise.tv_nsec / 1000};
  return 0;
}
extern "C" time_t time(time_t* into) noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return into ? *into = now.tv_sec : now.tv_sec;
}`;

// The long form: 2000 steps. Here: 100.
const steps = times(100, 2000);

test.skipIf(missing)(
  'a system clock that jumps by days, forwards and back, changes nothing of a run and holds nothing up',
  async () => {
    const folder = temporaryFolder();
    const [source, library] = [join(folder, 'jumping.cc'), join(folder, 'jumping.so')];
    writeFileSync(source, jumping);
    execFileSync(compiler, ['-O1', '-shared', '-fPIC', source, '-o', library], { stdio: 'pipe' });
    const env = { LD_PRELOAD: library };
    const said = execFileSync(process.execPath, ['-p', 'Date.now()'], { encoding: 'utf8', env: { ...process.env, ...env } });
    expect(Math.abs(Number(said) - Date.now())).toBeGreaterThan(86_000_000);

    const began = performance.now();
    const steady = train(join(folder, 'steady'), steps, steps / 4);
    expect(await steady.ended, steady.errors()).toBe(0);
    const undisturbed = performance.now() - began;
    const jumped = train(join(folder, 'jumped'), steps, steps / 4, [], env);
    expect(await jumped.ended, jumped.errors()).toBe(0);
    const disturbed = performance.now() - began - undisturbed;

    const results = (lines: typeof jumped.said) => lines.filter(({ rss }) => rss === undefined);
    expect(results(jumped.said)).toEqual(results(steady.said));
    expect(readdirSync(join(folder, 'jumped')).sort()).toEqual(readdirSync(join(folder, 'steady')).sort());
    expect(disturbed).toBeLessThan(10 * undisturbed + 20_000);
    note({ steps });
  },
  600_000,
);

test('nothing in the library asks for the time of day', () => {
  const wallClock = /\bDate\.now\b|\bnew Date\b|\bsystem_clock\b|\bgettimeofday\b|\bCLOCK_REALTIME\b|\bstd::time\b/;
  for (const floor of ['lib', 'native'])
    for (const name of readdirSync(join(root, floor), { recursive: true, encoding: 'utf8' }))
      if (/\.(ts|cc|cu|h|cuh)$/.test(name)) expect(readFileSync(join(root, floor, name), 'utf8'), name).not.toMatch(wallClock);
});
