import { channel } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { connect } from 'node:net';
import * as assert from 'uvu/assert';
import { type Metrics, renderMetrics } from '../../src/metrics/prometheus.js';
import { type ServeOptions, serve } from '../../src/metrics/serve.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { suite } from '../suite.js';

const METRICS: Metrics = {
  ...{ interface: 'eth0', netns: null, mode: 'native', version: '1.2.3', maxSources: 1000 },
  sources: [],
  totals: {
    ...{ type: 'totals', interface: 'eth0', sources: 0, packets: 2n, bytes: 128n },
    ...{ ipv4: 0n, ipv6: 0n, other: 2n, malformed: 0n, untracked: 0n },
  },
  rest: { sources: 0, packets: 0n, bytes: 0n },
};

/** An address of the loopback that no other process of these tests has. */
const HOST = `127.${[16, 8, 0].map((bits) => (process.pid >> bits) & 255).join('.')}`;
const PORT = 9927;

const test = suite('serving metrics');

let ending: AbortController;
let failures: string[];
let served: Promise<void> | undefined;

test.before.each(() => {
  ending = new AbortController();
  failures = [];
});

test.after.each(async () => {
  ending.abort();
  await served;
});

async function start(read: ServeOptions['read'], readLimitMs?: number): Promise<void> {
  await new Promise<void>((onListening, reject) => {
    served = serve({
      ...{ listen: { host: HOST, port: PORT }, signal: ending.signal, read, readLimitMs },
      ...{ onListening, onFailure: (message) => failures.push(message) },
    });
    served.catch(reject);
  });
}

async function get(path: string, options: RequestInit = {}) {
  const response = await fetch(`http://${HOST}:${PORT}${path}`, options);
  const type = response.headers.get('content-type');
  return { status: response.status, type, text: await response.text() };
}

/** Rejects as `serve` does. */
async function refusal(read: ServeOptions['read']): Promise<XdpwhoError> {
  try {
    await start(read);
  } catch (error) {
    served = undefined;
    if (error instanceof XdpwhoError) return error;
    throw error;
  }
  throw new Error('it serves');
}

test('gives the text that a dump prints, or OpenMetrics to whoever accepts it', async () => {
  await start(async () => [METRICS]);
  assert.equal(await get('/metrics'), {
    status: 200,
    type: 'text/plain; version=0.0.4; charset=utf-8',
    text: `${renderMetrics([METRICS], 'prometheus').join('\n')}\n`,
  });
  const Accept = 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5';
  assert.equal(await get('/metrics?x', { headers: { Accept } }), {
    status: 200,
    type: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
    text: `${renderMetrics([METRICS], 'openmetrics').join('\n')}\n`,
  });
});

test('has nothing else, and takes nothing', async () => {
  await start(async () => [METRICS]);
  for (const path of ['/', '/metrics/', '/metricsx', '//metrics', '/../etc/passwd']) {
    assert.is((await get(path)).status, 404, path);
  }
  assert.is((await get('/metrics', { method: 'POST', body: 'x' })).status, 405);
  const { status, text } = await get('/metrics', { method: 'HEAD' });
  assert.equal([status, text], [200, '']);
});

test('reads once for all who ask meanwhile', async () => {
  let readings = 0;
  let finish = () => {};
  await start(async () => {
    if (++readings > 1) await new Promise<void>((done) => (finish = done));
    return [METRICS];
  });
  const asked = channel('http.server.request.start');
  let requests = 0;
  let allAreThere = () => {};
  const there = new Promise<void>((done) => (allAreThere = done));
  const count = () => (++requests === 5 ? allAreThere() : undefined);
  asked.subscribe(count);
  const answers = Promise.all([1, 2, 3, 4, 5].map(() => get('/metrics')));
  await there.finally(() => asked.unsubscribe(count));
  // It is told of just before the request is handled.
  await new Promise(setImmediate);
  finish();
  assert.equal(
    (await answers).map(({ status }) => status),
    [200, 200, 200, 200, 200],
  );
  assert.is(readings, 2);
});

test('says in one line what cannot be read, and reads again when it is asked again', async () => {
  let readings = 0;
  await start(async () => {
    if (++readings === 2) throw new XdpwhoError('not-attached', 'eth0: not attached\n\x1b[2J');
    return [METRICS];
  });
  const failed = await get('/metrics');
  assert.equal([failed.status, failed.type], [503, 'text/plain; charset=utf-8']);
  assert.match(failed.text, /^eth0: not attached; .*\n$/);
  assert.ok(!failed.text.includes('\x1b'));
  assert.equal(failures, [failed.text.trimEnd()]);
  assert.is((await get('/metrics')).status, 200);
});

test('gives a reading that does not end up, and the next one is another', async () => {
  let readings = 0;
  await start(async (signal) => {
    if (++readings === 2) await once(signal, 'abort');
    signal.throwIfAborted();
    return [METRICS];
  }, 50);
  const { status, text } = await get('/metrics');
  assert.equal([status, text], [503, 'not read within 0.05 s\n']);
  assert.is((await get('/metrics')).status, 200);
});

test('ends when it is told to, whoever is connected and whatever is read', async () => {
  let reading = () => {};
  const begun = new Promise<void>((done) => (reading = done));
  let readings = 0;
  await start(async (signal) => {
    if (++readings === 1) return [METRICS];
    reading();
    await once(signal, 'abort');
    signal.throwIfAborted();
    return [METRICS];
  });
  const idle = connect(PORT, HOST);
  await once(idle, 'connect');
  const asked = get('/metrics').catch(() => undefined);
  await begun;
  ending.abort();
  await Promise.all([served, asked, once(idle, 'close')]);
  assert.equal(failures, []);
});

test('does not begin where nothing can be read, or another has the port', async () => {
  const none = await refusal(() => Promise.reject(new XdpwhoError('not-attached', 'eth0: no')));
  assert.is(none.code, 'not-attached');
  await start(async () => [METRICS]);
  const first = served;
  const busy = await refusal(async () => [METRICS]);
  served = first;
  assert.match(busy.message, /EADDRINUSE/);
  assert.is(busy.hint, `ss -ltnp 'sport = :${PORT}'`);
});

test.run();
