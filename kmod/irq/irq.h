/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The in-kernel interrupt controllers as the rest of the module sees them:
 * both 8259s, the I/O APIC, the 8254, GSI routing, MSI, irqfd (struct rl_irq,
 * one a VM) and the local APIC (struct rl_lapic, one a vCPU).
 */
#ifndef RL_IRQ_H
#define RL_IRQ_H

#include <linux/atomic.h>
#include <linux/kvm.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include "../types.h"

#define RL_NR_GSIS	4096		/* KVM_CAP_IRQ_ROUTING */
#define RL_IOAPIC_PINS	24

struct rl_apic_map;
struct rl_pic;
struct rl_ioapic;
struct rl_pit;
struct rl_routing;

/*
 * [c] set under vm->lock at creation, store-released  [l] lock, SRCU to read
 * [q] irqfd_lock  [a] atomic
 */
struct rl_irq {
	struct mutex lock;		/* routing, resampler and irqfd changes */
	struct rl_apic_map *map;	/* [c] APIC ids to vCPUs; own lock inside */
	struct rl_pic *pic;		/* [c] NULL without KVM_CREATE_IRQCHIP */
	struct rl_ioapic *ioapic;	/* [c] */
	struct rl_pit *pit;		/* [c] NULL without KVM_CREATE_PIT2 */
	struct rl_routing __rcu *routing;	/* [l] */
	bool in_kernel;			/* [c] local APICs; release-stored last */
	bool split;			/* [c] and nothing else: KVM_CAP_SPLIT_IRQCHIP */
	u32 user_pins;			/* [c] split: GSIs below are user space's I/O APICs' */
	u32 bsp_id;			/* [c] vCPU id of the boot processor */
	atomic_t nmi_lvt0;		/* [a] vCPUs whose LVT0 delivers NMIs */
	spinlock_t irqfd_lock;		/* innermost */
	struct list_head irqfds;	/* [q] live */
	struct list_head dead_irqfds;	/* [q] waiting for @reap */
	struct work_struct reap;
	struct list_head resamplers;	/* [l] RCU list of the resampling irqfds */
};

static inline bool rl_irqchip_in_kernel(const struct rl_irq *irq)
{
	/* Pairs with rl_create_irqchip() and rl_split_irqchip(). */
	return smp_load_acquire(&irq->in_kernel);
}

/* Both 8259s and the I/O APIC, too? */
static inline bool rl_irqchip_full(const struct rl_irq *irq)
{
	return rl_irqchip_in_kernel(irq) && !irq->split;
}

/* ioctls; arguments are in kernel memory already; errors as KVM's */
void rl_irq_init(struct rl_vm *vm);		/* at VM creation */
/* Closing of the VM fd: irqfds off. Again at the VM's end, before the vCPUs go: timers off. */
void rl_irq_stop(struct rl_vm *vm);
void rl_irq_destroy(struct rl_vm *vm);		/* last reference */
int rl_create_irqchip(struct rl_vm *vm);	/* vm->lock held; EEXIST, EINVAL after a vCPU */
int rl_split_irqchip(struct rl_vm *vm, u64 pins);	/* likewise, but EEXIST after a vCPU */
int rl_irqchip_state(struct rl_vm *vm, struct kvm_irqchip *chip, bool set);
int rl_irq_line(struct rl_vm *vm, struct kvm_irq_level *level);	/* fills level->status; ENXIO */
int rl_signal_msi(struct rl_vm *vm, const struct kvm_msi *msi);	/* vCPUs reached, EINVAL */
int rl_set_routing(struct rl_vm *vm, const struct kvm_irq_routing_entry *entries, u32 nr);
int rl_irqfd(struct rl_vm *vm, const struct kvm_irqfd *args);
/* vm->lock held; EEXIST, ENOSPC, ENOMEM. Without an irqchip its ticks go nowhere. */
int rl_create_pit(struct rl_vm *vm, u32 flags);
int rl_pit_state(struct rl_vm *vm, struct kvm_pit_channel_state *ch, u32 *pit_flags, bool set);
int rl_reinject_control(struct rl_vm *vm, const struct kvm_reinject_control *ctl);

/*
 * One interrupt from a data plane or device model: no sleeping, any context.
 * Negative: ignored (masked, no route); 0: coalesced; else vCPUs reached.
 */
int rl_send_msi(struct rl_vm *vm, u64 addr, u32 data);
int rl_set_gsi(struct rl_vm *vm, u32 gsi, int level, bool line_status);

/*
 * Local APIC. An interrupt sender may be in any context (hrtimer, irqfd wake,
 * another vCPU's exit): IRR and friends are atomic bitmaps, after setting one
 * the sender requests RL_REQ_EVENT and kicks or wakes the vCPU. The rest of
 * the state belongs to the vCPU's thread.
 */
