// SPDX-License-Identifier: GPL-2.0
/*
 * Network interfaces: virtio-net between the guest and a tap, whose packets carry
 * virtio's own header, or net_user.c's socket, whose packets carry none. The module
 * serves a tap's queues by default.
 *
 * Owns:    struct net.
 * Touches: the tap or socket, which stays open over the guest's resets.
 * Locks:   none: the device's thread moves all packets.
 * Manuals: Virtual I/O Device (VIRTIO) Version 1.2, "Network Device".
 */
#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "linux/ringlet.h"
#include "net.h"
#include "virtio.h"

#define CLASS_ETHERNET	0x02000000u
#define HEADER		sizeof(struct virtio_net_hdr_v1)
#define FRAMES_AT_ONCE	64		/* of one direction, before the other gets its turn */
#define MERGED_MAX	64		/* buffers for one frame */

#define OFFLOADS	(BIT_ULL(VIRTIO_NET_F_CSUM) | BIT_ULL(VIRTIO_NET_F_GUEST_CSUM) | \
			 BIT_ULL(VIRTIO_NET_F_HOST_TSO4) | BIT_ULL(VIRTIO_NET_F_HOST_TSO6) | \
			 BIT_ULL(VIRTIO_NET_F_HOST_ECN) | BIT_ULL(VIRTIO_NET_F_GUEST_TSO4) | \
			 BIT_ULL(VIRTIO_NET_F_GUEST_TSO6) | BIT_ULL(VIRTIO_NET_F_GUEST_ECN))

/* A frame on its way into the guest's buffers. */
struct incoming {
	size_t len, done;		/* len 0: there is none */
	uint8_t *num_buffers[2];	/* where the guest looks for their number */
	unsigned int n;			/* buffers taken for it */
	struct { struct rl_chain chain; uint32_t len; } used[MERGED_MAX];
	uint8_t data[HEADER + NET_FRAME_MAX];
};

struct net {
	struct virtio_dev dev;		/* first */
	const struct net_config *config;
	bool user;			/* a socket without headers */
	struct incoming rx[16];
};

static void find_num_buffers(struct incoming *in, const struct chain *chain)
{
	size_t skip = offsetof(struct virtio_net_hdr_v1, num_buffers);

	in->num_buffers[0] = NULL;
	in->num_buffers[1] = NULL;
	for (unsigned int i = 0; i < chain->nin; i++) {
		for (unsigned int b = 0; b < 2; b++)
			if (skip + b < chain->in[i].iov_len && !in->num_buffers[b])
				in->num_buffers[b] = (uint8_t *)chain->in[i].iov_base + skip + b;
		if (skip + 1 < chain->in[i].iov_len)
			return;
		skip = skip < chain->in[i].iov_len ? 0 : skip - chain->in[i].iov_len;
	}
}

/*
 * Put a frame into the guest's buffers, several of them if it agreed to that.
 * Returns 1 when done, 0 when there are not enough, -1 when the ring is broken.
 */
static int deliver(struct net *net, struct virtio_queue *q, struct incoming *in)
{
	bool merge = virtio_has(&net->dev, VIRTIO_NET_F_MRG_RXBUF);
	struct chain chain;

	while (in->done < in->len && in->n < (merge ? MERGED_MAX : 1)) {
		int got = vring_next(q, &chain);

		if (got <= 0)
			return got;
		if (!in->n)
			find_num_buffers(in, &chain);
		in->used[in->n].chain = chain.c;
		in->used[in->n].len = iov_write(chain.in, chain.nin, 0, in->data + in->done,
						in->len - in->done);
		in->done += in->used[in->n++].len;
	}
	for (unsigned int b = 0; b < 2; b++)
		if (in->num_buffers[b])
			*in->num_buffers[b] = in->n >> 8 * b;
	for (unsigned int i = 0; i < in->n; i++)
		vring_push(q, &in->used[i].chain, in->used[i].len);
	in->len = 0;
	return 1;
}

