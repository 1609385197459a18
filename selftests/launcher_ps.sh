#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# ringlet ps, stat and monitor: they show the launcher's own guest while it runs, to
# those who may see it.

# shellcheck source=selftests/lib/launcher.sh
. "$(dirname "$0")/lib/launcher.sh"
# shellcheck source=selftests/lib/guests.sh
. "$(dirname "$0")/lib/guests.sh"

if [ "$RINGLET_DEV" != /dev/ringlet ]; then
	echo "1..0 # SKIP $RINGLET_DEV has no netlink family"
	exit 4
fi

listener=
# shellcheck disable=SC2317 # called by the trap
cleanup_all()
{
	[ -z "$listener" ] || kill "$listener" 2> /dev/null
	cleanup
}
trap cleanup_all EXIT

shows()			# shows PATTERN COMMAND...: its output has it, and it succeeds
{
	pattern=$1
	shift
	if "$RINGLET" "$@" > "$dir/shown" 2>&1 && grep -q -e "$pattern" "$dir/shown"; then
		return 0
	fi
	echo "# $*:"
	sed 's/^/# /' "$dir/shown"
	return 1
}

told()			# told PATTERN: the monitor says it, sooner or later
{
	end=$(($(now) + BOUND))
	until grep -q -e "$1" "$dir/events"; do
		[ "$(now)" -lt $end ] || return 1
		sleep 0.2
	done
}

for command in ps stat monitor; do
	"$RINGLET" $command --help | grep -q '^Usage: ringlet '$command
	result $? "$command --help"
	"$RINGLET" $command --nonsense 2> /dev/null
	[ $? = 2 ]
	result $? "$command refuses an unknown option"
done
for bad in --vm=0 --vm=x --interval=0 --count=-1 --count; do
	"$RINGLET" stat $bad 2> /dev/null
	[ $? = 2 ]
	result $? "stat refuses $bad"
done
"$RINGLET" stat --vm 2147483647 > "$dir/shown" 2>&1
[ $? = 1 ] && grep -q 'no VM 2147483647' "$dir/shown"
result $? "stat of a VM that is not there"

"$RINGLET" monitor > "$dir/events" 2>&1 &
listener=$!
# It has joined when it sees VMs come and go.
# shellcheck disable=SC2086 # lists of bytes
elf "$dir/off" $poweroff $halt
end=$(($(now) + BOUND / 4))
until grep -q created "$dir/events" || [ "$(now)" -ge $end ]; do
	"$RINGLET" run --device "$RINGLET_DEV" --kernel "$dir/off" --memory 16M > /dev/null 2>&1 < /dev/null
done
grep -q created "$dir/events"
result $? "monitor listens"

# shellcheck disable=SC2086 # lists of bytes
elf "$dir/halt" $say_R $halt
truncate -s 1M "$dir/disk"
start --kernel "$dir/halt" --cpus 2 --memory 32M --disk "$dir/disk,queues=3" --disk "$dir/disk,ro"
await 1 '^R'
result $? "a guest with two vCPUs runs"
shows " $launcher .* 2  *32M .* ringlet$" ps
result $? "ps shows it"
vm=$(awk -v pid="$launcher" '$2 == pid { print $1 }' "$dir/shown")
grep -q 'vCPU 0: halted' "$dir/shown" && grep -q 'vCPU 1: waits for SIPI\|vCPU 1: not started' "$dir/shown"
result $? "and what its vCPUs do"
grep -q '^ *device 0: disk, stopped, 3 queues$' "$dir/shown" &&
	grep -q '^ *device 1: disk, stopped, 2 queues$' "$dir/shown"
result $? "and its devices"
shows "^VM $vm: process $launcher (ringlet), 2 vCPUs, 32 MiB" stat --vm "$vm" &&
	grep -q '^  exit: io  *[1-9]' "$dir/shown" && grep -q '^  halts  *[1-9]' "$dir/shown" &&
	grep -q 'mapped pages: ' "$dir/shown"
result $? "stat counts its exits"
shows '^  since the last time' stat --vm "$vm" --watch --count 2 &&
	[ "$(grep -c "^VM $vm:" "$dir/shown")" = 2 ] && tail -n +15 "$dir/shown" | grep -q '^  exit: io  *0'
result $? "stat --watch shows what is new"
told "^VM $vm created: process $launcher (ringlet), user 0"
result $? "monitor tells of its creation"

# What somebody else sees.
# An emulated host has no users of its own.
[ -e /etc/passwd ] || echo 'nobody:x:65534:65534::/:/bin/sh' > /etc/passwd
nobody()			# nobody ARGUMENT...: ringlet, as somebody who has no VM
{
	busybox start-stop-daemon -S -c nobody -p /nowhere -x "$RINGLET" -- "$@"
}
if nobody version > /dev/null 2>&1; then
	nobody ps > "$dir/shown" 2>&1 && [ "$(wc -l < "$dir/shown")" = 1 ]
	result $? "another user sees no VM"
	nobody stat --vm "$vm" > "$dir/shown" 2>&1
	[ $? = 1 ] && grep -q "there is no VM $vm, or not for you" "$dir/shown"
	result $? "nor its counters"
else
	skip "another user" "cannot become one"
fi

kill -TERM "$launcher"
ended 143
told "^VM $vm destroyed: process"
result $? "monitor tells of its end"
shows '' ps && ! grep -q "^ *$vm " "$dir/shown"
result $? "ps does not show it any more"

# shellcheck disable=SC2086
elf "$dir/triple" $say_R 0f 0b $halt
start --kernel "$dir/triple"
told 'vCPU 0 stopped: triple fault'
result $? "monitor tells of a triple fault"
kill -TERM "$launcher"
ended 143

# A driver that has put more requests into its queue than there is room for.
# shellcheck disable=SC2046,SC2086
elf "$dir/broken" $say_R $(driver 0x4000) $halt
start --kernel "$dir/broken" --memory 32M --disk "$dir/disk"
told 'device 0 (disk) needs a reset: queue 0: Invalid argument$'
result $? "monitor tells of a device that needs a reset"
shows '^ *device 0: disk, needs a reset, 1 queue$' ps
result $? "ps shows that it does"
shows '^  0 (disk), 0 ' stat && ! grep -q '^  1 ' "$dir/shown"
result $? "stat has its queue"
kill -TERM "$launcher"
ended 143

finish
