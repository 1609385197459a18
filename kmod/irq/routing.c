// SPDX-License-Identifier: GPL-2.0-only
/*
 * GSI routing: from a number to inputs of the irqchips or to an MSI, and back
 * from an input to whoever wants to know that it was served.
 *
 * Owns:    struct rl_routing.
 * Touches: pic.c, ioapic.c, ipi.c to deliver; pit.c, irqfd.c to acknowledge.
 * Locks:   irq.lock to replace the table; vm->srcu to look at it, in any context.
 */
#include <linux/nospec.h>
#include <linux/slab.h>

#include "../trace.h"
#include "irq_priv.h"

struct route {
	u64 addr;
	u32 data;
	u16 gsi;
	u16 next;		/* of the same GSI, as in first[] */
	u8 type;		/* KVM_IRQ_ROUTING_* */
	u8 chip, pin;		/* pin 0-15 over both 8259s */
} __packed __aligned(4);	/* the 40 of a PC in 1 KiB, with all around them */

/* Immutable once published; one allocation. */
struct rl_routing {
	s16 pin_gsi[KVM_NR_IRQCHIPS][RL_IOAPIC_PINS];	/* or -1 */
	u32 nr_gsis;
	u32 nr;
	u16 *first;		/* by GSI: index in route[] plus one, 0 ends the chain */
	struct route route[];
};

/* MSI */

static bool msi_invalid(struct rl_vm *vm, u64 addr)
{
	return vm->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS && addr >> 32 & 0xff;
}

int rl_send_msi(struct rl_vm *vm, u64 addr, u32 data)
{
	/* SDM Vol 3A, "Message Address Register Format", "Message Data Register Format". */
	struct rl_apic_msg msg = rl_device_msg(data, addr >> 12 & 0xff, addr & BIT(2));

	msg.lowest |= !!(addr & BIT(3));
	if (!vm->irq.map || msi_invalid(vm, addr))
		return -EINVAL;
	/* The upper 24 bits of the id are in the upper address. */
	if (vm->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS)
		msg.dest |= addr >> 32;
	rl_trace(msi, vm, msg.dest, msg.logical, msg.mode, msg.vector);
	/* A destination that is not there loses it silently; -1, EPERM: nobody is there at all. */
	return vm->nr_vcpus ? rl_apic_deliver(vm, &msg) : -1;
}

/* Delivery */

static int route_set(struct rl_vm *vm, const struct route *r, enum rl_irq_source src, int level,
		     bool line_status)
{
	if (r->type == KVM_IRQ_ROUTING_MSI)
		return level ? rl_send_msi(vm, r->addr, r->data) : -1;
	if (r->chip == KVM_IRQCHIP_IOAPIC)
		return rl_ioapic_set_irq(vm, r->pin, src, level, line_status);
	return rl_pic_set_irq(vm, r->pin, src, level);
}

/**
 * rl_set_gsi_from() - One source of a line raises or lowers it
 * @vm:          whose
 * @src:         the source; the line is high while any source is
 * @gsi:         the line
 * @level:       up or down; an MSI is sent on "up"
 * @line_status: the caller looks at what is answered (see ioapic.c, RTC)
 *
 * Context: any, IRQs on or off; no interrupt controller's lock held.
 * Return: the number of vCPUs reached, summed over what the GSI goes to; 0
 * when the interrupt merged with one before it; negative when nobody took it.
 */
int rl_set_gsi_from(struct rl_vm *vm, enum rl_irq_source src, u32 gsi, int level,
		    bool line_status)
{
	const struct rl_routing *rt;
	int i, r, idx, sum = -1;

	idx = srcu_read_lock(&vm->srcu);
	rt = srcu_dereference(vm->irq.routing, &vm->srcu);
	if (rt && gsi < rt->nr_gsis) {
		i = rt->first[array_index_nospec(gsi, rt->nr_gsis)];
		for (; i; i = rt->route[i - 1].next) {
			r = route_set(vm, &rt->route[i - 1], src, level, line_status);
			if (r >= 0)
				sum = r + max(sum, 0);
		}
	}
	srcu_read_unlock(&vm->srcu, idx);
	return sum;
}

