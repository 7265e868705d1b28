/** A decoded protobuf message: by field number, varints as bigint, 32-bit floats as numbers, everything else as bytes. */
export type Decoded = Map<number, (bigint | number | Buffer)[]>;

export function decode(bytes: Buffer): Decoded {
  const fields: Decoded = new Map();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] as number;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    let value: bigint | number | Buffer;
    if (tag % 8 === 0) value = varint();
    else if (tag % 8 === 5) {
      value = bytes.readFloatLE(at);
      at += 4;
    } else if (tag % 8 === 2) {
      const length = Number(varint());
      if (at + length > bytes.length) throw new Error(`field ${tag >> 3} runs past the end`);
      value = bytes.subarray(at, at + length);
      at += length;
    } else throw new Error(`wire type ${tag % 8}`);
    const number = Math.floor(tag / 8);
    fields.set(number, [...(fields.get(number) ?? []), value]);
  }
  return fields;
}

export const messages = (from: Decoded, field: number) => (from.get(field) ?? []).map((one) => decode(one as Buffer));
export const strings = (from: Decoded, field: number) => (from.get(field) ?? []).map(String);
