// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log: which pages of a slot were written since the last look.
 *
 * Owns:    nothing; the bitmaps belong to their slots.
 * Touches: the second-stage table: a page whose bit goes to user space is
 *          write-protected, so that its next write shows as a fault, or loses
 *          its dirty bit, so that the CPU lists it (rl_tdp_caps.dirty_log).
 * Locks:   vm->slots_lock, and mmu->lock to clear bits: a bit is cleared and
 *          its page protected in one go, as seen by the fault handler.
 *
 * Bits are set by that handler under mmu->lock, and by whoever writes guest
 * memory in the kernel with no lock at all (rl_slot_mark_dirty()).
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "../vcpu.h"
#include "../vm.h"
#include "mm_priv.h"
#include "tdp_fmt.h"

/**
 * rl_set_manual_protect() - KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2
 * @vm: the VM
 * @options: KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, with it
 *	KVM_DIRTY_LOG_INITIALLY_SET; 0 switches it off
 *
 * Return: 0 or -EINVAL.
 */
int rl_set_manual_protect(struct rl_vm *vm, u64 options)
{
	u64 allowed = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;

	if (options & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
		allowed |= KVM_DIRTY_LOG_INITIALLY_SET;
	if (options & ~allowed)
		return -EINVAL;
	mutex_lock(&vm->slots_lock);
	vm->mmu.manual_protect = options;
	mutex_unlock(&vm->slots_lock);
	return 0;
}

static struct rl_memslot *logged_slot(struct rl_vm *vm, u32 id)
{
	struct rl_memslot *slot = rl_slot_by_id(vm, id);

	if (vm->dirty_ring_size)
		return ERR_PTR(-ENXIO);
	if (!IS_ERR(slot) && !slot->dirty_bitmap)
		return ERR_PTR(-ENOENT);
	return slot;
}

/* Clear the bits that are set in @clear and protect the pages of those that were set. */
static void clear_words(struct rl_vm *vm, struct rl_memslot *slot, u64 first,
			const unsigned long *clear, u64 n)
{
	atomic_long_t *word = (atomic_long_t *)slot->dirty_bitmap + first;
	gfn_t gfn = slot->base_gfn + first * BITS_PER_LONG;
	unsigned long mask;
	bool flush = false;
	u64 i;

	spin_lock(&vm->mmu.lock);
	for (i = 0; i < n; i++, gfn += BITS_PER_LONG) {
		mask = clear[i] ? clear[i] & atomic_long_fetch_andnot(clear[i], &word[i]) : 0;
		flush |= rl_tdp_catch_masked(vm, gfn, mask);
		/*
		 * Where the CPU lists what it makes dirty it may still hold a
		 * page as dirty that the table does not, and would not list it:
		 * an entry computed from an older one took the bit away.
		 */
		flush |= mask && rl_tdp_caps.dirty_log;
		cond_resched_lock(&vm->mmu.lock);
	}
	if (flush)
		rl_tdp_flush(vm);
	spin_unlock(&vm->mmu.lock);
}

/**
 * rl_get_dirty_log() - KVM_GET_DIRTY_LOG
 * @vm: the VM
 * @log: as user space gave it
 *
 * Hands out the bitmap of a slot, bit 0 for its first page. Unless manual
 * protection is on, it is cleared and the next writes are logged anew; what is
 * written until then goes with the copy, since pages are read after this call.
 *
 * Return: 0, -EINVAL for an impossible slot id, -ENOENT for a slot that is not
 * there or not logged, -EFAULT, -ENOMEM.
 */
int rl_get_dirty_log(struct rl_vm *vm, struct kvm_dirty_log *log)
{
	struct rl_memslot *slot;
	unsigned long *copy;
	u64 longs;
	int r = -EFAULT;

	mutex_lock(&vm->slots_lock);
	/* What a CPU has listed is in the bitmap when the vCPU is out of the guest. */
	if (rl_tdp_caps.dirty_log)
		rl_request_all(vm, RL_REQ_EVENT, true);
	slot = logged_slot(vm, log->slot);
	if (IS_ERR(slot)) {
		r = PTR_ERR(slot);
		goto out;
	}
	longs = BITS_TO_LONGS(slot->npages);
	copy = kvmalloc_array(longs, sizeof(long), GFP_KERNEL_ACCOUNT);
	if (!copy) {
		r = -ENOMEM;
		goto out;
	}
	memcpy(copy, slot->dirty_bitmap, longs * sizeof(long));
	if (!copy_to_user(log->dirty_bitmap, copy, longs * sizeof(long))) {
		r = 0;
		if (!vm->mmu.manual_protect)
			clear_words(vm, slot, 0, copy, longs);
	}
	kvfree(copy);
out:
	mutex_unlock(&vm->slots_lock);
	return r;
}

/**
 * rl_clear_dirty_log() - KVM_CLEAR_DIRTY_LOG
 * @vm: the VM
 * @log: as user space gave it
 *
 * Clears the bits that are set in the given part of a bitmap, and has the
 * next writes to those pages logged.
 *
 * Return: 0, -EINVAL for a slot id or range that cannot be (first_page and,
 * short of the slot's end, num_pages are multiples of 64), -ENOENT for a slot
 * that is not there or not logged, -ENXIO when there are rings, -EFAULT, -ENOMEM.
 */
int rl_clear_dirty_log(struct rl_vm *vm, struct kvm_clear_dirty_log *log)
{
	struct rl_memslot *slot;
	unsigned long *clear;
	u64 rest, longs;
	int r;

	mutex_lock(&vm->slots_lock);
	slot = logged_slot(vm, log->slot);
	r = PTR_ERR_OR_ZERO(slot);
	if (log->first_page & (BITS_PER_LONG - 1))
		r = -EINVAL;
	if (r)
		goto out;
	r = -EINVAL;
	if (log->first_page > slot->npages)
		goto out;
	rest = slot->npages - log->first_page;
	if (log->num_pages > rest || (log->num_pages < rest && log->num_pages % BITS_PER_LONG))
		goto out;
	r = 0;
	longs = BITS_TO_LONGS(log->num_pages);
	if (!longs)
		goto out;
	clear = vmemdup_user(log->dirty_bitmap, longs * sizeof(long));
	r = PTR_ERR_OR_ZERO(clear);
	if (r)
		goto out;
	clear_words(vm, slot, log->first_page / BITS_PER_LONG, clear, longs);
	kvfree(clear);
out:
	mutex_unlock(&vm->slots_lock);
	return r;
}
