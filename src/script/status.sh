# The verb status: what is attached to the interface, and whose it is.

# sum_at OFFSET: the sum over all CPUs of a u64 in the values that bpftool has dumped as bytes 0xNN.
sum_at() {
  sum=0
  for value in $(tr ']' '\n' <"$scratch/out" | sed -n 's/.*"value":\["//p' | tr -d '"' | cut -d , -f "$(($1 + 1))-$(($1 + 8))"); do
    set -- $(printf '%s' "$value" | tr ',' ' ')
    [ $byte_order = eb ] || set -- "$8" "$7" "$6" "$5" "$4" "$3" "$2" "$1"
    number=0
    for byte in "$@"; do number=$((number << 8 | byte)); done
    sum=$((sum + number))
  done
  echo $sum
}

# Sets sources, packets and bytes.
count() {
  if [ "$(text_of reader)" = iterator ]; then
    sources=$(($(wc -l <"$directory/sources")))
    line=$(cat "$directory/totals")
    packets=$(printf '%s' "$line" | sed -n 's/.*"packets":\([0-9]*\).*/\1/p')
    bytes=$(printf '%s' "$line" | sed -n 's/.*"bytes":\([0-9]*\).*/\1/p')
    return
  fi
  run dump_sources "$directory" || tool_failed 'map dump'
  # An entry that was removed meanwhile has no values, and an entry may come twice.
  sources=$(tr '{' '\n' <"$scratch/out" | sed -n 's/^"key":\(\["[^]]*\]\),"values":\[$/\1/p' | sort -u | wc -l)
  sources=$((sources))
  run dump_totals "$directory" || tool_failed 'map dump'
  find_byte_order
  bytes=$(sum_at "$bytes_offset")
  packets=$(($(sum_at "$ipv4_offset") + $(sum_at "$ipv6_offset") + $(sum_at "$other_offset") + $(sum_at "$malformed_offset")))
}

status() {
  if is_bpffs "$root"; then look; else refuse_if_hidden; whose=none; look_at_interface; [ -z "$id_there" ] || whose=foreign; fi
  [ "$whose" != none ] || interface_exists || fail no-such-interface "$interface_shown: no such interface" 'ip link show'
  why_json=null holder_json=null
  [ -z "$why_so" ] || why_json=\"$(json_text "$why_so")\"
  [ "$whose" != foreground ] || holder_json="{\"pid\":$holder_pid,\"command\":\"$holder_command\"}"
  case $whose in
    ours | foreground)
      if [ -n "$(number_of programId)" ]; then
        count
        printf '{"changed":false,"interfaces":[{%s,"ownership":"%s","direction":"received","why":%s,"program_name":"%s","sources":%s,"packets":%s,"bytes":%s,"holder":%s,"link_id":%s}]}\n' "$(described)" "$whose" "$why_json" "$program_name" "$sources" "$packets" "$bytes" "$holder_json" "$(link_id)"
        return
      fi ;;
  esac
  id_json=null mode_json=null since_json=null name_json=null direction=null
  if [ "$whose" = foreign ]; then
    id_json=$id_there mode_json=\"$mode_there\"
    name_json=$(run show_program_by_id && sed -n 's/.*"name":\("[^"]*"\).*/\1/p' "$scratch/out")
  elif [ -n "$state" ]; then
    id_json=${program_id:-null}
    [ -z "$(text_of mode)" ] || mode_json=\"$(text_of mode)\"
    since_json=\"$(text_of since)\" direction='"received"'
  fi
  printf '{"changed":false,"interfaces":[{"interface":"%s","netns":%s,"mode":%s,"program_id":%s,"reader":null,"file":null,"file_note":null,"mode_note":null,"since":%s,"options":null,"ownership":"%s","direction":%s,"why":%s,"program_name":%s,"sources":null,"packets":null,"bytes":null,"holder":%s,"held_by":null,"link_id":null}]}\n' \
    "$interface_json" "$netns_json" "$mode_json" "$id_json" "$since_json" "$whose" "$direction" "$why_json" "${name_json:-null}" "$holder_json"
  case $whose in
    broken) exit "$(code_of bad-object)" ;;
    other-version) exit "$(code_of other-version)" ;;
    foreign) exit "$(code_of not-ours)" ;;
    stale | none) exit "$(code_of not-attached)" ;;
  esac
}

link_id() {
  link=$(number_of linkId)
  echo "${link:-null}"
}
