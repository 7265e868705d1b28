// The trace that a device with a profile writes, read back.
import { FileFormatError, type ProgramCommand } from 'diffusion-native';
import * as v from 'valibot';
import { readJson } from '#lib/files/json.js';

/** A command that has run: seconds since the trace began. */
export interface Ran extends Pick<ProgramCommand, 'name' | 'dtype' | 'flops' | 'bytes'> {
  start: number;
  seconds: number;
}

const number = v.pipe(v.number(), v.minValue(0));
const event = v.object({
  name: v.string(),
  ts: number,
  dur: number,
  args: v.object({ dtype: v.picklist(['f32', 'bf16', 'u8', 'i32']), flops: number, bytes: number }),
});

/** The commands of a trace of one device, in the order in which they ran. @throws FileFormatError naming the file. */
export async function readTrace(path: string): Promise<Ran[]> {
  const events = await readJson(path);
  if (!Array.isArray(events)) throw new FileFormatError(`'${path}' is not a trace`);
  return events
    .filter((one) => one?.ph === 'X')
    .map((one) => {
      const checked = v.safeParse(event, one);
      if (!checked.success) throw new FileFormatError(`'${path}' is not a trace: ${checked.issues[0].message}`);
      const { name, ts, dur, args } = checked.output;
      return { name, ...args, start: ts / 1e6, seconds: dur / 1e6 };
    })
    .sort((a, b) => a.start - b.start);
}
