// Is oneDNN (headers and library) where the compiler looks? Run as a program it exits with 1 and the remedy when it is not.
const { spawnSync } = require('node:child_process');

const installLine = 'sudo apt-get update && sudo apt-get install -y libdnnl-dev';

/** Compiles and links three lines against oneDNN; CPATH, LIBRARY_PATH and CMAKE_PREFIX_PATH are honoured. */
function hasOneDnn(compiler = process.env.CXX || 'c++') {
  const prefixes = (process.env.CMAKE_PREFIX_PATH || '').split(':').filter(Boolean);
  const folders = prefixes.flatMap((prefix) => [`-I${prefix}/include`, `-L${prefix}/lib`, `-L${prefix}/lib64`]);
  const program = '#include <dnnl.h>\nint main() { return dnnl_version()->major < 2; }\n';
  const [command, ...flags] = compiler.split(' ');
  const args = [...flags, '-x', 'c++', '-', ...folders, '-ldnnl', '-o', '/dev/null'];
  return spawnSync(command, args, { input: program, stdio: ['pipe', 'ignore', 'ignore'] }).status === 0;
}

module.exports = { hasOneDnn, installLine };

if (require.main === module && !hasOneDnn()) {
  console.error(`oneDNN, which the CPU backend needs, was not found. Install it with:\n  ${installLine}`);
  process.exit(1);
}
