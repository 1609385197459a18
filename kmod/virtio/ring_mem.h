/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ring.c's view of guest memory: loads and stores of the size that the fields
 * have, each done once. Here is all that differs between kernel and user space.
 */
#ifndef RL_RING_MEM_H
#define RL_RING_MEM_H

#include "ring.h"

#ifdef __KERNEL__
#include <linux/nospec.h>
#include <linux/uaccess.h>
#include "../mm/mm.h"

#define ring_load(p, v)		(__get_user(*(v), (typeof(*(v)) __user *)(p)) ? -EFAULT : 0)
#define ring_store(p, v)	(__put_user(v, (typeof(v) __user *)(p)) ? -EFAULT : 0)
#define ring_dirty(a, off)	rl_slot_mark_dirty((a)->slot, ((a)->gpa + (off)) >> PAGE_SHIFT)

#else
#include <errno.h>
#include <stdbool.h>

#ifndef likely
#define likely(x)		__builtin_expect(!!(x), 1)
#endif
#define ring_load(p, v)		(*(v) = *(volatile typeof(*(v)) *)(p), 0)
#define ring_store(p, v)	(*(volatile typeof(v) *)(p) = (v), 0)
#define ring_dirty(a, off)	((void)(a), (void)(off))
#define smp_rmb()		__atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb()		__atomic_thread_fence(__ATOMIC_RELEASE)
#define smp_mb()		__atomic_thread_fence(__ATOMIC_SEQ_CST)
#define array_index_nospec(i, n)	(i)
#endif

#endif
