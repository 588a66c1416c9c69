#!/usr/bin/env bash
# PostgreSQL 17.10: a COMMIT that waits for a synchronous standby which is gone is ended by no time-out.
#
# Seen: with synchronous_standby_names naming a standby that is not connected, ALTER ROLE ... NOLOGIN (an implicit
# COMMIT) goes on waiting (wait_event SyncRep) although statement_timeout, lock_timeout and transaction_timeout are all
# one second. Until then other connections see the role as it was, and the lock is held: a second ALTER ROLE of the same
# role fails with 55P03. Cancelling the wait (pg_cancel_backend) is a success for the client, with WARNING 01000: the
# change is there, on this server alone.
# Follows for whoever manages users: cancel what was abandoned, and say what is waited for.
set -euo pipefail
work=$(mktemp -d); source "$(dirname "$0")/lib/postgresql.sh"
trap 'pg_stop primary; rm -rf "$work"' EXIT
pg_install
port=$(free_port)
pg_start primary "$port"
pip install --quiet --target "$work/py" psycopg[binary]==3.3.9 >/dev/null 2>&1
export PYTHONPATH="$work/py"
python3 - "$port" <<'P'
import sys, threading, time, psycopg
dsn = f"host=127.0.0.1 port={sys.argv[1]} user=postgres dbname=postgres"
admin = psycopg.connect(dsn, autocommit=True)
version = admin.execute("show server_version").fetchone()[0]
admin.execute("create role shopper login")
admin.execute("alter system set synchronous_standby_names = 'gone'")
admin.execute("select pg_reload_conf()")
time.sleep(1)
notices, outcome = [], []
def end():
    with psycopg.connect(dsn, autocommit=True) as c:
        c.add_notice_handler(lambda n: notices.append((n.severity, n.sqlstate)))
        for name in ("statement_timeout", "lock_timeout", "transaction_timeout"):
            c.execute(f"set {name} = '1s'")
        outcome.append(c.info.backend_pid)
        try:
            c.execute("alter role shopper nologin")
            outcome.append("success")
        except psycopg.Error as error:
            outcome.append(error.sqlstate)
ending = threading.Thread(target=end); ending.start()
time.sleep(6)
pid = outcome[0]
waits = admin.execute("select wait_event from pg_stat_activity where pid = %s", (pid,)).fetchone()[0]
seen = admin.execute("select rolcanlogin from pg_roles where rolname = 'shopper'").fetchone()[0]
admin.execute("set synchronous_commit = local"); admin.execute("set lock_timeout = '500ms'")
try:
    admin.execute("alter role shopper nologin"); second = "success"
except psycopg.Error as error:
    second = error.sqlstate
admin.execute("select pg_cancel_backend(%s)", (pid,)); ending.join(30)
after = admin.execute("select rolcanlogin from pg_roles where rolname = 'shopper'").fetchone()[0]
found = dict(answer_when_cancelled=outcome[1], wait=waits, login_seen_meanwhile=seen, second=second, notices=notices, login_after=after)
print("PostgreSQL", version, found)
expected = dict(answer_when_cancelled="success", wait="SyncRep", login_seen_meanwhile=True, second="55P03", notices=[("WARNING", "01000")], login_after=False)
sys.exit(0 if found == expected else 1)
P
