/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The device side of a virtqueue: take chains of buffers, give them back. Split
 * and packed rings look the same from here. Builds in user space as well.
 */
#ifndef RL_RING_H
#define RL_RING_H

#include <linux/types.h>

#ifdef __KERNEL__
#include "../types.h"
#else
#define __user
struct rl_vm;
struct rl_memslot;
#endif

/* Buffers of one chain; Linux makes none with more, whatever the queue's size. */
#define RL_RING_MAX_SEGS	1024

/* Guest memory that a ring lies in, as mapped by rl_ring_map(). */
struct rl_area {
	void __user *ptr;
	const struct rl_memslot *slot;
	u64 gpa;
};

/* One buffer, never empty and never past the end of the address space. */
struct rl_buf {
	u64 gpa;
	u32 len;
};

/**
 * struct rl_chain - A request: buffers to read from, then buffers to write to
 * @id:	     the driver's name for it
 * @ndescs:  packed: descriptors of the ring that it took
 * @seq:     position in the order of arrival, modulo the queue's size
 * @nr_out:  buffers to read, first in the array
 * @nr_in:   buffers to write, behind them
 * @out_len: bytes in all buffers to read
 * @in_len:  bytes in all buffers to write
 */
struct rl_chain {
	u16 id, ndescs, seq;
	u16 nr_out, nr_in;
	u32 out_len, in_len;
};

/* Answered out of order with VIRTIO_F_IN_ORDER: waits for those before it. */
struct rl_done {
	u16 id, ndescs;
	u32 len;
	bool done;
};

/* All under the owner's lock. The first part is set up by the owner. */
struct rl_ring {
	struct rl_vm *vm;
	u16 size;
	bool packed, event_idx, indirect;
	struct rl_done *order;		/* [size], or NULL without VIRTIO_F_IN_ORDER */
	u64 gpa[3];			/* descriptors, driver's area, device's area */

	struct rl_area area[3];
	u64 gen;			/* of the memory slots that area[] comes from; 0: none */
	u16 avail_idx, used_idx;	/* next to take, next to give back */
	u16 avail_seen;			/* split: available index as last read */
	u16 in_flight;			/* split: chains, packed: descriptors */
	u16 seq, done_seq;
	u16 unsignalled;		/* steps of used_idx since the last rl_ring_flush() */
	u16 first_used, first_flags;	/* packed: the first of those, not shown yet */
	bool avail_wrap, used_wrap;
	bool notify_off;
};

void rl_ring_reset(struct rl_ring *r);
int rl_ring_begin(struct rl_ring *r);
int rl_ring_get(struct rl_ring *r, struct rl_chain *c, struct rl_buf *segs, unsigned int max);
void rl_ring_undo(struct rl_ring *r, const struct rl_chain *c);
int rl_ring_put(struct rl_ring *r, const struct rl_chain *c, u32 len);
int rl_ring_flush(struct rl_ring *r);
int rl_ring_enable_notify(struct rl_ring *r);
int rl_ring_disable_notify(struct rl_ring *r);

/*
 * Outside: where @len bytes of guest memory at @gpa are, all in one slot.
 * 0 or -EFAULT. What it answers is good until rl_ring_gen() changes.
 */
int rl_ring_map(struct rl_vm *vm, u64 gpa, u64 len, bool write, struct rl_area *area);
u64 rl_ring_gen(struct rl_vm *vm);

#endif
