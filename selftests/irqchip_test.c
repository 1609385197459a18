// SPDX-License-Identifier: GPL-2.0
/*
 * The interrupt controllers behind the local APIC: 8259s and I/O APIC and
 * their state, interrupt lines, MSIs, the routing table, irqfds.
 */
#include "lib.h"
#include "harness.h"

#define IOAPIC_GPA	0xfec00000ull
#define IOAPIC_MASKED	0x10000
#define IOAPIC_LEVEL	0x8000
#define IOAPIC_RIRR	0x4000
#define MSI_ADDR	0xfee00000u

FIXTURE(irqchip) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(irqchip)
{
	self->vm = vm_puppet(1, VM_IRQCHIP);
	self->v = self->vm->vcpus[0];
	puppet_call(self->v, guest_irq_setup, EOI_XAPIC);
}

FIXTURE_TEARDOWN(irqchip)
{
	vm_free(self->vm);
}

static void ioapic_write(struct vcpu *v, u32 reg, u32 val)
{
	puppet_do(v, PUPPET_WRITE, IOAPIC_GPA, 4, reg);
	puppet_do(v, PUPPET_WRITE, IOAPIC_GPA + 0x10, 4, val);
}

static u32 ioapic_read(struct vcpu *v, u32 reg)
{
	puppet_do(v, PUPPET_WRITE, IOAPIC_GPA, 4, reg);
	puppet_do(v, PUPPET_READ, IOAPIC_GPA + 0x10, 4, 0);
	return puppet(v)->val;
}

static void ioapic_pin(struct vcpu *v, u32 pin, u32 entry)
{
	ioapic_write(v, 0x10 + 2 * pin, entry | IOAPIC_MASKED);
	ioapic_write(v, 0x11 + 2 * pin, 0);
	ioapic_write(v, 0x10 + 2 * pin, entry);
}

static u64 guest_outb(u64 port_val)
{
	outb(port_val >> 8, port_val);
	return 0;
}

static u64 guest_inb(u64 port)
{
	return inb(port);
}

static u64 guest_eoi_now(u64 unused)
{
	xapic_write(APIC_EOI, 0);
	return 0;
}

static u64 guest_apic_bit(u64 reg_vector)
{
	u32 vector = reg_vector & 0xff;

	return xapic_read((reg_vector >> 8) + vector / 32 * 0x10) >> vector % 32 & 1;
}
#define APIC_BIT(v, reg, vector) puppet_call(v, guest_apic_bit, (reg) << 8 | (vector))

static long irq_line(struct vm *vm, u32 irq, u32 level)
{
	struct kvm_irq_level line = { .irq = irq, .level = level };

	return kvm_try(vm->fd, KVM_IRQ_LINE, &line);
}

static int irq_line_status(struct vm *vm, u32 irq, u32 level)
{
	struct kvm_irq_level line = { .irq = irq, .level = level };

	kvm_do(vm->fd, KVM_IRQ_LINE_STATUS, &line);
	return line.status;
}

/* How often the vector has come by now, interrupts open for a moment. */
static u32 seen(struct vcpu *v, u32 vector)
{
	puppet_call(v, guest_irq_window, 0);
	return G(v->vm, guest_irqs[v->id][vector]);
}

