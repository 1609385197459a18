// SPDX-License-Identifier: GPL-2.0
/*
 * Local APICs in the kernel with the 8259s and the I/O APIC in user space; and
 * what user space learns of a TPR that a guest touches or keeps in memory.
 */
#include "lib.h"
#include "harness.h"

#define MSI_ADDR	0xfee00000u
#define MSI_LEVEL	0x8000
#define PINS		24

FIXTURE(split) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(split)
{
	if (!rl_cap(KVM_CAP_SPLIT_IRQCHIP))
		SKIP(return, "no KVM_CAP_SPLIT_IRQCHIP");
	self->vm = vm_puppet(1, VM_SPLIT);
	self->v = self->vm->vcpus[0];
	puppet_call(self->v, guest_irq_setup, EOI_XAPIC);
}

FIXTURE_TEARDOWN(split)
{
	vm_free(self->vm);
}

static long split(struct vm *vm, u64 pins)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = pins };

	return kvm_try(vm->fd, KVM_ENABLE_CAP, &cap);
}

static long route(struct vm *vm, u32 gsi, u32 type, u32 data)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} r = { .head.nr = 1, .entry = { .gsi = gsi, .type = type } };

	if (type == KVM_IRQ_ROUTING_MSI) {
		r.entry.u.msi.address_lo = MSI_ADDR;
		r.entry.u.msi.data = data;
	}
	return kvm_try(vm->fd, KVM_SET_GSI_ROUTING, &r);
}

static long line(struct vm *vm, u32 gsi, u32 level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	return kvm_try(vm->fd, KVM_IRQ_LINE, &l);
}

static long interrupt(struct vcpu *v, u32 vector)
{
	struct kvm_interrupt irq = { .irq = vector };

	return kvm_try(v->fd, KVM_INTERRUPT, &irq);
}

TEST_F(split, arguments)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_irqfd fd = { .fd = eventfd(0, 0), .gsi = 3, .resamplefd = eventfd(0, 0) };
	struct vm *vm = vm_new(0);

	EXPECT_EQ(-EINVAL, split(vm, 4097));
	EXPECT_EQ(0, split(vm, 0));
	EXPECT_EQ(-EEXIST, split(vm, 24));
	EXPECT_EQ(-EEXIST, kvm_try(vm->fd, KVM_CREATE_IRQCHIP, 0));
	vm_free(vm);
	vm = vm_new(VM_IRQCHIP);
	EXPECT_EQ(-EEXIST, split(vm, 24));
	vm_free(vm);
	vm = vm_new(0);
	kvm_do(vm->fd, KVM_CREATE_VCPU, 0);
	EXPECT_EQ(-EEXIST, split(vm, 24));
	vm_free(vm);

	EXPECT_EQ(-ENXIO, kvm_try(self->vm->fd, KVM_GET_IRQCHIP, &chip));
	EXPECT_EQ(-ENXIO, kvm_try(self->vm->fd, KVM_SET_IRQCHIP, &chip));
	EXPECT_EQ(-EINVAL, route(self->vm, 3, KVM_IRQ_ROUTING_IRQCHIP, 0));
	fd.flags = KVM_IRQFD_FLAG_RESAMPLE;
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_IRQFD, &fd));
	fd.flags = 0;
	EXPECT_EQ(0, kvm_try(self->vm->fd, KVM_IRQFD, &fd));
	EXPECT_EQ(0, line(self->vm, 3, 1));		/* no route, no harm */
	EXPECT_EQ(0, line(self->vm, 4095, 1));
}

/* A level-triggered message of one of the pins ends in user space; others do not. */
TEST_F(split, end_of_level)
{
	struct kvm_msi msi = { .address_lo = MSI_ADDR, .data = 0x41 | MSI_LEVEL };

	ASSERT_EQ(0, route(self->vm, 5, KVM_IRQ_ROUTING_MSI, 0x41 | MSI_LEVEL));
	for (u32 round = 1; round < 3; round++) {
		ASSERT_EQ(0, line(self->vm, 5, 1));
		ASSERT_EQ(0, line(self->vm, 5, 0));
		puppet_set(self->v, PUPPET_CALL, (u64)guest_irq_window, 0, 0);
		expect_exit(self->v, KVM_EXIT_IOAPIC_EOI);
		EXPECT_EQ(0x41, self->v->run->eoi.vector);
		expect_sync(self->v, PUPPET_STAGE);
		EXPECT_EQ(round, puppet(self->v)->val);
	}
	/* the vector is the pin's, whoever sent it */
	ASSERT_EQ(1, kvm_try(self->vm->fd, KVM_SIGNAL_MSI, &msi));
	puppet_set(self->v, PUPPET_CALL, (u64)guest_irq_window, 0, 0);
	expect_exit(self->v, KVM_EXIT_IOAPIC_EOI);
	expect_sync(self->v, PUPPET_STAGE);

	/* an edge; a level beyond the pins; a vector without a route */
	ASSERT_EQ(0, route(self->vm, 5, KVM_IRQ_ROUTING_MSI, 0x42));
	ASSERT_EQ(0, line(self->vm, 5, 1));
	EXPECT_EQ(4, puppet_call(self->v, guest_irq_window, 0));
	ASSERT_EQ(0, route(self->vm, PINS, KVM_IRQ_ROUTING_MSI, 0x43 | MSI_LEVEL));
	ASSERT_EQ(0, line(self->vm, PINS, 1));
	EXPECT_EQ(5, puppet_call(self->v, guest_irq_window, 0));
	ASSERT_EQ(1, kvm_try(self->vm->fd, KVM_SIGNAL_MSI, &msi));
	EXPECT_EQ(6, puppet_call(self->v, guest_irq_window, 0));
}

