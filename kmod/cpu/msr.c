// SPDX-License-Identifier: GPL-2.0-only
/*
 * Model-specific registers: one sorted table of those that exist, each with
 * what reading and writing it does; the lists and loops of the ioctls.
 *
 * Owns:    the MSRs without another home (MTRRs, MISC_ENABLE, microcode
 *          revision and the like).
 * Touches: clock.c, mce.c, regs.c, irq/ and the backend, for theirs.
 * Locks:   none; the thread that holds vcpu->mutex, vCPU loaded.
 * Manuals: SDM Vol 4, "Model-Specific Registers"; APM Vol 2, "MSR
 *          Cross-Reference".
 *
 * What is not in the table and not the backend's does not exist: #GP for the
 * guest, the end of the loop for user space.
 */
#include <linux/kvm_para.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/apicdef.h>
#include <asm/cpufeature.h>
#include <asm/kvm_para.h>
#include <asm/msr.h>
#include <asm/mtrr.h>

#include "cpu_priv.h"

#define MAX_IO_MSRS	256

#define MTRR_VAR_COUNT		8
#define MTRR_CAP		(MTRR_VAR_COUNT | BIT(8) /* fixed ranges */ | BIT(10) /* WC */)

#define SAVE	BIT(0)		/* in KVM_GET_MSR_INDEX_LIST */
#define CANON	BIT(1)		/* an address: #GP unless canonical */
#define NEEDED	BIT(3)		/* only for guests that have the row's feature */
#define CANON_FIX BIT(2)	/* an address: made canonical, as AMD ignores the upper bits */

struct rl_msr_row {
	u32 first, last;
	rl_msr_fn *get, *set;	/* NULL: #GP */
	u16 offset;		/* of the u64 in struct rl_vcpu */
	u16 feature;		/* that must be offered, 0: none */
	u8 pv;			/* KVM_FEATURE_* that the guest must have, plus 1; 0: none */
	u8 flags;
	u64 value;		/* of a constant */
};

static u64 host_microcode __ro_after_init, host_arch_caps __ro_after_init,
	   host_de_cfg __ro_after_init;

static u64 *field(struct rl_vcpu *vcpu, const struct rl_msr_op *m)
{
	return (u64 *)((void *)vcpu + m->row->offset) + (m->index - m->row->first);
}

static int get_field(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	m->data = *field(vcpu, m);
	return 0;
}

static int set_field(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	*field(vcpu, m) = m->data;
	return 0;
}

static int set_field_host(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return m->host ? set_field(vcpu, m) : 1;
}

static int get_platform_info(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return m->host || vcpu->vm->platform_info ? get_field(vcpu, m) : 1;
}

static int get_value(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	m->data = m->row->value;
	return 0;
}

static int set_ignore(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return 0;
}

static int set_same(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return m->data != m->row->value && !(m->host && !m->data);
}

/*
 * CPUID faulting: user space says whether the guest has it, the guest when it wants it. Intel's
 * "FlexMigration Application Note", "CPUID Faulting Support".
 */
static int set_platform_info(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	if (vcpu->misc_features && !(m->data & MSR_PLATFORM_INFO_CPUID_FAULT))
		return 1;
	return set_field_host(vcpu, m);
}

static int set_misc_features(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	u64 can = !!(vcpu->platform_info & MSR_PLATFORM_INFO_CPUID_FAULT);

	return m->data & ~can ? 1 : set_field(vcpu, m);
}

static int get_backend(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return rl_ops->get_msr(vcpu, m->index, &m->data);
}

static int set_backend(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	u8 bits = rl_cr4_read(vcpu) & X86_CR4_LA57 ? 57 : 48;

	if (m->row->flags & CANON && !__is_canonical_address(m->data, bits))
		return 1;
	if (m->row->flags & CANON_FIX)
		m->data = __canonical_address(m->data, bits);
	return rl_ops->set_msr(vcpu, m->index, m->data);
}

