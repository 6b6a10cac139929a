/** Whether this kernel gives iterators over maps, found out by trying. A security module may refuse them to root. */
import { tryIterator } from '../../src/doctor/iterator.js';
import { Bpftool } from '../../src/host/bpftool.js';
import { findTool } from '../../src/host/tools.js';
import { messageOf } from '../../src/model/errors.js';
import type { Reader } from '../../src/model/records.js';
import { ObjectFiles } from '../../src/objects/files.js';
import type { Callback, Suite } from '../suite.js';
import { OBJECTS_DIRECTORY, WHY_NOT } from './lab.js';

/** Undefined where iterators can be had. */
export const WHY_NO_ITERATOR = WHY_NOT === undefined ? await whyNone() : undefined;

/** What `--reader auto` takes here. */
export const USUAL_READER: Reader = WHY_NO_ITERATOR === undefined ? 'iterator' : 'dump';

/** The readers that can be had here. */
export const READERS: readonly Reader[] =
  WHY_NO_ITERATOR === undefined ? ['iterator', 'dump'] : ['dump'];

async function whyNone(): Promise<string | undefined> {
  const path = findTool('bpftool');
  if (path === undefined) return undefined;
  try {
    await tryIterator(new Bpftool({ path }), new ObjectFiles(OBJECTS_DIRECTORY));
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/**
 * Takes tests of what only an iterator does. Where the kernel gives none, they are left out here, and made in a
 * guest: test/vm/iterators.test.ts.
 */
export function withIterator<T>(tests: Suite<T>): (name: string, callback: Callback<T>) => void {
  return (name, callback) => tests.inGuest(name, callback, WHY_NO_ITERATOR);
}
