#!/usr/bin/env bash
# Builds the operator's image for x86-64 and ARM64 as an OCI layout, without a daemon, with a list of what is in it beside it:
#
#     deploy/image/oci.sh DIRECTORY [TAG]
#
# makes DIRECTORY, an OCI layout with one image index, and DIRECTORY.cdx.json, an SBOM (CycloneDX). It needs buildah and
# cargo-cyclonedx beside what root.sh needs for both machines. Two builds of the same programs are the same image.
# Push it with: skopeo copy --all oci:DIRECTORY:TAG docker://...
#
# ROLECALL_MACHINES names other machines than "x86_64 aarch64"; ROLECALL_OPERATORS a directory with a program for each
# (rolecall-operator.x86_64, ...) that was built before.
set -euo pipefail
layout=$(realpath --canonicalize-missing "${1:?name the directory}")
tag=${2:-latest}
cd "$(dirname "$0")/../.."

for program in buildah cargo-cyclonedx; do
    command -v "$program" >/dev/null || { echo "$0: $program is missing" >&2; exit 1; }
done
work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
# Its own storage: nothing is left behind, and no daemon or privilege of one is asked for.
buildah() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }

buildah manifest create rolecall-operator >/dev/null
for machine in ${ROLECALL_MACHINES:-x86_64 aarch64}; do
    case $machine in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) echo "$0: unknown machine $machine" >&2; exit 1 ;; esac
    if [ -n "${ROLECALL_OPERATORS:-}" ]; then
        export ROLECALL_OPERATOR=$ROLECALL_OPERATORS/rolecall-operator.$machine
    fi
    deploy/image/root.sh "$work/root-$machine" "$machine"
    container=$(buildah from --arch "$arch" scratch)
    buildah copy --quiet "$container" "$work/root-$machine" / >/dev/null
    buildah config --arch "$arch" --os linux --user 65532:65532 --port 8080 --entrypoint '["/rolecall-operator"]' --cmd '' \
        --label org.opencontainers.image.title=rolecall-operator --label org.opencontainers.image.licenses=Apache-2.0 "$container"
    image=$(buildah commit --quiet --rm --identity-label=false --timestamp 0 --format oci "$container")
    buildah manifest add rolecall-operator "$image" >/dev/null
done
buildah manifest push --quiet --all --format oci rolecall-operator "oci:$layout:$tag" >/dev/null

# What was compiled into the program, with versions and licences. It is written beside each crate, so it is made from a copy;
# where that was says nothing.
mkdir "$work/source"
cp -r Cargo.toml Cargo.lock rust-toolchain.toml crates tests "$work/source"
(cd "$work/source" && SOURCE_DATE_EPOCH=0 cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
    --target x86_64-unknown-linux-musl --manifest-path crates/operator/Cargo.toml --override-filename sbom)
sed "s|$work/source|/source|g" "$work/source/crates/operator/sbom.json" >"$layout.cdx.json"
echo "$layout:$tag: $(du --summarize --human-readable "$layout" | cut -f1)"
