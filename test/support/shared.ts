import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'vitest';

const repository = join(__dirname, '..', '..');
const shared = join(repository, '..', 'shared', 'golden');

/** The full set of reference data next to the repository, or null where there is only a clone. */
export const sharedGolden: string | null = existsSync(shared) ? shared : null;

/** Why tests over the full set do not run. */
export const whyNoGolden = 'only with the full reference data, which is not beside this clone';

/** Path of a file in the project's own selection of reference data. */
export function goldenPath(relative: string): string {
  return join(repository, 'test', 'golden', relative);
}

/** Path of a file of the full set where that is, else of the project's selection. */
export function fullestPath(relative: string): string {
  return sharedGolden ? join(sharedGolden, relative) : goldenPath(relative);
}

/** Defines tests over the full set of reference data, which are skipped where there is only a clone. */
export function withSharedGolden(name: string, define: (folder: string) => void): void {
  if (sharedGolden) describe(name, () => define(sharedGolden as string));
  else test(name, (context) => context.skip(whyNoGolden));
}
