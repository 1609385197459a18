// SPDX-License-Identifier: GPL-2.0-only
/*
 * Time: the guest's TSC, the kvmclock page that tells what a TSC value means,
 * wall clock and steal time.
 *
 * Owns:    vcpu->tsc_*, vcpu->pv, vm->clock.
 * Touches: the guest's kvmclock, wall clock and steal time pages.
 * Locks:   vm->clock.lock, for the clock itself and for writes of any vCPU's
 *          tsc_offset and tsc_ratio; the rest belongs to the vCPU's thread.
 * Manuals: SDM Vol 3B, "Time-Stamp Counter"; APM Vol 2, "TSC Ratio MSR";
 *          Documentation/virt/kvm/x86/msr.rst.
 *
 * Guest TSC = host TSC * ratio + offset. kvmclock counts nanoseconds of the raw
 * monotonic clock, sleep included, from the creation of the VM on; user space
 * may set it. While the host's TSC is a good clock and all vCPUs' TSCs are
 * equal, every vCPU publishes the same pair of host TSC and time, taken once, so
 * that readers on different vCPUs agree to the nanosecond and time never jumps.
 * Otherwise each publishes a pair of its own whenever it changes CPUs, without
 * PVCLOCK_TSC_STABLE_BIT, and the guest sorts it out.
 */
#include <linux/kvm_para.h>
#include <linux/math64.h>
#include <linux/sched/stat.h>
#include <linux/timekeeping.h>
#include <asm/kvm_para.h>
#include <asm/pvclock.h>
#include <asm/tsc.h>

#include "cpu_priv.h"

#define CLOCK_FLAGS	(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)
#define TOLERANCE_PPM	250	/* what crystal and calibration may be off */

/* Nanoseconds since boot at the rate of the raw clock, which NTP leaves alone. */
static s64 base_ns(void)
{
	return ktime_to_ns(ktime_add(ktime_get_raw(), ktime_mono_to_any(0, TK_OFFS_BOOT)));
}

/* Both clocks at one moment. */
static void take_pair(u64 *tsc, s64 *ns)
{
	unsigned long flags;

	local_irq_save(flags);
	*tsc = rdtsc();
	*ns = base_ns();
	local_irq_restore(flags);
}

static u64 scale_tsc(const struct rl_vcpu *vcpu, u64 host_tsc)
{
	if (!rl_caps.tsc_scaling)
		return host_tsc;
	return mul_u64_u64_shr(host_tsc, vcpu->tsc_ratio, rl_caps.tsc_frac_bits);
}

u64 rl_guest_tsc(struct rl_vcpu *vcpu, u64 host_tsc)
{
	return scale_tsc(vcpu, host_tsc) + vcpu->tsc_offset;
}

static u32 guest_khz(const struct rl_vcpu *vcpu)
{
	return rl_caps.tsc_scaling ? vcpu->tsc_khz : tsc_khz;
}

/*
 * ns = ((tsc << shift) * mul) >> 32, a negative shift going right: brings the
 * frequency between 1 and 2 GHz, where mul keeps 32 bits.
 */
static u32 tsc_to_ns_scale(u32 khz, s8 *shift)
{
	u64 hz = khz * 1000ull;

	*shift = 0;
	for (; hz > 2 * NSEC_PER_SEC; hz >>= 1)
		--*shift;
	for (; hz <= NSEC_PER_SEC; hz <<= 1)
		++*shift;
	return div64_u64((u64)NSEC_PER_SEC << 32, hz);
}

static bool tscs_equal(struct rl_vm *vm)
{
	struct rl_vcpu *vcpu;
	int i;

	rl_for_each_vcpu(i, vcpu, vm)
		if (vcpu->tsc_offset != vm->vcpus[0]->tsc_offset ||
		    vcpu->tsc_ratio != vm->vcpus[0]->tsc_ratio)
			return false;
	return true;
}

/*
 * Look again whether one pair will do for all, and take a new one when there
 * was none or the host's TSC started over (resume from sleep).
 */
static void update_stable(struct rl_vm *vm)
{
	struct rl_vm_clock *c = &vm->clock;
	unsigned long flags;
	bool was, changed;

	raw_spin_lock_irqsave(&c->lock, flags);
	was = c->stable;
	c->stable = !check_tsc_unstable() && tscs_equal(vm);
	changed = was != c->stable;
	if (c->stable && (!was || rdtsc() < c->pair_tsc)) {
		take_pair(&c->pair_tsc, &c->pair_ns);
		changed = true;
	}
	raw_spin_unlock_irqrestore(&c->lock, flags);
	if (changed)
		rl_request_all(vm, RL_REQ_CLOCK, false);
}

