/**
 * Writes values into a compiled BPF object before it is loaded: constants and table sizes. The
 * verifier then removes the code that a constant switches off. Both byte orders are supported.
 *
 * Layouts: ELF64 from elf(5), BTF from the kernel's Documentation/bpf/btf.rst.
 */
import { XdpwhoError } from '../model/errors.js';

export interface ObjectPatch {
  /**
   * By the name of the C variable. An integer must fit its size. Text is for a char array, and is
   * written with a NUL. Bytes replace the whole variable, in the order that it has in memory.
   */
  readonly constants?: Readonly<Record<string, number | bigint | string | Uint8Array>>;
  /** The number of entries of a map, at least 1, by the name of the map. */
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Other names for maps, of the same length, by their present ones. */
  readonly mapNames?: Readonly<Record<string, string>>;
}

/** The bytes of a value in the file of an object. */
interface FileRange {
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
}

interface Section {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

/** An object and the byte order that its header names. */
interface Elf {
  readonly view: DataView;
  readonly littleEndian: boolean;
  readonly sections: readonly Section[];
}

interface BtfType {
  readonly kind: number;
  readonly name: string;
  /** The offset of the entry in the file. */
  readonly offset: number;
  /** The id of the type that it refers to, or its size, depending on `kind`. */
  readonly type: number;
  /** The ids of all types that it refers to. */
  readonly references: readonly number[];
  readonly memberNames: readonly string[];
}

const ELF_HEADER_SIZE = 64;
const EM_BPF = 247;
const SYMBOL_SIZE = 24;
const STT_OBJECT = 1;
const BTF_MAGIC = 0xeb9f;

const BTF_PTR = 2;
const BTF_ARRAY = 3;
const BTF_STRUCT = 4;
const BTF_VAR = 14;

/**
 * What follows the 12 bytes that all kinds of BTF types begin with: `fixed` bytes, and `perMember`
 * bytes for each member. `typesAt` are the offsets of type ids in them. `refers`: the third of the
 * common words is a type id too.
 */
const BTF_KINDS: Readonly<
  Record<
    number,
    { fixed?: number; perMember?: number; typesAt?: readonly number[]; refers?: boolean }
  >
> = {
  1: { fixed: 4 }, // INT
  [BTF_PTR]: { refers: true },
  [BTF_ARRAY]: { fixed: 12, typesAt: [0, 4] },
  [BTF_STRUCT]: { perMember: 12, typesAt: [4] },
  5: { perMember: 12, typesAt: [4] }, // UNION
  6: { perMember: 8 }, // ENUM
  7: {}, // FWD
  8: { refers: true }, // TYPEDEF
  9: { refers: true }, // VOLATILE
  10: { refers: true }, // CONST
  11: { refers: true }, // RESTRICT
  12: { refers: true }, // FUNC
  13: { perMember: 8, typesAt: [4], refers: true }, // FUNC_PROTO
  [BTF_VAR]: { fixed: 4, refers: true },
  15: { perMember: 12, typesAt: [0] }, // DATASEC
  16: {}, // FLOAT
  17: { fixed: 4, refers: true }, // DECL_TAG
  18: { refers: true }, // TYPE_TAG
  19: { perMember: 12 }, // ENUM64
};

/**
 * Returns a copy of the object with the values written into it.
 * @throws XdpwhoError `bad-object` if the image is not an intact BPF object, or has no such constant or map.
 */
export function patchObject(image: Uint8Array, patch: ObjectPatch): Uint8Array {
  // slice() of a Buffer would share its memory.
  const copy = Uint8Array.from(image);
  inElf(copy, (elf) => {
    for (const [name, value] of Object.entries(patch.constants ?? {})) {
      writeConstant(elf, name, value);
    }
    for (const [name, entries] of Object.entries(patch.maxEntries ?? {})) {
      writeMaxEntries(elf, name, entries);
    }
  });
  for (const [name, other] of Object.entries(patch.mapNames ?? {})) rename(copy, name, other);
  return copy;
}

/**
 * The range of a constant in the file. `script` uses it, because its shell patches objects with dd.
 * @throws XdpwhoError `bad-object`, as patchObject does.
 */
export function constantRange(image: Uint8Array, name: string): FileRange {
  return inElf(Uint8Array.from(image), (elf) => findConstant(elf, name));
}

/** The range of the number of entries of a map in the file, for `script`, as constantRange. */
export function maxEntriesRange(image: Uint8Array, map: string): FileRange {
  return inElf(Uint8Array.from(image), (elf) => findMaxEntries(elf, map));
}

/** The offsets of the name of a map in the file, for `script`. */
export function nameOffsets(image: Uint8Array, map: string): readonly number[] {
  // `latin1`: each byte is one character, so that an index is an offset.
  const text = Buffer.from(image).toString('latin1');
  const offsets = [...text.matchAll(new RegExp(`\\0${map}(?=\\0)`, 'g'))].map(
    ({ index }) => index + 1,
  );
  if (offsets.length === 0) throw bad(`it has no map ${map}`);
  return offsets;
}

/** Calls `work` with the opened object. Offsets outside of the file become a `bad-object` error. */
function inElf<T>(image: Uint8Array, work: (elf: Elf) => T): T {
  try {
    return work(openElf(image));
  } catch (error) {
    // DataView and typed arrays throw a RangeError for an offset outside of the buffer.
    if (error instanceof RangeError)
      throw bad('it is cut short, or an offset in it is wrong', error);
    throw error;
  }
}

function openElf(image: Uint8Array): Elf {
  const view = new DataView(image.buffer);
  if (image.length < ELF_HEADER_SIZE || view.getUint32(0) !== 0x7f454c46) throw bad('no ELF file');
  const order = view.getUint8(5);
  if (view.getUint8(4) !== 2) throw bad('no 64-bit ELF file');
  if (order !== 1 && order !== 2) throw bad(`byte order ${order} is unknown`);
  const littleEndian = order === 1;
  const machine = view.getUint16(18, littleEndian);
  if (machine !== EM_BPF) throw bad(`for machine ${machine} and not for BPF (${EM_BPF})`);

  const table = toNumber(view.getBigUint64(40, littleEndian));
  const entrySize = view.getUint16(58, littleEndian);
  const count = view.getUint16(60, littleEndian);
  if (table + count * entrySize > image.length) throw new RangeError('section headers');
  const entries = Array.from({ length: count }, (_, index) => {
    const at = table + index * entrySize;
    return {
      name: view.getUint32(at, littleEndian),
      offset: toNumber(view.getBigUint64(at + 24, littleEndian)),
      size: toNumber(view.getBigUint64(at + 32, littleEndian)),
      link: view.getUint32(at + 40, littleEndian),
    };
  });
  const names = entries[view.getUint16(62, littleEndian)];
  if (names === undefined) throw bad('it has no section names');
  const sections = entries.map((entry) => ({ ...entry, name: textAt(view, names, entry.name) }));
  return { view, littleEndian, sections };
}

function writeConstant(elf: Elf, name: string, value: number | bigint | string | Uint8Array): void {
  const { offset, size } = findConstant(elf, name);
  if (value instanceof Uint8Array) {
    if (value.length !== size) throw bad(`${name} is ${size} bytes long, not ${value.length}`);
    new Uint8Array(elf.view.buffer, offset, size).set(value);
    return;
  }
  if (typeof value === 'string') {
    const bytes = new TextEncoder().encode(value);
    if (bytes.length >= size)
      throw bad(`${name} holds ${size - 1} bytes of text, not ${bytes.length}`);
    new Uint8Array(elf.view.buffer, offset, size).fill(0).set(bytes);
    return;
  }
  if (![1, 2, 4, 8].includes(size)) throw bad(`${name} is ${size} bytes long: no integer`);
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw bad(`${name} is an integer, and ${value} is none`);
  }
  const integer = BigInt(value);
  if (BigInt.asUintN(8 * size, integer) !== integer) {
    throw bad(`${name} is ${size} bytes long: no room for ${integer}`);
  }
  writeInteger(elf, offset, size, integer);
}

