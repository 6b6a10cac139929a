/** Whether the table can be read by an iterator here, found out by pinning one over a map of its own. */
import { rmSync } from 'node:fs';
import { mapShapes } from '../attachment/load.js';
import { makeScratch } from '../attachment/scratch.js';
import type { Bpftool } from '../host/bpftool.js';
import { bpftoolArguments } from '../host/bpftool-arguments.js';
import { BpftoolError } from '../host/bpftool-error.js';
import { missingCapabilities } from '../host/kernel.js';
import { PrivateBpffs } from '../host/private-bpffs.js';
import { textOf } from '../host/text-file.js';
import { messageOf } from '../model/errors.js';
import type { Check } from '../model/records.js';
import { ObjectFiles } from '../objects/files.js';

/** `bpftool` is undefined where none works. */
export async function checkIterator(
  bpftool: Bpftool | undefined,
  objectsDirectory: string,
): Promise<Check> {
  const about = { name: 'reading', title: 'reading' };
  if (bpftool === undefined) {
    return { ...about, status: 'warn', detail: 'unknown: no bpftool that works' };
  }
  try {
    await tryIterator(bpftool, new ObjectFiles(objectsDirectory));
    return { ...about, status: 'pass', detail: 'by an iterator: the kernel prints the table' };
  } catch (error) {
    const why = messageOf(error);
    if (!(error instanceof BpftoolError)) {
      return { ...about, status: 'warn', detail: `unknown: ${why}` };
    }
    const isPolicy = error.errno === 'EPERM' && missingCapabilities().length === 0;
    const whose = isPolicy
      ? `; ${describeRefusal(textOf(`${SECURITYFS}/lsm`), textOf(`${SECURITYFS}/lockdown`))}`
      : '';
    return { ...about, status: 'warn', detail: `by map dump, slower: ${why}${whose}` };
  }
}

const SECURITYFS = '/sys/kernel/security';

/**
 * Who refuses a program to a process that has the capabilities: a security module (kernel/bpf/syscall.c,
 * security_bpf_prog_load), of which lockdown is one. The arguments are what securityfs says, if it is mounted. Pure.
 */
export function describeRefusal(modules: string | undefined, lockdown: string | undefined): string {
  const level = /\[(\w+)\]/.exec(lockdown ?? '')?.[1];
  // Lockdown forbids BPF to read kernel memory at this level (linux/security.h, LOCKDOWN_BPF_READ_KERNEL).
  if (level === 'confidentiality') return 'kernel lockdown refuses it: confidentiality';
  // The module `capability` is in every list, and has been asked before.
  const names = (modules ?? '')
    .trim()
    .split(',')
    .filter((name) => !['', 'capability'].includes(name));
  const of = names.length === 0 ? '' : `, of ${names.join(', ')}`;
  return `a security module of the kernel refuses it${of}`;
}

/** Rejects with the BpftoolError where no iterator can be pinned. Leaves nothing. */
export async function tryIterator(bpftool: Bpftool, objects: ObjectFiles): Promise<void> {
  const bpffs = await PrivateBpffs.open(bpftool, { command: 'doctor' });
  let scratch: string | undefined;
  try {
    scratch = makeScratch();
    const map = `${bpffs.directory}/totals-map`;
    const shape = mapShapes({ maxSources: 1, frontLines: 0, log: null }).find(
      ({ name }) => name === 'totals',
    );
    const object = objects.writePatched('totals', {}, scratch);
    const { failure } = await bpffs.bpftool.batch(
      [
        ...(shape === undefined ? [] : [bpftoolArguments.createMap(map, shape)]),
        bpftoolArguments.pinIterator(object, `${bpffs.directory}/totals`, map),
      ],
      // As in load.ts: bpftool 5.10 does not raise the limit on locked memory for `iter pin`.
      { withoutMemoryLimit: true },
    );
    if (failure !== undefined) throw failure;
  } finally {
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
    await bpffs.close();
  }
}
