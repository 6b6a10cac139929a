/** Traffic at full speed on two CPUs, tables that overflow, and counters at their limits. */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { attach } from '../../src/api.js';
import { Attachment } from '../../src/attachment/attachment.js';
import { countPossibleCpus } from '../../src/host/kernel.js';
import { resolveNetns } from '../../src/host/netns.js';
import { udpFrame } from '../../src/model/frames.js';
import type { Reader, SourceRecord } from '../../src/model/records.js';
import { SOURCE_VALUE } from '../../src/objects/layout.js';
import { dump } from '../../src/verbs/dump.js';
import { watch } from '../../src/verbs/watch.js';
import { tried } from '../reliability.js';
import { suite } from '../suite.js';
import { compileProgram, compileTool } from './compiler.js';
import { READERS } from './iterators.js';
import { Lab, recordsIn, WHY_NOT } from './lab.js';

const PROMISE = 'Every packet is counted once, and no count is lost without being told';

const PACKETS = 2_000_000;
const SENDERS = Math.min(2, cpus().length);
const EACH = PACKETS / SENDERS;
const LENGTH = 64;
/** The offset of the low 32 bits of the source in an IPv4 and in an IPv6 header. */
const SOURCE_OFFSET = { ipv4: 26, ipv6: 34 } as const;
/** Addresses in 198.18.0.0/15 (RFC 2544); more sources than that are IPv6. */
const MOST_IPV4_SOURCES = 131_072;
/** A veth counts the packets that it drops because its ring is full. Then the test is not valid, and sends again. */
const TRIES = 5;

let lab: Lab;
let tool: string;
let object: string;

const counts = suite(PROMISE, WHY_NOT);

counts.before(async () => {
  lab = await Lab.create();
  tool = await compileTool(lab, 'flood/flood');
  object = await compileProgram(lab, 'flood/flood');
  // A queue for each CPU, so that no two senders share a ring.
  const queues = ['numrxqueues', String(SENDERS), 'numtxqueues', String(SENDERS)];
  const ends = ['name', 'wide0', 'netns', lab.sender, ...queues, 'type', 'veth'];
  const peer = ['peer', 'name', 'wide1', 'netns', lab.netns, ...queues];
  await execa('ip', ['link', 'add', ...ends, ...peer]);
  for (const [netns, name] of [
    [lab.sender, 'wide0'],
    [lab.netns, 'wide1'],
  ] as const) {
    await lab.ip(netns, ['link', 'set', 'dev', name, 'arp', 'off', 'addrgenmode', 'none', 'up']);
  }
});
counts.after(() => lab.close());

function familyOf(sources: number): 'ipv4' | 'ipv6' {
  return sources <= MOST_IPV4_SOURCES ? 'ipv4' : 'ipv6';
}

/** Sends EACH packets on each CPU, from the same sources, in turn. */
async function flood(sources: number, ifindex: number, each = EACH): Promise<void> {
  const frame = `${lab.scratch}/flood-frame`;
  const family = familyOf(sources);
  const source = family === 'ipv4' ? '198.18.0.0' : '2001:db8::';
  writeFileSync(frame, udpFrame({ source, length: LENGTH }));
  const offset = SOURCE_OFFSET[family];
  const words = [tool, object, frame, ifindex, offset, sources, 0, each].map(String);
  const enter = [`--net=${resolveNetns(lab.sender).path}`, '--'];
  const senders = Array.from({ length: SENDERS }, (_, cpu) =>
    execa('nsenter', [...enter, 'taskset', '-c', String(cpu), ...words]),
  );
  for (const { stdout } of await Promise.all(senders)) assert.is(stdout, String(each));
}

/** The packets that the veth has dropped. */
async function dropped(): Promise<number> {
  const text = await lab.ip(lab.netns, ['-s', '-s', '-j', 'link', 'show', 'dev', 'wide1']);
  const [link]: { stats64?: { rx?: { dropped?: number; over_errors?: number } } }[] =
    JSON.parse(text);
  const sent = await lab.ip(lab.sender, ['-s', '-j', 'link', 'show', 'dev', 'wide0']);
  const [other]: { stats64?: { tx?: { dropped?: number } } }[] = JSON.parse(sent);
  return (link?.stats64?.rx?.dropped ?? 0) + (other?.stats64?.tx?.dropped ?? 0);
}

