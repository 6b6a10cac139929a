/** Programs that answer in the place of bpftool. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as assert from 'uvu/assert';
import { Bpftool } from '../../src/host/bpftool.js';
import { type ErrorCode, XdpwhoError } from '../../src/model/errors.js';

export const scratch = mkdtempSync(`${tmpdir()}/xdpwho-bpftool-`);
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));
let fakes = 0;

interface Answer {
  readonly stdout?: string;
  readonly stderr?: string;
  readonly status?: number;
  /** Shell text to run after it has printed. */
  readonly after?: string;
}

/** A program that answers like this to whatever it is asked, and notes what that was. */
export function fake(answer: Answer, timeoutMs?: number) {
  const path = `${scratch}/bpftool${++fakes}`;
  const { stdout = '', stderr = '', status = 0, after = '' } = answer;
  writeFileSync(`${path}.stdout`, stdout);
  writeFileSync(`${path}.stderr`, stderr);
  const script = `#!/bin/sh
printf '%s\\n' "$@" >'${path}.asked'
cat '${path}.stdout'
cat '${path}.stderr' >&2
${after}
exit ${status}
`;
  writeFileSync(path, script, { mode: 0o755 });
  const bpftool = new Bpftool({ path, timeoutMs });
  const asked = () => readFileSync(`${path}.asked`, 'utf8').trimEnd().split('\n');
  return { bpftool, path, asked };
}

export async function refusal(run: Promise<unknown>, code: ErrorCode): Promise<XdpwhoError> {
  try {
    await run;
  } catch (error) {
    assert.ok(error instanceof XdpwhoError, String(error));
    assert.is(error.code, code, error.message);
    assert.not(error.message.includes('\n'), 'one line');
    assert.not.match(error.message, /undefined|\[object/);
    return error;
  }
  return assert.unreachable(`it took it for success`) as never;
}
