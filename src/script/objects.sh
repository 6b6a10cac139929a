# The BPF objects in this script, and the values of this host that are written into them.

unpack() { object "$1" | base64 -d | gzip -dc >"$scratch/$1.o" || fail bad-object "$1: it cannot be unpacked"; }

# write_at FILE OFFSET: writes standard input into the file.
write_at() { dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null; }

# write_integer OBJECT NAME VALUE
write_integer() {
  set -- "$1" "$3" $(constant_range "$1" "$2")
  rest=$2 size=$4 bytes=
  while [ "$size" -gt 0 ]; do
    byte=$(printf '\\%03o' $((rest & 255)))
    case $byte_order in el) bytes=$bytes$byte ;; eb) bytes=$byte$bytes ;; esac
    rest=$((rest >> 8)) size=$((size - 1))
  done
  printf "$bytes" | write_at "$scratch/$1.o" "$3"
}

# write_text OBJECT NAME TEXT: into a char array that is all NUL.
write_text() {
  set -- "$1" "$3" $(constant_range "$1" "$2")
  printf '%s' "$2" | write_at "$scratch/$1.o" "$3"
}

# The number of members of a kernel list, "0-3,7".
count_members() {
  total=0
  for part in $(printf '%s' "$1" | tr ',' ' '); do
    total=$((total + ${part#*-} - ${part%-*} + 1))
  done
  echo $total
}

# The same as defaultMaxSources in src/attachment/defaults.ts.
default_max_sources() {
  size=$largest_default
  while [ $((size * (element_bytes + value_bytes * $1))) -gt $table_bytes ]; do size=$((size / 2)); done
  echo $size
}

# The same as cpuNumberLimit in src/host/kernel.ts.
cpu_limit() {
  list=$(cat "/sys/devices/system/cpu/$1")
  echo $((${list##*[,-]} + 1))
}

# The same as frontLines in src/objects/front.ts.
default_front_lines() {
  lines=$most_lines
  [ "$(cpu_limit possible)" = "$1" ] && [ "$1" -le "$most_front_cpus" ] || lines=0
  while [ $((lines * $(cpu_limit present) * line_bytes)) -gt "$front_bytes" ] || [ "$lines" -ge $((4 * $2)) ]; do
    lines=$((lines / 2))
  done
  echo "$lines"
}

# Two of 64 bits, in either byte order, as printf writes them.
random_odd_numbers() {
  place=0
  for byte in $(od -An -N16 -v -tu1 /dev/urandom); do
    case $place in 0 | 7 | 8 | 15) byte=$((byte | 1)) ;; esac
    printf '\\%03o' "$byte"
    place=$((place + 1))
  done
}

configured_hz() {
  { gzip -dc /proc/config.gz || cat "/boot/config-$(uname -r)"; } 2>/dev/null | sed -n 's/^CONFIG_HZ=//p'
}

# Counts the ticks of the jiffies in a second or a little more. /proc/uptime has hundredths of a second.
measured_hz() {
  unpack clock
  run load_clock || tool_failed 'prog load'
  dd if=/dev/zero of="$scratch/frame" bs=64 count=1 2>/dev/null
  first=$(jiffies) began=$(hundredths)
  sleep 1
  second=$(jiffies) ended=$(hundredths)
  rm -f "$directory/clock"
  nearest_hz $((((second - first) & 0xffffffff) * 100 / (ended - began)))
}
jiffies() { run run_clock && sed -n 's/.*"retval":\([0-9]*\).*/\1/p' "$scratch/out"; }
hundredths() {
  read -r uptime _ </proc/uptime
  # The 1 in front: a number with a leading zero is octal.
  echo $((1${uptime%.*}${uptime#*.} - 1$(printf '%s' "${uptime%.*}${uptime#*.}" | tr '0-9' '0')))
}
