/** Runs in a guest: makes each kind of device, attaches to it, and sends packets of known sources through it. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { attach, dump } from '../../src/api.js';
import { Messages } from '../../src/cli/messages.js';
import { chosenInterfaces } from '../../src/commands/chosen-interfaces.js';
import { describeDevice } from '../../src/host/devices.js';
import { resolveNetns } from '../../src/host/netns.js';
import { messageOf } from '../../src/model/errors.js';
import { DEVICE_KINDS, type DeviceKind } from './device-kinds.js';
import type { DeviceResult } from './findings.js';

const PACKETS = 5;
const SOURCES = { ipv4: '192.0.2.10', ipv6: '2001:db8::10' } as const;
const TARGETS = { ipv4: '192.0.2.1', ipv6: '2001:db8::1' } as const;

function run(file: string, ...args: string[]): string {
  return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function ip(netns: 'a' | 'b', words: string): string {
  return run('/bin/ip', '-n', `devices-${netns}`, ...words.split(' '));
}

/** Modules in no order: those that need others are tried again when these are there. */
function loadModules(): void {
  const directory = '/modules-of-devices';
  for (const name of readdirSync(directory)) {
    if (name.endsWith('.xz')) run('busybox', 'unxz', `${directory}/${name}`);
  }
  let left = readdirSync(directory);
  for (let before = left.length + 1; left.length < before; ) {
    before = left.length;
    left = left.filter((name) => {
      try {
        run('busybox', 'insmod', `${directory}/${name}`);
        return false;
      } catch {
        return true;
      }
    });
  }
}

function addressOf(netns: 'a' | 'b', device: string): string | undefined {
  const [link]: { address?: string; link_type?: string }[] = JSON.parse(
    ip(netns, `-j link show dev ${device}`),
  );
  return link?.link_type === 'ether' ? link.address : undefined;
}

function build(kind: DeviceKind): void {
  for (const netns of ['a', 'b'] as const) run('/bin/ip', 'netns', 'add', `devices-${netns}`);
  ip('a', 'link add name under type veth peer name under netns devices-b');
  for (const [netns, own] of [
    ['a', '1'],
    ['b', '2'],
  ] as const) {
    ip(netns, `addr add 198.51.100.${own}/24 dev under`);
    ip(netns, `addr add 2001:db8:1::${own}/64 dev under nodad`);
    ip(netns, 'link set dev under up');
    ip(netns, 'link set dev lo up');
  }
  for (const [netns, words] of kind.commands) ip(netns, words);
  if (kind.name === 'wireguard') joinWireguard();
  const to = kind.to ?? kind.on;
  for (const device of new Set(['under', kind.on, to])) ip('b', `link set dev ${device} up`);
  ip('a', `link set dev ${kind.from} up`);
  const ends = [
    ['a', kind.from, SOURCES],
    ['b', to, TARGETS],
  ] as const;
  for (const [netns, device, addresses] of ends) {
    ip(netns, `addr add ${addresses.ipv4}/24 dev ${device}`);
    ip(netns, `addr add ${addresses.ipv6}/64 dev ${device} nodad`);
  }
}

/** Who is asked nothing sends nothing: each end knows the other's hardware address. */
function introduce(kind: DeviceKind): void {
  const to = kind.to ?? kind.on;
  const ends = [
    ['a', kind.from, TARGETS, addressOf('b', to)],
    ['b', to, SOURCES, addressOf('a', kind.from)],
  ] as const;
  for (const [netns, device, addresses, address] of ends) {
    if (address === undefined) continue;
    for (const each of Object.values(addresses)) {
      ip(netns, `neigh replace ${each} lladdr ${address} dev ${device} nud permanent`);
    }
  }
}

function joinWireguard(): void {
  const keys = { a: '', b: '' };
  for (const netns of ['a', 'b'] as const) {
    const key = run('wg', 'genkey').trim();
    keys[netns] = execFileSync('wg', ['pubkey'], { input: key, encoding: 'utf8' }).trim();
    execFileSync('sh', ['-c', `cat >/tmp/key-${netns}`], { input: key });
  }
  for (const [netns, other, endpoint] of [
    ['a', 'b', '198.51.100.2'],
    ['b', 'a', '198.51.100.1'],
  ] as const) {
    const words = `set t0 listen-port 51820 private-key /tmp/key-${netns} peer ${keys[other]}`;
    const peer = `allowed-ips 0.0.0.0/0,::/0 endpoint ${endpoint}:51820`;
    run('nsenter', `--net=/run/netns/devices-${netns}`, 'wg', ...`${words} ${peer}`.split(' '));
  }
}

function send(family: 'ipv4' | 'ipv6'): void {
  const words = ['-c', String(PACKETS), '-W', '1', '-i', '0.2', '-I', SOURCES[family]];
  try {
    run('nsenter', '--net=/run/netns/devices-a', 'busybox', 'ping', ...words, TARGETS[family]);
  } catch {
    // Nobody has to answer.
  }
}

async function measure(kind: DeviceKind): Promise<DeviceResult> {
  const about = { type: 'device', name: kind.name } as const;
  const nothing = { linkType: '', ipv4: '-', ipv6: '-', all: [] };
  try {
    build(kind);
  } catch (error) {
    const why = messageOf(error).split('\n').at(-2) ?? messageOf(error);
    return { ...about, ...nothing, mode: `not made by this kernel: ${why}` };
  }
  const place = { interface: kind.on, netns: 'devices-b' };
  const { linkType = '' } = await describeDevice(kind.on, resolveNetns('devices-b'));
  try {
    await using attachment = await attach(place);
    for (const [netns, words] of kind.afterwards ?? []) ip(netns, words);
    introduce(kind);
    const families = (['ipv4', 'ipv6'] as const).filter((each) => (kind.only ?? each) === each);
    for (const family of families) send(family);
    const { sources } = await dump(place);
    const of = (family: 'ipv4' | 'ipv6') => {
      if (!families.includes(family)) return '-';
      const found = sources.find(({ source }) => source === SOURCES[family]);
      return `${found?.packets ?? 0} of ${PACKETS}`;
    };
    const { mode } = attachment;
    return {
      ...about,
      mode,
      linkType,
      ipv4: of('ipv4'),
      ipv6: of('ipv6'),
      all: await everything(),
    };
  } catch (error) {
    return { ...about, ...nothing, linkType, mode: messageOf(error) };
  }
}

/** The interfaces that `--all` takes in the namespace that receives. */
function everything(): Promise<string[]> {
  const options = { words: [], iface: undefined, netns: 'devices-b', all: true };
  const silent = new Messages(() => {}, {});
  return chosenInterfaces(options, { messages: silent });
}

loadModules();
for (const kind of DEVICE_KINDS) {
  try {
    console.log(JSON.stringify(await measure(kind)));
  } finally {
    for (const netns of ['a', 'b']) {
      try {
        run('/bin/ip', 'netns', 'del', `devices-${netns}`);
      } catch {
        // It was not made.
      }
    }
  }
}
process.exit();
