/** Bytes that lie: whatever is read, a parser gives what is there or one of our errors, and nothing else. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import ndjson from 'ndjson';
import * as assert from 'uvu/assert';
import { Attachment } from '../src/attachment/attachment.js';
import { initialState } from '../src/attachment/defaults.js';
import { parsePinName, pinName, pinsIn } from '../src/attachment/pin-paths.js';
import { readState } from '../src/attachment/record.js';
import {
  parseChoice,
  parseCount,
  parseDuration,
  parseFileMode,
  parseFormat,
  parseInterval,
} from '../src/cli/option-values.js';
import { Bpftool } from '../src/host/bpftool.js';
import { parseProcNetDev } from '../src/host/interfaces.js';
import { countListMembers, parseMounts } from '../src/host/kernel.js';
import { ownNetns } from '../src/host/netns.js';
import { addressKey, formatAddress } from '../src/model/address.js';
import { hasErrorCode, XdpwhoError } from '../src/model/errors.js';
import { groupOf, PrefixGrouping, parseGrouping } from '../src/model/grouping.js';
import { parseToolJson } from '../src/model/json-values.js';
import { contains, parsePrefix } from '../src/model/prefix.js';
import { patchObject } from '../src/objects/patch.js';
import {
  decodeSourceEntry,
  decodeTotals,
  parseSourceLines,
  parseTotalsLine,
} from '../src/table/decode.js';
import { EntrySplitter } from '../src/table/map-dump.js';
import { SourceReader } from '../src/table/source-reader.js';
import { renderDocument, stringifyRecord } from '../src/text/json.js';
import { printable } from '../src/text/text.js';
import { tried } from './reliability.js';
import { suite } from './suite.js';

const PROMISE = 'Whatever is read is understood or refused, never guessed';

const INPUTS = 20_000;
/** For those that take a file or a process each. */
const FEW_INPUTS = 300;

const fuzz = suite(PROMISE);

/** Its value, or undefined where it refuses with one of our errors. Anything else is thrown on. */
function orRefused<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof XdpwhoError) return undefined;
    throw error;
  }
}

/** Runs a property, and notes how many inputs it held for. */
function holds<T>(
  what: string,
  inputs: fc.Arbitrary<T>,
  property: (input: T) => void,
  runs = INPUTS,
) {
  fc.assert(
    fc.property(inputs, (input) => {
      property(input);
    }),
    { numRuns: runs },
  );
  tried(PROMISE, { what, times: runs, result: 'understood, or refused with an error of ours' });
}

/** A text with some of it cut out, doubled, or replaced by other bytes. */
function damaged(text: string): fc.Arbitrary<string> {
  const place = fc.nat({ max: text.length });
  return fc
    .array(fc.tuple(place, fc.nat({ max: 8 }), fc.string({ maxLength: 4 })), {
      minLength: 1,
      maxLength: 4,
    })
    .map((changes) =>
      changes.reduce((now, [at, cut, put]) => now.slice(0, at) + put + now.slice(at + cut), text),
    );
}

const anyText = fc.string({ unit: 'binary', maxLength: 200 });

const SOURCE_LINES =
  '{"type":"source","interface":"eth0","source":"192.0.2.7","packets":10,"bytes":1420,"idle_ms":312}\n' +
  '{"type":"source","interface":"a\\"b","source":"2001:db8::7","packets":18446744073709551615,"bytes":0,"idle_ms":0}\n';
const TOTALS =
  '{"type":"totals","interface":"eth0","packets":4,"bytes":5,"ipv4":1,"ipv6":1,"other":1,"malformed":1}\n';

