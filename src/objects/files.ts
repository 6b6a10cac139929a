/** Finds the compiled objects, and writes copies of them with the constants of an attachment. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { resolve } from 'node:path';
import { namesIn } from '../host/directories.js';
import { packageFile } from '../host/package-files.js';
import { exposedPart } from '../host/tools.js';
import { messageOf, systemErrorCode, XdpwhoError } from '../model/errors.js';
import { type ObjectPatch, patchObject } from './patch.js';

/** The names of the objects; see bpf/. */
export type ObjectName =
  | ProgramName
  | 'sources'
  | 'sources.front'
  | 'totals'
  | 'totals.front'
  | 'packets'
  | 'clock'
  | 'link'
  | 'sender'
  | 'pass.frags'
  | 'pass'
  | 'spread.frags'
  | 'spread';

/** The variants of the program: `frags` takes jumbo frames, `tcx` is for TCX, `log` logs packets. */
export type ProgramName =
  | 'xdpwho.frags'
  | 'xdpwho'
  | 'xdpwho.log.frags'
  | 'xdpwho.log'
  | 'xdpwho.tcx'
  | 'xdpwho.log.tcx';

/** The objects by path, in base64. packaging/package.mjs defines it in the command that is one file. */
declare const XDPWHO_OBJECTS: Readonly<Record<string, string>>;

/** The name of the folder when the objects are inside the program's own file. */
const EMBEDDED = 'embedded';

/** The folder of the objects that are part of this package. */
export function ownObjectsDirectory(): string {
  if (typeof XDPWHO_OBJECTS === 'object') return EMBEDDED;
  return packageFile('dist/bpf');
}

/**
 * A folder of objects that a user names. What root loads into the kernel must not be what somebody
 * else can write to.
 * @throws XdpwhoError `usage` for a folder or an object in it that others can write to.
 */
export function namedObjectsDirectory(directory: string): string {
  for (const order of ['el', 'eb']) {
    for (const name of ['', ...namesIn(`${directory}/${order}`)]) {
      const path = resolve(directory, order, name);
      const part = existsSync(path) ? exposedPart(path) : undefined;
      if (part === undefined) continue;
      throw new XdpwhoError('usage', `--objects ${directory}: others can write to ${part}`, {
        hint: 'xdpwho build /usr/local/lib/xdpwho',
      });
    }
  }
  return directory;
}

/** A folder of compiled objects: `el/NAME.o` and `eb/NAME.o`. */
export class ObjectFiles {
  readonly #directory: string;
  /** Whether the objects are inside the program's own file. */
  readonly isEmbedded: boolean;

  constructor(directory: string) {
    this.#directory = directory;
    this.isEmbedded = directory === EMBEDDED && typeof XDPWHO_OBJECTS === 'object';
  }

  /** The path of the object for this host's byte order. */
  path(name: ObjectName): string {
    return `${this.#directory}/${endianness() === 'LE' ? 'el' : 'eb'}/${name}.o`;
  }

  /**
   * The bytes of an object.
   * @throws XdpwhoError `bad-object` when there is no such file.
   */
  read(name: ObjectName, byteOrder: 'el' | 'eb'): Uint8Array {
    return this.#read(`${this.#directory}/${byteOrder}/${name}.o`);
  }

  /**
   * Writes a copy of an object with other constants and table sizes into the folder `scratch`, and
   * returns its path.
   * @throws XdpwhoError `bad-object` when the file is absent, cut short, or not one of our objects.
   */
  writePatched(name: ObjectName, patch: ObjectPatch, scratch: string): string {
    const copy = `${scratch}/${name}.o`;
    try {
      writeFileSync(copy, this.#patched(name, patch), { mode: 0o600 });
    } catch (error) {
      if (error instanceof XdpwhoError) throw error;
      throw new XdpwhoError('failed', `${copy}: ${messageOf(error)}`, {
        hint: 'df /run /tmp',
        cause: error,
      });
    }
    return copy;
  }

  #patched(name: ObjectName, patch: ObjectPatch): Uint8Array {
    const path = this.path(name);
    try {
      return patchObject(this.#read(path), patch);
    } catch (error) {
      if (!(error instanceof XdpwhoError) || error.message.startsWith(path)) throw error;
      throw new XdpwhoError(error.code, `${path}: ${error.message}`, {
        hint: `xdpwho build ${this.#directory}`,
        cause: error,
      });
    }
  }

  #read(path: string): Uint8Array {
    const embedded = this.isEmbedded ? XDPWHO_OBJECTS[path] : undefined;
    if (embedded !== undefined) return Buffer.from(embedded, 'base64');
    try {
      return readFileSync(path);
    } catch (error) {
      const why = systemErrorCode(error) === 'ENOENT' ? 'no such file' : String(error);
      throw new XdpwhoError('bad-object', `${path}: ${why}`, {
        hint: `xdpwho build ${this.#directory}`,
        cause: error,
      });
    }
  }
}
