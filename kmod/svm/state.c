// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's registers in the VMCB's save area: segments, descriptor tables,
 * control registers, MSRs, debug registers.
 *
 * Owns:    the save area, but RAX, RSP, RIP, RFLAGS and CR2, which svm_run()
 *          moves at every trip.
 * Touches: struct rl_vcpu's copies.
 * Locks:   the vCPU's thread.
 * Manuals: APM Vol 2, "VMCB State Save Area"; the attribute word packs a
 *          descriptor's bits 55:52 and 47:40.
 */
#include <linux/kernel.h>
#include <linux/percpu.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/debugreg.h>
#include <asm/trap_pf.h>
#include <asm/trapnr.h>

#include "../cpu/cpu.h"
#include "../vm.h"
#include "svm.h"

/* CR4 is intercepted; RIP, RSP and RFLAGS are copied with every run. */
void svm_cache_regs(struct rl_vcpu *vcpu, u32 regs)
{
	struct vmcb_save_area *s = &to_svm(vcpu)->vmcb->save;

	/* CD and NW stay out of the VMCB; the rest the guest may have changed. */
	if (regs & BIT(RL_REG_CR0))
		vcpu->cr0 = (vcpu->cr0 & (X86_CR0_CD | X86_CR0_NW)) |
			    (s->cr0 & ~(X86_CR0_CD | X86_CR0_NW));
	if (regs & BIT(RL_REG_CR3))
		vcpu->cr3 = s->cr3;
	vcpu->avail |= regs;
}

static __always_inline struct vmcb_seg *seg_of(struct rl_vcpu *vcpu, int reg)
{
	static const u16 offset[RL_SEG_NR] = {
		[RL_SEG_ES] = offsetof(struct vmcb_save_area, es),
		[RL_SEG_CS] = offsetof(struct vmcb_save_area, cs),
		[RL_SEG_SS] = offsetof(struct vmcb_save_area, ss),
		[RL_SEG_DS] = offsetof(struct vmcb_save_area, ds),
		[RL_SEG_FS] = offsetof(struct vmcb_save_area, fs),
		[RL_SEG_GS] = offsetof(struct vmcb_save_area, gs),
		[RL_SEG_TR] = offsetof(struct vmcb_save_area, tr),
		[RL_SEG_LDTR] = offsetof(struct vmcb_save_area, ldtr),
	};

	return (void *)&to_svm(vcpu)->vmcb->save + offset[reg];
}

/* Attributes of all but CS: what other CPUs' entries and user space insist on */
static noinline void adjust_attr(struct rl_vcpu *vcpu, struct rl_seg *seg, int reg)
{
	bool usable = seg->attr & RL_SEG_ATTR_P;

	if (reg == RL_SEG_TR) {
		seg->attr |= 2;		/* busy; a VMCB may say available */
	} else if (reg == RL_SEG_SS) {
		/* An unusable SS keeps stale attributes but for the DPL. */
		seg->attr &= ~(3 << RL_SEG_ATTR_DPL_SHIFT | (usable ? 0 : RL_SEG_ATTR_DB));
		seg->attr |= to_svm(vcpu)->vmcb->save.cpl << RL_SEG_ATTR_DPL_SHIFT;
	} else if (reg != RL_SEG_LDTR && usable) {
		seg->attr |= 1;		/* what is loaded has been accessed */
	}
}

/* Bits 11:8 of the VMCB's word are 15:12 of a descriptor's. */
static __always_inline u16 to_attr(u16 attrib)
{
	return (attrib & 0xff) | (attrib & 0xf00) << 4;
}

void svm_get_seg(struct rl_vcpu *vcpu, struct rl_seg *seg, int reg)
{
	struct vmcb_seg *s = seg_of(vcpu, reg);

	seg->base = s->base;
	seg->limit = s->limit;
	seg->sel = s->selector;
	seg->attr = to_attr(s->attrib);
	if (unlikely(reg != RL_SEG_CS))
		adjust_attr(vcpu, seg, reg);
}

