/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * struct rl_vcpu: one virtual CPU. Embedded first in the backend's own
 * structure. Everything is owned by the thread that holds vcpu->mutex (and,
 * while it runs, has it loaded on a CPU) unless tagged otherwise.
 */
#ifndef RL_VCPU_H
#define RL_VCPU_H

#include <linux/bitops.h>
#include <linux/kvm.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcuwait.h>
#include <linux/sched.h>
#include <asm/apicdef.h>
#include <asm/trapnr.h>

#include "exit.h"
#include "mm/mm.h"
#include "stats.h"
#include "types.h"
#include "vendor.h"

/* GPR numbers are those of the instruction encoding. */
enum { RL_RAX, RL_RCX, RL_RDX, RL_RBX, RL_RSP, RL_RBP, RL_RSI, RL_RDI, RL_NR_GPRS = 16 };

/*
 * Requests: what a vCPU has to look at before it enters the guest again. Set
 * by anyone with rl_request(), followed by rl_vcpu_kick() when the target may
 * be running; cleared by the vCPU itself. See Documentation/virt/kvm/
 * vcpu-requests.rst for the pattern.
 */
enum rl_request {
	RL_REQ_EVENT,		/* look for interrupts, exceptions, windows */
	RL_REQ_TLB_FLUSH,	/* second-stage translations were removed */
	RL_REQ_CLOCK,		/* publish the kvmclock page again */
	RL_REQ_STEAL,		/* publish steal time */
	RL_REQ_TIMER,		/* an APIC timer fired: turn it into an interrupt */
	RL_REQ_APIC_STATE,	/* INIT or SIPI waits in vcpu->lapic */
	RL_REQ_VM_DEAD,		/* rl_vm_retire(): no entry ever again */
	RL_REQ_IOAPIC_EOI,	/* tell user space's I/O APIC: vcpu->eoi_vector */
	RL_REQ_TPR_ACCESS,	/* tell user space: vcpu->tpr_access */
	RL_REQ_INTERCEPTS,	/* what has to exit changed: MSRs, EOIs, writes to be logged */
	RL_REQ_EXIT_USER,	/* leave KVM_RUN for vcpu->pending_exit */
	RL_REQ_DOORBELL,	/* serve vcpu->doorbell */
	RL_REQ_PV_EOI,		/* vcpu->pv_eoi_set has to be looked at where one may sleep */
	RL_REQ_RING_FULL,	/* leave KVM_RUN as long as the dirty ring is full */
};

/* Where a vCPU is, for rl_vcpu_kick(); ordered with ->requests by full barriers. */
enum rl_vcpu_mode { RL_OUTSIDE_GUEST, RL_IN_GUEST };

/* DR7: any breakpoint on; general detect */
#define RL_DR7_ENABLES	0xfful
#define RL_DR7_GD	BIT(13)
#define RL_DR7_ONES	0x400u
#define RL_DR6_CAUSES	0xe00fu		/* but for transactions and bus locks; general detect: */
#define RL_DR6_BD	BIT(13)

struct rl_exception {
	bool pending;		/* raised, not yet in the entry fields */
	bool injected;		/* delivery began and must be finished */
	bool has_error;
	bool has_payload;
	u8 vector;
	u32 error_code;
	u64 payload;		/* CR2 of #PF, DR6 of #DB */
};

/* Guest FPU, SSE and extended state; see cpu/xsave.c. */
struct rl_fpu {
	struct xregs_state *state;	/* standard format, 64-byte aligned, size rl_xsave_size */
	u64 xcr0;			/* guest's XCR0 */
	bool xcr0_loaded;		/* xcr0 is in the CPU, with the rest, in RL_IN_GUEST */
};

/* kvmclock and steal time, owned by cpu/clock.c. */
struct rl_pvclock {
	u64 system_time_msr;		/* MSR_KVM_SYSTEM_TIME_NEW as written */
	u64 steal_msr;
	bool guest_stopped;
	bool steal_preempted;		/* the guest's page says so */
	u64 poll_control;		/* MSR_KVM_POLL_CONTROL; bit 0: poll before a sleep */
	int last_cpu;
	u64 last_host_tsc;		/* at the last rl_clock_put() */
	u64 last_run_delay;		/* sched_info.run_delay at the last update */
};

