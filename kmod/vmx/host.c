// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's state around a guest: what the VMCS's host area holds, what VM
 * exits do not put back, and the MSRs that wait for the return to user mode.
 *
 * Owns:    the host-state area of the VMCS but CR3 and CR4; struct vmx_vcpu's
 *          host_* and uret; the CPU's SYSCALL MSRs, TSC_AUX, KERNEL_GS_BASE
 *          and DS, ES, FS, GS, LDTR while a guest's state is loaded.
 * Locks:   none. IRQs off where a CPU's MSRs and their copies change together.
 * Manuals: SDM Vol 3C, "Host-State Area" and "Loading Host State".
 */
#include <linux/user-return-notifier.h>
#include <asm/cpu_entry_area.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/mmu_context.h>

#include "vmx.h"

/* Touched on its CPU only, with IRQs off. */
struct uret_cpu {
	struct user_return_notifier urn;
	bool armed;
	u64 host[VMX_NR_URETS];		/* what the kernel set at boot */
	u64 now[VMX_NR_URETS];		/* what the CPU holds */
};
static DEFINE_PER_CPU(struct uret_cpu, uret_cpu);

static const u32 uret_msrs[VMX_NR_URETS] = {
	[VMX_URET_STAR] = MSR_STAR, [VMX_URET_LSTAR] = MSR_LSTAR, [VMX_URET_CSTAR] = MSR_CSTAR,
	[VMX_URET_FMASK] = MSR_SYSCALL_MASK, [VMX_URET_TSC_AUX] = MSR_TSC_AUX,
};

/* ---- MSRs that the kernel does not use itself ---- */

static void uret_restore(struct uret_cpu *c)
{
	int i;

	for (i = 0; i < VMX_NR_URETS; i++) {
		if (c->now[i] != c->host[i]) {
			wrmsrl(uret_msrs[i], c->host[i]);
			c->now[i] = c->host[i];
		}
	}
	if (c->armed) {
		c->armed = false;
		user_return_notifier_unregister(&c->urn);
	}
}

/* On the way to user mode, or to another task's: IRQs off. */
static void uret_notify(struct user_return_notifier *urn)
{
	struct uret_cpu *c = container_of(urn, struct uret_cpu, urn);
	unsigned long flags;

	/* cpu_disable() may come by IPI. */
	local_irq_save(flags);
	uret_restore(c);
	local_irq_restore(flags);
}

/*
 * Where a guest cannot use one, it does not matter what the CPU holds: without
 * EFER.SCE there is no SYSCALL, without the control no RDTSCP and no RDPID.
 */
static bool uret_used(struct vmx_vcpu *v, enum vmx_uret i)
{
	if (i == VMX_URET_TSC_AUX)
		return v->copy.exec2 & SECONDARY_EXEC_ENABLE_RDTSCP;
	return v->vcpu.efer & EFER_SCE;
}

static void uret_load(struct vmx_vcpu *v, enum vmx_uret i)
{
	struct uret_cpu *c = this_cpu_ptr(&uret_cpu);
	u64 val = i == VMX_URET_TSC_AUX ? v->vcpu.tsc_aux : v->uret[i];

	if (val == c->now[i])
		return;
	wrmsrl(uret_msrs[i], val);
	c->now[i] = val;
	if (!c->armed) {
		c->urn.on_user_return = uret_notify;
		user_return_notifier_register(&c->urn);
		c->armed = true;
	}
}

/**
 * vmx_uret_changed() - The guest has another value of a user-return MSR, or use for it
 * @v: loaded vCPU
 * @i: which
 *
 * The next entry puts it into the CPU.
 */
void vmx_uret_changed(struct vmx_vcpu *v, enum vmx_uret i)
{
	unsigned long flags;

	local_irq_save(flags);
	if (!(v->vcpu.work & VMX_WORK_LOAD) && uret_used(v, i))
		uret_load(v, i);
	local_irq_restore(flags);
}

/**
 * vmx_uret_start() - Learn this CPU's own values
 *
 * Context: IRQs off, before the first vCPU is loaded here.
 */
void vmx_uret_start(void)
{
	struct uret_cpu *c = this_cpu_ptr(&uret_cpu);
	int i;

	for (i = 0; i < VMX_NR_URETS; i++) {
		c->host[i] = 0;
		rdmsrl_safe(uret_msrs[i], &c->host[i]);
		c->now[i] = c->host[i];
	}
}

/**
 * vmx_uret_stop() - Put this CPU's own values back
 *
 * Context: IRQs off.
 */
void vmx_uret_stop(void)
{
	uret_restore(this_cpu_ptr(&uret_cpu));
}

/* ---- selectors, LDT, bases: on every KVM_RUN's way, hence no detour through paravirt ---- */

/* An MSR's halves as the instructions have them. */
static __always_inline void save_msr(u32 msr, u64 *val)
{
	u32 *half = (u32 *)val;

	asm volatile("rdmsr" : "=a" (half[0]), "=d" (half[1]) : "c" (msr));
}

