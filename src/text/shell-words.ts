import { printable } from './text.js';

/** A command as a line for a POSIX shell: what `-v` and `--dry-run` print. */
export function renderCommand(file: string, args: readonly string[]): string {
  return [file, ...args].map(quoteWord).join(' ');
}

/** A word as a POSIX shell reads it back, quoted where it has to be. */
export function quoteWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** An interface, and where it is: as the user named it, null or undefined where he did not. */
export interface NamedPlace {
  readonly interface: string;
  readonly netns?: string | null | undefined;
  readonly bpffs?: string | null | undefined;
}

/**
 * A command of ours for a hint: `xdpwho attach --replace eth0 --netns blue`. Without the namespace it
 * would be about another interface of that name; and what whoever made the interface has called it
 * must not be run by the shell that a hint is pasted into.
 */
export function ownCommand(words: string, { interface: name, netns, bpffs }: NamedPlace): string {
  const where = Object.entries({ netns, bpffs }).flatMap(([option, value]) =>
    value == null ? [] : [`--${option}`, value],
  );
  const rest = name.startsWith('-') ? [...where, '--', name] : [name, ...where];
  return `xdpwho ${words} ${rest.map((word) => quoteWord(printable(word))).join(' ')}`;
}
