/**
 * The systemd units, with their commands run as systemd would run them: the same user's rights, the
 * same system calls, the same variables. Without systemd itself, which is process 1 or nothing; with
 * it: test/vm/systemd-suite.ts.
 */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { callFilter } from './call-filter.js';
import type { Lab } from './lab.js';

const HOME = fileURLToPath(new URL('../..', import.meta.url));
const SOURCE = `${HOME}packaging/systemd`;

export class Units {
  /** Copies, with an instance of each for `eth0`, and with the command where it is here. */
  readonly directory: string;
  /** Readable by all, as an installed one. */
  readonly command: string;
  /** What goes before a command of a unit so that it may make only the unit's system calls. */
  readonly #filters = new Map<string, readonly string[]>();

  static async create(): Promise<Units> {
    const units = new Units();
    for (const unit of units.names().filter((name) => name.endsWith('.service'))) {
      const [error] = units.settings(unit, 'SystemCallErrorNumber');
      const list = units.settings(unit, 'SystemCallFilter').join(' ');
      const filter = await callFilter(units.directory, list, error);
      units.#filters.set(unit.replace(/@.*\./, '@.'), filter);
    }
    return units;
  }

  private constructor() {
    this.directory = mkdtempSync('/tmp/xdpwho-units-');
    // Where a user without rights can read it.
    chmodSync(this.directory, 0o755);
    this.command = `${this.directory}/bin/xdpwho.js`;
    for (const part of ['bin', 'dist', 'package.json']) {
      cpSync(`${HOME}${part}`, `${this.directory}/${part}`, { recursive: true });
    }
    for (const name of readdirSync(SOURCE)) {
      const text = readFileSync(`${SOURCE}/${name}`, 'utf8');
      const path = `${this.directory}/${name}`;
      writeFileSync(path, text.replaceAll('/usr/bin/xdpwho', this.command));
      if (name.includes('@')) symlinkSync(name, path.replace('@', '@eth0'));
    }
  }

  /** Names of the instances, and of what has none. */
  names(): string[] {
    const units = readdirSync(this.directory).filter((name) =>
      /\.(service|timer|mount)$/.test(name),
    );
    return units.filter((name) => !name.includes('@.'));
  }

  /** The values of a setting, in their order. */
  settings(unit: string, setting: string): string[] {
    const text = readFileSync(`${this.directory}/${unit}`, 'utf8');
    return text
      .split('\n')
      .filter((line) => line.startsWith(`${setting}=`))
      .map((line) => line.slice(setting.length + 1));
  }

  /** Runs every command of a setting in the lab, for an interface; rejects when one fails. */
  async run(
    lab: Lab,
    unit: string,
    setting: string,
    variables: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const output: string[] = [];
    for (const line of this.settings(unit, setting)) {
      const asRoot = line.startsWith('+');
      const words = splitWords(line.slice(asRoot ? 1 : 0))
        // Only a word that is one variable is split (systemd.service(5), Command lines).
        .flatMap((word) =>
          word === '$XDPWHO_OPTIONS'
            ? (variables[word.slice(1)] ?? '').split(' ').filter(Boolean)
            : [word],
        )
        .map((word) => word.replaceAll('%I', lab.device).replaceAll('%i', lab.device))
        .map((word) => word.replaceAll('/run/xdpwho', lab.bpffs))
        .map((word) => (word === 'xdpwho' && asRoot ? 'nogroup' : word));
      const privileges = asRoot
        ? []
        : [...this.#privileges(unit), ...(this.#filters.get(unit) ?? [])];
      const command = [`--net=/run/netns/${lab.netns}`, '--', ...privileges, ...words];
      const { stdout } = await execa('nsenter', command, { env: variables });
      output.push(stdout);
    }
    return output.join('\n');
  }

  #privileges(unit: string): string[] {
    const names = this.settings(unit, 'AmbientCapabilities').join(' ').toLowerCase().split(' ');
    const list = names.map((name) => `+${name.replace('cap_', '')}`).join(',');
    return [
      ...['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups', '--no-new-privs'],
      ...[`--inh-caps=-all,${list}`, `--ambient-caps=-all,${list}`, `--bounding-set=-all,${list}`],
    ];
  }

  /** A directory in which the unit's user may write. */
  runtimeDirectory(): string {
    const path = `${this.directory}/runtime`;
    mkdirSync(path, { recursive: true });
    chmodSync(path, 0o777);
    return path;
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Words apart by blanks, or in single or double quotes. */
function splitWords(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, plain]) => single ?? double ?? plain ?? '',
  );
}
