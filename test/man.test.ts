import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { MAN_PAGE, renderManPage } from '../scripts/man-page.js';
import { GENERAL_OPTIONS, visibleOptions } from '../src/cli/options.js';
import { parseCommandLine } from '../src/cli/parser.js';
import { DEFAULT_VERB, loadCommands, VERBS } from '../src/commands/verbs.js';
import { findTool } from '../src/host/tools.js';
import { EXIT_CODES, EXIT_STATUS } from '../src/model/errors.js';
import { suite } from './suite.js';

const page = readFileSync(MAN_PAGE, 'utf8');
const descriptions = (await loadCommands()).map(({ description }) => description);

// biome-ignore lint/suspicious/noControlCharactersInRegex: how mandoc makes letters bold
const OVERSTRIKE = /.\x08/g;

const test = suite('the man page');

test('is the one that the commands make: npm run docs', () => {
  assert.is(page, renderManPage(descriptions));
});

test('has every option of the help, in the section of its command', async () => {
  const general = visibleOptions(GENERAL_OPTIONS).map((option) => option.name);
  for (const { verb } of descriptions) {
    // The help that a user sees has the general options on one line, by their letters.
    const shown = new Set<string>(general);
    const help = await parseCommandLine([verb, '--help'], {
      verbs: VERBS,
      defaultVerb: DEFAULT_VERB,
      version: '0',
    });
    const stdout = help.kind === 'text' ? help.text : '';
    // On a line of their own are those that few people need.
    const rare = /^In the manual: (.*)$/m.exec(stdout)?.[1]?.replaceAll(' ', '\n  ') ?? '';
    for (const [, name = ''] of `${stdout}\n  ${rare}`.matchAll(/^ +(?:-\w, )?--([\w-]+)/gm)) {
      shown.add(name);
    }
    assert.ok(shown.size >= 6, `${verb}: ${stdout}`);
    const sections = page.split(/^\.S[sh] /m);
    const section = (title: string) => sections.find((each) => each.startsWith(`${title}\n`)) ?? '';
    const text = section(verb) + section('OPTIONS OF EVERY COMMAND');
    const written = [...text.matchAll(/^\.It .*Fl -(\S+)/gm)].map((found) =>
      (found[1] ?? '').replaceAll('\\-', '-'),
    );
    assert.equal(written.sort(), [...shown].sort(), verb);
  }
});

test('has every exit code', () => {
  const section = page.split(/^\.Sh /m).find((each) => each.startsWith('EXIT STATUS')) ?? '';
  const codes = [...section.matchAll(/^\.It No (.*)$/gm)].flatMap((found) =>
    (found[1] ?? '').split(', '),
  );
  const expected = new Set([0, ...Object.values(EXIT_CODES), 3, 129, 130, 143]);
  assert.equal(codes.map(Number).sort(), [...expected].sort());
});

test.run();

const lint = suite('mandoc', findTool('mandoc') === undefined ? 'there is no mandoc' : undefined);

lint('has nothing to say against it', () => {
  const { stdout, stderr } = spawnSync('mandoc', ['-T', 'lint', '-W', 'warning', MAN_PAGE], {
    encoding: 'utf8',
  });
  assert.equal([stdout, stderr], ['', '']);
});

lint('shows it with every command', () => {
  const { stdout } = spawnSync('mandoc', ['-T', 'ascii', MAN_PAGE], { encoding: 'utf8' });
  const plain = stdout.replaceAll(OVERSTRIKE, '');
  for (const { verb } of descriptions)
    assert.ok(new RegExp(`^ {3}${verb}$`, 'm').test(plain), verb);
});

lint('has the exit codes of the README and of a script', async () => {
  const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
  const readme = read('README.md');
  for (const [codes, meaning] of EXIT_STATUS) {
    assert.ok(readme.includes(`| ${codes} | ${meaning} |`), codes);
  }
  const exitCodes = [...new Set(Object.values(EXIT_CODES))].map(String).sort();
  const told = EXIT_STATUS.map(([codes]) => codes).filter((codes) => /^[1-9]\d*$/.test(codes));
  assert.equal(told.sort(), exitCodes);
});

lint.run();