fuzz("lines of the iterators' files: cut, doubled, damaged, or none at all", () => {
  const asLines = (text: string) => (text === '' || text.endsWith('\n') ? text : `${text}\n`);
  const lines = fc.oneof(damaged(SOURCE_LINES), anyText).map(asLines);
  holds('lines of the `sources` file', lines, (text) => {
    const records = orRefused(() => parseSourceLines(text, 'eth0'));
    if (records === undefined) return;
    // What was understood is what is there.
    assert.is(records.length, text.split('\n').length - 1);
    for (const record of records)
      assert.ok(text.includes(`"packets":${String(record.packets)}`) || /"packets":0\d/.test(text));
  });
  holds('the line of the `totals` file', fc.oneof(damaged(TOTALS), anyText), (text) => {
    orRefused(() => parseTotalsLine(text));
  });
});

const hexByte = fc.nat({ max: 255 }).map((byte) => `0x${byte.toString(16).padStart(2, '0')}`);
const hexBytes = (length: number) => fc.array(hexByte, { minLength: length, maxLength: length });
const perCpu = (size: number) =>
  fc.array(fc.record({ cpu: fc.nat(), value: hexBytes(size) }), { maxLength: 4 });
const odd = fc.oneof(fc.jsonValue(), fc.constant(undefined), hexBytes(16), perCpu(24));

fuzz('entries of `map dump`: of other shapes, with errors, with other numbers of CPUs', () => {
  const entries = fc.oneof(
    fc.record({ key: hexBytes(16), values: perCpu(24) }),
    fc.record({ key: hexBytes(16), value: fc.record({ error: fc.string() }) }),
    fc.record({ key: odd, values: odd, value: odd }, { requiredKeys: [] }),
    fc.jsonValue(),
  );
  holds('entries of the table of sources', entries, (entry) => {
    const decoded = orRefused(() => decodeSourceEntry(entry, endianness() === 'LE'));
    if (decoded === undefined) return;
    assert.is(decoded.key.length, 16);
    assert.ok(decoded.packets >= 0n && decoded.bytes >= 0n);
  });
  holds(
    'entries of the totals',
    fc.array(fc.oneof(entries, fc.record({ key: odd, values: perCpu(40) })), { maxLength: 3 }),
    (list) => {
      orRefused(() => decodeTotals(list, true));
    },
  );
});

fuzz('a dump cut into pieces anywhere is the same entries', async () => {
  const entry = fc.record({
    key: hexBytes(2),
    values: fc.array(fc.record({ cpu: fc.nat(9), value: hexBytes(2) })),
  });
  const property = fc.asyncProperty(
    fc.array(entry, { maxLength: 6 }),
    fc.array(fc.nat({ max: 40 }), { minLength: 1 }),
    async (entries, sizes) => {
      const text = JSON.stringify(entries);
      const pieces: string[] = [];
      for (let at = 0, index = 0; at < text.length; index++) {
        const size = (sizes[index % sizes.length] ?? 0) + 1;
        pieces.push(text.slice(at, at + size));
        at += size;
      }
      const found: unknown[] = [];
      const parsed = Readable.from(pieces).pipe(new EntrySplitter()).pipe(ndjson.parse());
      for await (const each of parsed) found.push(each);
      assert.is(JSON.stringify(found), text);
    },
  );
  const runs = INPUTS / 10;
  await fc.assert(property, { numRuns: runs });
  tried(PROMISE, { what: 'a dump that comes in pieces', times: runs, result: 'the same entries' });
});

fuzz('addresses, prefixes and groups: each is what it was made of', () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6());
  holds('addresses as keys and back', fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
    const text = formatAddress(String.fromCharCode(...bytes));
    assert.equal([...addressKey(text)], [...bytes]);
    // RFC 5952, by the URL standard's own serializer.
    if (text.includes(':')) assert.is(new URL(`http://[${text}]/`).hostname, `[${text}]`);
  });
  holds(
    'prefixes and what lies in them',
    fc.tuple(address, fc.nat({ max: 128 })),
    ([text, bits]) => {
      const prefix = orRefused(() => parsePrefix(`${text}/${bits}`));
      if (prefix === undefined) {
        assert.ok(!text.includes(':') && bits > 32);
        return;
      }
      const own = formatAddress(String.fromCharCode(...addressKey(text)));
      if (own.includes(':') === text.includes(':')) assert.ok(contains(prefix, own));
    },
  );
  holds('prefixes, any text', anyText, (text) => {
    orRefused(() => parsePrefix(text));
    orRefused(() => parseGrouping(text));
  });
  holds(
    'groups',
    fc.tuple(address, fc.nat({ max: 32 }), fc.nat({ max: 128 })),
    ([text, ipv4, ipv6]) => {
      const group = groupOf(text, new PrefixGrouping(ipv4, ipv6));
      const prefix = parsePrefix(group);
      if ((prefix.family === 6) === text.includes(':'))
        assert.ok(contains(prefix, text), `${text} ${group}`);
    },
  );
});

