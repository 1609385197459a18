// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SVM backend: what the CPU must have, SVM on and off per CPU, the VMCB's
 * life, ASIDs, one trip into the guest, event injection.
 *
 * Owns:    struct svm_vcpu, the VMCB's control area, per-CPU ASIDs, the
 *          permission maps that all VMs share.
 * Touches: nothing of common code but struct rl_vcpu.
 * Locks:   none; per-CPU data with preemption off, a vCPU's by its thread.
 * Manuals: APM Vol 2, "Secure Virtual Machine"; exit codes and the VMCB's
 *          layout in its appendices "VMCB Layout, State Save Area" and
 *          "SVM Intercept Exit Codes".
 */
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/perf_event.h>
#include <asm/trapnr.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "../cpu/cpu.h"
#include "../mm/tdp_fmt.h"
#include "../vm.h"
#include "svm.h"

struct svm_cpu {
	struct page *host_save;		/* VM_HSAVE_PA, and the host's VMLOAD state behind it */
	hpa_t host_vmcb_pa;		/* a VMCB that holds only the latter */
	u64 asid_generation;
	u32 next_asid, max_asid;
	u64 tsc_aux;			/* the host's, for getcpu() */
	const struct svm_vcpu *last;	/* that was loaded here */
};

static DEFINE_PER_CPU(struct svm_cpu, svm_cpus);

/* All ones: every port exits (12 KiB plus the byte past port 0xffff). */
static void *iopm;
static hpa_t iopm_pa;
/* Two bits an MSR; clear for those that VMLOAD and VMSAVE switch anyway. */
static void *msrpm;
static hpa_t msrpm_pa;

#define IOPM_ORDER	2
#define MSRPM_ORDER	1

static const u32 passed_msrs[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_FS_BASE, MSR_GS_BASE,
	MSR_KERNEL_GS_BASE, MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP,
	MSR_IA32_SYSENTER_EIP,
};

/* APM Vol 2, "MSR Intercepts": three ranges of 2 KiB each. */
static void pass_msr(u32 msr)
{
	static const u32 base[] = { 0, 0xc0000000, 0xc0010000 };
	unsigned int i, bit;

	for (i = 0; i < ARRAY_SIZE(base); i++) {
		if (msr - base[i] < 8192) {
			bit = i * 2048 * 8 + (msr - base[i]) * 2;
			__clear_bit(bit, msrpm);
			__clear_bit(bit + 1, msrpm);
			return;
		}
	}
}

/* @all: every MSR exits. The map of ports has as many ones as that needs. */
void svm_set_msrpm(struct svm_vcpu *svm, bool all)
{
	svm->vmcb->control.msrpm_base_pa = all ? iopm_pa : msrpm_pa;
	svm_dirty(svm, CLEAN_PERM_MAP);
}

static_assert(IOPM_ORDER >= MSRPM_ORDER);

static bool firmware_disabled(void)
{
	u64 vm_cr;

	return !rdmsrl_safe(MSR_VM_CR, &vm_cr) && (vm_cr & BIT(4) /* SVMDIS */);
}

