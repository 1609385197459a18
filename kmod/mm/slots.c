// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots: which guest frames are which of the owner's addresses.
 *
 * Owns:    vm->slots, every struct rl_memslot.
 * Touches: the second-stage table through mm_priv.h: what a change of slots
 *          makes wrong there goes away with it.
 * Locks:   vm->slots_lock for a change; the new array is published under
 *          mmu->lock as well, and old ones live until vm->srcu has seen all
 *          readers off.
 *
 * Two readers do not go through SRCU alone:
 *
 *  - A fault handler finds a slot under SRCU, sleeps for the page, and then
 *    installs it under mmu->lock, where it looks whether vm->slots is still
 *    the array it used. So once a new array is published under that lock, no
 *    translation of the old one appears any more.
 *  - The MMU notifier looks slots up under mmu->lock. Translations of a slot
 *    that goes away are therefore removed in the same critical section that
 *    publishes the array without it: never is there one whose slot the
 *    notifier would not find.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/processor.h>

#include "../vcpu.h"
#include "../vm.h"
#include "mm_priv.h"
#include "tdp_fmt.h"

#define SLOT_MAX_PAGES	((1ULL << 31) - 1)	/* a 32-bit page count, for old clients */

static struct rl_memslots *slots_alloc(int nr, u64 gen)
{
	struct rl_memslots *slots;

	slots = kvzalloc(struct_size(slots, slot, nr), GFP_KERNEL_ACCOUNT);
	if (slots)
		slots->gen = gen;
	return slots;
}

/* The current array, which either lock keeps as it is. */
struct rl_memslots *rl_slots_locked(struct rl_vm *vm)
{
	return rcu_dereference_protected(vm->slots, lockdep_is_held(&vm->slots_lock) ||
					 lockdep_is_held(&vm->mmu.lock));
}

static bool slot_has(const struct rl_memslot *slot, gfn_t gfn)
{
	return gfn - slot->base_gfn < slot->npages;
}

static gfn_t slot_end(const struct rl_memslot *slot)
{
	return slot->base_gfn + slot->npages;
}

