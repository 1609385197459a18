// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two-stage paging: the table itself. Remove, age, split and write-protect
 * guest-physical ranges; fault.c puts entries in.
 *
 * Owns:    struct rl_mmu and every table page under its root.
 * Touches: tdp_fmt.h (EPT or NPT bits), flags of the struct pages that were
 *          mapped. Never vmx/ or svm/.
 * Locks:   mmu->lock, held with interrupts on so that a flush may wait for
 *          other CPUs under it. Interrupts off: trylock only.
 * Manuals: SDM Vol 3C, "The Extended Page Table Mechanism (EPT)"; APM Vol 2,
 *          "Nested Paging".
 *
 * Rules:
 *  - A translation is there only while the host's own page table has it; the
 *    notifier takes it away in time, and so no page is held by a reference.
 *  - What was removed is flushed before mmu->lock is dropped: the next holder
 *    would find nothing present and think that no CPU uses the page. Lost
 *    write permission may be flushed later, since a holder who cares about
 *    that removes the entry, which is still present, and flushes.
 *  - A table page that is unlinked waits in mmu->zapped for that flush: until
 *    then a CPU may still walk through it.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include "../trace.h"
#include "../vcpu.h"
#include "../vm.h"
#include "mm_priv.h"
#include "tdp_iter.h"

static void spte_changed(struct rl_vm *vm, gfn_t gfn, int level, u64 old_spte, u64 new_spte);

static void count_leaf(struct rl_vm *vm, int level, int n)
{
	atomic64_t *stat = level == 1 ? &vm->stat.mapped_4k :
			   level == 2 ? &vm->stat.mapped_2m : &vm->stat.mapped_1g;

	atomic64_add(n, stat);
}

/* Tell the host's page what the guest did to it. */
static void leaf_removed(u64 spte)
{
	const struct rl_tdp_fmt *fmt = rl_tdp_fmt;
	struct page *page;

	if (!(spte & RL_SPTE_PAGE))
		return;
	page = pfn_to_page(rl_spte_hpa(spte) >> PAGE_SHIFT);
	/*
	 * The flag alone, as for a page that a driver wrote: the host's own
	 * entry is writable, so file systems know that the page may be dirty.
	 */
	if ((spte & fmt->dirty) && !PageDirty(page))
		SetPageDirty(page);
	if (spte & fmt->accessed)
		mark_page_accessed(page);
}

/* A subtree was unlinked: CPUs may still walk in it, and set A and D. */
static void table_removed(struct rl_vm *vm, gfn_t gfn, int level, u64 spte)
{
	u64 *table = __va(rl_spte_hpa(spte));
	int i;

	for (i = 0; i < PTRS_PER_PTE; i++, gfn += rl_level_pages(level))
		if (rl_spte_present(READ_ONCE(table[i])))
			spte_changed(vm, gfn, level, xchg(&table[i], 0), 0);
	list_add(&virt_to_page(table)->lru, &vm->mmu.zapped);
	vm->mmu.nr_tables--;
}

/* All bookkeeping of a change from @old_spte to @new_spte, which maps from @gfn on. */
static void spte_changed(struct rl_vm *vm, gfn_t gfn, int level, u64 old_spte, u64 new_spte)
{
	bool was_leaf = rl_spte_is_leaf(old_spte, level);
	bool is_leaf = rl_spte_is_leaf(new_spte, level);
	bool same = rl_spte_present(new_spte) && rl_spte_hpa(old_spte) == rl_spte_hpa(new_spte);

	rl_trace(spte, vm, gfn, level, old_spte, new_spte);
	if (is_leaf != was_leaf)
		count_leaf(vm, level, is_leaf - was_leaf);
	/* A dirty bit must not get lost, not even in a change that keeps the page. */
	if (was_leaf && (!same || (old_spte & ~new_spte & rl_tdp_fmt->dirty)))
		leaf_removed(old_spte);
	if (!same && rl_spte_is_table(old_spte, level))
		table_removed(vm, gfn, level - 1, old_spte);
}

/*
 * The CPU may set A and D at any time, hence the exchange; bits that it set
 * since @new_spte was computed go to the struct page.
 */
static void set_spte(struct rl_vm *vm, u64 *sptep, gfn_t gfn, int level, u64 new_spte)
{
	u64 old_spte = READ_ONCE(*sptep);

	lockdep_assert_held(&vm->mmu.lock);

	/* Nobody but the lock's holder fills an entry that is not present. */
	if (!rl_spte_present(old_spte))
		WRITE_ONCE(*sptep, new_spte);
	else
		old_spte = xchg(sptep, new_spte);
	spte_changed(vm, gfn, level, old_spte, new_spte);
}

