// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID: what a guest may be offered, what user space gave it, and what the
 * instruction answers.
 *
 * Owns:    the table of offered leaves, built once at load; vcpu->cpuid and all
 *          that is derived from it (features, physical address width, CR4 and
 *          XCR0 masks).
 * Touches: rl_xcr0_offered, rl_caps.
 * Locks:   none; a vCPU's table belongs to the thread that holds vcpu->mutex.
 * Manuals: SDM Vol 2A, "CPUID"; APM Vol 3, "Obtaining Processor Information Via
 *          the CPUID Instruction".
 */
#include <linux/kvm_para.h>
#include <linux/mm.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/cpufeature.h>
#include <asm/cpuid.h>
#include <asm/kvm_para.h>
#include <asm/processor.h>

#include "cpu_priv.h"

#define F(name)		BIT(X86_FEATURE_##name & 31)

#define LAST_BASIC	0x1fu
#define LAST_EXTENDED	0x80000021u
#define SIGNATURE	KVM_CPUID_SIGNATURE
#define MAX_SUPPORTED	112

enum { EAX, EBX, ECX, EDX };

/*
 * Where each word of features lives, which of its bits a guest can use here
 * when the host has them, and which it gets from us in any case. Missing on
 * purpose: whatever needs MSRs or XSAVE components that are not switched (PMU,
 * PT, MPX, PKU, CET, AMX, XSAVES, SPEC_CTRL), nested virtualization, SGX, SMX,
 * MONITOR (whose exits do nothing) and WAITPKG. User space sets what is its own to
 * say: that there is a hypervisor, and the TSC deadline timer, which comes with the
 * APIC here, of which a table for all VMs cannot know (KVM_CAP_TSC_DEADLINE_TIMER).
 */
