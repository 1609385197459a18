#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The launcher's device models, resets, signals and errors, seen by guests of a few
# instructions that are made here, as ELF files with a PVH entry.

# shellcheck source=selftests/lib/launcher.sh
. "$(dirname "$0")/lib/launcher.sh"
# shellcheck source=selftests/lib/guests.sh
. "$(dirname "$0")/lib/guests.sh"

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

start --kernel "$dir/pvh" --memory 4M
await 1 '^R' && ended 0
result $? "4 MiB"
start --kernel "$dir/pvh" --memory 8388608T
ended 1 && said '^ringlet: --memory: more than the .* physical address bits'
result $? "more memory than addresses is refused"

# 27 devices; disks and networks by the module, where it can.
: > "$dir/disk"
truncate -s 1M "$dir/disk"
# shellcheck disable=SC2046 # words
start --kernel "$dir/pvh" $(for n in $(seq 16); do echo "--disk $dir/disk,queues=$((n * 2))"; done) \
	$(for n in $(seq 8); do echo "--net user"; done) --rng --balloon 8M --console virtio
await 1 '^R' && ended 0
result $? "as many devices as there may be"

# A signal leaves no interface behind either.
modprobe bridge 2> /dev/null
if have_tun && ip link add rlvmbr type bridge 2> /dev/null; then
	ip link del rlvmbr
	for signal in INT:130 TERM:143 HUP:129; do
		start --kernel "$dir/halt" --net tap=rlvm0,queues=2 --net bridge=rlvmbr \
			--net bridge=rlvmbr,queues=2
		await 1 '^R' && [ -e /sys/class/net/rlvm0 ] && [ -e /sys/class/net/rlvmbr ] &&
			[ "$(find /sys/class/net/rlvmbr/brif/ -name 'rltap*' | wc -l)" = 2 ] &&
			kill -${signal%:*} "$launcher" && ended ${signal#*:} &&
			until_not test -e /sys/class/net/rlvm0 &&
			until_not test -e /sys/class/net/rlvmbr
		result $? "SIG${signal%:*} leaves no tap and no bridge"
	done
else
	skip "signals and interfaces" "no right to make interfaces, or no bridge"
fi

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