static __always_inline void load_msr(u32 msr, const u64 *val)
{
	const u32 *half = (const u32 *)val;

	__wrmsr(msr, half[0], half[1]);
}

static noinline void debugctl_changed(struct vmx_vcpu *v, u64 now)
{
	v->host_debugctl = now;
	v->after = (v->after & ~VMX_AFTER_DEBUGCTL) | (now ? VMX_AFTER_DEBUGCTL : 0);
}

static noinline void load_urets(struct vmx_vcpu *v)
{
	int i;

	for (i = 0; i < VMX_NR_URETS; i++)
		if (uret_used(v, i))
			uret_load(v, i);
}

/**
 * vmx_switch_to_guest() - Save what VM exits do not put back
 * @v: loaded vCPU, about to be entered
 *
 * The selectors that a 32-bit process may have in DS, ES, FS and GS, the LDT,
 * and the inactive GS base. vmx_vcpu_put() is the way back. Context: IRQs off.
 */
void vmx_switch_to_guest(struct vmx_vcpu *v)
{
	unsigned long fs_base;

	v->vcpu.work &= ~VMX_WORK_LOAD;
#ifdef CONFIG_MODIFY_LDT_SYSCALL
	store_ldt(v->host_ldt);
#endif
	savesegment(ds, v->host_ds);
	savesegment(es, v->host_es);
	savesegment(fs, v->host_fs);
	savesegment(gs, v->host_gs);
	fs_base = static_cpu_has(X86_FEATURE_FSGSBASE) ? rdfsbase() : __rdmsr(MSR_FS_BASE);
	if (unlikely(fs_base != v->host_fs_base)) {
		v->host_fs_base = fs_base;
		vmcs_write(HOST_FS_BASE, fs_base);
	}
	save_msr(MSR_KERNEL_GS_BASE, &v->host_kernel_gs_base);
	load_msr(MSR_KERNEL_GS_BASE, &v->kernel_gs_base);
	if (v->vcpu.efer & EFER_SCE || v->copy.exec2 & SECONDARY_EXEC_ENABLE_RDTSCP)
		load_urets(v);
}

/**
 * vmx_sync_host() - What an interrupt may have changed since the last entry
 * @v: loaded vCPU, about to be entered
 *
 * perf switches its events on and off by IPI. Putting a stale DEBUGCTL back could make
 * the CPU write branch records to a buffer that is gone. Context: IRQs off.
 */
void vmx_sync_host(struct vmx_vcpu *v)
{
	u64 debugctl = __rdmsr(MSR_IA32_DEBUGCTLMSR);

	v->vcpu.work &= ~RL_WORK_FRESH;
	if (unlikely(debugctl != v->host_debugctl))
		debugctl_changed(v, debugctl);
	if (vmx_cfg.l1d_flush)
		v->vcpu.work |= VMX_WORK_L1D;
	if (vmx_cfg.pebs) {
		v->after &= ~VMX_AFTER_PEBS;
		v->vcpu.work &= ~VMX_WORK_PEBS;
		if (unlikely(__rdmsr(MSR_IA32_PEBS_ENABLE))) {
			v->after |= VMX_AFTER_PEBS;
			v->vcpu.work |= VMX_WORK_PEBS;
		}
	}
}

/*
 * SDM Vol 3B, "Processor Event-Based Sampling (PEBS)": the CPU writes its records to
 * linear addresses, by whatever page table is in use: in a guest these are the
 * guest's. The VMCS's MSR areas would be too late, for a record follows its event
 * some time later; WRMSR serializes, and comes well before the entry.
 */
void vmx_pebs_off(struct vmx_vcpu *v)
{
	v->host_perf = __rdmsr(MSR_CORE_PERF_GLOBAL_CTRL);
	v->host_pebs = __rdmsr(MSR_IA32_PEBS_ENABLE);
	wrmsrl(MSR_CORE_PERF_GLOBAL_CTRL, v->host_perf & ~v->host_pebs);
	wrmsrl(MSR_IA32_PEBS_ENABLE, 0);
}

void vmx_pebs_on(struct vmx_vcpu *v)
{
	/* Unless perf's NMI came right before the entry and did so. */
	if (!__rdmsr(MSR_IA32_PEBS_ENABLE))
		wrmsrl(MSR_IA32_PEBS_ENABLE, v->host_pebs);
	wrmsrl(MSR_CORE_PERF_GLOBAL_CTRL, v->host_perf);
	v->vcpu.work |= VMX_WORK_PEBS;
}

/* With segments, as 32-bit processes have them, or with permission to use ports. */
static noinline void put_special(struct vmx_vcpu *v)
{
	if (v->host_ldt)
		asm volatile("lldt %0" : : "rm" (v->host_ldt));
	if (v->host_gs)
		load_gs_index(v->host_gs);
	if (v->host_fs) {
		loadsegment(fs, v->host_fs);
		wrmsrl(MSR_FS_BASE, v->host_fs_base);
	}
	if (v->host_ds | v->host_es) {
		loadsegment(ds, v->host_ds);
		loadsegment(es, v->host_es);
	}
	load_msr(MSR_KERNEL_GS_BASE, &v->host_kernel_gs_base);
	invalidate_tss_limit();
	native_load_gdt(&v->host_gdt);
}

