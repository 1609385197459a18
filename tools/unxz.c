// SPDX-License-Identifier: GPL-2.0
/*
 * xz for whole buffers: what kernels are packed in, one block of LZMA2 behind a
 * filter for x86 code. All of a kernel's start-up waits for this, so it is made for
 * that: the output is its own dictionary, the input is bounded once per symbol.
 *
 * Owns:    nothing.
 * Touches: nothing else.
 * Manuals: The .xz File Format 1.1.0; LZMA specification (7-Zip's lzma-specification.txt).
 */
#include <stdlib.h>
#include <string.h>

#include "unxz.h"
#include "util.h"

#define PROB_BITS	11
#define PROB_HALF	(1u << (PROB_BITS - 1))
#define ADAPT		5
#define RANGE_LOW	BIT(24)	/* below, another byte is due */
#define STATES		12
#define LITERAL_STATES	7		/* the lower ones follow a literal */
#define POS_STATES	16
#define LITERAL_PROBS	0x300
#define MATCH_MIN	2

struct length_probs {
	uint16_t choice, choice2, low[POS_STATES][8], mid[POS_STATES][8], high[256];
};

/* The parts are one array of uint16_t when they are reset. */
struct probs {
	uint16_t is_match[STATES][POS_STATES], is_rep[STATES], is_rep_g0[STATES];
	uint16_t is_rep_g1[STATES], is_rep_g2[STATES], is_rep0_long[STATES][POS_STATES];
	uint16_t slot[4][64], special[128], align[16];
	struct length_probs match_len, rep_len;
	uint16_t literal[LITERAL_PROBS << 4];
};

struct lzma {
	struct probs p;
	uint32_t rep[4], state;
	unsigned int lc, lp, pb;
	uint8_t *out, *pos, *dict;	/* buffer, where it is filled to, where matches begin */
};

/* The range decoder's state, in locals of one function for speed. */
struct range {
	uint32_t range, code;
	const uint8_t *in;
};

static __always_inline void normalize(struct range *r)
{
	if (r->range < RANGE_LOW) {
		r->range <<= 8;
		r->code = r->code << 8 | *r->in++;
	}
}

static __always_inline unsigned int bit(struct range *r, uint16_t *prob)
{
	uint32_t p = *prob, bound;

	normalize(r);
	bound = (r->range >> PROB_BITS) * p;
	if (r->code < bound) {
		r->range = bound;
		*prob = p + (((1u << PROB_BITS) - p) >> ADAPT);
		return 0;
	}
	r->range -= bound;
	r->code -= bound;
	*prob = p - (p >> ADAPT);
	return 1;
}

/* A number of @bits bits, from the highest on, with a one before it. */
static __always_inline uint32_t tree(struct range *r, uint16_t *probs, unsigned int bits)
{
	uint32_t m = 1;

	while (bits--)
		m = m << 1 | bit(r, &probs[m]);
	return m;
}

static __always_inline uint32_t reverse_tree(struct range *r, uint16_t *probs, unsigned int bits)
{
	uint32_t m = 1, value = 0;

	for (unsigned int i = 0; i < bits; i++) {
		unsigned int b = bit(r, &probs[m]);

		m = m << 1 | b;
		value |= b << i;
	}
	return value;
}

static uint32_t length(struct range *r, struct length_probs *p, unsigned int pos_state)
{
	struct range local = *r;
	uint32_t len;

	if (!bit(&local, &p->choice))
		len = tree(&local, p->low[pos_state], 3) - 8;
	else if (!bit(&local, &p->choice2))
		len = tree(&local, p->mid[pos_state], 3);
	else
		len = tree(&local, p->high, 8) - 256 + 16;
	*r = local;
	return len + MATCH_MIN;
}

static uint32_t distance(struct range *r, struct probs *p, uint32_t len)
{
	unsigned int class = len - MATCH_MIN < 3 ? len - MATCH_MIN : 3, bits;
	struct range local = *r;
	uint32_t slot = tree(&local, p->slot[class], 6) - 64, d = slot;

	if (slot >= 4) {
		bits = (slot >> 1) - 1;
		d = (2 | (slot & 1)) << bits;
		if (slot < 14) {
			d += reverse_tree(&local, p->special + d - slot, bits);
		} else {
			uint32_t direct = 0;

			for (bits -= 4; bits--; ) {
				normalize(&local);
				local.range >>= 1;
				direct <<= 1;
				if (local.code >= local.range) {
					local.code -= local.range;
					direct |= 1;
				}
			}
			d += direct << 4;
			d += reverse_tree(&local, p->align, 4);
		}
	}
	*r = local;
	return d;
}

/* The bits of a literal after a match lean on the byte that the match would have had. */
static __always_inline uint8_t literal(struct range *r, uint16_t *probs, bool matched,
				       uint32_t like)
{
	uint32_t m = 1, offset = 0x100;

	if (!matched)
		return tree(r, probs, 8);
	do {
		uint32_t expect;
		unsigned int b;

		like <<= 1;
		expect = like & offset;
		b = bit(r, &probs[offset + expect + m]);
		m = m << 1 | b;
		offset &= b ? like : ~like;
	} while (m < 0x100);
	return m;
}

