// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's registers in the VMCS: general and control registers, segments,
 * descriptor tables, and the MSRs that have a field there.
 *
 * Owns:    the guest-state area of the VMCS but interruptibility and activity.
 * Touches: guest memory, for PAE's four page-directory pointers.
 * Locks:   none; the vCPU is loaded. vm->srcu around guest memory.
 * Manuals: SDM Vol 3C, "Guest-State Area" and "Guest/Host Masks and Read
 *          Shadows for CR0 and CR4".
 */
#include <linux/sched.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/msr.h>

#include "../cpu/cpu.h"
#include "vmx.h"

/* ---- general registers ---- */

/**
 * vmx_cache_regs() - Read lazy registers from the VMCS
 * @vcpu: loaded vCPU
 * @regs: BIT(enum rl_lazy_reg), none of them available
 */
void vmx_cache_regs(struct rl_vcpu *vcpu, u32 regs)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	if (regs & BIT(RL_REG_RIP))
		vcpu->rip = vmcs_read(GUEST_RIP);
	if (regs & BIT(RL_REG_RSP))
		vcpu->regs[RL_RSP] = vmcs_read(GUEST_RSP);
	if (regs & BIT(RL_REG_RFLAGS))
		vcpu->rflags = vmcs_read(GUEST_RFLAGS);
	if (regs & BIT(RL_REG_CR0))
		vcpu->cr0 = (vmcs_read(GUEST_CR0) & VMX_CR0_OWNED) |
			    (v->cr0_shadow & ~VMX_CR0_OWNED);
	if (regs & BIT(RL_REG_CR3))
		vcpu->cr3 = vmcs_read(GUEST_CR3);
	if (regs & BIT(RL_REG_CR4))
		vcpu->cr4 = (vmcs_read(GUEST_CR4) & v->cr4_owned) |
			    (v->cr4_shadow & ~v->cr4_owned);
	vcpu->avail |= regs;
}

/*
 * SDM Vol 3C, "Checks on Guest RIP, RFLAGS, and SSP" and "Checks on Guest
 * Non-Register State": with STI or MOV SS blocking a pending single step
 * follows RFLAGS.TF, and STI blocking needs RFLAGS.IF.
 */
static void write_rflags(struct vmx_vcpu *v, unsigned long rflags)
{
	u32 state = vmx_intr_state(v);
	unsigned long dbg;

	/* User space may have set what no POPF could. */
	rflags = (rflags & 0x3f7fd7) | X86_EFLAGS_FIXED;
	v->vcpu.rflags = rflags;
	vmcs_write(GUEST_RFLAGS, rflags);
	if (!(state & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS)))
		return;
	if (!(rflags & X86_EFLAGS_IF))
		vmx_set_intr_state(v, state & ~GUEST_INTR_STATE_STI);
	dbg = vmcs_read(GUEST_PENDING_DBG_EXCEPTIONS) & ~DR_STEP;
	if ((rflags & X86_EFLAGS_TF) &&
	    !(vmcs_read(GUEST_IA32_DEBUGCTL) & DEBUGCTLMSR_BTF))
		dbg |= DR_STEP;
	vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS, dbg);
}

/**
 * vmx_write_dirty_regs() - Put changed registers back before an entry
 * @v: loaded vCPU
 */
void vmx_write_dirty_regs(struct vmx_vcpu *v)
{
	struct rl_vcpu *vcpu = &v->vcpu;
	u32 dirty = vcpu->dirty;

	vcpu->dirty = 0;
	if (dirty & BIT(RL_REG_RIP))
		vmcs_write(GUEST_RIP, vcpu->rip);
	if (dirty & BIT(RL_REG_RSP))
		vmcs_write(GUEST_RSP, vcpu->regs[RL_RSP]);
	if (dirty & BIT(RL_REG_RFLAGS))
		write_rflags(v, vcpu->rflags);
}

/* ---- segments ---- */

static const struct {
	u16 selector, base, limit, ar;
} seg_fields[] = {
#define SEG(name) { GUEST_##name##_SELECTOR, GUEST_##name##_BASE,		\
		    GUEST_##name##_LIMIT, GUEST_##name##_AR_BYTES }
	[RL_SEG_ES] = SEG(ES), [RL_SEG_CS] = SEG(CS), [RL_SEG_SS] = SEG(SS), [RL_SEG_DS] = SEG(DS),
	[RL_SEG_FS] = SEG(FS), [RL_SEG_GS] = SEG(GS), [RL_SEG_TR] = SEG(TR), [RL_SEG_LDTR] = SEG(LDTR),
};

/* Asked for at almost every exit that is not decoded by the CPU: kept until the next. */
static u32 cached_ar(struct vmx_vcpu *v, u32 valid, u32 *ar, u32 field)
{
	if (!(v->valid & valid)) {
		*ar = vmcs_read32(field);
		v->valid |= valid;
	}
	return *ar;
}

static u32 read_ar(struct vmx_vcpu *v, int reg)
{
	if (reg == RL_SEG_CS)
		return cached_ar(v, VMX_VALID_CS, &v->cs_ar, GUEST_CS_AR_BYTES);
	if (reg == RL_SEG_SS)
		return cached_ar(v, VMX_VALID_SS, &v->ss_ar, GUEST_SS_AR_BYTES);
	return vmcs_read32(seg_fields[reg].ar);
}

