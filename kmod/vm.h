/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * struct rl_vm: one virtual machine.
 *
 * Lock order: vm->lock > vcpu->mutex > vm->slots_lock > vm->irq.lock >
 * mm's mmap_lock > mmu->lock > lapic/ioapic/pic spinlocks (IRQs off).
 */
#ifndef RL_VM_H
#define RL_VM_H

#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/srcu.h>
#include <linux/mmu_notifier.h>

#include "bus.h"
#include "irq/irq.h"
#include "mm/mm.h"
#include "stats.h"
#include "types.h"

#define RL_MAX_VCPUS	1024
#define RL_MAX_VCPU_ID	1024	/* KVM_CAP_MAX_VCPU_ID: ids are 0..RL_MAX_VCPU_ID-1 */

/* VM-wide clock; lock in it; cpu/clock.c */
struct rl_vm_clock {
	raw_spinlock_t lock;
	s64 kvmclock_offset;		/* guest boot-based ns = ktime + offset */
	u64 last_tsc_write, last_tsc_ns;/* for matching TSC writes of several vCPUs */
	u32 last_tsc_khz;
	u64 cur_tsc_offset;
	u64 pair_tsc;			/* host TSC and the nanoseconds that belong to it: */
	s64 pair_ns;			/* what all vCPUs publish while @stable */
	bool stable;			/* host TSC fit as a clock and all vCPUs' TSCs equal */
	u32 default_tsc_khz;
	u64 wall_clock_msr;
};

/* coalesced.c */
struct rl_coalesced {
	struct kvm_coalesced_mmio_ring *ring;	/* shared with user space: never trusted */
	spinlock_t ring_lock;
	struct list_head zones;		/* vm->slots_lock */
};

/* KVM_CAP_DISABLE_QUIRKS2: all that there are */
#define RL_QUIRKS	(KVM_X86_QUIRK_LINT0_REENABLED | KVM_X86_QUIRK_CD_NW_CLEARED |		\
			 KVM_X86_QUIRK_LAPIC_MMIO_HOLE | KVM_X86_QUIRK_OUT_7E_INC_RIP |		\
			 KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT | KVM_X86_QUIRK_FIX_HYPERCALL_INSN | \
			 KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS)

/*
 * [c] set at creation  [l] lock to write  [s] slots_lock to write, SRCU to read
 * [i] irq.lock to write, SRCU to read  [a] atomic
 */
struct rl_vm {
	struct mm_struct *mm;		/* [c] owner; no VM ioctl from another mm */
	refcount_t users;		/* [a] VM fd, vCPU fds, irqfds, devices */
	struct mutex lock;		/* vCPU creation, irqchip creation, caps */
	struct mutex slots_lock;
	struct srcu_struct srcu;	/* slots, buses, routing */
	struct rl_memslots __rcu *slots;/* [s] */
	struct rl_mmu mmu;
	struct mmu_notifier notifier;
	struct rl_bus __rcu *bus[RL_NR_BUSES];	/* [s] */
	/* [s] to write, see rl_bus_claimed() */
	unsigned long bus_claims[RL_NR_BUSES][BITS_TO_LONGS(RL_BUS_RESIDUES)];
	struct rl_vcpu *vcpus[RL_MAX_VCPUS];	/* [l] filled in order, never emptied before destroy */
	int nr_vcpus;			/* [l] store-release after vcpus[] */
	struct rl_coalesced coalesced;
	struct rl_irq irq;
	struct rl_vm_clock clock;
	bool dead;			/* [a] retired after a bug of ours */
	struct rl_msr_filter __rcu *msr_filter;	/* [l] lock, SRCU to read; NULL: none */
	u64 nr_mmu_pages;		/* [l] KVM_SET_NR_MMU_PAGES */
	u32 dirty_ring_size;		/* [l] bytes of each vCPU's; 0: the log is a bitmap */
	/* KVM_ENABLE_CAP's; [l] but read without it */
	u64 disabled_exits;		/* KVM_X86_DISABLE_EXITS_*, before the first vCPU */
	u64 user_msr_reasons;		/* KVM_MSR_EXIT_REASON_* */
	u64 platform_info;		/* guests may read MSR_PLATFORM_INFO */
	u64 quirks_off;			/* RL_QUIRKS that user space does without */
	u64 x2apic_api;			/* KVM_X2APIC_API_* */
	u64 exception_payload;
	u64 triple_fault_event;
	u64 exit_on_emul_failure;	/* at any privilege */
	u64 user_hypercalls;		/* BIT(KVM_HC_*) */
	u64 bus_lock_mode;		/* KVM_BUS_LOCK_DETECTION_* */
	u64 notify;			/* KVM_X86_NOTIFY_VMEXIT_*, window in the upper half */
	u64 max_vcpu_id;		/* 0: as announced */
	u64 halt_poll_ns;		/* -1: sched.c's parameter */
	u32 id;				/* [c] what netlink and traces call it */
	struct list_head vdevs;		/* vdevs_lock; struct rl_vdev, virtio/, by their numbers */
	struct mutex vdevs_lock;	/* innermost: nobody waits for anything with it */
	u32 next_vdev;			/* vdevs_lock */
	struct rl_vm_stats stat;
	struct {			/* [c] who created it; netlink.c */
		struct pid *pid;
		kuid_t uid;
		struct user_namespace *user_ns;
		char comm[TASK_COMM_LEN];
	} owner;
};

#define rl_for_each_vcpu(i, vcpu, vm)					\
	for (i = 0; i < smp_load_acquire(&(vm)->nr_vcpus) &&		\
	     ((vcpu) = (vm)->vcpus[i], true); i++)

/* vm.c */
int rl_vm_create(unsigned long type);	/* new VM fd or -errno */
void rl_vm_get(struct rl_vm *vm);
void rl_vm_put(struct rl_vm *vm);	/* may sleep */
void rl_vm_retire(struct rl_vm *vm, const char *why);
struct rl_vcpu *rl_vcpu_by_id(struct rl_vm *vm, u32 id);
int rl_check_extension(struct rl_vm *vm, unsigned long ext);	/* @vm NULL: of the system */

/* coalesced.c */
int rl_coalesced_init(struct rl_vm *vm);
void rl_coalesced_destroy(struct rl_vm *vm);
int rl_coalesced_add(struct rl_vm *vm, const struct kvm_coalesced_mmio_zone *where);
int rl_coalesced_del(struct rl_vm *vm, const struct kvm_coalesced_mmio_zone *where);

/* statsfd.c */
int rl_vm_stats_fd(struct rl_vm *vm);
int rl_vcpu_stats_fd(struct rl_vcpu *vcpu);

/* main.c: virtualization on with the first VM, off with the last */
int rl_hw_get(void);
void rl_hw_put(void);
DECLARE_PER_CPU(bool, rl_cpu_on);

/* This CPU, preemption off. */
static inline bool rl_cpu_is_on(void)
{
	return __this_cpu_read(rl_cpu_on);
}

static inline unsigned int rl_bus_residue(int bus, gpa_t addr)
{
	return (bus == RL_BUS_PIO ? addr : addr >> PAGE_SHIFT) % RL_BUS_RESIDUES;
}

/*
 * May a device of the kernel's be at @addr? A bit for each residue of ports and
 * of pages: enough to send most accesses to user space's devices there at once.
 */
static inline bool rl_bus_claimed(const struct rl_vm *vm, int bus, gpa_t addr)
{
	return test_bit(rl_bus_residue(bus, addr), vm->bus_claims[bus]);
}

#endif
