import * as assert from 'uvu/assert';
import {
  MAX_SOURCES_LIMIT,
  parseChoice,
  parseCount,
  parseDuration,
  parseFileMode,
  parseFormat,
  parseInterval,
  parseListen,
  parseMaxSources,
  parseSize,
} from '../../src/cli/option-values.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { suite } from '../suite.js';

/** Asserts that `parse` refuses with a usage error of exactly this message. */
function refuses(parse: () => unknown, message: string): void {
  try {
    parse();
  } catch (error) {
    assert.ok(error instanceof XdpwhoError, String(error));
    assert.is(error.code, 'usage');
    assert.is(error.message, message);
    return;
  }
  assert.unreachable(`taken, where this was expected: ${message}`);
}

const durations = suite('parseDuration');

durations('takes every unit, and plain numbers as seconds', () => {
  const parsed = ['500ms', '10s', '2m', '1h', '3', '0.5', '.25s', '1.5m', '576h'].map((text) =>
    parseDuration('--duration', text),
  );
  assert.equal(parsed, [500, 10_000, 120_000, 3_600_000, 3000, 500, 250, 90_000, 2_073_600_000]);
});

durations('refuses what is no duration', () => {
  for (const text of ['abc', '-1', '1d', '1 s', '1s2', 's', '.', '1e3', 'NaN', '0x10', '10S']) {
    refuses(
      () => parseDuration('--duration', text),
      `--duration ${text}: not a duration like 500ms, 10s, 2m or 1h`,
    );
  }
  refuses(
    () => parseDuration('--duration', ''),
    '--duration "": not a duration like 500ms, 10s, 2m or 1h',
  );
});

durations('refuses nothing at all and what no timer holds', () => {
  for (const text of ['0', '0s', '0.0001ms']) {
    refuses(() => parseDuration('--duration', text), `--duration ${text}: must be more than 0`);
  }
  for (const text of ['577h', '4000000000', '99999999999999999999h']) {
    refuses(
      () => parseDuration('--duration', text),
      `--duration ${text}: must be at most 24 days (576h)`,
    );
  }
});

durations('cuts a long text in its message', () => {
  refuses(
    () => parseDuration('--duration', 'x'.repeat(5000)),
    `--duration ${'x'.repeat(40)}...: not a duration like 500ms, 10s, 2m or 1h`,
  );
});

durations.run();

const intervals = suite('parseInterval');

intervals('takes 100 ms and more', () => {
  assert.is(parseInterval('--interval', '100ms'), 100);
  assert.is(parseInterval('--interval', '1'), 1000);
});

intervals('refuses less, zero and negative ones', () => {
  refuses(() => parseInterval('--interval', '99ms'), '--interval 99ms: must be at least 100ms');
  refuses(() => parseInterval('--interval', '0'), '--interval 0: must be more than 0');
  refuses(
    () => parseInterval('--interval', '-5'),
    '--interval -5: not a duration like 500ms, 10s, 2m or 1h',
  );
});

intervals.run();

const counts = suite('parseCount');

counts('takes whole numbers from 1 on', () => {
  assert.equal(
    ['1', '65536', '+7', '007'].map((text) => parseCount('--count', text)),
    [1, 65_536, 7, 7],
  );
});

counts('refuses everything else', () => {
  for (const text of ['abc', '1.5', '1e3', '0x10', '1_000', '1,000', ' 1', 'Infinity']) {
    refuses(() => parseCount('--count', text), `--count ${text}: not a whole number`);
  }
  for (const text of ['0', '-1', '-0']) {
    refuses(() => parseCount('--count', text), `--count ${text}: must be at least 1`);
  }
  refuses(
    () => parseCount('--count', '9007199254740993'),
    '--count 9007199254740993: must be at most 9007199254740991',
  );
});

counts('holds --max-sources to its limit', () => {
  assert.is(parseMaxSources('--max-sources', String(MAX_SOURCES_LIMIT)), 4_000_000);
  for (const text of ['4000001', '4000000000']) {
    refuses(
      () => parseMaxSources('--max-sources', text),
      `--max-sources ${text}: must be at most 4000000`,
    );
  }
  refuses(() => parseMaxSources('--max-sources', '0'), '--max-sources 0: must be at least 1');
});

