import * as assert from 'uvu/assert';
import { deviceIn } from '../../src/host/devices.js';
import { suite } from '../suite.js';

const devices = suite('deviceIn');

const NOTHING = {
  ifindex: undefined,
  kind: undefined,
  driver: undefined,
  mtu: undefined,
  address: undefined,
};

devices('reads what iproute2 prints', () => {
  assert.equal(
    deviceIn(
      '[{"ifindex":2,"ifname":"v0","mtu":9000,"link_type":"ether","address":"02:00:00:00:00:01","linkinfo":{"info_kind":"veth"}}]',
    ),
    {
      ifindex: 2,
      linkType: 'ether',
      kind: 'veth',
      driver: undefined,
      mtu: 9000,
      address: '02:00:00:00:00:01',
      hasXdp: false,
    },
  );
  assert.equal(deviceIn('[{"ifname":"lo","link_type":"loopback"}]'), {
    ...NOTHING,
    linkType: 'loopback',
    hasXdp: false,
  });
  assert.is(deviceIn('[{"link_type":"ether","xdp":{"mode":1,"prog":{"id":7}}}]')?.hasXdp, true);
});

devices('takes what is no description for none', () => {
  for (const text of ['', 'nonsense', '{}', '[]', '[{}]', '[null]', '[{"linkinfo":7,"mtu":"x"}]']) {
    assert.is(deviceIn(text), undefined, text);
  }
});

devices.run();
