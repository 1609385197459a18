// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events on their way into the guest: the entry's interruption fields, what
 * blocks them, and the windows that open when nothing does any more.
 *
 * Owns:    the VM-entry interruption fields, interruptibility, the window
 *          controls, the TPR threshold.
 * Touches: the event queues of struct rl_vcpu, through rl_requeue_*().
 * Locks:   none; the vCPU is loaded, IRQs off where vendor.h says so.
 * Manuals: SDM Vol 3C, "VM-Entry Controls for Event Injection", "Information
 *          for VM Exits That Occur During Event Delivery", "Guest
 *          Non-Register State".
 */
#include <asm/trapnr.h>

#include "vmx.h"

/**
 * vmx_uninject() - Take back the event in the entry fields
 * @vcpu: loaded vCPU
 */
void vmx_uninject(struct rl_vcpu *vcpu)
{
	to_vmx(vcpu)->after &= ~VMX_AFTER_EVENT;
	vmcs_write(VM_ENTRY_INTR_INFO_FIELD, 0);
}

/**
 * vmx_inject() - Put an event into the VM-entry fields
 * @vcpu: loaded vCPU
 * @kind: what it is
 * @vector: number of the exception or interrupt
 * @has_error: push @error_code; never in real mode
 * @error_code: of an exception
 *
 * A software event's RIP is still at the instruction, the frame gets what is behind it.
 * One that is delivered again has the length in v->event_len.
 */
void vmx_inject(struct rl_vcpu *vcpu, enum rl_event_kind kind, u8 vector,
		bool has_error, u32 error_code)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 info = vector | INTR_INFO_VALID_MASK;
	u8 len = v->event_len;

	switch (kind) {
	case RL_EVENT_NMI:
		info |= INTR_TYPE_NMI_INTR;
		break;
	case RL_EVENT_EXCEPTION:
		if (rl_soft_exception(vector)) {
			info |= INTR_TYPE_SOFT_EXCEPTION;
			len = len ?: 1;
		} else if (len && vector == X86_TRAP_DB) {
			info |= INTR_TYPE_PRIV_SW_EXCEPTION;
		} else {
			info |= INTR_TYPE_HARD_EXCEPTION;
		}
		if (has_error) {
			info |= INTR_INFO_DELIVER_CODE_MASK;
			/* "Checks on VM-Entry Control Fields": bits 31:16 are 0. */
			vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, (u16)error_code);
		}
		break;
	case RL_EVENT_SOFT_INT:
		info |= INTR_TYPE_SOFT_INTR;
		len = len ?: 2;
		break;
	default:
		/* User space may queue one that the guest does not take now; entry would fail. */
		if (!vmx_intr_allowed(vcpu)) {
			vmx_uninject(vcpu);
			vmx_enable_intr_window(vcpu);
			return;
		}
		info |= INTR_TYPE_EXT_INTR;
		break;
	}
	if (len)
		vmcs_write(VM_ENTRY_INSTRUCTION_LEN, len);
	vmcs_write(VM_ENTRY_INTR_INFO_FIELD, info);
	v->after |= VMX_AFTER_EVENT;

	/* A CPU that halted without an exit wakes for this. */
	if (vcpu->vm->disabled_exits & KVM_X86_DISABLE_EXITS_HLT)
		vmcs_write(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
}

/**
 * vmx_requeue_event() - The exit cut an event's delivery short: once more
 * @v: vCPU that just exited
 * @info: IDT-vectoring information, valid bit set
 */
void vmx_requeue_event(struct vmx_vcpu *v, u32 info)
{
	u8 vector = info & VECTORING_INFO_VECTOR_MASK;
	u32 type = info & VECTORING_INFO_TYPE_MASK, error_code = 0;

	/*
	 * Of these two only interrupts are delivered by the CPU without us, and
	 * the one that it began with is in service. (In Bochs 2.7 the field still
	 * has some event from before.)
	 */
	if (v->after & VMX_AFTER_VIRTUAL && !v->injected &&
	    (type == INTR_TYPE_EXT_INTR || type == INTR_TYPE_NMI_INTR)) {
		vector = vmcs_read32(GUEST_INTR_STATUS) >> 8;
		type = INTR_TYPE_EXT_INTR;
	}
	switch (type) {
	case INTR_TYPE_NMI_INTR:
		/* Its delivery began by blocking NMIs; so will the next one. */
		vmx_set_intr_state(v, vmx_intr_state(v) & ~GUEST_INTR_STATE_NMI);
		rl_requeue_nmi(&v->vcpu);
		break;
	case INTR_TYPE_EXT_INTR:
		rl_requeue_interrupt(&v->vcpu, vector, false);
		break;
	case INTR_TYPE_SOFT_INTR:
		v->event_len = vmcs_read32(VM_EXIT_INSTRUCTION_LEN);
		rl_requeue_interrupt(&v->vcpu, vector, true);
		break;
	case INTR_TYPE_SOFT_EXCEPTION:
	case INTR_TYPE_PRIV_SW_EXCEPTION:
		v->event_len = vmcs_read32(VM_EXIT_INSTRUCTION_LEN);
		fallthrough;
	case INTR_TYPE_HARD_EXCEPTION:
		if (info & VECTORING_INFO_DELIVER_CODE_MASK)
			error_code = vmcs_read32(IDT_VECTORING_ERROR_CODE);
		rl_requeue_exception(&v->vcpu, vector, info & VECTORING_INFO_DELIVER_CODE_MASK,
				     error_code);
		break;
	}
}

