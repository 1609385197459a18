// SPDX-License-Identifier: GPL-2.0-only
/*
 * From an exit reason to struct rl_exit. One table row per reason says what it
 * is in common terms; the few with operands have a function.
 *
 * Owns:    vcpu->exit after an entry.
 * Touches: event.c for deliveries that were cut short; hands NMIs and machine
 *          checks of the host to the kernel.
 * Locks:   none; IRQs off, right behind the world switch.
 * Manuals: SDM Vol 3C, "VMX Basic Exit Reasons" (appendix), "Recording VM-Exit
 *          Information and Updating VM-Entry Control Fields".
 *
 * VMREADs cost: what only some exits have is read for those alone.
 */
#include <linux/sched.h>
#include <asm/debugreg.h>
#include <asm/trapnr.h>

#include "../compat.h"
#include "vmx.h"

/* Reasons that the kernel's headers do not name. */
#define EXIT_REASON_GETSEC	11
#define EXIT_REASON_RSM		17
#define EXIT_REASON_SEAMCALL	76
#define EXIT_REASON_TDCALL	77

/* ---- the host's own events ---- */

static void host_nmi(void)
{
	/*
	 * The exit left NMIs blocked, and the handler's IRET unblocks them. A
	 * software interrupt is as good as the NMI: the gate and the stack it
	 * uses are the same.
	 */
	asm volatile("int $2");
}

/* ---- exits with operands ---- */

/*
 * The #DB that exited is not pending any more ("Saving Non-Register State";
 * Bochs 2.7 leaves it there). But "Checks on Guest Non-Register State": with
 * STI or MOV SS blocking, TF needs a pending single step.
 */
static void set_pending_step(struct vmx_vcpu *v)
{
	vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	if (vmx_intr_state(v) & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS))
		rl_rflags_write(&v->vcpu, rl_rflags_read(&v->vcpu));
}

/*
 * "Information for VM Exits Due to Vectored Events": the guest's IRET had
 * ended NMI blocking when it faulted. It runs again, so block them again.
 */
static void reblock_nmi(struct vmx_vcpu *v)
{
	/* With an event to be delivered again the bit that says so is undefined. */
	if (vmcs_read32(IDT_VECTORING_INFO_FIELD) & VECTORING_INFO_VALID_MASK)
		return;
	vmx_set_intr_state(v, vmx_intr_state(v) | GUEST_INTR_STATE_NMI);
}

static void decode_exception(struct vmx_vcpu *v, struct rl_exit *exit)
{
	u32 info = vmcs_read32(VM_EXIT_INTR_INFO);
	u32 type = info & INTR_INFO_INTR_TYPE_MASK;
	u8 vector = info & INTR_INFO_VECTOR_MASK;

	if (type == INTR_TYPE_NMI_INTR) {
		host_nmi();
		exit->kind = RL_EXIT_INTR;
		return;
	}
	if (type == INTR_TYPE_HARD_EXCEPTION && vector == X86_TRAP_MC) {
		rl_host_machine_check();
		exit->kind = RL_EXIT_INTR;
		return;
	}

	exit->exc.vector = vector;
	exit->exc.has_error = info & INTR_INFO_DELIVER_CODE_MASK;
	if (exit->exc.has_error)
		exit->exc.error_code = vmcs_read32(VM_EXIT_INTR_ERROR_CODE);
	exit->exc.payload = vmcs_read(EXIT_QUALIFICATION);
	if (type == INTR_TYPE_SOFT_EXCEPTION || type == INTR_TYPE_PRIV_SW_EXCEPTION)
		exit->insn_len = vmcs_read32(VM_EXIT_INSTRUCTION_LEN);
	if ((info & INTR_INFO_UNBLOCK_NMI) && vector != X86_TRAP_DF)
		reblock_nmi(v);
	if (vector != X86_TRAP_DB)
		return;
	/* INT1 is a trap that exits like a fault: RIP goes behind it. */
	if (type == INTR_TYPE_PRIV_SW_EXCEPTION)
		rl_skip_insn(&v->vcpu);
	else
		set_pending_step(v);
}

