// SPDX-License-Identifier: GPL-2.0
/*
 * Taps, macvtaps and bridges: found, made and taken away again. What this program
 * made goes with it: a tap with its descriptor, a bridge by a child process that
 * keeps the right to do so and waits for the launcher's end, however that comes.
 *
 * Owns:    the netlink socket; bridges that carry its mark.
 * Touches: the host's network interfaces.
 * Locks:   none: before the VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/bridge.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "net.h"

#define VNET_HEADER	12		/* struct virtio_net_hdr_v1 */
#define BRIDGE_MARK	"ringlet"	/* the alias of a bridge that goes with its last port */
#define TAP_NAMES	"rltap%d"	/* the kernel chooses the number */

/** net_random_mac() - A locally administered address, another one each time */
void net_random_mac(uint8_t mac[6])
{
	if (getrandom(mac, 6, 0) != 6)
		die("--net: no random numbers for a MAC address: %s", strerror(errno));
	mac[0] = (mac[0] & ~1) | 2;
}

static struct nl_sock *open_route(const char *name)
{
	struct nl_sock *sk = nl_socket_alloc();

	if (!sk || nl_connect(sk, NETLINK_ROUTE) < 0)
		die("--net: %s: cannot talk to the kernel about network interfaces", name);
	return sk;
}

static struct rtnl_link *find_link(struct nl_sock *sk, const char *name)
{
	struct rtnl_link *link;

	return rtnl_link_get_kernel(sk, 0, name, &link) < 0 ? NULL : link;
}

static const char *reason(int err)
{
	return err == -NLE_PERM ? "you may not do that (CAP_NET_ADMIN)" : nl_geterror(err);
}

static void set_up(struct nl_sock *sk, struct rtnl_link *link, const char *name)
{
	struct rtnl_link *change;
	int err;

	if (rtnl_link_get_flags(link) & IFF_UP)
		return;
	change = rtnl_link_alloc();
	if (!change)
		die("out of memory");
	rtnl_link_set_flags(change, IFF_UP);
	err = rtnl_link_change(sk, link, change, 0);
	rtnl_link_put(change);
	if (err < 0)
		die("--net: %s: cannot set it up: %s", name, reason(err));
}

static int open_queue(const char *name, char *actual, bool multi, bool may_exist)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), size = VNET_HEADER;
	struct ifreq ifr = {
		.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multi ? IFF_MULTI_QUEUE : 0),
	};

	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0)
		die("--net: /dev/net/tun: %s", strerror(errno));
	if (ioctl(fd, TUNSETIFF, &ifr)) {
		const char *hint = "";

		if (errno == EPERM)
			hint = " (it is not there or not yours, and you lack CAP_NET_ADMIN)";
		else if (errno == EBUSY)
			hint = " (somebody else uses it)";
		else if (errno == EINVAL && may_exist)
			hint = multi ? " (is it a tap with multi_queue?)" :
				       " (is it a tap without multi_queue?)";
		die("--net: tap %s: %s%s", name, strerror(errno), hint);
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &size))
		die("--net: tap %s: TUNSETVNETHDRSZ: %s", name, strerror(errno));
	strcpy(actual, ifr.ifr_name);
	return fd;
}

static int open_macvtap(struct rtnl_link *link, const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd, size = VNET_HEADER;
	char node[32];

	snprintf(node, sizeof(node), "/dev/tap%d", rtnl_link_get_ifindex(link));
	fd = open(node, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		die("--net: %s: %s: %s", name, node, strerror(errno));
	if (ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETVNETHDRSZ, &size))
		die("--net: %s: %s: %s", name, node, strerror(errno));
	return fd;
}

static struct rtnl_link *need_link(struct nl_sock *sk, const char *name)
{
	struct rtnl_link *link = find_link(sk, name);

	if (!link)
		die("--net: %s: the interface has gone again", name);
	return link;
}

/* A bridge without ports is of no use to anybody: then ours can go. */
static bool has_ports(struct nl_sock *sk, int bridge)
{
	struct nl_cache *cache;
	bool found = false;

	if (rtnl_link_alloc_cache(sk, AF_UNSPEC, &cache) < 0)
		return true;
	for (struct nl_object *o = nl_cache_get_first(cache); o && !found; o = nl_cache_get_next(o))
		found = rtnl_link_get_master((struct rtnl_link *)o) == bridge;
	nl_cache_free(cache);
	return found;
}

static void remove_bridge(const char *name, const char *tap)
{
	struct nl_sock *sk = open_route(name);
	struct rtnl_link *link;

	/* The tap goes when the launcher's last descriptor does, which may be after the pipe's. */
	for (int i = 0; i < 100 && (link = find_link(sk, tap)); i++) {
		rtnl_link_put(link);
		usleep(20 * 1000);
	}
	link = find_link(sk, name);
	if (link && !strcmp(rtnl_link_get_ifalias(link) ?: "", BRIDGE_MARK) &&
	    !has_ports(sk, rtnl_link_get_ifindex(link)))
		rtnl_link_delete(sk, link);
}

