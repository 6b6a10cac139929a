/**
 * Writes docs/api.md from the library's types and doc comments: `npm run docs`, after a build. What
 * is exported is in src/index.ts, how it looks in the declarations that tsc has made of it in dist/.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const API_REFERENCE = `${ROOT}docs/api.md`;

const INTRODUCTION = `# The library

\`\`\`ts
import { attach, watch, log, dump, status, detach } from 'xdpwho';
\`\`\`

The verbs of the command line as functions; ECMAScript modules only, with types. Counters are
\`bigint\`, as the kernel's are. The [examples](../examples) run in the tests. This page is made from the doc
comments (\`npm run docs\`).
`;

interface Export {
  readonly name: string;
  /** Of src/, without its extension. */
  readonly module: string;
}

interface Declaration {
  readonly name: string;
  readonly kind: 'function' | 'class' | 'interface' | 'type' | 'const';
  /** The text of its doc comment. */
  readonly about: string;
  readonly code: string;
}

/** Functions first, then what they take and give. */
const SECTIONS: readonly (readonly [title: string, kinds: readonly Declaration['kind'][]])[] = [
  ['Functions', ['function']],
  ['Classes', ['class']],
  ['Types', ['interface', 'type']],
  ['Constants', ['const']],
];

export function renderApiReference(read: (path: string) => string): string {
  const declarations = exportsIn(read('src/index.ts')).map(({ name, module }) =>
    declarationOf(name, read(`dist/${module}.d.ts`)),
  );
  const sections = SECTIONS.map(([title, kinds]) => {
    const members = declarations.filter(({ kind }) => kinds.includes(kind));
    return `## ${title}\n\n${members.map(renderDeclaration).join('\n')}`;
  });
  return [INTRODUCTION, ...sections].join('\n');
}

/** `export { a, type B } from './c.js';` */
function exportsIn(index: string): Export[] {
  return [...index.matchAll(/export (?:type )?\{([^}]*)\} from '\.\/([\w/-]+)\.js'/g)].flatMap(
    ([, names = '', module = '']) =>
      names
        .split(',')
        .map((name) => name.trim().replace(/^type /, ''))
        .filter((name) => name !== '')
        .map((name) => ({ name, module })),
  );
}

/** A declaration ends where its brackets are closed and a line, or a semicolon, ends. */
function declarationOf(name: string, declarations: string): Declaration {
  const begin = new RegExp(
    `^export (?:declare )?(?:abstract )?(function|class|interface|type|const) ${name}\\b`,
    'm',
  );
  const found = begin.exec(declarations);
  if (found === null) throw new Error(`${name}: no declaration`);
  const kind = KINDS.find((each) => each === found[1]) ?? 'type';
  const before = declarations.slice(0, found.index);
  const comment = /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*$/.exec(before)?.[1] ?? '';
  const code = balanced(declarations.slice(found.index));
  return { name, kind, about: textOf(comment), code: withoutPrivate(code) };
}

const KINDS = ['function', 'class', 'interface', 'type', 'const'] as const;

function balanced(text: string): string {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? '';
    // In a comment a bracket is a smile, or worse.
    if (text.startsWith('/*', at)) at = text.indexOf('*/', at) + 1;
    else if ('{(['.includes(character)) depth++;
    else if ('})]'.includes(character)) depth--;
    if (depth > 0) continue;
    if (character === ';') return text.slice(0, at + 1);
    if (
      character === '}' &&
      /^\n/.test(text.slice(at + 1)) &&
      /^export (declare )?(class|interface)/.test(text)
    ) {
      return text.slice(0, at + 1);
    }
  }
  return text;
}

/** A class's private members are nobody's business. */
function withoutPrivate(code: string): string {
  return code.replace(/^ +#private;\n/m, '').replace(/^export (declare )?/, '');
}

/** The lines of a comment, without stars; paragraphs stay apart. */
function textOf(comment: string): string {
  const lines = comment.split('\n').map((line) => line.replace(/^\s*\* ?/, '').trim());
  return lines.join('\n').trim();
}

function renderDeclaration({ name, about, code }: Declaration): string {
  return [`### ${name}`, '', ...(about === '' ? [] : [about, '']), '```ts', code, '```', ''].join(
    '\n',
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(
    API_REFERENCE,
    renderApiReference((path) => readFileSync(`${ROOT}${path}`, 'utf8')),
  );
}