/* The next match's distance goes to rep[0]. Returns its length. */
static uint32_t match(struct lzma *z, struct range *r, unsigned int pos_state)
{
	struct probs *p = &z->p;
	uint32_t s = z->state, len, d;
	bool after_literal = s < LITERAL_STATES;

	if (!bit(r, &p->is_rep[s])) {
		z->state = after_literal ? 7 : 10;
		len = length(r, &p->match_len, pos_state);
		d = distance(r, p, len);
		z->rep[3] = z->rep[2];
		z->rep[2] = z->rep[1];
		z->rep[1] = z->rep[0];
		z->rep[0] = d;
		return len;
	}
	if (!bit(r, &p->is_rep_g0[s])) {
		if (!bit(r, &p->is_rep0_long[s][pos_state])) {
			z->state = after_literal ? 9 : 11;
			return 1;
		}
	} else {
		unsigned int n = 1;

		if (bit(r, &p->is_rep_g1[s]))
			n = 2 + bit(r, &p->is_rep_g2[s]);
		d = z->rep[n];
		for (; n; n--)
			z->rep[n] = z->rep[n - 1];
		z->rep[0] = d;
	}
	z->state = after_literal ? 8 : 11;
	return length(r, &p->rep_len, pos_state);
}

/* One chunk: @in_len bytes become @out_len. @in may be read past its end by a symbol. */
static bool chunk(struct lzma *z, const uint8_t *in, size_t in_len, size_t out_len)
{
	const uint8_t *in_end = in + in_len;
	uint8_t *pos = z->pos, *end = pos + out_len;
	unsigned int lp_mask = (1u << z->lp) - 1, pb_mask = (1u << z->pb) - 1;
	struct probs *p = &z->p;
	struct range r;

	if (in_len < 5 || in[0])
		return false;
	r = (struct range){ ~0u, (uint32_t)in[1] << 24 | in[2] << 16 | in[3] << 8 | in[4], in + 5 };
	while (pos < end) {
		uint32_t at = pos - z->dict, s = z->state, len;
		const uint8_t *from;

		if (r.in > in_end)
			return false;
		if (!bit(&r, &p->is_match[s][at & pb_mask])) {
			unsigned int before = at ? pos[-1] : 0;
			uint16_t *probs = p->literal + LITERAL_PROBS *
				(((at & lp_mask) << z->lc) + (before >> (8 - z->lc)));
			bool matched = s >= LITERAL_STATES;

			if (matched && z->rep[0] >= at)
				return false;
			*pos = literal(&r, probs, matched,
				       matched ? pos[-(size_t)z->rep[0] - 1] : 0);
			pos++;
			z->state = s < 4 ? 0 : s < 10 ? s - 3 : s - 6;
			continue;
		}
		len = match(z, &r, at & pb_mask);
		if (z->rep[0] >= at || len > (size_t)(end - pos))
			return false;
		from = pos - z->rep[0] - 1;
		if (z->rep[0] >= len)
			memcpy(pos, from, len);
		else if (!z->rep[0])
			memset(pos, *from, len);
		else
			for (uint32_t i = 0; i < len; i++)
				pos[i] = from[i];
		pos += len;
	}
	z->pos = pos;
	normalize(&r);
	return r.in == in_end && !r.code;
}

static void reset_state(struct lzma *z)
{
	uint16_t *prob = (uint16_t *)&z->p;

	for (size_t i = 0; i < sizeof(z->p) / sizeof(*prob); i++)
		prob[i] = PROB_HALF;
	memset(z->rep, 0, sizeof(z->rep));
	z->state = 0;
}

static bool set_properties(struct lzma *z, unsigned int byte)
{
	if (byte >= 9 * 5 * 5)
		return false;
	z->lc = byte % 9;
	z->lp = byte / 9 % 5;
	z->pb = byte / 45;
	return z->lc + z->lp <= 4;
}

/* Returns whether @in, up to its end marker, became all of @out. */
static bool lzma2(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	struct lzma *z = xcalloc(1, sizeof(*z));
	bool complete = false;
	size_t at = 0;

	*z = (struct lzma){ .out = out, .pos = out, .dict = out, .lc = 9 };
	while (at < in_len) {
		unsigned int control = in[at];
		size_t room = out_len - (z->pos - out), unpacked, packed;

		if (!control) {
			complete = !room;
			break;
		}
		if (in_len - at < 6 || (control > 2 && control < 0x80))
			break;
		unpacked = (in[at + 1] << 8 | in[at + 2]) + 1;
		if (control >= 0x80)
			unpacked += (size_t)(control & 0x1f) << 16;
		if (unpacked > room)
			break;
		if (control == 1 || control >= 0xe0)
			z->dict = z->pos;
		if (control < 0x80) {
			if (unpacked > in_len - at - 3)
				break;
			memcpy(z->pos, in + at + 3, unpacked);
			z->pos += unpacked;
			at += 3 + unpacked;
			continue;
		}
		packed = (in[at + 3] << 8 | in[at + 4]) + 1;
		at += 5;
		if (control >= 0xc0 && !set_properties(z, in[at++]))
			break;
		if (control >= 0xa0)
			reset_state(z);
		if (z->lc > 8 || packed > in_len - at || !chunk(z, in + at, packed, unpacked))
			break;
		at += packed;
	}
	free(z);
	return complete;
}

