/**
 * Makes the completion script of a shell from the commands. The script holds all words, and the shell
 * looks up interfaces and namespaces itself: a call of xdpwho would start Node at each press of TAB. Pure.
 */
import type { CommandDescription } from './command.js';
import { type Argument, GENERAL_OPTIONS, type Values, visibleOptions } from './options.js';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** A command whose options include the general ones. */
interface CompletedCommand {
  readonly verb: string;
  readonly describe: string;
  readonly arguments: readonly Argument[];
  readonly options: ReturnType<typeof visibleOptions>;
}

/** Without a verb, the options of the first command are completed: that one runs then. */
export function renderCompletion(shell: Shell, commands: readonly CommandDescription[]): string {
  const completed = commands.map((command) => ({
    ...command,
    options: [...visibleOptions(command.options), ...visibleOptions(GENERAL_OPTIONS)],
  }));
  switch (shell) {
    case 'bash':
      return renderBash(completed);
    case 'zsh':
      return renderZsh(completed);
    case 'fish':
      return renderFish(completed);
  }
}

/** What may follow a verb besides options. The values of all its arguments are offered for each of them. */
function argumentValues({ arguments: list }: CompletedCommand): Values[] {
  return list.map(({ values }) => values);
}

/** What the first word may be: a verb, or an interface for the default verb. */
function firstWords(verbs: readonly string[]): Values[] {
  return [{ kind: 'words', words: verbs }, { kind: 'interface' }];
}

/** Commands of bash or zsh that offer all the values. In bash those for words must be the first: they replace what was offered before. */
function actions(expand: (values: Values) => string, list: readonly Values[]): string {
  return list.length === 0 ? expand({ kind: 'text' }) : list.map(expand).join('; ');
}

function wordsOf({ name, alias }: { readonly name: string; readonly alias?: string | undefined }) {
  return [`--${name}`, ...(alias === undefined ? [] : [`-${alias}`])];
}

/** The branches of a `case` of bash or zsh that offer the values of an option. A pattern is `verb:--option`. */
function valueCases(
  commands: readonly CompletedCommand[],
  expand: (values: Values) => string,
): string[] {
  const all = commands.flatMap(({ verb, options }) =>
    options.flatMap((option) => {
      if (option.values === null) return [];
      const patterns = wordsOf(option).map((word) => `${verb}:${word}`);
      return [{ patterns, action: expand(option.values) }];
    }),
  );
  const byAction = new Map<string, string[]>();
  for (const { patterns, action } of all) {
    byAction.set(action, [...(byAction.get(action) ?? []), ...patterns]);
  }
  return [...byAction].map(
    ([action, patterns]) => `    ${patterns.join('|')}) ${action}; return ;;`,
  );
}

function renderBash(commands: readonly CompletedCommand[]): string {
  const expand = (values: Values): string => {
    switch (values.kind) {
      case 'words':
        return `COMPREPLY=($(compgen -W '${values.words.join(' ')}' -- "$word"))`;
      case 'interface':
        return '_xdpwho_names "$word" /sys/class/net/*/';
      case 'netns':
        return '_xdpwho_names "$word" /run/netns/*';
      case 'file':
        return 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$word"))';
      case 'directory':
        return 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$word"))';
      case 'text':
        return 'COMPREPLY=()';
    }
  };
  const verbs = commands.map((command) => command.verb);
  return `# bash completion for xdpwho: eval "$(xdpwho completion bash)"
# Not compgen -W, which would run what a name says: an interface may be called $(reboot).
_xdpwho_names() {
  local word=$1 path name
  shift
  for path; do
    [[ -e $path ]] || continue
    path=\${path%/}
    printf -v name %q "\${path##*/}"
    [[ $name == "$word"* ]] && COMPREPLY+=("$name")
  done
}
_xdpwho() {
  COMPREPLY=()
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]} verb= each
  # --option=value is three words to bash.
  if [[ $word == = ]]; then word=; elif [[ $previous == = ]]; then previous=\${COMP_WORDS[COMP_CWORD - 2]}; fi
  for each in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $each in ${verbs.join('|')}) verb=$each; break ;; esac
  done
  case \${verb:-${verbs[0]}}:$previous in
${valueCases(commands, expand).join('\n')}
  esac
  if [[ $word == -* ]]; then
    case \${verb:-${verbs[0]}} in
${commands.map(({ verb, options }) => `    ${verb}) COMPREPLY=($(compgen -W '${options.flatMap(wordsOf).join(' ')}' -- "$word")) ;;`).join('\n')}
    esac
    return
  fi
  case $verb in
    '') ${actions(expand, firstWords(verbs))} ;;
${commands.map((command) => `    ${command.verb}) ${actions(expand, argumentValues(command))} ;;`).join('\n')}
  esac
}
complete -F _xdpwho xdpwho
`;
}

