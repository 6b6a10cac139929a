import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { run } from '../../src/host/exec.js';
import { countPossibleCpus } from '../../src/host/kernel.js';
import { resolveNetns } from '../../src/host/netns.js';
import { requireTool } from '../../src/host/tools.js';
import { formatAddress } from '../../src/model/address.js';
import { propertyOf } from '../../src/model/json-values.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { SOURCE_VALUE } from '../../src/objects/layout.js';
import { decodeSourceEntry, decodeTotals } from '../../src/table/decode.js';
import { suite } from '../suite.js';
import { detachXdp, loadWithMaps } from './bpftool.js';
import { USUAL_READER, withIterator } from './iterators.js';
import { Lab, OBJECTS_DIRECTORY, WHY_NOT } from './lab.js';

const XDP_PASS = 2;
const HZ = 250;
const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

let lab: Lab;
let loaded = 0;

/** A program with maps of its own, and its two iterators. */
interface Program {
  readonly pin: string;
  readonly sourcesMap: string;
  readonly totalsMap: string;
  readonly sourcesFile: string;
  readonly totalsFile: string;
}

async function load(
  name: 'xdpwho' | 'xdpwho.frags',
  options: { interfaceJson?: string; maxSources?: number } = {},
): Promise<Program> {
  const { interfaceJson = 'eth0', maxSources = 65536 } = options;
  const objects = new ObjectFiles(OBJECTS_DIRECTORY);
  const pin = `${lab.bpffs}/program${++loaded}`;
  const maps = `${pin}-maps`;
  const program = {
    pin,
    sourcesMap: `${maps}/sources`,
    totalsMap: `${maps}/totals`,
    sourcesFile: `${pin}-sources`,
    totalsFile: `${pin}-totals`,
  };
  mkdirSync(maps);
  const maxEntries = { sources: maxSources };
  await loadWithMaps(
    lab.bpftool,
    objects.writePatched(name, { maxEntries }, lab.scratch),
    pin,
    maps,
  );

  const constants = { possible_cpus: countPossibleCpus(), interface_json: interfaceJson };
  const iterator = (name: 'sources' | 'totals', more: Record<string, number> = {}) =>
    objects.writePatched(name, { constants: { ...constants, ...more } }, lab.scratch);
  const sources = iterator('sources', { jiffies_per_second: HZ });
  if (USUAL_READER === 'iterator') {
    await lab.bpftool.pinIterator(sources, program.sourcesFile, program.sourcesMap);
    await lab.bpftool.pinIterator(iterator('totals'), program.totalsFile, program.totalsMap);
  }
  return program;
}

/** Many bpftool commands in one process; what each one printed. */
async function batch(commands: readonly string[]): Promise<unknown[]> {
  const file = `${lab.scratch}/batch`;
  writeFileSync(file, `${commands.join('\n')}\n`);
  const result = await run(requireTool('bpftool'), ['-j', '-n', 'batch', 'file', file]);
  assert.not(result.failed, result.stderr);
  const outputs: unknown = JSON.parse(result.stdout);
  assert.ok(Array.isArray(outputs));
  assert.is(outputs.length, commands.length);
  return outputs.map((each) => propertyOf(each, 'output'));
}

/** Runs the program once on each frame; checks that every one is passed on as it was. */
async function runOn(program: Program, frames: readonly Uint8Array[]): Promise<void> {
  const file = (index: number, way: string) => `${lab.scratch}/${way}${index}`;
  const commands = frames.map((frame, index) => {
    writeFileSync(file(index, 'in'), frame);
    const files = `data_in ${file(index, 'in')} data_out ${file(index, 'out')}`;
    return `prog run pinned ${program.pin} ${files} repeat 1`;
  });
  for (const [index, output] of (await batch(commands)).entries()) {
    const frame = Buffer.from(frames[index] ?? []);
    assert.is(propertyOf(output, 'retval'), XDP_PASS, frame.toString('hex'));
    assert.ok(readFileSync(file(index, 'out')).equals(frame), frame.toString('hex'));
  }
}

interface SourceLine {
  readonly source: string;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly idleMs: bigint;
}

