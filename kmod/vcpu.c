// SPDX-License-Identifier: GPL-2.0-only
/*
 * One vCPU: creation and end, its ioctls, and the run loop.
 *
 * Owns:    struct rl_vcpu, the vCPU descriptor, struct kvm_run; ->cpu, ->notifier.
 * Touches: sched.c for sleep, event.c for what goes in, exit.c for what comes out.
 * Locks:   vcpu->mutex around every ioctl.
 *
 * KVM_RUN in three steps: run_loop() decides whether to enter, to sleep or to
 * leave; enter_guest() holds the CPU and goes round and round with the fast
 * exits; rl_ops->run() is one trip into the guest.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/debugreg.h>
#include <asm/kvm_para.h>
#include <asm/nospec-branch.h>

#include "cpu/cpu.h"
#include "insn.h"
#include "ioctl.h"
#include "netlink.h"
#include "trace.h"
#include "vcpu.h"
#include "virtio/virtio.h"
#include "vm.h"

/* Thread flags that want the vCPU's thread out of the guest. */
#define THREAD_WORK	(_TIF_NEED_RESCHED | _TIF_SIGPENDING | _TIF_NOTIFY_RESUME | _TIF_NOTIFY_SIGNAL)

/* ---- on and off the physical CPU ---- */

DEFINE_PER_CPU(struct rl_vcpu *, rl_loaded_vcpu);

static __always_inline void on_cpu(struct rl_vcpu *vcpu, int cpu)
{
	struct rl_pvclock *pv = &vcpu->pv;
	u64 host;

	vcpu->cpu = cpu;
	__this_cpu_write(rl_loaded_vcpu, vcpu);
	rl_op(vcpu_load)(vcpu, cpu);
	host = rdtsc();
	/* From memory: cheaper than keeping it over the calls. */
	if (unlikely(pv->last_cpu != vcpu->cpu || host < pv->last_host_tsc))
		rl_clock_moved(vcpu, vcpu->cpu, host);
	if (pv->steal_msr & KVM_MSR_ENABLED)
		rl_steal_load(vcpu);
}

static __always_inline void off_cpu(struct rl_vcpu *vcpu)
{
	vcpu->pv.last_host_tsc = rdtsc();
	if (vcpu->pv.steal_msr & KVM_MSR_ENABLED)
		rl_steal_put(vcpu);
	rl_op(vcpu_put)(vcpu);
	__this_cpu_write(rl_loaded_vcpu, NULL);
	vcpu->cpu = -1;
}

static void sched_in(struct preempt_notifier *pn, int cpu)
{
	struct rl_vcpu *vcpu = container_of(pn, struct rl_vcpu, notifier);

	WRITE_ONCE(vcpu->preempted, false);
	on_cpu(vcpu, cpu);
}

static void sched_out(struct preempt_notifier *pn, struct task_struct *next)
{
	struct rl_vcpu *vcpu = container_of(pn, struct rl_vcpu, notifier);

	if (task_is_running(current))
		WRITE_ONCE(vcpu->preempted, true);
	off_cpu(vcpu);
}

static struct preempt_ops rl_preempt_ops = { .sched_in = sched_in, .sched_out = sched_out };

/* Preempt notifiers follow the thread from here to vcpu_put(). [vcpu->mutex] */
static __always_inline void vcpu_load(struct rl_vcpu *vcpu)
{
	preempt_disable();
	preempt_notifier_register(&vcpu->notifier);
	on_cpu(vcpu, smp_processor_id());
	preempt_enable();
}

static __always_inline void vcpu_put(struct rl_vcpu *vcpu)
{
	preempt_disable();
	off_cpu(vcpu);
	preempt_notifier_unregister(&vcpu->notifier);
	preempt_enable();
}

/* ---- creation and end ---- */

/**
 * rl_vcpu_reset() - Power-on reset (@init false) or INIT
 * @vcpu: the vCPU
 * @init: INIT rather than power-on
 *
 * Context: vCPU loaded.
 */
