/**
 * The guard: a shell of a few hundred kilobytes, in a session of its own, that reads a pipe whose
 * other end only this process holds (and, while they run, the commands that change something). When
 * this process ends in any way, SIGKILL and a closed terminal included, the guard reads the end,
 * detaches the program if it is still attached, and removes the pins.
 *
 * `bpftool net attach` leaves an attachment that outlives its maker (netlink, no bpf_link), so
 * something must outlive us too.
 */
import { type Companion, requireTool, startCompanion } from './exec.js';
import type { Pins } from './pins.js';

/**
 * Everything comes as a positional parameter, nothing as text of the script. Words on the pipe:
 * a program's id once it is known, `keep` when there is nothing more to guard.
 *
 * - Descriptor 3 holds the namespace's file open, since /proc/PID/ns/net goes with its process.
 * - The plain output of `net show` is one line per program, `eth0(2) driver id 7`; unlike JSON it
 *   needs no unescaping, and a name holds neither white space nor a slash.
 * - Our own namespace is not entered: that takes CAP_SYS_ADMIN, and the rest does not.
 * - An interface may have been moved to another namespace, where its program stays attached: the
 *   other namespaces are searched when ours does not have it.
 * - The token tells our directory from one that somebody made after us.
 */
const SCRIPT = `
trap '' HUP INT QUIT TERM PIPE TSTP TTIN TTOU
bpftool=$1 nsenter=$2 netns=$3 directory=$4 token=$5 scratch=$6
( echo -900 >/proc/self/oom_score_adj ) 2>/dev/null
exec 3<"$netns" || exit 1
id=
while read -r word; do
  case $word in keep) exit 0 ;; *) id=$word ;; esac
done
in_netns() {
  at=$1
  shift
  if [ "$at" -ef /proc/self/ns/net ]; then "$bpftool" -n "$@" </dev/null
  else "$nsenter" --net="$at" -- "$bpftool" -n "$@" </dev/null; fi
}
detach_in() {
  in_netns "$1" net show 2>/dev/null | while IFS= read -r line; do
    case $line in
      *') driver id '"$id") type=xdpdrv ;;
      *') generic id '"$id") type=xdpgeneric ;;
      *') offload id '"$id") type=xdpoffload ;;
      *) continue ;;
    esac
    in_netns "$1" net detach "$type" dev "\${line%(*}" >/dev/null 2>&1 && echo detached
  done
}
if [ -n "$id" ] && [ -z "$(detach_in /proc/self/fd/3)" ]; then
  for at in /run/netns/* /proc/[0-9]*/ns/net; do
    [ -e "$at" ] || continue
    [ -z "$(detach_in "$at")" ] || break
  done
fi
rm -rf "$scratch"
case $(readlink "$directory/state") in
  *"$token"*)
    rm -f "$directory/sources" "$directory/totals" "$directory/program" "$directory/clock"
    rm -f "$directory/maps/"*
    rmdir "$directory/maps"
    rm -f "$directory/state~" "$directory/state"
    rmdir "$directory" "\${directory%/*}"
    ;;
esac
`;

/** How often a guard that ended early is replaced: one that cannot run at all must not be tried for ever. */
const MAX_REPLACEMENTS = 10;

export interface GuardOptions {
  /** Absolute path of bpftool. */
  readonly bpftool: string;
  /** Path of the namespace; undefined for our own. */
  readonly netnsPath: string | undefined;
  readonly pins: Pins;
  readonly token: string;
  /** A folder of our own for temporary files, removed too if it is still there. */
  readonly scratch: string;
}

/** One guard for one attachment. It must be started before the directory is claimed. */
export class Guard {
  readonly #options: GuardOptions;
  #companion: Companion;
  #programId: number | undefined;
  #released = false;
  #replacements = 0;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#companion = this.#start();
  }

  get pid(): number {
    return this.#companion.pid;
  }

  /** Our end of the pipe. A command that changes something shares it, so that the guard waits for that command's end. */
  get keepOpen(): Companion['stdin'] {
    return this.#companion.stdin;
  }

  /** Tells which program to detach. To be called before that program is attached. */
  async watch(programId: number): Promise<void> {
    this.#programId = programId;
    await this.#tell(`${programId}\n`);
  }

  /** Ends the guard without its doing anything; the attachment is gone, or is to stay. */
  async release(): Promise<void> {
    this.#released = true;
    this.#companion.stdin.end('keep\n');
    await this.#companion.ended;
  }

  /** Resolves when the guard's end of the pipe has it, or the guard is no more. */
  async #tell(words: string): Promise<void> {
    await new Promise<void>((done) => {
      this.#companion.stdin.write(words, () => done());
    });
  }

  #start(): Companion {
    const { bpftool, netnsPath, pins, token, scratch } = this.#options;
    const companion = startCompanion(requireTool('sh'), [
      ...['-c', SCRIPT, 'xdpwho-guard', bpftool, requireTool('nsenter', 'install util-linux')],
      ...[netnsPath ?? '/proc/self/ns/net', pins.directory, token, scratch],
    ]);
    // A guard that somebody ended is replaced; until then this process is all that detaches.
    void companion.ended.then(async () => {
      if (this.#released || this.#replacements === MAX_REPLACEMENTS) return;
      this.#replacements++;
      this.#companion = this.#start();
      if (this.#programId !== undefined) await this.watch(this.#programId);
    });
    return companion;
  }
}
