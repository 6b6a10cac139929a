/** Finds the names that a misspelt name may stand for. Pure. */
import leven from 'leven';

/** Up to three of `names` that differ from `name` by at most two letters (one in short names), or begin with it or it with them. */
export function nearNames(name: string, names: readonly string[]): string[] {
  const isNear = (candidate: string) =>
    leven(name, candidate) <= (name.length > 3 ? 2 : 1) ||
    (name.length > 2 && (candidate.startsWith(name) || name.startsWith(candidate)));
  return names
    .filter(isNear)
    .sort((a, b) => leven(name, a) - leven(name, b))
    .slice(0, 3);
}
