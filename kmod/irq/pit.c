// SPDX-License-Identifier: GPL-2.0-only
/*
 * The 8254 timer: three channels, and port 61h's view of the third.
 *
 * Owns:    struct rl_pit; KVM_GET_PIT2's state.
 * Touches: GSI 0 through routing.c, LVT0 in NMI mode through lapic.c.
 * Locks:   pit->lock, IRQs off, for the channels. The timer's callback does not
 *          take it, so that the timer can be cancelled under it.
 * Manuals: Intel 8254 Programmable Interval Timer datasheet.
 *
 * No channel counts: a count is computed from the time since it was loaded.
 * Only channel 0 has a timer behind it. Counts are binary; a guest that asks
 * for BCD gets binary ones.
 *
 * Reinjection: old guests keep time by counting ticks, so a tick that comes
 * before its predecessor was acknowledged waits for that instead of merging.
 */
#include <linux/math64.h>
#include <linux/slab.h>

#include "irq_priv.h"

#define PIT_PORT	0x40
#define PIT_CONTROL	0x43
#define PIT_SPEAKER	0x61
#define PIT_HZ		1193182
#define PIT_GSI		0
#define PIT_MODE_NONE	0xff	/* after RESET */
/* Ticks that wait for a guest which serves none: after that they are lost. */
#define PIT_MAX_PENDING	100000

/* Read and write states; the first three are as in the control word. */
enum { RW_LSB = 1, RW_MSB, RW_WORD_LSB, RW_WORD_MSB };

/* [k] lock  [t] while the timer is not armed; the callback reads it  [a] atomic */
struct rl_pit {
	struct rl_bus_dev dev;			/* on one or two ranges */
	struct rl_vm *vm;
	spinlock_t lock;			/* IRQs off */
	struct kvm_pit_channel_state ch[3];	/* [k] */
	u32 flags;				/* [k] KVM_PIT_FLAGS_* */
	struct hrtimer timer;
	u64 period_ns;				/* [t] 0: one-shot */
	bool reinject;				/* [a] */
	atomic_t pending;			/* [a] ticks that wait, with the current one */
	atomic_t acked;				/* [a] the last tick was served */
};

/* Channels */

static u64 ch_ticks(const struct kvm_pit_channel_state *c)
{
	s64 ns = ktime_to_ns(ktime_get()) - c->count_load_time;

	return mul_u64_u32_div(max_t(s64, ns, 0), PIT_HZ, NSEC_PER_SEC);
}

static u16 ch_count(const struct kvm_pit_channel_state *c)
{
	u64 ticks = ch_ticks(c);

	switch (c->mode) {
	case 0:
	case 1:
	case 4:
	case 5:
		/* Counts on below zero, around the 16 bits. */
		return c->count - ticks;
	case 3:
		/* The square wave's counter goes down by two. */
		return c->count - 2 * ticks % c->count;
	default:
		return c->count - ticks % c->count;
	}
}

static bool ch_out(const struct kvm_pit_channel_state *c)
{
	u64 ticks = ch_ticks(c);

	switch (c->mode) {
	case 1:
		return ticks < c->count;
	case 2:
		return ticks && !(ticks % c->count);
	case 3:
		return ticks % c->count < (c->count + 1) / 2;
	case 4:
	case 5:
		return ticks == c->count;
	default:
		return ticks >= c->count;
	}
}

static void ch_set_gate(struct kvm_pit_channel_state *c, bool gate)
{
	bool rising = gate && !c->gate;

	/* In the other modes the gate only stops counting, which nobody sees. */
	if (rising && (c->mode == 1 || c->mode == 2 || c->mode == 3 || c->mode == 5))
		c->count_load_time = ktime_to_ns(ktime_get());
	c->gate = gate;
}

/* Channel 0's interrupt */

