import * as assert from 'uvu/assert';
import { compareRatios, parseSaved } from '../../src/bench/compare.js';
import { parsePercentage } from '../../src/cli/option-values.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { renderDocument } from '../../src/text/json.js';
import { suite } from '../suite.js';
import { around, COST } from './sample.js';

const compare = suite('compareRatios');

const verdictOf = (saved: ReturnType<typeof around>, now: ReturnType<typeof around>) =>
  compareRatios([{ case: 'a', ratio: saved }], [{ case: 'a', ratio: now }], 0.15)[0]?.verdict;

compare('calls slower what is beyond the threshold and beyond the noise', () => {
  assert.is(verdictOf(around(2, 0.1), around(2.4, 0.1)), 'slower');
});

compare('calls nothing slower that is within the threshold, however sure it is', () => {
  assert.is(verdictOf(around(2, 0), around(2.3, 0)), 'same');
});

compare('calls unclear what the noise may explain, in the saved or in the new figure', () => {
  assert.is(verdictOf(around(2, 0.5), around(2.4, 0)), 'unclear');
  assert.is(verdictOf(around(2, 0), around(2.4, 0.5)), 'unclear');
  assert.is(verdictOf(around(2.4, 0.5), around(2, 0)), 'unclear');
});

compare('calls faster what has gained likewise', () => {
  assert.is(verdictOf(around(2.4, 0.1), around(2, 0.1)), 'faster');
});

compare('takes the cases that are on both sides, and gives the change of the medians', () => {
  const ratio = around(2, 0);
  const result = compareRatios(
    [
      { case: 'a', ratio },
      { case: 'b', ratio },
    ],
    [
      { case: 'c', ratio },
      { case: 'a', ratio: around(3, 0) },
    ],
    0.15,
  );
  assert.equal(result, [
    { case: 'a', saved: ratio, now: around(3, 0), change: 0.5, verdict: 'slower' },
  ]);
});

compare.run();

const saved = suite('parseSaved');

saved('reads what -o json printed', () => {
  const text = renderDocument({ program: 'xdpwho', cases: [COST] });
  assert.equal(parseSaved(text, 'f'), [{ case: 'ipv4', ratio: COST.ratio }]);
});

for (const [what, text] of [
  ['no JSON', '{'],
  ['no cases', '{}'],
  ['a case without a name', '{"cases":[{"ratio":{"median":1,"lower":1,"upper":1}}]}'],
  ['a case without a ratio', '{"cases":[{"case":"a"}]}'],
  ['a ratio of zero', '{"cases":[{"case":"a","ratio":{"median":0,"lower":0,"upper":0}}]}'],
  ['a ratio that is text', '{"cases":[{"case":"a","ratio":{"median":"1","lower":1,"upper":1}}]}'],
] as const) {
  saved(`refuses ${what}, by the file's name`, () => {
    assert.throws(
      () => parseSaved(text, 'saved.json'),
      (error: unknown) =>
        error instanceof XdpwhoError &&
        error.code === 'usage' &&
        /^saved\.json: /.test(error.message),
    );
  });
}

saved.run();

const percentage = suite('parsePercentage');

percentage('reads a share', () => {
  assert.is(parsePercentage('--threshold', '15%'), 0.15);
  assert.is(parsePercentage('--threshold', '2.5%'), 0.025);
});

for (const text of ['15', '0%', '-1%', '1001%', '%', '', 'x%']) {
  percentage(`refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parsePercentage('--threshold', text), /^--threshold /);
  });
}

percentage.run();
