/**
 * Debian packages of any release, without root and without touching the host's own apt: a private
 * apt directory for the time of the download, with the mirror, proxies and keys that the host's apt
 * is configured with.
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';

/** Where the packages of all releases are, as the host's apt is told. */
export interface Mirrors {
  readonly archive: string;
  /** Undefined where the host takes no security updates from Debian. */
  readonly security: string | undefined;
}

/** A failure that the user can mend: printed as it is. */
export class VmError extends Error {}

/** Nobody has said where Debian's packages are. */
export class NoMirror extends VmError {}

const DEBIAN_SUITE =
  /^(?:bullseye|bookworm|trixie|forky|duke|sid|(?:old){0,2}stable|testing|unstable)(-security|-updates|-backports)?$/;
const KEYRINGS = [
  '/usr/share/keyrings/debian-archive-keyring.gpg',
  '/usr/share/keyrings/debian-archive-keyring.pgp',
];
const DOWNLOAD_LIMIT_MS = 15 * 60_000;

/** The mirrors that the host's apt uses for Debian, whatever release of it. */
export async function hostMirrors(): Promise<Mirrors> {
  const format = '$(REPO_URI) $(RELEASE) $(COMPONENT)';
  const args = ['indextargets', '--format', format, 'Created-By: Packages'];
  const { stdout } = await runApt('apt-get', args);
  const mirrors = parseIndexTargets(stdout);
  if (mirrors !== undefined) return mirrors;
  throw new NoMirror(
    "no Debian archive among apt's sources, to take kernels from: name one with --mirror URL",
  );
}

/** Pure: the mirrors in lines of `REPO_URI RELEASE COMPONENT`. */
export function parseIndexTargets(text: string): Mirrors | undefined {
  let archive: string | undefined;
  let security: string | undefined;
  for (const line of text.split('\n')) {
    const [uri, suite = '', component] = line.split(' ');
    const match = DEBIAN_SUITE.exec(suite);
    if (uri === undefined || match === null || component !== 'main') continue;
    if (match[1] === '-security') security ??= uri;
    else archive ??= uri;
  }
  return archive === undefined ? undefined : { archive, security };
}

/** Pure: sources.list(5) for suites of both mirrors. */
export function sourcesList(
  mirrors: Mirrors,
  suites: readonly string[],
  keyring: string | undefined,
): string {
  const options = keyring === undefined ? '' : `[signed-by=${keyring}] `;
  return suites
    .flatMap((suite) => {
      const uri = suite.endsWith('-security') ? mirrors.security : mirrors.archive;
      return uri === undefined ? [] : [`deb ${options}${uri} ${suite} main\n`];
    })
    .join('');
}

interface Download {
  /** Absolute paths of the packages' files. */
  readonly files: readonly string[];
  /** The suites' updates could not be had whole, and some packages are the release's own. */
  readonly withoutUpdates: boolean;
}

/** One private apt directory, with the lists of some suites. */
export class Apt {
  readonly #directory: string;
  readonly #options: readonly string[];
  readonly #release: string;

