// SPDX-License-Identifier: GPL-2.0-only
/*
 * A local APIC that the CPU runs by itself: it delivers from the page's IRR, moves
 * vectors to ISR, and takes TPR, EOI and self IPIs without an exit.
 *
 * Owns:    apic->virtual, apic->posted.
 * Touches: the register page, while the guest does not run.
 * Locks:   none. apic->posted are atomic bits that anybody sets; the rest belongs to
 *          the vCPU's thread.
 * Manuals: SDM Vol 3C, "APIC Virtualization and Virtual Interrupts".
 *
 * While the guest runs the page is the CPU's: a sender leaves its vector in
 * apic->posted, requests RL_REQ_EVENT and kicks, and the vCPU moves it to IRR before
 * it goes on. Where the CPU processes posted interrupts, the kick is an IPI that makes
 * it do so itself, without an exit; when the IPI finds the guest left, the request is
 * seen before the next entry. ON tells that an IPI is on its way and saves the next:
 *
 *	sender                              vCPU, or the CPU in the guest
 *	set bit in sent                     clear ON
 *	set ON: mine?                       smp_mb()
 *	request, smp_mb(), in guest? IPI    move sent to IRR
 *
 * The request comes behind ON, so that an ON whose IPI was not needed is cleared.
 *
 * Only in x2APIC mode: there the accesses that need no exit are named MSR by
 * MSR. xAPIC mode has its page emulated, EOIs and all, which the CPU's idea of
 * what is in service would make slower, not faster.
 */
#include <asm/apicdef.h>

#include "irq_priv.h"

/* Highest vector that waits to be moved to IRR, or -1. */
int rl_apicv_sent(const struct rl_lapic *apic)
{
	unsigned int vector = find_last_bit(apic->posted.sent, 256);

	return vector < 256 ? vector : -1;
}

/* A vector was added to those sent. Any context. */
void rl_apicv_notify(struct rl_lapic *apic)
{
	bool post = rl_caps.posted, notified = post && test_and_set_bit(0, &apic->posted.notified);

	rl_request(apic->vcpu, RL_REQ_EVENT);
	if (notified)
		rl_vcpu_wake(apic->vcpu);
	else if (post)
		rl_vcpu_post(apic->vcpu);
	else
		rl_vcpu_kick(apic->vcpu);
}

/* In the vCPU's thread, or with vcpu->mutex: not while it is in the guest. */
void rl_apicv_collect(struct rl_lapic *apic)
{
	unsigned long bits;
	unsigned int i, bit;

	if (READ_ONCE(apic->posted.notified)) {
		clear_bit(0, &apic->posted.notified);
		smp_mb__after_atomic();		/* see the table on top */
	}
	/* The CPU sets bits in IRR as well; and a sender may have seen the APIC in other hands. */
	if (apic->virtual || rl_apicv_sent(apic) >= 0)
		WRITE_ONCE(apic->irr_words, 0xff);
	for (i = 0; i < ARRAY_SIZE(apic->posted.sent); i++) {
		if (!READ_ONCE(apic->posted.sent[i]))
			continue;
		bits = xchg(&apic->posted.sent[i], 0);
		for_each_set_bit(bit, &bits, BITS_PER_LONG)
			set_bit(bit & 31, lapic_word(apic, APIC_IRR, i * BITS_PER_LONG + bit));
	}
}

/*
 * Does software have to see what the guest does with its APIC? A change takes
 * effect with RL_REQ_INTERCEPTS and RL_REQ_EVENT, before the next entry.
 */
void rl_apicv_choose(struct rl_vcpu *vcpu)
{
	struct rl_lapic *apic = vcpu->lapic;
	bool virtual;

	if (!apic || !rl_caps.virtual_apic)
		return;
	virtual = lapic_is_x2apic(apic) && !apic->vapic_addr && !vcpu->tpr_reporting &&
		  !(vcpu->guest_debug & KVM_GUESTDBG_BLOCKIRQ);
	if (virtual == apic->virtual)
		return;
	WRITE_ONCE(apic->virtual, virtual);
	WRITE_ONCE(apic->irr_words, 0xff);
	/* A sender may still have seen the old value: IRR it was, and IRR is looked at. */
	rl_apicv_collect(apic);
	apic->isr_top = rl_apic_highest(apic->regs + APIC_ISR);
	rl_request(vcpu, RL_REQ_INTERCEPTS);
	rl_request(vcpu, RL_REQ_EVENT);
}

bool rl_lapic_virtual(struct rl_vcpu *vcpu)
{
	return vcpu->lapic && vcpu->lapic->virtual;
}

/* What the CPU is told the address of: 64 bytes, see struct rl_posted. */
void *rl_lapic_posted(struct rl_vcpu *vcpu)
{
	return &vcpu->lapic->posted;
}

/* Which EOIs have to exit: those that an I/O APIC, here or in user space, wants. */
void rl_eoi_vectors(struct rl_vm *vm, unsigned long *vectors)
{
	bitmap_zero(vectors, 256);
	if (vm->irq.ioapic)
		rl_ioapic_eoi_vectors(vm, vectors);
	else
		rl_users_eoi_vectors(vm, vectors);
}

/* Any context; an interrupt sent after this finds them in force. */
void rl_eoi_vectors_changed(struct rl_vm *vm)
{
	if (rl_caps.virtual_apic)
		rl_request_all(vm, RL_REQ_INTERCEPTS, false);
}

/* The CPU has stored a register; it may have more bits than there are. */
void rl_lapic_write_trap(struct rl_vcpu *vcpu, u32 offset)
{
	struct rl_lapic *apic = vcpu->lapic;

	offset &= 0xff0;
	rl_lapic_write(apic, offset, lapic_get(apic, offset));
}

void rl_lapic_eoi_induced(struct rl_vcpu *vcpu, u8 vector)
{
	rl_ioapic_eoi(vcpu, vector, lapic_test(vcpu->lapic, APIC_TMR, vector));
	rl_request(vcpu, RL_REQ_EVENT);
}
