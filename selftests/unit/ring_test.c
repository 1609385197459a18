// SPDX-License-Identifier: GPL-2.0
/* The device side of a ring against a driver, well-behaved and not. */
#include "ring_machine.h"
#include "unit.h"
#include "../lib/virtq.h"

struct pair {
	struct rl_ring r;
	struct virtq q;
	struct rl_chain c;
	struct rl_buf segs[RL_RING_MAX_SEGS];
};

static struct pair p;

enum { PACKED = 1, EVENT = 2, IN_ORDER = 4 };

static void pair_init(u16 size, int kind)
{
	memset(mem, 0, sizeof(mem));
	virtq_init(&p.q, mem, RING_GPA, size, !!(kind & PACKED), !!(kind & EVENT));
	ring_setup(&p.r, size, kind & PACKED, kind & EVENT, kind & IN_ORDER, p.q.desc, p.q.driver,
		   p.q.device);
	EXPECT_EQ(rl_ring_begin(&p.r), 0);
}

static int get(void)
{
	return rl_ring_get(&p.r, &p.c, p.segs, RL_RING_MAX_SEGS);
}

/* n buffers, the first @nr_out to be read; lengths tell them apart */
static int add(int nr_out, int nr_in, u32 len, bool indirect)
{
	struct virtq_buf b[16];

	for (int i = 0; i < nr_out + nr_in; i++) {
		b[i].gpa = DATA_GPA + 0x100 * i;
		b[i].len = len + i;
	}
	return virtq_add(&p.q, b, nr_out, nr_in, indirect ? TABLE_GPA : 0);
}

static void one_chain(int nr_out, int nr_in, bool indirect)
{
	u32 len, out = 0, in = 0;
	struct rl_chain none;
	int id = add(nr_out, nr_in, 10, indirect);

	if (!EXPECT(id >= 0))
		return;
	virtq_publish(&p.q);
	EXPECT_EQ(get(), 1);
	EXPECT_EQ(p.c.nr_out, nr_out);
	EXPECT_EQ(p.c.nr_in, nr_in);
	for (int i = 0; i < nr_out + nr_in; i++) {
		EXPECT_EQ(p.segs[i].gpa, DATA_GPA + 0x100 * i);
		EXPECT_EQ(p.segs[i].len, 10 + i);
		*(i < nr_out ? &out : &in) += 10 + i;
	}
	EXPECT_EQ(p.c.out_len, out);
	EXPECT_EQ(p.c.in_len, in);
	EXPECT_EQ(rl_ring_get(&p.r, &none, p.segs, RL_RING_MAX_SEGS), 0);
	EXPECT(!virtq_pending(&p.q));
	EXPECT_EQ(rl_ring_put(&p.r, &p.c, in), 0);
	EXPECT(rl_ring_flush(&p.r) >= 0);
	EXPECT_EQ(virtq_used(&p.q, &len), id);
	EXPECT_EQ(len, in);
	EXPECT_EQ(virtq_used(&p.q, &len), -1);
	EXPECT_EQ(p.r.in_flight, 0);
}

TEST(chains_come_and_go)
{
	for (int kind = 0; kind < 8; kind++) {
		pair_init(8, kind);
		for (int i = 0; i < 100; i++) {
			one_chain(1, 0, false);
			one_chain(0, 1, false);
			one_chain(3, 2, false);
			one_chain(1, 7, i & 1);
			one_chain(5, 6, true);
		}
	}
}

/* Past every wrap of a 16-bit index, and of a size that is no power of two. */
TEST(indexes_wrap)
{
	for (int kind = 0; kind < 8; kind++) {
		pair_init(kind & PACKED ? 7 : 4, kind);
		for (int i = 0; i < 70000; i++)
			one_chain(1, i & 1, false);
	}
}

