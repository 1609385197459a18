// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC's timer: one-shot, periodic and TSC-deadline, on an hrtimer.
 *
 * Owns:    struct rl_lapic_timer and the timer's registers.
 * Touches: the register page through lapic_get() and lapic_set().
 * Locks:   none. The vCPU's thread changes what the callback reads only while
 *          the hrtimer is cancelled; the callback takes no lock that a
 *          canceller could hold, so that cancelling with IRQs off is fine.
 * Manuals: SDM Vol 3A, "APIC Timer", "TSC-Deadline Mode".
 *
 * The callback, in hard interrupt context, marks the timer as expired and
 * kicks; the vCPU turns that into an interrupt before it enters the guest
 * (RL_REQ_TIMER, rl_lapic_timer_fired()). The count runs on at 1 GHz and is
 * computed from the hrtimer's expiry when somebody reads it.
 *
 * A TSC deadline needs no hrtimer while the vCPU runs, where the CPU can end the
 * run at that moment (vcpu->cpu_deadline): no timer of the host to program, and no
 * interrupt. A vCPU that sleeps has one; one that is preempted, or in user
 * space, learns of its deadline when it is entered again.
 */
#include <asm/msr.h>

#include "../cpu/cpu.h"
#include "irq_priv.h"

static enum hrtimer_restart timer_expired(struct hrtimer *hrtimer)
{
	struct rl_lapic_timer *t = container_of(hrtimer, struct rl_lapic_timer, hrtimer);
	struct rl_lapic *apic = container_of(t, struct rl_lapic, timer);

	WRITE_ONCE(t->pending, true);
	rl_request(apic->vcpu, RL_REQ_TIMER);
	rl_vcpu_kick(apic->vcpu);

	if (READ_ONCE(t->mode) != APIC_LVT_TIMER_PERIODIC || !t->period_ns)
		return HRTIMER_NORESTART;
	/* Periods that nobody was there to see are one interrupt. */
	hrtimer_forward_now(hrtimer, ns_to_ktime(max_t(u64, t->period_ns, RL_MIN_PERIOD_NS)));
	return HRTIMER_RESTART;
}

void rl_lapic_timer_init(struct rl_lapic *apic)
{
	/* On the vCPU's CPU: an expiry there is the exit, and needs no IPI. */
	hrtimer_init(&apic->timer.hrtimer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_PINNED_HARD);
	apic->timer.hrtimer.function = timer_expired;
	apic->timer.divisor = rl_apic_divisor(0);
}

static void timer_start(struct rl_lapic_timer *t, u64 ns)
{
	hrtimer_start(&t->hrtimer, ktime_add_safe(ktime_get(), ns_to_ktime(ns)),
		      HRTIMER_MODE_ABS_PINNED_HARD);
}

/* Already over: no need to bother the hrtimer. In the vCPU's thread. */
static void timer_expire_now(struct rl_lapic *apic)
{
	WRITE_ONCE(apic->timer.pending, true);
	rl_request(apic->vcpu, RL_REQ_TIMER);
}

/* Drop what is running and what has expired but is no interrupt yet. */
void rl_lapic_timer_stop(struct rl_lapic *apic)
{
	hrtimer_cancel(&apic->timer.hrtimer);
	WRITE_ONCE(apic->timer.pending, false);
	apic->vcpu->cpu_deadline = 0;
	apic->timer.period_ns = 0;
	apic->timer.tsc_deadline = 0;
}

/* Nobody tells when the CPU's deadline passes out of the guest. */
static void deadline_look(struct rl_lapic *apic)
{
	u64 deadline = apic->vcpu->cpu_deadline;

	if (likely(!deadline) || rdtsc() < deadline)
		return;
	apic->vcpu->cpu_deadline = 0;
	WRITE_ONCE(apic->timer.pending, true);
}

/**
 * rl_lapic_timer_fired() - Turn an expired timer into an interrupt
 * @vcpu: its own thread, or vcpu->mutex held
 */
