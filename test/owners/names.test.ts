import { EventEmitter } from 'node:events';
import * as assert from 'uvu/assert';
import { ReverseNames } from '../../src/owners/names.js';
import { suite } from '../suite.js';

const names = suite('ReverseNames');

/** A resolver that answers when the test says so. */
class SlowNames {
  readonly asked: string[] = [];
  readonly #events = new EventEmitter();
  readonly resolve = (address: string) => {
    this.asked.push(address);
    return new Promise<string[]>((resolve, reject) => {
      this.#events.once(address, (name?: string) =>
        name === undefined ? reject(new Error('ENOTFOUND')) : resolve([name]),
      );
    });
  };
  answer(address: string, name?: string): Promise<void> {
    this.#events.emit(address, name);
    return new Promise((resolve) => setImmediate(resolve));
  }
}

names('asks once, tells when a name has come, and remembers that there is none', async () => {
  const slow = new SlowNames();
  let told = 0;
  const reverse = new ReverseNames({ resolve: slow.resolve, onName: () => told++ });
  reverse.lookUp(['192.0.2.1', '192.0.2.2']);
  reverse.lookUp(['192.0.2.1', '192.0.2.2']);
  assert.equal([reverse.get('192.0.2.1'), told], [undefined, 0]);
  await slow.answer('192.0.2.1', 'one.example');
  await slow.answer('192.0.2.2');
  assert.equal(
    [reverse.get('192.0.2.1'), reverse.get('192.0.2.2'), told],
    ['one.example', undefined, 1],
  );
  reverse.lookUp(['192.0.2.1', '192.0.2.2']);
  assert.equal(slow.asked, ['192.0.2.1', '192.0.2.2']);
  reverse.close();
});

names('asks for few at a time, and not for what nobody looks at any more', async () => {
  const slow = new SlowNames();
  const reverse = new ReverseNames({ resolve: slow.resolve });
  const addresses = Array.from({ length: 20 }, (_, index) => `192.0.2.${index}`);
  reverse.lookUp(addresses);
  assert.is(slow.asked.length, 8);
  reverse.lookUp(['198.51.100.1']);
  for (const address of addresses.slice(0, 8)) await slow.answer(address);
  assert.equal(slow.asked.slice(8), ['198.51.100.1']);
  reverse.close();
});

names('prefixes have none', () => {
  const slow = new SlowNames();
  const reverse = new ReverseNames({ resolve: slow.resolve });
  reverse.lookUp(['192.0.2.0/24']);
  assert.equal(slow.asked, []);
  reverse.close();
});

names(
  'the hosts file comes first, is asked nobody for, and knows an address in any writing',
  () => {
    const slow = new SlowNames();
    const hosts = [
      '# comment',
      '192.0.2.1\tone.example alias',
      '2001:0DB8::0:1 six.example # comment',
      '192.0.2.1 second.example',
      'fe80::1%eth0 scoped.example',
      '192.0.2.2',
      'nonsense line',
    ].join('\n');
    const reverse = new ReverseNames({ resolve: slow.resolve, hosts });
    reverse.lookUp(['192.0.2.1', '2001:db8::1', '192.0.2.2', 'AS64500', 'unknown']);
    assert.equal(slow.asked, ['192.0.2.2']);
    assert.is(reverse.get('192.0.2.1'), 'one.example');
    assert.is(reverse.get('2001:db8::1'), 'six.example');
    reverse.close();
  },
);

names('to settle waits for the last answer, for a limit, or for a signal', async () => {
  const slow = new SlowNames();
  const reverse = new ReverseNames({ resolve: slow.resolve, hosts: '' });
  await reverse.settle(60_000);
  reverse.lookUp(['192.0.2.1', '192.0.2.2']);
  let settled = false;
  const settling = reverse.settle(60_000).then(() => {
    settled = true;
  });
  await slow.answer('192.0.2.1', 'one.example');
  assert.not(settled);
  await slow.answer('192.0.2.2');
  await settling;
  reverse.lookUp(['192.0.2.3']);
  await reverse.settle(10);
  const ending = new AbortController();
  const aborted = reverse.settle(60_000, ending.signal);
  ending.abort();
  await aborted;
  await reverse.settle(60_000, ending.signal);
  reverse.close();
});

names.run();