static const struct feature_word {
	u32 leaf;
	u8 index, reg, kernel_word;
	u32 handled, emulated;
} feature_words[RL_GF_WORDS] = {
	[RL_GF_1_EDX] = { 1, 0, EDX, CPUID_1_EDX,
		F(FPU) | F(VME) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(PAE) | F(MCE) | F(CX8) |
		F(APIC) | F(SEP) | F(MTRR) | F(PGE) | F(MCA) | F(CMOV) | F(PAT) | F(PSE36) |
		F(CLFLUSH) | F(MMX) | F(FXSR) | F(XMM) | F(XMM2) | F(SELFSNOOP) },
	[RL_GF_1_ECX] = { 1, 0, ECX, CPUID_1_ECX,
		F(XMM3) | F(PCLMULQDQ) | F(SSSE3) | F(FMA) | F(CX16) | F(PCID) | F(XMM4_1) |
		F(XMM4_2) | F(MOVBE) | F(POPCNT) | F(AES) | F(XSAVE) | F(AVX) | F(F16C) |
		F(RDRAND),
		F(X2APIC) },
	[RL_GF_8_1_EDX] = { 0x80000001, 0, EDX, CPUID_8000_0001_EDX,
		/* On AMD the low bits repeat those of leaf 1. */
		F(FPU) | F(VME) | F(DE) | F(PSE) | F(TSC) | F(MSR) | F(PAE) | F(MCE) | F(CX8) |
		F(APIC) | F(MTRR) | F(PGE) | F(MCA) | F(CMOV) | F(PAT) | F(PSE36) | F(MMX) |
		F(FXSR) | F(SYSCALL) | F(NX) | F(MMXEXT) | F(FXSR_OPT) | F(GBPAGES) | F(RDTSCP) |
		F(LM) | F(3DNOWEXT) | F(3DNOW) },
	[RL_GF_8_1_ECX] = { 0x80000001, 0, ECX, CPUID_8000_0001_ECX,
		F(LAHF_LM) | F(CMP_LEGACY) | F(CR8_LEGACY) | F(ABM) | F(SSE4A) | F(MISALIGNSSE) |
		F(3DNOWPREFETCH) | F(OSVW) | F(XOP) | F(FMA4) | F(TBM) | F(TOPOEXT) },
	[RL_GF_7_EBX] = { 7, 0, EBX, CPUID_7_0_EBX,
		F(FSGSBASE) | F(BMI1) | F(HLE) | F(AVX2) | F(FDP_EXCPTN_ONLY) | F(SMEP) |
		F(BMI2) | F(ERMS) | F(INVPCID) | F(RTM) | F(ZERO_FCS_FDS) | F(AVX512F) |
		F(AVX512DQ) | F(RDSEED) | F(ADX) | F(SMAP) | F(AVX512IFMA) | F(CLFLUSHOPT) |
		F(CLWB) | F(AVX512PF) | F(AVX512ER) | F(AVX512CD) | F(SHA_NI) | F(AVX512BW) |
		F(AVX512VL),
		F(TSC_ADJUST) },
	[RL_GF_7_ECX] = { 7, 0, ECX, CPUID_7_ECX,
		F(AVX512VBMI) | F(UMIP) | F(AVX512_VBMI2) | F(GFNI) | F(VAES) | F(VPCLMULQDQ) |
		F(AVX512_VNNI) | F(AVX512_BITALG) | F(AVX512_VPOPCNTDQ) | F(LA57) | F(RDPID) |
		F(CLDEMOTE) | F(MOVDIRI) | F(MOVDIR64B) },
	[RL_GF_7_EDX] = { 7, 0, EDX, CPUID_7_EDX,
		F(AVX512_4VNNIW) | F(AVX512_4FMAPS) | F(FSRM) | F(AVX512_VP2INTERSECT) |
		F(MD_CLEAR) | F(SERIALIZE) | F(TSXLDTRK) | F(AVX512_FP16),
		F(ARCH_CAPABILITIES) },
	[RL_GF_7_1_EAX] = { 7, 1, EAX, CPUID_7_1_EAX,
		F(AVX_VNNI) | F(AVX512_BF16) },
	[RL_GF_D_1_EAX] = { 0xd, 1, EAX, CPUID_D_1_EAX,
		F(XSAVEOPT) | F(XSAVEC) | F(XGETBV1) },
	[RL_GF_8_8_EBX] = { 0x80000008, 0, EBX, CPUID_8000_0008_EBX,
		F(CLZERO) | F(XSAVEERPTR) | F(WBNOINVD) | F(AMD_IBPB) },
};

static u32 offered[RL_GF_WORDS] __ro_after_init;
static u8 slot_of[NCAPINTS] __ro_after_init;	/* kernel's word to ours + 1; 0: none */
static struct kvm_cpuid_entry2 supported[MAX_SUPPORTED] __ro_after_init;
static int nr_supported __ro_after_init;
static u64 cr4_unsupported __ro_after_init;	/* faults whatever CPUID says */

/* EAX to EDX of an entry are as they are numbered here. */
static u32 *entry_reg(const struct kvm_cpuid_entry2 *e, int reg)
{
	return (u32 *)&e->eax + reg;
}

static_assert(offsetof(struct kvm_cpuid_entry2, edx) ==
	      offsetof(struct kvm_cpuid_entry2, eax) + EDX * sizeof(u32));

static int feature_slot(unsigned int x86_feature)
{
	return x86_feature / 32 < ARRAY_SIZE(slot_of) ? slot_of[x86_feature / 32] - 1 : -1;
}

/**
 * rl_guest_has() - Is a feature bit set in the guest's CPUID table?
 * @vcpu: the vCPU
 * @x86_feature: X86_FEATURE_*; false for words that no guest is offered
 */
bool rl_guest_has(struct rl_vcpu *vcpu, unsigned int x86_feature)
{
	int i = feature_slot(x86_feature);

	return i >= 0 && vcpu->guest_features[i] & BIT(x86_feature & 31);
}

