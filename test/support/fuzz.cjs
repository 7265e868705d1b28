// node fuzz.cjs <seed> <calls> [<device>]: calls every function of the addon with arguments that are right, nearly right and absurd, then
// uses a device, or says why it is lost. A call may only return or throw one of the addon's own errors.
const [seed, calls] = process.argv.slice(2, 4).map(Number);
const id = process.argv[4] ?? 'cpu';
const { addon, findNativeFile, completion } = require('../../dist/native.js');
const native = addon();
const library = findNativeFile(`libdiffusion_${id}.so`);
let state = seed;
const random = () => { // mulberry32
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};
const below = (n) => Math.floor(random() * n);
const pick = (list) => list[below(list.length)];

const odd = [0, 1, 2, 3, 7, -1, 0.5, 1e9, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 40), 1e308, NaN, Infinity, -Infinity, -0];
const alien = [undefined, null, '', 'cpu', library + 'x', true, false, {}, [], [1], 3n, Symbol('s'), () => 1, new Date(0), new DataView(new ArrayBuffer(8))];
const arrays = () => new (pick([Float32Array, Uint8Array, Int32Array, Float64Array, BigInt64Array, Uint8ClampedArray]))(pick([0, 1, 2, 4, 8, 16, 64]));
const devices = [], programs = [], tensors = [];
const small = () => pick([1, 1, 2, 2, 3, 4, 8]);
const argument = () => {
  const kind = random();
  if (kind < 0.62 && tensors.length > 0) return pick(tensors);
  if (kind < 0.66) return 0;
  if (kind < 0.86) return small();
  if (kind < 0.9) return random() < 0.5;
  if (kind < 0.95) return pick(odd);
  return kind < 0.97 ? arrays() : pick(alien);
};
const device = () => (random() < 0.95 ? pick(devices) : argument());
const tensor = () => (random() < 0.95 ? pick(tensors) : argument());
const usual = [[2, 4, 4, 8], [2, 4, 4, 8], [2, 16, 8], [3, 3, 8, 8], [8, 8], [8], [2], [2, 2, 2]];
const shape = () =>
  random() < 0.6
    ? pick(usual)
    : Array.from({ length: pick([1, 1, 2, 3, 4, 4, 5, 6, 0, 7]) }, () => (random() < 0.97 ? small() : argument()));
const element = () => pick([0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 4, -1]);
const bytesOf = new Map();
const fitting = (handle) => (random() < 0.8 ? new Uint8Array(Math.min(bytesOf.get(handle) ?? 4, 1e6)) : arrays());
const keep = (list, most, value, drop) => {
  list.push(value);
  if (list.length > most) drop(list.splice(below(list.length), 1)[0]);
};
const made = (handle, type, axes) => {
  bytesOf.set(handle, axes.reduce((a, b) => a * b, [4, 2, 1, 4][type]));
  keep(tensors, 60, handle, (old) => native.release(old));
};

const waiting = [];
const special = {
  start: () => native.start(argument(), argument()),
  list: () => native.list(pick([library, argument(), ''])),
  open() {
    const id = native.open(random() < 0.9 ? library : argument(), pick([0, 0, 0, 1, argument()]), pick([1, 2, 300, argument()]), pick([4e6, 4e6, 1e5, 'none', -1, NaN]), pick(['', '', '', '/no/such/trace.json', 7]), pick(['cpu', 7]));
    waiting.push(completion(native.synchronize(id)));
    keep(devices, 3, id, (old) => native.destroy(old));
  },
  synchronize: () => waiting.push(completion(native.synchronize(device()))),
  destroy: () => random() < 0.02 && native.destroy(device()),
  memory: () => native.memory(device()),
  allocate() {
    const type = element(), axes = shape();
    made(native.allocate(device(), type, ...axes), type, axes);
  },
  alias() {
    const of = tensor(), axes = shape();
    made(native.alias(of, pick([0, 0, 1, argument()]), ...axes), 0, axes);
  },
  release: () => random() < 0.5 && native.release(tensor()),
  upload() { const to = tensor(); native.upload(to, fitting(to)); },
  uploadInPlace() { const to = tensor(), data = fitting(to); waiting.push(completion(native.uploadInPlace(to, data), data)); },
  download() { const from = tensor(), into = fitting(from); waiting.push(completion(native.download(from, into), into)); },
  beginRecording: () => native.beginRecording(device()),
  endRecording: () => keep(programs, 5, native.endRecording(device()), (old) => native.releaseProgram(old)),
  abandonRecording: () => native.abandonRecording(device()),
  pauseRecording: () => native.pauseRecording(device()),
  resumeRecording: () => native.resumeRecording(device()),
  runProgram: () => native.runProgram(random() < 0.9 ? pick(programs) : argument()),
  releaseProgram: () => native.releaseProgram(random() < 0.9 ? pick(programs) : argument()),
};
const names = Object.keys(native).filter((name) => name !== 'abi' && name !== 'halt'); // halt: when all is done
const missing = Object.keys(special).filter((name) => !names.includes(name));
if (missing.length > 0) throw new Error('not exported: ' + missing);

// How many arguments an operation takes, from its own complaint.
const counts = {};
for (const name of names) {
  if (special[name]) continue;
  try { native[name](); } catch (error) { counts[name] = Number(/expected (\d+) arguments/.exec(error.message)[1]); }
}

let good = 0;
const tried = new Set();
(async () => {
  devices.push(native.open(library, 0, 2, 4e6, '', 'cpu'));
  for (let i = 0; i < calls; i++) {
    const name = random() < 0.4 ? pick(['allocate', 'allocate', 'alias', 'upload', 'release']) : pick(names);
    tried.add(name);
    try {
      if (special[name]) special[name]();
      else {
        const same = pick(tensors); // operands that fit each other
        const alike = random() < 0.5;
        const count = counts[name] + (random() < 0.98 ? 0 : pick([-1, 1]));
        native[name](...Array.from({ length: count }, () => (alike && random() < 0.7 ? same : argument())));
      }
      good++;
    } catch (error) {
      if (typeof error.code !== 'string' || !error.code.startsWith('ERR_')) throw error;
    }
    if (i % 200 === 199) await Promise.allSettled(waiting.splice(0));
  }
  for (const id of devices) try { native.abandonRecording(id); } catch {}
  await Promise.allSettled(waiting);

  const { openDevice, ops } = require('../../dist/index.js');
  const said = { good: good / calls, untried: names.filter((name) => !tried.has(name)) };
  const { available, reason } = native.list(library)[0];
  if (!available) console.log(JSON.stringify({ ...said, lost: reason }));
  else {
    const fresh = await openDevice(id);
    const sum = ops.add(fresh.full([3], 1), fresh.full([3], 2));
    console.log(JSON.stringify({ ...said, values: [...(await sum.read())] }));
    await fresh.close();
  }

  native.halt();
  native.halt();
  for (const device of devices) {
    let refused = '';
    try { native.synchronize(device); } catch (error) { refused = error.code; }
    if (!refused.startsWith('ERR_')) throw new Error('a halted device took a command');
  }
  process.exit(0);
})();
