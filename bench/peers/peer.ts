import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';

/** What every side of the UNet benchmark is told. */
export interface PeerOptions {
  batch: number;
  threads: number;
  device: string;
  dtype: 'f32' | 'bf16';
  network: {
    size: number;
    base: number;
    mults: number[];
    blocks: number;
    /** The image size that has attention. */
    attention: number;
    groups: number;
    dropout: number;
  };
  /** Steps of one sampling. */
  evaluations: number;
  /** Folder of the weights and of what is checked: bench/peers/reference.ts. */
  reference: string;
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
    if (done) throw new Error(`${this.#process.spawnargs.join(' ')} ended without an answer`);
    return value;
  }

  /** Asks, and returns the numbers that it answers with. */
  async ask(line: string): Promise<number[]> {
    this.#process.stdin?.write(`${line}\n`);
    return (await this.#next()).split(' ').map(Number);
  }

  stop(): void {
    this.#lines.close();
    this.#process.kill();
  }
}
