import * as assert from 'uvu/assert';
import { factsIn } from '../../src/owners/facts.js';
import { suite } from '../suite.js';

const facts = suite('factsIn');

const SCHEMAS: readonly (readonly [name: string, record: unknown, facts: object])[] = [
  [
    'GeoLite2-ASN, DB-IP',
    { autonomous_system_number: 64500, autonomous_system_organization: 'Example Org' },
    { asn: 64500, as_name: 'Example Org' },
  ],
  [
    'GeoLite2-Country, DB-IP',
    { continent: { code: 'EU' }, country: { iso_code: 'DE', names: { en: 'Germany' } } },
    { country: 'DE' },
  ],
  [
    'IPinfo Lite',
    { asn: 'AS64500', as_name: 'Example Org', country: 'Germany', country_code: 'DE' },
    { asn: 64500, as_name: 'Example Org', country: 'DE' },
  ],
  [
    'IPinfo country_asn',
    { asn: 'AS64500', as_name: 'Example', country: 'DE' },
    { asn: 64500, as_name: 'Example', country: 'DE' },
  ],
  ['ip-location-db', { country_code: 'fr' }, { country: 'FR' }],
  ['no system', { autonomous_system_number: 0, as_name: ' ' }, {}],
  ['other kinds', { city: { names: {} }, country: {}, asn: 'none', country_code: 7 }, {}],
  ['a number too large, a fraction', { autonomous_system_number: 2 ** 32, asn: 1.5 }, {}],
  ['members that are inherited', Object.create({ asn: 5 }), {}],
  ['no map', 'AS5', {}],
];

for (const [name, record, expected] of SCHEMAS) {
  facts(name, () => assert.equal(factsIn(record), expected));
}

facts('a name is cut where it would fill a screen', () => {
  assert.is(factsIn({ as_name: 'x'.repeat(1e6) }).as_name?.length, 200);
});

facts.run();
