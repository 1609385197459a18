// SPDX-License-Identifier: GPL-2.0
/* The launcher's way of unpacking against liblzma's own, which also packs here. */
#include <lzma.h>
#include <stdint.h>
#include <string.h>

#include "unit.h"
#include "unxz.h"

#define MOST	(1 << 20)

static uint8_t plain[MOST], packed[MOST * 2], seen[MOST];
static uint64_t state = 88172645463325252ULL;

static uint32_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state >> 16;
}

static size_t pack(size_t size, int x86, lzma_check check)
{
	lzma_options_lzma lzma;
	lzma_filter filters[] = {
		{ x86 ? LZMA_FILTER_X86 : LZMA_FILTER_LZMA2, x86 ? NULL : &lzma },
		{ x86 ? LZMA_FILTER_LZMA2 : LZMA_VLI_UNKNOWN, &lzma },
		{ LZMA_VLI_UNKNOWN, NULL },
	};
	size_t at = 0;

	lzma_lzma_preset(&lzma, 0);
	EXPECT_EQ(lzma_stream_buffer_encode(filters, check, NULL, plain, size, packed, &at,
					    sizeof(packed)), LZMA_OK);
	return at;
}

static int same(size_t size, size_t len)
{
	memset(seen, 0xa5, sizeof(seen));
	return unxz(packed, len, seen, size) && !memcmp(seen, plain, size) &&
	       (size == MOST || seen[size] == 0xa5);
}

/* What the filter's rules turn on: calls that overlap, near and far, everywhere. */
static void fill(size_t size, unsigned int kind)
{
	static const uint8_t bytes[] = { 0xe8, 0xe9, 0, 0xff, 1, 0xfe, 0xe8, 0 };

	for (size_t i = 0; i < size; i++) {
		uint32_t r = rnd();

		plain[i] = r % 100 < kind ? bytes[r / 100 % sizeof(bytes)] : r >> 20;
	}
}

TEST(code)
{
	for (unsigned int i = 0; i < 400; i++) {
		size_t size = i < 60 ? i + 1 : 1 + rnd() % 20000;

		fill(size, i % 101);
		EXPECT(same(size, pack(size, 1, LZMA_CHECK_CRC32)));
	}
	fill(MOST, 50);
	EXPECT(same(MOST, pack(MOST, 1, LZMA_CHECK_CRC32)));
	/* sizes around what is looked at in one piece, and nothing else but calls */
	memset(plain, 0xe8, 100);
	for (size_t size = 1; size < 100; size++)
		EXPECT(same(size, pack(size, 1, LZMA_CHECK_CRC32)));
}

/* Other ways of packing are liblzma's alone. */
TEST(other)
{
	fill(5000, 30);
	EXPECT(same(5000, pack(5000, 0, LZMA_CHECK_CRC32)));
	EXPECT(same(5000, pack(5000, 1, LZMA_CHECK_CRC64)));
	EXPECT(same(5000, pack(5000, 1, LZMA_CHECK_NONE)));
}

TEST(refused)
{
	size_t len;

	fill(5000, 30);
	len = pack(5000, 1, LZMA_CHECK_CRC32);
	EXPECT(!unxz(packed, len, seen, 4999));
	EXPECT(!unxz(packed, len, seen, 5001));
	/* A bit of the data or of the check; what comes after them is not looked at. */
	for (size_t at = 0; at < len - 40; at++) {
		packed[at] ^= 1 << rnd() % 8;
		EXPECT(!unxz(packed, len, seen, 5000));
		len = pack(5000, 1, LZMA_CHECK_CRC32);
	}
	/* cut short; copies, so that a read beyond the end is seen */
	for (size_t n = 0; n < len - 40; n += 1 + n / 20) {
		uint8_t *cut = memcpy(malloc(n + !n), packed, n);

		EXPECT(!unxz(cut, n, seen, 5000));
		free(cut);
	}
}