static void pit_tick(struct rl_pit *pit)
{
	if (READ_ONCE(pit->reinject) && !atomic_xchg(&pit->acked, 0))
		return;
	rl_set_gsi_from(pit->vm, RL_SRC_PIT, PIT_GSI, 1, false);
	rl_set_gsi_from(pit->vm, RL_SRC_PIT, PIT_GSI, 0, false);
	/* The NMI watchdog of guests that program LVT0 so. */
	rl_lapic_nmi_wd(pit->vm);
}

static enum hrtimer_restart pit_expired(struct hrtimer *timer)
{
	struct rl_pit *pit = container_of(timer, struct rl_pit, timer);
	/* With those that the host was too late for. */
	u64 ticks = pit->period_ns ? hrtimer_forward_now(timer, ns_to_ktime(pit->period_ns)) : 1;

	if (READ_ONCE(pit->reinject) && atomic_read(&pit->pending) < PIT_MAX_PENDING)
		atomic_add(min_t(u64, ticks, PIT_MAX_PENDING), &pit->pending);
	pit_tick(pit);
	return pit->period_ns ? HRTIMER_RESTART : HRTIMER_NORESTART;
}

static void pit_reset_reinject(struct rl_pit *pit)
{
	atomic_set(&pit->pending, 0);
	atomic_set(&pit->acked, 1);
}

bool rl_pit_wants_ack(struct rl_vm *vm)
{
	struct rl_pit *pit = READ_ONCE(vm->irq.pit);

	return pit && READ_ONCE(pit->reinject);
}

/* GSI 0 was served. Any context, no interrupt controller's lock held. */
void rl_pit_acked(struct rl_vm *vm)
{
	struct rl_pit *pit = READ_ONCE(vm->irq.pit);

	if (!pit || !READ_ONCE(pit->reinject))
		return;
	/*
	 * Before @pending is looked at: pit_expired() counts first and then
	 * looks at @acked, so that one of the two sends the tick.
	 */
	atomic_set(&pit->acked, 1);
	/* Pairs with the order of pit_expired() and pit_tick(). */
	smp_mb__after_atomic();
	if (atomic_dec_if_positive(&pit->pending) > 0)
		pit_tick(pit);
}

/* The guest masked GSI 0 for a while; ticks from back then are of no use. */
void rl_pit_unmasked(struct rl_vm *vm)
{
	struct rl_pit *pit = READ_ONCE(vm->irq.pit);

	if (pit && READ_ONCE(pit->reinject))
		pit_reset_reinject(pit);
}

static void pit_load(struct rl_pit *pit, int n, u32 count)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];
	bool periodic;
	u64 ns;

	c->count = count ?: 0x10000;
	c->count_load_time = ktime_to_ns(ktime_get());
	if (n)
		return;
	hrtimer_cancel(&pit->timer);
	/* The HPET has taken channel 0's interrupt over. */
	if (pit->flags & KVM_PIT_FLAGS_HPET_LEGACY)
		return;
	/* Mode 5 waits for its gate. */
	if (c->mode > 4)
		return;
	ns = mul_u64_u32_div(c->count, NSEC_PER_SEC, PIT_HZ);
	periodic = c->mode == 2 || c->mode == 3;
	pit->period_ns = periodic ? max_t(u64, ns, RL_MIN_PERIOD_NS) : 0;
	pit_reset_reinject(pit);
	hrtimer_start(&pit->timer, ktime_add_ns(ktime_get(), ns), HRTIMER_MODE_ABS);
}

/* Ports */

static void pit_latch_count(struct kvm_pit_channel_state *c)
{
	if (c->count_latched)
		return;
	c->latched_count = ch_count(c);
	c->count_latched = c->rw_mode;
}

static void pit_latch_status(struct kvm_pit_channel_state *c)
{
	if (!c->status_latched)
		c->status = ch_out(c) << 7 | (c->rw_mode & 3) << 4 | (c->mode & 7) << 1 |
			    (c->bcd & 1);
	c->status_latched = 1;
}

