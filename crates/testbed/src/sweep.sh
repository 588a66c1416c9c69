# Removes a directory once the parent, which holds the write end of our standard input, is gone or closes it.
# Servers in it may still be ending, so the removal is tried until nothing is left.
while read -r _; do :; done
tries=0
until rm -rf "$1" && [ ! -e "$1" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || exit 1
    sleep 0.1
done 2>/dev/null
