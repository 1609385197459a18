# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the host needs to run QEMU and its guests: the program, its BIOSes, and an
# initramfs for a guest with the modules of its devices.  Sourced.

GUEST_MODULES="virtio_pci virtio_mmio virtio_blk virtio_net virtio_balloon"

qemu_fill()
{
	local root=$1 guest mod dir=lib/modules/$KERNEL_RELEASE
	local modules=${KERNEL_ROOT%/}/$dir

	mkdir -p "$root/clients" "$root/guest"
	stage_file "$root" "$(command -v qemu-system-x86_64)"
	mkdir -p "$root/usr/share/qemu" "$root/usr/share/seabios"
	ln -s /usr/share/seabios/*.bin "$root/usr/share/seabios/"
	ln -s /usr/share/qemu/{kvmvapic,linuxboot,linuxboot_dma,multiboot,multiboot_dma,pvh}.bin \
		/usr/share/qemu/{qboot.rom,bios-microvm.bin} "$root/usr/share/qemu/"

	guest=$root.guest
	mkdir -p "$guest/$dir"
	for mod in $GUEST_MODULES; do
		modprobe -d "${KERNEL_ROOT%/}/" -S "$KERNEL_RELEASE" --show-depends "$mod"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u |
	while read -r mod; do
		mkdir -p "$guest/$dir/${mod%/*}"
		mod=${mod#*"/$dir/"}
		mkdir -p "$guest/$dir/${mod%/*}"
		ln -s "$modules/$mod" "$guest/$dir/$mod"
	done
	cp "$modules"/modules.{order,builtin,builtin.modinfo} "$guest/$dir"
	depmod -b "$guest" "$KERNEL_RELEASE"
	gcc -O2 -static -o "$guest/dirty" "$CLIENTS/dirty.c" || return 1
	{ cat "$(guest_archive)" && pack "$guest"; } > "$root/guest/client-initrd"
	rm -rf "$guest"
}

qemu_archive()
{
	find_kernel stock
	cached qemu "$KERNEL_RELEASE $(dpkg-query -W -f '${Version} ' qemu-system-x86 seabios
		{ echo "$GUEST_MODULES"; declare -f qemu_fill
		  cat "$CLIENTS/dirty.c" "$HERE/guest-init"; } | sha256sum)" qemu_fill
}
