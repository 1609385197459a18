/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The walk over a second-stage table, top down and in address order:
 *
 *	for_each_rl_spte(it, mmu, start, end)
 *		it.level, it.gfn, it.sptep, it.old_spte
 *
 * visits every entry that covers part of [start, end), present or not. Where
 * it.old_spte points to a table when the body is done (put there by the body
 * or not), the walk goes down into it. A body that drops mmu->lock calls
 * rl_it_start() again from it.gfn, since tables may be gone.
 */
#ifndef RL_TDP_ITER_H
#define RL_TDP_ITER_H

#include <linux/io.h>
#include <linux/lockdep.h>

#include "mm.h"
#include "tdp_fmt.h"

struct rl_tdp_iter {
	gfn_t gfn;		/* first gfn of interest under @sptep */
	gfn_t end;
	gfn_t yielded;		/* where the lock was dropped last, for it_yield() */
	u64 *sptep;		/* NULL when the walk is over */
	u64 old_spte;
	int level;
	int levels;
	u64 *table[RL_TDP_MAX_LEVELS + 1];	/* by level */
};

static inline unsigned int rl_it_index(const struct rl_tdp_iter *it)
{
	return (it->gfn >> (9 * (it->level - 1))) & (PTRS_PER_PTE - 1);
}

/* First gfn that the current entry covers. */
static inline gfn_t rl_it_base(const struct rl_tdp_iter *it)
{
	return it->gfn & ~(rl_level_pages(it->level) - 1);
}

static inline void rl_it_load(struct rl_tdp_iter *it)
{
	it->sptep = it->table[it->level] + rl_it_index(it);
	it->old_spte = READ_ONCE(*it->sptep);
}

static inline void rl_it_start(struct rl_tdp_iter *it, struct rl_mmu *mmu, gfn_t start, gfn_t end)
{
	lockdep_assert_held(&mmu->lock);

	it->gfn = start;
	it->yielded = ~0ULL;
	/* Nothing lies beyond what the top table can address. */
	it->end = min_t(gfn_t, end, rl_level_pages(mmu->levels + 1));
	it->level = mmu->levels;
	it->levels = mmu->levels;
	it->table[it->level] = mmu->root_table;
	it->sptep = NULL;
	it->old_spte = 0;
	if (start < it->end)
		rl_it_load(it);
}

static inline bool rl_it_step_down(struct rl_tdp_iter *it)
{
	if (!rl_spte_is_table(it->old_spte, it->level))
		return false;
	it->level--;
	it->table[it->level] = __va(rl_spte_hpa(it->old_spte));
	rl_it_load(it);
	return true;
}

/* To the next entry of this table or, behind its last one, of one above. */
static inline void rl_it_step_over(struct rl_tdp_iter *it)
{
	it->gfn = rl_it_base(it) + rl_level_pages(it->level);
	if (it->gfn >= it->end) {
		it->sptep = NULL;
		return;
	}
	while (!rl_it_index(it) && it->level < it->levels)
		it->level++;
	rl_it_load(it);
}

static inline void rl_it_next(struct rl_tdp_iter *it)
{
	if (!rl_it_step_down(it))
		rl_it_step_over(it);
}

#define for_each_rl_spte(it, mmu, start, end)				\
	for (rl_it_start(&(it), mmu, start, end); (it).sptep; rl_it_next(&(it)))

#endif
