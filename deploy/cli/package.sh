#!/usr/bin/env bash
# Packs the kubectl plugin for x86-64 and ARM64: one static program each, with man pages and completion, and a manifest for krew:
#
#     deploy/cli/package.sh DIRECTORY [URL]
#
# makes in DIRECTORY an archive for each machine, SHA256SUMS, and rolecall.yaml for krew, which finds the archives under URL
# (default: https://registry.example.com/rolecall). It needs what deploy/image/build.sh needs for both machines. Two runs with the
# same programs make the same archives.
#
# ROLECALL_MACHINES names other machines than "x86_64 aarch64"; ROLECALL_PLUGINS a directory with a program for each
# (kubectl-rolecall.x86_64, ...) that was built before.
set -euo pipefail
directory=$(realpath --canonicalize-missing "${1:?name the directory}")
url=${2:-https://registry.example.com/rolecall}
machines=${ROLECALL_MACHINES:-x86_64 aarch64}
here=$(uname -m)
cd "$(dirname "$0")/../.."

case " $machines " in *" $here "*) ;; *) echo "$0: the pages are made by the program for $here, which is not among $machines" >&2; exit 1 ;; esac
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
mkdir -p "$directory"

program() {
    if [ -n "${ROLECALL_PLUGINS:-}" ]; then echo "$ROLECALL_PLUGINS/kubectl-rolecall.$1"; else deploy/image/build.sh rolecall-cli kubectl-rolecall "$1"; fi
}
for machine in $machines; do
    install -D -m 0755 "$(program "$machine")" "$work/$machine/kubectl-rolecall"
done
pages=$work/pages
"$work/$here/kubectl-rolecall" man "$pages/man1"
mkdir -p "$pages/completions"
for shell in bash zsh fish kubectl; do
    "$work/$here/kubectl-rolecall" completion "$shell" >"$pages/completions/$shell"
done
version=$("$work/$here/kubectl-rolecall" --version | cut -d' ' -f2)

platforms=$work/platforms
for machine in $machines; do
    case $machine in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) echo "$0: unknown machine $machine" >&2; exit 1 ;; esac
    cp -r "$pages/." LICENSE "$work/$machine"
    ln -s kubectl-rolecall "$work/$machine/kubectl_complete-rolecall"
    archive=kubectl-rolecall-$version-linux-$arch.tar.gz
    tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go-w -C "$work/$machine" . | gzip --no-name >"$directory/$archive"
    sum=$(sha256sum "$directory/$archive" | cut -d' ' -f1)
    cat >>"$platforms" <<PLATFORM
  - selector: {matchLabels: {os: linux, arch: $arch}}
    uri: $url/$archive
    sha256: $sum
    bin: kubectl-rolecall
PLATFORM
done
(cd "$directory" && sha256sum kubectl-rolecall-"$version"-linux-*.tar.gz >SHA256SUMS)
{ sed "s/VERSION/v$version/" deploy/cli/krew.yaml; cat "$platforms"; } >"$directory/rolecall.yaml"
echo "$directory: $(ls "$directory" | tr '\n' ' ')"
