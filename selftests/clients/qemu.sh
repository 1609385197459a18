# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the host needs to run QEMU and its guests: the program, its BIOSes, and an
# initramfs for a guest with the modules of its devices.  Sourced.

GUEST_MODULES="virtio_pci virtio_mmio virtio_blk virtio_net virtio_balloon button evdev
	e1000 8139cp nvme ahci sd_mod"

qemu_fill()
{
	local root=$1 guest mod dir=lib/modules/$KERNEL_RELEASE
	local modules=${KERNEL_ROOT%/}/$dir

	mkdir -p "$root/guest"
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
	gcc -O2 -static -o "$guest/dirty" "$CLIENTS/dirty.c" &&
		gcc -O2 -static -o "$guest/kexec" "$CLIENTS/kexec.c" || return 1
	{ cat "$(guest_archive)" && pack "$guest"; } > "$root/guest/client-initrd"
	rm -rf "$guest"
}

# qemu_iso DIR: a CD with a guest's kernel and initramfs in DIR, whose loader waits for
# a key.
qemu_iso()
{
	local cd=$1/cd

	mkdir -p "$cd"
	ln -s "$KERNEL_IMAGE" "$cd/vmlinuz"
	ln -s "$(guest_archive)" "$cd/initrd"
	cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$cd"
	cat > "$cd/isolinux.cfg" <<-END
		SAY This CD has ringlet's guest.
		PROMPT 1
		TIMEOUT 0
		DEFAULT guest
		LABEL guest
		KERNEL vmlinuz
		INITRD initrd
		APPEND console=ttyS0 quiet nokaslr
	END
	xorriso -as mkisofs -quiet -f -o "$1/client.iso" -b isolinux.bin -c boot.cat \
		-no-emul-boot -boot-load-size 4 -boot-info-table "$cd" 2> /dev/null &&
	rm -r "$cd"
}

# Other guests, and programs that come in packages which nothing else here needs: these
# are unpacked, not installed.
tools_fill()
{
	local root=$1 guest=$1.guest

	unpack_debs tools qemu-utils gdb-minimal libdebuginfod1 libipt2 libxxhash0 \
		memtest86+ ipxe grub-rescue-pc u-boot-qemu cpu-checker
	unpack_i386
	mkdir -p "$root/clients" "$root/guest"
	qemu_iso "$root/guest" || return 1
	run_unpacked tools usr/bin/qemu-img create -q -f qcow2 "$root/clients/empty.qcow2" 512M ||
		return 1
	stage_unpacked "$root" tools usr/bin/gdb
	ln -s "$CACHE/tools/usr/lib/grub-rescue/grub-rescue-cdrom.iso" "$root/guest/grub.iso"
	ln -s "$CACHE/tools/usr/lib/ipxe/ipxe.iso" "$root/guest/ipxe.iso"
	ln -s "$CACHE/tools/boot/memtest86+x64.bin" "$root/guest/memtest.bin"
	ln -s "$CACHE/tools/usr/lib/u-boot/qemu-x86_64/u-boot.rom" "$root/guest/u-boot.rom"
	mkdir -p "$root/usr/sbin"
	ln -s "$CACHE/tools/usr/sbin/kvm-ok" "$root/usr/sbin/kvm-ok"
	ln -s "$CACHE"/i386/boot/vmlinuz-* "$root/guest/vmlinuz-i386"
	mkdir -p "$guest"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,tmp,etc,root}
	cp "$CACHE/i386/bin/busybox" "$guest/bin/busybox"
	ln -s busybox "$guest/bin/sh"
	install -m 755 "$HERE/guest-init" "$guest/init"
	echo 'root::0:0:root:/root:/bin/sh' > "$guest/etc/passwd"
	pack "$guest" > "$root/guest/initrd-i386"
	rm -rf "$guest"
}

qemu_archive()
{
	find_kernel stock
	cached qemu "$KERNEL_RELEASE $(dpkg-query -W -f '${Version} ' qemu-system-x86 seabios
		{ echo "$GUEST_MODULES"; declare -f qemu_fill
		  cat "$CLIENTS/dirty.c" "$CLIENTS/kexec.c" "$HERE/guest-init"; } | sha256sum)" qemu_fill
}

tools_archive()		# after qemu_archive
{
	find_kernel stock
	cached tools "$(cat "$CACHE/qemu.cpio.key"
		declare -f tools_fill qemu_iso unpack_i386 stage_unpacked | sha256sum)" tools_fill
}
