#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Debian's kernel over both boot protocols, with several vCPUs, memory above 4 GiB,
# reboot and poweroff.
#
# KERNEL and INITRD name others than the defaults below.

# shellcheck source=selftests/lib/launcher.sh
. "$(dirname "$0")/lib/launcher.sh"

KERNEL=${KERNEL:-${GUEST_DIR:-/guest}/vmlinuz}
INITRD=${INITRD:-${GUEST_DIR:-/guest}/initrd}		# runs a shell on the console, prompt "guest# "

# unpack FILE: the ELF kernel inside a bzImage. Its place is in the header, relative
# to the protected-mode code; the last four bytes of it are the unpacked size.
unpack()
{
	# shellcheck disable=SC2046 # two numbers
	set -- "$1" $(od -A n -t u4 -j 584 -N 8 "$KERNEL") \
		"$(od -A n -t u1 -j 497 -N 1 "$KERNEL")"
	tail -c +$((($4 + 1) * 512 + $2 + 1)) "$KERNEL" | head -c $(($3 - 4)) > "$1.packed"
	# busybox's xz lacks the x86 filter that the kernel uses.
	for tool in '/usr/bin/xz -d' zcat unlzma bunzip2; do
		$tool < "$1.packed" > "$1" 2> /dev/null
		head -c 4 "$1" | grep -q ELF && break
	done
	rm "$1.packed"
	head -c 4 "$1" | grep -q ELF
}

if [ -r "$KERNEL" ] && [ -r "$INITRD" ]; then
	start --kernel "$KERNEL" --initrd "$INITRD" --cmdline quiet --cpus 4 --memory 3200M
	await 1 '^guest# ' && type 'grep -c ^processor /proc/cpuinfo' '^4' &&
		type 'grep "System RAM" /proc/iomem' '^100000000-107ffffff : System RAM'
	result $? "bzImage, 4 vCPUs, memory above 4 GiB"
	echo 'reboot -f' >&3
	await 1 'Restarting system' && await 2 'BusyBox'
	result $? "reboot"
	sleep 1
	type 'poweroff' 'Power down' && ended 0
	result $? "poweroff"

	if unpack "$dir/vmlinux"; then
		start --kernel "$dir/vmlinux" --initrd "$INITRD" --cmdline \
			'quiet rdinit=/bin/sh -- -c "/bin/busybox uname -m; /bin/busybox poweroff -f"'
		exec 3>&-
		ended 0 && said '^x86_64'
		result $? "PVH, with its input at its end from the start"
	else
		skip "PVH" "cannot unpack $KERNEL"
	fi
else
	skip "Debian's kernel" "no $KERNEL or no $INITRD"
fi

finish
