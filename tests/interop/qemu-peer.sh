#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# qemu-peer.sh - run one script as root on a real Linux kernel (Debian's
# linux-image) in a throw-away QEMU guest that is plugged into a bridge of a
# network namespace.  No KVM and no disk image needed: plain TCG emulation, and
# the guest's root is the host's own "/" over 9p (read-only) below a tmpfs
# overlay, so every tool installed on the host is there and every path can be
# written to without the host noticing.
#
# usage: qemu-peer.sh --netns NS --nic BRIDGE[=ADDR/LEN[,ADDR/LEN...]] [--nic ...]
#                     --share DIR [options] [--] SCRIPT [ARG...]
#
#   --netns NS        network namespace that holds the bridge(s) (ip netns add)
#   --nic BR=ADDRS    one guest interface, eth0, eth1, ... in the given order:
#                     tapped into bridge BR, with these IPv4/IPv6 addresses.
#                     The tap is named BR-NAME, cut to 15 letters
#   --share DIR       created if missing; the one directory that both sides can
#                     write.  Mounted in the guest at the same path, and exported
#                     to the script as $SHARE.  Receives
#                       NAME.console  kernel messages
#                       NAME.output   stdout + stderr of SCRIPT (live)
#                       NAME.status   exit status of SCRIPT, once it has ended
#                       NAME.dmesg    kernel log at the end
#   --name NAME       host name of the guest, prefix of those files, seed of its
#                     MAC addresses: one guest at a time per name     [peer]
#   --timeout S       whole run, boot included                        [120]
#   --mem MIB         memory; it also holds what the guest writes     [512]
#   --cpus N          virtual CPUs                                    [1]
#   --mtu N           MTU of the guest's interfaces                   [1500]
#   --env K=V         into the environment of SCRIPT (repeatable)
#   --append "ARGS"   more kernel command line
#   --kernel VERSION  as in /lib/modules                     [newest with both]
#   --offload         let virtio do TSO/GRO and leave checksums to the host:
#                     fast, but user-space peers (AF_PACKET, tap, scapy) then see
#                     64 KiB frames and unfinished checksums            [off]
#   --quiet           do not copy the script's output to stdout
#
# SCRIPT may lie anywhere but in /run, /proc, /sys and /dev, which are the guest's
# own.  Host files are cached in the guest (cache=loose): what changes during a run
# belongs into the share.  Background jobs of SCRIPT end with it.
#
# exit status: that of SCRIPT; 124 timeout; 125 the guest or QEMU failed before
# SCRIPT ended; 2 usage.
#
# Needs: qemu-system-x86 (or any qemu-system-x86_64), linux-image-amd64,
# busybox-static, cpio, kmod, iproute2, xz-utils, util-linux; bash >= 5.1; root.
set -euo pipefail

die() { echo "qemu-peer: $*" >&2; exit 2; }

netns='' share='' name=peer timeout=120 mem=512 cpus=1 mtu=1500 append='' kver=''
offload=off quiet='' nics=() envs=()
while [ $# -gt 0 ]; do
	case $1 in
	--netns) netns=$2; shift ;;
	--nic) nics+=("$2"); shift ;;
	--share) share=$2; shift ;;
	--name) name=$2; shift ;;
	--timeout) timeout=$2; shift ;;
	--mem) mem=$2; shift ;;
	--cpus) cpus=$2; shift ;;
	--mtu) mtu=$2; shift ;;
	--env) envs+=("$2"); shift ;;
	--append) append=$2; shift ;;
	--kernel) kver=$2; shift ;;
	--offload) offload=on ;;
	--quiet) quiet=1 ;;
	-h | --help) sed -n '3,/^set /{/^set /d;s/^# \?//;p}' "$0"; exit 0 ;;
	--) shift; break ;;
	-*) die "unknown option $1" ;;
	*) break ;;
	esac
	shift
