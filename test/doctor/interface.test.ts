import * as assert from 'uvu/assert';
import type { ModeChoice } from '../../src/attachment/mode.js';
import { checkDriver, checkLinkLayer, checkMtu } from '../../src/doctor/interface.js';
import type { Device } from '../../src/host/devices.js';
import { suite } from '../suite.js';

const NATIVE: ModeChoice = { first: 'native', second: 'generic', note: null };

function device(figures: Partial<Device>): Device {
  return {
    ...{ ifindex: 2, linkType: 'ether', kind: undefined, driver: undefined },
    ...{ mtu: 1500, address: undefined },
    ...figures,
  };
}

const drivers = suite('checkDriver');

drivers('says native only of drivers that are known to have it', () => {
  const said = (figures: Partial<Device>, choice = NATIVE) => {
    const { status, detail } = checkDriver(device(figures), choice);
    return `${status}: ${detail}`;
  };
  assert.is(said({ driver: 'sfc' }), 'pass: sfc, which has native mode');
  assert.is(said({ kind: 'bridge' }), 'warn: bridge, which has generic mode only, slower');
  assert.is(said({ linkType: 'loopback' }), 'warn: loopback, which has generic mode only, slower');
  const generic = 'which has generic mode only, slower';
  assert.is(said({ kind: 'tun' }), 'pass: tun, which has native mode');
  assert.is(said({ kind: 'tun', linkType: 'none' }), `warn: tun, ${generic}`);
  const unknown = 'whether it has native mode is unknown until tried';
  assert.is(said({ driver: 'e1000' }), `warn: e1000; ${unknown}`);
  assert.is(said({ driver: 'veth' }), `warn: veth; ${unknown}`);
  assert.is(said({}), 'warn: unknown: neither sysfs nor ip names it');
});

drivers('says what a mode costs, or why it is taken', () => {
  const costly = checkDriver(device({ driver: 'igb' }), { ...NATIVE, note: 'the link is down' });
  assert.equal([costly.status, costly.detail], ['warn', 'igb: the link is down']);
  const harmless = { first: 'generic', second: undefined, note: 'generic, because' } as const;
  const chosen = checkDriver(device({ kind: 'veth' }), harmless);
  assert.equal([chosen.status, chosen.detail], ['pass', 'veth: generic, because']);
});

drivers.run();

const mtus = suite('checkMtu');

mtus('warns of an MTU that takes more than a page before kernel 5.18', () => {
  const status = (mtu: number | undefined, kernel: string) =>
    checkMtu(device({ mtu, driver: 'sfc' }), NATIVE, kernel).status;
  assert.is(status(1500, '5.10.0'), 'pass');
  assert.is(status(9000, '5.10.0'), 'warn');
  assert.is(status(9000, '6.1.0'), 'pass');
  assert.is(status(undefined, '6.1.0'), 'warn');
  const loopback = device({ mtu: 65_536, linkType: 'loopback' });
  assert.is(checkMtu(loopback, NATIVE, '5.10.0').detail, '65536');
});

mtus.run();

const layers = suite('checkLinkLayer');

layers('tells devices with an Ethernet header, with an IP header, and with neither', () => {
  const said = (linkType: string | undefined) => {
    const { status, detail } = checkLinkLayer('if0', device({ linkType }));
    return `${status}: ${detail}`;
  };
  assert.is(said('ether'), 'pass: ether');
  for (const type of ['none', 'ppp', 'ipip', 'sit', 'tunnel6', 'gre', 'gre6', '[519]']) {
    assert.is(said(type), `pass: ${type}: no Ethernet header; counted from the IP header on`);
  }
  assert.is(said(undefined), 'warn: unknown: neither ip nor sysfs tells it; taken for Ethernet');
  assert.match(said('ieee802.11/radiotap'), /^fail: if0: its packets have neither/);
});

layers.run();
