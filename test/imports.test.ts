import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { equal, ok } from 'uvu/assert';
import { suite } from './suite.js';

/** Who may import whom: a module imports from its own row, from the rows below, and from PURE. */
const LAYERS = [
  ['cli'],
  ['commands/*'],
  ['index', 'library'],
  [
    ...['watch', 'log', 'attended', 'demo', 'attach', 'dump', 'plan', 'script', 'inventory'],
    ...['examination', 'set-aside', 'serve'],
    ...['status', 'detach', 'live', 'names'],
    ...['bench', 'bench-cases', 'bench-place', 'live-bench'],
  ],
  ['session', 'sources', 'packets', 'readers', 'probes', 'attachment', 'clock', 'attachment/link'],
  [
    ...['guard', 'pins', 'interfaces', 'object-files', 'clang'],
    ...['private-bpffs', 'run-time-statistics', 'host/batch'],
  ],
  ['bpftool', 'kernel', 'object'],
  ['exec'],
  ['command-channel', 'directories'],
];

/** Beside the layers: these run nothing, read no file, and import only each other. */
const PURE = [
  'errors',
  'unknown',
  'records',
  'layout',
  'decode',
  'estimates',
  'comparison',
  'prefix',
  'ring',
  'wall-clock',
  'frames',
  'ranking',
  'source-set',
  'history',
  'near-names',
  'report',
  'options',
  'render/*',
];

/** What only some may import. */
const RESERVED_IMPORTS = [
  { name: /^execa$|^node:child_process$/, for: ['exec'] },
  { name: /^node:https?2?$/, for: ['serve'] },
  { name: /^yargs/, for: ['cli', 'commands/*'] },
];

/** What only some may say. */
const RESERVED_WORDS = [
  { text: /\bprocess\s*\.\s*(argv|exit|exitCode)\b/g, for: ['cli'] },
  {
    text: /\bprocess\s*\.\s*(on|once|addListener)\b/g,
    for: ['cli', 'commands/terminal'],
  },
  { text: /\bprocess\s*\.\s*(stdin|stdout|stderr)\b|\bconsole\b/g, for: ['cli', 'commands/*'] },
];

interface Import {
  /** A module of src/ without its extension, or a package. */
  readonly name: string;
  readonly local: boolean;
  readonly typeOnly: boolean;
}

/** Everything in these modules (name without extension -> text) that breaks a rule above. */
function violations(modules: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  const imports = new Map<string, Import[]>();
  for (const [name, text] of modules) {
    const code = withoutComments(text);
    imports.set(name, importsOf(name, code));
    for (const word of RESERVED_WORDS) {
      if (matches(name, word.for)) continue;
      for (const [said] of code.matchAll(word.text)) found.push(`${name} says ${said}`);
    }
  }
  for (const [name, targets] of imports) {
    if (layerOf(name) === undefined && !matches(name, PURE)) found.push(`${name} is in no row`);
    for (const target of targets) {
      if (!mayImport(name, target)) found.push(`${name} imports ${target.name}`);
    }
  }
  return [...found, ...cycles(imports)];
}

function mayImport(name: string, target: Import): boolean {
  if (!target.local) {
    return RESERVED_IMPORTS.every(
      (rule) => !rule.name.test(target.name) || matches(name, rule.for),
    );
  }
  if (matches(target.name, PURE)) return true;
  const [from, to] = [layerOf(name), layerOf(target.name)];
  return from !== undefined && to !== undefined && from <= to;
}

/** Modules that need each other to load; a type alone needs nothing. */
function cycles(imports: ReadonlyMap<string, readonly Import[]>): string[] {
  const found: string[] = [];
  const visit = (path: readonly string[]): void => {
    for (const { name, local, typeOnly } of imports.get(path.at(-1) ?? '') ?? []) {
      if (!local || typeOnly) continue;
      // Once for each cycle: from the member that sorts first.
      if (name === path[0] && path.every((member) => member >= name)) {
        found.push(`a cycle: ${[...path, name].join(' -> ')}`);
      } else if (!path.includes(name)) visit([...path, name]);
    }
  };
  for (const name of imports.keys()) visit([name]);
  return found;
}

