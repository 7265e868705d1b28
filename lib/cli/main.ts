#!/usr/bin/env node
import { run } from './program.js';

// A reader that leaves early, as `head` does, takes no more lines; the work goes on.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });

void run(process.argv.slice(2)).then((status) => {
  process.exitCode = status;
});