void rl_vcpu_reset(struct rl_vcpu *vcpu, bool init)
{
	rl_clear_events(vcpu);
	atomic_set(&vcpu->nmi_queued, 0);
	vcpu->nmi_pending = 0;
	rl_ops->vcpu_reset(vcpu, init);
	rl_regs_reset(vcpu, init);
	rl_msr_reset(vcpu, init);
	rl_fpu_reset(vcpu, init);
	rl_lapic_reset(vcpu, init);
	rl_ops->update_intercepts(vcpu);
	rl_request(vcpu, RL_REQ_EVENT);
}

/**
 * rl_vcpu_create() - Make a vCPU in its reset state
 * @vm: the VM
 * @id: of KVM_CREATE_VCPU, also its APIC id
 *
 * Context: vm->lock held. Not yet visible to anyone.
 * Return: the vCPU or ERR_PTR.
 */
struct rl_vcpu *rl_vcpu_create(struct rl_vm *vm, u32 id)
{
	struct rl_vcpu *vcpu;
	struct page *page;
	int r = -ENOMEM;

	vcpu = kzalloc(rl_ops->vcpu_size, GFP_KERNEL_ACCOUNT);
	if (!vcpu)
		return ERR_PTR(-ENOMEM);
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->cpu = -1;
	mutex_init(&vcpu->mutex);
	rcuwait_init(&vcpu->wait);
	preempt_notifier_init(&vcpu->notifier, &rl_preempt_ops);

	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page)
		goto err_free;
	vcpu->run = page_address(page);
	page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!page)
		goto err_run;
	vcpu->pio_data = page_address(page);

	r = rl_dirty_ring_create(vcpu);
	if (r)
		goto err_pio;
	r = rl_fpu_create(vcpu);
	if (r)
		goto err_ring;
	r = rl_ops->vcpu_create(vcpu);
	if (r)
		goto err_fpu;
	vcpu->extint = -1;
	vcpu->user_pic = !rl_irqchip_full(&vm->irq);
	if (rl_irqchip_in_kernel(&vm->irq)) {
		r = rl_lapic_create(vcpu);
		if (r)
			goto err_vendor;
	}
	vcpu->mp_state = !vcpu->lapic || rl_vcpu_is_bsp(vcpu) ? KVM_MP_STATE_RUNNABLE :
					      KVM_MP_STATE_UNINITIALIZED;
	rl_vcpu_clock_init(vcpu);
	r = rl_msr_create(vcpu);
	if (r)
		goto err_lapic;

	mutex_lock(&vcpu->mutex);
	vcpu_load(vcpu);
	rl_vcpu_reset(vcpu, false);
	vcpu_put(vcpu);
	mutex_unlock(&vcpu->mutex);
	return vcpu;

err_lapic:
	if (vcpu->lapic)
		rl_lapic_destroy(vcpu);
err_vendor:
	rl_ops->vcpu_destroy(vcpu);
err_fpu:
	rl_fpu_destroy(vcpu);
err_ring:
	rl_dirty_ring_destroy(vcpu);
err_pio:
	free_page((unsigned long)vcpu->pio_data);
err_run:
	free_page((unsigned long)vcpu->run);
err_free:
	kfree(vcpu);
	return ERR_PTR(r);
}

/* Nobody runs it and nobody finds it any more. */
void rl_vcpu_destroy(struct rl_vcpu *vcpu)
{
	if (vcpu->lapic)
		rl_lapic_destroy(vcpu);
	rl_ops->vcpu_destroy(vcpu);
	rl_fpu_destroy(vcpu);
	rl_cpuid_free(vcpu);
	rl_msr_free(vcpu);
	rl_insn_free(vcpu);
	rl_sched_exit(vcpu);
	rl_dirty_ring_destroy(vcpu);
	free_page((unsigned long)vcpu->pio_data);
	free_page((unsigned long)vcpu->run);
	kfree(vcpu);
}

/* ---- the run loop ---- */

