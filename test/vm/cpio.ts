/**
 * Writes initramfs archives (Documentation/driver-api/early-userspace/buffer-format.rst, "newc"), so
 * that everything in one belongs to root and no tool of the host is needed. The kernel takes several
 * in a row: an image is the concatenation of its layers.
 */
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

export type CpioEntry = { readonly path: string } & (
  | { readonly kind: 'directory' }
  | { readonly kind: 'file'; readonly mode: number; readonly content: Uint8Array }
  | { readonly kind: 'link'; readonly target: string }
);

const TYPES = { directory: 0o040_755, file: 0o100_000, link: 0o120_777 } as const;
const TRAILER = 'TRAILER!!!';

/**
 * One whole archive. Directories are made before what is in them, whether listed or not; the order
 * is otherwise the callers', and a path must not come twice.
 */
export function cpioArchive(entries: Iterable<CpioEntry>): Buffer {
  const parts: Uint8Array[] = [];
  const made = new Set<string>();
  const seen = new Set<string>();
  let inode = 1;
  const add = (path: string, mode: number, content: Uint8Array) => {
    parts.push(header(path, mode, content.length, mode === 0 ? 0 : inode++));
    parts.push(content, Buffer.alloc(padding(content.length)));
  };
  const addDirectory = (path: string) => {
    if (path === '.' || path === '' || made.has(path)) return;
    addDirectory(path.slice(0, Math.max(path.lastIndexOf('/'), 0)));
    made.add(path);
    add(path, TYPES.directory, Buffer.alloc(0));
  };
  for (const entry of entries) {
    const { path } = entry;
    if (path.startsWith('/') || path.includes('..')) throw new Error(`cpio: bad path ${path}`);
    if (entry.kind === 'directory') {
      addDirectory(path);
      continue;
    }
    if (seen.has(path)) throw new Error(`cpio: ${path} twice`);
    seen.add(path);
    addDirectory(path.slice(0, Math.max(path.lastIndexOf('/'), 0)));
    if (entry.kind === 'link') add(path, TYPES.link, Buffer.from(entry.target));
    else add(path, TYPES.file | entry.mode, entry.content);
  }
  add(TRAILER, 0, Buffer.alloc(0));
  return Buffer.concat(parts);
}

/** Entries for everything below `directory`, as `under/...`, in the order of the names. */
export function* treeEntries(directory: string, under: string): Generator<CpioEntry> {
  for (const name of readdirSync(directory).sort()) {
    const file = join(directory, name);
    const path = under === '' ? name : `${under}/${name}`;
    const stat = lstatSync(file);
    if (stat.isDirectory()) {
      yield { kind: 'directory', path };
      yield* treeEntries(file, path);
    } else if (stat.isSymbolicLink()) {
      yield { kind: 'link', path, target: readlinkSync(file) };
    } else if (stat.isFile()) {
      yield { kind: 'file', path, mode: stat.mode & 0o777, content: readFileSync(file) };
    }
  }
}

/** Magic, then 13 numbers of 8 hexadecimal digits, then the name; the whole padded to 4 bytes. */
function header(path: string, mode: number, size: number, inode: number): Buffer {
  const name = Buffer.from(`${path}\0`);
  const links = 1;
  const fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name.length, 0];
  const text = `070701${fields.map((each) => each.toString(16).padStart(8, '0')).join('')}`;
  const length = text.length + name.length;
  return Buffer.concat([Buffer.from(text), name, Buffer.alloc(padding(length))]);
}

function padding(length: number): number {
  return -length & 3;
}