static void decode_interrupt(struct vmx_vcpu *v, struct rl_exit *exit)
{
	/* The thread calls its handler when it has put the guest's FPU state away. */
	if (vmx_cfg.exit & VM_EXIT_ACK_INTR_ON_EXIT)
		v->vcpu.host_vector = vmcs_read32(VM_EXIT_INTR_INFO) & INTR_INFO_VECTOR_MASK;
}

static void decode_triple_fault(struct vmx_vcpu *v, struct rl_exit *exit)
{
	/* The event whose delivery failed for good is not delivered again. */
	rl_clear_events(&v->vcpu);
}

static __always_inline void decode_io(struct vmx_vcpu *v, struct rl_exit *exit)
{
	u32 qual = vmcs_read32(EXIT_QUALIFICATION);

	exit->io.port = qual >> 16;
	exit->io.size = (qual & 7) + 1;
	exit->io.in = qual & BIT(3);
	exit->io.tried = false;
	exit->io.string = qual & BIT(4);
}

static void decode_rdmsr(struct vmx_vcpu *v, struct rl_exit *exit)
{
	exit->msr.write = false;
}

static void decode_wrmsr(struct vmx_vcpu *v, struct rl_exit *exit)
{
	exit->msr.write = true;
}

static void decode_ept_violation(struct vmx_vcpu *v, struct rl_exit *exit)
{
	u32 qual = vmcs_read32(EXIT_QUALIFICATION), access;

	/* Read, write and fetch have the same bits in both. */
	access = qual & (EPT_VIOLATION_ACC_READ | EPT_VIOLATION_ACC_WRITE |
			 EPT_VIOLATION_ACC_INSTR);
	if (qual & EPT_VIOLATION_RWX_MASK)
		access |= RL_ACC_PRESENT;
	if ((qual & EPT_VIOLATION_GVA_IS_VALID) && !(qual & EPT_VIOLATION_GVA_TRANSLATED))
		access |= RL_ACC_WALK;
	exit->fault.gpa = vmcs_read(GUEST_PHYSICAL_ADDRESS);
	exit->fault.access = access;
	exit->fault.bytes_len = 0;
	if (qual & INTR_INFO_UNBLOCK_NMI)
		reblock_nmi(v);
}

static_assert(EPT_VIOLATION_ACC_READ == RL_ACC_READ && EPT_VIOLATION_ACC_WRITE == RL_ACC_WRITE &&
	      EPT_VIOLATION_ACC_INSTR == RL_ACC_FETCH);

/* mm/ makes no entry that the CPU could find misconfigured. */
static void decode_ept_misconfig(struct vmx_vcpu *v, struct rl_exit *exit)
{
	pr_err_ratelimited("EPT misconfiguration at guest physical %#lx\n",
			   vmcs_read(GUEST_PHYSICAL_ADDRESS));
	WARN_ON_ONCE(1);
}

static void decode_task_switch(struct vmx_vcpu *v, struct rl_exit *exit)
{
	u32 qual = vmcs_read32(EXIT_QUALIFICATION);
	u32 info = vmcs_read32(IDT_VECTORING_INFO_FIELD);
	u32 type = info & VECTORING_INFO_TYPE_MASK;
	bool event = info & VECTORING_INFO_VALID_MASK;

	exit->task.selector = qual;
	exit->task.source = qual >> 30;
	exit->task.has_error = false;
	exit->insn_len = vmcs_read32(VM_EXIT_INSTRUCTION_LEN);
	/* It delivers the event; of these only INT n, INT3 and INTO are instructions. */
	exit->task.skip = exit->task.source != RL_TASK_GATE || !event ||
			  (type != INTR_TYPE_EXT_INTR && type != INTR_TYPE_NMI_INTR &&
			   type != INTR_TYPE_HARD_EXCEPTION);
	if (exit->task.source == RL_TASK_IRET)
		vmx_set_nmi_mask(&v->vcpu, false);
	if (event && (info & VECTORING_INFO_DELIVER_CODE_MASK)) {
		exit->task.has_error = true;
		exit->task.error_code = vmcs_read32(IDT_VECTORING_ERROR_CODE);
	}
}

