// Binary compatibility with systems of 2018: glibc 2.28 (Debian 10, RHEL 8) and the C++ runtime of GCC 8.
//
// A library that is linked on a newer system asks for the versions that the symbols have there, mostly because glibc 2.34 gave new ones to
// functions that moved from libpthread and libdl into libc. The same functions still have their old versions, too, so the
// requests are changed to those. What the old systems lack altogether must come from the package itself.
import { execFileSync } from 'node:child_process';
import { Library } from './elf.mjs';

/** The newest versions that may be asked for. */
export const newest = { GLIBC: '2.28', GLIBCXX: '3.4.25', CXXABI: '1.3.11', GCC: '7.0.0' };

const compare = (a, b) => a.localeCompare(b, 'en', { numeric: true });

/** Whether the old systems have this version ('GLIBC_2.34', 'GCC_3.0', …). Versions of other libraries are the package's own affair. */
export function isOld(version) {
  const [, family, number] = /^(GLIBC|GLIBCXX|CXXABI|GCC)_(.*)$/.exec(version) ?? [];
  return family === undefined || (/^[\d.]+$/.test(number) && compare(number, newest[family]) <= 0);
}

const exported = new Map();

/** The versions in which a library of this system has each of its symbols. */
function exportsOf(path) {
  if (exported.has(path)) return exported.get(path);
  const symbols = new Map();
  const table = execFileSync('objdump', ['-T', path], { encoding: 'utf8', maxBuffer: 2 ** 28 });
  for (const [, section, version, symbol] of table.matchAll(
    /^[0-9a-f]{16} .{7} (\S+)\s+[0-9a-f]{16}\s+\(?([A-Z]+_[\w.]+)\)?\s+(\S+)$/gm,
  ))
    if (section !== '*UND*') symbols.set(symbol, [...(symbols.get(symbol) ?? []), version]);
  exported.set(path, symbols);
  return symbols;
}

/** What the files ask for that the old systems lack, a line each. */
export function tooNew(files) {
  return files.flatMap((file) => {
    const library = new Library(file);
    const asked = library.versions.filter(({ version }) => !isOld(version));
    return asked.map((one) => {
      const names = library.symbols.filter(({ version, library: from }) => version === one.version && from === one.library);
      return `${file}: ${one.version} of ${one.library} for ${names.map(({ symbol }) => symbol).join(' ') || 'itself'}`;
    });
  });
}

/**
 * Changes what a library asks for to what the old systems have.
 * @param paths where the libraries of this system are that it links, by their names
 * @param provided symbols that the package has itself
 */
export function lowerVersions(file, paths, provided = new Set()) {
  const library = new Library(file);
  const names = (path) => new Set([...exportsOf(path).values()].flat());
  for (const asked of library.versions.filter(({ version }) => !isOld(version))) {
    const path = paths.get(asked.library);
    const beside = library.versions.filter(({ library: from, version }) => from === asked.library && isOld(version));
    // What this request becomes: the file must hold the name of it, and the library must have that version.
    const lower = beside[0] ?? library.versions.find(({ version }) => isOld(version) && names(path).has(version));
    if (!lower) throw new Error(`${file} holds no name of a version before ${asked.version} that ${asked.library} has`);
    for (const use of library.symbols) {
      if (use.library !== asked.library || use.version !== asked.version || provided.has(use.symbol)) continue;
      const newestOld = (exportsOf(path).get(use.symbol) ?? []).filter(isOld).sort(compare).at(-1);
      if (!newestOld) throw new Error(`${file}: ${use.symbol} of ${use.library} has no version before ${use.version}`);
      if (newestOld === lower.version) continue;
      library.moveSymbol(
        use,
        beside.find(({ version }) => version === newestOld),
      );
    }
    library.changeVersion(asked, lower);
  }
  library.save();
}
