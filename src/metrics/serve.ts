/**
 * Serves the counters over HTTP, for Prometheus. It reads only pinned files and records. If all
 * users may read those, it needs no rights and no bpftool.
 */
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { Attachment } from '../attachment/attachment.js';
import type { SessionContext } from '../attachment/context.js';
import { findBpffs } from '../attachment/find.js';
import { pinName, pinsAt } from '../attachment/pin-paths.js';
import { readState } from '../attachment/record.js';
import { netnsOf } from '../attachment/target.js';
import type { Listen } from '../cli/option-values.js';
import { listInterfaces, showXdpPrograms } from '../host/interfaces.js';
import type { Netns } from '../host/netns.js';
import { findTool } from '../host/tools.js';
import { messageOf, systemErrorCode, XdpwhoError } from '../model/errors.js';
import type { Grouping } from '../model/grouping.js';
import { printable } from '../text/text.js';
import { dump } from '../verbs/dump.js';
import { metricsOf } from './metrics.js';
import { type Metrics, renderMetrics } from './prometheus.js';

/** Reading a full table of 4,000,000 sources takes some 10 s. */
const READ_LIMIT_MS = 30_000;
/** How long a connection may last: one request and its answer. */
const CONNECTION_LIMIT_MS = 2 * READ_LIMIT_MS;
const MAX_CONNECTIONS = 32;

const CONTENT_TYPES = {
  text: 'text/plain; charset=utf-8',
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
} as const;

interface MetricsRequest {
  /** The names that the interfaces had when they were attached. */
  readonly interfaces: readonly string[];
  readonly netns?: string | undefined;
  readonly bpffs?: string | undefined;
  /** The most sources of each interface that are printed. */
  readonly top: number;
  readonly version: string;
  /** Sums, instead of single sources. */
  readonly group?: Grouping | undefined;
}

/** Reads all interfaces once. Rejects with `not-attached` if one of them is not attached. */
export async function readMetrics(
  context: SessionContext,
  { interfaces, netns: netnsName, bpffs, top, version, group }: MetricsRequest,
  signal: AbortSignal,
): Promise<Metrics[]> {
  const netns = netnsOf({ netns: netnsName });
  const all: Metrics[] = [];
  for (const name of interfaces) {
    const attachment = findPinned(context, name, netns, bpffs);
    // Only root can look into another namespace, so this is checked only in ours.
    if (netns.path === undefined) await refuseDetached(attachment, netns, name);
    const reading = await dump(context, attachment, { top, sort: 'packets', signal, group });
    all.push(metricsOf(attachment, reading, version, group));
  }
  return all;
}

/** The pins go on counting nothing when the program has been taken off, or the interface was made anew. */
async function refuseDetached(attachment: Attachment, netns: Netns, name: string): Promise<void> {
  if (!(await listInterfaces(netns)).includes(name)) {
    throw notAttached(name, 'the interface has gone');
  }
  if (findTool('ip') === undefined) return;
  const programs = await showXdpPrograms(netns, name);
  if (programs.some(({ programId }) => programId === attachment.programId)) return;
  throw notAttached(name, 'its program is not attached any more');
}

/** Finds the pins of an interface by its record. It does not check that the program is still attached, because only root can. */
function findPinned(
  { bpftool }: SessionContext,
  name: string,
  netns: Netns,
  bpffs: string | undefined,
): Attachment {
  for (const directory of findBpffs(bpffs)) {
    // Names of pins have no inode in the host's own namespace, and only root can tell whether ours is that.
    for (const inode of [netns.inode, null]) {
      const pins = pinsAt(directory, pinName(name, inode));
      const state = readState(pins);
      if (state?.netnsInode !== netns.inode) continue;
      const { programId, mode, reader } = state;
      if (programId === null || mode === null || reader === null) continue;
      return new Attachment(
        { bpftool },
        {
          pins,
          // As the other verbs call it: by the name that it was attached with.
          netns: { ...netns, name: state.netns ?? netns.name },
          state: { ...state, programId, mode, reader },
        },
      );
    }
  }
  throw notAttached(name, `nothing that this user can find in ${bpffs ?? 'any bpffs'}`);
}

function notAttached(name: string, why: string): XdpwhoError {
  const shown = printable(name);
  return new XdpwhoError('not-attached', `${shown}: not attached: ${why}`, {
    hint: `xdpwho attach ${shown} --bpffs /run/xdpwho --file-mode 0444`,
  });
}

export interface ServeOptions {
  readonly listen: Listen;
  readonly read: (signal: AbortSignal) => Promise<readonly Metrics[]>;
  readonly readLimitMs?: number | undefined;
  readonly onListening: () => void;
  /** Called with one line for each reading that fails. */
  readonly onFailure: (message: string) => void;
  /** Ends the server when it is aborted. */
  readonly signal: AbortSignal;
}

/** Answers requests until `signal` is aborted. Rejects at once if the first reading or listening fails. */
export async function serve(options: ServeOptions): Promise<void> {
  const { signal, onListening } = options;
  const read = oneAtATime(() => readWithin(options));
  await read();
  const server = createServer(async ({ url = '', method = '', headers }, response) => {
    if (url.split('?', 1)[0] !== '/metrics')
      return answer(response, 404, 'not found: see /metrics');
    if (method !== 'GET' && method !== 'HEAD') return answer(response, 405, 'only GET');
    const isOpen = headers.accept?.includes('application/openmetrics-text') === true;
    const format = isOpen ? 'openmetrics' : 'prometheus';
    try {
      answer(response, 200, renderMetrics(await read(), format).join('\n'), format);
    } catch (error) {
      const message = printable(messageOf(error));
      if (!signal.aborted) options.onFailure(message);
      answer(response, 503, message);
    }
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('connection', (socket) => {
    const limit = setTimeout(() => socket.destroy(), CONNECTION_LIMIT_MS);
    socket.once('close', () => clearTimeout(limit));
  });
  await startListening(server, options.listen);
  try {
    onListening();
    if (!signal.aborted) await once(signal, 'abort');
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

function answer(
  response: ServerResponse,
  status: number,
  text: string,
  type: keyof typeof CONTENT_TYPES = 'text',
): void {
  response.writeHead(status, { 'Content-Type': CONTENT_TYPES[type], Connection: 'close' });
  response.end(`${text}\n`);
}

/** Returns a function that reads, but never twice at a time: calls during a reading get its result. */
function oneAtATime<T>(read: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= read().finally(() => {
      running = undefined;
    });
    return running;
  };
}

async function readWithin({ read, readLimitMs = READ_LIMIT_MS, signal }: ServeOptions) {
  const ending = new AbortController();
  const limit = setTimeout(() => {
    ending.abort(new XdpwhoError('timeout', `not read within ${readLimitMs / 1000} s`));
  }, readLimitMs);
  const end = () => ending.abort(signal.reason);
  signal.addEventListener('abort', end, { once: true });
  try {
    return await read(ending.signal);
  } catch (error) {
    throw ending.signal.aborted ? ending.signal.reason : error;
  } finally {
    clearTimeout(limit);
    signal.removeEventListener('abort', end);
  }
}

async function startListening(server: Server, { host, port }: Listen): Promise<void> {
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (cause) {
    const code = systemErrorCode(cause);
    throw new XdpwhoError(code === 'EACCES' ? 'not-permitted' : 'failed', messageOf(cause), {
      hint: code === 'EADDRINUSE' ? `ss -ltnp 'sport = :${port}'` : 'xdpwho serve --help',
      cause,
    });
  }
}
