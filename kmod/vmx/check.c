// SPDX-License-Identifier: GPL-2.0-only
/*
 * Why did the CPU refuse to enter the guest? It says no more than "control
 * field", "host state" or "guest state"; these are the manual's checks, in its
 * order and close to its words, done again in software.
 *
 * Owns:    nothing; reads the current VMCS.
 * Locks:   none; IRQs off, the vCPU loaded. Messages are rate-limited: a guest
 *          or its user can come here at will.
 * Manuals: SDM Vol 3C, "Checks on VMX Controls and Host-State Area" and
 *          "Checking and Loading Guest State".
 */
#include <linux/ratelimit.h>
#include <linux/sched.h>
#include <asm/debugreg.h>
#include <asm/desc_defs.h>
#include <asm/msr.h>

#include "vmx.h"

#define FAIL_IF(cond, text)	do { if (cond) return text; } while (0)

#define INTR_TYPE(info)		((info) & INTR_INFO_INTR_TYPE_MASK)

struct guest {
	u64 cr0, cr4, efer, rip, rflags;
	u32 exec, exec2, entry, intr, state;
	bool ia32e, vm86, paging;
};

struct seg {
	u64 base;
	u32 limit, ar;
	u16 sel;
	bool usable;
	u32 type, dpl;
};

static bool canonical(u64 addr)
{
	return (s64)(addr << 16) >> 16 == (s64)addr;
}

static struct seg read_seg(int selector_field)
{
	/* The four fields of a segment have the same place in their groups. */
	int nr = selector_field - GUEST_ES_SELECTOR;
	struct seg s = {
		.sel = vmcs_read(selector_field), .base = vmcs_read(GUEST_ES_BASE + nr),
		.limit = vmcs_read32(GUEST_ES_LIMIT + nr),
		.ar = vmcs_read32(GUEST_ES_AR_BYTES + nr),
	};

	s.usable = !(s.ar & VMX_AR_UNUSABLE_MASK);
	s.type = s.ar & VMX_AR_TYPE_MASK;
	s.dpl = VMX_AR_DPL(s.ar);
	return s;
}

/* "VM-Entry Control Fields": event injection. */
static const char *check_injection(const struct guest *g)
{
	u32 type = INTR_TYPE(g->intr), vector = g->intr & INTR_INFO_VECTOR_MASK;
	bool error = g->intr & INTR_INFO_DELIVER_CODE_MASK;
	bool takes_error = type == INTR_TYPE_HARD_EXCEPTION && (BIT(vector & 31) & 0x227d00);
	u32 len = vmcs_read32(VM_ENTRY_INSTRUCTION_LEN);

	if (!(g->intr & INTR_INFO_VALID_MASK))
		return NULL;
	FAIL_IF(type == INTR_TYPE_RESERVED, "interruption type is a reserved value");
	FAIL_IF(type == INTR_TYPE_NMI_INTR && vector != 2, "the vector of an NMI is not 2");
	FAIL_IF(type == INTR_TYPE_HARD_EXCEPTION && vector > 31,
		"the vector of a hardware exception is above 31");
	FAIL_IF(error && !takes_error, "deliver-error-code with an event that has none");
	FAIL_IF(error && !(g->cr0 & X86_CR0_PE), "deliver-error-code with CR0.PE clear");
	FAIL_IF(!error && takes_error && (g->cr0 & X86_CR0_PE),
		"no deliver-error-code with an exception that has one");
	FAIL_IF(error && vmcs_read32(VM_ENTRY_EXCEPTION_ERROR_CODE) >> 16,
		"bits 31:16 of the exception error code are not 0");
	FAIL_IF(g->intr & 0x7ffff000, "reserved bits of the interruption information are not 0");
	FAIL_IF(type >= INTR_TYPE_SOFT_INTR && type <= INTR_TYPE_SOFT_EXCEPTION &&
		(!len || len > 15), "instruction length of a software event is not 1 to 15");
	return NULL;
}

