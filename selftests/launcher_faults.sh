#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What the host takes away from a running guest: room in a file system, a block
# device, a tap, memory, and at last the launcher. The guest is told of I/O errors and
# goes on; what it flushed is on the disk; nothing is left behind.
#
# KERNEL and INITRD name others than the defaults below. KILLS: how many times the
# launcher is killed (10); MODELS: who serves the devices (kernel where that can be had,
# else user; or both).

BOUND=${BOUND:-200}
# shellcheck source=selftests/lib/launcher.sh
. "$(dirname "$0")/lib/launcher.sh"

KERNEL=${KERNEL:-${GUEST_DIR:-/guest}/vmlinux}
INITRD=${INITRD:-${GUEST_DIR:-/guest}/initrd}
KILLS=${KILLS:-10}

need_guest "guests and faults" "$KERNEL" "$INITRD"
net=
have_tun && net=rlfault0
mkdir "$dir/full"
if ! mount -t tmpfs -o size=2m full "$dir/full" 2> /dev/null; then
	skip "guests and faults" "no right to mount"
	finish
	exit
fi
nullb=/sys/kernel/config/nullb/launcher_fault
# shellcheck disable=SC2317 # called by the trap
cleanup_all()
{
	[ -z "$launcher" ] || kill -9 "$launcher" 2> /dev/null
	wait
	umount "$dir/full"
	rmdir $nullb 2> /dev/null
	cleanup
}
trap cleanup_all EXIT

if [ -z "$MODELS" ]; then
	MODELS=user
	module_serves disk && MODELS=kernel
fi

mine() { [ "$RINGLET_DEV" = /dev/ringlet ] && "$RINGLET" ps | grep -q " $pid "; }

rss() { awk '/^VmRSS:/ { print $2 }' "/proc/$launcher/status"; }

