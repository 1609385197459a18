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
		00 01 00 00 00 00 00 00 00 10 00 00 00 00 00 00 \
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
		dd if=/dev/zero bs=256 count=1 2> /dev/null
	} > "$file"
}

# Instructions. The serial port's data register is 0x3f8.
say_R='66 ba f8 03 b0 52 ee b0 0a ee'		# R and a newline
no_newline='66 ba f8 03 b0 52 ee'		# R
poweroff='66 ba 04 06 66 b8 00 34 66 ef'	# S5 in the PM1 control register
halt='f4 eb fd'