/* Requests that may sleep or change policy. RL_RESUME, or leave KVM_RUN. */
static int handle_requests(struct rl_vcpu *vcpu)
{
	if (rl_request_test(vcpu, RL_REQ_VM_DEAD)) {
		rl_netlink_vcpu_stopped(vcpu, RINGLET_STOP_REASON_RETIRED, 0);
		return -EIO;
	}
	if (rl_request_check(vcpu, RL_REQ_RING_FULL) && rl_dirty_ring_full(vcpu)) {
		rl_request(vcpu, RL_REQ_RING_FULL);
		vcpu->run->exit_reason = KVM_EXIT_DIRTY_RING_FULL;
		return RL_EXIT_USER;
	}
	if (rl_request_check(vcpu, RL_REQ_EXIT_USER))
		return rl_pending_exit(vcpu);
	if (rl_request_check(vcpu, RL_REQ_DOORBELL))
		rl_vdev_doorbell(vcpu);
	if (rl_request_check(vcpu, RL_REQ_TIMER))
		rl_lapic_timer_fired(vcpu);
	if (rl_request_check(vcpu, RL_REQ_CLOCK))
		rl_clock_update(vcpu);
	if (rl_request_check(vcpu, RL_REQ_STEAL))
		rl_steal_update(vcpu);
	if (rl_request_check(vcpu, RL_REQ_APIC_STATE) && vcpu->lapic) {
		rl_lapic_do_init_sipi(vcpu);
		if (vcpu->mp_state != KVM_MP_STATE_RUNNABLE)
			return -EAGAIN;	/* internal: back to run_loop(), to sleep */
	}
	if (rl_request_check(vcpu, RL_REQ_TPR_ACCESS)) {
		vcpu->run->exit_reason = KVM_EXIT_TPR_ACCESS;
		vcpu->run->tpr_access.rip = vcpu->tpr_access.rip;
		vcpu->run->tpr_access.is_write = vcpu->tpr_access.write;
		return RL_EXIT_USER;
	}
	if (rl_request_check(vcpu, RL_REQ_IOAPIC_EOI)) {
		vcpu->run->exit_reason = KVM_EXIT_IOAPIC_EOI;
		vcpu->run->eoi.vector = vcpu->eoi_vector;
		return RL_EXIT_USER;
	}
	if (rl_request_check(vcpu, RL_REQ_INTERCEPTS))
		rl_ops->update_intercepts(vcpu);
	rl_request_check(vcpu, RL_REQ_PV_EOI);
	return RL_RESUME;
}

/* What can be dealt with right before the entry, IRQs off. */
#define FAST_REQUESTS	(BIT(RL_REQ_EVENT) | BIT(RL_REQ_TLB_FLUSH) | BIT(RL_REQ_TIMER))

static void fast_requests(struct rl_vcpu *vcpu)
{
	if (rl_request_check(vcpu, RL_REQ_TLB_FLUSH)) {
		vcpu->stat.tlb_flushes++;
		rl_ops->flush_tlb(vcpu);
	}
	if (rl_request_check(vcpu, RL_REQ_TIMER))
		rl_lapic_timer_fired(vcpu);
	if (rl_request_check(vcpu, RL_REQ_EVENT))
		rl_event_inject(vcpu);
}

/*
 * Hold the CPU and run the guest until an exit needs more than interrupts-off
 * work, or the host wants the thread. IRQs stay off all the while: the guest's
 * FPU and debug registers are in the CPU, and nobody else may meet them there.
 *
 * vcpu->exit is to be handled, or nothing happened (RL_EXIT_NONE).
 */
