# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Builds what an emulated host boots with: an initramfs made of a base (busybox
# and kernel modules; cached) and of what changes from run to run (our module,
# tools, tests and the job).  The kernel unpacks concatenated archives in order.
# Sourced after common.sh and find_kernel.

# Modules that a command in the host may modprobe; those that the kernel has
# built in, or does not have, are left out.
HOST_MODULES="kvm kvm-amd kvm-intel irqbypass null_blk brd loop dm-mod dm-flakey ext4 crc32c_generic tun tap macvtap
	      bridge veth dummy vhost_net msr cpuid configfs"
GUEST_MODULES="virtio_pci virtio_blk virtio_net virtio_rng virtio_console virtio_balloon ext4
	       crc32c_generic af_packet"

pack()		# pack DIR: the cpio archive of a folder on stdout, links followed
{
	(cd "$1" && find . -mindepth 1 | LC_ALL=C sort |
		cpio -o -L -H newc -R 0:0 --quiet)
}

is_elf() { [ "$(od -A n -N 4 -t x1 "$1")" = ' 7f 45 4c 46' ]; }

# add_libs ROOT FILE...: the shared libraries that these programs need.
add_libs()
{
	local root=$1 lib
	shift

	{ ldd "$@" 2> /dev/null || true; } | grep -o '/[^ ]*' | grep -v ':$' |
	sort -u | while read -r lib; do
		[ ! -e "$root$lib" ] || continue
		mkdir -p "$root${lib%/*}"
		ln -s "$(readlink -f "$lib")" "$root$lib"
	done
}

# add_modules ROOT MODULE...: from the kernel found last, with those they need.
add_modules()
{
	local root=$1 mod dir=lib/modules/$KERNEL_RELEASE
	local modules=${KERNEL_ROOT%/}/$dir
	shift

	for mod; do
		modprobe -d "${KERNEL_ROOT%/}/" -S "$KERNEL_RELEASE" \
			--show-depends "$mod" 2> /dev/null || true
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u |
	while read -r mod; do
		mod=${mod#*"/$dir/"}
		mkdir -p "$root/$dir/${mod%/*}"
		ln "$modules/$mod" "$root/$dir/$mod" 2> /dev/null ||
			cp "$modules/$mod" "$root/$dir/$mod"
	done
	cp "$modules"/modules.{order,builtin,builtin.modinfo} "$root/$dir"
	depmod -b "$root" "$KERNEL_RELEASE"
}

# base_archive NAME: path of the base archive for the kernel found last.
base_archive()
{
	local out=$BUILD/base-$1.cpio root key dir=lib/modules/$KERNEL_RELEASE
	local modules=${KERNEL_ROOT%/}/$dir

	key="$KERNEL_RELEASE $(stat -c %Y "$KERNEL_IMAGE" "$modules/modules.dep" \
		"${BASH_SOURCE[0]}" | tr '\n' ' ')"
	mkdir -p "$BUILD"
	(
		flock 8
		[ "$(cat "$out.key" 2> /dev/null)" = "$key" ] && exit 0
		root=$(mktemp -d "$BUILD/base.XXXXXX")
		trap 'rm -rf "$root"' EXIT
		mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,tmp,etc,root,run} \
			"$root/$dir"
		cp "$(command -v busybox)" "$root/bin/busybox"
		ln -s busybox "$root/bin/sh"
		# shellcheck disable=SC2086 # a list of words
		add_modules "$root" $HOST_MODULES
		pack "$root" > "$out.new"
		mv "$out.new" "$out"
		echo "$key" > "$out.key"
	) 8> "$out.lock" || die "cannot build $out"
	echo "$out"
}

