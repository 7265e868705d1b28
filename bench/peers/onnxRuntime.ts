import { createRequire } from 'node:module';
import { join } from 'node:path';

/** onnxruntime-node as the working directory has it, or else as this package does. */
export function findRuntime(): string | null {
  for (const from of [join(process.cwd(), 'x'), __filename])
    try {
      return createRequire(from).resolve('onnxruntime-node');
    } catch {}
  return null;
}
