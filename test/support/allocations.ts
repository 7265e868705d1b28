type Sized = { new (...args: never[]): ArrayBufferView | ArrayBufferLike; BYTES_PER_ELEMENT?: number };

const arrays = [
  'ArrayBuffer',
  'Uint8Array',
  'Int32Array',
  'Float32Array',
  'Float64Array',
  'Uint16Array',
  'BigInt64Array',
] as const;
const makers = ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const;

/**
 * The bytes that JavaScript asks for by the length of typed arrays, ArrayBuffers and Buffers while `body` runs: whether they are touched
 * or not, which resident memory does not tell. One call at a time.
 */
export async function allocationsOf(body: () => unknown): Promise<{ bytes: number; error: unknown }> {
  let bytes = 0;
  const count = (length: unknown, each = 1) => {
    if (typeof length === 'number' && length > 0) bytes += length * each;
  };
  const restore: (() => void)[] = [];
  const replace = <T extends object, K extends keyof T>(owner: T, key: K, value: T[K]) => {
    const own = owner[key];
    owner[key] = value;
    restore.push(() => {
      owner[key] = own;
    });
  };
  for (const name of arrays) {
    const construct = (target: Sized, args: unknown[], made: Parameters<typeof Reflect.construct>[2]) => {
      count(args[0], target.BYTES_PER_ELEMENT ?? 1);
      return Reflect.construct(target, args, made);
    };
    const scope = globalThis as unknown as Record<string, Sized>;
    replace(scope, name, new Proxy(scope[name] as Sized, { construct }));
  }
  for (const name of makers) {
    const own = Buffer[name];
    replace(Buffer, name, ((length: number, ...rest: []) => {
      count(length);
      return own(length, ...rest);
    }) as (typeof Buffer)[typeof name]);
  }
  let error: unknown;
  try {
    await body();
  } catch (reason) {
    error = reason;
  } finally {
    for (const undo of restore) undo();
  }
  return { bytes, error };
}