/* The time of @vm's kvmclock at host TSC @tsc, or now when there is no common pair. */
static u64 kvmclock_at(const struct rl_vm_clock *c, u64 tsc)
{
	s8 shift;
	u32 mul;

	if (!c->stable)
		return base_ns() + c->kvmclock_offset;
	mul = tsc_to_ns_scale(tsc_khz, &shift);
	return c->pair_ns + c->kvmclock_offset +
	       pvclock_scale_delta(max(tsc, c->pair_tsc) - c->pair_tsc, mul, shift);
}

int rl_clock_init(void)
{
	if (tsc_khz)
		return 0;
	pr_err("ringlet: the host's TSC has no known frequency\n");
	return -ENODEV;
}

void rl_vm_clock_init(struct rl_vm *vm)
{
	struct rl_vm_clock *c = &vm->clock;

	raw_spin_lock_init(&c->lock);
	c->default_tsc_khz = tsc_khz;
	take_pair(&c->pair_tsc, &c->pair_ns);
	c->kvmclock_offset = -c->pair_ns;
	c->stable = !check_tsc_unstable();
}

static void set_offset(struct rl_vcpu *vcpu, u64 offset)
{
	struct rl_vm_clock *c = &vcpu->vm->clock;
	unsigned long flags;

	raw_spin_lock_irqsave(&c->lock, flags);
	vcpu->tsc_offset = offset;
	raw_spin_unlock_irqrestore(&c->lock, flags);
}

/* After a change of offset or ratio, vCPU loaded: everybody who computes with them. */
static void tsc_changed(struct rl_vcpu *vcpu)
{
	rl_ops->update_tsc(vcpu);
	if (vcpu->lapic)
		rl_lapic_tsc_changed(vcpu);
	update_stable(vcpu->vm);
	rl_request(vcpu, RL_REQ_CLOCK);
}

/* The last TSC that was written: @data, at @ns. clock.lock held. */
static void note_write(struct rl_vcpu *vcpu, u64 data, s64 ns)
{
	struct rl_vm_clock *c = &vcpu->vm->clock;

	c->cur_tsc_offset = vcpu->tsc_offset;
	c->last_tsc_ns = ns;
	c->last_tsc_write = data;
	c->last_tsc_khz = vcpu->tsc_khz;
}

/*
 * User space writes TSCs one after the other, each with the value that was right
 * when it read it, and means all of them to be equal. A write that is within a
 * second of what the last written TSC shows by now gets that vCPU's offset. So
 * does 0, with which every vCPU begins.
 */
static void synchronize_tsc(struct rl_vcpu *vcpu, u64 data)
{
	struct rl_vm_clock *c = &vcpu->vm->clock;
	u64 second = vcpu->tsc_khz * 1000ull, elapsed, expected, tsc;
	unsigned long flags;
	s64 ns;

	raw_spin_lock_irqsave(&c->lock, flags);
	take_pair(&tsc, &ns);
	elapsed = mul_u64_u64_div_u64(max_t(s64, ns - c->last_tsc_ns, 0), vcpu->tsc_khz,
				      1000000);
	expected = c->last_tsc_write + elapsed;
	vcpu->tsc_offset = data - scale_tsc(vcpu, tsc);
	if (c->last_tsc_khz == vcpu->tsc_khz &&
	    (!data || (data < expected + second && data + second > expected))) {
		if (check_tsc_unstable())
			vcpu->tsc_offset += elapsed;
		else
			vcpu->tsc_offset = c->cur_tsc_offset;
	}
	note_write(vcpu, data, ns);
	raw_spin_unlock_irqrestore(&c->lock, flags);
}

/**
 * rl_tsc_attr() - KVM_HAS/GET/SET_DEVICE_ATTR on a vCPU: its TSC's offset
 * @vcpu: the vCPU, loaded
 * @attr: which one, and where its value is
 * @cmd: one of the three
 *
 * Return: 0, -ENXIO when there is no such attribute, -EFAULT.
 */