/*
 * rl_tdp_set_spte() - The one way to change an entry
 *
 * Context: mmu->lock held.
 */
void rl_tdp_set_spte(struct rl_vm *vm, const struct rl_tdp_iter *it, u64 new_spte)
{
	set_spte(vm, it->sptep, rl_it_base(it), it->level, new_spte);
}

static void free_zapped(struct rl_mmu *mmu)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &mmu->zapped, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
}

/*
 * rl_tdp_flush() - No CPU uses what was removed, when this returns
 *
 * Context: mmu->lock held, interrupts on.
 */
void rl_tdp_flush(struct rl_vm *vm)
{
	lockdep_assert_held(&vm->mmu.lock);

	rl_request_all(vm, RL_REQ_TLB_FLUSH, true);
	free_zapped(&vm->mmu);
}

/*
 * Let others in between two entries, at the price of a flush now. Once at each
 * place: the walk starts anew from the top, and would never get anywhere while
 * others always want the lock.
 */
static void it_yield(struct rl_vm *vm, struct rl_tdp_iter *it, bool *flush)
{
	if (it->yielded == it->gfn || (!need_resched() && !spin_needbreak(&vm->mmu.lock)))
		return;
	if (*flush)
		rl_tdp_flush(vm);
	*flush = false;
	cond_resched_lock(&vm->mmu.lock);
	rl_it_start(it, &vm->mmu, it->gfn, it->end);
	it->yielded = it->gfn;
}

/*
 * rl_tdp_zap() - Remove every translation in [start, end)
 * @yield: the lock may be dropped on the way
 *
 * A large page that reaches out of the range goes as a whole.
 *
 * Context: mmu->lock held.
 * Return: true when the caller has to flush.
 */
bool rl_tdp_zap(struct rl_vm *vm, gfn_t start, gfn_t end, bool yield)
{
	struct rl_tdp_iter it;
	bool flush = false;
	bool inside;

	for_each_rl_spte(it, &vm->mmu, start, end) {
		if (yield)
			it_yield(vm, &it, &flush);
		if (!rl_spte_present(it.old_spte))
			continue;
		/* The lowest tables go whole; the few above them stay for reuse. */
		inside = it.gfn == rl_it_base(&it) && end - it.gfn >= rl_level_pages(it.level);
		if (rl_spte_is_table(it.old_spte, it.level) && (it.level > 2 || !inside))
			continue;
		rl_tdp_set_spte(vm, &it, 0);
		it.old_spte = 0;
		flush = true;
	}
	return flush;
}

/*
 * rl_tdp_zap_small() - Remove 4 KiB translations that could be a larger one
 *
 * The next faults choose anew. Where the host has small pages too there is
 * nothing to gain, and the translations stay.
 *
 * Context: owner's thread, mmu->lock held, and dropped on the way.
 * Return: true when the caller has to flush.
 */
bool rl_tdp_zap_small(struct rl_vm *vm, const struct rl_memslot *slot)
{
	gfn_t end = slot->base_gfn + slot->npages;
	struct rl_host_page host;
	struct rl_tdp_iter it;
	bool flush = false;

	for_each_rl_spte(it, &vm->mmu, slot->base_gfn, end) {
		it_yield(vm, &it, &flush);
		if (it.level != 2 || !rl_spte_is_table(it.old_spte, 2))
			continue;
		if (rl_slot_fits(slot, it.gfn, 2) &&
		    rl_host_walk(vm->mm, rl_slot_hva(slot, it.gfn), false, &host) &&
		    host.level > 1) {
			rl_tdp_set_spte(vm, &it, 0);
			flush = true;
		}
		/* No need to look at each of the small ones. */
		it.old_spte = 0;
	}
	return flush;
}

/*
 * rl_tdp_age() - Was anything in [start, end) accessed?
 * @clear: forget about it, for the next time
 *
 * Without accessed bits in hardware what is mapped counts as accessed, and
 * @clear unmaps it: the next access shows as a fault. Cleared bits are not
 * flushed, as the host does not for its own: they are a hint.
 *
 * Context: mmu->lock held; a flush is included when it is needed.
 */
bool rl_tdp_age(struct rl_vm *vm, gfn_t start, gfn_t end, bool clear)
{
	u64 accessed = rl_tdp_fmt->accessed;
	struct rl_tdp_iter it;
	bool young = false, flush = false;

	for_each_rl_spte(it, &vm->mmu, start, end) {
		if (!rl_spte_is_leaf(it.old_spte, it.level) || !(it.old_spte & accessed))
			continue;
		young = true;
		if (!clear)
			break;
		if (rl_tdp_caps.ad_bits) {
			rl_tdp_set_spte(vm, &it, it.old_spte & ~accessed);
		} else {
			rl_tdp_set_spte(vm, &it, 0);
			flush = true;
		}
	}
	if (flush)
		rl_tdp_flush(vm);
	return young;
}

