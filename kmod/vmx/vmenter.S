/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The world switch: general registers, HOST_RSP, and the speculation barriers
 * that have to sit right here. Policy is in vmx.c.
 *
 * Manuals: SDM Vol 3C, "VM Entries" and "VM Exits"; the kernel's
 *          Documentation/admin-guide/hw-vuln/ for the barriers.
 */
#include <linux/linkage.h>
#include <asm/alternative.h>
#include <asm/asm.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/percpu.h>
#include <asm/segment.h>
#include "vmenter.h"

/* Places in vcpu->regs, in the order of the instruction encoding. */
#define REG_RAX	(0 * 8)
#define REG_RCX	(1 * 8)
#define REG_RDX	(2 * 8)
#define REG_RBX	(3 * 8)
#define REG_RBP	(5 * 8)
#define REG_RSI	(6 * 8)
#define REG_RDI	(7 * 8)

/* void rl_vmx_call_gate(unsigned long handler): see vmenter.h */
SYM_FUNC_START(rl_vmx_call_gate)
	push	%rbp
	mov	%rsp, %rbp
	and	$~15, %rsp	/* as interrupts do in 64-bit mode */
	push	$__KERNEL_DS
	push	%rbp
	pushf
	push	$__KERNEL_CS
	CALL_NOSPEC rdi		/* the rest of the frame is what CALL pushes; IRET returns */
	mov	%rbp, %rsp	/* it is: for objtool, which knows CALL and RET only */
	pop	%rbp
	RET
SYM_FUNC_END(rl_vmx_call_gate)

.section .noinstr.text, "ax"

/* int rl_vmx_enter(struct vmx_entry *entry, unsigned long *regs): see vmenter.h */
SYM_FUNC_START(rl_vmx_enter)
	push	%rbp
	mov	%rsp, %rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rdi		/* entry */
	push	%rsi		/* regs: on top of the stack at the exit */

	cmp	%rsp, VMX_ENTRY_HOST_RSP(%rdi)
	je	.Lrsp_known
	mov	$VMX_FIELD_HOST_RSP, %eax
.Lwrite_rsp:
	vmwrite	%rsp, %rax
	mov	%rsp, VMX_ENTRY_HOST_RSP(%rdi)
.Lrsp_known:

	/*
	 * From here to the entry no RET and no indirect branch: the guest's
	 * SPEC_CTRL may allow what the host's forbids.
	 */
	ALTERNATIVE "jmp .Lspec_in_done", "", X86_FEATURE_MSR_SPEC_CTRL
	mov	VMX_ENTRY_SPEC_CTRL(%rdi), %eax
	cmp	%eax, PER_CPU_VAR(x86_spec_ctrl_current)
	je	.Lspec_in_done
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	xor	%edx, %edx
	wrmsr
.Lspec_in_done:

	/* CF: not launched yet. Nothing below changes CF; VERW changes ZF. */
	cmpb	$1, VMX_ENTRY_LAUNCHED(%rdi)

	mov	REG_RAX(%rsi), %rax
	mov	REG_RCX(%rsi), %rcx
	mov	REG_RDX(%rsi), %rdx
	mov	REG_RBX(%rsi), %rbx
	mov	REG_RBP(%rsi), %rbp
	mov	REG_RDI(%rsi), %rdi
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	mov	(\n * 8)(%rsi), %r\n
	.endr
	mov	REG_RSI(%rsi), %rsi

	/* The guest shall not find the host's data in the CPU's buffers. */
	CLEAR_CPU_BUFFERS

	jc	.Lvmlaunch

	/* A VM exit arrives at rl_vmx_exit_point with the stack as it is now. */
	UNWIND_HINT_SAVE
.Lvmresume:
	vmresume
	jmp	.Lfail
.Lvmlaunch:
	vmlaunch
	jmp	.Lfail

	_ASM_EXTABLE(.Lwrite_rsp, .Lfail)
	_ASM_EXTABLE(.Lvmresume, .Lfail)
	_ASM_EXTABLE(.Lvmlaunch, .Lfail)

SYM_INNER_LABEL(rl_vmx_exit_point, SYM_L_GLOBAL)
	UNWIND_HINT_RESTORE
	ENDBR

	push	%rsi
	mov	8(%rsp), %rsi
	mov	%rax, REG_RAX(%rsi)
	mov	%rcx, REG_RCX(%rsi)
	mov	%rdx, REG_RDX(%rsi)
	mov	%rbx, REG_RBX(%rsi)
	mov	%rbp, REG_RBP(%rsi)
	mov	%rdi, REG_RDI(%rsi)
	pop	REG_RSI(%rsi)
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	mov	%r\n, (\n * 8)(%rsi)
	.endr

	xor	%ebx, %ebx	/* the result */
.Lout:
	/*
	 * Nothing of the guest stays in a register that speculation could use
	 * as an address, callee-saved ones before their reload included.
	 */
	xor	%eax, %eax
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%ebp, %ebp
	xor	%edi, %edi
	.irp n, 8, 9, 10, 11, 12, 13, 14, 15
	xor	%r\n\()d, %r\n\()d
	.endr
	pop	%rsi

	/* Before the first RET: the guest has filled the return stack buffer. */
	FILL_RETURN_BUFFER %rcx, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, \
			   X86_FEATURE_RSB_VMEXIT_LITE
	pop	%rdi

	ALTERNATIVE "jmp .Lspec_out_done", "", X86_FEATURE_MSR_SPEC_CTRL
	mov	PER_CPU_VAR(x86_spec_ctrl_current), %eax
	/* Legacy IBRS has to be written after every rise in privilege. */
	ALTERNATIVE "", "jmp .Lspec_out_write", X86_FEATURE_KERNEL_IBRS
	cmp	%eax, VMX_ENTRY_SPEC_CTRL(%rdi)
	je	.Lspec_out_same
.Lspec_out_write:
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	xor	%edx, %edx
	wrmsr
.Lspec_out_same:
	lfence			/* no speculation past a skipped WRMSR */
.Lspec_out_done:

	CLEAR_BRANCH_HISTORY_VMEXIT

	mov	%ebx, %eax
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET

.Lfail:
	mov	$1, %ebx
	jmp	.Lout
SYM_FUNC_END(rl_vmx_enter)
