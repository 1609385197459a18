/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where kernel versions differ. Linux 6.1 is the base; the rest of the module
 * is written for the names below.
 */
#ifndef RL_COMPAT_H
#define RL_COMPAT_H

#include <linux/eventfd.h>
#include <linux/version.h>
#include <net/genetlink.h>
#include <asm/apic.h>
#include <asm/irq_vectors.h>
#include <asm/mce.h>

/* Add one to an eventfd's counter; IRQs on or off. */
static inline void rl_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

/* The vector that the kernel has for posted interrupts, to another CPU. */
static inline void rl_send_posted(int cpu)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	__apic_send_IPI_mask(cpumask_of(cpu), POSTED_INTR_VECTOR);
#else
	apic->send_IPI_mask(cpumask_of(cpu), POSTED_INTR_VECTOR);
#endif
}

/* An exit for a machine check is the host's: to it a process was hit, not the kernel. IRQs off. */
static inline void rl_host_machine_check(void)
{
#if IS_ENABLED(CONFIG_X86_MCE)
	struct pt_regs regs = { .cs = 3, .flags = X86_EFLAGS_IF };

	do_machine_check(&regs);
#endif
}

/* The attributes of a dump's request. */
static inline struct nlattr **rl_dump_attrs(struct netlink_callback *cb)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	return genl_dumpit_info(cb)->info.attrs;
#else
	return genl_dumpit_info(cb)->attrs;
#endif
}

#endif
