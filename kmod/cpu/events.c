// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events on their way into the guest, and the multiprocessor state, as user
 * space saves and restores them.
 *
 * Owns:    nothing; the queues in struct rl_vcpu belong to event.c.
 * Locks:   none; the thread that holds vcpu->mutex, vCPU loaded.
 * Manuals: SDM Vol 3A, "Interrupt and Exception Handling".
 */
#include <asm/trapnr.h>

#include "../irq/irq_priv.h"
#include "cpu_priv.h"

static bool triple_fault_pending(struct rl_vcpu *vcpu)
{
	return rl_request_test(vcpu, RL_REQ_EXIT_USER) && vcpu->pending_exit == KVM_EXIT_SHUTDOWN;
}

/**
 * rl_get_events() - KVM_GET_VCPU_EVENTS
 * @vcpu: the vCPU
 * @ev: out
 *
 * Without KVM_CAP_EXCEPTION_PAYLOAD user space cannot carry CR2 or DR6 along
 * with a pending exception: they are put where they belong first, and pending
 * counts as injected.
 */
int rl_get_events(struct rl_vcpu *vcpu, struct kvm_vcpu_events *ev)
{
	struct rl_exception *ex = &vcpu->exception;
	bool payload = vcpu->vm->exception_payload;

	memset(ev, 0, sizeof(*ev));
	rl_collect_nmis(vcpu);
	if (!payload && ex->pending)
		rl_deliver_payload(vcpu);

	/* The instruction comes again, and with it its software exception. */
	if (!rl_soft_exception(ex->vector)) {
		ev->exception.injected = ex->injected || (!payload && ex->pending);
		ev->exception.pending = ex->pending;
	}
	ev->exception.nr = ex->vector;
	ev->exception.has_error_code = ex->has_error;
	ev->exception.error_code = ex->error_code;
	ev->exception_has_payload = ex->has_payload;
	ev->exception_payload = ex->payload;

	ev->interrupt.injected = vcpu->interrupt.injected && !vcpu->interrupt.soft;
	ev->interrupt.nr = vcpu->interrupt.vector;
	ev->interrupt.shadow = rl_ops->get_shadow(vcpu);

	ev->nmi.injected = vcpu->nmi_injected;
	ev->nmi.pending = vcpu->nmi_pending != 0;
	ev->nmi.masked = rl_ops->get_nmi_mask(vcpu);

	ev->flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	if (payload)
		ev->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	if (vcpu->vm->triple_fault_event) {
		ev->triple_fault.pending = triple_fault_pending(vcpu);
		ev->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	}
	return 0;
}

static bool events_valid(struct rl_vcpu *vcpu, const struct kvm_vcpu_events *ev)
{
	const u32 known = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
			  KVM_VCPUEVENT_VALID_SIPI_VECTOR | KVM_VCPUEVENT_VALID_SMM |
			  KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	bool payload = ev->flags & KVM_VCPUEVENT_VALID_PAYLOAD;

	if (ev->flags & ~known || (payload && !vcpu->vm->exception_payload))
		return false;
	if (ev->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT && !vcpu->vm->triple_fault_event)
		return false;
	if ((ev->exception.injected || (payload && ev->exception.pending)) &&
	    (ev->exception.nr > 31 || ev->exception.nr == X86_TRAP_NMI))
		return false;
	/* There is no SMM to be in. */
	if (ev->flags & KVM_VCPUEVENT_VALID_SMM &&
	    (ev->smi.smm || ev->smi.pending || ev->smi.smm_inside_nmi))
		return false;
	return !(ev->flags & KVM_VCPUEVENT_VALID_SHADOW &&
		 ev->interrupt.shadow & ~(KVM_X86_SHADOW_INT_MOV_SS | KVM_X86_SHADOW_INT_STI));
}

