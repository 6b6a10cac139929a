/** Tells of every command that this process runs, just before it runs (`-v`). */
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';

/** What `observeCommands` hands over. */
export type CommandListener = (file: string, args: readonly string[]) => void;

const NAME = 'xdpwho:command';
const COMMANDS = channel(NAME);

/** For those who run them. */
export function announceCommand(file: string, args: readonly string[]): void {
  COMMANDS.publish(new StartedCommand(file, args));
}

/** Whether anybody listens. */
export function isObserved(): boolean {
  return COMMANDS.hasSubscribers;
}

/** Returns what ends the telling. */
export function observeCommands(listener: CommandListener): () => void {
  const onMessage = (message: unknown) => {
    if (message instanceof StartedCommand) listener(message.file, message.args);
  };
  subscribe(NAME, onMessage);
  return () => {
    unsubscribe(NAME, onMessage);
  };
}

class StartedCommand {
  readonly file: string;
  readonly args: readonly string[];

  constructor(file: string, args: readonly string[]) {
    this.file = file;
    this.args = args;
  }
}
