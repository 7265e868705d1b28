import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import type { Network } from '../networks.js';
import type { Ceiling, DTypeName } from '../result.js';

/** What every side of a case of a whole network is told. */
export interface PeerOptions {
  batch: number;
  threads: number;
  device: string;
  dtype: DTypeName;
  network: Network;
  /** Folder of the weights and of what is checked: bench/peers/reference.ts. */
  reference: string;
  ceilings: readonly Ceiling[];
}

/** A process that answers each line with one line. */
export class Peer {
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;
  /** What it said of itself when it was ready. */
  about = '';

  private constructor(command: string, args: readonly string[]) {
    this.#process = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#process.stdin?.on('error', () => {}); // one that has ended is noticed by its missing answer
    this.#lines = createInterface({ input: this.#process.stdout as NodeJS.ReadableStream });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /** Starts it and waits until it is ready. Throws when it ends before. */
  static async start(command: string, ...args: string[]): Promise<Peer> {
    const peer = new Peer(command, args);
    peer.about = await peer.#next();
    return peer;
  }

  async #next(): Promise<string> {
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`${this.#process.spawnargs.slice(0, 2).join(' ')} ended without an answer`);
    return value;
  }

  /** Asks, and returns the numbers that it answers with. */
  async ask(line: string): Promise<number[]> {
    this.#process.stdin?.write(`${line}\n`);
    return (await this.#next()).split(' ').map(Number);
  }

  /** Ends it. */
  stop(): void {
    this.#lines.close();
    this.#process.kill();
  }

  /** Ends it, and waits until its memory is free again. */
  async end(): Promise<void> {
    const ended = once(this.#process, 'exit');
    const running = this.#process.exitCode === null && this.#process.signalCode === null;
    this.stop();
    if (running) await ended;
  }
}
