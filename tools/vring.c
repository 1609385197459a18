// SPDX-License-Identifier: GPL-2.0
/*
 * Rings that this program serves: kmod/virtio/ring.c, built in user space, with
 * buffers as pointers to guest memory.
 *
 * Owns:    struct vring.
 * Touches: guest memory, where the guest said that the ring is.
 * Locks:   none: one thread serves a ring.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio.h"

/* For ring.c: memory slots never change here, and the VM is ours. */
int rl_ring_map(struct rl_vm *vm, u64 gpa, u64 len, bool write, struct rl_area *area)
{
	area->ptr = guest_ptr((struct vm *)vm, gpa, len);
	area->gpa = gpa;
	return area->ptr ? 0 : -EFAULT;
}

u64 rl_ring_gen(struct rl_vm *vm)
{
	return 1;
}

/**
 * vring_start() - Begin with a ring that is empty or filled by the guest already
 *
 * Return: false when it is not all in guest memory.
 */
bool vring_start(struct virtio_queue *q)
{
	struct virtio_dev *dev = q->dev;

	q->ring = (struct rl_ring){
		.vm = (struct rl_vm *)dev->pci.vm,
		.size = q->size,
		.packed = virtio_has(dev, VIRTIO_F_RING_PACKED),
		.event_idx = virtio_has(dev, VIRTIO_RING_F_EVENT_IDX),
		.indirect = virtio_has(dev, VIRTIO_RING_F_INDIRECT_DESC),
		.order = virtio_has(dev, VIRTIO_F_IN_ORDER) ? q->order : NULL,
		.gpa = { q->desc, q->driver, q->device },
	};
	rl_ring_reset(&q->ring);
	return !rl_ring_begin(&q->ring);
}

/**
 * vring_pop() - Take the next chain
 *
 * Return: 1, 0 when there is none, -1 when the guest has broken the ring's rules.
 */
int vring_pop(struct virtio_queue *q, struct chain *chain)
{
	struct rl_buf segs[CHAIN_BUFFERS];
	int got = rl_ring_get(&q->ring, &chain->c, segs, CHAIN_BUFFERS);

	if (got <= 0)
		return got;
	chain->out = chain->iov;
	chain->nout = chain->c.nr_out;
	chain->in = chain->iov + chain->nout;
	chain->nin = chain->c.nr_in;
	for (unsigned int i = 0; i < chain->nout + chain->nin; i++) {
		void *p = guest_ptr(q->dev->pci.vm, segs[i].gpa, segs[i].len);

		if (!p)
			return -1;
		chain->iov[i] = (struct iovec){ p, segs[i].len };
	}
	return 1;
}

/** vring_unpop() - Put back the chain that was taken last */
void vring_unpop(struct virtio_queue *q, const struct chain *chain)
{
	rl_ring_undo(&q->ring, &chain->c);
}

/** vring_push() - Answer a chain; the guest sees it after vring_flush() */
void vring_push(struct virtio_queue *q, const struct rl_chain *chain, uint32_t written)
{
	rl_ring_put(&q->ring, chain, written);
}

/** vring_flush() - Show the guest what was answered, and interrupt it if it wants that */
void vring_flush(struct virtio_queue *q)
{
	if (rl_ring_flush(&q->ring) > 0)
		virtio_interrupt(q->dev, q->vector, ISR_QUEUE);
}

/**
 * vring_listen() - Have the guest ring the bell for the next chain
 *
 * Return: 1 when one has come meanwhile, for which the bell may stay silent, 0, or -1
 * as vring_pop().
 */
int vring_listen(struct virtio_queue *q)
{
	return rl_ring_enable_notify(&q->ring);
}

/** vring_next() - As vring_pop(); after 0 the guest rings the bell for the next chain */
int vring_next(struct virtio_queue *q, struct chain *chain)
{
	int got;

	do {
		got = vring_pop(q, chain);
	} while (!got && (got = vring_listen(q)) > 0);
	return got;
}

/**
 * vring_serve() - Work through a queue until it is empty
 * @fn: answers a chain with vring_push(), or returns -1 for one that is malformed
 *
 * Return: 0, or -1 when the ring is broken.
 */
int vring_serve(struct virtio_queue *q, int (*fn)(struct virtio_queue *q, struct chain *chain))
{
	struct chain chain;
	int got;

	do {
		while ((got = vring_pop(q, &chain)) > 0) {
			if (fn(q, &chain))
				return -1;
			vring_flush(q);
			if (atomic_load(&q->dev->stopping))
				return 0;
		}
		if (!got)
			got = vring_listen(q);
	} while (got > 0);
	return got;
}

/* Copy between a flat buffer and pieces of guest memory, after @skip bytes of these. */
static size_t copy(const struct iovec *iov, unsigned int count, size_t skip, void *flat,
		   size_t len, bool to_iov)
{
	size_t done = 0;

	for (unsigned int i = 0; i < count && done < len; i++) {
		size_t room = iov[i].iov_len, n;
		uint8_t *piece = iov[i].iov_base;

		if (skip >= room) {
			skip -= room;
			continue;
		}
		n = room - skip < len - done ? room - skip : len - done;
		if (to_iov)
			memcpy(piece + skip, (uint8_t *)flat + done, n);
		else
			memcpy((uint8_t *)flat + done, piece + skip, n);
		skip = 0;
		done += n;
	}
	return done;
}

/** iov_read() - Copy out of pieces; returns how much there was */
size_t iov_read(const struct iovec *iov, unsigned int count, size_t skip, void *to, size_t len)
{
	return copy(iov, count, skip, to, len, false);
}

/** iov_write() - Copy into pieces; returns how much fitted */
size_t iov_write(const struct iovec *iov, unsigned int count, size_t skip, const void *from,
		 size_t len)
{
	return copy(iov, count, skip, (void *)from, len, true);
}

/** iov_skip() - Leave out the first so many bytes */
void iov_skip(struct iovec **iov, unsigned int *count, size_t bytes)
{
	while (*count && bytes >= (*iov)->iov_len) {
		bytes -= (*iov)->iov_len;
		++*iov;
		--*count;
	}
	if (*count) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + bytes;
		(*iov)->iov_len -= bytes;
	}
}
