// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control registers and EFER with the architecture's rules about which values
 * go together; general registers, segments and all of these as user space sets
 * and gets them; the state after RESET and INIT.
 *
 * Owns:    the judgement. Values that passed it go to the backend, which may
 *          keep them in its control structure, and into struct rl_vcpu.
 * Touches: guest memory, for the PDPTEs of PAE paging.
 * Locks:   none; the thread that holds vcpu->mutex, vCPU loaded. vm->srcu is
 *          taken around reads of guest memory.
 * Manuals: SDM Vol 3A, "Control Registers" and "Processor State After Reset";
 *          APM Vol 2, "System-Control Registers" and "Processor Initialization
 *          State".
 */
#include <uapi/asm/debugreg.h>
#include <asm/cpufeature.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "../insn.h"
#include "cpu_priv.h"

#define CR0_RESET	(X86_CR0_CD | X86_CR0_NW | X86_CR0_ET)
#define CR0_WRITABLE	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | \
			 X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)
#define CR0_PDPTE	(X86_CR0_CD | X86_CR0_NW | X86_CR0_PG)
#define CR4_PDPTE	(X86_CR4_PSE | X86_CR4_PGE | X86_CR4_PAE | X86_CR4_SMEP)
#define CR3_PCID	0xfffull
#define CR3_NOFLUSH	BIT_ULL(63)

/* Segment types: SDM Vol 3A, "Code- and Data-Segment Descriptor Types" and "System Descriptor Types" */
#define TYPE_DATA_RW_A	(3 | RL_SEG_ATTR_S)
#define TYPE_CODE_RX_A	(11 | RL_SEG_ATTR_S)
#define TYPE_LDT	2
#define TYPE_TSS_BUSY	11

bool rl_is_64bit_code(struct rl_vcpu *vcpu)
{
	return vcpu->efer & EFER_LMA && rl_op(cs_attr)(vcpu) & RL_SEG_ATTR_L;
}

/* RIP with the base of CS, as the mode has it. */
gva_t rl_linear_rip(struct rl_vcpu *vcpu)
{
	unsigned long rip = rl_rip_read(vcpu);

	return rl_is_64bit_code(vcpu) ? rip : (u32)(rl_op(seg_base)(vcpu, RL_SEG_CS) + rip);
}

static bool is_pae_paging(u64 cr0, u64 cr4, u64 efer)
{
	return cr0 & X86_CR0_PG && cr4 & X86_CR4_PAE && !(efer & EFER_LMA);
}

/* The four PDPTEs at @cr3, or -EFAULT. */
static int read_pdptes(struct rl_vcpu *vcpu, u64 cr3, u64 pdpte[4])
{
	int idx, r;

	idx = srcu_read_lock(&vcpu->vm->srcu);
	r = rl_guest_read(vcpu->vm, (u32)cr3 & ~0x1fu, pdpte, 4 * sizeof(u64));
	srcu_read_unlock(&vcpu->vm->srcu, idx);
	return r;
}

/*
 * SDM Vol 3A, "PDPTE Registers": a load that finds reserved bits set is a #GP.
 * Bit 5 is one of them, but QEMU's TCG marks PDPTEs as accessed.
 */
static bool pdptes_valid(struct rl_vcpu *vcpu, u64 cr3)
{
	u64 reserved = rl_gpa_reserved(vcpu) | GENMASK(8, 6) | GENMASK(2, 1), pdpte[4];
	int i;

	if (read_pdptes(vcpu, cr3, pdpte))
		return false;
	for (i = 0; i < 4; i++)
		if (pdpte[i] & 1 && pdpte[i] & reserved)
			return false;
	return true;
}

/* What the rest of the module reads, and what the backend makes of it. */
static void put_cr0(struct rl_vcpu *vcpu, u64 cr0)
{
	vcpu->cr0 = cr0;
	vcpu->avail |= BIT(RL_REG_CR0);
	rl_ops->set_cr0(vcpu, cr0);
}

