# Ending what is in $directory.

# Detaches a program from every interface of one namespace, and prints a line for each.
detach_in() {
  programs "$1" 2>/dev/null | while IFS= read -r line; do
    rest=${line#* }
    [ "${rest%% *}" = "$2" ] || continue
    "detach_${line%% *}" "$1" "${rest#* }" >/dev/null 2>&1 && echo detached
  done
}

# Detaches the program wherever it is attached: its own namespace first, then the others, since an interface takes it along.
detach_program() {
  [ -z "$(detach_in "$at" "$1")" ] || return 0
  for other in "$netns_directory"/* /proc/[0-9]*/ns/net; do
    [ -e "$other" ] || continue
    [ -z "$(detach_in "$other" "$1")" ] || return 0
  done
}

# Removes what look has found: only ever our own.
end() {
  if [ -h "$directory" ]; then rm -f "$directory"; return; fi
  if [ -n "$program_id" ]; then
    detach_program "$program_id"
    ! attached_elsewhere "$program_id" || fail tool-failed "$interface_shown: program $program_id is still attached" 'bpftool net show'
  fi
  case $whose in
    other-version | broken) rm -rf "$directory" ;;
    *) remove_pins 2>/dev/null ;;
  esac
  rmdir "$root" 2>/dev/null
  [ ! -e "$directory" ] || fail bad-object "$directory: it holds what xdpwho did not make" "look at it: ls -lR $directory"
}