static void make_bridge(struct nl_sock *sk, const char *name)
{
	struct rtnl_link *bridge = rtnl_link_bridge_alloc(), *change = rtnl_link_alloc();
	struct nl_addr *addr;
	uint8_t mac[6];
	int err;

	/* By itself it would take a port's, and another when that goes: guests' ARP is stale then. */
	net_random_mac(mac);
	addr = nl_addr_build(AF_LLC, mac, sizeof(mac));
	if (!bridge || !change || !addr)
		die("out of memory");
	rtnl_link_set_name(bridge, name);
	rtnl_link_set_addr(bridge, addr);
	nl_addr_put(addr);
	err = rtnl_link_add(sk, bridge, NLM_F_CREATE | NLM_F_EXCL);
	if (err < 0 && err != -NLE_EXIST)
		die("--net: bridge %s: cannot make it: %s", name, reason(err));
	rtnl_link_put(bridge);
	if (!err) {
		bridge = need_link(sk, name);
		rtnl_link_set_ifalias(change, BRIDGE_MARK);
		rtnl_link_change(sk, bridge, change, 0);
		rtnl_link_put(bridge);
	}
	rtnl_link_put(change);
}

/* The child's life. Standard input ends with the launcher. */
static _Noreturn void keep_bridge(const char *bridge, const char *tap, int made)
{
	struct nl_sock *sk = open_route(bridge);
	char byte = 0;

	make_bridge(sk, bridge);
	nl_socket_free(sk);
	/* The launcher may be gone already. */
	signal(SIGPIPE, SIG_IGN);
	if (write(made, &byte, 1) == 1)
		close(made);
	while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
		;
	remove_bridge(bridge, tap);
	_exit(0);
}

/*
 * A child makes the bridge, waits for the launcher's end, and then cleans up: there is
 * no moment at which the launcher's death would leave the bridge behind.
 */
static void start_cleaner(const char *bridge, const char *tap)
{
	enum { MADE = STDERR_FILENO + 1 };
	int end[2], made[2];
	ssize_t n;
	char byte;

	if (pipe2(end, O_CLOEXEC) || pipe2(made, O_CLOEXEC))
		die("--net: pipe: %s", strerror(errno));
	switch (fork()) {
	case -1:
		die("--net: fork: %s", strerror(errno));
	case 0:
		/* Of the terminal's signals and of what the launcher has open it wants nothing. */
		setsid();
		prctl(PR_SET_NAME, "ringlet-clean");
		dup2(end[0], STDIN_FILENO);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		dup2(made[1], MADE);
		close_range(MADE + 1, ~0U, 0);
		keep_bridge(bridge, tap, MADE);
	}
	close(end[0]);			/* the other end is kept until the launcher's end */
	close(made[1]);
	do {
		n = read(made[0], &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		exit(STATUS_ERROR);	/* the child has said why */
	close(made[0]);
}

static void open_bridge(struct nl_sock *sk, struct net_config *config)
{
	struct rtnl_link *bridge = find_link(sk, config->bridge), *tap;
	char name[IFNAMSIZ];
	int err;

	if (bridge && strcmp(rtnl_link_get_type(bridge) ?: "", "bridge"))
		die("--net: %s: not a bridge", config->bridge);
	for (unsigned int i = 0; i < config->queues; i++)
		config->fd[i] = open_queue(i ? name : TAP_NAMES, name, config->queues > 1, false);
	start_cleaner(config->bridge, name);
	/* The child may have made it, or made it again. */
	if (bridge)
		rtnl_link_put(bridge);
	bridge = need_link(sk, config->bridge);
	set_up(sk, bridge, config->bridge);
	tap = need_link(sk, name);
	err = rtnl_link_enslave(sk, bridge, tap);
	if (err < 0)
		die("--net: bridge %s: cannot attach %s: %s", config->bridge, name, reason(err));
	set_up(sk, tap, name);
	rtnl_link_put(tap);
	rtnl_link_put(bridge);
}

static void open_tap(struct nl_sock *sk, struct net_config *config)
{
	struct rtnl_link *link = find_link(sk, config->tap);
	char name[IFNAMSIZ];

	if (link && !strcmp(rtnl_link_get_type(link) ?: "", "macvtap")) {
		struct nl_addr *mac = rtnl_link_get_addr(link);

		if (config->queues > 1)
			die("--net: %s: one queue of a macvtap is supported", config->tap);
		config->fd[0] = open_macvtap(link, config->tap);
		/* It passes on only what is meant for its own address. */
		if (!config->mac[0] && !config->mac[5] && mac && nl_addr_get_len(mac) == 6)
			memcpy(config->mac, nl_addr_get_binary_addr(mac), 6);
		rtnl_link_put(link);
		return;
	}
	for (unsigned int i = 0; i < config->queues; i++)
		config->fd[i] = open_queue(config->tap, name, config->queues > 1, link || i);
	if (link)
		rtnl_link_put(link);
	link = need_link(sk, config->tap);
	set_up(sk, link, config->tap);
	rtnl_link_put(link);
}

/**
 * net_tap_open() - Open the tap of a --net; it stays open for the guest's resets
 *
 * Dies with the reason when it cannot be had.
 */
void net_tap_open(struct net_config *config)
{
	struct nl_sock *sk = open_route(config->tap[0] ? config->tap : config->bridge);

	if (config->bridge[0])
		open_bridge(sk, config);
	else
		open_tap(sk, config);
	nl_socket_free(sk);
}
