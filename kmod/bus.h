/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Port and memory ranges that the kernel answers itself: in-kernel irqchips,
 * ioeventfds, virtio doorbells. A bus is an array sorted by address, replaced
 * as a whole (SRCU) under vm->slots_lock; a lookup is a bisection.
 */
#ifndef RL_BUS_H
#define RL_BUS_H

#include "types.h"

enum { RL_BUS_PIO, RL_BUS_MMIO, RL_NR_BUSES };

/* Devices per bus; ioeventfds do not count, descriptors limit those. */
#define RL_BUS_MAX_DEVS	1000
#define RL_BUS_RESIDUES	256		/* see rl_bus_claimed() */

struct rl_bus;
struct rl_bus_dev;
/*
 * 0: done. -EOPNOTSUPP: not mine after all (datamatch), ask the next, then
 * user space. @read or @write may be NULL. IRQs may be off.
 */
struct rl_bus_dev_ops {
	int (*read)(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t addr, int len,
		    void *val);
	int (*write)(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t addr, int len,
		     const void *val);
	/* The VM's end; may sleep; NULL when the owner frees. */
	void (*release)(struct rl_bus_dev *dev);
};

struct rl_bus_dev {
	const struct rl_bus_dev_ops *ops;
};

/*
 * vm->srcu held for the accesses, which may run with IRQs off. 0, or
 * -EOPNOTSUPP when no device took it. A write with @len 0 (@val NULL) reaches
 * only ranges that take any length: the caller need not know the data.
 */
int rl_bus_write(struct rl_vcpu *vcpu, int bus, gpa_t addr, int len, const void *val);
int rl_bus_read(struct rl_vcpu *vcpu, int bus, gpa_t addr, int len, void *val);
/*
 * IRQs off; vm->srcu is not needed. Rings the bell that has @addr for itself. False: it
 * is not that simple, or the data does not match; ask rl_bus_write().
 */
bool rl_bus_ring(struct rl_vcpu *vcpu, int bus, gpa_t addr, int len, const void *val);
/* @len 0: any length at exactly @addr. vm->slots_lock held. -ENOSPC, -ENOMEM. */
int rl_bus_add(struct rl_vm *vm, int bus, gpa_t addr, u32 len, struct rl_bus_dev *dev);
/* All its ranges; waits for readers, the caller frees @dev after. vm->slots_lock held. -ENOENT. */
int rl_bus_del(struct rl_vm *vm, struct rl_bus_dev *dev);
int rl_bus_init(struct rl_vm *vm);
/* At the VM's end: releases every device still there, later rl_bus_del()s find nothing. */
void rl_bus_destroy(struct rl_vm *vm);

/*
 * A write of the guest that @ring is told of, and nobody else. IRQs may be off.
 * [c] set by the owner before rl_doorbell_add()  [s] vm->slots_lock
 */
struct rl_doorbell {
	struct rl_bus_dev dev;
	void (*ring)(struct rl_vcpu *vcpu, struct rl_doorbell *bell);	/* [c] */
	u64 datamatch;			/* [c] */
	gpa_t addr;			/* [c] */
	u8 len;				/* [c] 0: any length */
	u8 bus;				/* [c] RL_BUS_* */
	bool wildcard;			/* [c] any data */
};

int rl_doorbell_add(struct rl_vm *vm, struct rl_doorbell *bell);
int rl_doorbell_del(struct rl_vm *vm, struct rl_doorbell *bell);

struct kvm_ioeventfd;
int rl_ioeventfd(struct rl_vm *vm, const struct kvm_ioeventfd *args);

#endif