struct rl_vcpu {
	struct rl_vm *vm;
	u32 id;				/* vcpu_id of KVM_CREATE_VCPU; the APIC id */
	int index;			/* in vm->vcpus */
	int cpu;			/* loaded here, or -1; written on that CPU */
	struct mutex mutex;		/* one ioctl at a time */
	struct file *filp;
	struct pid __rcu *pid;		/* thread that last ran it */
	struct rcuwait wait;		/* HLT and wait-for-SIPI sleep here */
	struct preempt_notifier notifier;

	unsigned long requests;		/* atomic bits of enum rl_request */
	int mode;			/* enum rl_vcpu_mode */

	struct kvm_run *run;		/* shared with user space: never trusted */
	void *pio_data;			/* second page of the mapping */
	struct rl_dirty_ring dirty_ring;
	struct rl_exit exit;		/* the last one */
	u32 work;			/* the backend's, before the next entry; and: */
#define RL_WORK_FRESH	BIT(0)		/* IRQs were on since the last one */
	u8 host_vector;			/* the exit acknowledged this interrupt of the host's, or 0 */
	int (*complete)(struct rl_vcpu *vcpu);	/* finishes a user-space exit */
	bool bus_locked;		/* what ended with an exit, and user space wants to know */
	bool rip_watched;		/* user space wrote registers since: */
	gva_t user_rip;			/* linear RIP before it did */
	u32 pending_exit;		/* KVM_EXIT_* that RL_REQ_EXIT_USER is about */
	struct { u16 port; u8 size; u32 count; } pio;	/* last KVM_EXIT_IO */
	struct rl_insn *insn;		/* insn.c */
	struct rl_vq *doorbell;		/* notified by the exit; virtio/device.c clears it, too */
	struct rl_vq *lingering;	/* to be looked at again; likewise */

	/* Architectural state; lazy ones through the accessors below. */
	unsigned long regs[RL_NR_GPRS];	/* [RL_RSP] is lazy */
	unsigned long rip;		/* lazy */
	unsigned long rflags;		/* lazy */
	u64 cr0, cr3, cr4;		/* lazy, guest's view */
	u32 avail, dirty;		/* BIT(enum rl_lazy_reg) */
	u64 cr2;			/* loaded and saved by the backend around each run */
	u64 cr8;			/* TPR >> 4, user-space irqchip only */
	u64 efer;
	unsigned long db[4];		/* guest's DR0-DR3 */
	unsigned long dr6, dr7;
	unsigned long eff_db[4];	/* what the hardware gets: guest's or debugger's */
	bool debug_wanted;		/* the CPU has to hold eff_db while the guest runs */
	bool debug_loaded;		/* it does */
	bool own_debug;			/* guest moves DRs without exits for now */
	u32 guest_debug;		/* KVM_GUESTDBG_* */
	unsigned long guest_debug_dr7;
	unsigned long step_rip;		/* where KVM_GUESTDBG_SINGLESTEP armed TF */
	struct rl_fpu fpu;

	/* Events on their way in, priorities as in SDM Vol 3A, "Priority Among Concurrent Events". */
	struct rl_exception exception;
	struct { bool injected; bool soft; u8 vector; } interrupt;
	atomic_t nmi_queued;		/* by anyone, moved to nmi_pending by the vCPU */
	u8 nmi_pending;			/* 0..2 */
	bool nmi_injected;
	bool entry_event;		/* one of them is in the entry fields */

	/* CPUID table, sorted as given; cpu/cpuid.c. */
	struct kvm_cpuid_entry2 *cpuid;
	int cpuid_nent;
	u8 cpuid_hint[64];		/* function -> index + 1, see cpuid.c */
	u32 guest_features[10];		/* cpu/cpuid.c: decoded once per SET_CPUID2 */
	bool guest_amd;			/* CPUID says AMD or Hygon */
	u8 maxphyaddr;
	u64 cr4_reserved;		/* CR4 bits that fault, from CPUID */
	u64 xcr0_supported;

	/* MSRs without another home; cpu/msr.c. */
	u64 pat;
	u64 misc_enable;
	u64 tsc_aux;
	u64 spec_ctrl;
	u64 mcg_cap, mcg_status, mcg_ctl, *mce_banks;
	u64 mtrr_def_type, mtrr_fixed[11], mtrr_var[16];
	u64 arch_capabilities;
	u64 smi_count, platform_info, misc_features, power_ctl;
	u64 bios_sign;			/* microcode revision */
	u64 hwcr, de_cfg, osvw_len, osvw_status;	/* AMD */

