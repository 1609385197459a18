/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What C and vmenter.S agree on. The offsets are checked by static_assert in
 * vmx.c.
 */
#ifndef RL_VMX_VMENTER_H
#define RL_VMX_VMENTER_H

#define VMX_ENTRY_HOST_RSP	0
#define VMX_ENTRY_SPEC_CTRL	8
#define VMX_ENTRY_LAUNCHED	12

#define VMX_FIELD_HOST_RSP	0x6c14

#ifndef __ASSEMBLY__
#include <linux/types.h>

/**
 * struct vmx_entry - operand of rl_vmx_enter()
 * @host_rsp: value of the VMCS field HOST_RSP; the stack is seldom elsewhere
 * @spec_ctrl: the guest's IA32_SPEC_CTRL
 * @launched: VMRESUME rather than VMLAUNCH
 */
struct vmx_entry {
	unsigned long host_rsp;
	u32 spec_ctrl;
	bool launched;
};

/**
 * rl_vmx_enter() - Into the guest with the current VMCS, and back
 * @entry: see above
 * @regs: guest's GPRs by instruction encoding, loaded and saved; RSP is not
 *
 * Context: IRQs off, preemption off.
 * Return: 0 after a VM exit, 1 when VMLAUNCH or VMRESUME failed (or VMX is off).
 */
int rl_vmx_enter(struct vmx_entry *entry, unsigned long *regs);

/* What the CPU does for an interrupt whose gate leads to @handler. IRQs off. */
void rl_vmx_call_gate(unsigned long handler);

/* Where VM exits arrive: the value of HOST_RIP. */
extern char rl_vmx_exit_point[];
#endif
#endif
