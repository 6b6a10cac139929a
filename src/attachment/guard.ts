/**
 * The guard: a shell of a few hundred kilobytes, in a session of its own, that reads a pipe whose
 * other end only this process holds (and, while they run, the commands that change something). When
 * this process ends in any way, SIGKILL and a closed terminal included, the guard reads the end,
 * detaches the program if it is still attached, and removes the pins.
 *
 * `bpftool net attach` leaves an attachment that outlives its maker (netlink, no bpf_link), so
 * something must outlive us too.
 */
import { rmdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type AnnouncedCompanion,
  findTool,
  requireTool,
  startAnnouncedCompanion,
} from '../host/exec.js';
import { cgroupPlaces } from '../host/kernel.js';
import { findNetnsPath, type Netns } from '../host/netns.js';
import { XdpwhoError } from '../model/errors.js';
import type { Pins } from './pin-paths.js';

/**
 * With all our rights still: takes what the guard needs of them, and lays the others down. A
 * process of root gets at every exec what the bounding set leaves it (capabilities(7)).
 *
 * - Descriptor 3 holds the namespace's file open, since /proc/PID/ns/net goes with its process.
 * - A service manager ends a unit by its cgroup, so the guard leaves ours for one of its own.
 * - A setpriv that does not know the option (busybox), or a process that may not use it: all rights stay.
 */
const PREPARE = `
trap '' HUP INT QUIT TERM PIPE TSTP TTIN TTOU
exec 3<"$1" || exit 1
group=$2 setpriv=$3 rights=$4
shift 4
for score in -900 0; do
  { echo "$score" >/proc/$$/oom_score_adj; } 2>/dev/null && break
done
if [ -n "$group" ]; then
  mkdir "$group"
  echo $$ >"$group/cgroup.procs" || rmdir "$group"
fi 2>/dev/null
if [ -n "$setpriv" ] && "$setpriv" "$rights" -- true >/dev/null 2>&1 </dev/null; then
  exec "$setpriv" "$rights" -- "$@"
fi
exec "$@"
`;

/**
 * Everything comes as a positional parameter, nothing as text of the script. Words on the pipe:
 * a program's id once it is known, `keep` when there is nothing more to guard.
 *
 * - The plain output of `net show` is one line per program, `eth0(2) driver id 7`; unlike JSON it
 *   needs no unescaping, and a name holds neither white space nor a slash.
 * - Our own namespace is not entered: that takes CAP_SYS_ADMIN, and the rest does not.
 * - An interface may have been moved to another namespace, where its program stays attached: the
 *   others are searched when ours does not have it, each once, and by another path where a look
 *   failed: a path by a process goes with that process.
 * - What could not be detached keeps its pins: by them `clean` and the next run know it for ours.
 * - In /tmp anybody may make a folder of such a name: only those of our own user are removed.
 * - The token tells our directory from one that somebody made after us. One that is still empty has
 *   no token: it goes, and whoever was about to take it makes it again (src/attachment/pins.ts, claim).
 */
const SCRIPT = `
bpftool=$1 nsenter=$2 directory=$3 token=$4 scratch=$5 group=$6 home=$7
leave() {
  [ -d "$group" ] || return 0
  for place in "$home" "\${group%/*}"; do
    { echo $$ >"$place/cgroup.procs"; } 2>/dev/null && break
  done
  rmdir "$group" 2>/dev/null
}
echo ready
exec >/dev/null 2>&1
id=
while read -r word; do
  case $word in keep) leave; exit 0 ;; *) id=$word ;; esac
done
in_netns() {
  at=$1
  shift
  if [ "$at" -ef /proc/self/ns/net ]; then "$bpftool" -n "$@" </dev/null 2>/dev/null
  else "$nsenter" --net="$at" -- "$bpftool" -n "$@" </dev/null 2>/dev/null; fi
}
attached_in() {
  shown=$(in_netns "$1" net show) || return 1
  printf '%s\\n' "$shown" | while IFS= read -r line; do
    case $line in
      *') driver id '"$id") type=xdpdrv ;;
      *') generic id '"$id") type=xdpgeneric ;;
      *') offload id '"$id") type=xdpoffload ;;
      *) continue ;;
    esac
    printf '%s %s\\n' "$type" "\${line%(*}"
  done
}
detach_in() {
  found=$(attached_in "$1") || return 1
  [ -n "$found" ] || return 0
  printf '%s\\n' "$found" | while read -r type device; do
    in_netns "$1" net detach "$type" dev "$device" >/dev/null
  done
  left=$(attached_in "$1") && [ -z "$left" ]
}
detach() {
  found=
  detach_in /proc/self/fd/3 || return 1
  [ -z "$found" ] || return 0
  seen=' '
  while read -r inode at; do
    case $seen in *" $inode "*) continue ;; esac
    if detach_in "$at"; then
      [ -z "$found" ] || return 0
      seen="$seen$inode "
    elif [ -n "$found" ]; then return 1; fi
  done <<PLACES
$(ls -dLi /run/netns/*; ls -dLi /proc/[0-9]*/ns/net)
PLACES
}
for folder in "$scratch"*; do
  [ -z "$(find "$folder" -prune -type d -user "$(id -u)")" ] || rm -rf "$folder"
done
if [ -n "$id" ]; then
  tries=1
  until detach; do
    [ "$tries" -lt 5 ] || { leave; exit 1; }
    tries=$((tries + 1))
    sleep 1
  done
fi
case $(readlink "$directory/state") in
  *"$token"*)
    rm -f "$directory/sources" "$directory/totals" "$directory/program" "$directory/clock"
    for part in maps readers; do
      [ ! -h "$directory/$part" ] || rm -f "$directory/$part"
      rm -f "$directory/$part/"*
      rmdir "$directory/$part"
    done
    rm -f "$directory/state~" "$directory/state"
    rmdir "$directory" "\${directory%/*}"
    ;;
  '') rmdir "$directory" "\${directory%/*}" ;;
esac
leave
`;

