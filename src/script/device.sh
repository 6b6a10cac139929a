# What kind of device the interface is: what its packets begin with, and in which mode they are counted.

# Sets link_layer, as linkLayerOf in src/attachment/link-layer.ts does, and first_mode, second_mode and
# first_note, as chooseMode in src/attachment/mode.ts does.
find_device() {
  # busybox's ip has no -d, and tells the type of the device, but not its kind.
  described=$(in_netns "$at" ip -d -o link show dev "$interface" 2>/dev/null ||
    in_netns "$at" ip -o link show dev "$interface" 2>/dev/null) || described=
  link_type=$(printf '%s\n' "$described" | sed -n 's/.* link\/\([^ ]*\) .*/\1/p')
  if [ -z "$link_type" ] && [ "$at" -ef /proc/self/ns/net ]; then
    link_type=$(link_type_of_number "$(cat "/sys/class/net/$interface/type" 2>/dev/null)")
  fi
  link_layer=$(link_layer_of "${link_type:-ether}")
  [ -n "$link_layer" ] || fail device-unsupported "$interface_shown: its packets have neither an Ethernet nor an IP header in front (link type $link_type)" 'ip link show'
  kind= first_mode=$mode second_mode= first_note=
  for known in veth bond; do
    case $described in *" $known "*) kind=$known ;; esac
  done
  driver=$(printf '%s\n' "$described" | sed -n 's/.* parentbus \([^ ]*\) parentdev \([^ ]*\) .*/\1\/devices\/\2/p')
  [ -z "$driver" ] || driver=$(readlink "/sys/bus/$driver/driver")
  case $mode/$kind in
    auto/veth) first_mode=generic first_note=$why_generic_veth ;;
    auto/bond)
      if [ -z "$(in_netns "$at" ip -o link show master "$interface")" ]; then
        first_mode=generic first_note=$why_generic_bond
      fi ;;
    auto/)
      # Of unknown kind, with another device behind it: a veth, or one that has no native mode.
      case $described in *" promiscuity "*) ;; *"$interface@"*) first_mode=generic first_note=$why_generic_veth ;; esac ;;
  esac
  if [ "$first_mode" = auto ]; then
    first_mode=native second_mode=generic
    first_note=$(native_cost "$kind" "${driver##*/}")
  fi
}

# Sets mode_used and mode_note. note_mode MODE NOTE
note_mode() {
  mode_used=\"$1\" mode_note=null
  if [ -n "$2" ]; then
    mode_note=\"$(json_text "$2")\"
    say "$interface_shown: $2"
  fi
}