TEST_F(split, irqfd)
{
	struct kvm_irqfd fd = { .fd = eventfd(0, 0), .gsi = 5 };
	u64 one = 1;

	ASSERT_EQ(0, route(self->vm, 5, KVM_IRQ_ROUTING_MSI, 0x44 | MSI_LEVEL));
	ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_IRQFD, &fd));
	ASSERT_EQ(8, write(fd.fd, &one, 8));
	puppet_set(self->v, PUPPET_CALL, (u64)guest_irq_wait, 0, 0x44);
	expect_exit(self->v, KVM_EXIT_IOAPIC_EOI);
	EXPECT_EQ(0x44, self->v->run->eoi.vector);
	expect_sync(self->v, PUPPET_STAGE);
}

static u64 guest_lint0(u64 val)
{
	xapic_write(APIC_LVT0, val);
	return 0;
}

/* User space's 8259: one vector at a time, when LINT0 lets it in. */
TEST_F(split, extint)
{
	struct kvm_regs regs;

	EXPECT_EQ(-EINVAL, interrupt(self->v, 256));
	puppet_call(self->v, guest_lint0, 0x700);
	EXPECT_EQ(0, interrupt(self->v, 0x51));
	EXPECT_EQ(-EEXIST, interrupt(self->v, 0x52));
	puppet_call(self->v, guest_lint0, 0x700);	/* interrupts are off */
	EXPECT_EQ(0, self->v->run->ready_for_interrupt_injection);
	EXPECT_EQ(-EEXIST, interrupt(self->v, 0x52));
	G(self->vm, guest_eoi) = EOI_NONE;		/* the APIC knows nothing of it */
	EXPECT_EQ(1, puppet_call(self->v, guest_irq_window, 0));
	EXPECT_EQ(0x51, G(self->vm, guest_irq_order[0]));

	/* it waits while the pin is masked */
	puppet_call(self->v, guest_lint0, 0x10700);
	EXPECT_EQ(0, interrupt(self->v, 0x53));
	EXPECT_EQ(1, puppet_call(self->v, guest_irq_window, 0));
	puppet_call(self->v, guest_lint0, 0x700);
	kvm_do(self->v->fd, KVM_GET_REGS, &regs);
	kvm_do(self->v->fd, KVM_SET_REGS, &regs);	/* has Linux 6.1 look again */
	EXPECT_EQ(2, puppet_call(self->v, guest_irq_window, 0));
	EXPECT_EQ(0x53, G(self->vm, guest_irq_order[1]));
}

TEST_F(split, window)
{
	puppet_call(self->v, guest_lint0, 0x700);
	EXPECT_EQ(0, self->v->run->ready_for_interrupt_injection);
	self->v->run->request_interrupt_window = 1;
	puppet_call(self->v, guest_lint0, 0x700);	/* still off */
	puppet_set(self->v, PUPPET_CALL, (u64)guest_irq_window, 0, 0);
	expect_exit(self->v, KVM_EXIT_IRQ_WINDOW_OPEN);
	EXPECT_EQ(1, self->v->run->ready_for_interrupt_injection);
	EXPECT_EQ(1, self->v->run->if_flag);
	self->v->run->request_interrupt_window = 0;
	G(self->vm, guest_eoi) = EOI_NONE;
	ASSERT_EQ(0, interrupt(self->v, 0x54));
	expect_sync(self->v, PUPPET_STAGE);
	EXPECT_EQ(1, puppet(self->v)->val);
	EXPECT_EQ(0x54, G(self->vm, guest_irq_order[0]));

	/* a masked pin has none */
	puppet_call(self->v, guest_lint0, 0x10700);
	self->v->run->request_interrupt_window = 1;
	EXPECT_EQ(1, puppet_call(self->v, guest_irq_window, 0));
}

/* With interrupts on already, the window opens before the guest gets far. */
GUEST16(spin, "sti\nnop\nout %al, $0x10\n1: jmp 1b\n");

TEST(open_window)
{
	struct vm *vm = VM_BLOB(spin, 0);
	struct vcpu *v = vm->vcpus[0];

	expect_out(v, 0x10, 1, 0);
	v->run->request_interrupt_window = 1;
	expect_exit(v, KVM_EXIT_IRQ_WINDOW_OPEN);
	EXPECT_EQ(1, v->run->ready_for_interrupt_injection);
	vm_free(vm);
}

