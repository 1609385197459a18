/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters, bumped next to the event that they count: by the vCPU's thread alone,
 * or atomic. Anybody may read.
 */
#ifndef RL_STATS_H
#define RL_STATS_H

#include <linux/types.h>
#include "exit.h"

struct rl_vcpu_stats {
	u64 exits[RL_NR_EXITS];
	u64 halts, halt_polls;
	atomic64_t halt_wakeups, kicks;
	u64 injected_irqs, injected_nmis, injected_exceptions;
	u64 emulated, tlb_flushes;
};

struct rl_vm_stats {
	atomic64_t mapped_4k, mapped_2m, mapped_1g;
	atomic64_t faults;
};

#endif
