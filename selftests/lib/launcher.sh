#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# For tests that run the launcher with a hypervisor below it: starts it, waits for
# what it says and for its end, prints TAP lines. Skips the whole test when there
# is no hypervisor.
#
# RINGLET and RINGLET_DEV name another launcher or hypervisor's node.

here=$(dirname "$0")
RINGLET=${RINGLET:-$here/../tools/ringlet}
RINGLET_DEV=${RINGLET_DEV:-/dev/ringlet}
BOUND=${BOUND:-100}			# seconds until something must have come

echo "TAP version 13"
if [ ! -e "$RINGLET_DEV" ]; then
	echo "1..0 # SKIP no $RINGLET_DEV"
	exit 4
fi

trap '' PIPE				# a launcher that has ended is told of in another way
dir=$(mktemp -d) || exit 1
launcher=
# shellcheck disable=SC2317 # called by the trap
cleanup()
{
	[ -z "$launcher" ] || kill -9 "$launcher" 2> /dev/null
	rm -rf "$dir"
}
trap cleanup EXIT
mkfifo "$dir/in"

count=0 failed=0
result()		# result STATUS TEXT: one TAP line, and why
{
	count=$((count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $count $2"
	else
		echo "not ok $count $2"
		failed=$((failed + 1))
		echo "# status ${status:-none}, the end of the output:"
		tail -n 20 "$dir/out" | tr -d '\r\0' | sed 's/^/# /'
		echo "#"		# the output may end within a line
	fi
}

skip()			# skip TEXT REASON
{
	count=$((count + 1))
	echo "ok $count $1 # SKIP $2"
}

# start ARGUMENT...: the launcher, its input from file descriptor 3.
start()
{
	status=
	: > "$dir/out"
	"$RINGLET" run --device "$RINGLET_DEV" "$@" < "$dir/in" > "$dir/out" 2>&1 &
	launcher=$!
	exec 3> "$dir/in"
}

# need_guest TITLE FILE...: the rest is about guests with these; none, nothing to test
need_guest()
{
	title=$1
	shift
	for file; do
		[ -r "$file" ] && continue
		skip "$title" "no $file"
		finish
		exit
	done
}

# Is there a way to make taps?
have_tun()
{
	modprobe tun 2> /dev/null
	[ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod /dev/net/tun c 10 200; } 2> /dev/null
}

# module_serves disk|network: is there a data plane for it?
module_serves() { "$RINGLET" info --device "$RINGLET_DEV" | grep -q "data planes .*$1"; }

now() { cut -d. -f1 /proc/uptime; }

# await LINES PATTERN [SECONDS]: until the output has so many of them
await()
{
	end=$(($(now) + ${3:-$BOUND}))
	until [ "$(grep -c -a -e "$2" "$dir/out")" -ge "$1" ]; do
		kill -0 "$launcher" 2> /dev/null && [ "$(now)" -lt $end ] || return 1
		sleep 0.2
	done
}

# until_not COMMAND...: until it fails
until_not()
{
	end=$(($(now) + BOUND))
	while "$@" > /dev/null 2>&1; do
		[ "$(now)" -lt $end ] || return 1
		sleep 0.1
	done
}

# ended STATUS: the launcher ends, and with this status
ended()
{
	end=$(($(now) + BOUND))
	while kill -0 "$launcher" 2> /dev/null; do
		if [ "$(now)" -ge $end ]; then
			kill -9 "$launcher"
			break
		fi
		sleep 0.1
	done
	exec 3>&-
	wait "$launcher"
	status=$?
	launcher=
	[ $status = "$1" ]
}

# type COMMAND PATTERN: a line for the guest's shell, and what has to come of it
type()
{
	echo "$1" >&3
	await 1 "$2"
}

said() { grep -q -a -e "$1" "$dir/out"; }

finish()		# the plan, and whether all went well
{
	echo "1..$count"
	[ $failed = 0 ]
}