fuzz('options: any text is a value within its limits, or refused', () => {
  const looksRight = fc
    .tuple(fc.double({ noNaN: true }), fc.constantFrom('', 'ms', 's', 'm', 'h', 'd'))
    .map(([value, unit]) => `${value}${unit}`);
  holds('values of options', fc.oneof(anyText, looksRight, fc.integer().map(String)), (text) => {
    const durationMs = orRefused(() => parseDuration('--duration', text));
    assert.ok(
      durationMs === undefined ||
        (Number.isInteger(durationMs) && durationMs >= 1 && durationMs < 2 ** 31),
    );
    const intervalMs = orRefused(() => parseInterval('--interval', text));
    assert.ok(intervalMs === undefined || intervalMs >= 100);
    const count = orRefused(() => parseCount('--count', text, 1000));
    assert.ok(count === undefined || (count >= 1 && count <= 1000));
    const mode = orRefused(() => parseFileMode('--file-mode', text));
    assert.ok(mode === undefined || (mode & ~0o444) === 0);
    orRefused(() => parseChoice('--mode', text, ['a', 'b']));
    orRefused(() => parseFormat('--output', [text, 'a'], ['a', 'b']));
  });
});

fuzz('names of interfaces as names of pins, and back', () => {
  const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 15 });
  const inode = fc.option(fc.nat(), { nil: null });
  holds('names of pins of any interface', fc.tuple(name, inode), ([interfaceName, netnsInode]) => {
    const pin = pinName(interfaceName, netnsInode);
    assert.match(pin, /^[\w%@-]+$/);
    const direction = 'received';
    assert.equal(parsePinName(pin), { interface: interfaceName, netnsInode, direction });
  });
  holds('names of pins, any text', anyText, (text) => {
    const parsed = parsePinName(text);
    if (parsed !== undefined) assert.not.match(text, /[/.]/);
  });
});