/* "VM-Execution Control Fields". */
static const char *check_controls(const struct guest *g)
{
	u64 eptp = vmcs_read(EPT_POINTER), vtpr;
	u32 threshold = vmcs_read32(TPR_THRESHOLD), pin = vmcs_read32(PIN_BASED_VM_EXEC_CONTROL);

	FAIL_IF((pin ^ vmx_cfg.pin) & ~PIN_BASED_POSTED_INTR,
		"pin-based controls are not what was set");
	FAIL_IF((pin & PIN_BASED_POSTED_INTR) &&
		(!(g->exec2 & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY) ||
		 !(vmcs_read32(VM_EXIT_CONTROLS) & VM_EXIT_ACK_INTR_ON_EXIT) ||
		 vmcs_read(POSTED_INTR_NV) >> 8 || vmcs_read(POSTED_INTR_DESC_ADDR) % 64),
		"\"process posted interrupts\" lacks other controls, a vector or a descriptor");
	FAIL_IF(g->exec & ~(vmx_cfg.exec | CPU_BASED_CR8_LOAD_EXITING |
			    CPU_BASED_CR8_STORE_EXITING | CPU_BASED_MONITOR_TRAP_FLAG),
		"processor-based controls have bits the CPU lacks");
	FAIL_IF(g->exec2 & ~vmx_cfg.exec2,
		"secondary processor-based controls have bits the CPU lacks");
	FAIL_IF(vmcs_read(MSR_BITMAP) & ~PAGE_MASK, "MSR-bitmap address is not aligned");
	FAIL_IF((g->exec2 & SECONDARY_EXEC_ENABLE_VPID) && !vmcs_read(VIRTUAL_PROCESSOR_ID),
		"\"enable VPID\" with a VPID of 0");
	FAIL_IF((eptp & VMX_EPTP_MT_MASK) != VMX_EPTP_MT_WB || (eptp & GENMASK_ULL(11, 7)),
		"EPT pointer has a bad memory type or reserved bits");
	if (!(g->exec & CPU_BASED_TPR_SHADOW))
		return check_injection(g);
	vtpr = vmcs_read(VIRTUAL_APIC_PAGE_ADDR);
	FAIL_IF(!vtpr || (vtpr & ~PAGE_MASK), "virtual-APIC address is not that of a page");
	FAIL_IF(threshold >> 4, "bits 31:4 of the TPR threshold are not 0");
	FAIL_IF(!(g->exec2 & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY) &&
		threshold > *(u32 *)(__va(vtpr) + 0x80) >> 4,
		"TPR threshold is greater than bits 7:4 of VTPR");
	return check_injection(g);
}

/* "Checks on Host Control Registers, MSRs, and SSP" and on what follows there. */
static const char *check_host(void)
{
	FAIL_IF(!(vmcs_read(HOST_CR4) & X86_CR4_VMXE), "host CR4 has a bit that VMX does not allow");
	FAIL_IF(!(vmcs_read(HOST_CR4) & X86_CR4_PAE), "host CR4.PAE is 0 in a 64-bit host");
	FAIL_IF(!canonical(vmcs_read(HOST_FS_BASE)) || !canonical(vmcs_read(HOST_GS_BASE)) ||
		!canonical(vmcs_read(HOST_TR_BASE)) || !canonical(vmcs_read(HOST_GDTR_BASE)) ||
		!canonical(vmcs_read(HOST_IDTR_BASE)), "a host base address is not canonical");
	FAIL_IF(!vmcs_read(HOST_CS_SELECTOR) || !vmcs_read(HOST_TR_SELECTOR),
		"host CS or TR is null");
	FAIL_IF(!canonical(vmcs_read(HOST_RIP)), "host RIP is not canonical");
	return NULL;
}

