# Runs one program for a parent that may die at any moment, and ends the program when the parent is gone.
#
# The parent holds the only write end of the pipe that is our standard input. However the parent ends, the kernel
# closes the pipe, `read` sees the end of the file, and the program and everything it started are stopped.
#
# Arguments: the signal that asks the program to end, tenths of a second until it is killed, its log file, and the
# program with its arguments. Writes the program's process id to standard output.
signal=$1 timeout=$2 log=$3
shift 3

# When the parent dies while the program is paused, the kernel hangs up on the whole process group.
trap '' HUP

# The process $1 and all its descendants: PostgreSQL's backends leave the process group, so killing that is not enough.
tree() {
    echo "$1"
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
        tree "$child"
    done
}

# Ended programs stay zombies until `wait` below, so their id cannot be taken by another process meanwhile.
running() {
    read -r _ _ state _ <"/proc/$pid/stat" && [ "$state" != Z ]
} 2>/dev/null

"$@" </dev/null >>"$log" 2>&1 &
pid=$!
echo "$pid"
exec >/dev/null 2>&1

while read -r _; do :; done

# A paused program cannot act on a signal.
kill -s CONT $(tree "$pid")
kill -s "$signal" "$pid"
ticks=0
while running && [ "$ticks" -lt "$((timeout * 5))" ]; do
    sleep 0.02
    ticks=$((ticks + 1))
done
if running; then
    kill -s KILL $(tree "$pid")
fi
wait "$pid"