static void enter_guest(struct rl_vcpu *vcpu)
{
	local_irq_disable();
	rl_fpu_enter(vcpu);
	if (unlikely(vcpu->debug_wanted))
		rl_debug_load(vcpu);
	vcpu->work |= RL_WORK_FRESH;
	WRITE_ONCE(vcpu->mode, RL_IN_GUEST);
	/*
	 * Pairs with the barrier in rl_vcpu_kick(): either the requester sees
	 * the mode and sends an IPI, which waits until the guest runs, or the
	 * request is seen here.
	 */
	smp_mb();
	do {
		vcpu->exit.kind = RL_EXIT_NONE;
		if (unlikely(READ_ONCE(vcpu->requests))) {
			if (READ_ONCE(vcpu->requests) & ~FAST_REQUESTS)
				break;
			fast_requests(vcpu);
		}
		if (unlikely(read_thread_flags() & THREAD_WORK) || unlikely(!rl_cpu_is_on()))
			break;

		rl_trace(entry, vcpu);
		rl_op(run)(vcpu);
		rl_trace(exit, vcpu);
		if (unlikely(vcpu->pv_eoi_set))
			rl_pv_eoi_collect(vcpu);
	} while (rl_handle_exit_fast(vcpu));
	WRITE_ONCE(vcpu->mode, RL_OUTSIDE_GUEST);
	if (unlikely(vcpu->exit.kind == RL_EXIT_NONE))
		rl_event_cancel(vcpu);
	/* VMSCAPE: the guest may have trained branches of the VMM's. */
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
	/* An exit switches the host's breakpoints off, whether the guest has any or not. */
	if (unlikely(vcpu->debug_loaded || hw_breakpoint_active()))
		rl_debug_put(vcpu);
	rl_fpu_leave(vcpu);
	if (likely(vcpu->exit.kind != RL_EXIT_INTR)) {
		local_irq_enable();
	} else {
		/* A host interrupt that ended the run is taken here; it hit the guest's time. */
		current->flags |= PF_VCPU;
		if (vcpu->host_vector)
			rl_ops->take_irq(vcpu);
		local_irq_enable();
		current->flags &= ~PF_VCPU;
	}
	/* An entry that was prepared and not made, or what could not be read then. */
	if (unlikely(vcpu->pv_eoi_set))
		rl_pv_eoi_collect(vcpu);
}

/* User space wants to know, with its own 8259, when it may inject. */
static bool user_may_inject(struct rl_vcpu *vcpu)
{
	return rl_extint_free(vcpu) && rl_op(intr_allowed)(vcpu) && !rl_event_pending(vcpu);
}

/* Runnable, but for user space or the host: anything that ends the loop. */
static int thread_work(struct rl_vcpu *vcpu)
{
	if (signal_pending(current)) {
		vcpu->run->exit_reason = KVM_EXIT_INTR;
		return -EINTR;
	}
	/*
	 * Task work (NUMA balancing, rseq) runs on the way to user space only:
	 * go there and come back without user space noticing. vcpu_run() makes
	 * sure of the second half.
	 */
	if (test_thread_flag(TIF_NOTIFY_RESUME))
		return -ERESTARTNOINTR;
	cond_resched();
	return RL_RESUME;
}

static int sleep_or_wake(struct rl_vcpu *vcpu)
{
	if (unlikely(READ_ONCE(vcpu->lingering)))
		rl_vdev_leave(vcpu);
	rl_vcpu_block(vcpu);
	if (vcpu->lapic && rl_lapic_has_init_sipi(vcpu)) {
		rl_request_check(vcpu, RL_REQ_APIC_STATE);
		rl_lapic_do_init_sipi(vcpu);
	}
	if (rl_request_check(vcpu, RL_REQ_TIMER))
		rl_lapic_timer_fired(vcpu);
	if (READ_ONCE(vcpu->mp_state) == KVM_MP_STATE_HALTED && rl_vcpu_runnable(vcpu)) {
		WRITE_ONCE(vcpu->pv_unhalted, false);
		WRITE_ONCE(vcpu->mp_state, KVM_MP_STATE_RUNNABLE);
	}
	if (rl_request_test(vcpu, RL_REQ_VM_DEAD))
		return -EIO;
	return RL_RESUME;
}

