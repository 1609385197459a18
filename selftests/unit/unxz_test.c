// SPDX-License-Identifier: GPL-2.0
/*
 * The launcher's xz decoder: what xz packs comes back, whatever the settings; what is
 * broken is refused, or at least harms nothing (the sanitizers tell).
 */
#include <stdbool.h>
#include <string.h>

#include "../../tools/unxz.h"
#include "unit.h"

#define SIZE	(1 << 20)

static uint8_t plain[SIZE], unpacked[SIZE], packed[SIZE * 2];
static uint64_t seed = 1;

void *xcalloc(size_t n, size_t size)
{
	return calloc(n, size);
}

static uint32_t any(void)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return seed >> 33;
}

/* Calls, repetitions near and far, noise and zeros, in turn. */
static void make_plain(void)
{
	size_t at = 0;

	while (at < SIZE - 512) {
		unsigned int kind = any() % 5, len = 1 + any() % 300, back;

		for (unsigned int i = 0; kind == 0 && i < len; i++)
			plain[at + i] = any() % 3 ? 0x40 + any() % 16 : 0xe8 + any() % 2;
		for (unsigned int i = 0; kind == 1 && i < len; i++)
			plain[at + i] = any() % 4 ? 0xe8 : any() % 2 * 0xff;
		for (unsigned int i = 0; kind == 2 && i < len; i++)
			plain[at + i] = any();
		if (kind == 3)
			memset(plain + at, any() % 2 ? 0 : 0xff, len);
		back = at ? 1 + any() % at : 0;
		for (unsigned int i = 0; kind == 4 && back && i < len; i++)
			plain[at + i] = plain[at + i - back];
		at += len;
	}
}

static size_t pack(const char *filters)
{
	char name[] = "/tmp/unxz_test.XXXXXX", command[256];
	size_t len = 0;
	FILE *f;
	int fd = mkstemp(name);

	if (fd < 0)
		return 0;
	f = fdopen(fd, "w");
	fwrite(plain, 1, SIZE, f);
	fclose(f);
	snprintf(command, sizeof(command), "xz -c --check=crc32 %s < %s", filters, name);
	f = popen(command, "r");
	if (f) {
		len = fread(packed, 1, sizeof(packed) - XZ_SLACK, f);
		if (pclose(f))
			len = 0;
	}
	remove(name);
	return len;
}

static void expect_same(const char *filters)
{
	size_t len = pack(filters);

	memset(unpacked, 0x55, SIZE);
	if (!EXPECT(len) || !EXPECT(unxz(packed, len, unpacked, SIZE)) ||
	    !EXPECT(!memcmp(plain, unpacked, SIZE)))
		printf("# with %s\n", filters);
	/* A length that is not the right one is as wrong as a checksum. */
	EXPECT(!unxz(packed, len, unpacked, SIZE - 1));
}

TEST(as_kernels_are_packed)
{
	make_plain();
	expect_same("--x86 --lzma2=dict=32MiB");
}

TEST(other_settings)
{
	expect_same("--lzma2=preset=0");
	expect_same("--lzma2=preset=9,lc=0,lp=2,pb=0");
	expect_same("--x86 --lzma2=preset=6,lc=1,lp=3,pb=4");
	expect_same("--x86 --lzma2=preset=6,lc=4,lp=0,pb=2,nice=273");
	expect_same("--lzma2=preset=6,dict=4096,mode=fast");
}

TEST(unknown_filters)
{
	size_t len = pack("--delta=dist=4 --lzma2=preset=1");

	EXPECT(len && !unxz(packed, len, unpacked, SIZE));
	len = pack("--arm --lzma2=preset=1");
	EXPECT(len && !unxz(packed, len, unpacked, SIZE));
}

TEST(broken_input)
{
	size_t len = pack("--x86 --lzma2=preset=6");
	static uint8_t copy[sizeof(packed)];
	unsigned int accepted = 0;

	for (unsigned int i = 0; i < 300; i++) {
		memcpy(copy, packed, len + XZ_SLACK);
		/* Most of all where headers and first chunks are. */
		for (unsigned int n = 1 + any() % 4; n--;)
			copy[any() % (i % 2 ? len : 200)] = any();
		accepted += unxz(copy, len, unpacked, SIZE);
	}
	/* Fields that are not looked at, like checksums, may change. */
	EXPECT(accepted < 100);
	for (size_t cut = 0; cut < len - 40; cut += 1 + len / 60)
		EXPECT(!unxz(packed, cut, unpacked, SIZE));
}
