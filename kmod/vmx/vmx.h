/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the VMX backend share: the vCPU with its copies of VMCS
 * fields, the configuration chosen from the capability MSRs, and the VMX
 * instructions. Nobody outside vmx/ includes this.
 *
 * Manuals: SDM Vol 3C, "Virtual Machine Control Structures" and
 *          "VMX Instruction Reference".
 */
#ifndef RL_VMX_H
#define RL_VMX_H

#include <linux/compiler.h>
#include <linux/list.h>
#include <asm/asm.h>
#include <asm/desc_defs.h>
#include <asm/vmx.h>

#include "../vcpu.h"
#include "../vm.h"
#include "vmenter.h"

/* Chosen once at load; the same on every CPU. */
struct vmx_config {
	u32 pin, exec, exec2, exit, entry;	/* all that may be set, less what is set by need */
	u32 revision;
	u32 tick;				/* preemption timer's highest value */
	u8 timer_shift;				/* it counts TSC ticks, shifted right by this */
	u64 cr0_fixed1;				/* bits a guest's CR0 has whether it likes or not */
	bool ept_ad;
	bool ept_context;			/* INVEPT by context, else all contexts */
	bool l1d_flush;				/* the host's data shall not be in the L1 data cache */
	bool pebs;				/* the host may use precise events */
};
extern struct vmx_config vmx_cfg;

/* What has to be done before the next entry: vcpu.work, beside RL_WORK_FRESH. */
#define VMX_WORK_LOAD		BIT(1)	/* host's segments away, guest's MSRs in */
#define VMX_WORK_FLUSH_EPT	BIT(2)
#define VMX_WORK_L1D		BIT(3)
#define VMX_WORK_DR6		BIT(4)	/* the guest owns its debug registers: load DR6 */
#define VMX_WORK_TIMER		BIT(5)	/* the preemption timer was set for a deadline */
#define VMX_WORK_PEBS		BIT(6)	/* switch the host's off */

/* What has to be done behind an exit: vmx_vcpu.after. */
#define VMX_AFTER_EVENT		BIT(0)	/* the entry fields hold an event: it is the guest's now */
#define VMX_AFTER_DEBUGCTL	BIT(1)	/* exits clear the MSR; put the host's back */
#define VMX_AFTER_L1D		BIT(2)	/* flush the L1 data cache before every entry */
#define VMX_AFTER_PML		BIT(3)	/* pages may be listed in @pml */
#define VMX_AFTER_VIRTUAL	BIT(4)	/* the CPU delivers interrupts by itself */
#define VMX_AFTER_BUS_LOCK	BIT(5)	/* see whether the guest locked the bus */
#define VMX_AFTER_PEBS		BIT(6)	/* switch the host's on again */

/* SYSCALL's MSRs and TSC_AUX: the kernel needs its own only before user mode. */
enum vmx_uret { VMX_URET_STAR, VMX_URET_LSTAR, VMX_URET_CSTAR, VMX_URET_FMASK,
		VMX_URET_TSC_AUX, VMX_NR_URETS };

/* Set by vmcs_set_*(): the value that a VMCS field holds. */
struct vmx_copy {
	u32 pin, exec, exec2, entry, exceptions, tpr_threshold, timer;
};

/**
 * struct vmx_vcpu - a vCPU and its VMCS
 * @entry:	what vmenter.S reads and writes
 * @vmcs:	the VMCS region
 * @vmcs_cpu:	CPU whose caches may hold the VMCS, -1 after VMCLEAR
 * @link:	in that CPU's list of such; changed there with IRQs off
 * @valid:	VMX_VALID_*: which of the copies below are those of the last exit
 */
struct vmx_vcpu {
	struct rl_vcpu vcpu;
	struct vmx_entry entry;
	u32 after;
	u32 valid;
	struct vmx_copy copy;
	unsigned long host_cr3, host_cr4;	/* as in the VMCS's host area */

	void *vmcs;
	int vmcs_cpu;
	struct list_head link;
	void *msr_bitmap;
	u64 *pml;			/* page that the CPU lists dirty pages in, from its end */
	u64 eptp;
	u16 vpid;
	bool injected;			/* with VMX_AFTER_VIRTUAL: at the last entry */
	u8 event_len;			/* of a software event to be delivered again, else 0 */
	bool own_tpr;			/* TPR shadow is on */

