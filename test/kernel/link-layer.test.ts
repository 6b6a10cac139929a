/** Devices whose packets have no Ethernet header: which source the program finds, and devices that are read in truth. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { LINK_LAYERS, type LinkLayer } from '../../src/attachment/link-layer.js';
import { requireTool } from '../../src/host/tools.js';
import { formatAddress } from '../../src/model/address.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { decodeSourceEntry, decodeTotals } from '../../src/table/decode.js';
import { tried } from '../reliability.js';
import { suite } from '../suite.js';
import { loadWithMaps } from './bpftool.js';
import { Lab, lastReading, OBJECTS_DIRECTORY, recordsIn, WHY_NOT } from './lab.js';

const LITTLE_ENDIAN = endianness() === 'LE';

let lab: Lab;
let loads = 0;

type Class = 'ipv4' | 'ipv6' | 'other' | 'malformed';

const ETHERNET = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
const VLAN = [0x81, 0x00, 0x00, 0x05];
const IPV4 = [0x08, 0x00];
const IPV6 = [0x86, 0xdd];
const ARP = [0x08, 0x06];
const SOURCE6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

function ipv4Header(source: readonly number[]): number[] {
  return [0x45, 0, 0, 48, 0, 0, 0, 0, 64, 17, 0, 0, ...source, 192, 0, 2, 1];
}

function ipv6Header(source: readonly number[]): number[] {
  const target = [0x20, 0x01, 0x0d, 0xb8, ...new Array<number>(11).fill(0), 1];
  return [0x60, 0, 0, 0, 0, 20, 17, 64, ...source, ...target];
}

/** The parts, cut or filled up with 0xa5 to a length. */
function frameOf(length: number, ...parts: readonly (readonly number[])[]): Uint8Array {
  const bytes = parts.flat();
  return Uint8Array.from({ length }, (_, index) => bytes[index] ?? 0xa5);
}

const PROMISE =
  'On a device of any kind, the sources are those that sent, or the device is refused';
const layers = suite(PROMISE, WHY_NOT);

layers.before(async () => {
  lab = await Lab.create();
});
layers.after(() => lab.close());

/** Loads the program for a link layer, runs it on each frame, and returns what it has counted. */
async function countedOf(layer: LinkLayer, frames: readonly Uint8Array[]) {
  const pin = `${lab.bpffs}/layer${++loads}`;
  mkdirSync(`${pin}-maps`);
  const constants = { link_layer: layer };
  const object = new ObjectFiles(OBJECTS_DIRECTORY).writePatched(
    'xdpwho.frags',
    { constants },
    lab.scratch,
  );
  await loadWithMaps(lab.bpftool, object, pin, `${pin}-maps`);
  for (const frame of frames) {
    const file = `${lab.scratch}/layered`;
    writeFileSync(file, frame);
    await lab.bpftool.runProgram(pin, file, 1);
  }
  const totals = decodeTotals(await lab.bpftool.dumpMap(`${pin}-maps/totals`), LITTLE_ENDIAN);
  const entries = await lab.bpftool.dumpMap(`${pin}-maps/sources`);
  const sources = entries.map((entry) => {
    const decoded = decodeSourceEntry(entry, LITTLE_ENDIAN);
    assert.ok(decoded);
    return [formatAddress(decoded.key), decoded.packets, decoded.bytes];
  });
  return { totals, sources };
}

/** The bytes, with others at some places. */
function changed(bytes: Iterable<number>, at: Readonly<Record<number, number>>): number[] {
  return [...bytes].map((byte, index) => at[index] ?? byte);
}

/** What a packet is in the layers below the IP header of its source; the counts go by the IP packet alone. */
const INNER4 = frameOf(48, changed(ipv4Header([192, 0, 2, 7]), { 3: 48 }));
const INNER6 = frameOf(60, changed(ipv6Header(SOURCE6), { 5: 20 }));
const OUTER_SOURCE = [203, 0, 113, 9];

/** An IPv4 packet that carries another. */
function outer4(protocol: number, ...parts: readonly Iterable<number>[]): number[] {
  const payload = parts.flatMap((part) => [...part]);
  const length = 20 + payload.length;
  const fields = { 2: length >> 8, 3: length & 255, 9: protocol };
  return [...changed(ipv4Header(OUTER_SOURCE), fields), ...payload];
}

/** An IPv6 packet that carries another. */
function outer6(next: number, ...parts: readonly Iterable<number>[]): number[] {
  const payload = parts.flatMap((part) => [...part]);
  const source = [0x20, 0x01, 0x0d, 0xb8, ...new Array<number>(11).fill(0), 9];
  const fields = { 4: payload.length >> 8, 5: payload.length & 255, 6: next };
  return [...changed(ipv6Header(source), fields), ...payload];
}