int rl_set_gsi(struct rl_vm *vm, u32 gsi, int level, bool line_status)
{
	return rl_set_gsi_from(vm, RL_SRC_USER, gsi, level, line_status);
}

/* The level-triggered ones of I/O APICs in user space. Any context. */
void rl_users_eoi_vectors(struct rl_vm *vm, unsigned long *vectors)
{
	int idx = srcu_read_lock(&vm->srcu);
	const struct rl_routing *rt = srcu_dereference(vm->irq.routing, &vm->srcu);
	u32 i, gsi, gsis = rt ? min(rt->nr_gsis, vm->irq.user_pins) : 0;

	for (gsi = 0; gsi < gsis; gsi++)
		for (i = rt->first[gsi]; i; i = rt->route[i - 1].next)
			if (rt->route[i - 1].data & BIT(15))
				__set_bit((u8)rt->route[i - 1].data, vectors);
	srcu_read_unlock(&vm->srcu, idx);
}

/* Back from a pin; [a] any context, no interrupt controller's lock held but for the first. */

static int pin_to_gsi(struct rl_vm *vm, int chip, int pin)
{
	const struct rl_routing *rt = srcu_dereference(vm->irq.routing, &vm->srcu);

	return rt ? rt->pin_gsi[chip][pin] : -1;
}

bool rl_pin_has_notifier(struct rl_vm *vm, int chip, int pin)
{
	int idx = srcu_read_lock(&vm->srcu);
	int gsi = pin_to_gsi(vm, chip, pin);
	bool r;

	r = gsi >= 0 && ((!gsi && rl_pit_wants_ack(vm)) || rl_resample_wanted(vm, gsi));
	srcu_read_unlock(&vm->srcu, idx);
	return r;
}

void rl_pin_acked(struct rl_vm *vm, int chip, int pin)
{
	int idx = srcu_read_lock(&vm->srcu);
	int gsi = pin_to_gsi(vm, chip, pin);

	if (!gsi)
		rl_pit_acked(vm);
	if (gsi >= 0)
		rl_resample_acked(vm, gsi);
	srcu_read_unlock(&vm->srcu, idx);
}

void rl_pin_unmasked(struct rl_vm *vm, int chip, int pin)
{
	int idx = srcu_read_lock(&vm->srcu);

	if (!pin_to_gsi(vm, chip, pin))
		rl_pit_unmasked(vm);
	srcu_read_unlock(&vm->srcu, idx);
}

/* The table */

