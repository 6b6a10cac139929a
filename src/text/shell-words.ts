/** Commands as text that a POSIX shell reads back. Pure. */
import { printable } from './text.js';

/** A command as one line, as `-v` and `--dry-run` print it. */
export function renderCommand(file: string, args: readonly string[]): string {
  return [file, ...args].map(quoteWord).join(' ');
}

/** A word, quoted where a shell would otherwise change it. */
export function quoteWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** An interface in the user's words. What the user did not name is null or undefined. */
interface NamedInterface {
  readonly interface: string;
  readonly netns?: string | null | undefined;
  readonly bpffs?: string | null | undefined;
}

/**
 * A command of ours for a hint: `xdpwho attach --replace eth0 --netns blue`. Without the namespace it
 * would mean another interface of that name. The name is quoted, because a user may paste the hint into
 * a shell, and an interface may be called $(reboot).
 */
export function ownCommand(
  words: string,
  { interface: name, netns, bpffs }: NamedInterface,
): string {
  const where = Object.entries({ netns, bpffs }).flatMap(([option, value]) =>
    value == null ? [] : [`--${option}`, value],
  );
  const rest = name.startsWith('-') ? [...where, '--', name] : [name, ...where];
  return `xdpwho ${words} ${rest.map((word) => quoteWord(printable(word))).join(' ')}`;
}
