// SPDX-License-Identifier: GPL-2.0
/*
 * A network that needs no rights: libslirp plays router, DHCP and name server, and
 * makes the guest's connections as this program's own. The guest is 10.0.2.15, the
 * host 10.0.2.2. It runs in a thread behind a socket that carries frames, so that
 * it looks like a tap to virtio_net.c, and like one outlives the guest's resets.
 *
 * Owns:    the Slirp instance, its timers and its thread.
 * Touches: the host's network, as any program does.
 * Locks:   none: libslirp is called by this thread alone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net.h"

#define POLL_MAX	256

struct slirp_timer {
	struct slirp_timer *next;
	SlirpTimerCb fn;
	void *opaque;
	int64_t when_ms;		/* -1: not set */
};

struct user_net {
	Slirp *slirp;
	int fd;				/* our end of the socket */
	struct slirp_timer *timers;
	struct pollfd fds[POLL_MAX];	/* the first is @fd */
	unsigned int nfds;
};

static int64_t now_ns(void *opaque)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* What the guest has no room for is lost, as on any wire. */
static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
	struct user_net *net = opaque;

	send(net->fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	return len;
}

static void guest_error(const char *msg, void *opaque)
{
	warn("--net user: %s", msg);
}

static void *timer_new(SlirpTimerCb fn, void *cb_opaque, void *opaque)
{
	struct user_net *net = opaque;
	struct slirp_timer *t = xcalloc(1, sizeof(*t));

	*t = (struct slirp_timer){ net->timers, fn, cb_opaque, -1 };
	net->timers = t;
	return t;
}

static void timer_free(void *timer, void *opaque)
{
	struct user_net *net = opaque;
	struct slirp_timer **at = &net->timers;

	while (*at && *at != timer)
		at = &(*at)->next;
	if (*at)
		*at = (*at)->next;
	free(timer);
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	((struct slirp_timer *)timer)->when_ms = expire_ms;
}

static void nothing(int fd, void *opaque)
{
	/* The set of descriptors is made anew each time round. */
}

static void notify(void *opaque)
{
	/* This thread is the only one. */
}

static const struct {
	int slirp;
	short poll;
} events[] = {
	{ SLIRP_POLL_IN, POLLIN },
	{ SLIRP_POLL_OUT, POLLOUT },
	{ SLIRP_POLL_PRI, POLLPRI },
	{ SLIRP_POLL_ERR, POLLERR },
	{ SLIRP_POLL_HUP, POLLHUP },
};

static int add_poll(int fd, int wanted, void *opaque)
{
	struct user_net *net = opaque;
	short bits = 0;

	if (net->nfds == POLL_MAX)
		return -1;
	for (unsigned int i = 0; i < ARRAY_SIZE(events); i++)
		if (wanted & events[i].slirp)
			bits |= events[i].poll;
	net->fds[net->nfds] = (struct pollfd){ .fd = fd, .events = bits };
	return net->nfds++;
}

static int get_revents(int i, void *opaque)
{
	struct user_net *net = opaque;
	int bits = 0;

	for (unsigned int e = 0; i >= 0 && e < ARRAY_SIZE(events); e++)
		if (net->fds[i].revents & events[e].poll)
			bits |= events[e].slirp;
	return bits;
}

static void run_timers(struct user_net *net)
{
	int64_t now = now_ns(NULL) / 1000000;

	for (struct slirp_timer *t = net->timers; t; t = t->next) {
		if (t->when_ms < 0 || t->when_ms > now)
			continue;
		t->when_ms = -1;
		t->fn(t->opaque);
		break;		/* it may have changed the list: the next time round */
	}
}

static void limit_by_timers(struct user_net *net, uint32_t *timeout)
{
	int64_t now = now_ns(NULL) / 1000000;

	for (struct slirp_timer *t = net->timers; t; t = t->next)
		if (t->when_ms >= 0 && t->when_ms - now < (int64_t)*timeout)
			*timeout = t->when_ms > now ? t->when_ms - now : 0;
}

static void *user_thread(void *opaque)
{
	struct user_net *net = opaque;
	uint8_t frame[NET_FRAME_MAX];

	pthread_setname_np(pthread_self(), "user-net");
	for (;;) {
		uint32_t timeout = 1000 * 1000;
		ssize_t n;
		int ret;

		net->fds[0] = (struct pollfd){ .fd = net->fd, .events = POLLIN };
		net->nfds = 1;
		slirp_pollfds_fill(net->slirp, &timeout, add_poll, net);
		limit_by_timers(net, &timeout);
		ret = poll(net->fds, net->nfds, timeout);
		slirp_pollfds_poll(net->slirp, ret < 0, get_revents, net);
		run_timers(net);
		for (int i = 0; i < 64; i++) {
			n = recv(net->fd, frame, sizeof(frame), MSG_DONTWAIT);
			if (n <= 0)
				break;
			slirp_input(net->slirp, frame, n);
		}
	}
	return NULL;
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = now_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = nothing,
	.unregister_poll_fd = nothing,
	.notify = notify,
};

static struct in_addr address(const char *text)
{
	return (struct in_addr){ inet_addr(text) };
}

/** net_user_start() - The network behind a --net user; its other end goes to config->fd */
void net_user_start(struct net_config *config)
{
	const SlirpConfig slirp = {
		.version = 1,
		.in_enabled = true,
		.vnetwork = address("10.0.2.0"),
		.vnetmask = address("255.255.255.0"),
		.vhost = address("10.0.2.2"),
		.vdhcp_start = address("10.0.2.15"),
		.vnameserver = address("10.0.2.3"),
	};
	struct user_net *net = xcalloc(1, sizeof(*net));
	pthread_t thread;
	int pair[2], err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		die("--net user: cannot create its socket: %s", strerror(errno));
	config->fd[0] = pair[0];
	net->fd = pair[1];
	net->slirp = slirp_new(&slirp, &callbacks, net);
	if (!net->slirp)
		die("--net user: libslirp refuses to start");
	err = pthread_create(&thread, NULL, user_thread, net);
	if (err)
		die("--net user: cannot start its thread: %s", strerror(err));
	pthread_detach(thread);
}
