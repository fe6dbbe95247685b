# Run "$@" in a process group of its own, and end all of it when the host's pipe closes, when nothing is heard from the
# host for $silence seconds, or after $deadline seconds. Another's run on the device is waited for $patience seconds; exit
# code 75 says that it was too long. Any POSIX shell; neither setsid, flock nor timeout need be there.
exec 3<&0 4>&2
# The device's own lock, the one that the worker takes too. A kernel lock where the flock command is there; else a folder
# with its holder's number, of which a dead one's is taken over.
lock=${TMPDIR:-/tmp}
[ -d "$lock" ] || lock=/tmp
lock=$lock/edgecarbon-device.lock
waited=0 mine=
busy() {
  [ $waited -lt $patience ] || { echo "this device is used by another: $lock is held; waited $patience s" >&2; exit 75; }
  waited=$((waited + 1)); echo '{"event":"alive"}'; sleep 1
}
if command -v flock >/dev/null 2>&1; then
  [ -e "$lock" ] || ( umask 0; : >"$lock" )
  exec 9<"$lock"
  until flock -n 9; do busy; done
else
  until mkdir "$lock.d" 2>/dev/null; do
    holder=$(cat "$lock.d/holder" 2>/dev/null)
    if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then rm -rf "$lock.d"; else busy; fi
  done
  mine=$lock.d
  echo $$ >"$mine/holder"
fi
if command -v setsid >/dev/null 2>&1; then
  setsid "$@" </dev/null 3<&- 4>&- 9<&- & child=$!
else
  set -m  # gives the job its own group where there is no setsid (macOS)
  "$@" </dev/null 3<&- 4>&- 9<&- & child=$!
  set +m
fi
end() { echo "ended on the device: $1" >&4; kill -TERM -$child; sleep 2; kill -KILL -$child; }
echo 0 > heard
# Two watchers: one hears the host, the other looks at the clock.
( exec 9<&-; n=0
  while IFS= read -r line <&3; do n=$((n + 1)); echo $n > heard; echo '{"event":"alive"}'; done
  end "its host is gone" ) 2>/dev/null & listener=$!
( exec >/dev/null 3<&- 9<&-; elapsed=0; before=0; quiet=0
  while sleep 1; do
    elapsed=$((elapsed + 1)); quiet=$((quiet + 1)); now=$(cat heard)
    [ "$now" = "$before" ] || { before=$now; quiet=0; }
    [ $elapsed -ge $deadline ] && { end "its deadline of $deadline s had passed"; exit; }
    [ $quiet -ge $silence ] && { end "nothing was heard from the host for $silence s"; exit; }
  done ) 2>/dev/null & clock=$!
exec 3<&- 4>&-
wait $child; rc=$?
kill $listener $clock 2>/dev/null
[ -z "$mine" ] || rm -rf "$mine"
exit $rc