static bool read_frame(struct net *net, unsigned int pair)
{
	struct incoming *in = &net->rx[pair];
	ssize_t n;

	if (net->user) {
		n = recv(net->config->fd[pair], in->data + HEADER, NET_FRAME_MAX, 0);
		memset(in->data, 0, HEADER);
		n += HEADER;
	} else {
		n = read(net->config->fd[pair], in->data, sizeof(in->data));
	}
	if (n <= (ssize_t)HEADER)
		return false;
	in->len = n;
	in->done = 0;
	in->n = 0;
	return true;
}

/* Packets for the guest. Without a buffer the backend is not read, and holds back its own. */
static int receive(struct net *net, unsigned int pair)
{
	struct virtio_queue *q = &net->dev.queue[2 * pair];
	int got = 1;

	for (unsigned int budget = FRAMES_AT_ONCE; budget && got > 0; budget--) {
		if (!net->rx[pair].len && !read_frame(net, pair))
			break;
		got = deliver(net, q, &net->rx[pair]);
	}
	vring_flush(q);
	net->dev.fds[pair].fd = got ? net->config->fd[pair] : -1;
	return got < 0 ? -1 : 0;
}

/* Returns false when the backend is full. */
static bool send_frame(struct net *net, unsigned int pair, struct chain *chain)
{
	ssize_t n;

	if (net->user) {
		struct msghdr msg;

		iov_skip(&chain->out, &chain->nout, HEADER);
		msg = (struct msghdr){ .msg_iov = chain->out, .msg_iovlen = chain->nout };
		n = sendmsg(net->config->fd[pair], &msg, MSG_NOSIGNAL);
	} else {
		n = writev(net->config->fd[pair], chain->out, chain->nout);
	}
	return n >= 0 || (errno != EAGAIN && errno != ENOBUFS);
}

static int transmit(struct net *net, struct virtio_queue *q)
{
	unsigned int pair = q->index / 2;
	struct pollfd *fd = &net->dev.fds[pair];
	struct chain chain;
	int got;

	fd->events &= ~POLLOUT;
	do {
		while ((got = vring_pop(q, &chain)) > 0) {
			if (chain.c.out_len < HEADER)
				return -1;
			if (!send_frame(net, pair, &chain)) {
				vring_unpop(q, &chain);
				vring_flush(q);
				fd->events |= POLLOUT;
				fd->fd = net->config->fd[pair];
				return 0;
			}
			vring_push(q, &chain.c, 0);
			if (atomic_load(&net->dev.stopping))
				break;
		}
		vring_flush(q);
		if (!got)
			got = vring_listen(q);
	} while (got > 0 && !atomic_load(&net->dev.stopping));
	return got < 0 ? -1 : 0;
}

/* The guest uses the first so many pairs: the tap must not sort packets into others. */
static uint8_t set_pairs(struct net *net, unsigned int pairs)
{
	if (!pairs || pairs > net->config->queues)
		return VIRTIO_NET_ERR;
	for (unsigned int i = 1; i < net->config->queues; i++) {
		struct ifreq ifr = {
			.ifr_flags = i < pairs ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE,
		};

		/* EINVAL: it is so already. */
		if (ioctl(net->config->fd[i], TUNSETQUEUE, &ifr) && errno != EINVAL)
			return VIRTIO_NET_ERR;
		/* A detached one would always be ready, with an error. */
		net->dev.fds[i].fd = i < pairs ? net->config->fd[i] : -1;
	}
	return VIRTIO_NET_OK;
}

static int control(struct virtio_queue *q, struct chain *chain)
{
	struct { struct virtio_net_ctrl_hdr head; uint16_t pairs; } __packed cmd = { 0 };
	size_t len = iov_read(chain->out, chain->nout, 0, &cmd, sizeof(cmd));
	uint8_t ack = VIRTIO_NET_ERR;

	if (len == sizeof(cmd) && cmd.head.class == VIRTIO_NET_CTRL_MQ &&
	    cmd.head.cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET)
		ack = set_pairs((struct net *)q->dev, cmd.pairs);
	vring_push(q, &chain->c, iov_write(chain->in, chain->nin, 0, &ack, 1));
	return 0;
}

