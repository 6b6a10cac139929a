/** Runs a part of the tests in a guest, bundled into one file, and gathers what it tells. */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build, type StdinOptions } from 'esbuild';
import { AMD64 } from './architecture.js';
import type { Configuration } from './configurations.js';
import { cpioArchive } from './cpio.js';
import { NoMirror, VmError } from './debian.js';
import { type Expectations, type Finding, parseFinding } from './findings.js';
import {
  GUEST_PROJECT,
  isCached,
  PROJECT,
  prepareNode,
  prepareRelease,
  projectLayer,
} from './image.js';
import { runGuest } from './qemu.js';
import { findRelease, type Release } from './releases.js';
import { mirrorsFrom } from './run.js';

/** An archive for where apt has none, as `--mirror` of `npm run vm`. */
const mirrors = mirrorsFrom(process.env.XDPWHO_VM_MIRROR);

export interface GuestProgram {
  readonly configuration: Configuration;
  /** A file of this folder, or the text of one. Its first argument is Expectations as JSON. */
  readonly entry: string | StdinOptions;
  /** JavaScript that runs before each of its files. */
  readonly banner?: string | undefined;
  /** What it needs beside the built project: a cpio archive. */
  readonly layer?: Buffer | undefined;
}

/** Why the guest cannot be made here: only where nobody has said where Debian's packages are. What cannot be downloaded fails. */
export async function whyNoGuest({ kernel, bpftool }: Configuration): Promise<string | undefined> {
  const releases = [releaseOf('kernel', kernel), releaseOf('bpftool', bpftool)];
  if (releases.every((release) => isCached(release, AMD64))) return undefined;
  try {
    await mirrors();
    return undefined;
  } catch (error) {
    if (error instanceof NoMirror) return `${error.message} (here: XDPWHO_VM_MIRROR=URL)`;
    throw error;
  }
}

/** Boots the guest, and runs the program in it. Rejects when it came to no end. */
export async function runInGuest(program: GuestProgram): Promise<Finding[]> {
  const { kernel, bpftool, cpus } = program.configuration;
  const progress = (line: string) => console.log(`vm: ${line}`);
  const getting = { mirrors, refresh: false, progress };
  const kernelParts = await prepareRelease(releaseOf('kernel', kernel), getting);
  const userParts = await prepareRelease(releaseOf('bpftool', bpftool), getting);
  const node = await prepareNode(AMD64.node, progress);
  const [online = '1', possible = online] = cpus.split(',maxcpus=');
  const expectations: Expectations = {
    ...{ kernel, bpftool },
    kernelRelease: kernelParts.kernelRelease,
    onlineCpus: Number(online),
    possibleCpus: Number(possible),
  };
  const layers = [
    ...[userParts.userLayer, kernelParts.kernelLayer, node.layer],
    ...[projectLayer([]), await programLayer(program)],
    ...(program.layer === undefined ? [] : [program.layer]),
  ];
  const findings: Finding[] = [];
  let [rest, said] = ['', ''];
  const hear = (line: string) => {
    const finding = parseFinding(line);
    if (finding === undefined) said += `${line}\n`;
    else findings.push(finding);
    if (finding?.type === 'check') console.log(`  ${finding.seconds} s  ${finding.name}`);
  };
  // It removes what it has in the temporary folder.
  const stopping = new AbortController();
  for (const each of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) {
    process.once(each, () => stopping.abort(new VmError(`ended by ${each}`)));
  }
  const { exitCode } = await runGuest(
    {
      architecture: AMD64,
      vmlinuz: kernelParts.vmlinuz,
      layers,
      cpus,
      command: ['node', `/${DIRECTORY}/guest.mjs`, JSON.stringify(expectations)],
      environment: { NODE_OPTIONS: WITHOUT_JIT },
    },
    {
      // Said of a boot that came to nothing: the next one begins anew.
      progress: (line) => {
        findings.length = 0;
        progress(line);
      },
      onStdout: (chunk) => {
        const lines = (rest + chunk.toString()).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) hear(line);
      },
      signal: stopping.signal,
      onStderr: (chunk) => {
        said += chunk.toString();
      },
    },
  );
  if (exitCode !== 0) throw new VmError(`the guest ended with exit code ${exitCode}:\n${said}`);
  return [
    { type: 'fact', name: 'kernel package', value: kernelParts.kernelVersion },
    { type: 'fact', name: 'bpftool package', value: userParts.bpftoolVersion },
    ...findings,
  ];
}

/** What a compiler has only just written is translated anew by the emulator: interpreting is quicker. */
const WITHOUT_JIT = '--jitless';

/** From there the project's folders are where they are here. */
const DIRECTORY = `${GUEST_PROJECT}/test/vm`;

/** A file for what is loaded at once, and one for each part that is loaded when it is needed. */
async function programLayer({ entry, banner = '' }: GuestProgram): Promise<Buffer> {
  const { outputFiles } = await build({
    ...(typeof entry === 'string'
      ? { entryPoints: { guest: join(PROJECT, 'test/vm', entry) } }
      : { stdin: { resolveDir: join(PROJECT, 'test/vm'), ...entry }, entryNames: 'guest' }),
    bundle: true,
    splitting: true,
    outdir: DIRECTORY,
    outExtension: { '.js': '.mjs' },
    platform: 'node',
    format: 'esm',
    target: 'node18.19',
    write: false,
    banner: { js: `${REQUIRE}\n${banner}` },
    define: { XDPWHO_TEXTS: JSON.stringify(shellTexts()) },
    // package.json says of the modules that importing them does nothing; tests are there for what they do.
    ignoreAnnotations: true,
    logLevel: 'silent',
  });
  return cpioArchive(
    outputFiles.map(({ path, contents: content }) => ({
      kind: 'file',
      ...{ path: `${DIRECTORY}/${basename(path)}`, mode: 0o644, content },
    })),
  );
}

/** As packaging/bundle.mjs writes them into the command. */
function shellTexts(): Record<string, string> {
  const folder = join(PROJECT, 'src');
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const shell = paths.filter((path) => path.endsWith('.sh'));
  return Object.fromEntries(shell.map((path) => [path, readFileSync(join(folder, path), 'utf8')]));
}

const REQUIRE = `import { createRequire as xdpwhoRequire } from 'node:module';
const require = xdpwhoRequire(import.meta.url);`;

function releaseOf(what: 'kernel' | 'bpftool', version: string): Release {
  const release = findRelease(what, version);
  if (release === undefined) throw new Error(`no release has ${what} ${version}`);
  return release;
}
