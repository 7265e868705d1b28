import { FileFormatError } from '../errors.js';
import { parseColour } from '../files/colour.js';
import { loadSharp } from '../files/sharp.js';
import { reason } from './images.js';

/** What becomes of a picture file. */
export interface DecodingOptions {
  size: readonly [height: number, width: number];
  channels: 1 | 3 | 4;
  /** CSS colour */
  background: string;
  fit: 'cover' | 'contain' | 'fill';
}

/**
 * A function that decodes a picture file to u8 values `[height, width, channels]`, on the threads of libuv. Grey, palette, 1-bit
 * and 16-bit pictures and those of other colour spaces become sRGB or grey, transparent ones are composited on the background (in
 * colour: then comes grey), EXIF orientation is applied, of an animation the first frame is taken.
 *
 * The function throws FileFormatError naming the file that it cannot decode.
 * @throws OptionError when the background is no colour.
 */
export async function imageDecoder(owner: string, options: DecodingOptions): Promise<(file: string) => Promise<Uint8Array>> {
  const { size, channels, background, fit } = options;
  const [height, width] = size;
  await parseColour(owner, background, 4);
  const sharp = await loadSharp();
  return async (file) => {
    try {
      const image = sharp(file).autoOrient().resize(width, height, { fit, background });
      // In the grey space of a grey picture, sharp would lay it on the background's red.
      const { space } = await image.metadata();
      if (space === 'b-w' || space === 'grey16') image.pipelineColourspace('srgb');
      if (channels === 4) image.ensureAlpha();
      else image.flatten({ background });
      const pixels = await image
        .toColourspace(channels === 1 ? 'b-w' : 'srgb')
        .raw({ depth: 'uchar' })
        .toBuffer();
      const bytes = height * width * channels;
      if (pixels.length !== bytes) throw new Error(`decoded to ${pixels.length} bytes instead of ${bytes}`);
      return pixels;
    } catch (cause) {
      throw new FileFormatError(`${owner}: cannot read image ${file}: ${reason(cause)}`, { cause });
    }
  };
}
