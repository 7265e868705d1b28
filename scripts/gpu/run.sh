#!/bin/sh
# Runs the tests and the benchmarks of this archive on the machine where it was unpacked: ./run.sh --help
# Nothing is installed and nothing is fetched; results are written below results/.
here=$(cd "$(dirname "$0")" && pwd)
cd "$here" || exit 1
export HOST_LIBRARY_PATH="${LD_LIBRARY_PATH-}"
node=runtime/node

# Do Node and the CPU backend load with these libraries?
loads() {
  LD_LIBRARY_PATH=$1 "$node" -e \
    "process.exit(require('./dist/index.js').listDevices().some(({ id, available }) => id === 'cpu' && available) ? 0 : 1)"
}

# The C++ runtime of the machine where it is new enough, else the archive's.
host=$here/runtime/lib${HOST_LIBRARY_PATH:+:$HOST_LIBRARY_PATH}
own=$here/runtime/lib:$here/runtime/lib-cxx${HOST_LIBRARY_PATH:+:$HOST_LIBRARY_PATH}
if loads "$host" 2>/dev/null; then
  LD_LIBRARY_PATH=$host
elif loads "$own"; then
  LD_LIBRARY_PATH=$own
else
  echo "run.sh: this machine's C library is too old for the archive; build.json says what it needs" >&2
  exit 1
fi
export LD_LIBRARY_PATH
exec "$node" scripts/gpu/run.mjs "$@"
