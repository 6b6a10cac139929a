# Ends an attachment. It reads words from its standard input, which is a pipe. When the pipe closes, the
# process at its other end has died, and the guard detaches the program and removes the pins. These
# are the words, and the line that it answers:
#
#   program ID    no answer; the program to detach from now on
#   holder PID T  no answer; the process that holds the link, and its start time (proc(5), field 22 of stat)
#   detach        detached | nowhere | attached DEVICES, a tab, WHAT BPFTOOL SAID | failed WHY
#   remove        removed | left | unseen: removes the pins; `left` if there are files that xdpwho did not make,
#                 `unseen` if the program is attached in a namespace that nothing leads to
#   remove all    removed | left: removes everything in the directory
#   verbose       no answer; from now on it prints each command in a line that begins with `+`
#   keep          no answer; the guard ends, and the attachment stays; xdpwho removes the cgroup
#   leave         no answer; as if the pipe had closed, but the process lives and needs its temporary folders
#
# The token is part of the record of our attachment. It tells our directory from one that somebody made
# in its place; if it is empty, the directory is ours as it is. Descriptor 3 is the namespace. end.sh must
# come before this text.
bpftool=$1 nsenter=$2 netns_directory=$3 directory=$4 token=$5 scratch=$6 group=$7 own_group=$8
home=/proc/self/fd/3 id= holder= nowhere= verbose=
exec 4>&1

# The kernel removes only a cgroup without processes, so the guard moves out of its own first.
leave() {
  [ -d "$group" ] || return 0
  for other in "$own_group" "${group%/*}"; do
    { echo $$ >"$other/cgroup.procs"; } 2>/dev/null && break
  done
  rmdir "$group" 2>/dev/null
}

# Detaches the program, by its link if that stays pinned. Sets `released` and, as detach_program does, `found`:
# both are empty if the program was attached nowhere. Fails as detach_program does.
detach_ours() {
  released=
  if owns "$directory" "$token" && release_link "$directory"; then released=yes; fi
  detach_program "$id" "$home"
}

# unseen ID: whether the program of our directory, which was found nowhere, is attached all the same.
unseen() { owns "$directory" "$token" && ! unpin_program "$directory" "$1"; }

remove_ours() {
  # The link of a run that died while it loaded (src/attachment/front-pin.ts).
  [ -z "$token" ] || rm -f "/sys/fs/bpf/xdpwho_front_$(printf %s "$token" | tr -d -)"
  if owns "$directory" "$token"; then remove_pins "$directory"
  elif [ -h "$directory/state" ]; then return 0
  # Another run may be about to claim it (src/attachment/pins.ts). That run makes the directory again.
  else rmdir "$directory" "${directory%/*}"
  fi
  [ ! -e "$directory" ]
} 2>/dev/null

echo ready
while read -r word rest; do
  case $word in
    verbose) verbose=yes ;;
    program) id=$rest ;;
    holder) holder=$rest ;;
    detach)
      if detach_ours; then
        if [ -n "$found$released" ]; then echo detached; else nowhere=$id; echo nowhere; fi
      else
        said=$(printf '%s' "$said" | tail -n 1)
        if [ -z "$attached" ]; then printf 'failed %s\n' "$said"
        else printf 'attached %s\t%s\n' "$(printf '%s\n' "$attached" | sed 's/^[a-z]* //' | tr '\n' ' ')" "$said"; fi
      fi ;;
    remove)
      if [ -n "$nowhere" ] && unseen "$nowhere"; then echo unseen
      elif case $rest in all) remove_all "$directory" ;; *) remove_ours ;; esac then echo removed
      else echo left; fi ;;
    keep) exit 0 ;;
    leave) scratch=; break ;;
  esac
done

exec >/dev/null 2>&1
verbose=
# Anybody can make a folder of such a name in /tmp, so only the folders of our own user are removed.
if [ -n "$scratch" ]; then
  for folder in "$scratch"*; do
    [ -z "$(find "$folder" -prune -type d -user "$(id -u)")" ] || rm -rf "$folder"
  done
fi
# The holder ends with the process that holds the other end of its pipe too. But while it is stopped it
# does not, and holds on.
if [ -n "$holder" ] && [ "$(start_ticks "${holder% *}")" = "${holder#* }" ]; then
  kill -s KILL "${holder% *}"
fi
if [ -n "$id" ]; then
  tries=1
  # If the program cannot be detached, its pins stay, so that `clean` and the next run find it.
  until detach_ours; do
    [ "$tries" -lt 15 ] || { leave; exit 1; }
    tries=$((tries + 1))
    sleep 1
  done
fi
if [ -n "$id" ] && [ -z "$found" ] && unseen "$id"; then leave; exit 1; fi
remove_ours
leave
