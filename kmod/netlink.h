/* SPDX-License-Identifier: GPL-2.0-only */
/* What an observer sees: VMs by their numbers, and what happens to them. */
#ifndef RL_NETLINK_H
#define RL_NETLINK_H

#include <linux/ringlet_netlink.h>
#include "types.h"

int rl_netlink_init(void);
void rl_netlink_exit(void);

/* Fills vm->id and ->owner; may sleep. 0, -ENOMEM, -EBUSY (no number left) */
int rl_netlink_add_vm(struct rl_vm *vm);
/* Nobody finds it any more when this returns; may sleep. */
void rl_netlink_del_vm(struct rl_vm *vm);
/* KVM_RUN ends with something that goes wrong for good; the vCPU's thread, may sleep. */
void rl_netlink_vcpu_stopped(struct rl_vcpu *vcpu, enum ringlet_stop_reason reason, u32 suberror);
/* A guest broke its ring, the device serves no more; may sleep. */
void rl_netlink_device_broken(struct rl_vdev *dev, u32 queue, int error);

#endif
