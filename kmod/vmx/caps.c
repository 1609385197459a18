// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which of VMX's controls this CPU has: those without which there is no
 * ringlet, and those that are used when they are there.
 *
 * Owns:    vmx_cfg, rl_caps and rl_tdp_caps on Intel.
 * Touches: the VMX capability MSRs, read only; IA32_FEATURE_CONTROL when the
 *          firmware left it unlocked.
 * Locks:   none; runs at load, vmx_caps_check_cpu() with IRQs off.
 * Manuals: SDM Vol 3D, "VMX Capability Reporting Facility".
 */
#include <linux/module.h>
#include <asm/cpufeature.h>
#include <asm/msr.h>
#include <asm/tsc.h>

#include "../mm/tdp_fmt.h"
#include "vmx.h"

struct vmx_config vmx_cfg __ro_after_init;

/*
 * Silicon leaves the guest for every interrupt of the host; Bochs 2.7 does not
 * while the guest has IF clear. Cost: an exit this often, where the host has
 * no tick of its own.
 */
static unsigned int vmx_tick_us = 20000;
module_param(vmx_tick_us, uint, 0444);
MODULE_PARM_DESC(vmx_tick_us, "longest time in a guest without an exit (VMX preemption timer), 0: no bound");

static bool apicv = true;
module_param(apicv, bool, 0444);
MODULE_PARM_DESC(apicv, "let the CPU run guests' local APICs in x2APIC mode, where it can");

static unsigned int posted_interrupts = 1;
module_param(posted_interrupts, uint, 0444);
MODULE_PARM_DESC(posted_interrupts,
		 "interrupts reach a running guest without an exit: 0 no, 1 where the CPU can, 2 all but the CPU's part, with apicv");

/* Raw values at load: every other CPU must have the same. */
static const u32 cap_msrs[] = {
	MSR_IA32_VMX_BASIC, MSR_IA32_VMX_TRUE_PINBASED_CTLS, MSR_IA32_VMX_TRUE_PROCBASED_CTLS,
	MSR_IA32_VMX_PROCBASED_CTLS2, MSR_IA32_VMX_TRUE_EXIT_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS,
	MSR_IA32_VMX_EPT_VPID_CAP, MSR_IA32_VMX_CR0_FIXED0, MSR_IA32_VMX_CR4_FIXED0,
};
static u64 cap_vals[ARRAY_SIZE(cap_msrs)] __ro_after_init;

struct ctl_bit {
	u32 bit;
	const char *name;
};

/*
 * A control is one of three: @must be there, @may be there, @never be forced
 * on. What the CPU forces on beyond that (the reserved "default1" bits) stays.
 */
struct ctl_group {
	u32 msr;
	u32 *result;
	u32 may;
	struct ctl_bit must[12];
	struct ctl_bit never[4];
};