const SOURCE_LINE =
  /^\{"type":"source","interface":"eth0","source":"([0-9a-f.:]+)","packets":(\d+),"bytes":(\d+),"idle_ms":(\d+)\}$/;

/** What the iterator over the totals prints, or what it would. */
async function readTotals(program: Program): Promise<string> {
  if (USUAL_READER === 'iterator') return readFileSync(program.totalsFile, 'utf8');
  const entries = await lab.bpftool.dumpMap(program.totalsMap);
  const { bytes, ...classes } = decodeTotals(entries, LITTLE_ENDIAN);
  const packets = Object.values(classes).reduce((sum, count) => sum + count, 0n);
  const figures = Object.entries({ packets, bytes, ...classes });
  const numbers = Object.fromEntries(figures.map(([name, figure]) => [name, Number(figure)]));
  return `${JSON.stringify({ type: 'totals', interface: 'eth0', ...numbers })}\n`;
}

/** The sources, by the iterator where there is one. */
async function sourcesOf(program: Program): Promise<Omit<SourceLine, 'idleMs'>[]> {
  if (USUAL_READER === 'iterator') return readSources(program);
  const entries = await lab.bpftool.dumpMap(program.sourcesMap);
  return entries.flatMap((entry) => {
    const decoded = decodeSourceEntry(entry, LITTLE_ENDIAN);
    if (decoded === undefined) return [];
    const { key, packets, bytes } = decoded;
    return [{ source: formatAddress(key), packets, bytes }];
  });
}

/** Every line must be exactly a record, with numbers as JSON writes them. */
function readSources(program: Program): SourceLine[] {
  const text = readFileSync(program.sourcesFile, 'utf8');
  assert.ok(text === '' || text.endsWith('}\n'));
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const match = SOURCE_LINE.exec(line);
      assert.ok(match, line);
      const [, source = '', packets = '', bytes = '', idleMs = ''] = match;
      for (const digits of [packets, bytes, idleMs]) assert.is(digits, String(BigInt(digits)));
      return {
        source,
        packets: BigInt(packets),
        bytes: BigInt(bytes),
        idleMs: BigInt(idleMs),
      };
    });
}

type Class = 'ipv4' | 'ipv6' | 'other' | 'malformed';

/** What the program must make of a frame, told independently of it. */
function classify(frame: Uint8Array): { class: Class; source?: string } {
  const word = (at: number) => ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
  let at = 12;
  for (let tags = 0; tags < 2 && [0x8100, 0x88a8].includes(word(at)); tags++) {
    if (frame.length < at + 6) return { class: 'malformed' };
    at += 4;
  }
  const type = word(at);
  const header = frame.subarray(at + 2);
  const version = (header[0] ?? 0) >> 4;
  const headerLength = ((header[0] ?? 0) & 15) * 4;
  if (type === 0x0800) {
    const good = header.length >= 20 && version === 4 && headerLength >= 20;
    if (!good || header.length < headerLength) return { class: 'malformed' };
    return { class: 'ipv4', source: header.subarray(12, 16).join('.') };
  }
  if (type === 0x86dd) {
    if (header.length < 40 || version !== 6) return { class: 'malformed' };
    return { class: 'ipv6', source: addressText(header.subarray(8, 24)) };
  }
  return { class: 'other' };
}

/** As the URL standard writes it, which is RFC 5952; v4-mapped addresses dotted. */
function addressText(address: Uint8Array): string {
  const hex = Buffer.from(address).toString('hex');
  if (hex.startsWith('00000000000000000000ffff')) return address.subarray(12).join('.');
  const groups = hex.match(/..../g) ?? [];
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}

const ETHERNET = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
const VLAN = [0x81, 0x00, 0x00, 0x05];
const SERVICE_VLAN = [0x88, 0xa8, 0x00, 0x06];
const OLD_QINQ = [0x91, 0x00, 0x00, 0x07];
const IPV4 = [0x08, 0x00];
const IPV6 = [0x86, 0xdd];
const ARP = [0x08, 0x06];

function ipv4Header(source: readonly number[], first = 0x45): number[] {
  return [first, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, ...source, 192, 0, 2, 1];
}

