# The verb attach: attaches and returns. An attachment with the same options stays as it is.

own_holder() {
  printf '{"pid":%s,"startTicks":"%s","pidNamespace":"%s","command":"attach"}' $$ "$(start_ticks $$)" "$(readlink /proc/self/ns/pid)"
}

# -n: an existing link is replaced and not followed. GNU ln does that in one step.
write_record() { ln -sfn "$(record)" "$directory/state"; }

same_options() {
  differs=
  differ() { [ "$2" = "$3" ] || differs="${differs:+$differs, }$1 is $2, asked for $3"; }
  differ --mode "$(text_of modeAsked)" "$mode"
  differ --reader "$(text_of readerAsked)" "$reader"
  differ --max-sources "$(number_of maxSources)" "$max_sources"
  differ --file-mode "$(printf '%04o' "$(number_of fileMode)")" "$file_mode"
  logging=on
  [ "$(log_of)" != null ] || logging=off
  differ --log $logging off
  [ -z "$differs" ]
}

attach() {
  find_byte_order
  find_device
  cpus=$(count_members "$(cat /sys/devices/system/cpu/possible)")
  [ -n "$max_sources" ] || max_sources=$(default_max_sources "$cpus")
  [ "$reader" = dump ] || front_lines=$(default_front_lines "$cpus" "$max_sources")
  prepare_bpffs
  waits=0
  while :; do
    look
    new_directory=$own_directory
    case $whose in
      none) ;;
      foreign) refuse_foreign ;;
      ours)
        if same_options; then
          say "$interface_shown: attached already, program $program_id"
          report false
          return
        fi
        [ "$replace" = true ] || fail options-differ "$interface_shown: attached with other options: $differs" "make the script with --replace, which begins to count anew"
        old=$directory old_id=$program_id old_state=$state old_mode=$(text_of mode) old_asked=$(text_of modeAsked)
        [ "$old" != "$own_directory" ] || new_directory=$own_directory~$(text_of token | cut -c 1-8) ;;
      broken | other-version)
        code=bad-object
        [ "$whose" = broken ] || code=other-version
        [ "$replace" = true ] || fail $code "$directory: $why_so" 'make the script with --replace, or run one of detach'
        end ;;
      foreground)
        if [ "$holder_command" != attach ] || [ $waits -ge 100 ]; then
          refuse_held
        fi
        waits=$((waits + 1))
        pause
        continue ;;
      stale) end ;;
    esac
    directory=$new_directory
    if mkdir -p -m 0700 "$root" && mkdir -m 0700 "$directory" 2>"$scratch/err"; then break; fi
    [ -e "$directory" ] || fail bpffs-missing "$(tail -n 1 "$scratch/err")"
  done
  establish
  report true
}

establish() {
  token=$(cat /proc/sys/kernel/random/uuid)
  since=$(date -u +%Y-%m-%dT%H:%M:%S.000Z)
  mode_used=null mode_note=null program_id=null reader_used=null reader_note=null holder=$(own_holder)
  made=true
  write_record
  mkdir -m 0700 "$directory/maps"
  front_link=
  [ "$reader" = dump ] || find_hz
  if [ "$front_lines" = 0 ] || ! load_front; then
    front_lines=0
    load
    pin_readers
  fi
  program_id=$(pinned_id "$directory")
  attach_program
  holder=null
  write_record
  made=false
  [ -z "$old" ] || take_place
  # The record, as the next look would read it.
  state=$(record)
}

# Moves the pins of the new attachment to the directory of the old one, whose pins are removed.
take_place() {
  if [ "$old" = "$own_directory" ]; then
    mv "$old" "$own_directory~old"
    mv "$directory" "$own_directory"
    old=$own_directory~old directory=$own_directory
  fi
  remove_pins "$old"
  old=
}

# The first variant takes jumbo frames. Kernels before 5.18 refuse it.
load() {
  run create_sources || tool_failed 'map create'
  run create_totals || tool_failed 'map create'
  how=load_program
  if [ "$front_lines" != 0 ]; then
    run create_front || tool_failed 'map create'
    how=load_with_front
  fi
  for variant in xdpwho.frags xdpwho; do
    unpack $variant
    write_integer $variant link_layer "$link_layer"
    [ "$front_lines" = 0 ] || write_front $variant
    if run $how "$scratch/$variant.o"; then return; fi
    [ "$(errno)" != EPERM ] || break
  done
  tool_failed 'prog load'
}

