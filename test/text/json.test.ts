import * as assert from 'uvu/assert';
import { renderDocument, stringifyRecord } from '../../src/text/json.js';
import { suite } from '../suite.js';

const json = suite('stringifyRecord, renderDocument');

json('prints a counter beyond 2^53 with every digit', () => {
  assert.is(
    stringifyRecord({
      type: 'source',
      interface: 'eth0',
      source: '192.0.2.7',
      packets: 18446744073709551615n,
      bytes: 1420n,
      idle_ms: 312,
    }),
    '{"type":"source","interface":"eth0","source":"192.0.2.7","packets":18446744073709551615,"bytes":1420,"idle_ms":312}',
  );
});

json('is what JSON.stringify prints where there is no bigint', () => {
  const value = {
    text: 'quote " backslash \\ line \n tab \t nul \0 \u2028 \ud800 ü',
    numbers: [0, -1.5, 1e21, Number.NaN, Number.POSITIVE_INFINITY],
    nothing: [null, undefined, true, false],
    absent: undefined,
    empty: [{}, []],
    nested: { deeper: [[1], { 'a key': '' }] },
  };
  assert.is(renderDocument(value), JSON.stringify(value, null, 2));
  assert.is(
    stringifyRecord({ type: 'error', code: 'usage', message: value.text, hint: null }),
    JSON.stringify({ type: 'error', code: 'usage', message: value.text, hint: null }),
  );
});

json('keeps bigint in documents too', () => {
  assert.is(
    renderDocument({ counts: [1n, { more: 2n }] }),
    '{\n  "counts": [\n    1,\n    {\n      "more": 2\n    }\n  ]\n}',
  );
});

json.run();
