#!/usr/bin/env bash
# Runs the operator from the root file system that root.sh laid out, as a container would, without a container runtime and without
# being root:
#
#     deploy/image/run.sh DIRECTORY KUBECONFIG [FLAGS OF THE OPERATOR]
#
# Nothing but the image's files is there, nothing can be written, it is user 65532 without any capability, and it sees no other
# process; the network is the machine's. It needs bubblewrap (Debian: bubblewrap). ROLECALL_EMULATOR names a static qemu where the
# image is for another machine (Debian: qemu-user-static).
set -euo pipefail
root=$(realpath "${1:?name the directory}")
kubeconfig=$(realpath "${2:?name a kubeconfig}")
shift 2
command -v bwrap >/dev/null || { echo "$0: bwrap is missing; install bubblewrap" >&2; exit 1; }

mounts=()
while IFS= read -r -d '' file; do
    mounts+=(--ro-bind "$root/$file" "/$file")
done < <(cd "$root" && find . -type f -printf '%P\0')
# A container runtime brings these.
for file in /etc/resolv.conf /etc/hosts; do
    [ ! -e "$file" ] || mounts+=(--ro-bind "$file" "$file")
done
start=(/rolecall-operator)
if [ -n "${ROLECALL_EMULATOR:-}" ]; then
    mounts+=(--ro-bind "$(realpath "$ROLECALL_EMULATOR")" /emulator)
    start=(/emulator /rolecall-operator)
fi
exec bwrap --tmpfs / --dir /tmp "${mounts[@]}" --ro-bind "$kubeconfig" /var/run/rolecall/kubeconfig --proc /proc --dev /dev --remount-ro / \
    --unshare-user --unshare-pid --unshare-ipc --unshare-uts --uid 65532 --gid 65532 --cap-drop ALL --new-session --die-with-parent \
    --clearenv --setenv KUBECONFIG /var/run/rolecall/kubeconfig "${start[@]}" "$@"