/* The upper byte of what an address can be: anything else is no call. */
static bool is_sign(uint8_t b)
{
	return b == 0 || b == 0xff;
}

/* From @i on, the next byte that is E8 or E9, or @end. */
static size_t next_call(const uint8_t *buf, size_t i, size_t end)
{
	const uint64_t ones = 0x0101010101010101ULL, highs = ones << 7;

	for (; i + 8 <= end; i += 8) {
		uint64_t x;

		memcpy(&x, buf + i, 8);
		x = (x & ~ones) ^ 0xe8 * ones;	/* zero where it is */
		x = (x - ones) & ~x & highs;
		if (x)
			return i + __builtin_ctzll(x) / 8;
	}
	while (i < end && (buf[i] & 0xfe) != 0xe8)
		i++;
	return i;
}

/*
 * Calls and jumps were stored with absolute targets. Which E8 and E9 the packer took
 * for one depends on those in the three bytes before that it left alone: bit n of
 * @seen stands for the one n + 1 bytes back.
 */
static void unfilter_x86(uint8_t *buf, size_t size)
{
	size_t end = size < 5 ? 0 : size - 4, last = 0;
	unsigned int seen = 0;

	for (size_t i = next_call(buf, 0, end); i < end; i = next_call(buf, i, end)) {
		unsigned int far;	/* bytes since the first of those that were seen */
		uint32_t value, target;

		seen = i - last > 3 ? 0 : seen << (i - last) >> 1 & 7;
		last = i;
		far = seen ? 32 - __builtin_clz(seen) : 0;
		if ((seen & (seen - 1)) || (seen && is_sign(buf[i + 4 - far])) ||
		    !is_sign(buf[i + 4])) {
			seen = seen << 1 | 1;
			i++;
			continue;
		}
		memcpy(&value, buf + i + 1, 4);
		/* An operand whose bytes could be another opcode's was stored changed. */
		for (;;) {
			target = value - (uint32_t)(i + 5);
			if (!seen || !is_sign(target >> (24 - 8 * far)))
				break;
			value = target ^ ((1u << (32 - 8 * far)) - 1);
		}
		target &= 0x1ffffff;
		if (target & 0x1000000)
			target |= 0xfe000000;
		memcpy(buf + i + 1, &target, 4);
		i += 5;
	}
}

/* A number of seven bits a byte, the lowest first. Moves *@at on; false at the end. */
static bool number(const uint8_t *in, size_t end, size_t *at, uint64_t *value)
{
	*value = 0;
	for (unsigned int shift = 0; shift < 63 && *at < end; shift += 7) {
		uint8_t b = in[(*at)++];

		*value |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return true;
	}
	return false;
}

/**
 * unxz() - Unpack
 * @in:	     XZ_SLACK bytes behind it may be read, too
 * @out_len: what it has to become exactly, which stands for the checksum: that is
 *	     not computed
 *
 * Return: false for what is broken, or uses more than LZMA2 and the x86 filter.
 */
bool unxz(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
	enum { FILTER_X86 = 4, FILTER_LZMA2 = 0x21, HAS_PACKED_SIZE = 0x40, HAS_SIZE = 0x80 };
	size_t at = XZ_HEADER, end;
	uint64_t id, props, size;
	unsigned int flags;
	bool x86 = false;

	if (in_len < XZ_HEADER + 8 || memcmp(in, XZ_MAGIC, XZ_MAGIC_SIZE) || !in[at])
		return false;
	end = at + (in[at] + 1) * 4;
	if (end > in_len)
		return false;
	flags = in[at + 1];
	at += 2;
	if (((flags & HAS_PACKED_SIZE) && !number(in, end, &at, &size)) ||
	    ((flags & HAS_SIZE) && !number(in, end, &at, &size)))
		return false;
	if ((flags & 3) == 1) {
		if (!number(in, end, &at, &id) || id != FILTER_X86 ||
		    !number(in, end, &at, &props) || props)
			return false;
		x86 = true;
	} else if (flags & 3) {
		return false;
	}
	if (!number(in, end, &at, &id) || id != FILTER_LZMA2)
		return false;
	if (!lzma2(in + end, in_len - end, out, out_len))
		return false;
	if (x86)
		unfilter_x86(out, out_len);
	return true;
}
