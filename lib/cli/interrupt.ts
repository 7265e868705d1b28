const signals = ['SIGINT', 'SIGTERM'] as const;

/** npm and a terminal may both deliver the same Ctrl-C; a second one counts only after this many milliseconds. */
const deaf = 1000;

/** Runs `body` with a signal that Ctrl-C aborts. Another Ctrl-C, at least a second later, ends the process at once. */
export async function interruptible<T>(body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let asked = Number.POSITIVE_INFINITY;
  const stop = () => {
    if (performance.now() - asked > deaf) process.exit(1);
    if (controller.signal.aborted) return;
    asked = performance.now();
    controller.abort();
  };
  for (const name of signals) process.on(name, stop);
  try {
    return await body(controller.signal);
  } finally {
    for (const name of signals) process.off(name, stop);
  }
}