bool rl_can_offer(unsigned int x86_feature)
{
	int i = feature_slot(x86_feature);

	return i >= 0 && offered[i] & BIT(x86_feature & 31);
}

static u64 xcr0_of(const struct kvm_cpuid_entry2 *e)
{
	return (e->eax | (u64)e->edx << 32) & rl_xcr0_offered;
}

static const struct kvm_cpuid_entry2 *table_find(const struct kvm_cpuid_entry2 *e, int nent,
						 u32 function, u32 index)
{
	for (; nent; e++, nent--)
		if (e->function == function &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index))
			return e;
	return NULL;
}

static const u32 nothing[4], everything[4] = { ~0u, ~0u, ~0u, ~0u };

/* What of the host's leaves may be shown; feature words, and leaves that are not here, aside. */
static const struct leaf {
	u32 first, last, mask[4];
} leaves[] = {
	{ 1, 1, { ~0u, 0xffff } },	/* not this CPU's APIC id and thread count */
	{ 2, 2, { ~0u, ~0u, ~0u, ~0u } },
	{ 0x80000001, 0x80000001, { ~0u, (u32)~GENMASK(27, 16) } },
	{ 0x80000002, 0x80000006, { ~0u, ~0u, ~0u, ~0u } },	/* name, caches and TLBs */
	{ 0x80000007, 0x80000007, { 0, 0, 0, BIT(8) } },	/* invariant TSC */
	{ 0x80000008, 0x80000008, { 0xffff, 0, 0xf0ff } },	/* widths; threads */
	{ 0x80000019, 0x8000001a, { ~0u, ~0u, ~0u, ~0u } },
	/* no nested data breakpoints, LFENCE serializes, null clears base */
	{ 0x80000021, 0x80000021, { BIT(0) | BIT(2) | BIT(6) } },
};

/* The offered table: one entry of the host's, but for what @mask clears. */
static struct kvm_cpuid_entry2 *add(u32 function, u32 index, bool indexed, const u32 mask[4])
{
	struct kvm_cpuid_entry2 *e;
	int i;

	if (WARN_ON_ONCE(nr_supported == MAX_SUPPORTED))
		return &supported[MAX_SUPPORTED - 1];
	e = &supported[nr_supported++];
	e->function = function;
	e->index = index;
	e->flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
	cpuid_count(function, index, &e->eax, &e->ebx, &e->ecx, &e->edx);
	for (i = EAX; i <= EDX; i++)
		*entry_reg(e, i) &= mask[i];
	for (i = 0; i < RL_GF_WORDS; i++)
		if (feature_words[i].leaf == function && feature_words[i].index == index)
			*entry_reg(e, feature_words[i].reg) = offered[i];
	return e;
}

static void add_xsave_components(struct kvm_cpuid_entry2 *e)
{
	static const u32 mask[4] = { ~0u, ~0u, BIT(1) };	/* no supervisor state, no XFD */
	int i;

	if (!rl_xcr0_offered || !(offered[RL_GF_1_ECX] & F(XSAVE)))
		return;
	e->eax = rl_xcr0_offered;
	e->ebx = e->ecx = rl_xsave_area_size(rl_xcr0_offered, false);
	e->edx = rl_xcr0_offered >> 32;
	e = add(0xd, 1, true, nothing);
	if (e->eax & F(XSAVEC))
		e->ebx = rl_xsave_area_size(rl_xcr0_offered, true);
	for (i = 2; i < 63; i++)
		if (rl_xcr0_offered & BIT_ULL(i))
			add(0xd, i, true, mask);
}

