import type { Parameter } from '../autograd/parameter.js';
import { FileFormatError } from '../errors.js';
import { readSafetensors } from './safetensors.js';
import { shapeText } from './safetensorsHeader.js';
import { readStateDict, torchFormat } from './torch/stateDict.js';

/** A tensor of a weight file. */
export interface WeightTensor {
  /** In the words of safetensors. */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Reads the values, row-major; FileFormatError naming the file when it cannot be read. */
  float32(): Promise<Float32Array>;
}

const realTypes = ['F64', 'F32', 'F16', 'BF16'];

/** Bytes that may wait for the device while the next tensors are read. */
const pendingBytes = 1 << 26;

/** More than any network has: where so many are missing, the file is not a network's. */
const greatestMissing = 10_000;

/** The weights of a model in one or more files, described but not yet read. */
export class Weights {
  private constructor(
    /** The first file, for messages. */
    readonly file: string,
    readonly tensors: ReadonlyMap<string, WeightTensor>,
  ) {}

  /**
   * Reads what files of safetensors or PyTorch say of their tensors.
   * @param rename the name under which a tensor is looked for
   * @throws FileFormatError naming the file, also for a tensor that two files hold.
   */
  static async open(files: readonly string[], rename = (name: string) => name): Promise<Weights> {
    const tensors = new Map<string, WeightTensor>();
    for (const file of files)
      for (const [name, tensor] of await tensorsOf(file)) {
        const known = rename(name);
        if (tensors.has(known)) throw new FileFormatError(`'${file}' has tensor '${known}' a second time`);
        tensors.set(known, tensor);
      }
    return new Weights(files[0] as string, tensors);
  }

  /** Others that are made of these. */
  with(tensors: ReadonlyMap<string, WeightTensor>): Weights {
    return new Weights(this.file, tensors);
  }

  /**
   * Compares with what a network has, before anything is allocated for it.
   * @param forEach calls its argument with name and shape (PyTorch's) of each parameter
   * @throws FileFormatError naming tensors that are missing, left over or of another shape.
   */
  check(forEach: (visit: (name: string, shape: readonly number[]) => void) => void): void {
    const { file, tensors } = this;
    const missing = new Set<string>();
    const left = new Set(tensors.keys());
    const wrong: string[] = [];
    const report = () => {
      if (missing.size > 0) throw new FileFormatError(`'${file}' lacks ${namesOf([...missing])}${this.#hint(missing)}`);
    };
    forEach((name, shape) => {
      const tensor = tensors.get(name);
      left.delete(name);
      if (tensor === undefined) missing.add(name);
      else if (!realTypes.includes(tensor.dtype))
        wrong.push(`tensor '${name}' must be F64, F32, F16 or BF16, got ${tensor.dtype}`);
      else if (tensor.shape.length !== shape.length || tensor.shape.some((size, axis) => size !== shape[axis]))
        wrong.push(`tensor '${name}' must have shape [${shape}], got ${shapeText(tensor.shape)}`);
      if (missing.size === greatestMissing) report();
    });
    report();
    if (left.size > 0)
      throw new FileFormatError(`'${file}' has tensors that the network has no place for: ${namesOf([...left])}`);
    if (wrong.length > 0) throw new FileFormatError(`'${file}': ${wrong[0]}`);
  }

  #hint(missing: ReadonlySet<string>): string {
    const mixedUp = (there: string, wanted: string) => this.tensors.has(there) && missing.has(wanted);
    const [openAi, diffusers] = ['input_blocks.0.0.weight', 'conv_in.weight'] as const;
    if (mixedUp(openAi, diffusers)) return "; its names are OpenAI's, which UNet.loadOpenAI reads";
    return mixedUp(diffusers, openAi) ? "; its names are diffusers', which UNet.load reads by a config in diffusers' words" : '';
  }

  /** Reads every weight; one tensor is in memory at a time, and a few on their way to the device. */
  async loadInto(parameters: ReadonlyMap<string, Parameter>): Promise<void> {
    let pending = 0;
    for (const [name, parameter] of parameters) {
      const values = await (this.tensors.get(name) as WeightTensor).float32();
      parameter.write(values);
      pending += values.byteLength;
      if (pending < pendingBytes) continue;
      await parameter.device.synchronize();
      pending = 0;
    }
    await [...parameters.values()][0]?.device.synchronize();
  }
}

async function tensorsOf(file: string): Promise<ReadonlyMap<string, WeightTensor>> {
  if (file.endsWith('.safetensors') || (await torchFormat(file)) === null) return (await readSafetensors(file)).tensors;
  return readStateDict(file);
}

function namesOf(names: readonly string[]): string {
  return `${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more` : ''}`;
}
