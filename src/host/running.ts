/** The programs that run at present. This is not part of exec.ts, so that the start of the command does not load execa. */

/** Process ids. Each process leads a group of its own. */
const running = new Set<number>();

/** Remembers a program until it exits. */
export function noteRunning(subprocess: {
  readonly pid?: number | undefined;
  once(event: 'exit', listener: () => void): unknown;
}): void {
  const { pid } = subprocess;
  if (pid === undefined) return;
  running.add(pid);
  subprocess.once('exit', () => running.delete(pid));
}

/** Sends SIGKILL to each of them and its children. */
export function killRunning(): void {
  for (const pid of running) {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // It has just exited.
    }
  }
}