TEST(creation)
{
	struct vm *vm = vm_new(0);
	struct kvm_irqchip chip = {};
	struct kvm_msi msi = { .address_lo = MSI_ADDR, .data = 0x40 };
	struct kvm_irqfd irqfd = { .fd = eventfd(0, 0), .gsi = 5 };
	struct kvm_irq_routing none = {};

	/* nothing is there yet */
	EXPECT_EQ(-ENXIO, kvm_try(vm->fd, KVM_GET_IRQCHIP, &chip));
	EXPECT_EQ(-ENXIO, kvm_try(vm->fd, KVM_SET_IRQCHIP, &chip));
	EXPECT_EQ(-ENXIO, irq_line(vm, 1, 1));
	EXPECT_EQ(-EINVAL, kvm_try(vm->fd, KVM_SIGNAL_MSI, &msi));
	EXPECT_EQ(-EINVAL, kvm_try(vm->fd, KVM_IRQFD, &irqfd));
	EXPECT_EQ(-EINVAL, kvm_try(vm->fd, KVM_SET_GSI_ROUTING, &none));
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_CREATE_IRQCHIP, 0));
	EXPECT_EQ(-EEXIST, kvm_try(vm->fd, KVM_CREATE_IRQCHIP, 0));
	EXPECT_EQ(-EPERM, kvm_try(vm->fd, KVM_SIGNAL_MSI, &msi));	/* nobody to take it */
	vm_free(vm);

	vm = vm_new(0);
	vcpu_new(vm, 0);
	EXPECT_EQ(-EINVAL, kvm_try(vm->fd, KVM_CREATE_IRQCHIP, 0));
	EXPECT_EQ(-EINVAL, kvm_try(vm->vcpus[0]->fd, KVM_GET_LAPIC,
				   &(struct kvm_lapic_state){}));
}

TEST_F(irqchip, get_and_set_errors)
{
	struct kvm_irqchip chip = { .chip_id = 3 };

	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_GET_IRQCHIP, &chip));
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_SET_IRQCHIP, &chip));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_GET_IRQCHIP, 8));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_SET_IRQCHIP, 8));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_IRQ_LINE, 8));
}

TEST_F(irqchip, state_round_trip)
{
	for (u32 id = 0; id < 3; id++) {
		struct kvm_irqchip a = { .chip_id = id }, b = { .chip_id = id };

		ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_GET_IRQCHIP, &a));
		ASSERT_EQ(id, a.chip_id);
		if (id == KVM_IRQCHIP_IOAPIC) {
			ASSERT_EQ(IOAPIC_GPA, a.chip.ioapic.base_address);
			a.chip.ioapic.redirtbl[3].fields.vector = 0x33;
		} else {
			a.chip.pic.irq_base = 0x68;
			a.chip.pic.imr = 0x5a;
			a.chip.pic.elcr = id ? 0x0e : 0x20;
		}
		ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_SET_IRQCHIP, &a));
		ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_GET_IRQCHIP, &b));
		ASSERT_EQ(0, memcmp(&a.chip, &b.chip, id == KVM_IRQCHIP_IOAPIC ?
				    sizeof(a.chip.ioapic) : sizeof(a.chip.pic)));
	}
	ASSERT_EQ(0x33, ioapic_read(self->v, 0x16) & 0xff);
	ASSERT_EQ(0x5a, puppet_call(self->v, guest_inb, 0x21));
	ASSERT_EQ(0x5a, puppet_call(self->v, guest_inb, 0xa1));
	ASSERT_EQ(0x20, puppet_call(self->v, guest_inb, 0x4d0));
}

TEST_F(irqchip, ioapic_registers)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct vcpu *v = self->v;

	EXPECT_EQ(23, ioapic_read(v, 1) >> 16 & 0xff);	/* the last pin's number */
	for (int pin = 0; pin < 24; pin++)
		EXPECT_EQ(IOAPIC_MASKED, ioapic_read(v, 0x10 + 2 * pin) & IOAPIC_MASKED);
	ioapic_write(v, 0, 0x05000000);
	EXPECT_EQ(0x05000000, ioapic_read(v, 0) & 0x0f000000);
	ioapic_write(v, 0x3e, IOAPIC_MASKED | IOAPIC_LEVEL | IOAPIC_RIRR | 0x1000 | 0x77);
	/* remote IRR and delivery status are the chip's */
	EXPECT_EQ(IOAPIC_MASKED | IOAPIC_LEVEL | 0x77, ioapic_read(v, 0x3e));
	ioapic_write(v, 0x3f, 0x12000000);
	kvm_do(self->vm->fd, KVM_GET_IRQCHIP, &chip);
	EXPECT_EQ(0x77, chip.chip.ioapic.redirtbl[23].fields.vector);
	EXPECT_EQ(0x12, chip.chip.ioapic.redirtbl[23].fields.dest_id);
	EXPECT_EQ(0x3f, chip.chip.ioapic.ioregsel);
	ioapic_read(v, 0x40);		/* past the end: no harm */
	ioapic_write(v, 0xff, 1);
}

