// SPDX-License-Identifier: GPL-2.0-only
/*
 * The I/O APIC: 24 pins, each with a redirection entry.
 *
 * Owns:    struct rl_ioapic; KVM_IRQCHIP_IOAPIC's state.
 * Touches: local APICs through ipi.c, ack notifiers through routing.c.
 * Locks:   ioapic->lock, IRQs off; never held over a notifier.
 * Manuals: 82093AA I/O Advanced Programmable Interrupt Controller datasheet,
 *          "Register Description"; SDM Vol 3A, "Handling Interrupts".
 */
#include <linux/nospec.h>
#include <linux/slab.h>

#include "irq_priv.h"

#define IOAPIC_BASE	0xfec00000ull
#define IOAPIC_LEN	0x100
#define IOAPIC_SELECT	0x00
#define IOAPIC_WINDOW	0x10
#define IOAPIC_REG_ID	0
#define IOAPIC_REG_VER	1
#define IOAPIC_REG_ARB	2
#define IOAPIC_VERSION	(0x11 | (RL_IOAPIC_PINS - 1) << 16)
#define IOAPIC_RTC_PIN	8

/* A redirection entry; delivery and destination mode are where the ICR has them. */
#define ENTRY_REMOTE_IRR	BIT_ULL(14)
#define ENTRY_LEVEL		BIT_ULL(15)
#define ENTRY_MASKED		BIT_ULL(16)
#define ENTRY_DEST_SHIFT	56
/* Writable: destination, mask, trigger, polarity, modes, vector. */
#define ENTRY_WRITABLE	0xff0000000001afffull

/*
 * After that many interrupts in a row, each raised again by its own EOI, the
 * next one waits: a guest that does not serve its device still gets somewhere.
 */
#define STORM_EOIS	10000
#define STORM_DELAY	(HZ / 100)

/* [k] lock */
struct rl_ioapic {
	struct rl_bus_dev dev;
	struct rl_vm *vm;
	spinlock_t lock;			/* IRQs off */
	struct kvm_ioapic_state s;		/* [k] */
	u32 irr_delivered;			/* [k] edges in s.irr that were sent */
	u8 sources[RL_IOAPIC_PINS];		/* [k] BIT(enum rl_irq_source) */
	u16 eois[RL_IOAPIC_PINS];		/* [k] in a row, see STORM_EOIS */
	DECLARE_BITMAP(eoi_vectors, 256);	/* [k] to write: vectors whose EOI we want */
	struct delayed_work resend;
};

static u64 *ioapic_entry(struct rl_ioapic *ioapic, int pin)
{
	return &ioapic->s.redirtbl[pin].bits;
}

static struct rl_apic_msg entry_msg(u64 bits)
{
	return rl_device_msg(bits, bits >> ENTRY_DEST_SHIFT, bits & APIC_DEST_LOGICAL);
}

/* Send a pin's interrupt if it may go; as rl_set_gsi() answers. */
static int ioapic_service(struct rl_ioapic *ioapic, int pin)
{
	u64 *e = ioapic_entry(ioapic, pin);
	struct rl_apic_msg msg;
	int r;

	if (*e & ENTRY_MASKED || (*e & ENTRY_LEVEL && *e & ENTRY_REMOTE_IRR))
		return -1;
	msg = entry_msg(*e);
	r = rl_apic_deliver(ioapic->vm, &msg);
	if (!msg.level)
		ioapic->irr_delivered |= BIT(pin);
	else if (r > 0)
		*e |= ENTRY_REMOTE_IRR;
	return r;
}

static int ioapic_set_level(struct rl_ioapic *ioapic, int pin, bool level, bool line_status)
{
	u64 e = *ioapic_entry(ioapic, pin);
	bool edge = !(e & ENTRY_LEVEL);
	u32 old = ioapic->s.irr, bit = BIT(pin);
	struct rl_apic_msg msg;

	if (!level) {
		ioapic->s.irr &= ~bit;
		return 1;
	}
	/*
	 * Guests keep time by counting clock ticks: who raises them wants to
	 * know of one that would merge with its predecessor.
	 */
	if (edge && line_status && pin == IOAPIC_RTC_PIN) {
		msg = entry_msg(e);
		if (rl_apic_dest_busy(ioapic->vm, &msg))
			return 0;
	}
	ioapic->s.irr |= bit;
	if (edge) {
		ioapic->irr_delivered &= ~bit;
		if (old & bit)
			return 0;
	}
	return ioapic_service(ioapic, pin);
}

