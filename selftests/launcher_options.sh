#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The launcher's command line: help, and what it says of options and files that
# cannot be used, with which exit status. Needs no virtual machine.
#
# RINGLET=path names another launcher.

here=$(dirname "$0")
RINGLET=${RINGLET:-$here/../tools/ringlet}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

count=0 failed=0
result()		# result STATUS TEXT: one TAP line
{
	count=$((count + 1))
	if [ "$1" = 0 ]; then
		echo "ok $count $2"
	else
		echo "not ok $count $2"
		failed=$((failed + 1))
	fi
}

# expect STATUS TEXT ARGUMENT...: exit status, and a line of output that has TEXT.
expect()
{
	status=$1 text=$2
	shift 2
	"$RINGLET" "$@" > "$dir/out" 2> "$dir/err" < /dev/null
	seen=$?
	if [ "$status" = 0 ]; then from=out other=err; else from=err other=out; fi
	[ $seen = "$status" ] && grep -q -F -e "$text" "$dir/$from" && [ ! -s "$dir/$other" ]
	ok=$?
	if [ $ok != 0 ]; then
		echo "# ringlet $*: status $seen, not $status, or no '$text' in:"
		cat "$dir/out" "$dir/err" | sed 's/^/# /'
	fi
	result $ok "ringlet $*: $text"
}

put()			# put FILE OFFSET OCTAL...: overwrite bytes
{
	file=$1 offset=$2
	shift 2
	for byte; do
		# shellcheck disable=SC2059 # the byte is the format
		printf "\\$byte"
	done | dd of="$file" bs=1 seek="$offset" conv=notrunc 2> /dev/null
}

# bzimage FILE: a header that is accepted, for 1 KiB of kernel at 1 MiB that needs
# 2 MiB to unpack itself.
bzimage()
{
	dd if=/dev/zero of="$1" bs=512 count=4 2> /dev/null
	put "$1" 497 1				# setup_sects
	put "$1" 500 100 0			# syssize: 64 paragraphs
	put "$1" 510 125 252			# boot_flag
	put "$1" 513 152			# the header's end
	put "$1" 514 110 144 162 123		# HdrS
	put "$1" 518 17 2			# version 2.15
	put "$1" 529 1				# loadflags: LOADED_HIGH
	put "$1" 556 377 377 377 177		# initrd_addr_max
	put "$1" 566 1				# xloadflags: KERNEL_64
	put "$1" 568 377 7			# cmdline_size
	put "$1" 602 20				# pref_address: 1 MiB
	put "$1" 610 40				# init_size: 2 MiB
}

# elf FILE: an ELF header for x86-64 with one empty note segment.
elf()
{
	dd if=/dev/zero of="$1" bs=512 count=1 2> /dev/null
	put "$1" 0 177 105 114 106 2 1 1	# identification
	put "$1" 16 2 0 76 0 1			# executable, x86-64
	put "$1" 32 100				# program headers at 64
	put "$1" 52 100 0 70 0 1		# sizes, one program header
	put "$1" 64 4				# PT_NOTE
}

echo "TAP version 13"

expect 0 "Usage: ringlet COMMAND" --help
expect 0 "Usage: ringlet COMMAND" help
expect 0 "ringlet 0." version
expect 0 "--memory SIZE" run --help
expect 0 "--kernel FILE" run --cpus 2 -h
expect 0 "--device PATH" info --help
expect 2 "a command is missing"
expect 2 "'walk' is not a command" walk
expect 2 "run: '--kernal' is not an option" run --kernal vmlinuz
expect 2 "run: 'vmlinuz' is not an option" run vmlinuz
expect 2 "--kernel is missing" run
expect 2 "--kernel: FILE is missing" run --kernel
expect 2 "--hugepages takes no value" run --hugepages=2M

expect 2 "--memory: '12Q' is not a size (use 256M, 2G)" run --memory 12Q
expect 2 "--memory: '256' is not a size" run --memory 256
expect 2 "--memory: '' is not a size" run --memory=
expect 2 "--memory: '-1G' is not a size" run --memory -1G
expect 2 "--memory: '1Gi' is not a size" run --memory 1Gi
expect 2 "--memory: '99999999999999999999T' is not a size" run --memory 99999999999999999999T
expect 2 "--memory: '999999999T' is not a size" run --memory 999999999T
expect 1 "--memory: 1M is too small" run --memory 1M
expect 1 "--memory: 4097K is not a multiple of 4K" run --memory 4097K
expect 2 "--cpus: 'two' is not a number" run --cpus two
expect 2 "--cpus: '' is not a number" run --cpus=
expect 1 "--cpus: at least 1 is needed" run --cpus 0
expect 1 "--cpus: 100000 is more than" run --cpus=100000
expect 2 "--device-model: 'qemu' is neither" run --device-model qemu

