/** The schema of the Bencher Metric Format, https://bencher.dev/v0/bmf.json, as a check. */
import { propertyOf } from '../../src/model/json-values.js';

/** The API's limits of names; the schema itself has none. */
const LONGEST_BENCHMARK = 1024;
const LONGEST_MEASURE = 64;

/** The first thing in a document that the schema does not allow, or undefined. */
export function bencherFault(document: unknown): string | undefined {
  if (!isObject(document)) return 'no object';
  for (const [benchmark, measures] of Object.entries(document)) {
    if (benchmark === '' || benchmark.length > LONGEST_BENCHMARK) return `name: ${benchmark}`;
    if (!isObject(measures)) return `${benchmark}: no object`;
    for (const [measure, metric] of Object.entries(measures)) {
      if (measure === '' || measure.length > LONGEST_MEASURE) return `name: ${measure}`;
      if (!isObject(metric)) return `${benchmark} ${measure}: no object`;
      if (!Object.hasOwn(metric, 'value')) return `${benchmark} ${measure}: no value`;
      for (const name of ['value', 'lower_value', 'upper_value']) {
        if (Object.hasOwn(metric, name) && typeof propertyOf(metric, name) !== 'number') {
          return `${benchmark} ${measure}: ${name} is no number`;
        }
      }
    }
  }
  return undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
