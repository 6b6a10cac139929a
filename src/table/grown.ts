/** Typed arrays that grow. Pure. */

type Growing = BigUint64Array<ArrayBuffer> | Float64Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

const LEAST = 1024;

/** The array itself, or a larger one with the same content, if it has no room for `length` elements. */
export function grown<T extends Growing>(array: T, length: number): T {
  if (length <= array.length) return array;
  const size = 2 ** Math.ceil(Math.log2(Math.max(length, LEAST)));
  // The compiler does not see that the constructor of an array makes one of its own kind.
  const larger = new (array.constructor as new (size: number) => T)(size);
  if (larger instanceof BigUint64Array && array instanceof BigUint64Array) larger.set(array);
  else if (larger instanceof Float64Array && array instanceof Float64Array) larger.set(array);
  else if (larger instanceof Uint8Array && array instanceof Uint8Array) larger.set(array);
  return larger;
}
