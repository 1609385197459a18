// SPDX-License-Identifier: GPL-2.0-only
/*
 * What to do for each exit, in terms both vendors share.
 *
 * Owns:    the handlers.
 * Touches: cpu/, irq/, mm/, bus.h for the work; insn.c for instructions.
 * Locks:   the vCPU's thread; vm->srcu where memory or buses are looked up.
 *
 * rl_handle_exit_fast() runs with IRQs off right behind the world switch and
 * does what takes no sleep and no user space. What it leaves alone comes to
 * rl_handle_exit() with everything on. A fast handler that gives up has
 * changed nothing.
 */
#include <linux/percpu.h>
#include <asm/apicdef.h>
#include <asm/cpu.h>
#include <asm/cpufeature.h>
#include <asm/debugreg.h>
#include <asm/msr-index.h>
#include <asm/trapnr.h>

#include "cpu/cpu.h"
#include "insn.h"
#include "netlink.h"
#include "trace.h"
#include "vcpu.h"
#include "vm.h"

static noinline void skip_insn_slow(struct rl_vcpu *vcpu)
{
	unsigned long rip = rl_rip_read(vcpu) + vcpu->exit.insn_len;

	/* Code that is not 64-bit wraps at 4 GiB. */
	rl_rip_write(vcpu, rip >> 32 == 1 && !rl_is_64bit_code(vcpu) ? (u32)rip : rip);
	if (vcpu->exit.shadow)
		rl_op(set_shadow)(vcpu, 0);
	if (rl_rflags_read(vcpu) & X86_EFLAGS_TF)
		rl_singlestep_done(vcpu);
}

/* The usual case has nothing to call, so that callers need no frame for it. */
static __always_inline void skip_insn(struct rl_vcpu *vcpu)
{
	const u32 needed = BIT(RL_REG_RIP) | BIT(RL_REG_RFLAGS);
	unsigned long rip = vcpu->rip + vcpu->exit.insn_len;

	if (unlikely((vcpu->avail & needed) != needed || vcpu->exit.shadow ||
		     vcpu->rflags & X86_EFLAGS_TF || rip >> 32 == 1))
		skip_insn_slow(vcpu);
	else
		rl_rip_write(vcpu, rip);
}

/**
 * rl_skip_insn() - Go on behind the instruction that exited
 * @vcpu: the vCPU
 *
 * vcpu->exit.insn_len must be known (rl_insn_length()).
 */
void rl_skip_insn(struct rl_vcpu *vcpu)
{
	skip_insn(vcpu);
}

/**
 * rl_singlestep_done() - An instruction that was carried out here ended with TF set
 * @vcpu: the vCPU
 */
void rl_singlestep_done(struct rl_vcpu *vcpu)
{
	if (!(vcpu->guest_debug & KVM_GUESTDBG_SINGLESTEP)) {
		rl_queue_exception_p(vcpu, X86_TRAP_DB, DR_STEP);
		return;
	}
	vcpu->pending_exit = KVM_EXIT_DEBUG;
	rl_request(vcpu, RL_REQ_EXIT_USER);
}

static int debug_exit(struct rl_vcpu *vcpu, u8 vector, u64 dr6)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_DEBUG;
	run->debug.arch.exception = vector;
	run->debug.arch.pc = rl_linear_rip(vcpu);
	run->debug.arch.dr6 = dr6 | DR6_RESERVED;
	run->debug.arch.dr7 = rl_eff_dr7(vcpu);
	return RL_EXIT_USER;
}

/**
 * rl_pending_exit() - On RL_REQ_EXIT_USER: tell user space what happened
 * @vcpu: the vCPU
 *
 * Late, since what asked for it may have been the end of another exit's
 * business, with vcpu->run in use.
 */
int rl_pending_exit(struct rl_vcpu *vcpu)
{
	if (vcpu->pending_exit == KVM_EXIT_DEBUG)
		return debug_exit(vcpu, X86_TRAP_DB, DR_STEP);
	vcpu->run->exit_reason = vcpu->pending_exit;
	return RL_EXIT_USER;
}