function ipv6Header(source: readonly number[], first = 0x60): number[] {
  const target = [0x20, 0x01, 0x0d, 0xb8, ...new Array<number>(11).fill(0), 1];
  return [first, 0, 0, 0, 0, 10, 17, 64, ...source, ...target];
}

/** The parts, cut or filled up with 0xa5 to a length. */
function frameOf(length: number, ...parts: readonly (readonly number[])[]): Uint8Array {
  const bytes = parts.flat();
  return Uint8Array.from({ length }, (_, index) => bytes[index] ?? 0xa5);
}

const SOURCE6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

function corpus(): Uint8Array[] {
  const four = [...IPV4, ...ipv4Header([192, 0, 2, 7])];
  const six = [...IPV6, ...ipv6Header(SOURCE6)];
  const frames: Uint8Array[] = [];
  for (let length = 14; length <= 200; length++) {
    for (const tags of [[], VLAN, [...SERVICE_VLAN, ...VLAN], [...VLAN, ...VLAN, ...VLAN]]) {
      frames.push(frameOf(length, ETHERNET, tags, four), frameOf(length, ETHERNET, tags, six));
    }
    frames.push(frameOf(length, ETHERNET, ARP));
  }
  for (let first = 0; first < 256; first++) {
    const ihl = first & 15;
    for (const length of [14 + ihl * 4 - 1, 14 + ihl * 4, 90]) {
      frames.push(
        frameOf(Math.max(length, 14), ETHERNET, IPV4, ipv4Header([198, 51, 100, ihl], first)),
      );
    }
    frames.push(frameOf(60, ETHERNET, IPV6, ipv6Header(SOURCE6, first)));
  }
  for (const tag of [OLD_QINQ, SERVICE_VLAN, [...SERVICE_VLAN, ...SERVICE_VLAN]]) {
    frames.push(frameOf(80, ETHERNET, tag, four), frameOf(80, ETHERNET, tag, six));
  }
  for (const depth of [4, 5]) {
    const tags = Array.from({ length: depth }, () => VLAN).flat();
    frames.push(frameOf(120, ETHERNET, tags, four), frameOf(120, ETHERNET, tags, six));
  }
  // EtherTypes, and all that follows, by chance; the frame is in the message of what fails.
  for (let length = 14; length <= 200; length++) {
    const chance = [...randomBytes(length)];
    frames.push(frameOf(length, ETHERNET, chance), frameOf(length, chance));
    for (const type of [IPV4, IPV6, VLAN]) frames.push(frameOf(length, ETHERNET, type, chance));
  }
  for (const next of [0, 43, 44, 59, 60, 255]) {
    const header = ipv6Header(SOURCE6);
    header[6] = next;
    frames.push(frameOf(54, ETHERNET, IPV6, header));
  }
  // A v4-mapped source is the IPv4 one.
  const mapped = [...new Array<number>(10).fill(0), 0xff, 0xff, 192, 0, 2, 7];
  frames.push(frameOf(80, ETHERNET, IPV6, ipv6Header(mapped)));
  // The largest that prog run takes of every kernel: a page less head and tail room.
  frames.push(frameOf(3000, ETHERNET, four));
  return frames;
}

const program = suite('program', WHY_NOT);

program.before(async () => {
  lab = await Lab.create({ mtu: 9000 });
});
program.after(() => lab.close());