static const struct ctl_group groups[] = {
	{
		.msr = MSR_IA32_VMX_TRUE_PINBASED_CTLS, .result = &vmx_cfg.pin,
		.may = PIN_BASED_VMX_PREEMPTION_TIMER | PIN_BASED_POSTED_INTR,
		.must = {
			{ PIN_BASED_EXT_INTR_MASK, "external-interrupt exiting" },
			{ PIN_BASED_NMI_EXITING, "NMI exiting" },
			{ PIN_BASED_VIRTUAL_NMIS, "virtual NMIs" },
		},
	}, {
		.msr = MSR_IA32_VMX_TRUE_PROCBASED_CTLS, .result = &vmx_cfg.exec,
		.must = {
			{ CPU_BASED_HLT_EXITING, "HLT exiting" },
			{ CPU_BASED_MWAIT_EXITING, "MWAIT exiting" },
			{ CPU_BASED_MONITOR_EXITING, "MONITOR exiting" },
			{ CPU_BASED_RDPMC_EXITING, "RDPMC exiting" },
			{ CPU_BASED_MOV_DR_EXITING, "MOV-DR exiting" },
			{ CPU_BASED_UNCOND_IO_EXITING, "unconditional I/O exiting" },
			{ CPU_BASED_USE_TSC_OFFSETTING, "use TSC offsetting" },
			{ CPU_BASED_TPR_SHADOW, "use TPR shadow" },
			{ CPU_BASED_USE_MSR_BITMAPS, "use MSR bitmaps" },
			{ CPU_BASED_INTR_WINDOW_EXITING, "interrupt-window exiting" },
			{ CPU_BASED_NMI_WINDOW_EXITING, "NMI-window exiting" },
			{ CPU_BASED_ACTIVATE_SECONDARY_CONTROLS, "activate secondary controls" },
		},
		.never = {
			{ CPU_BASED_CR3_LOAD_EXITING, "CR3-load exiting" },
			{ CPU_BASED_CR3_STORE_EXITING, "CR3-store exiting" },
			{ CPU_BASED_INVLPG_EXITING, "INVLPG exiting" },
			{ CPU_BASED_RDTSC_EXITING, "RDTSC exiting" },
		},
	}, {
		.msr = MSR_IA32_VMX_PROCBASED_CTLS2, .result = &vmx_cfg.exec2,
		.may = SECONDARY_EXEC_ENABLE_VPID | SECONDARY_EXEC_ENABLE_RDTSCP |
		       SECONDARY_EXEC_ENABLE_INVPCID | SECONDARY_EXEC_WBINVD_EXITING |
		       SECONDARY_EXEC_PAUSE_LOOP_EXITING | SECONDARY_EXEC_TSC_SCALING |
		       SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE | SECONDARY_EXEC_APIC_REGISTER_VIRT |
		       SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY | SECONDARY_EXEC_ENABLE_PML |
		       SECONDARY_EXEC_BUS_LOCK_DETECTION | SECONDARY_EXEC_NOTIFY_VM_EXITING |
		       SECONDARY_EXEC_ENCLS_EXITING,
		.must = {
			{ SECONDARY_EXEC_ENABLE_EPT, "enable EPT" },
			{ SECONDARY_EXEC_UNRESTRICTED_GUEST, "unrestricted guest" },
		},
	}, {
		.msr = MSR_IA32_VMX_TRUE_EXIT_CTLS, .result = &vmx_cfg.exit,
		.may = VM_EXIT_ACK_INTR_ON_EXIT,
		.must = {
			{ VM_EXIT_HOST_ADDR_SPACE_SIZE, "host address-space size" },
			{ VM_EXIT_SAVE_DEBUG_CONTROLS, "save debug controls" },
			{ VM_EXIT_LOAD_IA32_PAT, "load IA32_PAT on exit" },
			{ VM_EXIT_LOAD_IA32_EFER, "load IA32_EFER on exit" },
		},
		.never = {
			{ VM_EXIT_ACK_INTR_ON_EXIT, "acknowledge interrupt on exit" },
		},
	}, {
		.msr = MSR_IA32_VMX_TRUE_ENTRY_CTLS, .result = &vmx_cfg.entry,
		.must = {
			{ VM_ENTRY_LOAD_DEBUG_CONTROLS, "load debug controls" },
			{ VM_ENTRY_IA32E_MODE, "IA-32e mode guest" },
			{ VM_ENTRY_LOAD_IA32_PAT, "load IA32_PAT on entry" },
			{ VM_ENTRY_LOAD_IA32_EFER, "load IA32_EFER on entry" },
		},
	},
};

static bool setup_controls(const struct ctl_group *g)
{
	u32 forced, allowed, want = g->may;
	bool ok = true;
	int i;

	rdmsr(g->msr, forced, allowed);
	for (i = 0; i < ARRAY_SIZE(g->must) && g->must[i].name; i++) {
		want |= g->must[i].bit;
		if (!(allowed & g->must[i].bit)) {
			pr_err("this CPU lacks the VMX control \"%s\"\n", g->must[i].name);
			ok = false;
		}
	}
	for (i = 0; i < ARRAY_SIZE(g->never) && g->never[i].name; i++) {
		if (forced & g->never[i].bit) {
			pr_err("this CPU cannot clear the VMX control \"%s\"\n", g->never[i].name);
			ok = false;
		}
	}
	*g->result = (want & allowed) | forced;
	return ok;
}