int rl_tsc_attr(struct rl_vcpu *vcpu, const struct kvm_device_attr *attr, unsigned int cmd)
{
	u64 __user *uaddr = (u64 __user *)(unsigned long)attr->addr;
	struct rl_vm_clock *c = &vcpu->vm->clock;
	unsigned long flags;
	u64 offset, tsc;
	s64 ns;

	if (attr->group != KVM_VCPU_TSC_CTRL || attr->attr != KVM_VCPU_TSC_OFFSET)
		return -ENXIO;
	if (cmd == KVM_HAS_DEVICE_ATTR)
		return 0;
	if (cmd == KVM_GET_DEVICE_ATTR)
		return put_user(vcpu->tsc_offset, uaddr);
	if (get_user(offset, uaddr))
		return -EFAULT;
	raw_spin_lock_irqsave(&c->lock, flags);
	take_pair(&tsc, &ns);
	vcpu->tsc_offset = offset;
	note_write(vcpu, rl_guest_tsc(vcpu, tsc), ns);
	raw_spin_unlock_irqrestore(&c->lock, flags);
	tsc_changed(vcpu);
	return 0;
}

/* The ratio for @khz; false when this host cannot do it. */
static bool khz_to_ratio(u32 khz, u64 *ratio)
{
	u64 slack = mul_u32_u32(tsc_khz, TOLERANCE_PPM) / 1000000;

	*ratio = 1ull << rl_caps.tsc_frac_bits;
	if (khz >= tsc_khz - slack && khz <= tsc_khz + slack)
		return true;
	if (!rl_caps.tsc_scaling)
		return false;
	*ratio = mul_u64_u64_div_u64(*ratio, khz, tsc_khz);
	return *ratio && *ratio <= rl_caps.max_tsc_ratio;
}

/* At creation: the VM's frequency, and a TSC that agrees with the other vCPUs'. */
void rl_vcpu_clock_init(struct rl_vcpu *vcpu)
{
	vcpu->tsc_khz = vcpu->vm->clock.default_tsc_khz;
	/* Judged when it was set; it fits. */
	WARN_ON_ONCE(!khz_to_ratio(vcpu->tsc_khz, &vcpu->tsc_ratio));
	synchronize_tsc(vcpu, 0);
}

/* *@khz, 0 being the host's frequency, and its ratio: 0, or -EINVAL: no guest can have it here. */
static int judge_khz(unsigned long *khz, u64 *ratio)
{
	if (!*khz)
		*khz = tsc_khz;
	return *khz <= U32_MAX && khz_to_ratio(*khz, ratio) ? 0 : -EINVAL;
}

/* KVM_SET_TSC_KHZ; errors as above. */
int rl_set_tsc_khz(struct rl_vcpu *vcpu, unsigned long khz)
{
	unsigned long flags;
	u64 ratio;
	int r = judge_khz(&khz, &ratio);

	if (r)
		return r;
	raw_spin_lock_irqsave(&vcpu->vm->clock.lock, flags);
	vcpu->tsc_khz = khz;
	vcpu->tsc_ratio = ratio;
	raw_spin_unlock_irqrestore(&vcpu->vm->clock.lock, flags);
	tsc_changed(vcpu);
	return 0;
}

/* KVM_SET_TSC_KHZ on the VM: what its next vCPUs begin with; errors as above. */
int rl_vm_set_tsc_khz(struct rl_vm *vm, unsigned long khz)
{
	u64 ratio;
	int r = judge_khz(&khz, &ratio);

	if (!r)
		vm->clock.default_tsc_khz = khz;
	return r;
}

/*
 * Put @data, @len bytes with the u32 that versions them @version bytes from its start, at @gpa.
 * The reader, on any vCPU, retries while the version is odd or has changed. vm->srcu held.
 */
static bool publish(struct rl_vm *vm, gpa_t gpa, void *data, unsigned int len,
		    unsigned int version)
{
	u32 *v = data + version;

	*v = (*v + 1) | 1;
	if (rl_guest_write(vm, gpa + version, v, sizeof(*v)))
		return false;
	smp_wmb();		/* pairs with the virt_rmb()s around the guest's read */
	rl_guest_write(vm, gpa, data, len);
	smp_wmb();		/* likewise */
	++*v;
	return !rl_guest_write(vm, gpa + version, v, sizeof(*v));
}

