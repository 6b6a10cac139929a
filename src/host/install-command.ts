/** The command that installs a missing tool on this host. */

import { textOf } from './text-file.js';
import { findTool } from './tools.js';

type Tool = 'bpftool' | 'clang' | 'iproute2' | 'util-linux';

interface Installer {
  readonly systems: readonly string[];
  /** The package manager, and the word that installs. */
  readonly command: readonly [file: string, verb: string];
  /** Other names than that of the tool. */
  readonly packages: Readonly<Partial<Record<Tool, string>>>;
}

/** The first entry that has a word of ID or ID_LIKE in os-release(5) counts. */
const INSTALLERS: readonly Installer[] = [
  {
    systems: ['ubuntu'],
    command: ['apt', 'install'],
    // Only Ubuntu's own kernels have a package with their bpftool; that of another one does as well.
    packages: {
      bpftool: 'linux-tools-common linux-tools-generic',
      clang: 'clang llvm libbpf-dev',
    },
  },
  {
    systems: ['debian'],
    command: ['apt', 'install'],
    packages: { clang: 'clang llvm libbpf-dev' },
  },
  {
    systems: ['fedora', 'rhel', 'centos', 'amzn'],
    command: ['dnf', 'install'],
    packages: { clang: 'clang llvm libbpf-devel', iproute2: 'iproute' },
  },
  {
    systems: ['suse', 'opensuse'],
    command: ['zypper', 'install'],
    packages: { clang: 'clang llvm libbpf-devel' },
  },
  {
    systems: ['alpine'],
    command: ['apk', 'add'],
    packages: { clang: 'clang llvm libbpf-dev' },
  },
  {
    systems: ['arch'],
    command: ['pacman', '-S'],
    packages: { bpftool: 'bpf', clang: 'clang llvm libbpf' },
  },
];

/** Files of the host that say what can be installed. */
interface HostFacts {
  /** The text of os-release(5). */
  readonly osRelease: string;
  /** Whether the kernel is one of Ubuntu's: only these have the file /proc/version_signature. */
  readonly isUbuntuKernel: boolean;
  readonly hasTool: (name: string) => boolean;
}

/** The command that installs a tool on this host; where none is known to work, a sentence. */
export function installCommand(tool: Tool, facts: HostFacts = hostFacts()): string {
  const { osRelease, isUbuntuKernel, hasTool } = facts;
  const words = [...osRelease.matchAll(/^ID(?:_LIKE)?=(.*)$/gm)].flatMap((match) =>
    (match[1] ?? '').replaceAll(/["']/g, '').split(' '),
  );
  const installer = INSTALLERS.find(({ systems }) => systems.some((name) => words.includes(name)));
  const named = tool === 'bpftool' ? ', or name one that you have: --bpftool PATH' : '';
  // Amazon Linux 2 says that it is like Fedora, and has no dnf.
  if (installer === undefined || !hasTool(installer.command[0])) {
    return `install ${tool} as this system does it${named}`;
  }
  const isOwn = installer.systems.includes('ubuntu') && tool === 'bpftool' && isUbuntuKernel;
  const packages = isOwn
    ? 'linux-tools-common linux-tools-$(uname -r)'
    : (installer.packages[tool] ?? tool);
  return `${installer.command.join(' ')} ${packages}`;
}

function hostFacts(): HostFacts {
  return {
    osRelease: textOf('/etc/os-release') ?? '',
    isUbuntuKernel: textOf('/proc/version_signature') !== undefined,
    hasTool: (name) => findTool(name) !== undefined,
  };
}