	u64 cr0_shadow, cr4_shadow;
	u64 cr4_owned;			/* CR4 bits the guest changes without exits */
	u32 intr_state;			/* interruptibility, when VMX_VALID_INTR */
	u32 cs_ar, ss_ar;

	u64 uret[VMX_NR_URETS];
	u64 kernel_gs_base;		/* guest's, while not in the CPU */
	/* Host's, while the guest's are in the CPU. */
	u64 host_kernel_gs_base, host_fs_base;
	union {
		struct { u16 host_ds, host_es, host_fs, host_gs; };
		u64 host_selectors;
	};
	u16 host_ldt;
	struct desc_ptr host_gdt;
	u64 host_debugctl, host_perf, host_pebs;
};

/*
 * Bits the guest changes without an exit. CR0: those that change neither the
 * mode nor what is legal. CR4: those with nothing for us to follow.
 */
#define VMX_CR0_OWNED	(X86_CR0_TS | X86_CR0_MP | X86_CR0_EM | X86_CR0_AM | X86_CR0_WP)
#define VMX_CR4_OWNED	(X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PGE | X86_CR4_PCE | \
			 X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_FSGSBASE)

#define VMX_VALID_INTR	BIT(0)
#define VMX_VALID_CS	BIT(1)
#define VMX_VALID_SS	BIT(2)

static inline struct vmx_vcpu *to_vmx(struct rl_vcpu *vcpu)
{
	return container_of(vcpu, struct vmx_vcpu, vcpu);
}

void vmx_insn_failed(const char *insn, unsigned long arg, unsigned long val);

/*
 * After an emergency VMXOFF (reboot, panic) these instructions raise #UD in
 * threads that have not noticed yet. Such a vCPU never runs again, so the
 * fault is swallowed: a read gives 0, the rest do nothing.
 */
static __always_inline unsigned long vmcs_read(unsigned long field)
{
	unsigned long val;

	asm volatile("1: vmread %1, %0\n2:\n"
		     _ASM_EXTABLE_TYPE_REG(1b, 2b, EX_TYPE_ZERO_REG, %0)
		     : "=r" (val) : "r" (field) : "cc");
	return val;
}

static __always_inline u32 vmcs_read32(unsigned long field)
{
	return vmcs_read(field);
}

static __always_inline void vmcs_write(unsigned long field, unsigned long val)
{
	asm goto("1: vmwrite %1, %0\n"
		 "jna %l[fail]\n"
		 _ASM_EXTABLE(1b, %l[off])
		 : : "r" (field), "rm" (val) : "cc" : fail, off);
	return;
fail:
	vmx_insn_failed("VMWRITE", field, val);
off:
	return;
}

/* One memory operand: VMPTRLD, VMCLEAR, VMXON. */
#define VMX_INSN_MEM(name, insn)						\
static __always_inline int name(u64 pa)						\
{										\
	asm goto("1: " insn " %0\n"					\
			  "jna %l[fail]\n"					\
			  _ASM_EXTABLE(1b, %l[fail])				\
			  : : "m" (pa) : "cc", "memory" : fail);		\
	return 0;								\
fail:										\
	return -EIO;								\
}
VMX_INSN_MEM(vmx_vmptrld, "vmptrld")
VMX_INSN_MEM(vmx_vmclear, "vmclear")
VMX_INSN_MEM(vmx_vmxon, "vmxon")

static inline void vmx_invept(unsigned long type, u64 eptp)
{
	struct { u64 eptp, reserved; } desc = { eptp };

	asm goto("1: invept %1, %0\n"
		 "jna %l[fail]\n"
		 _ASM_EXTABLE(1b, %l[off])
		 : : "r" (type), "m" (desc) : "cc", "memory" : fail, off);
	return;
fail:
	vmx_insn_failed("INVEPT", type, eptp);
off:
	return;
}

/* A field whose value is known here is written when it changes only. */
static inline void vmcs_set(unsigned long field, u32 *copy, u32 val)
{
	if (*copy != val) {
		*copy = val;
		vmcs_write(field, val);
	}
}

static inline void vmx_set_exec(struct vmx_vcpu *v, u32 set, u32 clear)
{
	vmcs_set(CPU_BASED_VM_EXEC_CONTROL, &v->copy.exec, (v->copy.exec & ~clear) | set);
}