static int net_serve(struct virtio_dev *dev, struct virtio_queue *q)
{
	struct net *net = (struct net *)dev;

	if (q->index == 2 * net->config->queues)
		return vring_serve(q, control);
	return q->index & 1 ? transmit(net, q) : receive(net, q->index / 2);
}

static int net_ready(struct virtio_dev *dev, unsigned int pair)
{
	struct net *net = (struct net *)dev;
	short revents = dev->fds[pair].revents;

	if ((revents & POLLOUT) && transmit(net, &dev->queue[2 * pair + 1]))
		return -1;
	if (revents & (POLLERR | POLLHUP)) {
		warn("--net: %s: the network interface is gone", net->config->tap);
		dev->fds[pair].fd = -1;
		return 0;
	}
	return revents & POLLIN ? receive(net, pair) : 0;
}

static void set_offloads(struct net *net)
{
	unsigned int flags = 0;

	if (virtio_has(&net->dev, VIRTIO_NET_F_GUEST_CSUM))
		flags |= TUN_F_CSUM;
	if (virtio_has(&net->dev, VIRTIO_NET_F_GUEST_TSO4))
		flags |= TUN_F_TSO4;
	if (virtio_has(&net->dev, VIRTIO_NET_F_GUEST_TSO6))
		flags |= TUN_F_TSO6;
	if (virtio_has(&net->dev, VIRTIO_NET_F_GUEST_ECN))
		flags |= TUN_F_TSO_ECN;
	for (unsigned int i = 0; i < net->config->queues; i++)
		ioctl(net->config->fd[i], TUNSETOFFLOAD, flags);
}

static void net_start(struct virtio_dev *dev)
{
	struct net *net = (struct net *)dev;

	for (unsigned int i = 0; i < net->config->queues; i++) {
		bool used = dev->queue[2 * i].enabled && dev->queue[2 * i + 1].enabled;

		net->rx[i].len = 0;
		dev->fds[i] = (struct pollfd){ .fd = used ? net->config->fd[i] : -1,
					       .events = POLLIN };
	}
	dev->nfds = dev->kernel ? 0 : net->config->queues;
	if (!net->user) {
		set_offloads(net);
		set_pairs(net, 1);
	}
}

static const struct virtio_model net_model = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.class_revision = CLASS_ETHERNET,
	.serve = net_serve,
	.ready = net_ready,
	.start = net_start,
};

static void start_net(struct vm *vm, const struct net_config *config)
{
	uint64_t features = BIT_ULL(VIRTIO_NET_F_MAC) | BIT_ULL(VIRTIO_NET_F_STATUS) |
			    BIT_ULL(VIRTIO_NET_F_MRG_RXBUF);
	struct virtio_net_config c = {
		.status = VIRTIO_NET_S_LINK_UP,
		.max_virtqueue_pairs = config->queues,
	};
	struct net *net = vm_alloc(vm, sizeof(*net));
	unsigned int queues = 2 * config->queues;

	net->config = config;
	net->user = net_is_user(config);
	memcpy(c.mac, config->mac, sizeof(c.mac));
	memcpy(net->dev.config, &c, offsetof(struct virtio_net_config, mtu));
	if (!net->user)
		features |= OFFLOADS;
	if (config->queues > 1)
		features |= BIT_ULL(VIRTIO_NET_F_MQ) | BIT_ULL(VIRTIO_NET_F_CTRL_VQ);
	if (!net->user && (vm->config->kernel_types & BIT(RINGLET_DEVICE_NET))) {
		struct ringlet_create_device create = {
			.type = RINGLET_DEVICE_NET,
			.nr_queues = queues,
			.nr_backends = config->queues,
		};

		memcpy(create.backend, config->fd, sizeof(create.backend));
		net->dev.kernel = vkernel_create(vm, &create, 1, "--net");
		net->dev.kernel_queues = queues;
		features = vkernel_features(vm, RINGLET_DEVICE_NET, features);
	}
	virtio_init(vm, &net->dev, &net_model, features, queues + (config->queues > 1),
		    offsetof(struct virtio_net_config, mtu));
}

void virtio_net_start(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->config->nnets; i++)
		start_net(vm, &vm->config->nets[i]);
}