/* "Checks on Guest Control Registers, Debug Registers, and MSRs". */
static const char *check_crs(const struct guest *g)
{
	u64 pat = vmcs_read(GUEST_IA32_PAT), fixed0, fixed1;
	int i;

	FAIL_IF((g->cr0 & vmx_cfg.cr0_fixed1) != vmx_cfg.cr0_fixed1,
		"CR0 has a bit clear that is fixed to 1 in VMX operation");
	FAIL_IF(g->paging && !(g->cr0 & X86_CR0_PE), "CR0.PG is 1 while CR0.PE is 0");
	rdmsrl(MSR_IA32_VMX_CR4_FIXED0, fixed0);
	rdmsrl(MSR_IA32_VMX_CR4_FIXED1, fixed1);
	FAIL_IF((g->cr4 & fixed0) != fixed0 || (g->cr4 & ~fixed1),
		"CR4 has a bit that is not supported in VMX operation");
	FAIL_IF(vmcs_read(GUEST_IA32_DEBUGCTL) & GENMASK_ULL(63, 16),
		"IA32_DEBUGCTL has reserved bits set");
	FAIL_IF(vmcs_read(GUEST_DR7) >> 32, "bits 63:32 of DR7 are not 0");
	FAIL_IF(g->ia32e && !g->paging, "\"IA-32e mode guest\" while CR0.PG is 0");
	FAIL_IF(g->ia32e && !(g->cr4 & X86_CR4_PAE), "\"IA-32e mode guest\" while CR4.PAE is 0");
	FAIL_IF(!g->ia32e && (g->cr4 & X86_CR4_PCIDE), "CR4.PCIDE outside IA-32e mode");
	FAIL_IF(vmcs_read(GUEST_CR3) >> boot_cpu_data.x86_phys_bits,
		"CR3 has bits beyond the physical-address width");
	FAIL_IF(!canonical(vmcs_read(GUEST_SYSENTER_ESP)) ||
		!canonical(vmcs_read(GUEST_SYSENTER_EIP)),
		"IA32_SYSENTER_ESP or IA32_SYSENTER_EIP is not canonical");
	for (i = 0; i < 64; i += 8) {
		FAIL_IF(pat >> i & 0xf8 || (pat >> i & 7) == 2 || (pat >> i & 7) == 3,
			"IA32_PAT has a memory type that does not exist");
	}
	FAIL_IF(g->efer & ~(u64)(EFER_SCE | EFER_LME | EFER_LMA | EFER_NX),
		"IA32_EFER has reserved bits set");
	FAIL_IF(!!(g->efer & EFER_LMA) != g->ia32e,
		"IA32_EFER.LMA differs from \"IA-32e mode guest\"");
	FAIL_IF(g->paging && !!(g->efer & EFER_LMA) != !!(g->efer & EFER_LME),
		"IA32_EFER.LMA differs from LME while CR0.PG is 1");
	return NULL;
}

/* Access rights that every usable segment has in common. */
static const char *check_rights(const struct seg *s, bool system)
{
	FAIL_IF(system == !!(s->ar & VMX_AR_S_MASK), "S bit of a segment is wrong for its register");
	FAIL_IF(!(s->ar & VMX_AR_P_MASK), "P bit of a usable segment is 0");
	FAIL_IF(s->ar & 0xfffe0f00, "reserved access-rights bits of a segment are not 0");
	FAIL_IF((s->limit & 0xfff) != 0xfff && (s->ar & VMX_AR_G_MASK),
		"G bit is 1 while a bit of limit[11:0] is 0");
	FAIL_IF(s->limit >> 20 && !(s->ar & VMX_AR_G_MASK),
		"G bit is 0 while a bit of limit[31:20] is 1");
	return NULL;
}

static const char *check_code(const struct guest *g, const struct seg *cs, const struct seg *ss)
{
	FAIL_IF(!cs->usable, "CS is unusable");
	FAIL_IF(cs->type != 3 && (cs->type & 9) != 9,
		"CS type is not accessed code (or 3, with \"unrestricted guest\")");
	FAIL_IF(cs->type == 3 && cs->dpl, "CS type is 3 while its DPL is not 0");
	FAIL_IF((cs->type & 13) == 9 && cs->dpl != ss->dpl,
		"DPL of a non-conforming CS differs from that of SS");
	FAIL_IF((cs->type & 13) == 13 && cs->dpl > ss->dpl,
		"DPL of a conforming CS is greater than that of SS");
	FAIL_IF(g->ia32e && (cs->ar & VMX_AR_L_MASK) && (cs->ar & VMX_AR_DB_MASK),
		"CS has both L and D/B set in IA-32e mode");
	FAIL_IF(cs->base >> 32, "bits 63:32 of the CS base are not 0");
	return check_rights(cs, false);
}