static int run_loop(struct rl_vcpu *vcpu)
{
	int r = RL_RESUME;

	while (r > 0) {
		if (unlikely(vcpu->mp_state != KVM_MP_STATE_RUNNABLE)) {
			r = sleep_or_wake(vcpu);
		} else {
			r = RL_RESUME;
			if (unlikely(READ_ONCE(vcpu->requests) & ~FAST_REQUESTS))
				r = handle_requests(vcpu);
			if (r == -EAGAIN) {
				r = RL_RESUME;
				continue;
			}
			if (r <= 0)
				break;
			enter_guest(vcpu);
			if (vcpu->exit.kind != RL_EXIT_NONE)
				r = rl_handle_exit(vcpu);
			if (r <= 0)
				break;
		}
		if (unlikely(vcpu->user_pic) && r > 0 && vcpu->run->request_interrupt_window &&
		    user_may_inject(vcpu)) {
			vcpu->run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			return RL_EXIT_USER;
		}
		if (unlikely(read_thread_flags() & THREAD_WORK) && r > 0)
			r = thread_work(vcpu);
	}
	return r;
}

/*
 * KVM_SET_SIGNAL_MASK's mask for the time of KVM_RUN. The thread's own is kept in
 * real_blocked, where the sender of a signal finds that it is blocked really: one
 * with a fatal default action would end the process at once. Only the thread
 * itself writes there.
 */
static void swap_sigmask(struct rl_vcpu *vcpu, bool on)
{
	if (likely(!vcpu->sigset_active))
		return;
	if (on) {
		sigprocmask(SIG_SETMASK, &vcpu->sigset, &current->real_blocked);
	} else {
		sigprocmask(SIG_SETMASK, &current->real_blocked, NULL);
		sigemptyset(&current->real_blocked);
	}
}

/* What user space sees of the vCPU after every KVM_RUN. */
static void publish_run(struct rl_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	run->if_flag = !!(rl_rflags_read(vcpu) & X86_EFLAGS_IF);
	run->flags = 0;
	if (unlikely(vcpu->bus_locked)) {
		vcpu->bus_locked = false;
		run->flags = KVM_RUN_X86_BUS_LOCK;
		if (vcpu->pending_exit == KVM_EXIT_X86_BUS_LOCK)
			rl_request_check(vcpu, RL_REQ_EXIT_USER);
	}
	run->cr8 = rl_get_cr8(vcpu);
	run->apic_base = vcpu->apic_base;
	run->ready_for_interrupt_injection = !vcpu->user_pic || user_may_inject(vcpu);
}

/*
 * KVM_CAP_SYNC_REGS: registers that user space changed in the shared page come
 * in, each set copied before it is judged; those it wants to see go out.
 */
static int sync_regs(struct rl_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	u64 dirty = READ_ONCE(run->kvm_dirty_regs);
	struct kvm_sync_regs s;

	if ((READ_ONCE(run->kvm_valid_regs) | dirty) & ~(u64)KVM_SYNC_X86_VALID_FIELDS)
		return -EINVAL;
	if (!dirty)
		return 0;
	memcpy(&s, &run->s.regs, sizeof(s));
	if (dirty & KVM_SYNC_X86_REGS)
		rl_set_regs(vcpu, &s.regs);
	if (dirty & KVM_SYNC_X86_SREGS && rl_set_sregs(vcpu, &s.sregs))
		return -EINVAL;
	if (dirty & KVM_SYNC_X86_EVENTS && rl_set_events(vcpu, &s.events))
		return -EINVAL;
	run->kvm_dirty_regs = 0;
	return 0;
}

static void store_regs(struct rl_vcpu *vcpu, u64 valid)
{
	struct kvm_sync_regs *s = &vcpu->run->s.regs;

	if (valid & KVM_SYNC_X86_REGS)
		rl_get_regs(vcpu, &s->regs);
	if (valid & KVM_SYNC_X86_SREGS)
		rl_get_sregs(vcpu, &s->sregs);
	if (valid & KVM_SYNC_X86_EVENTS)
		rl_get_events(vcpu, &s->events);
}

/* KVM_RUN after an exit to user space: finish what that exit was about. */
static int complete_user_exit(struct rl_vcpu *vcpu)
{
	int (*complete)(struct rl_vcpu *vcpu) = vcpu->complete;
	int r;

	vcpu->complete = NULL;
	r = complete(vcpu);
	vcpu->rip_watched = false;
	return r;
}

