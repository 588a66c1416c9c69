#!/usr/bin/env bash
# PostgreSQL 17.10: REVOKE of a membership that another role granted changes nothing and succeeds, with a WARNING.
#
# Seen: the superuser grants `reader` to `shopper`; an administrator that holds `reader` WITH ADMIN OPTION and made
# `shopper` revokes it. The command tag is REVOKE ROLE, the only sign a WARNING with SQLSTATE 01000, and the membership
# is there still. Naming the grantor (GRANTED BY) is an error, 42501, for who may not act as it.
# Follows for whoever withdraws access: read pg_auth_members afterwards; a statement that succeeded proves nothing.
set -euo pipefail
work=$(mktemp -d); source "$(dirname "$0")/lib/postgresql.sh"
trap 'pg_stop primary; rm -rf "$work"' EXIT
pg_install
port=$(free_port)
pg_start primary "$port"
pip install --quiet --target "$work/py" "psycopg[binary]==3.3.9" >/dev/null 2>&1
export PYTHONPATH="$work/py"
python3 - "$port" <<'P'
import sys, psycopg
def connect(user):
    return psycopg.connect(f"host=127.0.0.1 port={sys.argv[1]} user={user} dbname=postgres", autocommit=True)
superuser = connect("postgres")
version = superuser.execute("show server_version").fetchone()[0]
superuser.execute("create role reader")
superuser.execute("create role admin login createrole")
superuser.execute("grant reader to admin with admin option")
admin = connect("admin")
admin.execute("create role shopper")
superuser.execute("grant reader to shopper")
notices = []
admin.add_notice_handler(lambda notice: notices.append((notice.severity_nonlocalized, notice.sqlstate)))
tag = admin.execute("revoke reader from shopper").statusmessage
left = superuser.execute("""select m.grantor::regrole::text from pg_auth_members m
    where m.roleid = 'reader'::regrole and m.member = 'shopper'::regrole""").fetchall()
try:
    admin.execute("revoke reader from shopper granted by postgres")
    named = "success"
except psycopg.Error as error:
    named = error.sqlstate
print(f"PostgreSQL {version}: tag {tag}, notices {notices}, membership left {left}, with GRANTED BY {named}")
assert version.startswith("17."), version
assert tag == "REVOKE ROLE" and notices == [("WARNING", "01000")], (tag, notices)
assert left == [("postgres",)], left
assert named == "42501", named
P