static const char *check_stack(const struct guest *g, const struct seg *cs, const struct seg *ss)
{
	FAIL_IF((cs->type == 3 || !(g->cr0 & X86_CR0_PE)) && ss->dpl,
		"DPL of SS is not 0 with CR0.PE 0 or a CS of type 3");
	if (!ss->usable)
		return NULL;
	FAIL_IF(ss->type != 3 && ss->type != 7, "SS type is not accessed writable data");
	FAIL_IF(ss->base >> 32, "bits 63:32 of the SS base are not 0");
	return check_rights(ss, false);
}

static const char *check_data(const struct seg *s, bool wide_base)
{
	FAIL_IF(wide_base && !canonical(s->base), "FS or GS base is not canonical");
	if (!s->usable)
		return NULL;
	FAIL_IF(!(s->type & 1), "a data segment register's type is not accessed");
	FAIL_IF((s->type & 10) == 8, "a data segment register holds unreadable code");
	FAIL_IF(!wide_base && s->base >> 32, "bits 63:32 of the DS or ES base are not 0");
	return check_rights(s, false);
}

static const char *check_system_segs(const struct guest *g)
{
	struct seg tr = read_seg(GUEST_TR_SELECTOR), ldtr = read_seg(GUEST_LDTR_SELECTOR);
	const char *bad;

	FAIL_IF(tr.sel & 4, "TI flag of TR is 1");
	FAIL_IF(!canonical(tr.base), "TR base is not canonical");
	FAIL_IF(!tr.usable, "TR is unusable");
	FAIL_IF(tr.type != 11 && (g->ia32e || tr.type != 3), "TR type is not a busy TSS");
	bad = check_rights(&tr, true);
	if (bad || !ldtr.usable)
		return bad;
	FAIL_IF(ldtr.sel & 4, "TI flag of LDTR is 1");
	FAIL_IF(!canonical(ldtr.base), "LDTR base is not canonical");
	FAIL_IF(ldtr.type != 2, "LDTR type is not 2 (LDT)");
	return check_rights(&ldtr, true);
}

/* "Checks on Guest Segment Registers". */
static const char *check_segs(const struct guest *g)
{
	static const u16 data[] = { GUEST_ES_SELECTOR, GUEST_DS_SELECTOR, GUEST_FS_SELECTOR,
				    GUEST_GS_SELECTOR };
	struct seg cs = read_seg(GUEST_CS_SELECTOR), ss = read_seg(GUEST_SS_SELECTOR), s;
	const char *bad = check_system_segs(g);
	int f;

	for (f = GUEST_ES_SELECTOR; g->vm86 && !bad && f <= GUEST_GS_SELECTOR; f += 2) {
		s = read_seg(f);
		FAIL_IF(s.base != s.sel << 4 || s.limit != 0xffff || s.ar != 0xf3,
			"a segment is not as virtual-8086 mode has it");
	}
	if (g->vm86 || bad)
		return bad;
	bad = check_code(g, &cs, &ss) ?: check_stack(g, &cs, &ss);
	for (f = 0; !bad && f < ARRAY_SIZE(data); f++) {
		s = read_seg(data[f]);
		bad = check_data(&s, data[f] >= GUEST_FS_SELECTOR);
	}
	return bad;
}