int rl_ioapic_set_irq(struct rl_vm *vm, u8 pin, enum rl_irq_source src, int level,
		      bool line_status)
{
	struct rl_ioapic *ioapic = vm->irq.ioapic;
	unsigned long flags;
	int r;

	spin_lock_irqsave(&ioapic->lock, flags);
	r = ioapic_set_level(ioapic, pin, rl_line_level(&ioapic->sources[pin], src, level),
			     line_status);
	spin_unlock_irqrestore(&ioapic->lock, flags);
	return r;
}

/* Which EOIs matter: those of level-triggered pins, and where somebody listens. */
static void ioapic_update_eoi_vectors(struct rl_ioapic *ioapic)
{
	DECLARE_BITMAP(vectors, 256);
	int i;

	bitmap_zero(vectors, 256);
	for (i = 0; i < RL_IOAPIC_PINS; i++)
		if (*ioapic_entry(ioapic, i) & ENTRY_LEVEL ||
		    rl_pin_has_notifier(ioapic->vm, KVM_IRQCHIP_IOAPIC, i))
			__set_bit((u8)*ioapic_entry(ioapic, i), vectors);
	if (bitmap_equal(vectors, ioapic->eoi_vectors, 256))
		return;
	for (i = 0; i < ARRAY_SIZE(vectors); i++)
		WRITE_ONCE(ioapic->eoi_vectors[i], vectors[i]);
	rl_eoi_vectors_changed(ioapic->vm);
}

void rl_ioapic_eoi_vectors(struct rl_vm *vm, unsigned long *vectors)
{
	int i;

	for (i = 0; i < BITS_TO_LONGS(256); i++)
		vectors[i] = READ_ONCE(vm->irq.ioapic->eoi_vectors[i]);
}

void rl_ioapic_notifiers_changed(struct rl_vm *vm)
{
	struct rl_ioapic *ioapic = vm->irq.ioapic;
	unsigned long flags;

	if (!ioapic)
		return;
	spin_lock_irqsave(&ioapic->lock, flags);
	ioapic_update_eoi_vectors(ioapic);
	spin_unlock_irqrestore(&ioapic->lock, flags);
}

static void ioapic_eoi_pin(struct rl_ioapic *ioapic, int pin, u8 vector)
{
	u64 *e = ioapic_entry(ioapic, pin);

	/* It may have been programmed anew while nobody held the lock. */
	if (!(*e & ENTRY_LEVEL) || (u8)*e != vector)
		return;
	*e &= ~ENTRY_REMOTE_IRR;
	if (*e & ENTRY_MASKED || !(ioapic->s.irr & BIT(pin))) {
		ioapic->eois[pin] = 0;
	} else if (++ioapic->eois[pin] < STORM_EOIS) {
		ioapic_service(ioapic, pin);
	} else {
		ioapic->eois[pin] = 0;
		schedule_delayed_work(&ioapic->resend, STORM_DELAY);
	}
}

bool rl_ioapic_waits(struct rl_vcpu *vcpu, u8 vector)
{
	struct rl_ioapic *ioapic = vcpu->vm->irq.ioapic;

	return ioapic && test_bit(vector, ioapic->eoi_vectors);
}

/**
 * rl_ioapic_eoi() - A local APIC finished a vector
 * @vcpu:   its vCPU
 * @vector: the vector
 * @level:  it was level-triggered, so the EOI is broadcast to I/O APICs, be they
 *	user space's
 *
 * Context: any, IRQs on or off; no interrupt controller's lock held.
 */
