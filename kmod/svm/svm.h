/* SPDX-License-Identifier: GPL-2.0-only */
/* Shared inside kmod/svm/ only. */
#ifndef RL_SVM_H
#define RL_SVM_H

#include <linux/kernel.h>
#include <asm/msr.h>
#include <asm/svm.h>

#include "../vcpu.h"
#include "../vendor.h"

/* VMCB clean bits: APM Vol 2, "VMCB Clean Field". */
enum {
	CLEAN_INTERCEPTS, CLEAN_PERM_MAP, CLEAN_ASID, CLEAN_INTR, CLEAN_NPT,
	CLEAN_CR, CLEAN_DR, CLEAN_DT, CLEAN_SEG, CLEAN_CR2, CLEAN_LBR,
};

#define CLEAN_ALL	(BIT(CLEAN_LBR + 1) - 1)
/* Always written or cheap to reload: what an exit or injection changes anyway. */
#define CLEAN_NEVER	(BIT(CLEAN_INTR) | BIT(CLEAN_CR2))

struct svm_vcpu {
	struct rl_vcpu vcpu;		/* first */
	struct vmcb *vmcb;
	hpa_t vmcb_pa;
	int last_cpu;			/* that ran it: clean bits and ASID are per CPU */
	u64 asid_generation;		/* of that CPU when the ASID was given */
	u8 tpr;				/* V_TPR as common code knows it */
	bool nmi_masked;		/* between an NMI's injection and its IRET */
	bool iret_pending;		/* IRET intercepted, not yet executed */
	bool nmi_step;			/* TF is ours: open the NMI window behind one instruction */
	bool nmi_step_seen;		/* the run that just ended was that step */
	u8 soft_len;			/* of the instruction whose event goes in, else 0 */
	u64 iret_rip;
	u64 nmi_step_flags;		/* guest's own TF and RF */
	bool has_tsc_aux;		/* guest's CPUID has an instruction that reads it */
	bool tsc_aux_loaded;		/* the CPU has the guest's */
};

static inline struct svm_vcpu *to_svm(struct rl_vcpu *vcpu)
{
	return container_of(vcpu, struct svm_vcpu, vcpu);
}

static inline void svm_dirty(struct svm_vcpu *svm, int bit)
{
	svm->vmcb->control.clean &= ~BIT(bit);
}

static inline void svm_intercept(struct svm_vcpu *svm, int bit, bool on)
{
	u32 *word = &svm->vmcb->control.intercepts[bit / 32];

	if (on)
		*word |= BIT(bit % 32);
	else
		*word &= ~BIT(bit % 32);
	svm_dirty(svm, CLEAN_INTERCEPTS);
}

static inline bool svm_intercepts(struct svm_vcpu *svm, int bit)
{
	return svm->vmcb->control.intercepts[bit / 32] & BIT(bit % 32);
}

static inline void svm_write_tsc_ratio(u64 ratio)
{
	wrmsr(MSR_AMD64_TSC_RATIO, lower_32_bits(ratio), upper_32_bits(ratio));
}

/* vmenter.S */
void svm_enter(unsigned long *regs, hpa_t vmcb_pa, hpa_t host_vmcb_pa);

/* svm.c */
void svm_nmi_unmasked(struct svm_vcpu *svm);
void svm_end_nmi_step(struct svm_vcpu *svm);
void svm_back_to_insn(struct svm_vcpu *svm);

/* exit.c */
void svm_decode_exit(struct svm_vcpu *svm);
const char *svm_exit_name(u64 reason);

/* state.c */
void svm_cache_regs(struct rl_vcpu *vcpu, u32 regs);
void svm_get_seg(struct rl_vcpu *vcpu, struct rl_seg *seg, int reg);
void svm_set_seg(struct rl_vcpu *vcpu, const struct rl_seg *seg, int reg);
u64 svm_seg_base(struct rl_vcpu *vcpu, int reg);
u16 svm_cs_attr(struct rl_vcpu *vcpu);
int svm_get_cpl(struct rl_vcpu *vcpu);
void svm_get_dt(struct rl_vcpu *vcpu, struct kvm_dtable *dt, bool idt);
void svm_set_dt(struct rl_vcpu *vcpu, const struct kvm_dtable *dt, bool idt);
void svm_set_cr0(struct rl_vcpu *vcpu, u64 cr0);
void svm_set_cr3(struct rl_vcpu *vcpu, u64 cr3);
void svm_set_cr4(struct rl_vcpu *vcpu, u64 cr4);
void svm_set_efer(struct rl_vcpu *vcpu, u64 efer);
int svm_get_msr(struct rl_vcpu *vcpu, u32 index, u64 *data);
int svm_set_msr(struct rl_vcpu *vcpu, u32 index, u64 data);
void svm_update_debug(struct rl_vcpu *vcpu);
void svm_sync_debug(struct rl_vcpu *vcpu);
void svm_set_msrpm(struct svm_vcpu *svm, bool all);
void svm_update_intercepts(struct rl_vcpu *vcpu);
void svm_update_tsc(struct rl_vcpu *vcpu);

#endif
