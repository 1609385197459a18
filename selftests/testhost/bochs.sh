# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2153
#
# The hosts `intel` and `amd-full`: Bochs, as Debian builds it.  Sourced by run;
# sets EMULATOR.  The kernel's console goes to console.log, ttyS1 to output,
# what Bochs itself says to emulator.log.

# Virtual time counts instructions, 100 per microsecond, whatever CPUID says; and
# some of what CPUID offers does not work: APERF/MPERF are missing, XSAVEC's size
# is wrong (Linux would drop XSAVE altogether), MWAITX never wakes.
COMMAND_LINE="$COMMAND_LINE norandmaps tsc_early_khz=100000 lpj=200000
clearcpuid=aperfmperf,xsavec,xsaves,mwaitx"
[ "$CPUS" = 1 ] || COMMAND_LINE="$COMMAND_LINE idle=halt"	# nor MWAIT with two
COMMAND_LINE=${COMMAND_LINE//$'\n'/ }

megabytes()
{
	case $1 in
	*[gG])	echo $((${1%?} * 1024)) ;;
	*[mM])	echo "${1%?}" ;;
	*)	echo "$1" ;;
	esac
}

make_iso()
{
	local iso=$RUN/iso

	mkdir "$iso"
	cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$iso"
	cp "$KERNEL_IMAGE" "$iso/vmlinuz"
	lz4 -q -l -1 -c "$RUN/initrd" > "$iso/initrd" && rm "$RUN/initrd"
	printf 'default host\nlabel host\nkernel /vmlinuz\nappend initrd=/initrd %s\n' \
		"$COMMAND_LINE" > "$iso/isolinux.cfg"
	xorriso -as mkisofs -quiet -o "$RUN/host.iso" -b isolinux.bin -c boot.cat \
		-no-emul-boot -boot-load-size 4 -boot-info-table "$iso" 2> /dev/null ||
		die "cannot make the host's boot image"
	rm -rf "$iso"
}

start_emulator()
{
	local model mem output="mode=file, dev=\"$RUN/output\""

	case $HOST in
	intel)		model=corei7_haswell_4770 ;;
	amd-full)	model=ryzen ;;
	esac
	model=${MODEL:-$model}
	mem=$(megabytes "$MEMORY")
	if [ "$INTERACTIVE" = 1 ]; then
		TTY_STATE=$(stty -g) || die "--interactive needs a terminal"
		output="mode=term, dev=$(tty)"
	fi
	make_iso
	cat > "$RUN/bochsrc" <<-END
		display_library: term
		cpu: model=$model, count=1:$CPUS:1, ips=100000000, reset_on_triple_fault=0
		memory: guest=$mem, host=$mem
		clock: sync=none, time0=utc
		romimage: file=/usr/share/bochs/BIOS-bochs-latest
		vgaromimage: file=/usr/share/vgabios/vgabios.bin
		boot: cdrom
		ata0-master: type=cdrom, path="$RUN/host.iso", status=inserted
		com1: enabled=1, mode=file, dev="$RUN/console.log"
		com2: enabled=1, $output
		log: $RUN/emulator.log
		panic: action=fatal
		error: action=ignore
		info: action=ignore
		debug: action=ignore
		speaker: enabled=0
	END
	echo c > "$RUN/bochs.rc"	# this build starts in its debugger: continue
	# Its display wants a terminal that somebody reads. The host amd has a clock that
	# does not wait, and goes first.
	mkfifo "$RUN/debugger"
	script -qefc "exec nice -n 5 bochs -q -f '$RUN/bochsrc' -rc '$RUN/bochs.rc'" /dev/null \
		< "$RUN/debugger" > "$RUN/terminal" 2>&1 &
	EMULATOR=$!
	exec 7> "$RUN/debugger"
	drain_display "$EMULATOR" &
}

# The guest's screen goes to a pseudo terminal that Bochs opens by itself and
# names; when nobody reads it, Bochs blocks as soon as it is full.
drain_display()
{
	local tty=''

	exec 7>&-
	while [ -z "$tty" ]; do
		kill -0 "$1" 2> /dev/null || return
		sleep 0.1
		tty=$(sed -n 's/.*connected to screen "\(\/dev\/pts\/[0-9]*\)".*/\1/p' "$RUN/terminal")
	done
	stty raw -echo < "$tty"
	exec cat "$tty" > /dev/null 2>&1	# ends with Bochs
}

# Where is it?  An interrupt brings up the debugger.
probe_emulator()
{
	local -a children

	read -r -a children 2> /dev/null < "/proc/$EMULATOR/task/$EMULATOR/children"
	[ ${#children[@]} != 0 ] || return
	kill -INT "${children[@]}"
	sleep 1
	printf 'r\ncreg\nu /8\n' >&7
	sleep 2
	tr '\r' '\n' < "$RUN/terminal" | grep -a -E '^(rax|rcx|rdx|rbx|rsp|rbp|rsi|rdi|r[0-9]|rip|eflags|CR|EFER|[0-9a-f]{8}:|\()' |
		tail -n 45 >> "$RUN/emulator.log"
}

stop_emulator()
{
	local -a children

	read -r -a children 2> /dev/null < "/proc/$EMULATOR/task/$EMULATOR/children"
	[ ${#children[@]} = 0 ] || kill -9 "${children[@]}" 2> /dev/null
	sleep 0.2
	kill "$EMULATOR" 2> /dev/null
}
