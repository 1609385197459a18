// SPDX-License-Identifier: GPL-2.0-only
/*
 * Arithmetic of the local APIC: priorities, destinations, timer counts.
 *
 * Owns:    nothing.
 * Touches: nothing; builds in user space as well, for selftests/unit.
 * Manuals: SDM Vol 3A, "Advanced Programmable Interrupt Controller (APIC)".
 */
#include "apic_math.h"

/* SDM Vol 3A, "Task and Processor Priorities". */
u32 rl_apic_ppr(u32 tpr, int isr)
{
	u32 isrv = isr < 0 ? 0 : isr;

	return (tpr & 0xf0) >= (isrv & 0xf0) ? tpr & 0xff : isrv & 0xf0;
}

int rl_apic_highest(const void *reg0)
{
	int i;

	for (i = 7; i >= 0; i--) {
		/* Others may be setting bits. */
		u32 bits = __atomic_load_n((const u32 *)reg0 + i * 4, __ATOMIC_RELAXED);

		if (bits)
			return i * 32 + 31 - __builtin_clz(bits);
	}
	return -1;
}

/* SDM Vol 3A, "Deriving Logical x2APIC ID from the Local x2APIC ID". */
u32 rl_x2apic_ldr(u32 id)
{
	return (id >> 4) << 16 | 1u << (id & 0xf);
}

static bool match_physical(const struct rl_apic_ids *ids, u32 dest)
{
	/*
	 * An id that 8 bits cannot hold reaches its vCPU in xAPIC mode too:
	 * a hot-added one starts there and must be startable.
	 */
	if (ids->x2apic || dest > RL_XAPIC_BROADCAST)
		return dest == ids->x2apic_id;
	return dest == ids->xapic_id;
}

/* SDM Vol 3A, "Logical Destination Mode" and "Logical Destination Mode in x2APIC Mode". */
static bool match_logical(const struct rl_apic_ids *ids, u32 dest)
{
	u32 ldr = ids->ldr;

	if (ids->x2apic)
		return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
	ldr >>= 24;
	if (ids->dfr == RL_DFR_FLAT)
		return ldr & dest;
	if (ids->dfr == RL_DFR_CLUSTER)
		return ldr >> 4 == dest >> 4 && (ldr & dest & 0xf);
	return false;
}

bool rl_apic_match(const struct rl_apic_ids *ids, u32 dest, bool logical, bool ipi, bool no_quirk)
{
	u32 all = ids->x2apic ? RL_X2APIC_BROADCAST : RL_XAPIC_BROADCAST;

	if (ids->x2apic && !ipi && !no_quirk && dest == RL_XAPIC_BROADCAST)
		return true;
	if (dest == all)
		return true;
	return logical ? match_logical(ids, dest) : match_physical(ids, dest);
}

/* SDM Vol 3A, "APIC Timer", Divide Configuration Register: bits 3, 1 and 0. */
u32 rl_apic_divisor(u32 tdcr)
{
	u32 code = (tdcr & 3) | (tdcr & 8) >> 1;

	return 1u << ((code + 1) & 7);
}

u32 rl_apic_count(u64 remaining_ns, u64 period_ns, u32 divisor)
{
	if (!period_ns)
		return 0;
	/* A periodic timer whose callback is late has several periods to go. */
	if (remaining_ns > period_ns)
		remaining_ns %= period_ns;
	return remaining_ns / divisor;
}

u64 rl_apic_rescale(u64 remaining_ns, u32 old_divisor, u32 new_divisor)
{
	/* At most 2^32 counts of 128 ns: no overflow. */
	return remaining_ns / old_divisor * new_divisor;
}

u64 rl_tsc_to_ns(u64 deadline, u64 now, u32 tsc_khz)
{
	const u64 max = ~0ull >> 2;
	u64 cycles = deadline - now, ms, ns;

	if (deadline <= now)
		return 0;
	ms = cycles / tsc_khz;
	if (ms >= max / 1000000)
		return max;
	ns = cycles % tsc_khz * 1000000ull / tsc_khz;
	return ms * 1000000ull + ns;
}