/* Index of the first slot that begins behind @gfn. */
static int slots_upper(const struct rl_memslots *slots, gfn_t gfn)
{
	int lo = 0, hi = slots->nr, mid;

	while (lo < hi) {
		mid = (lo + hi) / 2;
		if (slots->slot[mid]->base_gfn > gfn)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static noinline struct rl_memslot *slots_search(struct rl_memslots *slots, gfn_t gfn)
{
	int i = READ_ONCE(slots->gap);

	/* Devices lie behind all memory, mostly. */
	if (i && slot_end(slots->slot[i - 1]) <= gfn &&
	    (i == slots->nr || slots->slot[i]->base_gfn > gfn))
		return NULL;
	i = slots_upper(slots, gfn);
	if (!i || !slot_has(slots->slot[i - 1], gfn)) {
		WRITE_ONCE(slots->gap, i);
		return NULL;
	}
	WRITE_ONCE(slots->hint, i - 1);
	return slots->slot[i - 1];
}

/*
 * rl_slots_find() - The slot of @gfn in one array, or NULL
 */
struct rl_memslot *rl_slots_find(struct rl_memslots *slots, gfn_t gfn)
{
	int i = READ_ONCE(slots->hint);

	if (likely(i < slots->nr) && likely(slot_has(slots->slot[i], gfn)))
		return slots->slot[i];
	return slots_search(slots, gfn);
}

/**
 * rl_slots_pages() - How much memory all slots have, in pages
 * @vm: the VM
 */
u64 rl_slots_pages(struct rl_vm *vm)
{
	int i, idx = srcu_read_lock(&vm->srcu);
	struct rl_memslots *slots = srcu_dereference(vm->slots, &vm->srcu);
	u64 npages = 0;

	for (i = 0; i < slots->nr; i++)
		npages += slots->slot[i]->npages;
	srcu_read_unlock(&vm->srcu, idx);
	return npages;
}

bool rl_slots_log(struct rl_vm *vm)
{
	int idx = srcu_read_lock(&vm->srcu);
	bool log = srcu_dereference(vm->slots, &vm->srcu)->log;

	srcu_read_unlock(&vm->srcu, idx);
	return log;
}

/* Does the slot have all of the large page, equally aligned on both sides? */
bool rl_slot_fits(const struct rl_memslot *slot, gfn_t gfn, int level)
{
	u64 mask = rl_level_pages(level) - 1;
	gfn_t base = gfn & ~mask;

	return base >= slot->base_gfn && base + mask < slot_end(slot) &&
	       !((slot->base_gfn ^ (slot->hva >> PAGE_SHIFT)) & mask);
}

/**
 * rl_gfn_to_slot() - The slot of @gfn, or NULL
 * @vm: the VM
 * @gfn: guest frame number
 *
 * Context: vm->srcu held, for as long as the slot is used.
 */
struct rl_memslot *rl_gfn_to_slot(struct rl_vm *vm, gfn_t gfn)
{
	return rl_slots_find(srcu_dereference(vm->slots, &vm->srcu), gfn);
}

/**
 * rl_gfn_to_hva() - Where @gfn lies in the owner's memory
 * @vm: the VM
 * @gfn: guest frame number
 * @write: for writing
 *
 * Context: vm->srcu held.
 * Return: the address, or 0 when there is no slot, or it is read-only and
 * @write is set.
 */
hva_t rl_gfn_to_hva(struct rl_vm *vm, gfn_t gfn, bool write)
{
	struct rl_memslot *slot = rl_gfn_to_slot(vm, gfn);

	if (!slot || (write && !rl_slot_writable(slot)))
		return 0;
	return rl_slot_hva(slot, gfn);
}

/**
 * rl_slot_mark_dirty() - Put @gfn into the dirty log, after it was written
 * @slot: the slot that has it
 * @gfn: guest frame number
 *
 * After, not before: a log fetched in between would hand out the page as it
 * was and forget about it. And always by a locked instruction: a look whether
 * the bit is set already could come before the write that it stands for.
 *
 * Context: vm->srcu held; interrupts on or off.
 */
void rl_slot_mark_dirty(const struct rl_memslot *slot, gfn_t gfn)
{
	unsigned long bit = gfn - slot->base_gfn;

	if (slot->dirty_bitmap && !test_and_set_bit_le(bit, slot->dirty_bitmap) &&
	    slot->vm->dirty_ring_size)
		rl_dirty_ring_push(slot, bit);
}

/*
 * rl_slot_by_id() - The slot that an ioctl names
 *
 * Context: vm->slots_lock held.
 * Return: the slot, ERR_PTR(-EINVAL) for an impossible id, ERR_PTR(-ENOENT).
 */
struct rl_memslot *rl_slot_by_id(struct rl_vm *vm, u32 id)
{
	struct rl_memslots *slots = rl_slots_locked(vm);
	int i;

	/* The upper half names an address space; there is one. */
	if (id >= RL_NR_MEMSLOTS)
		return ERR_PTR(-EINVAL);
	for (i = 0; i < slots->nr; i++)
		if (slots->slot[i]->id == id)
			return slots->slot[i];
	return ERR_PTR(-ENOENT);
}

/*
 * A copy of the current array without @old and with @new, either may be NULL.
 * -EEXIST when @new would overlap another one, -ENOMEM.
 */
static struct rl_memslots *slots_with(struct rl_vm *vm, struct rl_memslot *old,
				      struct rl_memslot *new)
{
	struct rl_memslots *cur = rl_slots_locked(vm), *slots;
	struct rl_memslot **slot;
	int i, at, n = 0;

	slots = slots_alloc(cur->nr + !!new, cur->gen + 1);
	if (!slots)
		return ERR_PTR(-ENOMEM);
	slot = slots->slot;
	slots->log = new && new->flags & KVM_MEM_LOG_DIRTY_PAGES;
	at = new ? slots_upper(cur, new->base_gfn) : -1;
	for (i = 0; i <= cur->nr; i++) {
		if (i == at) {
			at = n;
			slot[n++] = new;
		}
		if (i == cur->nr || cur->slot[i] == old)
			continue;
		slot[n++] = cur->slot[i];
		slots->log |= cur->slot[i]->flags & KVM_MEM_LOG_DIRTY_PAGES;
	}
	slots->nr = n;
	if (new && ((at && slot_end(slot[at - 1]) > new->base_gfn) ||
		    (at + 1 < n && slot[at + 1]->base_gfn < slot_end(new)))) {
		kvfree(slots);
		return ERR_PTR(-EEXIST);
	}
	return slots;
}

static bool log_begins_set(struct rl_vm *vm)
{
	return vm->mmu.manual_protect & KVM_DIRTY_LOG_INITIALLY_SET && !vm->dirty_ring_size;
}

/*
 * Make @slots the array, with what it says about @old and @new true of the
 * second-stage table from the first moment. @old is gone when this returns.
 */
static void slots_publish(struct rl_vm *vm, struct rl_memslots *slots,
			  struct rl_memslot *old, struct rl_memslot *new)
{
	struct rl_memslots *prev = rl_slots_locked(vm);
	struct rl_mmu *mmu = &vm->mmu;
	bool gone = old && (!new || new->base_gfn != old->base_gfn);
	bool log = new && (new->flags & KVM_MEM_LOG_DIRTY_PAGES);
	bool logged = old && (old->flags & KVM_MEM_LOG_DIRTY_PAGES);
	gfn_t end = old ? slot_end(old) : 0;
	bool flush;

	spin_lock(&mmu->lock);
	if (gone) {
		/* The bulk in steps, then what came back meanwhile in one. */
		flush = rl_tdp_zap(vm, old->base_gfn, end, true);
		flush |= rl_tdp_zap(vm, old->base_gfn, end, false);
		if (flush)
			rl_tdp_flush(vm);
	}
	rcu_assign_pointer(vm->slots, slots);
	/* The CPUs begin to list dirty pages before the first dirty bit is taken away. */
	if (log != logged && rl_tdp_caps.dirty_log)
		rl_request_all(vm, RL_REQ_INTERCEPTS, true);
	/* A log that begins all set has nothing to catch yet. */
	if (old && !gone && log && !logged && !log_begins_set(vm)) {
		rl_tdp_catch_writes(vm, old->base_gfn, end);
		rl_tdp_flush(vm);
	}
	/* Pages that the log kept small may become large again. */
	if (!gone && logged && !log && rl_tdp_zap_small(vm, new))
		rl_tdp_flush(vm);
	spin_unlock(&mmu->lock);

	synchronize_srcu_expedited(&vm->srcu);
	kvfree(prev);
	if (old && old->dirty_bitmap && (!new || new->dirty_bitmap != old->dirty_bitmap))
		kvfree(old->dirty_bitmap);
	kfree(old);
}

/* Give @new its bitmap: the one of @old, or a fresh one. */
static int slot_get_bitmap(struct rl_vm *vm, const struct rl_memslot *old, struct rl_memslot *new)
{
	if (!(new->flags & KVM_MEM_LOG_DIRTY_PAGES))
		return 0;
	if (old && old->dirty_bitmap) {
		new->dirty_bitmap = old->dirty_bitmap;
		return 0;
	}
	new->dirty_bitmap = kvcalloc(BITS_TO_LONGS(new->npages), sizeof(long),
				     GFP_KERNEL_ACCOUNT);
	if (!new->dirty_bitmap)
		return -ENOMEM;
	if (log_begins_set(vm))
		bitmap_set(new->dirty_bitmap, 0, new->npages);
	return 0;
}

/* The highest frame that the second stage can map, plus one. */
static gfn_t slots_max_gfn(struct rl_vm *vm)
{
	u8 bits = boot_cpu_data.x86_phys_bits;

	/* Memory encryption hides bits in boot_cpu_data that a guest address has. */
	if (boot_cpu_data.extended_cpuid_level >= 0x80000008)
		bits = cpuid_eax(0x80000008) & 0xff;
	return min(1ULL << (bits - PAGE_SHIFT), rl_level_pages(vm->mmu.levels + 1));
}

/* Replace @old by @new; a NULL @old creates, a NULL @new deletes. */
static int slots_replace(struct rl_vm *vm, struct rl_memslot *old, struct rl_memslot *new)
{
	struct rl_memslots *slots = slots_with(vm, old, new);
	int r = 0;

	if (IS_ERR(slots))
		return PTR_ERR(slots);
	/* Only now: KVM looks for an overlap first. */
	if (new)
		r = slot_end(new) > slots_max_gfn(vm) ? -EINVAL : slot_get_bitmap(vm, old, new);
	if (r)
		kvfree(slots);
	else
		slots_publish(vm, slots, old, new);
	return r;
}

/* All that can be judged without looking at the other slots. */
static int region_check(struct rl_vm *vm, const struct kvm_userspace_memory_region *mem)
{
	if (mem->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
		return -EINVAL;
	if ((mem->memory_size | mem->guest_phys_addr | mem->userspace_addr) & ~PAGE_MASK)
		return -EINVAL;
	if (mem->userspace_addr != untagged_addr(mem->userspace_addr) ||
	    !access_ok((void __user *)(unsigned long)mem->userspace_addr, mem->memory_size))
		return -EINVAL;
	if (mem->slot >= RL_NR_MEMSLOTS)
		return -EINVAL;
	if (mem->guest_phys_addr + mem->memory_size < mem->guest_phys_addr)
		return -EINVAL;
	if (mem->memory_size >> PAGE_SHIFT > SLOT_MAX_PAGES)
		return -EINVAL;
	return 0;
}

static int region_set(struct rl_vm *vm, const struct kvm_userspace_memory_region *mem)
{
	struct rl_memslot *old = rl_slot_by_id(vm, mem->slot), *new;
	int r;

	if (IS_ERR(old))
		old = NULL;
	if (!mem->memory_size)
		return old ? slots_replace(vm, old, NULL) : -EINVAL;

	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return -ENOMEM;
	new->vm = vm;
	new->id = mem->slot;
	new->base_gfn = mem->guest_phys_addr >> PAGE_SHIFT;
	new->npages = mem->memory_size >> PAGE_SHIFT;
	new->hva = mem->userspace_addr;
	new->flags = mem->flags;

	/* What a slot is made of stays; it may move and change its logging. */
	r = -EINVAL;
	if (old && (old->hva != new->hva || old->npages != new->npages ||
		    (old->flags ^ new->flags) & KVM_MEM_READONLY))
		goto out;
	r = 0;
	if (old && old->base_gfn == new->base_gfn && old->flags == new->flags)
		goto out;
	r = slots_replace(vm, old, new);
	if (!r)
		return 0;
out:
	kfree(new);
	return r;
}

/**
 * rl_set_memory_region() - KVM_SET_USER_MEMORY_REGION
 * @vm: the VM
 * @mem: as user space gave it
 *
 * Creates a slot, moves it, changes its logging, or deletes it (size 0). On
 * return no vCPU and no helper in the kernel uses what the slot was before.
 *
 * Return: 0; -EINVAL for bad alignment, flags, slot id, address, size, a
 * change of hva, size or KVM_MEM_READONLY, or deletion of nothing; -EEXIST
 * when it would overlap another slot; -ENOMEM.
 */
int rl_set_memory_region(struct rl_vm *vm, const struct kvm_userspace_memory_region *mem)
{
	int r;

	r = region_check(vm, mem);
	if (r)
		return r;
	mutex_lock(&vm->slots_lock);
	r = region_set(vm, mem);
	mutex_unlock(&vm->slots_lock);
	return r;
}

/**
 * rl_slots_init() - An empty set of slots
 * @vm: the VM
 *
 * Context: VM creation, vm->srcu initialised. Return: 0 or -ENOMEM.
 */
int rl_slots_init(struct rl_vm *vm)
{
	struct rl_memslots *slots = slots_alloc(0, 1);

	RCU_INIT_POINTER(vm->slots, slots);
	return slots ? 0 : -ENOMEM;
}

/**
 * rl_slots_destroy() - Free all slots
 * @vm: the VM
 *
 * Context: nobody uses the VM any more.
 */
void rl_slots_destroy(struct rl_vm *vm)
{
	struct rl_memslots *slots = rcu_dereference_protected(vm->slots, true);
	int i;

	for (i = 0; slots && i < slots->nr; i++) {
		kvfree(slots->slot[i]->dirty_bitmap);
		kfree(slots->slot[i]);
	}
	kvfree(slots);
}
