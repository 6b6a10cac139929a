# Starts guard.sh with only the rights that it needs. At every exec a process of root gets all
# capabilities of its bounding set (capabilities(7)), so this reduces the bounding set. Arguments: the
# path of the namespace, the cgroup to make or '', the path of setpriv or '', its option, and the
# command to run.
trap '' HUP INT QUIT TERM PIPE TSTP TTIN TTOU
# The namespace stays open as a descriptor, because the path /proc/PID/ns/net ends with its process.
exec 3<"$1" || exit 1
group=$2 setpriv=$3 rights=$4
shift 4
for score in -900 0; do
  { echo "$score" >/proc/$$/oom_score_adj; } 2>/dev/null && break
done
# A service manager kills all processes in the cgroup of a unit, so the guard gets a cgroup of its own.
if [ -n "$group" ]; then
  mkdir "$group"
  echo $$ >"$group/cgroup.procs" || rmdir "$group"
fi 2>/dev/null
# busybox's setpriv lacks the option, and a process may lack the right to use it. Then all rights stay.
if [ -n "$setpriv" ] && "$setpriv" "$rights" -- true >/dev/null 2>&1 </dev/null; then
  exec "$setpriv" "$rights" -- "$@"
fi
exec "$@"
