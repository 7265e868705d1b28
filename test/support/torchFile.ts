import { crc32, deflateRawSync } from 'node:zlib';

/** A tensor of a crafted pickle. */
export interface CraftedTensor {
  shape: readonly number[];
  strides: readonly number[];
  offset: number;
  /** Of its storage. */
  elements: number;
  /** Of its storage; '0'. */
  key?: string;
}

/** The pickle of a dictionary of float32 tensors, as `torch.save` writes it but without a memo. */
export function pickleOf(tensors: Readonly<Record<string, CraftedTensor>>): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value);
    const length = Buffer.alloc(5, 'X');
    length.writeUInt32LE(bytes.length, 1);
    return Buffer.concat([length, bytes]);
  };
  const integer = (value: number) => {
    const bytes = Buffer.alloc(10);
    bytes.set([0x8a, 8]);
    bytes.writeBigInt64LE(BigInt(value), 2);
    return bytes;
  };
  const plain = (value: string) => Buffer.from(value, 'latin1');
  const tuple = (...items: Buffer[]) => Buffer.concat([plain('('), ...items, plain('t')]);
  const items = Object.entries(tensors).flatMap(([name, { shape, strides, offset, elements, key = '0' }]) => {
    const id = tuple(text('storage'), plain('ctorch\nFloatStorage\n'), text(key), text('cpu'), integer(elements));
    const sizes = [shape, strides].map((list) => tuple(...list.map(integer)));
    const args = tuple(Buffer.concat([id, plain('Q')]), integer(offset), ...sizes, plain('\x89'), plain('}'));
    return [text(name), plain('ctorch._utils\n_rebuild_tensor_v2\n'), args, plain('R')];
  });
  return Buffer.concat([plain('\x80\x02}('), ...items, plain('u.')]);
}

/** Changes to the records of a crafted archive; each gets what belongs there. */
export interface ZipChanges {
  deflate?: boolean;
  /** The record of an entry in the directory: 46 bytes, then the name. */
  record?: (record: Buffer, index: number) => void;
  /** The record at the end. */
  end?: (end: Buffer) => void;
}

/** A zip archive of these files, stored or deflated. */
export function zipOf(files: Readonly<Record<string, ArrayBufferView>>, changes: ZipChanges = {}): Buffer {
  const parts: Buffer[] = [];
  const records: Buffer[] = [];
  let at = 0;
  const append = (bytes: Buffer) => {
    parts.push(bytes);
    at += bytes.length;
  };
  for (const [index, [name, view]] of Object.entries(files).entries()) {
    const content = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
    const packed = changes.deflate ? deflateRawSync(content) : content;
    const header = at;
    const local = Buffer.alloc(30 + Buffer.byteLength(name));
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(Buffer.byteLength(name), 26);
    local.write(name, 30);
    append(local);
    append(packed);
    const record = Buffer.alloc(46 + Buffer.byteLength(name));
    record.writeUInt32LE(0x02014b50, 0);
    record.writeUInt16LE(changes.deflate ? 8 : 0, 10);
    record.writeUInt32LE(crc32(content), 16);
    record.writeUInt32LE(packed.length, 20);
    record.writeUInt32LE(content.length, 24);
    record.writeUInt16LE(Buffer.byteLength(name), 28);
    record.writeUInt32LE(header, 42);
    record.write(name, 46);
    changes.record?.(record, index);
    records.push(record);
  }
  const directory = at;
  for (const record of records) append(record);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(records.length, 8);
  end.writeUInt16LE(records.length, 10);
  end.writeUInt32LE(at - directory, 12);
  end.writeUInt32LE(directory, 16);
  changes.end?.(end);
  append(end);
  return Buffer.concat(parts);
}