/* vmx.c empties the list after every exit. */
static void decode_pml_full(struct vmx_vcpu *v, struct rl_exit *exit)
{
	if (vmcs_read32(EXIT_QUALIFICATION) & INTR_INFO_UNBLOCK_NMI)
		reblock_nmi(v);
}

/* The guest's deadline, or vmx_tick_us. */
static void decode_timer(struct vmx_vcpu *v, struct rl_exit *exit)
{
	if (v->vcpu.cpu_deadline && rdtsc() >= v->vcpu.cpu_deadline)
		exit->kind = RL_EXIT_TIMER;
}

/*
 * SDM Vol 3C, "Exit Qualification for Notify VM Exits". It may come in the middle of an
 * event's delivery, even of an IRET that had unblocked NMIs.
 */
static void decode_notify(struct vmx_vcpu *v, struct rl_exit *exit)
{
	u32 qual = vmcs_read32(EXIT_QUALIFICATION);

	exit->notify.invalid = qual & NOTIFY_VM_CONTEXT_INVALID;
	if (qual & INTR_INFO_UNBLOCK_NMI)
		reblock_nmi(v);
}

/* APICv: the offset of the write, or the vector that was EOIed. */
static void decode_apic(struct vmx_vcpu *v, struct rl_exit *exit)
{
	exit->apic.offset = vmcs_read32(EXIT_QUALIFICATION) & 0xfff;
}

static void decode_intr_window(struct vmx_vcpu *v, struct rl_exit *exit)
{
	vmx_set_exec(v, 0, CPU_BASED_INTR_WINDOW_EXITING);
}

static void decode_nmi_window(struct vmx_vcpu *v, struct rl_exit *exit)
{
	vmx_set_exec(v, 0, CPU_BASED_NMI_WINDOW_EXITING);
}

/* ---- the table ---- */

/* An instruction that exits like a fault, its length told by the CPU. */
#define INSN	BIT(0)
/* May interrupt an event's delivery: IDT-vectoring information counts. */
#define VECTORS	BIT(1)

