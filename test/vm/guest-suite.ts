/** The checks of checks.ts in one guest, as a suite of test/run.mjs: a boot, then a test for each check. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { suite } from '../suite.js';
import { AMD64 } from './architecture.js';
import { checksFor } from './checks.js';
import { CONFIGURATIONS, type ConfigurationName } from './configurations.js';
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
/** Where npm run test:vm wants what was found out. */
const FINDINGS = process.env.XDPWHO_VM_FINDINGS;

export async function checkGuest(name: ConfigurationName): Promise<void> {
  const { kernel, bpftool } = CONFIGURATIONS[name];
  const releases = [releaseOf('kernel', kernel), releaseOf('bpftool', bpftool)] as const;
  const checks = suite(`kernel ${kernel}, bpftool ${bpftool}`, await whyNot(releases));
  const findings: Finding[] = [];

  checks.before(async () => {
    findings.push(...(await makeChecks(name, releases)));
  });
  for (const check of checksFor({ kernel, bpftool })) {
    checks(check.name, () => {
      const made = findings.find((each) => each.type === 'check' && each.name === check.name);
      if (made?.type !== 'check') throw new Error('the guest has not made this check');
      if (made.why !== null) throw new Error(made.why);
    });
  }
  checks.after(() => {
    if (FINDINGS === undefined) return;
    const lines = findings.map((each) => `${JSON.stringify(each)}\n`);
    writeFileSync(join(FINDINGS, name), lines.join(''));
  });
  checks.run();
}

/** Only where nobody has said where Debian's packages are. What cannot be downloaded fails. */
async function whyNot(releases: readonly Release[]): Promise<string | undefined> {
  if (releases.every((release) => isCached(release, AMD64))) return undefined;
  try {
    await mirrors();
    return undefined;
  } catch (error) {
    if (error instanceof NoMirror) return `${error.message} (here: XDPWHO_VM_MIRROR=URL)`;
    throw error;
  }
}

/** Boots the guest, and runs all its checks there. Rejects when it came to no end. */
async function makeChecks(
  name: ConfigurationName,
  [kernelRelease, userRelease]: readonly [Release, Release],
): Promise<Finding[]> {
  const { kernel, bpftool, cpus } = CONFIGURATIONS[name];
  const progress = (line: string) => console.log(`vm: ${line}`);
  const getting = { mirrors, refresh: false, progress };
  const kernelParts = await prepareRelease(kernelRelease, getting);
  const userParts = await prepareRelease(userRelease, getting);
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
    ...[projectLayer([]), await checksLayer()],
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
      command: ['node', `/${GUEST_PROJECT}/test/vm/guest.mjs`, JSON.stringify(expectations)],
      environment: { NODE_OPTIONS: WITHOUT_JIT },
    },
    {
      // Said of a boot that came to nothing: the next one makes its checks anew.
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
  if (exitCode !== 0) throw new VmError(`the checks ended with exit code ${exitCode}:\n${said}`);
  return [
    { type: 'fact', name: 'kernel package', value: kernelParts.kernelVersion },
    { type: 'fact', name: 'bpftool package', value: userParts.bpftoolVersion },
    ...findings,
  ];
}

/** What a compiler has only just written is translated anew by the emulator: interpreting is quicker. */
const WITHOUT_JIT = '--jitless';

/** The checks in one file, at a place from which the project's folders are where they are here. */
async function checksLayer(): Promise<Buffer> {
  const banner = `import { createRequire as xdpwhoRequire } from 'node:module';
const require = xdpwhoRequire(import.meta.url);`;
  const { outputFiles } = await build({
    entryPoints: [join(PROJECT, 'test/vm/guest.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node18.19',
    write: false,
    banner: { js: banner },
    logLevel: 'silent',
  });
  const content = outputFiles[0]?.contents ?? Buffer.alloc(0);
  const path = `${GUEST_PROJECT}/test/vm/guest.mjs`;
  return cpioArchive([{ kind: 'file', path, mode: 0o644, content }]);
}

function releaseOf(what: 'kernel' | 'bpftool', version: string): Release {
  const release = findRelease(what, version);
  if (release === undefined) throw new Error(`no release has ${what} ${version}`);
  return release;
}
