/**
 * Every verb, in the order of the help. A command is loaded when it is needed, so that help comes at
 * once. test/commands/verbs.test.ts compares the words here with those of the commands.
 */
import type { AnyCommand, Verb } from '../cli/command.js';

/** Runs when no verb is given. */
export const DEFAULT_VERB: Verb = lazy(
  'watch',
  'attach, show sources live until Ctrl-C, detach',
  async () => {
    const { watchCommand } = await import('./watch.js');
    return watchCommand;
  },
);

export const VERBS: readonly Verb[] = [
  DEFAULT_VERB,
  lazy('log', 'one line per packet, until Ctrl-C; detach', async () => {
    const { logCommand } = await import('./log.js');
    return logCommand;
  }),
  lazy('attach', 'attach and return; it goes on counting by itself', async () => {
    const { attachCommand } = await import('./attach.js');
    return attachCommand;
  }),
  lazy('dump', 'the counters now', async () => {
    const { dumpCommand } = await import('./dump.js');
    return dumpCommand;
  }),
  lazy('status', 'what is attached, in which mode, whose it is', async () => {
    const { statusCommand } = await import('./status.js');
    return statusCommand;
  }),
  lazy('detach', "detach and unpin; never a stranger's program", async () => {
    const { detachCommand } = await import('./detach.js');
    return detachCommand;
  }),
  lazy('clean', 'remove what dead runs left; only ever our own', async () => {
    const { cleanCommand } = await import('./clean.js');
    return cleanCommand;
  }),
  lazy('report', 'a recording of watch -o ndjson as an HTML page', async () => {
    const { reportCommand } = await import('./report.js');
    return reportCommand;
  }),
  lazy('serve', 'the counters over HTTP, for Prometheus', async () => {
    const { serveCommand } = await import('./serve.js');
    return serveCommand;
  }),
  lazy('bench', 'what the program costs per packet on this host', async () => {
    const { benchCommand } = await import('./bench.js');
    return benchCommand;
  }),
  lazy('doctor', 'what this host has and lacks, and what mends it', async () => {
    const { doctorCommand } = await import('./doctor.js');
    return doctorCommand;
  }),
  lazy('build', 'compile the BPF objects with clang', async () => {
    const { buildCommand } = await import('./build.js');
    return buildCommand;
  }),
  lazy('demo', 'the main job, on traffic of its own', async () => {
    const { demoCommand } = await import('./demo.js');
    return demoCommand;
  }),
  lazy('script', 'a verb as one shell script, for a host without Node', async () => {
    const { scriptCommand } = await import('./script.js');
    return scriptCommand;
  }),
  lazy('completion', 'completion for bash, zsh or fish', async () => {
    const { makeCompletionCommand } = await import('./completion.js');
    return makeCompletionCommand(loadCommands);
  }),
];

/** Loads every command. */
export function loadCommands(): Promise<AnyCommand[]> {
  return Promise.all(VERBS.map((verb) => verb.load()));
}

function lazy(verb: string, describe: string, load: Verb['load']): Verb {
  return { verb, describe, load };
}
