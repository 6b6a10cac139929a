/**
 * Whether a run in the foreground gets a bpf_link here, found out by making one: in a network
 * namespace that has only `lo`, with a program that passes everything.
 */
import { rmSync } from 'node:fs';
import { holdLink, LinkUnavailable } from '../attachment/link.js';
import { programType } from '../attachment/load.js';
import { makeScratch } from '../attachment/scratch.js';
import type { Bpftool } from '../host/bpftool.js';
import { PrivateBpffs } from '../host/private-bpffs.js';
import { messageOf } from '../model/errors.js';
import type { Check } from '../model/records.js';
import { ObjectFiles } from '../objects/files.js';

/** The first interface of every network namespace is `lo` (net/core/dev.c, net_dev_init). */
const LOOPBACK_IFINDEX = 1;

/** `bpftool` is undefined where none works. */
export async function checkLink(
  bpftool: Bpftool | undefined,
  objectsDirectory: string,
): Promise<Check> {
  const about = { name: 'link', title: 'attaching' };
  if (bpftool === undefined) {
    return { ...about, status: 'warn', detail: 'unknown: no bpftool that works' };
  }
  try {
    // `lo` has no native mode.
    await tryLink(bpftool, new ObjectFiles(objectsDirectory), 'generic');
    return { ...about, status: 'pass', detail: 'by a link: the kernel detaches when a run ends' };
  } catch (error) {
    const why = messageOf(error);
    const detail =
      error instanceof LinkUnavailable
        ? `by net attach, and a guard detaches when a run ends: ${why}`
        : `unknown: ${why}`;
    return { ...about, status: 'warn', detail };
  }
}

/** Whether a program can be attached at TCX, which what is sent takes. `bpftool` is undefined where none works. */
export async function checkTcx(
  bpftool: Bpftool | undefined,
  objectsDirectory: string,
): Promise<Check> {
  const about = { name: 'tcx', title: 'TCX' };
  if (bpftool === undefined) {
    return { ...about, status: 'warn', detail: 'unknown: no bpftool that works' };
  }
  try {
    await tryLink(bpftool, new ObjectFiles(objectsDirectory), 'tcx');
    return {
      ...about,
      status: 'pass',
      detail: 'for --sent, --both, --beside, and on a veth or a bridge',
    };
  } catch (error) {
    const detail = `no --sent, --both, --beside, which take kernel 6.6 or newer: ${messageOf(error)}`;
    return { ...about, status: 'warn', detail };
  }
}

/** Rejects with LinkUnavailable where no link can be had. Leaves nothing. */
async function tryLink(
  bpftool: Bpftool,
  objects: ObjectFiles,
  mode: 'generic' | 'tcx',
): Promise<void> {
  const bpffs = await PrivateBpffs.open(bpftool, { command: 'doctor', ownNetns: true });
  let scratch: string | undefined;
  try {
    scratch = makeScratch();
    const programPin = bpffs.outside('program');
    const object = objects.writePatched(mode === 'tcx' ? 'xdpwho.tcx' : 'pass', {}, scratch);
    await bpftool.loadProgram(object, programPin, programType(mode));
    const link = await holdLink(bpftool, objects, {
      programPin,
      programId: (await bpftool.showProgram(programPin)).id,
      testFrame: new Uint8Array(),
      ifindex: LOOPBACK_IFINDEX,
      netnsPath: bpffs.netnsPath,
      mode,
      pin: bpffs.outside('linkmaker'),
      scratch,
    });
    await link.close();
  } finally {
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
    await bpffs.close();
  }
}
