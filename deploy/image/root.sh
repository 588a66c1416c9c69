#!/usr/bin/env bash
# Lays out the root file system of the operator's image in a new directory:
#
#     deploy/image/root.sh DIRECTORY [x86_64|aarch64]
#
# It needs rustup, CMake, a C compiler for musl and /etc/ssl/certs/ca-certificates.crt (Debian: cmake, musl-tools,
# ca-certificates). For a machine that is not this one it needs zig instead: pip install cargo-zigbuild ziglang. The program is
# static, so that nothing else is in the image; files and their times are the same in every build of one commit.
# ROLECALL_OPERATOR names a program that was built before; ROLECALL_PROFILE another profile of cargo than `release`, such as
# `dev`, which builds in a quarter of the time.
set -euo pipefail
root=${1:?name the directory}
machine=${2:-$(uname -m)}
cd "$(dirname "$0")/../.."

lacks() {
    echo "$0: $1 is missing; install $2" >&2
    exit 1
}

certificates=/etc/ssl/certs/ca-certificates.crt
[ -s "$certificates" ] || lacks "$certificates" "ca-certificates"
program=${ROLECALL_OPERATOR:-}
if [ -z "$program" ]; then
    target=$machine-unknown-linux-musl
    command -v rustup >/dev/null || lacks rustup "it from rustup.rs: it brings the target $target"
    command -v cmake >/dev/null || lacks cmake "cmake"
    rustup target add "$target"
    build=build
    if [ "$machine" != "$(uname -m)" ]; then
        command -v cargo-zigbuild >/dev/null || lacks cargo-zigbuild "cargo-zigbuild and ziglang with pip, which build for other machines"
        build=zigbuild
    elif command -v musl-gcc >/dev/null; then
        export "CC_${target//-/_}=musl-gcc"
    else
        lacks musl-gcc "musl-tools"
    fi
    # Paths of the machine that builds it do not belong into a program, neither those of Rust nor those of C.
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    export RUSTFLAGS="--remap-path-prefix=$PWD=/source --remap-path-prefix=$cargo_home=/cargo"
    export "CFLAGS_${target//-/_}=-ffile-prefix-map=$PWD=/source -ffile-prefix-map=$cargo_home=/cargo"
    # How much of an earlier build is reused has no place in it either.
    export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
    profile=${ROLECALL_PROFILE:-release}
    cargo "$build" --locked --profile "$profile" --package rolecall-operator --target "$target"
    [ "$profile" != dev ] || profile=debug
    program=${CARGO_TARGET_DIR:-target}/$target/$profile/rolecall-operator
fi

mkdir -p "$root"/{etc/ssl/certs,tmp}
install -m 0555 "$program" "$root/rolecall-operator"
install -m 0444 "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
chmod 0444 "$root/etc/passwd" "$root/etc/group"
chmod 1777 "$root/tmp"
find "$root" -exec touch --no-dereference --date=@0 {} +
