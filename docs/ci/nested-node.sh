#!/bin/sh
# A throw-away Proxmox VE node inside QEMU, for a CI job: Debian 13, root, /dev/kvm, a network namespace of the job's own.
# Usage: nested-node.sh install | start | stop
#
#   install  makes the disk from Proxmox's own ISO; nothing where it is made already (keep the folder between jobs)
#   start    boots it, waits for its API, and fetches what the job needs to speak to it
#   stop     ends it; the next start begins with the disk as it was installed
#
# NESTED_ISO_URL and NESTED_ISO_SHA256 name the ISO (both at www.proxmox.com/en/downloads). All files are in NESTED_FOLDER.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${NESTED_FOLDER:-$PWD/.nested}
address=${NESTED_ADDRESS:-192.168.1.185}     # as answer.toml has it
gateway=${NESTED_GATEWAY:-192.168.1.1}
cable=${NESTED_CABLE:-nested0}
memory=${NESTED_MEMORY:-6144}                # MiB
template=${NESTED_TEMPLATE:-debian-12-standard}
card=52:54:00:48:00:01

fail() {
    echo "nested-node: cannot $1: $2" >&2
    exit 1
}

need() {
    for program in "$@"; do
        command -v "$program" >/dev/null || fail "go on" "$program is not installed (see docs/ci/README.md)"
    done
    [ -w /dev/kvm ] || fail "go on" "/dev/kvm is not there or not writable: the job needs a machine with nested virtualization"
}

machine() {
    # A disk, a card on the cable, the processor as it is (so that the node's own guests may be VMs).
    within=$1 log=$folder/$2.log
    shift 2
    exec timeout "$within" qemu-system-x86_64 -enable-kvm -cpu host -smp 2 -m "$memory" -display none -vga none \
        -serial "file:$log" -netdev "tap,id=net,ifname=$cable,script=no,downscript=no" \
        -device "virtio-net-pci,netdev=net,mac=$card" -device virtio-rng-pci "$@"
}

cabled() {
    # Some containers are privileged and have no node for it all the same.
    [ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod /dev/net/tun c 10 200; }
    [ -e "/sys/class/net/$cable" ] || ip tuntap add "$cable" mode tap
    ip address replace "$gateway/24" dev "$cable"
    ip link set "$cable" up
    # The way out, for the container template: this namespace's own.
    echo 1 >/proc/sys/net/ipv4/ip_forward
    nft -f - <<END
table ip nested {}
delete table ip nested
table ip nested {
    chain out { type nat hook postrouting priority srcnat; ip saddr $address masquerade; }
}
END
}

fetched() {
    iso=$folder/$(basename "$NESTED_ISO_URL")
    [ -e "$iso" ] || curl -fsSL --retry 3 -o "$iso.part" "$NESTED_ISO_URL" || fail "fetch the ISO" "$NESTED_ISO_URL"
    [ -e "$iso" ] || mv "$iso.part" "$iso"
    if ! echo "$NESTED_ISO_SHA256  $iso" | sha256sum -c --quiet >/dev/null 2>&1; then
        rm -f "$iso"
        fail "use the ISO" "$NESTED_ISO_URL has not the SHA-256 of NESTED_ISO_SHA256"
    fi
}

