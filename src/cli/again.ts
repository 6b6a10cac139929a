/** The hint of an error, as a command that works where it is read. */
import { asCalled, typedWords } from '../host/called-as.js';
import type { Retry, XdpwhoError } from '../model/errors.js';
import { quoteWord } from '../text/shell-words.js';
import { printable } from '../text/text.js';

/** The hint of an error that this command line has met; first the same command with the option that avoids it. */
export function hintOf(
  { hint, retry }: Partial<Pick<XdpwhoError, 'hint' | 'retry'>>,
  words: readonly string[] = typedWords(),
): string | undefined {
  const parts = [
    ...(retry === undefined ? [] : [commandWith(words, retry)]),
    ...(hint === undefined ? [] : [hint]),
  ];
  return parts.length === 0 ? undefined : asCalled(parts.join(', '));
}

/** `xdpwho WORDS` with `--option value` behind the verb, and without what the option had. Pure. */
export function commandWith(
  words: readonly string[],
  { option, value, without = [] }: Retry,
): string {
  const valued = [...without, ...(value === undefined ? [] : [option])];
  const end = words.includes('--') ? words.indexOf('--') : words.length;
  const kept: string[] = [];
  for (let at = 0; at < end; at++) {
    const word = words[at] ?? '';
    if (valued.includes(word)) at += 1;
    else if (word !== option && !valued.some((each) => word.startsWith(`${each}=`))) {
      kept.push(word);
    }
  }
  // Options may stand before the verb.
  const first = kept.findIndex((word) => !word.startsWith('-'));
  const isVerb = VERBS_WITH_OPTIONS.has(kept[first] ?? '');
  const place = isVerb ? first + 1 : 0;
  const added = [option, ...(value === undefined ? [] : [value])];
  const all = [...kept.slice(0, place), ...added, ...kept.slice(place), ...words.slice(end)];
  return ['xdpwho', ...all.map((word) => quoteWord(printable(word)))].join(' ');
}

/** The verbs that attach: only they meet an error that another option avoids. */
const VERBS_WITH_OPTIONS: ReadonlySet<string> = new Set(['watch', 'log', 'attach', 'demo']);