/* In PAE mode the backend reads the PDPTEs on the way. */
static void put_cr3(struct rl_vcpu *vcpu, u64 cr3)
{
	int idx = srcu_read_lock(&vcpu->vm->srcu);

	vcpu->cr3 = cr3;
	vcpu->avail |= BIT(RL_REG_CR3);
	rl_ops->set_cr3(vcpu, cr3);
	srcu_read_unlock(&vcpu->vm->srcu, idx);
}

static void put_cr4(struct rl_vcpu *vcpu, u64 cr4)
{
	vcpu->cr4 = cr4;
	vcpu->avail |= BIT(RL_REG_CR4);
	rl_ops->set_cr4(vcpu, cr4);
}

static bool cr0_valid(u64 cr0)
{
	return !(cr0 >> 32) && !(cr0 & X86_CR0_NW && !(cr0 & X86_CR0_CD)) &&
	       !(cr0 & X86_CR0_PG && !(cr0 & X86_CR0_PE));
}

/**
 * set_cr0() - MOV to CR0, LMSW and CLTS of the guest
 * @vcpu: the vCPU
 * @cr0: new value
 *
 * Return: 0, or 1 for #GP.
 */
static int set_cr0(struct rl_vcpu *vcpu, u64 cr0)
{
	u64 old = rl_cr0_read(vcpu), cr4 = rl_cr4_read(vcpu);
	bool on = cr0 & X86_CR0_PG, was_on = old & X86_CR0_PG;
	bool reload;

	if (!cr0_valid(cr0))
		return 1;
	cr0 = (cr0 & CR0_WRITABLE) | X86_CR0_ET;
	if (on && !was_on && vcpu->efer & EFER_LME &&
	    (!(cr4 & X86_CR4_PAE) || rl_op(cs_attr)(vcpu) & RL_SEG_ATTR_L))
		return 1;
	if (!on && was_on && (cr4 & X86_CR4_PCIDE || rl_is_64bit_code(vcpu)))
		return 1;
	reload = on && cr4 & X86_CR4_PAE && !(vcpu->efer & EFER_LME) && (cr0 ^ old) & CR0_PDPTE;
	if (reload && !pdptes_valid(vcpu, rl_cr3_read(vcpu)))
		return 1;

	/* LMA follows PG: SDM Vol 3A, "Initializing IA-32e Mode". */
	if (on != was_on && vcpu->efer & EFER_LME)
		rl_ops->set_efer(vcpu, vcpu->efer ^ EFER_LMA);
	put_cr0(vcpu, cr0);
	if (reload)
		put_cr3(vcpu, rl_cr3_read(vcpu));
	if ((cr0 ^ old) & (X86_CR0_PG | X86_CR0_WP))
		rl_request(vcpu, RL_REQ_TLB_FLUSH);
	return 0;
}

/* MOV to CR3: 0, or 1 for #GP. */
static int set_cr3(struct rl_vcpu *vcpu, u64 cr3)
{
	bool noflush = false;

	if (rl_cr4_read(vcpu) & X86_CR4_PCIDE) {
		noflush = cr3 & CR3_NOFLUSH;
		cr3 &= ~CR3_NOFLUSH;
	}
	if (vcpu->efer & EFER_LMA && cr3 & rl_gpa_reserved(vcpu))
		return 1;
	if (is_pae_paging(rl_cr0_read(vcpu), vcpu->cr4, vcpu->efer) && !pdptes_valid(vcpu, cr3))
		return 1;
	put_cr3(vcpu, cr3);
	if (!noflush)
		rl_request(vcpu, RL_REQ_TLB_FLUSH);
	return 0;
}

/* MOV to CR4: 0, or 1 for #GP. */
static int set_cr4(struct rl_vcpu *vcpu, u64 cr4)
{
	u64 old = rl_cr4_read(vcpu), cr0 = rl_cr0_read(vcpu), changed = cr4 ^ old;
	bool reload = false;

	if (cr4 & vcpu->cr4_reserved)
		return 1;
	if (vcpu->efer & EFER_LMA) {
		if (!(cr4 & X86_CR4_PAE) || changed & X86_CR4_LA57)
			return 1;
	} else if (is_pae_paging(cr0, cr4, vcpu->efer) && changed & CR4_PDPTE) {
		reload = true;
		if (!pdptes_valid(vcpu, rl_cr3_read(vcpu)))
			return 1;
	}
	if (cr4 & changed & X86_CR4_PCIDE &&
	    (!(vcpu->efer & EFER_LMA) || rl_cr3_read(vcpu) & CR3_PCID))
		return 1;

	put_cr4(vcpu, cr4);
	if (reload)
		put_cr3(vcpu, rl_cr3_read(vcpu));
	if (changed & (CR4_PDPTE | X86_CR4_SMAP | X86_CR4_LA57 | X86_CR4_PCIDE))
		rl_request(vcpu, RL_REQ_TLB_FLUSH);
	return 0;
}

