// SPDX-License-Identifier: GPL-2.0-only
/*
 * A TPR in guest memory, for 32-bit guests whose user space has patched their
 * accesses, which it learns of by KVM_TPR_ACCESS_REPORTING. The guest keeps its
 * TPR in byte 0; bytes 1 and 3 tell it the highest vectors in service and
 * pending, by which it knows when to call KVM_HC_VAPIC_POLL_IRQ.
 *
 * Owns:    apic->vapic_addr, vcpu->tpr_reporting, vcpu->tpr_access.
 * Touches: the four bytes that user space named; the APIC's TPR.
 * Locks:   the vCPU's thread; takes vm->srcu. IRQs on or off.
 */
#include "../cpu/cpu.h"
#include "irq_priv.h"

/* Memory that is not there right now keeps what it has. */
static noinline void vapic_access(struct rl_lapic *apic, u32 *data, bool write)
{
	struct rl_vm *vm = apic->vcpu->vm;
	int idx = srcu_read_lock(&vm->srcu);

	if (write)
		rl_guest_write_atomic(vm, apic->vapic_addr, data, sizeof(*data));
	else
		rl_guest_read_atomic(vm, apic->vapic_addr, data, sizeof(*data));
	srcu_read_unlock(&vm->srcu, idx);
}

void rl_vapic_publish(struct rl_lapic *apic)
{
	u32 data = lapic_get(apic, APIC_TASKPRI) & 0xff;

	data |= (max(apic->isr_top, 0) & 0xf0) << 8;
	data |= (u32)max(rl_lapic_irr(apic), 0) << 24;
	vapic_access(apic, &data, true);
}

/* What the guest made of its TPR in memory. */
void rl_vapic_fetch(struct rl_lapic *apic)
{
	u32 data = lapic_get(apic, APIC_TASKPRI);

	vapic_access(apic, &data, false);
	rl_lapic_set_tpr(apic, data & APIC_TPRI_MASK);
}

/* Where 32-bit guests touch their TPR: KVM_EXIT_TPR_ACCESS when the access is done. */
void rl_vapic_report(struct rl_lapic *apic, bool write)
{
	struct rl_vcpu *vcpu = apic->vcpu;

	if (likely(!vcpu->tpr_reporting))
		return;
	vcpu->tpr_access.rip = rl_rip_read(vcpu);
	vcpu->tpr_access.write = write;
	rl_request(vcpu, RL_REQ_TPR_ACCESS);
}

int rl_lapic_set_vapic(struct rl_vcpu *vcpu, const struct kvm_vapic_addr *vapic)
{
	struct rl_vm *vm = vcpu->vm;
	int idx, r;
	u32 data;

	if (!vcpu->lapic)
		return -EINVAL;
	idx = srcu_read_lock(&vm->srcu);
	r = vapic->vapic_addr ? rl_guest_read(vm, vapic->vapic_addr, &data, sizeof(data)) : 0;
	srcu_read_unlock(&vm->srcu, idx);
	if (r)
		return -EINVAL;
	vcpu->lapic->vapic_addr = vapic->vapic_addr;
	rl_apicv_choose(vcpu);
	rl_request(vcpu, RL_REQ_EVENT);
	return 0;
}

/* KVM_TPR_ACCESS_REPORTING: 0, -EINVAL for flags. */
int rl_tpr_reporting(struct rl_vcpu *vcpu, const struct kvm_tpr_access_ctl *ctl)
{
	if (ctl->flags)
		return -EINVAL;
	vcpu->tpr_reporting = ctl->enabled;
	rl_apicv_choose(vcpu);
	return 0;
}