/**
 * rl_bus_locked() - The exit's instruction locked the bus: tell user space
 * @vcpu: the vCPU
 *
 * By an exit of its own, or by kvm_run's flag if there is another at once.
 */
void rl_bus_locked(struct rl_vcpu *vcpu)
{
	vcpu->bus_locked = true;
	if (!rl_request_test(vcpu, RL_REQ_EXIT_USER))
		vcpu->pending_exit = KVM_EXIT_X86_BUS_LOCK;
	rl_request(vcpu, RL_REQ_EXIT_USER);
}

/* Length known, or found in memory. Anything else than 0: see rl_insn_length(). */
static inline int need_length(struct rl_vcpu *vcpu, bool atomic)
{
	return likely(vcpu->exit.insn_len) ? 0 : rl_insn_length(vcpu, atomic);
}

static void do_cpuid(struct rl_vcpu *vcpu)
{
	u32 eax = vcpu->regs[RL_RAX], ebx, ecx = vcpu->regs[RL_RCX], edx;

	rl_cpuid_exec(vcpu, &eax, &ebx, &ecx, &edx);
	vcpu->regs[RL_RAX] = eax;
	vcpu->regs[RL_RBX] = ebx;
	vcpu->regs[RL_RCX] = ecx;
	vcpu->regs[RL_RDX] = edx;
}

static void set_edx_eax(struct rl_vcpu *vcpu, u64 val)
{
	vcpu->regs[RL_RAX] = (u32)val;
	vcpu->regs[RL_RDX] = val >> 32;
}

/* MSRs that guests touch all the time and that need nothing but the vCPU. */
static bool msr_is_fast(u32 index, bool write)
{
	if (index - APIC_BASE_MSR < 0x100 || index == MSR_IA32_TSC_DEADLINE)
		return true;
	return !write && index == MSR_IA32_APICBASE;
}

/* RDMSR or WRMSR; as rl_msr_get() and rl_msr_set() answer. */
static __always_inline int do_msr(struct rl_vcpu *vcpu, u32 index)
{
	int r;

	if (vcpu->exit.msr.write)
		return rl_msr_set(vcpu, index, rl_edx_eax(vcpu), false);
	r = rl_msr_get(vcpu, index, &vcpu->exit.msr.val, false);
	if (!r)
		set_edx_eax(vcpu, vcpu->exit.msr.val);
	return r;
}

static bool fast_msr(struct rl_vcpu *vcpu)
{
	u32 index = vcpu->regs[RL_RCX];

	if (!msr_is_fast(index, vcpu->exit.msr.write) || need_length(vcpu, true) ||
	    unlikely(rcu_access_pointer(vcpu->vm->msr_filter)))
		return false;
	/* What is refused is for exit_msr() to look at again. */
	if (do_msr(vcpu, index))
		return false;
	skip_insn(vcpu);
	return true;
}

static noinline int bus_in(struct rl_vcpu *vcpu, u16 port, int size)
{
	u32 val = 0;
	int r;

	r = rl_bus_read(vcpu, RL_BUS_PIO, port, size, &val);
	if (!r) {
		rl_trace(pio, vcpu, false, port, size, 1, val);
		rl_pio_result(vcpu, size, val);
	}
	return r;
}

static noinline int bus_io_device(struct rl_vcpu *vcpu, u16 port, int size)
{
	struct rl_vm *vm = vcpu->vm;
	int idx, r;

	idx = srcu_read_lock(&vm->srcu);
	if (vcpu->exit.io.in)
		r = bus_in(vcpu, port, size);
	else
		r = rl_bus_write(vcpu, RL_BUS_PIO, port, size, &vcpu->regs[RL_RAX]);
	srcu_read_unlock(&vm->srcu, idx);
	return r;
}