/**
 * To detach takes CAP_NET_ADMIN; to look, where unprivileged users are kept from bpf(2), CAP_BPF
 * (39, by number for older libcap-ng); to follow an interface into the namespace of another
 * process CAP_SYS_ADMIN (setns(2)) and CAP_SYS_PTRACE (namespaces(7)); to remove a cgroup below
 * the hierarchy's root, which the kernel closes even to root's own writing, CAP_DAC_OVERRIDE.
 */
const RIGHTS = '--bounding-set=-all,+net_admin,+cap_39,+sys_admin,+sys_ptrace,+dac_override';

/** How often in a row a guard that ends at once is replaced: one that cannot run must not be tried for ever. */
const MAX_REPLACEMENTS = 10;
const AT_ONCE_MS = 10_000;
const PAUSE_MS = 1000;

export interface GuardOptions {
  /** Absolute path of bpftool. */
  readonly bpftool: string;
  readonly netns: Netns;
  readonly pins: Pins;
  readonly token: string;
  /** What the paths of our temporary folders begin with: those of them that are left are removed too. */
  readonly scratchPrefix: string;
}

/** One guard for one attachment. It must be ready before the directory is claimed. */
export class Guard {
  readonly #options: GuardOptions;
  readonly #cgroup: { readonly group: string; readonly home: string } | undefined;
  #companion: AnnouncedCompanion;
  #programId: number | undefined;
  #released = false;
  #replacements = 0;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#cgroup = guardCgroup(options.token);
    this.#companion = this.#start();
  }

  get pid(): number {
    return this.#companion.pid;
  }

  /** The program that is to be detached: undefined for as long as none can have been attached. */
  get programId(): number | undefined {
    return this.#programId;
  }

  /** Our end of the pipe. A command that changes something shares it, so that the guard waits for that command's end. */
  get keepOpen(): AnnouncedCompanion['stdin'] {
    return this.#companion.stdin;
  }

  /** Resolves when it is at its post; rejects with `tool-failed` where no guard can be had. */
  async ready(): Promise<void> {
    while ((await this.#companion.firstLine) !== 'ready') {
      const failed = this.#companion;
      await failed.ended;
      // Its replacement has been started by now: that waited for the same end, and longer.
      if (this.#companion !== failed) continue;
      throw new XdpwhoError('tool-failed', 'the guard that is to detach does not start', {
        hint: 'xdpwho doctor',
      });
    }
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
    removeGuardCgroup(this.#options.token);
  }

  /** Resolves when the guard's end of the pipe has it, or the guard is no more. */
  async #tell(words: string): Promise<void> {
    await new Promise<void>((done) => {
      this.#companion.stdin.write(words, () => done());
    });
  }

  #start(): AnnouncedCompanion {
    const { bpftool, netns, pins, token, scratchPrefix } = this.#options;
    const { group = '', home = '' } = this.#cgroup ?? {};
    const sh = requireTool('sh');
    const nsenter = requireTool('nsenter', 'install util-linux');
    const guard = ['-c', SCRIPT, 'xdpwho-guard', bpftool, nsenter];
    const startedMs = performance.now();
    const companion = startAnnouncedCompanion(sh, [
      ...['-c', PREPARE, 'xdpwho-guard', pathInto(netns), group, findTool('setpriv') ?? '', RIGHTS],
      ...[sh, ...guard, pins.directory, token, scratchPrefix, group, home],
    ]);
    void companion.ended.then(() => this.#replace(performance.now() - startedMs));
    return companion;
  }

  /** A guard that somebody ended is replaced; until then this process is all that detaches. */
  async #replace(livedMs: number): Promise<void> {
    if (livedMs > AT_ONCE_MS) this.#replacements = 0;
    while (!this.#released && this.#replacements < MAX_REPLACEMENTS) {
      this.#replacements++;
      try {
        this.#companion = this.#start();
      } catch (error) {
        if (!(error instanceof XdpwhoError)) throw error;
        // Out of descriptors or processes, which may pass.
        await sleep(PAUSE_MS, undefined, { ref: false });
        continue;
      }
      if (this.#programId !== undefined) await this.watch(this.#programId);
      return;
    }
  }
}

/** The namespace's name or process may have gone while it lives on. */
function pathInto({ path, inode }: Netns): string {
  if (path === undefined) return '/proc/self/ns/net';
  return findNetnsPath(inode) ?? path;
}

/** Removes the cgroup of a guard that was killed in it; one in which a guard still is stays. */
export function removeGuardCgroup(token: string): void {
  const { group } = guardCgroup(token) ?? {};
  if (group === undefined) return;
  try {
    rmdirSync(group);
  } catch {
    // It is not there, which is the usual case, or not empty.
  }
}

function guardCgroup(token: string): { group: string; home: string } | undefined {
  const places = cgroupPlaces();
  return places && { group: `${places.root}/xdpwho-${token}`, home: places.own };
}
