/** The Debian releases that kernels and bpftools are taken from. */

const RELEASE_NAMES = ['bullseye', 'bookworm', 'trixie', 'newest'] as const;
type ReleaseName = (typeof RELEASE_NAMES)[number];

export interface Release {
  readonly name: ReleaseName;
  /** What `--kernel` and `--bpftool` call it. */
  readonly kernel: string;
  readonly bpftool: string;
  /** The first is the release itself, in which a package is looked for again when an update cannot be had. */
  readonly suites: readonly [string, ...string[]];
}

/** `newest` is whichever is newer at the time: unstable's, or what is backported to the stable release. */
export const RELEASES: readonly Release[] = [
  {
    name: 'bullseye',
    kernel: '5.10',
    bpftool: '5.10',
    suites: ['bullseye', 'bullseye-security'],
  },
  { name: 'bookworm', kernel: '6.1', bpftool: '7.1', suites: ['bookworm', 'bookworm-security'] },
  { name: 'trixie', kernel: '6.12', bpftool: '7.5', suites: ['trixie', 'trixie-security'] },
  {
    name: 'newest',
    kernel: 'newest',
    bpftool: 'newest',
    suites: ['sid', 'trixie', 'trixie-backports'],
  },
];

/** The release that has this kernel, or this bpftool; undefined for a word that none goes by. */
export function findRelease(what: 'kernel' | 'bpftool', version: string): Release | undefined {
  return RELEASES.find((release) => release[what] === version || release.name === version);
}
