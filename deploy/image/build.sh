#!/usr/bin/env bash
# Builds a program as one static file, and prints where it is:
#
#     deploy/image/build.sh PACKAGE PROGRAM [x86_64|aarch64]
#
# It needs rustup, CMake and a C compiler for musl (Debian: cmake, musl-tools). For a machine that is not this one it needs zig
# instead: pip install cargo-zigbuild ziglang. ROLECALL_PROFILE names another profile of cargo than `release`, such as `dev`, which
# builds in a quarter of the time.
set -euo pipefail
package=${1:?name the package}
program=${2:?name the program}
machine=${3:-$(uname -m)}
cd "$(dirname "$0")/../.."

lacks() {
    echo "$0: $1 is missing; install $2" >&2
    exit 1
}

target=$machine-unknown-linux-musl
command -v rustup >/dev/null || lacks rustup "it from rustup.rs: it brings the target $target"
command -v cmake >/dev/null || lacks cmake "cmake"
rustup target add "$target" >&2
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
cargo "$build" --locked --profile "$profile" --package "$package" --target "$target" >&2
[ "$profile" != dev ] || profile=debug
echo "${CARGO_TARGET_DIR:-target}/$target/$profile/$program"
