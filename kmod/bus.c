// SPDX-License-Identifier: GPL-2.0-only
/*
 * The I/O buses: who answers a port or a memory address inside the kernel.
 *
 * Owns:    vm->bus[], every doorbell that is on it, every ioeventfd.
 * Touches: nothing else; a device's own lock is the device's business.
 * Locks:   vm->slots_lock to change a bus, vm->srcu to look one up; for bells IRQs
 *          off are enough (RCU). Lookups and ioeventfds run with IRQs on or off.
 *
 * A published array changes in one way only: a device that is removed is
 * replaced by one that never answers, so that removal cannot fail. The next
 * addition makes a new array and leaves those out.
 */
#include <linux/eventfd.h>
#include <linux/kvm.h>
#include <linux/slab.h>
#include <asm/unaligned.h>

#include "bus.h"
#include "compat.h"
#include "vcpu.h"
#include "vm.h"

#define NR_BELLS	16
#define BELL_SLOT(addr)	((addr) / 4 % NR_BELLS)

struct bus_entry {
	gpa_t addr;
	u32 len;		/* 0: any access that starts at addr */
	bool alone;		/* no range before it reaches this one */
	gpa_t reach;		/* highest end of this range and those before it */
	struct rl_bus_dev *dev;
};

struct rl_bus {
	struct rcu_head rcu;
	int nr;
	long hint;		/* where the last access landed, racy and harmless */
	struct rl_doorbell *bells[NR_BELLS];	/* [s] that alone hear an address */
	struct bus_entry ent[];
};

/* Stands in for a device that is gone. */
static const struct rl_bus_dev_ops nobody_ops;
static struct rl_bus_dev nobody = { &nobody_ops };

/* Is @i the last entry that starts at or below @addr? */
static __always_inline bool bus_is_at(const struct rl_bus *bus, int i, gpa_t addr)
{
	return (i < 0 || bus->ent[i].addr <= addr) &&
	       (i + 1 == bus->nr || bus->ent[i + 1].addr > addr);
}

