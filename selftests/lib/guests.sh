#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2034
#
# Guests of a few instructions, as ELF files with a PVH entry.

# elf FILE HEX...: instructions for 32-bit protected mode with EBX as PVH has it.
elf()
{
	file=$1 text=
	shift
	for byte in \
		7f 45 4c 46 02 01 01 00 00 00 00 00 00 00 00 00 \
		02 00 3e 00 01 00 00 00 c8 00 10 00 00 00 00 00 \
		40 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 \
		00 00 00 00 40 00 38 00 02 00 00 00 00 00 00 00 \
		01 00 00 00 07 00 00 00 00 00 00 00 00 00 00 00 \
		00 00 10 00 00 00 00 00 00 00 10 00 00 00 00 00 \
		00 10 00 00 00 00 00 00 00 10 00 00 00 00 00 00 \
		00 00 00 00 00 00 00 00 \
		04 00 00 00 00 00 00 00 b0 00 00 00 00 00 00 00 \
		00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 \
		14 00 00 00 00 00 00 00 14 00 00 00 00 00 00 00 \
		04 00 00 00 00 00 00 00 \
		04 00 00 00 04 00 00 00 12 00 00 00 58 65 6e 00 \
		c8 00 10 00 00 00 00 00 \
		"$@"
	do
		byte=$((0x$byte))
		text="$text\\0$((byte / 64))$((byte / 8 % 8))$((byte % 8))"
	done
	{
		printf %b "$text"
		dd if=/dev/zero bs=4096 count=1 2> /dev/null
	} > "$file"
}

# Instructions. The serial port's data register is 0x3f8.
say_R='66 ba f8 03 b0 52 ee b0 0a ee'		# R and a newline
no_newline='66 ba f8 03 b0 52 ee'		# R
poweroff='66 ba 04 06 66 b8 00 34 66 ef'	# S5 in the PM1 control register
halt='f4 eb fd'

# store BYTES ADDRESS VALUE: instructions that write it, of 1, 2 or 4 bytes, to memory
store()
{
	set -- "$1" "$(bytes 4 "$2")" "$(bytes "$1" "$3")"
	case $1 in
	1)	echo "c6 05 $2 $3" ;;
	2)	echo "66 c7 05 $2 $3" ;;
	4)	echo "c7 05 $2 $3" ;;
	esac
}

bytes()			# bytes COUNT VALUE: in memory's order
{
	n=$1 v=$(($2))
	while [ "$n" -gt 0 ]; do
		printf '%02x ' $((v & 255))
		v=$((v >> 8)) n=$((n - 1))
	done
}

# driver AVAIL: instructions of a driver for the first virtio device, that says so much
# in the index of queue 0's available ring, at 2 MiB, and notifies it
driver()
{
	common=0xc0000000
	store 1 $((common + 20)) 0		# reset
	store 1 $((common + 20)) 3		# ACKNOWLEDGE, DRIVER
	store 4 $((common + 8)) 1
	store 4 $((common + 12)) 1		# VIRTIO_F_VERSION_1
	store 1 $((common + 20)) 11		# FEATURES_OK
	store 2 $((common + 22)) 0		# queue 0
	store 4 $((common + 32)) 0x200000
	store 4 $((common + 40)) 0x201000
	store 4 $((common + 48)) 0x202000
	store 2 $((common + 28)) 1
	store 1 $((common + 20)) 15		# DRIVER_OK
	store 2 0x201002 "$1"
	echo "66 ba 00 10 66 31 c0 66 ef"	# its first port
}
