import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { run } from '../../src/host/exec.js';
import { requireTool } from '../../src/host/tools.js';
import { propertyOf } from '../../src/model/json-values.js';
import {
  FRONT_LINE,
  LOG_HEAD,
  LOG_SEGMENT,
  PACKET_RECORD,
  PASS_HEAD,
  SOURCE_KEY,
  SOURCE_VALUE,
  TOTALS,
} from '../../src/objects/layout.js';
import { suite } from '../suite.js';

const objects = fileURLToPath(new URL('../../dist/bpf/', import.meta.url));
const layout = suite('layout');

const cases = [
  { object: 'xdpwho', struct: 'source_key', expected: SOURCE_KEY },
  { object: 'xdpwho', struct: 'source_value', expected: SOURCE_VALUE },
  { object: 'xdpwho', struct: 'front_line', expected: FRONT_LINE },
  { object: 'xdpwho.frags', struct: 'source_key', expected: SOURCE_KEY },
  { object: 'xdpwho.frags', struct: 'source_value', expected: SOURCE_VALUE },
  { object: 'totals', struct: 'totals', expected: TOTALS },
  { object: 'packets', struct: 'packet_record', expected: PACKET_RECORD },
  { object: 'packets', struct: 'pass_head', expected: PASS_HEAD },
  { object: 'packets', struct: 'log_head', expected: LOG_HEAD },
  { object: 'packets', struct: 'log_segment', expected: LOG_SEGMENT },
] as const;

for (const { object, struct, expected } of cases) {
  for (const byteOrder of ['el', 'eb']) {
    layout(`struct ${struct} is as in ${byteOrder}/${object}.o`, async () => {
      assert.equal(await readStruct(`${objects}${byteOrder}/${object}.o`, struct), expected);
    });
  }
}

layout('the maps of the program hold exactly these records', async () => {
  const types = await readBtf(`${objects}el/xdpwho.o`);
  assert.equal(mapSizes(types, 'sources'), [SOURCE_KEY.size, SOURCE_VALUE.size]);
  assert.equal(mapSizes(types, 'totals'), [4, TOTALS.size]);
});

layout('the log of the programs that have one is a map of segments', async () => {
  for (const object of ['xdpwho.log', 'xdpwho.log.frags']) {
    const types = await readBtf(`${objects}el/${object}.o`);
    assert.equal(mapSizes(types, 'packets'), [4, LOG_SEGMENT.size], object);
  }
});

layout.run();

/** A C struct's size, and each member's offset in bytes. */
async function readStruct(object: string, name: string): Promise<Record<string, unknown>> {
  const types = await readBtf(object);
  const found = types.filter(
    (type) => propertyOf(type, 'kind') === 'STRUCT' && propertyOf(type, 'name') === name,
  );
  assert.is(found.length, 1, `${object} has one struct ${name}`);
  const offsets = membersOf(found[0]).map((member) => [
    String(propertyOf(member, 'name')),
    Number(propertyOf(member, 'bits_offset')) / 8,
  ]);
  return { size: propertyOf(found[0], 'size'), ...Object.fromEntries(offsets) };
}

/** key_size and value_size: lengths of the arrays that the members of a map's struct point to. */
function mapSizes(types: readonly unknown[], map: string): unknown[] {
  const byId = (id: unknown) => types.find((type) => propertyOf(type, 'id') === id);
  const variable = types.find(
    (type) => propertyOf(type, 'kind') === 'VAR' && propertyOf(type, 'name') === map,
  );
  return ['key_size', 'value_size'].map((name) => {
    const members = membersOf(byId(propertyOf(variable, 'type_id')));
    const member = members.find((each) => propertyOf(each, 'name') === name);
    const array = byId(propertyOf(byId(propertyOf(member, 'type_id')), 'type_id'));
    return propertyOf(array, 'nr_elems');
  });
}

function membersOf(type: unknown): readonly unknown[] {
  const members = propertyOf(type, 'members');
  assert.ok(Array.isArray(members));
  return members;
}

async function readBtf(object: string): Promise<readonly unknown[]> {
  const result = await run(requireTool('bpftool'), ['-j', 'btf', 'dump', 'file', object]);
  assert.not(result.failed, result.stdout + result.stderr);
  const types = propertyOf(JSON.parse(result.stdout), 'types');
  assert.ok(Array.isArray(types));
  return types;
}
