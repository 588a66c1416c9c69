#!/usr/bin/env bash
# Lays out the root file system of the operator's image in a new directory:
#
#     deploy/image/root.sh DIRECTORY [x86_64|aarch64]
#
# It needs what build.sh beside it needs, and /etc/ssl/certs/ca-certificates.crt (Debian: ca-certificates). The program is static,
# so that nothing else is in the image; files and their times are the same in every build of one commit. ROLECALL_OPERATOR
# names a program that was built before; ROLECALL_PROFILE is as in build.sh.
set -euo pipefail
root=${1:?name the directory}
machine=${2:-$(uname -m)}
cd "$(dirname "$0")/../.."

certificates=/etc/ssl/certs/ca-certificates.crt
[ -s "$certificates" ] || { echo "$0: $certificates is missing; install ca-certificates" >&2; exit 1; }
program=${ROLECALL_OPERATOR:-}
[ -n "$program" ] || program=$(deploy/image/build.sh rolecall-operator rolecall-operator "$machine")

mkdir -p "$root"/{etc/ssl/certs,tmp}
install -m 0555 "$program" "$root/rolecall-operator"
install -m 0444 "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
chmod 0444 "$root/etc/passwd" "$root/etc/group"
chmod 1777 "$root/tmp"
find "$root" -exec touch --no-dereference --date=@0 {} +
