# Starts guard.sh with no more rights than it needs. A process of root gets at every exec what its
# bounding set leaves it (capabilities(7)). Arguments: the namespace's path, the cgroup to make or
# nothing, the path of setpriv or nothing, the option for it, and the command that is to run.
trap '' HUP INT QUIT TERM PIPE TSTP TTIN TTOU
# The namespace's file stays open: /proc/PID/ns/net goes with its process.
exec 3<"$1" || exit 1
group=$2 setpriv=$3 rights=$4
shift 4
for score in -900 0; do
  { echo "$score" >/proc/$$/oom_score_adj; } 2>/dev/null && break
done
# A service manager ends a unit by its cgroup, so the guard leaves ours for one of its own.
if [ -n "$group" ]; then
  mkdir "$group"
  echo $$ >"$group/cgroup.procs" || rmdir "$group"
fi 2>/dev/null
# A setpriv that does not know the option (busybox), or a process that may not use it: all rights stay.
if [ -n "$setpriv" ] && "$setpriv" "$rights" -- true >/dev/null 2>&1 </dev/null; then
  exec "$setpriv" "$rights" -- "$@"
fi
exec "$@"
