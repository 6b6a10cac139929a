import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import type { Pins } from '../../src/attachment/pin-paths.js';
import { claim, pinsExist } from '../../src/attachment/pins.js';
import { xdpAttachmentsIn } from '../../src/host/bpftool-output.js';
import { suite } from '../suite.js';
import { inDirectory, STATE } from './pin-directory.js';

/** The shell that ends attachments for the command, the guard and the agentless script. */
const END = fileURLToPath(new URL('../../src/attachment/end.sh', import.meta.url));
const SHELLS = [['/bin/sh'], ['dash'], ['busybox', 'sh'], ['bash', '--posix']] as const;

/** Runs lines with the functions of end.sh at hand. Returns what they print. */
function run(
  shell: string,
  options: readonly string[],
  lines: string,
  args: readonly string[],
  input = '',
): string {
  const words = [...options, `. ${END}\n${lines}`, 'sh', ...args];
  const { status, stdout, stderr } = spawnSync(shell, words, { encoding: 'utf8', input });
  assert.is(status, 0, stderr);
  return stdout;
}

/** What a host has: the lines of `net show`, the same as JSON, and the programs as both must be read. */
const HOSTS: readonly {
  readonly lines: readonly string[];
  readonly xdp: readonly unknown[];
  readonly programs: readonly string[];
}[] = [
  { lines: [], xdp: [], programs: [] },
  {
    lines: ['eth0(2) driver id 7', 'lo(1) generic id 8'],
    xdp: [
      { devname: 'eth0', ifindex: 2, mode: 'driver', id: 7 },
      { devname: 'lo', ifindex: 1, mode: 'generic', id: 8 },
    ],
    programs: ['xdpdrv 7 eth0', 'xdpgeneric 8 lo'],
  },
  {
    lines: ['eth0(2) driver id 7 offload id 9', 'eth1(3) offload id 7'],
    xdp: [
      {
        devname: 'eth0',
        ifindex: 2,
        multi_attachments: [
          { mode: 'driver', id: 7 },
          { mode: 'offload', id: 9 },
        ],
      },
      { devname: 'eth1', ifindex: 3, mode: 'offload', id: 7 },
    ],
    programs: ['xdpdrv 7 eth0', 'xdpoffload 9 eth0', 'xdpoffload 7 eth1'],
  },
  {
    lines: ['eth0(2) unknown id 7', 'eth1(3)'],
    xdp: [
      { devname: 'eth0', ifindex: 2, mode: 'unknown', id: 7 },
      { devname: 'eth1', ifindex: 3 },
    ],
    programs: [],
  },
  ...['a(b', 'a)b', '(1)', "a'b", '-n', '$(id)', '*', '%s', 'a\\nb', '\\', 'ü', 'driver'].map(
    (name) => ({
      lines: [`${name}(12) driver id 7`],
      // bpftool prints a backslash in JSON as \n (src/json_writer.c jsonw_puts).
      xdp: [{ devname: name.replaceAll('\\', '\n'), ifindex: 12, mode: 'driver', id: 7 }],
      programs: [`xdpdrv 7 ${name}`],
    }),
  ),
];

const TYPES = { native: 'xdpdrv', generic: 'xdpgeneric', offload: 'xdpoffload' } as const;

const reading = suite('programs of end.sh, and xdpAttachmentsIn');

for (const [shell, ...options] of SHELLS) {
  reading(`read the same programs (${[shell, ...options].join(' ')})`, () => {
    for (const { lines, xdp, programs } of HOSTS) {
      const input = ['xdp:', ...lines, '', 'tc:', 'eth9(9) driver id 99', '', ''].join('\n');
      const read = run(shell, [...options, '-c'], 'programs', [], input);
      assert.equal(read.split('\n').slice(0, -1), programs, input);
      const attached = xdpAttachmentsIn([{ xdp, tc: [], flow_dissector: [] }]);
      assert.equal(
        attached?.map(
          ({ mode, programId, device }) =>
            `${mode === 'tcx' ? '' : TYPES[mode]} ${programId} ${device}`,
        ),
        programs,
      );
    }
  });
}

reading.run();

function removePins(pins: Pins): void {
  run('/bin/sh', ['-c'], 'remove_pins "$1"\n:', [pins.directory]);
}

const removal = suite('remove_pins');

removal('removes everything that an attachment has, and its directory', () => {
  inDirectory((pins) => {
    claim(pins, STATE);
    const files = [pins.program, pins.sourcesFile, pins.totalsFile, pins.clock];
    for (const file of [...files, pins.sourcesMap, pins.totalsMap]) writeFileSync(file, '');
    removePins(pins);
    assert.not(pinsExist(pins));
    removePins(pins);
  });
});

removal('leaves a file that is not ours, and the directory around it', () => {
  inDirectory((pins) => {
    claim(pins, STATE);
    writeFileSync(`${pins.directory}/theirs`, '');
    removePins(pins);
    assert.equal(readdirSync(pins.directory), ['theirs']);
  });
});

removal('takes a link in the place of the directory for what it is, and spares its target', () => {
  inDirectory((pins) => {
    const target = `${pins.directory}-target`;
    mkdirSync(target);
    writeFileSync(`${target}/program`, '');
    symlinkSync(target, pins.directory);
    removePins(pins);
    assert.not(pinsExist(pins));
    assert.ok(existsSync(`${target}/program`));
  });
});

removal('takes a link in the place of a directory in it for what it is too', () => {
  inDirectory((pins) => {
    claim(pins, STATE);
    const target = `${pins.directory}-target`;
    mkdirSync(target);
    writeFileSync(`${target}/sources`, '');
    rmdirSync(pins.mapsDirectory);
    symlinkSync(target, pins.mapsDirectory);
    symlinkSync(target, pins.readersDirectory);
    removePins(pins);
    assert.not(pinsExist(pins));
    assert.ok(existsSync(`${target}/sources`));
  });
});

removal.run();