	/* TSC: guest = (host * ratio) + offset; cpu/clock.c. */
	u64 tsc_offset;
	u64 tsc_ratio;
	u64 tsc_adjust;
	u64 cpu_deadline;		/* host TSC when the APIC timer is due, or 0 */
	u32 tsc_khz;
	struct rl_pvclock pv;

	u64 apic_base;			/* IA32_APIC_BASE; irq/lapic.c */
	struct rl_lapic *lapic;		/* NULL without in-kernel irqchip; irq/irq_priv.h */
	void *apic_page;		/* its registers, likewise */
	bool user_pic;			/* [c] the 8259 is in user space, or all of the irqchip */
	u8 eoi_vector;
	bool pv_enforced;		/* KVM_CAP_ENFORCE_PV_FEATURE_CPUID */
	bool tpr_reporting;		/* KVM_TPR_ACCESS_REPORTING */
	bool pv_eoi_set;		/* the guest may clear a bit for its EOI */
	u64 pv_eoi_msr, async_pf_msr;
	bool pv_unhalted;		/* KVM_HC_KICK_CPU: its next HLT, or this one, ends */
	s16 extint;			/* split irqchip: vector of KVM_INTERRUPT, or -1 */
	struct { u64 rip; bool write; } tpr_access;
	int mp_state;			/* KVM_MP_STATE_*; [atomic]: others write it to wake */
	bool preempted;			/* scheduled out while runnable */
	u64 halt_poll_ns;
	bool sigset_active;
	sigset_t sigset;
	struct rl_vcpu_stats stat;
};

static inline void rl_request(struct rl_vcpu *vcpu, enum rl_request req)
{
	/* Pairs with the barrier after vcpu->mode is set in vcpu.c. */
	smp_wmb();
	set_bit(req, &vcpu->requests);
}

static inline bool rl_request_test(struct rl_vcpu *vcpu, enum rl_request req)
{
	return test_bit(req, &vcpu->requests);
}

static inline bool rl_request_check(struct rl_vcpu *vcpu, enum rl_request req)
{
	if (!test_bit(req, &vcpu->requests))
		return false;
	clear_bit(req, &vcpu->requests);
	/* What the requester wrote before is seen after. */
	smp_mb__after_atomic();
	return true;
}

static inline void rl_need_regs(struct rl_vcpu *vcpu, u32 regs)
{
	regs &= ~vcpu->avail;
	if (unlikely(regs))
		rl_op(cache_regs)(vcpu, regs);
}

static inline void rl_need_reg(struct rl_vcpu *vcpu, enum rl_lazy_reg reg)
{
	if (unlikely(!(vcpu->avail & BIT(reg))))
		rl_op(cache_regs)(vcpu, BIT(reg));
}

static inline void rl_set_dirty(struct rl_vcpu *vcpu, enum rl_lazy_reg reg)
{
	vcpu->avail |= BIT(reg);
	vcpu->dirty |= BIT(reg);
}

/* DR7 as the CPU gets it: the debugger's while it has breakpoints of its own. */
static inline unsigned long rl_eff_dr7(const struct rl_vcpu *vcpu)
{
	return vcpu->guest_debug & KVM_GUESTDBG_USE_HW_BP ? vcpu->guest_debug_dr7 : vcpu->dr7;
}

static inline unsigned long rl_rip_read(struct rl_vcpu *vcpu)
{
	rl_need_reg(vcpu, RL_REG_RIP);
	return vcpu->rip;
}

static inline void rl_rip_write(struct rl_vcpu *vcpu, unsigned long rip)
{
	vcpu->rip = rip;
	rl_set_dirty(vcpu, RL_REG_RIP);
}

static inline unsigned long rl_rflags_read(struct rl_vcpu *vcpu)
{
	rl_need_reg(vcpu, RL_REG_RFLAGS);
	return vcpu->rflags;
}

static inline void rl_rflags_write(struct rl_vcpu *vcpu, unsigned long rflags)
{
	vcpu->rflags = rflags;
	rl_set_dirty(vcpu, RL_REG_RFLAGS);
}

static inline u64 rl_cr0_read(struct rl_vcpu *vcpu)
{
	rl_need_reg(vcpu, RL_REG_CR0);
	return vcpu->cr0;
}

