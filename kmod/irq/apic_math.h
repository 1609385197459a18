/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Arithmetic of the local APIC: priorities, destinations, timer counts. No
 * state and no kernel services, so that it also builds in user space.
 */
#ifndef RL_APIC_MATH_H
#define RL_APIC_MATH_H

#include <linux/types.h>

#define RL_XAPIC_BROADCAST	0xffu
#define RL_X2APIC_BROADCAST	0xffffffffu
#define RL_DFR_FLAT		0xffffffffu
#define RL_DFR_CLUSTER		0x0fffffffu

/*
 * How one APIC takes part in destination matching. @x2apic_id is the vCPU's
 * fixed id, @xapic_id what the guest may have written into the ID register.
 */
struct rl_apic_ids {
	u32 x2apic_id;
	u8 xapic_id;
	bool x2apic;
	u32 ldr;	/* as in the register */
	u32 dfr;
};

/* Processor priority from task priority and the highest vector in service (-1: none). */
u32 rl_apic_ppr(u32 tpr, int isr);
/* Highest set bit of a 256-bit register that is spread over eight 16-byte steps, or -1. */
int rl_apic_highest(const void *reg0);
u32 rl_x2apic_ldr(u32 id);
/*
 * Is the APIC addressed by @dest? @ipi: by another APIC rather than a device,
 * whose 8-bit broadcast reaches x2APICs too unless @no_quirk.
 */
bool rl_apic_match(const struct rl_apic_ids *ids, u32 dest, bool logical, bool ipi, bool no_quirk);

/* Timer; the bus clock is 1 GHz, so a bus cycle is a nanosecond. */
u32 rl_apic_divisor(u32 tdcr);
/* Current count with @remaining_ns to go. */
u32 rl_apic_count(u64 remaining_ns, u64 period_ns, u32 divisor);
/* Remaining time after a change of the divide configuration: the count goes on from where it is. */
u64 rl_apic_rescale(u64 remaining_ns, u32 old_divisor, u32 new_divisor);
/* How long until @deadline; 0 when it has passed. Saturates at S64_MAX / 2. */
u64 rl_tsc_to_ns(u64 deadline, u64 now, u32 tsc_khz);

#endif
