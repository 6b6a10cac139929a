# Ends an attachment when it is told to on its standard input, or when that closes: then the process
# that holds the other end has died, whatever killed it. It answers each word with a line:
#
#   program ID    the program that is to be detached from now on
#   holder PID T  (none) the process that holds the link, and when it was started (proc(5), field 22 of stat)
#   detach        detached | nowhere | attached DEVICES, a tab, WHAT BPFTOOL SAID | failed WHY
#   remove        removed | left | unseen: the program is attached where nothing leads to
#   remove all    the same, whatever is in the directory
#   verbose       (none) from now on each command is told in a line that begins with `+`
#   keep          (none) the guard ends, and the attachment stays
#   leave         (none) as if the pipe had closed, but the process lives, and its folders stay
#
# TOKEN tells our directory from one that somebody made after us; without one, the directory is ours as
# it is. HOME is the namespace, open as descriptor 3. Expects end.sh before it.
bpftool=$1 nsenter=$2 netns_directory=$3 directory=$4 token=$5 scratch=$6 group=$7 own_group=$8
home=/proc/self/fd/3 id= holder= nowhere= verbose=
exec 4>&1

# A cgroup can only be removed when nobody is in it.
leave() {
  [ -d "$group" ] || return 0
  for place in "$own_group" "${group%/*}"; do
    { echo $$ >"$place/cgroup.procs"; } 2>/dev/null && break
  done
  rmdir "$group" 2>/dev/null
}

remove_ours() {
  case $(readlink "$directory/state") in
    *"$token"*) remove_pins "$directory" ;;
    # Without a record it is about to be claimed (src/attachment/pins.ts): whoever does so makes it again.
    '') rmdir "$directory" "${directory%/*}" ;;
    *) return 0 ;;
  esac
  [ ! -e "$directory" ]
} 2>/dev/null

echo ready
while read -r word rest; do
  case $word in
    verbose) verbose=yes ;;
    program) id=$rest ;;
    holder) holder=$rest ;;
    detach)
      if release_link "$directory"; then released=yes; else released=; fi
      if detach_program "$id" "$home"; then
        if [ -n "$found$released" ]; then echo detached; else nowhere=$id; echo nowhere; fi
      else
        said=$(printf '%s' "$said" | tail -n 1)
        if [ -z "$attached" ]; then printf 'failed %s\n' "$said"
        else printf 'attached %s\t%s\n' "$(printf '%s' "$attached" | sed 's/^[a-z]* //' | tr '\n' ' ')" "$said"; fi
      fi ;;
    remove)
      if [ -n "$nowhere" ] && ! unpin_program "$directory" "$nowhere"; then echo unseen
      elif case $rest in all) remove_all "$directory" ;; *) remove_ours ;; esac then echo removed
      else echo left; fi ;;
    keep) exit 0 ;;
    leave) scratch=; break ;;
  esac
done

exec >/dev/null 2>&1
verbose=
# In /tmp anybody may make a folder of such a name: only those of our own user are removed.
if [ -n "$scratch" ]; then
  for folder in "$scratch"*; do
    [ -z "$(find "$folder" -prune -type d -user "$(id -u)")" ] || rm -rf "$folder"
  done
fi
# The holder ends with the process that holds the other end of its pipe too. But while it is stopped it
# does not, and holds on. In a shell of its own: without file names for patterns, no pin would be found.
end_holder() (
  [ -n "$holder" ] || return 0
  pid=${holder% *}
  stat=$(cat "/proc/$pid/stat") || return 0
  # The command's name, in parentheses, may hold anything.
  stat=$(cat "/proc/$pid/stat") && set -f && set -- ${stat##*) } && [ "${20}" = "${holder#* }" ] && kill -s KILL "$pid"
)
end_holder
if [ -n "$id" ]; then
  tries=1
  # What could not be detached keeps its pins: by them `clean` and the next run know it for ours.
  until detach_program "$id" "$home"; do
    [ "$tries" -lt 15 ] || { leave; exit 1; }
    tries=$((tries + 1))
    sleep 1
  done
fi
if [ -n "$id" ] && [ -z "$found" ] && ! unpin_program "$directory" "$id"; then leave; exit 1; fi
remove_ours
leave
