// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a VMCB's exit code to struct rl_exit.
 *
 * Owns:    the decoding; runs with IRQs off right behind VMRUN.
 * Touches: the VMCB, rl_requeue_*().
 * Locks:   none.
 * Manuals: APM Vol 2, "SVM Intercept Exit Codes", "Event Injection", "Decode
 *          Assists", "Nested versus Guest Page Faults, Fault Ordering".
 */
#include <linux/kernel.h>
#include <linux/percpu.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/debugreg.h>
#include <asm/trap_pf.h>
#include <asm/trapnr.h>
#include <asm/svm.h>

#include "../compat.h"
#include "../cpu/cpu.h"
#include "svm.h"

/*
 * An exit in the middle of an event's delivery: put the event back. INTn, INT3 and INTO
 * leave RIP at the instruction, which simply runs again if it was the guest's.
 */
static void requeue_event(struct svm_vcpu *svm)
{
	struct vmcb_control_area *c = &svm->vmcb->control;
	struct rl_vcpu *vcpu = &svm->vcpu;
	u32 info = c->exit_int_info;
	u8 vector = info & SVM_EVTINJ_VEC_MASK;
	bool injected = svm->soft_len;

	svm_back_to_insn(svm);
	switch (info & SVM_EVTINJ_TYPE_MASK) {
	case SVM_EVTINJ_TYPE_NMI:
		rl_requeue_nmi(vcpu);
		break;
	case SVM_EVTINJ_TYPE_EXEPT:
		if (rl_soft_exception(vector) && !injected)
			break;
		rl_requeue_exception(vcpu, vector, info & SVM_EVTINJ_VALID_ERR,
				     c->exit_int_info_err);
		break;
	case SVM_EVTINJ_TYPE_INTR:
		rl_requeue_interrupt(vcpu, vector, false);
		break;
	case SVM_EVTINJ_TYPE_SOFT:
		if (injected)
			rl_requeue_interrupt(vcpu, vector, true);
		break;
	}
}

static void decode_io(struct svm_vcpu *svm, struct rl_exit *exit)
{
	struct vmcb_control_area *c = &svm->vmcb->control;
	u64 info = c->exit_info_1;

	exit->kind = RL_EXIT_IO;
	exit->io.port = info >> 16;
	exit->io.size = (info & SVM_IOIO_SIZE_MASK) >> SVM_IOIO_SIZE_SHIFT;
	exit->io.in = info & SVM_IOIO_TYPE_MASK;
	exit->io.tried = false;
	exit->io.string = info & SVM_IOIO_STR_MASK;
	/* EXITINFO2 is the next RIP, with or without nRIP save. */
	exit->insn_len = c->exit_info_2 - svm->vmcb->save.rip;
}

static void decode_npf(struct svm_vcpu *svm, struct rl_exit *exit)
{
	struct vmcb_control_area *c = &svm->vmcb->control;
	u64 info = c->exit_info_1;
	u32 access = 0;

	exit->kind = RL_EXIT_FAULT;
	exit->fault.gpa = c->exit_info_2;
	if (info & X86_PF_PROT)
		access |= RL_ACC_PRESENT;
	if (info & X86_PF_WRITE)
		access |= RL_ACC_WRITE;
	else if (info & X86_PF_INSTR)
		access |= RL_ACC_FETCH;
	else
		access |= RL_ACC_READ;
	/* Bit 33: the CPU's own walk of the guest's tables faulted. */
	if (info & BIT_ULL(33))
		access |= RL_ACC_WALK;
	exit->fault.access = access;
	exit->fault.bytes_len = 0;
	/* The bytes are of the instruction, so not for a fetch that faulted. */
	if (boot_cpu_has(X86_FEATURE_DECODEASSISTS) && !(access & (RL_ACC_FETCH | RL_ACC_WALK))) {
		exit->fault.bytes_len = min_t(u8, c->insn_len, sizeof(exit->fault.bytes));
		memcpy(exit->fault.bytes, c->insn_bytes, sizeof(exit->fault.bytes));
	}
}

static void decode_exception(struct svm_vcpu *svm, struct rl_exit *exit, u32 code)
{
	u8 vector = code - SVM_EXIT_EXCP_BASE;

	if (vector == X86_TRAP_MC) {
		rl_host_machine_check();
		exit->kind = RL_EXIT_NONE;
		return;
	}
	exit->kind = RL_EXIT_EXCEPTION;
	exit->exc.vector = vector;
	exit->exc.has_error = vector == X86_TRAP_AC;
	exit->exc.error_code = svm->vmcb->control.exit_info_1;
	if (vector == X86_TRAP_DB) {
		exit->exc.payload = svm->vmcb->save.dr6;
		/* The step behind an IRET or a shadow was ours alone. */
		if (svm->nmi_step_seen && !svm->vcpu.guest_debug &&
		    !(svm->nmi_step_flags & X86_EFLAGS_TF) &&
		    !(svm->vmcb->save.dr6 & DR_TRAP_BITS)) {
			svm->vmcb->save.dr6 &= ~(u64)DR_STEP;
			svm_dirty(svm, CLEAN_DR);
			exit->kind = RL_EXIT_NONE;
		}
		/* The CPU adds to it: the next cause shall be alone there. */
		if (!svm->vcpu.own_debug)
			svm->vmcb->save.dr6 = DR6_RESERVED;
		svm_dirty(svm, CLEAN_DR);
	}
}

