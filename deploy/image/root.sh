#!/usr/bin/env bash
# Lays out the root file system of the operator's image in a new directory:
#
#     deploy/image/root.sh DIRECTORY
#
# It needs Rust, CMake, musl-gcc (Debian: musl-tools) and /etc/ssl/certs/ca-certificates.crt (ca-certificates). The program is
# static, so that nothing else is in the image; files and their times are the same in every build of one commit.
# ROLECALL_OPERATOR names a program that was built before.
set -euo pipefail
root=${1:?name the directory}
cd "$(dirname "$0")/../.."

program=${ROLECALL_OPERATOR:-}
if [ -z "$program" ]; then
    target=$(uname -m)-unknown-linux-musl
    rustup target add "$target"
    # Paths of the machine that builds it do not belong into a program.
    export "CC_${target//-/_}=musl-gcc" RUSTFLAGS="--remap-path-prefix=$PWD=/source --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
    cargo build --locked --release --package rolecall-operator --target "$target"
    program=${CARGO_TARGET_DIR:-target}/$target/release/rolecall-operator
fi

mkdir -p "$root"/{etc/ssl/certs,tmp}
install -m 0555 "$program" "$root/rolecall-operator"
install -m 0444 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
chmod 0444 "$root/etc/passwd" "$root/etc/group"
chmod 1777 "$root/tmp"
find "$root" -exec touch --no-dereference --date=@0 {} +