static void add_leaf(u32 fn)
{
	const u32 *mask = nothing;
	struct kvm_cpuid_entry2 *e;
	int i;

	for (i = 0; i < ARRAY_SIZE(leaves); i++)
		if (fn >= leaves[i].first && fn <= leaves[i].last)
			mask = leaves[i].mask;
	if (fn == 4 || fn == 0x8000001d) {	/* caches, up to the first subleaf of type 0 */
		for (i = 0; i < 16 && add(fn, i, true, everything)->eax & 0x1f; i++)
			;
		return;
	}
	/* The topology of 0xb and 0x1f is user space's to describe. */
	e = add(fn, 0, fn == 7 || fn == 0xb || fn == 0xd || fn == 0x1f, mask);
	switch (fn) {
	case 6:		/* the APIC timer never stops */
		e->eax = 4;
		break;
	case 7:
		e->eax = !!offered[RL_GF_7_1_EAX];
		if (e->eax)
			add(fn, 1, true, nothing);
		break;
	case 0xd:
		add_xsave_components(e);
		break;
	case 0x80000007:
		e->edx &= boot_cpu_data.x86_power;
		break;
	case 0x80000008:	/* the second stage's depth limits guest physical addresses */
		e->eax = min_t(u32, e->eax & 0xff, pgtable_l5_enabled() ? 52 : 48) |
			 max_t(u32, e->eax & 0xff00, 48 << 8);
		break;
	}
}

static void offer_features(void)
{
	struct kvm_cpuid_entry2 e;
	int i;

	for (i = 0; i < RL_GF_WORDS; i++) {
		const struct feature_word *w = &feature_words[i];

		slot_of[w->kernel_word] = i + 1;
		offered[i] = 0;
		if (w->leaf <= cpuid_eax(w->leaf & 0x80000000) &&
		    (w->leaf != 7 || w->index <= cpuid_eax(7))) {
			cpuid_count(w->leaf, w->index, &e.eax, &e.ebx, &e.ecx, &e.edx);
			offered[i] = w->handled & *entry_reg(&e, w->reg) &
				     boot_cpu_data.x86_capability[w->kernel_word];
		}
		offered[i] |= w->emulated;
	}
	if (!rl_xcr0_offered)
		offered[RL_GF_D_1_EAX] = 0;
	if (!(rl_caps.efer_bits & EFER_FFXSR))
		offered[RL_GF_8_1_EDX] &= ~F(FXSR_OPT);
	if (boot_cpu_has(X86_FEATURE_IBPB) && boot_cpu_data.x86_vendor != X86_VENDOR_INTEL)
		offered[RL_GF_8_8_EBX] |= F(AMD_IBPB);
}

static const struct { u64 cr4; unsigned int feature; } cr4_features[] = {
	{ X86_CR4_OSXSAVE, X86_FEATURE_XSAVE }, { X86_CR4_SMEP, X86_FEATURE_SMEP },
	{ X86_CR4_SMAP, X86_FEATURE_SMAP }, { X86_CR4_FSGSBASE, X86_FEATURE_FSGSBASE },
	{ X86_CR4_LA57, X86_FEATURE_LA57 }, { X86_CR4_UMIP, X86_FEATURE_UMIP },
	{ X86_CR4_PCIDE, X86_FEATURE_PCID },
};

#define CR4_ALWAYS	(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE |	\
			 X86_CR4_PAE | X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE |		\
			 X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)

/**
 * rl_cpuid_init() - Find out what guests can be offered on this host
 *
 * Return: 0.
 */