function importsOf(name: string, code: string): Import[] {
  const statements =
    /^\s*(?:import|export)\b(\s+type\b)?(?:[^'"();=]*?\bfrom)?\s*['"]([^'"]+)['"]/gm;
  const calls = /\bimport\(\s*()['"]([^'"]+)['"]/g;
  return [...code.matchAll(statements), ...code.matchAll(calls)].map(([, type, specifier = '']) => {
    const local = specifier.startsWith('.');
    const path = posix.join(posix.dirname(name), specifier).replace(/\.js$/, '');
    return { name: local ? path : specifier, local, typeOnly: Boolean(type) };
  });
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');
}

function matches(name: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => pattern === name || pattern === `${posix.dirname(name)}/*`);
}

function layerOf(name: string): number | undefined {
  const layer = LAYERS.findIndex((row) => matches(name, row));
  return layer === -1 ? undefined : layer;
}

function sourceModules(): Map<string, string> {
  const root = fileURLToPath(new URL('../src/', import.meta.url));
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' });
  return new Map(
    files
      .filter((file) => file.endsWith('.ts'))
      .map((file) => [file.replace(/\.ts$/, ''), readFileSync(`${root}${file}`, 'utf8')]),
  );
}

const test = suite('the imports of src/');

test('follow the table', () => {
  const modules = sourceModules();
  ok(modules.has('exec') && modules.has('errors'), 'src/ was read');
  equal(violations(modules), []);
});

test('are all seen', () => {
  const code = [
    "import a from 'a';",
    "import { b,\n  c } from './b.js';",
    "import type { D } from '../d.js';",
    "export * from './e.js';",
    "export { type F } from './f.js';",
    "import 'g';",
    "const h = await import('./h.js');",
    "// import './not.js';",
  ].join('\n');
  const seen = importsOf('commands/x', withoutComments(code));
  equal(seen.map(({ name }) => name).sort(), [
    'a',
    'commands/b',
    'commands/e',
    'commands/f',
    'commands/h',
    'd',
    'g',
  ]);
  equal(
    seen.filter(({ typeOnly }) => typeOnly).map(({ name }) => name),
    ['d'],
  );
});

const broken: [rule: string, modules: Record<string, string>, violation: string][] = [
  ['a lower row imports a higher one', { exec: "import './bpftool.js';" }, 'exec imports bpftool'],
  [
    'a lower row imports only a type of a higher one',
    { bpftool: "import type { Session } from './session.js';" },
    'bpftool imports session',
  ],
  [
    'a pure module imports one that runs things',
    { 'render/table': "import { run } from '../exec.js';" },
    'render/table imports exec',
  ],
  [
    'anything imports a command, but cli',
    { session: "import { watch } from './commands/watch.js';" },
    'session imports commands/watch',
  ],
  [
    'execa is imported elsewhere',
    { clang: "import { execa } from 'execa';" },
    'clang imports execa',
  ],
  [
    'a process is started elsewhere',
    { guard: "import { spawn } from 'node:child_process';" },
    'guard imports node:child_process',
  ],
  [
    'yargs reaches below the commands',
    { watch: "import yargs from 'yargs';" },
    'watch imports yargs',
  ],
  ['it listens', { watch: "import { createServer } from 'node:http';" }, 'watch imports node:http'],
  ['a module is in no row', { utils: '' }, 'utils is in no row'],
  [
    'two modules need each other',
    { session: "import './sources.js';", sources: "import './session.js';" },
    'a cycle: session -> sources -> session',
  ],
  ['it prints', { session: "console.log('attached');" }, 'session says console'],
  ['it writes to stdout', { demo: 'process.stdout.write(x);' }, 'demo says process.stdout'],
  ['a command exits', { 'commands/log': 'process.exit(1);' }, 'commands/log says process.exit'],
  [
    'a command sets the exit code',
    { 'commands/log': 'process.exitCode = 1;' },
    'commands/log says process.exitCode',
  ],
  ['it reads argv', { probes: 'process.argv[2]' }, 'probes says process.argv'],
  ['it handles a signal', { guard: "process.on('SIGINT', stop)" }, 'guard says process.on'],
];

for (const [rule, modules, violation] of broken) {
  test(`are refused when ${rule}`, () => {
    equal(violations(new Map(Object.entries(modules))), [violation]);
  });
}

test('may go down, to a pure module, and in a circle of types', () => {
  const modules = {
    cli: "import { watch } from './commands/watch.js';\nprocess.exitCode = 1;",
    'commands/watch': "import yargs from 'yargs';\nimport { attach } from '../session.js';",
    session: "import { run } from './exec.js';\nimport type { Source } from './sources.js';",
    sources: "import type { Session } from './session.js';\nimport './errors.js';",
    exec: "import { execa } from 'execa'; // not console",
    errors: '',
  };
  equal(violations(new Map(Object.entries(modules))), []);
});

test.run();
