/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * struct rl_exit: what made the guest stop, in terms both vendors share. A
 * backend fills it right after the world switch, interrupts still off; exit.c
 * and everything behind it never looks at a VMCS or VMCB.
 */
#ifndef RL_EXIT_H
#define RL_EXIT_H

#include "types.h"

/* X(kind, its word in traces and statistics) */
#define RL_EXIT_KINDS(X)						\
	/* the backend dealt with it: enter again */			\
	X(NONE, "none")							\
	/* host interrupt, taken when IRQs are enabled */		\
	X(INTR, "interrupt")						\
	X(CPUID, "cpuid")						\
	X(HLT, "hlt")							\
	X(IO, "io")							\
	X(MSR, "msr")							\
	X(CR, "cr")							\
	X(DR, "dr")							\
	/* second-stage page fault */					\
	X(FAULT, "fault")						\
	X(EXCEPTION, "exception")					\
	X(INTR_WINDOW, "interrupt-window")				\
	X(NMI_WINDOW, "nmi-window")					\
	/* triple fault */						\
	X(SHUTDOWN, "shutdown")						\
	X(HYPERCALL, "hypercall")					\
	X(PAUSE, "pause")						\
	X(MONITOR, "monitor")						\
	X(MWAIT, "mwait")						\
	/* WBINVD and INVD: nothing to do, skip */			\
	X(WBINVD, "wbinvd")						\
	X(XSETBV, "xsetbv")						\
	X(RDPMC, "rdpmc")						\
	X(TASK_SWITCH, "task-switch")					\
	/* an instruction the guest's CPU lacks: #UD */			\
	X(UNDEFINED, "undefined")					\
	/* APICv: trap after a virtual-APIC write */			\
	X(APIC_WRITE, "apic-write")					\
	/* APICv: an EOI the I/O APIC wants to see */			\
	X(EOI_INDUCED, "eoi")						\
	/* TPR dropped below the threshold */				\
	X(TPR_BELOW, "tpr-below")					\
	/* preemption timer stands for the TSC deadline */		\
	X(TIMER, "timer")						\
	/* an instruction locked the bus; done with it */		\
	X(BUS_LOCK, "bus-lock")						\
	/* no event could get in for a whole notify window */		\
	X(NOTIFY, "notify")						\
	/* emulate the instruction at RIP */				\
	X(EMULATE, "emulate")						\
	/* the CPU refused the control structure */			\
	X(FAIL_ENTRY, "entry-failed")					\
	X(UNKNOWN, "unknown")

#define RL_EXIT_ENUM(kind, word) RL_EXIT_##kind,
enum rl_exit_kind { RL_EXIT_KINDS(RL_EXIT_ENUM) RL_NR_EXITS };

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
 * @shadow: the instruction may be in an interrupt shadow, which ends with it
 * @hw_reason: the vendor's exit code, for traces and error reports
 */
struct rl_exit {
	u16 kind;
	u8 insn_len;
	bool shadow;
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
			u64 val;	/* room for what RDMSR gives */
		} msr;
		struct {
			u8 vector;
			bool has_error;
			u32 error_code;
			u64 payload;	/* CR2 of #PF, DR6 of #DB */
		} exc;
		struct {
			u16 selector;
			u8 source;	/* enum rl_emul_task */
			bool skip;	/* by an instruction, which is done with it */
			bool has_error;
			u32 error_code;
		} task;
		struct {
			u32 offset;	/* in the APIC page */
		} apic;
		struct {
			bool invalid;	/* the guest's state is lost */
		} notify;
		struct {
			u64 reason;	/* hardware_entry_failure_reason */
		} fail;
	};
};

int rl_handle_exit(struct rl_vcpu *vcpu);
bool rl_handle_exit_fast(struct rl_vcpu *vcpu);
int rl_pending_exit(struct rl_vcpu *vcpu);
void rl_bus_locked(struct rl_vcpu *vcpu);
int rl_exit_skip(struct rl_vcpu *vcpu);

/* hypercall.c */
int rl_hypercall(struct rl_vcpu *vcpu);
bool rl_foreign_insn(struct rl_vcpu *vcpu);

#endif