/* Several in flight, given back in another order. */
TEST(out_of_order)
{
	for (int kind = 0; kind < 8; kind++) {
		struct rl_chain c[4];
		int id[4];
		u32 len;

		pair_init(8, kind);
		for (int round = 0; round < 50; round++) {
			for (int i = 0; i < 4; i++)
				id[i] = add(1, 1, 10, false);
			virtq_publish(&p.q);
			for (int i = 0; i < 4; i++) {
				EXPECT_EQ(get(), 1);
				c[i] = p.c;
			}
			EXPECT_EQ(rl_ring_put(&p.r, &c[2], 2), 0);
			EXPECT_EQ(rl_ring_put(&p.r, &c[1], 1), 0);
			rl_ring_flush(&p.r);
			EXPECT_EQ(virtq_pending(&p.q), !(kind & IN_ORDER));
			EXPECT_EQ(rl_ring_put(&p.r, &c[0], 0), 0);
			EXPECT_EQ(rl_ring_put(&p.r, &c[3], 3), 0);
			rl_ring_flush(&p.r);
			for (int i = 0; i < 4; i++) {
				int expected = kind & IN_ORDER ? i : "\2\1\0\3"[i];

				EXPECT_EQ(virtq_used(&p.q, &len), id[expected]);
				EXPECT_EQ(len, expected);
			}
			EXPECT_EQ(virtq_used(&p.q, &len), -1);
		}
	}
}

TEST(undo)
{
	for (int kind = 0; kind < 8; kind++) {
		pair_init(4, kind);
		for (int i = 0; i < 20; i++) {
			struct rl_chain first;

			add(1, 0, 5, false);
			add(1, 1, 6, false);
			virtq_publish(&p.q);
			EXPECT_EQ(get(), 1);
			first = p.c;
			EXPECT_EQ(get(), 1);
			EXPECT_EQ(p.segs[0].len, 6);
			rl_ring_undo(&p.r, &p.c);
			EXPECT_EQ(rl_ring_enable_notify(&p.r), 1);
			EXPECT_EQ(get(), 1);
			EXPECT_EQ(p.segs[0].len, 6);
			EXPECT_EQ(p.c.in_len, 7);
			rl_ring_put(&p.r, &p.c, 1);
			rl_ring_put(&p.r, &first, 1);
			rl_ring_flush(&p.r);
			for (u32 len; virtq_used(&p.q, &len) >= 0;)
				;
			EXPECT_EQ(p.r.in_flight, 0);
		}
	}
}

/* An interrupt exactly when the driver wants one. */
TEST(interrupts)
{
	for (int kind = 0; kind < 4; kind++) {
		pair_init(8, kind);
		for (int i = 0; i < 300; i++) {
			int wanted;
			u32 len;

			virtq_want_irq(&p.q, i % 3, i & 4 ? 1 : 0);
			wanted = i % 3 && !(kind & EVENT && i & 4);
			add(1, 0, 5, false);
			virtq_publish(&p.q);
			EXPECT_EQ(get(), 1);
			EXPECT_EQ(rl_ring_flush(&p.r), 0);
			rl_ring_put(&p.r, &p.c, 0);
			EXPECT_EQ(rl_ring_flush(&p.r), wanted);
			EXPECT_EQ(rl_ring_flush(&p.r), 0);
			EXPECT(virtq_used(&p.q, &len) >= 0);
		}
		/* two at once cross an event index that lies between them */
		virtq_want_irq(&p.q, 1, 1);
		for (int i = 0; i < 2; i++) {
			add(1, 0, 5, false);
			virtq_publish(&p.q);
			get();
			rl_ring_put(&p.r, &p.c, 0);
		}
		EXPECT_EQ(rl_ring_flush(&p.r), 1);
	}
}

TEST(notifications)
{
	for (int kind = 0; kind < 4; kind++) {
		u32 len;

		pair_init(8, kind);
		for (int i = 0; i < 300; i++) {
			EXPECT_EQ(rl_ring_enable_notify(&p.r), 0);
			add(1, 0, 5, false);
			EXPECT_EQ(virtq_publish(&p.q), 1);
			EXPECT_EQ(rl_ring_disable_notify(&p.r), 0);
			EXPECT_EQ(get(), 1);
			rl_ring_put(&p.r, &p.c, 0);
			add(1, 0, 5, false);
			EXPECT_EQ(virtq_publish(&p.q), 0);
			/* what came without a notification is seen when they go on again */
			EXPECT_EQ(rl_ring_enable_notify(&p.r), 1);
			EXPECT_EQ(get(), 1);
			rl_ring_put(&p.r, &p.c, 0);
			rl_ring_flush(&p.r);
			while (virtq_used(&p.q, &len) >= 0)
				;
		}
	}
}