/* Might a device of the kernel's take it? */
static __always_inline bool io_claimed(struct rl_vcpu *vcpu)
{
	u16 port = vcpu->exit.io.port;

	if (!vcpu->exit.io.in)
		rl_trace(pio, vcpu, true, port, vcpu->exit.io.size, 1, vcpu->regs[RL_RAX]);
	return rl_bus_claimed(vcpu->vm, RL_BUS_PIO, port);
}

static noinline bool fast_io_device(struct rl_vcpu *vcpu)
{
	int size = vcpu->exit.io.size;
	u16 port = vcpu->exit.io.port;

	if ((vcpu->exit.io.in ||
	     !rl_bus_ring(vcpu, RL_BUS_PIO, port, size, &vcpu->regs[RL_RAX])) &&
	    bus_io_device(vcpu, port, size)) {
		vcpu->exit.io.tried = true;
		return false;
	}
	skip_insn(vcpu);
	return true;
}

/* Most ports are user space's: a look is all that these cost. */
static __always_inline bool fast_io(struct rl_vcpu *vcpu)
{
	if (vcpu->exit.io.string || need_length(vcpu, true))
		return false;
	if (io_claimed(vcpu))
		return fast_io_device(vcpu);
	vcpu->exit.io.tried = true;
	return false;
}

/**
 * rl_handle_exit_fast() - Deal with an exit with interrupts still off
 * @vcpu: the vCPU
 *
 * Return: true when the guest can go on.
 */
bool rl_handle_exit_fast(struct rl_vcpu *vcpu)
{
	unsigned int kind = vcpu->exit.kind;

	vcpu->stat.exits[kind]++;
	/* A switch without a jump table is a chain: the frequent ones first. */
	if (kind == RL_EXIT_IO)
		return fast_io(vcpu);
	if (kind == RL_EXIT_MSR)
		return fast_msr(vcpu);
	if (kind == RL_EXIT_CPUID) {
		if (unlikely(vcpu->misc_features) || need_length(vcpu, true))
			return false;
		do_cpuid(vcpu);
		skip_insn(vcpu);
		return true;
	}
	switch (kind) {
	case RL_EXIT_NONE:
		return true;
	case RL_EXIT_FAULT:
		rl_trace(fault, vcpu, vcpu->exit.fault.gpa, vcpu->exit.fault.access);
		if (vcpu->exit.fault.access & RL_ACC_PRESENT &&
		    rl_mmu_fault_fast(vcpu, vcpu->exit.fault.gpa, vcpu->exit.fault.access))
			return true;
		return vcpu->insn && rl_emulate_fast(vcpu);
	case RL_EXIT_APIC_WRITE:
		rl_lapic_write_trap(vcpu, vcpu->exit.apic.offset);
		return true;
	case RL_EXIT_TIMER:
		rl_lapic_timer_fired(vcpu);
		return true;
	case RL_EXIT_EOI_INDUCED:
		rl_lapic_eoi_induced(vcpu, vcpu->exit.apic.offset);
		return true;
	case RL_EXIT_INTR_WINDOW:
	case RL_EXIT_NMI_WINDOW:
	case RL_EXIT_TPR_BELOW:
		rl_request(vcpu, RL_REQ_EVENT);
		/* run_loop() tells user space when it is user space that waits. */
		return !vcpu->user_pic;
	default:
		return false;
	}
}

/* Slow handlers: RL_RESUME, RL_EXIT_USER or -errno. */

/* A handler for what is done with: to the next instruction. */
int rl_exit_skip(struct rl_vcpu *vcpu)
{
	int r = need_length(vcpu, false);

	if (!r)
		rl_skip_insn(vcpu);
	return r ?: RL_RESUME;
}

/* The fast path has dealt with it, or the host's interrupt was taken meanwhile. */
static int exit_none(struct rl_vcpu *vcpu)
{
	return RL_RESUME;
}

