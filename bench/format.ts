/** A number in three digits or, from a thousand on, in all: 0.123, 1.23, 12.3, 123, 1234. */
export function format(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}
