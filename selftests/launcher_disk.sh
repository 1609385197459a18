#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Disks: a guest lives on one with an ext4 root, and what it reads and writes on
# others is what the host finds there; each device model in turn, with the
# launcher's random numbers and balloon beside them.
#
# KERNEL, INITRD and DISK name others than the defaults below; MODELS: user, kernel, or both.

# shellcheck source=selftests/lib/launcher.sh
. "$(dirname "$0")/lib/launcher.sh"

KERNEL=${KERNEL:-${GUEST_DIR:-/guest}/vmlinux}
INITRD=${INITRD:-${GUEST_DIR:-/guest}/initrd}
DISK=${DISK:-${GUEST_DIR:-/guest}/disk.img}

need_guest "Debian's kernel on a disk" "$KERNEL" "$INITRD" "$DISK"

# Where direct I/O can be had.
block=
if modprobe null_blk nr_devices=1 memory_backed=1 gb=1 bs=512 2> /dev/null && [ -b /dev/nullb0 ]; then
	block=/dev/nullb0
fi

# One whose writes can be made to wait.
stuck=
mkdir "$dir/mnt"
# shellcheck disable=SC2317 # called by the trap
cleanup_all()
{
	[ -z "$stuck" ] || fsfreeze --unfreeze "$dir/mnt" 2> /dev/null
	[ -z "$launcher" ] || kill -9 "$launcher" 2> /dev/null
	wait
	[ -z "$stuck" ] || umount "$dir/mnt"
	cleanup
}
trap cleanup_all EXIT
truncate -s 16M "$dir/fs"
modprobe loop 2> /dev/null
modprobe ext4 2> /dev/null
if mke2fs -F "$dir/fs" > /dev/null 2>&1 && mount -t ext4 -o loop,noatime "$dir/fs" "$dir/mnt"; then
	stuck=vdd
	[ -z "$block" ] || stuck=vde
fi

# Three of the launcher's threads do not wait for anything that can be interrupted.
not_stuck()
{
	[ "$(cat "/proc/$launcher/task"/*/status 2> /dev/null | grep -c '^State:.D')" -lt 3 ]
}

# The second boot's shell is not there yet: login drops what was typed before its prompt.
no_new_prompt()
{
	! awk '/^guest: up/ { up++ } up == 2 && /^guest# / { new = 1 } END { exit !new }' "$dir/out"
}

models=${MODELS:-user}
[ -n "$MODELS" ] || ! module_serves disk || models="user kernel"