for (const name of ['xdpwho.frags', 'xdpwho'] as const) {
  program(`${name} passes every frame unchanged, and counts it once, in its class`, async () => {
    const loaded = await load(name);
    const frames = corpus();
    await runOn(loaded, frames);

    const totals = { packets: 0, bytes: 0, ipv4: 0, ipv6: 0, other: 0, malformed: 0 };
    const sources = new Map<string, { packets: bigint; bytes: bigint }>();
    for (const frame of frames) {
      const { class: kind, source } = classify(frame);
      totals.packets += 1;
      totals.bytes += frame.length;
      totals[kind] += 1;
      if (source === undefined) continue;
      const counts = sources.get(source) ?? { packets: 0n, bytes: 0n };
      counts.packets += 1n;
      counts.bytes += BigInt(frame.length);
      sources.set(source, counts);
    }
    assert.is(
      await readTotals(loaded),
      `${JSON.stringify({ type: 'totals', interface: 'eth0', ...totals })}\n`,
    );
    assert.ok(
      Object.values(totals).every((count) => count > 50),
      'no class is left out',
    );
    const lines = await sourcesOf(loaded);
    assert.is(lines.length, sources.size);
    for (const { source, packets, bytes } of lines) {
      assert.equal({ packets, bytes }, sources.get(source), source);
    }
  });

  program(`${name} counts on every CPU, and its iterators add them up`, async () => {
    const loaded = await load(name);
    const frames = {
      ipv4: frameOf(100, ETHERNET, IPV4, ipv4Header([192, 0, 2, 7])),
      ipv6: frameOf(100, ETHERNET, IPV6, ipv6Header(SOURCE6)),
      other: frameOf(100, ETHERNET, ARP),
      malformed: frameOf(100, ETHERNET, IPV6, ipv4Header([192, 0, 2, 7])),
    };
    const cpus = allowedCpus();
    for (const [kind, frame] of Object.entries(frames)) {
      const file = `${lab.scratch}/${kind}`;
      writeFileSync(file, frame);
      for (const [index, cpu] of cpus.entries()) {
        const command = ['prog', 'run', 'pinned', loaded.pin, 'data_in', file, 'repeat'];
        const args = ['-c', String(cpu), requireTool('bpftool'), ...command, String(index + 1)];
        const result = await run(requireTool('taskset'), args);
        assert.not(result.failed, result.stderr);
      }
    }
    const each = (cpus.length * (cpus.length + 1)) / 2;
    const counts = { packets: 4 * each, bytes: 400 * each };
    const classes = { ipv4: each, ipv6: each, other: each, malformed: each };
    assert.is(
      await readTotals(loaded),
      `${JSON.stringify({ type: 'totals', interface: 'eth0', ...counts, ...classes })}\n`,
    );
    const lines = (await sourcesOf(loaded)).map(({ source, packets, bytes }) => [
      source,
      packets,
      bytes,
    ]);
    assert.equal(lines.sort(), [
      ['192.0.2.7', BigInt(each), BigInt(100 * each)],
      ['2001:db8::7', BigInt(each), BigInt(100 * each)],
    ]);
  });
}

program('a full table forgets sources, and the totals forget nothing', async () => {
  const loaded = await load('xdpwho.frags', { maxSources: 64 });
  const frames = Array.from({ length: 600 }, (_, index) =>
    frameOf(60, ETHERNET, IPV4, ipv4Header([198, 18, index >> 8, index & 255])),
  );
  await runOn(loaded, frames);
  const lines = await sourcesOf(loaded);
  assert.ok(lines.length > 0 && lines.length <= 64, String(lines.length));
  assert.ok(lines.every((line) => line.packets === 1n));
  const totals: unknown = JSON.parse(await readTotals(loaded));
  assert.equal([propertyOf(totals, 'ipv4'), propertyOf(totals, 'bytes')], [600, 36000]);
});

program('jumbo frames are counted in full, and short ones as malformed', async () => {
  const loaded = await load('xdpwho.frags');
  const netns = resolveNetns(lab.netns).path;
  await lab.bpftool.attach('native', loaded.pin, lab.device, netns);
  const frame = frameOf(100, ETHERNET, IPV4, ipv4Header([192, 0, 2, 7]));
  const lengths = [14, 15, 33, 34, 1514, 4096, 5000, 9014];
  for (const length of lengths) await lab.send(frame, 10, { length });
  const bytes = lengths.reduce((sum, length) => sum + 10 * length, 0);
  const arrived = async (): Promise<unknown> => JSON.parse(await readTotals(loaded));
  await lab.until(
    async () => propertyOf(await arrived(), 'packets') === 80,
    'all frames have arrived',
  );
  await detachXdp(lab.bpftool, 'native', lab.device, netns);
  const last = await arrived();
  assert.equal([propertyOf(last, 'bytes'), propertyOf(last, 'malformed')], [bytes, 30]);
  const [line] = await sourcesOf(loaded);
  assert.equal([line?.packets, line?.bytes], [50n, BigInt(bytes - 10 * (14 + 15 + 33))]);
});

