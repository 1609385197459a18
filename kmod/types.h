/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Address types, the result codes of exit handlers, and the few structures
 * that every room of the module passes around by pointer.
 */
#ifndef RL_TYPES_H
#define RL_TYPES_H

#include <linux/types.h>

typedef u64 gva_t;	/* guest virtual (linear) address */
typedef u64 gpa_t;	/* guest physical address */
typedef u64 gfn_t;	/* guest frame number: gpa >> PAGE_SHIFT */
typedef unsigned long hva_t;	/* host user virtual address */
typedef u64 hpa_t;	/* host physical address */

#define RL_INVALID_GPA	(~(gpa_t)0)

/*
 * What a handler answers: go back into the guest, or leave KVM_RUN with
 * run->exit_reason filled in. A negative errno leaves KVM_RUN with that error.
 */
#define RL_EXIT_USER	0
#define RL_RESUME	1

struct rl_vm;
struct rl_vcpu;
struct rl_vdev;
struct rl_lapic;
struct rl_mmu;
struct rl_exit;
struct rl_vendor_ops;

#endif
