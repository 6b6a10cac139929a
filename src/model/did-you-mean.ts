/** What a misspelt name may have been meant to be. Pure. */
import leven from 'leven';

/** Names that differ from `name` by little: at most two letters, or one begins with the other. */
export function nearNames(name: string, names: readonly string[]): string[] {
  const near = (each: string) =>
    leven(name, each) <= (name.length > 3 ? 2 : 1) ||
    (name.length > 2 && (each.startsWith(name) || name.startsWith(each)));
  return names
    .filter(near)
    .sort((a, b) => leven(name, a) - leven(name, b))
    .slice(0, 3);
}
