// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MMU notifier: the host tells what it does to the owner's memory, and the
 * second stage follows. Swap, KSM, migration, compaction, huge pages, fork,
 * madvise, mprotect and munmap all come this way.
 *
 * Owns:    vm->notifier, and in struct rl_mmu seq, in_progress, range_*.
 * Touches: the second-stage table through mm_priv.h.
 * Locks:   called with the host's mm and rmap locks held, so nothing here
 *          sleeps but to yield mmu->lock, and only when the caller may.
 *
 * Between start and end the host changes its entries, and no translation of
 * that range may appear; fault.c has the sketch. seq moves in end, before
 * in_progress drops, both under mmu->lock. Every range is counted, also one
 * without a slot: slots may change between start and end, the count may not.
 *
 * In the middle of a yielding walk the array of slots may be replaced. SRCU
 * keeps the old one, and it is good enough: what appears in the new one alone
 * has no translation in this range yet and gets none, and what left is zapped
 * by who removed it.
 */
#include <linux/mmu_notifier.h>

#include "../vm.h"
#include "mm_priv.h"
#include "tdp_iter.h"

static struct rl_vm *to_vm(struct mmu_notifier *mn)
{
	return container_of(mn, struct rl_vm, notifier);
}

typedef bool range_fn(struct rl_vm *vm, gfn_t start, gfn_t end, bool arg);

/* Call @fn for all guest frames that lie in [start, end) of the owner's memory. */
static bool call_on_range(struct rl_vm *vm, hva_t start, hva_t end, range_fn *fn, bool arg)
{
	struct rl_memslots *slots = rl_slots_locked(vm);
	bool ret = false;
	int i;

	lockdep_assert_held(&vm->mmu.lock);

	for (i = 0; i < slots->nr; i++) {
		struct rl_memslot *slot = slots->slot[i];
		hva_t lo = max(start, slot->hva);
		hva_t hi = min(end, slot->hva + (slot->npages << PAGE_SHIFT));

		if (lo >= hi)
			continue;
		ret |= fn(vm, slot->base_gfn + ((lo - slot->hva) >> PAGE_SHIFT),
			  slot->base_gfn + ((hi - 1 - slot->hva) >> PAGE_SHIFT) + 1, arg);
	}
	return ret;
}

static int invalidate_range_start(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct rl_vm *vm = to_vm(mn);
	struct rl_mmu *mmu = &vm->mmu;
	int idx = srcu_read_lock(&vm->srcu);

	spin_lock(&mmu->lock);
	/* Of several at a time the hull is kept: it need not be exact. */
	if (mmu->in_progress++) {
		mmu->range_start = min(mmu->range_start, range->start);
		mmu->range_end = max(mmu->range_end, range->end);
	} else {
		mmu->range_start = range->start;
		mmu->range_end = range->end;
	}
	if (call_on_range(vm, range->start, range->end, rl_tdp_zap,
			  mmu_notifier_range_blockable(range)))
		rl_tdp_flush(vm);
	spin_unlock(&mmu->lock);
	srcu_read_unlock(&vm->srcu, idx);
	return 0;
}

static void invalidate_range_end(struct mmu_notifier *mn, const struct mmu_notifier_range *range)
{
	struct rl_mmu *mmu = &to_vm(mn)->mmu;

	spin_lock(&mmu->lock);
	mmu->seq++;
	mmu->in_progress--;
	spin_unlock(&mmu->lock);
}

static int age(struct mmu_notifier *mn, hva_t start, hva_t end, bool clear)
{
	struct rl_vm *vm = to_vm(mn);
	int idx = srcu_read_lock(&vm->srcu);
	bool young;

	spin_lock(&vm->mmu.lock);
	young = call_on_range(vm, start, end, rl_tdp_age, clear);
	spin_unlock(&vm->mmu.lock);
	srcu_read_unlock(&vm->srcu, idx);
	return young;
}

/* Not flushed, as x86 does for its own entries either: aging is an estimate. */
static int clear_young(struct mmu_notifier *mn, struct mm_struct *mm,
		       unsigned long start, unsigned long end)
{
	return age(mn, start, end, true);
}

static int test_young(struct mmu_notifier *mn, struct mm_struct *mm, unsigned long address)
{
	return age(mn, address, address + 1, false);
}

/* The address space goes, or the VM does: the last moment to touch its pages. */
static void release(struct mmu_notifier *mn, struct mm_struct *mm)
{
	struct rl_vm *vm = to_vm(mn);

	spin_lock(&vm->mmu.lock);
	if (rl_tdp_zap(vm, 0, ~0ULL, true))
		rl_tdp_flush(vm);
	spin_unlock(&vm->mmu.lock);
}

static const struct mmu_notifier_ops notifier_ops = {
	.release		= release,
	.clear_flush_young	= clear_young,
	.clear_young		= clear_young,
	.test_young		= test_young,
	.invalidate_range_start	= invalidate_range_start,
	.invalidate_range_end	= invalidate_range_end,
};

/**
 * rl_notifier_register() - Follow the owner's memory from now on
 * @vm: the VM
 *
 * Context: owner's thread; slots and table are initialised.
 * Return: 0, -ENOMEM, -EINTR.
 */
int rl_notifier_register(struct rl_vm *vm)
{
	vm->notifier.ops = &notifier_ops;
	return mmu_notifier_register(&vm->notifier, vm->mm);
}

/**
 * rl_notifier_unregister() - Follow it no more; every translation is gone
 * @vm: the VM
 *
 * Context: no vCPU will enter the guest again; may sleep.
 */
void rl_notifier_unregister(struct rl_vm *vm)
{
	if (vm->notifier.mm)
		mmu_notifier_unregister(&vm->notifier, vm->mm);
}
