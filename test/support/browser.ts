import { spawnSync } from 'node:child_process';
import { type Browser, chromium } from 'playwright-core';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** The command of a browser that works here, or nothing where there is none: some systems have one that says what to install. */
export const findBrowser = (): string | undefined => names.find((name) => spawnSync(name, ['--version']).status === 0);

const pathOf = (command: string) => spawnSync('sh', ['-c', `command -v ${command}`], { encoding: 'utf8' }).stdout.trim();

/** Starts it without a window, without a network of its own, and with a profile that is thrown away. */
export const startBrowser = (command: string): Promise<Browser> =>
  chromium.launch({
    executablePath: pathOf(command),
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ],
  });
