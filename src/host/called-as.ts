/**
 * How this command can be run again. A hint says `xdpwho`; where a shell would not find that, as in a clone, or with
 * sudo and a Node in the home directory, it says the whole paths.
 */
import { realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { quoteWord } from '../text/shell-words.js';
import { packageFile } from './package-files.js';
import { isExecutableFile, TOOL_DIRECTORIES } from './tools.js';

/** Makes `xdpwho VERB` and `sudo xdpwho VERB` in a hint a command that a shell finds. Other text stays. */
export function asCalled(hint: string, own: OwnCommand = ownCommandHere()): string {
  return hint.replace(/(?<![\w./-])(sudo )?xdpwho(?= [-a-z.])/g, (_, sudo: string | undefined) =>
    sudo === undefined ? own.word : `sudo ${own.asRoot}`,
  );
}

/** The words of the command line as they were typed. */
export function typedWords(): readonly string[] {
  return process.argv.slice(2);
}

interface OwnCommand {
  /** What a shell of this user finds. */
  readonly word: string;
  /** What sudo finds: it searches the directories of the system only (sudoers(5), secure_path). */
  readonly asRoot: string;
}

function ownCommandHere(): OwnCommand {
  const script = process.argv[1];
  // Another program that uses the library was not called as this command.
  if (script === undefined || !isSame(script, packageFile('bin/xdpwho.js'))) {
    return { word: 'xdpwho', asRoot: 'xdpwho' };
  }
  const whole = [process.execPath, resolve(script)].map(quoteWord).join(' ');
  const wordIn = (directories: readonly string[]) =>
    leadsTo(script, directories) ? 'xdpwho' : whole;
  const own = (process.env.PATH ?? '').split(':').filter((directory) => directory !== '');
  return { word: wordIn(own), asRoot: wordIn(TOOL_DIRECTORIES) };
}

/** Whether `xdpwho` is found in these directories, is this script, and finds a Node there. */
function leadsTo(script: string, directories: readonly string[]): boolean {
  const find = (name: string) =>
    directories.map((directory) => join(directory, name)).find(isExecutableFile);
  const found = find('xdpwho');
  return found !== undefined && find('node') !== undefined && isSame(found, script);
}

function isSame(one: string, other: string): boolean {
  try {
    return realpathSync(one) === realpathSync(other);
  } catch {
    return false;
  }
}
