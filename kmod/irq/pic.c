// SPDX-License-Identifier: GPL-2.0-only
/*
 * The pair of 8259A interrupt controllers, the slave on the master's input 2.
 *
 * Owns:    struct rl_pic; KVM_IRQCHIP_PIC_MASTER's and _SLAVE's state.
 * Touches: vCPUs whose LVT0 lets the output through; notifiers by routing.c.
 * Locks:   pic->lock, IRQs off; notifiers and kicks wait until it is free.
 * Manuals: Intel 8259A Programmable Interrupt Controller datasheet; the edge
 *          and level control registers as in the 82371FB (PIIX) datasheet.
 *
 * Inputs are numbered 0 to 15 over both.
 */
#include <linux/slab.h>

#include "irq_priv.h"

#define PIC_MASTER_PORT	0x20
#define PIC_SLAVE_PORT	0xa0
#define PIC_ELCR_PORT	0x4d0
#define PIC_CASCADE	2
#define PIC_SPURIOUS	7

/* [k] lock  [r] lock to write */
struct rl_pic {
	struct rl_bus_dev dev;		/* on three ranges */
	struct rl_vm *vm;
	spinlock_t lock;		/* IRQs off */
	struct kvm_pic_state chip[2];	/* [k] */
	u8 sources[16];			/* [k] BIT(enum rl_irq_source) */
	bool output;			/* [r] the master's INT pin */
	/* What pic_unlock() has to tell: */
	bool wake;			/* [k] output went up */
	u16 acked;			/* [k] inputs out of service */
	u16 unmasked;			/* [k] */
};

static unsigned long pic_lock(struct rl_pic *pic)
	__acquires(&pic->lock)
{
	unsigned long flags;

	spin_lock_irqsave(&pic->lock, flags);
	return flags;
}

static int pic_chip_of(int pin)
{
	return pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
}

static void pic_unlock(struct rl_pic *pic, unsigned long flags)
	__releases(&pic->lock)
{
	unsigned long acked = pic->acked, unmasked = pic->unmasked;
	struct rl_vm *vm = pic->vm;
	bool wake = pic->wake;
	struct rl_vcpu *vcpu;
	int i;

	pic->acked = 0;
	pic->unmasked = 0;
	pic->wake = false;
	spin_unlock_irqrestore(&pic->lock, flags);

	for_each_set_bit(i, &acked, 16)
		rl_pin_acked(vm, pic_chip_of(i), i);
	for_each_set_bit(i, &unmasked, 16)
		rl_pin_unmasked(vm, pic_chip_of(i), i);
	if (!wake)
		return;
	rl_for_each_vcpu(i, vcpu, vm) {
		if (rl_lapic_extint_ok(vcpu)) {
			rl_request(vcpu, RL_REQ_EVENT);
			rl_vcpu_kick(vcpu);
			return;
		}
	}
}

/* Rotated so that 0 is the highest; 8 when no bit is set. */
static int pic_priority(const struct kvm_pic_state *c, u8 mask)
{
	int i;

	for (i = 0; i < 8; i++)
		if (mask & 1 << ((i + c->priority_add) & 7))
			break;
	return i;
}

/* The input that the chip asks to be served, or -1. */
static int pic_request(const struct rl_pic *pic, int n)
{
	const struct kvm_pic_state *c = &pic->chip[n];
	int prio = pic_priority(c, c->irr & ~c->imr);
	u8 busy = c->isr;

	if (prio == 8)
		return -1;
	/* Special mask mode: what is masked does not hold others up. */
	if (c->special_mask)
		busy &= ~c->imr;
	/* Nor does the slave, whose own priorities decide. */
	if (c->special_fully_nested_mode && !n)
		busy &= ~BIT(PIC_CASCADE);
	return prio < pic_priority(c, busy) ? (prio + c->priority_add) & 7 : -1;
}

static void pic_update(struct rl_pic *pic)
{
	bool output;

	/* The slave's output is a level on the master's input. */
	if (pic_request(pic, 1) >= 0)
		pic->chip[0].irr |= BIT(PIC_CASCADE);
	else
		pic->chip[0].irr &= ~BIT(PIC_CASCADE);
	output = pic_request(pic, 0) >= 0;
	if (output && !pic->output)
		pic->wake = true;
	WRITE_ONCE(pic->output, output);
}

/* As rl_set_gsi() answers. */
static int pic_set_input(struct kvm_pic_state *c, int input, bool level)
{
	u8 bit = BIT(input), old = c->irr;
	bool rising = level && !(c->last_irr & bit);

	if (!level) {
		c->last_irr &= ~bit;
		if (c->elcr & bit)
			c->irr &= ~bit;
		return c->imr & bit ? -1 : 1;
	}
	c->last_irr |= bit;
	if (c->elcr & bit || rising)
		c->irr |= bit;
	if (c->imr & bit)
		return -1;
	return c->elcr & bit || rising ? !(old & bit) : 1;
}

