// SPDX-License-Identifier: GPL-2.0-only
/*
 * Second-stage faults: from a guest physical address to a mapping.
 *
 * Owns:    nothing; fills the table of tdp.c.
 * Touches: the owner's page table through hostpt.c.
 * Locks:   vm->srcu for the slot; no lock while the host faults the page in;
 *          mmu->lock to install.
 *
 * The race with the host taking the page away (mm/notifier.c has the other
 * side), where all but the first line on the left is under mmu->lock:
 *
 *	fault                            invalidation
 *	read seq                         start: in_progress++, zap, flush
 *	walk the host's page table       (the host changes its entry)
 *	in_progress? seq moved? retry    end: seq++, in_progress--
 *	install
 *
 * If the walk saw the entry before its change, then either start comes after
 * the install and zaps it, or in_progress is seen, or end came between the
 * two reads of seq. If seq was read after end, so was the entry.
 */
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>

#include "../vcpu.h"
#include "../vm.h"
#include "mm_priv.h"
#include "tdp_iter.h"

struct rl_fault {
	gfn_t gfn;
	hva_t hva;
	u32 access;
	int level;			/* wanted */
	struct rl_memslots *slots;
	struct rl_memslot *slot;
	unsigned long seq;
	struct rl_host_page host;
	struct page *table;		/* empty, for fault_install() to put in */
};

static bool slot_logs(const struct rl_memslot *slot)
{
	return slot->flags & KVM_MEM_LOG_DIRTY_PAGES;
}

static int fault_level(const struct rl_fault *f)
{
	int level = f->host.level;

	if (level == 1 || slot_logs(f->slot))
		return 1;
	if (rl_tdp_caps.nx_huge && (f->access & RL_ACC_FETCH))
		return 1;
	if (level == 3 && !rl_tdp_caps.page_1g)
		level = 2;
	if (level == 2 && !rl_tdp_caps.page_2m)
		level = 1;
	while (level > 1 && !rl_slot_fits(f->slot, f->gfn, level))
		level--;
	return level;
}

/* Find the page, if need be by letting the host fault it in. */
static int fault_find_page(struct rl_vm *vm, struct rl_fault *f)
{
	bool write = f->access & RL_ACC_WRITE;
	int r;

	f->seq = READ_ONCE(vm->mmu.seq);
	/* As in the sketch on top: seq first, the host's entry second. */
	smp_rmb();
	if (rl_host_walk(vm->mm, f->hva, write, &f->host))
		return 0;
	r = rl_host_fault(f->hva, write);
	if (!r)
		return rl_host_walk(vm->mm, f->hva, write, &f->host) ? 0 : RL_MMU_RETRY;
	if (r == -EHWPOISON) {
		send_sig_mceerr(BUS_MCEERR_AR, (void __user *)f->hva, PAGE_SHIFT, current);
		return RL_MMU_RETRY;
	}
	return r;
}

/* Device registers must not be cached; the zero page is RAM with a special entry. */
static bool is_device(const struct rl_host_page *host)
{
	return !host->has_page && !is_zero_pfn(host->pfn) && !page_is_ram(host->pfn);
}

static u64 make_leaf(const struct rl_fault *f)
{
	const struct rl_tdp_fmt *fmt = rl_tdp_fmt;
	bool write = f->access & RL_ACC_WRITE;
	u64 pfn = f->host.pfn & ~(rl_level_pages(f->level) - 1);
	u64 spte = __sme_set(pfn << PAGE_SHIFT) | fmt->leaf | fmt->accessed;

	if (fmt->ram != fmt->mmio)
		spte |= is_device(&f->host) ? fmt->mmio : fmt->ram;
	if (f->level > 1)
		spte |= fmt->huge;
	if (f->level == 1 || !rl_tdp_caps.nx_huge)
		spte |= fmt->exec;
	if (f->host.has_page)
		spte |= RL_SPTE_PAGE;
	if (!f->host.writable || !rl_slot_writable(f->slot))
		return spte;
	spte |= RL_SPTE_HOST_WRITABLE | fmt->write;
	if (write || !rl_tdp_caps.ad_bits)
		spte |= fmt->dirty;
	return spte;
}

static bool fault_is_stale(struct rl_vm *vm, const struct rl_fault *f)
{
	struct rl_mmu *mmu = &vm->mmu;
	unsigned long size = rl_level_pages(f->level) << PAGE_SHIFT;
	hva_t start = f->hva & ~(size - 1);

	/* SRCU keeps the array's address from being used again. */
	if (rcu_access_pointer(vm->slots) != f->slots || mmu->seq != f->seq)
		return true;
	return mmu->in_progress && start < mmu->range_end && start + size > mmu->range_start;
}

