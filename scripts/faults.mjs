// The tests of test/faults in their long form: npm run test:faults [-- <test files instead of all>]
import { spawnSync } from 'node:child_process';

const files = process.argv.length > 2 ? process.argv.slice(2) : ['test/faults'];
const env = { ...process.env, DIFFUSION_FAULTS: 'long' };
process.exit(spawnSync('npx', ['vitest', 'run', ...files], { stdio: 'inherit', env }).status ?? 1);
