/** Reports every command just before it runs, for `-v`. */
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';

/** Is called with each command. */
type CommandListener = (file: string, args: readonly string[]) => void;

const NAME = 'xdpwho:command';
const COMMANDS = channel(NAME);

/** Reports one command. The code that runs it calls this. */
export function announceCommand(file: string, args: readonly string[]): void {
  COMMANDS.publish(new StartedCommand(file, args));
}

/** Whether anybody listens, so that a report is worth its work. */
export function isObserved(): boolean {
  return COMMANDS.hasSubscribers;
}

/** Calls `listener` with each command from now on. Returns a function that ends this. */
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