static int svm_hardware_setup(void)
{
	unsigned long addr;
	int cpu, i;

	if (!boot_cpu_has(X86_FEATURE_SVM)) {
		pr_err("this CPU has no SVM\n");
		return -EOPNOTSUPP;
	}
	if (firmware_disabled()) {
		pr_err("SVM is disabled by the firmware\n");
		return -EOPNOTSUPP;
	}
	if (!boot_cpu_has(X86_FEATURE_NPT)) {
		pr_err("this CPU has no nested paging\n");
		return -EOPNOTSUPP;
	}

	for_each_possible_cpu(cpu) {
		struct svm_cpu *sc = &per_cpu(svm_cpus, cpu);

		sc->host_save = alloc_pages_node(cpu_to_node(cpu), GFP_KERNEL | __GFP_ZERO, 1);
		if (!sc->host_save)
			goto err;
		sc->host_vmcb_pa = page_to_phys(sc->host_save) + PAGE_SIZE;
	}
	addr = __get_free_pages(GFP_KERNEL, IOPM_ORDER);
	if (!addr)
		goto err;
	iopm = (void *)addr;
	memset(iopm, 0xff, PAGE_SIZE << IOPM_ORDER);
	iopm_pa = __pa(iopm);
	addr = __get_free_pages(GFP_KERNEL, MSRPM_ORDER);
	if (!addr)
		goto err;
	msrpm = (void *)addr;
	memset(msrpm, 0xff, PAGE_SIZE << MSRPM_ORDER);
	msrpm_pa = __pa(msrpm);
	for (i = 0; i < ARRAY_SIZE(passed_msrs); i++)
		pass_msr(passed_msrs[i]);

	rl_caps.efer_bits = boot_cpu_has(X86_FEATURE_FXSR_OPT) ? EFER_FFXSR : 0;
	rl_caps.tsc_scaling = boot_cpu_has(X86_FEATURE_TSCRATEMSR);
	rl_caps.tsc_frac_bits = 32;
	rl_caps.max_tsc_ratio = SVM_TSC_RATIO_MAX;
	rl_caps.guest_debug = true;
	rl_caps.shutdown_clobbers = true;
	rl_caps.hypercall = RL_VMMCALL;
	rl_caps.pause_skips = true;
	rl_tdp_caps.page_2m = true;
	rl_tdp_caps.page_1g = boot_cpu_has(X86_FEATURE_GBPAGES);
	rl_tdp_caps.ad_bits = true;
	/* The walk has the depth of the host's own paging: APM Vol 2, "Nested Paging". */
	rl_tdp_caps.levels = pgtable_l5_enabled() ? 5 : 4;
	return 0;
err:
	rl_svm_ops.hardware_unsetup();
	return -ENOMEM;
}

static void svm_hardware_unsetup(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *sc = &per_cpu(svm_cpus, cpu);

		if (sc->host_save)
			__free_pages(sc->host_save, 1);
		sc->host_save = NULL;
	}
	free_pages((unsigned long)iopm, IOPM_ORDER);
	free_pages((unsigned long)msrpm, MSRPM_ORDER);
	iopm = msrpm = NULL;
}

static int svm_cpu_enable(void)
{
	struct svm_cpu *sc = this_cpu_ptr(&svm_cpus);
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME) {
		pr_err("CPU %d: EFER.SVME is set, another hypervisor uses SVM\n",
		       smp_processor_id());
		return -EBUSY;
	}
	sc->max_asid = cpuid_ebx(0x8000000a) - 1;
	/* No vCPU's generation fits: everybody gets a new ASID, after a flush. */
	sc->asid_generation++;
	sc->next_asid = sc->max_asid + 1;
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(MSR_VM_HSAVE_PA, page_to_phys(sc->host_save));
	if (rl_caps.tsc_scaling)
		svm_write_tsc_ratio(SVM_TSC_RATIO_DEFAULT);
	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		rdmsrl(MSR_TSC_AUX, sc->tsc_aux);
	/* perf's counters tell host and guest apart from now on. */
	amd_pmu_enable_virt();
	return 0;
}

static void svm_cpu_disable(void)
{
	u64 efer;

	amd_pmu_disable_virt();
	if (rl_caps.tsc_scaling)
		svm_write_tsc_ratio(SVM_TSC_RATIO_DEFAULT);
	wrmsrl(MSR_VM_HSAVE_PA, 0);
	rdmsrl(MSR_EFER, efer);
	wrmsrl(MSR_EFER, efer & ~EFER_SVME);
}

static int svm_vcpu_create(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!svm->vmcb)
		return -ENOMEM;
	svm->vmcb_pa = __pa(svm->vmcb);
	svm->last_cpu = -1;
	return 0;
}

static void svm_vcpu_destroy(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	int cpu;

	/* Another one may get this address, and is another one all the same. */
	for_each_possible_cpu(cpu)
		cmpxchg(&per_cpu(svm_cpus, cpu).last, svm, NULL);
	free_page((unsigned long)svm->vmcb);
}

/*
 * Everything that has no meaning for a guest, or that ringlet handles. With
 * nested paging a guest may change CR3 and take its page faults alone.
 */
