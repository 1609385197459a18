# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the scripts of this folder share: paths, messages, and where the
# kernels for the emulated hosts are.  Sourced, never run.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$HERE/../.." && pwd)
BUILD=${BUILD:-$TOP/build}
ME=${0##*/}
PATH=$PATH:/usr/sbin:/sbin

say() { echo "$ME: $*" >&2; }
die() { echo "$ME: $*" >&2; exit 1; }

# Kernel messages that fail a run, whatever the command said.
BAD_LOG='WARNING:|BUG:|BUG [^ ]+ [(]|kernel BUG|Oops|general protection fault[,:]|suspicious RCU'
BAD_LOG="$BAD_LOG|sleeping function|KASAN|UBSAN|INFO: possible|INFO: task .* blocked"
BAD_LOG="$BAD_LOG|inconsistent lock state|possible recursive|rcu: INFO|refcount_t:"
BAD_LOG="$BAD_LOG|corruption|Kernel panic|unchecked MSR access|kmemleak: [0-9]+ new"
BAD_LOG="$BAD_LOG|Bad page|scheduling while atomic|stack segment: |double fault:"

# Newest Debian 6.1 kernel whose headers are here: the module is built for it.
stock_release()
{
	local dir

	if [ -n "${KVER:-}" ]; then
		echo "$KVER"
		return
	fi
	for dir in /lib/modules/6.1.*-amd64/build /usr/src/linux-headers-6.1.*-amd64; do
		[ -e "$dir/Makefile" ] || continue
		dir=${dir%/build}
		dir=${dir##*/}
		echo "${dir#linux-headers-}"
	done | sort -uV | tail -n 1
}

# find_kernel stock|small|debug|kcsan: sets KERNEL_RELEASE, KERNEL_IMAGE,
# KERNEL_ROOT (the folder that holds lib/modules) and KERNEL_KO (our module
# built for that kernel).
find_kernel()
{
	case $1 in
	stock)
		KERNEL_RELEASE=$(stock_release)
		[ -n "$KERNEL_RELEASE" ] ||
			die "no Debian 6.1 kernel headers here; run $HERE/setup"
		KERNEL_ROOT=/
		if [ ! -d "/lib/modules/$KERNEL_RELEASE/kernel" ] ||
		   [ ! -r "/boot/vmlinuz-$KERNEL_RELEASE" ]; then
			KERNEL_ROOT=$BUILD/stock
		fi
		KERNEL_IMAGE=${KERNEL_ROOT%/}/boot/vmlinuz-$KERNEL_RELEASE
		KERNEL_KO=$TOP/ringlet.ko
		;;
	small|debug|kcsan)
		KERNEL_ROOT=$BUILD/kernel-$1/root
		KERNEL_IMAGE=$BUILD/kernel-$1/arch/x86/boot/bzImage
		"$HERE/kernel" "$1" >&2 || die "cannot build the $1 kernel"
		KERNEL_RELEASE=$(cat "$BUILD/kernel-$1/include/config/kernel.release")
		KERNEL_KO=$BUILD/mod-$1/ringlet.ko
		;;
	*)
		die "unknown kernel '$1' (stock, small, debug or kcsan)"
		;;
	esac
	[ -r "$KERNEL_IMAGE" ] ||
		die "no kernel image $KERNEL_IMAGE; run $HERE/setup"
	[ -d "${KERNEL_ROOT%/}/lib/modules/$KERNEL_RELEASE" ] ||
		die "no modules of $KERNEL_RELEASE under $KERNEL_ROOT; run $HERE/setup"
}

# kernel_for HOST: Debian's; in Bochs the small one if somebody has built it,
# which saves more than a minute a boot.
kernel_for()
{
	case $1 in
	intel|amd-full)
		if [ -r "$BUILD/kernel-small/.done" ]; then
			echo small
			return
		fi
		;;
	debug)
		echo debug
		return
		;;
	esac
	echo stock
}
