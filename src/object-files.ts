/** The compiled objects: where they are, and copies of them with an attachment's constants written in. */
import { readFileSync, writeFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { fileURLToPath } from 'node:url';
import { messageOf, systemErrorCode, XdpwhoError } from './errors.js';
import { type ObjectPatch, patchObject } from './object.js';

/** Objects by name; see bpf/. */
export type ObjectName =
  | ProgramName
  | 'sources'
  | 'totals'
  | 'packets'
  | 'clock'
  | 'link'
  | 'sender'
  | 'pass.frags'
  | 'pass'
  | 'spread.frags'
  | 'spread';

/** The variants of the program: with jumbo frames, with the log. */
export type ProgramName = 'xdpwho.frags' | 'xdpwho' | 'xdpwho.log.frags' | 'xdpwho.log';

/** In the command that is one file, packaging/package.mjs writes the objects in: by path, in base64. */
declare const XDPWHO_OBJECTS: Readonly<Record<string, string>>;

/** Stands for the folder of objects where they are inside the program's own file. */
const EMBEDDED = 'embedded';

/** The folder of the objects that come with the program. */
export function ownObjectsDirectory(): string {
  if (typeof XDPWHO_OBJECTS === 'object') return EMBEDDED;
  return fileURLToPath(new URL('../dist/bpf', import.meta.url));
}

/** The folder of compiled objects, `el/` and `eb/`, one file per object. */
export class ObjectFiles {
  readonly #directory: string;
  /** Whether the objects are inside the program's own file. */
  readonly isEmbedded: boolean;

  constructor(directory: string) {
    this.#directory = directory;
    this.isEmbedded = directory === EMBEDDED && typeof XDPWHO_OBJECTS === 'object';
  }

  /** The object for this host's byte order. */
  path(name: ObjectName): string {
    return `${this.#directory}/${endianness() === 'LE' ? 'el' : 'eb'}/${name}.o`;
  }

  /** The object as it was compiled, for either byte order; rejects likewise. */
  read(name: ObjectName, byteOrder: 'el' | 'eb'): Uint8Array {
    return this.#read(`${this.#directory}/${byteOrder}/${name}.o`);
  }

  /**
   * Writes a copy with constants and table sizes into `scratch`, and returns its path. Rejects with
   * `bad-object` when the file is absent, cut short, or not one of our objects.
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