/* The last entry that starts at or below @addr, or -1. */
static __always_inline int bus_find(const struct rl_bus *bus, gpa_t addr)
{
	unsigned int lo = 0, hi = bus->nr;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (bus->ent[mid].addr <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return (int)lo - 1;
}

static __always_inline bool bus_covers(const struct bus_entry *e, gpa_t addr, int len)
{
	return e->len ? len && e->addr + e->len >= addr + len : e->addr == addr;
}

/*
 * From entry @i downwards, the next whose range covers the whole access, or
 * -1. @reach says when none further down can.
 */
static __always_inline int bus_match(const struct rl_bus *bus, int i, gpa_t addr, int len)
{
	for (; i >= 0; i--) {
		const struct bus_entry *e = &bus->ent[i];

		if (e->addr != addr && e->reach < addr + len)
			break;
		if (bus_covers(e, addr, len))
			return i;
	}
	return -1;
}

static noinline int bus_search(struct rl_vcpu *vcpu, struct rl_bus *bus, gpa_t addr, int len,
			       void *val, bool write)
{
	int i = bus_find(bus, addr);

	WRITE_ONCE(bus->hint, i);
	for (; (i = bus_match(bus, i, addr, len)) >= 0; i--) {
		struct rl_bus_dev *dev = READ_ONCE(bus->ent[i].dev);

		if (write && dev->ops->write && !dev->ops->write(vcpu, dev, addr, len, val))
			return 0;
		if (!write && dev->ops->read && !dev->ops->read(vcpu, dev, addr, len, val))
			return 0;
	}
	return -EOPNOTSUPP;
}

/* The usual case is short: where the last one was, and nobody else to ask. */
static __always_inline int bus_access(struct rl_vcpu *vcpu, int bus_nr, gpa_t addr, int len,
				      void *val, bool write)
{
	struct rl_bus *bus = srcu_dereference(vcpu->vm->bus[bus_nr], &vcpu->vm->srcu);
	int i = READ_ONCE(bus->hint);
	const struct rl_bus_dev_ops *ops;
	const struct bus_entry *e;
	struct rl_bus_dev *dev;

	if (unlikely(i < 0 || !bus_is_at(bus, i, addr) || !bus->ent[i].alone))
		return bus_search(vcpu, bus, addr, len, val, write);
	e = &bus->ent[i];
	if (!bus_covers(e, addr, len))
		return -EOPNOTSUPP;
	dev = READ_ONCE(e->dev);
	ops = dev->ops;
	if (write)
		return ops->write ? ops->write(vcpu, dev, addr, len, val) : -EOPNOTSUPP;
	return ops->read ? ops->read(vcpu, dev, addr, len, val) : -EOPNOTSUPP;
}

int rl_bus_write(struct rl_vcpu *vcpu, int bus_nr, gpa_t addr, int len, const void *val)
{
	return bus_access(vcpu, bus_nr, addr, len, (void *)val, true);
}

int rl_bus_read(struct rl_vcpu *vcpu, int bus_nr, gpa_t addr, int len, void *val)
{
	return bus_access(vcpu, bus_nr, addr, len, val, false);
}

/* After SRCU's readers, RCU's. */
static void bus_free_rcu(struct rcu_head *rcu)
{
	struct rl_bus *bus = container_of(rcu, struct rl_bus, rcu);

	kfree_rcu(bus, rcu);
}

static struct rl_bus *bus_alloc(int nr)
{
	struct rl_bus *bus;

	/* User space chooses how many ioeventfds: kmalloc()'s limit is theirs. */
	bus = kzalloc(struct_size(bus, ent, nr), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (bus)
		bus->hint = -1;
	return bus;
}

static struct rl_bus *bus_get(struct rl_vm *vm, int bus_nr)
{
	return rcu_dereference_protected(vm->bus[bus_nr], lockdep_is_held(&vm->slots_lock));
}

/* The next one in order of addresses, all before it being there. */
static void bus_append(struct rl_bus *bus, struct bus_entry e)
{
	const struct bus_entry *prev = bus->nr ? &bus->ent[bus->nr - 1] : NULL;

	e.alone = !prev || (prev->reach <= e.addr && prev->addr != e.addr);
	e.reach = max(e.addr + e.len, prev ? prev->reach : 0);
	bus->ent[bus->nr++] = e;
}

static int bell_write(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t addr, int len,
		      const void *val);

/* What is found without a search: the bits of rl_bus_claimed(), the bells of rl_bus_ring(). */
static void bus_set_claims(struct rl_vm *vm, struct rl_bus *bus, int bus_nr)
{
	unsigned int step = bus_nr == RL_BUS_PIO ? 1 : PAGE_SIZE;
	DECLARE_BITMAP(claims, RL_BUS_RESIDUES) = {};
	struct rl_doorbell *bells[NR_BELLS] = {};
	int i, n, nr;

	for (i = 0; i < bus->nr; i++) {
		const struct bus_entry *e = &bus->ent[i];

		if (e->dev == &nobody)
			continue;
		/* The last one is for a range that does not begin with its page. */
		nr = DIV_ROUND_UP(min_t(u64, e->len, RL_BUS_RESIDUES * step), step);
		for (n = 0; n <= nr; n++)
			__set_bit(rl_bus_residue(bus_nr, e->addr + n * step), claims);
		if (e->dev->ops->write == bell_write && e->alone && bus_is_at(bus, i, e->addr))
			bells[BELL_SLOT(e->addr)] = container_of(e->dev, struct rl_doorbell, dev);
	}
	/* Whole words, for those who look meanwhile. */
	for (n = 0; n < ARRAY_SIZE(claims); n++)
		WRITE_ONCE(vm->bus_claims[bus_nr][n], claims[n]);
	for (n = 0; n < NR_BELLS; n++)
		WRITE_ONCE(bus->bells[n], bells[n]);
}

static const struct rl_bus_dev_ops ioeventfd_ops;

int rl_bus_add(struct rl_vm *vm, int bus_nr, gpa_t addr, u32 len, struct rl_bus_dev *dev)
{
	struct rl_bus *old = bus_get(vm, bus_nr), *new;
	const struct bus_entry added = { .addr = addr, .len = len, .dev = dev };
	int i, at, nr_devs = 0;

	/* Behind its equals: what came first is asked last. */
	at = bus_find(old, addr) + 1;
	new = bus_alloc(old->nr + 1);
	if (!new)
		return -ENOMEM;
	for (i = 0; i <= old->nr; i++) {
		if (i == at)
			bus_append(new, added);
		if (i == old->nr || old->ent[i].dev == &nobody)
			continue;
		bus_append(new, old->ent[i]);
		nr_devs += old->ent[i].dev->ops != &ioeventfd_ops;
	}
	if (dev->ops != &ioeventfd_ops && nr_devs >= RL_BUS_MAX_DEVS) {
		kfree(new);
		return -ENOSPC;
	}
	bus_set_claims(vm, new, bus_nr);
	rcu_assign_pointer(vm->bus[bus_nr], new);
	call_srcu(&vm->srcu, &old->rcu, bus_free_rcu);
	return 0;
}

int rl_bus_del(struct rl_vm *vm, struct rl_bus_dev *dev)
{
	bool found = false;
	int i, n;

	for (i = 0; i < RL_NR_BUSES; i++) {
		struct rl_bus *bus = bus_get(vm, i);

		for (n = 0; bus && n < bus->nr; n++) {
			if (bus->ent[n].dev != dev)
				continue;
			WRITE_ONCE(bus->ent[n].dev, &nobody);
			bus_set_claims(vm, bus, i);
			found = true;
		}
	}
	if (!found)
		return -ENOENT;
	synchronize_srcu_expedited(&vm->srcu);
	synchronize_rcu_expedited();
	return 0;
}

int rl_bus_init(struct rl_vm *vm)
{
	int i;

	for (i = 0; i < RL_NR_BUSES; i++) {
		struct rl_bus *bus = bus_alloc(0);

		if (!bus)
			return -ENOMEM;
		RCU_INIT_POINTER(vm->bus[i], bus);
	}
	return 0;
}

void rl_bus_destroy(struct rl_vm *vm)
{
	int i, n;

	for (i = 0; i < RL_NR_BUSES; i++) {
		/* Nobody is left to look at it. */
		struct rl_bus *bus = rcu_dereference_protected(vm->bus[i], true);

		RCU_INIT_POINTER(vm->bus[i], NULL);
		for (n = 0; bus && n < bus->nr; n++)
			if (bus->ent[n].dev->ops->release)
				bus->ent[n].dev->ops->release(bus->ent[n].dev);
		kfree(bus);
	}
	/* Old arrays of rl_bus_add() are on their way through it. */
	srcu_barrier(&vm->srcu);
}

/* Doorbells */

static u64 bell_data(const void *val, int len)
{
	switch (len) {
	case 1:
		return *(const u8 *)val;
	case 2:
		return get_unaligned((const u16 *)val);
	case 4:
		return get_unaligned((const u32 *)val);
	default:
		return get_unaligned((const u64 *)val);
	}
}

static __always_inline bool bell_rings(struct rl_vcpu *vcpu, struct rl_doorbell *p, gpa_t addr,
				       int len, const void *val)
{
	if (addr != p->addr || (p->len && p->len != len))
		return false;
	if (!p->wildcard && bell_data(val, len) != p->datamatch)
		return false;
	p->ring(vcpu, p);
	return true;
}

static int bell_write(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t addr, int len,
		      const void *val)
{
	struct rl_doorbell *p = container_of(dev, struct rl_doorbell, dev);

	return bell_rings(vcpu, p, addr, len, val) ? 0 : -EOPNOTSUPP;
}

/* See bus.h. */
bool rl_bus_ring(struct rl_vcpu *vcpu, int bus_nr, gpa_t addr, int len, const void *val)
{
	struct rl_bus *bus = rcu_dereference_sched(vcpu->vm->bus[bus_nr]);
	struct rl_doorbell *p = READ_ONCE(bus->bells[BELL_SLOT(addr)]);

	return p && bell_rings(vcpu, p, addr, len, val);
}

static const struct rl_bus_dev_ops bell_ops = { .write = bell_write };

/* Would one write ring both? */
static bool bell_overlap(const struct rl_doorbell *a, const struct rl_doorbell *b)
{
	if (a->addr != b->addr)
		return false;
	if (!a->len || !b->len)
		return true;
	return a->len == b->len &&
	       (a->wildcard || b->wildcard || a->datamatch == b->datamatch);
}

typedef bool (*bell_match)(const struct rl_doorbell *a, const struct rl_doorbell *b);

static struct rl_doorbell *bell_find(struct rl_vm *vm, const struct rl_doorbell *key,
				     bell_match match)
{
	struct rl_bus *bus = bus_get(vm, key->bus);
	struct rl_doorbell *p;
	int i;

	for (i = bus_find(bus, key->addr); i >= 0 && bus->ent[i].addr == key->addr; i--) {
		if (bus->ent[i].dev->ops->write != bell_write)
			continue;
		p = container_of(bus->ent[i].dev, struct rl_doorbell, dev);
		if (match(p, key))
			return p;
	}
	return NULL;
}

static int bell_add(struct rl_vm *vm, struct rl_doorbell *p, const struct rl_bus_dev_ops *ops)
{
	int r = -EEXIST;

	p->dev.ops = ops;
	mutex_lock(&vm->slots_lock);
	if (!bell_find(vm, p, bell_overlap))
		r = rl_bus_add(vm, p->bus, p->addr, p->len, &p->dev);
	mutex_unlock(&vm->slots_lock);
	return r;
}

/**
 * rl_doorbell_add() - Have a guest's write ring a bell
 * @vm: the VM
 * @p:	filled in; the caller's until rl_doorbell_del()
 *
 * Return: 0, -EEXIST (a write would ring two, ioeventfds included), -ENOSPC, -ENOMEM.
 */
int rl_doorbell_add(struct rl_vm *vm, struct rl_doorbell *p)
{
	return bell_add(vm, p, &bell_ops);
}

/**
 * rl_doorbell_del() - Take it away; when this returns nobody rings it any more
 * @vm: the VM
 * @p:	the bell
 *
 * Return: 0, -ENOENT when it was not there.
 */
int rl_doorbell_del(struct rl_vm *vm, struct rl_doorbell *p)
{
	int r;

	mutex_lock(&vm->slots_lock);
	r = rl_bus_del(vm, &p->dev);
	mutex_unlock(&vm->slots_lock);
	return r;
}

/*
 * ioeventfd: a doorbell that signals an eventfd.
 * Documentation/virt/kvm/api.rst, "KVM_IOEVENTFD".
 */
struct ioeventfd {
	struct rl_doorbell bell;
	struct eventfd_ctx *ctx;
};

static struct ioeventfd *to_ioeventfd(const struct rl_doorbell *bell)
{
	return container_of(bell, struct ioeventfd, bell);
}

static void ioeventfd_ring(struct rl_vcpu *vcpu, struct rl_doorbell *bell)
{
	rl_eventfd_signal(to_ioeventfd(bell)->ctx);
}

static void ioeventfd_free(struct ioeventfd *p)
{
	eventfd_ctx_put(p->ctx);
	kfree(p);
}

static void ioeventfd_release(struct rl_bus_dev *dev)
{
	ioeventfd_free(container_of(dev, struct ioeventfd, bell.dev));
}

static const struct rl_bus_dev_ops ioeventfd_ops = {
	.write = bell_write,
	.release = ioeventfd_release,
};

static bool ioeventfd_same(const struct rl_doorbell *a, const struct rl_doorbell *b)
{
	return a->dev.ops == &ioeventfd_ops && to_ioeventfd(a)->ctx == to_ioeventfd(b)->ctx &&
	       a->addr == b->addr && a->len == b->len && a->wildcard == b->wildcard &&
	       (a->wildcard || a->datamatch == b->datamatch);
}

static int ioeventfd_deassign(struct rl_vm *vm, const struct ioeventfd *key)
{
	struct rl_doorbell *p;

	mutex_lock(&vm->slots_lock);
	p = bell_find(vm, &key->bell, ioeventfd_same);
	if (p)
		rl_bus_del(vm, &p->dev);
	mutex_unlock(&vm->slots_lock);
	if (!p)
		return -ENOENT;
	ioeventfd_free(to_ioeventfd(p));
	return 0;
}

/**
 * rl_ioeventfd() - KVM_IOEVENTFD
 * @vm:   whose bus
 * @args: in kernel memory
 *
 * Return: 0, -EINVAL (length, flags, wrap-around, datamatch without a length),
 * -EBADF, -EEXIST (a write would signal two), -ENOENT (nothing to deassign),
 * -ENOSPC, -ENOMEM.
 */
int rl_ioeventfd(struct rl_vm *vm, const struct kvm_ioeventfd *args)
{
	const u32 known = KVM_IOEVENTFD_FLAG_DATAMATCH | KVM_IOEVENTFD_FLAG_PIO |
			  KVM_IOEVENTFD_FLAG_DEASSIGN;
	struct ioeventfd key = {
		.bell.ring = ioeventfd_ring,
		.bell.bus = args->flags & KVM_IOEVENTFD_FLAG_PIO ? RL_BUS_PIO : RL_BUS_MMIO,
		.bell.addr = args->addr,
		.bell.datamatch = args->datamatch,
		.bell.wildcard = !(args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH),
	};
	struct ioeventfd *p;
	int r;

	if (args->flags & ~known)
		return -EINVAL;
	if (args->len > 8 || (args->len && !is_power_of_2(args->len)))
		return -EINVAL;
	key.bell.len = args->len;
	if (args->addr + args->len < args->addr)
		return -EINVAL;
	if (!args->len && !key.bell.wildcard)
		return -EINVAL;

	key.ctx = eventfd_ctx_fdget(args->fd);
	if (IS_ERR(key.ctx))
		return PTR_ERR(key.ctx);
	if (args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN) {
		r = ioeventfd_deassign(vm, &key);
	} else {
		p = kmemdup(&key, sizeof(key), GFP_KERNEL_ACCOUNT);
		r = p ? bell_add(vm, &p->bell, &ioeventfd_ops) : -ENOMEM;
		if (!r)
			return 0;	/* it keeps the reference */
		kfree(p);
	}
	eventfd_ctx_put(key.ctx);
	return r;
}
