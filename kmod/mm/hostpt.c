// SPDX-License-Identifier: GPL-2.0-only
/*
 * The owner's own page table: what is behind an hva.
 *
 * Owns:    nothing.
 * Touches: the owner's page table, read-only and without locks.
 * Locks:   none for the walk; mmap_lock to fault a page in.
 *
 * No reference is taken on the page. What the walk reads was true at one
 * moment after the caller read the notifier's sequence; should the entry
 * change before the caller holds mmu->lock, then the sequence says so, and
 * afterwards the notifier waits for that lock. This is also why one walk can
 * answer for ordinary pages, the zero page, device memory (VM_PFNMAP) and DAX
 * alike, with the size of the host's mapping at no further cost.
 */
#include <linux/mm.h>
#include <linux/pkeys.h>
#include <linux/sched/signal.h>

#include "../types.h"
#include "mm_priv.h"

static void found_large(struct rl_host_page *host, u64 pfn, hva_t hva, int level)
{
	host->level = level;
	host->pfn = pfn + ((hva >> PAGE_SHIFT) & ((1UL << (9 * (level - 1))) - 1));
	/* No special bit here: ask the struct page, if there is one. */
	host->has_page = pfn_valid(host->pfn) && !PageReserved(pfn_to_page(host->pfn));
}

/* Interrupts off: neither RCU nor a flush IPI lets go of a table meanwhile. */
static bool walk_irqsoff(struct mm_struct *mm, hva_t hva, bool write, struct rl_host_page *host)
{
	pgd_t pgd;
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;
	pte_t pte;

	/*
	 * Each entry is read once: it may become a large one at any time. The
	 * present bit itself counts, since p?d_present() is also true of large
	 * entries that are being split or wait for a NUMA-hinting fault.
	 */
	pgd = READ_ONCE(*pgd_offset(mm, hva));
	if (pgd_none(pgd) || pgd_bad(pgd))
		return false;
	p4d = READ_ONCE(*p4d_offset(&pgd, hva));
	if (p4d_none(p4d) || p4d_bad(p4d))
		return false;
	pud = READ_ONCE(*pud_offset(&p4d, hva));
	if (!(pud_val(pud) & _PAGE_PRESENT))
		return false;
	if (pud_leaf(pud)) {
		host->writable = pud_access_permitted(pud, true);
		found_large(host, pud_pfn(pud), hva, 3);
		return pud_access_permitted(pud, write);
	}
	pmd = READ_ONCE(*pmd_offset(&pud, hva));
	if (!(pmd_val(pmd) & _PAGE_PRESENT))
		return false;
	if (pmd_leaf(pmd)) {
		host->writable = pmd_access_permitted(pmd, true);
		found_large(host, pmd_pfn(pmd), hva, 2);
		return pmd_access_permitted(pmd, write);
	}
	pte = ptep_get_lockless(pte_offset_kernel(&pmd, hva));
	/* Says no to NUMA-hinting entries too: those are for the fault handler. */
	if (!pte_access_permitted(pte, write))
		return false;
	host->writable = write || pte_access_permitted(pte, true);
	host->pfn = pte_pfn(pte);
	host->level = 1;
	host->has_page = !pte_special(pte) && !PageReserved(pte_page(pte));
	return true;
}

/*
 * rl_host_walk() - What the owner's page table has at @hva
 * @write: only a mapping that may be written will do
 *
 * Context: @mm is current->mm (protection keys); the caller read the
 * notifier's sequence before and checks it under mmu->lock after.
 * Return: false when a fault is needed first.
 */
bool rl_host_walk(struct mm_struct *mm, hva_t hva, bool write, struct rl_host_page *host)
{
	unsigned long flags;
	bool found;

	local_irq_save(flags);
	found = walk_irqsoff(mm, hva, write, host);
	local_irq_restore(flags);
	return found;
}

static bool is_hwpoison(hva_t hva)
{
	return get_user_pages_unlocked(hva, 1, NULL, FOLL_HWPOISON | FOLL_WRITE) == -EHWPOISON;
}

/*
 * rl_host_fault() - Let the host fault in @hva, as if the owner touched it
 *
 * Context: vCPU thread, may sleep.
 * Return: 0: walk again. -EHWPOISON, -EINTR (a fatal signal), -EFAULT.
 */
int rl_host_fault(hva_t hva, bool write)
{
	struct mm_struct *mm = current->mm;
	bool unlocked;
	int r;

	/* May drop and retake mmap_lock; what is looked at below is no vma. */
	mmap_read_lock(mm);
	r = fixup_user_fault(mm, hva, write ? FAULT_FLAG_WRITE : 0, &unlocked);
	mmap_read_unlock(mm);
	if (!r)
		return 0;
	if (r == -EINTR)
		return r;
	return is_hwpoison(hva) ? -EHWPOISON : -EFAULT;
}