int rl_pic_set_irq(struct rl_vm *vm, u8 pin, enum rl_irq_source src, int level)
{
	struct rl_pic *pic = vm->irq.pic;
	unsigned long flags = pic_lock(pic);
	int r;

	r = pic_set_input(&pic->chip[pin >> 3], pin & 7,
			  rl_line_level(&pic->sources[pin], src, level));
	pic_update(pic);
	pic_unlock(pic, flags);
	return r;
}

bool rl_pic_pending(struct rl_vcpu *vcpu)
{
	struct rl_pic *pic = vcpu->vm->irq.pic;

	return (pic ? READ_ONCE(pic->output) : vcpu->extint >= 0) && rl_lapic_extint_ok(vcpu);
}

static void pic_out_of_service(struct rl_pic *pic, int n, int input)
{
	pic->chip[n].isr &= ~BIT(input);
	pic->acked |= BIT(n * 8 + input);
}

/* The chip's part of an INTA cycle. */
static void pic_intack(struct rl_pic *pic, int n, int input)
{
	struct kvm_pic_state *c = &pic->chip[n];

	c->isr |= BIT(input);
	/* A level stays until its device lowers it. */
	if (!(c->elcr & BIT(input)))
		c->irr &= ~BIT(input);
	if (c->auto_eoi) {
		if (c->rotate_on_auto_eoi)
			c->priority_add = (input + 1) & 7;
		pic_out_of_service(pic, n, input);
	}
}

/**
 * rl_pic_ack() - INTA cycle
 * @vcpu: the vCPU that takes the interrupt
 *
 * Return: the vector; a request that has gone away in the meantime gives the
 * chip's spurious one.
 */
int rl_pic_ack(struct rl_vcpu *vcpu)
{
	struct rl_pic *pic = vcpu->vm->irq.pic;
	int vector, input = vcpu->extint;
	unsigned long flags;

	if (!pic) {
		vcpu->extint = -1;
		return input;
	}
	flags = pic_lock(pic);
	input = pic_request(pic, 0);
	if (input == PIC_CASCADE) {
		pic_intack(pic, 0, input);
		input = pic_request(pic, 1);
		if (input >= 0)
			pic_intack(pic, 1, input);
		vector = pic->chip[1].irq_base + (input < 0 ? PIC_SPURIOUS : input);
	} else {
		if (input >= 0)
			pic_intack(pic, 0, input);
		vector = pic->chip[0].irq_base + (input < 0 ? PIC_SPURIOUS : input);
	}
	pic_update(pic);
	/* More to come: this vCPU has to look again, output did not change. */
	if (pic->output)
		rl_request(vcpu, RL_REQ_EVENT);
	pic_unlock(pic, flags);
	return vector & 0xff;
}

/* ICW1 */
static void pic_init(struct rl_pic *pic, int n, u8 val)
{
	struct kvm_pic_state *c = &pic->chip[n];

	/* Whoever waits for one of these to be served need not any more. */
	pic->acked |= (c->isr | (c->irr & ~c->elcr)) << n * 8;
	c->last_irr = 0;
	c->irr &= c->elcr;
	c->isr = 0;
	c->imr = 0;
	c->priority_add = 0;
	c->special_mask = 0;
	c->read_reg_select = 0;
	c->poll = 0;
	c->init4 = val & 1;
	if (!c->init4) {
		c->special_fully_nested_mode = 0;
		c->auto_eoi = 0;
	}
	c->rotate_on_auto_eoi = 0;
	c->init_state = 1;
}

/* OCW2: end of interrupt and rotation */
static void pic_ocw2(struct rl_pic *pic, int n, u8 val)
{
	struct kvm_pic_state *c = &pic->chip[n];
	bool rotate = val & 0x80, specific = val & 0x40, eoi = val & 0x20;
	int input = val & 7, prio;

	if (!eoi) {
		if (specific) {
			if (rotate)
				c->priority_add = (input + 1) & 7;
		} else {
			c->rotate_on_auto_eoi = rotate;
		}
		return;
	}
	if (!specific) {
		prio = pic_priority(c, c->special_mask ? c->isr & ~c->imr : c->isr);
		if (prio == 8)
			return;
		input = (prio + c->priority_add) & 7;
	}
	if (rotate)
		c->priority_add = (input + 1) & 7;
	pic_out_of_service(pic, n, input);
}

static void pic_write_command(struct rl_pic *pic, int n, u8 val)
{
	struct kvm_pic_state *c = &pic->chip[n];

	if (val & 0x10) {
		pic_init(pic, n, val);
	} else if (val & 0x08) {	/* OCW3 */
		c->poll = val & 0x04 ? 1 : 0;
		if (val & 0x02)
			c->read_reg_select = val & 1;
		if (val & 0x40)
			c->special_mask = val >> 5 & 1;
	} else {
		pic_ocw2(pic, n, val);
	}
}

