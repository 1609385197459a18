/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The seam between common code and the two backends: one constant table.
 * Common code calls through rl_ops and never asks which vendor is behind it.
 */
#ifndef RL_VENDOR_H
#define RL_VENDOR_H

#include <linux/kvm.h>
#include <linux/static_call.h>
#include "cpu/emulate.h"	/* enum rl_seg_reg */
#include "types.h"

/* Registers that a backend may hold in its control structure (see vcpu.h). */
enum rl_lazy_reg { RL_REG_RIP, RL_REG_RSP, RL_REG_RFLAGS, RL_REG_CR0, RL_REG_CR3, RL_REG_CR4 };

/* VMCALL is 0F 01 C1, VMMCALL is 0F 01 D9. */
enum { RL_VMCALL = 0xc1, RL_VMMCALL = 0xd9 };

/* What the CPU's virtualization can do, set by hardware_setup(). */
struct rl_vendor_caps {
	u64 efer_bits;		/* EFER bits a guest may set beyond SCE/LME/LMA/NX */
	bool tsc_scaling;
	u8 tsc_frac_bits;	/* fraction bits of the scaling ratio */
	u64 max_tsc_ratio;
	bool virtual_apic;	/* the CPU can run a local APIC in x2APIC mode: irq/apicv.c */
	bool posted;		/* ... and an IPI tells it to look at what others sent */
	bool deadline_timer;	/* the backend ends a run at vcpu->cpu_deadline: RL_EXIT_TIMER */
	bool cmci;		/* guests can have corrected machine-check interrupts */
	bool guest_debug;	/* a debugger's breakpoints and steps all work */
	bool shutdown_clobbers;	/* the state after a triple fault is undefined */
	u8 hypercall;		/* last byte of the CPU's own hypercall instruction */
	bool pause_skips;	/* RIP is at the PAUSE that exited, not behind it */
	bool bus_lock;		/* bus locks can exit: rl_bus_locked() */
	bool notify;		/* a guest that lets no event in can exit: RL_EXIT_NOTIFY */
};

/*
 * An event that goes into the guest with the next entry. At most one at a
 * time; @kind says which of the queues in struct rl_vcpu it comes from.
 */
enum rl_event_kind { RL_EVENT_NONE, RL_EVENT_EXCEPTION, RL_EVENT_SOFT_INT, RL_EVENT_NMI, RL_EVENT_INTR };

/**
 * struct rl_vendor_ops - one virtualization extension
 *
 * Contexts: [i] interrupts off on the vCPU's CPU, [p] preemption off there,
 * [l] vCPU loaded on this CPU, may sleep, [s] may sleep.
 */
struct rl_vendor_ops {
	const char *name;
	size_t vcpu_size;	/* of the struct that embeds struct rl_vcpu first */

	/* 0, or an errno after a pr_err() that names what is missing. [s] at load */
	int (*hardware_setup)(void);
	void (*hardware_unsetup)(void);
	/* Take this CPU: 0, -EBUSY when somebody else has it, -EIO. [i] */
	int (*cpu_enable)(void);
	void (*cpu_disable)(void);

	int (*vcpu_create)(struct rl_vcpu *vcpu);		/* [s] */
	void (*vcpu_destroy)(struct rl_vcpu *vcpu);		/* [s] */
	/* Architectural reset values into the control structure. [l] */
	void (*vcpu_reset)(struct rl_vcpu *vcpu, bool init);
	void (*vcpu_load)(struct rl_vcpu *vcpu, int cpu);	/* [p] */
	void (*vcpu_put)(struct rl_vcpu *vcpu);			/* [p] */

	/*
	 * Enter the guest once and fill vcpu->exit. Writes dirty lazy
	 * registers back, and leaves none but GPRs valid (or what it likes).
	 * An event whose delivery the exit interrupted is requeued with
	 * rl_requeue_*(). [i]
	 */
	void (*run)(struct rl_vcpu *vcpu);
	/*
	 * With vcpu->host_vector: call the handler of that interrupt of the host's. NULL in a
	 * backend whose exits never acknowledge one. [i]
	 */
	void (*take_irq)(struct rl_vcpu *vcpu);

