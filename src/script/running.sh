# Messages, errors, tools, and running bpftool.

say() { [ "$quiet" = true ] || printf 'xdpwho: %s\n' "$*" >&2; }

json_text() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

# fail CODE MESSAGE [HINT]: prints a line for people and a record for programs, and exits.
fail() {
  printf 'xdpwho: %s\n' "$2" >&2
  hint_json=null
  if [ -n "${3-}" ]; then
    printf '  hint: %s\n' "$3" >&2
    hint_json=\"$(json_text "$3")\"
  fi
  printf '{"type":"error","code":"%s","message":"%s","hint":%s}\n' "$1" "$(json_text "$2")" "$hint_json"
  exit "$(code_of "$1")"
}

# Runs a command of bpftool. With -j it may print an error and exit with 0.
run() {
  "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || return 1
  case $(head -c 9 "$scratch/out") in '{"error":') return 1 ;; esac
}

# What the last command printed about its failure.
why() {
  reported=$(sed -n '/{"error":"/{s/.*{"error":"//;s/"}.*//;s/\\\(.\)/\1/g;p;q;}' "$scratch/out")
  detail=$(grep -m 1 'Kernel error message' "$scratch/err" || grep -i -m 1 -E 'error|failed|denied|permitted|large' "$scratch/err" || tail -n 1 "$scratch/err")
  detail=$(printf '%s' "$detail" | sed 's/^libbpf: //;s/^Kernel error message: //' | cut -c 1-200)
  printf '%s' "${reported:-no reason given}${detail:+: $detail}"
}
errno() { errno_in "$(cat "$scratch/out" "$scratch/err")"; }

tool_failed() {
  case $(errno) in
    EPERM) fail not-permitted "bpftool $1: $(why)" 'run it as root' ;;
    *) fail tool-failed "bpftool $1: $(why)" ;;
  esac
}

# Runs at the end of the script, whatever ends it. The verb attach replaces it.
clean_up() {
  status=$?
  rm -rf "$scratch"
  exit $status
}

pause() { sleep 0.1 2>/dev/null || sleep 1; }

require_tools() {
  for tool in base64 cut dd grep gzip head mktemp mount od readlink sed sort stat tr; do
    command -v "$tool" >/dev/null || fail tool-missing "$tool: not found in $PATH"
  done
  if [ -n "$netns" ]; then
    command -v nsenter >/dev/null || fail tool-missing "nsenter: not found in $PATH" 'install util-linux'
  fi
  bpftool=
  # Ubuntu's bpftool is a script that fails if there is no bpftool for the running kernel.
  for candidate in "$(command -v bpftool)" /usr/lib/linux-tools/*/bpftool; do
    if [ -x "$candidate" ] && bpftool_version "$candidate" >/dev/null 2>&1; then bpftool=$candidate; fi
    [ -z "$bpftool" ] || break
  done
  [ -n "$bpftool" ] || fail tool-missing "bpftool: not found in $PATH" 'install bpftool'
}

# capabilities(7): CAP_SYS_ADMIN (21) includes CAP_PERFMON (38) and CAP_BPF (39).
require_capabilities() {
  effective=0x$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status)
  missing=
  has() { [ $(((effective >> $1) & 1)) = 1 ]; }
  has 39 || has 21 || missing=CAP_BPF
  has 12 || missing="${missing:+$missing, }CAP_NET_ADMIN"
  has 38 || has 21 || missing="${missing:+$missing, }CAP_PERFMON"
  [ -z "$missing" ] || fail not-permitted "not permitted: $missing missing" 'run it as root'
}

# The byte order, from EI_DATA in the ELF header of the shell (elf(5)).
find_byte_order() {
  case $(dd if=/proc/self/exe bs=1 skip=5 count=1 2>/dev/null | od -An -tu1 | tr -d ' ') in
    1) byte_order=el ;;
    2) byte_order=eb ;;
    *) fail bad-object 'the byte order of this host cannot be told' ;;
  esac
}