done
[ $# -ge 1 ] || die "no script given (see --help)"
[ -n "$netns" ] || die "--netns is missing"
[ -n "$share" ] || die "--share is missing"
[ ${#nics[@]} -ge 1 ] || die "--nic is missing"
[ "$(id -u)" = 0 ] || die "must be root (tap devices, other namespaces)"
[ -f "$1" ] || die "no such script: $1"
for n in "${nics[@]}"; do
	ip -n "$netns" link show dev "${n%%=*}" type bridge >/dev/null 2>&1 ||
		die "no bridge ${n%%=*} in network namespace $netns"
done
cmd=("$(realpath "$1")" "${@:2}")
mkdir -p "$share"
share=$(realpath "$share")
here=$(dirname "$(realpath "$0")")
if [ -z "$kver" ]; then
	kver=$(for k in /lib/modules/*; do
		[ ! -e "/boot/vmlinuz-${k##*/}" ] || echo "${k##*/}"
	done | sort -V | tail -n1)
fi
[ -e "/boot/vmlinuz-$kver" ] || die "no kernel in /boot with modules (apt-get install linux-image-amd64)"

# --- clean-up: whatever happens, QEMU goes; its taps go with it (they are not
# persistent), and so does the work directory.  Should this script be killed
# with SIGKILL, the parent-death signal set below still ends QEMU.
qemu='' timer='' tail='' work=$(mktemp -d "${TMPDIR:-/tmp}/qemu-peer.XXXXXX")
# shellcheck disable=SC2317
cleanup() {
	trap - EXIT
	for p in $timer $qemu; do kill -KILL "$p" || true; done 2>/dev/null
	wait 2>/dev/null || true # "tail" ends by itself, with QEMU
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- kernel: the bzImage holds an xz stream; unpacking it here (0.6 s) and
# booting the bare ELF file by its PVH entry saves the emulated CPU from doing
# it (2.4 s).  If that does not work out, the bzImage does.
kernel=/boot/vmlinuz-$kver
off=$(LC_ALL=C grep -aboP -m1 '\xfd7zXZ\x00' "$kernel" | head -n1 | cut -d: -f1) || true
if [ -n "$off" ]; then
	tail -c +$((off + 1)) "$kernel" | xz -dc --single-stream >"$work/vmlinux" 2>/dev/null || true
	if [ "$(head -c4 "$work/vmlinux")" = $'\x7fELF' ]; then kernel=$work/vmlinux; fi
fi

# --- initramfs: busybox, qemu-peer-init.sh, and the modules needed to reach the
# root file system (in load order); all the rest is loaded by modprobe later.
ird=$work/ird
mkdir -p "$ird"/{bin,dev,proc,sys,modules,lower,rw,newroot}
cp /bin/busybox "$ird/bin/"
install -m 755 "$here/qemu-peer-init.sh" "$ird/init"
for m in virtio_pci virtio_net 9pnet_virtio 9p overlay; do
	modprobe -S "$kver" --show-depends "$m"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r f; do
	cp "$f" "$ird/modules/"
	echo "${f##*/}" >>"$ird/modules/order"
done
addrs=()
for n in "${nics[@]}"; do
	case $n in *=*) addrs+=("${n#*=}") ;; *) addrs+=('') ;; esac
done
declare -p name share mtu addrs envs cmd >"$ird/conf"
(cd "$ird" && find . | cpio --quiet -o -H newc) >"$work/initrd"

# --- network: QEMU makes one tap per NIC inside the namespace (it is started in
# there) and calls the if-up script, which plugs the tap into its bridge.
net=()
for i in "${!nics[@]}"; do
	# shellcheck disable=SC2016
	printf '#!/bin/sh\nip link set dev "$1" mtu %s master %s up\n' \
		"$mtu" "${nics[i]%%=*}" >"$work/ifup$i"
	chmod +x "$work/ifup$i"
	mac=$(printf '%s' "$netns/$name/$i" | md5sum | sed 's/^\(..\)\(..\)\(..\).*/52:54:00:\1:\2:\3/')
	tap=${nics[i]%%=*}-$name
	net+=(-netdev "tap,id=n$i,ifname=${tap:0:15},script=$work/ifup$i,downscript=no")
	dev="virtio-net-pci,netdev=n$i,mac=$mac,romfile="
	v=$offload
	dev+=",csum=$v,gso=$v,guest_csum=$v,guest_tso4=$v,guest_tso6=$v,guest_ufo=$v,guest_ecn=$v"
	dev+=",host_tso4=$v,host_tso6=$v,host_ufo=$v,host_ecn=$v"
	net+=(-device "$dev")
done

# --- kernel command line: boot fast and stay quiet under emulation, where
# mitigations, self tests and watchdogs only cost time.
args="console=ttyS0 quiet panic=-1 net.ifnames=0 mitigations=off nokaslr"
args+=" random.trust_cpu=on tsc=reliable no_timer_check nowatchdog audit=0"
args+=" apparmor=0 cryptomgr.notests rcupdate.rcu_expedited=1 8250.nr_uarts=1 $append"

rm -f "$share/$name".{console,status,dmesg}
: >"$share/$name.output"
# la57=off: -cpu max would bring 5-level page tables, that is, slower TLB misses
ip netns exec "$netns" setpriv --pdeathsig KILL \
	qemu-system-x86_64 -name "$name" -nodefaults -no-user-config -no-reboot \
	-accel tcg,thread=multi -cpu max,la57=off -smp "$cpus" -m "$mem" \
	-display none -serial "file:$share/$name.console" \
	-kernel "$kernel" -initrd "$work/initrd" -append "$args" \
	-virtfs local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap \
	-virtfs "local,path=$share,mount_tag=share,security_model=none,multidevs=remap" \
	"${net[@]}" </dev/null >"$work/qemu.log" 2>&1 &
qemu=$!
sleep "$timeout" >/dev/null 2>&1 & # holds none of the caller's pipes
timer=$!
if [ -z "$quiet" ]; then
	tail -n +1 -s 0.1 -f --pid="$qemu" "$share/$name.output" 2>/dev/null &
	tail=$!
fi

wait -n -p ended "$qemu" "$timer" || true
if [ "$ended" = "$timer" ]; then
	echo "qemu-peer: $name: timeout after $timeout s" >&2
	exit 124
fi
[ -z "$tail" ] || wait "$tail" || true
if status=$(cat "$share/$name.status" 2>/dev/null) && [ -n "$status" ]; then
	exit "$status"
fi
echo "qemu-peer: $name: guest ended without a result; QEMU and end of console:" >&2
tail -n 20 "$work/qemu.log" "$share/$name.console" >&2 || true
exit 125