u64 svm_seg_base(struct rl_vcpu *vcpu, int reg)
{
	return seg_of(vcpu, reg)->base;
}

u16 svm_cs_attr(struct rl_vcpu *vcpu)
{
	return to_attr(to_svm(vcpu)->vmcb->save.cs.attrib);
}

void svm_set_seg(struct rl_vcpu *vcpu, const struct rl_seg *seg, int reg)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_seg *s = seg_of(vcpu, reg);

	s->base = seg->base;
	s->limit = seg->limit;
	s->selector = seg->sel;
	s->attrib = (seg->attr & 0xff) | (seg->attr >> 4 & 0xf00);
	/* The CPU takes the privilege level from here, not from SS. */
	if (reg == RL_SEG_SS)
		svm->vmcb->save.cpl = seg->attr >> RL_SEG_ATTR_DPL_SHIFT & 3;
	svm_dirty(svm, CLEAN_SEG);
}

int svm_get_cpl(struct rl_vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->save.cpl;
}

void svm_get_dt(struct rl_vcpu *vcpu, struct kvm_dtable *dt, bool idt)
{
	struct vmcb_save_area *s = &to_svm(vcpu)->vmcb->save;
	struct vmcb_seg *t = idt ? &s->idtr : &s->gdtr;

	memset(dt, 0, sizeof(*dt));
	dt->base = t->base;
	dt->limit = t->limit;
}

void svm_set_dt(struct rl_vcpu *vcpu, const struct kvm_dtable *dt, bool idt)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_save_area *s = &svm->vmcb->save;
	struct vmcb_seg *t = idt ? &s->idtr : &s->gdtr;

	t->base = dt->base;
	t->limit = dt->limit;
	svm_dirty(svm, CLEAN_DT);
}

/*
 * CR0.CD in a guest would make all of its memory uncacheable: unless user space
 * wants that, it stays in vcpu->cr0. To be seen there on a read, reads must exit while it is set.
 */
void svm_set_cr0(struct rl_vcpu *vcpu, u64 cr0)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 out = vcpu->vm->quirks_off & KVM_X86_QUIRK_CD_NW_CLEARED ? 0 : X86_CR0_CD | X86_CR0_NW;
	u64 hw = (cr0 & ~out) | X86_CR0_ET;
	bool differs = hw != cr0;

	svm->vmcb->save.cr0 = hw;
	svm_intercept(svm, INTERCEPT_CR0_READ, differs);
	/* Otherwise only writes that change more than TS and MP are of interest. */
	svm_intercept(svm, INTERCEPT_CR0_WRITE, differs);
	svm_intercept(svm, INTERCEPT_SELECTIVE_CR0, !differs);
	svm_dirty(svm, CLEAN_CR);
}

void svm_set_cr3(struct rl_vcpu *vcpu, u64 cr3)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->save.cr3 = cr3;
	svm_dirty(svm, CLEAN_CR);
}

void svm_set_cr4(struct rl_vcpu *vcpu, u64 cr4)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->save.cr4 = cr4;
	svm_dirty(svm, CLEAN_CR);
}

void svm_set_efer(struct rl_vcpu *vcpu, u64 efer)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	vcpu->efer = efer;
	svm->vmcb->save.efer = efer | EFER_SVME;
	svm_dirty(svm, CLEAN_CR);
}

/* Where an MSR lives in the save area; NULL: not there. */
static u64 *save_area_msr(struct vmcb_save_area *s, u32 index)
{
	switch (index) {
	case MSR_STAR:
		return &s->star;
	case MSR_LSTAR:
		return &s->lstar;
	case MSR_CSTAR:
		return &s->cstar;
	case MSR_SYSCALL_MASK:
		return &s->sfmask;
	case MSR_KERNEL_GS_BASE:
		return &s->kernel_gs_base;
	case MSR_FS_BASE:
		return &s->fs.base;
	case MSR_GS_BASE:
		return &s->gs.base;
	case MSR_IA32_SYSENTER_CS:
		return &s->sysenter_cs;
	case MSR_IA32_SYSENTER_ESP:
		return &s->sysenter_esp;
	case MSR_IA32_SYSENTER_EIP:
		return &s->sysenter_eip;
	case MSR_IA32_CR_PAT:
		return &s->g_pat;
	default:
		return NULL;
	}
}

