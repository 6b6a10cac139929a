# The target: the namespace, the interface, the BPF file system and the pin directory.

# Sets at, the path of the namespace, and netns_inode.
find_netns() {
  at=/proc/self/ns/net
  if [ -n "$netns" ]; then
    case $netns in
      /*) at=$netns ;;
      */*) at=$PWD/$netns ;;
      *[!0-9]*) at=$netns_directory/$netns ;;
      *) at=$netns_directory/$netns; [ -e "$at" ] || at=/proc/$netns/ns/net ;;
    esac
    [ -e "$at" ] || fail no-such-interface "$netns_shown: no such network namespace" 'ip netns list'
    [ "$(stat -f -c %t "$at")" = "$nsfs_magic" ] || fail usage "$netns_shown: not a network namespace" 'ip netns list'
  fi
  netns_inode=$(stat -L -c %i "$at")
  netns_path_json=null
  [ -z "$netns" ] || netns_path_json=\"$(json_text "$at")\"
}

interface_exists() {
  in_netns "$at" cat /proc/self/net/dev | while IFS= read -r line; do
    name=${line%:*}
    name=${name##* }
    [ "$name" != "$interface" ] || echo yes
  done | grep -q yes
}

# The namespace of the host is that of process 1, if we run in the pid namespace of the host. A user may not
# look at process 1. It is in the first namespace, and only the first has the setting netdev_max_backlog.
is_host_netns() {
  [ "$(readlink /proc/self/ns/pid)" = "$initial_pid_namespace" ] || return 1
  host_inode=$(stat -L -c %i /proc/1/ns/net 2>/dev/null) ||
    { [ -e /proc/sys/net/core/netdev_max_backlog ] && host_inode=$(stat -L -c %i /proc/self/ns/net); }
  [ "$host_inode" = "$netns_inode" ]
}

find_directory() {
  root=$bpffs/xdpwho
  directory=$root/$pin_name
  is_host_netns || directory=$directory@$netns_inode
  own_directory=$directory
}

is_bpffs() { [ "$(stat -f -c %t "$1" 2>/dev/null)" = "$bpffs_magic" ]; }

# Inside "ip netns exec", another sysfs is mounted over /sys, with the name of the namespace as its device.
refuse_if_hidden() {
  case $bpffs in /sys/*) ;; *) return 0 ;; esac
  sys=$(sed -n 's/^\([^ ]*\) \/sys \([^ ]*\) .*/\2 \1/p' /proc/self/mounts | tail -n 1)
  case $sys in
    'sysfs sysfs' | 'sysfs none') ;;
    'sysfs '*) fail bpffs-missing "$bpffs_shown: hidden by ip netns exec" 'leave ip netns exec and name the namespace: xdpwho script --netns NAME ...' ;;
  esac
}

prepare_bpffs() {
  if ! is_bpffs "$bpffs"; then
    refuse_if_hidden
    [ "$bpffs" = "$default_bpffs" ] || mkdir -p -m 0755 "$bpffs"
    mount_bpffs 2>"$scratch/err" || fail bpffs-missing "$bpffs_shown: no bpffs there: $(tail -n 1 "$scratch/err")" 'mount -t bpf bpf /sys/fs/bpf'
  fi
  mkdir -m 0700 "$root" 2>"$scratch/err" || [ -d "$root" ] || fail bpffs-missing "$(tail -n 1 "$scratch/err")"
  if [ -h "$root" ] || ! is_bpffs "$root"; then
    fail bad-object "$root: not a directory of a bpffs" "remove it: rm $root"
  fi
  # On some hosts every user can write to the bpffs. We must not run what another user put into our directory.
  owner=$(stat -c %u "$root")
  if [ "$owner" != 0 ] && [ "$owner" != "$(id -u)" ]; then
    fail bad-object "$root: belongs to user $owner" "look at it: ls -lR $root"
  fi
}