int rl_cpuid_init(void)
{
	static const char signature[12] __nonstring = KVM_SIGNATURE;
	const u32 *sig = (const u32 *)signature;
	struct kvm_cpuid_entry2 *e;
	u32 fn, last, features;
	int i;

	nr_supported = 0;
	offer_features();
	cr4_unsupported = ~(u64)CR4_ALWAYS;
	for (i = 0; i < ARRAY_SIZE(cr4_features); i++)
		if (rl_can_offer(cr4_features[i].feature))
			cr4_unsupported &= ~cr4_features[i].cr4;

	/* Leaves must come from one and the same CPU. */
	get_cpu();
	last = min(cpuid_eax(0), LAST_BASIC);
	add(0, 0, false, everything)->eax = last;
	for (fn = 1; fn <= last; fn++)
		add_leaf(fn);
	last = min(cpuid_eax(0x80000000), LAST_EXTENDED);
	add(0x80000000, 0, false, everything)->eax = last;
	for (fn = 0x80000001; fn <= last; fn++)
		add_leaf(fn);
	put_cpu();

	features = BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_CLOCKSOURCE2) |
		   BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT) | BIT(KVM_FEATURE_NOP_IO_DELAY) |
		   BIT(KVM_FEATURE_PV_EOI) | BIT(KVM_FEATURE_ASYNC_PF) |
		   BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_PV_SEND_IPI) |
		   BIT(KVM_FEATURE_PV_SCHED_YIELD) | BIT(KVM_FEATURE_POLL_CONTROL);
	if (sched_info_on())
		features |= BIT(KVM_FEATURE_STEAL_TIME) | BIT(KVM_FEATURE_PV_TLB_FLUSH);
	e = add(SIGNATURE, 0, false, nothing);
	e->eax = KVM_CPUID_FEATURES;
	e->ebx = sig[0];
	e->ecx = sig[1];
	e->edx = sig[2];
	add(KVM_CPUID_FEATURES, 0, false, nothing)->eax = features;
	return 0;
}

static bool padding_is_clean(struct kvm_cpuid_entry2 __user *ents, u32 n)
{
	u32 pad[3], i;

	for (i = 0; i < n; i++)
		if (copy_from_user(pad, ents[i].padding, sizeof(pad)) || pad[0] || pad[1] || pad[2])
			return false;
	return true;
}

/**
 * rl_get_supported_cpuid() - KVM_GET_SUPPORTED_CPUID and KVM_GET_EMULATED_CPUID
 * @arg: in user memory
 * @emulated: instructions that this CPU lacks and we emulate: none, in the leaves
 *	where KVM tells of its own
 *
 * Return: 0, -E2BIG (too few entries), -EFAULT, -EINVAL (padding, @emulated only).
 */
int rl_get_supported_cpuid(struct kvm_cpuid2 __user *arg, bool emulated)
{
	static const struct kvm_cpuid_entry2 none[] = {
		{ .function = 0, .eax = 7 },
		{ .function = 1 },
		{ .function = 7, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX },
	};
	const struct kvm_cpuid_entry2 *table = emulated ? none : supported;
	u32 nent, n = emulated ? ARRAY_SIZE(none) : nr_supported;

	if (get_user(nent, &arg->nent))
		return -EFAULT;
	if (nent < 1)
		return -E2BIG;
	if (emulated && !padding_is_clean(arg->entries, min_t(u32, nent, RL_MAX_CPUID)))
		return -EINVAL;
	if (nent < n)
		return -E2BIG;
	if (put_user(n, &arg->nent) || copy_to_user(arg->entries, table, n * sizeof(*table)))
		return -EFAULT;
	return 0;
}

/* Bits and sizes that follow the guest's registers and its VM rather than the table. */
static bool follows_state(u32 function)
{
	return function == 1 || function == 0xd || function == KVM_CPUID_FEATURES;
}

static void set_bit_to(u32 *word, u32 bit, bool on)
{
	*word = on ? *word | bit : *word & ~bit;
}

static void entry_now(struct rl_vcpu *vcpu, const struct kvm_cpuid_entry2 *e,
		      struct kvm_cpuid_entry2 *now)
{
	*now = *e;
	if (e->function == 1) {
		set_bit_to(&now->ecx, F(OSXSAVE), rl_cr4_read(vcpu) & X86_CR4_OSXSAVE);
		set_bit_to(&now->edx, F(APIC), vcpu->apic_base & MSR_IA32_APICBASE_ENABLE);
		if (vcpu->vm->quirks_off & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT)
			set_bit_to(&now->ecx, F(MWAIT),
				   vcpu->misc_enable & MSR_IA32_MISC_ENABLE_MWAIT);
	} else if (e->function == KVM_CPUID_FEATURES &&
		   vcpu->vm->disabled_exits & KVM_X86_DISABLE_EXITS_HLT) {
		now->eax &= ~BIT(KVM_FEATURE_PV_UNHALT);	/* its HLT is nobody's to end */
	} else if (e->function == 0xd && e->index == 0) {
		now->ebx = rl_xsave_area_size(rl_xcr0_now(vcpu), false);
	} else if (e->function == 0xd && e->index == 1 && e->eax & F(XSAVEC)) {
		now->ebx = rl_xsave_area_size(rl_xcr0_now(vcpu), true);
	}
}

