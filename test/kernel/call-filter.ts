/** SystemCallFilter= of a unit, without the manager that would apply it. */
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

/** The groups of system calls that systemd knows (`@pkey`), with what is in each. */
export async function callGroups(): Promise<ReadonlyMap<string, readonly string[]>> {
  const { stdout } = await execa('systemd-analyze', ['syscall-filter']);
  const groups = new Map<string, string[]>();
  let group: string[] = [];
  for (const line of stdout.split('\n')) {
    // The calls that the kernel has and no group holds follow as a comment.
    if (line.startsWith('#')) break;
    if (line.startsWith('@')) {
      group = [];
      groups.set(line, group);
    } else if (/^ +[^ #]/.test(line)) group.push(line.trim());
  }
  return groups;
}

/** Pure: the calls that a list such as `@system-service bpf` allows. systemd adds `@default` to each. */
export function allowedCalls(
  list: string,
  groups: ReadonlyMap<string, readonly string[]>,
): ReadonlySet<string> {
  const allowed = new Set<string>();
  const queue = ['@default', ...list.split(' ')];
  for (let word = queue.pop(); word !== undefined; word = queue.pop()) {
    if (!word.startsWith('@')) {
      allowed.add(word);
      continue;
    }
    const group = groups.get(word);
    if (group === undefined) throw new Error(`systemd knows no group ${word}`);
    queue.push(...group);
  }
  return allowed;
}

/**
 * Compiles into `directory` what applies a filter, and returns the words that go before a command to
 * run it under: `list` is the value of SystemCallFilter=, `error` that of SystemCallErrorNumber=, or
 * undefined where another call ends the process.
 */
export async function callFilter(
  directory: string,
  list: string,
  error: string | undefined,
): Promise<string[]> {
  const program = `${directory}/filter-calls`;
  const source = fileURLToPath(new URL('filter-calls.c', import.meta.url));
  await execa('clang', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', program, source]);
  const calls = allowedCalls(list, await callGroups());
  const [errno = ''] = await numbersOf('errno.h', [error ?? '0']);
  const numbers = await numbersOf(
    'sys/syscall.h',
    [...calls].map((name) => `__NR_${name}`),
  );
  return [program, errno, numbers.join(',')];
}

/** The values of macros, without those that are not defined: calls of other architectures. */
async function numbersOf(header: string, names: readonly string[]): Promise<string[]> {
  const { stdout } = await execa('clang', ['-E', '-P', '-'], {
    input: [`#include <${header}>`, 'BEGIN', ...names, ''].join('\n'),
  });
  const values = stdout.slice(stdout.lastIndexOf('BEGIN')).split('\n');
  return values.filter((value) => /^\d+$/.test(value));
}