void rl_ioapic_eoi(struct rl_vcpu *vcpu, u8 vector, bool level)
{
	struct rl_ioapic *ioapic = vcpu->vm->irq.ioapic;
	unsigned long pins = 0, flags;
	DECLARE_BITMAP(users, 256) = {};
	int pin;

	if (!ioapic) {
		if (level)
			rl_users_eoi_vectors(vcpu->vm, users);
		if (test_bit(vector, users)) {
			vcpu->eoi_vector = vector;
			rl_request(vcpu, RL_REQ_IOAPIC_EOI);
		}
		return;
	}
	if (!test_bit(vector, ioapic->eoi_vectors))
		return;
	spin_lock_irqsave(&ioapic->lock, flags);
	for (pin = 0; pin < RL_IOAPIC_PINS; pin++)
		if ((u8)*ioapic_entry(ioapic, pin) == vector)
			pins |= BIT(pin);
	spin_unlock_irqrestore(&ioapic->lock, flags);

	for_each_set_bit(pin, &pins, RL_IOAPIC_PINS) {
		/* A level's owner may lower it, or raise it again at once. */
		rl_pin_acked(ioapic->vm, KVM_IRQCHIP_IOAPIC, pin);
		if (!level)
			continue;
		spin_lock_irqsave(&ioapic->lock, flags);
		ioapic_eoi_pin(ioapic, pin, vector);
		spin_unlock_irqrestore(&ioapic->lock, flags);
	}
}

static void ioapic_resend(struct work_struct *work)
{
	struct rl_ioapic *ioapic = container_of(work, struct rl_ioapic, resend.work);
	unsigned long flags;
	int pin;

	spin_lock_irqsave(&ioapic->lock, flags);
	for (pin = 0; pin < RL_IOAPIC_PINS; pin++)
		if (*ioapic_entry(ioapic, pin) & ENTRY_LEVEL && ioapic->s.irr & BIT(pin))
			ioapic_service(ioapic, pin);
	spin_unlock_irqrestore(&ioapic->lock, flags);
}

/* The redirection entry that IOREGSEL points at, or -1. */
static int ioapic_selected_pin(const struct rl_ioapic *ioapic)
{
	u32 pin = (ioapic->s.ioregsel - 0x10) >> 1;

	return pin < RL_IOAPIC_PINS ? array_index_nospec(pin, RL_IOAPIC_PINS) : -1;
}

static u32 ioapic_read_window(struct rl_ioapic *ioapic)
{
	int pin;

	switch (ioapic->s.ioregsel) {
	case IOAPIC_REG_VER:
		return IOAPIC_VERSION;
	case IOAPIC_REG_ID:
	case IOAPIC_REG_ARB:
		return (ioapic->s.id & 0xf) << 24;
	}
	pin = ioapic_selected_pin(ioapic);
	if (pin < 0)
		return ~0;
	return *ioapic_entry(ioapic, pin) >> (ioapic->s.ioregsel & 1 ? 32 : 0);
}

/* Answers the pin that the write unmasked, or -1. */
static int ioapic_write_entry(struct rl_ioapic *ioapic, int pin, u32 val)
{
	u64 *e = ioapic_entry(ioapic, pin);
	int shift = ioapic->s.ioregsel & 1 ? 32 : 0;
	u64 writable = ENTRY_WRITABLE & 0xffffffffull << shift;
	bool was_masked = *e & ENTRY_MASKED;

	*e = (*e & ~writable) | ((u64)val << shift & writable);
	/* Without an EOI register, this is how software clears it by hand. */
	if (!(*e & ENTRY_LEVEL))
		*e &= ~ENTRY_REMOTE_IRR;
	ioapic_update_eoi_vectors(ioapic);
	if (*e & ENTRY_LEVEL && ioapic->s.irr & BIT(pin))
		ioapic_service(ioapic, pin);
	return was_masked && !(*e & ENTRY_MASKED) ? pin : -1;
}

static int ioapic_write_window(struct rl_ioapic *ioapic, u32 val)
{
	int pin;

	switch (ioapic->s.ioregsel) {
	case IOAPIC_REG_ID:
		ioapic->s.id = val >> 24 & 0xf;
		return -1;
	case IOAPIC_REG_VER:
	case IOAPIC_REG_ARB:
		return -1;
	}
	pin = ioapic_selected_pin(ioapic);
	return pin < 0 ? -1 : ioapic_write_entry(ioapic, pin, val);
}