/* A device that takes over a ring whose notifications are off puts them on again. */
TEST(notifications_of_before)
{
	for (int kind = 0; kind < 4; kind++) {
		pair_init(8, kind);
		EXPECT_EQ(rl_ring_enable_notify(&p.r), 0);
		EXPECT_EQ(rl_ring_disable_notify(&p.r), 0);
		rl_ring_reset(&p.r);
		EXPECT_EQ(rl_ring_begin(&p.r), 0);
		EXPECT_EQ(rl_ring_enable_notify(&p.r), 0);
		add(1, 0, 5, false);
		EXPECT_EQ(virtq_publish(&p.q), 1);
	}
}

/* The slots changed: the ring is looked for again, or is not there any more. */
TEST(moved_slots)
{
	pair_init(8, 0);
	one_chain(1, 1, false);
	mem_gen++;
	EXPECT_EQ(rl_ring_begin(&p.r), 0);
	one_chain(1, 1, false);
	p.r.gpa[2] = RO_BASE;
	EXPECT_EQ(rl_ring_begin(&p.r), 0);
	mem_gen++;
	EXPECT_EQ(rl_ring_begin(&p.r), -EFAULT);
	p.r.gpa[2] = RO_BASE - 8;
	EXPECT_EQ(rl_ring_begin(&p.r), -EFAULT);
	ring_setup(&p.r, 8, true, false, false, RO_BASE, RING_GPA, RING_GPA + 16);
	EXPECT_EQ(rl_ring_begin(&p.r), -EFAULT);
}

/* Hostile drivers. Each case makes one good chain and then spoils it. */

#define SPOIL(kind, nr_out, nr_in, indirect, spoil, expected)		\
	do {								\
		pair_init(8, kind);					\
		add(nr_out, nr_in, 10, indirect);			\
		spoil;							\
		virtq_publish(&p.q);					\
		EXPECT_EQ(get(), expected);				\
		EXPECT_EQ(p.r.avail_idx, 0);				\
		EXPECT_EQ(p.r.in_flight, 0);				\
	} while (0)
#define D(i)	(virtq_desc(&p.q)[i])
#define PD(i)	(virtq_pdesc(&p.q)[i])
#define T(i)	(VIRTQ_P(&p.q, TABLE_GPA, struct vring_desc)[i])
#define PT(i)	(VIRTQ_P(&p.q, TABLE_GPA, struct vring_packed_desc)[i])

