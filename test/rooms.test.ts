import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import {
  ARCHITECTURE,
  GRAPH_BLOCK,
  importsOf,
  ROOMS,
  roomGraph,
  roomOf,
  sourceFiles,
} from '../scripts/room-graph.js';
import { suite } from './suite.js';

/** What only some files of src/ may import or say. */
const RESERVED: readonly { readonly what: RegExp; readonly for: RegExp }[] = [
  { what: /from 'execa'|from 'node:child_process'/, for: /^host\/exec\.ts$/ },
  { what: /from 'node:https?2?'/, for: /^metrics\/serve\.ts$/ },
  { what: /from 'yargs/, for: /^cli\// },
  { what: /\bprocess\s*\.\s*(exit|exitCode)\b/, for: /^main\.ts$/ },
  { what: /\bprocess\s*\.\s*argv\b/, for: /^(main|host\/called-as)\.ts$/ },
  { what: /\bprocess\s*\.\s*(on|once|addListener)\b/, for: /^(main|live\/terminal)\.ts$/ },
  {
    what: /\bprocess\s*\.\s*(stdin|stdout|stderr)\b|\bconsole\b/,
    for: /^(main\.ts|commands\/|cli\/|live\/)/,
  },
  // These two rooms run nothing and read no file.
  { what: /from 'node:(fs|child_process|dns)/, for: /^(?!text\/|model\/)/ },
];

const files = sourceFiles();
const test = suite('the rooms of src/');

test('are those of the list', () => {
  assert.equal([...new Set(files.map(({ room }) => room))].sort(), [...ROOMS].sort());
});

test('import only what is below them', () => {
  const floorOf = (path: string) => ROOMS.indexOf(roomOf(path));
  const upward = files.flatMap((file) =>
    importsOf(file)
      .filter((target) => floorOf(target) < floorOf(file.path))
      .map((target) => `${file.path} imports ${target}`),
  );
  assert.equal(upward, []);
});

test('have no files that need each other to load', () => {
  const targets = new Map(files.map((file) => [file.path, importsOf(file, true)]));
  const reaches = (from: string, to: string, seen = new Set<string>()): boolean =>
    (targets.get(from) ?? []).some((next) => {
      if (next === to) return true;
      if (seen.has(next)) return false;
      seen.add(next);
      return reaches(next, to, seen);
    });
  assert.equal(
    [...targets.keys()].filter((path) => reaches(path, path)),
    [],
  );
});

test('leave to one place what only one place may do', () => {
  const found = files.flatMap(({ path, code }) =>
    RESERVED.filter((rule) => rule.what.test(code) && !rule.for.test(path)).map(
      (rule) => `${path}: ${rule.what.exec(code)?.[0]}`,
    ),
  );
  assert.equal(found, []);
});

test('are drawn and described in docs/architecture.md: npm run docs', () => {
  const page = readFileSync(ARCHITECTURE, 'utf8');
  assert.is(GRAPH_BLOCK.exec(page)?.[0], roomGraph(files));
  for (const room of ROOMS) assert.ok(new RegExp(`\`${room}(/|\\.ts)\``).test(page), room);
});

test.run();
