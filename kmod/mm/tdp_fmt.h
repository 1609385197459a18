/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The encoding of a second-stage entry. NPT and EPT differ in this table and
 * in nothing else; tdp_fmt.c holds both and refuses overlaps at build time.
 */
#ifndef RL_TDP_FMT_H
#define RL_TDP_FMT_H

#include <linux/bits.h>
#include <linux/mem_encrypt.h>
#include "../types.h"

#define RL_TDP_MAX_LEVELS	5

/**
 * struct rl_tdp_fmt - one entry encoding
 * @present: the entry is in use when any of these is set
 * @table: bits of an entry that points to a table
 * @leaf: bits of every leaf: readable, in the guest's reach
 * @ram: memory type of RAM
 * @mmio: memory type of device memory
 * @write: may be written
 * @exec: must be set to fetch instructions, 0 when @nx decides
 * @nx: must be clear to fetch instructions, 0 when @exec decides
 * @huge: a leaf above level 1
 * @accessed: set by the CPU (by software at map time without A/D bits)
 * @dirty: the same for writes
 */
struct rl_tdp_fmt {
	const char *name;
	u64 present, table, leaf, ram, mmio;
	u64 write, exec, nx, huge;
	u64 accessed, dirty;
};

extern const struct rl_tdp_fmt *rl_tdp_fmt;

/* What the CPU's second stage can do; the backend's hardware_setup() says it. */
struct rl_tdp_caps {
	bool page_2m, page_1g;
	bool ad_bits;		/* the CPU sets accessed and dirty */
	bool dirty_log;		/* and lists pages whose dirty bit it sets, if rl_slots_log() */
	bool nx_huge;		/* mm/: an executable large page can hang the CPU */
	u8 levels;
};

extern struct rl_tdp_caps rl_tdp_caps;

/* Software bits, free in both encodings. */
#define RL_SPTE_HOST_WRITABLE	BIT_ULL(52)	/* the host's own mapping is writable */
#define RL_SPTE_PAGE		BIT_ULL(53)	/* has a struct page that learns of A and D */
#define RL_SPTE_SOFT		(RL_SPTE_HOST_WRITABLE | RL_SPTE_PAGE)
#define RL_SPTE_ADDR		GENMASK_ULL(51, 12)

/* 4 KiB pages under one entry of @level. */
static inline u64 rl_level_pages(int level)
{
	return 1ULL << (9 * (level - 1));
}

static inline bool rl_spte_present(u64 spte)
{
	return spte & rl_tdp_fmt->present;
}

static inline bool rl_spte_is_leaf(u64 spte, int level)
{
	return rl_spte_present(spte) && (level == 1 || (spte & rl_tdp_fmt->huge));
}

static inline bool rl_spte_is_table(u64 spte, int level)
{
	return level > 1 && rl_spte_present(spte) && !(spte & rl_tdp_fmt->huge);
}

static inline hpa_t rl_spte_hpa(u64 spte)
{
	return __sme_clr(spte & RL_SPTE_ADDR);
}

bool rl_spte_allows(u64 spte, u32 access);
void rl_tdp_init(void);

#endif
