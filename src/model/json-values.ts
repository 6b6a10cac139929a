/** Looking into values of unknown shape: what another program printed, or what is in a record on bpffs. */

/**
 * The JSON of iproute2 and bpftool, whose writer (json_writer.c) leaves control characters as they
 * are and puts a backslash before an apostrophe: JSON allows neither, names of interfaces have both.
 * @throws SyntaxError
 */
export function parseToolJson(text: string): unknown {
  const mended = text
    .replace(/\\(.)/gs, (pair, character: string) => (character === "'" ? "'" : pair))
    .replace(/(?!\s)\p{Cc}/gu, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return JSON.parse(mended);
}

/** A property of its own, or undefined where there is none. */
export function propertyOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}

/** A property that is a string, or undefined. */
export function stringIn(value: unknown, name: string): string | undefined {
  const property = propertyOf(value, name);
  return typeof property === 'string' ? property : undefined;
}

/** A property that is a number, or undefined. */
export function numberIn(value: unknown, name: string): number | undefined {
  const property = propertyOf(value, name);
  return typeof property === 'number' ? property : undefined;
}
