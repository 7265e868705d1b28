// After tsc: the ES module face of the CommonJS build (one implementation, so one identity of every class) and the
// executable bit of the command line program.
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

const facade = `export * from './index.js';\n`;
writeFileSync(join(root, 'dist/index.mjs'), facade);
writeFileSync(join(root, 'dist/index.d.mts'), facade);

for (const [name, path] of Object.entries(manifest.bin)) {
  const program = join(root, path);
  if (!existsSync(program) || !readFileSync(program, 'utf8').startsWith('#!/usr/bin/env node\n')) {
    console.error(`bin ${name}: ${path} is missing or does not begin with "#!/usr/bin/env node"`);
    process.exit(1);
  }
  chmodSync(program, 0o755);
}