int svm_get_msr(struct rl_vcpu *vcpu, u32 index, u64 *data)
{
	u64 *field = save_area_msr(&to_svm(vcpu)->vmcb->save, index);

	if (index == MSR_TSC_AUX) {
		*data = vcpu->tsc_aux;
		return 0;
	}
	/* No branch records without LBR virtualization: the MSRs read as zero. */
	if (index == MSR_IA32_DEBUGCTLMSR) {
		*data = 0;
		return 0;
	}
	if (!field)
		return 1;
	*data = *field;
	return 0;
}

int svm_set_msr(struct rl_vcpu *vcpu, u32 index, u64 data)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	u64 *field = save_area_msr(&svm->vmcb->save, index);

	if (index == MSR_TSC_AUX) {
		vcpu->tsc_aux = data;
		if (!svm->has_tsc_aux)
			return 0;
		preempt_disable();
		wrmsrl(MSR_TSC_AUX, data);
		svm->tsc_aux_loaded = true;
		preempt_enable();
		return 0;
	}
	if (index == MSR_IA32_DEBUGCTLMSR)
		return !!data;
	if (!field)
		return 1;
	*field = data;
	if (index == MSR_IA32_CR_PAT)
		svm_dirty(svm, CLEAN_NPT);
	else
		svm_dirty(svm, CLEAN_SEG);
	return 0;
}

/*
 * While the guest has its debug registers for itself nothing about them exits;
 * otherwise everything does, and DR7 is what common code worked out.
 */
void svm_update_debug(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_save_area *s = &svm->vmcb->save;

	svm->vmcb->control.intercepts[INTERCEPT_DR] = vcpu->own_debug ? 0 : 0xff00ff;
	svm_dirty(svm, CLEAN_INTERCEPTS);
	s->dr6 = vcpu->own_debug ? vcpu->dr6 : DR6_RESERVED;
	s->dr7 = rl_eff_dr7(vcpu);
	svm_intercept(svm, INTERCEPT_EXCEPTION_OFFSET + X86_TRAP_BP,
		      vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP);
	svm_dirty(svm, CLEAN_DR);
}

void svm_sync_debug(struct rl_vcpu *vcpu)
{
	struct vmcb_save_area *s = &to_svm(vcpu)->vmcb->save;
	int i;

	for (i = 0; i < 4; i++)
		get_debugreg(vcpu->db[i], i);
	vcpu->dr6 = s->dr6;
	vcpu->dr7 = s->dr7;
}

void svm_update_intercepts(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	/* The instructions exist on the host whatever the guest's CPUID says. */
	svm->has_tsc_aux = boot_cpu_has(X86_FEATURE_RDTSCP) &&
			   (rl_guest_has(vcpu, X86_FEATURE_RDTSCP) ||
			    rl_guest_has(vcpu, X86_FEATURE_RDPID));
	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		svm_intercept(svm, INTERCEPT_RDTSCP, !rl_guest_has(vcpu, X86_FEATURE_RDTSCP));
	if (boot_cpu_has(X86_FEATURE_INVPCID))
		svm_intercept(svm, INTERCEPT_INVPCID, !rl_guest_has(vcpu, X86_FEATURE_INVPCID));
	if (boot_cpu_has(X86_FEATURE_RDPRU))
		svm_intercept(svm, INTERCEPT_RDPRU, true);
	svm_set_msrpm(svm, rcu_access_pointer(vcpu->vm->msr_filter));
	svm_update_debug(vcpu);
}

void svm_update_tsc(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->control.tsc_offset = vcpu->tsc_offset;
	svm_dirty(svm, CLEAN_INTERCEPTS);
	if (rl_caps.tsc_scaling) {
		preempt_disable();
		svm_write_tsc_ratio(vcpu->tsc_ratio);
		preempt_enable();
	}
}
