// SPDX-License-Identifier: GPL-2.0
/*
 * What xz packed, into memory: liblzma does it, but for two parts that are all
 * about time. Of 3.7 G instructions for Debian's kernel, liblzma spends 0.6 G in the
 * filter for x86 code, which looks at each byte, and 0.24 G in the CRC.
 *
 * Owns:    nothing.
 * Touches: the memory that it is given.
 * Locks:   none.
 * Manuals: The .xz File Format 1.1.0, "Block" and "Branch/Call/Jump Filters for
 *          Executables".
 */
#include <emmintrin.h>
#include <libdeflate.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>

#include "unxz.h"

#define OPERAND_END	5		/* of a call or jump, from its first byte */

/* Where the next byte is that is a call (0xe8) or a jump (0xe9); @end if nowhere. */
static size_t next_call(const uint8_t *code, size_t at, size_t end)
{
	const __m128i even = _mm_set1_epi8((char)0xfe), call = _mm_set1_epi8((char)0xe8);

	for (; at + 16 <= end; at += 16) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)(code + at));
		unsigned int found = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_and_si128(bytes, even),
								      call));

		if (found)
			return at + __builtin_ctz(found);
	}
	while (at < end && (code[at] & 0xfe) != 0xe8)
		at++;
	return at;
}

/* The top byte of a distance that is less than 16 MiB, either way. */
static bool is_near(uint8_t top)
{
	return top == 0 || top == 0xff;
}

/*
 * The filter has made absolute addresses of the distances in calls and jumps, as far as
 * they are near. Which of the bytes that look like one it took depends on others that it
 * had passed over up to three bytes before: with two of those it takes none, nor with one
 * that looked near. With one that did not, @back bytes before, the address was complemented
 * below that one's own top byte when that byte would have come to look near.
 */
static uint32_t distance(uint32_t address, uint32_t after, unsigned int back)
{
	for (;;) {
		uint32_t to = address - after;

		if (!back || !is_near(to >> (24 - 8 * back)))
			return to;
		address = to ^ 0xffffffffu >> 8 * back;
	}
}

static void unfilter_x86(uint8_t *code, size_t size)
{
	unsigned int passed = 0, near = 0;	/* bit n: n bytes before @last */
	size_t last = 0, at = 0, end = size < OPERAND_END ? 0 : size - OPERAND_END + 1;
	uint32_t operand;

	while ((at = next_call(code, at, end)) < end) {
		size_t gap = at - last;

		passed = gap > 3 ? 0 : passed << gap & 0xe;
		near = gap > 3 ? 0 : near << gap & 0xe;
		last = at;
		memcpy(&operand, code + at + 1, sizeof(operand));
		if (!is_near(operand >> 24) || near || (passed & (passed - 1))) {
			passed |= 1;
			near |= is_near(operand >> 24);
			at++;
			continue;
		}
		operand = distance(operand, at + OPERAND_END, passed ? __builtin_ctz(passed) : 0);
		/* 25 bits with sign are what there is. */
		operand = (operand & 0x1ffffff) | (operand & 0x1000000 ? 0xfe000000 : 0);
		memcpy(code + at + 1, &operand, sizeof(operand));
		at += OPERAND_END;
		passed = 0;
		near = 0;
	}
}

/* How the first block was packed, if in a way that is known here. Its data begin at *@at. */
static bool read_headers(const uint8_t *in, size_t len, lzma_filter *filters, size_t *at)
{
	lzma_stream_flags flags;
	lzma_block block = { .version = 1, .filters = filters };

	if (len < LZMA_STREAM_HEADER_SIZE + 1 ||
	    lzma_stream_header_decode(&flags, in) != LZMA_OK || flags.check != LZMA_CHECK_CRC32)
		return false;
	block.check = flags.check;
	block.header_size = lzma_block_header_size_decode(in[LZMA_STREAM_HEADER_SIZE]);
	*at = LZMA_STREAM_HEADER_SIZE + block.header_size;
	return *at <= len &&
	       lzma_block_header_decode(&block, NULL, in + LZMA_STREAM_HEADER_SIZE) == LZMA_OK;
}

static bool unxz_code(const uint8_t *in, size_t len, const lzma_filter *filters, size_t at,
		      uint8_t *out, size_t size)
{
	const lzma_options_bcj *bcj = filters[0].options;
	size_t out_at = 0;
	uint32_t crc;

	if (filters[0].id != LZMA_FILTER_X86 || (bcj && bcj->start_offset) ||
	    filters[1].id != LZMA_FILTER_LZMA2 || filters[2].id != LZMA_VLI_UNKNOWN)
		return false;
	if (lzma_raw_buffer_decode(filters + 1, NULL, in, &at, len, out, &out_at, size) != LZMA_OK ||
	    out_at != size)
		return false;
	at = (at + 3) & ~(size_t)3;
	if (at > len || len - at < sizeof(crc))
		return false;
	unfilter_x86(out, size);
	memcpy(&crc, in + at, sizeof(crc));
	return libdeflate_crc32(0, out, size) == crc;
}

/**
 * unxz() - Unpack a stream
 * @out:  receives @size bytes; anything when it fails
 *
 * Return: whether it was a stream of this size, its check correct. What comes behind the data
 * may go unread.
 */
bool unxz(const uint8_t *in, size_t len, uint8_t *out, size_t size)
{
	lzma_filter filters[LZMA_FILTERS_MAX + 1];
	uint64_t most = UINT64_MAX;
	size_t at = 0, out_at = 0;
	bool done = false;

	if (read_headers(in, len, filters, &at)) {
		done = unxz_code(in, len, filters, at, out, size);
		lzma_filters_free(filters, NULL);
	}
	if (done)
		return true;
	at = 0;
	return lzma_stream_buffer_decode(&most, 0, NULL, in, &at, len, out, &out_at, size) ==
	       LZMA_OK && at == len && out_at == size;
}
