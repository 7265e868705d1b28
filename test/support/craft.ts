import { writeFile } from 'node:fs/promises';

/** Writes a safetensors file of a given header, verbatim when it is text or bytes, and data; returns the path. */
export async function craftSafetensors(
  path: string,
  header: unknown,
  data: Uint8Array = new Uint8Array(0),
  headerLength?: number,
): Promise<string> {
  const verbatim = typeof header === 'string' || header instanceof Uint8Array;
  const json = Buffer.from(verbatim ? (header as string) : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(headerLength ?? json.length));
  await writeFile(path, Buffer.concat([prefix, json, data]));
  return path;
}
