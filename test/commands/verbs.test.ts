import * as assert from 'uvu/assert';
import { DEFAULT_VERB, VERBS } from '../../src/commands/verbs.js';
import { suite } from '../suite.js';

const test = suite('the list of verbs');

test('says of each command what the command says of itself', async () => {
  for (const { verb, describe, load } of VERBS) {
    const { description } = await load();
    assert.equal({ verb, describe }, { verb: description.verb, describe: description.describe });
  }
});

test('begins with the one that needs no verb', () => {
  assert.is(VERBS[0], DEFAULT_VERB);
  assert.is(DEFAULT_VERB.verb, 'watch');
});

test.run();
