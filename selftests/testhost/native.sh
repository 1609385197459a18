# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2153
#
# The host `native`: this machine.  Sourced by run.  The module is loaded, the
# command run in the repository, the module unloaded, and what the kernel said
# in between is judged as in the emulated hosts.

run_native()
{
	local status mark bad log module=${MODULE} vendor=amd dir output=/dev/null

	[ "$(id -u)" = 0 ] || die "the host native needs root"
	mark="testhost: begin $$ $RANDOM"
	echo "$mark" > /dev/kmsg
	grep -q -w vmx /proc/cpuinfo && vendor=intel
	cd "$TOP" || return 1
	# shellcheck disable=SC2086 # a module's arguments are words
	case $module in
	ringlet)
		[ ! -e /dev/ringlet ] || die "ringlet is loaded here already"
		[ -r ringlet.ko ] || die "no ringlet.ko; run make"
		insmod ./ringlet.ko $MODARGS || return 125
		;;
	kvm)
		modprobe kvm-$vendor $MODARGS || return 125
		;;
	esac
	export TESTHOST=native MODARGS PATH=$TOP/tools:$TOP/selftests:$HERE:$PATH
	mkdir -p "$BUILD/run"
	dir=$(mktemp -d "$BUILD/run/native.XXXXXX") || return 1
	if [ -n "$GUEST" ]; then
		stage_guest "$dir"
		# A guest writes to its disk.
		cp --remove-destination "$(readlink -f "$dir/guest/disk.img")" "$dir/guest/disk.img"
		export GUEST_DIR=$dir/guest
	fi
	[ -z "$LOG" ] || { mkdir -p "$LOG" && output=$LOG/output; }
	if [ "$INTERACTIVE" = 1 ]; then
		"$@"
		status=$?
	else
		timeout -k 5 "$TIMEOUT" "$@" < /dev/null | tee "$output"
		status=${PIPESTATUS[0]}
	fi
	rm -rf "$dir"
	if [ "$module" = ringlet ] && ! rmmod ringlet; then
		say "native: the module does not unload"
		[ $status != 0 ] || status=1
	fi
	log=$(dmesg | sed -n "/$mark/,\$p")
	[ -z "$LOG" ] || echo "$log" > "$LOG/console.log"
	bad=$(grep -a -E "$BAD_LOG" <<< "$log" | head -n 5)
	if [ -n "$bad" ]; then
		say "native: the kernel complained:"
		echo "$bad" >&2
		[ $status != 0 ] || status=1
	fi
	if [ $status != 0 ] || [ -n "$DMESG" ]; then
		echo "--- kernel log ---" >&2
		tail -n 150 <<< "$log" >&2
		echo "---" >&2
	fi
	return $status
}
