import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(__dirname, '../..');

/** What the two builds are told when they ask for one group. */
function listed(group: string): string[] {
  const output = execFileSync(process.execPath, ['scripts/native-sources.cjs', group], { cwd: root, encoding: 'utf8' });
  return output.split('\n').filter(Boolean);
}

function sourcesBelow(folder: string): string[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  return names.filter((name) => /\.(cc|cu)$/.test(name)).map((name) => `${folder}/${name}`);
}

describe('native sources', () => {
  const groups = {
    addon: listed('addon'),
    cpu: listed('cpu'),
    isa: listed('isa'),
    cuda: listed('cuda'),
    emulator: listed('emulator'),
  };
  const all = Object.values(groups).flat();

  test('every source is compiled, in one group', () => {
    const expected = sourcesBelow('native');
    expect([...all].sort()).toEqual(expected.sort());
    expect(new Set(all).size).toBe(all.length);
  });

  test('the operations are compiled for each instruction level, the runtime once', () => {
    expect(groups.isa.length).toBeGreaterThan(0);
    for (const path of groups.isa) expect(path).toMatch(/^native\/cpu\/[^/]+\.cc$/);
    for (const path of groups.cpu) expect(path).toMatch(/^native\/cpu\/runtime\//);
    for (const path of groups.addon) expect(path).toMatch(/^native\/(addon|core)\//);
  });

  test('an unknown group is a usage error', () => {
    expect(() => execFileSync(process.execPath, ['scripts/native-sources.cjs', 'gpu'], { cwd: root, stdio: 'pipe' })).toThrow();
  });
});

describe.each(['cpu', 'cuda', 'emulator'])('backend library of %s', (backend) => {
  const library = join(root, `out/cmake/Release/libdiffusion_${backend}.so`);
  const missing = !existsSync(library) ? 'not built' : !hasNm() ? 'nm is not installed' : undefined;

  test.skipIf(missing)(`exports its entry point only${missing ? ` (skipped: ${missing})` : ''}`, () => {
    const lines = execFileSync('nm', ['-D', '--defined-only', library], { encoding: 'utf8' }).trim().split('\n');
    expect(lines.map((line) => line.split(' ').at(-1))).toEqual(['diffusion_backend']);
  });
});

function hasNm(): boolean {
  try {
    execFileSync('nm', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
