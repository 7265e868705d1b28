import type { Device } from '../device.js';
import { OptionError } from '../errors.js';
import { parseOptions } from '../options.js';
import { fromSchema, type UNetFromDiffusersOptions } from './unetArguments.js';
import { parseConfig, type UNet2DConfig } from './unetConfig.js';
import { contradiction } from './unetContradiction.js';
import { checkComputeType, checkDevice, checkUNetOptions, type UNetOptions } from './unetOptions.js';
import { configOf, optionsOf } from './unetTranslation.js';

/** A network before its parameters are made, whatever it is described by: options, a configuration, a file. @internal */
export class Description {
  constructor(
    readonly config: UNet2DConfig,
    /** Those that come nearest to `config`. */
    readonly options: Readonly<UNetOptions>,
    /** Of new weights; null: zeros, to be filled. */
    readonly seed: number | null = null,
    readonly zeroInit = true,
  ) {}

  /** As `UNet`'s options say it; arguments and errors are those of `new UNet`. A description is its own. */
  static ofOptions(device: Device, options: UNetOptions | Description): Description {
    if (options instanceof Description) return options;
    const checked = checkUNetOptions('new UNet', device, options);
    return new Description(configOf('new UNet', checked), Object.freeze(checked), checked.seed, checked.zeroInit);
  }

  /** As diffusers says it; arguments and errors are those of `UNet.fromDiffusers`. */
  static ofConfig(device: Device, config: object, options: UNetFromDiffusersOptions): Description {
    const owner = 'UNet.fromDiffusers';
    checkDevice(owner, device);
    const { dtype, gradientCheckpointing, seed, zeroInit } = parseOptions(owner, fromSchema, options);
    checkComputeType(owner, device, dtype);
    const architecture = parseConfig(owner, config);
    const problem = contradiction(architecture);
    if (problem !== null) throw new OptionError(`${owner}: ${problem}`);
    return new Description(architecture, optionsOf(architecture, dtype, gradientCheckpointing), seed, zeroInit);
  }
}