/* KVM's msr.rst: a wall clock is the time of day at kvmclock's zero. */
static void write_wall_clock(struct rl_vm *vm, gpa_t gpa)
{
	struct pvclock_wall_clock wc;
	u64 now;
	int idx;

	if (!gpa)
		return;
	idx = srcu_read_lock(&vm->srcu);
	if (!rl_guest_read(vm, gpa, &wc, sizeof(wc))) {
		now = kvmclock_at(&vm->clock, rdtsc());
		wc.sec = div_u64_rem(ktime_get_real_ns() - now, NSEC_PER_SEC, &wc.nsec);
		publish(vm, gpa, &wc, sizeof(wc), offsetof(struct pvclock_wall_clock, version));
	}
	srcu_read_unlock(&vm->srcu, idx);
}

/**
 * rl_clock_update() - Publish the kvmclock page
 * @vcpu: the vCPU
 *
 * On RL_REQ_CLOCK. A page that is not guest memory is not written.
 */
void rl_clock_update(struct rl_vcpu *vcpu)
{
	gpa_t gpa = vcpu->pv.system_time_msr & ~(u64)KVM_MSR_ENABLED;
	struct rl_vm_clock *c = &vcpu->vm->clock;
	struct pvclock_vcpu_time_info t;
	struct rl_vm *vm = vcpu->vm;
	u8 flags = 0;
	u64 tsc;
	s64 ns;
	int idx;

	if (c->stable == check_tsc_unstable() || rdtsc() < c->pair_tsc)
		update_stable(vm);
	if (!(vcpu->pv.system_time_msr & KVM_MSR_ENABLED))
		return;

	raw_spin_lock_irq(&c->lock);
	if (c->stable) {
		tsc = c->pair_tsc;
		ns = c->pair_ns;
		flags |= PVCLOCK_TSC_STABLE_BIT;
	} else {
		take_pair(&tsc, &ns);
	}
	ns += c->kvmclock_offset;
	raw_spin_unlock_irq(&c->lock);
	if (vcpu->pv.guest_stopped)
		flags |= PVCLOCK_GUEST_STOPPED;
	vcpu->pv.guest_stopped = false;

	idx = srcu_read_lock(&vm->srcu);
	if (!rl_guest_read(vm, gpa, &t, sizeof(t))) {
		t.tsc_timestamp = rl_guest_tsc(vcpu, tsc);
		t.system_time = ns;
		t.tsc_to_system_mul = tsc_to_ns_scale(guest_khz(vcpu), &t.tsc_shift);
		t.flags = flags | (t.flags & PVCLOCK_GUEST_STOPPED);	/* the guest clears it */
		publish(vm, gpa, &t, sizeof(t), offsetof(struct pvclock_vcpu_time_info, version));
	}
	srcu_read_unlock(&vm->srcu, idx);
}

static gpa_t steal_gpa(const struct rl_vcpu *vcpu)
{
	return vcpu->pv.steal_msr & ~0x3full;
}

/* How long the calling thread has waited on run queues. */
static u64 run_delay(void)
{
#ifdef CONFIG_SCHED_INFO
	return current->sched_info.run_delay;
#else
	return 0;
#endif
}

/*
 * The vCPU runs again. Its page's other user is a guest's vCPU that, rather than
 * wait for it to answer an IPI, left word that its TLB is to be flushed
 * (KVM_FEATURE_PV_TLB_FLUSH). vm->srcu held.
 */
static void take_preempted(struct rl_vcpu *vcpu)
{
	gpa_t gpa = steal_gpa(vcpu) + offsetof(struct kvm_steal_time, preempted);
	u64 old = KVM_VCPU_PREEMPTED;
	int r, tries = 0;

	/* It leaves word once: more changes than that are somebody's who can wait. */
	do {
		r = rl_guest_cmpxchg(vcpu->vm, gpa, &old, 0, 1);
	} while (r > 0 && ++tries < 4);
	if (r || old & KVM_VCPU_FLUSH_TLB)
		rl_request(vcpu, RL_REQ_TLB_FLUSH);
	/* After the page: should the thread lose its CPU in between, nothing is written over. */
	if (!r)
		vcpu->pv.steal_preempted = false;
}

/**
 * rl_steal_update() - Add the time that the thread waited for a CPU
 * @vcpu: the vCPU
 *
 * On RL_REQ_STEAL, in the vCPU's thread.
 */