static inline u32 vmx_intr_state(struct vmx_vcpu *v)
{
	if (!(v->valid & VMX_VALID_INTR)) {
		v->intr_state = vmcs_read32(GUEST_INTERRUPTIBILITY_INFO);
		v->valid |= VMX_VALID_INTR;
	}
	return v->intr_state;
}

static inline void vmx_set_intr_state(struct vmx_vcpu *v, u32 state)
{
	if (vmx_intr_state(v) != state) {
		v->intr_state = state;
		vmcs_write(GUEST_INTERRUPTIBILITY_INFO, state);
	}
}

/* caps.c */
int vmx_caps_setup(void);
int vmx_caps_check_cpu(void);

/* host.c */
void vmx_uret_start(void);
void vmx_uret_stop(void);
void vmx_uret_changed(struct vmx_vcpu *v, enum vmx_uret i);
void vmx_switch_to_guest(struct vmx_vcpu *v);
void vmx_sync_host(struct vmx_vcpu *v);
void vmx_pebs_off(struct vmx_vcpu *v);
void vmx_pebs_on(struct vmx_vcpu *v);
void vmx_vcpu_put(struct rl_vcpu *vcpu);
void vmx_take_irq(struct rl_vcpu *vcpu);
void vmx_write_host_const(void);
void vmx_write_host_cpu(struct vmx_vcpu *v, int cpu);
u64 vmx_read_kernel_gs_base(struct vmx_vcpu *v);
void vmx_write_kernel_gs_base(struct vmx_vcpu *v, u64 base);

/* regs.c */
void vmx_regs_reset(struct vmx_vcpu *v);
void vmx_cache_regs(struct rl_vcpu *vcpu, u32 regs);
void vmx_write_dirty_regs(struct vmx_vcpu *v);
void vmx_get_seg(struct rl_vcpu *vcpu, struct rl_seg *seg, int reg);
void vmx_set_seg(struct rl_vcpu *vcpu, const struct rl_seg *seg, int reg);
u64 vmx_seg_base(struct rl_vcpu *vcpu, int reg);
u16 vmx_cs_attr(struct rl_vcpu *vcpu);
int vmx_get_cpl(struct rl_vcpu *vcpu);
void vmx_get_dt(struct rl_vcpu *vcpu, struct kvm_dtable *dt, bool idt);
void vmx_set_dt(struct rl_vcpu *vcpu, const struct kvm_dtable *dt, bool idt);
void vmx_set_cr0(struct rl_vcpu *vcpu, u64 cr0);
void vmx_set_cr3(struct rl_vcpu *vcpu, u64 cr3);
void vmx_set_cr4(struct rl_vcpu *vcpu, u64 cr4);
void vmx_set_efer(struct rl_vcpu *vcpu, u64 efer);
int vmx_get_msr(struct rl_vcpu *vcpu, u32 index, u64 *data);
int vmx_set_msr(struct rl_vcpu *vcpu, u32 index, u64 data);

/* event.c */
void vmx_inject(struct rl_vcpu *vcpu, enum rl_event_kind kind, u8 vector,
		bool has_error, u32 error_code);
void vmx_uninject(struct rl_vcpu *vcpu);
void vmx_requeue_event(struct vmx_vcpu *v, u32 info);
bool vmx_intr_allowed(struct rl_vcpu *vcpu);
bool vmx_nmi_allowed(struct rl_vcpu *vcpu);
void vmx_enable_intr_window(struct rl_vcpu *vcpu);
void vmx_enable_nmi_window(struct rl_vcpu *vcpu);
bool vmx_get_nmi_mask(struct rl_vcpu *vcpu);
void vmx_set_nmi_mask(struct rl_vcpu *vcpu, bool masked);
u32 vmx_get_shadow(struct rl_vcpu *vcpu);
void vmx_set_shadow(struct rl_vcpu *vcpu, u32 shadow);
void vmx_update_apic(struct rl_vcpu *vcpu, int tpr, int irr, int isr);

/* exit.c */
void vmx_decode_exit(struct vmx_vcpu *v, u32 reason);
void vmx_fail_entry(struct vmx_vcpu *v, u32 reason);
const char *vmx_exit_name(u64 hw_reason);

/* check.c */
void vmx_explain_failure(struct vmx_vcpu *v, u32 reason);

#endif
