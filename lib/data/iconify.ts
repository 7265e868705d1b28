import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FileFormatError, OptionError } from '../errors.js';
import { show } from '../options.js';
import { reason } from './images.js';

/** The square of the drawing that an icon takes. */
export interface IconBox {
  /** 0 */
  left?: number;
  /** 0 */
  top?: number;
  /** 16 */
  width?: number;
  /** 16 */
  height?: number;
}

/** An icon of a collection. */
export interface IconEntry extends IconBox {
  /** What stands inside its `<svg>`. */
  body: string;
  /** Hidden icons are left out. */
  hidden?: boolean;
}

/** The fields of an IconifyJSON object (https://iconify.design/docs/types/iconify-json.html) that are read here. */
export interface IconCollection extends IconBox {
  /** Name of the collection. */
  prefix: string;
  /** The icons by name. */
  icons: Record<string, IconEntry>;
  /** Names of the icons of each category. */
  categories?: Record<string, string[]>;
}

/**
 * An Iconify collection: the object of an `icons.json`, with `categories` if it has them; the exports of an `@iconify-json/…`
 * package, `{ icons, metadata }`; or the path of an `icons.json`, whose categories may stand in a `metadata.json` beside it.
 */
export type IconSource = string | IconCollection | IconPackage;

/** The exports of an `@iconify-json/…` package. */
export interface IconPackage {
  /** The collection. */
  icons: IconCollection;
  /** Its categories. */
  metadata?: Pick<IconCollection, 'categories'>;
}

/** An icon to draw, and its class. */
export interface Icon extends IconBox {
  name: string;
  body: string;
  label: number;
}

const skinTone = /-(?:light|medium-light|medium|medium-dark|dark)$/;
const uncategorised = 'Uncategorised';

/** The collection that `source` stands for, with its categories where there are any. */
export async function openIcons(owner: string, source: IconSource): Promise<IconCollection> {
  if (typeof source === 'string') {
    const collection = checked(await readJson(owner, source), (text) => new FileFormatError(`${owner}: ${source} ${text}`));
    if (collection.categories) return collection;
    const metadata = await readJson(owner, join(dirname(source), 'metadata.json'), true);
    return { ...collection, categories: (metadata as IconCollection | null)?.categories };
  }
  const isPackage = isObject(source) && isObject(source.icons) && isObject(source.icons.icons) && !('prefix' in source);
  const wrong = (text: string) => new OptionError(`${owner}: the first argument (${show(source)}) ${text}`);
  if (!isPackage) return checked(source, wrong);
  const { icons, metadata } = source as { icons: IconCollection; metadata?: Pick<IconCollection, 'categories'> };
  return checked({ categories: metadata?.categories, ...icons }, wrong);
}

/** Icons in the order of their names, and the class names; those are null for a collection without categories. */
export function pickIcons(owner: string, collection: IconCollection, wanted: string[] | undefined, skinTones: boolean) {
  const classNames = wanted
    ? wanted.map((name) => findCategory(owner, collection, name))
    : Object.keys(collection.categories ?? {});
  if (new Set(classNames).size < classNames.length) {
    throw new OptionError(`${owner}: option 'categories' names one category twice: ${show(wanted)}`);
  }
  const labels = new Map<string, number>();
  for (const [label, name] of classNames.entries()) {
    for (const icon of collection.categories?.[name] ?? []) if (!labels.has(icon)) labels.set(icon, label);
  }
  const icons: Icon[] = [];
  const drawings = new Set<string>();
  for (const name of Object.keys(collection.icons).sort()) {
    const { hidden, ...icon } = collection.icons[name] as IconCollection['icons'][string];
    if (hidden || drawings.has(icon.body) || (!skinTones && isSkinToneVariant(name, collection))) continue;
    drawings.add(icon.body);
    const label = labels.get(name);
    if (label !== undefined || !wanted) icons.push({ ...icon, name, label: label ?? classNames.length });
  }
  if (classNames.length > 0 && icons.some((icon) => icon.label === classNames.length)) classNames.push(uncategorised);
  return { icons, classNames: classNames.length > 0 ? classNames : null };
}

/** Whether the name is that of another icon plus a skin tone (so not `vertical-traffic-light`). */
function isSkinToneVariant(name: string, { icons }: IconCollection): boolean {
  return skinTone.test(name) && Object.hasOwn(icons, name.replace(skinTone, ''));
}

/** The category whose full name, or else the one whose first word, is `wanted` in any case. */
function findCategory(owner: string, { categories = {} }: IconCollection, wanted: string): string {
  const names = Object.keys(categories);
  const same = (name: string | undefined) => name?.toLowerCase() === wanted.toLowerCase();
  const byWord = names.filter((name) => same(name.split(/[^\p{L}\p{N}]+/u)[0]));
  const found = names.find(same) ?? (byWord.length === 1 ? byWord[0] : undefined);
  if (found !== undefined) return found;
  const known = names.length > 0 ? names.map(show).join(', ') : 'none: pass { icons, metadata } or the path of an icons.json';
  throw new OptionError(`${owner}: option 'categories' has unknown ${show(wanted)}; known categories are ${known}`);
}

async function readJson(owner: string, path: string, optional = false): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (optional && (cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new FileFormatError(`${owner}: cannot read ${path}: ${reason(cause)}`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new FileFormatError(`${owner}: ${path} is no JSON: ${reason(cause)}`, { cause });
  }
}

function checked(value: unknown, wrong: (text: string) => Error): IconCollection {
  if (!isObject(value) || !isObject(value.icons)) throw wrong("is no Iconify collection: expected an object with 'icons'");
  for (const [name, icon] of Object.entries(value.icons)) {
    if (!isObject(icon) || typeof icon.body !== 'string') throw wrong(`is no Iconify collection: icon '${name}' has no body`);
  }
  return value as unknown as IconCollection;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