void vmx_get_seg(struct rl_vcpu *vcpu, struct rl_seg *seg, int reg)
{
	u32 ar = read_ar(to_vmx(vcpu), reg);

	seg->base = vmcs_read(seg_fields[reg].base);
	seg->limit = vmcs_read32(seg_fields[reg].limit);
	seg->sel = vmcs_read(seg_fields[reg].selector);
	/*
	 * The field has a descriptor's bits in their places, and "unusable" at 16. A null
	 * selector may leave P set; "usable" implies P, and is what P means in struct rl_seg.
	 */
	seg->attr = ar & 0xf0ff;
	if (ar & VMX_AR_UNUSABLE_MASK)
		seg->attr &= ~RL_SEG_ATTR_P;
}

void vmx_set_seg(struct rl_vcpu *vcpu, const struct rl_seg *seg, int reg)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 ar = seg->attr;

	/* A segment that is loaded has been accessed; TR's TSS is busy. */
	if (ar & RL_SEG_ATTR_S)
		ar |= VMX_AR_TYPE_ACCESSES_MASK;
	else if (reg == RL_SEG_TR)
		ar |= 2;
	if (!(ar & RL_SEG_ATTR_P))
		ar |= VMX_AR_UNUSABLE_MASK;
	vmcs_write(seg_fields[reg].base, seg->base);
	vmcs_write(seg_fields[reg].limit, seg->limit);
	vmcs_write(seg_fields[reg].selector, seg->sel);
	vmcs_write(seg_fields[reg].ar, ar);
	if (reg == RL_SEG_CS) {
		v->cs_ar = ar;
		v->valid |= VMX_VALID_CS;
	} else if (reg == RL_SEG_SS) {
		v->ss_ar = ar;
		v->valid |= VMX_VALID_SS;
	}
}

u64 vmx_seg_base(struct rl_vcpu *vcpu, int reg)
{
	return vmcs_read(seg_fields[reg].base);
}

u16 vmx_cs_attr(struct rl_vcpu *vcpu)
{
	return read_ar(to_vmx(vcpu), RL_SEG_CS) & 0xf0ff;
}

/* SDM Vol 3C, "Guest Register State": SS.DPL is always the CPL. */
int vmx_get_cpl(struct rl_vcpu *vcpu)
{
	return VMX_AR_DPL(read_ar(to_vmx(vcpu), RL_SEG_SS));
}

void vmx_get_dt(struct rl_vcpu *vcpu, struct kvm_dtable *dt, bool idt)
{
	dt->base = vmcs_read(idt ? GUEST_IDTR_BASE : GUEST_GDTR_BASE);
	dt->limit = vmcs_read32(idt ? GUEST_IDTR_LIMIT : GUEST_GDTR_LIMIT);
}

void vmx_set_dt(struct rl_vcpu *vcpu, const struct kvm_dtable *dt, bool idt)
{
	vmcs_write(idt ? GUEST_IDTR_BASE : GUEST_GDTR_BASE, dt->base);
	vmcs_write(idt ? GUEST_IDTR_LIMIT : GUEST_GDTR_LIMIT, dt->limit);
}

/* ---- control registers ---- */

/*
 * With EPT the CPU takes PAE's four pointers from the VMCS; a MOV to CR3 in
 * the guest loads them, what we change for it does not. Common code judged
 * them, but the guest may have rewritten them since, and one with reserved
 * bits would fail the entry: it counts as absent.
 */
static void load_pdptrs(struct rl_vcpu *vcpu)
{
	u64 pdpte[4] = {}, reserved = GENMASK_ULL(8, 5) | GENMASK_ULL(2, 1) |
				      GENMASK_ULL(63, vcpu->maxphyaddr ?: 36);
	int i;

	rl_guest_read(vcpu->vm, vcpu->cr3 & 0xffffffe0, pdpte, sizeof(pdpte));
	for (i = 0; i < 4; i++) {
		if ((pdpte[i] & _PAGE_PRESENT) && (pdpte[i] & reserved))
			pdpte[i] = 0;
		vmcs_write(GUEST_PDPTR0 + 2 * i, pdpte[i]);
	}
}

void vmx_set_cr0(struct rl_vcpu *vcpu, u64 cr0)
{
	to_vmx(vcpu)->cr0_shadow = cr0;
	vmcs_write(CR0_READ_SHADOW, cr0);
	/* Caching stays on whatever the guest says: its memory is ordinary memory. */
	vmcs_write(GUEST_CR0, (cr0 & ~(u64)(X86_CR0_NW | X86_CR0_CD)) | vmx_cfg.cr0_fixed1);
}

/* Common code comes here, too, when the change of a mode makes PAE load its pointers. */
void vmx_set_cr3(struct rl_vcpu *vcpu, u64 cr3)
{
	vmcs_write(GUEST_CR3, cr3);
	if ((rl_cr0_read(vcpu) & X86_CR0_PG) && (rl_cr4_read(vcpu) & X86_CR4_PAE) &&
	    !(vcpu->efer & EFER_LMA))
		load_pdptrs(vcpu);
}

