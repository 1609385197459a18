// SPDX-License-Identifier: GPL-2.0
/*
 * The local APIC's arithmetic: priorities, destination matching, timer counts.
 */
#include <string.h>

#include "irq/apic_math.h"
#include "unit.h"

TEST(ppr_is_the_higher_class)
{
	EXPECT_EQ(rl_apic_ppr(0, -1), 0);
	EXPECT_EQ(rl_apic_ppr(0x25, -1), 0x25);		/* sub-class from TPR alone */
	EXPECT_EQ(rl_apic_ppr(0x25, 0x31), 0x30);
	EXPECT_EQ(rl_apic_ppr(0x35, 0x31), 0x35);	/* same class: TPR as it is */
	EXPECT_EQ(rl_apic_ppr(0x30, 0x3f), 0x30);
	EXPECT_EQ(rl_apic_ppr(0xff, 0xfe), 0xff);
	EXPECT_EQ(rl_apic_ppr(0, 0x0f), 0);
}

TEST(highest_vector_of_eight_spread_words)
{
	uint32_t regs[8 * 4];
	unsigned int v, w;

	memset(regs, 0, sizeof(regs));
	/* What lies between the registers is nobody's. */
	for (v = 0; v < 8; v++)
		regs[v * 4 + 1] = ~0u;
	EXPECT_EQ(rl_apic_highest(regs), -1);
	for (v = 0; v < 256; v++) {
		regs[v / 32 * 4] |= 1u << v % 32;
		EXPECT_EQ(rl_apic_highest(regs), v);
	}
	for (w = 256; w-- > 1;) {
		regs[w / 32 * 4] &= ~(1u << w % 32);
		EXPECT_EQ(rl_apic_highest(regs), w - 1);
	}
}

TEST(x2apic_logical_id)
{
	EXPECT_EQ(rl_x2apic_ldr(0), 0x00000001);
	EXPECT_EQ(rl_x2apic_ldr(15), 0x00008000);
	EXPECT_EQ(rl_x2apic_ldr(16), 0x00010001);
	EXPECT_EQ(rl_x2apic_ldr(0x12345), 0x12340020);
}

static struct rl_apic_ids xapic(u8 id, u8 logical, u32 dfr)
{
	return (struct rl_apic_ids){ .x2apic_id = id, .xapic_id = id,
				     .ldr = (u32)logical << 24, .dfr = dfr };
}

static struct rl_apic_ids x2apic(u32 id)
{
	return (struct rl_apic_ids){ .x2apic_id = id, .xapic_id = id >> 24, .x2apic = true,
				     .ldr = rl_x2apic_ldr(id) };
}

#define PHYS(ids, dest)	rl_apic_match(&(ids), dest, false, true, false)
#define LOG(ids, dest)	rl_apic_match(&(ids), dest, true, true, false)

TEST(physical_destinations)
{
	struct rl_apic_ids a = xapic(3, 0, RL_DFR_FLAT), b = x2apic(3), c = x2apic(0x103);

	EXPECT(PHYS(a, 3) && !PHYS(a, 4) && !PHYS(a, 0x103) && PHYS(a, 0xff));
	EXPECT(!PHYS(a, 0xffffffff));
	EXPECT(PHYS(b, 3) && !PHYS(b, 0x103) && !PHYS(b, 0xff) && PHYS(b, 0xffffffff));
	EXPECT(PHYS(c, 0x103) && !PHYS(c, 3));
	/* The guest gave it another id. */
	a.xapic_id = 7;
	EXPECT(PHYS(a, 7) && !PHYS(a, 3));
	/* One that 8 bits cannot name answers to all 32, even in xAPIC mode. */
	a.x2apic_id = 0x107;
	EXPECT(PHYS(a, 0x107) && !PHYS(a, 0x207));
}