/**
 * rl_pv_has() - May the guest use this paravirtual feature?
 * @vcpu: the vCPU
 * @bit: KVM_FEATURE_*
 *
 * It always might, told by CPUID or not; unless user space insists on CPUID
 * (KVM_CAP_ENFORCE_PV_FEATURE_CPUID).
 */
bool rl_pv_has(struct rl_vcpu *vcpu, u32 bit)
{
	struct kvm_cpuid_entry2 *e;

	if (likely(!vcpu->pv_enforced))
		return true;
	e = rl_cpuid_find(vcpu, KVM_CPUID_FEATURES, 0);
	return e && e->eax & BIT(bit);
}

static int set_poll_control(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return m->data & ~1ull ? 1 : set_field(vcpu, m);
}

static int set_pv_eoi(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return rl_pv_eoi_set_msr(vcpu, m->data);
}

/*
 * Page faults are sent by interrupt alone, as on KVM, and that is a feature of its own
 * which is not offered: a guest that switches this on still waits for its pages.
 */
static int set_async_pf(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	if (m->data & GENMASK(5, 2) || (m->data && !vcpu->lapic))
		return 1;
	return set_field(vcpu, m);
}

static int set_apic_base(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return rl_lapic_set_base(vcpu, m->data, m->host);
}

static int set_efer(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return rl_set_efer(vcpu, m->data, m->host);
}

/* The deadline may be read and set without an APIC that would use it. */
static int get_apic(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return rl_lapic_get_msr(vcpu, m->index, &m->data);
}

static int set_apic(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return rl_lapic_set_msr(vcpu, m->index, m->data);
}

/* Eight memory types in a word, each from the set that @known has a bit for. */
static bool types_valid(u64 word, int n, u32 known)
{
	for (; n; n--, word >>= 8)
		if ((u8)word > 7 || !(known & BIT((u8)word)))
			return false;
	return true;
}

#define MTRR_TYPES	(BIT(0) | BIT(1) | BIT(4) | BIT(5) | BIT(6))	/* UC WC WT WP WB */
#define PAT_TYPES	(MTRR_TYPES | BIT(7))				/* and UC- */

static int set_pat(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	if (!types_valid(m->data, 8, PAT_TYPES) || rl_ops->set_msr(vcpu, m->index, m->data))
		return 1;
	vcpu->pat = m->data;
	return 0;
}

/* SDM Vol 3A, "MTRR Registers": reserved bits and types are #GP. */
static int set_mtrr_var(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	bool is_mask = m->index & 1;

	if (m->data & (rl_gpa_reserved(vcpu) | (is_mask ? 0x7ff : 0xf00)) ||
	    (!is_mask && !types_valid(m->data, 1, MTRR_TYPES)))
		return 1;
	return set_field(vcpu, m);
}

static int set_mtrr_fixed(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return types_valid(m->data, 8, MTRR_TYPES) ? set_field(vcpu, m) : 1;
}

static int set_mtrr_def(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return !(m->data & ~0xcffull) && types_valid(m->data, 1, MTRR_TYPES) ?
	       set_field(vcpu, m) : 1;
}

static int set_misc_enable(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	const u64 fixed = MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL | MSR_IA32_MISC_ENABLE_BTS_UNAVAIL;
	u64 changed = vcpu->misc_enable ^ m->data;

	if (!m->host && changed & fixed)
		return 1;
	if (!m->host)	/* no performance monitoring: read-only, without a fault */
		m->data ^= changed & MSR_IA32_MISC_ENABLE_EMON;
	if (vcpu->vm->quirks_off & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT &&
	    changed & MSR_IA32_MISC_ENABLE_MWAIT && !rl_guest_has(vcpu, X86_FEATURE_XMM3))
		return 1;
	return set_field(vcpu, m);
}