void vmx_set_cr4(struct rl_vcpu *vcpu, u64 cr4)
{
	to_vmx(vcpu)->cr4_shadow = cr4;
	vmcs_write(CR4_READ_SHADOW, cr4);
	/* A machine check with CR4.MCE clear would shut the CPU down, not exit. */
	vmcs_write(GUEST_CR4, cr4 | X86_CR4_VMXE | (native_read_cr4() & X86_CR4_MCE));
}

void vmx_set_efer(struct rl_vcpu *vcpu, u64 efer)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 entry = v->copy.entry & ~VM_ENTRY_IA32E_MODE, tr;
	bool sce = (vcpu->efer ^ efer) & EFER_SCE;
	int i;

	vcpu->efer = efer;
	vmcs_write(GUEST_IA32_EFER, efer);
	if (efer & EFER_LMA) {
		entry |= VM_ENTRY_IA32E_MODE;
		/* "Checks on Guest Segment Registers": no 16-bit TSS in IA-32e mode. */
		tr = vmcs_read32(GUEST_TR_AR_BYTES);
		if ((tr & VMX_AR_TYPE_MASK) != VMX_AR_TYPE_BUSY_64_TSS)
			vmcs_write(GUEST_TR_AR_BYTES,
				   (tr & ~VMX_AR_TYPE_MASK) | VMX_AR_TYPE_BUSY_64_TSS);
	}
	vmcs_set(VM_ENTRY_CONTROLS, &v->copy.entry, entry);
	for (i = VMX_URET_STAR; sce && i <= VMX_URET_FMASK; i++)
		vmx_uret_changed(v, i);
}

/* ---- MSRs ---- */

/* MSRs that are a field of the VMCS. */
static int msr_field(u32 index)
{
	switch (index) {
	case MSR_FS_BASE:
		return GUEST_FS_BASE;
	case MSR_GS_BASE:
		return GUEST_GS_BASE;
	case MSR_IA32_SYSENTER_CS:
		return GUEST_SYSENTER_CS;
	case MSR_IA32_SYSENTER_ESP:
		return GUEST_SYSENTER_ESP;
	case MSR_IA32_SYSENTER_EIP:
		return GUEST_SYSENTER_EIP;
	case MSR_IA32_CR_PAT:
		return GUEST_IA32_PAT;
	case MSR_IA32_DEBUGCTLMSR:
		return GUEST_IA32_DEBUGCTL;
	}
	return -1;
}

static int msr_uret(u32 index)
{
	switch (index) {
	case MSR_STAR:
		return VMX_URET_STAR;
	case MSR_LSTAR:
		return VMX_URET_LSTAR;
	case MSR_CSTAR:
		return VMX_URET_CSTAR;
	case MSR_SYSCALL_MASK:
		return VMX_URET_FMASK;
	case MSR_TSC_AUX:
		return VMX_URET_TSC_AUX;
	}
	return -1;
}

int vmx_get_msr(struct rl_vcpu *vcpu, u32 index, u64 *data)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	int field = msr_field(index), uret = msr_uret(index);

	if (field >= 0)
		*data = vmcs_read(field);
	else if (index == MSR_TSC_AUX)
		*data = vcpu->tsc_aux;
	else if (uret >= 0)
		*data = v->uret[uret];
	else if (index == MSR_KERNEL_GS_BASE)
		*data = vmx_read_kernel_gs_base(v);
	else
		return 1;
	return 0;
}

/* Bases were found canonical and PAT's types legal by common code. */
int vmx_set_msr(struct rl_vcpu *vcpu, u32 index, u64 data)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	int field = msr_field(index), uret = msr_uret(index);

	if (index == MSR_IA32_DEBUGCTLMSR) {
		/* Branch records are not offered: the bits that want them stay clear. */
		if (data & ~(u64)(DEBUGCTLMSR_LBR | DEBUGCTLMSR_BTF))
			return 1;
		data &= DEBUGCTLMSR_BTF;
	}
	if (field >= 0) {
		vmcs_write(field, data);
	} else if (uret >= 0) {
		if (uret == VMX_URET_TSC_AUX)
			vcpu->tsc_aux = data;
		else
			v->uret[uret] = data;
		vmx_uret_changed(v, uret);
	} else if (index == MSR_KERNEL_GS_BASE) {
		vmx_write_kernel_gs_base(v, data);
	} else {
		return 1;
	}
	return 0;
}

/**
 * vmx_regs_reset() - RESET's values of what rl_regs_reset() does not know
 * @v: loaded vCPU
 */
void vmx_regs_reset(struct vmx_vcpu *v)
{
	vmcs_write(GUEST_SYSENTER_CS, 0);
	vmcs_write(GUEST_SYSENTER_ESP, 0);
	vmcs_write(GUEST_SYSENTER_EIP, 0);
	vmcs_write(GUEST_IA32_DEBUGCTL, 0);
	vmcs_write(GUEST_IA32_PAT, 0x0007040600070406ULL);
}
