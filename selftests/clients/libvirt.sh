# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the host needs beyond QEMU for libvirt: its daemons and virsh, unpacked and not
# installed, and a configuration for a host that has only root.  Sourced.

LIBVIRT_PACKAGES="libvirt0 libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu
	libyajl2 libparted2 libpcap0.8 libssh-4 libip6tc2 libnfnetlink0
	libnetfilter-conntrack3 libnftnl11"

libvirt_fill()
{
	local root=$1 file lib=usr/lib/x86_64-linux-gnu

	# shellcheck disable=SC2086 # a list of words
	unpack_debs libvirt $LIBVIRT_PACKAGES
	for file in usr/sbin/libvirtd usr/sbin/virtlogd usr/bin/virsh usr/bin/virt-host-validate \
		    usr/lib/libvirt/libvirt_iohelper \
		    $lib/libvirt/connection-driver/libvirt_driver_qemu.so; do
		stage_unpacked "$root" libvirt "$file"
	done
	# libvirt asks QEMU what it can do without KVM, too.
	stage_file "$root" /$lib/qemu/accel-tcg-x86_64.so
	mkdir -p "$root"/usr/share/libvirt "$root"/etc/libvirt "$root"/var/{lib,log,cache}
	cp -r "$CACHE/libvirt/usr/share/libvirt/cpu_map" "$root/usr/share/libvirt"
	stage_file "$root" "$(gcc -print-file-name=libgcc_s.so.1)" \
		/lib/x86_64-linux-gnu/libgcc_s.so.1
	printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' \
		'libvirt-qemu:x:64055:105::/var/lib/libvirt:/bin/false' > "$root/etc/passwd"
	printf '%s\n' root:x:0: kvm:x:105: tty:x:5: libvirt-qemu:x:64055: > "$root/etc/group"
	cat > "$root/etc/libvirt/qemu.conf" <<-END
		user = "root"
		group = "root"
		dynamic_ownership = 0
		remember_owner = 0
		security_driver = "none"
		namespaces = []
		cgroup_controllers = []
		stdio_handler = "file"
		max_core = 0
	END
	cat > "$root/etc/libvirt/libvirtd.conf" <<-END
		auth_unix_ro = "none"
		auth_unix_rw = "none"
		log_outputs = "2:file:/run/libvirtd.log"
	END
}

libvirt_archive()
{
	cached libvirt "$({ echo "$LIBVIRT_PACKAGES"
		declare -f libvirt_fill stage_unpacked; } | sha256sum)" libvirt_fill
}
