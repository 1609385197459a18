// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log: which pages of a slot were written since the last look.
 *
 * Owns:    nothing; the bitmaps belong to their slots.
 * Touches: the second-stage table: a page whose bit goes to user space is
 *          write-protected, so that its next write shows as a fault.
 * Locks:   vm->slots_lock, and mmu->lock to clear bits: a bit is cleared and
 *          its page protected in one go, as seen by the fault handler.
 *
 * Bits are set by that handler under mmu->lock, and by whoever writes guest
 * memory in the kernel with no lock at all (rl_mark_dirty()).
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "../vm.h"
#include "mm_priv.h"

#define CHUNK_LONGS	(PAGE_SIZE / sizeof(long))

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

	if (!IS_ERR(slot) && !slot->dirty_bitmap)
		return ERR_PTR(-ENOENT);
	return slot;
}

/* Move @n words of the bitmap into @buf and protect what they name. */
static bool take_words(struct rl_vm *vm, struct rl_memslot *slot, u64 first,
		       unsigned long *buf, unsigned int n)
{
	unsigned long *word = slot->dirty_bitmap + first;
	bool flush = false;
	unsigned int i;

	spin_lock(&vm->mmu.lock);
	for (i = 0; i < n; i++) {
		buf[i] = READ_ONCE(word[i]) ? xchg(&word[i], 0) : 0;
		flush |= rl_tdp_wp_masked(vm, slot->base_gfn + (first + i) * BITS_PER_LONG, buf[i]);
	}
	spin_unlock(&vm->mmu.lock);
	return flush;
}

static void flush_now(struct rl_vm *vm)
{
	spin_lock(&vm->mmu.lock);
	rl_tdp_flush(vm);
	spin_unlock(&vm->mmu.lock);
}

/* Fetch and clear, chunk by chunk; one flush ends it. */
static int take_log(struct rl_vm *vm, struct rl_memslot *slot, unsigned long __user *user)
{
	u64 longs = BITS_TO_LONGS(slot->npages), done;
	unsigned long *buf;
	bool flush = false;
	unsigned int i, n;
	int r = 0;

	buf = (unsigned long *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!buf)
		return -ENOMEM;
	for (done = 0; done < longs && !r; done += n) {
		n = min_t(u64, longs - done, CHUNK_LONGS);
		flush |= take_words(vm, slot, done, buf, n);
		if (copy_to_user(user + done, buf, n * sizeof(long))) {
			/* Nobody got to know of these: they are still dirty. */
			for (i = 0; i < n; i++)
				atomic_long_or(buf[i], (atomic_long_t *)(slot->dirty_bitmap +
									 done + i));
			r = -EFAULT;
		}
		cond_resched();
	}
	if (flush)
		flush_now(vm);
	free_page((unsigned long)buf);
	return r;
}

/**
 * rl_get_dirty_log() - KVM_GET_DIRTY_LOG
 * @vm: the VM
 * @log: as user space gave it
 *
 * Hands out the bitmap of a slot, bit 0 for its first page. Unless manual
 * protection is on, it is cleared and the next writes are logged anew.
 *
 * Return: 0, -EINVAL for an impossible slot id, -ENOENT for a slot that is not
 * there or not logged, -EFAULT, -ENOMEM.
 */
int rl_get_dirty_log(struct rl_vm *vm, struct kvm_dirty_log *log)
{
	struct rl_memslot *slot;
	int r;

	mutex_lock(&vm->slots_lock);
	slot = logged_slot(vm, log->slot);
	if (IS_ERR(slot))
		r = PTR_ERR(slot);
	else if (!vm->mmu.manual_protect)
		r = take_log(vm, slot, log->dirty_bitmap);
	else
		r = copy_to_user(log->dirty_bitmap, slot->dirty_bitmap,
				 BITS_TO_LONGS(slot->npages) * sizeof(long)) ? -EFAULT : 0;
	mutex_unlock(&vm->slots_lock);
	return r;
}

/* Clear what user space names and protect what that really cleared. */
static void clear_words(struct rl_vm *vm, struct rl_memslot *slot, u64 first,
			const unsigned long *clear, u64 n)
{
	atomic_long_t *word = (atomic_long_t *)slot->dirty_bitmap + first;
	gfn_t gfn = slot->base_gfn + first * BITS_PER_LONG;
	bool flush = false;
	u64 i;

	spin_lock(&vm->mmu.lock);
	for (i = 0; i < n; i++, gfn += BITS_PER_LONG) {
		if (clear[i])
			flush |= rl_tdp_wp_masked(vm, gfn, clear[i] &
						  atomic_long_fetch_andnot(clear[i], &word[i]));
		cond_resched_lock(&vm->mmu.lock);
	}
	if (flush)
		rl_tdp_flush(vm);
	spin_unlock(&vm->mmu.lock);
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
 * that is not there or not logged, -EFAULT, -ENOMEM.
 */
int rl_clear_dirty_log(struct rl_vm *vm, struct kvm_clear_dirty_log *log)
{
	struct rl_memslot *slot;
	unsigned long *clear;
	u64 rest, longs;
	int r;

	mutex_lock(&vm->slots_lock);
	r = -EINVAL;
	slot = rl_slot_by_id(vm, log->slot);
	if (PTR_ERR_OR_ZERO(slot) == -EINVAL || log->first_page & (BITS_PER_LONG - 1))
		goto out;
	r = -ENOENT;
	if (IS_ERR(slot) || !slot->dirty_bitmap)
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
	if (IS_ERR(clear)) {
		r = PTR_ERR(clear);
		goto out;
	}
	clear_words(vm, slot, log->first_page / BITS_PER_LONG, clear, longs);
	kvfree(clear);
out:
	mutex_unlock(&vm->slots_lock);
	return r;
}
