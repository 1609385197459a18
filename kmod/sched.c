// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU as something the host schedules: kicks, sleeping in HLT, directed yield.
 *
 * Owns:    vcpu->wait, ->pid, ->mode (with vcpu.c).
 * Locks:   none of its own. vcpu->mode and vcpu->requests are ordered by full
 *          barriers, as vcpu-requests.rst has it:
 *
 *            requester                      vCPU, IRQs off
 *            set bit in requests            mode = IN_GUEST
 *            smp_mb()                       smp_mb()
 *            read mode: IN_GUEST? IPI       read requests: any? stay out
 *
 * Halt polling, rule: before it sleeps, a halted vCPU looks for a wake-up for
 * up to halt_poll_ns, which grows (doubling from 10 us up to the module
 * parameter or KVM_CAP_HALT_POLL) when a wake-up came just after the poll gave up and goes to
 * nothing when sleeps are long. Cost: that much CPU time per halt, only while
 * no other task wants the CPU.
 */
#include <linux/hw_breakpoint.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/smp.h>
#include <asm/debugreg.h>

#include "compat.h"
#include "cpu/cpu.h"
#include "trace.h"
#include "vcpu.h"
#include "vm.h"

static unsigned int halt_poll_ns = 200000;
module_param(halt_poll_ns, uint, 0644);
MODULE_PARM_DESC(halt_poll_ns, "longest time a halted vCPU polls before it sleeps");

#define HALT_POLL_START_NS	10000

void rl_sched_exit(struct rl_vcpu *vcpu)
{
	put_pid(rcu_dereference_protected(vcpu->pid, true));
}

/**
 * rl_debug_load() - The guest's or its debugger's DR0-3 into the CPU
 * @vcpu: the vCPU, with ->debug_wanted
 *
 * Context: preemption off until rl_debug_put(). DR7 is the backend's.
 */
void rl_debug_load(struct rl_vcpu *vcpu)
{
	vcpu->debug_loaded = true;
	set_debugreg(0, 7);
	set_debugreg(vcpu->eff_db[0], 0);
	set_debugreg(vcpu->eff_db[1], 1);
	set_debugreg(vcpu->eff_db[2], 2);
	set_debugreg(vcpu->eff_db[3], 3);
}

/* What the guest did to its debug registers is kept, the host's breakpoints are back. */
void rl_debug_put(struct rl_vcpu *vcpu)
{
	vcpu->debug_loaded = false;
	if (vcpu->own_debug) {
		vcpu->own_debug = false;
		rl_ops->sync_debug(vcpu);
		rl_update_dr(vcpu);
	}
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
}

/* KVM_RUN from another thread than last time. */
void rl_sched_new_thread(struct rl_vcpu *vcpu)
{
	struct pid *old = rcu_dereference_protected(vcpu->pid, lockdep_is_held(&vcpu->mutex));

	rcu_assign_pointer(vcpu->pid, get_task_pid(current, PIDTYPE_PID));
	if (old) {
		synchronize_rcu();
		put_pid(old);
	}
}

bool rl_vcpu_wake(struct rl_vcpu *vcpu)
{
	if (rcuwait_wake_up(&vcpu->wait)) {
		atomic64_inc(&vcpu->stat.halt_wakeups);
		rl_trace(kick, vcpu, false, vcpu->cpu);
		return true;
	}
	return false;
}

static void count_kick(struct rl_vcpu *vcpu, int cpu)
{
	atomic64_inc(&vcpu->stat.kicks);
	rl_trace(kick, vcpu, true, cpu);
}

static void kick(struct rl_vcpu *vcpu, bool post)
{
	int me, cpu;

	if (rl_vcpu_wake(vcpu))
		return;
	me = get_cpu();
	/* See the table on top. */
	smp_mb();
	cpu = READ_ONCE(vcpu->cpu);
	if (READ_ONCE(vcpu->mode) == RL_IN_GUEST && cpu != me && cpu >= 0) {
		count_kick(vcpu, cpu);
		if (post)
			rl_send_posted(cpu);
		else
			smp_send_reschedule(cpu);
	}
	put_cpu();
}

/**
 * rl_vcpu_kick() - Make a vCPU look at its requests
 * @vcpu: the vCPU
 *
 * Out of the guest by an IPI, or out of HLT. Context: any but NMI.
 */
void rl_vcpu_kick(struct rl_vcpu *vcpu)
{
	kick(vcpu, false);
}

/**
 * rl_vcpu_post() - Have the CPU look at the interrupts posted for a vCPU
 * @vcpu: the vCPU
 *
 * In the guest by an IPI that does not end the run, or out of HLT. Context: any but NMI.
 */
void rl_vcpu_post(struct rl_vcpu *vcpu)
{
	kick(vcpu, true);
}

static void ack_ipi(void *unused)
{
}

/**
 * rl_request_all() - A request to every vCPU of a VM
 * @vm: the VM
 * @req: which one
 * @wait: return only when those in the guest have left it. IRQs must be on;
 *	a spinlock may be held.
 */
