# The JSON of an attachment, as the command prints it with -o json, but on one line.

# The members that attach and status print of a complete attachment, from its record.
described() {
  file=null note=$(reader_note_of)
  if [ "$(text_of reader)" = iterator ]; then
    file=\"$(json_text "$directory/sources")\" note=null
    if [ $(($(number_of fileMode) & 077)) != 0 ]; then
      closed=$(closed_directory)
      [ -z "$closed" ] || note="\"others cannot reach the file: $(json_text "$closed") is closed to them; attach with --bpffs /run/xdpwho, which has a place of its own\""
    fi
  elif [ "$note" = null ]; then note='"attached with --reader dump"'
  fi
  mode_note=$(mode_note_of)
  # The command of an older version has not written it.
  [ -n "$mode_note" ] || mode_note=null
  printf '"interface":"%s","netns":%s' "$interface_json" "$netns_json"
  printf ',"mode":"%s","program_id":%s,"held_by":%s,"reader":"%s","file":%s,"file_note":%s,"mode_note":%s,"since":"%s"' "$(text_of mode)" "$(number_of programId)" "$(held_by)" "$(text_of reader)" "$file" "$note" "$mode_note" "$(text_of since)"
  printf ',"options":{"mode":"%s","reader":"%s","max_sources":%s,"file_mode":"%04o","log":%s}' "$(text_of modeAsked)" "$(text_of readerAsked)" "$(number_of maxSources)" "$(number_of fileMode)" "$(described_log)"
}

described_log() {
  logged=$(log_of)
  if [ "$logged" = null ]; then echo null; return; fi
  segments=$(printf '%s' "$logged" | sed 's/.*"segments":\([0-9]*\).*/\1/')
  rings=$(printf '%s' "$logged" | sed 's/.*"cpus":\([0-9]*\).*/\1/')
  printf '%s,"buffer_bytes":%s}' "${logged%,\"segments\"*}" $((rings * (1 + segments) * segment_bytes))
}

# The first directory above the file that other users cannot enter.
closed_directory() {
  path=$directory
  first=
  while [ -n "$path" ]; do
    case $(stat -c %a "$path") in *[1357]) ;; *) first=$path ;; esac
    path=${path%/*}
  done
  printf '%s' "$first"
}

# What detaches when the process that attached ends: see HeldBy in src/model/records.ts.
held_by() {
  case $state in
    *'"holder":null'*) echo null ;;
    *'"linkId":null'*) echo '"guard"' ;;
    *) echo '"link"' ;;
  esac
}
