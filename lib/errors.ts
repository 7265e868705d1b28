/** Stable machine-readable codes; match on these, never on messages. */
export type DiffusionErrorCode =
  | 'ERR_SHAPE'
  | 'ERR_DTYPE'
  | 'ERR_OPTION'
  | 'ERR_DISPOSED'
  | 'ERR_DEVICE_MISMATCH'
  | 'ERR_DEVICE'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_FILE_FORMAT'
  | 'ERR_DATASET'
  | 'ERR_NON_FINITE';

/** Base of every error that this package throws, except the standard `AbortError`. */
export class DiffusionError extends Error {
  /** Which error it is; stable across versions. */
  readonly code: DiffusionErrorCode;

  constructor(code: DiffusionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A tensor's shape does not fit; thrown before anything runs. */
export class ShapeError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_SHAPE', message, options);
  }
}

/** A tensor's element type does not fit, or the hardware has no path for it. */
export class DTypeError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_DTYPE', message, options);
  }
}

/** An option is unknown, of the wrong type, or out of its range. */
export class OptionError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_OPTION', message, options);
  }
}

/** Something already disposed or closed was used. */
export class DisposedError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_DISPOSED', message, options);
  }
}

/** Tensors of two devices met in one call. */
export class DeviceMismatchError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_DEVICE_MISMATCH', message, options);
  }
}

/** No such device, driver missing or too old, device lost, or an operation failed on it. */
export class DeviceError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_DEVICE', message, options);
  }
}

/** The device's memory limit was reached; the device stays usable. Sizes in bytes. */
export class OutOfMemoryError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_OUT_OF_MEMORY', message, options);
  }
}

/** A file is unreadable, corrupt, or of an unsupported kind; the message names the file. */
export class FileFormatError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_FILE_FORMAT', message, options);
  }
}

/** A data set is empty or inconsistent; the message names the offending file or index. */
export class DatasetError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_DATASET', message, options);
  }
}

/** A loss or gradient was not finite; the message names the step. */
export class NonFiniteError extends DiffusionError {
  constructor(message: string, options?: ErrorOptions) {
    super('ERR_NON_FINITE', message, options);
  }
}

const classes = {
  ERR_SHAPE: ShapeError,
  ERR_DTYPE: DTypeError,
  ERR_OPTION: OptionError,
  ERR_DISPOSED: DisposedError,
  ERR_DEVICE_MISMATCH: DeviceMismatchError,
  ERR_DEVICE: DeviceError,
  ERR_OUT_OF_MEMORY: OutOfMemoryError,
} as const;

/** The error for a code that native code reports; unknown codes are device errors. */
export function errorFromCode(code: string, message: string): DiffusionError {
  const Class = classes[code as keyof typeof classes] ?? DeviceError;
  return new Class(message);
}
