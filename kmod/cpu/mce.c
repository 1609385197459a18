// SPDX-License-Identifier: GPL-2.0-only
/*
 * Machine-check banks: memory for what user space wants the guest to see. The
 * host's own machine checks never get here.
 *
 * Owns:    vcpu->mcg_* and vcpu->mce_banks (four MSRs a bank, then one a bank for CMCI).
 * Locks:   none; the thread that holds vcpu->mutex.
 * Manuals: SDM Vol 3B, "Machine-Check Architecture"; APM Vol 2, "Machine Check
 *          Architecture".
 */
#include <linux/nospec.h>
#include <linux/slab.h>
#include <asm/mce.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "../irq/irq_priv.h"
#include "cpu_priv.h"

#define HWCR_MCSTATUS_WRITE	BIT_ULL(18)

enum { MCI_CTL, MCI_STATUS, MCI_ADDR, MCI_MISC, NR_MCI };

int rl_msr_create(struct rl_vcpu *vcpu)
{
	vcpu->mce_banks = kcalloc(RL_MAX_MCE_BANKS * (NR_MCI + 1), sizeof(u64), GFP_KERNEL_ACCOUNT);
	vcpu->mcg_cap = RL_MAX_MCE_BANKS;
	return vcpu->mce_banks ? 0 : -ENOMEM;
}

void rl_msr_free(struct rl_vcpu *vcpu)
{
	kfree(vcpu->mce_banks);
}

static int nr_banks(const struct rl_vcpu *vcpu)
{
	return min_t(int, vcpu->mcg_cap & MCG_BANKCNT_MASK, RL_MAX_MCE_BANKS);
}

/* KVM_X86_SETUP_MCE: 0, or -EINVAL for no or too many banks or an unknown ability. */
int rl_setup_mce(struct rl_vcpu *vcpu, u64 mcg_cap)
{
	u32 banks = mcg_cap & MCG_BANKCNT_MASK, i;

	if (!banks || banks > RL_MAX_MCE_BANKS ||
	    mcg_cap & ~((u64)RL_MCE_CAPS | MCG_BANKCNT_MASK | MCG_EXT_CNT_MASK))
		return -EINVAL;
	vcpu->mcg_cap = mcg_cap;
	if (mcg_cap & MCG_CTL_P)
		vcpu->mcg_ctl = ~0ull;
	for (i = 0; i < banks; i++)
		vcpu->mce_banks[i * NR_MCI + MCI_CTL] = ~0ull;
	if (vcpu->lapic)
		rl_lapic_update_cmci(vcpu->lapic);
	return 0;
}

static void log_error(u64 *bank, const struct kvm_x86_mce *mce)
{
	bank[MCI_ADDR] = mce->addr;
	bank[MCI_MISC] = mce->misc;
	bank[MCI_STATUS] = mce->status | (bank[MCI_STATUS] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0);
}

/* MCi_CTL2, or NULL: no such bank. SDM Vol 3B, "Corrected Machine Check Error Interrupt". */
static u64 *bank_ctl2(struct rl_vcpu *vcpu, u32 bank)
{
	u64 *ctl2 = vcpu->mce_banks + RL_MAX_MCE_BANKS * NR_MCI;

	return bank < nr_banks(vcpu) ? &ctl2[array_index_nospec(bank, RL_MAX_MCE_BANKS)] : NULL;
}

/**
 * rl_set_mce() - KVM_X86_SET_MCE: log an error, raise #MC for an uncorrected one
 * @vcpu: the vCPU
 * @mce: the error
 *
 * SDM Vol 3B, "Machine-Check Overwrite Rules".
 * Return: 0, -EINVAL for a bank that is not there or a status without VAL.
 */
