import * as assert from 'uvu/assert';
import { nearNames } from '../../src/model/did-you-mean.js';
import { suite } from '../suite.js';

const near = suite('nearNames');

near('gives the names that a misspelt one may stand for, the nearest first', () => {
  const all = ['lo', 'eth0', 'eth1', 'wlan0', 'enp3s0', 'enp3s0f1np1'];
  assert.equal(nearNames('eht0', all), ['eth0']);
  assert.equal(nearNames('eth', all), ['eth0', 'eth1']);
  assert.equal(nearNames('enp3s0f1np', all), ['enp3s0f1np1', 'enp3s0']);
  assert.equal(nearNames('l0', all), ['lo']);
  assert.equal(nearNames('docker', all), []);
});

near('gives three at most, however many there are', () => {
  const all = Array.from({ length: 50 }, (_, index) => `eth${index}`);
  assert.is(nearNames('eth', all).length, 3);
});

near.run();