/* The first 32 basic and the first 32 extended leaves have a hint, others none. */
static int hint_slot(u32 function)
{
	return (function & 0x7fffffe0) ? -1 : (function & 0x1f) | function >> 26;
}

/**
 * rl_cpuid_find() - Look a leaf up in the guest's table
 * @vcpu: the vCPU
 * @function: leaf (EAX)
 * @index: subleaf, where it counts
 *
 * Return: the entry as user space gave it, NULL when there is none.
 */
struct kvm_cpuid_entry2 *rl_cpuid_find(struct rl_vcpu *vcpu, u32 function, u32 index)
{
	int slot = hint_slot(function), first = 0;

	if (slot >= 0) {
		first = vcpu->cpuid_hint[slot];
		if (!first--)
			return NULL;
	}
	return (struct kvm_cpuid_entry2 *)table_find(vcpu->cpuid + first,
						     vcpu->cpuid_nent - first, function, index);
}

static void refresh(struct rl_vcpu *vcpu)
{
	const struct kvm_cpuid_entry2 *e;
	int i, slot;

	memset(vcpu->cpuid_hint, 0, sizeof(vcpu->cpuid_hint));
	for (i = vcpu->cpuid_nent - 1; i >= 0; i--) {
		slot = hint_slot(vcpu->cpuid[i].function);
		if (slot >= 0)		/* a u8: later entries are found from the 255th on */
			vcpu->cpuid_hint[slot] = min(i, 254) + 1;
	}
	for (i = 0; i < RL_GF_WORDS; i++) {
		e = rl_cpuid_find(vcpu, feature_words[i].leaf, feature_words[i].index);
		vcpu->guest_features[i] = e ? *entry_reg(e, feature_words[i].reg) : 0;
	}

	e = rl_cpuid_find(vcpu, 0, 0);
	vcpu->guest_amd = e && ((e->ebx == 0x68747541 && e->ecx == 0x444d4163) ||  /* AuthenticAMD */
				(e->ebx == 0x6f677948 && e->ecx == 0x656e6975));   /* HygonGenuine */
	vcpu->maxphyaddr = 36;
	e = rl_cpuid_find(vcpu, 0x80000000, 0);
	if (e && e->eax >= 0x80000008) {
		e = rl_cpuid_find(vcpu, 0x80000008, 0);
		if (e)
			vcpu->maxphyaddr = clamp_t(u32, e->eax & 0xff, 32, 52);
	}
	e = rl_cpuid_find(vcpu, 0xd, 0);
	vcpu->xcr0_supported = e ? xcr0_of(e) : 0;

	vcpu->cr4_reserved = cr4_unsupported;
	for (i = 0; vcpu->cpuid && i < ARRAY_SIZE(cr4_features); i++)
		if (!rl_guest_has(vcpu, cr4_features[i].feature))
			vcpu->cr4_reserved |= cr4_features[i].cr4;
}

void rl_cpuid_reset(struct rl_vcpu *vcpu)
{
	if (!vcpu->cpuid)
		refresh(vcpu);
}

void rl_cpuid_free(struct rl_vcpu *vcpu)
{
	kvfree(vcpu->cpuid);
	vcpu->cpuid = NULL;
	vcpu->cpuid_nent = 0;
}

