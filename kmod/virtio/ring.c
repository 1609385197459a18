// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtqueues from the device's side, split and packed.
 *
 * Owns:    struct rl_ring, once its owner has filled in the first part.
 * Touches: the rings, in guest memory.
 * Locks:   the queue's owner has its lock; in the kernel, vm->srcu is held from
 *          rl_ring_begin() to the last call.
 *
 * The driver is not trusted: an index, a length, a flag is read from guest memory
 * once and judged here, and what is handed out is bounded. A broken rule is an
 * error, after which the ring is not to be used before rl_ring_reset(): -EINVAL,
 * -ELOOP (more buffers than a chain may have), -EFAULT (not in the VM's memory).
 *
 * Spec: Virtual I/O Device (VIRTIO) 1.2, "Split Virtqueues", "Packed Virtqueues".
 */
#include <linux/virtio_ring.h>

#include "ring_mem.h"

enum { DESC, DRIVER, DEVICE };		/* areas */

/* Available and used ring: flags, idx, ring[size], event index of the other side. */
#define RING_IDX		2
#define RING_ELEMS		4
#define AVAIL_EVENT(r)		(RING_ELEMS + 8 * (r)->size)	/* in the used ring */
#define USED_EVENT(r)		(RING_ELEMS + 2 * (r)->size)	/* in the available ring */

/* Packed: event suppression structures */
#define EVENT_OFF_WRAP		0
#define EVENT_FLAGS		2

#define PACKED_ID		12	/* in a descriptor */
#define PACKED_FLAGS		14
#define PACKED_AVAIL		(1u << VRING_PACKED_DESC_F_AVAIL)
#define PACKED_USED		(1u << VRING_PACKED_DESC_F_USED)

#define DESC_SIZE		16

/* Both kinds of descriptor; @tail is next (split) or id (packed). */
struct desc {
	u64 addr;
	u32 len;
	u16 flags, tail;
};

static inline void __user *at(const struct rl_area *a, u32 off)
{
	return (char __user *)a->ptr + off;
}

static int store16(struct rl_ring *r, int area, u32 off, u16 val)
{
	int err = ring_store(at(&r->area[area], off), val);

	ring_dirty(&r->area[area], off);
	return err;
}

static int store32(struct rl_ring *r, int area, u32 off, u32 val)
{
	int err = ring_store(at(&r->area[area], off), val);

	ring_dirty(&r->area[area], off);
	return err;
}

static int load_desc(const struct rl_ring *r, const struct rl_area *table, u32 i, struct desc *d)
{
	char __user *p = at(table, i * DESC_SIZE);
	u64 rest;

	if (ring_load(p, &d->addr) || ring_load(p + 8, &rest))
		return -EFAULT;
	d->len = rest;
	d->flags = rest >> (r->packed ? 48 : 32);
	d->tail = rest >> (r->packed ? 32 : 48);
	return 0;
}

/**
 * rl_ring_reset() - A new queue: nothing taken, nothing given back
 * @r: the ring
 */
void rl_ring_reset(struct rl_ring *r)
{
	r->gen = 0;
	r->avail_idx = 0;
	r->used_idx = 0;
	r->avail_seen = 0;
	r->in_flight = 0;
	r->seq = 0;
	r->done_seq = 0;
	r->unsignalled = 0;
	r->avail_wrap = r->packed;
	r->used_wrap = r->packed;
	/* What is there was written by somebody else, or before. */
	r->notify_off = true;
}

/**
 * rl_ring_begin() - Look where the ring is, before other calls
 * @r: the ring
 *
 * Return: 0 or -EFAULT.
 */
int rl_ring_begin(struct rl_ring *r)
{
	u64 gen = rl_ring_gen(r->vm);
	u32 event = r->event_idx ? 2 : 0;

	if (likely(r->gen == gen))
		return 0;
	r->gen = 0;
	if (rl_ring_map(r->vm, r->gpa[DESC], r->size * DESC_SIZE, r->packed, &r->area[DESC]) ||
	    rl_ring_map(r->vm, r->gpa[DRIVER], r->packed ? 4 : USED_EVENT(r) + event, false,
			&r->area[DRIVER]) ||
	    rl_ring_map(r->vm, r->gpa[DEVICE], r->packed ? 4 : AVAIL_EVENT(r) + event, true,
			&r->area[DEVICE]))
		return -EFAULT;
	r->gen = gen;
	return 0;
}

/* A walk along one chain. */
struct walk {
	struct rl_chain *c;
	struct rl_buf *segs;
	unsigned int max, n;
};

static int add_seg(struct walk *w, const struct desc *d)
{
	u32 *total = &w->c->out_len;

	if (d->flags & VRING_DESC_F_WRITE) {
		total = &w->c->in_len;
		w->c->nr_in += !!d->len;
	} else {
		/* What the device reads comes first. */
		if (w->c->nr_in)
			return -EINVAL;
		w->c->nr_out += !!d->len;
	}
	if (!d->len)
		return 0;
	if (w->n == w->max)
		return -ELOOP;
	if (d->addr + d->len < d->addr || *total + d->len < *total)
		return -EINVAL;
	*total += d->len;
	w->segs[w->n].gpa = d->addr;
	w->segs[w->n++].len = d->len;
	return 0;
}

/* The table that @d is about, or an error. */
static int indirect_table(struct rl_ring *r, const struct desc *d, struct rl_area *table)
{
	if (!r->indirect || !d->len || d->len % DESC_SIZE || d->flags & VRING_DESC_F_NEXT)
		return -EINVAL;
	if (d->len / DESC_SIZE > RL_RING_MAX_SEGS)
		return -ELOOP;
	return rl_ring_map(r->vm, d->addr, d->len, false, table);
}

static int walk_split(struct rl_ring *r, u16 head, struct walk *w)
{
	struct rl_area table = r->area[DESC];
	u32 n = r->size, i = head, steps = 0;
	bool nested = false;
	struct desc d;
	int err;

	for (;;) {
		if (i >= n)
			return -EINVAL;
		/* More steps than descriptors: a loop. */
		if (steps++ == n)
			return -ELOOP;
		err = load_desc(r, &table, array_index_nospec(i, n), &d);
		if (err)
			return err;
		if (d.flags & VRING_DESC_F_INDIRECT) {
			err = nested ? -EINVAL : indirect_table(r, &d, &table);
			if (err)
				return err;
			nested = true;
			n = d.len / DESC_SIZE;
			i = 0;
			steps = 0;
			continue;
		}
		err = add_seg(w, &d);
		if (err || !(d.flags & VRING_DESC_F_NEXT))
			return err;
		i = d.tail;
	}
}

/* 1: the driver has put something there; 0: not; -EFAULT. */
static int split_look(struct rl_ring *r)
{
	if (r->avail_seen != r->avail_idx)
		return 1;
	if (ring_load(at(&r->area[DRIVER], RING_IDX), &r->avail_seen))
		return -EFAULT;
	if (r->avail_seen == r->avail_idx)
		return 0;
	/* No more than fit, with those still being worked on. */
	if ((u16)(r->avail_seen - r->avail_idx) + r->in_flight > r->size)
		return -EINVAL;
	/* Pairs with the driver's barrier: the index is read before what it announces. */
	smp_rmb();
	return 1;
}

static int get_split(struct rl_ring *r, struct walk *w)
{
	u32 slot = r->avail_idx & (r->size - 1);
	int err;

	err = split_look(r);
	if (err <= 0)
		return err;
	if (ring_load(at(&r->area[DRIVER], RING_ELEMS + 2 * slot), &w->c->id))
		return -EFAULT;
	w->c->ndescs = 1;
	return walk_split(r, w->c->id, w) ?: 1;
}

static int packed_look(struct rl_ring *r)
{
	u16 flags;

	if (ring_load(at(&r->area[DESC], r->avail_idx * DESC_SIZE + PACKED_FLAGS), &flags))
		return -EFAULT;
	if (!(flags & PACKED_AVAIL) == r->avail_wrap || !(flags & PACKED_USED) != r->avail_wrap)
		return 0;
	/* Pairs with the driver's barrier: the flags are read before the rest. */
	smp_rmb();
	return 1;
}

static int walk_packed_table(struct rl_ring *r, const struct desc *d, struct walk *w)
{
	struct rl_area table;
	struct desc item;
	u32 i;
	int err;

	err = indirect_table(r, d, &table);
	for (i = 0; !err && i < d->len / DESC_SIZE; i++) {
		err = load_desc(r, &table, i, &item);
		if (!err)
			err = item.flags & VRING_DESC_F_INDIRECT ? -EINVAL : add_seg(w, &item);
	}
	return err;
}

static int get_packed(struct rl_ring *r, struct walk *w)
{
	u32 i = r->avail_idx;
	struct desc d;
	int err;

	err = packed_look(r);
	if (err <= 0)
		return err;
	do {
		if (w->c->ndescs + r->in_flight >= r->size)
			return -ELOOP;
		err = load_desc(r, &r->area[DESC], i, &d);
		if (err)
			return err;
		if (!(d.flags & VRING_DESC_F_INDIRECT))
			err = add_seg(w, &d);
		else
			err = w->c->ndescs ? -EINVAL : walk_packed_table(r, &d, w);
		if (err)
			return err;
		w->c->ndescs++;
		i = i + 1 == r->size ? 0 : i + 1;
	} while (d.flags & VRING_DESC_F_NEXT);
	w->c->id = d.tail;
	return 1;
}

/* @n steps on, in a packed ring with another lap after its end. */
static void advance(const struct rl_ring *r, u16 *idx, bool *wrap, u16 n)
{
	*idx += n;
	if (r->packed && *idx >= r->size) {
		*idx -= r->size;
		*wrap = !*wrap;
	}
}

/**
 * rl_ring_get() - Take the next chain
 * @r:	  the ring
 * @c:	  filled in
 * @segs: its buffers
 * @max:  room in @segs
 *
 * Return: 1, 0 when there is none, -EINVAL, -ELOOP (also: @max too small),
 * -EFAULT. Unless 1, nothing is taken.
 */
int rl_ring_get(struct rl_ring *r, struct rl_chain *c, struct rl_buf *segs, unsigned int max)
{
	struct walk w = { .c = c, .segs = segs, .max = max };
	int err;

	*c = (struct rl_chain){ .seq = r->seq };
	err = r->packed ? get_packed(r, &w) : get_split(r, &w);
	if (err <= 0)
		return err;
	advance(r, &r->avail_idx, &r->avail_wrap, c->ndescs);
	r->in_flight += c->ndescs;
	if (r->order)
		r->order[c->seq].done = false;
	r->seq = r->seq + 1 == r->size ? 0 : r->seq + 1;
	return 1;
}

/**
 * rl_ring_undo() - Put back the chain that was taken last
 * @r: the ring
 * @c: the chain; its buffers are forgotten
 */
void rl_ring_undo(struct rl_ring *r, const struct rl_chain *c)
{
	if (r->packed && r->avail_idx < c->ndescs) {
		r->avail_idx += r->size;
		r->avail_wrap = !r->avail_wrap;
	}
	r->avail_idx -= c->ndescs;
	r->in_flight -= c->ndescs;
	r->seq = c->seq;
}

static int put_one(struct rl_ring *r, u16 id, u16 ndescs, u32 len)
{
	u32 off;
	u16 flags;
	int err;

	if (r->packed) {
		off = r->used_idx * DESC_SIZE;
		flags = r->used_wrap ? PACKED_AVAIL | PACKED_USED : 0;
		flags |= len ? VRING_DESC_F_WRITE : 0;
		err = store32(r, DESC, off + 8, len) ?: store16(r, DESC, off + PACKED_ID, id);
		/* The first of several shows them all, and waits for rl_ring_flush(). */
		if (!r->unsignalled) {
			r->first_used = r->used_idx;
			r->first_flags = flags;
		} else {
			err = err ?: store16(r, DESC, off + PACKED_FLAGS, flags);
		}
	} else {
		off = RING_ELEMS + 8 * (r->used_idx & (r->size - 1));
		err = store32(r, DEVICE, off, id) ?: store32(r, DEVICE, off + 4, len);
	}
	advance(r, &r->used_idx, &r->used_wrap, ndescs);
	r->in_flight -= ndescs;
	r->unsignalled += ndescs;
	return err;
}

/**
 * rl_ring_put() - Give a chain back, done
 * @r:	 the ring
 * @c:	 the chain
 * @len: bytes written to it
 *
 * The driver sees it after rl_ring_flush(), with all others that were put before.
 * Return: 0 or -EFAULT.
 */
int rl_ring_put(struct rl_ring *r, const struct rl_chain *c, u32 len)
{
	struct rl_done *d;
	int err = 0;

	if (!r->order)
		return put_one(r, c->id, c->ndescs, len);
	d = &r->order[c->seq];
	*d = (struct rl_done){ c->id, c->ndescs, len, true };
	while (!err && r->in_flight && r->order[r->done_seq].done) {
		d = &r->order[r->done_seq];
		d->done = false;
		err = put_one(r, d->id, d->ndescs, d->len);
		r->done_seq = r->done_seq + 1 == r->size ? 0 : r->done_seq + 1;
	}
	return err;
}

/* Does a step of @n to the used index @now cross @event? All modulo 2^16. */
static bool crossed(u16 event, u16 now, u16 n)
{
	return (u16)(now - event - 1) < n;
}

static int wants_irq_packed(struct rl_ring *r, u16 n)
{
	u16 flags, event;
	bool wrap;

	if (ring_load(at(&r->area[DRIVER], EVENT_FLAGS), &flags))
		return -EFAULT;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !r->event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	/* The driver wrote the offset before the flags. */
	smp_rmb();
	if (ring_load(at(&r->area[DRIVER], EVENT_OFF_WRAP), &event))
		return -EFAULT;
	wrap = event >> VRING_PACKED_EVENT_F_WRAP_CTR;
	event &= ~(1 << VRING_PACKED_EVENT_F_WRAP_CTR);
	if (wrap != r->used_wrap)
		event -= r->size;
	return crossed(event, r->used_idx, n);
}

/**
 * rl_ring_flush() - Show the driver what was put, and see whether it wants to be told
 * @r: the ring
 *
 * Return: 1 to interrupt, 0 not to, -EFAULT.
 */
int rl_ring_flush(struct rl_ring *r)
{
	u16 n = r->unsignalled, val;

	if (!n)
		return 0;
	r->unsignalled = 0;
	/* Pairs with the driver's: what it reads first says that the rest is there. */
	smp_wmb();
	if (r->packed ? store16(r, DESC, r->first_used * DESC_SIZE + PACKED_FLAGS, r->first_flags) :
			store16(r, DEVICE, RING_IDX, r->used_idx))
		return -EFAULT;
	/*
	 * Pairs with the driver's when it asks for interrupts and then looks at
	 * the ring again: either it sees what was put, or its wish is seen here.
	 */
	smp_mb();
	if (r->packed)
		return wants_irq_packed(r, n);
	if (ring_load(at(&r->area[DRIVER], r->event_idx ? USED_EVENT(r) : 0), &val))
		return -EFAULT;
	return r->event_idx ? crossed(val, r->used_idx, n) : !(val & VRING_AVAIL_F_NO_INTERRUPT);
}

/**
 * rl_ring_enable_notify() - Have the driver tell when there is more
 * @r: the ring
 *
 * Return: 1 when there is more already, 0, or an error as rl_ring_get()'s.
 */
int rl_ring_enable_notify(struct rl_ring *r)
{
	int err = 0;
	u16 val;

	if (r->packed) {
		if (r->event_idx) {
			val = r->avail_idx | r->avail_wrap << VRING_PACKED_EVENT_F_WRAP_CTR;
			err = store16(r, DEVICE, EVENT_OFF_WRAP, val);
			/* The driver reads the flags first. */
			smp_wmb();
		}
		if (r->event_idx || r->notify_off)
			err = err ?: store16(r, DEVICE, EVENT_FLAGS, r->event_idx ?
					     VRING_PACKED_EVENT_FLAG_DESC :
					     VRING_PACKED_EVENT_FLAG_ENABLE);
	} else if (r->event_idx) {
		err = store16(r, DEVICE, AVAIL_EVENT(r), r->avail_idx);
	} else if (r->notify_off) {
		err = store16(r, DEVICE, 0, 0);
	}
	if (err)
		return err;
	r->notify_off = false;
	/* Pairs with the driver's: it adds and then looks at what was stored here. */
	smp_mb();
	return r->packed ? packed_look(r) : split_look(r);
}

/**
 * rl_ring_disable_notify() - The queue is being looked at: the driver need not tell
 * @r: the ring
 *
 * Return: 0 or -EFAULT.
 */
int rl_ring_disable_notify(struct rl_ring *r)
{
	/* With event indexes of a split ring, the one that has passed says so. */
	if (r->notify_off || (r->event_idx && !r->packed))
		return 0;
	r->notify_off = true;
	if (r->packed)
		return store16(r, DEVICE, EVENT_FLAGS, VRING_PACKED_EVENT_FLAG_DISABLE);
	return store16(r, DEVICE, 0, VRING_USED_F_NO_NOTIFY);
}