# stage_project ROOT: ringlet.ko at the top; tools/ringlet and the test programs
# under /ringlet, as they lie in the repository; our own scripts under /testhost.
stage_project()
{
	local root=$1 file
	local -a elfs=()

	mkdir -p "$root/ringlet" "$root/testhost"
	ln -s "$HERE/suite" "$HERE/guest-session" "$HERE/guest-boot" "$root/testhost"
	[ ! -r "$KERNEL_KO" ] || ln -s "$KERNEL_KO" "$root/ringlet.ko"
	while read -r file; do
		mkdir -p "$root/ringlet/${file%/*}"
		ln -s "$TOP/$file" "$root/ringlet/$file"
		! is_elf "$TOP/$file" || elfs+=("$TOP/$file")
	done < <(cd "$TOP" && find tools selftests -maxdepth 2 -type f -perm -u+x \
			! -path 'selftests/unit/*' ! -path 'selftests/testhost/*' 2> /dev/null)
	[ ${#elfs[@]} = 0 ] || add_libs "$root" "${elfs[@]}"
}

# stage_file ROOT FILE [DEST]: one more file and the libraries that it needs.
stage_file()
{
	local root=$1 file dest=${3:-}

	file=$(readlink -f "$2")
	[ -r "$file" ] || die "no file $2"
	[ -n "$dest" ] || dest=$(realpath -s "$2")
	mkdir -p "$root${dest%/*}"
	ln -sf "$file" "$root$dest"
	! is_elf "$file" || add_libs "$root" "$file"
}

# guest_tree ROOT: a busybox system with guest-init and the modules for what the
# launcher's devices are.
guest_tree()
{
	local root=$1 path

	mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,tmp,etc,root,mnt} \
		"$root/lib/modules/$KERNEL_RELEASE"
	cp "$(command -v busybox)" "$root/bin/busybox"
	install -m 755 "$HERE/guest-init" "$root/init"
	echo 'root::0:0:root:/root:/bin/sh' > "$root/etc/passwd"
	install -m 755 "$HERE/guest-dhcp" "$root/bin/dhcp-script"
	# shellcheck disable=SC2086 # a list of words
	add_modules "$root" $GUEST_MODULES
}

# fresh FILE: is it newer than what it is made of?
fresh()
{
	local source

	for source in "$HERE"/guest-{init,dhcp} "${BASH_SOURCE[0]}" "$KERNEL_IMAGE"; do
		[ "$1" -nt "$source" ] || return 1
	done
}

# guest_archive: path of the initramfs for a guest inside the host: a busybox
# shell on the console.
guest_archive()
{
	local out=$BUILD/guest-initrd.cpio root

	if ! fresh "$out"; then
		root=$(mktemp -d "$BUILD/guest.XXXXXX")
		guest_tree "$root"
		ln -s busybox "$root/bin/sh"
		pack "$root" > "$out.$$"
		mv "$out.$$" "$out"
		rm -rf "$root"
	fi
	echo "$out"
}

# guest_disk: path of a disk image with an ext4 root: the same, and iperf3.
guest_disk()
{
	local out=$BUILD/guest-disk.img root path

	if ! fresh "$out"; then
		root=$(mktemp -d "$BUILD/guest.XXXXXX")
		guest_tree "$root"
		mv "$root/init" "$root/sbin/init"
		mkdir "$root.links"
		stage_file "$root.links" "$(command -v iperf3)"
		cp -rL "$root.links/." "$root"
		busybox --list-full | while read -r path; do
			[ -e "$root/$path" ] || ln -s /bin/busybox "$root/$path"
		done
		chmod 755 "$root"
		mke2fs -q -F -t ext4 -E root_owner=0:0 -d "$root" "$out.$$" 32M > /dev/null ||
			die "cannot build $out"
		mv "$out.$$" "$out"
		rm -rf "$root" "$root.links"
	fi
	echo "$out"
}

# stage_guest ROOT: what --guest puts into the folder guest there.
stage_guest()
{
	local root=$1 image archive

	image=$(find_kernel stock && echo "$KERNEL_IMAGE") || exit 1
	archive=$(find_kernel stock && guest_archive) || exit 1
	stage_file "$root" "$image" /guest/vmlinuz
	stage_file "$root" "$archive" /guest/initrd
	image=$(find_kernel stock && guest_vmlinux) || exit 1
	[ -z "$image" ] || stage_file "$root" "$image" /guest/vmlinux
	image=$(find_kernel stock && guest_disk) || exit 1
	stage_file "$root" "$image" /guest/disk.img
}

# guest_vmlinux: path of the kernel inside the bzImage, or nothing.
guest_vmlinux()
{
	local out=$BUILD/guest-vmlinux at setup

	if ! [ "$out" -nt "$KERNEL_IMAGE" ]; then
		# The payload's place is in the header, relative to the protected-mode code; its
		# last four bytes are the unpacked size.
		read -r -a at < <(od -A n -t u4 -j 584 -N 8 "$KERNEL_IMAGE")
		setup=$(od -A n -t u1 -j 497 -N 1 "$KERNEL_IMAGE")
		tail -c +$(((setup + 1) * 512 + at[0] + 1)) "$KERNEL_IMAGE" |
			head -c $((at[1] - 4)) | xz -d > "$out.$$" && is_elf "$out.$$" || return
		mv "$out.$$" "$out"
	fi
	echo "$out"
}
