import * as v from 'valibot';
import { DatasetError } from '../errors.js';
import { parseColour } from '../files/colour.js';
import { loadSharp } from '../files/sharp.js';
import { boolean, parseOptions, signal, string } from '../options.js';
import { forEachConcurrent, type LoadingOptions } from './concurrent.js';
import { type Icon, type IconCollection, type IconSource, openIcons, pickIcons } from './iconify.js';
import { allocateImages, type ImageSize, type Images, imageSize, progress, reason } from './images.js';

/** Options of `ImageDataset.icons`. */
export interface IconOptions extends LoadingOptions {
  /** Side in pixels, or `[height, width]`. */
  size: ImageSize;
  /** Full names or their first words, in any case (`'smileys'` for `'Smileys & Emotion'`). Default: all. */
  categories?: string[];
  /** CSS colour under the icons. Default `'white'`. */
  background?: string;
  /** Whether to take skin-tone variants too. Default false. */
  skinTones?: boolean;
}

const schema = v.strictObject({
  size: imageSize(),
  categories: v.optional(v.pipe(v.array(string(), 'an array of names'), v.minLength(1, 'an array of at least one name'))),
  background: v.optional(string(), 'white'),
  skinTones: v.optional(boolean(), false),
  onProgress: v.optional(progress()),
  signal: v.optional(signal()),
});

const owner = 'ImageDataset.icons';
/** Icons are drawn this many times larger than wanted and then reduced. */
const supersampling = 4;

/**
 * Rasterises the icons of an Iconify collection to RGB in the order of their names. The labels are the categories, where the
 * collection has them: see {@link IconSource}. Hidden icons, aliases, and icons drawn like an earlier one are left out, and
 * skin-tone variants of an icon unless `skinTones`.
 * @throws OptionError for an unknown category, listing the known ones, or a `source` that is no collection.
 * @throws DatasetError or FileFormatError naming the file or icon that cannot be read or drawn.
 */
export async function readIcons(source: IconSource, options: IconOptions): Promise<Images> {
  const { size, categories, background, skinTones, onProgress, signal } = parseOptions(owner, schema, options);
  await parseColour(owner, background, 4);
  const collection = await openIcons(owner, source);
  const { icons, classNames } = pickIcons(owner, collection, categories, skinTones);
  if (icons.length === 0) throw new DatasetError(`${owner}: collection '${collection.prefix}' holds no such icons`);
  const [height, width] = size;
  const shape = [icons.length, height, width, 3] as const;
  const images = allocateImages(owner, shape);
  const sharp = await loadSharp();

  const draw = async (index: number) => {
    const icon = icons[index] as Icon;
    const large = { width: width * supersampling, height: height * supersampling };
    try {
      // Two pipelines: in one, sharp would draw the vector image at its final size.
      const drawn = await sharp(Buffer.from(svg(icon, collection, large)))
        .flatten({ background })
        .raw()
        .toBuffer();
      const pixels = await sharp(drawn, { raw: { ...large, channels: 3 } })
        .resize(width, height, { kernel: 'lanczos3' })
        .raw()
        .toBuffer();
      images.set(pixels, index * height * width * 3);
    } catch (cause) {
      throw new DatasetError(`${owner}: cannot draw icon '${icon.name}': ${reason(cause)}`, { cause });
    }
  };
  await forEachConcurrent(icons.length, draw, { onProgress, signal });
  return { images, shape, labels: classNames && Int32Array.from(icons, (icon) => icon.label), classNames };
}

/** The whole SVG document of an icon; its view box is centred where the proportions differ. */
function svg(icon: Icon, { width, height, left, top }: IconCollection, pixels: { width: number; height: number }): string {
  const box = [icon.left ?? left ?? 0, icon.top ?? top ?? 0, icon.width ?? width ?? 16, icon.height ?? height ?? 16];
  const namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"';
  return `<svg ${namespaces} width="${pixels.width}" height="${pixels.height}" viewBox="${box.join(' ')}">${icon.body}</svg>`;
}