expect 2 "--disk: FILE is missing" run --disk ''
expect 2 "--disk: FILE is missing" run --disk ,ro
expect 2 "--disk: 'rw' is not one of" run --disk disk.img,rw
expect 2 "--disk: 'ro' is not one of" run --disk disk.img,ro=1
expect 2 "--disk: queues: 'x' is not a number" run --disk disk.img,queues=x
expect 1 "--disk: queues: at least 1" run --disk disk.img,direct,queues=0
expect 1 "--disk: queues: 33 is more than" run --disk disk.img,queues=33
expect 1 "--disk: threads: at least 1" run --disk disk.img,threads=0
expect 1 "--disk: threads: 65 is more than" run --disk disk.img,threads=65
expect 2 "--net: one of" run --net ''
expect 2 "--net: one of" run --net mac=02:00:00:00:00:01
expect 2 "--net: one of" run --net tap=t0,user
expect 2 "--net: 'tap' is not one of" run --net tap
expect 2 "--net: 'wire' is not one of" run --net wire=1
expect 2 "is not a unicast MAC address" run --net user,mac=02:00:00:00:00
expect 2 "is not a unicast MAC address" run --net user,mac=01:00:00:00:00:01
expect 2 "is not a unicast MAC address" run --net user,mac=02:00:00:00:00:01:02
expect 1 "--net: 'sixteenletters16' cannot be an interface's name" run --net tap=sixteenletters16
expect 1 "--net: 'a/b' cannot be" run --net bridge=a/b
expect 1 "--net: user: queues=N is for" run --net user,queues=2
# shellcheck disable=SC2046 # words
{
	expect 1 "--disk: more than the 16 disks" run $(printf -- '--disk d%d ' $(seq 17))
	expect 1 "--net: more than the 8 interfaces" run $(printf -- '--net user,queues=1,mac=02:00:00:00:00:0%d ' $(seq 9))
}
expect 2 "--disk: 'aaaa" run --disk "$(printf '%0300d' 0 | tr 0 a)"
expect 2 "--balloon: 'much' is not a size" run --balloon much
expect 2 "--console: 'vga' is neither" run --console vga
expect 2 "--rng takes no value" run --rng=1

bzimage "$dir/good"
run="run --device $dir/none --kernel $dir"
# shellcheck disable=SC2086 # $run is several words
{
	expect 1 "--kernel: $dir/none: No such file" $run/none
	expect 1 "--kernel: $dir: not a regular file" $run
	: > "$dir/empty"
	expect 1 "--kernel: $dir/empty: the file is empty" $run/empty
	echo text > "$dir/text"
	expect 1 "--kernel: $dir/text: neither a bzImage nor an ELF file" $run/text
	expect 1 "$dir/none: No such file or directory (is the module loaded?)" $run/good
	expect 1 "--disk: $dir/none: No such file" $run/good --disk "$dir/none"
	expect 1 "--disk: $dir: " $run/good --disk "$dir,ro"
	expect 1 "--disk: /dev/null: neither a regular file nor a block device" $run/good --disk /dev/null
	expect 1 "--disk: $dir/empty: smaller than a sector" $run/good --disk "$dir/empty"
	expect 1 "--balloon: 256M is not less than the guest's memory" $run/good --balloon 256M
	expect 1 "--initrd: $dir/none: No such file" $run/good --initrd "$dir/none"
	expect 1 "--initrd: $dir/empty: the file is empty" $run/good --initrd "$dir/empty"

	head -c 1500 "$dir/good" > "$dir/bad"
	expect 1 "$dir/bad: truncated: it has 1500 bytes, its header tells of 2048" $run/bad
	bzimage "$dir/bad"; put "$dir/bad" 518 11 2
	expect 1 "speaks boot protocol 2.09, 2.12 is the oldest" $run/bad
	bzimage "$dir/bad"; put "$dir/bad" 566 0
	expect 1 "$dir/bad: not a 64-bit kernel" $run/bad
	bzimage "$dir/bad"; put "$dir/bad" 529 0
	expect 1 "$dir/bad: a zImage" $run/bad
	bzimage "$dir/bad"; put "$dir/bad" 604 1
	expect 1 "wants to be loaded at 0x100100000" $run/bad
	bzimage "$dir/bad"; put "$dir/bad" 610 0 1
	expect 1 "--memory: 16 MiB is too little for $dir/bad, which needs 17 MiB" $run/bad --memory 16M
	dd if=/dev/zero of="$dir/initrd" bs=1M count=3 2> /dev/null
	expect 1 "--initrd: $dir/initrd (3 MiB) does not fit: the kernel needs 3 of 4 MiB" \
		$run/good --initrd "$dir/initrd" --memory 4M
	expect 1 "--disk: $dir/none: No such file" $run/good --disk "$dir/none"
	expect 1 "--disk: $dir: Is a directory" $run/good --disk "$dir"
	expect 1 "--disk: $dir: neither a regular file nor a block device" $run/good --disk "$dir,ro"
	expect 1 "--disk: $dir/empty: smaller than a sector" $run/good --disk "$dir/empty"
	expect 1 "characters are too long" $run/good --cmdline "$(printf %5000d 0)"

	elf "$dir/bad"
	expect 1 "$dir/bad: has no PVH entry point" $run/bad
	elf "$dir/bad"; put "$dir/bad" 18 50
	expect 1 "$dir/bad: not an ELF file for x86-64" $run/bad
	elf "$dir/bad"; put "$dir/bad" 56 0
	expect 1 "$dir/bad: an ELF file without usable program headers" $run/bad
	elf "$dir/bad"; put "$dir/bad" 32 0 10
	expect 1 "$dir/bad: the file ends too early" $run/bad
	elf "$dir/bad"; put "$dir/bad" 99 377
	expect 1 "$dir/bad: its notes are too long" $run/bad
}
expect 1 "/dev/null: not a hypervisor" run --device /dev/null --kernel "$dir/good"
"$RINGLET" info --device "$dir/none" > /dev/null 2> "$dir/err"
[ $? = 1 ] && grep -q "is the module loaded" "$dir/err"
result $? "ringlet info without a hypervisor"

echo "1..$count"
[ $failed = 0 ]
