/** Makes Ethernet frames, for the traffic of the demo, the bench and the tests. Pure. */
import { isIPv6 } from 'node:net';
import { addressKey } from './address.js';
import { XdpwhoError } from './errors.js';

export interface FrameOptions {
  /** IPv4 or IPv6 address. */
  readonly source: string;
  /** Of the same family. Default: a documentation address. */
  readonly destination?: string;
  /** VLAN ids, the outermost first. The last tag is 802.1Q, the others are 802.1ad. */
  readonly vlans?: readonly number[];
  /** The length of the frame in bytes, at least that of its headers. Default: 64. */
  readonly length?: number;
}

const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd, serviceVlan: 0x88a8 };
/** Destination and source: locally administered addresses, which no network card has. */
const ETHERNET_ADDRESSES = [0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01];
const UDP = 17;
/** The discard service, so nothing answers. */
const DISCARD_PORT = 9;

/** A UDP datagram. */
export function udpFrame(options: FrameOptions): Uint8Array {
  const { source, vlans = [] } = options;
  const { destination = isIPv6(source) ? '2001:db8::fffe' : '192.0.2.254' } = options;
  const headers = ethernetHeader(isIPv6(source) ? ETHERTYPE.ipv6 : ETHERTYPE.ipv4, vlans);
  const networkBytes = isIPv6(source) ? 40 : 20;
  const length = Math.max(options.length ?? 64, headers.length + networkBytes + 8);
  const payload = length - headers.length - networkBytes;
  const network = isIPv6(source)
    ? ipv6Header(source, destination, payload)
    : ipv4Header(source, destination, payload);
  const udp = [...u16(DISCARD_PORT), ...u16(DISCARD_PORT), ...u16(payload), 0, 0];
  return padded([...headers, ...network, ...udp], length);
}

/** An ARP request: neither IPv4 nor IPv6. */
export function arpFrame(): Uint8Array {
  return padded([...ethernetHeader(ETHERTYPE.arp, []), 0, 1, 8, 0, 6, 4, 0, 1], 64);
}

/** A frame whose type is IPv4 but that has no IPv4 header. */
export function malformedFrame(): Uint8Array {
  return padded([...ethernetHeader(ETHERTYPE.ipv4, []), 0x0f], 64);
}

function addressBytes(address: string): readonly number[] {
  return [...addressKey(address).subarray(isIPv6(address) ? 0 : 12)];
}

function ethernetHeader(type: number, vlans: readonly number[]): number[] {
  const tags = vlans.flatMap((id, index) => [
    ...u16(index < vlans.length - 1 ? ETHERTYPE.serviceVlan : ETHERTYPE.vlan),
    ...u16(id),
  ]);
  return [...ETHERNET_ADDRESSES, ...tags, ...u16(type)];
}

function ipv4Header(source: string, destination: string, payload: number): number[] {
  const header = [0x45, 0, ...u16(20 + payload), 0, 0, 0, 0, 64, UDP, 0, 0];
  header.push(...addressBytes(source), ...addressBytes(destination));
  let sum = 0;
  for (let index = 0; index < 20; index += 2) {
    sum += ((header[index] ?? 0) << 8) | (header[index + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  header.splice(10, 2, ...u16(~sum & 0xffff));
  return header;
}

function ipv6Header(source: string, destination: string, payload: number): number[] {
  const addresses = [...addressBytes(source), ...addressBytes(destination)];
  return [0x60, 0, 0, 0, ...u16(payload), UDP, 64, ...addresses];
}

function padded(bytes: readonly number[], length: number): Uint8Array {
  if (bytes.length > length)
    throw new XdpwhoError('failed', `a frame of ${length} bytes is too short`);
  const frame = new Uint8Array(length);
  frame.set(bytes);
  return frame;
}

function u16(value: number): number[] {
  return [value >>> 8, value & 0xff];
}
