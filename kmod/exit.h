/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * struct rl_exit: what made the guest stop, in terms both vendors share. A
 * backend fills it right after the world switch, interrupts still off; exit.c
 * and everything behind it never looks at a VMCS or VMCB.
 */
#ifndef RL_EXIT_H
#define RL_EXIT_H

#include "types.h"

enum rl_exit_kind {
	RL_EXIT_NONE,		/* the backend dealt with it: enter again */
	RL_EXIT_INTR,		/* host interrupt, taken when IRQs are enabled */
	RL_EXIT_CPUID,
	RL_EXIT_HLT,
	RL_EXIT_IO,
	RL_EXIT_MSR,
	RL_EXIT_CR,
	RL_EXIT_DR,
	RL_EXIT_FAULT,		/* second-stage page fault */
	RL_EXIT_EXCEPTION,
	RL_EXIT_INTR_WINDOW,
	RL_EXIT_NMI_WINDOW,
	RL_EXIT_IRET,		/* SVM: the guest leaves its NMI handler */
	RL_EXIT_SHUTDOWN,	/* triple fault */
	RL_EXIT_HYPERCALL,
	RL_EXIT_PAUSE,
	RL_EXIT_MONITOR,
	RL_EXIT_MWAIT,
	RL_EXIT_WBINVD,		/* WBINVD and INVD: nothing to do, skip */
	RL_EXIT_XSETBV,
	RL_EXIT_RDPMC,
	RL_EXIT_RDTSC,		/* also RDTSCP */
	RL_EXIT_TASK_SWITCH,
	RL_EXIT_UNDEFINED,	/* an instruction the guest's CPU lacks: #UD */
	RL_EXIT_APIC_WRITE,	/* APICv: trap after a virtual-APIC write */
	RL_EXIT_EOI_INDUCED,	/* APICv: an EOI the I/O APIC wants to see */
	RL_EXIT_TPR_BELOW,	/* TPR dropped below the threshold */
	RL_EXIT_STEP,		/* monitor trap flag */
	RL_EXIT_TIMER,		/* preemption timer stands for the TSC deadline */
	RL_EXIT_EMULATE,	/* emulate the instruction at RIP */
	RL_EXIT_FAIL_ENTRY,	/* the CPU refused the control structure */
	RL_EXIT_UNKNOWN,
	RL_NR_EXITS
};

/* Access bits of a second-stage fault and of a guest page walk. */
#define RL_ACC_READ	0x1
#define RL_ACC_WRITE	0x2
#define RL_ACC_FETCH	0x4
#define RL_ACC_USER	0x8
#define RL_ACC_PRESENT	0x10	/* an entry was there; the access was refused */
#define RL_ACC_WALK	0x20	/* by the CPU's walk of the guest's page table */

/**
 * struct rl_exit - one VM exit
 * @kind: which member of the union counts
 * @insn_len: bytes of the instruction that exited, 0 when the CPU does not tell
 * @hw_reason: the vendor's exit code, for traces and error reports
 * @event_info: an event whose delivery was cut short was put back already by
 *	the backend; nothing for common code to do
 */
struct rl_exit {
	u16 kind;
	u8 insn_len;
	u64 hw_reason;
	union {
		struct {
			u16 port;
			u8 size;	/* 1, 2 or 4 bytes */
			bool in;
			bool string;	/* INS or OUTS: goes to the emulator */
			bool tried;	/* no device in the kernel took it */
		} io;
		struct {
			gpa_t gpa;
			u32 access;	/* RL_ACC_* */
			u8 bytes_len;	/* of @bytes, 0 without decode assists */
			u8 bytes[15];
		} fault;
		struct {
			bool write;	/* index in RCX, value in EDX:EAX */
		} msr;
		struct {
			u8 cr;		/* 0, 3, 4 or 8 */
			u8 gpr;		/* index into vcpu->regs */
			bool write;
			bool decoded;	/* false: emulate, the CPU gave no operand */
		} cr;
		struct {
			u8 dr;
			u8 gpr;
			bool write;
			bool decoded;
		} dr;
		struct {
			u8 vector;
			bool has_error;
			u32 error_code;
			u64 payload;	/* CR2 of #PF, DR6 of #DB */
		} exc;
		struct {
			u16 selector;
			u8 source;	/* RL_TASK_* */
			bool has_error;
			u32 error_code;
		} task;
		struct {
			u32 offset;	/* in the APIC page */
		} apic;
		struct {
			u64 reason;	/* hardware_entry_failure_reason */
		} fail;
	};
};

int rl_handle_exit(struct rl_vcpu *vcpu);
bool rl_handle_exit_fast(struct rl_vcpu *vcpu);
int rl_pending_exit(struct rl_vcpu *vcpu);
int rl_complete_user_exit(struct rl_vcpu *vcpu);

#endif
