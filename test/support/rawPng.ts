import { crc32, deflateSync } from 'node:zlib';

/** The colour types of PNG (ISO/IEC 15948, table 11.1). */
const colourTypes = { grey: 0, rgb: 2, palette: 3, greyAlpha: 4, rgba: 6 };

/** Parts of a PNG file as they stand in it. */
export interface RawPng {
  width: number;
  height: number;
  depth: 1 | 2 | 4 | 8 | 16;
  colour: keyof typeof colourTypes;
  /** Scan lines, packed as the file has them: high bits first, 16-bit values big-endian. */
  rows: readonly (readonly number[])[];
  /** RGB triples. */
  palette?: readonly number[];
  /** The tRNS chunk: an alpha value a palette entry, or a 16-bit grey level that is transparent. */
  transparency?: readonly number[];
}

/** A PNG file with exactly this bit depth and colour type, which image libraries choose by themselves. */
export function rawPng({ width, height, depth, colour, rows, palette, transparency }: RawPng): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = depth;
  header[9] = colourTypes[colour];
  const unfiltered = rows.map((row) => Buffer.from([0, ...row]));
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    ...(palette ? [chunk('PLTE', Buffer.from(palette))] : []),
    ...(transparency ? [chunk('tRNS', Buffer.from(transparency))] : []),
    chunk('IDAT', deflateSync(Buffer.concat(unfiltered))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** Length, type, content, checksum. */
function chunk(type: string, content: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  const body = Buffer.concat([Buffer.from(type), content]);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}
