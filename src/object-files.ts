/** The compiled objects: where they are, and copies of them with an attachment's constants written in. */
import { readFileSync, writeFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { systemErrorCode, XdpwhoError } from './errors.js';
import { type ObjectPatch, patchObject } from './object.js';

/** Objects by name; see bpf/. */
export type ObjectName = 'xdpwho.frags' | 'xdpwho' | 'sources' | 'totals' | 'clock' | 'sender';

/** The folder of compiled objects, `el/` and `eb/`, one file per object. */
export class ObjectFiles {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The object for this host's byte order. */
  path(name: ObjectName): string {
    return `${this.#directory}/${endianness() === 'LE' ? 'el' : 'eb'}/${name}.o`;
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
      const why = error instanceof Error ? error.message : String(error);
      throw new XdpwhoError('failed', `${copy}: ${why}`, { hint: 'df /run /tmp', cause: error });
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
