// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events into the guest: exceptions, NMIs, interrupts; which one goes first,
 * and what waits for a window.
 *
 * Owns:    vcpu->exception, ->interrupt, ->nmi_*; their way into the entry
 *          fields through rl_ops->inject().
 * Locks:   the vCPU's thread, except rl_queue_nmi().
 * Manuals: SDM Vol 3A, "Priority Among Concurrent Events" and "Interrupt
 *          8--Double Fault Exception (#DF)"; APM Vol 2, "Event Injection".
 *
 * An event is pending until it is in the entry fields, and injected from then
 * until the guest has taken it. When its delivery is cut short by an exit (a
 * second-stage fault on the guest's stack, say) the backend hands it back with
 * rl_requeue_*(), and it goes in again before anything else.
 */
#include <uapi/asm/debugreg.h>
#include <asm/trapnr.h>

#include "cpu/cpu.h"
#include "trace.h"
#include "vcpu.h"
#include "vm.h"

enum exception_class { EXC_BENIGN, EXC_CONTRIBUTORY, EXC_PAGE_FAULT };

static enum exception_class classify(u8 vector)
{
	switch (vector) {
	case X86_TRAP_PF:
		return EXC_PAGE_FAULT;
	case X86_TRAP_DE:
	case X86_TRAP_TS:
	case X86_TRAP_NP:
	case X86_TRAP_SS:
	case X86_TRAP_GP:
		return EXC_CONTRIBUTORY;
	default:
		return EXC_BENIGN;
	}
}

static void triple_fault(struct rl_vcpu *vcpu)
{
	rl_clear_events(vcpu);
	vcpu->pending_exit = KVM_EXIT_SHUTDOWN;
	rl_request(vcpu, RL_REQ_EXIT_USER);
}

static void queue(struct rl_vcpu *vcpu, struct rl_exception new)
{
	struct rl_exception *cur = &vcpu->exception;
	enum exception_class first, second;

	rl_request(vcpu, RL_REQ_EVENT);
	if (!cur->pending && !cur->injected) {
		*cur = new;
		return;
	}
	if (cur->vector == X86_TRAP_DF) {
		triple_fault(vcpu);
		return;
	}
	first = classify(cur->vector);
	second = classify(new.vector);
	if ((first == EXC_CONTRIBUTORY && second == EXC_CONTRIBUTORY) ||
	    (first == EXC_PAGE_FAULT && second != EXC_BENIGN))
		*cur = (struct rl_exception) { .pending = true, .vector = X86_TRAP_DF,
					       .has_error = true };
	else
		*cur = new;
}

void rl_queue_exception(struct rl_vcpu *vcpu, u8 vector)
{
	queue(vcpu, (struct rl_exception) { .pending = true, .vector = vector });
}

void rl_queue_exception_e(struct rl_vcpu *vcpu, u8 vector, u32 error_code)
{
	queue(vcpu, (struct rl_exception) { .pending = true, .vector = vector,
					    .has_error = true, .error_code = error_code });
}

/* #DB: @payload holds the bits to be set in DR6. */
void rl_queue_exception_p(struct rl_vcpu *vcpu, u8 vector, u64 payload)
{
	queue(vcpu, (struct rl_exception) { .pending = true, .vector = vector,
					    .has_payload = true, .payload = payload });
}

void rl_queue_page_fault(struct rl_vcpu *vcpu, u32 error_code, gva_t cr2)
{
	queue(vcpu, (struct rl_exception) { .pending = true, .vector = X86_TRAP_PF,
					    .has_error = true, .error_code = error_code,
					    .has_payload = true, .payload = cr2 });
}

/*
 * The backend found the event in the exit information: its delivery began and
 * did not end.
 */
void rl_requeue_exception(struct rl_vcpu *vcpu, u8 vector, bool has_error, u32 error_code)
{
	vcpu->exception = (struct rl_exception) { .injected = true, .vector = vector,
						  .has_error = has_error,
						  .error_code = error_code };
	rl_request(vcpu, RL_REQ_EVENT);
}

void rl_requeue_interrupt(struct rl_vcpu *vcpu, u8 vector, bool soft)
{
	vcpu->interrupt.injected = true;
	vcpu->interrupt.soft = soft;
	vcpu->interrupt.vector = vector;
	rl_request(vcpu, RL_REQ_EVENT);
}

void rl_requeue_nmi(struct rl_vcpu *vcpu)
{
	vcpu->nmi_injected = true;
	rl_request(vcpu, RL_REQ_EVENT);
}

/**
 * rl_event_delivered() - The entry fields' event is the guest's now
 * @vcpu: the vCPU
 *
 * The backend calls it after each run that had vcpu->entry_event set, before
 * it looks for an interrupted delivery. [i]
 */
void rl_event_delivered(struct rl_vcpu *vcpu)
{
	vcpu->entry_event = false;
	vcpu->exception.injected = false;
	vcpu->interrupt.injected = false;
	vcpu->nmi_injected = false;
}

/**
 * rl_event_cancel() - No entry was made with what was prepared
 * @vcpu: the vCPU
 *
 * It is prepared again for the next one, unless user space puts another state
 * in place meanwhile. [i]
 */
void rl_event_cancel(struct rl_vcpu *vcpu)
{
	rl_ops->uninject(vcpu);
	if (vcpu->entry_event) {
		vcpu->entry_event = false;
		rl_request(vcpu, RL_REQ_EVENT);
	}
}

void rl_clear_events(struct rl_vcpu *vcpu)
{
	vcpu->exception = (struct rl_exception) {};
	vcpu->interrupt.injected = false;
	vcpu->nmi_injected = false;
}

bool rl_event_pending(struct rl_vcpu *vcpu)
{
	return vcpu->exception.pending || vcpu->exception.injected ||
	       vcpu->interrupt.injected || vcpu->nmi_injected;
}

/* An NMI from anywhere. Context: any but NMI. */
void rl_queue_nmi(struct rl_vcpu *vcpu)
{
	atomic_inc(&vcpu->nmi_queued);
	rl_request(vcpu, RL_REQ_EVENT);
	rl_vcpu_kick(vcpu);
}

/**
 * rl_collect_nmis() - What was queued is pending from now on
 * @vcpu: the vCPU, in its thread
 *
 * A CPU remembers one NMI while it handles one; a second one may be pending
 * only when none is blocked.
 */
void rl_collect_nmis(struct rl_vcpu *vcpu)
{
	int limit = 2;

	if (!atomic_read(&vcpu->nmi_queued))
		return;
	if (rl_ops->get_nmi_mask(vcpu) || vcpu->nmi_injected)
		limit = 1;
	vcpu->nmi_pending = min(vcpu->nmi_pending + atomic_xchg(&vcpu->nmi_queued, 0), limit);
}

/**
 * rl_deliver_payload() - Put an exception's payload where the handler looks
 * @vcpu: loaded
 *
 * CR2, or DR6 and DR7; as late as possible, for user space may see the
 * exception pending first. The payload of #DB has the layout of VMX's pending
 * debug exceptions (SDM Vol 3C, "Guest Non-Register State"), with an
 * enabled-breakpoint bit 12 that DR6 lacks. A cause replaces B0-B3 and adds to
 * the rest.
 */
void rl_deliver_payload(struct rl_vcpu *vcpu)
{
	struct rl_exception *exc = &vcpu->exception;

	if (!exc->has_payload)
		return;
	if (exc->vector == X86_TRAP_PF) {
		vcpu->cr2 = exc->payload;
	} else if (exc->vector == X86_TRAP_DB) {
		bool update = vcpu->own_debug || vcpu->dr7 & RL_DR7_GD;

		if (vcpu->own_debug)	/* the guest's are in the CPU */
			rl_ops->sync_debug(vcpu);
		vcpu->dr6 &= ~(unsigned long)DR_TRAP_BITS;
		vcpu->dr6 |= DR6_RESERVED | (exc->payload & RL_DR6_CAUSES);
		vcpu->dr7 &= ~RL_DR7_GD;
		if (update)
			rl_update_dr(vcpu);
	}
	exc->has_payload = false;
	exc->payload = 0;
}

static void inject(struct rl_vcpu *vcpu, enum rl_event_kind kind, u8 vector, bool has_error,
		   u32 error_code)
{
	rl_trace(inject, vcpu, kind, vector, has_error, error_code);
	rl_op(inject)(vcpu, kind, vector, has_error, error_code);
}

/* Traps and aborts, and #DB, which may be either: SDM Vol 3A, "Exception Classifications". */
#define NO_FAULTS	(BIT(X86_TRAP_DB) | BIT(X86_TRAP_BP) | BIT(X86_TRAP_OF) |	\
			 BIT(X86_TRAP_DF) | BIT(X86_TRAP_MC))

static void inject_exception(struct rl_vcpu *vcpu)
{
	struct rl_exception *exc = &vcpu->exception;

	if (exc->pending) {
		/* Faults restart the instruction: RF keeps its breakpoint quiet the second time. */
		if (!(BIT(exc->vector) & NO_FAULTS))
			rl_rflags_write(vcpu, rl_rflags_read(vcpu) | X86_EFLAGS_RF);
		rl_deliver_payload(vcpu);
		exc->pending = false;
		exc->injected = true;
		vcpu->stat.injected_exceptions++;
	}
	/* Real mode pushes no error codes: SDM Vol 3B, "Interrupt and Exception Handling". */
	inject(vcpu, RL_EVENT_EXCEPTION, exc->vector,
	       exc->has_error && (rl_cr0_read(vcpu) & X86_CR0_PE), exc->error_code);
}

/**
 * rl_irq_waiting() - Is there an interrupt that the controllers would deliver?
 * @vcpu: the vCPU
 */
bool rl_irq_waiting(struct rl_vcpu *vcpu)
{
	if (!vcpu->lapic)
		return vcpu->interrupt.injected;
	return rl_lapic_pending(vcpu) >= 0 ||
	       (rl_lapic_extint_ok(vcpu) && rl_pic_pending(vcpu));
}

/* One that does not find its way into the guest alone? */
static bool irq_to_inject(struct rl_vcpu *vcpu)
{
	return (!rl_lapic_virtual(vcpu) && rl_lapic_pending(vcpu) >= 0) ||
	       (rl_lapic_extint_ok(vcpu) && rl_pic_pending(vcpu));
}

/**
 * rl_extint_free() - Is there room for an interrupt of user space's own 8259?
 * @vcpu: with vcpu->user_pic
 */
bool rl_extint_free(struct rl_vcpu *vcpu)
{
	return !vcpu->lapic || (vcpu->extint < 0 && rl_lapic_extint_ok(vcpu));
}

/* INTA: take the vector from the controller that has one. */
static int acknowledge_irq(struct rl_vcpu *vcpu)
{
	int vector;

	if (rl_lapic_extint_ok(vcpu) && rl_pic_pending(vcpu))
		return rl_pic_ack(vcpu);
	vector = rl_lapic_pending(vcpu);
	if (vector >= 0)
		rl_lapic_accept(vcpu, vector);
	return vector;
}

static void inject_irq(struct rl_vcpu *vcpu)
{
	int vector = acknowledge_irq(vcpu);

	if (vector < 0)
		return;
	vcpu->interrupt.injected = true;
	vcpu->interrupt.soft = false;
	vcpu->interrupt.vector = vector;
	vcpu->stat.injected_irqs++;
	vcpu->entry_event = true;
	inject(vcpu, RL_EVENT_INTR, vector, false, 0);
}

static void choose_event(struct rl_vcpu *vcpu)
{
	bool busy = true;

	rl_collect_nmis(vcpu);
	if (vcpu->lapic)
		rl_lapic_sync(vcpu);

	if (vcpu->exception.injected || vcpu->exception.pending)
		inject_exception(vcpu);
	else if (vcpu->nmi_injected)
		inject(vcpu, RL_EVENT_NMI, X86_TRAP_NMI, false, 0);
	else if (vcpu->interrupt.injected)
		inject(vcpu, vcpu->interrupt.soft ? RL_EVENT_SOFT_INT : RL_EVENT_INTR,
		       vcpu->interrupt.vector, false, 0);
	else
		busy = false;
	vcpu->entry_event = busy;
	if (unlikely(vcpu->guest_debug & KVM_GUESTDBG_BLOCKIRQ))
		return;

	if (vcpu->nmi_pending && !busy && rl_ops->nmi_allowed(vcpu)) {
		vcpu->nmi_pending--;
		vcpu->nmi_injected = true;
		vcpu->stat.injected_nmis++;
		vcpu->entry_event = busy = true;
		inject(vcpu, RL_EVENT_NMI, X86_TRAP_NMI, false, 0);
	}

	if (vcpu->lapic && irq_to_inject(vcpu)) {
		if (!busy && rl_op(intr_allowed)(vcpu))
			inject_irq(vcpu);
		if (irq_to_inject(vcpu))
			rl_ops->enable_intr_window(vcpu);
	}
	/* At once, when the guest takes interrupts now: user space waits. */
	if (unlikely(vcpu->user_pic) && READ_ONCE(vcpu->run->request_interrupt_window) &&
	    rl_extint_free(vcpu))
		rl_ops->enable_intr_window(vcpu);
}

/**
 * rl_event_inject() - Choose what the next entry delivers
 * @vcpu: the vCPU
 *
 * On RL_REQ_EVENT, right before the entry, IRQs off. What does not go in asks
 * for an exit when it could: the NMI last, as that depends on what goes in.
 */
void rl_event_inject(struct rl_vcpu *vcpu)
{
	choose_event(vcpu);
	if (vcpu->nmi_pending && !(vcpu->guest_debug & KVM_GUESTDBG_BLOCKIRQ))
		rl_ops->enable_nmi_window(vcpu);
}
