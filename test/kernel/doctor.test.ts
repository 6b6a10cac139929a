/** What `doctor` says of reading is what an attachment does. */
import * as assert from 'uvu/assert';
import { suite } from '../suite.js';
import { USUAL_READER } from './iterators.js';
import { documentIn, Lab, listIn, WHY_NOT } from './lab.js';

let lab: Lab;

const doctor = suite('doctor tries how the table is read', WHY_NOT);
doctor.before(async () => {
  lab = await Lab.create();
});
doctor.after(() => lab.close());

async function says(...options: string[]): Promise<string> {
  const { stdout } = await lab.run(['doctor', '-o', 'json', ...options], { bare: true });
  const check = listIn(documentIn(stdout), 'checks').find((each) => each['name'] === 'reading');
  return `${check?.['status']}: ${check?.['detail']}`;
}

doctor('and says what an attachment does', async () => {
  const attached = await lab.run(['attach', 'eth0', '-o', 'json']);
  const [row] = listIn(documentIn(attached.stdout), 'interfaces');
  assert.is(row?.['reader'], USUAL_READER);
  const usual =
    USUAL_READER === 'iterator' ? /^pass: by an iterator: / : /^warn: by map dump, slower: /;
  assert.match(await says(), usual);
  assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
});

doctor('and why there is no iterator, where bpftool or the kernel refuses it', async () => {
  const answers = (name: string, text: string) =>
    lab.bpftoolThat(
      name,
      `case "$*" in *"iter pin"*) echo '{"error":"${text}"}'; exit 255 ;; esac`,
    );
  const old = 'libbpf: failed to find valid kernel BTF';
  assert.is(
    await says('--bpftool', answers('old', old)),
    `warn: by map dump, slower: bpftool iter pin: ${old}`,
  );
  assert.match(
    await says('--bpftool', answers('refused', 'Operation not permitted')),
    /^warn: by map dump, slower: bpftool iter pin: Operation not permitted; (a security module of the kernel|kernel lockdown) refuses it/,
  );
  await lab.untilNothingLeft();
});

doctor.run();
