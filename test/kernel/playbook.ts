/** Playbooks, run on hosts that are namespaces of this machine. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

export const COLLECTIONS = fileURLToPath(new URL('../../ansible', import.meta.url));

/** Writes what Ansible runs in sudo's place: `into` with the command in "$@". Returns its path. */
export function writeEntrance(path: string, into: string): string {
  writeFileSync(path, `#!/bin/sh\nwhile [ "$1" != /bin/sh ]; do shift; done\n${into}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Runs the role on all hosts; `variables` as YAML lists and maps on a line. */
export function writePlay(path: string, variables: Readonly<Record<string, string>>): void {
  const lines = Object.entries(variables).map(([name, value]) => `        ${name}: ${value}\n`);
  writeFileSync(
    path,
    `- hosts: all
  become: true
  gather_facts: false
  roles:
    - role: xdpwho.xdpwho.xdpwho
      vars:
${lines.join('')}`,
  );
}

/** In `home`, which has the inventory hosts.ini. */
export function play(home: string, name: string, ...args: string[]) {
  mkdirSync(`${home}/tmp`, { recursive: true });
  return execa('ansible-playbook', ['-i', `${home}/hosts.ini`, name, ...args], {
    cwd: home,
    env: {
      ANSIBLE_COLLECTIONS_PATH: COLLECTIONS,
      ANSIBLE_LOCAL_TEMP: `${home}/tmp`,
      ANSIBLE_REMOTE_TEMP: `${home}/tmp`,
      // Tests run as root, and without this root would not become root.
      ANSIBLE_BECOME_ALLOW_SAME_USER: '1',
      ANSIBLE_NOCOLOR: '1',
      ANSIBLE_FORKS: '3',
      ANSIBLE_PIPELINING: '1',
    },
    reject: false,
    all: true,
  });
}

/** The number of changed tasks of each host, and of failed ones. */
export function recap(stdout: string): string[] {
  return [...stdout.matchAll(/^(host\d) .*changed=(\d+) .*failed=(\d+)/gm)].map(
    ([, host, changed, failed]) => `${host} changed ${changed} failed ${failed}`,
  );
}
