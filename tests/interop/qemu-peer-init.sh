#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC1091,SC2154
# qemu-peer-init.sh - /init of the guest that qemu-peer.sh boots.  Process 1 in
# two stages: busybox sh in the initramfs, then bash on the real root.
#
# The file /conf (bash syntax, written by qemu-peer.sh) holds: name share mtu
# addrs[] envs[] cmd[].

if [ -z "$BASH_VERSION" ]; then # ---- stage 1: build the root file system
	bb=/bin/busybox
	fail() { echo "qemu-peer-init: $*"; $bb sync; $bb poweroff -f; }
	$bb mount -t proc proc /proc
	$bb mount -t sysfs sysfs /sys
	$bb mount -t devtmpfs dev /dev
	while read -r m; do $bb insmod "/modules/$m" || fail "insmod $m"; done </modules/order
	$bb mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro root /lower ||
		fail "9p root"
	$bb mount -t tmpfs -o mode=755,size=90% tmpfs /rw
	$bb mkdir /rw/up /rw/work
	$bb mount -t overlay -o lowerdir=/lower,upperdir=/rw/up,workdir=/rw/work overlay /newroot ||
		fail "overlay"
	$bb mount -t tmpfs -o mode=755 tmpfs /newroot/run # nothing of the host's daemons
	$bb mkdir /newroot/run/qemu-peer
	$bb cp /init /conf /newroot/run/qemu-peer/
	# the kernel file systems must move along: the new root's own /proc, /sys and
	# /dev are the host's, seen through 9p
	for d in proc sys dev; do $bb mount --move /$d /newroot/$d; done
	# "exec": process 1 shares its root directory with the kernel threads, so this
	# also is what lets the kernel find /sbin/modprobe
	exec $bb switch_root /newroot /bin/bash /run/qemu-peer/init
fi

# ---- stage 2: bash on the overlay root
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
. /run/qemu-peer/conf
export SHARE=$share
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
echo "$name" >/proc/sys/kernel/hostname
# cache=none: both sides see each other's writes at once (for rendezvous files)
mkdir -p "$share"
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none share "$share" ||
	echo "qemu-peer-init: no share"

ip link set lo up
for i in "${!addrs[@]}"; do
	ip link set "eth$i" mtu "$mtu" up
	for a in ${addrs[i]//,/ }; do
		case $a in
		*:*) ip addr add "$a" dev "eth$i" nodad ;;
		*) ip addr add "$a" dev "eth$i" ;;
		esac
	done
done

read -r up _ </proc/uptime
echo "qemu-peer-init: $name: script starts at uptime $up"
[ -x "${cmd[0]}" ] || cmd=(bash "${cmd[@]}")
cd / && env "${envs[@]}" setsid -w "${cmd[@]}" </dev/null >>"$share/$name.output" 2>&1
status=$?
read -r up _ </proc/uptime
echo "qemu-peer-init: $name: script ended with $status at uptime $up"
dmesg >"$share/$name.dmesg"
echo "$status" >"$share/$name.status"
sync
/bin/busybox poweroff -f
