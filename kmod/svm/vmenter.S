/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The world switch of SVM. Switches what VMRUN does not: the other general
 * registers, and FS, GS, TR, LDTR and the SYSCALL and SYSENTER MSRs by VMLOAD
 * and VMSAVE. APM Vol 2, "VMRUN Instruction" and "VMSAVE and VMLOAD".
 */
#include <linux/linkage.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/nospec-branch.h>

/* struct rl_vcpu.regs: encoding order, 8 bytes each; RAX and RSP are in the VMCB */
#define RCX	 1 * 8
#define RDX	 2 * 8
#define RBX	 3 * 8
#define RBP	 5 * 8
#define RSI	 6 * 8
#define RDI	 7 * 8
#define R8	 8 * 8
#define R9	 9 * 8
#define R10	10 * 8
#define R11	11 * 8
#define R12	12 * 8
#define R13	13 * 8
#define R14	14 * 8
#define R15	15 * 8

.section .noinstr.text, "ax"

/*
 * void svm_enter(unsigned long *regs, hpa_t vmcb_pa, hpa_t host_vmcb_pa)
 *
 * Called with IRQs off. GIF is clear from CLGI to STGI, so that IF can be set
 * for VMRUN: its value there says whether physical interrupts end the run
 * (V_INTR_MASKING). A pending host NMI is taken at STGI.
 */
SYM_FUNC_START(svm_enter)
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rdx			/* host_vmcb_pa */
	push	%rdi			/* regs */
	push	%rsi			/* vmcb_pa */

	clgi
	sti
	mov	%rsi, %rax
	vmload	%rax

	mov	RCX(%rdi), %rcx
	mov	RDX(%rdi), %rdx
	mov	RBX(%rdi), %rbx
	mov	RBP(%rdi), %rbp
	mov	RSI(%rdi), %rsi
	mov	R8(%rdi), %r8
	mov	R9(%rdi), %r9
	mov	R10(%rdi), %r10
	mov	R11(%rdi), %r11
	mov	R12(%rdi), %r12
	mov	R13(%rdi), %r13
	mov	R14(%rdi), %r14
	mov	R15(%rdi), %r15
	mov	RDI(%rdi), %rdi

	VM_CLEAR_CPU_BUFFERS
	vmrun	%rax

	/* VMRUN restored RAX, which is vmcb_pa, and RSP. */
	vmsave	%rax
	pop	%rax			/* vmcb_pa, done with */
	pop	%rax			/* regs */
	mov	%rcx, RCX(%rax)
	mov	%rdx, RDX(%rax)
	mov	%rbx, RBX(%rax)
	mov	%rbp, RBP(%rax)
	mov	%rsi, RSI(%rax)
	mov	%rdi, RDI(%rax)
	mov	%r8, R8(%rax)
	mov	%r9, R9(%rax)
	mov	%r10, R10(%rax)
	mov	%r11, R11(%rax)
	mov	%r12, R12(%rax)
	mov	%r13, R13(%rax)
	mov	%r14, R14(%rax)
	mov	%r15, R15(%rax)

	/* GS base comes back: per-CPU data is there from here on. */
	pop	%rax			/* host_vmcb_pa */
	vmload	%rax
	cli

#ifdef CONFIG_RETPOLINE
	/* The guest's return addresses must not predict ours: before the first RET. */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RETPOLINE
#endif
	/* RETBleed, SRSO: the guest may have trained RET. Before the host's NMI at STGI. */
	UNTRAIN_RET
	ALTERNATIVE "", "call entry_ibpb", X86_FEATURE_IBPB_ON_VMEXIT
	stgi

	/* No value of the guest's is left for speculation to use. */
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d

	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET
SYM_FUNC_END(svm_enter)