static u16 kind_of(u32 code)
{
	switch (code) {
	case SVM_EXIT_INTR:
	case SVM_EXIT_NMI:	/* taken at STGI, before we got here */
	case SVM_EXIT_SMI:
	case SVM_EXIT_INIT:
		return RL_EXIT_INTR;
	case SVM_EXIT_CPUID:
		return RL_EXIT_CPUID;
	case SVM_EXIT_HLT:
		return RL_EXIT_HLT;
	case SVM_EXIT_SHUTDOWN:
		return RL_EXIT_SHUTDOWN;
	case SVM_EXIT_VMMCALL:
		return RL_EXIT_HYPERCALL;
	case SVM_EXIT_PAUSE:
		return RL_EXIT_PAUSE;
	case SVM_EXIT_MONITOR:
		return RL_EXIT_MONITOR;
	case SVM_EXIT_MWAIT:
	case SVM_EXIT_MWAIT_COND:
		return RL_EXIT_MWAIT;
	case SVM_EXIT_INVD:
	case SVM_EXIT_WBINVD:
		return RL_EXIT_WBINVD;
	case SVM_EXIT_XSETBV:
		return RL_EXIT_XSETBV;
	case SVM_EXIT_RDPMC:
		return RL_EXIT_RDPMC;
	case SVM_EXIT_RSM:
	case SVM_EXIT_INVLPGA:
	case SVM_EXIT_VMRUN:
	case SVM_EXIT_VMLOAD:
	case SVM_EXIT_VMSAVE:
	case SVM_EXIT_STGI:
	case SVM_EXIT_CLGI:
	case SVM_EXIT_SKINIT:
	case SVM_EXIT_RDTSCP:
	case SVM_EXIT_RDPRU:
	case SVM_EXIT_INVPCID:
		return RL_EXIT_UNDEFINED;
	default:
		return RL_EXIT_UNKNOWN;
	}
}

/**
 * svm_decode_exit() - Fill vcpu->exit from the VMCB
 * @svm: the vCPU
 *
 * Context: IRQs off.
 */
void svm_decode_exit(struct svm_vcpu *svm)
{
	struct vmcb_control_area *c = &svm->vmcb->control;
	struct rl_exit *exit = &svm->vcpu.exit;
	u32 code = c->exit_code;
	u64 next;

	exit->hw_reason = code;
	exit->shadow = c->int_state & SVM_INTERRUPT_SHADOW_MASK;
	if (unlikely(c->exit_int_info & SVM_EXITINTINFO_VALID))
		requeue_event(svm);
	if (unlikely(svm->iret_pending) && svm->vmcb->save.rip != svm->iret_rip)
		svm_nmi_unmasked(svm);

	exit->insn_len = 0;
	if (boot_cpu_has(X86_FEATURE_NRIPS)) {
		/* Only valid for instruction intercepts; zero or nonsense is not used there. */
		next = c->next_rip - svm->vmcb->save.rip;
		exit->insn_len = next <= 15 ? next : 0;
	}

	/* A switch without a jump table is a chain: the frequent one first. */
	if (code == SVM_EXIT_IOIO) {
		decode_io(svm, exit);
		return;
	}
	switch (code) {
	case SVM_EXIT_MSR:
		exit->kind = RL_EXIT_MSR;
		exit->msr.write = c->exit_info_1 & 1;
		break;
	case SVM_EXIT_NPF:
		decode_npf(svm, exit);
		break;
	case SVM_EXIT_VINTR:
		svm_intercept(svm, INTERCEPT_VINTR, false);
		c->int_ctl &= ~(V_IRQ_MASK | V_IGN_TPR_MASK | V_INTR_PRIO_MASK);
		exit->kind = RL_EXIT_INTR_WINDOW;
		break;
	case SVM_EXIT_IRET:
		/* Not executed yet: NMIs are open once RIP has moved. */
		svm_intercept(svm, INTERCEPT_IRET, false);
		svm->iret_pending = true;
		svm->iret_rip = svm->vmcb->save.rip;
		exit->kind = RL_EXIT_NMI_WINDOW;
		break;
	case SVM_EXIT_READ_CR0 ... SVM_EXIT_WRITE_CR0 + 15:
	case SVM_EXIT_CR0_SEL_WRITE:
		exit->kind = RL_EXIT_CR;
		break;
	case SVM_EXIT_READ_DR0 ... SVM_EXIT_WRITE_DR0 + 15:
		exit->kind = RL_EXIT_DR;
		break;
	case SVM_EXIT_EXCP_BASE ... SVM_EXIT_LAST_EXCP:
		decode_exception(svm, exit, code);
		break;
	case (u32)SVM_EXIT_ERR:
		exit->kind = RL_EXIT_FAIL_ENTRY;
		exit->fail.reason = code;
		/* Whether the flush that was asked for took place nobody says. */
		svm->asid_generation = 0;
		c->clean = 0;
		break;
	default:
		exit->kind = kind_of(code);
		break;
	}
}

const char *svm_exit_name(u64 reason)
{
	static const struct { u32 code; const char *name; } names[] = { SVM_EXIT_REASONS };
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].code == reason)
			return names[i].name;
	return "unknown";
}