static int exit_cpuid(struct rl_vcpu *vcpu)
{
	int r;

	if (vcpu->misc_features && rl_ops->get_cpl(vcpu)) {	/* CPUID faulting */
		RL_GP(vcpu);
		return RL_RESUME;
	}
	r = need_length(vcpu, false);
	if (!r) {
		do_cpuid(vcpu);
		rl_skip_insn(vcpu);
	}
	return r ?: RL_RESUME;
}

static int exit_hlt(struct rl_vcpu *vcpu)
{
	int r = rl_exit_skip(vcpu);

	if (r != RL_RESUME)
		return r;
	if (vcpu->lapic) {
		/* What the STI before it held back goes in without waiting for its window. */
		rl_request(vcpu, RL_REQ_EVENT);
		WRITE_ONCE(vcpu->mp_state, KVM_MP_STATE_HALTED);
		return RL_RESUME;
	}
	vcpu->run->exit_reason = KVM_EXIT_HLT;
	return RL_EXIT_USER;
}

static int complete_out(struct rl_vcpu *vcpu)
{
	/* The length is known, or fast_io() and io_slow() would not have come so far. */
	if (likely(!rl_user_moved_rip(vcpu)))
		skip_insn(vcpu);
	return RL_RESUME;
}

static int complete_in(struct rl_vcpu *vcpu)
{
	u32 val = 0;

	if (rl_user_moved_rip(vcpu))
		return RL_RESUME;
	memcpy(&val, vcpu->pio_data, vcpu->pio.size);
	rl_trace(pio, vcpu, false, vcpu->pio.port, vcpu->pio.size, 1, val);
	rl_pio_result(vcpu, vcpu->pio.size, val);
	return rl_exit_skip(vcpu);
}

static int exit_io(struct rl_vcpu *vcpu);

static __always_inline int user_out(struct rl_vcpu *vcpu, int (*complete)(struct rl_vcpu *))
{
	static const u32 mask[] = { 0, 0xff, 0xffff, 0, ~0u };
	int size = vcpu->exit.io.size;

	vcpu->complete = complete;
	*(u32 *)vcpu->pio_data = vcpu->regs[RL_RAX] & mask[size];
	return rl_pio_user(vcpu, vcpu->exit.io.port, size, false, 1);
}

/* The fast path had no length, or it is a string, or of the port that QEMU's TPR patching has. */
static noinline int io_slow(struct rl_vcpu *vcpu)
{
	int r;

	if (vcpu->exit.io.tried) {
		rl_skip_insn(vcpu);	/* it looks at RIP behind it */
		return user_out(vcpu, NULL);
	}
	if (vcpu->exit.io.string)
		return rl_emulate(vcpu);
	r = need_length(vcpu, false);
	if (r)
		return r;
	if (io_claimed(vcpu) && !bus_io_device(vcpu, vcpu->exit.io.port, vcpu->exit.io.size)) {
		rl_skip_insn(vcpu);
		return RL_RESUME;
	}
	vcpu->exit.io.tried = true;
	return exit_io(vcpu);
}

/* For user space, if no device in the kernel took it. */
static int exit_io(struct rl_vcpu *vcpu)
{
	u16 port = vcpu->exit.io.port;

	if (unlikely(!vcpu->exit.io.tried))
		return io_slow(vcpu);
	if (vcpu->exit.io.in) {
		vcpu->complete = complete_in;
		return rl_pio_user(vcpu, port, vcpu->exit.io.size, true, 1);
	}
	if (unlikely(port == 0x7e) && !(vcpu->vm->quirks_off & KVM_X86_QUIRK_OUT_7E_INC_RIP))
		return io_slow(vcpu);
	return user_out(vcpu, complete_out);
}

static int complete_msr(struct rl_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (rl_user_moved_rip(vcpu))
		return RL_RESUME;
	if (READ_ONCE(run->msr.error)) {
		RL_GP(vcpu);
		return RL_RESUME;
	}
	if (!vcpu->exit.msr.write)
		set_edx_eax(vcpu, READ_ONCE(run->msr.data));
	return rl_exit_skip(vcpu);
}