static const struct vmx_exit {
	const char *name;
	void (*decode)(struct vmx_vcpu *v, struct rl_exit *exit);
	u8 kind;
	u8 flags;
} exits[] = {
#define EXIT(reason, knd, flg, fn)						\
	[EXIT_REASON_##reason] = { .name = #reason, .kind = RL_EXIT_##knd,	\
				   .flags = flg, .decode = fn }
	EXIT(EXCEPTION_NMI,	EXCEPTION,	VECTORS, decode_exception),
	EXIT(EXTERNAL_INTERRUPT, INTR,		0, decode_interrupt),
	EXIT(TRIPLE_FAULT,	SHUTDOWN,	0, decode_triple_fault),
	EXIT(INIT_SIGNAL,	UNKNOWN,	0, NULL),
	EXIT(SIPI_SIGNAL,	UNKNOWN,	0, NULL),
	EXIT(INTERRUPT_WINDOW,	INTR_WINDOW,	0, decode_intr_window),
	EXIT(NMI_WINDOW,	NMI_WINDOW,	0, decode_nmi_window),
	EXIT(TASK_SWITCH,	TASK_SWITCH,	0, decode_task_switch),
	EXIT(CPUID,		CPUID,		INSN, NULL),
	EXIT(GETSEC,		UNDEFINED,	0, NULL),
	EXIT(HLT,		HLT,		INSN, NULL),
	EXIT(INVD,		WBINVD,		INSN, NULL),
	EXIT(INVLPG,		UNKNOWN,	0, NULL),
	EXIT(RDPMC,		RDPMC,		INSN, NULL),
	EXIT(RDTSC,		UNKNOWN,	0, NULL),
	EXIT(RSM,		UNDEFINED,	0, NULL),
	EXIT(VMCALL,		HYPERCALL,	INSN, NULL),
	EXIT(VMCLEAR,		UNDEFINED,	0, NULL),
	EXIT(VMLAUNCH,		UNDEFINED,	0, NULL),
	EXIT(VMPTRLD,		UNDEFINED,	0, NULL),
	EXIT(VMPTRST,		UNDEFINED,	0, NULL),
	EXIT(VMREAD,		UNDEFINED,	0, NULL),
	EXIT(VMRESUME,		UNDEFINED,	0, NULL),
	EXIT(VMWRITE,		UNDEFINED,	0, NULL),
	EXIT(VMOFF,		UNDEFINED,	0, NULL),
	EXIT(VMON,		UNDEFINED,	0, NULL),
	EXIT(CR_ACCESS,		CR,		0, NULL),
	EXIT(DR_ACCESS,		DR,		0, NULL),
	EXIT(IO_INSTRUCTION,	IO,		0, NULL),	/* in vmx_decode_exit() */
	EXIT(MSR_READ,		MSR,		INSN, decode_rdmsr),
	EXIT(MSR_WRITE,		MSR,		INSN, decode_wrmsr),
	EXIT(MWAIT_INSTRUCTION,	MWAIT,		INSN, NULL),
	EXIT(MONITOR_INSTRUCTION, MONITOR,	INSN, NULL),
	EXIT(PAUSE_INSTRUCTION,	PAUSE,		INSN, NULL),
	EXIT(TPR_BELOW_THRESHOLD, TPR_BELOW,	0, NULL),
	EXIT(EOI_INDUCED,	EOI_INDUCED,	0, decode_apic),
	EXIT(GDTR_IDTR,		UNKNOWN,	0, NULL),
	EXIT(LDTR_TR,		UNKNOWN,	0, NULL),
	EXIT(EPT_VIOLATION,	FAULT,		VECTORS, decode_ept_violation),
	EXIT(EPT_MISCONFIG,	UNKNOWN,	VECTORS, decode_ept_misconfig),
	EXIT(INVEPT,		UNDEFINED,	0, NULL),
	EXIT(RDTSCP,		UNKNOWN,	0, NULL),
	EXIT(PREEMPTION_TIMER,	INTR,		0, decode_timer),
	EXIT(INVVPID,		UNDEFINED,	0, NULL),
	EXIT(WBINVD,		WBINVD,		INSN, NULL),
	EXIT(XSETBV,		XSETBV,		INSN, NULL),
	EXIT(APIC_WRITE,	APIC_WRITE,	0, decode_apic),
	EXIT(RDRAND,		UNKNOWN,	0, NULL),
	EXIT(INVPCID,		UNKNOWN,	0, NULL),
	EXIT(VMFUNC,		UNDEFINED,	0, NULL),
	EXIT(ENCLS,		UNDEFINED,	0, NULL),
	EXIT(RDSEED,		UNKNOWN,	0, NULL),
	EXIT(PML_FULL,		NONE,		VECTORS, decode_pml_full),
	EXIT(XSAVES,		UNDEFINED,	0, NULL),
	EXIT(XRSTORS,		UNDEFINED,	0, NULL),
	EXIT(UMWAIT,		UNDEFINED,	0, NULL),
	EXIT(TPAUSE,		UNDEFINED,	0, NULL),
	EXIT(BUS_LOCK,		BUS_LOCK,	0, NULL),
	EXIT(NOTIFY,		NOTIFY,		VECTORS, decode_notify),
	EXIT(SEAMCALL,		UNDEFINED,	0, NULL),
	EXIT(TDCALL,		UNDEFINED,	0, NULL),
};

