import { type Callback, suite as uvuSuite } from 'uvu';

export type { Callback };

/** What uvu keeps to itself and test/run.mjs prints. */
interface TestNotes {
  readonly skipped: { suite: string; name: string; why: string; inGuest?: boolean }[];
  readonly hooks: { suite: string; hook: string; error: string }[];
  /** Suites whose `.run()` has not been called. */
  readonly waiting: Set<string>;
  /** Only tests that are added by `inGuest`. */
  readonly onlyInGuest?: boolean;
}

declare global {
  var TEST_NOTES: TestNotes | undefined;
}

interface Hook<T> {
  (callback: Callback<T>): void;
  each(callback: Callback<T>): void;
}

export interface Suite<T> {
  (name: string, callback: Callback<T>): void;
  only(name: string, callback: Callback<T>): void;
  /** Leaves one test out; the runner prints its name and why. */
  skip(name: string, why: string): void;
  /**
   * A test of what some kernels refuse. `why` says that this one does: then it is left out, which with CI=true is
   * no failure, because a guest runs it: see test/vm/iterators.test.ts.
   */
  inGuest(name: string, callback: Callback<T>, why: string | undefined): void;
  before: Hook<T>;
  after: Hook<T>;
  run(): void;
}

/**
 * uvu's `suite`, which tells test/run.mjs what uvu does not: the names of skipped tests, what a hook
 * has thrown, and a suite that was never run. With `why`, all its tests are left out for that reason.
 */
export function suite<T = Record<string, unknown>>(name: string, why?: string): Suite<T> {
  const inner = uvuSuite<T>(name);
  const notes = globalThis.TEST_NOTES;
  notes?.waiting.add(name);
  let hasTests = false;

  const hook = (label: string, add: Hook<T>['each']) => (callback: Callback<T>) => {
    if (why !== undefined) return;
    add(async (context) => {
      if (notes?.onlyInGuest === true && !hasTests) return;
      try {
        await callback(context);
      } catch (error) {
        const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
        notes?.hooks.push({ suite: name, hook: label, error: text });
        throw error;
      }
    });
  };
  const leaveOut = (test: string, reason: string, inGuest: boolean) => {
    notes?.skipped.push({ suite: name, name: test, why: reason, inGuest });
    inner.skip(test);
  };
  const skip = (test: string, reason: string) => leaveOut(test, reason, false);
  const test = (label: string, callback: Callback<T>) => {
    if (notes?.onlyInGuest === true) return;
    if (why === undefined) inner(label, callback);
    else skip(label, why);
  };
  return Object.assign(test, {
    only: inner.only,
    skip,
    inGuest: (test: string, callback: Callback<T>, reason: string | undefined) => {
      hasTests = true;
      if (reason === undefined && why === undefined) inner(test, callback);
      else leaveOut(test, reason ?? why ?? '', reason !== undefined);
    },
    before: Object.assign(hook('before', inner.before), {
      each: hook('before.each', inner.before.each),
    }),
    after: Object.assign(hook('after', inner.after), {
      each: hook('after.each', inner.after.each),
    }),
    run: () => {
      notes?.waiting.delete(name);
      inner.run();
    },
  });
}
