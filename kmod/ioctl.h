/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables of ioctls. A row names the command, how its argument travels, and the
 * function that gets a kernel copy of it.
 */
#ifndef RL_IOCTL_H
#define RL_IOCTL_H

#include <linux/ioctl.h>
#include "types.h"

/*
 * struct kvm_run, the page of port data, the coalesced-MMIO ring; announced by
 * KVM_GET_VCPU_MMAP_SIZE
 */
#define RL_VCPU_MMAP_PAGES	3

/*
 * Explicit, since the direction bits of some KVM numbers do not say what
 * happens (KVM_SET_IRQCHIP is an _IOR).
 */
#define RL_IOC_RAW	0	/* @arg is a number or a pointer the function deals with */
#define RL_IOC_IN	1
#define RL_IOC_OUT	2	/* copied out when the function answers >= 0 */
#define RL_IOC_INOUT	3

/**
 * struct rl_ioctl - one row
 * @fn: gets the object, the kernel copy of the argument (NULL with RL_IOC_RAW)
 *	and the raw argument; answers like the ioctl
 */
struct rl_ioctl {
	unsigned int cmd;
	int copy;
	int (*fn)(void *obj, void *data, unsigned long arg);
};

long rl_ioctl(const struct rl_ioctl *table, int n, void *obj, unsigned int cmd,
	      unsigned long arg, int unknown);

/* A row's function out of one that takes (object, argument). */
#define RL_IOC_FN(func)							\
static int ioc_##func(void *obj, void *data, unsigned long arg)		\
{									\
	return func(obj, data);						\
}

/* main.c's needs from vcpu.c */
int rl_vcpu_init(void);
void rl_vcpu_exit(void);

#endif