function writeInteger(
  { view, littleEndian }: Elf,
  offset: number,
  size: number,
  value: bigint,
): void {
  for (let index = 0; index < size; index++) {
    const shift = 8n * BigInt(littleEndian ? index : size - 1 - index);
    view.setUint8(offset + index, Number((value >> shift) & 0xffn));
  }
}

/** Finds a variable in .rodata. */
function findConstant(elf: Elf, name: string): FileRange {
  const { view, littleEndian, sections } = elf;
  const symbols = findSection(elf, '.symtab');
  const names = sections[symbols.link];
  if (names === undefined) throw bad('its symbols have no names');
  for (let at = symbols.offset; at < symbols.offset + symbols.size; at += SYMBOL_SIZE) {
    if ((view.getUint8(at + 4) & 15) !== STT_OBJECT) continue;
    if (textAt(view, names, view.getUint32(at, littleEndian)) !== name) continue;
    const section = sections[view.getUint16(at + 6, littleEndian)];
    const start = toNumber(view.getBigUint64(at + 8, littleEndian));
    const size = toNumber(view.getBigUint64(at + 16, littleEndian));
    if (section?.name !== '.rodata') throw bad(`${name} is no constant`);
    if (start + size > section.size) throw bad(`${name} is not inside its section`);
    return { offset: section.offset + start, size };
  }
  throw bad(`it has no constant ${name}`);
}