for model in $MODELS; do
	block=
	modprobe null_blk nr_devices=0 2> /dev/null
	modprobe configfs 2> /dev/null
	mount -t configfs none /sys/kernel/config 2> /dev/null
	if mkdir $nullb 2> /dev/null && echo 1 > $nullb/memory_backed && echo 8 > $nullb/size &&
	   echo 1 > $nullb/power; then
		block=/dev/launcher_fault	# newer kernels name it after its folder
		[ -b $block ] || block=/dev/nullb$(cat $nullb/index)
	fi
	rm -f "$dir/full"/*
	head -c 1048576 /dev/zero > "$dir/full/filler"
	truncate -s 8M "$dir/full/disk" "$dir/flushed"
	start --kernel "$KERNEL" --initrd "$INITRD" --device-model "$model" --memory 192M \
		--cmdline 'quiet' --balloon 64M --disk "$dir/full/disk" --disk "$dir/flushed" \
		${block:+--disk $block,direct} ${net:+--net tap=$net}
	pid=$launcher
	await 1 '^guest# ' 300
	result $? "$model: a guest"

	type 'dd if=/dev/zero bs=64k count=64 2> /dev/null | tr "\0" x > /tmp/x; dd if=/tmp/x of=/dev/vda bs=64k oflag=direct > /tmp/out 2>&1; sed s/^/full:/ /tmp/out' \
		'^full:dd: .*\(Input/output\|I/O\) error' &&
		type 'dd if=/dev/vda bs=64k count=8 iflag=direct 2> /dev/null | tr -d x | wc -c | sed s/^/rest:/' \
			'^rest:0'
	result $? "$model: a full file system is an I/O error"
	rm "$dir/full/filler"
	type 'dd if=/tmp/x of=/dev/vda bs=64k count=20 oflag=direct 2> /dev/null && echo ro""om' '^room' &&
		[ "$(head -c 1310720 "$dir/full/disk" | tr -d x | wc -c)" = 0 ]
	result $? "$model: and none when there is room again"

	if [ -n "$block" ]; then
		type 'dd if=/tmp/x of=/dev/vdc bs=64k oflag=direct 2> /dev/null && echo plug""ged' '^plugged'
		echo 'while dd if=/dev/vdc of=/dev/null bs=64k iflag=direct 2> /dev/null; do :; done; echo un""plugged' >&3
		sleep 0.5
		echo 0 > $nullb/power
		await 1 '^unplugged' && rmdir $nullb
		result $? "$model: a block device that is taken away"
	else
		skip "$model: a block device that is taken away" "no null_blk"
	fi

	if [ -n "$net" ]; then
		ip addr add 10.9.3.1/24 dev $net &&
			type 'ip addr add 10.9.3.2/24 dev eth0; ip link set eth0 up; ping -c 1 10.9.3.1' \
				'^1 packets transmitted, 1 packets received' &&
			echo 'ping -A -s 1000 10.9.3.1 > /dev/null &' >&3
		sleep 0.5
		ip link del $net
		await 1 ' is gone' && type 'ip link set eth0 down; echo al""ive' '^alive'
		result $? "$model: a tap that is deleted under traffic"
		if [ "$model" = kernel ]; then
			"$RINGLET" ps | grep -q 'network, .*, its backend is gone$'
			result $? "$model: ps shows it"
		fi
	else
		skip "$model: a tap that is deleted under traffic" "no tun"
	fi

	# Memory that the guest has used goes back to the host with the balloon.
	type 'rmmod virtio_balloon && dd if=/dev/urandom of=/tmp/y bs=1M count=80 2> /dev/null; rm /tmp/y; echo us""ed' '^used'
	before=$(rss)
	# shellcheck disable=SC2016 # for the guest's shell; it counts both times
	type 'modprobe virtio_balloon; until [ "$(sed -n "s/balloon_inflate //p" /proc/vmstat)" -ge 32768 ]; do sleep 1; done; echo in""flated' \
		'^inflated' && [ "$(rss)" -lt $((before - 50000)) ]
	status=$?
	[ $status = 0 ] || echo "# $before KiB before, $(rss) after"
	result $status "$model: the balloon gives memory back to the host"

	# What fsync has promised is there when the launcher has gone without a word.
	# shellcheck disable=SC2016 # for the guest's shell
	echo 'i=0; while :; do i=$((i + 1)); echo "record $i end" | dd of=/dev/vdb bs=512 seek=$i conv=sync,fsync,notrunc 2> /dev/null && echo "flushed $i"; done' >&3
	await 5 '^flushed'
	kill -9 "$launcher"
	wait "$launcher" 2> /dev/null
	exec 3>&-
	last=$(sed -n 's/^flushed \([0-9]*\)\r*$/\1/p' "$dir/out" | tail -n 1) n=1 missing=
	while [ $n -le "$last" ]; do
		dd if="$dir/flushed" bs=512 skip=$n count=1 2> /dev/null | grep -q -a "^record $n end" ||
			missing="$missing $n"
		n=$((n + 1))
	done
	[ -z "$missing" ] || echo "# of $last records these are missing:$missing"
	[ "$last" -ge 5 ] && [ -z "$missing" ]
	result $? "$model: what was flushed is on the disk after SIGKILL"
	launcher=
	until_not mine
	result $? "$model: its VM is gone"
done

# The launcher's death at any moment, with a disk, a tap and a bridge, from before the VM is
# made to a guest at work.
modprobe bridge 2> /dev/null
bridge=
if [ -n "$net" ] && ip link add rlfaultbr type bridge 2> /dev/null; then
	ip link del rlfaultbr
	bridge=rlfaultbr
fi
# shellcheck disable=SC2012 # their names have no blanks
taps() { [ "$(ls -d /sys/class/net/rltap* /sys/class/net/$net 2> /dev/null | wc -l)" != 0 ]; }
bridged() { [ -n "$bridge" ] && [ -e /sys/class/net/$bridge ]; }
vms() { [ "$("$RINGLET" ps | wc -l)" != 1 ]; }
used() { [ "$(cat /sys/module/ringlet/refcnt)" != 0 ]; }
free_kb() { awk '/^MemAvailable:/ { print $2 }' /proc/meminfo; }

n=0 bad=0 seed=${SEED:-1}
before=0
while [ $n -lt "$KILLS" ]; do
	n=$((n + 1))
	seed=$(((seed * 1103515245 + 12345) % 2147483648))
	start --kernel "$KERNEL" --initrd "$INITRD" --memory 128M --cpus $((n % 2 + 1)) \
		--cmdline 'quiet' --disk "$dir/flushed,queues=2" --rng \
		${net:+--net tap=$net} ${bridge:+--net bridge=$bridge}
	pid=$launcher
	# Later kills find a guest that reads, writes and sends.
	echo 'dd if=/dev/vda of=/dev/null bs=4k iflag=direct & dd if=/dev/zero of=/dev/vda bs=4k oflag=direct & ping -f -b 255.255.255.255 > /dev/null' >&3 &
	feeder=$!
	case $((n % 5)) in
	0)	await 1 '^guest# ' 300 && sleep 0.$((seed / 65536 % 9)) ;;
	*)	sleep $((seed / 65536 % 3)).$((seed / 1048576 % 10)) ;;
	esac
	kill -9 "$launcher"
	wait "$launcher" 2> /dev/null
	exec 3>&-
	kill $feeder 2> /dev/null
	launcher=
	for what in taps bridged mine; do
		until_not $what && continue
		echo "# $what: still there"
		bad=1
	done
	[ $bad = 0 ] || break
	[ $n != 3 ] || before=$(free_kb)
done
result $bad "killed at $n moments: no VM, no tap, no bridge is left"

if [ "$RINGLET_DEV" = /dev/ringlet ]; then
	until_not vms && until_not used
	result $? "nobody uses the module"
fi
# What one guest had would be more than this.
echo 3 > /proc/sys/vm/drop_caches
after=$(free_kb)
[ $((before - after)) -lt 20000 ]
status=$?
[ $status = 0 ] || echo "# $before KiB were free, now $after"
result $status "the memory is free again"

finish