static void pit_write_control(struct rl_pit *pit, u8 val)
{
	struct kvm_pit_channel_state *c;
	int n = val >> 6, rw = val >> 4 & 3;

	if (n == 3) {		/* read-back command, bits 5 and 4 active low */
		for (n = 0; n < 3; n++) {
			if (!(val & 2 << n))
				continue;
			if (!(val & 0x20))
				pit_latch_count(&pit->ch[n]);
			if (!(val & 0x10))
				pit_latch_status(&pit->ch[n]);
		}
		return;
	}
	c = &pit->ch[n];
	if (!rw) {		/* counter latch command */
		pit_latch_count(c);
		return;
	}
	/* A channel with a new mode waits for its count. */
	if (!n)
		hrtimer_cancel(&pit->timer);
	c->rw_mode = rw;
	c->read_state = rw;
	c->write_state = rw;
	c->count_latched = 0;
	c->mode = val >> 1 & 7;
	if (c->mode > 5)
		c->mode -= 4;	/* 6 and 7 are 2 and 3 */
	c->bcd = val & 1;
}

static void pit_write_count(struct rl_pit *pit, int n, u8 val)
{
	struct kvm_pit_channel_state *c = &pit->ch[n];

	switch (c->write_state) {
	case RW_MSB:
		pit_load(pit, n, val << 8);
		break;
	case RW_WORD_LSB:
		c->write_latch = val;
		c->write_state = RW_WORD_MSB;
		break;
	case RW_WORD_MSB:
		pit_load(pit, n, c->write_latch | val << 8);
		c->write_state = RW_WORD_LSB;
		break;
	default:
		pit_load(pit, n, val);
		break;
	}
}

static u8 pit_read_count(struct kvm_pit_channel_state *c)
{
	u16 count;
	u8 state;

	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	count = c->count_latched ? c->latched_count : ch_count(c);
	state = c->count_latched ?: c->read_state;
	if (c->count_latched)
		c->count_latched = state == RW_WORD_LSB ? RW_MSB : 0;
	else if (state == RW_WORD_LSB || state == RW_WORD_MSB)
		c->read_state ^= RW_WORD_LSB ^ RW_WORD_MSB;
	return state == RW_MSB || state == RW_WORD_MSB ? count >> 8 : count;
}

static u8 pit_read_speaker(struct rl_pit *pit)
{
	/* The refresh clock toggles every 15 us: about 2^14 ns. */
	return (pit->ch[2].gate & 1) | (pit->flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON ? 2 : 0) |
	       (ktime_to_ns(ktime_get()) >> 14 & 1) << 4 | ch_out(&pit->ch[2]) << 5;
}

static void pit_write_speaker(struct rl_pit *pit, u8 val)
{
	pit->flags &= ~KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	if (val & 2)
		pit->flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	ch_set_gate(&pit->ch[2], val & 1);
}

static int pit_port_write(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t port, int len,
			  const void *val)
{
	struct rl_pit *pit = container_of(dev, struct rl_pit, dev);
	unsigned long flags;
	u8 data = *(const u8 *)val;

	spin_lock_irqsave(&pit->lock, flags);
	if (port == PIT_SPEAKER)
		pit_write_speaker(pit, data);
	else if (port == PIT_CONTROL)
		pit_write_control(pit, data);
	else
		pit_write_count(pit, port - PIT_PORT, data);
	spin_unlock_irqrestore(&pit->lock, flags);
	return 0;
}

static int pit_port_read(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t port, int len,
			 void *val)
{
	struct rl_pit *pit = container_of(dev, struct rl_pit, dev);
	unsigned long flags;
	u8 data = 0;

	spin_lock_irqsave(&pit->lock, flags);
	if (port == PIT_SPEAKER)
		data = pit_read_speaker(pit);
	else if (port != PIT_CONTROL)	/* which cannot be read */
		data = pit_read_count(&pit->ch[port - PIT_PORT]);
	spin_unlock_irqrestore(&pit->lock, flags);
	memset(val, 0, len);
	*(u8 *)val = data;
	return 0;
}