/* The guest may not go on for long, unless user space will not notice; what it asked for does. */
static noinline void leave_vdev(struct rl_vcpu *vcpu, int r)
{
	if (r != -ERESTARTNOINTR)
		rl_vdev_leave(vcpu);
}

static int vcpu_run(struct rl_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	int r = RL_RESUME;

	if (rcu_access_pointer(vcpu->pid) != task_pid(current))
		rl_sched_new_thread(vcpu);
	swap_sigmask(vcpu, true);

	if (unlikely(vcpu->mp_state == KVM_MP_STATE_UNINITIALIZED)) {
		/* Wait for SIPI here; the caller then comes back with fresh registers. */
		if (READ_ONCE(run->immediate_exit)) {
			r = -EINTR;
			goto out;
		}
		r = sleep_or_wake(vcpu);
		if (r > 0)
			r = -EAGAIN;
		if (signal_pending(current)) {
			r = -EINTR;
			run->exit_reason = KVM_EXIT_INTR;
		}
		goto out;
	}
	if (unlikely(run->kvm_valid_regs | run->kvm_dirty_regs)) {
		r = sync_regs(vcpu);
		if (r)
			goto out;
	}
	if (unlikely(vcpu->user_pic)) {
		if (!vcpu->lapic && rl_set_cr8(vcpu, READ_ONCE(run->cr8))) {
			r = -EINVAL;
			goto out;
		}
		if (READ_ONCE(run->request_interrupt_window))
			rl_request(vcpu, RL_REQ_EVENT);
	}
	if (vcpu->complete) {
		r = complete_user_exit(vcpu);
		if (r <= 0)
			goto out;
	}
	if (READ_ONCE(run->immediate_exit)) {
		r = -EINTR;
		goto out;
	}
	r = run_loop(vcpu);
out:
	if (unlikely(run->kvm_valid_regs))
		store_regs(vcpu, READ_ONCE(run->kvm_valid_regs));
	if (unlikely((unsigned long)READ_ONCE(vcpu->doorbell) |
		     (unsigned long)READ_ONCE(vcpu->lingering)))
		leave_vdev(vcpu, r);
	publish_run(vcpu);
	swap_sigmask(vcpu, false);
	/*
	 * A call is restarted only by a thread that seems to have a signal, and
	 * giving the mask back settles whether it has one: so after it.
	 */
	return r == -ERESTARTNOINTR ? restart_syscall() : r;
}

static int vcpu_interrupt(struct rl_vcpu *vcpu, const struct kvm_interrupt *irq)
{
	if (irq->irq >= 256)
		return -EINVAL;
	if (!vcpu->user_pic)
		return -ENXIO;
	if (!vcpu->lapic)
		rl_requeue_interrupt(vcpu, irq->irq, false);
	else if (vcpu->extint >= 0)
		return -EEXIST;
	vcpu->extint = vcpu->lapic ? irq->irq : -1;
	rl_request(vcpu, RL_REQ_EVENT);
	return 0;
}

static int vcpu_nmi(struct rl_vcpu *vcpu)
{
	rl_queue_nmi(vcpu);
	return 0;
}

static int vcpu_set_signal_mask(struct rl_vcpu *vcpu, struct kvm_signal_mask __user *user)
{
	struct kvm_signal_mask head;
	sigset_t set;

	if (!user) {
		vcpu->sigset_active = false;
		return 0;
	}
	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (head.len != sizeof(set))
		return -EINVAL;
	if (copy_from_user(&set, user->sigset, sizeof(set)))
		return -EFAULT;
	sigdelsetmask(&set, sigmask(SIGKILL) | sigmask(SIGSTOP));
	vcpu->sigset = set;
	vcpu->sigset_active = true;
	return 0;
}

static int vcpu_enable_cap(struct rl_vcpu *vcpu, const struct kvm_enable_cap *cap)
{
	if (cap->flags || cap->cap != KVM_CAP_ENFORCE_PV_FEATURE_CPUID)
		return -EINVAL;
	vcpu->pv_enforced = cap->args[0];
	return 0;
}