static const u8 fixed_intercepts[] = {
	INTERCEPT_CR0_WRITE, INTERCEPT_CR4_WRITE,
	INTERCEPT_EXCEPTION_OFFSET + X86_TRAP_MC, INTERCEPT_EXCEPTION_OFFSET + X86_TRAP_UD,
	/* Looping #AC and #DB deliveries never let an interrupt in: APM erratum-like, CVE-2015-5307. */
	INTERCEPT_EXCEPTION_OFFSET + X86_TRAP_AC, INTERCEPT_EXCEPTION_OFFSET + X86_TRAP_DB,
	INTERCEPT_INTR, INTERCEPT_NMI, INTERCEPT_SMI, INTERCEPT_INIT,
	INTERCEPT_RDPMC, INTERCEPT_CPUID, INTERCEPT_RSM, INTERCEPT_INVD, INTERCEPT_INVLPGA,
	INTERCEPT_IOIO_PROT, INTERCEPT_MSR_PROT, INTERCEPT_SHUTDOWN, INTERCEPT_VMRUN,
	INTERCEPT_VMMCALL, INTERCEPT_VMLOAD, INTERCEPT_VMSAVE, INTERCEPT_STGI, INTERCEPT_CLGI,
	INTERCEPT_SKINIT, INTERCEPT_WBINVD, INTERCEPT_MONITOR, INTERCEPT_MWAIT,
	INTERCEPT_XSETBV,
};

static void svm_vcpu_reset(struct rl_vcpu *vcpu, bool init)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control_area *c = &svm->vmcb->control;
	int i;

	if (!init) {
		for (i = 0; i < ARRAY_SIZE(fixed_intercepts); i++)
			svm_intercept(svm, fixed_intercepts[i], true);
		c->iopm_base_pa = iopm_pa;
		c->nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
		c->nested_cr3 = vcpu->vm->mmu.root;
		/* SVME must be set in a guest's EFER whatever the guest sees there. */
		svm->vmcb->save.efer = EFER_SVME;
		svm->vmcb->save.g_pat = 0x0007040600070406ull;
		svm_intercept(svm, INTERCEPT_HLT,
			      !(vcpu->vm->disabled_exits & KVM_X86_DISABLE_EXITS_HLT));
		if (!(vcpu->vm->disabled_exits & KVM_X86_DISABLE_EXITS_PAUSE)) {
			/* Where there is no filter every PAUSE would exit. */
			svm_intercept(svm, INTERCEPT_PAUSE, boot_cpu_has(X86_FEATURE_PAUSEFILTER));
			c->pause_filter_count = 3000;
			if (boot_cpu_has(X86_FEATURE_PFTHRESHOLD))
				c->pause_filter_thresh = 128;
		}
	}
	c->int_ctl = V_INTR_MASKING_MASK;
	c->int_state = 0;
	c->event_inj = 0;
	svm_intercept(svm, INTERCEPT_VINTR, false);
	svm_intercept(svm, INTERCEPT_IRET, false);
	svm->nmi_masked = svm->iret_pending = svm->nmi_step = false;
	svm->vmcb->save.dbgctl = 0;
	c->clean = 0;
}

/* What svm_enter() loads behind each run. */
static void save_host(const struct svm_cpu *sc)
{
	asm volatile("vmsave %%rax" : : "a" (sc->host_vmcb_pa) : "memory");
}

static void svm_vcpu_load(struct rl_vcpu *vcpu, int cpu)
{
	struct svm_cpu *sc = this_cpu_ptr(&svm_cpus);
	struct svm_vcpu *svm = to_svm(vcpu);

	if (svm->last_cpu != cpu) {
		svm->last_cpu = cpu;
		svm->asid_generation = 0;
		svm->vmcb->control.clean = 0;
	}
	if (READ_ONCE(sc->last) != svm) {
		WRITE_ONCE(sc->last, svm);
		/* Another guest's branch history shall not steer this one. */
		if (!cpu_feature_enabled(X86_FEATURE_IBPB_ON_VMEXIT))
			indirect_branch_prediction_barrier();
	}
	/* FS and GS bases are this thread's. */
	if (rl_cpu_is_on())
		save_host(sc);
	/* RDTSCP and RDPID in a guest read the CPU's. */
	if (svm->has_tsc_aux && vcpu->tsc_aux != sc->tsc_aux) {
		wrmsrl(MSR_TSC_AUX, vcpu->tsc_aux);
		svm->tsc_aux_loaded = true;
	}
	if (rl_caps.tsc_scaling && vcpu->tsc_ratio != SVM_TSC_RATIO_DEFAULT)
		svm_write_tsc_ratio(vcpu->tsc_ratio);
}