static int route_from_user(struct rl_vm *vm, struct route *r,
			   const struct kvm_irq_routing_entry *ue)
{
	r->gsi = ue->gsi;
	r->type = ue->type;
	switch (ue->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		if (ue->flags || vm->irq.split)
			return -EINVAL;
		if (ue->u.irqchip.irqchip > KVM_IRQCHIP_IOAPIC)
			return -EINVAL;
		r->chip = ue->u.irqchip.irqchip;
		if (ue->u.irqchip.pin >= (r->chip == KVM_IRQCHIP_IOAPIC ? RL_IOAPIC_PINS : 8))
			return -EINVAL;
		r->pin = ue->u.irqchip.pin + (r->chip == KVM_IRQCHIP_PIC_SLAVE ? 8 : 0);
		return 0;
	case KVM_IRQ_ROUTING_MSI:
		r->addr = ue->u.msi.address_lo | (u64)ue->u.msi.address_hi << 32;
		r->data = ue->u.msi.data;
		return ue->flags & ~KVM_MSI_VALID_DEVID || msi_invalid(vm, r->addr) ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

static int routing_fill(struct rl_vm *vm, struct rl_routing *rt,
			const struct kvm_irq_routing_entry *entries)
{
	const struct route *other;
	struct route *r;
	u16 *first, n;
	u32 i;
	int err;

	memset(rt->pin_gsi, -1, sizeof(rt->pin_gsi));
	for (i = 0; i < rt->nr; i++) {
		r = &rt->route[i];
		err = route_from_user(vm, r, &entries[i]);
		if (err)
			return err;
		first = &rt->first[array_index_nospec(r->gsi, rt->nr_gsis)];
		/* Two routes of a GSI go to different irqchips, or there is only one. */
		for (n = *first; n; n = other->next) {
			other = &rt->route[n - 1];
			if (r->type != KVM_IRQ_ROUTING_IRQCHIP ||
			    other->type != KVM_IRQ_ROUTING_IRQCHIP || r->chip == other->chip)
				return -EINVAL;
		}
		r->next = *first;
		*first = i + 1;
		if (r->type == KVM_IRQ_ROUTING_IRQCHIP)
			rt->pin_gsi[r->chip][r->pin] = r->gsi;
	}
	return 0;
}

/**
 * rl_set_routing() - KVM_SET_GSI_ROUTING
 * @vm:      with an in-kernel irqchip
 * @entries: the new table
 * @nr:      number of entries, RL_NR_GSIS at most
 *
 * When it returns, no interrupt goes by the old table any more.
 * Return: 0, -EINVAL (GSI, type, flags, irqchip, pin, an irqchip or MSI twice
 * for a GSI), -ENOMEM.
 */
int rl_set_routing(struct rl_vm *vm, const struct kvm_irq_routing_entry *entries, u32 nr)
{
	struct rl_routing *rt, *old;
	u32 i, nr_gsis = 0;
	int r;

	for (i = 0; i < nr; i++) {
		if (entries[i].gsi >= RL_NR_GSIS)
			return -EINVAL;
		nr_gsis = max(nr_gsis, entries[i].gsi + 1);
	}
	rt = kvzalloc(struct_size(rt, route, nr) + nr_gsis * sizeof(*rt->first),
		      GFP_KERNEL_ACCOUNT);
	if (!rt)
		return -ENOMEM;
	rt->nr_gsis = nr_gsis;
	rt->nr = nr;
	rt->first = (u16 *)&rt->route[nr];
	r = routing_fill(vm, rt, entries);
	if (r) {
		kvfree(rt);
		return r;
	}

	mutex_lock(&vm->irq.lock);
	old = rcu_dereference_protected(vm->irq.routing, lockdep_is_held(&vm->irq.lock));
	rcu_assign_pointer(vm->irq.routing, rt);
	rl_ioapic_notifiers_changed(vm);
	if (vm->irq.split)
		rl_eoi_vectors_changed(vm);
	mutex_unlock(&vm->irq.lock);
	synchronize_srcu_expedited(&vm->srcu);
	kvfree(old);
	return 0;
}

/* As on a PC: all pins of the I/O APIC, and GSI 0 to 15 to an 8259 as well. */
int rl_routing_default(struct rl_vm *vm)
{
	const int n = RL_IOAPIC_PINS + 16;
	struct kvm_irq_routing_entry *entries;
	int i, r;

	entries = kcalloc(n, sizeof(*entries), GFP_KERNEL);
	if (!entries)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		bool pic = i >= RL_IOAPIC_PINS;
		u32 gsi = pic ? i - RL_IOAPIC_PINS : i;

		entries[i].gsi = gsi;
		entries[i].type = KVM_IRQ_ROUTING_IRQCHIP;
		entries[i].u.irqchip.irqchip = !pic ? KVM_IRQCHIP_IOAPIC :
			gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
		entries[i].u.irqchip.pin = pic ? gsi & 7 : gsi;
	}
	r = rl_set_routing(vm, entries, n);
	kfree(entries);
	return r;
}

void rl_routing_free(struct rl_vm *vm)
{
	/* The VM's end: nobody is left to look at it. */
	kvfree(rcu_dereference_protected(vm->irq.routing, true));
	RCU_INIT_POINTER(vm->irq.routing, NULL);
}
