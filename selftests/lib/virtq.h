/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The driver's side of a virtqueue, for guests, for hosts that play the guest,
 * and for unit tests. Includers have u8 to u64 already.
 *
 * Memory: guest physical address 0 is at @mem; a queue's three areas lie behind
 * each other at a multiple of 16 (VIRTQ_BYTES). Tests may reach into everything.
 */
#ifndef RL_VIRTQ_H
#define RL_VIRTQ_H

#include <linux/virtio_ring.h>

#define VIRTQ_MAX	256
#define VIRTQ_BYTES	0x2000

struct virtq_buf {
	u64 gpa;
	u32 len;
};

struct virtq {
	u8 *mem;
	u64 desc, driver, device;	/* guest physical */
	u16 size;
	u8 packed, event_idx;
	u16 avail_idx, used_idx;
	u8 avail_wrap, used_wrap;
	u16 unkicked;			/* steps of avail_idx since the last virtq_publish() */
	u16 nr_free, free[VIRTQ_MAX];	/* descriptors (split), names of buffers (packed) */
	u16 room;			/* packed: descriptors left */
	u16 ndescs[VIRTQ_MAX];		/* of the chain that begins at, or is called, i */
};

#define VIRTQ_P(q, gpa, type)	((volatile type *)((q)->mem + (gpa)))
#define virtq_desc(q)		VIRTQ_P(q, (q)->desc, struct vring_desc)
#define virtq_pdesc(q)		VIRTQ_P(q, (q)->desc, struct vring_packed_desc)
#define virtq_avail(q)		VIRTQ_P(q, (q)->driver, u16)	/* flags, idx, ring[] */
#define virtq_used_hdr(q)	VIRTQ_P(q, (q)->device, u16)	/* flags, idx */
#define virtq_used_ring(q)	VIRTQ_P(q, (q)->device + 4, struct vring_used_elem)
#define virtq_fence()		__sync_synchronize()

static inline void virtq_init(struct virtq *q, void *mem, u64 gpa, u16 size, int packed,
			      int event_idx)
{
	u64 ring = gpa + 16 * size;

	for (u32 i = 0; i < VIRTQ_BYTES; i++)
		((volatile u8 *)mem)[gpa + i] = 0;
	q->mem = (u8 *)mem;
	q->size = size;
	q->packed = packed;
	q->event_idx = event_idx;
	q->desc = gpa;
	q->driver = ring;
	q->device = (ring + 6 + 2 * size + 15) & ~15ull;
	q->avail_idx = 0;
	q->used_idx = 0;
	q->unkicked = 0;
	q->avail_wrap = 1;
	q->used_wrap = 1;
	q->room = size;
	q->nr_free = size;
	for (u16 i = 0; i < size; i++)
		q->free[i] = size - 1 - i;
}

/* A table of descriptors for an indirect buffer. */
static inline void virtq_table(struct virtq *q, u64 gpa, const struct virtq_buf *b, int nr_out,
			       int nr_in)
{
	for (int i = 0; i < nr_out + nr_in; i++) {
		u16 flags = (i >= nr_out ? VRING_DESC_F_WRITE : 0) |
			    (!q->packed && i + 1 < nr_out + nr_in ? VRING_DESC_F_NEXT : 0);

		if (q->packed) {
			VIRTQ_P(q, gpa, struct vring_packed_desc)[i].addr = b[i].gpa;
			VIRTQ_P(q, gpa, struct vring_packed_desc)[i].len = b[i].len;
			VIRTQ_P(q, gpa, struct vring_packed_desc)[i].id = 0;
			VIRTQ_P(q, gpa, struct vring_packed_desc)[i].flags = flags;
		} else {
			VIRTQ_P(q, gpa, struct vring_desc)[i].addr = b[i].gpa;
			VIRTQ_P(q, gpa, struct vring_desc)[i].len = b[i].len;
			VIRTQ_P(q, gpa, struct vring_desc)[i].flags = flags;
			VIRTQ_P(q, gpa, struct vring_desc)[i].next = i + 1;
		}
	}
}

static inline int virtq_add_split(struct virtq *q, const struct virtq_buf *b, int n, int nr_out,
				  u16 extra)
{
	u16 head = q->free[q->nr_free - 1], i = head;

	for (int k = 0; k < n; k++) {
		volatile struct vring_desc *d = &virtq_desc(q)[i];

		q->nr_free--;
		d->addr = b[k].gpa;
		d->len = b[k].len;
		d->flags = extra | (k >= nr_out ? VRING_DESC_F_WRITE : 0) |
			   (k + 1 < n ? VRING_DESC_F_NEXT : 0);
		if (k + 1 < n)
			i = q->free[q->nr_free - 1];
		d->next = i;
	}
	q->ndescs[head] = n;
	virtq_avail(q)[2 + q->avail_idx % q->size] = head;
	q->avail_idx++;
	q->unkicked++;
	return head;
}

