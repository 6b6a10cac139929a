/** Completion in the shells themselves. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { renderCompletion, SHELLS, type Shell } from '../../src/cli/completion.js';
import { GENERAL_OPTIONS, visibleOptions } from '../../src/cli/options.js';
import { loadCommands } from '../../src/commands/verbs.js';
import { findTool } from '../../src/host/tools.js';
import { suite } from '../suite.js';

const descriptions = (await loadCommands()).map(({ description }) => description);

function script(shell: Shell): string {
  return renderCompletion(shell, descriptions);
}

function run(file: string, args: readonly string[]): string {
  const { stdout, stderr, status } = spawnSync(file, args, { encoding: 'utf8', timeout: 60_000 });
  assert.equal([status, stderr], [0, ''], `${file}: ${stderr}`);
  return stdout;
}

/** What a shell offers at the end of a command line, without the descriptions. */
const COMPLETE: Readonly<Record<Shell, (line: string) => string[]>> = {
  bash: (line) => {
    // readline takes `=` for a word of its own.
    const words = line
      .split(' ')
      .flatMap((word) => word.split(/(=)/).filter((part, index) => part !== '' || index === 0));
    const code = `${script('bash')}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _xdpwho; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return linesOf(run('bash', ['--norc', '--noprofile', '-c', code, 'bash', ...words]));
  },
  zsh: (line) => {
    // The real compadd works only in the line editor. This one prints the words that begin like the typed one.
    const code = `compdef() { :; }; compset() { word=\${word#*=}; }; _files() { print -l -- *; }
compadd() { shift; for each; do [[ $each == $word* ]] && print -r -- "$each"; done; return 0; }
${script('zsh')}
words=("$@"); CURRENT=$#; _xdpwho`;
    return linesOf(run('zsh', ['-f', '-c', code, 'zsh', ...line.split(' ')]));
  },
  fish: (line) => {
    const code = `${script('fish')}\ncomplete -C "$argv[1]"`;
    const offered = linesOf(run('fish', ['--no-config', '-c', code, line]));
    return offered.map((each) => each.split('\t')[0] ?? '');
  },
};

function linesOf(text: string): string[] {
  return [...new Set(text.split('\n').filter((line) => line !== ''))].sort();
}

const VERBS = descriptions.map((each) => each.verb);
const INTERFACES = readdirSync('/sys/class/net');

for (const shell of SHELLS) {
  const test = suite(
    `completion for ${shell}`,
    findTool(shell) === undefined ? `there is no ${shell}` : undefined,
  );
  const complete = COMPLETE[shell];

  test('offers verbs and interfaces', () => {
    const offered = complete('xdpwho ');
    for (const word of [...VERBS, 'lo']) assert.ok(offered.includes(word), word);
    assert.equal(complete('xdpwho stat'), ['status']);
  });

  test('offers the interfaces that there are', () => {
    const directories = INTERFACES.filter((name) => name !== 'bonding_masters').sort();
    assert.equal(
      complete('xdpwho watch ').filter((each) => !each.startsWith('-')),
      directories,
    );
    assert.equal(
      complete('xdpwho dump -n l'),
      directories.filter((name) => name.startsWith('l')),
    );
    assert.equal(
      complete('xdpwho watch -i l'),
      directories.filter((name) => name.startsWith('l')),
    );
  });

  test('offers the options of the verb, and those of the default one without', () => {
    assert.equal(complete('xdpwho dump --gr'), ['--group']);
    assert.equal(complete('xdpwho status --gr'), []);
    assert.equal(complete('xdpwho lo --max'), ['--max-sources']);
    assert.equal(complete('xdpwho watch --ver'), ['--verbose', '--version']);
  });

  test('offers the values of an option', () => {
    assert.equal(complete('xdpwho watch --mode '), ['auto', 'generic', 'native']);
    assert.equal(complete('xdpwho dump lo -o p'), ['prometheus']);
    assert.equal(complete('xdpwho --color a'), ['always', 'auto']);
    assert.equal(complete('xdpwho completion '), ['bash', 'fish', 'zsh']);
    assert.equal(complete('xdpwho bench --live lo'), ['lo']);
    assert.equal(complete('xdpwho script at'), ['attach']);
    // In zsh _files offers them, which is a function of the line editor.
    if (shell === 'zsh') return;
    for (const option of ['bench --compare', 'bench --object', 'bench --packets', 'build --source'])
      assert.match(complete(`xdpwho ${option} /pro`).join(), /^\/proc\/?$/, option);
  });

  test('offers the values after an equals sign', () => {
    const offered = complete('xdpwho watch --sort=by');
    assert.ok(
      offered.length === 1 && /^(--sort=)?bytes$/.test(offered[0] ?? ''),
      offered.join(' '),
    );
  });

  test('offers every option of every verb', () => {
    for (const { verb, options } of descriptions) {
      const offered = complete(`xdpwho ${verb} --`);
      for (const { name } of visibleOptions({ ...options, ...GENERAL_OPTIONS })) {
        assert.ok(offered.includes(`--${name}`), `${verb} --${name}`);
      }
    }
  });

  test.run();
}

const editor = suite(
  "completion in zsh's own line editor",
  findTool('zsh') === undefined ? 'there is no zsh' : undefined,
);

/** Runs an interactive zsh in a terminal of its own. The function lies in $fpath, where a package puts it. */
const IN_EDITOR = `
zmodload zsh/zpty
directory=$1
shift
zpty editor zsh -f -i
zpty -w editor "fpath=($directory \\$fpath); autoload -Uz compinit && compinit -u -D
probe() { zle complete-word; print -r -- '<'\\$BUFFER'>'; zle kill-whole-line; }
zle -N probe; bindkey '^X^P' probe"
for line; do zpty -w -n editor "$line"$'\\C-x\\C-p'; done
zpty -w -n editor $'exit\\n'
while zpty -r editor text; do print -rn -- "$text"; done
`;

editor('completes what has one ending', () => {
  const directory = mkdtempSync(join(tmpdir(), 'xdpwho-zsh-'));
  try {
    writeFileSync(`${directory}/_xdpwho`, script('zsh'));
    const lines = ['stat', 'watch --mo', 'watch --mode g', 'dump lo -o o', 'watch --sort=by'];
    const typed = lines.map((line) => `xdpwho ${line}`);
    const shown = run('zsh', ['-f', '-c', IN_EDITOR, 'zsh', directory, ...typed]);
    assert.equal(
      [...shown.matchAll(/<xdpwho (\S[^>]*?) ?>/g)].map(([, line]) => line),
      ['status', 'watch --mode', 'watch --mode generic', 'dump lo -o openmetrics'].concat(
        'watch --sort=bytes',
      ),
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});

editor.run();

const hostile = suite(
  'an interface with a name like a command',
  process.getuid?.() === 0 ? undefined : 'needs root',
);

hostile('is a name to bash', () => {
  const code = `ip link add '$(touch$IFS"x")' type veth peer name peer0 && mkdir -p /tmp/none
${script('bash')}
mount -t sysfs sysfs /sys
COMP_WORDS=(xdpwho watch '') COMP_CWORD=2; _xdpwho; printf '%s\\n' "\${COMPREPLY[@]}"; ls x 2>/dev/null; true`;
  const offered = linesOf(
    run('unshare', [
      '--net',
      '--mount',
      'bash',
      '--norc',
      '--noprofile',
      '-c',
      `cd "$(mktemp -d)"; ${code}`,
    ]),
  );
  assert.ok(!offered.includes('x'), 'nothing was run');
  assert.ok(
    offered.some((each) => each.startsWith('\\$\\(touch')),
    offered.join(' '),
  );
});

hostile.run();