/* Entry failures, for their names. */
static const char *failure_name(u16 basic)
{
	switch (basic) {
	case EXIT_REASON_INVALID_STATE:
		return "INVALID_GUEST_STATE";
	case EXIT_REASON_MSR_LOAD_FAIL:
		return "MSR_LOAD_FAIL";
	case EXIT_REASON_MCE_DURING_VMENTRY:
		return "MACHINE_CHECK_ON_ENTRY";
	}
	return NULL;
}

/**
 * vmx_exit_name() - Symbol of an exit reason, for traces and messages
 * @hw_reason: vcpu->exit.hw_reason
 */
const char *vmx_exit_name(u64 hw_reason)
{
	u16 basic = hw_reason;
	const char *name = NULL;

	if (basic < ARRAY_SIZE(exits))
		name = exits[basic].name;
	if (!name)
		name = failure_name(basic);
	return name ?: "?";
}

/* What rl_skip_insn() asks for one by one: cheaper all at once. */
static __always_inline void read_insn(struct vmx_vcpu *v, struct rl_exit *exit)
{
	struct rl_vcpu *vcpu = &v->vcpu;

	exit->insn_len = vmcs_read32(VM_EXIT_INSTRUCTION_LEN);
	vcpu->rip = vmcs_read(GUEST_RIP);
	vcpu->rflags = vmcs_read(GUEST_RFLAGS);
	vcpu->avail |= BIT(RL_REG_RIP) | BIT(RL_REG_RFLAGS);
	v->intr_state = vmcs_read32(GUEST_INTERRUPTIBILITY_INFO);
	v->valid |= VMX_VALID_INTR;
	exit->shadow = v->intr_state & (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS);
}

/**
 * vmx_decode_exit() - Fill vcpu->exit
 * @v: vCPU that just exited
 * @reason: the VMCS's exit reason, not an entry failure
 */
void vmx_decode_exit(struct vmx_vcpu *v, u32 reason)
{
	struct rl_exit *exit = &v->vcpu.exit;
	const struct vmx_exit *row;
	u16 basic = reason;
	u32 idt;

	exit->hw_reason = reason;
	/* What devices cause most, without the table. */
	if (basic == EXIT_REASON_IO_INSTRUCTION) {
		exit->kind = RL_EXIT_IO;
		read_insn(v, exit);
		decode_io(v, exit);
		return;
	}
	exit->insn_len = 0;
	exit->shadow = true;
	if (unlikely(basic >= ARRAY_SIZE(exits) || !exits[basic].name)) {
		exit->kind = RL_EXIT_UNKNOWN;
		return;
	}
	row = &exits[basic];
	exit->kind = row->kind;
	if (row->flags & INSN)
		read_insn(v, exit);
	if (row->decode)
		row->decode(v, exit);
	if (row->flags & VECTORS) {
		idt = vmcs_read32(IDT_VECTORING_INFO_FIELD);
		if (unlikely(idt & VECTORING_INFO_VALID_MASK))
			vmx_requeue_event(v, idt);
	}
}

/**
 * vmx_fail_entry() - The CPU refused to enter the guest
 * @v: the vCPU
 * @reason: exit reason with its failure bit, or the VM-instruction error
 */
void vmx_fail_entry(struct vmx_vcpu *v, u32 reason)
{
	struct rl_exit *exit = &v->vcpu.exit;

	exit->kind = RL_EXIT_FAIL_ENTRY;
	exit->insn_len = 0;
	exit->hw_reason = reason;
	exit->fail.reason = reason;
	if ((u16)reason == EXIT_REASON_MCE_DURING_VMENTRY &&
	    (reason & VMX_EXIT_REASONS_FAILED_VMENTRY))
		rl_host_machine_check();
	/* Nobody to blame: a reboot took VMX away under us. */
	if (rl_cpu_is_on())
		vmx_explain_failure(v, reason);
}
