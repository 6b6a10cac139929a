/**
 * Writes values into a compiled BPF object before it is loaded: constants, so that the verifier
 * removes what is off, and table sizes. The object may be of either byte order.
 *
 * Layouts: ELF64 from elf(5), BTF from the kernel's Documentation/bpf/btf.rst.
 */
import { XdpwhoError } from '../model/errors.js';

export interface ObjectPatch {
  /**
   * By the C variable's name. Integers must fit its size; text goes into a char array, with a NUL;
   * bytes are the whole variable as it is in memory.
   */
  readonly constants?: Readonly<Record<string, number | bigint | string | Uint8Array>>;
  /** By the map's name. Entries, at least 1. */
  readonly maxEntries?: Readonly<Record<string, number>>;
}

/** Where a value is in the file of an object. */
export interface Place {
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

/** The object's bytes, and the byte order that its header names. */
interface Elf {
  readonly view: DataView;
  readonly littleEndian: boolean;
  readonly sections: readonly Section[];
}

interface BtfType {
  readonly kind: number;
  readonly name: string;
  /** Where the entry is in the file. */
  readonly offset: number;
  /** The type that it refers to, or its size: by kind. */
  readonly type: number;
  /** Every type that it refers to. */
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
 * What follows the 12 bytes that all BTF kinds share: bytes per type, bytes per member, and where
 * in them other types are named. `refers`: the third shared word is a type too.
 */
const BTF_KINDS: Readonly<
  Record<number, { fixed?: number; each?: number; types?: readonly number[]; refers?: boolean }>
> = {
  1: { fixed: 4 }, // INT
  [BTF_PTR]: { refers: true },
  [BTF_ARRAY]: { fixed: 12, types: [0, 4] },
  [BTF_STRUCT]: { each: 12, types: [4] },
  5: { each: 12, types: [4] }, // UNION
  6: { each: 8 }, // ENUM
  7: {}, // FWD
  8: { refers: true }, // TYPEDEF
  9: { refers: true }, // VOLATILE
  10: { refers: true }, // CONST
  11: { refers: true }, // RESTRICT
  12: { refers: true }, // FUNC
  13: { each: 8, types: [4], refers: true }, // FUNC_PROTO
  [BTF_VAR]: { fixed: 4, refers: true },
  15: { each: 12, types: [0] }, // DATASEC
  16: {}, // FLOAT
  17: { fixed: 4, refers: true }, // DECL_TAG
  18: { refers: true }, // TYPE_TAG
  19: { each: 12 }, // ENUM64
};

/**
 * Returns a copy of the object with the values written into it.
 * @throws XdpwhoError `bad-object` if the image is no intact BPF object, or has no such place.
 */
export function patchObject(image: Uint8Array, patch: ObjectPatch): Uint8Array {
  // Not slice(): a Buffer's shares its memory.
  const copy = Uint8Array.from(image);
  inElf(copy, (elf) => {
    for (const [name, value] of Object.entries(patch.constants ?? {})) {
      writeConstant(elf, name, value);
    }
    for (const [name, entries] of Object.entries(patch.maxEntries ?? {})) {
      writeMaxEntries(elf, name, entries);
    }
  });
  return copy;
}

/**
 * Where patchObject writes a constant, for whoever writes it without us.
 * @throws XdpwhoError `bad-object`, as patchObject does.
 */
export function placeOfConstant(image: Uint8Array, name: string): Place {
  return inElf(Uint8Array.from(image), (elf) => findConstant(elf, name));
}

/** Likewise, the number of entries of a map: an integer. */
export function placeOfMaxEntries(image: Uint8Array, name: string): Place {
  return inElf(Uint8Array.from(image), (elf) => findMaxEntries(elf, name));
}

function inElf<T>(image: Uint8Array, work: (elf: Elf) => T): T {
  try {
    return work(openElf(image));
  } catch (error) {
    // DataView and the arrays on its buffer check every offset that the file names.
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
    const place = new Uint8Array(elf.view.buffer, offset, size);
    place.fill(0).set(bytes);
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

/** A variable in .rodata, and where in the file it is. */
function findConstant(elf: Elf, name: string): Place {
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

/** libbpf takes max_entries from BTF: a member `int (*max_entries)[N]` of the map's own struct. */
function findMaxEntries(elf: Elf, name: string): Place {
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
  const place = { offset: array.offset + 12 + 8, size: 4 };
  if (place.offset + place.size > elf.view.byteLength) throw new RangeError('array');
  return place;
}

/** By type id; the first, void, is undefined. */
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
    const { fixed = 0, each = 0, types: places = [], refers = false } = layout;
    const members = Array.from(
      { length: each > 0 ? info & 0xffff : 0 },
      (_, index) => at + 12 + index * each,
    );
    const bodies = each > 0 ? members : [at + 12];
    types.push({
      kind,
      name: textAt(view, strings, word(at)),
      offset: at,
      type: word(at + 8),
      references: [
        ...bodies.flatMap((body) => places.map((place) => word(body + place))),
        ...(refers ? [word(at + 8)] : []),
      ],
      memberNames:
        kind === BTF_STRUCT ? members.map((body) => textAt(view, strings, word(body))) : [],
    });
    at += 12 + fixed + each * members.length;
  }
  return types;
}

function findSection({ sections }: Elf, name: string): Section {
  const found = sections.find((section) => section.name === name);
  if (found === undefined) throw bad(`it has no section ${name}`);
  return found;
}

/** A NUL-terminated string of a string table. */
function textAt(view: DataView, table: { offset: number; size: number }, start: number): string {
  const rest = new Uint8Array(view.buffer, table.offset, table.size).subarray(start);
  const length = rest.indexOf(0);
  if (length < 0) throw new RangeError('string');
  return Buffer.from(rest.subarray(0, length)).toString('latin1');
}

function toNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError('offset');
  return Number(value);
}

function bad(why: string, cause?: unknown): XdpwhoError {
  return new XdpwhoError('bad-object', `BPF object: ${why}`, { cause });
}
