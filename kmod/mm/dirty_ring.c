// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty ring: each vCPU tells in a ring of its own which pages it wrote.
 *
 * Owns:    vcpu->dirty_ring, shared with user space through the vCPU's descriptor.
 * Touches: the slots' bitmaps, in which a page stays marked from its entry to the
 *          reset of that, so that it has one entry however often it is written.
 * Locks:   entries are added by the thread that has the vCPU loaded, alone; taken back
 *          under vm->slots_lock, with mmu->lock to protect their pages.
 *
 * Who adds an entry has just written; user space resets it before it reads the page.
 * Documentation/virt/kvm/api.rst, 8.29. What user space writes in the ring decides
 * about what is protected again, and about nothing else: it is read once and checked.
 */
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "../vcpu.h"
#include "../vm.h"
#include "mm_priv.h"
#include "tdp_fmt.h"

#define ENTRY_SIZE	sizeof(struct kvm_dirty_gfn)

/*
 * For what is written before KVM_RUN sees that the ring is full: a few pages of
 * the kernel's, and where the CPU lists dirty pages all that one run may list.
 */
static u32 reserved(void)
{
	return rl_tdp_caps.dirty_log ? 64 + 512 : 64;
}

/**
 * rl_set_dirty_ring() - KVM_CAP_DIRTY_LOG_RING
 * @vm: the VM, vm->lock held
 * @size: of each vCPU's ring, in bytes
 *
 * Return: 0, -E2BIG; -EINVAL: no power of two, too small, not the first time, or
 * too late: there are vCPUs, or devices, which write with no vCPU to tell it.
 */
int rl_set_dirty_ring(struct rl_vm *vm, u64 size)
{
	bool free;

	if (!is_power_of_2(size) || size < PAGE_SIZE || size < reserved() * ENTRY_SIZE)
		return -EINVAL;
	if (size > RL_DIRTY_RING_MAX)
		return -E2BIG;
	if (vm->dirty_ring_size || vm->nr_vcpus)
		return -EINVAL;
	mutex_lock(&vm->vdevs_lock);
	free = list_empty(&vm->vdevs);
	if (free)
		WRITE_ONCE(vm->dirty_ring_size, size);
	mutex_unlock(&vm->vdevs_lock);
	return free ? 0 : -EINVAL;
}

