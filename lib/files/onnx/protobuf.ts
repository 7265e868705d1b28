/** Bytes that are fetched when they are written, so that a large file is never in memory as a whole. */
export interface Deferred {
  readonly byteLength: number;
  read(): Promise<Uint8Array>;
}

/** A field of a protobuf message: its number and its value. A `bigint` or integer is a varint, a `{ float }` has 32 bits. */
export type Field = readonly [
  number: number,
  value: number | bigint | string | Uint8Array | Deferred | Message | { readonly float: number },
];

/** An encoded message, in pieces so that large contents are never copied. */
export class Message {
  /** The bytes, in order. */
  readonly pieces: readonly (Uint8Array | Deferred)[];
  /** Of all pieces. */
  readonly byteLength: number;

  /** Fields in the given order; a repeated one is given several times. */
  constructor(fields: readonly Field[]) {
    this.pieces = fields.flatMap(([number, value]) => encode(number, value));
    this.byteLength = this.pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
  }
}

const wire = { varint: 0, lengthDelimited: 2, fixed32: 5 } as const;

function encode(number: number, value: Field[1]): Message['pieces'] {
  const tag = (type: number) => varint(BigInt(number * 8 + type));
  if (typeof value === 'number' || typeof value === 'bigint')
    return [Buffer.concat([tag(wire.varint), varint(BigInt.asUintN(64, BigInt(value)))])];
  if (typeof value === 'object' && 'float' in value) {
    const bits = Buffer.alloc(4);
    bits.writeFloatLE(value.float);
    return [Buffer.concat([tag(wire.fixed32), bits])];
  }
  const content = typeof value === 'string' ? Buffer.from(value) : value;
  const pieces = content instanceof Message ? content.pieces : [content];
  return [Buffer.concat([tag(wire.lengthDelimited), varint(BigInt(content.byteLength))]), ...pieces];
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    if (rest < 0x80n) return Uint8Array.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
}
