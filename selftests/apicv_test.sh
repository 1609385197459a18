#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The tests of interrupts, with the local APICs run by the CPU (kmod/irq/apicv.c) if
# they are not now, or by software if they are. Loads the module anew, twice.

cd "$(dirname "$0")" || exit 1
TESTS="lapic irqchip irq_stress split_irqchip halt"
parameters=/sys/module/ringlet/parameters

plan=0
for test in $TESTS; do plan=$((plan + 1)); done
echo TAP version 13
if ! grep -q '^vmx flags.* vid ' /proc/cpuinfo || [ ! -r $parameters/apicv ] || [ ! -r /ringlet.ko ]; then
	echo "1..0 # SKIP no virtual-interrupt delivery, or not the host's module"
	exit 4
fi
echo "1..$plan"

case $(cat $parameters/apicv) in
Y)	now=1 other=0 ;;
*)	now=0 other=1 ;;
esac
rmmod ringlet && insmod /ringlet.ko apicv=$other || exit 1
n=0 failed=0
for test in $TESTS; do
	n=$((n + 1))
	if "./${test}_test" > /tmp/apicv.out 2>&1; then
		echo "ok $n ${test}_test with apicv=$other"
	else
		sed 's/^/# /' /tmp/apicv.out
		echo "not ok $n ${test}_test with apicv=$other"
		failed=1
	fi
done
rmmod ringlet && insmod /ringlet.ko apicv=$now || exit 1
exit $failed