void rl_lapic_timer_fired(struct rl_vcpu *vcpu)
{
	struct rl_lapic *apic = vcpu->lapic;

	if (!apic)
		return;
	deadline_look(apic);
	if (!READ_ONCE(apic->timer.pending) || !xchg(&apic->timer.pending, false))
		return;
	/* Unless it was armed anew since. */
	if (apic->timer.mode == APIC_LVT_TIMER_TSCDEADLINE && !vcpu->cpu_deadline &&
	    !hrtimer_is_queued(&apic->timer.hrtimer))
		apic->timer.tsc_deadline = 0;
	rl_lapic_local_deliver(apic, APIC_LVTT);
}

bool rl_lapic_timer_pending(struct rl_vcpu *vcpu)
{
	struct rl_lapic *apic = vcpu->lapic;

	return apic && READ_ONCE(apic->timer.pending) && lapic_hw_enabled(apic) &&
	       !(lapic_get(apic, APIC_LVTT) & APIC_LVT_MASKED);
}

/* After a write of the timer's LVT entry. */
void rl_lapic_timer_set_mode(struct rl_lapic *apic)
{
	struct rl_lapic_timer *t = &apic->timer;
	u32 mode = lapic_get(apic, APIC_LVTT) &
		   (APIC_LVT_TIMER_PERIODIC | APIC_LVT_TIMER_TSCDEADLINE);

	if (t->mode == mode)
		return;
	/* To or from TSC-deadline mode disarms; the other two share a count. */
	if ((t->mode ^ mode) & APIC_LVT_TIMER_TSCDEADLINE) {
		rl_lapic_timer_stop(apic);
		lapic_set(apic, APIC_TMICT, 0);
	}
	WRITE_ONCE(t->mode, mode);
}

static u64 initial_ns(struct rl_lapic *apic)
{
	return (u64)lapic_get(apic, APIC_TMICT) * apic->timer.divisor;
}

void rl_lapic_timer_set_count(struct rl_lapic *apic, u32 count)
{
	struct rl_lapic_timer *t = &apic->timer;

	if (t->mode & APIC_LVT_TIMER_TSCDEADLINE)
		return;
	hrtimer_cancel(&t->hrtimer);
	rl_lapic_timer_fired(apic->vcpu);
	lapic_set(apic, APIC_TMICT, count);
	t->period_ns = initial_ns(apic);
	if (t->period_ns)
		timer_start(t, t->period_ns);
}

static u64 timer_remaining(struct rl_lapic_timer *t)
{
	s64 ns = ktime_to_ns(hrtimer_get_remaining(&t->hrtimer));

	return max_t(s64, ns, 0);
}

u32 rl_lapic_timer_count(struct rl_lapic *apic)
{
	struct rl_lapic_timer *t = &apic->timer;

	if (t->mode & APIC_LVT_TIMER_TSCDEADLINE || !t->period_ns)
		return 0;
	return rl_apic_count(timer_remaining(t), t->period_ns, t->divisor);
}

/* After a write of the divide configuration. */
void rl_lapic_timer_set_divisor(struct rl_lapic *apic)
{
	struct rl_lapic_timer *t = &apic->timer;
	u32 old = t->divisor, new = rl_apic_divisor(lapic_get(apic, APIC_TDCR));

	t->divisor = new;
	if (old == new || !t->period_ns)
		return;
	if (hrtimer_cancel(&t->hrtimer)) {
		u64 ns = rl_apic_rescale(timer_remaining(t), old, new);

		t->period_ns = initial_ns(apic);
		timer_start(t, ns);
	} else {
		t->period_ns = initial_ns(apic);
	}
}

/* TSC-deadline mode */

/* It counts host ticks, and stops when the guest takes the CPU to sleep. */
static bool can_use_cpu(const struct rl_vcpu *vcpu)
{
	return rl_caps.deadline_timer && vcpu->tsc_ratio == 1ull << rl_caps.tsc_frac_bits &&
	       !(vcpu->vm->disabled_exits & KVM_X86_DISABLE_EXITS_HLT);
}

/*
 * Arm, or arm anew. A callback that runs at this moment is the old deadline's
 * interrupt, as if it had come just before.
 */