#define VCPU_IOCTLS(X)									\
	X(KVM_GET_REGS, OUT, rl_get_regs(vcpu, data))					\
	X(KVM_SET_REGS, IN, rl_set_regs(vcpu, data))					\
	X(KVM_GET_SREGS, OUT, rl_get_sregs(vcpu, data))					\
	X(KVM_SET_SREGS, IN, rl_set_sregs(vcpu, data))					\
	X(KVM_GET_SREGS2, OUT, rl_get_sregs2(vcpu, data))				\
	X(KVM_SET_SREGS2, IN, rl_set_sregs2(vcpu, data))				\
	X(KVM_GET_FPU, OUT, rl_get_fpu(vcpu, data))					\
	X(KVM_SET_FPU, IN, rl_set_fpu(vcpu, data))					\
	X(KVM_GET_XSAVE, OUT, rl_get_xsave(vcpu, data))					\
	X(KVM_SET_XSAVE, IN, rl_set_xsave(vcpu, data))					\
	X(KVM_GET_XSAVE2, OUT, rl_get_xsave(vcpu, data))				\
	X(KVM_GET_XCRS, OUT, rl_get_xcrs(vcpu, data))					\
	X(KVM_SET_XCRS, IN, rl_set_xcrs(vcpu, data))					\
	X(KVM_GET_MSRS, RAW, rl_msr_ioctl(vcpu, user, false))					\
	X(KVM_SET_MSRS, RAW, rl_msr_ioctl(vcpu, user, true))					\
	X(KVM_SET_CPUID, IN, rl_set_cpuid(vcpu, data, user + sizeof(struct kvm_cpuid)))	\
	X(KVM_SET_CPUID2, IN, rl_set_cpuid2(vcpu, data, user + sizeof(struct kvm_cpuid2)))	\
	X(KVM_GET_CPUID2, INOUT, rl_get_cpuid2(vcpu, data, user + sizeof(struct kvm_cpuid2)))	\
	X(KVM_GET_LAPIC, OUT, vcpu->lapic ? rl_lapic_get_state(vcpu, data) : -EINVAL)	\
	X(KVM_SET_LAPIC, IN, vcpu->lapic ? rl_lapic_set_state(vcpu, data) : -EINVAL)	\
	X(KVM_TPR_ACCESS_REPORTING, INOUT, rl_tpr_reporting(vcpu, data))		\
	X(KVM_SET_VAPIC_ADDR, IN, rl_lapic_set_vapic(vcpu, data))			\
	X(KVM_INTERRUPT, IN, vcpu_interrupt(vcpu, data))				\
	X(KVM_NMI, RAW, vcpu_nmi(vcpu))							\
	X(KVM_SET_SIGNAL_MASK, RAW, vcpu_set_signal_mask(vcpu, user))			\
	X(KVM_GET_MP_STATE, OUT, rl_get_mp_state(vcpu, data))				\
	X(KVM_SET_MP_STATE, IN, rl_set_mp_state(vcpu, data))				\
	X(KVM_GET_VCPU_EVENTS, OUT, rl_get_events(vcpu, data))				\
	X(KVM_SET_VCPU_EVENTS, IN, rl_set_events(vcpu, data))				\
	X(KVM_GET_DEBUGREGS, OUT, rl_get_debugregs(vcpu, data))				\
	X(KVM_SET_DEBUGREGS, IN, rl_set_debugregs(vcpu, data))				\
	X(KVM_SET_GUEST_DEBUG, IN, rl_set_guest_debug(vcpu, data))			\
	X(KVM_TRANSLATE, INOUT, rl_translate(vcpu, data))				\
	X(KVM_SET_TSC_KHZ, RAW, rl_set_tsc_khz(vcpu, arg))				\
	X(KVM_GET_TSC_KHZ, RAW, vcpu->tsc_khz)						\
	X(KVM_KVMCLOCK_CTRL, RAW, rl_kvmclock_ctrl(vcpu))				\
	X(KVM_ENABLE_CAP, IN, vcpu_enable_cap(vcpu, data))				\
	X(KVM_GET_STATS_FD, RAW, rl_vcpu_stats_fd(vcpu))				\
	X(KVM_X86_SETUP_MCE, IN, rl_setup_mce(vcpu, *(u64 *)data))			\
	X(KVM_X86_SET_MCE, IN, rl_set_mce(vcpu, data))					\
	X(KVM_HAS_DEVICE_ATTR, IN, rl_tsc_attr(vcpu, data, KVM_HAS_DEVICE_ATTR))	\
	X(KVM_GET_DEVICE_ATTR, IN, rl_tsc_attr(vcpu, data, KVM_GET_DEVICE_ATTR))	\
	X(KVM_SET_DEVICE_ATTR, IN, rl_tsc_attr(vcpu, data, KVM_SET_DEVICE_ATTR))

