/* SPDX-License-Identifier: GPL-2.0 */
/* Guest memory and a ring in it, for the ring's tests. */
#ifndef RING_MACHINE_H
#define RING_MACHINE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/ring.h"

#define MEM_SIZE	0x20000
#define RO_BASE		0x1f000		/* from here on: a read-only slot */
#define RING_GPA	0x1000
#define TABLE_GPA	0x4000
#define DATA_GPA	0x8000

static u8 mem[MEM_SIZE] __attribute__((aligned(4096)));
static u64 mem_gen = 1;
static struct rl_done order[256];

int rl_ring_map(struct rl_vm *vm, u64 gpa, u64 len, bool write, struct rl_area *area)
{
	u64 end = gpa < RO_BASE ? RO_BASE : MEM_SIZE;

	if (gpa >= MEM_SIZE || len > end - gpa || (write && gpa >= RO_BASE))
		return -EFAULT;
	area->ptr = mem + gpa;
	area->gpa = gpa;
	return 0;
}

u64 rl_ring_gen(struct rl_vm *vm)
{
	return mem_gen;
}

static void ring_setup(struct rl_ring *r, u16 size, bool packed, bool event_idx, bool in_order,
		       u64 desc, u64 driver, u64 device)
{
	memset(r, 0, sizeof(*r));
	r->size = size;
	r->packed = packed;
	r->event_idx = event_idx;
	r->indirect = true;
	r->order = in_order ? order : NULL;
	r->gpa[0] = desc;
	r->gpa[1] = driver;
	r->gpa[2] = device;
	rl_ring_reset(r);
}

#endif
