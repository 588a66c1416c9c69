#!/usr/bin/env bash
# PgBouncer 1.18 (1.26 alike): with ignore_startup_parameters = options, settings of the startup packet are dropped and
# nobody is told.
#
# Seen: a client asks for statement_timeout=7s and search_path=pg_catalog by `options`. Without the setting the login is
# refused (08P01, unsupported startup parameter). With it the login succeeds, and the server shows statement_timeout 0 and
# its own search_path.
# Follows for whoever pins settings at login: read them back before anything relies on them.
set -euo pipefail
work=$(mktemp -d); source "$(dirname "$0")/lib/postgresql.sh"
trap '[ -z "${bouncer:-}" ] || kill "$bouncer" 2>/dev/null; pg_stop server; rm -rf "$work"' EXIT
pg_install
cd "$work"
mkdir debs root
(cd debs && apt-get download -qq pgbouncer=1.18.0-1+deb12u1 libc-ares2 libevent-2.1-7 >/dev/null 2>&1) ||
    { echo "apt-get cannot download pgbouncer 1.18.0-1+deb12u1; run apt-get update first" >&2; exit 2; }
for deb in debs/*.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH="$work/root/usr/lib/$(uname -m)-linux-gnu"
port=$(free_port); pg_start server "$port"; pooled=$(free_port)
printf '"postgres" ""\n' >users.txt
start() {
    cat >pgbouncer.ini <<I
[databases]
* = host=127.0.0.1 port=$port
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pooled
auth_type = trust
auth_file = $work/users.txt
pool_mode = transaction
unix_socket_dir =
$1
I
    chmod a+r pgbouncer.ini users.txt; chmod a+rx "$work"
    $pg_run root/usr/sbin/pgbouncer -q pgbouncer.ini & bouncer=$!
    until python3 -c "import socket; socket.create_connection(('127.0.0.1', $pooled))" 2>/dev/null; do sleep 0.1; done
}
python3 -m pip install --quiet --target py 'psycopg[binary]==3.3.9' >/dev/null 2>&1
cat >ask.py <<'P'
import sys, psycopg
try:
    with psycopg.connect(f"host=127.0.0.1 port={sys.argv[1]} user=postgres dbname=postgres sslmode=disable",
                         options="-c statement_timeout=7s -c search_path=pg_catalog") as c:
        print(*[c.execute(f"show {name}").fetchone()[0] for name in ("statement_timeout", "search_path")])
except psycopg.Error as error:
    print("refused")
P
ask() { env -u LD_LIBRARY_PATH PYTHONPATH=py python3 ask.py "$pooled"; }
start ""; without=$(ask); kill "$bouncer"; wait "$bouncer" 2>/dev/null || true
start "ignore_startup_parameters = options"; with=$(ask)
root/usr/sbin/pgbouncer --version | head -n 1
printf 'without: %s\nwith ignore_startup_parameters: %s\n' "$without" "$with"
[ "$without" = refused ] && [ "$with" = '0 "$user", public' ]
