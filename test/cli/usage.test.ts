import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, test, vi } from 'vitest';
import { deviceOptions } from '../../lib/cli/values.js';
import { listDevices } from '../../lib/deviceList.js';
import { commandLine } from '../support/commandLine.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const folder = temporaryFolder();

describe('help', () => {
  test('of the program names the commands, of a command its options', async () => {
    const { status, stdout } = await commandLine('--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Usage: diffusion-native /);
    for (const command of ['devices', 'train', 'sample', 'evaluate']) {
      expect(stdout).toMatch(new RegExp(`^ {2}${command} `, 'm'));
      const help = await commandLine(command, '--help');
      expect(help.status).toBe(0);
      expect(help.stdout).toMatch(new RegExp(`^Usage: diffusion-native ${command}`));
      expect(help.stdout).toContain('--json [file]');
    }
  });

  test('the version is the package', async () => {
    const { version } = JSON.parse(readFileSync(join(__dirname, '../../package.json'), 'utf8'));
    expect(await commandLine('--version')).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });
});

describe('wrong usage ends with status 2 and says what is wrong', () => {
  test.each<[string[], RegExp]>([
    [[], /Usage: diffusion-native/],
    [['draw'], /unknown command 'draw'/],
    [['devices', '--all'], /unknown option '--all'/],
    [['train', '--output', 'x'], /required option '--data <path>'/],
    [['train', '--data', '.', '--output', 'x', '--steps', '0'], /'--steps <n>'.*whole number of at least 1/],
    [['train', '--data', '.', '--output', 'x', '--channel-mults', '1,b'], /'--channel-mults <list>'/],
    [['train', '--data', '.', '--output', 'x', '--size', '8x8x8'], /HEIGHTxWIDTH/],
    [['train', '--data', '.', '--output', 'x', '--schedule', 'steep'], /Allowed choices are linear, cosine/],
    [['train', '--data', '.', '--output', 'x', '--category', 'food'], /--category goes only with an Iconify JSON/],
    [['train', '--data', '.', '--output', 'x', '--channels', '2'], /Allowed choices are 3, 1, 4/],
    [['train', '--data', '.', '--output', 'x', '--cache', 'much'], /'--cache <MiB>'.*whole number of at least 0/],
    [['train', '--data', 'package.json', '--output', 'x', '--skip-corrupt'], /--skip-corrupt goes only with a folder/],
    [['train', '--data', 'package.json', '--output', 'x', '--cache', '0'], /--cache goes only with a folder/],
    [['train', '--data', 'binding.gyp', '--output', 'x', '--background', 'red'], /--background goes only with a folder/],
    [['train', '--data', '.', '--output', 'x', '--resume', '--groups', '4'], /leave out --groups/],
    [['train', '--data', '.', '--output', 'x', '--resume', '--dtype', 'bf16'], /leave out --dtype/],
    [['sample'], /required option '--model <folder>'/],
    [
      ['sample', '--model', '.', '--method', 'newton'],
      /Allowed choices are ddpm, ddim, dpmSolver\+\+, euler, eulerAncestral, heun/,
    ],
    [['sample', '--model', '.', '--dtype', 'f16'], /Allowed choices are f32, bf16/],
    [['sample', '--model', '.', '--labels', '1,-1'], /'--labels <list>'/],
  ])('%j', async (argv, message) => {
    const { status, stderr, stdout } = await commandLine(...argv);
    expect(stderr).toMatch(message);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  });
});

describe('what fails ends with status 1 and one line', () => {
  test.each<[string[], RegExp]>([
    [['train', '--data', join(folder, 'none'), '--output', folder], /^error: cannot read .*none/],
    [['train', '--data', folder, '--output', folder], /^error: .*no image/],
    [['sample', '--model', folder, '--device', 'cpu'], /^error: .* is neither a pipeline folder/],
    [['sample', '--model', folder, '--device', 'tpu'], /^error: no device 'tpu'/],
  ])('%j', async (argv, message) => {
    const { status, stderr, stdout } = await commandLine(...argv);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });
});

describe('devices', () => {
  test('are listed with the reason for what is missing', async () => {
    const { status, stdout } = await commandLine('devices');
    expect(status).toBe(0);
    for (const { id, reason, available } of listDevices()) expect(stdout).toContain(available ? id : (reason as string));
  });

  test('as JSON on standard output or in a file', async () => {
    const expected = { devices: listDevices() };
    expect(JSON.parse((await commandLine('devices', '--json')).stdout)).toEqual(expected);
    const path = join(folder, 'devices.json');
    expect((await commandLine('devices', '--json', path)).stdout).toContain('cpu');
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(expected);
  });

  test('DIFFUSION_DEVICE is the default of --device', async () => {
    process.env.DIFFUSION_DEVICE = 'abacus';
    try {
      expect((await commandLine('sample', '--model', folder)).stderr).toMatch(/no device 'abacus'/);
      expect((await commandLine('sample', '--model', folder, '--device', 'tpu')).stderr).toMatch(/no device 'tpu'/);
    } finally {
      delete process.env.DIFFUSION_DEVICE;
    }
  });
});

test('an empty DIFFUSION_DEVICE is as good as none', () => {
  vi.stubEnv('DIFFUSION_DEVICE', '');
  const command = new Command();
  for (const option of deviceOptions()) command.addOption(option);
  expect(command.parse([], { from: 'user' }).opts()).toEqual({ device: 'auto' });
  vi.unstubAllEnvs();
});
