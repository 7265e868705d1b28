import type { FileHandle } from 'node:fs/promises';
import { FileFormatError } from '../../errors.js';
import { Slices } from '../../slices.js';
import { readFully } from '../input.js';

/** One file of a zip archive. */
export interface ZipEntry {
  readonly name: string;
  /** Deflated, else stored as it is. */
  readonly deflated: boolean;
  /** Bytes in the archive. */
  readonly packedBytes: number;
  /** Bytes of the content. */
  readonly bytes: number;
  /** Where the content begins in the archive. */
  readonly position: number;
}

const endSignature = 0x06054b50;
const endBytes = 22;
const longEndSignature = 0x06064b50;
const longEndBytes = 56;
const longLocatorSignature = 0x07064b50;
const longLocatorBytes = 20;
const recordSignature = 0x02014b50;
const recordBytes = 46;
const localSignature = 0x04034b50;
const localBytes = 30;

/** DEFLATE codes at most 258 bytes in two bits. */
const greatestDeflation = 1032;

interface Directory {
  position: number;
  bytes: number;
  entries: number;
  /** Where the records that describe it begin. */
  end: number;
}

/**
 * The files of a zip archive, by name. Its directory, and where each file lies, are checked against the archive's size: nothing
 * overlaps or is claimed to be larger than it can be. Encrypted archives and those in several volumes are refused.
 * @throws FileFormatError naming the archive and the file at fault.
 */
export async function readZip(path: string, file: FileHandle, size: number): Promise<Map<string, ZipEntry>> {
  const directory = await findDirectory(path, file, size);
  const bytes = Buffer.allocUnsafe(directory.bytes);
  await readFully(file, bytes, directory.position, path);
  const records = await parseRecords(path, bytes, directory);
  const entries = new Map<string, ZipEntry>();
  const local = Buffer.allocUnsafe(localBytes);
  let end = 0;
  for (const { header, ...entry } of records.sort((a, b) => a.header - b.header)) {
    const fail = (what: string) => new FileFormatError(`'${path}' is damaged: its entry '${entry.name}' ${what}`);
    if (header < end) throw fail('overlaps another');
    if (header + localBytes > directory.position) throw fail(`begins at byte ${header} of ${directory.position}`);
    await readFully(file, local, header, path);
    if (local.readUInt32LE(0) !== localSignature) throw fail('has no header');
    const position = header + localBytes + local.readUInt16LE(26) + local.readUInt16LE(28);
    end = position + entry.packedBytes;
    if (end > directory.position) throw fail(`ends at byte ${end} of ${directory.position}`);
    if (entries.has(entry.name)) throw fail('is there twice');
    entries.set(entry.name, { ...entry, position });
  }
  return entries;
}

async function findDirectory(path: string, file: FileHandle, size: number): Promise<Directory> {
  const fail = (what: string) => new FileFormatError(`'${path}' is cut short or no zip archive: ${what}`);
  const tail = Buffer.allocUnsafe(Math.min(size, endBytes + 0xffff));
  await readFully(file, tail, size - tail.length, path);
  let at = tail.length - endBytes;
  // What follows the record is a comment, whose length must be told right.
  const isEnd = () => tail.readUInt32LE(at) === endSignature && tail.readUInt16LE(at + 20) === tail.length - at - endBytes;
  while (at >= 0 && !isEnd()) at--;
  if (at < 0) throw fail('it has no directory');
  const position = size - tail.length + at;
  const volumes = (disk: number) => {
    if (disk !== 0) throw fail('it is a part of several');
  };
  volumes(tail.readUInt16LE(at + 4));
  const short = {
    entries: tail.readUInt16LE(at + 10),
    bytes: tail.readUInt32LE(at + 12),
    position: tail.readUInt32LE(at + 16),
    end: position,
  };
  const located = position >= longLocatorBytes ? Buffer.allocUnsafe(longLocatorBytes) : null;
  if (located) await readFully(file, located, position - longLocatorBytes, path);
  let directory = short;
  if (located?.readUInt32LE(0) === longLocatorSignature) {
    const end = long(located, 8);
    if (end > position - longLocatorBytes - longEndBytes) throw fail(`its zip64 record lies at byte ${end} of ${size}`);
    const record = Buffer.allocUnsafe(longEndBytes);
    await readFully(file, record, end, path);
    if (record.readUInt32LE(0) !== longEndSignature) throw fail('its zip64 record is not where it should be');
    volumes(record.readUInt32LE(16));
    directory = { entries: long(record, 32), bytes: long(record, 40), position: long(record, 48), end };
  }
  if (directory.position + directory.bytes > directory.end || directory.entries * recordBytes > directory.bytes)
    throw fail(`its directory of ${directory.entries} entries lies at byte ${directory.position}, ${directory.bytes} bytes long`);
  return directory;
}

async function parseRecords(path: string, bytes: Buffer, { entries }: Directory) {
  const records: (Omit<ZipEntry, 'position'> & { header: number })[] = [];
  const slices = new Slices();
  for (let at = 0; records.length < entries; ) {
    if (records.length % 256 === 0) await slices.next();
    if (at + recordBytes > bytes.length || bytes.readUInt32LE(at) !== recordSignature)
      throw new FileFormatError(`'${path}' is damaged: its directory ends after ${records.length} of ${entries} entries`);
    const [flags, method] = [bytes.readUInt16LE(at + 8), bytes.readUInt16LE(at + 10)];
    const nameEnd = at + recordBytes + bytes.readUInt16LE(at + 28);
    const extraEnd = nameEnd + bytes.readUInt16LE(at + 30);
    const next = extraEnd + bytes.readUInt16LE(at + 32);
    const name = bytes.toString('utf8', at + recordBytes, Math.min(nameEnd, bytes.length));
    const fail = (what: string) => new FileFormatError(`'${path}': its entry '${name}' ${what}`);
    if (next > bytes.length) throw fail('is longer than the directory');
    if ((flags & 0x41) !== 0) throw fail('is encrypted');
    if (method !== 0 && method !== 8) throw fail(`is packed by method ${method}; only stored and deflated ones are read`);
    const sizes = [bytes.readUInt32LE(at + 24), bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 42)];
    const [content, packedBytes, header] = withLongSizes(sizes, bytes.subarray(nameEnd, extraEnd)) as [number, number, number];
    const deflated = method === 8;
    if (deflated ? content > packedBytes * greatestDeflation : content !== packedBytes)
      throw fail(`cannot hold ${content} bytes in ${packedBytes}`);
    records.push({ name, deflated, packedBytes, bytes: content, header });
    at = next;
  }
  return records;
}

/** Sizes that are all ones stand, in this order, in the extra field 1. */
function withLongSizes(sizes: readonly number[], extra: Buffer): number[] {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    const field = extra.subarray(at + 4, at + 4 + extra.readUInt16LE(at + 2));
    let next = 0;
    return sizes.map((size) => {
      if (size !== 0xffffffff || next + 8 > field.length) return size;
      next += 8;
      return long(field, next - 8);
    });
  }
  return [...sizes];
}

/** Beyond 2⁵³ it is inexact, and more than any file's size all the same. */
const long = (bytes: Buffer, at: number) => Number(bytes.readBigUInt64LE(at));
