/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where kernel versions differ. Linux 6.1 is the base; the rest of the module
 * is written for the names below.
 */
#ifndef RL_COMPAT_H
#define RL_COMPAT_H

#include <linux/eventfd.h>
#include <linux/version.h>

/* Add one to an eventfd's counter; IRQs on or off. */
static inline void rl_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

#endif