void rl_request_all(struct rl_vm *vm, enum rl_request req, bool wait)
{
	struct rl_vcpu *vcpu;
	int me, cpu, i;

	me = get_cpu();
	rl_for_each_vcpu(i, vcpu, vm) {
		rl_request(vcpu, req);
		if (!wait) {
			rl_vcpu_kick(vcpu);
			continue;
		}
		/* See the table on top. */
		smp_mb();
		cpu = READ_ONCE(vcpu->cpu);
		if (READ_ONCE(vcpu->mode) != RL_OUTSIDE_GUEST && cpu >= 0 && cpu != me) {
			count_kick(vcpu, cpu);
			smp_call_function_single(cpu, ack_ipi, NULL, 1);
		}
	}
	put_cpu();
}

/**
 * rl_vcpu_runnable() - Would this vCPU do something if it had a CPU?
 * @vcpu: the vCPU
 *
 * Context: any thread for a hint, the vCPU's own for the truth.
 */
bool rl_vcpu_runnable(struct rl_vcpu *vcpu)
{
	if (vcpu->mp_state == KVM_MP_STATE_RUNNABLE)
		return true;
	if (vcpu->lapic && rl_lapic_has_init_sipi(vcpu))
		return true;
	/* A vCPU that waits for INIT or SIPI wakes for nothing else. */
	if (vcpu->mp_state != KVM_MP_STATE_HALTED)
		return false;
	if (READ_ONCE(vcpu->pv_unhalted) || vcpu->exception.pending)
		return true;
	if (atomic_read(&vcpu->nmi_queued) ||
	    (vcpu->nmi_pending && rl_ops->nmi_allowed(vcpu)))
		return true;
	if (rl_lapic_timer_pending(vcpu))
		return true;
	return rl_irq_waiting(vcpu) && rl_op(intr_allowed)(vcpu);
}

static bool wake_reason(struct rl_vcpu *vcpu)
{
	return rl_vcpu_runnable(vcpu) || signal_pending(current) ||
	       rl_request_test(vcpu, RL_REQ_VM_DEAD) || rl_request_test(vcpu, RL_REQ_EXIT_USER) ||
	       test_thread_flag(TIF_NOTIFY_RESUME);
}

static bool poll(struct rl_vcpu *vcpu, ktime_t start)
{
	while (!wake_reason(vcpu)) {
		if (!single_task_running() || need_resched() ||
		    ktime_to_ns(ktime_sub(ktime_get(), start)) >= vcpu->halt_poll_ns)
			return false;
		cpu_relax();
	}
	return true;
}

static void adapt_poll(struct rl_vcpu *vcpu, u64 slept_ns)
{
	u64 own = READ_ONCE(vcpu->vm->halt_poll_ns);
	u64 max = own == -1 ? READ_ONCE(halt_poll_ns) : own;

	if (slept_ns > max)
		vcpu->halt_poll_ns = 0;
	else if (slept_ns > vcpu->halt_poll_ns)
		vcpu->halt_poll_ns = min_t(u64, max, max_t(u64, HALT_POLL_START_NS,
							   2 * vcpu->halt_poll_ns));
}

/**
 * rl_vcpu_block() - Sleep until something happens for this vCPU
 * @vcpu: the vCPU
 *
 * Context: vCPU's thread, loaded. Returns at once when it is runnable, has a
 * signal, or task work.
 */
void rl_vcpu_block(struct rl_vcpu *vcpu)
{
	ktime_t start = ktime_get();

	vcpu->stat.halts++;
	rl_lapic_timer_sleep(vcpu);
	if (vcpu->halt_poll_ns && vcpu->pv.poll_control & 1 && poll(vcpu, start)) {
		vcpu->stat.halt_polls++;
		return;
	}
	prepare_to_rcuwait(&vcpu->wait);
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (wake_reason(vcpu))
			break;
		schedule();
	}
	finish_rcuwait(&vcpu->wait);
	adapt_poll(vcpu, ktime_to_ns(ktime_sub(ktime_get(), start)));
}

/**
 * rl_vcpu_yield_to() - Give our time to a vCPU, if it was preempted
 * @peer: of the same VM
 *
 * Return: whether it got it.
 */
bool rl_vcpu_yield_to(struct rl_vcpu *peer)
{
	struct task_struct *task;
	bool yielded;

	if (!READ_ONCE(peer->preempted))
		return false;
	rcu_read_lock();
	task = pid_task(rcu_dereference(peer->pid), PIDTYPE_PID);
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	if (!task)
		return false;
	yielded = yield_to(task, true) > 0;
	put_task_struct(task);
	return yielded;
}

/**
 * rl_vcpu_yield_to_peer() - A vCPU spins: give its time to one that was preempted
 * @vcpu: the vCPU
 *
 * The holder of the lock it spins on is most likely among those.
 */
void rl_vcpu_yield_to_peer(struct rl_vcpu *vcpu)
{
	struct rl_vm *vm = vcpu->vm;
	int n = READ_ONCE(vm->nr_vcpus), i;

	/* Start behind ourselves, so that not always the same one gains. */
	for (i = 1; i < n; i++)
		if (rl_vcpu_yield_to(vm->vcpus[(vcpu->index + i) % n]))
			return;
	cond_resched();
}