static u64 guest_read_tpr(u64 unused)
{
	return xapic_read(APIC_TPR);
}

static u64 guest_write_tpr(u64 val)
{
	xapic_write(APIC_TPR, val);
	return 0;
}

FIXTURE(tpr) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(tpr)
{
	if (!rl_cap(KVM_CAP_VAPIC))
		SKIP(return, "no KVM_CAP_VAPIC");
	self->vm = vm_puppet(1, VM_IRQCHIP);
	self->v = self->vm->vcpus[0];
	puppet_call(self->v, guest_irq_setup, EOI_XAPIC);
}

FIXTURE_TEARDOWN(tpr)
{
	vm_free(self->vm);
}

TEST_F(tpr, reporting)
{
	struct kvm_tpr_access_ctl ctl = { .enabled = 1, .flags = 1 };
	u64 rip;

	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_TPR_ACCESS_REPORTING, &ctl));
	EXPECT_EQ(-EFAULT, kvm_try(self->v->fd, KVM_TPR_ACCESS_REPORTING, 8));
	puppet_call(self->v, guest_write_tpr, 0x10);
	ctl.flags = 0;
	ASSERT_EQ(0, kvm_try(self->v->fd, KVM_TPR_ACCESS_REPORTING, &ctl));
	for (int write = 0; write < 2; write++) {
		puppet_set(self->v, PUPPET_CALL, (u64)(write ? guest_write_tpr : guest_read_tpr),
			   0, 0x30);
		expect_exit(self->v, KVM_EXIT_TPR_ACCESS);
		EXPECT_EQ(write, self->v->run->tpr_access.is_write);
		rip = self->v->run->tpr_access.rip;
		EXPECT_TRUE(rip - (u64)(write ? guest_write_tpr : guest_read_tpr) < 0x40);
		expect_sync(self->v, PUPPET_STAGE);
		if (!write)
			EXPECT_EQ(0x10, puppet(self->v)->val);
	}
	ctl.enabled = 0;
	ASSERT_EQ(0, kvm_try(self->v->fd, KVM_TPR_ACCESS_REPORTING, &ctl));
	EXPECT_EQ(0x30, puppet_call(self->v, guest_read_tpr, 0));
}

#define VAPIC_GPA	0x3000

static u64 guest_poll_irq(u64 tpr)
{
	u64 ret = 1;	/* KVM_HC_VAPIC_POLL_IRQ */

	sti();
	guest_writeb(VAPIC_GPA, tpr);
	if (guest_irq_order[63])
		asm volatile("vmmcall" : "+a"(ret) : : "memory");
	else
		asm volatile("vmcall" : "+a"(ret) : : "memory");
	asm volatile("nop" : : : "memory");
	cli();
	return guest_irq_total;
}

TEST_F(tpr, in_memory)
{
	struct kvm_msi msi = { .address_lo = MSI_ADDR, .data = 0x61 };
	struct kvm_vapic_addr addr = { .vapic_addr = VAPIC_GPA };
	volatile u32 *vapic = vm_hva(self->vm, VAPIC_GPA);
	struct kvm_vapic_addr nowhere = { .vapic_addr = 0x100000000000ull };
	struct vm *bare = vm_new(0);
	int fd = kvm_do(bare->fd, KVM_CREATE_VCPU, 0);

	G(self->vm, guest_irq_order[63]) = rl_host_is_amd();
	EXPECT_EQ(-EINVAL, kvm_try(fd, KVM_SET_VAPIC_ADDR, &addr));
	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_SET_VAPIC_ADDR, &nowhere));
	EXPECT_EQ(-EFAULT, kvm_try(self->v->fd, KVM_SET_VAPIC_ADDR, 8));
	*vapic = 0;
	ASSERT_EQ(0, kvm_try(self->v->fd, KVM_SET_VAPIC_ADDR, &addr));

	/* the guest's TPR holds an interrupt back, and the guest sees which */
	EXPECT_EQ(0, puppet_call(self->v, guest_poll_irq, 0x70));
	ASSERT_EQ(1, kvm_try(self->vm->fd, KVM_SIGNAL_MSI, &msi));
	EXPECT_EQ(0, puppet_call(self->v, guest_poll_irq, 0x70));
	EXPECT_EQ(0x61000070, *vapic);
	EXPECT_EQ(1, puppet_call(self->v, guest_poll_irq, 0x20));
	EXPECT_EQ(0x61, G(self->vm, guest_irq_order[0]));
	EXPECT_EQ(0x20, puppet_call(self->v, guest_read_tpr, 0));
	addr.vapic_addr = 0;
	ASSERT_EQ(0, kvm_try(self->v->fd, KVM_SET_VAPIC_ADDR, &addr));
	puppet_call(self->v, guest_write_tpr, 0x50);
	EXPECT_EQ(0x20, *vapic & 0xff);
	EXPECT_EQ(0x50, puppet_call(self->v, guest_read_tpr, 0));
	vm_free(bare);
}

TEST_HARNESS_MAIN
