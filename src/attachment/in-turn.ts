/** Ending several attachments, of which one may stand in the way of another. */

export interface Unended<T> {
  readonly item: T;
  readonly error: unknown;
}

/**
 * Ends each. The kernel refuses to take a program off a device (a bridge's port, the parent of a VLAN)
 * for as long as a device above it has one (net/core/dev.c dev_xdp_attach): so those that fail are
 * tried again whenever another one has succeeded. Gives those that could not be ended.
 */
export async function endInTurn<T>(
  items: readonly T[],
  end: (item: T) => Promise<void>,
): Promise<Unended<T>[]> {
  let left: readonly T[] = items;
  for (;;) {
    const failed: Unended<T>[] = [];
    for (const item of left) {
      try {
        await end(item);
      } catch (error) {
        failed.push({ item, error });
      }
    }
    if (failed.length === 0 || failed.length === left.length) return failed;
    left = failed.map(({ item }) => item);
  }
}
