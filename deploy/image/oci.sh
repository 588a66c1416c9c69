#!/usr/bin/env bash
# Builds the operator's image as an OCI layout, without a daemon:
#
#     deploy/image/oci.sh DIRECTORY [TAG]
#
# It needs buildah beside what root.sh needs. Push it with: skopeo copy oci:DIRECTORY:TAG docker://...
set -euo pipefail
layout=$(realpath --canonicalize-missing "${1:?name the directory}")
tag=${2:-latest}
cd "$(dirname "$0")/../.."

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
deploy/image/root.sh "$work/root"
# Its own storage: nothing is left behind, and no daemon or privilege of one is asked for.
buildah() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
container=$(buildah from scratch)
buildah copy --quiet "$container" "$work/root" / >/dev/null
buildah config --user 65532:65532 --port 8080 --entrypoint '["/rolecall-operator"]' --cmd '' \
    --label org.opencontainers.image.title=rolecall-operator --label org.opencontainers.image.licenses=Apache-2.0 "$container"
buildah commit --quiet --rm --timestamp 0 --format oci "$container" "oci:$layout:$tag" >/dev/null
echo "$layout:$tag: $(du --summarize --human-readable "$layout" | cut -f1)"