TEST_F(irqchip, edge_line)
{
	struct vcpu *v = self->v;

	ioapic_pin(v, 20, 0x51);
	EXPECT_EQ(0, irq_line(self->vm, 20, 1));
	EXPECT_EQ(1, seen(v, 0x51));
	EXPECT_EQ(0, irq_line(self->vm, 20, 1));	/* no edge */
	EXPECT_EQ(1, seen(v, 0x51));
	EXPECT_EQ(0, irq_line(self->vm, 20, 0));
	EXPECT_EQ(1, seen(v, 0x51));
	EXPECT_EQ(0, irq_line(self->vm, 20, 1));
	EXPECT_EQ(2, seen(v, 0x51));
	/* masked */
	EXPECT_EQ(0, irq_line(self->vm, 20, 0));
	ioapic_write(v, 0x10 + 40, IOAPIC_MASKED | 0x51);
	EXPECT_EQ(0, irq_line(self->vm, 20, 1));
	EXPECT_EQ(2, seen(v, 0x51));
	/* no such line: nothing to be seen */
	irq_line(self->vm, 24, 1);
	irq_line(self->vm, 4095, 1);
	irq_line(self->vm, -1, 1);
	EXPECT_EQ(2, seen(v, 0x51));
}

TEST_F(irqchip, level_line)
{
	struct vcpu *v = self->v;

	puppet_call(v, guest_irq_setup, EOI_NONE);
	ioapic_pin(v, 21, IOAPIC_LEVEL | 0x52);
	EXPECT_EQ(0, irq_line(self->vm, 21, 1));
	EXPECT_EQ(1, seen(v, 0x52));
	EXPECT_EQ(1, APIC_BIT(v, APIC_ISR, 0x52));
	EXPECT_EQ(1, APIC_BIT(v, APIC_TMR, 0x52));
	EXPECT_EQ(IOAPIC_RIRR, ioapic_read(v, 0x10 + 42) & IOAPIC_RIRR);
	EXPECT_EQ(1, seen(v, 0x52));
	/* still asserted at EOI: it comes again */
	puppet_call(v, guest_eoi_now, 0);
	EXPECT_EQ(2, seen(v, 0x52));
	EXPECT_EQ(0, irq_line(self->vm, 21, 0));
	puppet_call(v, guest_eoi_now, 0);
	EXPECT_EQ(2, seen(v, 0x52));
	EXPECT_EQ(0, ioapic_read(v, 0x10 + 42) & IOAPIC_RIRR);
	/* asserted while masked: delivered when the mask goes */
	ioapic_write(v, 0x10 + 42, IOAPIC_MASKED | IOAPIC_LEVEL | 0x52);
	EXPECT_EQ(0, irq_line(self->vm, 21, 1));
	EXPECT_EQ(2, seen(v, 0x52));
	ioapic_write(v, 0x10 + 42, IOAPIC_LEVEL | 0x52);
	EXPECT_EQ(3, seen(v, 0x52));
	EXPECT_EQ(0, irq_line(self->vm, 21, 0));
	puppet_call(v, guest_eoi_now, 0);
	EXPECT_EQ(3, seen(v, 0x52));
}

