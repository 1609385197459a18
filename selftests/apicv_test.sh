#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The tests of interrupts, with the local APICs run by the CPU (kmod/irq/apicv.c) if
# they are not now, or by software if they are; with the CPU, also with all of posted
# interrupts but the CPU's part. Loads the module anew each time.

cd "$(dirname "$0")" || exit 1
TESTS="lapic irqchip irq_stress split_irqchip halt"
parameters=/sys/module/ringlet/parameters

echo TAP version 13
if ! grep -q '^vmx flags.* vid ' /proc/cpuinfo || [ ! -r $parameters/apicv ] || [ ! -r /ringlet.ko ]; then
	echo "1..0 # SKIP no virtual-interrupt delivery, or not the host's module"
	exit 4
fi

was="apicv=$(cat $parameters/apicv) posted_interrupts=$(cat $parameters/posted_interrupts)"
n=0 failed=0
try()			# try PARAMETERS TEST...
{
	with=$1
	shift
	# shellcheck disable=SC2086 # a list of words
	rmmod ringlet && insmod /ringlet.ko $with || exit 1
	for test; do
		n=$((n + 1))
		if "./${test}_test" > /tmp/apicv.out 2>&1; then
			echo "ok $n ${test}_test with $with"
		else
			sed 's/^/# /' /tmp/apicv.out
			echo "not ok $n ${test}_test with $with"
			failed=1
		fi
	done
}

# shellcheck disable=SC2086 # a list of words
case $was in
apicv=Y*)
	echo 1..5
	try apicv=0 $TESTS ;;
*)
	echo 1..8
	try "apicv=1 posted_interrupts=0" $TESTS
	try "apicv=1 posted_interrupts=2" lapic irq_stress halt ;;
esac
# shellcheck disable=SC2086 # a list of words
rmmod ringlet && insmod /ringlet.ko $was || exit 1
exit $failed