static bool same_as_before(struct rl_vcpu *vcpu, const struct kvm_cpuid_entry2 *ents, u32 nent)
{
	struct kvm_cpuid_entry2 a, b;
	u32 i;

	if (nent != vcpu->cpuid_nent)
		return false;
	for (i = 0; i < nent; i++) {
		entry_now(vcpu, &ents[i], &a);
		entry_now(vcpu, &vcpu->cpuid[i], &b);
		if (memcmp(&a, &b, offsetof(struct kvm_cpuid_entry2, padding)))
			return false;
	}
	return true;
}

/* Takes @ents over when it succeeds. */
static int install(struct rl_vcpu *vcpu, struct kvm_cpuid_entry2 *ents, u32 nent)
{
	const struct kvm_cpuid_entry2 *e;

	/*
	 * A CPU does not change its model while it runs. Setting the same
	 * table again is what QEMU does when it plugs a vCPU in again.
	 */
	if (rcu_access_pointer(vcpu->pid)) {
		if (!same_as_before(vcpu, ents, nent))
			return -EINVAL;
		kvfree(ents);
		return 0;
	}
	e = table_find(ents, nent, 0x80000008, 0);
	if (e && ((e->eax >> 8) & 0xff) != 48 && ((e->eax >> 8) & 0xff) != 57 &&
	    ((e->eax >> 8) & 0xff) != 0)
		return -EINVAL;

	rl_cpuid_free(vcpu);
	vcpu->cpuid = ents;
	vcpu->cpuid_nent = nent;
	refresh(vcpu);
	rl_ops->update_intercepts(vcpu);
	return 0;
}

/**
 * rl_set_cpuid2() - KVM_SET_CPUID2
 * @vcpu: the vCPU
 * @hdr: in kernel memory
 * @ents: in user memory
 *
 * Return: 0, -E2BIG, -EFAULT, -ENOMEM, -EINVAL (address width that no CPU has,
 * or a change after the vCPU ran).
 */
int rl_set_cpuid2(struct rl_vcpu *vcpu, struct kvm_cpuid2 *hdr, struct kvm_cpuid_entry2 __user *ents)
{
	struct kvm_cpuid_entry2 *copy = NULL;
	int r;

	if (hdr->nent > RL_MAX_CPUID)
		return -E2BIG;
	if (hdr->nent) {
		copy = vmemdup_user(ents, array_size(sizeof(*copy), hdr->nent));
		if (IS_ERR(copy))
			return PTR_ERR(copy);
	}
	r = install(vcpu, copy, hdr->nent);
	if (r)
		kvfree(copy);
	return r;
}

/* KVM_SET_CPUID: as rl_set_cpuid2(), without subleaves. */
int rl_set_cpuid(struct rl_vcpu *vcpu, struct kvm_cpuid *hdr, struct kvm_cpuid_entry __user *ents)
{
	struct kvm_cpuid_entry2 *copy = NULL;
	struct kvm_cpuid_entry one;
	int r = 0;
	u32 i;

	if (hdr->nent > RL_MAX_CPUID)
		return -E2BIG;
	if (hdr->nent) {
		copy = kvcalloc(hdr->nent, sizeof(*copy), GFP_KERNEL_ACCOUNT);
		if (!copy)
			return -ENOMEM;
	}
	for (i = 0; i < hdr->nent && !r; i++) {
		if (copy_from_user(&one, &ents[i], sizeof(one)))
			r = -EFAULT;
		copy[i] = (struct kvm_cpuid_entry2) {
			.function = one.function, .eax = one.eax, .ebx = one.ebx,
			.ecx = one.ecx, .edx = one.edx,
		};
	}
	if (!r)
		r = install(vcpu, copy, hdr->nent);
	if (r)
		kvfree(copy);
	return r;
}

/**
 * rl_get_cpuid2() - KVM_GET_CPUID2
 * @vcpu: the vCPU
 * @hdr: in kernel memory
 * @ents: in user memory
 *
 * hdr->nent becomes the number of entries there are, also with -E2BIG.
 * Return: 0, -E2BIG, -EFAULT.
 */
