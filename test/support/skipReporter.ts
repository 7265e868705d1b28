import type { Reporter, TestModule } from 'vitest/node';

/** Prints at the end of a run why tests were skipped: one line a reason, with their number and files. */
export default class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const reasons = new Map<string, { count: number; files: Set<string> }>();
    for (const module of modules)
      for (const test of module.children.allTests('skipped')) {
        const result = test.result();
        const reason = (result.state === 'skipped' && result.note) || 'no reason given';
        const entry = reasons.get(reason) ?? { count: 0, files: new Set() };
        entry.count++;
        entry.files.add(module.relativeModuleId);
        reasons.set(reason, entry);
      }
    for (const [reason, { count, files }] of [...reasons].sort(([, a], [, b]) => b.count - a.count))
      console.log(`skipped: ${count} tests in ${files.size} files: ${reason}`);
  }
}