static void svm_vcpu_put(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (svm->tsc_aux_loaded)
		wrmsrl(MSR_TSC_AUX, this_cpu_read(svm_cpus.tsc_aux));
	svm->tsc_aux_loaded = false;
	if (rl_caps.tsc_scaling && vcpu->tsc_ratio != SVM_TSC_RATIO_DEFAULT)
		svm_write_tsc_ratio(SVM_TSC_RATIO_DEFAULT);
}

/* An ASID that no other vCPU has on this CPU since the last full flush. */
static void new_asid(struct svm_vcpu *svm, struct svm_cpu *sc)
{
	struct vmcb_control_area *c = &svm->vmcb->control;

	c->tlb_ctl = TLB_CONTROL_DO_NOTHING;
	if (sc->next_asid > sc->max_asid) {
		sc->asid_generation++;
		sc->next_asid = 1;
		c->tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;
	}
	svm->asid_generation = sc->asid_generation;
	c->asid = sc->next_asid++;
	svm_dirty(svm, CLEAN_ASID);
}

static void svm_flush_tlb(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	if (boot_cpu_has(X86_FEATURE_FLUSHBYASID))
		svm->vmcb->control.tlb_ctl = TLB_CONTROL_FLUSH_ASID;
	else
		svm->asid_generation = 0;	/* a fresh ASID has no entries */
}

static __always_inline bool has_ldt(const struct mm_struct *mm)
{
#ifdef CONFIG_MODIFY_LDT_SYSCALL
	return READ_ONCE(mm->context.ldt);
#else
	return false;
#endif
}

static void svm_run(struct rl_vcpu *vcpu)
{
	struct svm_cpu *sc = this_cpu_ptr(&svm_cpus);
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control_area *c = &svm->vmcb->control;
	struct vmcb_save_area *s = &svm->vmcb->save;
	u8 tpr;

	if (unlikely(svm->asid_generation != sc->asid_generation))
		new_asid(svm, sc);
	s->rax = vcpu->regs[RL_RAX];
	s->rsp = vcpu->regs[RL_RSP];
	s->rip = vcpu->rip;
	s->rflags = vcpu->rflags;
	s->cr2 = vcpu->cr2;
	/*
	 * LDTR is in it, too, and names freed memory when another thread of the process
	 * has called modify_ldt() since.
	 */
	if (unlikely(has_ldt(current->mm)))
		save_host(sc);
	/* What the host divided last is not for a guest to find: CVE-2023-20588. */
	if (static_cpu_has_bug(X86_BUG_DIV0))
		amd_clear_divider();

	svm_enter(vcpu->regs, svm->vmcb_pa, sc->host_vmcb_pa);

	c->clean = CLEAN_ALL & ~CLEAN_NEVER;
	c->tlb_ctl = TLB_CONTROL_DO_NOTHING;
	vcpu->regs[RL_RAX] = s->rax;
	vcpu->regs[RL_RSP] = s->rsp;
	vcpu->rip = s->rip;
	vcpu->rflags = s->rflags;
	vcpu->cr2 = s->cr2;
	/* Writes to CR8 mostly do not exit: V_TPR has the guest's value. */
	tpr = c->int_ctl & V_TPR_MASK;
	if (unlikely(tpr != svm->tpr)) {
		svm->tpr = tpr;
		rl_lapic_set_cr8(vcpu, tpr);
	}
	vcpu->avail = BIT(RL_REG_RIP) | BIT(RL_REG_RSP) | BIT(RL_REG_RFLAGS);
	vcpu->dirty = 0;
	svm->nmi_step_seen = svm->nmi_step;
	if (unlikely(svm->nmi_step))
		svm_end_nmi_step(svm);
	if (vcpu->entry_event)
		rl_event_delivered(vcpu);
	svm_decode_exit(svm);
	svm->soft_len = 0;
}

/*
 * The handler of a software event returns behind its instruction, where RIP stays until
 * then. INT3 and INTO have one byte, INT n two.
 * APM Vol 2, "Event Injection", "Next Sequential Instruction Pointer".
 */