/** A frame of `size` bytes whose IPv4 header says that the packet has `said` bytes. */
function sayingFrame(size: number, said: number): Uint8Array {
  const frame = frameOf(size, ETHERNET, IPV4, ipv4Header([192, 0, 2, 7]));
  new DataView(frame.buffer, frame.byteOffset).setUint16(16, said);
  return frame;
}

program('bytes are those of the frame, whatever its IP header says', async () => {
  const loaded = await load('xdpwho.frags');
  const netns = resolveNetns(lab.netns).path;
  await lab.bpftool.attach('native', loaded.pin, lab.device, netns);
  const cases = [
    { said: 9000, length: 9014 },
    { said: 1500, length: 1514 },
    // Padded to the shortest frame.
    { said: 28, length: 60 },
    // Says more than there is, and less, in one buffer and in several.
    { said: 5000, length: 100 },
    { said: 20, length: 1514 },
    { said: 20, length: 9014 },
    { said: 0, length: 9014 },
  ];
  for (const { said, length } of cases) await lab.send(sayingFrame(60, said), 3, { length });
  const bytes = cases.reduce((sum, { length }) => sum + 3 * length, 0);
  const arrived = async (): Promise<unknown> => JSON.parse(await readTotals(loaded));
  await lab.until(
    async () => propertyOf(await arrived(), 'packets') === 3 * cases.length,
    'all frames have arrived',
  );
  await detachXdp(lab.bpftool, 'native', lab.device, netns);
  assert.is(propertyOf(await arrived(), 'bytes'), bytes);
  const [line] = await sourcesOf(loaded);
  assert.equal([line?.packets, line?.bytes], [BigInt(3 * cases.length), BigInt(bytes)]);
});

program(
  'a header that lies about a packet whose first buffer is short takes bytes from the count, and no packet',
  async () => {
    const loaded = await load('xdpwho.frags');
    const [frame, context] = [`${lab.scratch}/split`, `${lab.scratch}/split-context`];
    // struct xdp_md: the kernel puts what is behind data_end into further buffers.
    writeFileSync(context, new Uint8Array(Uint32Array.of(0, 200, 0, 0, 0, 0).buffer));
    const counted: unknown[] = [];
    for (const said of [2986, 100]) {
      writeFileSync(frame, sayingFrame(3000, said));
      await batch([`prog run pinned ${loaded.pin} data_in ${frame} ctx_in ${context} repeat 1`]);
      const totals: unknown = JSON.parse(await readTotals(loaded));
      counted.push([propertyOf(totals, 'packets'), propertyOf(totals, 'bytes')]);
    }
    assert.equal(counted, [
      [1, 3000],
      [2, 3200],
    ]);
  },
);

program.run();

const sender = suite('sender', WHY_NOT);

sender.before(async () => {
  lab = await Lab.create();
});
sender.after(() => lab.close());

sender(
  'takes consecutive sources in turn, behind VLAN tags too, and goes on where it was',
  async () => {
    const loaded = await load('xdpwho.frags');
    const netns = resolveNetns(lab.netns).path;
    await lab.bpftool.attach('native', loaded.pin, lab.device, netns);
    const tags = [...SERVICE_VLAN, ...VLAN];
    const base6 = [...SOURCE6.slice(0, 15), 0xfe];
    await lab.send(frameOf(70, ETHERNET, tags, IPV4, ipv4Header([198, 18, 0, 254])), 7, {
      sources: 5,
    });
    await lab.send(frameOf(90, ETHERNET, IPV6, ipv6Header(base6)), 5, { sources: 3 });
    await lab.send(frameOf(90, ETHERNET, IPV6, ipv6Header(base6)), 2, { sources: 3 });
    const packetsOf = async () =>
      Object.fromEntries((await sourcesOf(loaded)).map((each) => [each.source, each.packets]));
    const sum = async () =>
      Object.values(await packetsOf()).reduce((total, packets) => total + packets, 0n);
    await lab.until(async () => (await sum()) === 14n, 'all frames have arrived');
    await detachXdp(lab.bpftool, 'native', lab.device, netns);
    assert.equal(await packetsOf(), {
      '198.18.0.254': 2n,
      '198.18.0.255': 2n,
      '198.18.1.0': 1n,
      '198.18.1.1': 1n,
      '198.18.1.2': 1n,
      '2001:db8::fe': 3n,
      '2001:db8::ff': 2n,
      '2001:db8::100': 2n,
    });
  },
);

