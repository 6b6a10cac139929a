/**
 * Completion as a script for a shell. Everything is in the script, since asking xdpwho would start
 * Node at every press of TAB; interfaces and namespaces are looked up by the shell itself. Pure.
 */

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** What is known of a command; see src/cli/parser.ts. */
export interface CompletedCommand {
  readonly verb: string;
  /** `watch [interface..]` */
  readonly command: string;
  readonly describe: string;
  readonly options: readonly CompletedOption[];
}

export interface CompletedOption {
  readonly name: string;
  readonly letter: string | undefined;
  readonly describe: string;
  readonly takesValue: boolean;
}

/** What may stand at one place: words, or something that the shell knows. */
type Values =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'interface' | 'netns' | 'file' | 'directory' | 'nothing' };

/** The first command is the one that runs when no verb is given. */
export function renderCompletion(
  shell: Shell,
  commands: readonly CompletedCommand[],
  general: readonly CompletedOption[],
): string {
  const whole = commands.map((command) => ({
    ...command,
    options: [...command.options, ...general],
  }));
  switch (shell) {
    case 'bash':
      return renderBash(whole);
    case 'zsh':
      return renderZsh(whole);
    case 'fish':
      return renderFish(whole);
  }
}

const FILE_OPTIONS: readonly string[] = ['bpftool', 'object', 'compare'];

/** A description that is nothing but words names the values: `auto, always or never`. */
function valuesOf(command: string, option: CompletedOption): Values {
  const words = option.describe.split(/, | or /);
  if (words.length > 1 && words.every((word) => /^[a-z]+$/.test(word)))
    return { kind: 'words', words };
  if (option.name === 'netns') return { kind: 'netns' };
  if (option.name === 'iface' || option.name === 'live') return { kind: 'interface' };
  if (option.name === 'bpffs' || option.describe.startsWith('directory of ')) {
    return { kind: 'directory' };
  }
  if (FILE_OPTIONS.includes(option.name) || command.endsWith('[file]')) return { kind: 'file' };
  return { kind: 'nothing' };
}

/** What may follow the verb besides options. */
function argumentsOf(command: string): Values {
  if (/[[<]interface/.test(command)) return { kind: 'interface' };
  if (/[[<]file/.test(command)) return { kind: 'file' };
  if (/[[<]dir/.test(command)) return { kind: 'directory' };
  if (/[[<]shell/.test(command)) return { kind: 'words', words: SHELLS };
  return { kind: 'nothing' };
}

function wordsOf({ name, letter }: CompletedOption): string[] {
  return [`--${name}`, ...(letter === undefined ? [] : [`-${letter}`])];
}

/** Lines of a `case` in which bash and zsh agree: after `verb:--option`, the words to choose from. */
function valueCases(
  commands: readonly CompletedCommand[],
  expand: (values: Values) => string,
): string[] {
  const all = commands.flatMap(({ verb, command, options }) =>
    options
      .filter((option) => option.takesValue)
      .map((option) => ({
        patterns: wordsOf(option).map((word) => `${verb}:${word}`),
        action: expand(valuesOf(command, option)),
      })),
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
      case 'nothing':
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
    '') COMPREPLY=($(compgen -W '${verbs.join(' ')}' -- "$word")); ${expand({ kind: 'interface' })} ;;
${commands.map(({ verb, command }) => `    ${verb}) ${expand(argumentsOf(command))} ;;`).join('\n')}
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
      case 'nothing':
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
    '') compadd -- ${verbs.join(' ')}; ${expand({ kind: 'interface' })} ;;
${commands.map(({ verb, command }) => `    ${verb}) ${expand(argumentsOf(command))} ;;`).join('\n')}
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
      case 'nothing':
        return ' -x';
    }
  };
  const verbs = commands.map((command) => command.verb);
  const lines = commands.flatMap(({ verb, command, describe, options }, index) => {
    // Where no verb is given the first command runs, and so its options are there.
    const condition = index === 0 ? `__xdpwho_verb ${verb} ''` : `__xdpwho_verb ${verb}`;
    const values = argumentsOf(command);
    return [
      `complete -c xdpwho -n "__xdpwho_verb ''" -f -a ${verb} -d ${fishWord(describe)}`,
      ...(values.kind === 'nothing'
        ? []
        : [`complete -c xdpwho -n "${condition}"${expand(values).replace(/^ -[xr]/, '')}`]),
      ...options.map((option) => {
        const letter = option.letter === undefined ? '' : ` -s ${option.letter}`;
        const after = option.takesValue ? expand(valuesOf(command, option)) : '';
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