static void return_behind(struct svm_vcpu *svm, u8 len)
{
	unsigned long next = rl_rip_read(&svm->vcpu) + len;

	svm->soft_len = len;
	if (boot_cpu_has(X86_FEATURE_NRIPS))
		svm->vmcb->control.next_rip = next;
	else
		rl_rip_write(&svm->vcpu, next);
}

/* The event did not go in. */
void svm_back_to_insn(struct svm_vcpu *svm)
{
	if (!boot_cpu_has(X86_FEATURE_NRIPS))
		rl_rip_write(&svm->vcpu, rl_rip_read(&svm->vcpu) - svm->soft_len);
	svm->soft_len = 0;
}

static void svm_inject(struct rl_vcpu *vcpu, enum rl_event_kind kind, u8 vector,
		       bool has_error, u32 error_code)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control_area *c = &svm->vmcb->control;
	u32 type;

	switch (kind) {
	case RL_EVENT_NMI:
		type = SVM_EVTINJ_TYPE_NMI;
		svm->nmi_masked = true;
		svm_intercept(svm, INTERCEPT_IRET, true);
		break;
	case RL_EVENT_EXCEPTION:
		type = SVM_EVTINJ_TYPE_EXEPT;
		if (rl_soft_exception(vector))
			return_behind(svm, 1);
		break;
	case RL_EVENT_SOFT_INT:
		type = SVM_EVTINJ_TYPE_SOFT;
		return_behind(svm, 2);
		break;
	default:
		type = SVM_EVTINJ_TYPE_INTR;
		break;
	}
	c->event_inj = vector | type | SVM_EVTINJ_VALID | (has_error ? SVM_EVTINJ_VALID_ERR : 0);
	c->event_inj_err = error_code;
}

static bool svm_intr_allowed(struct rl_vcpu *vcpu)
{
	return (rl_rflags_read(vcpu) & X86_EFLAGS_IF) &&
	       !(to_svm(vcpu)->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK);
}

static bool svm_nmi_allowed(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	return !svm->nmi_masked && !(svm->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK);
}

/*
 * A virtual interrupt of the highest priority: its VINTR intercept comes when
 * the guest could take it. APM Vol 2, "Virtual Interrupts".
 */
static void svm_enable_intr_window(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm_intercept(svm, INTERCEPT_VINTR, true);
	svm->vmcb->control.int_vector = 0;
	svm->vmcb->control.int_ctl |= V_IRQ_MASK | V_IGN_TPR_MASK | V_INTR_PRIO_MASK;
}

/*
 * There is no NMI window in SVM. While a handler runs, its IRET is
 * intercepted; behind that IRET, or behind an interrupt shadow, one
 * instruction is single-stepped.
 */
static void svm_enable_nmi_window(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	unsigned long rflags;

	if (svm->nmi_masked && !svm->iret_pending)
		return;		/* the IRET intercept is on */
	if (svm->nmi_step)
		return;
	/*
	 * An event that goes in would push our TF with the flags, for the guest
	 * to find after its IRET. The entry ends right behind it instead.
	 */
	if (vcpu->entry_event) {
		rl_request(vcpu, RL_REQ_EVENT);
		smp_send_reschedule(smp_processor_id());
		return;
	}
	rflags = rl_rflags_read(vcpu);
	svm->nmi_step = true;
	svm->nmi_step_flags = rflags & (X86_EFLAGS_TF | X86_EFLAGS_RF);
	rl_rflags_write(vcpu, rflags | X86_EFLAGS_TF | X86_EFLAGS_RF);
}

/* Behind each run with our TF in the guest's flags: take it out again. */
void svm_end_nmi_step(struct svm_vcpu *svm)
{
	unsigned long rflags = svm->vcpu.rflags;

	svm->nmi_step = false;
	if (!(svm->nmi_step_flags & X86_EFLAGS_TF))
		rflags &= ~X86_EFLAGS_TF;
	if (!(svm->nmi_step_flags & X86_EFLAGS_RF))
		rflags &= ~X86_EFLAGS_RF;
	rl_rflags_write(&svm->vcpu, rflags);
	rl_request(&svm->vcpu, RL_REQ_EVENT);
}

static void svm_uninject(struct rl_vcpu *vcpu)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->vmcb->control.event_inj = 0;
	svm_back_to_insn(svm);
	if (svm->nmi_step)
		svm_end_nmi_step(svm);
}

