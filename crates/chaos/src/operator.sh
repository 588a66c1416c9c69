# Runs the operator for a parent that may die at any moment, and kills it when the parent is gone.
#
# The parent holds the only write end of the pipe that is our standard input: however it ends, `read` sees the end of
# the file. Arguments: the log file, and the operator with its arguments. Writes its process id to standard output.
log=$1
shift
"$@" </dev/null >>"$log" 2>&1 &
pid=$!
echo "$pid"
exec >/dev/null 2>&1

while read -r _; do :; done

kill -s KILL "$pid"
wait "$pid"
