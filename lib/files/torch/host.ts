import { FileFormatError } from '../../errors.js';
import { show } from '../../options.js';
import { PickleGlobal, type PickleHost, type PickleValue } from './pickleHost.js';
import { dtypeNames, storageClasses, type TorchDType, torchElementBytes } from './storages.js';
import { TorchStorage, TorchTensor } from './tensor.js';

/** Finds the bytes of a storage: how, each kind of file has its own way. */
export type OpenStorage = (key: string, dtype: TorchDType | null, bytes: number) => TorchStorage;

/** More than NumPy's and PyTorch's own limit. */
const greatestRank = 64;

/**
 * What names mean in PyTorch's files. Those that make tensors are known, and a few plain ones beside them; others are errors, as in
 * `torch.load(weights_only=True)`.
 */
export class TorchHost implements PickleHost {
  readonly #source: string;
  readonly #fileBytes: number;
  readonly #open: OpenStorage;
  readonly #storages = new Map<string, TorchStorage>();

  /** @param source the file, for messages; `fileBytes` its size */
  constructor(source: string, fileBytes: number, open: OpenStorage) {
    this.#source = source;
    this.#fileBytes = fileBytes;
    this.#open = open;
  }

  #fail(what: string): FileFormatError {
    return new FileFormatError(`${this.#source}: ${what}`);
  }

  check(global: PickleGlobal): void {
    if (!isKnown(global))
      throw this.#fail(`its pickle names ${global}, which is not read; save the state dict alone, of tensors`);
  }

  call(global: PickleGlobal, args: readonly PickleValue[]): PickleValue {
    switch (`${global}`) {
      case 'collections.OrderedDict':
        return this.#dictionary(args);
      case 'torch._utils._rebuild_tensor':
      case 'torch._utils._rebuild_tensor_v2':
        return this.#tensor(args);
      case 'torch._utils._rebuild_tensor_v3':
        return this.#tensor(args, this.#dtypeOf(args[6]));
      case 'torch._utils._rebuild_parameter':
      case 'torch._utils._rebuild_parameter_with_state':
        if (args[0] instanceof TorchTensor) return args[0];
        break;
      case 'torch.Size':
      case 'torch.device':
        if (args.length === 1 || `${global}` === 'torch.device') return args[0] ?? [];
    }
    throw this.#fail(`its pickle calls ${global} with ${show(args)}`);
  }

  /** ('storage', class, key, device, elements), and in old files what of a larger storage it is a view of. */
  persistent(id: PickleValue): PickleValue {
    const [kind, storageClass, key, , count, view] = Array.isArray(id) ? id : [];
    const dtype = storageClass instanceof PickleGlobal ? storageDType(storageClass) : undefined;
    if (kind !== 'storage' || dtype === undefined || typeof key !== 'string' || !isSize(count))
      throw this.#fail(`its pickle refers to ${show(id)}, which is no storage`);
    if (view !== undefined && view !== null) throw this.#fail('its storages are views of others, which is not read');
    const bytes = count * (dtype === null ? 1 : torchElementBytes[dtype]);
    const known = this.#storages.get(key);
    if (known && known.dtype === dtype && known.bytes === bytes) return known;
    if (known) throw this.#fail(`its storage '${key}' is described twice, and differently`);
    const storage = this.#open(key, dtype, bytes);
    this.#storages.set(key, storage);
    return storage;
  }

  #dictionary(args: readonly PickleValue[]): PickleValue {
    const [items = []] = args;
    const pairs = Array.isArray(items) ? items.filter((item) => Array.isArray(item) && item.length === 2) : [];
    if (args.length > 1 || !Array.isArray(items) || pairs.length < items.length)
      throw this.#fail(`its pickle makes a dictionary of ${show(args)}`);
    return new Map(pairs as [PickleValue, PickleValue][]);
  }

  #dtypeOf(value: PickleValue | undefined): TorchDType {
    const dtype = value instanceof PickleGlobal && value.module === 'torch' ? dtypeNames.get(value.name) : undefined;
    if (dtype === undefined)
      throw this.#fail(`its pickle has a tensor of ${value instanceof PickleGlobal ? value : show(value)}`);
    return dtype;
  }

  /** (storage, offset, shape, strides, …): the tensor must lie within its storage. */
  #tensor([storage, offset, shape, strides]: readonly PickleValue[], given: TorchDType | null = null): TorchTensor {
    const fail = (why = '') =>
      this.#fail(`its pickle has a tensor of shape ${show(shape)}, strides ${show(strides)}, offset ${show(offset)}${why}`);
    if (!(storage instanceof TorchStorage) || !isSize(offset) || !isSizes(shape) || !isSizes(strides)) throw fail();
    const dtype = given ?? storage.dtype;
    if (dtype === null || shape.length !== strides.length || shape.length > greatestRank) throw fail();
    const tensor = new TorchTensor(storage, dtype, shape, strides, offset);
    const count = shape.reduce((product, size) => product * size, 1);
    const outside = (tensor.span + offset) * torchElementBytes[dtype] > storage.bytes;
    // Repeated elements, and gaps between them where a storage unpacks to more than the file: no more than the file could hold.
    const vast = count > Math.max(this.#fileBytes, storage.bytes) || tensor.span > Math.max(this.#fileBytes, 8 * count);
    if (count > 0 && (outside || vast)) throw fail(', beyond its storage');
    return tensor;
  }
}

const plain = new Set([
  'collections.OrderedDict',
  'torch._utils._rebuild_tensor',
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_tensor_v3',
  'torch._utils._rebuild_parameter',
  'torch._utils._rebuild_parameter_with_state',
  'torch.Size',
  'torch.device',
]);

function isKnown(global: PickleGlobal): boolean {
  return (
    plain.has(`${global}`) || storageDType(global) !== undefined || (global.module === 'torch' && dtypeNames.has(global.name))
  );
}

/** undefined: no storage; null: one whose tensors say their type themselves. */
function storageDType({ module, name }: PickleGlobal): TorchDType | null | undefined {
  if (module === 'torch.storage' && (name === 'UntypedStorage' || name === '_UntypedStorage')) return null;
  if (module === 'torch' && name === 'UntypedStorage') return null;
  return module === 'torch' ? storageClasses.get(name) : undefined;
}

const isSize = (value: PickleValue | undefined): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isSizes = (value: PickleValue | undefined): value is number[] => Array.isArray(value) && value.every(isSize);