/* IBPB: forget indirect branches of whatever ran before, here and now. */
static int set_pred_cmd(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	if (!boot_cpu_has(X86_FEATURE_IBPB) || m->data & ~(u64)PRED_CMD_IBPB)
		return 1;
	if (m->data)
		wrmsrl(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
	return 0;
}

/* A guest's microcode update is done before it begins: nothing to do, no error. */
static int set_microcode(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return m->host ? set_field(vcpu, m) : 0;
}

/* Intel's FEATURE_CONTROL, locked with nothing enabled, as a BIOS without VT leaves it. */
static int get_feat_ctl(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	m->data = m->row->value;
	return vcpu->guest_amd && !m->host;
}

static int set_feat_ctl(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return !m->host || m->data & ~m->row->value;
}

/* RDTSCP and RDPID read what is written here. */
static bool has_tsc_aux(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return m->host || rl_guest_has(vcpu, X86_FEATURE_RDTSCP) ||
	       rl_guest_has(vcpu, X86_FEATURE_RDPID);
}

static int get_tsc_aux(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return has_tsc_aux(vcpu, m) ? get_backend(vcpu, m) : 1;
}

static int set_tsc_aux(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	/* AMD keeps the lower half */
	if (!has_tsc_aux(vcpu, m) || (m->data >> 32 && !vcpu->guest_amd))
		return 1;
	return rl_ops->set_msr(vcpu, m->index, (u32)m->data);
}

/* Last-branch recording and BTF where the backend has them; off is always fine. */
static int get_debugctl(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	if (get_backend(vcpu, m))
		m->data = 0;
	return 0;
}

static int set_debugctl(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return rl_ops->set_msr(vcpu, m->index, m->data) && m->data;
}

/* AMD: flush filter, IGNNE and TLB cache switches are taken and forgotten. */
static int set_hwcr(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	m->data &= ~(u64)(BIT(3) | BIT(6) | BIT(8));
	return m->data & ~(u64)BIT(18) /* McStatusWrEn */ ? 1 : set_field(vcpu, m);
}

/* LFENCE serializes for as long as the host's does: no guest turns it off. */
static int set_de_cfg(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	if (m->data & ~host_de_cfg || (!m->host && m->data != host_de_cfg))
		return 1;
	return set_field(vcpu, m);
}

static int get_osvw(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	return rl_guest_has(vcpu, X86_FEATURE_OSVW) ? get_field(vcpu, m) : 1;
}

#define OFF(member)	offsetof(struct rl_vcpu, member)
#define ROW(a, b, g, s, ...)	{ .first = (a), .last = (b), .get = (g), .set = (s), ##__VA_ARGS__ }
#define PV(name)	.pv = KVM_FEATURE_##name + 1
#define ONE(a, g, s, ...)	ROW(a, a, g, s, ##__VA_ARGS__)
/* Read as a constant; Linux reads these at boot and means no harm. */
#define CONST(a, b, v)		ROW(a, b, get_value, NULL, .value = (v))
/* As a constant, and writes go nowhere. */
#define NOP(a, b)		ROW(a, b, get_value, set_ignore)

static const struct rl_msr_row rows[] = {
	CONST(MSR_IA32_P5_MC_ADDR, MSR_IA32_P5_MC_TYPE, 0),
	ONE(MSR_IA32_TSC, rl_get_tsc, rl_set_tsc, .flags = SAVE),
	ONE(MSR_KVM_WALL_CLOCK, rl_get_wall_clock, rl_set_wall_clock, PV(CLOCKSOURCE),
	    .flags = SAVE),
	ONE(MSR_KVM_SYSTEM_TIME, get_field, rl_set_system_time, .offset = OFF(pv.system_time_msr),
	    PV(CLOCKSOURCE), .flags = SAVE),
	CONST(MSR_IA32_PLATFORM_ID, MSR_IA32_PLATFORM_ID, 0),
	ONE(MSR_IA32_APICBASE, get_field, set_apic_base, .offset = OFF(apic_base)),
	CONST(MSR_IA32_EBL_CR_POWERON, MSR_IA32_EBL_CR_POWERON, 0),
	CONST(MSR_EBC_FREQUENCY_ID, MSR_EBC_FREQUENCY_ID, 1 << 24),
	ONE(MSR_SMI_COUNT, get_field, set_field_host, .offset = OFF(smi_count), .flags = SAVE),
	ONE(MSR_IA32_FEAT_CTL, get_feat_ctl, set_feat_ctl, .value = FEAT_CTL_LOCKED,
	    .flags = SAVE),
	ONE(MSR_IA32_TSC_ADJUST, get_field, rl_set_tsc_adjust, .offset = OFF(tsc_adjust),
	    .flags = SAVE),
	ONE(MSR_IA32_PRED_CMD, NULL, set_pred_cmd, .feature = X86_FEATURE_AMD_IBPB,
	    .flags = NEEDED),
	ONE(MSR_IA32_UCODE_WRITE, NULL, set_ignore),
	ONE(MSR_IA32_UCODE_REV, get_field, set_microcode, .offset = OFF(bios_sign),
	    .flags = SAVE),
	NOP(MSR_P6_PERFCTR0, MSR_P6_PERFCTR1),
	CONST(MSR_FSB_FREQ, MSR_FSB_FREQ, 3),
	ONE(MSR_PLATFORM_INFO, get_platform_info, set_platform_info,
	    .offset = OFF(platform_info), .flags = SAVE),
	CONST(MSR_MTRRcap, MSR_MTRRcap, MTRR_CAP),
	ONE(MSR_IA32_ARCH_CAPABILITIES, get_field, set_field_host,
	    .offset = OFF(arch_capabilities), .feature = X86_FEATURE_ARCH_CAPABILITIES,
	    .flags = SAVE | NEEDED),
	ONE(MSR_IA32_BBL_CR_CTL3, get_value, set_ignore, .value = 0xbe702111),	/* Windows XP's */
	ONE(MSR_MISC_FEATURES_ENABLES, get_field, set_misc_features,
	    .offset = OFF(misc_features), .flags = SAVE),
	ONE(MSR_IA32_SYSENTER_CS, get_backend, set_backend, .flags = SAVE),
	ROW(MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, get_backend, set_backend,
	    .flags = SAVE | CANON_FIX),
	ONE(MSR_IA32_MCG_CAP, get_field, NULL, .offset = OFF(mcg_cap)),
	ONE(MSR_IA32_MCG_STATUS, get_field, set_field, .offset = OFF(mcg_status), .flags = SAVE),
	ONE(MSR_IA32_MCG_CTL, rl_get_mcg_ctl, rl_set_mcg_ctl, .flags = SAVE),
	NOP(MSR_P6_EVNTSEL0, MSR_P6_EVNTSEL1),
	CONST(MSR_IA32_PERF_STATUS, MSR_IA32_PERF_STATUS, 1000 | 4ull << 40),
	NOP(MSR_IA32_PERF_CTL, MSR_IA32_PERF_CTL),
	ONE(MSR_IA32_MISC_ENABLE, get_field, set_misc_enable, .offset = OFF(misc_enable),
	    .flags = SAVE),
	ONE(MSR_IA32_DEBUGCTLMSR, get_debugctl, set_debugctl),
	CONST(MSR_IA32_LASTBRANCHFROMIP, MSR_IA32_LASTINTTOIP, 0),
	ONE(MSR_IA32_POWER_CTL, get_field, set_field, .offset = OFF(power_ctl), .flags = SAVE),
	ROW(MTRRphysBase_MSR(0), MTRRphysMask_MSR(MTRR_VAR_COUNT - 1), get_field, set_mtrr_var,
	    .offset = OFF(mtrr_var)),
	ONE(MSR_MTRRfix64K_00000, get_field, set_mtrr_fixed, .offset = OFF(mtrr_fixed[0])),
	ROW(MSR_MTRRfix16K_80000, MSR_MTRRfix16K_A0000, get_field, set_mtrr_fixed,
	    .offset = OFF(mtrr_fixed[1])),
	ROW(MSR_MTRRfix4K_C0000, MSR_MTRRfix4K_F8000, get_field, set_mtrr_fixed,
	    .offset = OFF(mtrr_fixed[3])),
	ONE(MSR_IA32_CR_PAT, get_field, set_pat, .offset = OFF(pat), .flags = SAVE),
	ROW(MSR_IA32_MC0_CTL2, MSR_IA32_MCx_CTL2(RL_MAX_MCE_BANKS - 1), rl_get_mc_ctl2,
	    rl_set_mc_ctl2),
	ONE(MSR_MTRRdefType, get_field, set_mtrr_def, .offset = OFF(mtrr_def_type)),
	ROW(MSR_IA32_MC0_CTL, MSR_IA32_MCx_CTL(32) - 1, rl_get_mc_bank, rl_set_mc_bank),
	/* No RAPL domain ever uses energy. */
	CONST(MSR_RAPL_POWER_UNIT, MSR_RAPL_POWER_UNIT, 0),
	CONST(MSR_PKG_ENERGY_STATUS, MSR_PKG_ENERGY_STATUS, 0),
	CONST(MSR_DRAM_ENERGY_STATUS, MSR_DRAM_ENERGY_STATUS, 0),
	CONST(MSR_PP0_ENERGY_STATUS, MSR_PP0_ENERGY_STATUS, 0),
	CONST(MSR_PP1_ENERGY_STATUS, MSR_PP1_ENERGY_STATUS, 0),
	ONE(MSR_IA32_TSC_DEADLINE, get_apic, set_apic, .flags = SAVE),
	ROW(APIC_BASE_MSR, APIC_BASE_MSR + 0xff, get_apic, set_apic),
	ONE(MSR_KVM_WALL_CLOCK_NEW, rl_get_wall_clock, rl_set_wall_clock, PV(CLOCKSOURCE2),
	    .flags = SAVE),
	ONE(MSR_KVM_SYSTEM_TIME_NEW, get_field, rl_set_system_time,
	    .offset = OFF(pv.system_time_msr), PV(CLOCKSOURCE2), .flags = SAVE),
	ONE(MSR_KVM_ASYNC_PF_EN, get_field, set_async_pf, .offset = OFF(async_pf_msr),
	    PV(ASYNC_PF), .flags = SAVE),
	ONE(MSR_KVM_STEAL_TIME, get_field, rl_set_steal_time, .offset = OFF(pv.steal_msr),
	    PV(STEAL_TIME), .flags = SAVE),
	ONE(MSR_KVM_PV_EOI_EN, get_field, set_pv_eoi, .offset = OFF(pv_eoi_msr), PV(PV_EOI),
	    .flags = SAVE),
	ONE(MSR_KVM_POLL_CONTROL, get_field, set_poll_control, .offset = OFF(pv.poll_control),
	    PV(POLL_CONTROL), .flags = SAVE),
	ONE(MSR_EFER, get_field, set_efer, .offset = OFF(efer)),
	ONE(MSR_STAR, get_backend, set_backend, .flags = SAVE),
	ROW(MSR_LSTAR, MSR_CSTAR, get_backend, set_backend, .flags = SAVE | CANON),
	ONE(MSR_SYSCALL_MASK, get_backend, set_backend, .flags = SAVE),
	ROW(MSR_FS_BASE, MSR_GS_BASE, get_backend, set_backend, .flags = CANON),
	ONE(MSR_KERNEL_GS_BASE, get_backend, set_backend, .flags = SAVE | CANON),
	ONE(MSR_TSC_AUX, get_tsc_aux, set_tsc_aux, .feature = X86_FEATURE_RDTSCP, .flags = SAVE),
	NOP(MSR_K7_EVNTSEL0, MSR_K7_PERFCTR3),
	CONST(MSR_AMD64_SYSCFG, MSR_AMD64_SYSCFG, 0),
	ONE(MSR_K7_HWCR, get_field, set_hwcr, .offset = OFF(hwcr), .flags = SAVE),
	ONE(MSR_K7_CLK_CTL, get_value, set_ignore, .value = 0x20000000),
	NOP(MSR_AMD64_NB_CFG, MSR_AMD64_NB_CFG),
	ONE(MSR_AMD64_PATCH_LOADER, NULL, set_ignore),
	CONST(MSR_K8_INT_PENDING_MSG, MSR_K8_INT_PENDING_MSG, 0),
	ONE(MSR_FAM10H_MMIO_CONF_BASE, get_value, set_same),
	CONST(MSR_K8_TSEG_ADDR, MSR_K8_TSEG_MASK, 0),
	NOP(MSR_VM_HSAVE_PA, MSR_VM_HSAVE_PA),
	ROW(MSR_AMD64_OSVW_ID_LENGTH, MSR_AMD64_OSVW_STATUS, get_osvw, set_field_host,
	    .offset = OFF(osvw_len)),
	CONST(MSR_F15H_IC_CFG, MSR_F15H_IC_CFG, 0),
	NOP(MSR_AMD64_DC_CFG, MSR_AMD64_TW_CFG),
	ONE(MSR_AMD64_DE_CFG, get_field, set_de_cfg, .offset = OFF(de_cfg)),
	NOP(MSR_AMD64_BU_CFG2, MSR_AMD64_BU_CFG2),
	NOP(MSR_F15H_EX_CFG, MSR_F15H_EX_CFG),
};

static_assert(OFF(osvw_status) == OFF(osvw_len) + sizeof(u64));

static const struct rl_msr_row *find_row(u32 index)
{
	u32 lo = 0, hi = ARRAY_SIZE(rows);

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (index > rows[mid].last)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < ARRAY_SIZE(rows) && index >= rows[lo].first ? &rows[lo] : NULL;
}

static bool hidden(struct rl_vcpu *vcpu, const struct rl_msr_op *m)
{
	const struct rl_msr_row *row = m->row;

	return (row->pv && !rl_pv_has(vcpu, row->pv - 1)) ||
	       (row->flags & NEEDED && !m->host && !rl_guest_has(vcpu, row->feature));
}

static noinline int get_row(struct rl_vcpu *vcpu, u32 index, u64 *data, bool host)
{
	struct rl_msr_op m = { .index = index, .host = host, .row = find_row(index) };

	if (!m.row)
		return rl_ops->get_msr(vcpu, index, data) ? RL_MSR_UNKNOWN : 0;
	if (!m.row->get || hidden(vcpu, &m) || m.row->get(vcpu, &m))
		return 1;
	*data = m.data;
	return 0;
}

/**
 * rl_msr_get() - Read an MSR
 * @vcpu: the vCPU
 * @index: of the MSR
 * @data: out
 * @host: for KVM_GET_MSRS rather than the guest
 *
 * Context: vCPU loaded. IRQs may be off for IA32_APIC_BASE, the x2APIC range
 * and TSC_DEADLINE, here and in rl_msr_set(), but for writes of IA32_APIC_BASE.
 * Return: 0, 1 for #GP, RL_MSR_UNKNOWN.
 */
int rl_msr_get(struct rl_vcpu *vcpu, u32 index, u64 *data, bool host)
{
	/* What guests read all the time, before the search. */
	if (index == MSR_IA32_APICBASE) {
		*data = vcpu->apic_base;
		return 0;
	}
	if (index - APIC_BASE_MSR < 0x100)
		return rl_lapic_get_msr(vcpu, index, data);
	return get_row(vcpu, index, data, host);
}

/**
 * rl_msr_set() - Write an MSR
 * @vcpu: the vCPU
 * @index: of the MSR
 * @data: new value
 * @host: for KVM_SET_MSRS, which may do more than a guest
 *
 * Context: as rl_msr_get(); otherwise may sleep.
 * Return: 0, 1 for #GP, RL_MSR_UNKNOWN.
 */
int rl_msr_set(struct rl_vcpu *vcpu, u32 index, u64 data, bool host)
{
	struct rl_msr_op m = { .index = index, .host = host, .data = data };

	if (index - APIC_BASE_MSR < 0x100 || index == MSR_IA32_TSC_DEADLINE)
		return rl_lapic_set_msr(vcpu, index, data);

	m.row = find_row(index);
	if (!m.row)
		return rl_ops->set_msr(vcpu, index, data) ? RL_MSR_UNKNOWN : 0;
	return m.row->set && !hidden(vcpu, &m) ? m.row->set(vcpu, &m) : 1;
}

/**
 * rl_msr_reset() - MSRs after RESET; an INIT keeps nearly all of them
 * @vcpu: the vCPU
 * @init: INIT rather than RESET
 *
 * SDM Vol 3A, "Processor State After Reset": MTRRs, machine-check banks and the
 * TSC live through an INIT; the paravirtual clock does not.
 */
void rl_msr_reset(struct rl_vcpu *vcpu, bool init)
{
	rl_clock_reset(vcpu, init);
	vcpu->async_pf_msr = 0;
	vcpu->pv_unhalted = false;
	if (init)
		return;
	vcpu->misc_enable = MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL | MSR_IA32_MISC_ENABLE_BTS_UNAVAIL;
	vcpu->pat = 0x0007040600070406ull;	/* WB WT UC- UC, twice */
	rl_ops->set_msr(vcpu, MSR_IA32_CR_PAT, vcpu->pat);
	vcpu->bios_sign = host_microcode;
	vcpu->arch_capabilities = host_arch_caps;
	vcpu->de_cfg = host_de_cfg;
	vcpu->platform_info = MSR_PLATFORM_INFO_CPUID_FAULT;
	vcpu->misc_features = 0;
	vcpu->power_ctl = 0;
}

/* What this host's immunities and LFENCE say; asked once, CPUs are alike. */
int rl_msr_init(void)
{
	const u64 caps = ARCH_CAP_RDCL_NO | ARCH_CAP_RSBA | ARCH_CAP_SSB_NO | ARCH_CAP_MDS_NO |
			 ARCH_CAP_TAA_NO | ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO |
			 ARCH_CAP_PSDP_NO | ARCH_CAP_FB_CLEAR | ARCH_CAP_RRSBA |
			 ARCH_CAP_PBRSB_NO | ARCH_CAP_SKIP_VMENTRY_L1DFLUSH |
			 ARCH_CAP_PSCHANGE_MC_NO;
	int i;

	for (i = 1; i < ARRAY_SIZE(rows); i++)
		if (WARN_ON(rows[i].first <= rows[i - 1].last))
			return -EINVAL;
	host_microcode = 0;
	rdmsrl_safe(MSR_IA32_UCODE_REV, &host_microcode);
	host_arch_caps = 0;
	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES) &&
	    !rdmsrl_safe(MSR_IA32_ARCH_CAPABILITIES, &host_arch_caps))
		host_arch_caps &= caps;
	/* What Linux knows without being told, of any vendor's CPU. */
	if (!boot_cpu_has_bug(X86_BUG_CPU_MELTDOWN))
		host_arch_caps |= ARCH_CAP_RDCL_NO;
	if (!boot_cpu_has_bug(X86_BUG_SPEC_STORE_BYPASS))
		host_arch_caps |= ARCH_CAP_SSB_NO;
	if (!boot_cpu_has_bug(X86_BUG_MDS))
		host_arch_caps |= ARCH_CAP_MDS_NO;
	host_de_cfg = boot_cpu_has(X86_FEATURE_LFENCE_RDTSC) ? MSR_AMD64_DE_CFG_LFENCE_SERIALIZE : 0;
	return 0;
}

