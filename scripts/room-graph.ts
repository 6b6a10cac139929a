/** The rooms of src/, what each imports, and the graph of docs/architecture.md that shows it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../src/', import.meta.url));
export const ARCHITECTURE = fileURLToPath(new URL('../docs/architecture.md', import.meta.url));

/** From the top: a file imports from its own room and from those below it. */
export const ROOMS = [
  ...['main', 'commands', 'live', 'index', 'api', 'metrics', 'script', 'demo', 'report', 'verbs'],
  ...['cli', 'bench', 'doctor', 'packet-log', 'table', 'attachment', 'objects', 'host'],
  ...['owners', 'text', 'model'],
];

interface SourceFile {
  /** Its path in src/. */
  readonly path: string;
  readonly room: string;
  /** Without comments. */
  readonly code: string;
}

export function sourceFiles(): SourceFile[] {
  return readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({
      path,
      room: roomOf(path),
      code: withoutComments(readFileSync(`${SOURCE}${path}`, 'utf8')),
    }));
}

/** A file in src/ itself is a room of its own. */
export function roomOf(path: string): string {
  return (path.split('/')[0] ?? path).replace(/\.ts$/, '');
}

/** The paths in src/ that a file imports; `toLoad` leaves out those that give it only types, or later. */
export function importsOf({ path, code }: SourceFile, toLoad = false): string[] {
  const statements =
    /^\s*(?:import|export)\b(\s+type\b)?(?:[^'"();=]*?\bfrom)?\s*['"](\.[^'"]+)['"]/gm;
  const calls = /\bimport\(\s*()['"](\.[^'"]+)['"]/g;
  return [...code.matchAll(statements), ...(toLoad ? [] : code.matchAll(calls))]
    .filter(([, type]) => !toLoad || !type)
    .map(([, , target = '']) => posix.join(posix.dirname(path), target).replace(/\.js$/, '.ts'));
}

/** A line for each room: its name, an arrow, the rooms that it imports from. */
export function roomGraph(files: readonly SourceFile[] = sourceFiles()): string {
  const lines = ROOMS.map((room) => {
    const targets = files.filter((file) => file.room === room).flatMap((file) => importsOf(file));
    const rooms = new Set(targets.map(roomOf));
    const below = ROOMS.filter((other) => other !== room && rooms.has(other));
    return `${room.padEnd(10)} -> ${below.join(' ')}`.trimEnd();
  });
  return `${lines.join('\n')}\n`;
}

export const GRAPH_BLOCK = /(?<=```rooms\n)[\s\S]*?(?=```)/;

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = readFileSync(ARCHITECTURE, 'utf8');
  writeFileSync(ARCHITECTURE, page.replace(GRAPH_BLOCK, roomGraph()));
}
