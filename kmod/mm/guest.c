// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory as bytes, for the kernel's own reads and writes of it.
 *
 * Owns:    nothing.
 * Touches: the owner's memory, as any system call does: through its addresses,
 *          with its page table, in its context.
 * Locks:   vm->srcu held by the caller; mmap_lock is taken by a page fault.
 */
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "../vm.h"
#include "mm_priv.h"

/* One piece inside one page: 0 or -EFAULT. */
static __always_inline int copy_piece(void __user *user, void *buf, size_t len, bool write,
				      bool atomic)
{
	int r;

	if (!atomic)
		return (write ? __copy_to_user(user, buf, len) :
				__copy_from_user(buf, user, len)) ? -EFAULT : 0;
	pagefault_disable();
	/* Page-table entries are most of what is read here. */
	if (!write && len == sizeof(u64))
		r = __get_user(*(u64 *)buf, (u64 __user *)user);
	else
		r = (write ? __copy_to_user_inatomic(user, buf, len) :
			     __copy_from_user_inatomic(buf, user, len)) ? -EFAULT : 0;
	pagefault_enable();
	return r;
}

/* The slot of @gpa for an access and where that is in the owner's memory, or NULL. */
static __always_inline struct rl_memslot *guest_slot(struct rl_vm *vm, gpa_t gpa, bool write,
						     void __user **user)
{
	gfn_t gfn = gpa >> PAGE_SHIFT;
	struct rl_memslot *slot = rl_gfn_to_slot(vm, gfn);

	if (!slot || (write && !rl_slot_writable(slot)))
		return NULL;
	*user = (void __user *)(rl_slot_hva(slot, gfn) + offset_in_page(gpa));
	return slot;
}

static __always_inline int guest_access(struct rl_vm *vm, gpa_t gpa, void *buf, size_t len,
					bool write, bool atomic)
{
	struct rl_memslot *slot;
	void __user *user;
	size_t n;

	/* The slots' addresses mean something in one address space only. */
	if (WARN_ON_ONCE(current->mm != vm->mm))
		return -EFAULT;
	for (; len; gpa += n, buf += n, len -= n) {
		n = min_t(size_t, len, PAGE_SIZE - offset_in_page(gpa));
		slot = guest_slot(vm, gpa, write, &user);
		if (!slot || copy_piece(user, buf, n, write, atomic))
			return -EFAULT;
		if (write)
			rl_slot_mark_dirty(slot, gpa >> PAGE_SHIFT);
	}
	return 0;
}

/*
 * rl_guest_read(), rl_guest_write() - Copy from and to guest memory
 *
 * Writes go into the dirty log. The _atomic ones never sleep, and interrupts
 * may be off.
 *
 * Context: the owner's thread, vm->srcu held.
 * Return: 0, or -EFAULT when part of it has no slot, no host memory, is
 * read-only, or (_atomic) has to be faulted in by the host first.
 */
int rl_guest_read(struct rl_vm *vm, gpa_t gpa, void *buf, size_t len)
{
	return guest_access(vm, gpa, buf, len, false, false);
}

int rl_guest_write(struct rl_vm *vm, gpa_t gpa, const void *buf, size_t len)
{
	return guest_access(vm, gpa, (void *)buf, len, true, false);
}

int rl_guest_read_atomic(struct rl_vm *vm, gpa_t gpa, void *buf, size_t len)
{
	return guest_access(vm, gpa, buf, len, false, true);
}

int rl_guest_write_atomic(struct rl_vm *vm, gpa_t gpa, const void *buf, size_t len)
{
	return guest_access(vm, gpa, (void *)buf, len, true, true);
}

/* 0, 1 with *old updated, or -EFAULT. */
#define CMPXCHG(type, user, old, new) ({				\
	type expected = *(old);						\
	int ret;							\
									\
	ret = __try_cmpxchg_user((type __user *)(user), &expected, (type)(new), efault_##type); \
	if (ret > 0)							\
		*(old) = expected;					\
	ret;								\
})

static int cmpxchg_user(void __user *user, u64 *old, u64 new, int len)
{
	switch (len) {
	case 1:
		return CMPXCHG(u8, user, old, new);
	case 2:
		return CMPXCHG(u16, user, old, new);
	case 4:
		return CMPXCHG(u32, user, old, new);
	case 8:
		return CMPXCHG(u64, user, old, new);
	}
	return -EFAULT;
}

