main() {
  PATH=$tool_directories LC_ALL=C POSIXLY_CORRECT=1
  export PATH LC_ALL POSIXLY_CORRECT
  unset CDPATH IFS
  umask 077
  made=false old= overwrite= nsenter=nsenter
  require_tools
  temporary=/run
  [ -w /run ] || temporary=${TMPDIR:-/tmp}
  scratch=$(mktemp -d "$temporary/$scratch_prefix$$-XXXXXX") || fail failed 'no temporary folder can be made' 'df /run /tmp'
  trap clean_up EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  require_capabilities
  find_netns
  if [ $verb = attach ]; then
    interface_exists || fail no-such-interface "$interface_shown: no such interface${netns:+ in network namespace $netns_shown}" 'ip link show'
  fi
  find_directory
  $verb
}

# This is the last line, so that a script that was cut short does nothing.
main </dev/null