function writeMaxEntries(elf: Elf, name: string, entries: number): void {
  if (!Number.isInteger(entries) || entries < 1 || entries > 0xffff_ffff) {
    throw bad(`map ${name} cannot have ${entries} entries`);
  }
  const { offset, size } = findMaxEntries(elf, name);
  writeInteger(elf, offset, size, BigInt(entries));
}

/** Names are in the strings of the ELF symbols and in those of BTF, where libbpf compares them. */
function rename(image: Uint8Array, name: string, other: string): void {
  if (other.length !== name.length) throw bad(`map ${name}: ${other} is of another length`);
  for (const offset of nameOffsets(image, name)) image.set(Buffer.from(other, 'latin1'), offset);
}

/** libbpf reads max_entries from BTF: it is N of the member `int (*max_entries)[N]` in the struct of the map. */
function findMaxEntries(elf: Elf, name: string): FileRange {
  const types = readBtf(elf);
  const variable = types.find((type) => type?.kind === BTF_VAR && type.name === name);
  const definition = types[variable?.type ?? 0];
  const member = definition?.memberNames.indexOf('max_entries') ?? -1;
  const pointerId = definition?.references[member] ?? 0;
  const pointer = types[pointerId];
  const arrayId = pointer?.type ?? 0;
  const array = types[arrayId];
  if (definition?.kind !== BTF_STRUCT || pointer?.kind !== BTF_PTR || array?.kind !== BTF_ARRAY) {
    throw bad(`it has no map ${name} with max_entries`);
  }
  for (const id of [pointerId, arrayId]) {
    const users = types.flatMap((type) => type?.references ?? []).filter((user) => user === id);
    if (users.length > 1)
      throw bad(`the size of map ${name} shares its BTF type with something else`);
  }
  // struct btf_array: type, index_type, nelems.
  const range = { offset: array.offset + 12 + 8, size: 4 };
  if (range.offset + range.size > elf.view.byteLength) throw new RangeError('array');
  return range;
}

/** All BTF types by id. Type 0, void, is undefined. */
function readBtf(elf: Elf): readonly (BtfType | undefined)[] {
  const { view, littleEndian } = elf;
  const section = findSection(elf, '.BTF');
  const word = (at: number) => view.getUint32(at, littleEndian);
  if (view.getUint16(section.offset, littleEndian) !== BTF_MAGIC) throw bad('its .BTF is no BTF');
  const start = section.offset + word(section.offset + 4);
  const strings = { offset: start + word(section.offset + 16), size: word(section.offset + 20) };
  const end = start + word(section.offset + 8) + word(section.offset + 12);

  const types: (BtfType | undefined)[] = [undefined];
  let at = start + word(section.offset + 8);
  while (at < end) {
    const info = word(at + 4);
    const kind = (info >>> 24) & 31;
    const layout = BTF_KINDS[kind];
    if (layout === undefined) throw bad(`its BTF has a type of unknown kind ${kind}`);
    const { fixed = 0, perMember = 0, typesAt = [], refers = false } = layout;
    const members = Array.from(
      { length: perMember > 0 ? info & 0xffff : 0 },
      (_, index) => at + 12 + index * perMember,
    );
    const bodies = perMember > 0 ? members : [at + 12];
    types.push({
      kind,
      name: textAt(view, strings, word(at)),
      offset: at,
      type: word(at + 8),
      references: [
        ...bodies.flatMap((body) => typesAt.map((offset) => word(body + offset))),
        ...(refers ? [word(at + 8)] : []),
      ],
      memberNames:
        kind === BTF_STRUCT ? members.map((body) => textAt(view, strings, word(body))) : [],
    });
    at += 12 + fixed + perMember * members.length;
  }
  return types;
}

function findSection({ sections }: Elf, name: string): Section {
  const found = sections.find((section) => section.name === name);
  if (found === undefined) throw bad(`it has no section ${name}`);
  return found;
}

/** Reads a NUL-terminated string of a string table. */
function textAt(view: DataView, table: { offset: number; size: number }, start: number): string {
  const bytes = new Uint8Array(view.buffer, table.offset, table.size).subarray(start);
  const length = bytes.indexOf(0);
  if (length < 0) throw new RangeError('string');
  return Buffer.from(bytes.subarray(0, length)).toString('latin1');
}

function toNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError('offset');
  return Number(value);
}

function bad(why: string, cause?: unknown): XdpwhoError {
  return new XdpwhoError('bad-object', `BPF object: ${why}`, { cause });
}
