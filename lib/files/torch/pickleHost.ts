/** What a pickle can describe here: Python's plain values, and what the reader of a format makes of the rest (`object`). */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleGlobal
  | object;

/** A name that a pickle would import; only the reader of a format knows what it stands for. */
export class PickleGlobal {
  constructor(
    readonly module: string,
    readonly name: string,
  ) {}

  toString(): string {
    return `${this.module}.${this.name}`.slice(0, 120);
  }
}

/** What names and references stand for. Each throws FileFormatError for what it does not know. */
export interface PickleHost {
  /** Called for each name at once, so that one that is not known is an error even where nothing uses it. */
  check(global: PickleGlobal): void;
  /** The value of a call of a name; nothing is executed. */
  call(global: PickleGlobal, args: readonly PickleValue[]): PickleValue;
  /** The value of a persistent id. */
  persistent(id: PickleValue): PickleValue;
}
