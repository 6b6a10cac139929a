/** The machines that are booted: one of little and one of big byte order. */

export type Accelerator = 'kvm' | 'tcg';

export interface Architecture {
  /** As Debian, npm and process.arch call it. */
  readonly debian: string;
  readonly npm: string;
  readonly kernelPackage: string;
  /** Beside those that every guest needs. */
  readonly modules: readonly string[];
  /** The newest Node that npm has for it, of those that start fast. */
  readonly node: string;
  readonly qemu: string;
  readonly machine: string;
  /** The console of the kernel, and QEMU's words for it with its output in a file. */
  readonly console: string;
  readonly consoleArguments: (log: string) => string[];
  /** QEMU's words for three serial lines, connected to our descriptors 3 to 5. */
  readonly lineArguments: (descriptors: readonly number[]) => string[];
  /** What the guest calls the lines. */
  readonly lines: readonly [string, string, string];
  /** Whether the first line is a terminal to the guest. */
  readonly hasTerminal: boolean;
}

const socket = (descriptor: number) => ['-chardev', `socket,id=line${descriptor},fd=${descriptor}`];

export const AMD64: Architecture = {
  debian: 'amd64',
  npm: 'x64',
  kernelPackage: 'linux-image-cloud-amd64',
  modules: [],
  node: '22.23.3',
  qemu: 'qemu-system-x86_64',
  machine: 'q35',
  console: 'ttyS0',
  consoleArguments: (log) => ['-serial', `file:${log}`],
  lineArguments: (descriptors) =>
    descriptors.flatMap((each) => [...socket(each), '-serial', `chardev:line${each}`]),
  lines: ['/dev/ttyS1', '/dev/ttyS2', '/dev/ttyS3'],
  hasTerminal: true,
};

/** Big endian. Its machines have no serial ports; virtio has. */
export const S390X: Architecture = {
  debian: 's390x',
  npm: 's390x',
  kernelPackage: 'linux-image-s390x',
  modules: ['virtio_console'],
  node: '20.11.0',
  qemu: 'qemu-system-s390x',
  machine: 's390-ccw-virtio',
  console: 'ttyS0',
  consoleArguments: (log) => [
    ...['-chardev', `file,id=console,path=${log}`, '-device', 'sclpconsole,chardev=console'],
  ],
  lineArguments: (descriptors) => [
    ...['-device', 'virtio-serial-ccw'],
    ...descriptors.flatMap((each, index) => [
      ...socket(each),
      ...['-device', `virtserialport,chardev=line${each},nr=${index + 1}`],
    ]),
  ],
  lines: ['/dev/vport0p1', '/dev/vport0p2', '/dev/vport0p3'],
  hasTerminal: false,
};

export const ARCHITECTURES = [AMD64, S390X] as const;