/* "Checks on Guest Descriptor-Table Registers", "Checks on Guest RIP, RFLAGS, and SSP". */
static const char *check_rip(const struct guest *g)
{
	bool code64 = g->ia32e && (vmcs_read32(GUEST_CS_AR_BYTES) & VMX_AR_L_MASK);

	FAIL_IF(!canonical(vmcs_read(GUEST_GDTR_BASE)) || !canonical(vmcs_read(GUEST_IDTR_BASE)),
		"GDTR or IDTR base is not canonical");
	FAIL_IF((vmcs_read32(GUEST_GDTR_LIMIT) | vmcs_read32(GUEST_IDTR_LIMIT)) >> 16,
		"bits 31:16 of the GDTR or IDTR limit are not 0");
	FAIL_IF(!code64 && g->rip >> 32, "bits 63:32 of RIP are not 0 outside 64-bit code");
	FAIL_IF(code64 && !canonical(g->rip), "RIP is not canonical");
	FAIL_IF((g->rflags & ~0x3f7fd5ULL) != X86_EFLAGS_FIXED,
		"RFLAGS has reserved bits set or bit 1 clear");
	FAIL_IF(g->vm86 && (g->ia32e || !(g->cr0 & X86_CR0_PE)),
		"RFLAGS.VM is 1 in IA-32e mode or with CR0.PE 0");
	FAIL_IF((g->intr & INTR_INFO_VALID_MASK) && INTR_TYPE(g->intr) == INTR_TYPE_EXT_INTR &&
		!(g->rflags & X86_EFLAGS_IF), "an external interrupt is injected while RFLAGS.IF is 0");
	return NULL;
}

/* "Checks on Guest Non-Register State". */
static const char *check_state(const struct guest *g)
{
	u32 activity = vmcs_read32(GUEST_ACTIVITY_STATE);
	u64 dbg = vmcs_read(GUEST_PENDING_DBG_EXCEPTIONS);
	bool sti = g->state & GUEST_INTR_STATE_STI, movss = g->state & GUEST_INTR_STATE_MOV_SS;
	bool inject = g->intr & INTR_INFO_VALID_MASK;
	bool step = (g->rflags & X86_EFLAGS_TF) &&
		    !(vmcs_read(GUEST_IA32_DEBUGCTL) & DEBUGCTLMSR_BTF);

	FAIL_IF(activity > GUEST_ACTIVITY_WAIT_SIPI, "activity state does not exist");
	FAIL_IF(activity == GUEST_ACTIVITY_HLT && VMX_AR_DPL(vmcs_read32(GUEST_SS_AR_BYTES)),
		"activity state is HLT while the DPL of SS is not 0");
	FAIL_IF(activity && (sti || movss), "blocking by STI or MOV SS while not active");
	FAIL_IF(g->state >> 5, "reserved interruptibility bits are not 0");
	FAIL_IF(sti && movss, "blocking by STI and by MOV SS at once");
	FAIL_IF(sti && !(g->rflags & X86_EFLAGS_IF), "blocking by STI while RFLAGS.IF is 0");
	FAIL_IF(inject && INTR_TYPE(g->intr) == INTR_TYPE_EXT_INTR && (sti || movss),
		"an external interrupt is injected while STI or MOV SS blocks it");
	FAIL_IF(inject && INTR_TYPE(g->intr) == INTR_TYPE_NMI_INTR &&
		(movss || (g->state & GUEST_INTR_STATE_NMI)),
		"an NMI is injected while MOV SS or an NMI blocks it");
	FAIL_IF(g->state & GUEST_INTR_STATE_SMI, "blocking by SMI outside SMM");
	FAIL_IF((sti || movss || activity == GUEST_ACTIVITY_HLT) && step != !!(dbg & DR_STEP),
		"pending debug exceptions: BS does not agree with RFLAGS.TF");
	FAIL_IF(vmcs_read(VMCS_LINK_POINTER) != ~0ULL, "VMCS link pointer is not all ones");
	return NULL;
}

/* "Checks on Guest Page-Directory-Pointer-Table Entries". */
static const char *check_pdptrs(const struct guest *g)
{
	u64 reserved = GENMASK_ULL(63, boot_cpu_data.x86_phys_bits) | 0x1e6, pdpte;
	int i;

	if (!g->paging || !(g->cr4 & X86_CR4_PAE) || g->ia32e)
		return NULL;
	for (i = 0; i < 4; i++) {
		pdpte = vmcs_read(GUEST_PDPTR0 + 2 * i);
		FAIL_IF((pdpte & 1) && (pdpte & reserved), "a PDPTE has reserved bits set");
	}
	return NULL;
}

