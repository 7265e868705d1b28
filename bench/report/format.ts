// Numbers as people read them.
const prefixes = [
  [1e15, 'P'],
  [1e12, 'T'],
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
  [1, ''],
  [1e-3, 'm'],
  [1e-6, 'µ'],
  [1e-9, 'n'],
] as const;

/** Three digits: 0.0123, 1.23, 12.3, 123, 12,300. */
export function digits(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  return value.toLocaleString('en-US', { maximumSignificantDigits: 3 });
}

/** Three digits with the prefix that suits: 4.3 TB/s, 12.3 µs. */
export function si(value: number, unit: string): string {
  const [factor, prefix] = prefixes.find(([least]) => Math.abs(value) >= least * 0.9995) ?? [1, ''];
  return `${digits(value / factor)} ${prefix}${unit}`;
}

export const seconds = (value: number): string => (value >= 1 ? `${digits(value)} s` : si(value, 's'));

/** Of memory, in powers of 1024. */
export function bytes(count: number): string {
  const exponent = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(1, count)) / 10)));
  return `${digits(count / 1024 ** exponent)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][exponent]}`;
}

export const percent = (share: number): string => `${digits(share * 100)} %`;

export const times = (ratio: number): string => `${ratio.toFixed(ratio < 10 ? 2 : 1)}×`;

/** A power of ten as an axis writes it: 0.1, 1, 10, 1 k, 1 M. */
export const tick = (unit: string) => (value: number) => (value === 0 ? '0' : si(value, unit).trim());

/** What may stand in a file name or an identifier. */
export const slug = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 60) || 'unnamed';