/* #GP, unless user space wants to carry out accesses that fail for this reason. */
static int msr_failed(struct rl_vcpu *vcpu, u32 reason)
{
	struct kvm_run *run = vcpu->run;
	bool write = vcpu->exit.msr.write;

	if (!(READ_ONCE(vcpu->vm->user_msr_reasons) & reason)) {
		RL_GP(vcpu);
		return RL_RESUME;
	}
	run->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
	memset(&run->msr, 0, sizeof(run->msr));
	run->msr.reason = reason;
	run->msr.index = vcpu->regs[RL_RCX];
	run->msr.data = write ? rl_edx_eax(vcpu) : 0;
	vcpu->complete = complete_msr;
	return RL_EXIT_USER;
}

static int exit_msr(struct rl_vcpu *vcpu)
{
	u32 index = vcpu->regs[RL_RCX];
	int r = need_length(vcpu, false);

	if (r)
		return r;
	if (!rl_msr_allowed(vcpu, index, vcpu->exit.msr.write))
		return msr_failed(vcpu, KVM_MSR_EXIT_REASON_FILTER);
	r = do_msr(vcpu, index);
	if (r < 0)
		return r;
	if (r)
		return msr_failed(vcpu, r == RL_MSR_UNKNOWN ? KVM_MSR_EXIT_REASON_UNKNOWN :
							      KVM_MSR_EXIT_REASON_INVAL);
	rl_skip_insn(vcpu);
	return RL_RESUME;
}

static int exit_cr(struct rl_vcpu *vcpu)
{
	u8 old_cr8 = rl_get_cr8(vcpu);
	int r = rl_emulate(vcpu);

	if (r == RL_RESUME && !vcpu->lapic && rl_get_cr8(vcpu) < old_cr8) {
		/* User space's APIC may have something that is deliverable now. */
		vcpu->run->exit_reason = KVM_EXIT_SET_TPR;
		return RL_EXIT_USER;
	}
	return r;
}

static int exit_dr(struct rl_vcpu *vcpu)
{
	if (vcpu->guest_debug || vcpu->dr7 & RL_DR7_GD) {
		struct rl_exception *exc = &vcpu->exception;
		int r = rl_emulate(vcpu);

		/* General detect is the debugger's when it has set that in its DR7. */
		if (r != RL_RESUME || !exc->pending || exc->vector != X86_TRAP_DB ||
		    exc->payload != RL_DR6_BD || !(rl_eff_dr7(vcpu) & RL_DR7_GD) ||
		    !(vcpu->guest_debug & KVM_GUESTDBG_USE_HW_BP))
			return r;
		exc->pending = false;
		exc->has_payload = false;
		return debug_exit(vcpu, X86_TRAP_DB, RL_DR6_BD);
	}
	/*
	 * A guest that uses its debug registers goes on to use them: let it
	 * have them without exits until it is next scheduled out.
	 */
	vcpu->own_debug = vcpu->debug_wanted = true;
	rl_ops->update_debug(vcpu);
	return RL_RESUME;
}

static int exit_fault(struct rl_vcpu *vcpu)
{
	int r;

	r = rl_mmu_fault(vcpu, vcpu->exit.fault.gpa, vcpu->exit.fault.access);
	switch (r) {
	case RL_MMU_FIXED:
	case RL_MMU_RETRY:
		return RL_RESUME;
	case RL_MMU_MMIO:
		/* The CPU pushed to or read from a device on its way into a handler. */
		if (rl_event_pending(vcpu))
			return rl_internal_error(vcpu, KVM_INTERNAL_ERROR_DELIVERY_EV);
		return rl_emulate(vcpu);
	default:
		if (r == -EFAULT)
			rl_netlink_vcpu_stopped(vcpu, RINGLET_STOP_REASON_MEMORY, 0);
		return r;
	}
}