static bool setup_ept(void)
{
	static const struct { u64 bit; const char *name; } must[] = {
		{ VMX_EPT_PAGE_WALK_4_BIT, "a walk of 4 levels" },
		{ VMX_EPTP_WB_BIT, "write-back paging structures" },
		{ VMX_EPT_INVEPT_BIT, "INVEPT" },
	};
	bool ok = true;
	u64 cap;
	int i;

	rdmsrl(MSR_IA32_VMX_EPT_VPID_CAP, cap);
	for (i = 0; i < ARRAY_SIZE(must); i++) {
		if (!(cap & must[i].bit)) {
			pr_err("this CPU's EPT lacks %s\n", must[i].name);
			ok = false;
		}
	}
	if (!(cap & (VMX_EPT_EXTENT_CONTEXT_BIT | VMX_EPT_EXTENT_GLOBAL_BIT))) {
		pr_err("this CPU's INVEPT lacks every type\n");
		ok = false;
	}
	vmx_cfg.ept_ad = cap & VMX_EPT_AD_BIT;
	vmx_cfg.ept_context = cap & VMX_EPT_EXTENT_CONTEXT_BIT;
	rl_tdp_caps.page_2m = cap & VMX_EPT_2MB_PAGE_BIT;
	rl_tdp_caps.page_1g = cap & VMX_EPT_1GB_PAGE_BIT;
	rl_tdp_caps.ad_bits = vmx_cfg.ept_ad;
	rl_tdp_caps.dirty_log = vmx_cfg.ept_ad && (vmx_cfg.exec2 & SECONDARY_EXEC_ENABLE_PML);
	rl_tdp_caps.levels = 4;
	return ok;
}

/*
 * The firmware decides whether VMXON works: the lock bit is set at boot, with
 * or without the bit for VMXON outside SMX.
 */
static int check_feature_control(void)
{
	u64 fc;

	rdmsrl(MSR_IA32_FEAT_CTL, fc);
	if (!(fc & FEAT_CTL_LOCKED)) {
		wrmsrl(MSR_IA32_FEAT_CTL, fc | FEAT_CTL_LOCKED | FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX);
		return 0;
	}
	return fc & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX ? 0 : -EOPNOTSUPP;
}

/*
 * L1TF: the guest reads the L1 data cache by leaving EPT entries alone. EPT's
 * tables are safe by themselves (bits of absent entries), data is not.
 */
static void setup_l1d_flush(void)
{
	u64 caps = 0;

	if (!boot_cpu_has_bug(X86_BUG_L1TF) || l1tf_mitigation == L1TF_MITIGATION_OFF)
		return;
	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES))
		rdmsrl(MSR_IA32_ARCH_CAPABILITIES, caps);
	if (caps & ARCH_CAP_SKIP_VMENTRY_L1DFLUSH)
		return;
	if (boot_cpu_has(X86_FEATURE_FLUSH_L1D))
		vmx_cfg.l1d_flush = true;
	else
		pr_warn("no IA32_FLUSH_CMD (old microcode?): guests can read the L1 data cache (L1TF)\n");
}

/* The timer counts TSC ticks, divided by a power of two, from this value at each entry. */
static void setup_tick(void)
{
	u64 misc, ticks = (u64)vmx_tick_us * tsc_khz / 1000;

	if (!(vmx_cfg.pin & PIN_BASED_VMX_PREEMPTION_TIMER))
		return;
	rdmsrl(MSR_IA32_VMX_MISC, misc);
	vmx_cfg.timer_shift = vmx_misc_preemption_timer_rate(misc);
	vmx_cfg.tick = U32_MAX;
	if (ticks)
		vmx_cfg.tick = clamp_t(u64, ticks >> vmx_cfg.timer_shift, 1, U32_MAX);
	rl_caps.deadline_timer = true;
}

/*
 * SDM Vol 3C, "Posted-Interrupt Processing": an interrupt of the host's with one
 * certain vector is the guest's, with what the descriptor lists. The CPU can tell
 * only when it acknowledges the host's interrupts on exit, so the others have to be
 * called through the IDT (vmx_take_irq()); with FRED there is none. The vector is the
 * kernel's for this purpose: outside a guest its handler does nothing.
 */
static void setup_posted(void)
{
	u32 posted = vmx_cfg.pin & PIN_BASED_POSTED_INTR;

	rl_caps.posted = rl_caps.virtual_apic && (vmx_cfg.exit & VM_EXIT_ACK_INTR_ON_EXIT) &&
			 posted_interrupts && (posted || posted_interrupts == 2);
#ifdef X86_FEATURE_FRED
	rl_caps.posted &= !boot_cpu_has(X86_FEATURE_FRED);
#endif
	if (!rl_caps.posted)
		vmx_cfg.exit &= ~VM_EXIT_ACK_INTR_ON_EXIT;
	if (!rl_caps.posted || posted_interrupts == 2)
		vmx_cfg.pin &= ~PIN_BASED_POSTED_INTR;
}

/**
 * vmx_caps_setup() - Fill vmx_cfg from the capability MSRs
 *
 * Return: 0, or -EOPNOTSUPP after a message for each thing that is missing.
 */
