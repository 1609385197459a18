// SPDX-License-Identifier: GPL-2.0-only
/*
 * Coalesced MMIO and port I/O: writes that only pile up in a ring, which user
 * space reads when it next has reason to look.
 *
 * Owns:    vm->coalesced: the ring's page, the list of zones.
 * Touches: bus.h; the ring is mapped in every vCPU's descriptor (vcpu.c).
 * Locks:   vm->slots_lock for the zones; ring_lock to add to the ring, innermost,
 *          IRQs on or off. Documentation/virt/kvm/api.rst, 4.116.
 *
 * User space moves ring->first and may write anything anywhere in the page: an
 * index is read once and checked before it is used.
 */
#include <linux/gfp.h>
#include <linux/nospec.h>
#include <linux/slab.h>

#include "vcpu.h"
#include "vm.h"

struct coalesced_zone {
	struct rl_bus_dev dev;
	struct list_head link;
	struct kvm_coalesced_mmio_zone where;
};

static bool covers(const struct coalesced_zone *z, gpa_t addr, u32 len)
{
	gpa_t end = addr + len, zone_end = z->where.addr + z->where.size;

	return end >= addr && addr >= z->where.addr && end <= zone_end;
}

static int zone_write(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t addr, int len,
		      const void *val)
{
	struct coalesced_zone *z = container_of(dev, struct coalesced_zone, dev);
	struct rl_coalesced *c = &vcpu->vm->coalesced;
	struct kvm_coalesced_mmio *entry;
	int r = -EOPNOTSUPP;
	u32 last;

	if (!len || !covers(z, addr, len))
		return -EOPNOTSUPP;
	spin_lock(&c->ring_lock);
	last = READ_ONCE(c->ring->last);
	/* One entry stays free, so that full and empty differ. */
	if (last >= KVM_COALESCED_MMIO_MAX ||
	    (last + 1) % KVM_COALESCED_MMIO_MAX == READ_ONCE(c->ring->first))
		goto out;
	entry = &c->ring->coalesced_mmio[array_index_nospec(last, KVM_COALESCED_MMIO_MAX)];
	entry->phys_addr = addr;
	entry->len = len;
	entry->pio = z->where.pio;
	memcpy(entry->data, val, len);
	/* User space sees the entry before it counts. */
	smp_store_release(&c->ring->last, (last + 1) % KVM_COALESCED_MMIO_MAX);
	r = 0;
out:
	spin_unlock(&c->ring_lock);
	return r;
}

static void zone_release(struct rl_bus_dev *dev)
{
	kfree(container_of(dev, struct coalesced_zone, dev));
}

static const struct rl_bus_dev_ops zone_ops = {
	.write = zone_write,
	.release = zone_release,
};

static int zone_bus(const struct kvm_coalesced_mmio_zone *where)
{
	return where->pio ? RL_BUS_PIO : RL_BUS_MMIO;
}

/* KVM_REGISTER_COALESCED_MMIO: 0, -EINVAL, -ENOSPC, -ENOMEM. */
int rl_coalesced_add(struct rl_vm *vm, const struct kvm_coalesced_mmio_zone *where)
{
	struct coalesced_zone *z;
	int r;

	if (where->pio > 1)
		return -EINVAL;
	z = kzalloc(sizeof(*z), GFP_KERNEL_ACCOUNT);
	if (!z)
		return -ENOMEM;
	z->dev.ops = &zone_ops;
	z->where = *where;
	mutex_lock(&vm->slots_lock);
	r = rl_bus_add(vm, zone_bus(where), where->addr, where->size, &z->dev);
	if (r)
		kfree(z);
	else
		list_add_tail(&z->link, &vm->coalesced.zones);
	mutex_unlock(&vm->slots_lock);
	return r;
}

/* KVM_UNREGISTER_COALESCED_MMIO: every zone that covers the range; none is no error. */
int rl_coalesced_del(struct rl_vm *vm, const struct kvm_coalesced_mmio_zone *where)
{
	struct coalesced_zone *z, *next;

	if (where->pio > 1)
		return -EINVAL;
	mutex_lock(&vm->slots_lock);
	list_for_each_entry_safe(z, next, &vm->coalesced.zones, link) {
		if (z->where.pio != where->pio || !covers(z, where->addr, where->size))
			continue;
		list_del(&z->link);
		rl_bus_del(vm, &z->dev);
		kfree(z);
	}
	mutex_unlock(&vm->slots_lock);
	return 0;
}

int rl_coalesced_init(struct rl_vm *vm)
{
	spin_lock_init(&vm->coalesced.ring_lock);
	INIT_LIST_HEAD(&vm->coalesced.zones);
	vm->coalesced.ring = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	return vm->coalesced.ring ? 0 : -ENOMEM;
}

/* The zones went with their bus. */
void rl_coalesced_destroy(struct rl_vm *vm)
{
	free_page((unsigned long)vm->coalesced.ring);
}
