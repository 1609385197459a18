// SPDX-License-Identifier: GPL-2.0-only
/*
 * End of interrupt without an exit: a bit in guest memory, set with an injection,
 * that the guest clears instead of writing its APIC's EOI register.
 *
 * Owns:    vcpu->pv_eoi_msr, vcpu->pv_eoi_set.
 * Touches: the byte that the guest named; the local APIC.
 * Locks:   the vCPU's thread; takes vm->srcu.
 * Manuals: Linux's Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN.
 *
 * The bit is offered for one vector, which nobody but this APIC waits for, and
 * taken back on the next exit: outside of the guest the APIC's registers are true.
 */
#include <asm/kvm_para.h>

#include "../mm/mm.h"
#include "irq_priv.h"

#define OFFERED		1

/**
 * rl_pv_eoi_set_msr() - The guest, or user space, says where the bit is
 * @vcpu: the vCPU
 * @data: of MSR_KVM_PV_EOI_EN
 *
 * Return: 0, or 1 for #GP: reserved bits, no memory there.
 */
int rl_pv_eoi_set_msr(struct rl_vcpu *vcpu, u64 data)
{
	gpa_t gpa = data & ~(u64)KVM_MSR_ENABLED;
	bool there = true;
	int idx;

	if (!IS_ALIGNED(gpa, 4))
		return 1;
	if (data & KVM_MSR_ENABLED) {
		idx = srcu_read_lock(&vcpu->vm->srcu);
		there = rl_gfn_to_slot(vcpu->vm, gpa >> PAGE_SHIFT);
		srcu_read_unlock(&vcpu->vm->srcu, idx);
	}
	if (!there)
		return 1;
	vcpu->pv_eoi_msr = data;
	return 0;
}

static int access(struct rl_vcpu *vcpu, u8 *bit, bool write)
{
	gpa_t gpa = vcpu->pv_eoi_msr & ~(u64)KVM_MSR_ENABLED;
	struct rl_vm *vm = vcpu->vm;
	int idx, r;

	idx = srcu_read_lock(&vm->srcu);
	if (irqs_disabled())
		r = write ? rl_guest_write_atomic(vm, gpa, bit, 1) :
			    rl_guest_read_atomic(vm, gpa, bit, 1);
	else
		r = write ? rl_guest_write(vm, gpa, bit, 1) : rl_guest_read(vm, gpa, bit, 1);
	srcu_read_unlock(&vm->srcu, idx);
	return r;
}

/* @vector goes in with this entry, IRQs off. */
void rl_pv_eoi_offer(struct rl_lapic *apic, u8 vector)
{
	struct rl_vcpu *vcpu = apic->vcpu;
	u8 bit = OFFERED;

	/* Others wait for this one's end, or others wait at all? */
	if (rl_lapic_irr(apic) >= 0 || lapic_test(apic, APIC_TMR, vector) ||
	    rl_ioapic_waits(vcpu, vector))
		return;
	vcpu->pv_eoi_set = !access(vcpu, &bit, true);
}

/**
 * rl_pv_eoi_collect() - After an exit, or an entry that was not made: take the bit back
 * @vcpu: with ->pv_eoi_set
 *
 * Context: IRQs off, when memory that is not there is left for later by
 * RL_REQ_PV_EOI; or may sleep.
 */
void rl_pv_eoi_collect(struct rl_vcpu *vcpu)
{
	u8 bit, none = 0;
	int r;

	r = access(vcpu, &bit, false);
	if (!r && bit & OFFERED)
		r = access(vcpu, &none, true);
	if (r && irqs_disabled()) {
		rl_request(vcpu, RL_REQ_PV_EOI);
		return;
	}
	vcpu->pv_eoi_set = false;
	/* A guest that took its memory away has to write the register. */
	if (!r && !(bit & OFFERED))
		rl_lapic_eoi(vcpu->lapic);
}