int rl_set_cr8(struct rl_vcpu *vcpu, u64 cr8)
{
	if (cr8 & ~0xfull)
		return 1;
	rl_lapic_set_cr8(vcpu, cr8);
	if (!vcpu->lapic)
		rl_ops->update_apic(vcpu, cr8 << 4, -1, -1);
	return 0;
}

/**
 * rl_get_cr() - Read a control register
 * @vcpu: the vCPU
 * @nr: 0, 2, 3, 4 or 8
 */
u64 rl_get_cr(struct rl_vcpu *vcpu, unsigned int nr)
{
	switch (nr) {
	case 0:
		return rl_cr0_read(vcpu);
	case 2:
		return vcpu->cr2;
	case 3:
		return rl_cr3_read(vcpu);
	case 4:
		return rl_cr4_read(vcpu);
	default:
		return rl_get_cr8(vcpu);
	}
}

/* The guest's MOV to a control register: 0, or 1 for #GP. */
int rl_set_cr(struct rl_vcpu *vcpu, unsigned int nr, u64 val)
{
	switch (nr) {
	case 0:
		return set_cr0(vcpu, val);
	case 2:
		vcpu->cr2 = val;
		return 0;
	case 3:
		return set_cr3(vcpu, val);
	case 4:
		return set_cr4(vcpu, val);
	default:
		return rl_set_cr8(vcpu, val);
	}
}

static u64 efer_known(void)
{
	u64 bits = EFER_SCE | EFER_LME | EFER_LMA | (rl_caps.efer_bits & ~(u64)EFER_SVME);

	return boot_cpu_has(X86_FEATURE_NX) ? bits | EFER_NX : bits;
}

/**
 * rl_set_efer() - Write EFER
 * @vcpu: the vCPU
 * @efer: new value
 * @host: user space sets the MSR: only what no CPU here can do is refused
 *
 * LMA is the CPU's own and stays as it is. Return: 0, or 1 for #GP.
 */
int rl_set_efer(struct rl_vcpu *vcpu, u64 efer, bool host)
{
	if (efer & ~efer_known())
		return 1;
	if (!host) {
		if ((efer & EFER_FFXSR && !rl_guest_has(vcpu, X86_FEATURE_FXSR_OPT)) ||
		    (efer & (EFER_LME | EFER_LMA) && !rl_guest_has(vcpu, X86_FEATURE_LM)) ||
		    (efer & EFER_NX && !rl_guest_has(vcpu, X86_FEATURE_NX)))
			return 1;
		if (rl_cr0_read(vcpu) & X86_CR0_PG && (efer ^ vcpu->efer) & EFER_LME)
			return 1;
	}
	efer = (efer & ~(u64)EFER_LMA) | (vcpu->efer & EFER_LMA);
	if ((efer ^ vcpu->efer) & EFER_NX)
		rl_request(vcpu, RL_REQ_TLB_FLUSH);
	rl_ops->set_efer(vcpu, efer);
	return 0;
}

/* The registers of struct kvm_regs in its order, which is not that of the encoding. */
static const u8 regs_order[RL_NR_GPRS] = {
	RL_RAX, RL_RBX, RL_RCX, RL_RDX, RL_RSI, RL_RDI, RL_RSP, RL_RBP,
	8, 9, 10, 11, 12, 13, 14, 15
};

static_assert(offsetof(struct kvm_regs, rip) == RL_NR_GPRS * sizeof(u64));

