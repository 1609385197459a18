#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Guests that do without MSI-X: disks, a network and random numbers by interrupt
# lines through the I/O APIC, with each device model.
#
# KERNEL and INITRD name others than the defaults below.

# shellcheck source=selftests/lib/launcher.sh
. "$(dirname "$0")/lib/launcher.sh"

KERNEL=${KERNEL:-${GUEST_DIR:-/guest}/vmlinux}
INITRD=${INITRD:-${GUEST_DIR:-/guest}/initrd}

need_guest "Debian's kernel without MSI-X" "$KERNEL" "$INITRD"
net=
have_tun && net=rlintx0

models=user
module_serves disk && models='user kernel'

dd if=/dev/urandom of="$dir/data" bs=64k count=40 2> /dev/null
sum=$(md5sum < "$dir/data" | cut -d' ' -f1)
for model in $models; do
	: > "$dir/written"
	truncate -s 4M "$dir/written"
	# Slots 1 to 5: the first disk and the random numbers share a line.
	start --kernel "$KERNEL" --initrd "$INITRD" --device-model "$model" --cpus 2 \
		--cmdline 'quiet pci=nomsi' --disk "$dir/data,ro" --disk "$dir/written,queues=2" \
		${net:+--net tap=$net} --balloon 0 --rng
	await 1 '^guest# ' 300 &&
		type 'grep -c "IO-APIC.*virtio" /proc/interrupts | sed s/^/lines:/' '^lines:[34]' &&
		! grep -q -a 'PCI-MSI.*virtio' "$dir/out"
	result $? "$model: interrupts come by lines"

	type 'dd if=/dev/vda bs=4k iflag=direct 2> /dev/null | md5sum' "^$sum  -"
	result $? "$model: reads"
	type 'dd if=/dev/vda of=/dev/vdb bs=64k conv=fsync 2> /dev/null & dd if=/dev/vda bs=64k iflag=direct 2> /dev/null | md5sum | sed s/^/both:/; wait; echo writ""ten' \
		'^written' && said "^both:$sum" &&
		[ "$(head -c 2621440 "$dir/written" | md5sum | cut -d' ' -f1)" = "$sum" ]
	result $? "$model: reads and writes at a time"
	type 'head -c 64 /dev/hwrng | wc -c | sed s/^/random:/' '^random:64'
	result $? "$model: a device that shares its line"
	if [ -n "$net" ]; then
		ip addr add 10.9.2.1/24 dev $net &&
			type 'ip addr add 10.9.2.2/24 dev eth0; ip link set eth0 up; ping -c 5 -s 1000 10.9.2.1' \
				'^5 packets transmitted, 5 packets received'
		result $? "$model: packets"
	else
		skip "$model: packets" "no tun"
	fi
	# A line that nobody lowers would go on and on: some, for packets of the host's, may come.
	# shellcheck disable=SC2016 # for the guest's shell
	type 'sum() { awk "/virtio/ { n += \$2 + \$3 } END { print n }" /proc/interrupts; }; a=$(sum); sleep 2; b=$(sum); [ "$a" -gt 10 ] && [ $((b - a)) -lt 100 ] && echo qui""et' \
		'^quiet'
	result $? "$model: no interrupts without a reason"
	echo poweroff >&3
	ended 0
	result $? "$model: poweroff"
done
finish
