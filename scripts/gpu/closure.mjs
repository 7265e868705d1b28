import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Folders below `root` (as package-lock.json names them) of the packages that `names` need at run time and that are installed:
 * themselves, their dependencies, optional and required peer dependencies, and theirs, without those that match `unneeded`.
 */
export function installedClosure(root, names, unneeded) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  const found = new Set();
  const resolve = (from, name) => {
    for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/node_modules/')))) {
      const path = `${folder ? `${folder}/` : ''}node_modules/${name}`;
      if (packages[path]) return path;
      if (folder === '') return null;
    }
  };
  const visit = (from, name) => {
    const path = resolve(from, name);
    if (path === null || unneeded.test(path) || found.has(path) || !existsSync(join(root, path))) return;
    found.add(path);
    const { dependencies, optionalDependencies, peerDependencies = {}, peerDependenciesMeta = {} } = packages[path];
    const peers = Object.keys(peerDependencies).filter((peer) => !peerDependenciesMeta[peer]?.optional);
    for (const next of [...Object.keys({ ...dependencies, ...optionalDependencies }), ...peers]) visit(path, next);
  };
  for (const name of names) visit('', name);
  return [...found].sort();
}
