/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of kmod/cpu/ share among themselves. */
#ifndef RL_CPU_PRIV_H
#define RL_CPU_PRIV_H

#include "../vcpu.h"
#include "../vm.h"
#include "cpu.h"

/* Words of the offered and the guest's feature bits; cpuid.c knows their leaves. */
enum rl_feature_word {
	RL_GF_1_EDX, RL_GF_1_ECX, RL_GF_8_1_EDX, RL_GF_8_1_ECX, RL_GF_7_EBX,
	RL_GF_7_ECX, RL_GF_7_EDX, RL_GF_7_1_EAX, RL_GF_D_1_EAX, RL_GF_8_8_EBX,
	RL_GF_WORDS
};

/* A vCPU before its first KVM_SET_CPUID2. */
void rl_cpuid_reset(struct rl_vcpu *vcpu);

/* Physical address bits that the guest's CPU does not have. */
static inline u64 rl_gpa_reserved(const struct rl_vcpu *vcpu)
{
	return ~0ull << vcpu->maxphyaddr;
}

/* xsave.c: bytes of an area with the components in @xcr0 (of those offered) */
u32 rl_xsave_area_size(u64 xcr0, bool compacted);
u64 rl_xcr0_now(const struct rl_vcpu *vcpu);

/* clock.c: RESET and INIT, vCPU loaded */
void rl_clock_reset(struct rl_vcpu *vcpu, bool init);

/* msr.c: one access. @data is what is written, or what a read finds. */
struct rl_msr_op {
	const struct rl_msr_row *row;
	u32 index;
	bool host;		/* KVM_GET/SET_MSRS rather than the guest */
	u64 data;
};

/* 0, or 1 for #GP. Those in clock.c and mce.c: */
typedef int rl_msr_fn(struct rl_vcpu *vcpu, struct rl_msr_op *m);
rl_msr_fn rl_get_tsc, rl_set_tsc, rl_set_tsc_adjust, rl_get_wall_clock, rl_set_wall_clock,
	rl_set_system_time, rl_set_steal_time, rl_get_mcg_ctl, rl_set_mcg_ctl, rl_get_mc_bank,
	rl_set_mc_bank, rl_get_mc_ctl2, rl_set_mc_ctl2;

#endif