TEST(logical_destinations)
{
	struct rl_apic_ids flat = xapic(0, 0x04, RL_DFR_FLAT);
	struct rl_apic_ids cluster = xapic(0, 0x24, RL_DFR_CLUSTER);
	struct rl_apic_ids none = xapic(0, 0, RL_DFR_FLAT);
	struct rl_apic_ids x2 = x2apic(0x25);

	EXPECT(LOG(flat, 0x04) && LOG(flat, 0x0c) && !LOG(flat, 0x03) && LOG(flat, 0xff));
	EXPECT(LOG(cluster, 0x24) && LOG(cluster, 0x2f) && !LOG(cluster, 0x14) &&
	       !LOG(cluster, 0x2b) && LOG(cluster, 0xff));
	EXPECT(!LOG(none, 0x01) && !LOG(none, 0xfe) && LOG(none, 0xff));
	EXPECT(LOG(x2, 0x00020020) && LOG(x2, 0x0002ffff) && !LOG(x2, 0x0003ffff) &&
	       !LOG(x2, 0x0002ffdf) && LOG(x2, 0xffffffff));
	/* A model that is neither flat nor cluster matches nothing. */
	flat.dfr = 0x5fffffff;
	EXPECT(!LOG(flat, 0x04));
}

TEST(broadcast_of_devices_reaches_x2apics_by_quirk)
{
	struct rl_apic_ids x2 = x2apic(1), a = xapic(1, 0, RL_DFR_FLAT);

	EXPECT(rl_apic_match(&x2, 0xff, false, false, false));
	EXPECT(!rl_apic_match(&x2, 0xff, false, false, true));
	EXPECT(!rl_apic_match(&x2, 0xff, false, true, false));
	EXPECT(rl_apic_match(&a, 0xff, false, false, true));
	/* Without the quirk 0xff is cluster 0, CPUs 0 to 7. */
	EXPECT(rl_apic_match(&x2, 0xff, true, false, true));
	x2 = x2apic(0x11);
	EXPECT(!rl_apic_match(&x2, 0xff, true, false, true));
	EXPECT(rl_apic_match(&x2, 0xff, true, false, false));
}

TEST(divide_configuration)
{
	static const u8 tdcr[] = { 0, 1, 2, 3, 8, 9, 10, 11 };
	static const u32 divisor[] = { 2, 4, 8, 16, 32, 64, 128, 1 };
	unsigned int i;

	for (i = 0; i < 8; i++) {
		EXPECT_EQ(rl_apic_divisor(tdcr[i]), divisor[i]);
		EXPECT_EQ(rl_apic_divisor(tdcr[i] | 0xfffffff4), divisor[i]);
	}
}

TEST(current_count)
{
	EXPECT_EQ(rl_apic_count(0, 1000, 1), 0);
	EXPECT_EQ(rl_apic_count(1000, 1000, 1), 1000);
	EXPECT_EQ(rl_apic_count(999, 1000, 2), 499);
	EXPECT_EQ(rl_apic_count(1, 1000, 2), 0);
	EXPECT_EQ(rl_apic_count(5, 0, 1), 0);			/* never started */
	EXPECT_EQ(rl_apic_count(2500, 1000, 1), 500);		/* two periods late */
	EXPECT_EQ(rl_apic_count(0xffffffffull * 128, 0xffffffffull * 128, 128), 0xffffffff);
}

TEST(new_divisor_keeps_the_count)
{
	EXPECT_EQ(rl_apic_rescale(1600, 16, 1), 100);
	EXPECT_EQ(rl_apic_rescale(100, 1, 16), 1600);
	EXPECT_EQ(rl_apic_rescale(0xffffffffull * 128, 128, 128), 0xffffffffull * 128);
	EXPECT_EQ(rl_apic_rescale(0xffffffff, 1, 128), 0xffffffffull * 128);
}

TEST(tsc_deadline)
{
	EXPECT_EQ(rl_tsc_to_ns(100, 100, 1000000), 0);
	EXPECT_EQ(rl_tsc_to_ns(99, 100, 1000000), 0);
	EXPECT_EQ(rl_tsc_to_ns(101, 100, 1000000), 1);
	EXPECT_EQ(rl_tsc_to_ns(3000000, 0, 3000000), 1000000);
	EXPECT_EQ(rl_tsc_to_ns(2999999, 0, 3000000), 999999);
	EXPECT_EQ(rl_tsc_to_ns(~0ull, 0, 1), ~0ull >> 2);	/* saturates */
	EXPECT_EQ(rl_tsc_to_ns(~0ull, 0, 4000000000u), 4611686018427387ull);
	EXPECT_EQ(rl_tsc_to_ns(~0ull, ~0ull - 3000, 3000000), 1000);
}