sender.run();

const printing = suite('iterators', WHY_NOT);
const iterators = withIterator(printing);

printing.before(async () => {
  lab = await Lab.create();
});
printing.after(() => lab.close());

const hexOf = (bytes: Iterable<number>) =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');

/** `map update` gives every CPU the same value. */
function updateCommand(
  map: string,
  key: Uint8Array,
  value: { packets?: bigint; bytes?: bigint; last_seen?: bigint },
): string {
  const view = new DataView(new ArrayBuffer(SOURCE_VALUE.size));
  view.setBigUint64(SOURCE_VALUE.packets, value.packets ?? 0n, LITTLE_ENDIAN);
  view.setBigUint64(SOURCE_VALUE.bytes, value.bytes ?? 0n, LITTLE_ENDIAN);
  view.setBigUint64(SOURCE_VALUE.last_seen, value.last_seen ?? 0n, LITTLE_ENDIAN);
  const bytes = new Uint8Array(view.buffer);
  return `map update pinned ${map} key hex ${hexOf(key)} value hex ${hexOf(bytes)} any`;
}

iterators('IPv6 addresses are as RFC 5952 has them, whatever groups are zero', async () => {
  const loaded = await load('xdpwho.frags');
  const expected = new Set<string>();
  const commands: string[] = [];
  for (let zeros = 0; zeros < 256; zeros++) {
    for (const digits of [1, 2, 3, 4]) {
      const key = new Uint8Array(16);
      for (let group = 0; group < 8; group++) {
        if (zeros & (1 << group)) continue;
        const value = (0x1234abcd >> ((group * 3) % 16)) & (16 ** digits - 1) || 16 ** digits - 1;
        key.set([value >> 8, value & 255], group * 2);
      }
      const text = addressText(key);
      if (!expected.has(text)) commands.push(updateCommand(loaded.sourcesMap, key, {}));
      expected.add(text);
    }
  }
  assert.ok(expected.has('::') && expected.size > 700, String(expected.size));
  await batch(commands);
  const found = readSources(loaded).map((line) => line.source);
  assert.equal(found.sort(), [...expected].sort());
});

iterators('IPv4 addresses are dotted, with every octet', async () => {
  const loaded = await load('xdpwho.frags');
  const keys = Array.from({ length: 256 }, (_, octet) => {
    const bytes = [octet, (octet * 7 + 1) & 255, (octet * 31 + 9) & 255, 255 - octet];
    return Uint8Array.from([...new Array<number>(10).fill(0), 0xff, 0xff, ...bytes]);
  });
  keys.push(new Uint8Array(16).fill(255, 10, 12), new Uint8Array(16).fill(255, 10));
  await batch(keys.map((key) => updateCommand(loaded.sourcesMap, key, {})));
  const found = readSources(loaded).map((line) => line.source);
  assert.equal(found.sort(), keys.map(addressText).sort());
  assert.ok(found.includes('0.0.0.0') && found.includes('255.255.255.255'));
});

iterators('counters have every digit up to the last that 64 bits hold', async () => {
  const loaded = await load('xdpwho.frags');
  const cpus = BigInt(countPossibleCpus());
  const values = [0n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 63n, 2n ** 64n - 1n];
  for (let power = 1n; power <= 10n ** 19n; power *= 10n) {
    values.push(
      power - 1n,
      power,
      power + 1n,
      (power * 73n) / 10n,
      (power * 987654321n) % 2n ** 64n,
    );
  }
  const expected = new Map<string, { packets: bigint; bytes: bigint }>();
  const commands = values.map((packets, index) => {
    const key = Uint8Array.from([...SOURCE6.slice(0, 14), index >> 8, index & 255]);
    const bytes = BigInt.asUintN(64, packets * 1514n);
    const sum = (value: bigint) => BigInt.asUintN(64, value * cpus);
    expected.set(addressText(key), { packets: sum(packets), bytes: sum(bytes) });
    return updateCommand(loaded.sourcesMap, key, { packets, bytes });
  });
  await batch(commands);
  const lines = readSources(loaded);
  assert.is(lines.length, values.length);
  for (const { source, packets, bytes } of lines) {
    assert.equal({ packets, bytes }, expected.get(source), source);
  }
});