static void pic_write_data(struct rl_pic *pic, int n, u8 val)
{
	struct kvm_pic_state *c = &pic->chip[n];

	switch (c->init_state) {
	case 0:			/* OCW1 */
		pic->unmasked |= (c->imr & ~val) << n * 8;
		c->imr = val;
		break;
	case 1:			/* ICW2 */
		c->irq_base = val & 0xf8;
		c->init_state = 2;
		break;
	case 2:			/* ICW3: the cascade is wired */
		c->init_state = c->init4 ? 3 : 0;
		break;
	case 3:			/* ICW4 */
		c->special_fully_nested_mode = val >> 4 & 1;
		c->auto_eoi = val >> 1 & 1;
		c->init_state = 0;
		break;
	}
}

static u8 pic_read(struct rl_pic *pic, int n, bool data_port)
{
	struct kvm_pic_state *c = &pic->chip[n];
	int input;

	/* After a poll command, a read takes the place of the INTA cycle. */
	if (c->poll) {
		c->poll = 0;
		input = pic_request(pic, n);
		if (input < 0)
			return 0;
		pic_intack(pic, n, input);
		pic_update(pic);
		return 0x80 | input;
	}
	if (data_port)
		return c->imr;
	return c->read_reg_select ? c->isr : c->irr;
}

static int pic_port_write(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t port, int len,
			  const void *val)
{
	struct rl_pic *pic = container_of(dev, struct rl_pic, dev);
	unsigned long flags;
	u8 data;
	int n;

	/* The chips have eight data lines. */
	if (len != 1)
		return 0;
	data = *(const u8 *)val;
	flags = pic_lock(pic);
	if (port >= PIC_ELCR_PORT) {
		n = port & 1;
		pic->chip[n].elcr = data & pic->chip[n].elcr_mask;
	} else {
		n = port >= PIC_SLAVE_PORT;
		if (port & 1)
			pic_write_data(pic, n, data);
		else
			pic_write_command(pic, n, data);
	}
	pic_update(pic);
	pic_unlock(pic, flags);
	return 0;
}

static int pic_port_read(struct rl_vcpu *vcpu, struct rl_bus_dev *dev, gpa_t port, int len,
			 void *val)
{
	struct rl_pic *pic = container_of(dev, struct rl_pic, dev);
	unsigned long flags;

	memset(val, 0, len);
	if (len != 1)
		return 0;
	flags = pic_lock(pic);
	if (port >= PIC_ELCR_PORT)
		*(u8 *)val = pic->chip[port & 1].elcr;
	else
		*(u8 *)val = pic_read(pic, port >= PIC_SLAVE_PORT, port & 1);
	pic_unlock(pic, flags);
	return 0;
}

static const struct rl_bus_dev_ops pic_ops = {
	.read = pic_port_read,
	.write = pic_port_write,
};

void rl_pic_state(struct rl_vm *vm, int chip, struct kvm_pic_state *state, bool set)
{
	struct rl_pic *pic = vm->irq.pic;
	unsigned long flags = pic_lock(pic);
	u8 elcr_mask = pic->chip[chip].elcr_mask;

	if (set) {
		pic->chip[chip] = *state;
		pic->chip[chip].priority_add &= 7;
		pic->chip[chip].elcr_mask = elcr_mask;
		pic_update(pic);
	} else {
		*state = pic->chip[chip];
	}
	pic_unlock(pic, flags);
}

/* vm->lock and vm->slots_lock held; also a failure is undone by rl_pic_destroy(). */
int rl_pic_create(struct rl_vm *vm)
{
	struct rl_pic *pic;

	pic = kzalloc(sizeof(*pic), GFP_KERNEL_ACCOUNT);
	if (!pic)
		return -ENOMEM;
	pic->dev.ops = &pic_ops;
	pic->vm = vm;
	spin_lock_init(&pic->lock);
	/* Timer, keyboard, cascade, RTC and FPU are edges for good. */
	pic->chip[0].elcr_mask = 0xf8;
	pic->chip[1].elcr_mask = 0xde;
	vm->irq.pic = pic;
	return rl_bus_add(vm, RL_BUS_PIO, PIC_MASTER_PORT, 2, &pic->dev) ?:
	       rl_bus_add(vm, RL_BUS_PIO, PIC_SLAVE_PORT, 2, &pic->dev) ?:
	       rl_bus_add(vm, RL_BUS_PIO, PIC_ELCR_PORT, 2, &pic->dev);
}

void rl_pic_destroy(struct rl_vm *vm)
{
	struct rl_pic *pic = vm->irq.pic;

	if (!pic)
		return;
	rl_bus_del(vm, &pic->dev);
	vm->irq.pic = NULL;
	kfree(pic);
}
