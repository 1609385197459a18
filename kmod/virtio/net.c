// SPDX-License-Identifier: GPL-2.0-only
/*
 * virtio-net on the queues of a tap or macvtap.
 *
 * Owns:    struct net_queue.
 * Touches: the taps' sockets, by sendmsg and recvmsg.
 * Locks:   vq->lock, which serve() has; net_wake() runs in the context of who
 *          wakes the socket's waiters, softirqs included.
 *
 * A tap's own header is the guest's: checksums, segmentation and the like are
 * between the two. Packets go out in the vCPU that notifies, and come in by the
 * threads that the socket's wait queue wakes. A guest without buffers leaves them
 * in the tap, where a full queue drops; a tap that cannot take more leaves them
 * in the ring until it can. Neither side is asked again before it says so.
 *
 * Spec: VIRTIO 1.2, "Network Device".
 */
#include <linux/file.h>
#include <linux/if_tap.h>
#include <linux/if_tun.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/virtio_net.h>
#include <net/sock.h>

#include "../vm.h"
#include "virtio.h"

#define HDR_LEN		sizeof(struct virtio_net_hdr_mrg_rxbuf)
#define BURST		128
#define MAX_CHAINS	64	/* of one packet: 64 KiB in buffers of 1 KiB */

struct net_queue {
	struct rl_vq *vq;
	struct file *file;
	struct socket *sock;
	wait_queue_entry_t wait;
	bool waiting;		/* @wait is in the socket's queue; dev->lock */
	bool stalled;		/* the guest has no buffers: packets mean nothing */
	struct rl_chain chains[MAX_CHAINS];
};

static bool is_rx(const struct rl_vq *vq)
{
	return !(vq->index & 1);
}

static int net_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct net_queue *nq = container_of(wait, struct net_queue, wait);
	__poll_t events = key_to_poll(key);
	__poll_t wanted = is_rx(nq->vq) ? EPOLLIN | EPOLLRDNORM : EPOLLOUT | EPOLLWRNORM;

	if ((!events || events & (wanted | EPOLLERR | EPOLLHUP)) && !READ_ONCE(nq->stalled))
		rl_vq_defer(nq->vq);
	return 0;
}

/* Sending */

/* 1: sent or dropped; 0: the tap is full; or an error of the ring. */
static int send_packet(struct rl_vq *vq, const struct rl_chain *c)
{
	struct net_queue *nq = vq->priv;
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT };
	int r;

	if (c->nr_in || c->out_len < HDR_LEN)
		return -EINVAL;
	r = rl_bufs_iov(vq->dev->vm, vq->segs, c->nr_out, false, vq->iov);
	if (r < 0)
		return -EFAULT;
	iov_iter_init(&msg.msg_iter, WRITE, vq->iov, r, c->out_len);
	r = nq->sock->ops->sendmsg(nq->sock, &msg, c->out_len);
	if (r == -EAGAIN || r == -ENOBUFS)
		return 0;
	if (r == -EBADFD)
		rl_vdev_backend_gone(vq->dev);
	vq->stat.requests++;
	if (r < 0)
		vq->stat.errors++;
	else
		vq->stat.bytes_written += c->out_len - HDR_LEN;
	return rl_ring_put(&vq->ring, c, 0) ?: 1;
}

static int net_send(struct rl_vq *vq)
{
	struct net_queue *nq = vq->priv;
	struct rl_chain c;
	int r, n = 0;

	r = rl_ring_disable_notify(&vq->ring);
	while (r >= 0 && n < BURST) {
		r = rl_ring_get(&vq->ring, &c, vq->segs, RL_RING_MAX_SEGS);
		if (!r) {
			if (rl_vq_linger(vq, n))
				break;
			r = rl_ring_enable_notify(&vq->ring);
			if (r > 0)
				continue;
		}
		if (r <= 0)
			break;
		r = send_packet(vq, &c);
		n += r > 0;
		if (r)
			continue;
		/* As poll(2): ask for a wake-up, then look again. */
		rl_ring_undo(&vq->ring, &c);
		set_bit(SOCKWQ_ASYNC_NOSPACE, &nq->sock->flags);
		/* Pairs with the socket's: it makes room, and looks at the bit. */
		smp_mb__after_atomic();
		if (!sock_writeable(nq->sock->sk))
			break;
	}
	return r < 0 ? r : rl_vq_flush(vq) ?: n == BURST;
}

/* Receiving */

/* Give back what was taken from the ring for a packet that needs less, or nothing. */
static void undo_chains(struct rl_vq *vq, unsigned int from, unsigned int to)
{
	struct net_queue *nq = vq->priv;

	while (to-- > from)
		rl_ring_undo(&vq->ring, &nq->chains[to]);
}

