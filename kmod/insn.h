/* SPDX-License-Identifier: GPL-2.0-only */
/* The emulator's place in the kernel: see insn.c. */
#ifndef RL_INSN_H
#define RL_INSN_H

#include "vcpu.h"

int rl_emulate(struct rl_vcpu *vcpu);
int rl_task_switch(struct rl_vcpu *vcpu);
bool rl_emulate_fast(struct rl_vcpu *vcpu);
int rl_insn_length(struct rl_vcpu *vcpu, bool atomic);
void rl_insn_free(struct rl_vcpu *vcpu);
void rl_watch_rip(struct rl_vcpu *vcpu);
int rl_internal_error(struct rl_vcpu *vcpu, u32 suberror);

/* Since the exit that user space now finishes, see rl_watch_rip(). */
static inline bool rl_user_moved_rip(struct rl_vcpu *vcpu)
{
	return unlikely(vcpu->rip_watched) && rl_linear_rip(vcpu) != vcpu->user_rip;
}

/**
 * rl_pio_user() - Describe a port access to user space
 * @vcpu: the vCPU
 * @port: I/O port
 * @size: bytes per item
 * @in: IN rather than OUT
 * @count: number of items
 *
 * The data of an OUT is in vcpu->pio_data already.
 */
static inline int rl_pio_user(struct rl_vcpu *vcpu, u16 port, int size, bool in, u32 count)
{
	struct kvm_run *run = vcpu->run;

	if (in) {
		vcpu->pio.port = port;
		vcpu->pio.size = size;
		vcpu->pio.count = count;
	}
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = count;
	run->io.data_offset = KVM_PIO_PAGE_OFFSET * PAGE_SIZE;
	return RL_EXIT_USER;
}

#endif