/*
 * An #AC that the guest's own alignment check did not raise is that of the host's
 * split-lock detection, of which the guest knows nothing: SDM Vol 3A, "Features to Disable Bus Locks".
 */
static bool is_host_split_lock(struct rl_vcpu *vcpu)
{
	return boot_cpu_has(X86_FEATURE_SPLIT_LOCK_DETECT) &&
	       !(rl_ops->get_cpl(vcpu) == 3 && rl_cr0_read(vcpu) & X86_CR0_AM &&
		 rl_rflags_read(vcpu) & X86_EFLAGS_AC);
}

/* The kernel warns and lets this thread do it, or ends it. */
static int exit_split_lock(struct rl_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (handle_guest_split_lock(rl_rip_read(vcpu)))
		return RL_RESUME;
	run->exit_reason = KVM_EXIT_EXCEPTION;
	run->ex.exception = X86_TRAP_AC;
	run->ex.error_code = vcpu->exit.exc.error_code;
	return RL_EXIT_USER;
}

static int exit_exception(struct rl_vcpu *vcpu)
{
	u8 vector = vcpu->exit.exc.vector;

	if (vector == X86_TRAP_UD && rl_foreign_insn(vcpu))
		return RL_RESUME;
	if (vector == X86_TRAP_DB) {
		if (vcpu->guest_debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP))
			return debug_exit(vcpu, vector, vcpu->exit.exc.payload);
		rl_queue_exception_p(vcpu, vector, vcpu->exit.exc.payload & ~DR6_RESERVED);
		return RL_RESUME;
	}
	if (vector == X86_TRAP_AC && is_host_split_lock(vcpu))
		return exit_split_lock(vcpu);
	if (vector == X86_TRAP_BP && (vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP))
		return debug_exit(vcpu, vector, vcpu->dr6);
	if (vcpu->exit.exc.has_error)
		rl_queue_exception_e(vcpu, vector, vcpu->exit.exc.error_code);
	else
		rl_queue_exception(vcpu, vector);
	return RL_RESUME;
}

static int exit_shutdown(struct rl_vcpu *vcpu)
{
	if (rl_caps.shutdown_clobbers)
		rl_vcpu_reset(vcpu, true);
	rl_netlink_vcpu_stopped(vcpu, RINGLET_STOP_REASON_SHUTDOWN, 0);
	vcpu->run->exit_reason = KVM_EXIT_SHUTDOWN;
	return RL_EXIT_USER;
}

static int exit_pause(struct rl_vcpu *vcpu)
{
	rl_vcpu_yield_to_peer(vcpu);
	return rl_caps.pause_skips ? rl_exit_skip(vcpu) : RL_RESUME;
}

static int exit_undefined(struct rl_vcpu *vcpu)
{
	rl_queue_exception(vcpu, X86_TRAP_UD);
	return RL_RESUME;
}

/* MONITOR and MWAIT do nothing, even where CPUID says that they are not there. */
static int exit_mwait(struct rl_vcpu *vcpu)
{
	u64 off = vcpu->vm->quirks_off;

	if (off & KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS &&
	    !(off & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT ?
	      vcpu->misc_enable & MSR_IA32_MISC_ENABLE_MWAIT :
	      rl_guest_has(vcpu, X86_FEATURE_MWAIT)))
		return exit_undefined(vcpu);
	return rl_exit_skip(vcpu);
}

static int exit_xsetbv(struct rl_vcpu *vcpu)
{
	if (rl_ops->get_cpl(vcpu) || (u32)vcpu->regs[RL_RCX] ||
	    rl_set_xcr0(vcpu, rl_edx_eax(vcpu))) {
		RL_GP(vcpu);
		return RL_RESUME;
	}
	return rl_exit_skip(vcpu);
}

/* There is no PMU. */
static int exit_rdpmc(struct rl_vcpu *vcpu)
{
	RL_GP(vcpu);
	return RL_RESUME;
}

