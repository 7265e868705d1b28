import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** This package's folder. */
export const packageRoot = join(__dirname, '..');

/** Run in a project that depends on this package, it makes the native files. */
export const buildCommand = 'npx diffusion-native build';

const load = createRequire(__filename);

/** Version of this package; the prebuilt ones must have the same. */
export function packageVersion(): string {
  return (load(join(packageRoot, 'package.json')) as { version: string }).version;
}

/** What `diffusion-native build` fills where it cannot write into this package: a folder for each copy of it. */
export function cacheFolder(): string {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const copy = createHash('sha256').update(packageRoot).digest('hex').slice(0, 12);
  return join(base, 'diffusion-native', `${packageVersion()}-${process.platform}-${process.arch}-${copy}`);
}

/** A place that may hold native files: a folder, or the reason why it is passed over. */
type Place = { folder: string } | { reason: string };

/** The addon and the CPU backend; the CUDA backend. */
function prebuiltPackages(): string[] {
  const platform = `@diffusion-native/${process.platform}-${process.arch}`;
  return [platform, `${platform}-cuda`];
}

function prebuilt(name: string): Place {
  let manifest: string;
  try {
    manifest = load.resolve(`${name}/package.json`);
  } catch {
    return { reason: `the package ${name} is not installed` };
  }
  const { version } = load(manifest) as { version: string };
  if (version === packageVersion()) return { folder: dirname(manifest) };
  return { reason: `the package ${name} is ${version}, and diffusion-native ${packageVersion()} needs its own version of it` };
}

/** In the order in which they are tried. Builds exist only where somebody made them on purpose, so they go first. */
function places(): Place[] {
  const chosen = process.env.DIFFUSION_NATIVE_PATH;
  if (chosen) return [{ folder: chosen }];
  return [
    { folder: join(packageRoot, 'out', 'cmake', 'Release') },
    { folder: join(packageRoot, 'build', 'Release') },
    { folder: join(cacheFolder(), 'Release') },
    ...prebuiltPackages().map(prebuilt),
  ];
}

/** Folders that may hold the native files, in the order in which they are tried. */
export function searchPath(): string[] {
  return places().flatMap((place) => ('folder' in place ? [place.folder] : []));
}

/** The first file of this name along the search path, or null. */
export function findNativeFile(name: string): string | null {
  return (
    searchPath()
      .map((folder) => join(folder, name))
      .find((path) => existsSync(path)) ?? null
  );
}

/** Every place that a file of this name was looked for in without success, a sentence each. */
export function whereAbsent(name: string): string[] {
  return places().flatMap((place) => {
    if ('reason' in place) return [place.reason];
    const path = join(place.folder, name);
    return existsSync(path) ? [] : [`${path} does not exist`];
  });
}