iterators('idle_ms is the age of the last packet, and 0 for one that is yet to come', async () => {
  const loaded = await load('xdpwho.frags');
  const clock = `${lab.bpffs}/clock`;
  const frame = `${lab.scratch}/clock-frame`;
  writeFileSync(frame, new Uint8Array(64));
  await lab.bpftool.loadProgram(new ObjectFiles(OBJECTS_DIRECTORY).path('clock'), clock);
  const now = async () => BigInt((await lab.bpftool.runProgram(clock, frame, 1)).returned);
  const key = (last: number) => Uint8Array.from([...SOURCE6.slice(0, 15), last]);
  await batch([
    updateCommand(loaded.sourcesMap, key(1), { last_seen: 0n }),
    updateCommand(loaded.sourcesMap, key(2), { last_seen: 5000n }),
    updateCommand(loaded.sourcesMap, key(3), { last_seen: 2n ** 62n }),
  ]);
  const before = await now();
  await runOn(loaded, [frameOf(60, ETHERNET, IPV4, ipv4Header([192, 0, 2, 7]))]);
  const idle = new Map(readSources(loaded).map((line) => [line.source, line.idleMs]));
  const after = await now();

  // The clock has the low 32 bits only.
  const elapsed = BigInt.asUintN(32, after - before);
  const msPerTick = 1000n / BigInt(HZ);
  for (const [source, lastSeen] of [
    ['2001:db8::1', 0n],
    ['2001:db8::2', 5000n],
  ] as const) {
    const idleMs = idle.get(source) ?? -1n;
    assert.is(idleMs % msPerTick, 0n);
    const readAt = idleMs / msPerTick + lastSeen;
    assert.ok(BigInt.asUintN(32, readAt - before) <= elapsed, `${source} ${idleMs} ${before}`);
  }
  assert.is(idle.get('2001:db8::3'), 0n);
  assert.ok((idle.get('192.0.2.7') ?? -1n) <= elapsed * msPerTick);
  assert.is(idle.size, 4);
});

iterators('the longest name of an interface fits, escaped in every byte', async () => {
  const name = '\u0001'.repeat(15);
  const loaded = await load('xdpwho.frags', { interfaceJson: JSON.stringify(name).slice(1, -1) });
  await runOn(loaded, [frameOf(60, ETHERNET, IPV4, ipv4Header([192, 0, 2, 7]))]);
  for (const file of [loaded.sourcesFile, loaded.totalsFile]) {
    const record: unknown = JSON.parse(readFileSync(file, 'utf8'));
    assert.is(propertyOf(record, 'interface'), name);
  }
});

iterators('a table longer than any buffer is printed whole, each source once', async () => {
  const loaded = await load('xdpwho.frags');
  const keys = Array.from({ length: 4000 }, (_, index) =>
    Uint8Array.from([...SOURCE6.slice(0, 14), index >> 8, index & 255]),
  );
  const commands = keys.map((key, index) =>
    updateCommand(loaded.sourcesMap, key, { packets: BigInt(index) }),
  );
  await batch(commands);
  const cpus = BigInt(countPossibleCpus());
  const found = readSources(loaded).map((line) => `${line.source} ${line.packets}`);
  const expected = keys.map((key, index) => `${addressText(key)} ${BigInt(index) * cpus}`);
  assert.equal(found.sort(), expected.sort());
});

iterators('an empty table prints nothing, and totals of zero', async () => {
  const loaded = await load('xdpwho.frags');
  assert.is(readFileSync(loaded.sourcesFile, 'utf8'), '');
  assert.is(
    readFileSync(loaded.totalsFile, 'utf8'),
    '{"type":"totals","interface":"eth0","packets":0,"bytes":0,"ipv4":0,"ipv6":0,"other":0,"malformed":0}\n',
  );
});

printing.run();

/** The CPUs that this process may run on. */
function allowedCpus(): number[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '0';
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}
