import { writeJson } from '../files/json.js';

/** Value of `--json [file]`. */
export type JsonTarget = string | true | undefined;

/** Writes a line for people: to standard output, unless JSON goes there. */
export function say(json: JsonTarget, line: string): void {
  if (json === true) console.error(line);
  else console.log(line);
}

/** Writes the result where `--json` asks for it. Throws FileFormatError naming the file that cannot be written. */
export async function writeResult(json: JsonTarget, result: Record<string, unknown>): Promise<void> {
  if (json === true) console.log(JSON.stringify(result, null, 2));
  else if (json !== undefined) await writeJson(json, result);
}

/** A duration in words: 4.2 s, 3 min 20 s, 2 h 5 min. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
