/** The guests that the checks are made in, by the names of their test files. */

export interface Configuration {
  /** What `--kernel` and `--bpftool` call them. */
  readonly kernel: string;
  readonly bpftool: string;
  /** As QEMU's -smp takes them. */
  readonly cpus: string;
}

/**
 * Every kernel with the bpftool of its own release, and both ends crossed; with CPUs that differ. The
 * newest kernels do not count CPUs as possible that QEMU could only add later (maxcpus).
 */
export const CONFIGURATIONS = {
  'kernel-5.10': { kernel: '5.10', bpftool: '5.10', cpus: '1' },
  'kernel-6.1': { kernel: '6.1', bpftool: '7.1', cpus: '2,maxcpus=4' },
  'kernel-6.12': { kernel: '6.12', bpftool: '7.5', cpus: '4' },
  'kernel-newest': { kernel: 'newest', bpftool: 'newest', cpus: '3' },
  'mixed-old-bpftool': { kernel: 'newest', bpftool: '5.10', cpus: '2' },
  'mixed-new-bpftool': { kernel: '5.10', bpftool: 'newest', cpus: '2' },
} as const satisfies Record<string, Configuration>;

export type ConfigurationName = keyof typeof CONFIGURATIONS;