/* Fill a struct kvm_msr_list, or tell with -E2BIG how long it must be. */
static int put_list(struct kvm_msr_list __user *arg, const u32 *indices, u32 n)
{
	u32 room;

	if (get_user(room, &arg->nmsrs) || put_user(n, &arg->nmsrs))
		return -EFAULT;
	if (room < n)
		return -E2BIG;
	return copy_to_user(arg->indices, indices, n * sizeof(*indices)) ? -EFAULT : 0;
}

/**
 * rl_get_msr_index_list() - KVM_GET_MSR_INDEX_LIST: what migration has to carry
 * @arg: in user memory
 *
 * Return: 0, -E2BIG with the number needed in arg->nmsrs, -EFAULT.
 */
int rl_get_msr_index_list(struct kvm_msr_list __user *arg)
{
	u32 list[2 * ARRAY_SIZE(rows)], n = 0, index;
	int i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!(rows[i].flags & SAVE) || (rows[i].feature && !rl_can_offer(rows[i].feature)))
			continue;
		for (index = rows[i].first; index <= rows[i].last; index++)
			list[n++] = index;
	}
	return put_list(arg, list, n);
}

static int get_feature_msr(u32 index, u64 *data)
{
	switch (index) {
	case MSR_IA32_UCODE_REV:
		*data = host_microcode;
		return 0;
	case MSR_IA32_ARCH_CAPABILITIES:
		*data = host_arch_caps;
		return !rl_can_offer(X86_FEATURE_ARCH_CAPABILITIES);
	case MSR_AMD64_DE_CFG:
		*data = host_de_cfg;
		return boot_cpu_data.x86_vendor == X86_VENDOR_INTEL;
	default:
		return 1;
	}
}