void rl_steal_update(struct rl_vcpu *vcpu)
{
	struct rl_vm *vm = vcpu->vm;
	struct kvm_steal_time st;
	gpa_t gpa = steal_gpa(vcpu);
	u64 delay = run_delay();
	int idx;

	if (!(vcpu->pv.steal_msr & KVM_MSR_ENABLED))
		return;
	idx = srcu_read_lock(&vm->srcu);
	if (vcpu->pv.steal_preempted)
		take_preempted(vcpu);
	if (!rl_guest_read(vm, gpa, &st, sizeof(st))) {
		if (delay > vcpu->pv.last_run_delay)	/* another thread's is another clock */
			st.steal += delay - vcpu->pv.last_run_delay;
		/* Not ->preempted, which others change. */
		if (publish(vm, gpa, &st, offsetof(struct kvm_steal_time, preempted),
			    offsetof(struct kvm_steal_time, version)))
			vcpu->pv.last_run_delay = delay;
	}
	srcu_read_unlock(&vm->srcu, idx);
}

/**
 * rl_clock_moved() - The slow half of rl_clock_load()
 * @vcpu: the vCPU
 * @cpu: this one
 * @host: its TSC
 *
 * Another CPU than last time, or one whose TSC is behind, as after the host's
 * sleep: never backwards for the guest.
 */
void rl_clock_moved(struct rl_vcpu *vcpu, int cpu, u64 host)
{
	struct rl_pvclock *pv = &vcpu->pv;

	if (host < pv->last_host_tsc) {
		set_offset(vcpu, vcpu->tsc_offset + scale_tsc(vcpu, pv->last_host_tsc) -
				 scale_tsc(vcpu, host));
		rl_ops->update_tsc(vcpu);
		rl_request(vcpu, RL_REQ_CLOCK);
	}
	if (pv->system_time_msr & KVM_MSR_ENABLED &&
	    (!vcpu->vm->clock.stable || check_tsc_unstable()) && pv->last_cpu != cpu)
		rl_request(vcpu, RL_REQ_CLOCK);
	pv->last_cpu = cpu;
}

/* The thread waited for a CPU since the guest was last told, or its page says so? */
void rl_steal_load(struct rl_vcpu *vcpu)
{
	if (run_delay() != vcpu->pv.last_run_delay || vcpu->pv.steal_preempted)
		rl_request(vcpu, RL_REQ_STEAL);
}

/*
 * The vCPU leaves its CPU; when it would rather run, its guest may want to know.
 * Not in the middle of an instruction that is emulated: a flush that others may
 * leave for later would come too late for what it has translated already.
 */
void rl_steal_put(struct rl_vcpu *vcpu)
{
	struct rl_pvclock *pv = &vcpu->pv;
	const u8 preempted = KVM_VCPU_PREEMPTED;
	int idx;

	if (!vcpu->preempted || pv->steal_preempted ||
	    (vcpu->exit.kind != RL_EXIT_INTR && vcpu->exit.kind != RL_EXIT_NONE))
		return;
	idx = srcu_read_lock(&vcpu->vm->srcu);
	if (!rl_guest_write_atomic(vcpu->vm, steal_gpa(vcpu) +
				   offsetof(struct kvm_steal_time, preempted), &preempted, 1))
		pv->steal_preempted = true;
	srcu_read_unlock(&vcpu->vm->srcu, idx);
}

/* RESET and INIT switch the paravirtual clocks off. vCPU loaded. */
void rl_clock_reset(struct rl_vcpu *vcpu, bool init)
{
	vcpu->pv.system_time_msr = 0;
	vcpu->pv.steal_msr = 0;
	vcpu->pv.guest_stopped = false;
	if (!init) {
		vcpu->pv.poll_control = 1;
		vcpu->tsc_adjust = 0;
		rl_ops->update_tsc(vcpu);
	}
}

int rl_get_tsc(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	m->data = rl_guest_tsc(vcpu, rdtsc());
	return 0;
}

int rl_set_tsc(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	if (m->host) {
		synchronize_tsc(vcpu, m->data);
	} else {
		/* SDM Vol 3B, "Time-Stamp Counter Adjustment": they move together. */
		u64 delta = m->data - rl_guest_tsc(vcpu, rdtsc());

		set_offset(vcpu, vcpu->tsc_offset + delta);
		vcpu->tsc_adjust += delta;
	}
	tsc_changed(vcpu);
	return 0;
}

int rl_set_tsc_adjust(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	if (!m->host) {
		set_offset(vcpu, vcpu->tsc_offset + m->data - vcpu->tsc_adjust);
		tsc_changed(vcpu);
	}
	vcpu->tsc_adjust = m->data;
	return 0;
}

