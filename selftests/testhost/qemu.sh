# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034,SC2153
#
# The host `amd`: QEMU's TCG.  Sourced by run; sets EMULATOR.  The kernel's
# console goes to console.log, ttyS1 to output, the monitor to emulator.log.

start_emulator()
{
	# The emulator now and then loses the wake-up of a CPU by its local APIC: the
	# VMEXIT code and the timer's thread both change interrupt_request, and only
	# one of them under a lock. A periodic tick gets over it, a one-shot timer
	# stops the host for good.
	[ -n "$ICOUNT" ] || COMMAND_LINE="$COMMAND_LINE nohz=off highres=off"
	local -a args=(-no-user-config -nodefaults -no-reboot -display none
		-machine pc -cpu max -smp "$CPUS" -m "$MEMORY"
		-accel "tcg,thread=single" -kernel "$KERNEL_IMAGE"
		-initrd "$RUN/initrd" -append "$COMMAND_LINE"
		-serial "file:$RUN/console.log")

	[ -z "$ICOUNT" ] || args+=(-icount "shift=0,sleep=off")
	if [ "$INTERACTIVE" = 1 ]; then
		qemu-system-x86_64 "${args[@]}" \
			-echr 0x1d -chardev stdio,id=tty,mux=on,signal=off -serial chardev:tty <&0 &
		EMULATOR=$!
		return
	fi
	mkfifo "$RUN/monitor"
	qemu-system-x86_64 "${args[@]}" -serial "file:$RUN/output" \
		-monitor stdio < "$RUN/monitor" > "$RUN/emulator.log" 2>&1 &
	EMULATOR=$!
	exec 7> "$RUN/monitor"
}

# Where is it?  The NMI makes the host's kernel panic with a backtrace.
probe_emulator()
{
	echo 'info registers -a' >&7
	sleep 0.5
	echo 'nmi' >&7
	sleep 4
	sed -i -n '/^\(CPU#\|[ER]IP\|CR0\|EAX\|RAX\)/p' "$RUN/emulator.log"
}

stop_emulator()
{
	echo quit >&7
	sleep 0.5
	kill "$EMULATOR" 2> /dev/null
}