/* Buffers for @need bytes. The number of chains, 0: too few in the ring; or its error. */
static int take_buffers(struct rl_vq *vq, u32 need, u32 *room, unsigned int *nr_bufs)
{
	bool merge = vq->dev->features & BIT_ULL(VIRTIO_NET_F_MRG_RXBUF);
	struct net_queue *nq = vq->priv;
	unsigned int n = 0;
	int r;

	*room = 0;
	*nr_bufs = 0;
	do {
		r = rl_ring_get(&vq->ring, &nq->chains[n], vq->segs + *nr_bufs,
				RL_RING_MAX_SEGS - *nr_bufs);
		if (r > 0 && (nq->chains[n].nr_out || *room + nq->chains[n].in_len < *room))
			r = -EINVAL;
		if (r <= 0) {
			undo_chains(vq, 0, n);
			return r;
		}
		*room += nq->chains[n].in_len;
		*nr_bufs += nq->chains[n].nr_in;
		n++;
	} while (*room < need && merge && n < MAX_CHAINS);
	return n;
}

/* @len bytes are in the chains' buffers: say so to the guest. */
static int give_packet(struct rl_vq *vq, unsigned int nr_chains, u32 len)
{
	struct net_queue *nq = vq->priv;
	const struct rl_buf *b = vq->segs;
	struct rl_vm *vm = vq->dev->vm;
	unsigned int n, used = 0, i;
	u32 left = len, part;
	__virtio16 count;
	int r;

	vq->stat.requests++;
	vq->stat.bytes_read += len - HDR_LEN;
	for (n = 0; n < nr_chains && left; n++) {
		left -= min(left, nq->chains[n].in_len);
		used += nq->chains[n].nr_in;
	}
	undo_chains(vq, n, nr_chains);
	count = (__force __virtio16)cpu_to_le16(n);
	r = rl_bufs_write(vm, b, used, offsetof(struct virtio_net_hdr_mrg_rxbuf, num_buffers),
			  &count, sizeof(count));
	rl_bufs_dirty(vm, b, used, len);
	for (i = 0, left = len; i < n && !r; i++, left -= part) {
		part = min(left, nq->chains[i].in_len);
		r = rl_ring_put(&vq->ring, &nq->chains[i], part);
	}
	return r;
}

/* The packet at the head of the tap's queue. 1: done with it; 0: none taken; or -errno. */
static int receive_packet(struct rl_vq *vq, u32 need)
{
	struct net_queue *nq = vq->priv;
	struct kvec nowhere = { &(u8){ 0 }, 1 };
	struct msghdr msg = {};
	unsigned int nr_bufs;
	int n, r;
	u32 room;

	n = take_buffers(vq, need, &room, &nr_bufs);
	if (n <= 0)
		return n;
	if (room >= need) {
		r = rl_bufs_iov(vq->dev->vm, vq->segs, nr_bufs, true, vq->iov);
		if (r < 0)
			return -EFAULT;
		iov_iter_init(&msg.msg_iter, READ, vq->iov, r, room);
	} else {
		/* It does not fit. An attempt to read less than the header loses it. */
		iov_iter_kvec(&msg.msg_iter, READ, &nowhere, 1, 1);
		room = 1;
	}
	r = nq->sock->ops->recvmsg(nq->sock, &msg, room, MSG_DONTWAIT);
	if (r > (int)HDR_LEN)
		return give_packet(vq, n, r) ?: 1;
	undo_chains(vq, 0, n);
	if (r == -EAGAIN)
		return 1;
	if (r == -EBADFD)
		rl_vdev_backend_gone(vq->dev);
	vq->stat.errors++;
	return r == -EBADFD ? 0 : 1;
}

static int net_receive(struct rl_vq *vq)
{
	struct net_queue *nq = vq->priv;
	int r, len, n;

	WRITE_ONCE(nq->stalled, false);
	r = rl_ring_disable_notify(&vq->ring);
	if (r)
		return r;
	for (n = 0; n < BURST; n++) {
		len = nq->sock->ops->peek_len(nq->sock);
		if (len <= 0)
			break;
		r = receive_packet(vq, len + HDR_LEN);
		if (r < 0)
			return r;
		if (r)
			continue;
		/* No buffers: the guest's notification is the next that counts. */
		r = rl_ring_enable_notify(&vq->ring);
		if (r < 0)
			return r;
		if (!r) {
			WRITE_ONCE(nq->stalled, true);
			break;
		}
		r = rl_ring_disable_notify(&vq->ring);
		if (r)
			return r;
	}
	return rl_vq_flush(vq) ?: n == BURST;
}

static int net_serve(struct rl_vq *vq)
{
	return is_rx(vq) ? net_receive(vq) : net_send(vq);
}

/* The device */