int rl_dirty_ring_create(struct rl_vcpu *vcpu)
{
	u32 size = vcpu->vm->dirty_ring_size;

	if (size)
		vcpu->dirty_ring.gfns = __vmalloc(size, GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	vcpu->dirty_ring.size = size / ENTRY_SIZE;
	return size && !vcpu->dirty_ring.gfns ? -ENOMEM : 0;
}

void rl_dirty_ring_destroy(struct rl_vcpu *vcpu)
{
	vfree(vcpu->dirty_ring.gfns);
}

struct page *rl_dirty_ring_page(struct rl_vcpu *vcpu, unsigned long n)
{
	return n < vcpu->vm->dirty_ring_size >> PAGE_SHIFT ?
	       vmalloc_to_page((void *)vcpu->dirty_ring.gfns + (n << PAGE_SHIFT)) : NULL;
}

static u32 used(const struct rl_dirty_ring *ring)
{
	return READ_ONCE(ring->dirty) - READ_ONCE(ring->reset);
}

bool rl_dirty_ring_full(struct rl_vcpu *vcpu)
{
	return used(&vcpu->dirty_ring) >= vcpu->dirty_ring.size - reserved();
}

/*
 * rl_dirty_ring_push() - A page's bit turned to 1
 *
 * Context: the thread of a loaded vCPU; interrupts on or off.
 */
void rl_dirty_ring_push(const struct rl_memslot *slot, u64 offset)
{
	struct kvm_dirty_gfn *entry;
	struct rl_dirty_ring *ring;
	struct rl_vcpu *vcpu;

	preempt_disable();
	vcpu = __this_cpu_read(rl_loaded_vcpu);
	if (WARN_ON_ONCE(!vcpu || vcpu->vm != slot->vm))
		goto out;
	ring = &vcpu->dirty_ring;
	/* Only for one who does not care that it is full. */
	if (used(ring) >= ring->size) {
		clear_bit_le(offset, slot->dirty_bitmap);
		goto out;
	}
	entry = &ring->gfns[ring->dirty & (ring->size - 1)];
	entry->slot = slot->id;
	entry->offset = offset;
	/* User space, which sees the flag, sees the rest as well. */
	smp_store_release(&entry->flags, KVM_DIRTY_GFN_F_DIRTY);
	WRITE_ONCE(ring->dirty, ring->dirty + 1);
	if (rl_dirty_ring_full(vcpu))
		rl_request(vcpu, RL_REQ_RING_FULL);
out:
	preempt_enable();
}

/* Pages of one slot that are neighbours, to be protected in one go. */
struct batch {
	struct rl_memslot *slot;
	u64 word;		/* of the slot's bitmap */
	unsigned long mask;
	bool flush;
};

static void batch_end(struct rl_vm *vm, struct batch *b)
{
	atomic_long_t *word;

	if (!b->mask)
		return;
	word = (atomic_long_t *)b->slot->dirty_bitmap + b->word;
	spin_lock(&vm->mmu.lock);
	b->mask &= atomic_long_fetch_andnot(b->mask, word);
	b->flush |= rl_tdp_catch_masked(vm, b->slot->base_gfn + b->word * BITS_PER_LONG, b->mask);
	spin_unlock(&vm->mmu.lock);
	b->mask = 0;
}

static void batch_add(struct rl_vm *vm, struct batch *b, u32 id, u64 offset)
{
	struct rl_memslot *slot = rl_slot_by_id(vm, id);

	if (IS_ERR(slot) || !slot->dirty_bitmap || offset >= slot->npages)
		return;
	if (slot != b->slot || offset / BITS_PER_LONG != b->word)
		batch_end(vm, b);
	b->slot = slot;
	b->word = array_index_nospec(offset, slot->npages) / BITS_PER_LONG;
	b->mask |= BIT(offset % BITS_PER_LONG);
}

static int reset_ring(struct rl_vm *vm, struct rl_dirty_ring *ring, struct batch *b)
{
	int n;

	for (n = 0; n < ring->size && used(ring); n++) {
		struct kvm_dirty_gfn *entry = &ring->gfns[ring->reset & (ring->size - 1)];
		u64 offset;
		u32 slot;

		/* Pairs with user space's store of the flag, behind its reading of the rest. */
		if (!(smp_load_acquire(&entry->flags) & KVM_DIRTY_GFN_F_RESET))
			break;
		slot = READ_ONCE(entry->slot);
		offset = READ_ONCE(entry->offset);
		WRITE_ONCE(entry->flags, 0);
		/* The entry is free only when all of that is done. */
		smp_store_release(&ring->reset, ring->reset + 1);
		batch_add(vm, b, slot, offset);
		cond_resched();
	}
	return n;
}

/**
 * rl_reset_dirty_rings() - KVM_RESET_DIRTY_RINGS
 * @vm: the VM
 *
 * Return: how many entries were taken back; -EINVAL when there are no rings.
 */
int rl_reset_dirty_rings(struct rl_vm *vm)
{
	struct rl_vcpu *vcpu;
	struct batch b = {};
	int i, n = 0;

	if (!READ_ONCE(vm->dirty_ring_size))
		return -EINVAL;
	mutex_lock(&vm->slots_lock);
	rl_for_each_vcpu(i, vcpu, vm)
		n += reset_ring(vm, &vcpu->dirty_ring, &b);
	batch_end(vm, &b);
	if (b.flush) {
		spin_lock(&vm->mmu.lock);
		rl_tdp_flush(vm);
		spin_unlock(&vm->mmu.lock);
	}
	mutex_unlock(&vm->slots_lock);
	return n;
}
