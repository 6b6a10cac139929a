# The verb detach: detaches our program and removes its pins.

detach() {
  if is_bpffs "$root"; then look; else whose=none; look_at_interface; [ -z "$id_there" ] || whose=foreign; fi
  case $whose in
    none)
      interface_exists || say "$interface_shown: no such interface"
      echo '{"changed":false,"interfaces":[]}'
      return ;;
    foreign) fail not-ours "$interface_shown: its program $id_there is not ours; left alone" "bpftool prog show id $id_there" ;;
    foreground) refuse_held ;;
  esac
  end
  say "$interface_shown: ${why_so:+$why_so: $directory removed}${why_so:-detached}"
  printf '{"changed":true,"interfaces":[{"interface":"%s","netns":%s,"program_id":%s}]}\n' "$interface_json" "$netns_json" "${program_id:-null}"
}
