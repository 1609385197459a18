// SPDX-License-Identifier: GPL-2.0
/* The fuzz target without a fuzzer: the same pseudo-random states and code on every run. */
#include "emulate_fuzz.c"
#include "unit.h"

static u64 seed = 88172645463325252ull;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Code that is an opcode behind a likely prefix more often than noise */
static void random_code(u8 *code, unsigned int len)
{
	static const u8 prefix[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48, 0x0f, 0x0f };
	unsigned int i;

	for (i = 0; i < len; i++)
		code[i] = rnd() >> 20;
	for (i = 0; i < 3 && rnd() % 2; i++)
		code[i] = prefix[rnd() % sizeof(prefix)];
}

TEST(invariants_hold_for_random_code)
{
	u8 data[36 + 32];
	unsigned int i, j;

	for (i = 0; i < 6000; i++) {
		for (j = 0; j < 36; j++)
			data[j] = rnd() >> 13;
		random_code(data + 36, 32);
		LLVMFuzzerTestOneInput(data, sizeof(data));
	}
	EXPECT(i == 6000);
}
