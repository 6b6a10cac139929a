/** Ending a run early: by its own decision or by the caller's signal. */
import { setTimeout as sleep } from 'node:timers/promises';

/** What ends a run: its own `end`, or the signal of the caller. */
export interface Ending {
  /** Aborted by either of them. */
  signal: AbortSignal;
  end: () => void;
  /** Stops listening to the caller's signal. Call it when the run has ended. */
  release: () => void;
}

/** The ending of a run that `signal` may end from now on. */
export function endingOf(signal: AbortSignal | undefined): Ending {
  const controller = new AbortController();
  const end = () => controller.abort();
  signal?.addEventListener('abort', end, { once: true });
  if (signal?.aborted === true) end();
  const release = () => signal?.removeEventListener('abort', end);
  return { signal: controller.signal, end, release };
}

/** Resolves after `ms`, or when `signal` is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(Math.max(ms, 0), undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