static void net_start(struct rl_vdev *dev)
{
	struct net_queue *nq;
	unsigned int n;

	for (n = 0; n < dev->nr_queues; n++) {
		nq = dev->vq[n].priv;
		nq->stalled = false;
		nq->waiting = dev->vq[n].live;
		if (nq->waiting)
			add_wait_queue(sk_sleep(nq->sock->sk), &nq->wait);
	}
}

static void net_stop(struct rl_vdev *dev)
{
	struct net_queue *nq;
	unsigned int n;

	for (n = 0; n < dev->nr_queues; n++) {
		nq = dev->vq[n].priv;
		if (nq->waiting)
			remove_wait_queue(sk_sleep(nq->sock->sk), &nq->wait);
		nq->waiting = false;
	}
}

static void net_destroy(struct rl_vdev *dev)
{
	struct net_queue *nq;
	unsigned int n;

	for (n = 0; n < dev->nr_queues; n++) {
		nq = dev->vq[n].priv;
		if (nq)
			fput(nq->file);
		kfree(nq);
	}
}

/*
 * The socket of a tap's descriptor, or an error. tun.ko and tap.ko are looked for,
 * not linked to: a host without them can have VMs. An open descriptor keeps its
 * module loaded.
 */
static struct socket *net_socket(struct file *file)
{
	struct socket *sock = ERR_PTR(-EINVAL);
	typeof(&tun_get_socket) tun = symbol_get(tun_get_socket);
	typeof(&tap_get_socket) tap;

	if (tun) {
		sock = tun(file);
		symbol_put(tun_get_socket);
	}
	if (!IS_ERR(sock))
		return sock;
	tap = symbol_get(tap_get_socket);
	if (tap) {
		sock = tap(file);
		symbol_put(tap_get_socket);
	}
	return sock;
}

static int net_open(struct rl_vq *vq, int fd)
{
	struct net_queue *nq;
	int r;

	nq = kzalloc(sizeof(*nq), GFP_KERNEL_ACCOUNT);
	if (!nq)
		return -ENOMEM;
	r = -EBADF;
	nq->file = fget(fd);
	if (!nq->file)
		goto err_free;
	nq->sock = net_socket(nq->file);
	r = -EINVAL;
	if (IS_ERR(nq->sock) || !nq->sock->ops->peek_len)
		goto err_put;
	nq->vq = vq;
	init_waitqueue_func_entry(&nq->wait, net_wake);
	vq->priv = nq;
	return 0;

err_put:
	fput(nq->file);
err_free:
	kfree(nq);
	return r;
}

static int net_create(struct rl_vdev *dev, const struct ringlet_create_device *args)
{
	unsigned int n;
	int r = 0;

	if (args->flags || args->nr_queues != 2 * args->nr_backends || args->blk_sectors ||
	    memchr_inv(args->blk_id, 0, sizeof(args->blk_id)))
		return -EINVAL;
	for (n = 0; n < dev->nr_queues && !r; n++)
		r = net_open(&dev->vq[n], args->backend[n / 2]);
	if (r)
		net_destroy(dev);
	return r;
}

const struct rl_vdev_ops rl_net_ops = {
	.features = RL_VIRTIO_FEATURES | BIT_ULL(VIRTIO_NET_F_CSUM) |
		    BIT_ULL(VIRTIO_NET_F_GUEST_CSUM) | BIT_ULL(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) |
		    BIT_ULL(VIRTIO_NET_F_MTU) | BIT_ULL(VIRTIO_NET_F_MAC) |
		    BIT_ULL(VIRTIO_NET_F_GUEST_TSO4) | BIT_ULL(VIRTIO_NET_F_GUEST_TSO6) |
		    BIT_ULL(VIRTIO_NET_F_GUEST_ECN) | BIT_ULL(VIRTIO_NET_F_GUEST_UFO) |
		    BIT_ULL(VIRTIO_NET_F_HOST_TSO4) | BIT_ULL(VIRTIO_NET_F_HOST_TSO6) |
		    BIT_ULL(VIRTIO_NET_F_HOST_ECN) | BIT_ULL(VIRTIO_NET_F_HOST_UFO) |
		    BIT_ULL(VIRTIO_NET_F_MRG_RXBUF) | BIT_ULL(VIRTIO_NET_F_STATUS) |
		    BIT_ULL(VIRTIO_NET_F_CTRL_VQ) | BIT_ULL(VIRTIO_NET_F_CTRL_RX) |
		    BIT_ULL(VIRTIO_NET_F_CTRL_VLAN) | BIT_ULL(VIRTIO_NET_F_GUEST_ANNOUNCE) |
		    BIT_ULL(VIRTIO_NET_F_MQ) | BIT_ULL(VIRTIO_NET_F_CTRL_MAC_ADDR) |
		    BIT_ULL(VIRTIO_NET_F_SPEED_DUPLEX),
	.create = net_create,
	.destroy = net_destroy,
	.start = net_start,
	.stop = net_stop,
	.serve = net_serve,
};