int rl_get_regs(struct rl_vcpu *vcpu, struct kvm_regs *regs)
{
	u64 *r = (u64 *)regs;
	int i;

	rl_need_reg(vcpu, RL_REG_RSP);
	for (i = 0; i < RL_NR_GPRS; i++)
		r[i] = vcpu->regs[regs_order[i]];
	regs->rip = rl_rip_read(vcpu);
	regs->rflags = rl_get_rflags(vcpu);
	return 0;
}

/* KVM_SET_REGS. A pending exception belonged to the state that is gone now. */
int rl_set_regs(struct rl_vcpu *vcpu, const struct kvm_regs *regs)
{
	const u64 *r = (const u64 *)regs;
	int i;

	rl_watch_rip(vcpu);
	for (i = 0; i < RL_NR_GPRS; i++)
		vcpu->regs[regs_order[i]] = r[i];
	rl_set_dirty(vcpu, RL_REG_RSP);
	rl_rip_write(vcpu, regs->rip);
	rl_set_rflags(vcpu, regs->rflags);
	vcpu->exception.pending = false;
	rl_request(vcpu, RL_REQ_EVENT);
	return 0;
}

/* struct kvm_sregs and kvm_sregs2 begin alike and differ in what follows apic_base. */
#define SREGS_COMMON	offsetofend(struct kvm_sregs, apic_base)
static_assert(SREGS_COMMON == offsetofend(struct kvm_sregs2, apic_base));

/* Where segment register @reg is in struct kvm_sregs, which has an order of its own */
static struct kvm_segment *sregs_seg(const struct kvm_sregs *s, int reg)
{
	static const u8 order[RL_SEG_NR] = {
		[RL_SEG_CS] = 0, [RL_SEG_DS] = 1, [RL_SEG_ES] = 2, [RL_SEG_FS] = 3,
		[RL_SEG_GS] = 4, [RL_SEG_SS] = 5, [RL_SEG_TR] = 6, [RL_SEG_LDTR] = 7,
	};

	return (struct kvm_segment *)&s->cs + order[reg];
}

static_assert(offsetof(struct kvm_sregs, ldt) == 7 * sizeof(struct kvm_segment));

static void get_seg(struct rl_vcpu *vcpu, struct kvm_segment *seg, int reg)
{
	struct rl_seg s;

	rl_ops->get_seg(vcpu, &s, reg);
	*seg = (struct kvm_segment) {
		.base = s.base,
		.limit = s.limit,
		.selector = s.sel,
		.type = s.attr & RL_SEG_ATTR_TYPE,
		.s = !!(s.attr & RL_SEG_ATTR_S),
		.dpl = s.attr >> RL_SEG_ATTR_DPL_SHIFT & 3,
		.present = !!(s.attr & RL_SEG_ATTR_P),
		.avl = !!(s.attr & RL_SEG_ATTR_AVL),
		.l = !!(s.attr & RL_SEG_ATTR_L),
		.db = !!(s.attr & RL_SEG_ATTR_DB),
		/* Not every CPU keeps G: APM Vol 2, "Segment State in the VMCB". */
		.g = s.attr & RL_SEG_ATTR_G || s.limit > 0xfffff,
		.unusable = !(s.attr & RL_SEG_ATTR_P),
	};
}

static void set_seg(struct rl_vcpu *vcpu, const struct kvm_segment *seg, int reg)
{
	struct rl_seg s = {
		.base = seg->base,
		.limit = seg->limit,
		.sel = seg->selector,
		.attr = (seg->type & RL_SEG_ATTR_TYPE) | (seg->s & 1 ? RL_SEG_ATTR_S : 0) |
			(seg->dpl & 3) << RL_SEG_ATTR_DPL_SHIFT |
			(seg->present && !seg->unusable ? RL_SEG_ATTR_P : 0) |
			(seg->avl & 1 ? RL_SEG_ATTR_AVL : 0) | (seg->l & 1 ? RL_SEG_ATTR_L : 0) |
			(seg->db & 1 ? RL_SEG_ATTR_DB : 0) | (seg->g & 1 ? RL_SEG_ATTR_G : 0),
	};

	rl_ops->set_seg(vcpu, &s, reg);
}

