// Debian's oneDNN as it is bundled: it runs on systems of 2018 (versions.mjs), and without OpenCL, which it links for devices that the
// CPU backend never asks it for. libdnnl_old.so beside it stands for both.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Library } from './elf.mjs';
import { lowerVersions } from './versions.mjs';

const source = join(dirname(fileURLToPath(import.meta.url)), 'dnnl_old.cc');
const openCl = 'libOpenCL.so.1';
const standIn = 'libdnnl_old.so'; // of the same length

/** Functions of OpenCL by the version that names them: there is no platform, so none but the first is ever called. */
function openClStandIn(symbols) {
  const versions = new Map();
  for (const { symbol, version } of symbols) versions.set(version, [...(versions.get(version) ?? []), symbol]);
  const noPlatform = -1001;
  const functions = symbols.map(
    ({ symbol }) => `long ${symbol}() { return ${symbol === 'clGetPlatformIDs' ? noPlatform : 0}; }\n`,
  );
  const nodes = [...versions].map(([version, all]) => `${version} { ${all.map((symbol) => `${symbol};`).join(' ')} };\n`);
  return { code: `extern "C" {\n${functions.join('')}}\n`, script: nodes.join('') };
}

/** Compiles the stand-in for what this copy of oneDNN asks for; gives its path and the names that it has. */
function compile(folder, symbols, compiler) {
  const work = mkdtempSync(join(tmpdir(), 'diffusion-prebuilt-'));
  const [code, script, target] = [join(work, 'opencl.cc'), join(work, 'opencl.map'), join(folder, standIn)];
  const parts = openClStandIn(symbols);
  writeFileSync(code, parts.code);
  writeFileSync(script, parts.script);
  const flags = ['-std=c++17', '-O2', '-fPIC', '-shared', '-fvisibility-inlines-hidden', `-Wl,-soname,${standIn}`];
  const named = symbols.length > 0 ? [code, `-Wl,--version-script=${script}`] : [];
  execFileSync(compiler, [...flags, source, ...named, '-o', target], { stdio: 'inherit' });
  execFileSync('strip', ['--strip-unneeded', target]);
  rmSync(work, { recursive: true });
  const defined = execFileSync('nm', ['-D', '--defined-only', target], { encoding: 'utf8' });
  return { target, names: new Set([...defined.matchAll(/^\S+ [TBD] (\S+?)(@.*)?$/gm)].map(([, name]) => name)) };
}

/** Changes a copy of oneDNN and puts libdnnl_old.so beside it; gives the path of that. */
export function adaptOneDnn(file, paths, compiler = process.env.CXX ?? 'g++') {
  const library = new Library(file);
  const symbols = library.symbols.filter(({ library: from }) => from === openCl);
  if (!library.needed.includes(openCl)) throw new Error(`${file} does not link ${openCl}: nothing would load ${standIn}`);
  const { target, names } = compile(dirname(file), symbols, compiler);
  library.renameLibrary(openCl, standIn);
  library.save();
  lowerVersions(file, paths, names);
  return target;
}
