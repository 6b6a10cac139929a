# The only code that detaches a program or removes pins. It is part of the guard (guard.sh), which ends
# attachments for the command, after a crash as on every other day, and of the agentless script.
# It expects bpftool, nsenter and netns_directory, and tells on descriptor 4 what it runs where `verbose` is
# set. Everything else comes as an argument.

# in_netns PATH COMMAND...: runs a command in a network namespace. Our own is not entered: that takes
# CAP_SYS_ADMIN, and the rest does not.
in_netns() {
  entered=$1
  shift
  [ "$entered" -ef /proc/self/ns/net ] || set -- "$nsenter" --net="$entered" -- "$@"
  [ -z "${verbose-}" ] || printf '+ %s\n' "$*" >&4
  "$@" </dev/null
}

# Reads the plain output of `net show`, and prints "TYPE ID DEVICE" for each XDP program. That output
# has a line for each interface, `lan0(2) driver id 7`, with a pair for each mode where a card holds
# several (bpftool src/netlink_dumper.c); unlike JSON it needs no unescaping. A name has no white space.
programs() {
  while IFS= read -r line; do
    [ "$line" != 'tc:' ] || break
    device=${line%(*}
    set -- ${line##*)}
    while [ "${2-}" = id ]; do
      case $1 in
        driver) printf 'xdpdrv %s %s\n' "$3" "$device" ;;
        generic) printf 'xdpgeneric %s %s\n' "$3" "$device" ;;
        offload) printf 'xdpoffload %s %s\n' "$3" "$device" ;;
      esac
      shift 3
    done
  done
}

# look_in PATH ID: sets `attached` to a line "TYPE DEVICE" for each interface of the namespace that has the
# program. Fails where bpftool does; then `said` tells why.
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

# detach_in PATH ID: takes the program off every interface of the namespace, and sets `found` to where it
# was. `net detach` ends well when it did nothing, and takes off a stranger's program as well (bpftool
# src/net.c), so this looks before and after. Fails where the program may still be attached:
# `attached` tells where, and `said` what bpftool said.
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

# release_link DIRECTORY: ends an attachment by a bpf_link that stays pinned: it goes with its pin. While it is
# there, `net detach` is refused. Fails where there is none.
release_link() { [ -f "$1/link" ] && rm -f "$1/link"; }

# detach_program ID HOME: takes the program off wherever it is attached: in the namespace that HOME leads
# to, and if it is not there, in all that can be found, since an interface that is moved takes its
# program along. Each is searched once, and by another path where one failed: a path by a process goes
# with that process. Leaves `found` empty where the program was attached nowhere.
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

# remove_all DIRECTORY: removes whatever is in it, for a directory whose contents this version does not know.
remove_all() {
  rm -rf "$1"
  rmdir "${1%/*}" 2>/dev/null
  [ ! -e "$1" ]
}

# remove_pins DIRECTORY: removes the files that an attachment has, and then the directory. The record goes
# last, so that a directory that could not be emptied still says whose it is. What xdpwho does not
# make is left, and the directory with it. In a directory that others could write to, a link may lead
# anywhere: then only the link goes.
remove_pins() {
  if [ -h "$1" ]; then rm -f "$1"; fi
  [ -d "$1" ] || return 0
  rm -f "$1/sources" "$1/totals" "$1/program" "$1/clock" "$1/linkmaker" "$1/link"
  for part in maps readers; do
    [ ! -h "$1/$part" ] || rm -f "$1/$part"
    for pin in "$1/$part"/*; do [ -d "$pin" ] || rm -f "$pin"; done
    rmdir "$1/$part"
  done
  rm -f "$1/state~" "$1/state"
  rmdir "$1" "${1%/*}"
  [ ! -e "$1" ]
} 2>/dev/null