for model in $models; do
	cp "$DISK" "$dir/root"
	dd if=/dev/urandom of="$dir/data" bs=64k count=40 2> /dev/null
	: > "$dir/written"
	[ -z "$stuck" ] || dd if="$dir/data" of="$dir/mnt/disk" bs=64k conv=fsync 2> /dev/null
	truncate -s 4M "$dir/written"
	sum=$(md5sum < "$dir/data" | cut -d' ' -f1)
	start --kernel "$KERNEL" --initrd "$INITRD" --cmdline 'quiet root=/dev/vda' \
		--device-model $model --cpus 2 --disk "$dir/root,queues=1" \
		--disk "$dir/data,ro,queues=1" --disk "$dir/written" ${block:+--disk $block,direct,queues=2} \
		${stuck:+--disk "$dir/mnt/disk,queues=1"} \
		--rng --balloon 32M
	await 1 '^guest# ' 300 && type 'grep " / " /proc/mounts' '^/dev/vda / ext4 rw'
	result $? "$model: the guest's root is on the disk"

	type 'md5sum /dev/vdb; dd if=/dev/vdb bs=4k iflag=direct 2> /dev/null | md5sum' \
		"^$sum  /dev/vdb" && await 1 "^$sum  -"
	result $? "$model: it reads what is there"

	type 'cat /sys/block/vdb/ro; echo x > /dev/vdb || echo refused' '^refused' &&
		said '^1' && [ "$(md5sum < "$dir/data" | cut -d' ' -f1)" = "$sum" ]
	result $? "$model: a read-only disk stays as it is"

	# Longer than a request, at an odd place, and flushed.
	type 'dd if=/dev/vdb of=/dev/vdc bs=1000 skip=1 seek=3 count=2000 conv=fsync 2> /dev/null &&
		echo writ""ten' '^written'
	dd if="$dir/data" bs=1000 skip=1 count=2000 2> /dev/null > "$dir/a"
	dd if="$dir/written" bs=1000 skip=3 count=2000 2> /dev/null > "$dir/b"
	cmp "$dir/a" "$dir/b" && [ "$(head -c 3000 "$dir/written" | tr -d '\0' | wc -c)" = 0 ]
	result $? "$model: it writes what it should, where it should"

	if [ $model = kernel ]; then
		"$RINGLET" ps > "$dir/ps" && grep -q 'device 0: disk, running, 1 queue$' "$dir/ps" &&
			grep -q 'device 2: disk, running, 2 queues$' "$dir/ps" &&
			"$RINGLET" stat > "$dir/stat" &&
			awk '/^  1 \(disk\), 0/ { data = $4 > 10 && $5 > 2600000 && $6 == 0 && $7 > 0 && $8 > 0 }
			     /^  2 \(disk\), / { written += $6 }
			     END { exit !(data && written > 2000000) }' "$dir/stat"
		status=$?
		[ $status = 0 ] || sed 's/^/# /' "$dir/ps" "$dir/stat"
		result $status "$model: ps and stat show the disks"
	fi

	type 'echo $(cat /sys/block/vdc/serial) has $(ls /sys/block/vdc/mq | wc -l)' \
		'^ringlet-2 has 2'
	result $? "$model: serial number and queues"

	before=$(du -k "$dir/written" | cut -f1)
	type 'blkdiscard -o 0 -l 1048576 /dev/vdc && echo trim""med' '^trimmed' &&
		[ "$(du -k "$dir/written" | cut -f1)" -lt "$before" ]
	result $? "$model: discarded blocks go back to the host"

	if [ -n "$block" ]; then
		type 'dd if=/dev/vdb of=/dev/vdd bs=64k oflag=direct 2> /dev/null; dd if=/dev/vdd bs=64k count=40 iflag=direct 2> /dev/null | sha1sum' \
			"^$(sha1sum < "$dir/data" | cut -d' ' -f1)" &&
			[ "$(head -c 2621440 $block | md5sum | cut -d' ' -f1)" = "$sum" ]
		result $? "$model: direct transfers to a block device"
	else
		skip "$model: direct transfers to a block device" "no null_blk"
	fi

	if [ "$model" = kernel ] && [ -n "$stuck" ]; then
		echo 1 > /proc/sys/vm/drop_caches
		fsfreeze --freeze "$dir/mnt"
		echo "for i in 1 2 3; do dd if=/dev/zero of=/dev/$stuck bs=4k seek=\$i count=1 oflag=direct 2> /dev/null && echo tha\"\"wed & done" >&3
		until_not not_stuck &&
			type "dd if=/dev/$stuck bs=4k skip=400 count=20 iflag=direct 2> /dev/null | md5sum | sed s/^/meanwhile:/" \
				"^meanwhile:$(dd if="$dir/data" bs=4k skip=400 count=20 2> /dev/null | md5sum | cut -d' ' -f1)" &&
			! said thawed
		status=$?
		fsfreeze --unfreeze "$dir/mnt"
		[ $status = 0 ] && await 3 thawed
		result $? "$model: writes to a frozen file system hold up nothing else"
	else
		skip "$model: writes to a frozen file system hold up nothing else" \
			"one request after the other, or no such file system"
	fi

	type 'head -c 64 /dev/hwrng | wc -c' '^64' && said '^64'
	result $? "$model: random numbers"
	type 'grep balloon_inflate /proc/vmstat' '^balloon_inflate 8192'
	result $? "$model: the balloon has taken its part"

	# A reset with requests under way: the disk is there again afterwards.
	echo 'cat /dev/vdb > /dev/null & reboot -f' >&3
	await 2 '^guest: up' 300 && until_not no_new_prompt &&
		type 'md5sum /dev/vdb | sed s/^/again:/' "^again:$sum"
	result $? "$model: the same after a reset"
	echo poweroff >&3
	ended 0
	result $? "$model: poweroff"
done

[ -z "$block" ] || rmmod null_blk
finish
