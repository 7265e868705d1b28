import { FileFormatError } from '../../errors.js';
import { withFile, withSameFile } from '../input.js';
import { readContent } from './content.js';
import { type OpenStorage, TorchHost } from './host.js';
import { readPickle } from './pickle.js';
import type { PickleValue } from './pickleHost.js';
import { PickleInput } from './pickleInput.js';
import { TorchStorage } from './tensor.js';
import { readZip, type ZipEntry } from './zip.js';

/** A checkpoint of a thousand tensors has some hundred thousand. */
const greatestPickleBytes = 1 << 24;

/**
 * What `torch.save` wrote since PyTorch 1.6: a zip archive of a pickle and a file for each storage. The tensors' values are read when
 * they are asked for.
 * @throws FileFormatError naming the file and what is wrong with it.
 */
export function readTorchArchive(path: string): Promise<PickleValue> {
  return withFile(path, async (file, identity) => {
    const entries = await readZip(path, file, identity.size);
    const root = rootOf(path, entries);
    await checkByteOrder(entries.get(`${root}byteorder`), (entry) => readContent(path, file, entry), path);
    const pickle = entries.get(`${root}data.pkl`) as ZipEntry;
    if (pickle.bytes > Math.min(greatestPickleBytes, 64 * identity.size))
      throw new FileFormatError(`'${path}': its pickle has ${pickle.bytes} bytes, more than are read`);
    const input = new PickleInput(await readContent(path, file, pickle), `'${path}'`);
    const open: OpenStorage = (key, dtype, bytes) => {
      const entry = entries.get(`${root}data/${key}`);
      if (entry?.bytes !== bytes)
        throw new FileFormatError(
          `'${path}' is damaged: storage '${key}' must have ${bytes} bytes, ${entry ? `got ${entry.bytes}` : 'but is not there'}`,
        );
      const read = (begin: number, end: number) =>
        withSameFile(path, identity, (again) => readContent(path, again, entry, begin, end));
      return new TorchStorage(key, dtype, bytes, read);
    };
    return readPickle(input, new TorchHost(`'${path}'`, identity.size, open));
  });
}

/** The folder of the archive in which all of its files are. */
function rootOf(path: string, entries: ReadonlyMap<string, ZipEntry>): string {
  const roots = [...entries.keys()].flatMap((name) => /^((?:[^/]*\/)?)data\.pkl$/.exec(name)?.[1] ?? []);
  const [root] = roots;
  if (root === undefined || roots.length > 1)
    throw new FileFormatError(`'${path}' is no PyTorch file: it has ${roots.length} entries data.pkl`);
  if (entries.has(`${root}constants.pkl`))
    throw new FileFormatError(`'${path}' is a TorchScript program; save its state dict instead`);
  return root;
}

async function checkByteOrder(
  entry: ZipEntry | undefined,
  read: (entry: ZipEntry) => Promise<Uint8Array>,
  path: string,
): Promise<void> {
  if (entry === undefined) return;
  const order = entry.bytes > 16 ? 'longer' : Buffer.from(await read(entry)).toString();
  if (order !== 'little') throw new FileFormatError(`'${path}': its byte order must be 'little', got '${order}'`);
}