TEST_F(irqchip, line_status)
{
	struct vcpu *v = self->v;

	ioapic_pin(v, 20, 0x51);
	EXPECT_LT(0, irq_line_status(self->vm, 20, 1));
	EXPECT_EQ(0, irq_line_status(self->vm, 20, 1));	/* coalesced */
	EXPECT_EQ(1, seen(v, 0x51));
	irq_line_status(self->vm, 20, 0);
	EXPECT_LT(0, irq_line_status(self->vm, 20, 1));
	irq_line_status(self->vm, 20, 0);
	ioapic_write(v, 0x10 + 40, IOAPIC_MASKED | 0x51);
	EXPECT_GT(0, irq_line_status(self->vm, 20, 1));	/* ignored */
}

/* Lines 0 to 15 go to the 8259s too, which reach the CPU by LINT0. */
static void pic_program(struct vcpu *v, u8 mask0, u8 mask1)
{
	static const u16 init[] = {
		0x20 << 8 | 0x11, 0x21 << 8 | 0x20, 0x21 << 8 | 4, 0x21 << 8 | 1,
	};

	for (int slave = 0; slave < 2; slave++)
		for (int i = 0; i < 4; i++)
			puppet_call(v, guest_outb, (init[i] + slave * 0x8000) +
				    (slave && i == 1 ? 8 : 0) - (slave && i == 2 ? 2 : 0));
	puppet_call(v, guest_outb, 0x2100 | mask0);
	puppet_call(v, guest_outb, 0xa100 | mask1);
}

TEST_F(irqchip, pic)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_MASTER };
	struct vcpu *v = self->v;

	puppet_call(v, guest_irq_setup, EOI_NONE);
	puppet_do(v, PUPPET_WRITE, APIC_GPA + APIC_LVT0, 4, 0x700);	/* ExtINT */
	pic_program(v, 0xfa, 0xfb);		/* IRQ 0, the cascade, IRQ 10 */
	kvm_do(self->vm->fd, KVM_GET_IRQCHIP, &chip);
	EXPECT_EQ(0x20, chip.chip.pic.irq_base);
	EXPECT_EQ(0xfa, chip.chip.pic.imr);
	chip.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	kvm_do(self->vm->fd, KVM_GET_IRQCHIP, &chip);
	EXPECT_EQ(0x28, chip.chip.pic.irq_base);

	irq_line(self->vm, 10, 1);
	EXPECT_EQ(1, seen(v, 0x2a));
	puppet_call(v, guest_outb, 0xa00b);	/* read ISR */
	EXPECT_EQ(4, puppet_call(v, guest_inb, 0xa0));
	puppet_call(v, guest_outb, 0x200b);
	EXPECT_EQ(4, puppet_call(v, guest_inb, 0x20));
	irq_line(self->vm, 10, 0);
	irq_line(self->vm, 10, 1);
	EXPECT_EQ(1, seen(v, 0x2a));		/* in service: not yet */
	puppet_call(v, guest_outb, 0xa020);	/* EOI on both */
	puppet_call(v, guest_outb, 0x2020);
	EXPECT_EQ(2, seen(v, 0x2a));
	puppet_call(v, guest_outb, 0xa020);
	puppet_call(v, guest_outb, 0x2020);
	irq_line(self->vm, 10, 0);
	/* masked; then unmasked while it still wants */
	irq_line(self->vm, 1, 1);
	EXPECT_EQ(0, seen(v, 0x21));
	puppet_call(v, guest_outb, 0x21f8);
	EXPECT_EQ(1, seen(v, 0x21));
	/* a higher one goes first, a lower one waits for its end */
	irq_line(self->vm, 0, 1);
	EXPECT_EQ(1, seen(v, 0x20));
	puppet_call(v, guest_outb, 0x2020);
	puppet_call(v, guest_outb, 0x2020);
	puppet_call(v, guest_outb, 0x200b);
	EXPECT_EQ(0, puppet_call(v, guest_inb, 0x20));
	/* LINT0 masked: nothing passes */
	irq_line(self->vm, 1, 0);
	puppet_do(v, PUPPET_WRITE, APIC_GPA + APIC_LVT0, 4, 0x10700);
	irq_line(self->vm, 1, 1);
	EXPECT_EQ(1, seen(v, 0x21));
}