int rl_lapic_create(struct rl_vcpu *vcpu);
/* The vCPU that RESET leaves running; the others wait for a SIPI. */
bool rl_vcpu_is_bsp(const struct rl_vcpu *vcpu);
/* The set of vCPUs changed: look at every APIC's ids again. Any context. */
void rl_lapic_map_update(struct rl_vm *vm);
void rl_lapic_destroy(struct rl_vcpu *vcpu);
void rl_lapic_reset(struct rl_vcpu *vcpu, bool init);
/* Highest deliverable vector (above PPR, APIC enabled), or -1; cheap; IRQs off is fine. */
int rl_lapic_pending(struct rl_vcpu *vcpu);
/* Does the CPU deliver it by itself? And: something that speaks against it changed. */
bool rl_lapic_virtual(struct rl_vcpu *vcpu);
void rl_apicv_choose(struct rl_vcpu *vcpu);
/* Move @vector from IRR to ISR: it goes into the guest with this entry. */
void rl_lapic_accept(struct rl_vcpu *vcpu, u8 vector);
int rl_pv_eoi_set_msr(struct rl_vcpu *vcpu, u64 data);
void rl_pv_eoi_collect(struct rl_vcpu *vcpu);
/* Does LVT0 or the state of the APIC let an 8259 interrupt through to this vCPU? */
bool rl_lapic_extint_ok(struct rl_vcpu *vcpu);
/* Output of the 8259 pair, for this vCPU; with a split irqchip what KVM_INTERRUPT left. */
bool rl_pic_pending(struct rl_vcpu *vcpu);
int rl_pic_ack(struct rl_vcpu *vcpu);		/* INTA cycle: vector */
/* 0, or 1 for "#GP", as rl_msr_get/set in cpu/cpu.h: TSC_DEADLINE and the x2APIC range */
int rl_lapic_get_msr(struct rl_vcpu *vcpu, u32 index, u64 *data);
int rl_lapic_set_msr(struct rl_vcpu *vcpu, u32 index, u64 data);
/* 0 or 1 (refused); @host for KVM_SET_SREGS and KVM_SET_MSRS. Without an in-kernel APIC too. */
int rl_lapic_set_base(struct rl_vcpu *vcpu, u64 base, bool host);
/*
 * xAPIC page: true when @gpa is this vCPU's APIC page. While the page is
 * disabled it still is, reading as ones, unless the VM switched
 * KVM_X86_QUIRK_LAPIC_MMIO_HOLE off.
 */
bool rl_lapic_mmio_hit(struct rl_vcpu *vcpu, gpa_t gpa);
void rl_lapic_mmio_read(struct rl_vcpu *vcpu, gpa_t gpa, int len, void *val);
void rl_lapic_mmio_write(struct rl_vcpu *vcpu, gpa_t gpa, int len, const void *val);
void rl_lapic_set_cr8(struct rl_vcpu *vcpu, u64 cr8);
int rl_lapic_get_state(struct rl_vcpu *vcpu, struct kvm_lapic_state *s);
int rl_lapic_set_state(struct rl_vcpu *vcpu, struct kvm_lapic_state *s);
int rl_lapic_set_vapic(struct rl_vcpu *vcpu, const struct kvm_vapic_addr *vapic);
int rl_tpr_reporting(struct rl_vcpu *vcpu, const struct kvm_tpr_access_ctl *ctl);
int rl_apic_send_ids(struct rl_lapic *apic, u32 low, unsigned long ids, u64 min);
/* INIT or SIPI waits? / act on it: resets the vCPU, sets mp_state, CS:IP of the SIPI. */
bool rl_lapic_has_init_sipi(struct rl_vcpu *vcpu);
void rl_lapic_do_init_sipi(struct rl_vcpu *vcpu);
/* Expired timer to interrupt; on RL_REQ_TIMER, in the vCPU's thread. */
void rl_lapic_timer_fired(struct rl_vcpu *vcpu);
bool rl_lapic_timer_pending(struct rl_vcpu *vcpu);
/* The vCPU is about to sleep: its CPU will not watch the deadline. */
void rl_lapic_timer_sleep(struct rl_vcpu *vcpu);
/* vcpu's TSC offset or frequency changed: TSC-deadline timer to be re-armed. */
void rl_lapic_tsc_changed(struct rl_vcpu *vcpu);
/* Recompute PPR and tell the backend (ops->update_apic). */
void rl_lapic_sync(struct rl_vcpu *vcpu);
/* For APICv: what needs no exit, and the two traps. */
void *rl_lapic_posted(struct rl_vcpu *vcpu);
bool rl_lapic_msr_passes(u32 index, bool write);
void rl_eoi_vectors(struct rl_vm *vm, unsigned long *vectors);	/* 256 bits */
void rl_lapic_write_trap(struct rl_vcpu *vcpu, u32 offset);
void rl_lapic_eoi_induced(struct rl_vcpu *vcpu, u8 vector);
void rl_lapic_nmi_wd(struct rl_vm *vm);	/* PIT channel 0 into LVT0 in NMI mode */

#endif