fuzz('files of the kernel: mounts, interfaces, lists of CPUs', () => {
  const octal = (path: string) =>
    path.replace(/[ \t\n\\#]/g, (each) => `\\${each.charCodeAt(0).toString(8).padStart(3, '0')}`);
  const path = fc.string({ maxLength: 20 }).map((rest) => `/${rest}`);
  holds('/proc/self/mounts', fc.array(fc.tuple(path, fc.constantFrom('bpf', 'ext4'))), (mounts) => {
    const text = mounts.map(([at, type]) => `none ${octal(at)} ${type} rw 0 0\n`).join('');
    const expected = mounts.filter(([, type]) => type === 'bpf').map(([at]) => at);
    assert.equal(parseMounts(text, 'bpf'), expected);
  });
  holds('those files, any text', anyText, (text) => {
    parseMounts(text, 'bpf');
    parseProcNetDev(text);
    countListMembers(text);
  });
});

fuzz('JSON and text for a terminal: nothing raw, and nothing lost', () => {
  holds('strings in JSON', anyText, (text) => {
    const line = stringifyRecord({ type: 'error', code: 'failed', message: text, hint: null });
    assert.not.match(line, /\p{Cc}/u);
    assert.equal(JSON.parse(line).message, text);
    assert.equal(JSON.parse(renderDocument({ text })).text, text);
    assert.not.match(printable(text), /[\p{Cc}\p{Cf}\u2028\u2029]/u);
  });
  // tools/bpf/bpftool/json_writer.c and iproute2's: quotes and backslashes escaped, the rest as it is.
  const name = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 15 })
    .filter((each) => !/[\s/:\ud800-\udfff]/u.test(each));
  holds('names in the JSON of tools', name, (text) => {
    const written = text.replace(/["\\']/g, (character) => `\\${character}`);
    assert.equal(parseToolJson(`[{"devname":"${written}"}]\n`), [{ devname: text }]);
  });
});

const OBJECT = new Uint8Array(
  readFileSync(fileURLToPath(new URL('../dist/bpf/el/xdpwho.frags.o', import.meta.url))),
);
const PATCH = { maxEntries: { sources: 1234 } };

fuzz('object files: cut at every byte, and with bytes changed anywhere', () => {
  for (let length = 0; length < OBJECT.length; length++) {
    orRefused(() => patchObject(OBJECT.subarray(0, length), PATCH));
  }
  tried(PROMISE, {
    what: 'an object file cut short at every byte',
    times: OBJECT.length,
    result: 'understood, or refused with an error of ours',
  });
  const at = fc.nat({ max: OBJECT.length - 1 });
  // Headers and tables are few of the bytes: most changes go there.
  const header = fc.nat({ max: 63 });
  const tables = Number(new DataView(OBJECT.buffer).getBigUint64(40, true));
  const table = fc.integer({ min: tables, max: OBJECT.length - 1 });
  const changes = fc.array(fc.tuple(fc.oneof(at, header, table), fc.nat({ max: 255 })), {
    minLength: 1,
    maxLength: 6,
  });
  const runs = INPUTS / 4;
  holds(
    'object files with bytes changed',
    changes,
    (list) => {
      const image = Uint8Array.from(OBJECT);
      for (const [offset, byte] of list) image[offset] = byte;
      const patched = orRefused(() => patchObject(image, PATCH));
      assert.ok(patched === undefined || patched.length === image.length);
    },
    runs,
  );
});

fuzz("what bpftool prints: another tool's words, cut JSON, other shapes", async () => {
  const directory = mkdtempSync('/tmp/xdpwho-fuzz-');
  try {
    const output = `${directory}/output`;
    const path = `${directory}/bpftool`;
    writeFileSync(path, `#!/bin/sh\ncat ${output}\n`, { mode: 0o755 });
    const bpftool = new Bpftool({ path });
    const net = '[{"xdp":[{"devname":"eth0","ifindex":2,"mode":"driver","id":7}],"tc":[]}]';
    const texts = fc.oneof(
      damaged(net),
      fc.json(),
      anyText,
      fc.constantFrom(
        '',
        'null',
        '[]',
        '{}',
        '{"error":"x"}',
        '{"error":"x"}{"error":"y"}',
        '[{"xdp":null}]',
      ),
    );
    const calls = [
      () => bpftool.showNet(undefined),
      () => bpftool.showProgram('/x'),
      () => bpftool.showMap('/x'),
      () => bpftool.dumpMap('/x'),
      () => bpftool.version(),
    ];
    const property = fc.asyncProperty(
      texts,
      fc.nat({ max: calls.length - 1 }),
      async (text, which) => {
        writeFileSync(output, text);
        try {
          await calls[which]?.();
        } catch (error) {
          if (!(error instanceof XdpwhoError)) throw error;
        }
      },
    );
    await fc.assert(property, { numRuns: FEW_INPUTS });
  } finally {
    rmSync(directory, { recursive: true });
  }
  tried(PROMISE, {
    what: '`net show`, `prog show`, `map show`, `map dump`, `version` of a bpftool that prints anything',
    times: FEW_INPUTS,
    result: 'understood, or refused with an error of ours',
  });
});

fuzz('the record of an attachment: a link to anything', () => {
  const directory = mkdtempSync('/tmp/xdpwho-fuzz-');
  const record = JSON.stringify({
    ...{ version: 1, token: 't', interface: 'eth0', netns: null, netnsInode: 1, mode: null },
    ...{ programId: null, reader: null, readerNote: null, maxSources: 1, modeAsked: 'auto' },
    ...{ readerAsked: 'auto', fileMode: 256, since: '2026-01-01T00:00:00.000Z', holder: null },
    ...{ log: null },
  });
  let made = 0;
  try {
    const texts = fc.oneof(damaged(record), fc.json(), fc.string({ minLength: 1 }));
    holds(
      'the record of an attachment',
      texts,
      (text) => {
        const target = Buffer.from(text.replaceAll('\0', '') || 'x').subarray(0, 4000);
        const own = `${directory}/${made++}`;
        mkdirSync(own);
        symlinkSync(target, `${own}/state`);
        orRefused(() => readState(pinsIn(own)));
      },
      FEW_INPUTS * 5,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});

/** Half a gigabyte, in which the same entries come round again and again. */
const LONG_DUMP_BYTES = 500_000_000;
/** What a process takes for garbage differs between releases of Node: it has taken it after this. */
const FIRST_DUMP_BYTES = 100_000_000;
const GROWTH_LIMIT_BYTES = 100_000_000;

fuzz('half a gigabyte of `map dump`, cut off in an entry: refused, in bounded memory', async () => {
  const directory = mkdtempSync('/tmp/xdpwho-fuzz-');
  try {
    const bytes = (count: number, first: number) =>
      Array.from(
        { length: count },
        (_, at) => `0x${((at + first) & 255).toString(16).padStart(2, '0')}`,
      );
    const values = [0, 1].map((cpu) => ({ cpu, value: bytes(24, cpu) }));
    const entries = Array.from({ length: 200 }, (_, first) => ({ key: bytes(16, first), values }));
    writeFileSync(`${directory}/block`, `${JSON.stringify(entries).slice(1, -1)},`);
    const path = `${directory}/bpftool`;
    const dump = `printf '['; yes "$(cat ${directory}/block)" | tr -d '\\n' | head -c "$(cat ${directory}/length)"`;
    const answers = `*"prog run"*) echo '{"retval":1,"duration":1}' ;; *) echo null ;;`;
    writeFileSync(path, `#!/bin/sh\ncase "$*" in *"map dump"*) ${dump} ;; ${answers} esac\n`, {
      mode: 0o755,
    });
    const bpftool = new Bpftool({ path });
    // A reader tells a map whose pin has gone from one that bpftool could not read.
    const pins = pinsIn(directory);
    mkdirSync(pins.mapsDirectory);
    writeFileSync(`${pins.mapsDirectory}/sources`, '');
    const state = initialState({ device: 'eth0', netns: ownNetns() }, {});
    const attachment = new Attachment(
      { bpftool },
      {
        pins,
        netns: ownNetns(),
        state: { ...state, programId: 1, mode: 'native', reader: 'dump' },
      },
    );
    const objectsDirectory = fileURLToPath(new URL('../dist/bpf', import.meta.url));
    const reader = new SourceReader({ bpftool, objectsDirectory }, attachment);
    const residentAfter = async (length: number) => {
      writeFileSync(`${directory}/length`, String(length));
      let sources = 0;
      let refusal: unknown;
      try {
        for await (const batch of reader.sources()) sources += batch.length;
      } catch (error) {
        refusal = error;
      }
      assert.ok(hasErrorCode(refusal, 'bad-output'), String(refusal));
      assert.is(sources, entries.length, 'each source once');
      return process.memoryUsage().rss;
    };
    const first = await residentAfter(FIRST_DUMP_BYTES);
    const resident = await residentAfter(LONG_DUMP_BYTES);
    assert.ok(resident - first < GROWTH_LIMIT_BYTES, `${first} bytes, then ${resident}`);
    tried(PROMISE, {
      what: `a \`map dump\` of ${LONG_DUMP_BYTES / 1e6} MB with the same 200 entries again and again, cut off in one`,
      times: 1,
      result: `each source once, then refused; ${Math.round(resident / 2 ** 20)} MiB resident`,
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

fuzz.run();