  private constructor(directory: string, architecture: string, release: string) {
    this.#directory = directory;
    this.#release = release;
    const settings = {
      'Dir::State': `${directory}/state`,
      'Dir::State::status': `${directory}/status`,
      'Dir::Cache': `${directory}/cache`,
      'Dir::Etc::sourcelist': `${directory}/sources.list`,
      'Dir::Etc::sourceparts': '/dev/null',
      'Dir::Etc::preferences': `${directory}/preferences`,
      'Dir::Etc::preferencesparts': '/dev/null',
      'APT::Architecture': architecture,
      'APT::Architectures': architecture,
      // The directory is the caller's own, where apt's own user may not write.
      'APT::Sandbox::User': '',
      // An archived release's lists are past their date for ever.
      'Acquire::Check-Valid-Until': 'false',
      'Acquire::Languages': 'none',
      'Acquire::Retries': '3',
    };
    this.#options = Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  }

  /** Makes the directory and fetches the lists. The caller removes the directory. */
  static async open(
    directory: string,
    architecture: string,
    mirrors: Mirrors,
    suites: readonly [string, ...string[]],
  ): Promise<Apt> {
    for (const name of ['state/lists/partial', 'cache/archives/partial']) {
      mkdirSync(join(directory, name), { recursive: true });
    }
    const keyring = KEYRINGS.find((path) => readdirOf('/usr/share/keyrings').includes(path));
    writeFileSync(`${directory}/status`, '');
    writeFileSync(`${directory}/sources.list`, sourcesList(mirrors, suites, keyring));
    // Otherwise backports and unstable rank below the release.
    writeFileSync(
      `${directory}/preferences`,
      'Package: *\nPin: release o=Debian*\nPin-Priority: 500\n',
    );
    const apt = new Apt(directory, architecture, suites[0]);
    // It succeeds also when nothing could be fetched.
    const { stderr } = await runApt('apt-get', [...apt.#options, '-q', 'update']);
    if (!readdirOf(`${directory}/state/lists`).some((path) => path.includes('_Packages'))) {
      throw new VmError(`the lists of Debian ${suites[0]}: ${complaints(stderr)}`);
    }
    return apt;
  }

  /** What a package directly depends on. */
  async dependencies(name: string): Promise<string[]> {
    const { stdout } = await runApt('apt-cache', [...this.#options, 'depends', name]);
    return parseDepends(stdout);
  }

  /** Downloads packages and everything that they depend on. */
  async downloadWhole(packages: readonly string[]): Promise<Download> {
    const install = (...more: string[]) =>
      runApt('apt-get', [
        ...[...this.#options, '-q', '-y', '--download-only', '--no-install-recommends'],
        ...[...more, 'install', ...packages],
      ]);
    return this.#download(install);
  }

  /** Downloads packages and nothing besides. */
  async downloadOnly(packages: readonly string[]): Promise<Download> {
    const archives = `${this.#directory}/cache/archives`;
    const download = (...more: string[]) =>
      runApt('apt-get', [...this.#options, '-q', ...more, 'download', ...packages], archives);
    return this.#download(download);
  }

  /** A mirror may list updates that it does not have; the release itself is whole. */
  async #download(attempt: (...more: string[]) => Promise<unknown>): Promise<Download> {
    this.clear();
    let withoutUpdates = false;
    try {
      await attempt();
    } catch (error) {
      if (!(error instanceof VmError) || !/404/.test(error.message)) throw error;
      this.clear();
      withoutUpdates = true;
      await attempt('-t', this.#release);
    }
    return { files: this.#files(), withoutUpdates };
  }

  clear(): void {
    for (const file of this.#files()) rmSync(file);
  }

  #files(): string[] {
    const archives = `${this.#directory}/cache/archives`;
    return readdirOf(archives).filter((file) => file.endsWith('.deb'));
  }
}

/** Pure: the packages in `apt-cache depends`, of alternatives the first, and no virtual ones. */
export function parseDepends(text: string): string[] {
  const names: string[] = [];
  let alternative = false;
  for (const line of text.split('\n')) {
    const match = /^ ([ |])(?:Pre)?Depends: (\S+)$/.exec(line);
    if (match?.[2] === undefined) continue;
    if (!alternative && !match[2].startsWith('<')) names.push(match[2]);
    alternative = match[1] === '|';
  }
  return names;
}

interface PackageName {
  readonly name: string;
  readonly version: string;
}

/** Unpacks a package's files below `root`. */
export async function unpack(deb: string, root: string): Promise<PackageName> {
  await execa('dpkg-deb', ['--extract', deb, root]);
  const { stdout } = await execa('dpkg-deb', ['--field', deb, 'Package', 'Version']);
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(stdout)?.[1] ?? '';
  return { name: field('Package'), version: field('Version') };
}

async function runApt(file: string, args: readonly string[], cwd?: string) {
  const result = await execa(file, args, {
    env: { LC_ALL: 'C' },
    reject: false,
    stdin: 'ignore',
    timeout: DOWNLOAD_LIMIT_MS,
    ...(cwd === undefined ? {} : { cwd }),
  });
  if (!result.failed) return result;
  if (result.code === 'ENOENT') {
    throw new NoMirror(`${file}: not found; it is what downloads Debian's packages`);
  }
  throw new VmError(
    `${file} ${args.at(-1)}: failed: ${complaints(result.stderr) || result.shortMessage}`,
  );
}

/** apt's errors and warnings, in one line. */
function complaints(stderr: string): string {
  const told = stderr.split('\n').flatMap((line) => /^[EW]: (.*)$/.exec(line)?.[1] ?? []);
  return told.slice(0, 4).join('; ');
}

function readdirOf(directory: string): string[] {
  try {
    return readdirSync(directory).map((name) => join(directory, name));
  } catch {
    return [];
  }
}
