/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's CPU as the manuals describe it: CPUID, MSRs, control registers
 * and their consistency rules, extended state, the guest's own page tables,
 * clocks. Vendor-neutral; the emulator has its own header, emulate.h.
 */
#ifndef RL_CPU_H
#define RL_CPU_H

#include <linux/kvm.h>
#include <asm/mce.h>
#include "../types.h"

#define RL_MAX_CPUID	256		/* KVM_MAX_CPUID_ENTRIES */

/* cpuid.c */
int rl_cpuid_init(void);		/* at load, after rl_xsave_init() and hardware_setup() */
int rl_get_supported_cpuid(struct kvm_cpuid2 __user *arg, bool emulated);
int rl_set_cpuid2(struct rl_vcpu *vcpu, struct kvm_cpuid2 *hdr, struct kvm_cpuid_entry2 __user *ents);
int rl_set_cpuid(struct rl_vcpu *vcpu, struct kvm_cpuid *hdr, struct kvm_cpuid_entry __user *ents);
int rl_get_cpuid2(struct rl_vcpu *vcpu, struct kvm_cpuid2 *hdr, struct kvm_cpuid_entry2 __user *ents);
struct kvm_cpuid_entry2 *rl_cpuid_find(struct rl_vcpu *vcpu, u32 function, u32 index);
/*
 * Execute CPUID: from the table, with OSXSAVE, APIC enabled, XSAVE sizes and
 * the like kept current; out-of-range leaves as hardware does. Budget: under
 * 100 instructions for a basic leaf; IRQs may be off.
 */
void rl_cpuid_exec(struct rl_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx);
/* A guest-visible feature bit, X86_FEATURE_* numbers of the first words. Cheap. */
bool rl_guest_has(struct rl_vcpu *vcpu, unsigned int x86_feature);
/* A bit that the supported table offers. */
bool rl_can_offer(unsigned int x86_feature);
void rl_cpuid_free(struct rl_vcpu *vcpu);

/* msr.c */
int rl_msr_init(void);
int rl_get_msr_index_list(struct kvm_msr_list __user *arg);
int rl_get_msr_feature_list(struct kvm_msr_list __user *arg);
/* KVM_GET_MSRS, KVM_SET_MSRS: the number done or -errno; @vcpu NULL: the system's feature MSRs */
int rl_msr_ioctl(struct rl_vcpu *vcpu, struct kvm_msrs __user *arg, bool write);
/*
 * @host: from KVM_GET/SET_MSRS rather than the guest. 0, 1 (#GP or refused),
 * RL_MSR_UNKNOWN (likewise, since there is no such MSR), -errno.
 */
#define RL_MSR_UNKNOWN	2
int rl_msr_get(struct rl_vcpu *vcpu, u32 index, u64 *data, bool host);
int rl_msr_set(struct rl_vcpu *vcpu, u32 index, u64 data, bool host);
bool rl_pv_has(struct rl_vcpu *vcpu, u32 bit);	/* KVM_FEATURE_* */
int rl_msr_create(struct rl_vcpu *vcpu);	/* 0, -ENOMEM */
void rl_msr_reset(struct rl_vcpu *vcpu, bool init);
void rl_msr_free(struct rl_vcpu *vcpu);
/* msr_filter.c */
int rl_set_msr_filter(struct rl_vm *vm, const struct kvm_msr_filter *user);
bool rl_msr_allowed(struct rl_vcpu *vcpu, u32 index, bool write);
void rl_msr_filter_destroy(struct rl_vm *vm);

/* mce.c: the machine-check banks that user space may fill */
#define RL_MAX_MCE_BANKS	32
/* KVM_X86_GET_MCE_CAP_SUPPORTED */
#define RL_MCE_CAPS	(MCG_CTL_P | MCG_SER_P | (rl_caps.cmci ? MCG_CMCI_P : 0))
int rl_setup_mce(struct rl_vcpu *vcpu, u64 mcg_cap);
int rl_set_mce(struct rl_vcpu *vcpu, const struct kvm_x86_mce *mce);	/* KVM_X86_SET_MCE */

/* regs.c: the architecture's consistency rules and the register ioctls */
/* As the guest's own MOV to CRn: 0, or 1 for #GP. */
int rl_set_cr(struct rl_vcpu *vcpu, unsigned int nr, u64 val);
u64 rl_get_cr(struct rl_vcpu *vcpu, unsigned int nr);
int rl_set_cr8(struct rl_vcpu *vcpu, u64 cr8);
int rl_set_efer(struct rl_vcpu *vcpu, u64 efer, bool host);
int rl_set_xcr0(struct rl_vcpu *vcpu, u64 xcr0);	/* XSETBV with index 0 */
bool rl_is_64bit_code(struct rl_vcpu *vcpu);	/* LMA and CS.L */
int rl_get_regs(struct rl_vcpu *vcpu, struct kvm_regs *regs);
int rl_set_regs(struct rl_vcpu *vcpu, const struct kvm_regs *regs);
int rl_get_sregs(struct rl_vcpu *vcpu, struct kvm_sregs *sregs);
int rl_set_sregs(struct rl_vcpu *vcpu, const struct kvm_sregs *sregs);
int rl_get_sregs2(struct rl_vcpu *vcpu, struct kvm_sregs2 *sregs);
int rl_set_sregs2(struct rl_vcpu *vcpu, const struct kvm_sregs2 *sregs);
int rl_translate(struct rl_vcpu *vcpu, struct kvm_translation *tr);
void rl_regs_reset(struct rl_vcpu *vcpu, bool init);	/* GPRs, CRs, segments, DRs via rl_ops */

