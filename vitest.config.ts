import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // One process a file: a crash in native code is reported as that file's, and the others still count.
    pool: 'forks',
    // A device already computes with every core, and some tests measure delays of the event loop.
    maxWorkers: 1,
    reporters: ['default', './test/support/skipReporter.ts', './test/support/conformanceReporter.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
