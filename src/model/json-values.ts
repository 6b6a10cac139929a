/** Reads values of unknown shape: the JSON of other programs, or a record on bpffs. Pure. */

/**
 * Parses the JSON of iproute2 and bpftool. Their writer (json_writer.c) does not escape control
 * characters, and puts a backslash before an apostrophe. JSON allows neither, and names of
 * interfaces can have both.
 * @throws SyntaxError
 */
export function parseToolJson(text: string): unknown {
  const valid = text
    .replace(/\\(.)/gs, (pair, character: string) => (character === "'" ? "'" : pair))
    .replace(
      /(?!\s)\p{Cc}/gu,
      (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
  return JSON.parse(valid);
}

/** An own property of an object, or undefined. */
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