static void get_sregs_common(struct rl_vcpu *vcpu, struct kvm_sregs *s)
{
	int i;

	for (i = 0; i < RL_SEG_NR; i++)
		get_seg(vcpu, sregs_seg(s, i), i);
	rl_ops->get_dt(vcpu, &s->idt, true);
	rl_ops->get_dt(vcpu, &s->gdt, false);
	s->cr0 = rl_cr0_read(vcpu);
	s->cr2 = vcpu->cr2;
	s->cr3 = rl_cr3_read(vcpu);
	s->cr4 = rl_cr4_read(vcpu);
	s->cr8 = rl_get_cr8(vcpu);
	s->efer = vcpu->efer;
	s->apic_base = vcpu->apic_base;
}

int rl_get_sregs(struct rl_vcpu *vcpu, struct kvm_sregs *sregs)
{
	memset(sregs, 0, sizeof(*sregs));
	get_sregs_common(vcpu, sregs);
	if (vcpu->interrupt.injected && !vcpu->interrupt.soft)
		sregs->interrupt_bitmap[vcpu->interrupt.vector / 64] =
			BIT_ULL(vcpu->interrupt.vector % 64);
	return 0;
}

static bool sregs_valid(struct rl_vcpu *vcpu, const struct kvm_sregs *s)
{
	bool lma = s->efer & EFER_LMA;

	if (s->efer & EFER_LME && s->cr0 & X86_CR0_PG) {
		if (!(s->cr4 & X86_CR4_PAE) || !lma || s->cr3 & rl_gpa_reserved(vcpu))
			return false;
	} else if (lma || s->cs.l) {
		return false;
	}
	/* CR4.PCIDE outside long mode is no error here, as in KVM: VMX refuses to enter. */
	return cr0_valid(s->cr0) && !(s->cr4 & vcpu->cr4_reserved) && !(s->efer & ~efer_known());
}

/* SDM Vol 3A, "Processor State After Reset": CS:EIP are 16 bytes below 4 GiB. */
static bool at_reset_vector(struct rl_vcpu *vcpu, const struct kvm_sregs *s)
{
	return rl_rip_read(vcpu) == 0xfff0 && s->cs.selector == 0xf000 &&
	       s->cs.base == 0xffff0000 && !(s->cr0 & X86_CR0_PE);
}

static int set_sregs_common(struct rl_vcpu *vcpu, const struct kvm_sregs *s)
{
	int i;

	if (!sregs_valid(vcpu, s) || rl_lapic_set_base(vcpu, s->apic_base, true))
		return -EINVAL;

	rl_watch_rip(vcpu);
	rl_ops->set_dt(vcpu, &s->idt, true);
	rl_ops->set_dt(vcpu, &s->gdt, false);
	vcpu->cr2 = s->cr2;
	rl_set_cr8(vcpu, s->cr8);
	rl_ops->set_efer(vcpu, s->efer);
	put_cr0(vcpu, (s->cr0 & CR0_WRITABLE) | X86_CR0_ET);
	put_cr4(vcpu, s->cr4);
	put_cr3(vcpu, s->cr3);		/* last: the mode tells whether there are PDPTEs */
	for (i = 0; i < RL_SEG_NR; i++)
		set_seg(vcpu, sregs_seg(s, i), i);
	rl_request(vcpu, RL_REQ_TLB_FLUSH);

	/* User space that resets a machine by hand forgets the boot CPU's MP state. */
	if (rl_vcpu_is_bsp(vcpu) && at_reset_vector(vcpu, s))
		vcpu->mp_state = KVM_MP_STATE_RUNNABLE;
	return 0;
}

/**
 * rl_set_sregs() - KVM_SET_SREGS
 * @vcpu: the vCPU
 * @sregs: new values
 *
 * Return: 0, or -EINVAL for values that do not go together or that the guest's
 * CPU does not have.
 */
int rl_set_sregs(struct rl_vcpu *vcpu, const struct kvm_sregs *sregs)
{
	int r = set_sregs_common(vcpu, sregs), word;

	for (word = 0; !r && word < ARRAY_SIZE(sregs->interrupt_bitmap); word++) {
		if (!sregs->interrupt_bitmap[word])
			continue;
		rl_requeue_interrupt(vcpu, word * 64 + __ffs64(sregs->interrupt_bitmap[word]),
				     false);
		break;
	}
	return r;
}