RL_IOCTL_TABLE(vcpu_ioctls, VCPU_IOCTLS);

static long vcpu_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct rl_vcpu *vcpu = filp->private_data;
	long r;

	if (vcpu->vm->mm != current->mm || READ_ONCE(vcpu->vm->dead))
		return -EIO;
	if (likely(cmd == KVM_RUN)) {
		if (arg)
			return -EINVAL;
	} else if (_IOC_TYPE(cmd) != KVMIO) {
		return -EINVAL;
	}
	if (mutex_lock_killable(&vcpu->mutex))
		return -EINTR;
	vcpu_load(vcpu);
	if (likely(cmd == KVM_RUN))
		r = vcpu_run(vcpu);
	else
		r = rl_ioctl(vcpu_ioctls, ARRAY_SIZE(vcpu_ioctls), vcpu, cmd, arg, -EINVAL);
	vcpu_put(vcpu);
	mutex_unlock(&vcpu->mutex);
	return r;
}

static vm_fault_t vcpu_mmap_fault(struct vm_fault *vmf)
{
	struct rl_vcpu *vcpu = vmf->vma->vm_file->private_data;
	struct page *page = NULL;

	if (vmf->pgoff == 0)
		page = virt_to_page(vcpu->run);
	else if (vmf->pgoff == KVM_PIO_PAGE_OFFSET)
		page = virt_to_page(vcpu->pio_data);
	else if (vmf->pgoff == KVM_COALESCED_MMIO_PAGE_OFFSET)
		page = virt_to_page(vcpu->vm->coalesced.ring);
	else if (vmf->pgoff >= KVM_DIRTY_LOG_PAGE_OFFSET)
		page = rl_dirty_ring_page(vcpu, vmf->pgoff - KVM_DIRTY_LOG_PAGE_OFFSET);
	if (!page)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct vcpu_vm_ops = {
	.fault = vcpu_mmap_fault,
};

static int vcpu_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct rl_vcpu *vcpu = filp->private_data;
	u64 first = KVM_DIRTY_LOG_PAGE_OFFSET;
	u64 end = first + (vcpu->vm->dirty_ring_size >> PAGE_SHIFT);

	/* The ring is for both sides to write. */
	if (max_t(u64, vma->vm_pgoff, first) < min_t(u64, vma->vm_pgoff + vma_pages(vma), end) &&
	    (vma->vm_flags & VM_EXEC || !(vma->vm_flags & VM_SHARED)))
		return -EINVAL;
	vma->vm_ops = &vcpu_vm_ops;
	return 0;
}

static int vcpu_release(struct inode *inode, struct file *filp)
{
	struct rl_vcpu *vcpu = filp->private_data;

	rl_vm_put(vcpu->vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.release = vcpu_release,
	.unlocked_ioctl = vcpu_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = vcpu_mmap,
	.llseek = noop_llseek,
};

/**
 * rl_vcpu_new_fd() - Reserve a descriptor for a vCPU
 * @vcpu: the vCPU
 *
 * The caller installs vcpu->filp in it. Return: its number or -errno.
 */
int rl_vcpu_new_fd(struct rl_vcpu *vcpu)
{
	char name[24];
	struct file *file;
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "ringlet-vcpu:%u", vcpu->id);
	file = anon_inode_getfile(name, &vcpu_fops, vcpu, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	vcpu->filp = file;
	return fd;
}
