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

/* 48 or 57: a canonical address repeats the highest of these bits. */
static inline int rl_vaddr_bits(struct rl_vcpu *vcpu)
{
	return rl_cr4_read(vcpu) & X86_CR4_LA57 ? 57 : 48;
}

static inline bool rl_canonical(u64 va, int bits)
{
	return ((s64)(va << (64 - bits)) >> (64 - bits)) == (s64)va;
}

/* xsave.c: bytes of an area with the components in @xcr0 (of those offered) */
u32 rl_xsave_area_size(u64 xcr0, bool compacted);
u64 rl_xcr0_now(const struct rl_vcpu *vcpu);

/* clock.c: RESET and INIT, vCPU loaded */
void rl_clock_reset(struct rl_vcpu *vcpu, bool init);

/* mce.c: IA32_MCG_* and the banks; 0, 1 (#GP) or -ENOMEM */
int rl_mce_get_msr(struct rl_vcpu *vcpu, u32 index, u64 *data, bool host);
int rl_mce_set_msr(struct rl_vcpu *vcpu, u32 index, u64 data, bool host);

#endif
