import { existsSync } from 'node:fs';
import { join } from 'node:path';

const repository = join(__dirname, '..', '..');
const shared = join(repository, '..', 'shared', 'golden');

/** The full set of reference data next to the repository, or null where there is only a clone. */
export const sharedGolden: string | null = existsSync(shared) ? shared : null;

/** Path of a file in the project's own selection of reference data. */
export function goldenPath(relative: string): string {
  return join(repository, 'test', 'golden', relative);
}
