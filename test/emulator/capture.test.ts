import { describe, expect, test } from 'vitest';
import { caseNames, missing, reported } from './cases.js';

const unsupported = 'cudaErrorStreamCaptureUnsupported, cudaErrorStreamCaptureInvalidated';

// The sum after as many runs as the case has, or what was refused and what became of the capture.
const expected: Record<string, string> = {
  'runs when launched': '1',
  'three replays': '4',
  'fork and join': '7',
  'no join': 'cudaErrorStreamCaptureUnjoined',
  'work behind the join': 'cudaErrorStreamCaptureUnjoined',
  'event from outside': 'cudaErrorStreamCaptureIsolation, cudaErrorStreamCaptureInvalidated',
  'legacy stream': 'cudaErrorStreamCaptureImplicit, cudaErrorStreamCaptureInvalidated',
  'ended by another thread': 'cudaErrorStreamCaptureWrongThread, cudaErrorStreamCaptureInvalidated',
  'synchronize a captured event': 'cudaErrorCapturedEvent, cudaErrorStreamCaptureInvalidated',
  synchronize: unsupported,
  'synchronize by another thread': unsupported,
  'synchronize the device': unsupported,
  query: unsupported,
  'query an event': unsupported,
  free: unsupported,
  'page-locked memory': unsupported,
};

describe.skipIf(missing)(`capture of streams${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test.each(Object.entries(expected))('%s', (name, report) => {
    expect(reported(`capture: ${name}`)).toBe(report);
  });

  test('every case has an expectation', () => {
    const names = caseNames().filter((name) => name.startsWith('capture: '));
    expect(names).toEqual(
      Object.keys(expected)
        .map((name) => `capture: ${name}`)
        .sort(),
    );
  });
});