static void deadline_start(struct rl_lapic *apic, bool by_cpu)
{
	struct rl_lapic_timer *t = &apic->timer;
	struct rl_vcpu *vcpu = apic->vcpu;
	unsigned long flags;
	u64 ns, host;

	vcpu->cpu_deadline = 0;
	if (!t->tsc_deadline || !vcpu->tsc_khz) {
		hrtimer_cancel(&t->hrtimer);
		return;
	}
	host = t->tsc_deadline - vcpu->tsc_offset;
	if (by_cpu && can_use_cpu(vcpu) && rdtsc() < host) {
		hrtimer_cancel(&t->hrtimer);
		vcpu->cpu_deadline = host;
		return;
	}
	/* Both clocks are read with nothing in between. */
	local_irq_save(flags);
	ns = rl_tsc_to_ns(t->tsc_deadline, rl_guest_tsc(vcpu, rdtsc()), vcpu->tsc_khz);
	if (ns) {
		/* Takes an armed one along, and costs less than cancelling that first. */
		timer_start(t, ns);
	} else {
		hrtimer_cancel(&t->hrtimer);
		timer_expire_now(apic);
	}
	local_irq_restore(flags);
}

u64 rl_lapic_timer_get_deadline(struct rl_lapic *apic)
{
	struct rl_lapic_timer *t = &apic->timer;

	/* It reads as zero from the moment it has passed. */
	deadline_look(apic);
	if (READ_ONCE(t->pending))
		rl_request(apic->vcpu, RL_REQ_TIMER);
	if (!lapic_hw_enabled(apic) || !(t->mode & APIC_LVT_TIMER_TSCDEADLINE) ||
	    (READ_ONCE(t->pending) && !apic->vcpu->cpu_deadline &&
	     !hrtimer_is_queued(&t->hrtimer)))
		return 0;
	return t->tsc_deadline;
}

void rl_lapic_timer_set_deadline(struct rl_lapic *apic, u64 deadline)
{
	struct rl_lapic_timer *t = &apic->timer;

	if (!lapic_hw_enabled(apic) || t->mode != APIC_LVT_TIMER_TSCDEADLINE)
		return;
	rl_lapic_timer_fired(apic->vcpu);
	t->tsc_deadline = deadline;
	deadline_start(apic, true);
}

void rl_lapic_timer_sleep(struct rl_vcpu *vcpu)
{
	if (unlikely(vcpu->cpu_deadline))
		deadline_start(vcpu->lapic, false);
}

void rl_lapic_tsc_changed(struct rl_vcpu *vcpu)
{
	struct rl_lapic *apic = vcpu->lapic;

	if (!apic || apic->timer.mode != APIC_LVT_TIMER_TSCDEADLINE || !apic->timer.tsc_deadline)
		return;
	/* One that has expired stays expired. */
	if (!READ_ONCE(apic->timer.pending))
		deadline_start(apic, true);
}

/* KVM_SET_LAPIC: the registers are in place. A deadline is not among them, and goes on. */
void rl_lapic_timer_restore(struct rl_lapic *apic, u32 remaining)
{
	struct rl_lapic_timer *t = &apic->timer;
	u64 ns, deadline = t->tsc_deadline;

	rl_lapic_timer_stop(apic);
	WRITE_ONCE(t->mode, lapic_get(apic, APIC_LVTT) &
		   (APIC_LVT_TIMER_PERIODIC | APIC_LVT_TIMER_TSCDEADLINE));
	t->divisor = rl_apic_divisor(lapic_get(apic, APIC_TDCR));
	if (t->mode == APIC_LVT_TIMER_TSCDEADLINE) {
		t->tsc_deadline = deadline;
		deadline_start(apic, true);
	}
	if (t->mode & APIC_LVT_TIMER_TSCDEADLINE)
		return;
	t->period_ns = initial_ns(apic);
	if (!t->period_ns)
		return;
	ns = min((u64)remaining * t->divisor, t->period_ns);
	/* Rather an interrupt too many than one that never comes. */
	if (!ns && t->mode != APIC_LVT_TIMER_PERIODIC)
		timer_expire_now(apic);
	else
		timer_start(t, ns ?: t->period_ns);
}
