# The only code that detaches a program or removes pins. It is part of the guard (guard.sh), which ends
# every attachment of the command, and of the agentless script. It expects the variables bpftool,
# nsenter and netns_directory. Where `verbose` is set, it prints each command to descriptor 4 before it
# runs it.

# in_netns PATH COMMAND...: runs a command in a network namespace. It does not enter our own, because
# nsenter needs CAP_SYS_ADMIN, and the command itself does not.
in_netns() {
  entered=$1
  shift
  [ "$entered" -ef /proc/self/ns/net ] || set -- "$nsenter" --net="$entered" -- "$@"
  [ -z "${verbose-}" ] || printf '+ %s\n' "$*" >&4
  "$@" </dev/null
}

# Reads the plain output of `net show`, and prints "TYPE ID DEVICE" for each XDP program. That output
# has one line for each interface, `lan0(2) driver id 7`. If a card holds several programs, the line has
# `MODE id ID` for each (bpftool src/netlink_dumper.c). Plain text needs no unescaping, as JSON would; the
# kernel allows no white space in a name.
programs() {
  while IFS= read -r line; do
    [ "$line" != 'tc:' ] || break
    device=${line%(*}
    set -- ${line##*)}
    while [ "${2-}" = id ]; do
      case $1 in
        driver) type=xdpdrv ;;
        generic) type=xdpgeneric ;;
        offload) type=xdpoffload ;;
        *) type= ;;
      esac
      # Not echo, which reads a backslash in a name as an escape.
      [ -z "$type" ] || printf '%s %s %s\n' "$type" "$3" "$device"
      shift 3
    done
  done
}

# look_in PATH ID: sets `attached` to a line "TYPE DEVICE" for each interface of the namespace that has the
# program. Fails if bpftool fails, with its last words in `said`.
look_in() {
  attached=
  said=$(in_netns "$1" "$bpftool" -n net show 2>&1) || return 1
  attached=$(printf '%s\n' "$said" | programs | sed -n "s/^\([a-z]*\) $2 /\1 /p")
  [ -n "$attached" ] || attached=$(listed_by_ip "$1" "$2")
}

# listed_by_ip PATH ID: the same by iproute2. The list of bpftool ends early, and says nothing of that,
# where the description of an interface is larger than its buffer: with many alternative names, or a
# macvlan with many addresses. What is not in it may be attached all the same.
listed_by_ip() {
  command -v ip >/dev/null || return 0
  in_netns "$1" ip -d -o link show 2>/dev/null 4>/dev/null | sed -n "/prog\/xdp id $2 /{
    s/^[0-9]*: \(.*\): <[^>]*> mtu [0-9]* xdp\([a-z]*\) .*/\2 \1/
    s/ \(.*\)@[^@]*$/ \1/
    s/^ /xdpdrv /
    s/^generic /xdpgeneric /
    s/^offload /xdpoffload /
    p
  }"
}

# detach_in PATH ID: detaches the program from every interface of the namespace, and sets `found` to the
# interfaces that had it. `net detach` succeeds when it did nothing, and it also removes a program that is
# not ours (bpftool src/net.c). So this looks before and after. Fails if the program may still be
# attached: then `attached` has the interfaces, and `said` has the last words of bpftool.
detach_in() {
  found=
  look_in "$1" "$2" || return 1
  found=$attached problem=
  [ -n "$found" ] || return 0
  while read -r type device; do
    problem=$(in_netns "$1" "$bpftool" -n net detach "$type" dev "$device" 2>&1) || :
  done <<FOUND
$found
FOUND
  look_in "$1" "$2" || return 1
  said=$problem
  [ -z "$attached" ]
}

# owns DIRECTORY TOKEN: whether the record in the directory is that of our attachment, and not of one that
# somebody made in its place.
owns() { case $(readlink "$1/state") in *"$2"*) ;; *) return 1 ;; esac; }

# start_ticks PID: prints when a process was started (proc(5), field 22 of stat), which tells it from a later
# process with its number. To be called in a shell of its own, `$(...)`: it changes how words are split.
start_ticks() {
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  # The name of the command, in parentheses, may contain spaces and parentheses.
  set -f
  set -- ${stat##*) }
  printf '%s' "${20-}"
}

# release_link DIRECTORY: ends an attachment by a bpf_link that stays pinned: it goes with its pin. While it is
# there, `net detach` is refused. Fails where there is none.
release_link() { [ -f "$1/link" ] && rm -f "$1/link"; }

# detach_program ID HOME: detaches the program in the namespace at the path HOME. If it is not attached
# there, this searches every namespace that it finds a path to, because an interface that is moved to
# another namespace keeps its program. It searches each namespace once. If a path fails it tries the next
# path to the same namespace, because a path of a process ends with the process. If the program was not
# attached anywhere, `found` is empty.
detach_program() {
  detach_in "$2" "$1" || return 1
  [ -z "$found" ] || return 0
  searched=' '
  while read -r inode path; do
    case $searched in *" $inode "*) continue ;; esac
    if detach_in "$path" "$1"; then
      [ -z "$found" ] || return 0
      searched="$searched$inode "
    elif [ -n "$found" ]; then return 1; fi
  done <<PATHS
$(ls -dLi "$netns_directory"/* /proc/[0-9]*/ns/net 2>/dev/null)
PATHS
}

# unpin_program DIRECTORY ID: removes the pin of a program that was attached nowhere that can be seen. Where the
# kernel has the program still, something else holds it: the interface is in a network namespace that
# no name and no process leads to. Then it is pinned again, and this fails.
unpin_program() {
  rm -f "$1/program"
  looks=0
  while "$bpftool" -n prog show id "$2" >/dev/null 2>&1; do
    if [ "$looks" -ge 10 ]; then
      "$bpftool" -n prog pin id "$2" "$1/program" >/dev/null 2>&1
      return 1
    fi
    looks=$((looks + 1))
    sleep 0.1 2>/dev/null || sleep 1
  done
}

# remove_all DIRECTORY: removes a directory of pins with everything in it. For what another version made.
remove_all() {
  rm -rf "$1"
  rmdir "${1%/*}" 2>/dev/null
  [ ! -e "$1" ]
}

# remove_pins DIRECTORY: removes the files that xdpwho makes for an attachment, and then the directory. Any
# other file stays, and the directory with it. The record is removed last, so that a directory that could
# not be emptied still says whose it is. A link is removed and not followed, because it may lead anywhere
# where others can write to the bpffs.
remove_pins() {
  if [ -h "$1" ]; then rm -f "$1"; fi
  [ -d "$1" ] || return 0
  removed=$1
  set -- "$removed/sources" "$removed/totals" "$removed/program" "$removed/clock" "$removed/linkmaker" "$removed/link"
  for part in "$removed/maps" "$removed/readers"; do
    if [ -h "$part" ]; then set -- "$@" "$part"; continue; fi
    for pin in "$part"/*; do [ -d "$pin" ] || set -- "$@" "$pin"; done
  done
  rm -f "$@"
  rmdir "$removed/maps" "$removed/readers"
  rm -f "$removed/state~" "$removed/state"
  rmdir "$removed" "${removed%/*}"
  [ ! -e "$removed" ]
} 2>/dev/null
