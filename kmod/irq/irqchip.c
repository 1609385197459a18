// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupt controllers of a VM as a whole: creation, end, state.
 *
 * Owns:    struct rl_irq.
 * Touches: pic.c, ioapic.c, pit.c, ipi.c, routing.c, irqfd.c.
 * Locks:   vm->lock for creation, held by the caller.
 */
#include <linux/slab.h>

#include "irq_priv.h"

void rl_irq_init(struct rl_vm *vm)
{
	mutex_init(&vm->irq.lock);
	atomic_set(&vm->irq.nmi_lvt0, 0);
	rl_irqfd_init(vm);
}

/**
 * rl_irq_stop() - Silence sources of interrupts
 * @vm: whose
 *
 * When the VM descriptor closes, irqfds end. vCPUs may go on running until
 * their own descriptors are closed; at the VM's end, without users, the call
 * comes again, and nothing sends to a vCPU from then on.
 */
void rl_irq_stop(struct rl_vm *vm)
{
	rl_irqfd_stop(vm);
	if (refcount_read(&vm->users))
		return;
	rl_pit_stop(vm);
	rl_ioapic_stop(vm);
}

static void irqchip_free(struct rl_vm *vm)
{
	mutex_lock(&vm->slots_lock);
	rl_ioapic_destroy(vm);
	rl_pic_destroy(vm);
	mutex_unlock(&vm->slots_lock);
	rl_routing_free(vm);
	kfree(vm->irq.map);
	vm->irq.map = NULL;
}

/* After rl_irq_stop(), and when the buses have gone. */
void rl_irq_destroy(struct rl_vm *vm)
{
	irqchip_free(vm);
	kfree(vm->irq.pit);
}

/**
 * rl_create_irqchip() - KVM_CREATE_IRQCHIP
 * @vm: vm->lock held
 *
 * Return: 0, -EEXIST, -EINVAL after the first vCPU, -ENOSPC, -ENOMEM.
 */
int rl_create_irqchip(struct rl_vm *vm)
{
	int r;

	lockdep_assert_held(&vm->lock);
	if (vm->irq.in_kernel)
		return -EEXIST;
	if (vm->nr_vcpus)
		return -EINVAL;
	mutex_lock(&vm->slots_lock);
	r = rl_apic_map_create(vm) ?: rl_pic_create(vm) ?: rl_ioapic_create(vm) ?:
	    rl_routing_default(vm);
	mutex_unlock(&vm->slots_lock);
	if (r) {
		irqchip_free(vm);
		return r;
	}
	/* Pairs with rl_irqchip_in_kernel(): all of it is there. */
	smp_store_release(&vm->irq.in_kernel, true);
	return 0;
}

/**
 * rl_split_irqchip() - KVM_CAP_SPLIT_IRQCHIP: local APICs here, the rest in user space
 * @vm: vm->lock held
 * @pins: GSIs that are inputs of I/O APICs there
 *
 * Return: 0, -EINVAL, -EEXIST (an irqchip, or a vCPU), -ENOMEM.
 */
int rl_split_irqchip(struct rl_vm *vm, u64 pins)
{
	struct rl_irq *irq = &vm->irq;
	int r;

	lockdep_assert_held(&vm->lock);
	if (pins > RL_NR_GSIS)
		return -EINVAL;
	if (irq->in_kernel || vm->nr_vcpus)
		return -EEXIST;
	r = rl_set_routing(vm, NULL, 0) ?: rl_apic_map_create(vm);
	if (r)
		return r;
	irq->split = true;
	irq->user_pins = pins;
	/* Pairs with rl_irqchip_in_kernel(). */
	smp_store_release(&irq->in_kernel, true);
	return 0;
}

/**
 * rl_irqchip_state() - KVM_GET_IRQCHIP and KVM_SET_IRQCHIP
 * @vm: the VM
 * @chip: whose, and its state
 * @set: from @chip rather than into it
 *
 * Return: 0, -ENXIO without it in the kernel, -EINVAL for another chip.
 */
int rl_irqchip_state(struct rl_vm *vm, struct kvm_irqchip *chip, bool set)
{
	if (!rl_irqchip_full(&vm->irq))
		return -ENXIO;
	if (chip->chip_id > KVM_IRQCHIP_IOAPIC)
		return -EINVAL;
	if (chip->chip_id == KVM_IRQCHIP_IOAPIC)
		rl_ioapic_state(vm, &chip->chip.ioapic, set);
	else
		rl_pic_state(vm, chip->chip_id, &chip->chip.pic, set);
	return 0;
}

int rl_irq_line(struct rl_vm *vm, struct kvm_irq_level *level)
{
	if (!rl_irqchip_in_kernel(&vm->irq))
		return -ENXIO;
	level->status = rl_set_gsi(vm, level->irq, level->level, true);
	return 0;
}

int rl_signal_msi(struct rl_vm *vm, const struct kvm_msi *msi)
{
	if (!rl_irqchip_in_kernel(&vm->irq) || msi->flags & ~KVM_MSI_VALID_DEVID)
		return -EINVAL;
	return rl_send_msi(vm, msi->address_lo | (u64)msi->address_hi << 32, msi->data);
}
