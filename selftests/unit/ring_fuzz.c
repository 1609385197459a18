// SPDX-License-Identifier: GPL-2.0
/*
 * Rings in arbitrary memory, used in an arbitrary way: a libFuzzer target. What
 * must always hold is checked here; ASan and UBSan see the rest.
 */
#include <stdio.h>

#include "ring_machine.h"

#define MUST(cond)								\
	do {									\
		if (!(cond)) {							\
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);	\
			abort();						\
		}								\
	} while (0)

static struct rl_buf segs[RL_RING_MAX_SEGS];

static void check_chain(const struct rl_ring *r, const struct rl_chain *c, unsigned int max)
{
	u64 out = 0, in = 0;

	MUST(c->nr_out + c->nr_in <= max);
	MUST(c->seq < r->size && c->ndescs >= 1 && c->ndescs <= r->size);
	for (unsigned int i = 0; i < c->nr_out + c->nr_in; i++) {
		MUST(segs[i].len && segs[i].gpa + segs[i].len >= segs[i].gpa);
		*(i < c->nr_out ? &out : &in) += segs[i].len;
	}
	MUST(out == c->out_len && in == c->in_len);
}

/* data: kind, size, nr of operations, operations, then memory from the ring on */
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct rl_chain flying[256];
	unsigned int nr_flying = 0, nr_ops, i, max;
	struct rl_chain c;
	struct rl_ring r;
	const u8 *ops;
	u16 n;
	int err = 0;

	if (size < 4)
		return 0;
	n = data[1] % 255 + 1;
	if (!(data[0] & 1))
		n = 1 << n % 9;
	nr_ops = data[2];
	max = data[0] & 16 ? data[3] : RL_RING_MAX_SEGS;
	ops = data + 4;
	if (size < 4 + nr_ops)
		return 0;
	data += 4 + nr_ops;
	size -= 4 + nr_ops;
	memset(mem, 0, sizeof(mem));
	memset(order, 0xff, sizeof(order));
	for (i = 0; size && i < MEM_SIZE; i++)
		mem[i] = data[i % size];
	ring_setup(&r, n, n & (n - 1) || ops[-4] & 1, ops[-4] & 2, ops[-4] & 4, 0, 0x1000, 0x1400);
	if (rl_ring_begin(&r))
		return 0;

	for (i = 0; i < nr_ops && err >= 0; i++) {
		u8 op = ops[i];

		switch (op % 8) {
		case 0:
		case 1:
			err = rl_ring_get(&r, &c, segs, max);
			if (err <= 0)
				break;
			check_chain(&r, &c, max);
			MUST(nr_flying < r.size);
			flying[nr_flying++] = c;
			if (op & 0x80) {
				rl_ring_undo(&r, &c);
				nr_flying--;
			}
			break;
		case 2:
		case 3:
			if (!nr_flying)
				break;
			op = (op >> 3) % nr_flying;
			err = rl_ring_put(&r, &flying[op], i);
			flying[op] = flying[--nr_flying];
			break;
		case 4:
			err = rl_ring_flush(&r);
			break;
		case 5:
			err = rl_ring_enable_notify(&r);
			break;
		case 6:
			err = rl_ring_disable_notify(&r);
			break;
		case 7:	/* the driver goes on */
			if (size > 2)
				mem[(data[i % size] << 8 | op) % 0x1800] ^= data[(i + 1) % size];
			break;
		}
		MUST(r.in_flight <= r.size && r.avail_idx < (r.packed ? r.size : 65536));
		MUST(r.order || nr_flying || !r.in_flight);
		MUST(!(r.order && !nr_flying) || !r.in_flight);
	}
	return 0;
}