const GRE4 = [0, 0, ...IPV4];
const GRE6_WITH_ALL = [0xb0, 0, ...IPV6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
/** As ip6tnl sends it: the encapsulation limit of 4, padded. */
const LIMIT = (next: number) => [next, 0, 4, 1, 4, 1, 1, 0];

const LAYER_NAMES = ['ethernet', 'ip', 'tunnel', 'gre'] as const;

interface Layered {
  readonly what: string;
  readonly layer: LinkLayer;
  readonly packet: Iterable<number>;
  /** Its class, with a source, and the bytes that count. */
  readonly counted: readonly [kind: Class, source: string, bytes: number];
}

const V4 = ['ipv4', '192.0.2.7', 48] as const;
const V6 = ['ipv6', '2001:db8::7', 60] as const;
const { ip: IP, tunnel: TUNNEL, gre: GRE } = LINK_LAYERS;
const LAYERED: readonly Layered[] = [
  { what: 'IPv4 on a device without Ethernet', layer: IP, packet: INNER4, counted: V4 },
  { what: 'IPv6 on a device without Ethernet', layer: IP, packet: INNER6, counted: V6 },
  ...[0, 1, 5, 15].map((version) => ({
    what: `version ${version}`,
    layer: IP,
    packet: changed(INNER4, { 0: (version << 4) | 5 }),
    counted: ['other', '', 48] as const,
  })),
  {
    what: 'a cut IPv4 header',
    layer: IP,
    packet: INNER4.subarray(0, 19),
    counted: ['malformed', '', 19],
  },
  {
    what: 'a cut IPv6 header',
    layer: IP,
    packet: INNER6.subarray(0, 39),
    counted: ['malformed', '', 39],
  },
  {
    what: 'IPv4 whose payload looks like a type',
    layer: IP,
    packet: changed(INNER4, { 12: 8, 13: 0 }),
    counted: ['ipv4', '8.0.2.7', 48],
  },
  ...[IP, TUNNEL, GRE].flatMap((layer) => [
    { what: 'IPv4 that a tunnel has unpacked', layer, packet: INNER4, counted: V4 },
    { what: 'IPv6 that a tunnel has unpacked', layer, packet: INNER6, counted: V6 },
  ]),
  {
    what: 'ipip before 5.15',
    layer: TUNNEL,
    packet: [...ETHERNET, ...IPV4, ...outer4(4, INNER4)],
    counted: V4,
  },
  {
    what: 'sit before 5.15',
    layer: TUNNEL,
    packet: [...ETHERNET, ...IPV4, ...outer4(41, INNER6)],
    counted: V6,
  },
  {
    what: 'ip6tnl before 5.15',
    layer: TUNNEL,
    packet: [...ETHERNET, ...IPV6, ...outer6(60, LIMIT(4), INNER4)],
    counted: V4,
  },
  {
    what: 'ip6tnl without limit before 5.15',
    layer: TUNNEL,
    packet: [...ETHERNET, ...VLAN, ...IPV6, ...outer6(41, INNER6)],
    counted: V6,
  },
  {
    what: 'ip6gre before 5.15',
    layer: TUNNEL,
    packet: [...ETHERNET, ...IPV6, ...outer6(60, LIMIT(47), GRE4, INNER4)],
    counted: V4,
  },
  { what: 'gre without remote', layer: GRE, packet: outer4(47, GRE4, INNER4), counted: V4 },
  {
    what: 'gre with checksum, key and sequence',
    layer: GRE,
    packet: outer4(47, GRE6_WITH_ALL, INNER6),
    counted: V6,
  },
  {
    what: 'GRE in a tunnel that is none of GRE',
    layer: TUNNEL,
    packet: outer4(47, GRE4, INNER4),
    counted: ['ipv4', OUTER_SOURCE.join('.'), 72],
  },
  {
    what: 'neither IP nor of the tunnel',
    layer: TUNNEL,
    packet: frameOf(60, ETHERNET, ARP),
    counted: ['other', '', 60],
  },
  {
    what: 'IPv4 with the length of none',
    layer: TUNNEL,
    packet: frameOf(60, changed(INNER4, { 3: 40 })),
    counted: ['ipv4', '192.0.2.7', 60],
  },
];

for (const { what, layer, packet, counted } of LAYERED) {
  layers(`${LAYER_NAMES[layer]}: ${what}`, async () => {
    const [kind, source, bytes] = counted;
    const found = await countedOf(layer, [Uint8Array.from(packet)]);
    const classes = { ipv4: 0n, ipv6: 0n, other: 0n, malformed: 0n, [kind]: 1n };
    assert.equal(found.totals, { bytes: BigInt(bytes), ...classes });
    assert.equal(found.sources, source === '' ? [] : [[source, 1n, BigInt(bytes)]]);
    tried(PROMISE, {
      what: `${LAYER_NAMES[layer]}: ${what}`,
      times: 1,
      result: `${kind}, ${bytes} bytes, of ${source || 'no source'}`,
    });
  });
}

layers('a frame of an Ethernet device that an ifb gives back is not counted again', async () => {
  const short = frameOf(46, changed(ipv4Header([192, 0, 2, 7]), { 3: 28 }));
  // The type of IPv6 at the place of the Ethernet type.
  const misleading = Uint8Array.from(changed(INNER4, { 12: 134, 13: 221 }));
  const found = await countedOf(LINK_LAYERS.ethernet, [INNER4, INNER6, short, misleading]);
  assert.equal(found.totals, { bytes: 0n, ipv4: 0n, ipv6: 0n, other: 0n, malformed: 0n });
  assert.equal(found.sources, []);
  tried(PROMISE, {
    what: 'frames that an ifb gives back to an Ethernet device without their header, in generic mode',
    times: 4,
    result: 'not counted a second time',
  });
});

/** Writes packets, a hex line each, into a tun device that exists, as a VPN does. */
const INTO_TUN = `
open(my $tun, '+<', '/dev/net/tun') or die "tun: $!";
ioctl($tun, 0x400454ca, pack('a16 s x22', $ARGV[0], 0x1001)) or die "TUNSETIFF: $!";
while (my $line = <STDIN>) { chomp $line; syswrite($tun, pack('H*', $line)) or die "write: $!"; }
`;

async function intoTun(device: string, packets: readonly Uint8Array[]): Promise<void> {
  const input = packets.map((packet) => `${Buffer.from(packet).toString('hex')}\n`).join('');
  const inside = [`--net=/run/netns/${lab.netns}`, '--', requireTool('perl'), '-e', INTO_TUN];
  await execa('nsenter', [...inside, device], { input });
}

for (const mode of ['auto', 'generic'] as const) {
  layers(`a tun device shows the true sources, in ${mode} mode`, async () => {
    const device = `tun-${mode}`;
    await lab.ip(lab.netns, ['tuntap', 'add', 'dev', device, 'mode', 'tun']);
    await lab.ip(lab.netns, ['link', 'set', 'dev', device, 'addrgenmode', 'none', 'up']);
    const run = lab.start(['watch', device, '--mode', mode, '--interval', '200ms', '-o', 'ndjson']);
    await lab.until(() => run.stdout.includes('"type":"totals"'), 'a first reading');
    const from = (source: readonly number[]) => new Array(5).fill(frameOf(48, ipv4Header(source)));
    // Its bytes 12 and 13, where Ethernet has the type, are those of IPv4.
    const misleading = new Array(5).fill(frameOf(48, ipv4Header([8, 0, 69, 0])));
    const ipv6 = new Array(5).fill(frameOf(60, ipv6Header(SOURCE6)));
    await intoTun(device, [
      ...from([192, 0, 2, 10]),
      ...from([198, 51, 100, 11]),
      ...misleading,
      ...ipv6,
    ]);
    await lab.until(() => run.stdout.includes('"packets":20,'), 'all packets');
    run.child.kill('SIGINT');
    assert.is((await run.ended()).exitCode, 130);
    const { totals, packets, bytes } = lastReading(recordsIn(run.stdout));
    assert.equal([totals?.ipv4, totals?.ipv6, totals?.other, totals?.malformed], [15, 5, 0, 0]);
    const each = { '192.0.2.10': 5, '198.51.100.11': 5, '8.0.69.0': 5, '2001:db8::7': 5 };
    assert.equal(packets, each);
    assert.equal(bytes, {
      ...{ '192.0.2.10': 240, '198.51.100.11': 240, '8.0.69.0': 240 },
      '2001:db8::7': 300,
    });
    tried(PROMISE, {
      what: `a tun device in ${mode} mode: 5 packets each of four sources, one of which looks like an Ethernet type`,
      times: 20,
      result: 'exactly these sources, packets and bytes',
    });
  });
}

layers('a device without Ethernet has no native mode, and doctor says so', async () => {
  await lab.ip(lab.netns, ['tuntap', 'add', 'dev', 'tun-only', 'mode', 'tun']);
  const refused = await lab.run(['watch', 'tun-only', '--mode', 'native', '--duration', '1s']);
  assert.is(refused.exitCode, 5);
  assert.match(refused.stderr, /^xdpwho: tun-only: no native mode: /m);
  const doctor = await lab.run(['doctor', 'tun-only', '-o', 'json']);
  const details = [...doctor.stdout.matchAll(/"detail": ?"([^"]*)"/g)].map(([, detail]) => detail);
  assert.ok(details.includes('none: no Ethernet header; counted from the IP header on'));
  assert.ok(details.includes('tun, which has generic mode only, slower'));
  tried(PROMISE, {
    what: '`--mode native` on a device without an Ethernet header',
    times: 1,
    result: 'refused, exit code 5',
  });
});

layers.run();