for (const sources of [1, 1000, 60_000, 300_000]) {
  counts(
    `${PACKETS} packets of ${sources} sources at full speed on two CPUs are all counted`,
    async () => {
      const ifindex = await lab.ifindex('wide0');
      let tries = 0;
      for (;;) {
        tries++;
        const attachment = await attach({
          session: lab.context,
          interface: 'wide1',
          netns: lab.netns,
          bpffs: lab.bpffs,
          mode: 'native',
          maxSources: 65_536,
        });
        try {
          const before = await dropped();
          await flood(sources, ifindex);
          if ((await dropped()) > before && tries < TRIES) continue;
          const all = { top: 0, sort: 'packets' } as const;
          const result = await dump(lab.context, attachment, all);
          assert.is(result.totals.packets, BigInt(PACKETS));
          assert.is(result.totals[familyOf(sources)], BigInt(PACKETS));
          assert.is(result.totals.bytes, BigInt(PACKETS * LENGTH));
          const sum = [...result.sources].reduce((total, each) => total + each.packets, 0n);
          assert.is(sum + result.totals.untracked, BigInt(PACKETS));
          if (sources <= 60_000) {
            assert.is(result.totals.untracked, 0n);
            assert.is(result.sources.length, sources);
            const least = BigInt(Math.floor(EACH / sources) * SENDERS);
            const most = BigInt(Math.ceil(EACH / sources) * SENDERS);
            for (const { source, packets, bytes } of result.sources) {
              assert.ok(packets >= least && packets <= most, `${source} ${packets}`);
              assert.is(bytes, packets * BigInt(LENGTH));
            }
          } else {
            assert.ok(result.totals.untracked > 0n && result.sources.length <= 65_536);
          }
          // No packets come now, so both readers see the same table.
          const other = await dump(lab.context, readBy(attachment, 'dump'), all);
          assert.equal(other.totals, result.totals);
          assert.equal(countsOf(other), countsOf(result));
          break;
        } finally {
          await attachment[Symbol.asyncDispose]();
        }
      }
      tried(PROMISE, {
        what: `${PACKETS.toLocaleString('en')} packets at full speed on ${SENDERS} CPUs, number of sources ${sources.toLocaleString('en')}, table of 65,536`,
        times: 1,
        result:
          sources <= 60_000
            ? 'totals and every source exact, untracked 0; both readers the same'
            : 'totals exact, and the sources with `untracked` add up to them; both readers the same',
      });
    },
  );
}

/** The same attachment with the other reader. */
function readBy(attachment: Attachment, reader: Reader): Attachment {
  const { pins, netns, state, programId, mode } = attachment;
  return new Attachment(lab, { pins, netns, state: { ...state, programId, mode, reader } });
}

function countsOf({ sources }: { sources: Iterable<SourceRecord> }): Map<string, string> {
  return new Map([...sources].map((each) => [each.source, `${each.packets} ${each.bytes}`]));
}