void svm_nmi_unmasked(struct svm_vcpu *svm)
{
	svm->nmi_masked = svm->iret_pending = false;
	svm_intercept(svm, INTERCEPT_IRET, false);
	rl_request(&svm->vcpu, RL_REQ_EVENT);
}

static bool svm_get_nmi_mask(struct rl_vcpu *vcpu)
{
	return to_svm(vcpu)->nmi_masked;
}

static void svm_set_nmi_mask(struct rl_vcpu *vcpu, bool masked)
{
	struct svm_vcpu *svm = to_svm(vcpu);

	svm->nmi_masked = masked;
	svm->iret_pending = false;
	svm_intercept(svm, INTERCEPT_IRET, masked);
}

/* SVM has one shadow for STI and MOV SS alike. */
static u32 svm_get_shadow(struct rl_vcpu *vcpu)
{
	return to_svm(vcpu)->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK ?
	       KVM_X86_SHADOW_INT_MOV_SS | KVM_X86_SHADOW_INT_STI : 0;
}

static void svm_set_shadow(struct rl_vcpu *vcpu, u32 shadow)
{
	struct vmcb_control_area *c = &to_svm(vcpu)->vmcb->control;

	vcpu->exit.shadow = true;
	if (shadow)
		c->int_state |= SVM_INTERRUPT_SHADOW_MASK;
	else
		c->int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
}

/*
 * With V_INTR_MASKING the guest's CR8 is V_TPR. A write exits only while it
 * could make a pending interrupt deliverable, or while user space has the APIC.
 */
static void svm_update_apic(struct rl_vcpu *vcpu, int tpr, int irr, int isr)
{
	struct svm_vcpu *svm = to_svm(vcpu);
	struct vmcb_control_area *c = &svm->vmcb->control;
	bool want = !vcpu->lapic || (irr >= 0 && tpr >= (irr & 0xf0) && tpr > 0);

	svm->tpr = tpr >> 4;
	c->int_ctl = (c->int_ctl & ~V_TPR_MASK) | svm->tpr;
	if (want != svm_intercepts(svm, INTERCEPT_CR8_WRITE))
		svm_intercept(svm, INTERCEPT_CR8_WRITE, want);
}

const struct rl_vendor_ops rl_svm_ops = {
	.name = "SVM",
	.vcpu_size = sizeof(struct svm_vcpu),
	.hardware_setup = svm_hardware_setup,
	.hardware_unsetup = svm_hardware_unsetup,
	.cpu_enable = svm_cpu_enable,
	.cpu_disable = svm_cpu_disable,
	.vcpu_create = svm_vcpu_create,
	.vcpu_destroy = svm_vcpu_destroy,
	.vcpu_reset = svm_vcpu_reset,
	.vcpu_load = svm_vcpu_load,
	.vcpu_put = svm_vcpu_put,
	.run = svm_run,
	.cache_regs = svm_cache_regs,
	.get_seg = svm_get_seg,
	.set_seg = svm_set_seg,
	.seg_base = svm_seg_base,
	.cs_attr = svm_cs_attr,
	.get_cpl = svm_get_cpl,
	.get_dt = svm_get_dt,
	.set_dt = svm_set_dt,
	.set_cr0 = svm_set_cr0,
	.set_cr3 = svm_set_cr3,
	.set_cr4 = svm_set_cr4,
	.set_efer = svm_set_efer,
	.update_debug = svm_update_debug,
	.sync_debug = svm_sync_debug,
	.get_msr = svm_get_msr,
	.set_msr = svm_set_msr,
	.inject = svm_inject,
	.uninject = svm_uninject,
	.intr_allowed = svm_intr_allowed,
	.nmi_allowed = svm_nmi_allowed,
	.enable_intr_window = svm_enable_intr_window,
	.enable_nmi_window = svm_enable_nmi_window,
	.get_nmi_mask = svm_get_nmi_mask,
	.set_nmi_mask = svm_set_nmi_mask,
	.get_shadow = svm_get_shadow,
	.set_shadow = svm_set_shadow,
	.flush_tlb = svm_flush_tlb,
	.update_tsc = svm_update_tsc,
	.update_apic = svm_update_apic,
	.update_intercepts = svm_update_intercepts,
	.exit_name = svm_exit_name,
};
