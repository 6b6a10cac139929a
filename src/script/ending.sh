# Ends the attachment of ours that look has found in $directory.

end() {
  release_link "$directory"
  if [ -n "$program_id" ] && ! detach_program "$program_id" "$at"; then still_attached; fi
  case $whose in
    other-version | broken) remove_all "$directory" ;;
    *) remove_pins "$directory" ;;
  esac || fail bad-object "$directory: it holds what xdpwho did not make" "look at it: ls -lR $directory"
}

still_attached() { fail tool-failed "$interface_shown: program $program_id is still attached" 'bpftool net show'; }
