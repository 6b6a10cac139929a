import * as assert from 'uvu/assert';
import { SeenBefore } from '../../src/table/seen-before.js';
import { suite } from '../suite.js';

const seen = suite('SeenBefore');

seen('a source is new once', () => {
  const before = new SeenBefore();
  assert.equal(
    ['192.0.2.1', '192.0.2.2', '192.0.2.1', '2001:db8::1', '192.0.2.2'].map((each) =>
      before.add(each),
    ),
    [true, true, false, true, false],
  );
});

seen('of more than it remembers it forgets those that came longest ago', () => {
  const before = new SeenBefore(2000);
  assert.ok(before.add('192.0.2.1'));
  for (let number = 0; number < 20_000; number++) {
    assert.ok(before.add(`2001:db8::${number.toString(16)}`));
    // What comes again and again stays.
    if (number % 500 === 0) assert.not(before.add('192.0.2.1'));
  }
  assert.not(before.add(`2001:db8::${(19_999).toString(16)}`));
  assert.ok(before.add('2001:db8::0'), 'forgotten');
});

seen.run();