static long signal_msi(struct vm *vm, u32 lo, u32 data, u32 flags)
{
	struct kvm_msi msi = { .address_lo = lo, .data = data, .flags = flags };

	return kvm_try(vm->fd, KVM_SIGNAL_MSI, &msi);
}

TEST_F(irqchip, msi)
{
	struct vcpu *v = self->v;

	EXPECT_LT(0, signal_msi(self->vm, MSI_ADDR, 0x61, 0));
	EXPECT_EQ(1, seen(v, 0x61));
	EXPECT_GE(0, signal_msi(self->vm, MSI_ADDR | 0x4, 0x62, 0));	/* logical: nobody is 0 */
	EXPECT_EQ(0, seen(v, 0x62));
	puppet_do(v, PUPPET_WRITE, APIC_GPA + APIC_LDR, 4, 0x01000000);
	EXPECT_LT(0, signal_msi(self->vm, MSI_ADDR | 0x1000 | 0x4, 0x62, 0));
	EXPECT_EQ(1, seen(v, 0x62));
	EXPECT_LT(0, signal_msi(self->vm, MSI_ADDR | 0xff000, 0x63, 0));	/* broadcast */
	EXPECT_EQ(1, seen(v, 0x63));
	EXPECT_EQ(0, signal_msi(self->vm, MSI_ADDR | 0x7000, 0x64, 0));	/* no vCPU 7 */
	EXPECT_EQ(-EINVAL, signal_msi(self->vm, MSI_ADDR, 0x65, 0x80));
	EXPECT_EQ(0, seen(v, 0x64) + seen(v, 0x65));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_SIGNAL_MSI, 8));
}

struct routes {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry e[8];
};

TEST_F(irqchip, routing_errors)
{
	struct routes ok = {
		.head.nr = 2,
		.e = {
			{ .gsi = 3, .type = KVM_IRQ_ROUTING_IRQCHIP,
			  .u.irqchip = { KVM_IRQCHIP_IOAPIC, 3 } },
			{ .gsi = 40, .type = KVM_IRQ_ROUTING_MSI,
			  .u.msi = { MSI_ADDR, 0, 0x71 } },
		},
	}, r;
	int fd = self->vm->fd;

#define ROUTES_REFUSED(change) \
	do { \
		r = ok; \
		change; \
		EXPECT_EQ(-EINVAL, kvm_try(fd, KVM_SET_GSI_ROUTING, &r)); \
	} while (0)
	EXPECT_LE(1024, rl_cap(KVM_CAP_IRQ_ROUTING));
	ASSERT_EQ(0, kvm_try(fd, KVM_SET_GSI_ROUTING, &ok));
	ROUTES_REFUSED(r.head.flags = 1);
	ROUTES_REFUSED(r.head.nr = rl_cap(KVM_CAP_IRQ_ROUTING) + 1);
	ROUTES_REFUSED(r.e[0].type = 99);
	ROUTES_REFUSED(r.e[0].type = KVM_IRQ_ROUTING_S390_ADAPTER);
	ROUTES_REFUSED(r.e[0].flags = 1);
	ROUTES_REFUSED(r.e[0].u.irqchip.irqchip = 3);
	ROUTES_REFUSED(r.e[0].u.irqchip.pin = 24);
	ROUTES_REFUSED((r.e[0].u.irqchip.irqchip = 0, r.e[0].u.irqchip.pin = 16));
	ROUTES_REFUSED(r.e[0].gsi = rl_cap(KVM_CAP_IRQ_ROUTING));
	ROUTES_REFUSED(r.e[1].flags = 0x10);
	ROUTES_REFUSED(r.e[1].gsi = 3);		/* an MSI beside a pin */
	ROUTES_REFUSED(r.e[1] = r.e[0]);	/* the same chip twice */
	EXPECT_EQ(-EFAULT, kvm_try(fd, KVM_SET_GSI_ROUTING, 8));
	/* what was set last still holds */
	irq_line(self->vm, 40, 1);
	EXPECT_EQ(1, seen(self->v, 0x71));
}

