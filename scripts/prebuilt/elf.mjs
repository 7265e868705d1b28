// What a shared library asks of others: the versions of symbols (GNU's "version needs"), and which library each is from. 64-bit ELF.
import { readFileSync, writeFileSync } from 'node:fs';

const types = { dynamicSymbols: 11, versions: 0x6fffffff, needs: 0x6ffffffe, dynamic: 6 };
const neededLibrary = 1;
const undefinedSection = 0;
const withoutVersion = 1;

/** The hash of names in ELF's tables. */
function hashOf(name) {
  let hash = 0;
  for (const byte of Buffer.from(name)) {
    hash = ((hash << 4) + byte) >>> 0;
    const high = hash & 0xf0000000;
    hash = (hash ^ (high >>> 24)) & ~high;
  }
  return hash >>> 0;
}

/** A library that is read whole, changed in place, and written back. */
export class Library {
  #path;
  #bytes;
  #sections = new Map();
  #strings;

  constructor(path) {
    this.#path = path;
    this.#bytes = readFileSync(path);
    const bytes = this.#bytes;
    if (bytes.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') throw new Error(`${path} is not a 64-bit little-endian ELF file`);
    const [table, size, count] = [Number(bytes.readBigUInt64LE(0x28)), bytes.readUInt16LE(0x3a), bytes.readUInt16LE(0x3c)];
    const section = (index) => {
      const at = table + index * size;
      const [offset, length] = [bytes.readBigUInt64LE(at + 24), bytes.readBigUInt64LE(at + 32)].map(Number);
      return { type: bytes.readUInt32LE(at + 4), offset, length, link: bytes.readUInt32LE(at + 40) };
    };
    for (let i = 0; i < count; i++) this.#sections.set(section(i).type, section(i));
    this.#strings = section(this.#sections.get(types.dynamicSymbols).link);
  }

  #string(offset) {
    const start = this.#strings.offset + offset;
    return this.#bytes.toString('latin1', start, this.#bytes.indexOf(0, start));
  }

  /** Where the table of names holds this one, or undefined. */
  #find(name) {
    const { offset, length } = this.#strings;
    const at = this.#bytes.subarray(offset, offset + length).indexOf(`${name}\0`, 0, 'latin1');
    return at < 0 ? undefined : at;
  }

  /** The libraries that it links, in their order. */
  *#needed() {
    const { offset, length } = this.#sections.get(types.dynamic);
    for (let at = offset; at < offset + length; at += 16)
      if (Number(this.#bytes.readBigUInt64LE(at)) === neededLibrary) yield Number(this.#bytes.readBigUInt64LE(at + 8));
  }

  get needed() {
    return [...this.#needed()].map((offset) => this.#string(offset));
  }

  /** The versions that it asks of each library: { library, version, index, at }. */
  get versions() {
    const needs = this.#sections.get(types.needs);
    if (!needs) return [];
    const found = [];
    for (let at = needs.offset, next = 1; next !== 0; at += next) {
      next = this.#bytes.readUInt32LE(at + 12);
      const library = this.#string(this.#bytes.readUInt32LE(at + 4));
      const count = this.#bytes.readUInt16LE(at + 2);
      for (let i = 0, one = at + this.#bytes.readUInt32LE(at + 8); i < count; i++, one += this.#bytes.readUInt32LE(one + 12)) {
        const version = this.#string(this.#bytes.readUInt32LE(one + 8));
        found.push({ library, version, index: this.#bytes.readUInt16LE(one + 6), at: one });
      }
    }
    return found;
  }

  /** The symbols that it takes from others, with what `versions` says of each: { symbol, library?, version?, at }. */
  get symbols() {
    const [table, versions] = [this.#sections.get(types.dynamicSymbols), this.#sections.get(types.versions)];
    const byIndex = new Map(this.versions.map((one) => [one.index, one]));
    const found = [];
    for (let i = 1; i < table.length / 24; i++) {
      const symbol = table.offset + i * 24;
      if (this.#bytes.readUInt16LE(symbol + 6) !== undefinedSection) continue;
      const at = versions.offset + i * 2;
      const { library, version } = byIndex.get(this.#bytes.readUInt16LE(at) & 0x7fff) ?? {};
      found.push({ symbol: this.#string(this.#bytes.readUInt32LE(symbol)), library, version, at });
    }
    return found;
  }

  /** Makes one of `versions` ask for another of them. */
  changeVersion({ at }, { version }) {
    this.#bytes.writeUInt32LE(hashOf(version), at);
    this.#bytes.writeUInt32LE(this.#find(version), at + 8);
  }

  /** Makes one of `symbols` be of another of `versions`, or of none: then it is the version that is the library's default. */
  moveSymbol({ at }, { index } = { index: withoutVersion }) {
    this.#bytes.writeUInt16LE(index, at);
  }

  /** Gives a library that it links another name, no longer than the old one. */
  renameLibrary(from, to) {
    const name = this.#find(from);
    if (name === undefined || to.length > from.length) throw new Error(`${this.#path}: ${from} cannot become ${to}`);
    this.#bytes.fill(0, this.#strings.offset + name, this.#strings.offset + name + from.length);
    this.#bytes.write(to, this.#strings.offset + name, 'latin1');
  }

  save() {
    writeFileSync(this.#path, this.#bytes);
  }
}