	/* @regs: BIT(enum rl_lazy_reg), to be marked as available. [l] */
	void (*cache_regs)(struct rl_vcpu *vcpu, u32 regs);
	/* Segments as the emulator has them, and what is asked for most. [i]/[l], set [l] */
	void (*get_seg)(struct rl_vcpu *vcpu, struct rl_seg *seg, int reg);
	void (*set_seg)(struct rl_vcpu *vcpu, const struct rl_seg *seg, int reg);
	u64 (*seg_base)(struct rl_vcpu *vcpu, int reg);
	u16 (*cs_attr)(struct rl_vcpu *vcpu);
	int (*get_cpl)(struct rl_vcpu *vcpu);
	void (*get_dt)(struct rl_vcpu *vcpu, struct kvm_dtable *dt, bool idt);
	void (*set_dt)(struct rl_vcpu *vcpu, const struct kvm_dtable *dt, bool idt);
	/* Values were judged by common code already (cpu/regs.c). [l] */
	void (*set_cr0)(struct rl_vcpu *vcpu, u64 cr0);
	void (*set_cr3)(struct rl_vcpu *vcpu, u64 cr3);
	void (*set_cr4)(struct rl_vcpu *vcpu, u64 cr4);
	void (*set_efer)(struct rl_vcpu *vcpu, u64 efer);
	/* vcpu->dr7/guest-debug changed, or the guest's own DRs must be loaded. [l] */
	void (*update_debug)(struct rl_vcpu *vcpu);
	/* After the exit of a guest that owns its DRs: read DR0-3,6,7 back. [p] */
	void (*sync_debug)(struct rl_vcpu *vcpu);

	/*
	 * MSRs that live in the control structure (FS/GS bases, SYSCALL and
	 * SYSENTER sets, PAT, DEBUGCTL, TSC_AUX, vendor's own).
	 * 0, or 1 when the MSR is not the backend's. [l]
	 */
	int (*get_msr)(struct rl_vcpu *vcpu, u32 index, u64 *data);
	int (*set_msr)(struct rl_vcpu *vcpu, u32 index, u64 data);

	/* Put an event into the entry fields. [i] */
	void (*inject)(struct rl_vcpu *vcpu, enum rl_event_kind kind, u8 vector,
		       bool has_error, u32 error_code);
	/* Take back that and the windows' doing: no entry was made. [i] */
	void (*uninject)(struct rl_vcpu *vcpu);
	/* Can the guest take it right now? (RFLAGS.IF, shadow, NMI mask) [i]/[l] */
	bool (*intr_allowed)(struct rl_vcpu *vcpu);
	bool (*nmi_allowed)(struct rl_vcpu *vcpu);
	/* Exit as soon as it can. [i] */
	void (*enable_intr_window)(struct rl_vcpu *vcpu);
	void (*enable_nmi_window)(struct rl_vcpu *vcpu);
	bool (*get_nmi_mask)(struct rl_vcpu *vcpu);
	void (*set_nmi_mask)(struct rl_vcpu *vcpu, bool masked);
	/* KVM_X86_SHADOW_INT_* bits. [l] */
	u32 (*get_shadow)(struct rl_vcpu *vcpu);
	void (*set_shadow)(struct rl_vcpu *vcpu, u32 shadow);

	void (*flush_tlb)(struct rl_vcpu *vcpu);	/* [p] all of this vCPU's */
	/* vcpu->tsc_offset / tsc_ratio changed. [l] */
	void (*update_tsc)(struct rl_vcpu *vcpu);
	/* The guest's TPR, highest pending vector or highest in service (or -1) changed. [l] */
	void (*update_apic)(struct rl_vcpu *vcpu, int tpr, int irr, int isr);
	/* CPUID table, APIC mode or debug state changed: redo intercepts. [l] */
	void (*update_intercepts)(struct rl_vcpu *vcpu);
	/* Symbol of an exit code for traces and messages. */
	const char *(*exit_name)(u64 hw_reason);
};

extern const struct rl_vendor_ops *rl_ops;

/*
 * rl_op(run)(vcpu) is rl_ops->run(vcpu) as a direct call: for those on the way
 * of many exits, where a retpoline would cost most.
 */
#define RL_HOT_OPS(X)	X(vcpu_load) X(vcpu_put) X(run) X(set_shadow) X(cache_regs) X(get_seg) \
			X(seg_base) X(cs_attr) X(intr_allowed) X(inject)
#define RL_DECLARE_OP(op) DECLARE_STATIC_CALL(rl_op_##op, *((struct rl_vendor_ops *)NULL)->op);
RL_HOT_OPS(RL_DECLARE_OP)
#define rl_op(op)	static_call(rl_op_##op)

extern struct rl_vendor_caps rl_caps;
extern const struct rl_vendor_ops rl_svm_ops;
extern const struct rl_vendor_ops rl_vmx_ops;
/* Entry encoding of the second stage, chosen together with rl_ops. */
extern const struct rl_tdp_fmt *rl_tdp_fmt;

#endif