int rl_get_sregs2(struct rl_vcpu *vcpu, struct kvm_sregs2 *sregs)
{
	memset(sregs, 0, sizeof(*sregs));
	get_sregs_common(vcpu, (struct kvm_sregs *)sregs);
	if (is_pae_paging(sregs->cr0, sregs->cr4, sregs->efer) &&
	    !read_pdptes(vcpu, sregs->cr3, sregs->pdptrs))
		sregs->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	return 0;
}

/*
 * KVM_SET_SREGS2: as rl_set_sregs(), -EINVAL also for unknown flags and for
 * PDPTEs outside PAE paging. The CPU reads them from memory all the same, as
 * any AMD CPU does with nested paging.
 */
int rl_set_sregs2(struct rl_vcpu *vcpu, const struct kvm_sregs2 *sregs)
{
	if (sregs->flags & ~KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return -EINVAL;
	if (sregs->flags && !is_pae_paging(sregs->cr0, sregs->cr4, sregs->efer))
		return -EINVAL;
	return set_sregs_common(vcpu, (const struct kvm_sregs *)sregs);
}

static void reset_seg(struct rl_vcpu *vcpu, int reg, u16 selector, u64 base, u8 type)
{
	struct rl_seg seg = {
		.sel = selector, .base = base, .limit = 0xffff, .attr = type | RL_SEG_ATTR_P,
	};

	rl_ops->set_seg(vcpu, &seg, reg);
}

/**
 * rl_regs_reset() - General, control, segment and debug registers after RESET or INIT
 * @vcpu: the vCPU
 * @init: INIT rather than RESET
 *
 * SDM Vol 3A, "Processor State After Reset", with the table "IA-32 and Intel 64
 * Processor States Following Power-up, Reset, or INIT".
 *
 * Context: vCPU loaded.
 */
void rl_regs_reset(struct rl_vcpu *vcpu, bool init)
{
	u64 kept = init ? (rl_cr0_read(vcpu) & (X86_CR0_CD | X86_CR0_NW)) | X86_CR0_ET :
			  CR0_RESET;
	const struct kvm_dtable dt = { .limit = 0xffff };
	struct kvm_cpuid_entry2 *signature;
	int i;

	rl_cpuid_reset(vcpu);
	memset(vcpu->regs, 0, sizeof(vcpu->regs));
	rl_set_dirty(vcpu, RL_REG_RSP);
	signature = rl_cpuid_find(vcpu, 1, 0);
	vcpu->regs[RL_RDX] = signature ? signature->eax : 0x600;
	rl_rflags_write(vcpu, X86_EFLAGS_FIXED);
	rl_rip_write(vcpu, 0xfff0);

	put_cr0(vcpu, kept);
	put_cr4(vcpu, 0);
	put_cr3(vcpu, 0);
	rl_ops->set_efer(vcpu, 0);
	vcpu->cr2 = 0;
	vcpu->cr8 = 0;

	reset_seg(vcpu, RL_SEG_CS, 0xf000, 0xffff0000, TYPE_CODE_RX_A);
	for (i = 0; i < RL_SEG_NR; i++)
		if (i != RL_SEG_CS && i != RL_SEG_LDTR && i != RL_SEG_TR)
			reset_seg(vcpu, i, 0, 0, TYPE_DATA_RW_A);
	reset_seg(vcpu, RL_SEG_LDTR, 0, 0, TYPE_LDT);
	reset_seg(vcpu, RL_SEG_TR, 0, 0, TYPE_TSS_BUSY);
	rl_ops->set_dt(vcpu, &dt, true);
	rl_ops->set_dt(vcpu, &dt, false);

	memset(vcpu->db, 0, sizeof(vcpu->db));
	vcpu->dr6 = DR6_RESERVED;
	vcpu->dr7 = RL_DR7_ONES;
	rl_update_dr(vcpu);
	rl_request(vcpu, RL_REQ_TLB_FLUSH);
}
