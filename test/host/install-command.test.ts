import * as assert from 'uvu/assert';
import { installCommand } from '../../src/host/install-command.js';
import { suite } from '../suite.js';

const installers = suite('installCommand');

/** A host whose package managers are these. */
function host(osRelease: string, managers = 'apt dnf zypper apk pacman', isUbuntuKernel = false) {
  const hasTool = (name: string) => managers.split(' ').includes(name);
  return { osRelease, isUbuntuKernel, hasTool };
}

installers('follows ID and ID_LIKE of os-release(5)', () => {
  assert.is(installCommand('bpftool', host('ID=debian\n')), 'apt install bpftool');
  assert.is(
    installCommand('clang', host('NAME="x"\nID="rocky"\nID_LIKE="rhel centos fedora"\n')),
    'dnf install clang llvm libbpf-devel',
  );
  assert.is(
    installCommand('iproute2', host('ID=opensuse-leap\nID_LIKE="suse opensuse"')),
    'zypper install iproute2',
  );
  assert.is(installCommand('bpftool', host('ID=alpine')), 'apk add bpftool');
  assert.is(installCommand('bpftool', host('ID=arch')), 'pacman -S bpf');
  assert.is(installCommand('util-linux', host('ID=fedora')), 'dnf install util-linux');
});

installers(
  "takes the bpftool of Ubuntu's own kernel, and of any where the kernel is another's",
  () => {
    const mint = 'ID=linuxmint\nID_LIKE="ubuntu debian"\n';
    assert.is(
      installCommand('bpftool', host(mint, 'apt', true)),
      'apt install linux-tools-common linux-tools-$(uname -r)',
    );
    assert.is(
      installCommand('bpftool', host(mint, 'apt', false)),
      'apt install linux-tools-common linux-tools-generic',
    );
  },
);

installers('is a sentence where it does not know how, or the package manager is not there', () => {
  const sentence =
    'install bpftool as this system does it, or name one that you have: --bpftool PATH';
  assert.is(installCommand('bpftool', host('ID=gentoo')), sentence);
  assert.is(installCommand('clang', host('')), 'install clang as this system does it');
  // Amazon Linux 2: yum alone.
  const amazon = 'ID="amzn"\nID_LIKE="centos rhel fedora"\nVERSION_ID="2"\n';
  assert.is(installCommand('bpftool', host(amazon, 'yum')), sentence);
  assert.is(installCommand('bpftool', host('ID=nixos', '')), sentence);
});

installers.run();
