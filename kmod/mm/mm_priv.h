/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of mm/ say to each other. "Flush" means that the caller owes
 * an rl_tdp_flush() before it drops mmu->lock (removed translations) or before
 * it returns to user space (lost write permission).
 */
#ifndef RL_MM_PRIV_H
#define RL_MM_PRIV_H

#include <linux/mm_types.h>
#include <linux/nospec.h>
#include "mm.h"

struct rl_tdp_iter;

/* slots.c */
struct rl_memslots *rl_slots_locked(struct rl_vm *vm);	/* slots_lock or mmu->lock */
struct rl_memslot *rl_slots_find(struct rl_memslots *slots, gfn_t gfn);
struct rl_memslot *rl_slot_by_id(struct rl_vm *vm, u32 slot);	/* slots_lock; -EINVAL, -ENOENT */
bool rl_slot_fits(const struct rl_memslot *slot, gfn_t gfn, int level);

/* @gfn lies in the slot; not even a speculative access leaves it. */
static inline hva_t rl_slot_hva(const struct rl_memslot *slot, gfn_t gfn)
{
	return slot->hva + (array_index_nospec(gfn - slot->base_gfn, slot->npages) << PAGE_SHIFT);
}

static inline bool rl_slot_writable(const struct rl_memslot *slot)
{
	return !(slot->flags & KVM_MEM_READONLY);
}

/*
 * tdp.c, all with mmu->lock held. @yield: the lock may be dropped on the way,
 * after a flush.
 */
void rl_tdp_set_spte(struct rl_vm *vm, const struct rl_tdp_iter *it, u64 new_spte);
bool rl_tdp_zap(struct rl_vm *vm, gfn_t start, gfn_t end, bool yield);
bool rl_tdp_zap_small(struct rl_vm *vm, const struct rl_memslot *slot);
bool rl_tdp_age(struct rl_vm *vm, gfn_t start, gfn_t end, bool clear);
void rl_tdp_catch_writes(struct rl_vm *vm, gfn_t start, gfn_t end);
bool rl_tdp_catch_masked(struct rl_vm *vm, gfn_t base, unsigned long mask);
void rl_tdp_split(struct rl_vm *vm, const struct rl_tdp_iter *it, struct page *table);
void rl_tdp_link(struct rl_vm *vm, const struct rl_tdp_iter *it, struct page *table);
void rl_tdp_flush(struct rl_vm *vm);

/* dirty_ring.c */
void rl_dirty_ring_push(const struct rl_memslot *slot, u64 offset);

/* hostpt.c */
/**
 * struct rl_host_page - how the owner's page table maps one hva
 * @pfn: 4 KiB frame at that hva
 * @level: of the host's entry, as in the second stage (1: 4 KiB)
 * @writable: the host may write without a fault
 * @has_page: a struct page that wants to know of accesses and writes
 */
struct rl_host_page {
	u64 pfn;
	u8 level;
	bool writable;
	bool has_page;
};

bool rl_host_walk(struct mm_struct *mm, hva_t hva, bool write, struct rl_host_page *host);
int rl_host_fault(hva_t hva, bool write);

#endif
