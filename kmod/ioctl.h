/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tables of ioctls: a macro for each kind of descriptor, with a row for each
 * command,
 *
 *	X(command, how its argument travels, what to do)
 *
 * where the last is an expression that answers like the ioctl. It may name @vm,
 * @vcpu or @dev, which of them the descriptor stands for, @data (the argument's
 * copy in the kernel), @arg (the argument as it was given) and @user (the same
 * as an address).
 */
#ifndef RL_IOCTL_H
#define RL_IOCTL_H

#include <linux/ioctl.h>
#include "types.h"

struct rl_vdev;

/*
 * struct kvm_run, the page of port data, the coalesced-MMIO ring; announced by
 * KVM_GET_VCPU_MMAP_SIZE
 */
#define RL_VCPU_MMAP_PAGES	3

/*
 * Explicit, since the direction bits of some KVM numbers do not say what
 * happens (KVM_SET_IRQCHIP is an _IOR).
 */
#define RL_IOC_RAW	0	/* a number, or an address that @user is for; no @data */
#define RL_IOC_IN	1
#define RL_IOC_OUT	2	/* copied out when the row answers >= 0 */
#define RL_IOC_INOUT	3

struct rl_ioctl {
	unsigned int cmd;
	int copy;
	int (*fn)(void *obj, void *data, unsigned long arg, void __user *user);
};

#define RL_IOC_FN(cmd, copy, expr)							\
static int ioc_##cmd(void *obj, void *data, unsigned long arg, void __user *user)	\
{											\
	struct rl_vm __maybe_unused *vm = obj;						\
	struct rl_vcpu __maybe_unused *vcpu = obj;					\
	struct rl_vdev __maybe_unused *dev = obj;					\
											\
	return expr;									\
}
#define RL_IOC_ROW(cmd, copy, expr)	{ cmd, RL_IOC_##copy, ioc_##cmd },

#define RL_IOCTL_TABLE(name, rows)	\
	rows(RL_IOC_FN)			\
	static const struct rl_ioctl name[] = { rows(RL_IOC_ROW) }

long rl_ioctl(const struct rl_ioctl *table, int n, void *obj, unsigned int cmd,
	      unsigned long arg, int unknown);

/* main.c's needs from vcpu.c */

#endif