void vmx_vcpu_put(struct rl_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	if (v->vcpu.work & VMX_WORK_LOAD)
		return;
	v->vcpu.work |= VMX_WORK_LOAD;
	save_msr(MSR_KERNEL_GS_BASE, &v->kernel_gs_base);
	if (unlikely(v->host_selectors || v->host_ldt || test_thread_flag(TIF_IO_BITMAP))) {
		put_special(v);
		return;
	}
	load_msr(MSR_KERNEL_GS_BASE, &v->host_kernel_gs_base);
	/* Exits leave limits of 0x67 in TR, less than the I/O bitmap, and 0xffff in GDTR. */
	this_cpu_write(__tss_limit_invalid, true);
	native_load_gdt(&v->host_gdt);
}

/**
 * vmx_read_kernel_gs_base() - The guest's KERNEL_GS_BASE, wherever it is
 * @v: loaded vCPU
 */
u64 vmx_read_kernel_gs_base(struct vmx_vcpu *v)
{
	preempt_disable();
	if (!(v->vcpu.work & VMX_WORK_LOAD))
		rdmsrl(MSR_KERNEL_GS_BASE, v->kernel_gs_base);
	preempt_enable();
	return v->kernel_gs_base;
}

/**
 * vmx_write_kernel_gs_base() - Set the guest's KERNEL_GS_BASE
 * @v: loaded vCPU
 * @base: canonical
 */
void vmx_write_kernel_gs_base(struct vmx_vcpu *v, u64 base)
{
	preempt_disable();
	v->kernel_gs_base = base;
	if (!(v->vcpu.work & VMX_WORK_LOAD))
		wrmsrl(MSR_KERNEL_GS_BASE, base);
	preempt_enable();
}

static unsigned long host_idt;

/* The exit has acknowledged an interrupt of the host's: nobody else will call its handler. */
void vmx_take_irq(struct rl_vcpu *vcpu)
{
	u8 vector = vcpu->host_vector;

	vcpu->host_vector = 0;
	rl_vmx_call_gate(gate_offset((gate_desc *)host_idt + vector));
}

/**
 * vmx_write_host_const() - The part of the host state that is the same on every CPU
 */
void vmx_write_host_const(void)
{
	struct desc_ptr idt;
	unsigned long val;

	vmcs_write(HOST_CR0, read_cr0() & ~X86_CR0_TS);
	vmcs_write(HOST_CS_SELECTOR, __KERNEL_CS);
	vmcs_write(HOST_SS_SELECTOR, __KERNEL_DS);
	vmcs_write(HOST_DS_SELECTOR, 0);
	vmcs_write(HOST_ES_SELECTOR, 0);
	vmcs_write(HOST_FS_SELECTOR, 0);
	vmcs_write(HOST_GS_SELECTOR, 0);
	vmcs_write(HOST_TR_SELECTOR, GDT_ENTRY_TSS * 8);
	store_idt(&idt);
	host_idt = idt.address;
	vmcs_write(HOST_IDTR_BASE, idt.address);
	vmcs_write(HOST_RIP, (unsigned long)rl_vmx_exit_point);
	rdmsrl(MSR_IA32_SYSENTER_CS, val);
	vmcs_write(HOST_IA32_SYSENTER_CS, val);
	rdmsrl(MSR_IA32_SYSENTER_EIP, val);
	vmcs_write(HOST_IA32_SYSENTER_EIP, val);
	rdmsrl(MSR_IA32_CR_PAT, val);
	vmcs_write(HOST_IA32_PAT, val);
	rdmsrl(MSR_EFER, val);
	vmcs_write(HOST_IA32_EFER, val);
	vmcs_write(HOST_FS_BASE, 0);
}

/**
 * vmx_write_host_cpu() - The part of the host state that is the CPU's
 * @v: its VMCS is the current one
 * @cpu: this CPU
 */
void vmx_write_host_cpu(struct vmx_vcpu *v, int cpu)
{
	unsigned long val;

	vmcs_write(HOST_TR_BASE, (unsigned long)&get_cpu_entry_area(cpu)->tss.x86_tss);
	v->host_gdt.size = GDT_SIZE - 1;
	v->host_gdt.address = (unsigned long)get_current_gdt_ro();
	vmcs_write(HOST_GDTR_BASE, v->host_gdt.address);
	rdmsrl(MSR_GS_BASE, val);
	vmcs_write(HOST_GS_BASE, val);
	rdmsrl(MSR_IA32_SYSENTER_ESP, val);
	vmcs_write(HOST_IA32_SYSENTER_ESP, val);
}

