// SPDX-License-Identifier: GPL-2.0-only
/*
 * Debug registers: the guest's, the debugger's (KVM_SET_GUEST_DEBUG), and which
 * of the two the hardware gets.
 *
 * Owns:    vcpu->db, dr6, dr7, eff_db, guest_debug*, step_rip.
 * Touches: RFLAGS.TF while a debugger single-steps.
 * Locks:   none; the thread that holds vcpu->mutex.
 * Manuals: SDM Vol 3B, "Debug Registers"; APM Vol 2, "Software-Debug Resources".
 */
#include <uapi/asm/debugreg.h>
#include <linux/nospec.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>
#include <asm/trapnr.h>

#include "cpu_priv.h"

#define DR7_WRITABLE	0xffff23ffu	/* all but the reserved and RTM */

/* DR4 and DR5 are DR6 and DR7, or nothing at all: SDM Vol 3B, "Debug Registers DR4 and DR5". */
static int access_fault(struct rl_vcpu *vcpu, int dr)
{
	if ((dr == 4 || dr == 5) && rl_cr4_read(vcpu) & X86_CR4_DE)
		return X86_TRAP_UD;
	if ((vcpu->dr7 | rl_eff_dr7(vcpu)) & RL_DR7_GD)
		return X86_TRAP_DB;
	return 0;
}

static u64 read_dr(struct rl_vcpu *vcpu, int dr)
{
	if (dr < 4)
		return vcpu->db[array_index_nospec(dr, 4)];
	return dr & 1 ? vcpu->dr7 : vcpu->dr6;
}

/**
 * rl_get_dr() - MOV from DR
 * @vcpu: the vCPU
 * @dr: 0 to 7
 * @val: out
 *
 * Return: 0, or the vector of the fault.
 */
int rl_get_dr(struct rl_vcpu *vcpu, int dr, u64 *val)
{
	int fault = access_fault(vcpu, dr);

	if (!fault)
		*val = read_dr(vcpu, dr);
	return fault;
}

/* MOV to DR; as rl_get_dr(). */
int rl_set_dr(struct rl_vcpu *vcpu, int dr, u64 val)
{
	int fault = access_fault(vcpu, dr);

	if (fault)
		return fault;
	if (dr < 4)
		vcpu->db[array_index_nospec(dr, 4)] = val;
	else if (val >> 32)
		return X86_TRAP_GP;
	else if (dr & 1)
		vcpu->dr7 = (val & DR7_WRITABLE) | RL_DR7_ONES;
	else
		vcpu->dr6 = (val & RL_DR6_CAUSES) | DR6_RESERVED;
	if (dr != 4 && dr != 6)
		rl_update_dr(vcpu);
	return 0;
}

void rl_update_dr(struct rl_vcpu *vcpu)
{
	if (!(vcpu->guest_debug & KVM_GUESTDBG_USE_HW_BP))
		memcpy(vcpu->eff_db, vcpu->db, sizeof(vcpu->eff_db));
	vcpu->debug_wanted = vcpu->own_debug || rl_eff_dr7(vcpu) & RL_DR7_ENABLES;
	rl_ops->update_debug(vcpu);
}

int rl_get_debugregs(struct rl_vcpu *vcpu, struct kvm_debugregs *dbg)
{
	memset(dbg, 0, sizeof(*dbg));
	memcpy(dbg->db, vcpu->db, sizeof(vcpu->db));
	dbg->dr6 = vcpu->dr6;
	dbg->dr7 = vcpu->dr7;
	return 0;
}

/* KVM_SET_DEBUGREGS: 0, or -EINVAL for flags or bits 63:32 of DR6 and DR7. */
int rl_set_debugregs(struct rl_vcpu *vcpu, const struct kvm_debugregs *dbg)
{
	if (dbg->flags || dbg->dr6 >> 32 || dbg->dr7 >> 32)
		return -EINVAL;
	memcpy(vcpu->db, dbg->db, sizeof(vcpu->db));
	vcpu->dr6 = (dbg->dr6 & RL_DR6_CAUSES) | DR6_RESERVED;
	vcpu->dr7 = (dbg->dr7 & DR7_WRITABLE) | RL_DR7_ONES;
	rl_update_dr(vcpu);
	return 0;
}

unsigned long rl_get_rflags(struct rl_vcpu *vcpu)
{
	unsigned long rflags = rl_rflags_read(vcpu);

	if (vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP)
		rflags &= ~X86_EFLAGS_TF;
	return rflags;
}

void rl_set_rflags(struct rl_vcpu *vcpu, unsigned long rflags)
{
	if (vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP &&
	    vcpu->step_rip == rl_linear_rip(vcpu))
		rflags |= X86_EFLAGS_TF;
	rl_rflags_write(vcpu, rflags | X86_EFLAGS_FIXED);
}

/**
 * rl_set_guest_debug() - KVM_SET_GUEST_DEBUG
 * @vcpu: the vCPU
 * @dbg: what the debugger wants
 *
 * Control bits that KVM_CAP_SET_GUEST_DEBUG2 does not name are ignored, as KVM does.
 *
 * Return: 0, or -EBUSY when an exception is to be injected while one waits.
 */
int rl_set_guest_debug(struct rl_vcpu *vcpu, const struct kvm_guest_debug *dbg)
{
	unsigned long rflags;

	if (dbg->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
		if (vcpu->exception.pending || vcpu->exception.injected)
			return -EBUSY;
		rl_queue_exception(vcpu, dbg->control & KVM_GUESTDBG_INJECT_DB ? X86_TRAP_DB :
										 X86_TRAP_BP);
	}

	rflags = rl_get_rflags(vcpu);	/* before the TF of the old stepping cannot be told */
	vcpu->guest_debug = dbg->control & KVM_GUESTDBG_ENABLE ? dbg->control : 0;
	if (vcpu->guest_debug & KVM_GUESTDBG_USE_HW_BP) {
		int i;

		for (i = 0; i < 4; i++)
			vcpu->eff_db[i] = dbg->arch.debugreg[i];
		vcpu->guest_debug_dr7 = ((u32)dbg->arch.debugreg[7] & DR7_WRITABLE) | RL_DR7_ONES;
	}
	if (vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP)
		vcpu->step_rip = rl_linear_rip(vcpu);
	rl_set_rflags(vcpu, rflags);
	rl_update_dr(vcpu);
	rl_apicv_choose(vcpu);
	rl_ops->update_intercepts(vcpu);
	rl_request(vcpu, RL_REQ_EVENT);		/* what BLOCKIRQ held back */
	return 0;
}
