# Looks at the interface: whose its program is, and what is in our pin directory.

# Members of the record. A text in it cannot look like a member, because its quotes are escaped.
text_of() { printf '%s\n' "$state" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
number_of() { printf '%s\n' "$state" | sed -n 's/.*"'"$1"'":\([0-9]*\).*/\1/p'; }

# Whether the holder in the record runs. A holder in another pid namespace counts as running as long as that
# may have processes.
holder_alive() {
  case $state in *'"holder":null'*) return 1 ;; esac
  holder_pid=$(number_of pid) holder_command=$(text_of command)
  holder_place= holder_there=
  if [ "$(text_of pidNamespace)" != "$(readlink /proc/self/ns/pid)" ]; then
    holder_place=' in another pid namespace' holder_there=' there'
    may_have_processes "$(text_of pidNamespace)"
    return
  fi
  [ "$(start_ticks "$holder_pid")" = "$(text_of startTicks)" ]
}

# Only the pid namespace of the host shows all processes. If we may not trace a process, NSpid tells whether
# it is in another pid namespace.
may_have_processes() {
  [ "$(readlink /proc/self/ns/pid)" = "$initial_pid_namespace" ] || return 0
  for process in /proc/[0-9]*; do
    if namespace=$(readlink "$process/ns/pid"); then
      [ "$namespace" != "$1" ] || return 0
    elif grep -q '^NSpid:.[0-9]*.[0-9]' "$process/status" && ! grep -q '^State:.[ZX]' "$process/status"; then
      return 0
    fi 2>/dev/null
  done
  return 1
}

refuse_held() {
  fail held "$interface_shown: held by xdpwho $holder_command, process $holder_pid$holder_place" "end it$holder_there: kill $holder_pid"
}

# The id of the program of ours that is pinned in a directory.
pinned_id() {
  if [ -h "$1/program" ] || ! [ -f "$1/program" ]; then return 0; fi
  run show_program "$1" || return 0
  sed -n "s/$own_program/\\1/p" "$scratch/out"
}

# Sets mode_there and id_there: the program of the interface. A card may hold a driver program and an offloaded
# program at the same time. The kernel runs the driver program first.
look_at_interface() {
  mode_there= id_there=
  run show_net "$at" || tool_failed 'net show'
  programs <"$scratch/out" >"$scratch/programs"
  while read -r type id device; do
    [ "$device" = "$interface" ] && [ -z "$id_there" ] || continue
    id_there=$id
    case $type in
      xdpdrv) mode_there=native ;;
      xdpgeneric) mode_there=generic ;;
      xdpoffload) mode_there=offload ;;
    esac
  done <"$scratch/programs"
}

# Whether the program is attached in any namespace. An interface that is moved keeps its program.
attached_elsewhere() {
  for other in /proc/self/ns/net "$netns_directory"/* /proc/[0-9]*/ns/net; do
    [ -e "$other" ] || continue
    if look_in "$other" "$1" && [ -n "$attached" ]; then return 0; fi
  done
  return 1
}

# Sets whose (none, ours, foreground, stale, broken, other-version, foreign), why_so, state, program_id and
# directory. The same as inspect in src/attachment/inspect.ts.
look_once() {
  state= program_id= why_so= whose=none directory=$own_directory
  look_at_interface
  if [ -n "$id_there" ] && [ "$(pinned_id "$directory")" != "$id_there" ]; then
    # The interface may have been renamed after it was attached.
    found=
    for candidate in "$root"/*; do
      [ "$(pinned_id "$candidate")" != "$id_there" ] || found=$candidate
    done
    if [ -z "$found" ]; then
      state=$(readlink "$directory/state" 2>/dev/null) || state=
      whose=foreign
      # A run may be attaching it at this moment, or counts at TCX behind the program that is there.
      case $state in *'"mode":null'* | *'"mode":"tcx"'*) if holder_alive; then whose=foreground program_id=$(pinned_id "$directory"); fi ;; esac
      return
    fi
    directory=$found
  fi
  [ -e "$directory" ] || [ -h "$directory" ] || return 0
  whose=broken
  if [ -h "$directory" ] || ! [ -d "$directory" ]; then why_so='it is not a directory'; return; fi
  state=$(readlink "$directory/state" 2>/dev/null) || { why_so='it has no record of an attachment'; return; }
  held=false
  if holder_alive; then held=true; fi
  program_id=$(pinned_id "$directory")
  case $state in
    '{"version":'$state_version,*) ;;
    '{"version":'*)
      why_so='it was made by another version of xdpwho' whose=other-version
      [ "$program_id" = "$id_there" ] || whose=stale
      if $held; then whose=foreground; fi
      return ;;
    *) why_so='its state is not JSON'; return ;;
  esac
  recorded=$(number_of programId)
  if [ -z "$recorded" ]; then
    if $held; then whose=foreground why_so='it is being attached'
    else whose=stale why_so='the run that was attaching it is gone'; fi
  elif [ -z "$program_id" ]; then why_so='its program is missing or no pin'
  elif [ "$program_id" != "$recorded" ]; then why_so="its program has id $program_id, and not $recorded"
  elif [ "$(text_of reader)" = iterator ] && ! [ -f "$directory/sources" ]; then why_so='its sources is missing or no pin'
  elif ! $held && ! [ "$state" = "${state%\"holder\":null*}" ] && is_attached; then whose=ours
  elif $held; then whose=foreground
  elif [ "$state" = "${state%\"holder\":null*}" ]; then whose=stale why_so="the run that held it ($holder_pid) is gone"
  else whose=stale why_so='its program is not attached any more'
  fi
}
is_attached() { [ "$program_id" = "$id_there" ] || attached_elsewhere "$program_id"; }

# Other processes make and remove directories, so a broken one is looked at again.
look() {
  looks=0
  while look_once; [ "$whose" = broken ] && [ $looks -lt 5 ]; do
    looks=$((looks + 1))
    pause
  done
}

refuse_foreign() {
  called=$(run show_program_by_id && sed -n 's/.*"name":"\([^"]*\)".*/, name \1/p' "$scratch/out")
  fail interface-busy "$interface_shown: held by another program: id $id_there$called, $mode_there mode; left alone" "bpftool prog show id $id_there"
}