counts.run();

const words = suite('parseChoice, parseFormat');

words('takes one of the words, in its own case', () => {
  assert.is(parseChoice('--mode', 'native', ['auto', 'native', 'generic']), 'native');
  for (const text of ['Native', 'nat', '']) {
    refuses(
      () => parseChoice('--mode', text, ['auto', 'native', 'generic']),
      `--mode ${text === '' ? '""' : text}: must be auto, native or generic`,
    );
  }
});

words('takes a format twice, and refuses two', () => {
  assert.is(parseFormat('--output', [], ['table', 'json']), undefined);
  assert.is(parseFormat('--output', ['json'], ['table', 'json']), 'json');
  assert.is(parseFormat('--output', ['json', 'json'], ['table', 'json']), 'json');
  refuses(
    () => parseFormat('--output', ['json', 'table'], ['table', 'json']),
    '--output: json and table: one format at a time',
  );
  refuses(
    () => parseFormat('--output', ['json', 'xml'], ['table', 'json']),
    '--output xml: must be table or json',
  );
});

words.run();

const sizes = suite('parseSize');

sizes('takes every unit, as a power of 1024, and plain numbers as bytes', () => {
  const parsed = ['4096', '512K', '32M', '1g', '2MiB', '2mb'].map((text) =>
    parseSize('--buffer', text),
  );
  assert.equal(parsed, [4096, 512 * 1024, 32 * 1024 ** 2, 1024 ** 3, 2 * 1024 ** 2, 2 * 1024 ** 2]);
});

sizes('refuses what is no size, nothing, or too much', () => {
  for (const text of ['', 'M', '1.5M', '-1', '1T', '1 M', 'NaN']) {
    refuses(
      () => parseSize('--buffer', text),
      `--buffer ${text === '' ? '""' : text}: not a size like 512K or 32M`,
    );
  }
  refuses(() => parseSize('--buffer', '0'), '--buffer 0: must be more than 0');
  refuses(() => parseSize('--buffer', '65G'), '--buffer 65G: must be at most 64G');
});

sizes.run();

const listens = suite('parseListen');

listens('takes an address and a port', () => {
  assert.equal(
    ['127.0.0.1:9927', '0.0.0.0:1', '[::1]:65535'].map((text) => parseListen('--listen', text)),
    [
      { host: '127.0.0.1', port: 9927 },
      { host: '0.0.0.0', port: 1 },
      { host: '::1', port: 65_535 },
    ],
  );
});

listens('refuses what means one address to some and another, or all, to others', () => {
  const half = [':9927', '9927', '127.0.0.1', '127.0.0.1:', '*:9927', '0:9927', '127.1:9927'];
  const names = ['localhost:9927', 'eth0:9927', 'http://127.0.0.1:9927', '127.0.0.1:http'];
  const wrong = ['::1:9927', '[127.0.0.1]:9927', '[::1]', '127.0.0.1:9927 ', '127.0.0.1:-1'];
  for (const text of [...half, ...names, ...wrong]) {
    refuses(
      () => parseListen('--listen', text),
      `--listen ${text}: not an address and a port, such as 127.0.0.1:9927 or [::1]:9927`,
    );
  }
  for (const text of ['127.0.0.1:0', '[::]:65536']) {
    refuses(() => parseListen('--listen', text), `--listen ${text}: a port is from 1 to 65535`);
  }
});

listens.run();

const fileModes = suite('parseFileMode');

fileModes('takes permissions to read, for the owner at least', () => {
  assert.equal(
    ['0400', '400', '0440', '0444'].map((text) => parseFileMode('--file-mode', text)),
    [0o400, 0o400, 0o440, 0o444],
  );
});

fileModes('refuses permissions to write or execute, and what is not octal', () => {
  for (const text of ['0600', '0777', '0044', '0', 'r', '0498', '00400', '-400']) {
    refuses(
      () => parseFileMode('--file-mode', text),
      `--file-mode ${text}: permissions to read only, such as 0400 or 0444`,
    );
  }
});

fileModes.run();
