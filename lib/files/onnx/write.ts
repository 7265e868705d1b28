import type { Parameter } from '../../autograd/parameter.js';
import { FileFormatError } from '../../errors.js';
import type { UNet2DConfig } from '../../nn/unetConfig.js';
import { unetLayers } from '../../nn/unetLayers.js';
import { writeFileAtomic } from '../atomic.js';
import { unetGraph } from './unet.js';

/** A protobuf message holds less than this. */
const mostBytes = 2 ** 31;

/**
 * Writes a UNet as a standard ONNX file (opset 17), replaced in one step. The weights are read one at a time: leave them unchanged
 * until the promise settles.
 * @throws FileFormatError naming the file that cannot be written, or whose weights exceed the format's 2 GB.
 */
export async function writeOnnx(path: string, config: UNet2DConfig, parameters: ReadonlyMap<string, Parameter>): Promise<void> {
  const layers = unetLayers((name) => parameters.get(name) as Parameter, config, false);
  const model = unetGraph(layers, config);
  if (model.byteLength >= mostBytes)
    throw new FileFormatError(
      `cannot write '${path}': an ONNX file holds less than ${mostBytes} bytes, this network needs ${model.byteLength}`,
    );
  await writeFileAtomic(path, async (append) => {
    for (const piece of model.pieces) await append(piece instanceof Uint8Array ? piece : await piece.read());
  });
}