TEST(hostile_split)
{
	SPOIL(0, 2, 0, false, D(1).flags = VRING_DESC_F_NEXT; D(1).next = 0, -ELOOP);
	SPOIL(0, 2, 0, false, D(0).next = 0, -ELOOP);
	SPOIL(0, 2, 0, false, D(0).next = 8, -EINVAL);
	SPOIL(0, 2, 0, false, D(0).next = 0xffff, -EINVAL);
	SPOIL(0, 1, 0, false, virtq_avail(&p.q)[2] = 8, -EINVAL);
	SPOIL(0, 1, 0, false, p.q.avail_idx = 9, -EINVAL);
	SPOIL(0, 1, 0, false, p.q.avail_idx = 0xffff, -EINVAL);
	SPOIL(0, 2, 0, false, D(0).flags |= VRING_DESC_F_WRITE, -EINVAL);
	SPOIL(0, 1, 0, false, D(0).addr = ~0ull - 3, -EINVAL);
	SPOIL(0, 2, 0, false, D(0).len = ~0u; D(1).len = 2, -EINVAL);
	SPOIL(0, 2, 0, true, D(0).len = 0, -EINVAL);
	SPOIL(0, 2, 0, true, D(0).len = 17, -EINVAL);
	SPOIL(0, 2, 0, true, D(0).len = 16 * (RL_RING_MAX_SEGS + 1), -ELOOP);
	SPOIL(0, 2, 0, true, D(0).flags |= VRING_DESC_F_NEXT, -EINVAL);
	SPOIL(0, 2, 0, true, D(0).addr = MEM_SIZE, -EFAULT);
	SPOIL(0, 2, 0, true, D(0).addr = ~15ull, -EFAULT);
	SPOIL(0, 2, 0, true, D(0).addr = RO_BASE - 16, -EFAULT);
	SPOIL(0, 2, 0, true, T(1).flags = VRING_DESC_F_INDIRECT, -EINVAL);
	SPOIL(0, 2, 0, true, T(1).flags = VRING_DESC_F_NEXT; T(1).next = 0, -ELOOP);
	SPOIL(0, 2, 0, true, T(0).next = 2, -EINVAL);
	SPOIL(0, 1, 0, true, p.r.indirect = false, -EINVAL);
	/* as many in flight as there are descriptors, and one more */
	pair_init(8, 0);
	add(1, 0, 10, false);
	for (int i = 0; i < 8; i++) {
		virtq_avail(&p.q)[2 + i] = 0;
		virtq_avail(&p.q)[1] = i + 1;
		EXPECT_EQ(get(), 1);
	}
	virtq_avail(&p.q)[1] = 9;
	EXPECT_EQ(get(), -EINVAL);
}

TEST(hostile_packed)
{
	SPOIL(PACKED, 2, 0, false, PD(0).flags |= VRING_DESC_F_WRITE, -EINVAL);
	SPOIL(PACKED, 2, 0, false, PD(1).flags |= VRING_DESC_F_INDIRECT, -EINVAL);
	SPOIL(PACKED, 1, 0, false, PD(0).addr = ~0ull - 3, -EINVAL);
	SPOIL(PACKED, 8, 0, false, for (int i = 0; i < 8; i++) PD(i).flags |= VRING_DESC_F_NEXT,
	      -ELOOP);
	SPOIL(PACKED, 2, 0, true, PD(0).len = 24, -EINVAL);
	SPOIL(PACKED, 2, 0, true, PD(0).flags |= VRING_DESC_F_NEXT, -EINVAL);
	SPOIL(PACKED, 2, 0, true, PD(0).len = 16 * (RL_RING_MAX_SEGS + 1), -ELOOP);
	SPOIL(PACKED, 2, 0, true, PD(0).addr = MEM_SIZE - 16, -EFAULT);
	SPOIL(PACKED, 2, 0, true, PT(1).flags = VRING_DESC_F_INDIRECT, -EINVAL);
	SPOIL(PACKED, 1, 0, true, p.r.indirect = false, -EINVAL);
	/* a lap ahead of what was given back */
	pair_init(4, PACKED);
	for (int i = 0; i < 4; i++)
		add(1, 0, 10, false);
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(get(), 1);
	for (int i = 0; i < 4; i++)
		PD(i).flags = 1 << VRING_PACKED_DESC_F_USED;
	EXPECT_EQ(get(), -ELOOP);
}

/* Empty buffers count for the length of a chain, and are not handed out. */
TEST(empty_buffers)
{
	for (int kind = 0; kind < 2; kind++) {
		pair_init(8, kind);
		add(2, 1, 10, false);
		if (kind) {
			PD(0).len = 0;
		} else {
			D(0).len = 0;
		}
		virtq_publish(&p.q);
		EXPECT_EQ(get(), 1);
		EXPECT_EQ(p.c.nr_out, 1);
		EXPECT_EQ(p.c.nr_in, 1);
		EXPECT_EQ(p.segs[0].len, 11);
		EXPECT_EQ(p.segs[1].len, 12);
	}
}

/* A chain of more buffers than the caller has room for. */
TEST(small_room)
{
	pair_init(8, 0);
	add(3, 0, 10, false);
	virtq_publish(&p.q);
	EXPECT_EQ(rl_ring_get(&p.r, &p.c, p.segs, 2), -ELOOP);
	EXPECT_EQ(rl_ring_get(&p.r, &p.c, p.segs, 3), 1);
}
