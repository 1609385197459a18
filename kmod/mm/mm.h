/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest physical memory: slots (gfn to hva), the two-stage page table, the
 * MMU notifier and the dirty log, as the rest of the module sees them.
 */
#ifndef RL_MM_H
#define RL_MM_H

#include <linux/kvm.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/uio.h>
#include "../types.h"

/* Immutable once published, but for the bits of the bitmap. */
struct rl_memslot {
	struct rl_vm *vm;
	gfn_t base_gfn;
	u64 npages;
	hva_t hva;
	u32 flags;			/* KVM_MEM_* */
	u16 id;
	unsigned long *dirty_bitmap;	/* with KVM_MEM_LOG_DIRTY_PAGES; set_bit_le() */
};

#define RL_NR_MEMSLOTS	32764		/* ids are 0..RL_NR_MEMSLOTS-1 */

/*
 * Sorted by base_gfn for bisection; replaced as a whole under both
 * vm->slots_lock and mmu->lock, so that either holds it still. Readers are
 * under vm->srcu.
 */
struct rl_memslots {
	u64 gen;			/* counts the arrays of a VM, from 1 on */
	int nr;
	bool log;			/* some of them have a dirty log */
	int hint;			/* index of the last hit, racy and harmless */
	int gap;			/* of the first slot behind the last miss, likewise */
	struct rl_memslot *slot[];
};

/* [c] set at creation  [s] vm->slots_lock  [m] lock */
struct rl_mmu {
	spinlock_t lock;		/* taken with interrupts on; with them off, only tried */
	hpa_t root;			/* [c] top-level table, as the CPU wants its address */
	u64 *root_table;		/* [c] the same, mapped */
	int levels;			/* [c] 4 or 5 */
	unsigned long seq;		/* [m] notifier sequence, see mm/notifier.c */
	long in_progress;		/* [m] invalidations under way */
	hva_t range_start, range_end;	/* [m] of those */
	struct list_head zapped;	/* [m] tables waiting for a flush */
	unsigned long nr_tables;	/* [m] */
	u64 manual_protect;		/* [s] KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2's argument */
};

/* Entry encoding: see mm/tdp_fmt.h. */
struct rl_tdp_fmt;
extern const struct rl_tdp_fmt rl_npt_fmt, rl_ept_fmt;

/* slots.c ([s] = vm->srcu held by the caller) */
int rl_slots_init(struct rl_vm *vm);
void rl_slots_destroy(struct rl_vm *vm);
int rl_set_memory_region(struct rl_vm *vm, const struct kvm_userspace_memory_region *mem);
struct rl_memslot *rl_gfn_to_slot(struct rl_vm *vm, gfn_t gfn);	/* [s], or NULL */
hva_t rl_gfn_to_hva(struct rl_vm *vm, gfn_t gfn, bool write);	/* [s], or 0 */
u64 rl_slots_pages(struct rl_vm *vm);	/* of all slots; takes vm->srcu */
bool rl_slots_log(struct rl_vm *vm);	/* any of them; likewise */
void rl_slot_mark_dirty(const struct rl_memslot *slot, gfn_t gfn);	/* [s], any context */

/*
 * guest.c: guest memory as bytes; [s]; crosses pages; writes are in the dirty
 * log. 0 or -EFAULT. The _atomic ones never sleep (IRQs off is fine) and fail
 * when the host page is not there. Run in the VM owner's mm.
 */
int rl_guest_read(struct rl_vm *vm, gpa_t gpa, void *buf, size_t len);
int rl_guest_write(struct rl_vm *vm, gpa_t gpa, const void *buf, size_t len);
int rl_guest_read_atomic(struct rl_vm *vm, gpa_t gpa, void *buf, size_t len);
int rl_guest_write_atomic(struct rl_vm *vm, gpa_t gpa, const void *buf, size_t len);
/*
 * Guest memory as the owner's addresses, for as long as vm->slots has the same
 * generation. NULL, or the number of @iov filled (-EFAULT, -ENOSPC). Who writes
 * there calls rl_guest_dirty() afterwards.
 */
void __user *rl_guest_map(struct rl_vm *vm, gpa_t gpa, u64 len, bool write,
			  const struct rl_memslot **slot);
int rl_guest_iov(struct rl_vm *vm, gpa_t gpa, u64 len, bool write, struct iovec *iov, int max);
void rl_guest_dirty(struct rl_vm *vm, gpa_t gpa, u64 len);
/* len 1,2,4,8 aligned, not crossing. 0 stored, 1 *old differed (updated), -EFAULT */
int rl_guest_cmpxchg(struct rl_vm *vm, gpa_t gpa, u64 *old, u64 new, int len);

/* dirty.c */
int rl_set_manual_protect(struct rl_vm *vm, u64 options);	/* KVM_DIRTY_LOG_MANUAL_* */
int rl_get_dirty_log(struct rl_vm *vm, struct kvm_dirty_log *log);
int rl_clear_dirty_log(struct rl_vm *vm, struct kvm_clear_dirty_log *log);

/* dirty_ring.c */
#define RL_DIRTY_RING_MAX	(65536 * sizeof(struct kvm_dirty_gfn))

struct rl_dirty_ring {
	struct kvm_dirty_gfn *gfns;	/* shared with user space: never trusted */
	u32 size;			/* entries, a power of 2; 0: there is none */
	u32 dirty;			/* count entries: those added, by the vCPU's thread */
	u32 reset;			/* and those taken back, [s] */
};

int rl_set_dirty_ring(struct rl_vm *vm, u64 size);	/* bytes */
int rl_dirty_ring_create(struct rl_vcpu *vcpu);
void rl_dirty_ring_destroy(struct rl_vcpu *vcpu);
struct page *rl_dirty_ring_page(struct rl_vcpu *vcpu, unsigned long n);	/* or NULL */
bool rl_dirty_ring_full(struct rl_vcpu *vcpu);		/* nearly: time to leave */
int rl_reset_dirty_rings(struct rl_vm *vm);

/* tdp.c: the second-stage table */
int rl_mmu_init(struct rl_vm *vm);
void rl_mmu_destroy(struct rl_vm *vm);

/* fault.c */
enum {
	RL_MMU_FIXED = 1,	/* enter again */
	RL_MMU_MMIO,		/* no slot, or a write to a read-only one: emulate */
	RL_MMU_RETRY,		/* enter again, if no signal says otherwise */
};

int rl_mmu_fault(struct rl_vcpu *vcpu, gpa_t gpa, u32 access);
bool rl_mmu_fault_fast(struct rl_vcpu *vcpu, gpa_t gpa, u32 access);

/* notifier.c */
int rl_notifier_register(struct rl_vm *vm);
void rl_notifier_unregister(struct rl_vm *vm);

#endif