int rl_set_mce(struct rl_vcpu *vcpu, const struct kvm_x86_mce *mce)
{
	const u64 uncorrected = MCI_STATUS_VAL | MCI_STATUS_UC;
	const u64 action = MCI_STATUS_PCC | MCI_STATUS_S | MCI_STATUS_AR;
	u64 *bank;

	if (mce->bank >= nr_banks(vcpu) || !(mce->status & MCI_STATUS_VAL))
		return -EINVAL;
	bank = vcpu->mce_banks + array_index_nospec(mce->bank, RL_MAX_MCE_BANKS) * NR_MCI;

	if (!(mce->status & MCI_STATUS_UC)) {
		if ((bank[MCI_STATUS] & uncorrected) == uncorrected)
			bank[MCI_STATUS] |= MCI_STATUS_OVER;
		else
			log_error(bank, mce);
		return 0;
	}
	/* Uncorrected, but nobody has used what is lost: no exception, "UCR Error Classification". */
	if (!mce->mcg_status && !(mce->status & action)) {
		vcpu->mcg_status = 0;
		bank[MCI_STATUS] = 0;
		log_error(bank, mce);
		if (vcpu->lapic && vcpu->mcg_cap & MCG_CMCI_P &&
		    *bank_ctl2(vcpu, mce->bank) & MCI_CTL2_CMCI_EN)
			rl_lapic_local_deliver(vcpu->lapic, APIC_LVTCMCI);
		return 0;
	}
	/* Reporting is off for all banks, or for this one. */
	if ((vcpu->mcg_cap & MCG_CTL_P && vcpu->mcg_ctl != ~0ull) || bank[MCI_CTL] != ~0ull)
		return 0;
	/* An error while one is being handled, or with machine checks off, shuts the CPU down. */
	if (vcpu->mcg_status & MCG_STATUS_MCIP || !(rl_cr4_read(vcpu) & X86_CR4_MCE)) {
		vcpu->pending_exit = KVM_EXIT_SHUTDOWN;
		rl_request(vcpu, RL_REQ_EXIT_USER);
		return 0;
	}
	vcpu->mcg_status = mce->mcg_status;
	log_error(bank, mce);
	rl_queue_exception(vcpu, X86_TRAP_MC);
	return 0;
}

int rl_get_mcg_ctl(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	m->data = vcpu->mcg_ctl;
	return !(vcpu->mcg_cap & MCG_CTL_P) && !m->host;
}

/* All or nothing. User space may restore the 0 of a CPU without the register. */
int rl_set_mcg_ctl(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	if (m->data && m->data != ~0ull)
		return 1;
	if (!(vcpu->mcg_cap & MCG_CTL_P) && (m->data || !m->host))
		return 1;
	vcpu->mcg_ctl = m->data;
	return 0;
}

int rl_get_mc_ctl2(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	u64 *ctl2 = bank_ctl2(vcpu, m->index - MSR_IA32_MC0_CTL2);

	if (!ctl2 || (!(vcpu->mcg_cap & MCG_CMCI_P) && !m->host))
		return 1;
	m->data = *ctl2;
	return 0;
}

int rl_set_mc_ctl2(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	u64 *ctl2 = bank_ctl2(vcpu, m->index - MSR_IA32_MC0_CTL2);

	if (!ctl2 || m->data & ~(MCI_CTL2_CMCI_EN | MCI_CTL2_CMCI_THRESHOLD_MASK) ||
	    (!(vcpu->mcg_cap & MCG_CMCI_P) && (m->data || !m->host)))
		return 1;
	*ctl2 = m->data;
	return 0;
}

/* The word behind MCi_*, or NULL: beyond the last bank. */
static u64 *bank_word(struct rl_vcpu *vcpu, u32 index)
{
	u32 word = index - MSR_IA32_MC0_CTL;

	if (word >= nr_banks(vcpu) * NR_MCI)
		return NULL;
	return &vcpu->mce_banks[array_index_nospec(word, RL_MAX_MCE_BANKS * NR_MCI)];
}

int rl_get_mc_bank(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	u64 *word = bank_word(vcpu, m->index);

	if (word)
		m->data = *word;
	return !word;
}

int rl_set_mc_bank(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	u64 *word = bank_word(vcpu, m->index);

	if (!word)
		return 1;
	/*
	 * Controls are all or nothing. Linux clears bit 10 of bank 4 on the K8
	 * against an erratum, others clear bit 0 of bank 1.
	 */
	if (m->index % NR_MCI == MCI_CTL && m->data && (m->data | BIT(10) | BIT(0)) != ~0ull)
		return 1;
	/* A guest clears its status; to write one AMD has a switch. */
	if (m->index % NR_MCI == MCI_STATUS && m->data && !m->host &&
	    !(vcpu->guest_amd && vcpu->hwcr & HWCR_MCSTATUS_WRITE))
		return 1;
	*word = m->data;
	return 0;
}