static int exit_fail_entry(struct rl_vcpu *vcpu)
{
	rl_netlink_vcpu_stopped(vcpu, RINGLET_STOP_REASON_ENTRY_FAILED, 0);
	vcpu->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	vcpu->run->fail_entry.hardware_entry_failure_reason = vcpu->exit.fail.reason;
	vcpu->run->fail_entry.cpu = raw_smp_processor_id();
	return RL_EXIT_USER;
}

static int exit_unknown(struct rl_vcpu *vcpu)
{
	pr_debug_ratelimited("vCPU %u: unexpected exit %#llx\n", vcpu->id, vcpu->exit.hw_reason);
	return rl_internal_error(vcpu, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON);
}

/* Without the guest's state there is no going on, whether user space asked for this or not. */
static int exit_notify(struct rl_vcpu *vcpu)
{
	bool invalid = vcpu->exit.notify.invalid;

	if (!invalid && !(vcpu->vm->notify & KVM_X86_NOTIFY_VMEXIT_USER))
		return RL_RESUME;
	vcpu->run->exit_reason = KVM_EXIT_NOTIFY;
	vcpu->run->notify.flags = invalid ? KVM_NOTIFY_CONTEXT_INVALID : 0;
	return RL_EXIT_USER;
}

static int (*const handlers[RL_NR_EXITS])(struct rl_vcpu *vcpu) = {
	[RL_EXIT_NONE]		= exit_none,
	[RL_EXIT_INTR]		= exit_none,
	[RL_EXIT_CPUID]		= exit_cpuid,
	[RL_EXIT_HLT]		= exit_hlt,
	[RL_EXIT_IO]		= exit_io,
	[RL_EXIT_MSR]		= exit_msr,
	[RL_EXIT_CR]		= exit_cr,
	[RL_EXIT_DR]		= exit_dr,
	[RL_EXIT_FAULT]		= exit_fault,
	[RL_EXIT_EXCEPTION]	= exit_exception,
	[RL_EXIT_INTR_WINDOW]	= exit_none,
	[RL_EXIT_NMI_WINDOW]	= exit_none,
	[RL_EXIT_SHUTDOWN]	= exit_shutdown,
	[RL_EXIT_HYPERCALL]	= rl_hypercall,
	[RL_EXIT_PAUSE]		= exit_pause,
	[RL_EXIT_MONITOR]	= exit_mwait,
	[RL_EXIT_MWAIT]		= exit_mwait,
	[RL_EXIT_WBINVD]	= rl_exit_skip,
	[RL_EXIT_XSETBV]	= exit_xsetbv,
	[RL_EXIT_RDPMC]		= exit_rdpmc,
	[RL_EXIT_TASK_SWITCH]	= rl_task_switch,
	[RL_EXIT_UNDEFINED]	= exit_undefined,
	[RL_EXIT_APIC_WRITE]	= exit_none,
	[RL_EXIT_EOI_INDUCED]	= exit_none,
	[RL_EXIT_TPR_BELOW]	= exit_none,
	[RL_EXIT_TIMER]		= exit_none,
	[RL_EXIT_BUS_LOCK]	= exit_none,
	[RL_EXIT_NOTIFY]	= exit_notify,
	[RL_EXIT_EMULATE]	= rl_emulate,
	[RL_EXIT_FAIL_ENTRY]	= exit_fail_entry,
	[RL_EXIT_UNKNOWN]	= exit_unknown,
};

/**
 * rl_handle_exit() - Deal with an exit that the fast path left alone
 * @vcpu: the vCPU
 *
 * Context: vCPU's thread, loaded, may sleep.
 * Return: RL_RESUME, RL_EXIT_USER with vcpu->run filled in, or -errno.
 */
int rl_handle_exit(struct rl_vcpu *vcpu)
{
	return handlers[vcpu->exit.kind](vcpu);
}