/* Have the next write show: as a fault, or in the CPU's list of what it made dirty. */
static bool catch_write(struct rl_vm *vm, struct rl_tdp_iter *it)
{
	u64 bit = rl_tdp_caps.dirty_log && it->level == 1 ? rl_tdp_fmt->dirty : rl_tdp_fmt->write;

	if (!rl_spte_is_leaf(it->old_spte, it->level) || !(it->old_spte & bit))
		return false;
	rl_tdp_set_spte(vm, it, it->old_spte & ~bit);
	return true;
}

/*
 * rl_tdp_catch_masked() - Have the next write to some of 64 pages show
 * @base: gfn that bit 0 of @mask stands for
 *
 * A large page goes read-only as a whole; the write that follows splits it.
 *
 * Context: mmu->lock held. Return: true when the caller has to flush.
 */
bool rl_tdp_catch_masked(struct rl_vm *vm, gfn_t base, unsigned long mask)
{
	struct rl_tdp_iter it;
	bool flush = false;

	if (!mask)
		return false;
	for_each_rl_spte(it, &vm->mmu, base + __ffs(mask), base + __fls(mask) + 1)
		if (it.level > 1 || mask >> (it.gfn - base) & 1)
			flush |= catch_write(vm, &it);
	return flush;
}

/*
 * rl_tdp_catch_writes() - Have the next write to each page of [start, end) show
 *
 * Context: mmu->lock held, and dropped on the way; the caller flushes.
 */
void rl_tdp_catch_writes(struct rl_vm *vm, gfn_t start, gfn_t end)
{
	for (; start < end; start += BITS_PER_LONG) {
		rl_tdp_catch_masked(vm, start,
				    GENMASK(min_t(u64, end - start, BITS_PER_LONG) - 1, 0));
		cond_resched_lock(&vm->mmu.lock);
	}
}

/*
 * rl_tdp_link() - Put an empty or filled table under an entry
 */
void rl_tdp_link(struct rl_vm *vm, const struct rl_tdp_iter *it, struct page *table)
{
	vm->mmu.nr_tables++;
	rl_tdp_set_spte(vm, it, __sme_set(page_to_phys(table)) | rl_tdp_fmt->table);
}

/*
 * rl_tdp_split() - Replace a large leaf by a table of smaller ones
 * @it: at the leaf
 * @table: empty page for the table
 *
 * Same frames, same rights; but code that a large page must not hold (see
 * nx_huge) may run from 4 KiB ones. Old translations stay correct, so nobody
 * has to be flushed.
 */
void rl_tdp_split(struct rl_vm *vm, const struct rl_tdp_iter *it, struct page *table)
{
	u64 npages = rl_level_pages(it->level - 1);
	const struct rl_tdp_fmt *fmt = rl_tdp_fmt;
	u64 *child = page_address(table);
	u64 spte = READ_ONCE(*it->sptep);
	int i;

	if (it->level == 2)
		spte = (spte & ~fmt->huge) | fmt->exec;
	for (i = 0; i < PTRS_PER_PTE; i++)
		set_spte(vm, child + i, rl_it_base(it) + i * npages, it->level - 1,
			 spte + i * (npages << PAGE_SHIFT));
	rl_tdp_link(vm, it, table);
}

/**
 * rl_mmu_init() - An empty second-stage table
 * @vm: the VM
 *
 * Context: VM creation. Return: 0 or -ENOMEM.
 */
int rl_mmu_init(struct rl_vm *vm)
{
	struct rl_mmu *mmu = &vm->mmu;
	struct page *page;

	rl_tdp_init();
	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page)
		return -ENOMEM;
	spin_lock_init(&mmu->lock);
	INIT_LIST_HEAD(&mmu->zapped);
	mmu->levels = rl_tdp_caps.levels;
	mmu->root_table = page_address(page);
	mmu->root = __sme_set(page_to_phys(page));
	mmu->nr_tables = 1;
	return 0;
}

/**
 * rl_mmu_destroy() - Free the table
 * @vm: the VM
 *
 * Context: no vCPU is left, and so no flush is needed. All leaves went in
 * rl_notifier_unregister(), while the pages behind them were sure to be there.
 */
void rl_mmu_destroy(struct rl_vm *vm)
{
	struct rl_mmu *mmu = &vm->mmu;

	if (!mmu->root)
		return;
	spin_lock(&mmu->lock);
	table_removed(vm, 0, mmu->levels, mmu->root);
	free_zapped(mmu);
	spin_unlock(&mmu->lock);
	WARN_ON_ONCE(mmu->nr_tables);
}