static inline int virtq_add_packed(struct virtq *q, const struct virtq_buf *b, int n, int nr_out,
				   u16 extra)
{
	u16 id = q->free[--q->nr_free], first = q->avail_idx, first_flags = 0;

	for (int k = 0; k < n; k++) {
		volatile struct vring_packed_desc *d = &virtq_pdesc(q)[q->avail_idx];
		u16 flags = extra | (k >= nr_out ? VRING_DESC_F_WRITE : 0) |
			    (k + 1 < n ? VRING_DESC_F_NEXT : 0) |
			    (q->avail_wrap ? 1 << VRING_PACKED_DESC_F_AVAIL
					   : 1 << VRING_PACKED_DESC_F_USED);

		d->addr = b[k].gpa;
		d->len = b[k].len;
		d->id = id;
		if (k)
			d->flags = flags;
		else
			first_flags = flags;
		if (++q->avail_idx == q->size) {
			q->avail_idx = 0;
			q->avail_wrap ^= 1;
		}
	}
	q->ndescs[id] = n;
	q->room -= n;
	q->unkicked += n;
	virtq_fence();
	virtq_pdesc(q)[first].flags = first_flags;
	return id;
}

/*
 * Make a chain; with @table (guest physical) an indirect one. Answers what
 * virtq_used() will call it, or -1 when there is no room.
 */
static inline int virtq_add(struct virtq *q, const struct virtq_buf *b, int nr_out, int nr_in,
			    u64 table)
{
	struct virtq_buf indirect = { table, 16 * (nr_out + nr_in) };
	int n = table ? 1 : nr_out + nr_in;

	if (q->packed ? q->room < n || !q->nr_free : q->nr_free < n)
		return -1;
	if (table) {
		virtq_table(q, table, b, nr_out, nr_in);
		b = &indirect;
		nr_out = 1;
	}
	return (q->packed ? virtq_add_packed : virtq_add_split)(
		q, b, n, nr_out, table ? VRING_DESC_F_INDIRECT : 0);
}

/* Show the device what was added; answers whether it wants to be notified. */
static inline int virtq_publish(struct virtq *q)
{
	u16 n = q->unkicked, event, flags;

	q->unkicked = 0;
	virtq_fence();
	if (!q->packed)
		virtq_avail(q)[1] = q->avail_idx;
	virtq_fence();
	flags = VIRTQ_P(q, q->device, u16)[q->packed];
	if (!q->event_idx || (q->packed && flags != VRING_PACKED_EVENT_FLAG_DESC))
		return n && flags != 1;
	if (q->packed) {
		event = VIRTQ_P(q, q->device, u16)[0];
		if (event >> 15 == q->avail_wrap)
			event &= 0x7fff;
		else
			event = (event & 0x7fff) - q->size;
	} else {
		event = *VIRTQ_P(q, q->device + 4 + 8 * q->size, u16);
	}
	return (u16)(q->avail_idx - event - 1) < n;
}

/* Is there something to take back? */
static inline int virtq_pending(struct virtq *q)
{
	u16 flags;

	if (!q->packed)
		return virtq_used_hdr(q)[1] != q->used_idx;
	flags = virtq_pdesc(q)[q->used_idx].flags;
	return (flags >> VRING_PACKED_DESC_F_AVAIL & 1) == q->used_wrap &&
	       (flags >> VRING_PACKED_DESC_F_USED & 1) == q->used_wrap;
}

/* Take a chain back: its name, or -1 when none is done. */
static inline int virtq_used(struct virtq *q, u32 *len)
{
	u16 id, i;

	if (!virtq_pending(q))
		return -1;
	virtq_fence();
	if (q->packed) {
		id = virtq_pdesc(q)[q->used_idx].id;
		*len = virtq_pdesc(q)[q->used_idx].len;
		if (id >= q->size)
			return -2;
		q->room += q->ndescs[id];
		q->used_idx += q->ndescs[id];
		if (q->used_idx >= q->size) {
			q->used_idx -= q->size;
			q->used_wrap ^= 1;
		}
		q->free[q->nr_free++] = id;
		return id;
	}
	id = virtq_used_ring(q)[q->used_idx % q->size].id;
	*len = virtq_used_ring(q)[q->used_idx % q->size].len;
	if (id >= q->size)
		return -2;
	q->used_idx++;
	i = id;
	for (u16 k = q->ndescs[id]; k; k--) {
		q->free[q->nr_free++] = i;
		i = virtq_desc(q)[i].next;
	}
	return id;
}

/* Interrupt me when @ahead more than what was taken back are done; or not at all. */
static inline void virtq_want_irq(struct virtq *q, int on, u16 ahead)
{
	u16 at = q->used_idx + ahead, wrap = q->used_wrap;

	if (q->packed) {
		if (at >= q->size) {
			at -= q->size;
			wrap ^= 1;
		}
		VIRTQ_P(q, q->driver, u16)[0] = at | wrap << 15;
		virtq_fence();
		VIRTQ_P(q, q->driver, u16)[1] = !on ? VRING_PACKED_EVENT_FLAG_DISABLE :
			q->event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;
	} else if (q->event_idx) {
		virtq_avail(q)[2 + q->size] = on ? at : (u16)(q->used_idx - 1);
	} else {
		virtq_avail(q)[0] = !on;
	}
	virtq_fence();
}

#endif
