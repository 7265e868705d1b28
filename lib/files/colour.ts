import { OptionError } from '../errors.js';
import { show } from '../options.js';
import { loadSharp } from './sharp.js';

/**
 * A CSS colour (`'white'`, `'#1e90ff'`, `'rgb(0 0 0 / 50%)'`) as u8 values of the wanted channels: grey, RGB or RGBA.
 * Throws OptionError naming `owner` when it is not a colour.
 */
export async function parseColour(owner: string, colour: string, channels: 1 | 3 | 4): Promise<Uint8Array> {
  const sharp = await loadSharp();
  try {
    const pixel = sharp({ create: { width: 1, height: 1, channels: 4, background: colour } });
    if (channels !== 4) pixel.removeAlpha();
    return await pixel
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .raw()
      .toBuffer();
  } catch (cause) {
    throw new OptionError(`${owner}: option 'background' must be a CSS colour, got ${show(colour)}`, { cause });
  }
}