static const char *const instruction_errors[] = {
	[VMXERR_VMLAUNCH_NONCLEAR_VMCS] = "VMLAUNCH with non-clear VMCS",
	[VMXERR_VMRESUME_NONLAUNCHED_VMCS] = "VMRESUME with non-launched VMCS",
	[VMXERR_VMRESUME_AFTER_VMXOFF] = "VMRESUME after VMXOFF",
	[VMXERR_ENTRY_INVALID_CONTROL_FIELD] = "VM entry with invalid control field(s)",
	[VMXERR_ENTRY_INVALID_HOST_STATE_FIELD] = "VM entry with invalid host-state field(s)",
	[VMXERR_ENTRY_EVENTS_BLOCKED_BY_MOV_SS] = "VM entry with events blocked by MOV SS",
};

static const char *headline(u32 reason)
{
	if (reason & VMX_EXIT_REASONS_FAILED_VMENTRY) {
		switch ((u16)reason) {
		case EXIT_REASON_INVALID_STATE:
			return "VM-entry failure due to invalid guest state";
		case EXIT_REASON_MSR_LOAD_FAIL:
			return "VM-entry failure due to MSR loading";
		case EXIT_REASON_MCE_DURING_VMENTRY:
			return "VM-entry failure due to machine-check event";
		}
	} else if (reason < ARRAY_SIZE(instruction_errors) && instruction_errors[reason]) {
		return instruction_errors[reason];
	}
	return "VM entry failed";
}

/**
 * vmx_explain_failure() - Say which of the manual's checks an entry failed
 * @v: the vCPU, its VMCS current
 * @reason: exit reason with its failure bit, or the VM-instruction error
 */
void vmx_explain_failure(struct vmx_vcpu *v, u32 reason)
{
	static DEFINE_RATELIMIT_STATE(rs, DEFAULT_RATELIMIT_INTERVAL, 5);
	struct guest g = {
		.cr0 = vmcs_read(GUEST_CR0), .cr4 = vmcs_read(GUEST_CR4),
		.efer = vmcs_read(GUEST_IA32_EFER), .rip = vmcs_read(GUEST_RIP),
		.rflags = vmcs_read(GUEST_RFLAGS),
		.exec = vmcs_read32(CPU_BASED_VM_EXEC_CONTROL),
		.exec2 = vmcs_read32(SECONDARY_VM_EXEC_CONTROL),
		.entry = vmcs_read32(VM_ENTRY_CONTROLS),
		.intr = vmcs_read32(VM_ENTRY_INTR_INFO_FIELD),
		.state = vmcs_read32(GUEST_INTERRUPTIBILITY_INFO),
	};
	const char *why;

	if (!__ratelimit(&rs))
		return;
	g.ia32e = g.entry & VM_ENTRY_IA32E_MODE;
	g.vm86 = g.rflags & X86_EFLAGS_VM;
	g.paging = g.cr0 & X86_CR0_PG;
	if (reason & VMX_EXIT_REASONS_FAILED_VMENTRY)
		why = check_crs(&g) ?: check_segs(&g) ?: check_rip(&g) ?: check_state(&g) ?:
		      check_pdptrs(&g);
	else
		why = check_controls(&g) ?: check_host();
	pr_err("vCPU %u: %s (%#x, qualification %lu): %s\n", v->vcpu.id, headline(reason),
	       reason, vmcs_read(EXIT_QUALIFICATION), why ?: "no check of ours fails");
	pr_err("vCPU %u: rip %#llx rflags %#llx cr0 %#llx cr4 %#llx efer %#llx event %#x shadow %#x\n",
	       v->vcpu.id, g.rip, g.rflags, g.cr0, g.cr4, g.efer, g.intr, g.state);
}
