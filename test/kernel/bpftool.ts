/** What only a stranger does with bpftool: the command itself detaches by its guard, and names its maps. */

import type { Bpftool } from '../../src/host/bpftool.js';
import { type CommandLine, inNetns } from '../../src/host/bpftool-arguments.js';
import { run } from '../../src/host/exec.js';

/** Takes whatever program is there off an interface, as `bpftool net detach` does. */
export async function detachXdp(
  { path }: Bpftool,
  mode: 'native' | 'generic',
  device: string,
  netnsPath?: string,
): Promise<void> {
  const type = mode === 'native' ? 'xdpdrv' : 'xdpgeneric';
  const command = { file: path, args: ['-j', '-n', 'net', 'detach', type, 'dev', device] };
  await succeed(inNetns(netnsPath, command));
}

/** Loads an XDP program, and pins it and all of its maps, each by its name. */
export async function loadWithMaps(
  { path }: Bpftool,
  object: string,
  pin: string,
  mapsDirectory: string,
): Promise<void> {
  const load = ['-j', '-n', 'prog', 'load', object, pin, 'type', 'xdp'];
  await succeed({ file: path, args: [...load, 'pinmaps', mapsDirectory] });
}

async function succeed({ file, args }: CommandLine): Promise<void> {
  const { failed, stdout, stderr } = await run(file, args);
  if (failed) throw new Error(`${args.join(' ')}: ${stdout}${stderr}`);
}