int vmx_caps_setup(void)
{
	u64 basic, cr0_fixed;
	bool ok = true;
	int i;

	/* Not X86_FEATURE_VMX: firmware that forbids VMXON clears that, too. */
	if (!(cpuid_ecx(1) & BIT(5))) {
		pr_err("this CPU has no VMX\n");
		return -EOPNOTSUPP;
	}
	if (check_feature_control()) {
		pr_err("VMX is switched off by the firmware (IA32_FEATURE_CONTROL is locked)\n");
		return -EOPNOTSUPP;
	}
	rdmsrl(MSR_IA32_VMX_BASIC, basic);
	if (!(basic & VMX_BASIC_TRUE_CTLS)) {
		pr_err("this CPU lacks VMX's \"true\" capability MSRs\n");
		return -EOPNOTSUPP;
	}
	if (vmx_basic_vmcs_size(basic) > PAGE_SIZE ||
	    ((basic >> 50) & 15) != VMX_BASIC_MEM_TYPE_WB || (basic & VMX_BASIC_64)) {
		pr_err("this CPU's VMCS is not one write-back page (IA32_VMX_BASIC %llx)\n", basic);
		return -EOPNOTSUPP;
	}
	vmx_cfg.revision = vmx_basic_vmcs_revision_id(basic);

	for (i = 0; i < ARRAY_SIZE(groups) && ok; i++) {
		/* The secondary controls' MSR is there only with the control for them. */
		if (groups[i].result == &vmx_cfg.exec2 &&
		    !(vmx_cfg.exec & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS))
			continue;
		ok = setup_controls(&groups[i]);
	}
	if (!ok || !setup_ept())
		return -EOPNOTSUPP;

	/* SDM Vol 3C, "VMX-Fixed Bits in CR0": unrestricted guests are free in PE and PG. */
	rdmsrl(MSR_IA32_VMX_CR0_FIXED0, cr0_fixed);
	vmx_cfg.cr0_fixed1 = cr0_fixed & ~(u64)(X86_CR0_PE | X86_CR0_PG);
	setup_l1d_flush();
	setup_tick();
	vmx_cfg.pebs = boot_cpu_has(X86_FEATURE_PEBS) && boot_cpu_has(X86_FEATURE_ARCH_PERFMON) &&
		       (u8)cpuid_eax(10) >= 2;	/* IA32_PERF_GLOBAL_CTRL is there */

	rl_caps.efer_bits = 0;
	rl_caps.tsc_scaling = vmx_cfg.exec2 & SECONDARY_EXEC_TSC_SCALING;
	rl_caps.tsc_frac_bits = 48;
	rl_caps.max_tsc_ratio = ~0ULL;
	rl_caps.virtual_apic = apicv &&
			       (vmx_cfg.exec2 & SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE) &&
			       (vmx_cfg.exec2 & SECONDARY_EXEC_APIC_REGISTER_VIRT) &&
			       (vmx_cfg.exec2 & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY);
	setup_posted();
	rl_caps.guest_debug = true;
	rl_caps.cmci = true;
	rl_caps.hypercall = RL_VMCALL;
	rl_caps.pause_skips = true;
	rl_caps.bus_lock = vmx_cfg.exec2 & SECONDARY_EXEC_BUS_LOCK_DETECTION;
	rl_caps.notify = vmx_cfg.exec2 & SECONDARY_EXEC_NOTIFY_VM_EXITING;

	for (i = 0; i < ARRAY_SIZE(cap_msrs); i++)
		rdmsrl(cap_msrs[i], cap_vals[i]);
	return 0;
}

/**
 * vmx_caps_check_cpu() - Is this CPU like the one vmx_cfg was made on?
 *
 * Context: IRQs off.
 * Return: 0 or -EIO after a message.
 */
int vmx_caps_check_cpu(void)
{
	u64 val;
	int i;

	for (i = 0; i < ARRAY_SIZE(cap_msrs); i++) {
		if (rdmsrl_safe(cap_msrs[i], &val) || val != cap_vals[i]) {
			pr_err("CPU %d: capability MSR %#x differs from the other CPUs'\n",
			       smp_processor_id(), cap_msrs[i]);
			return -EIO;
		}
	}
	if (check_feature_control()) {
		pr_err("CPU %d: VMX is switched off by the firmware\n", smp_processor_id());
		return -EIO;
	}
	return 0;
}
