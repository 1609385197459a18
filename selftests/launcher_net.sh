#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Networks: two guests on a bridge that the launcher makes and takes away again,
# one of them served by the module where there are data planes, with the host, with
# each other, on a tap with two queues, and through libslirp.
#
# KERNEL, INITRD and DISK name others than the defaults below.

# shellcheck source=selftests/lib/launcher.sh
. "$(dirname "$0")/lib/launcher.sh"

KERNEL=${KERNEL:-${GUEST_DIR:-/guest}/vmlinux}
INITRD=${INITRD:-${GUEST_DIR:-/guest}/initrd}
DISK=${DISK:-${GUEST_DIR:-/guest}/disk.img}	# with iperf3

need_guest "guests with networks" "$KERNEL" "$INITRD" "$DISK"
modprobe bridge 2> /dev/null
if ! have_tun || ! ip link add rltestbr type bridge 2> /dev/null; then
	skip "guests with networks" "no right to make interfaces, or no tun and bridge"
	finish
	exit
fi

gone() { until_not test -e "/sys/class/net/$1"; }

there()
{
	end=$(($(now) + BOUND))
	until [ -e "/sys/class/net/$1" ]; do
		[ "$(now)" -lt $end ] || return 1
		sleep 0.1
	done
}

# refused PATTERN ARGUMENT...: the launcher says so and ends with 1
refused()
{
	pattern=$1
	shift
	"$RINGLET" run --device "$RINGLET_DEV" --kernel "$KERNEL" "$@" > "$dir/out" 2>&1 < /dev/null
	status=$?
	[ $status = 1 ] && said "$pattern"
}

refused '^ringlet: --net: lo: not a bridge' --net bridge=lo &&
	refused '^ringlet: --net: tap lo: ' --net tap=lo
result $? "an interface of another kind is refused"
ip link set rltestbr down
ip link del rltestbr

model=user
module_serves network && model=kernel

mkdir "$dir/www"
dd if=/dev/urandom of="$dir/www/data" bs=64k count=40 2> /dev/null
sum=$(md5sum < "$dir/www/data" | cut -d' ' -f1)
httpd -p 8080 -h "$dir/www"

# The other guest, whose input is file descriptor 4.
mkfifo "$dir/in2"
"$RINGLET" run --device "$RINGLET_DEV" --kernel "$KERNEL" --initrd "$INITRD" --device-model user \
	--disk "$DISK,ro" --cmdline 'quiet root=/dev/vda guest.ip=10.9.0.3/24' \
	--net bridge=rltestbr < "$dir/in2" > "$dir/out2" 2>&1 &
other=$!
exec 4> "$dir/in2"
there rltestbr && ip addr add 10.9.0.1/24 dev rltestbr
result $? "a bridge is made"