# Loads everything with the front table, or fails and leaves nothing: the same as loadWithFront in
# src/attachment/load.ts. src/attachment/front-pin.ts says what the link is for.
load_front() {
  front_totals=$((($(cpu_limit possible) + 1) / 2 * 2)) seeds=$(random_odd_numbers)
  front_entries=$((front_totals + front_lines * $(cpu_limit present)))
  pin=$front_link_prefix$(printf %s "$token" | tr -d -)
  ln -s "$directory/maps/front" "/sys/fs/bpf/$pin" 2>/dev/null || return 1
  front_link=/sys/fs/bpf/$pin
  load
  unpack sources.front
  write_front sources.front
  unpack totals.front
  for iterator in sources.front totals.front; do
    write_integer $iterator front_entries "$front_entries"
    for offset in $(front_name_offsets $iterator); do
      printf %s "$pin" | write_at "$scratch/$iterator.o" "$offset"
    done
  done
  loaded=true
  pin_iterators sources.front totals.front || loaded=false
  rm -f "$front_link"
  front_link=
  $loaded || rm -f "$directory/program" "$directory"/maps/*
  $loaded
}

# The values of the front table, into a program or its iterator.
write_front() {
  write_integer "$1" front_lines "$front_lines"
  write_integer "$1" front_totals "$front_totals"
  write_integer "$1" jiffies_per_second "$hz"
  set -- "$1" $(constant_range "$1" front_seeds)
  printf "$seeds" | write_at "$scratch/$1.o" "$2"
}

find_hz() {
  hz=$(configured_hz)
  [ -n "$hz" ] || hz=$(measured_hz)
}

# pin_iterators SOURCES TOTALS: the names of the objects that print them, unpacked.
pin_iterators() {
  for iterator in "$1" "$2"; do
    write_integer "$iterator" possible_cpus "$cpus"
    write_text "$iterator" interface_json "$interface_json"
  done
  if run pin_sources "$1" && run pin_totals "$2"; then
    chmod "$file_mode" "$directory/sources" "$directory/totals"
    reader_used='"iterator"'
    # Users who may read the files must be able to enter their directories.
    if [ "$shared" = true ]; then
      for path in "$root" "$directory"; do
        case $(stat -c %a "$path") in *[1357][1357]) ;; *) chmod 0711 "$path" ;; esac
      done
    fi
    return
  fi
  said=$(why)
  rm -f "$directory/sources" "$directory/totals"
  return 1
}

pin_readers() {
  reader_used='"dump"'
  [ "$reader" != dump ] || return 0
  unpack sources
  write_integer sources jiffies_per_second "$hz"
  unpack totals
  if pin_iterators sources totals; then return; fi
  [ "$reader" != iterator ] || fail kernel-too-old "no iterator can be pinned: bpftool iter pin: $said" 'make the script with --reader dump'
  note="no iterator can be pinned (bpftool iter pin: $said); reading by \`map dump\`, slower"
  say "$interface_shown: $note"
  reader_note=\"$(json_text "$note")\"
}

# The program replaces the program of an attachment of ours in one step (`overwrite`). For another mode the
# old program must be detached first. If auto has chosen the mode of the old attachment, auto keeps it: the
# same as replacementMode in src/attachment/replace.ts.
attach_program() {
  overwrite=
  if [ -n "$old" ]; then
    old_note=$(state=$old_state; mode_note_of)
    if [ "$old_mode" = "$first_mode" ]; then overwrite=overwrite second_mode=
    elif [ $mode/$old_asked = auto/auto ] && [ "$old_mode" = "$second_mode" ]; then
      overwrite=overwrite first_mode=$old_mode second_mode= first_note=$(printf '%s' "${old_note#?}" | sed 's/"$//;s/^ull$//')
    else release_link "$old"; detach_program "$old_id" "$at" || { program_id=$old_id; still_attached; }; fi
  fi
  if run "attach_$first_mode"; then note_mode "$first_mode" "$first_note"
  elif [ -n "$second_mode" ] && is_mode_errno "$(errno)"; then
    second_note="$first_mode mode is not to be had ($(why)); using $second_mode mode"
    run "attach_$second_mode" || attach_failed "$second_mode"
    note_mode "$second_mode" "$second_note"
  else attach_failed "$first_mode"
  fi
}

attach_failed() {
  said=$(why)
  case $(errno) in
    EBUSY | EEXIST)
      look_at_interface
      [ -z "$id_there" ] || [ "$id_there" = "$program_id" ] || refuse_foreign
      fail interface-busy "$interface_shown: $said" "bpftool net show" ;;
    ERANGE) fail mtu-too-large "$interface_shown: its MTU is too large for $1 mode" 'make the script with --mode generic' ;;
    *)
      ! is_mode_errno "$(errno)" || fail mode-unsupported "$interface_shown: no $1 mode: $said" 'make the script with --mode auto'
      tool_failed 'net attach' ;;
  esac
}

# Runs at the end of the script, whatever ends it. Undoes what was begun and not finished.
clean_up() {
  status=$?
  trap '' HUP INT TERM
  if [ "$made" = true ]; then
    [ -z "$old" ] || put_back
    gone=true
    case $program_id in
      null | '') ;;
      *) detach_program "$program_id" "$at" || gone=false ;;
    esac
    # If the program cannot be detached, its pins stay, with a record whose holder is gone.
    if $gone; then
      if owns "$directory" "$token"; then remove_pins "$directory"; fi
    else say "$interface_shown: program $program_id could not be taken back: run one of detach"
    fi
  fi
  [ -z "${front_link-}" ] || rm -f "$front_link"
  rm -rf "$scratch"
  exit $status
}

# Attaches the old program again. It is still pinned, with its counters.
put_back() {
  if look_in "$at" "$old_id" && [ -n "$attached" ]; then return; fi
  new=$directory directory=$old overwrite=overwrite
  if ! run "attach_$old_mode"; then
    [ "$program_id" = null ] || detach_program "$program_id" "$at"
    run "attach_$old_mode" || say "$interface_shown: what was there before could not be put back: $(why)"
  fi
  directory=$new
}

# report CHANGED
report() {
  if [ "$1" = true ]; then
    say "$interface_shown: attached in $(text_of mode) mode, program $(number_of programId), up to $max_sources sources, read by $(text_of reader)"
    [ "$(text_of reader)" != iterator ] || say "$interface_shown: cat $directory/sources"
  fi
  printf '{"changed":%s,"interfaces":[{%s}],"failed":[]}\n' "$1" "$(described)"
}
