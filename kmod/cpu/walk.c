// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's own page tables: from a linear to a guest physical address with
 * the rights, faults and accessed/dirty bits of the guest's CPU.
 *
 * Owns:    nothing; tables are guest memory, read through mm/guest.c.
 * Touches: accessed and dirty bits in the guest's tables.
 * Locks:   callers hold vm->srcu for read.
 * Manuals: SDM Vol 3A, "Paging"; APM Vol 2, "Page Translation and Protection".
 */
#include <asm/cpufeature.h>
#include <asm/msr-index.h>
#include <asm/pgtable_types.h>
#include <asm/processor-flags.h>
#include <asm/trap_pf.h>

#include "cpu_priv.h"

#define PTE_ADDR	GENMASK_ULL(51, 12)

#define MAX_LEVELS	5
#define WALK_ANYTHING	0x2000	/* access: a debugger's look, no protection applies */

/* Which of the paging modes, with what decides about entries in it. */
struct mode {
	u8 levels;		/* 2: 32-bit, 3: PAE, 4 and 5: long mode */
	u8 bits;		/* of the address that one level translates */
	u8 size;		/* of an entry */
	bool nx, smep, smap, wp, pse;
	u64 reserved;		/* address bits beyond the guest's, in 8-byte entries */
};

struct step {
	gpa_t gpa;		/* of the entry */
	u64 pte;
};

static void get_mode(struct rl_vcpu *vcpu, u64 cr0, struct mode *m)
{
	u64 cr4 = rl_cr4_read(vcpu);

	m->nx = vcpu->efer & EFER_NX && cr4 & X86_CR4_PAE;
	m->smep = cr4 & X86_CR4_SMEP;
	m->smap = cr4 & X86_CR4_SMAP;
	m->wp = cr0 & X86_CR0_WP;
	m->pse = cr4 & X86_CR4_PSE;
	m->bits = 9;
	m->size = 8;
	m->reserved = rl_gpa_reserved(vcpu) & GENMASK_ULL(51, 12);
	if (!m->nx)
		m->reserved |= _PAGE_NX;
	if (vcpu->efer & EFER_LMA) {
		m->levels = cr4 & X86_CR4_LA57 ? 5 : 4;
	} else if (cr4 & X86_CR4_PAE) {
		m->levels = 3;
		m->reserved |= GENMASK_ULL(62, 52);
	} else {
		m->levels = 2;
		m->bits = 10;
		m->size = 4;
	}
}

/*
 * Bytes that a 4 MiB entry maps, with bits 39:32 of the address in bits 20:13
 * (PSE-36). Bit 21 must be clear, and so must the bits beyond the guest's
 * physical addresses.
 */
static bool pse36_reserved(struct rl_vcpu *vcpu, u64 pte)
{
	u64 high = rl_guest_has(vcpu, X86_FEATURE_PSE36) ? (pte & GENMASK(20, 13)) << 19 : 0;

	return pte & BIT(21) || high & rl_gpa_reserved(vcpu);
}

/* Is the present entry @pte at @level a leaf, and does it have reserved bits set? */
static bool is_leaf(struct rl_vcpu *vcpu, const struct mode *m, int level, u64 pte, bool *rsvd)
{
	u64 mask = m->reserved;
	bool leaf = level == 1;

	if (m->levels == 2) {
		leaf |= pte & _PAGE_PSE && m->pse;
		*rsvd = level == 2 && leaf && pse36_reserved(vcpu, pte);
		return leaf;
	}
	if (level == 3 && m->levels == 3) {
		/* The low bits were judged when CR3 was loaded, see pdptes_valid(). */
		*rsvd = pte & (mask | _PAGE_NX);
		return false;
	}
	if (level > 1 && pte & _PAGE_PSE) {
		if (level == 2) {
			leaf = true;
			mask |= GENMASK(20, 13);
		} else if (level == 3 && rl_guest_has(vcpu, X86_FEATURE_GBPAGES)) {
			leaf = true;
			mask |= GENMASK(29, 13);
		} else {
			mask |= _PAGE_PSE;
		}
	}
	*rsvd = pte & mask;
	return leaf;
}

/* @rights: the AND of all entries' W and U, the OR of their NX. */
static bool refused(struct rl_vcpu *vcpu, const struct mode *m, u64 rights, u32 access)
{
	bool user_page = rights & _PAGE_USER, user = access & RL_ACC_USER;

	if (access & WALK_ANYTHING)
		return false;
	if (access & RL_ACC_FETCH)
		return (m->nx && rights & _PAGE_NX) || (user && !user_page) ||
		       (!user && user_page && m->smep);
	if (user)
		return !user_page || (access & RL_ACC_WRITE && !(rights & _PAGE_RW));
	/* SMAP: RFLAGS.AC lets explicit accesses through, implicit ones never pass. */
	if (user_page && m->smap &&
	    (access & RL_WALK_IMPLICIT || !(rl_rflags_read(vcpu) & X86_EFLAGS_AC)))
		return true;
	return access & RL_ACC_WRITE && !(rights & _PAGE_RW) && m->wp;
}

