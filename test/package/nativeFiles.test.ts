import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { cacheFolder, findNativeFile, packageRoot, searchPath, whereAbsent } from '../../lib/nativeFiles.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const file = 'libdiffusion_imagined.so';
const folder = temporaryFolder();

describe('places of native files', () => {
  beforeEach(() => {
    vi.stubEnv('DIFFUSION_NATIVE_PATH', undefined);
    vi.stubEnv('XDG_CACHE_HOME', folder);
  });
  afterEach(() => vi.unstubAllEnvs());

  test("the package's own builds go before the cache", () => {
    const expected = [join(packageRoot, 'out/cmake/Release'), join(packageRoot, 'build/Release'), join(cacheFolder(), 'Release')];
    expect(searchPath().slice(0, 3)).toEqual(expected);
    expect(cacheFolder().startsWith(join(folder, 'diffusion-native'))).toBe(true);
  });

  test('a file in the cache is found, and the places before it are not reported as its own', () => {
    const path = join(cacheFolder(), 'Release', file);
    expect(findNativeFile(file)).toBe(null);
    expect(whereAbsent(file)).toContain(`${path} does not exist`);
    mkdirSync(join(cacheFolder(), 'Release'), { recursive: true });
    writeFileSync(path, '');
    expect(findNativeFile(file)).toBe(path);
    expect(whereAbsent(file)).not.toContain(`${path} does not exist`);
  });

  test('every place is named, prebuilt packages that are not installed too', () => {
    const { platform, arch } = process;
    const absent = whereAbsent('libdiffusion_unheard_of.so');
    for (const place of searchPath()) expect(absent).toContain(`${join(place, 'libdiffusion_unheard_of.so')} does not exist`);
    expect(absent).toContain(`the package @diffusion-native/${platform}-${arch} is not installed`);
    expect(absent).toContain(`the package @diffusion-native/${platform}-${arch}-cuda is not installed`);
  });

  test('DIFFUSION_NATIVE_PATH is the only place', () => {
    vi.stubEnv('DIFFUSION_NATIVE_PATH', folder);
    expect(searchPath()).toEqual([folder]);
    expect(whereAbsent(file)).toEqual([`${join(folder, file)} does not exist`]);
  });
});
