#!/bin/sh
# Runs a compiler (CMAKE_CUDA_COMPILER_LAUNCHER) and keeps what it says in <object>.log, which scripts/cuda-resources.mjs reads.
for argument; do
  [ "$previous" = -o ] && log=$argument.log
  previous=$argument
done
"$@" >"${log:=/dev/null}" 2>&1
status=$?
[ "$log" = /dev/null ] || grep -v -e '^ptxas info' -e '^ *[0-9]* bytes stack frame' -e '^$' "$log" >&2
exit $status