/* KVM_GET_MSR_FEATURE_INDEX_LIST: as rl_get_msr_index_list() */
int rl_get_msr_feature_list(struct kvm_msr_list __user *arg)
{
	static const u32 all[] = { MSR_IA32_UCODE_REV, MSR_IA32_ARCH_CAPABILITIES,
				   MSR_AMD64_DE_CFG };
	u32 list[ARRAY_SIZE(all)], n = 0;
	u64 unused;
	int i;

	for (i = 0; i < ARRAY_SIZE(all); i++)
		if (!get_feature_msr(all[i], &unused))
			list[n++] = all[i];
	return put_list(arg, list, n);
}

/**
 * rl_msr_ioctl() - KVM_GET_MSRS and KVM_SET_MSRS
 * @vcpu: the vCPU; NULL: the system's feature MSRs
 * @arg: in user memory
 * @write: KVM_SET_MSRS
 *
 * Return: how many were done until one was refused; -E2BIG, -EFAULT, -ENOMEM.
 */
int rl_msr_ioctl(struct rl_vcpu *vcpu, struct kvm_msrs __user *arg, bool write)
{
	struct kvm_msr_entry *e;
	int r = 0, n;
	u32 nmsrs;

	if (get_user(nmsrs, &arg->nmsrs))
		return -EFAULT;
	if (nmsrs >= MAX_IO_MSRS)
		return -E2BIG;
	e = memdup_user(arg->entries, nmsrs * sizeof(*e));
	if (IS_ERR(e))
		return PTR_ERR(e);
	for (n = 0; n < nmsrs && !r; n++) {
		if (!vcpu)
			r = get_feature_msr(e[n].index, &e[n].data);
		else if (write)
			r = rl_msr_set(vcpu, e[n].index, e[n].data, true);
		else
			r = rl_msr_get(vcpu, e[n].index, &e[n].data, true);
	}
	if (r)
		n--;
	if (!write && copy_to_user(arg->entries, e, n * sizeof(*e)))
		n = -EFAULT;
	kfree(e);
	return n;
}
