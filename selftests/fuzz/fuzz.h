/* SPDX-License-Identifier: GPL-2.0 */
/* What ioctl_fuzz_test.c and args.c share: the state of a round, and the calls. */
#ifndef RL_FUZZ_H
#define RL_FUZZ_H

#include <linux/ringlet.h>

#include "lib.h"

#define MAX_FDS		6		/* of each kind */
#define ARENA_PAGES	512u
#define TRACE		12
#define PAGE		0x1000u

enum kind { SYS, VM, VCPU, DEV, STATS, VDEV, KINDS };

/* What the parent sees of a child that hangs or dies. */
struct progress {
	volatile u32 calls;		/* begun in this round */
	char trace[TRACE][120];		/* the last of them */
};

struct obj {
	int fd, vm;			/* vm: index of the VM it belongs to */
	struct kvm_run *run;
};

struct fuzz {
	u64 rng;
	int nr[KINDS];
	struct obj objs[KINDS][MAX_FDS];
	int events[4], backends[2], kmsg;	/* backends: a file, a tap or -1 */
	u8 *arena;			/* what guests get as memory */
	u64 region_gpa;			/* the last that one got, */
	u8 *region;			/* and where in the arena */
	u8 *page;			/* an argument lies at its end, before nothing */
	size_t run_size;
	struct kvm_cpuid2 *cpuid;
	bool may_enter, tcg;
	struct progress *progress;
};
extern struct fuzz s;

/* Without make, the argument is a random structure of the command's size, or a number. */
struct call {
	const char *name;
	u32 cmd, kinds;
	size_t (*make)(void *p);
	u32 get;		/* fills the same structure, which then is changed a little */
	u32 weight;
};

#define ON(k)		(1u << (k))

extern const struct call calls[];
extern const u32 nr_calls;

u64 rnd64(void);
u32 rnd(u32 below);
bool one_in(u32 n);
u64 odd_number(void);			/* one that code is likely to mistake */
void scribble(u8 *p, size_t size);
void flip(u8 *p, size_t size);		/* a few bits or words */

#endif
