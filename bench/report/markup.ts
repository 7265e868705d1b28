const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Text for HTML and XML, between tags or within quotation marks. */
export const escapeText = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] as string);

/** Text that is markup already. */
export class Markup {
  constructor(readonly text: string) {}
}

/** What a template takes: markup as it is, everything else escaped, nothing for `undefined`. */
export type Part = Markup | string | number | undefined | readonly Part[];

/** Markup in which every string from elsewhere is escaped. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return new Markup(strings.map((text, i) => text + (i < parts.length ? write(parts[i]) : '')).join(''));
}

function write(part: Part): string {
  if (part instanceof Markup) return part.text;
  if (part === undefined) return '';
  return typeof part === 'object' ? part.map(write).join('') : escapeText(String(part));
}