function renderZsh(commands: readonly CompletedCommand[]): string {
  const expand = (values: Values): string => {
    switch (values.kind) {
      case 'words':
        return `compadd -- ${values.words.join(' ')}`;
      case 'interface':
        return 'compadd -- /sys/class/net/*(N-/:t)';
      case 'netns':
        return 'compadd -- /run/netns/*(N:t)';
      case 'file':
        return '_files';
      case 'directory':
        return '_files -/';
      case 'text':
        return ':';
    }
  };
  const verbs = commands.map((command) => command.verb);
  return `#compdef xdpwho
# zsh completion for xdpwho: eval "$(xdpwho completion zsh)", after compinit
_xdpwho() {
  local word=\${words[CURRENT]} previous=\${words[CURRENT-1]} verb= each
  if [[ $word == --*=* ]]; then
    previous=\${word%%=*}
    compset -P '*='
  fi
  for each in "\${(@)words[2,CURRENT-1]}"; do
    case $each in ${verbs.join('|')}) verb=$each; break ;; esac
  done
  case \${verb:-${verbs[0]}}:$previous in
${valueCases(commands, expand).join('\n')}
  esac
  if [[ $word == -* ]]; then
    case \${verb:-${verbs[0]}} in
${commands.map(({ verb, options }) => `    ${verb}) compadd -- ${options.flatMap(wordsOf).join(' ')} ;;`).join('\n')}
    esac
    return
  fi
  case $verb in
    '') ${actions(expand, firstWords(verbs))} ;;
${commands.map((command) => `    ${command.verb}) ${actions(expand, argumentValues(command))} ;;`).join('\n')}
  esac
}
if [[ \${funcstack[1]} == _xdpwho ]]; then _xdpwho "$@"; else compdef _xdpwho xdpwho; fi
`;
}

function renderFish(commands: readonly CompletedCommand[]): string {
  const expand = (values: Values): string => {
    switch (values.kind) {
      case 'words':
        return ` -x -a '${values.words.join(' ')}'`;
      case 'interface':
        return " -x -a '(__xdpwho_interfaces)'";
      case 'netns':
        return " -x -a '(command ls /run/netns 2>/dev/null)'";
      case 'file':
        return ' -r -F';
      case 'directory':
        return " -x -a '(__fish_complete_directories)'";
      case 'text':
        return ' -x';
    }
  };
  const verbs = commands.map((command) => command.verb);
  const lines = commands.flatMap((command, index) => {
    const { verb, describe, options } = command;
    // The first command also runs where no verb is given.
    const condition = index === 0 ? `__xdpwho_verb ${verb} ''` : `__xdpwho_verb ${verb}`;
    return [
      `complete -c xdpwho -n "__xdpwho_verb ''" -f -a ${verb} -d ${fishWord(describe)}`,
      ...argumentValues(command).map(
        (values) => `complete -c xdpwho -n "${condition}"${expand(values).replace(/^ -[xr]/, '')}`,
      ),
      ...options.map((option) => {
        const letter = option.alias === undefined ? '' : ` -s ${option.alias}`;
        const after = option.values === null ? '' : expand(option.values);
        return `complete -c xdpwho -n "${condition}" -l ${option.name}${letter}${after} -d ${fishWord(option.describe)}`;
      }),
    ];
  });
  return `# fish completion for xdpwho: xdpwho completion fish > ~/.config/fish/completions/xdpwho.fish
function __xdpwho_interfaces
    string replace -r '.*/([^/]+)/$' '$1' /sys/class/net/*/
end
function __xdpwho_verb
    set -l verb ''
    for each in (commandline -opc)[2..-1]
        if contains -- $each ${verbs.join(' ')}
            set verb $each
            break
        end
    end
    contains -- "$verb" $argv
end
complete -c xdpwho -f
${lines.join('\n')}
`;
}

function fishWord(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