answered() {
    # Hexadecimal digits: nothing in them means anything to sed or TOML.
    (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$folder/password")
    rm -f "$folder/key" "$folder/key.pub"
    ssh-keygen -q -t ed25519 -N '' -C nested-node -f "$folder/key"
    (umask 077 && sed -e "s|@ROOT_PASSWORD@|$(cat "$folder/password")|" -e "s|@ROOT_SSH_KEY@|$(cat "$folder/key.pub")|" \
        "$here/answer.toml" >"$folder/answer.toml")
    proxmox-auto-install-assistant validate-answer "$folder/answer.toml"
}

install() {
    need curl qemu-system-x86_64 qemu-img proxmox-auto-install-assistant xorriso ssh-keygen ip nft
    if [ -z "${NESTED_ISO_URL:-}" ] || [ -z "${NESTED_ISO_SHA256:-}" ]; then
        fail "install" "NESTED_ISO_URL and NESTED_ISO_SHA256 are not set (www.proxmox.com/en/downloads has both)"
    fi
    mkdir -p "$folder"
    chmod 700 "$folder"
    if [ -e "$folder/installed" ] && [ "$(cat "$folder/installed")" = "$NESTED_ISO_SHA256" ]; then
        echo "nested-node: installed already"
        return
    fi
    fetched
    answered
    proxmox-auto-install-assistant prepare-iso "$iso" --fetch-from iso --answer-file "$folder/answer.toml" \
        --output "$folder/auto.iso"
    rm -f "$folder/installed" "$folder/disk.qcow2"
    qemu-img create -q -f qcow2 "$folder/disk.qcow2" 64G
    cabled
    (machine "${NESTED_INSTALL_WITHIN:-2400}" install -no-reboot -boot order=d -cdrom "$folder/auto.iso" \
        -drive "file=$folder/disk.qcow2,if=virtio,cache=unsafe") ||
        fail "install" "the installer did not end in time; its last words: $(tail -n 5 "$folder/install.log" 2>/dev/null)"
    rm -f "$folder/auto.iso" "$iso"
    echo "$NESTED_ISO_SHA256" >"$folder/installed"
}

on_node() {
    ssh -q -i "$folder/key" -o BatchMode=yes -o ConnectTimeout=10 -o UserKnownHostsFile="$folder/known_hosts" \
        -o StrictHostKeyChecking=accept-new "root@$address" "$@"
}

start() {
    need curl qemu-system-x86_64 qemu-img ssh ip nft
    [ -e "$folder/installed" ] || fail "start" "it is not installed: nested-node.sh install"
    cabled
    # What the job does to the node goes into a layer of its own: the installed disk stays as it is.
    rm -f "$folder/layer.qcow2" "$folder/known_hosts"
    qemu-img create -q -f qcow2 -F qcow2 -b "$folder/disk.qcow2" "$folder/layer.qcow2"
    # Nothing of this step's output stays open: the step ends although the machine goes on.
    machine "${NESTED_LIVES:-7200}" node -drive "file=$folder/layer.qcow2,if=virtio,cache=unsafe" \
        </dev/null >"$folder/qemu.log" 2>&1 &
    echo $! >"$folder/pid"
    tries=0
    until curl -ksS --max-time 5 -o /dev/null "https://$address:8006/" 2>/dev/null && on_node true; do
        tries=$((tries + 1))
        [ "$tries" -lt "${NESTED_TRIES:-120}" ] || fail "reach the node" "$address does not answer; see $folder/node.log"
        kill -0 "$(cat "$folder/pid")" 2>/dev/null || fail "start" "QEMU has ended: $(tail -n 3 "$folder/qemu.log")"
        sleep 3
    done
    on_node cat /etc/pve/pve-root-ca.pem >"$folder/ca.pem"
    on_node "pvesm set local --content iso,vztmpl,backup,import && pveam update >/dev/null &&
        pveam download local \$(pveam available --section system | awk '\$2 ~ /^$template/ { found = \$2 } END { print found }') >/dev/null"
    volume=$(on_node "pveam list local" | awk -v name="$template" '$1 ~ name { print $1 }' | tail -n 1)
    [ -n "$volume" ] || fail "fetch a template" "the node has none of $template"
    cat >"$folder/environment" <<END
PROXMOX_VE_CA_BUNDLE=$folder/ca.pem
HEARTH_LIVE_NODE=$(on_node hostname)
HEARTH_LIVE_STORAGE=local-lvm
HEARTH_LIVE_BRIDGE=vmbr0
HEARTH_LIVE_TEMPLATE=$volume
HEARTH_LIVE_VMIDS=9000-9004
PROXMOX_VE_ENDPOINT=https://$address:8006
END
    echo "nested-node: https://$address:8006 answers"
}

stop() {
    [ -e "$folder/pid" ] || return 0
    kill "$(cat "$folder/pid")" 2>/dev/null || :
    rm -f "$folder/pid" "$folder/layer.qcow2"
    ip link delete "$cable" 2>/dev/null || :
    nft delete table ip nested 2>/dev/null || :
}

case ${1:-} in
install | start | stop) "$1" ;;
*) fail "do ${1:-nothing}" "write install, start or stop" ;;
esac