TEST_F(irqchip, routing_is_replaced_as_a_whole)
{
	struct routes r = {
		.head.nr = 1,
		.e[0] = { .gsi = 700, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { MSI_ADDR, 0, 0x72 } },
	};
	struct vcpu *v = self->v;

	ioapic_pin(v, 20, 0x51);
	ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_SET_GSI_ROUTING, &r));
	irq_line(self->vm, 20, 1);		/* goes nowhere now */
	EXPECT_EQ(0, seen(v, 0x51));
	irq_line(self->vm, 700, 1);
	EXPECT_EQ(1, seen(v, 0x72));
	irq_line(self->vm, 700, 0);		/* a message has no falling edge */
	EXPECT_EQ(1, seen(v, 0x72));
	r.e[0].u.msi.data = 0x73;
	ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_SET_GSI_ROUTING, &r));
	irq_line(self->vm, 700, 1);
	EXPECT_EQ(1, seen(v, 0x73));
	EXPECT_EQ(1, seen(v, 0x72));
	/* another pin for the same line */
	r.e[0] = (struct kvm_irq_routing_entry) {
		.gsi = 5, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { KVM_IRQCHIP_IOAPIC, 20 },
	};
	ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_SET_GSI_ROUTING, &r));
	irq_line(self->vm, 5, 0);
	irq_line(self->vm, 5, 1);
	EXPECT_EQ(1, seen(v, 0x51));
	r.head.nr = 0;
	ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_SET_GSI_ROUTING, &r));
	irq_line(self->vm, 5, 0);
	irq_line(self->vm, 5, 1);
	EXPECT_EQ(1, seen(v, 0x51));
}

static long irqfd(struct vm *vm, int fd, u32 gsi, u32 flags, int resample)
{
	struct kvm_irqfd k = { .fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resample };

	return kvm_try(vm->fd, KVM_IRQFD, &k);
}

/* An irqfd may deliver from a worker: look until it is there. */
static void wait_seen(struct vcpu *v, u32 vector, u32 count)
{
	while (seen(v, vector) < count)
		usleep(500);
	CHECK(v, seen(v, vector) == count, "vector %#x too often", vector);
}

TEST_F(irqchip, irqfd_errors)
{
	int efd = eventfd(0, EFD_NONBLOCK), pipefd[2];

	ASSERT_EQ(0, pipe(pipefd));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, efd, 20, 0x80, 0));
	EXPECT_EQ(-EBADF, irqfd(self->vm, -1, 20, 0, 0));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, pipefd[0], 20, 0, 0));
	EXPECT_EQ(-EBADF, irqfd(self->vm, efd, 20, KVM_IRQFD_FLAG_RESAMPLE, -1));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, efd, 20, KVM_IRQFD_FLAG_RESAMPLE, pipefd[0]));
	EXPECT_EQ(0, irqfd(self->vm, efd, 20, 0, 0));
	EXPECT_EQ(-EBUSY, irqfd(self->vm, efd, 20, 0, 0));
	EXPECT_EQ(-EBUSY, irqfd(self->vm, efd, 21, 0, 0));
	EXPECT_EQ(0, irqfd(self->vm, efd, 20, KVM_IRQFD_FLAG_DEASSIGN, 0));
	EXPECT_EQ(0, irqfd(self->vm, efd, 21, 0, 0));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_IRQFD, 8));
}