/**
 * rl_set_events() - KVM_SET_VCPU_EVENTS
 * @vcpu: the vCPU
 * @ev: new state
 *
 * Return: 0, or -EINVAL: unknown flags, a payload without
 * KVM_CAP_EXCEPTION_PAYLOAD, a vector that is no exception, SMM.
 */
int rl_set_events(struct rl_vcpu *vcpu, const struct kvm_vcpu_events *ev)
{
	struct rl_exception *ex = &vcpu->exception;
	bool payload = ev->flags & KVM_VCPUEVENT_VALID_PAYLOAD;

	if (!events_valid(vcpu, ev))
		return -EINVAL;
	rl_collect_nmis(vcpu);

	ex->pending = payload && ev->exception.pending;
	ex->injected = ev->exception.injected && !ex->pending;
	ex->vector = ev->exception.nr;
	ex->has_error = ev->exception.has_error_code;
	ex->error_code = ev->exception.error_code;
	ex->has_payload = ex->pending && ev->exception_has_payload;
	ex->payload = ev->exception_payload;

	vcpu->interrupt.injected = ev->interrupt.injected;
	vcpu->interrupt.vector = ev->interrupt.nr;
	vcpu->interrupt.soft = ev->interrupt.soft;
	if (ev->flags & KVM_VCPUEVENT_VALID_SHADOW)
		rl_op(set_shadow)(vcpu, ev->interrupt.shadow);

	vcpu->nmi_injected = ev->nmi.injected;
	if (ev->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
		vcpu->nmi_pending = !!ev->nmi.pending;
	rl_ops->set_nmi_mask(vcpu, ev->nmi.masked);
	if (ev->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT) {
		if (ev->triple_fault.pending) {
			vcpu->pending_exit = KVM_EXIT_SHUTDOWN;
			rl_request(vcpu, RL_REQ_EXIT_USER);
		} else if (triple_fault_pending(vcpu)) {
			rl_request_check(vcpu, RL_REQ_EXIT_USER);
		}
	}
	if (ev->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR && vcpu->lapic)
		WRITE_ONCE(vcpu->lapic->sipi_vector, ev->sipi_vector);
	rl_request(vcpu, RL_REQ_EVENT);
	return 0;
}

int rl_get_mp_state(struct rl_vcpu *vcpu, struct kvm_mp_state *st)
{
	/* What an INIT or SIPI that waits would make of it. */
	if (vcpu->lapic && rl_lapic_has_init_sipi(vcpu))
		rl_lapic_do_init_sipi(vcpu);
	st->mp_state = vcpu->mp_state;
	/* Its kick would be lost on the way to another host. */
	if (st->mp_state == KVM_MP_STATE_HALTED && READ_ONCE(vcpu->pv_unhalted))
		st->mp_state = KVM_MP_STATE_RUNNABLE;
	return 0;
}

/**
 * rl_set_mp_state() - KVM_SET_MP_STATE
 * @vcpu: the vCPU
 * @st: new state
 *
 * Return: 0, or -EINVAL for a state that x86 does not have or that needs an
 * in-kernel local APIC.
 */
int rl_set_mp_state(struct rl_vcpu *vcpu, const struct kvm_mp_state *st)
{
	switch (st->mp_state) {
	case KVM_MP_STATE_RUNNABLE:
		break;
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
	case KVM_MP_STATE_HALTED:
	case KVM_MP_STATE_SIPI_RECEIVED:
		if (!vcpu->lapic)
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	if (st->mp_state == KVM_MP_STATE_SIPI_RECEIVED) {
		/* The vector came with KVM_SET_VCPU_EVENTS. */
		vcpu->mp_state = KVM_MP_STATE_INIT_RECEIVED;
		set_bit(LAPIC_SIPI, &vcpu->lapic->events);
		rl_request(vcpu, RL_REQ_APIC_STATE);
	} else {
		vcpu->mp_state = st->mp_state;
	}
	rl_request(vcpu, RL_REQ_EVENT);
	return 0;
}