static const struct rl_bus_dev_ops pit_ops = {
	.read = pit_port_read,
	.write = pit_port_write,
};

/* ioctls */

/**
 * rl_pit_state() - KVM_GET_PIT2 and KVM_SET_PIT2
 * @vm: the VM
 * @ch: state of the channels; those that are set start from their initial counts
 * @pit_flags: KVM_PIT_FLAGS_*, or NULL to leave them alone
 * @set: from there rather than to there
 *
 * Return: 0, -ENXIO without it.
 */
int rl_pit_state(struct rl_vm *vm, struct kvm_pit_channel_state *ch, u32 *pit_flags, bool set)
{
	struct rl_pit *pit = READ_ONCE(vm->irq.pit);
	u32 known = KVM_PIT_FLAGS_HPET_LEGACY | KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	unsigned long flags;
	int i;

	if (!pit)
		return -ENXIO;
	spin_lock_irqsave(&pit->lock, flags);
	if (set) {
		memcpy(pit->ch, ch, sizeof(pit->ch));
		if (pit_flags)
			pit->flags = *pit_flags & known;
		for (i = 0; i < 3; i++)
			pit_load(pit, i, min_t(u32, pit->ch[i].count, 0x10000));
	} else {
		memcpy(ch, pit->ch, sizeof(pit->ch));
		if (pit_flags)
			*pit_flags = pit->flags;
	}
	spin_unlock_irqrestore(&pit->lock, flags);
	return 0;
}

int rl_reinject_control(struct rl_vm *vm, const struct kvm_reinject_control *ctl)
{
	struct rl_pit *pit = READ_ONCE(vm->irq.pit);
	unsigned long flags;

	if (!pit)
		return -ENXIO;
	spin_lock_irqsave(&pit->lock, flags);
	if (ctl->pit_reinject && !pit->reinject)
		pit_reset_reinject(pit);
	WRITE_ONCE(pit->reinject, ctl->pit_reinject);
	spin_unlock_irqrestore(&pit->lock, flags);
	rl_ioapic_notifiers_changed(vm);
	return 0;
}

int rl_create_pit(struct rl_vm *vm, u32 flags)
{
	struct rl_pit *pit;
	int i, r;

	if (vm->irq.pit)
		return -EEXIST;
	pit = kzalloc(sizeof(*pit), GFP_KERNEL_ACCOUNT);
	if (!pit)
		return -ENOMEM;
	pit->dev.ops = &pit_ops;
	pit->vm = vm;
	pit->reinject = true;
	spin_lock_init(&pit->lock);
	hrtimer_init(&pit->timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS);
	pit->timer.function = pit_expired;
	pit_reset_reinject(pit);
	for (i = 0; i < 3; i++) {
		pit->ch[i].mode = PIT_MODE_NONE;
		pit->ch[i].gate = i != 2;
		pit_load(pit, i, 0);
	}
	mutex_lock(&vm->slots_lock);
	r = rl_bus_add(vm, RL_BUS_PIO, PIT_PORT, 4, &pit->dev);
	if (!r && flags & KVM_PIT_SPEAKER_DUMMY)
		r = rl_bus_add(vm, RL_BUS_PIO, PIT_SPEAKER, 1, &pit->dev);
	if (r)
		rl_bus_del(vm, &pit->dev);
	mutex_unlock(&vm->slots_lock);
	if (r) {
		hrtimer_cancel(&pit->timer);
		kfree(pit);
		return r;
	}
	/* Pairs with the address dependency of whoever reads it. */
	smp_store_release(&vm->irq.pit, pit);
	rl_ioapic_notifiers_changed(vm);
	return 0;
}

void rl_pit_stop(struct rl_vm *vm)
{
	if (vm->irq.pit)
		hrtimer_cancel(&vm->irq.pit->timer);
}
