# Run "$@" in a process group of its own, and end all of it when the host's pipe closes, when nothing is heard from the
# host for $silence seconds, or after $deadline seconds. Any POSIX shell; neither setsid nor timeout need be there.
exec 3<&0 4>&2
if command -v setsid >/dev/null 2>&1; then
  setsid "$@" </dev/null 3<&- 4>&- & child=$!
else
  set -m  # gives the job its own group where there is no setsid (macOS)
  "$@" </dev/null 3<&- 4>&- & child=$!
  set +m
fi
end() { echo "ended on the device: $1" >&4; kill -TERM -$child; sleep 2; kill -KILL -$child; }
echo 0 > heard
# Two watchers: one hears the host, the other looks at the clock.
( n=0
  while IFS= read -r line <&3; do n=$((n + 1)); echo $n > heard; echo '{"event":"alive"}'; done
  end "its host is gone" ) 2>/dev/null & listener=$!
( exec >/dev/null 3<&-; elapsed=0; before=0; quiet=0
  while sleep 1; do
    elapsed=$((elapsed + 1)); quiet=$((quiet + 1)); now=$(cat heard)
    [ "$now" = "$before" ] || { before=$now; quiet=0; }
    [ $elapsed -ge $deadline ] && { end "its deadline of $deadline s had passed"; exit; }
    [ $quiet -ge $silence ] && { end "nothing was heard from the host for $silence s"; exit; }
  done ) 2>/dev/null & clock=$!
exec 3<&- 4>&-
wait $child; rc=$?
kill $listener $clock 2>/dev/null
exit $rc
