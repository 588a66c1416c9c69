#!/usr/bin/env bash
# PostgreSQL 17.10: making and granting roles gets slower with every role that the same creator made before.
#
# Seen: a login with CREATEROLE (no superuser) that made 4,000 roles needs about 200 times as long for one transaction of
# CREATE ROLE, GRANT and ALTER ROLE as one that made none, beside the same 4,000 roles (50 ms, 0.24 ms); a superuser pays
# nothing. From 16 on CREATE ROLE makes the creator a member (ADMIN OPTION) of the role, and after each statement that
# changes a membership all of these are walked anew.
# Follows for whoever makes users: roles that nobody needs are dropped, not kept; or several creators share the work. SET ROLE to one
# of them reads again all that can be reached by SET ROLE: what holds many roles should be inherited from, WITH SET FALSE.
set -euo pipefail
work=$(mktemp -d); source "$(dirname "$0")/lib/postgresql.sh"
trap 'pg_stop primary; rm -rf "$work"' EXIT
pg_install
port=$(free_port)
pg_start primary "$port"
pip install --quiet --target "$work/py" "psycopg[binary]==3.3.9" >/dev/null 2>&1
export PYTHONPATH="$work/py"
python3 - "$port" <<'P'
import statistics, sys, time, psycopg
def connect(user):
    return psycopg.connect(f"host=127.0.0.1 port={sys.argv[1]} user={user} dbname=postgres", autocommit=True)
superuser = connect("postgres")
version = superuser.execute("show server_version").fetchone()[0]
superuser.execute("create role reader")
for name in ("busy", "fresh"):
    superuser.execute(f"create role {name} login createrole")
    superuser.execute(f"grant reader to {name} with admin option")
busy, fresh = connect("busy"), connect("fresh")
busy.execute("do $$ begin for n in 1..4000 loop execute format('create role kept_%s', n); end loop; end $$")
def start(connection, user, times=15):
    taken = []
    for n in range(times):
        begun = time.perf_counter()
        with connection.transaction():
            connection.execute(f"create role {user}_{n}")
            connection.execute(f"grant reader to {user}_{n}")
            connection.execute(f"alter role {user}_{n} login")
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)
by = {name: start(connection, f"of_{name}") for name, connection in
      [("superuser", superuser), ("fresh", fresh), ("busy", busy)]}
print(f"PostgreSQL {version}: " + ", ".join(f"{name} {seconds * 1000:.2f} ms" for name, seconds in by.items()))
assert version.startswith("17."), version
assert by["busy"] > 8 * by["fresh"], "a creator of many roles is no longer slow"
assert by["fresh"] < 8 * by["superuser"], "one that made none is slow as well"
P
