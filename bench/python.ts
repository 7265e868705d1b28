import { spawnSync } from 'node:child_process';

const found = new Map<string, boolean>();

/** Whether this Python can import a module. */
export function hasModule(python: string, module: string): boolean {
  const key = `${python} ${module}`;
  const known = found.get(key) ?? spawnSync(python, ['-c', `import ${module}`], { stdio: 'ignore' }).status === 0;
  found.set(key, known);
  return known;
}
