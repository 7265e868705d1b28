import { execFileSync } from 'node:child_process';
import { basename } from 'node:path';

/** The C library's own parts, which every machine has. */
const system = /^(linux-vdso|ld-linux[^.]*|libc|libm|libdl|libpthread|librt)\.so/;
const cxx = /^(libstdc\+\+|libgcc_s)\.so/;

/**
 * The shared libraries that `files` link: [name, path] pairs, those of the C library and of the C++ runtime apart because the
 * machine has its own.
 */
export function sharedLibraries(files) {
  const found = new Map();
  for (const file of files) {
    const lines = execFileSync('ldd', [file], { encoding: 'utf8' });
    for (const [, name, path] of lines.matchAll(/^\s*(\S+) => (\S+|not found)/gm)) {
      if (path === 'not') throw new Error(`${file} needs ${name}, which is not installed`);
      found.set(name, path);
    }
    const [, loader] = /^\s*(\/\S*\/ld-linux\S*) /m.exec(lines) ?? [];
    if (loader) found.set(basename(loader), loader);
  }
  const all = [...found].sort();
  const kind = (pattern) => all.filter(([name]) => pattern.test(name));
  return { system: kind(system), cxx: kind(cxx), others: all.filter(([name]) => !system.test(name) && !cxx.test(name)) };
}

/** The newest version of the C library ('GLIBC') or of the C++ library ('GLIBCXX') that these files ask for. */
export function newestNeeded(prefix, files) {
  const versions = files.flatMap((file) => {
    const symbols = execFileSync('objdump', ['-T', file], { encoding: 'utf8', maxBuffer: 2 ** 28 });
    return [...symbols.matchAll(new RegExp(`\\b${prefix}_([0-9.]+)`, 'g'))].map(([, version]) => version);
  });
  return versions.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
}
