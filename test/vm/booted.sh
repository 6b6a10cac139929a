#!/bin/bash
# Runs in a Debian that systemd has booted, as the last unit of each boot, and tells on the second serial
# port, a line each, what it has seen: `NAME: VALUE`. A line `host: COMMAND` asks the host for what only
# QEMU's monitor can do. Arguments: none; how many boots there were is in a file.
exec 3<>/dev/ttyS1 2>&3
say() { echo "$1: $2" >&3; }
# Waits until a command succeeds, for a minute and a half: everything is emulated here.
until_true() {
  local end=$((SECONDS + 90))
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.5
  done
}
programs() { bpftool -j net show dev "$1" 2>/dev/null | grep -o '"id":[0-9]*' | wc -l; }
is_attached() { [ "$(programs "$1")" -ge 1 ]; }
is_free() { [ "$(programs "$1")" -eq 0 ]; }
is_state() { [ "$(systemctl is-active "$1")" = "$2" ]; }
has_no_pins() { [ -z "$(ls /sys/fs/bpf/xdpwho 2>/dev/null)" ]; }
has_device() { [ -e "/sys/class/net/$1" ]; }
lacks_device() { ! has_device "$1"; }
packets() { xdpwho dump --bpffs /run/xdpwho -o ndjson "$1" | sed -n 's/.*"source":"192.0.2.2","packets":\([0-9]*\),.*/\1/p'; }
state() { echo "$(systemctl is-active "xdpwho@$1") $(programs "$1")"; }

# A link of two cards: eth0, and eth2 in a namespace of its own. A card that is put back gets the lowest free
# name: eth1 again.
connect() {
  for device in eth0 eth2 eth1; do until_true has_device "$device"; done
  ip netns add peer
  ip link set eth2 netns peer
  ip -n peer addr add 192.0.2.2/24 dev eth2
  ip -n peer link set eth2 up
  ip addr add 192.0.2.1/24 dev eth0
  ip link set eth0 up
  until_true ip netns exec peer ping -c 1 -W 1 192.0.2.1
}
send() { ip netns exec peer ping -q -c 20 -i 0.05 -W 1 192.0.2.1 >/dev/null; }
counts() {
  before=$(packets eth0)
  send
  say "$1" "$(($(packets eth0) - ${before:-0}))"
}
scraped() {
  exec 4<>/dev/tcp/127.0.0.1/9100 || return 1
  printf 'GET /metrics HTTP/1.0\r\n\r\n' >&4
  grep -c '^xdpwho_source_packets_total.*source="192.0.2.2"' <&4
}

first() {
  # Everything is emulated: to interpret is quicker than to compile.
  echo 'NODE_OPTIONS=--jitless' | tee /etc/default/xdpwho /etc/default/xdpwho-metrics >/etc/environment
  connect
  systemctl enable --now xdpwho@eth0 xdpwho-metrics@eth0.timer
  say enabled $?
  say 'first boot' "$(state eth0)"
  say status "$(xdpwho status eth0 | sed -n 's/.*\(ours\).*/\1/p' | head -n 1)"
  counts 'first boot counts'
  until_true test -s /var/lib/prometheus/node-exporter/xdpwho-eth0.prom
  until_true scraped
  say 'node_exporter has' "$(scraped)"
  say security "$(systemd-analyze security --no-pager xdpwho@eth0 | sed -n 's/.*Overall exposure.*: \([0-9.]*\) .*/\1/p')"
  systemctl stop xdpwho@eth0
  say stopped "$(state eth0) $(ls /run/xdpwho/xdpwho | wc -l)"
  systemctl start xdpwho@eth0
  say 'started again' "$(state eth0)"
  systemctl restart xdpwho@eth0
  say restarted "$(state eth0)"
  systemctl kill -s KILL xdpwho@eth0
  say killed "$(state eth0)"

  # A run in the foreground that its manager ends.
  ip link set eth1 up
  systemd-run -q --unit=watching -p StandardOutput=null -E NODE_OPTIONS=--jitless xdpwho watch eth1 --mode generic -o ndjson
  until_true is_attached eth1
  say 'systemd-run' "$(programs eth1)"
  systemctl stop watching
  say 'systemd-run stopped' "$(programs eth1) $(ls /sys/fs/bpf/xdpwho 2>/dev/null | wc -l)"
  systemd-run -q --unit=killed -p StandardOutput=null -E NODE_OPTIONS=--jitless xdpwho watch eth1 --mode generic -o ndjson
  until_true is_attached eth1
  systemctl kill -s KILL killed
  until_true is_free eth1
  until_true has_no_pins
  say 'systemd-run killed' "$(programs eth1) $(ls /sys/fs/bpf/xdpwho 2>/dev/null | wc -l)"

  # A card that is taken out while its unit is enabled, and put back.
  systemctl enable --now xdpwho@eth1
  say 'third card' "$(state eth1)"
  say host 'take out'
  until_true lacks_device eth1
  until_true is_state xdpwho@eth1 inactive
  say 'taken out' "$(systemctl is-active xdpwho@eth1) $(ls /run/xdpwho/xdpwho | grep -c eth1)"
  say host 'put back'
  until_true has_device eth1
  until_true is_state xdpwho@eth1 active
  until_true is_attached eth1
  say 'put back' "$(state eth1)"
  # It is renamed: the unit of the old name ends, since its interface is not there.
  ip link set eth1 down
  ip link set eth1 name card0
  until_true is_state xdpwho@eth1 inactive
  say 'renamed' "$(systemctl is-active xdpwho@eth1)"
  systemctl reboot
}

# The log of eth2, over a suspend: the times of packets from before and from after it.
suspend() {
  in_peer="nsenter --net=/run/netns/peer"
  export NODE_OPTIONS=--jitless
  $in_peer xdpwho attach eth2 --mode generic --log -q
  ping -q -c 3 -i 0.2 192.0.2.2 >/dev/null
  before=$(date +%s)
  say host wake
  echo mem >/sys/power/state
  after=$(date +%s)
  say slept $((after - before))
  until_true ping -c 1 -W 1 192.0.2.2
  ping -q -c 3 -i 0.2 192.0.2.2 >/dev/null
  end=$(date +%s)
  old=0 new=0 odd=0
  for time in $($in_peer xdpwho log eth2 -q --last 1000 -o ndjson | sed -n 's/.*"time":"\([^"]*\)","source":"192.0.2.1".*/\1/p'); do
    at=$(date -d "$time" +%s)
    if [ "$at" -le $((before + 1)) ] && [ "$at" -ge $((before - 10)) ]; then old=$((old + 1))
    elif [ "$at" -ge $((after - 1)) ] && [ "$at" -le $((end + 1)) ]; then new=$((new + 1))
    else odd=$((odd + 1)); fi
  done
  say 'packets before and after' "$old $((new >= 4)) $odd"
  $in_peer xdpwho detach eth2 -q
  say 'after suspend' "$(state eth0)"
}

second() {
  ip netns list | grep -q peer || connect
  until_true is_state xdpwho@eth0 active
  say 'second boot' "$(state eth0)"
  say 'third card, second boot' "$(state eth1)"
  counts 'second boot counts'
  suspend
  until_true test /var/lib/prometheus/node-exporter/xdpwho-eth0.prom -nt /proc/1
  say 'metrics are new' $?
  say 'failed units' "$(systemctl --failed --no-legend --plain | tr '\n' ' ')"
  systemctl poweroff
}

boots=/var/lib/booted
echo x >>"$boots"
case $(wc -l <"$boots") in
  1) first ;;
  *) second ;;
esac