bool vmx_intr_allowed(struct rl_vcpu *vcpu)
{
	return (rl_rflags_read(vcpu) & X86_EFLAGS_IF) &&
	       !(vmx_intr_state(to_vmx(vcpu)) & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS));
}

bool vmx_nmi_allowed(struct rl_vcpu *vcpu)
{
	/* Whether STI blocks NMIs is the CPU's choice: be on the safe side. */
	return !(vmx_intr_state(to_vmx(vcpu)) &
		 (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS | GUEST_INTR_STATE_NMI));
}

/* Both windows close again in exit.c, when they have opened. */
void vmx_enable_intr_window(struct rl_vcpu *vcpu)
{
	vmx_set_exec(to_vmx(vcpu), CPU_BASED_INTR_WINDOW_EXITING, 0);
}

void vmx_enable_nmi_window(struct rl_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	/*
	 * "Checks on VM-Execution Control Fields" allow it at any time, but an
	 * exit for it with STI blocking comes before that has ended. Interrupts
	 * are as good: they become possible where the STI shadow ends. An interrupt
	 * that vmx_inject() has put off goes first; an exit for the NMI would come
	 * right behind each entry, before the guest or the host's interrupts have
	 * their turn, and change nothing.
	 */
	if (vmx_intr_state(v) & GUEST_INTR_STATE_STI ||
	    (vcpu->interrupt.injected && !(v->after & VMX_AFTER_EVENT)))
		vmx_set_exec(v, CPU_BASED_INTR_WINDOW_EXITING, 0);
	else
		vmx_set_exec(v, CPU_BASED_NMI_WINDOW_EXITING, 0);
}

bool vmx_get_nmi_mask(struct rl_vcpu *vcpu)
{
	return vmx_intr_state(to_vmx(vcpu)) & GUEST_INTR_STATE_NMI;
}

void vmx_set_nmi_mask(struct rl_vcpu *vcpu, bool masked)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 state = vmx_intr_state(v) & ~GUEST_INTR_STATE_NMI;

	vmx_set_intr_state(v, state | (masked ? GUEST_INTR_STATE_NMI : 0));
}

u32 vmx_get_shadow(struct rl_vcpu *vcpu)
{
	u32 state = vmx_intr_state(to_vmx(vcpu));

	return (state & GUEST_INTR_STATE_STI ? KVM_X86_SHADOW_INT_STI : 0) |
	       (state & GUEST_INTR_STATE_MOV_SS ? KVM_X86_SHADOW_INT_MOV_SS : 0);
}

/* One kind at a time, says "Checks on Guest Non-Register State". */
void vmx_set_shadow(struct rl_vcpu *vcpu, u32 shadow)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 state = vmx_intr_state(v);

	if (likely(!shadow && !(state & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS))))
		return;
	state &= ~(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
	if (shadow & KVM_X86_SHADOW_INT_MOV_SS)
		state |= GUEST_INTR_STATE_MOV_SS;
	else if (shadow & KVM_X86_SHADOW_INT_STI)
		state |= GUEST_INTR_STATE_STI;
	vmx_set_intr_state(v, state);
	vcpu->exit.shadow = true;
	/* What RFLAGS has to look like then is checked when they are written. */
	if (shadow)
		rl_rflags_write(vcpu, rl_rflags_read(vcpu));
}

/**
 * vmx_update_apic() - Tell the CPU what waits and what is in service
 * @vcpu: loaded vCPU
 * @tpr: the guest's TPR
 * @irr: highest pending vector or -1
 * @isr: highest vector in service or -1
 *
 * Either it delivers the former itself ("Guest Non-Register State", guest
 * interrupt status), or it exits when the guest lowers its TPR below it. "Checks
 * on VM-Execution Control Fields" want a threshold no higher than the TPR; with a
 * lower TPR the interrupt is not blocked by it anyway.
 */
void vmx_update_apic(struct rl_vcpu *vcpu, int tpr, int irr, int isr)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 threshold = 0;

	if (v->copy.exec2 & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY)
		vmcs_write(GUEST_INTR_STATUS, max(isr, 0) << 8 | max(irr, 0));
	else if (irr >= 0 && tpr >> 4 >= irr >> 4)
		threshold = irr >> 4;
	vmcs_set(TPR_THRESHOLD, &v->copy.tpr_threshold, threshold);
}