TEST_F(irqchip, irqfd)
{
	struct routes r = {
		.head.nr = 2,
		.e = {
			{ .gsi = 20, .type = KVM_IRQ_ROUTING_IRQCHIP,
			  .u.irqchip = { KVM_IRQCHIP_IOAPIC, 20 } },
			{ .gsi = 800, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { MSI_ADDR, 0, 0x75 } },
		},
	};
	int line = eventfd(0, EFD_NONBLOCK), msi = eventfd(0, EFD_NONBLOCK);
	struct vcpu *v = self->v;

	ioapic_pin(v, 20, 0x51);
	ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_SET_GSI_ROUTING, &r));
	ASSERT_EQ(0, irqfd(self->vm, line, 20, 0, 0));
	ASSERT_EQ(0, irqfd(self->vm, msi, 800, 0, 0));
	for (u32 i = 1; i <= 5; i++) {
		eventfd_write(line, 1);
		wait_seen(v, 0x51, i);
		eventfd_write(msi, 1);
		wait_seen(v, 0x75, i);
	}
	/* the route changes under it */
	r.e[1].u.msi.data = 0x76;
	ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_SET_GSI_ROUTING, &r));
	eventfd_write(msi, 1);
	wait_seen(v, 0x76, 1);
	ASSERT_EQ(0, irqfd(self->vm, msi, 800, KVM_IRQFD_FLAG_DEASSIGN, 0));
	ASSERT_EQ(0, irqfd(self->vm, line, 20, KVM_IRQFD_FLAG_DEASSIGN, 0));
	eventfd_write(msi, 1);
	eventfd_write(line, 1);
	EXPECT_EQ(1, seen(v, 0x76));
	EXPECT_EQ(5, seen(v, 0x51));
	/* one that was written before it was assigned goes off at once */
	ASSERT_EQ(0, irqfd(self->vm, msi, 800, 0, 0));
	wait_seen(v, 0x76, 2);
	close(msi);		/* closing the last descriptor takes it away */
	close(line);
	EXPECT_EQ(2, seen(v, 0x76));
}

TEST_F(irqchip, irqfd_wakes_hlt)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct vcpu *v = self->v;
	struct ucall uc;

	ioapic_pin(v, 20, 0x51);
	ASSERT_EQ(0, irqfd(self->vm, fd, 20, 0, 0));
	for (int i = 1; i < 20; i++) {
		puppet_set(v, PUPPET_CALL, (u64)guest_irq_wait, 0, 0x51);
		eventfd_write(fd, 1);
		expect_sync_val(v, PUPPET_STAGE, &uc);
		ASSERT_EQ(i, uc.b);
	}
}

TEST_F(irqchip, irqfd_resample)
{
	int trigger = eventfd(0, EFD_NONBLOCK), resample = eventfd(0, EFD_NONBLOCK);
	struct vcpu *v = self->v;
	eventfd_t n;

	puppet_call(v, guest_irq_setup, EOI_NONE);
	ioapic_pin(v, 22, IOAPIC_LEVEL | 0x53);
	ASSERT_EQ(0, irqfd(self->vm, trigger, 22, KVM_IRQFD_FLAG_RESAMPLE, resample));
	for (u32 i = 1; i <= 3; i++) {
		eventfd_write(trigger, 1);
		wait_seen(v, 0x53, i);
		EXPECT_EQ(-1, eventfd_read(resample, &n));	/* not before the EOI */
		puppet_call(v, guest_eoi_now, 0);
		EXPECT_EQ(0, eventfd_read(resample, &n));
		/* and the EOI has lowered the line */
		EXPECT_EQ(i, seen(v, 0x53));
		EXPECT_EQ(0, ioapic_read(v, 0x10 + 44) & IOAPIC_RIRR);
	}
	/* whoever listens and still wants service triggers again */
	eventfd_write(trigger, 1);
	wait_seen(v, 0x53, 4);
	puppet_call(v, guest_eoi_now, 0);
	ASSERT_EQ(0, eventfd_read(resample, &n));
	eventfd_write(trigger, 1);
	wait_seen(v, 0x53, 5);
	ASSERT_EQ(0, irqfd(self->vm, trigger, 22, KVM_IRQFD_FLAG_DEASSIGN, 0));
	puppet_call(v, guest_eoi_now, 0);
	EXPECT_EQ(5, seen(v, 0x53));
}

TEST_HARNESS_MAIN