/* debug.c */
#define RL_GUESTDBG_VALID	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |	\
				 KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_USE_HW_BP |	\
				 KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP |	\
				 KVM_GUESTDBG_BLOCKIRQ)
/* As the guest's own MOV DR: 0, or the vector of the fault. */
int rl_get_dr(struct rl_vcpu *vcpu, int dr, u64 *val);
int rl_set_dr(struct rl_vcpu *vcpu, int dr, u64 val);
int rl_get_debugregs(struct rl_vcpu *vcpu, struct kvm_debugregs *dbg);
int rl_set_debugregs(struct rl_vcpu *vcpu, const struct kvm_debugregs *dbg);
int rl_set_guest_debug(struct rl_vcpu *vcpu, const struct kvm_guest_debug *dbg);
/* What the hardware's DR0-3 and DR7 shall be from the guest's and the debugger's wishes. */
void rl_update_dr(struct rl_vcpu *vcpu);
/* RFLAGS as the guest set them: without the TF of KVM_GUESTDBG_SINGLESTEP, and back. */
unsigned long rl_get_rflags(struct rl_vcpu *vcpu);
void rl_set_rflags(struct rl_vcpu *vcpu, unsigned long rflags);

/* events.c */
int rl_get_events(struct rl_vcpu *vcpu, struct kvm_vcpu_events *ev);
int rl_set_events(struct rl_vcpu *vcpu, const struct kvm_vcpu_events *ev);
int rl_get_mp_state(struct rl_vcpu *vcpu, struct kvm_mp_state *st);
int rl_set_mp_state(struct rl_vcpu *vcpu, const struct kvm_mp_state *st);

/* xsave.c */
extern u32 rl_xsave_size;		/* bytes of rl_fpu.state */
extern u64 rl_xcr0_offered;		/* components a guest may enable */
int rl_xsave_init(void);
void rl_xsave_exit(void);
int rl_fpu_create(struct rl_vcpu *vcpu);
void rl_fpu_destroy(struct rl_vcpu *vcpu);
void rl_fpu_reset(struct rl_vcpu *vcpu, bool init);
/*
 * The guest's registers into the CPU and out again, IRQs off from the one to
 * the other: nobody else's use of the FPU may see or spoil them.
 */
void rl_fpu_enter(struct rl_vcpu *vcpu);
void rl_fpu_leave(struct rl_vcpu *vcpu);
int rl_get_fpu(struct rl_vcpu *vcpu, struct kvm_fpu *fpu);
int rl_set_fpu(struct rl_vcpu *vcpu, const struct kvm_fpu *fpu);
int rl_get_xsave(struct rl_vcpu *vcpu, struct kvm_xsave *xs);
int rl_set_xsave(struct rl_vcpu *vcpu, const struct kvm_xsave *xs);
int rl_get_xcrs(struct rl_vcpu *vcpu, struct kvm_xcrs *xcrs);
int rl_set_xcrs(struct rl_vcpu *vcpu, const struct kvm_xcrs *xcrs);
void rl_xmm_read(struct rl_vcpu *vcpu, int reg, void *buf16);	/* not loaded */
void rl_xmm_write(struct rl_vcpu *vcpu, int reg, const void *buf16);

/* walk.c: the guest's own page tables, all paging modes */
#define RL_WALK_IMPLICIT	0x1000	/* the CPU's own access to a descriptor table or TSS */
struct rl_walk { gpa_t gpa; bool fault; u32 error_code; u64 cr2; u64 page_size; };
/**
 * rl_walk() - Translate a guest linear address as the CPU would
 * @access: RL_ACC_WRITE, RL_ACC_FETCH, RL_ACC_USER as the access is; RL_WALK_IMPLICIT
 * @set_ad: set accessed and dirty bits in the guest's tables
 *
 * Context: vm->srcu held; @atomic: no sleeping (then -EFAULT when a host page is absent).
 * Return: 0 with @w filled (w->fault: deliver #PF), -EFAULT, -EAGAIN.
 */
int rl_walk(struct rl_vcpu *vcpu, gva_t gva, u32 access, bool set_ad, bool atomic, struct rl_walk *w);

/* clock.c: TSC, kvmclock, steal time */
struct kvm_device_attr;
int rl_tsc_attr(struct rl_vcpu *vcpu, const struct kvm_device_attr *attr, unsigned int cmd);
int rl_clock_init(void);
void rl_vm_clock_init(struct rl_vm *vm);
void rl_vcpu_clock_init(struct rl_vcpu *vcpu);
u64 rl_guest_tsc(struct rl_vcpu *vcpu, u64 host_tsc);
int rl_get_clock(struct rl_vm *vm, struct kvm_clock_data *data);
int rl_set_clock(struct rl_vm *vm, const struct kvm_clock_data *data);
int rl_set_tsc_khz(struct rl_vcpu *vcpu, unsigned long khz);
int rl_vm_set_tsc_khz(struct rl_vm *vm, unsigned long khz);	/* of vCPUs to come */
int rl_kvmclock_ctrl(struct rl_vcpu *vcpu);	/* KVM_KVMCLOCK_CTRL */
void rl_clock_moved(struct rl_vcpu *vcpu, int cpu, u64 host);	/* these three: [p] */
void rl_steal_load(struct rl_vcpu *vcpu);
void rl_steal_put(struct rl_vcpu *vcpu);
void rl_clock_update(struct rl_vcpu *vcpu);	/* on RL_REQ_CLOCK, may sleep */
long rl_clock_pairing(struct rl_vcpu *vcpu, gpa_t gpa, u64 type);	/* a hypercall */
void rl_steal_update(struct rl_vcpu *vcpu);	/* on RL_REQ_STEAL, may sleep */

#endif