/*
 * Accessed in every entry, dirty in the last one of a write. A table in
 * read-only memory stays as it is. The entry may have changed since it was
 * read: then the whole walk is stale.
 */
static int set_ad_bits(struct rl_vcpu *vcpu, const struct mode *m, struct step *steps, int leaf,
		       u32 access, bool atomic)
{
	int level;

	for (level = m->levels; level >= leaf; level--) {
		struct step *s = &steps[level - 1];
		u64 new = s->pte | _PAGE_ACCESSED, old = s->pte;

		if (level == leaf && access & RL_ACC_WRITE)
			new |= _PAGE_DIRTY;
		if (new == old || (level == 3 && m->levels == 3))
			continue;
		if (atomic)
			return -EFAULT;
		if (rl_guest_cmpxchg(vcpu->vm, s->gpa, &old, new, m->size) == 1)
			return -EAGAIN;
	}
	return 0;
}

static int page_fault(struct rl_walk *w, const struct mode *m, u32 access, u32 error_code)
{
	if (access & RL_ACC_WRITE)
		error_code |= X86_PF_WRITE;
	if (access & RL_ACC_USER)
		error_code |= X86_PF_USER;
	if (access & RL_ACC_FETCH && (m->nx || m->smep))
		error_code |= X86_PF_INSTR;
	w->fault = true;
	w->error_code = error_code;
	return 0;
}

int rl_walk(struct rl_vcpu *vcpu, gva_t gva, u32 access, bool set_ad, bool atomic,
	    struct rl_walk *w)
{
	u64 cr0 = rl_cr0_read(vcpu), table, rights = _PAGE_RW | _PAGE_USER, pte, offset;
	struct step steps[MAX_LEVELS];
	struct mode m;
	int level, shift, r;
	bool rsvd;

	w->fault = false;
	w->error_code = 0;
	w->cr2 = gva;
	w->page_size = PAGE_SIZE;
	w->gpa = gva;
	if (!(cr0 & X86_CR0_PG))
		return 0;

	get_mode(vcpu, cr0, &m);
	table = rl_cr3_read(vcpu) & PTE_ADDR;
	if (m.levels < 4) {
		gva = (u32)gva;
		table = (u32)vcpu->cr3 & (m.levels == 3 ? ~0x1fu : ~0xfffu);
	}
	for (level = m.levels; ; level--) {
		struct step *s = &steps[level - 1];

		shift = PAGE_SHIFT + m.bits * (level - 1);
		s->gpa = table + ((gva >> shift) & (BIT(m.bits) - 1)) * m.size;
		pte = 0;
		r = atomic ? rl_guest_read_atomic(vcpu->vm, s->gpa, &pte, m.size) :
			     rl_guest_read(vcpu->vm, s->gpa, &pte, m.size);
		if (r)
			return -EFAULT;
		s->pte = pte;
		if (!(pte & _PAGE_PRESENT))
			return page_fault(w, &m, access, 0);
		r = is_leaf(vcpu, &m, level, pte, &rsvd);
		if (rsvd)
			return page_fault(w, &m, access, X86_PF_PROT | X86_PF_RSVD);
		if (!(level == 3 && m.levels == 3))	/* PDPTEs say nothing about rights */
			rights = (rights & (pte | _PAGE_NX)) | (pte & _PAGE_NX);
		if (r)
			break;
		table = pte & PTE_ADDR;
	}

	if (refused(vcpu, &m, rights, access))
		return page_fault(w, &m, access, X86_PF_PROT);
	if (set_ad) {
		r = set_ad_bits(vcpu, &m, steps, level, access, atomic);
		if (r)
			return r;
	}
	offset = BIT_ULL(shift) - 1;
	w->page_size = offset + 1;
	w->gpa = (pte & PTE_ADDR & ~offset) | (gva & offset);
	if (m.levels == 2 && level == 2 && rl_guest_has(vcpu, X86_FEATURE_PSE36))
		w->gpa |= (pte & GENMASK(20, 13)) << 19;
	return 0;
}

/**
 * rl_translate() - KVM_TRANSLATE
 * @vcpu: the vCPU
 * @tr: linear address in, physical address out
 *
 * Return: 0; tr->valid says whether there is a translation.
 */
int rl_translate(struct rl_vcpu *vcpu, struct kvm_translation *tr)
{
	struct rl_walk w;
	int idx, r;

	idx = srcu_read_lock(&vcpu->vm->srcu);
	r = rl_walk(vcpu, tr->linear_address, WALK_ANYTHING, false, false, &w);
	srcu_read_unlock(&vcpu->vm->srcu, idx);
	tr->valid = !r && !w.fault;
	tr->physical_address = tr->valid ? w.gpa : RL_INVALID_GPA;
	tr->writeable = 1;
	tr->usermode = 0;
	return 0;
}
