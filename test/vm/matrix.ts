/**
 * npm run test:vm [-- PATTERN]: the checks of checks.ts on every kernel, with the bpftool of its own
 * release, and across: the oldest bpftool on the newest kernel, and the other way round. CPUs differ
 * from guest to guest. A whole run writes docs/compatibility.md.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { AMD64 } from './architecture.js';
import { cpioArchive } from './cpio.js';
import { VmError } from './debian.js';
import { type Expectations, type Finding, parseFinding } from './findings.js';
import {
  GUEST_PROJECT,
  PROJECT,
  type Progress,
  prepareNode,
  prepareRelease,
  projectLayer,
  type ReleaseParts,
} from './image.js';
import { runGuest } from './qemu.js';
import { findRelease, type Release } from './releases.js';
import { type GuestReport, renderGuests, replaceSection } from './report.js';
import { mirrorsFrom, start } from './run.js';

interface Configuration {
  readonly kernel: string;
  readonly bpftool: string;
  /** As QEMU's -smp takes them. */
  readonly cpus: string;
}

export const CONFIGURATIONS: readonly Configuration[] = [
  { kernel: '5.10', bpftool: '5.10', cpus: '1' },
  { kernel: '6.1', bpftool: '7.1', cpus: '3' },
  { kernel: '6.12', bpftool: '7.5', cpus: '4' },
  { kernel: 'newest', bpftool: 'newest', cpus: '2,maxcpus=4' },
  { kernel: 'newest', bpftool: '5.10', cpus: '2' },
  { kernel: '5.10', bpftool: 'newest', cpus: '2' },
];

/** Guests at a time: an emulated one keeps one CPU busy. */
const LANES = Number(process.env.TEST_JOBS ?? 2);
/** Of all the checks in one guest, which take some 100 s. */
const GUEST_LIMIT_MS = Number(process.env.TEST_LIMIT_S ?? 900) * 1000;

async function main([pattern = '']: readonly string[]): Promise<number> {
  const progress: Progress = (line) => console.log(`vm: ${line}`);
  const stopping = new AbortController();
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => stopping.abort(new VmError(`ended by ${signal}`)));
  }
  const mirrors = mirrorsFrom(process.env.XDPWHO_VM_MIRROR);
  const node = await prepareNode(AMD64.node, progress);
  const checks = await bundleChecks();
  const project = projectLayer([]);
  const prepared = new Map<Release, ReleaseParts>();
  for (const { kernel, bpftool } of CONFIGURATIONS) {
    for (const release of [releaseOf('kernel', kernel), releaseOf('bpftool', bpftool)]) {
      if (prepared.has(release)) continue;
      prepared.set(release, await prepareRelease(release, { mirrors, refresh: false, progress }));
    }
  }

  const reports: GuestReport[] = [];
  const queue = [...CONFIGURATIONS];
  const lane = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const configuration = next;
      const kernel = partsOf(prepared, releaseOf('kernel', configuration.kernel));
      const user = partsOf(prepared, releaseOf('bpftool', configuration.bpftool));
      const layers = [user.userLayer, kernel.kernelLayer, node.layer, project, checks];
      const report = await checkGuest(configuration, { kernel, user }, layers, pattern, stopping);
      const problem = report.problem === undefined ? 'done' : `FAIL: ${report.problem}`;
      console.log(
        `kernel ${next.kernel}, bpftool ${next.bpftool}: ${problem}  ${report.seconds} s`,
      );
      reports.push(report);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  stopping.signal.throwIfAborted();

  const count = (outcome: string) =>
    reports
      .flatMap(({ findings }) => findings)
      .filter((each) => each.type === 'check' && each.outcome === outcome).length;
  const failed = count('failed') + reports.filter(({ problem }) => problem !== undefined).length;
  if (pattern === '' && failed === 0) {
    const order = (report: GuestReport) => CONFIGURATIONS.indexOf(report.configuration);
    reports.sort((a, b) => order(a) - order(b));
    const file = join(PROJECT, 'docs/compatibility.md');
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, replaceSection(text, 'test:vm', renderGuests(reports)));
    progress('wrote docs/compatibility.md');
  }
  console.log(`${count('passed')} passed, ${failed} failed, ${count('skipped')} skipped`);
  return failed > 0 ? 1 : 0;
}

async function checkGuest(
  configuration: Configuration,
  parts: { kernel: ReleaseParts; user: ReleaseParts },
  layers: readonly (string | Uint8Array)[],
  pattern: string,
  stopping: AbortController,
): Promise<GuestReport> {
  const { kernel, bpftool, cpus } = configuration;
  const [online = '1', possible = online] = cpus.split(',maxcpus=');
  const expectations: Expectations = {
    ...{ kernel, bpftool },
    kernelRelease: parts.kernel.kernelRelease,
    onlineCpus: Number(online),
    possibleCpus: Number(possible),
  };
  const name = `kernel ${kernel}, bpftool ${bpftool}`;
  const findings: Finding[] = [];
  let rest = '';
  let said = '';
  const onStdout = (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const finding = parseFinding(line);
      if (finding === undefined) said += `${line}\n`;
      else {
        findings.push(finding);
        printFinding(name, finding);
      }
    }
  };
  const startedAt = Date.now();
  const report = { configuration, ...parts, findings };
  const seconds = () => Math.round((Date.now() - startedAt) / 1000);
  const command = ['node', `/${GUEST_PROJECT}/test/vm/guest.mjs`, JSON.stringify(expectations)];
  try {
    const { exitCode, accelerator } = await runGuest(
      {
        architecture: AMD64,
        vmlinuz: parts.kernel.vmlinuz,
        layers,
        cpus,
        command: [...command, pattern],
      },
      {
        // Said of a boot that came to nothing: the next one makes its checks anew.
        progress: (line) => {
          findings.length = 0;
          console.log(`${name}: ${line}`);
        },
        signal: stopping.signal,
        limitMs: GUEST_LIMIT_MS,
        onStdout,
        onStderr: (chunk) => {
          said += chunk.toString();
        },
      },
    );
    const hasFailed = findings.some((each) => each.type === 'check' && each.outcome === 'failed');
    const made = findings.filter(({ type }) => type === 'check').length;
    const problem =
      (exitCode === 0 || hasFailed) && made > 0
        ? undefined
        : `the checks ended with exit code ${exitCode}:\n${said}`;
    return { ...report, accelerator, problem, seconds: seconds() };
  } catch (error) {
    if (!(error instanceof VmError) || stopping.signal.aborted) throw error;
    return { ...report, accelerator: 'none', problem: error.message, seconds: seconds() };
  }
}

function printFinding(guest: string, finding: Finding): void {
  if (finding.type === 'fact') return;
  const { name, outcome, why, seconds } = finding;
  const mark = { passed: 'ok  ', failed: 'FAIL', skipped: 'skip' }[outcome];
  console.log(`${guest}: ${mark} ${name}  ${seconds} s`);
  if (why !== null) console.log(why.replace(/^/gm, '    '));
}

/** The checks in one file, at a place from which the project's folders are where they are here. */
async function bundleChecks(): Promise<Buffer> {
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

function partsOf(prepared: ReadonlyMap<Release, ReleaseParts>, release: Release): ReleaseParts {
  const parts = prepared.get(release);
  if (parts === undefined) throw new Error(`${release.name} was not prepared`);
  return parts;
}

start(main(process.argv.slice(2)));