static int ioapic_mmio_read(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t addr, int len,
			    void *val)
{
	struct rl_ioapic *ioapic = container_of(dev, struct rl_ioapic, dev);
	unsigned long flags;
	u64 data = 0;

	spin_lock_irqsave(&ioapic->lock, flags);
	if (addr - IOAPIC_BASE == IOAPIC_SELECT)
		data = ioapic->s.ioregsel;
	else if (addr - IOAPIC_BASE == IOAPIC_WINDOW)
		data = ioapic_read_window(ioapic);
	spin_unlock_irqrestore(&ioapic->lock, flags);
	memcpy(val, &data, min_t(size_t, len, sizeof(data)));
	return 0;
}

static int ioapic_mmio_write(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t addr, int len,
			     const void *val)
{
	struct rl_ioapic *ioapic = container_of(dev, struct rl_ioapic, dev);
	unsigned long flags;
	int unmasked = -1;
	u32 data = 0;

	memcpy(&data, val, min_t(size_t, len, sizeof(data)));
	spin_lock_irqsave(&ioapic->lock, flags);
	if (addr - IOAPIC_BASE == IOAPIC_SELECT)
		ioapic->s.ioregsel = data & 0xff;
	else if (addr - IOAPIC_BASE == IOAPIC_WINDOW)
		unmasked = ioapic_write_window(ioapic, data);
	spin_unlock_irqrestore(&ioapic->lock, flags);
	if (unmasked >= 0)
		rl_pin_unmasked(ioapic->vm, KVM_IRQCHIP_IOAPIC, unmasked);
	return 0;
}

static const struct rl_bus_dev_ops ioapic_ops = {
	.read = ioapic_mmio_read,
	.write = ioapic_mmio_write,
};

void rl_ioapic_state(struct rl_vm *vm, struct kvm_ioapic_state *state, bool set)
{
	struct rl_ioapic *ioapic = vm->irq.ioapic;
	unsigned long flags, irr = state->irr;
	int pin;

	spin_lock_irqsave(&ioapic->lock, flags);
	if (set) {
		ioapic->s = *state;
		ioapic->s.irr = 0;
		ioapic->irr_delivered = 0;
		ioapic_update_eoi_vectors(ioapic);
		for_each_set_bit(pin, &irr, RL_IOAPIC_PINS)
			ioapic_set_level(ioapic, pin, true, true);
	} else {
		*state = ioapic->s;
		state->irr &= ~ioapic->irr_delivered;
	}
	spin_unlock_irqrestore(&ioapic->lock, flags);
}

/* vm->lock and vm->slots_lock held; also a failure is undone by rl_ioapic_destroy(). */
int rl_ioapic_create(struct rl_vm *vm)
{
	struct rl_ioapic *ioapic;
	int i;

	ioapic = kzalloc(sizeof(*ioapic), GFP_KERNEL_ACCOUNT);
	if (!ioapic)
		return -ENOMEM;
	ioapic->dev.ops = &ioapic_ops;
	ioapic->vm = vm;
	spin_lock_init(&ioapic->lock);
	INIT_DELAYED_WORK(&ioapic->resend, ioapic_resend);
	ioapic->s.base_address = IOAPIC_BASE;
	for (i = 0; i < RL_IOAPIC_PINS; i++)
		*ioapic_entry(ioapic, i) = ENTRY_MASKED;
	vm->irq.ioapic = ioapic;
	return rl_bus_add(vm, RL_BUS_MMIO, IOAPIC_BASE, IOAPIC_LEN, &ioapic->dev);
}

void rl_ioapic_stop(struct rl_vm *vm)
{
	if (vm->irq.ioapic)
		cancel_delayed_work_sync(&vm->irq.ioapic->resend);
}

void rl_ioapic_destroy(struct rl_vm *vm)
{
	struct rl_ioapic *ioapic = vm->irq.ioapic;

	if (!ioapic)
		return;
	rl_ioapic_stop(vm);
	rl_bus_del(vm, &ioapic->dev);
	vm->irq.ioapic = NULL;
	kfree(ioapic);
}
