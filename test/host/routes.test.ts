import * as assert from 'uvu/assert';
import { defaultDeviceIn } from '../../src/host/routes.js';
import { suite } from '../suite.js';

const routes = suite('defaultDeviceIn');

/** What `ip -j route show default` of iproute2 6.1 has printed, and the device. */
const PRINTED: readonly (readonly [what: string, json: string, device: string | undefined])[] = [
  ['nothing', '[ ]', undefined],
  ['no output at all', '', undefined],
  [
    'one route',
    '[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","protocol":"dhcp","metric":100,"flags":[]}]',
    'eth0',
  ],
  [
    'the lowest metric, in any order',
    '[{"dst":"default","gateway":"192.0.2.1","dev":"wlan0","metric":600,"flags":[]},{"dst":"default","gateway":"198.51.100.1","dev":"eth0","metric":100,"flags":[]}]',
    'eth0',
  ],
  [
    'no metric is the lowest',
    '[{"dst":"default","dev":"a","metric":1,"flags":[]},{"dst":"default","dev":"b","scope":"link","flags":[]}]',
    'b',
  ],
  [
    'the first of several next hops',
    '[{"dst":"default","flags":[],"nexthops":[{"gateway":"192.0.2.1","dev":"eth0","weight":1,"flags":[]},{"gateway":"198.51.100.1","dev":"eth1","weight":1,"flags":[]}]}]',
    'eth0',
  ],
  [
    'a route to nowhere leads nowhere',
    '[{"type":"unreachable","dst":"default","dev":"lo","metric":4294967295,"flags":[]}]',
    undefined,
  ],
  ['a name with an apostrophe', '[{"dst":"default","dev":"it\\\'s","flags":[]}]', "it's"],
  ['no JSON', 'ip: unrecognized option: j', undefined],
];

for (const [what, json, device] of PRINTED) {
  routes(what, () => assert.is(defaultDeviceIn(json), device));
}

routes.run();
