import type { FileHandle } from 'node:fs/promises';
import { FileFormatError } from '../../errors.js';
import { uninitialised } from '../../hostArrays.js';
import { readFully, withFile, withSameFile } from '../input.js';
import { type OpenStorage, TorchHost } from './host.js';
import { readPickle } from './pickle.js';
import type { PickleHost, PickleValue } from './pickleHost.js';
import { PickleInput } from './pickleInput.js';
import { torchElementBytes } from './storages.js';
import { TorchStorage } from './tensor.js';

/** Begins the first of a legacy file's pickles. */
const magicNumber = 0x1950a86a20f9469cfc6cn;
const protocolVersion = 1001;

/** Its pickles lie before its storages; they are looked for in so much of it. */
const greatestPickleBytes = 1 << 24;

/**
 * What `torch.save` wrote before PyTorch 1.6, and still does where it is asked to: pickles of a magic number, a version, the machine,
 * the object and the storages' keys, then each storage's length and bytes.
 * @throws FileFormatError naming the file and what is wrong with it.
 */
export function readLegacyTorchFile(path: string): Promise<PickleValue> {
  return withFile(path, async (file, identity) => {
    const start = uninitialised(Uint8Array, Math.min(identity.size, greatestPickleBytes));
    await readFully(file, start, 0, path);
    const input = new PickleInput(start, `'${path}'`);
    const fail = (what: string) => new FileFormatError(`'${path}' is no PyTorch file: ${what}`);
    if ((await readPickle(input, noNames(path))) !== magicNumber) throw fail('its magic number is wrong');
    const version = await readPickle(input, noNames(path));
    if (version !== protocolVersion) throw fail(`its version must be ${protocolVersion}`);
    const machine = await readPickle(input, noNames(path));
    if (!(machine instanceof Map) || machine.get('little_endian') !== true) throw fail('it is not little-endian');

    const opened = new Map<string, { elementBytes: number; bytes: number; position?: number }>();
    const open: OpenStorage = (key, dtype, bytes) => {
      const place: { elementBytes: number; bytes: number; position?: number } = {
        elementBytes: dtype === null ? 1 : torchElementBytes[dtype],
        bytes,
      };
      opened.set(key, place);
      const read = (begin: number, end: number) =>
        withSameFile(path, identity, async (again) => {
          const content = uninitialised(Uint8Array, end - begin);
          await readFully(again, content, (place.position as number) + begin, path);
          return content;
        });
      return new TorchStorage(key, dtype, bytes, read);
    };
    const value = await readPickle(input, new TorchHost(`'${path}'`, identity.size, open));
    const keys = await readPickle(input, noNames(path));
    if (!Array.isArray(keys)) throw fail('it does not list its storages');
    await placeStorages(path, file, identity.size, input.position, keys, opened);
    return value;
  });
}

/** Finds where each storage begins: behind its count of elements, in the order of `keys`. */
async function placeStorages(
  path: string,
  file: FileHandle,
  size: number,
  start: number,
  keys: readonly PickleValue[],
  opened: ReadonlyMap<string, { elementBytes: number; bytes: number; position?: number }>,
): Promise<void> {
  const fail = (what: string) => new FileFormatError(`'${path}' is cut short or damaged: ${what}`);
  const count = Buffer.alloc(8);
  let at = start;
  for (const key of keys) {
    const place = typeof key === 'string' ? opened.get(key) : undefined;
    if (place === undefined || place.position !== undefined) throw fail('it lists a storage that no tensor has, or one twice');
    if (at + 8 > size) throw fail(`its storages end at byte ${size}`);
    await readFully(file, count, at, path);
    if (Number(count.readBigUInt64LE()) * place.elementBytes !== place.bytes || at + 8 + place.bytes > size)
      throw fail(`the storage at byte ${at} is not the one that its pickle describes`);
    place.position = at + 8;
    at += 8 + place.bytes;
  }
  for (const { position } of opened.values()) if (position === undefined) throw fail('it lacks a storage');
}

/** For pickles of plain values. */
function noNames(path: string): PickleHost {
  const fail = (): never => {
    throw new FileFormatError(`'${path}' is no PyTorch file: its header names classes`);
  };
  return { check: fail, call: fail, persistent: fail };
}
