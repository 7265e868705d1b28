import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { note, randomNumbers, times } from './long.js';
import { newestComplete, type Said, train } from './trainee.js';

// The long form: 200 kills of runs that had resumed, and those that hit one that had not yet. Here: 10.
const kills = times(10, 200);
const steps = times(90, 1200);

test(`a run that is killed ${kills} times goes on each time from its newest complete checkpoint, bit for bit`, async () => {
  const root = temporaryFolder();
  const random = randomNumbers(kills);
  const undisturbed = train(join(root, 'undisturbed'), steps, steps);
  expect(await undisturbed.ended, undisturbed.errors()).toBe(0);
  const expected = new Map(undisturbed.said.map((line) => [line.step, line]));
  const moments = { resuming: 0, stepping: 0 };
  let checked = 0;

  const folder = join(root, 'killed');
  /** All that a process said is what the undisturbed run said, and it began at the newest complete checkpoint. */
  const check = (said: Said[], newest: number) => {
    if (said[0] === undefined) return false; // killed before it had resumed
    expect(said[0]).toEqual({ begin: newest });
    let at = newest;
    for (const line of said) {
      if (line.step === undefined) continue;
      expect(line.step).toBe(++at);
      expect(line).toEqual(expected.get(at));
    }
    return true;
  };
  while (checked < kills) {
    const newest = newestComplete(folder);
    const run = train(folder, steps, 1);
    const early = random() < 0.15; // also while it clears up and resumes
    if (early) await sleep(100 + 300 * random());
    else {
      await run.begun;
      await sleep(random() * 600);
    }
    expect(run.process.exitCode, `${steps} steps are too few, or it failed: ${run.errors()}`).toBeNull();
    run.process.kill('SIGKILL');
    expect(await run.ended).toBe('SIGKILL');
    if (check(run.said, newest)) checked++;
    moments[run.said.some((line) => line.step !== undefined) ? 'stepping' : 'resuming']++;
  }
  const newest = newestComplete(folder);
  const last = train(folder, steps, 1);
  expect(await last.ended, last.errors()).toBe(0);
  expect(check(last.said, newest)).toBe(true);
  expect(last.said.at(-1)).toEqual(undisturbed.said.at(-1));
  expect(last.said.at(-1)?.end).toMatch(/^[0-9a-f]{64}$/);
  expect(readdirSync(folder).sort()).toEqual([`checkpoint-${steps - 1}`, `checkpoint-${steps}`, 'latest'].sort());
  note({ kills: moments.resuming + moments.stepping, moments, resumed: checked + 1, survived: newest, steps });
  console.log(
    `${moments.resuming + moments.stepping} kills (${JSON.stringify(moments)}), ${checked + 1} times resumed, ${newest} of ${steps} steps survived them`,
  );
}, 1_200_000);