int rl_get_wall_clock(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	m->data = vcpu->vm->clock.wall_clock_msr;
	return 0;
}

int rl_set_wall_clock(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	vcpu->vm->clock.wall_clock_msr = m->data;
	write_wall_clock(vcpu->vm, m->data);
	return 0;
}

int rl_set_system_time(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	vcpu->pv.system_time_msr = m->data;
	rl_request(vcpu, RL_REQ_CLOCK);
	return 0;
}

int rl_set_steal_time(struct rl_vcpu *vcpu, struct rl_msr_op *m)
{
	if (!sched_info_on() || m->data & 0x3e)
		return 1;
	vcpu->pv.steal_msr = m->data;
	vcpu->pv.steal_preempted = true;	/* whatever is there: to be cleared */
	vcpu->pv.last_run_delay = run_delay();
	rl_request(vcpu, RL_REQ_STEAL);
	return 0;
}

/**
 * rl_clock_pairing() - KVM_HC_CLOCK_PAIRING: the host's time of day at a TSC value
 * @vcpu: the vCPU
 * @gpa: of a struct kvm_clock_pairing
 * @type: of clock
 *
 * Return: what the hypercall answers: 0, -KVM_EOPNOTSUPP for another clock or without
 * a TSC that all vCPUs share, -KVM_EFAULT.
 */
long rl_clock_pairing(struct rl_vcpu *vcpu, gpa_t gpa, u64 type)
{
	struct kvm_clock_pairing pair = {};
	struct rl_vm *vm = vcpu->vm;
	struct timespec64 now;
	unsigned long flags;
	long r;
	int idx;

	if (type != KVM_CLOCK_PAIRING_WALLCLOCK || !vm->clock.stable)
		return -KVM_EOPNOTSUPP;
	local_irq_save(flags);
	ktime_get_real_ts64(&now);
	pair.tsc = rl_guest_tsc(vcpu, rdtsc());
	local_irq_restore(flags);
	pair.sec = now.tv_sec;
	pair.nsec = now.tv_nsec;
	idx = srcu_read_lock(&vm->srcu);
	r = rl_guest_write(vm, gpa, &pair, sizeof(pair)) ? -KVM_EFAULT : 0;
	srcu_read_unlock(&vm->srcu, idx);
	return r;
}

/* KVM_GET_CLOCK: 0 */
int rl_get_clock(struct rl_vm *vm, struct kvm_clock_data *data)
{
	struct rl_vm_clock *c = &vm->clock;
	unsigned long flags;

	memset(data, 0, sizeof(*data));
	raw_spin_lock_irqsave(&c->lock, flags);
	data->host_tsc = rdtsc();
	data->clock = kvmclock_at(c, data->host_tsc);
	data->realtime = ktime_get_real_ns();
	data->flags = CLOCK_FLAGS;
	if (!c->stable) {
		data->flags = 0;
		data->host_tsc = 0;
		data->realtime = 0;
	}
	raw_spin_unlock_irqrestore(&c->lock, flags);
	return 0;
}

/* KVM_SET_CLOCK: 0, or -EINVAL for unknown flags. */
int rl_set_clock(struct rl_vm *vm, const struct kvm_clock_data *data)
{
	struct rl_vm_clock *c = &vm->clock;
	u64 clock = data->clock, now;
	unsigned long flags;

	if (data->flags & ~CLOCK_FLAGS)
		return -EINVAL;
	raw_spin_lock_irqsave(&c->lock, flags);
	take_pair(&c->pair_tsc, &c->pair_ns);
	if (data->flags & KVM_CLOCK_REALTIME) {
		/* The VM was away for a while, and is to see that; never less than nothing. */
		now = ktime_get_real_ns();
		if (now > data->realtime)
			clock += now - data->realtime;
	}
	c->kvmclock_offset = clock - c->pair_ns;
	raw_spin_unlock_irqrestore(&c->lock, flags);
	rl_request_all(vm, RL_REQ_CLOCK, false);
	return 0;
}

/* KVM_KVMCLOCK_CTRL: the guest was stopped; 0, or -EINVAL while it has no kvmclock. */
int rl_kvmclock_ctrl(struct rl_vcpu *vcpu)
{
	if (!(vcpu->pv.system_time_msr & KVM_MSR_ENABLED))
		return -EINVAL;
	vcpu->pv.guest_stopped = true;
	rl_request(vcpu, RL_REQ_CLOCK);
	return 0;
}
