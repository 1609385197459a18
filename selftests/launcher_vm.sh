#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The launcher's device models, resets, signals and errors, seen by guests of a few
# instructions that are made here, as ELF files with a PVH entry.

# shellcheck source=selftests/lib/launcher.sh
. "$(dirname "$0")/lib/launcher.sh"

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
# shellcheck disable=SC2086 # lists of bytes
{
	# cmp dword [ebx], magic; jne .
	elf "$dir/pvh" 81 3b 78 c5 6e 33 75 fe $say_R $poweroff $halt
	elf "$dir/halt" $say_R $halt
	elf "$dir/prompt" $no_newline $halt
	elf "$dir/reset" $say_R 66 ba f9 0c b0 06 ee $halt	# reset control register
	elf "$dir/kbd" $say_R b0 fe e6 64 $halt			# keyboard controller
	elf "$dir/port92" $say_R b0 01 e6 92 $halt
	elf "$dir/triple" $say_R 0f 0b $halt			# ud2, without an IDT
	elf "$dir/fpu" $say_R db 2d 00 00 00 d0 $halt		# fld tbyte [0xd0000000]
	# echo what the line status says was received: 1: in al, dx; test 1; jz 1b
	elf "$dir/echo" $say_R 66 ba f9 03 b0 01 ee \
		66 ba fd 03 ec a8 01 74 f7 66 ba f8 03 ec ee eb ef
}

start --kernel "$dir/pvh"
await 1 '^R' && ended 0
result $? "PVH start information, serial output, ACPI poweroff"

start --kernel "$dir/pvh" --memory 3G --cpus 3
await 1 '^R' && ended 0
result $? "3 GiB and 3 vCPUs of which two never start"

start --kernel "$dir/prompt"
await 1 '^R'
result $? "a part of a line is shown too"
kill -TERM "$launcher"
ended 143
result $? "SIGTERM ends it"

for signal in INT:130 HUP:129 QUIT:131; do
	start --kernel "$dir/halt"
	await 1 '^R'
	# The shell starts background commands with INT and QUIT ignored.
	kill -${signal%:*} "$launcher"
	ended ${signal#*:}
	result $? "SIG${signal%:*} ends it"
done

for reset in reset kbd port92 triple; do
	start --kernel "$dir/$reset"
	await 4 '^R' && kill -TERM "$launcher" && ended 143
	result $? "the guest starts again after a reset by $reset"
done
said 'triple fault, the guest restarts'
result $? "a triple fault is told of"

# Nobody emulates the FPU for device memory.
start --kernel "$dir/fpu"
ended 1 && said '^R' && said '^ringlet: vCPU 0: an instruction cannot be emulated' &&
	said ' rip 00000000001000d2 ' && said ' code db 2d 00 00 00 d0'
result $? "what cannot go on ends with status 1, registers and code"

start --kernel "$dir/echo"
await 1 '^R' && echo "all of this, which is more than a FIFO holds, comes back" >&3 &&
	await 1 '^all of this, which is more than a FIFO holds, comes back'
result $? "input reaches the guest"
exec 3>&-
sleep 1
kill -0 "$launcher" && kill -TERM "$launcher" && ended 143
result $? "the end of the input does not end the guest"

"$RINGLET" run --device "$RINGLET_DEV" --kernel "$dir/reset" 2> /dev/null < /dev/null |
	head -c 4 > "$dir/out"
said '^R'
result $? "closed standard output ends it"

start --kernel "$dir/pvh" --cpus 255
{ await 1 '^R' && ended 0; } || { ended 1 && said '255 is more than the .* offers'; }
result $? "255 vCPUs run, or are refused"

pages=/proc/sys/vm/nr_hugepages
if old=$(cat $pages 2> /dev/null) && echo 0 2> /dev/null > $pages && grep -q '^HugePages_Total: *0$' /proc/meminfo; then
	start --kernel "$dir/pvh" --hugepages --memory 32M
	ended 1 && said 'not enough free huge pages'
	result $? "--hugepages without huge pages is refused"
	start --kernel "$dir/pvh" --hugepages --memory 31M
	ended 1 && said 'a multiple of the huge page size'
	result $? "--hugepages with an odd size is refused"
	echo 20 > $pages
	start --kernel "$dir/pvh" --hugepages --memory 32M
	await 1 '^R' && ended 0
	result $? "--hugepages"
	echo "$old" > $pages
else
	skip "--hugepages" "no right to reserve huge pages"
fi

finish