/**
 * rl_guest_cmpxchg() - Compare and exchange in guest memory, as LOCK CMPXCHG
 * @vm: the VM
 * @gpa: guest physical address
 * @old: what is expected; what was found, when that differs
 * @new: what to store
 * @len: 1, 2, 4 or 8, @gpa aligned to it
 *
 * Context: owner's thread, vm->srcu held; never sleeps with interrupts off.
 * Return: 0 when stored, 1 when *@old differed, -EFAULT.
 */
int rl_guest_cmpxchg(struct rl_vm *vm, gpa_t gpa, u64 *old, u64 new, int len)
{
	bool atomic = irqs_disabled();
	struct rl_memslot *slot;
	void __user *user;
	int r;

	if (WARN_ON_ONCE(current->mm != vm->mm || !IS_ALIGNED(gpa, len)))
		return -EFAULT;
	slot = guest_slot(vm, gpa, true, &user);
	if (!slot)
		return -EFAULT;
	if (atomic)
		pagefault_disable();
	r = cmpxchg_user(user, old, new, len);
	if (atomic)
		pagefault_enable();
	if (!r)
		rl_slot_mark_dirty(slot, gpa >> PAGE_SHIFT);
	return r;
}

/* Bytes from @gpa to the end of its slot. */
static u64 slot_rest(const struct rl_memslot *slot, gpa_t gpa)
{
	return ((slot->base_gfn + slot->npages) << PAGE_SHIFT) - gpa;
}

/**
 * rl_guest_map() - Where guest memory is that one slot has all of
 * @vm: the VM
 * @gpa: guest physical address
 * @len: bytes
 * @write: for writing
 * @slot: the slot, for rl_slot_mark_dirty()
 *
 * Context: vm->srcu held. What is answered is good as long as the array of slots is the same.
 * Return: the owner's address, or NULL.
 */
void __user *rl_guest_map(struct rl_vm *vm, gpa_t gpa, u64 len, bool write,
			  const struct rl_memslot **slot)
{
	void __user *user;

	*slot = guest_slot(vm, gpa, write, &user);
	return *slot && slot_rest(*slot, gpa) >= len ? user : NULL;
}

/**
 * rl_guest_iov() - Guest memory as pieces of the owner's
 * @vm: the VM
 * @gpa: guest physical address
 * @len: bytes, not 0; no wrap-around
 * @write: for writing
 * @iov: filled in; a piece for each slot
 * @max: room in @iov
 *
 * Context: vm->srcu held as long as @iov is used.
 * Return: the number of pieces, -EFAULT without a fitting slot, -ENOSPC.
 */
int rl_guest_iov(struct rl_vm *vm, gpa_t gpa, u64 len, bool write, struct iovec *iov, int max)
{
	struct rl_memslot *slot;
	int n;

	for (n = 0; len; n++) {
		if (n == max)
			return -ENOSPC;
		slot = guest_slot(vm, gpa, write, &iov[n].iov_base);
		if (!slot)
			return -EFAULT;
		iov[n].iov_len = min(slot_rest(slot, gpa), len);
		gpa += iov[n].iov_len;
		len -= iov[n].iov_len;
	}
	return n;
}

/**
 * rl_guest_dirty() - Put guest memory into the dirty log, after it was written
 * @vm: the VM
 * @gpa: guest physical address
 * @len: bytes, not 0
 *
 * Context: vm->srcu held.
 */
void rl_guest_dirty(struct rl_vm *vm, gpa_t gpa, u64 len)
{
	gfn_t gfn = gpa >> PAGE_SHIFT, last = (gpa + len - 1) >> PAGE_SHIFT;
	struct rl_memslot *slot = NULL;

	if (!srcu_dereference(vm->slots, &vm->srcu)->log)
		return;
	for (; gfn <= last; gfn++) {
		if (!slot || gfn - slot->base_gfn >= slot->npages)
			slot = rl_gfn_to_slot(vm, gfn);
		/* What is not logged need not be walked. */
		if (slot && !slot->dirty_bitmap)
			gfn = slot->base_gfn + slot->npages - 1;
		else if (slot)
			rl_slot_mark_dirty(slot, gfn);
	}
}