for (const reader of READERS) {
  counts(
    `a table that churns is read without a source twice, a rate below 0 or a crash: ${reader}`,
    async () => {
      const ifindex = await lab.ifindex('wide0');
      const ending = new AbortController();
      const events = watch(lab.context, {
        interfaces: ['wide1'],
        netns: lab.netns,
        bpffs: lab.bpffs,
        mode: 'native',
        reader,
        maxSources: 500,
        intervalMs: 20,
        top: 0,
        sort: 'packets',
        signal: ending.signal,
      });
      let traffic: Promise<void> | undefined;
      let readings = 0;
      let last = 0n;
      let untracked = 0n;
      for await (const event of events) {
        // 3,000 sources take turns in a table of 500.
        if (event.kind === 'attached') {
          traffic = flood(3000, ifindex, 1_500_000).finally(() => ending.abort());
        }
        if (event.kind !== 'readings') continue;
        for (const { sources, totals } of event.readings) {
          readings++;
          assert.is(new Set([...sources].map((each) => each.source)).size, sources.length);
          for (const each of [...sources, totals]) {
            assert.ok((each.packets_per_second ?? 0) >= 0 && (each.bytes_per_second ?? 0) >= 0);
          }
          assert.ok(totals.packets >= last && totals.untracked >= 0n);
          assert.is(totals.packets, totals.ipv4 + totals.ipv6 + totals.other + totals.malformed);
          const sum = [...sources].reduce((total, each) => total + each.packets, 0n);
          assert.ok(sum <= totals.ipv4, `${sum} of ${totals.ipv4}`);
          if (event.final) assert.is(sum + totals.untracked, totals.ipv4);
          last = totals.packets;
          untracked = totals.untracked;
        }
      }
      await traffic;
      assert.ok(
        readings > 2 && last > 0n && untracked > 0n,
        `${readings} readings, ${last} packets`,
      );
      tried(PROMISE, {
        what: `reading by ${reader} while 3,000 sources churn in a table of 500, at full speed`,
        times: readings,
        result: `${last.toLocaleString('en')} packets; no source twice, no figure negative, the last reading exact`,
      });
    },
  );
}

counts(
  'a counter near 2^53, near 2^64 and written by hand is printed with every digit',
  async () => {
    const possible = BigInt(countPossibleCpus());
    const values = [2n ** 53n - 1n, 2n ** 53n + 1n, 2n ** 63n - 1n, (2n ** 64n - 1n) / possible];
    for (const reader of READERS) {
      const attached = await lab.run(['attach', 'eth0', '--reader', reader]);
      assert.is(attached.exitCode, 0, attached.stderr);
      const directory = `${lab.bpffs}/xdpwho/${lab.pins()[0]}`;
      const expected: Record<string, string> = {};
      for (const [index, value] of values.entries()) {
        const key = [...new Array<number>(10).fill(0), 0xff, 0xff, 192, 0, 2, index];
        const bytes = new Uint8Array(SOURCE_VALUE.size);
        const view = new DataView(bytes.buffer);
        view.setBigUint64(
          SOURCE_VALUE.packets,
          value,
          new Uint8Array(Uint16Array.of(1).buffer)[0] === 1,
        );
        const hex = (each: Iterable<number>) => [...each].map((byte) => `0x${byte.toString(16)}`);
        const words = ['key', ...hex(key), 'value', ...hex(bytes)];
        await execa(lab.bpftool.path, [
          'map',
          'update',
          'pinned',
          `${directory}/maps/sources`,
          ...words,
        ]);
        // bpftool sets the same value on each CPU, and the sum wraps at 64 bits.
        expected[`192.0.2.${index}`] = String(
          reader === 'dump' ? value * possible : BigInt.asUintN(64, value * possible),
        );
      }
      for (const output of ['ndjson', 'json', 'table', 'prometheus']) {
        const { exitCode, stdout, stderr } = await lab.run(['dump', 'eth0', '-o', output]);
        assert.is(exitCode, 0, stderr);
        if (output === 'table' || output === 'prometheus') continue;
        for (const [source, digits] of Object.entries(expected)) {
          assert.match(
            stdout,
            new RegExp(`"source": ?"${source}",\\s*"packets": ?${digits},`),
            output,
          );
        }
      }
      const watched = await lab.run([
        'watch',
        'eth0',
        '--count',
        '2',
        '--interval',
        '100ms',
        '-o',
        'ndjson',
      ]);
      assert.is(watched.exitCode, 0, watched.stderr);
      for (const record of recordsIn(watched.stdout)) {
        const rate = record.packets_per_second;
        assert.ok(
          rate === undefined || (typeof rate === 'number' && rate >= 0),
          JSON.stringify(record),
        );
      }
      assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
    }
    tried(PROMISE, {
      what: 'counters of 2^53 - 1, 2^53 + 1, 2^63 - 1 and nearly 2^64, written by `bpftool map update`, both readers',
      times: values.length * 2,
      result: 'every digit in ndjson and json; no rate negative',
    });
  },
);

counts.run();
