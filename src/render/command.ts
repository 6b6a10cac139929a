/** A command as a line for a POSIX shell: what `-v` and `--dry-run` print. */
export function renderCommand(file: string, args: readonly string[]): string {
  return [file, ...args].map(quoteWord).join(' ');
}

/** A word as a POSIX shell reads it back, quoted where it has to be. */
export function quoteWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