static inline u64 rl_cr3_read(struct rl_vcpu *vcpu)
{
	rl_need_reg(vcpu, RL_REG_CR3);
	return vcpu->cr3;
}

static inline u64 rl_cr4_read(struct rl_vcpu *vcpu)
{
	rl_need_reg(vcpu, RL_REG_CR4);
	return vcpu->cr4;
}

static inline u64 rl_get_cr8(const struct rl_vcpu *vcpu)
{
	return vcpu->apic_page ? *(u32 *)(vcpu->apic_page + APIC_TASKPRI) >> 4 & 0xf : vcpu->cr8;
}

static inline u64 rl_edx_eax(struct rl_vcpu *vcpu)
{
	return (u32)vcpu->regs[RL_RAX] | (u64)(u32)vcpu->regs[RL_RDX] << 32;
}

/* vcpu.c */
struct rl_vcpu *rl_vcpu_create(struct rl_vm *vm, u32 id);
void rl_vcpu_destroy(struct rl_vcpu *vcpu);
int rl_vcpu_new_fd(struct rl_vcpu *vcpu);
void rl_vcpu_reset(struct rl_vcpu *vcpu, bool init);
/* The one whose thread this is, or NULL; preemption off. */
DECLARE_PER_CPU(struct rl_vcpu *, rl_loaded_vcpu);
/* sched.c */
void rl_sched_exit(struct rl_vcpu *vcpu);
void rl_sched_new_thread(struct rl_vcpu *vcpu);
void rl_vcpu_kick(struct rl_vcpu *vcpu);
void rl_vcpu_post(struct rl_vcpu *vcpu);
bool rl_vcpu_wake(struct rl_vcpu *vcpu);
void rl_vcpu_block(struct rl_vcpu *vcpu);
bool rl_vcpu_yield_to(struct rl_vcpu *peer);
void rl_vcpu_yield_to_peer(struct rl_vcpu *vcpu);
bool rl_vcpu_runnable(struct rl_vcpu *vcpu);
void rl_debug_load(struct rl_vcpu *vcpu);
void rl_debug_put(struct rl_vcpu *vcpu);
void rl_request_all(struct rl_vm *vm, enum rl_request req, bool wait);

/* event.c: exceptions, interrupts and NMIs into the guest */

/* Of an instruction, at which RIP stays until the event is in. */
static inline bool rl_soft_exception(u8 vector)
{
	return vector == X86_TRAP_BP || vector == X86_TRAP_OF;
}

void rl_queue_exception(struct rl_vcpu *vcpu, u8 vector);
void rl_queue_exception_e(struct rl_vcpu *vcpu, u8 vector, u32 error_code);
void rl_queue_exception_p(struct rl_vcpu *vcpu, u8 vector, u64 payload);
void rl_queue_page_fault(struct rl_vcpu *vcpu, u32 error_code, gva_t cr2);
void rl_requeue_exception(struct rl_vcpu *vcpu, u8 vector, bool has_error, u32 error_code);
void rl_requeue_interrupt(struct rl_vcpu *vcpu, u8 vector, bool soft);
void rl_requeue_nmi(struct rl_vcpu *vcpu);
void rl_clear_events(struct rl_vcpu *vcpu);
bool rl_event_pending(struct rl_vcpu *vcpu);
void rl_event_inject(struct rl_vcpu *vcpu);
void rl_event_cancel(struct rl_vcpu *vcpu);
void rl_queue_nmi(struct rl_vcpu *vcpu);
void rl_collect_nmis(struct rl_vcpu *vcpu);
void rl_event_delivered(struct rl_vcpu *vcpu);
bool rl_irq_waiting(struct rl_vcpu *vcpu);
bool rl_extint_free(struct rl_vcpu *vcpu);
void rl_deliver_payload(struct rl_vcpu *vcpu);
gva_t rl_linear_rip(struct rl_vcpu *vcpu);	/* cpu/regs.c */
void rl_skip_insn(struct rl_vcpu *vcpu);	/* exit.c */
void rl_singlestep_done(struct rl_vcpu *vcpu);
void rl_pio_result(struct rl_vcpu *vcpu, int size, u32 val);	/* insn.c */

#define RL_GP(vcpu)	rl_queue_exception_e(vcpu, 13 /* X86_TRAP_GP */, 0)

#endif
