#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# guest-agent.sh - what qemu-peer.sh runs in a guest that is used for many things, one after another (guest.py is the
# other side). It runs $SHARE/jobs/N.sh for N = 0, 1, 2 … as they appear, and leaves N.out, N.err and N.status beside
# it; N.status comes last. A job that ends the guest: `kill -TERM $$`.
mkdir -p "$SHARE/jobs"
mkfifo /tmp/never && exec 9<>/tmp/never
trap 'exit 0' TERM
touch "$SHARE/ready"
number=0
while :; do
	job=$SHARE/jobs/$number
	if [ -e "$job.sh" ]; then
		# A subshell, not another bash: under emulation each program that starts is dear.
		(trap - TERM && . "$job.sh") >"$job.out" 2>"$job.err" </dev/null 9<&-
		echo $? >"$job.ended" && mv "$job.ended" "$job.status"
		number=$((number + 1))
	else
		read -r -t 0.03 -u 9 # sleeps without a process of its own: those are dear under emulation
	fi
done