# A macvtap, whose other side is the veth pair's other end.
macvtap=
modprobe macvtap 2> /dev/null
if ip link add rlveth type veth 2> /dev/null &&
   ip link add link rlveth name rlmac0 type macvtap 2> /dev/null; then
	peer=$(cat /sys/class/net/rlveth/iflink)
	peer=$(grep -l -x "$peer" /sys/class/net/*/ifindex | cut -d/ -f5)
	ip link set rlveth up && ip link set "$peer" up && ip link set rlmac0 up &&
		ip addr add 10.9.4.1/24 dev "$peer" && macvtap=rlmac0
fi

start --kernel "$KERNEL" --initrd "$INITRD" --device-model $model --disk "$DISK,ro" --cpus 2 \
	--cmdline 'quiet root=/dev/vda guest.ip=10.9.0.2/24' \
	--net bridge=rltestbr,mac=02:00:00:00:00:17 --net user --net tap=rltest0,queues=2 \
	${macvtap:+--net tap=$macvtap}
there rltest0 && ip addr add 10.9.1.1/24 dev rltest0
result $? "a tap is made"

await 1 '^guest# ' 300 && type 'cat /sys/class/net/eth0/address' '^02:00:00:00:00:17' &&
	type 'ping -c 3 10.9.0.1' '^3 packets transmitted, 3 packets received'
result $? "$model: the host answers a ping"
type 'wget -q -O - http://10.9.0.1:8080/data | md5sum' "^$sum"
result $? "$model: a download from the host"
ping -c 1 10.9.0.2 > /dev/null
result $? "$model: the guest answers a ping"

end=$(($(now) + 300))
until grep -q -a '^guest# ' "$dir/out2" || [ "$(now)" -ge $end ]; do
	sleep 0.2
done
echo 'iperf3 -s -D' >&4
type 'ping -c 3 10.9.0.3 | sed s/^/other:/' '^other:3 packets transmitted, 3 packets received'
result $? "two guests on one bridge"
type 'iperf3 -c 10.9.0.3 -n 1M | grep sender | sed s/^/out:/' '^out:.* 1.00 MBytes .*sender' &&
	type 'iperf3 -c 10.9.0.3 -R -n 1M | grep receiver | sed s/^/back:/' \
		'^back:.*[1-9].* MBytes .*receiver' &&
	type 'for i in 1 2 3; do iperf3 -c 10.9.0.3 -u -b 500K -n 60K; done | sed -n "s/^/udp:/; /receiver/p"' \
		'^udp:.*[1-9].* KBytes .*receiver' || { tail -n 30 "$dir/out" | sed 's/^/# /'; false; }
result $? "iperf3 between them, both ways and UDP"

type 'ip link set eth1 up; udhcpc -q -n -i eth1 -s /bin/dhcp-script; ip addr show eth1' \
	'inet 10.0.2.15/24' &&
	type 'wget -q -O - http://10.0.2.2:8080/data | md5sum | sed s/^/user:/' "^user:$sum"
result $? "user: DHCP, and a download from the host"

type 'ip addr add 10.9.1.2/24 dev eth2; ip link set eth2 up; ls -d /sys/class/net/eth2/queues/tx-* | wc -l' '^2' &&
	type 'ping -c 2 10.9.1.1 | sed s/^/tap:/' '^tap:2 packets transmitted, 2 packets received' &&
	type 'wget -q -O - http://10.9.1.1:8080/data | md5sum | sed s/^/tap:/' "^tap:$sum"
result $? "$model: a tap with two queues"

if [ -n "$macvtap" ]; then
	type 'ip addr add 10.9.4.2/24 dev eth3; ip link set eth3 up; cat /sys/class/net/eth3/address | sed s/^/mac:/' \
		"^mac:$(cat /sys/class/net/rlmac0/address)" &&
		type 'ping -c 2 10.9.4.1 | sed s/^/macvtap:/' '^macvtap:2 packets transmitted, 2 packets received' &&
		type 'wget -q -O - http://10.9.4.1:8080/data | md5sum | sed s/^/macvtap:/' "^macvtap:$sum"
	result $? "$model: a macvtap"
else
	skip "$model: a macvtap" "no macvtap, or no veth"
fi

address=$(cat /sys/class/net/rltestbr/address)
ports=$(ls /sys/class/net/rltestbr/brif | wc -l)
kill -9 $other
wait $other 2> /dev/null
exec 4>&-
end=$(($(now) + BOUND))
until [ "$(ls /sys/class/net/rltestbr/brif | wc -l)" -lt "$ports" ] || [ "$(now)" -ge $end ]; do
	sleep 0.1
done
[ "$(cat /sys/class/net/rltestbr/address)" = "$address" ] && type 'ping -c 1 10.9.0.1 | sed s/^/after:/' '^after:1 packets transmitted, 1 packets received'
result $? "the bridge stays as it is while a guest is on it"
echo poweroff >&3
ended 0 && gone rltestbr && gone rltest0
result $? "bridge and tap go with the last guest"

ip link del rlmac0 2> /dev/null
ip link del rlveth 2> /dev/null
killall httpd 2> /dev/null
finish
