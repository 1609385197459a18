// SPDX-License-Identifier: GPL-2.0-only
/* The tracepoints of trace.h, and with them what their fields are taken from. */
#include <asm/apicdef.h>

#include "vcpu.h"
#include "vm.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

#define RL_TRACE_CALL(event, proto, args)				\
	void rl_trace_##event proto { trace_rl_##event args; }

RL_TRACE_CALL(entry, (struct rl_vcpu *vcpu), (vcpu))
RL_TRACE_CALL(exit, (struct rl_vcpu *vcpu), (vcpu))
RL_TRACE_CALL(inject, (struct rl_vcpu *vcpu, u8 kind, u8 vector, bool has_error, u32 error_code),
	      (vcpu, kind, vector, has_error, error_code))
RL_TRACE_CALL(fault, (struct rl_vcpu *vcpu, gpa_t gpa, u32 access), (vcpu, gpa, access))
RL_TRACE_CALL(spte, (struct rl_vm *vm, gfn_t gfn, int level, u64 old_spte, u64 new_spte),
	      (vm, gfn, level, old_spte, new_spte))
RL_TRACE_CALL(irqfd, (struct rl_vm *vm, u32 gsi), (vm, gsi))
RL_TRACE_CALL(msi, (struct rl_vm *vm, u32 dest, bool logical, u32 mode, u8 vector),
	      (vm, dest, logical, mode, vector))
RL_TRACE_CALL(kick, (struct rl_vcpu *vcpu, bool ipi, int cpu), (vcpu, ipi, cpu))
RL_TRACE_CALL(pio, (struct rl_vcpu *vcpu, bool write, u16 port, u32 size, u32 count, u32 val),
	      (vcpu, write, port, size, count, val))
RL_TRACE_CALL(mmio, (struct rl_vcpu *vcpu, bool write, gpa_t gpa, u32 size, const void *val),
	      (vcpu, write, gpa, size, val))
