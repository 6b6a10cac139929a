# Ending what is in $directory.

# Detaches a program from every interface of one namespace, and prints a line for each.
detach_in() {
  show_net "$1" 2>/dev/null | programs | while IFS= read -r line; do
    rest=${line#* }
    [ "${rest%% *}" = "$2" ] || continue
    "detach_${line%% *}" "$1" "${rest#* }" >/dev/null 2>&1
    echo found
  done
}

# Detaches the program wherever it is attached: its own namespace first, then the others, since an interface takes it along. Fails where it may be attached still.
detach_program() {
  for place in "$at" "$netns_directory"/* /proc/[0-9]*/ns/net; do
    [ -e "$place" ] || continue
    [ -n "$(detach_in "$place" "$1")" ] || continue
    run show_net "$place" && ! programs <"$scratch/out" | grep -q "^[a-z]* $1 "
    return
  done
  run show_net "$at"
}

still_attached() { fail tool-failed "$interface_shown: program $program_id is still attached" 'bpftool net show'; }

# Removes what look has found: only ever our own.
end() {
  if [ -h "$directory" ]; then rm -f "$directory"; return; fi
  [ -z "$program_id" ] || detach_program "$program_id" || still_attached
  case $whose in
    other-version | broken) rm -rf "$directory" ;;
    *) remove_pins 2>/dev/null ;;
  esac
  rmdir "$root" 2>/dev/null
  [ ! -e "$directory" ] || fail bad-object "$directory: it holds what xdpwho did not make" "look at it: ls -lR $directory"
}