int rl_get_cpuid2(struct rl_vcpu *vcpu, struct kvm_cpuid2 *hdr, struct kvm_cpuid_entry2 __user *ents)
{
	u32 room = hdr->nent, i;
	struct kvm_cpuid_entry2 now;

	hdr->nent = vcpu->cpuid_nent;
	if (room < vcpu->cpuid_nent)
		return -E2BIG;
	for (i = 0; i < vcpu->cpuid_nent; i++) {
		entry_now(vcpu, &vcpu->cpuid[i], &now);
		if (copy_to_user(&ents[i], &now, sizeof(now)))
			return -EFAULT;
	}
	return 0;
}

/*
 * A leaf that is not there. AMD answers zeroes. Intel answers zeroes for a hole
 * below the last leaf of its class, and beyond it as if the last basic leaf
 * had been asked for: SDM Vol 2A, "CPUID", on EAX values above the maximum.
 */
static const struct kvm_cpuid_entry2 *out_of_range(struct rl_vcpu *vcpu, u32 *leaf, u32 index)
{
	const struct kvm_cpuid_entry2 *basic = rl_cpuid_find(vcpu, 0, 0), *class;
	u32 function = *leaf;

	if (!basic || vcpu->guest_amd)
		return NULL;
	if (function >> 28 == 4)
		class = rl_cpuid_find(vcpu, function & ~0xffu, 0);
	else if (function >= 0xc0000000)
		class = rl_cpuid_find(vcpu, 0xc0000000, 0);
	else
		class = rl_cpuid_find(vcpu, function & 0x80000000, 0);
	if (class && function <= class->eax)
		return NULL;
	*leaf = basic->eax;
	return rl_cpuid_find(vcpu, *leaf, index);
}

/* A leaf that is not in the table, or whose entry is not the whole answer. */
static noinline void exec_slow(struct rl_vcpu *vcpu, const struct kvm_cpuid_entry2 *e,
			       u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	u32 function = *eax, index = *ecx;
	struct kvm_cpuid_entry2 now = {};

	if (!e)
		e = out_of_range(vcpu, &function, index);
	if (e) {
		entry_now(vcpu, e, &now);
		/* A guest with its APICs in user space can have no help of ours with them. */
		if (e->function == KVM_CPUID_FEATURES && !vcpu->lapic)
			now.eax &= ~(BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_PV_SEND_IPI));
	} else if (function == 0xb || function == 0x1f) {
		/* An undefined level of the topology still tells level and x2APIC id. */
		e = rl_cpuid_find(vcpu, function, 1);
		if (e) {
			now.ecx = index & 0xff;
			now.edx = e->edx;
		}
	}
	*eax = now.eax;
	*ebx = now.ebx;
	*ecx = now.ecx;
	*edx = now.edx;
}

/**
 * rl_cpuid_exec() - Execute CPUID
 * @vcpu: the vCPU
 * @eax: leaf, then its EAX
 * @ebx: out
 * @ecx: subleaf, then its ECX
 * @edx: out
 *
 * Context: vCPU loaded; IRQs may be off.
 */
void rl_cpuid_exec(struct rl_vcpu *vcpu, u32 *eax, u32 *ebx, u32 *ecx, u32 *edx)
{
	const struct kvm_cpuid_entry2 *e;

	/* Before KVM_SET_CPUID2 there is nothing, not even a vendor. */
	if (unlikely(!vcpu->cpuid_nent)) {
		*eax = *ebx = *ecx = *edx = 0;
		return;
	}
	e = rl_cpuid_find(vcpu, *eax, *ecx);
	if (unlikely(!e || follows_state(e->function))) {
		exec_slow(vcpu, e, eax, ebx, ecx, edx);
		return;
	}
	*eax = e->eax;
	*ebx = e->ebx;
	*ecx = e->ecx;
	*edx = e->edx;
}