/* Put the page in, mmu->lock held. 0, RL_MMU_*, or -EAGAIN when it takes an f->table first. */
static int fault_install(struct rl_vm *vm, struct rl_fault *f)
{
	struct rl_tdp_iter it;
	u64 new_spte, old_spte;

	for_each_rl_spte(it, &vm->mmu, f->gfn, f->gfn + 1) {
		bool is_table = rl_spte_is_table(it.old_spte, it.level);

		/* Another vCPU was here first. */
		if (!is_table && rl_spte_allows(it.old_spte, f->access))
			return 0;
		/* Code was found in this large page: it stays in small ones. */
		if (is_table && it.level == f->level && rl_tdp_caps.nx_huge)
			f->level--;
		if (it.level == f->level)
			break;
		if (is_table)
			continue;
		if (!f->table)
			return -EAGAIN;
		if (rl_spte_present(it.old_spte))
			rl_tdp_split(vm, &it, f->table);
		else
			rl_tdp_link(vm, &it, f->table);
		f->table = NULL;
		it.old_spte = READ_ONCE(*it.sptep);
	}
	if (!it.sptep) {
		rl_vm_retire(vm, "a walk of the second stage found no end");
		return RL_MMU_RETRY;
	}

	new_spte = make_leaf(f);
	old_spte = it.old_spte;
	/* More rights for the same page need no flush; anything else does. */
	if (rl_spte_is_leaf(old_spte, it.level) && rl_spte_hpa(old_spte) == rl_spte_hpa(new_spte))
		new_spte |= old_spte & (rl_tdp_fmt->write | rl_tdp_fmt->dirty);
	else if (!rl_spte_present(old_spte))
		old_spte = 0;
	rl_tdp_set_spte(vm, &it, new_spte);
	if (old_spte && rl_spte_hpa(old_spte) != rl_spte_hpa(new_spte))
		rl_tdp_flush(vm);
	/*
	 * What is writable from now on has to be in the log, written or not: a page
	 * that is only read is there once, as on KVM, and clients count on that.
	 */
	if ((new_spte & rl_tdp_fmt->write) && slot_logs(f->slot))
		rl_slot_mark_dirty(f->slot, f->gfn);
	return 0;
}

static int fault_map(struct rl_vm *vm, struct rl_fault *f)
{
	int r;

	for (;;) {
		spin_lock(&vm->mmu.lock);
		r = fault_is_stale(vm, f) ? RL_MMU_RETRY : fault_install(vm, f);
		spin_unlock(&vm->mmu.lock);
		if (r != -EAGAIN)
			break;
		f->table = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!f->table)
			return -ENOMEM;
	}
	if (f->table)
		__free_page(f->table);
	return r ?: RL_MMU_FIXED;
}

static int fault_resolve(struct rl_vm *vm, struct rl_fault *f)
{
	int r;

	f->slots = srcu_dereference(vm->slots, &vm->srcu);
	f->slot = rl_slots_find(f->slots, f->gfn);
	if (!f->slot || ((f->access & RL_ACC_WRITE) && !rl_slot_writable(f->slot)))
		return RL_MMU_MMIO;
	f->hva = rl_slot_hva(f->slot, f->gfn);
	r = fault_find_page(vm, f);
	if (r)
		return r;
	f->level = fault_level(f);
	return fault_map(vm, f);
}

/**
 * rl_mmu_fault() - Resolve a second-stage fault
 * @vcpu: the current vCPU
 * @gpa: guest physical address
 * @access: RL_ACC_*, with RL_ACC_PRESENT as the CPU said
 *
 * Context: the vCPU's thread, may sleep.
 * Return: RL_MMU_*; -EFAULT where user space has no memory either, -ENOMEM,
 * -EINTR.
 */
int rl_mmu_fault(struct rl_vcpu *vcpu, gpa_t gpa, u32 access)
{
	struct rl_fault f = { .gfn = gpa >> PAGE_SHIFT, .access = access };
	struct rl_vm *vm = vcpu->vm;
	int idx, r;

	might_sleep();
	atomic64_inc(&vm->stat.faults);
	idx = srcu_read_lock(&vm->srcu);
	r = fault_resolve(vm, &f);
	srcu_read_unlock(&vm->srcu, idx);
	return r;
}

/* A leaf is there but refused the access: is that ours to allow? */
static bool fault_relax(struct rl_vm *vm, gfn_t gfn, u32 access)
{
	struct rl_memslot *slot;
	struct rl_tdp_iter it;

	for_each_rl_spte(it, &vm->mmu, gfn, gfn + 1)
		if (!rl_spte_is_table(it.old_spte, it.level))
			break;
	if (rl_spte_allows(it.old_spte, access))
		return true;
	if (!(access & RL_ACC_WRITE) || !(it.old_spte & RL_SPTE_HOST_WRITABLE))
		return false;
	slot = rl_slots_find(rl_slots_locked(vm), gfn);
	if (!slot || (slot_logs(slot) && it.level > 1))
		return false;
	rl_tdp_set_spte(vm, &it, it.old_spte | rl_tdp_fmt->write | rl_tdp_fmt->dirty);
	rl_slot_mark_dirty(slot, gfn);
	return true;
}

/**
 * rl_mmu_fault_fast() - A fault that needs no page: with interrupts off
 * @vcpu: the current vCPU
 * @gpa: guest physical address
 * @access: RL_ACC_*, with RL_ACC_PRESENT: a translation was there
 *
 * Either the CPU used a translation that has more rights by now, or the page
 * was write-protected for the dirty log. The entry is present, so the host has
 * not taken the page: no sequence to check.
 *
 * Return: false when rl_mmu_fault() has to see to it.
 */
bool rl_mmu_fault_fast(struct rl_vcpu *vcpu, gpa_t gpa, u32 access)
{
	struct rl_vm *vm = vcpu->vm;
	bool fixed;

	/* Its holder may wait for this CPU to leave the guest: only try. */
	if (!spin_trylock(&vm->mmu.lock))
		return false;
	fixed = fault_relax(vm, gpa >> PAGE_SHIFT, access);
	spin_unlock(&vm->mmu.lock);
	return fixed;
}
