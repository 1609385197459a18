// SPDX-License-Identifier: GPL-2.0
/* ioeventfd: a guest's write that wakes somebody instead of ending KVM_RUN. */
#include "lib.h"
#include "harness.h"

#define PORT	0x4560
#define GPA	HOLE_GPA

FIXTURE(ioeventfd) {
	struct vm *vm;
	struct vcpu *v;
	int fd;
};

FIXTURE_SETUP(ioeventfd)
{
	self->vm = vm_puppet(1, VM_IRQCHIP);
	self->v = self->vm->vcpus[0];
	self->fd = eventfd(0, EFD_NONBLOCK);
}

FIXTURE_TEARDOWN(ioeventfd)
{
	vm_free(self->vm);
}

static long assign(struct vm *vm, int fd, u64 addr, u32 len, u32 flags, u64 match)
{
	struct kvm_ioeventfd k = {
		.fd = fd, .addr = addr, .len = len, .flags = flags, .datamatch = match,
	};

	return kvm_try(vm->fd, KVM_IOEVENTFD, &k);
}

#define PIO		KVM_IOEVENTFD_FLAG_PIO
#define MATCH		KVM_IOEVENTFD_FLAG_DATAMATCH
#define DEASSIGN	KVM_IOEVENTFD_FLAG_DEASSIGN

/* size << 48 | port << 32 | value */
static u64 guest_out(u64 arg)
{
	u16 port = arg >> 32;

	switch (arg >> 48) {
	case 1:
		outb(port, arg);
		break;
	case 2:
		outw(port, arg);
		break;
	case 4:
		outl(port, arg);
		break;
	}
	return 0;
}
#define OUT_ARG(size, port, val) ((u64)(size) << 48 | (u64)(port) << 32 | (val))
#define out_silently(v, size, port, val) puppet_call(v, guest_out, OUT_ARG(size, port, val))
#define out_exits(v, size, port, val) \
	do { \
		puppet_set(v, PUPPET_CALL, (u64)guest_out, 0, OUT_ARG(size, port, val)); \
		expect_out(v, port, size, val); \
		expect_sync(v, PUPPET_STAGE); \
	} while (0)
#define write_silently(v, gpa, size, val) puppet_do(v, PUPPET_WRITE, gpa, size, val)
#define write_exits(v, gpa, size, val) \
	do { \
		puppet_set(v, PUPPET_WRITE, gpa, size, val); \
		expect_mmio_write(v, gpa, size, val); \
		expect_sync(v, PUPPET_STAGE); \
	} while (0)

static u64 count(int fd)
{
	eventfd_t n = 0;

	return eventfd_read(fd, &n) ? 0 : n;
}

TEST_F(ioeventfd, errors)
{
	int pipefd[2];

	ASSERT_EQ(0, pipe(pipefd));
	EXPECT_EQ(-EINVAL, assign(self->vm, self->fd, PORT, 3, PIO, 0));
	EXPECT_EQ(-EINVAL, assign(self->vm, self->fd, PORT, 16, PIO, 0));
	EXPECT_EQ(-EINVAL, assign(self->vm, self->fd, PORT, 1, 0x80 | PIO, 0));
	EXPECT_EQ(-EINVAL, assign(self->vm, self->fd, ~0ull, 4, 0, 0));
	EXPECT_EQ(-EINVAL, assign(self->vm, self->fd, PORT, 0, PIO | MATCH, 1));
	EXPECT_EQ(-EBADF, assign(self->vm, -1, PORT, 1, PIO, 0));
	EXPECT_EQ(-EINVAL, assign(self->vm, pipefd[0], PORT, 1, PIO, 0));
	EXPECT_EQ(-ENOENT, assign(self->vm, self->fd, PORT, 1, PIO | DEASSIGN, 0));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_IOEVENTFD, 8));

	ASSERT_EQ(0, assign(self->vm, self->fd, PORT, 2, PIO, 0));
	EXPECT_EQ(-EEXIST, assign(self->vm, self->fd, PORT, 2, PIO, 0));
	EXPECT_EQ(-EEXIST, assign(self->vm, eventfd(0, 0), PORT, 2, PIO, 0));
	EXPECT_EQ(-EEXIST, assign(self->vm, self->fd, PORT, 2, PIO | MATCH, 5));
	EXPECT_EQ(-EEXIST, assign(self->vm, self->fd, PORT, 0, PIO, 0));
	/* the same numbers as MMIO are another place */
	EXPECT_EQ(0, assign(self->vm, self->fd, PORT, 2, 0, 0));
	/* deassigning wants all of it right */
	EXPECT_EQ(-ENOENT, assign(self->vm, self->fd, PORT, 1, PIO | DEASSIGN, 0));
	EXPECT_EQ(-ENOENT, assign(self->vm, self->fd, PORT + 1, 2, PIO | DEASSIGN, 0));
	EXPECT_EQ(-ENOENT, assign(self->vm, self->fd, PORT, 2, PIO | DEASSIGN | MATCH, 0));
	EXPECT_EQ(-ENOENT, assign(self->vm, eventfd(0, 0), PORT, 2, PIO | DEASSIGN, 0));
	EXPECT_EQ(0, assign(self->vm, self->fd, PORT, 2, PIO | DEASSIGN, 0));
	EXPECT_EQ(-ENOENT, assign(self->vm, self->fd, PORT, 2, PIO | DEASSIGN, 0));
}

TEST_F(ioeventfd, port)
{
	struct vcpu *v = self->v;

	for (u32 size = 1; size <= 4; size *= 2) {
		out_exits(v, size, PORT, 0x11);
		ASSERT_EQ(0, assign(self->vm, self->fd, PORT, size, PIO, 0));
		for (int i = 0; i < 5; i++)
			out_silently(v, size, PORT, i);
		ASSERT_EQ(5, count(self->fd));
		/* another size, another port */
		out_exits(v, size == 4 ? 1 : 2 * size, PORT, 0x11);
		out_exits(v, size, PORT + 1, 0x11);
		ASSERT_EQ(0, count(self->fd));
		ASSERT_EQ(0, assign(self->vm, self->fd, PORT, size, PIO | DEASSIGN, 0));
		out_exits(v, size, PORT, 0x11);
		ASSERT_EQ(0, count(self->fd));
	}
}

TEST_F(ioeventfd, mmio)
{
	struct vcpu *v = self->v;

	for (u32 size = 1; size <= 8; size *= 2) {
		write_exits(v, GPA, size, 0x11);
		ASSERT_EQ(0, assign(self->vm, self->fd, GPA, size, 0, 0));
		for (int i = 0; i < 5; i++)
			write_silently(v, GPA, size, i);
		ASSERT_EQ(5, count(self->fd));
		write_exits(v, GPA, size == 8 ? 1 : 2 * size, 0x11);
		write_exits(v, GPA + 1, size, 0x11);
		/* a read is user space's */
		puppet_set(v, PUPPET_READ, GPA, size, 0);
		expect_mmio_read(v, GPA, size);
		memset(v->run->mmio.data, 0x22, 8);
		expect_sync(v, PUPPET_STAGE);
		ASSERT_EQ(0x22, puppet(v)->val & 0xff);
		ASSERT_EQ(0, count(self->fd));
		ASSERT_EQ(0, assign(self->vm, self->fd, GPA, size, DEASSIGN, 0));
		write_exits(v, GPA, size, 0x11);
	}
}

TEST_F(ioeventfd, datamatch)
{
	struct vcpu *v = self->v;
	int other = eventfd(0, EFD_NONBLOCK);

	ASSERT_EQ(0, assign(self->vm, self->fd, PORT, 2, PIO | MATCH, 7));
	ASSERT_EQ(0, assign(self->vm, other, PORT, 2, PIO | MATCH, 0x1234));
	EXPECT_EQ(-EEXIST, assign(self->vm, other, PORT, 2, PIO | MATCH, 7));
	out_silently(v, 2, PORT, 7);
	EXPECT_EQ(1, count(self->fd));
	EXPECT_EQ(0, count(other));
	out_silently(v, 2, PORT, 0x1234);
	out_silently(v, 2, PORT, 0x1234);
	EXPECT_EQ(0, count(self->fd));
	EXPECT_EQ(2, count(other));
	out_exits(v, 2, PORT, 8);
	out_exits(v, 1, PORT, 7);
	EXPECT_EQ(-ENOENT, assign(self->vm, self->fd, PORT, 2, PIO | MATCH | DEASSIGN, 0x1234));
	EXPECT_EQ(0, assign(self->vm, self->fd, PORT, 2, PIO | MATCH | DEASSIGN, 7));
	out_exits(v, 2, PORT, 7);
	out_silently(v, 2, PORT, 0x1234);
	EXPECT_EQ(1, count(other));

	ASSERT_EQ(0, assign(self->vm, self->fd, GPA + 8, 8, MATCH, 0x1122334455667788));
	write_silently(v, GPA + 8, 8, 0x1122334455667788);
	EXPECT_EQ(1, count(self->fd));
	write_exits(v, GPA + 8, 8, 0x1122334455667789);
	EXPECT_EQ(0, count(self->fd));
}

TEST_F(ioeventfd, any_length)
{
	struct vcpu *v = self->v;

	if (!rl_cap(KVM_CAP_IOEVENTFD_ANY_LENGTH))
		SKIP(return, "no KVM_CAP_IOEVENTFD_ANY_LENGTH");
	ASSERT_EQ(0, assign(self->vm, self->fd, PORT, 0, PIO, 0));
	ASSERT_EQ(0, assign(self->vm, self->fd, GPA, 0, 0, 0));
	EXPECT_EQ(-EEXIST, assign(self->vm, self->fd, GPA, 4, 0, 0));
	out_silently(v, 1, PORT, 1);
	out_silently(v, 2, PORT, 1);
	out_silently(v, 4, PORT, 1);
	EXPECT_EQ(3, count(self->fd));
	for (u32 size = 1; size <= 8; size *= 2)
		write_silently(v, GPA, size, 1);
	EXPECT_EQ(4, count(self->fd));
	write_exits(v, GPA + 4, 4, 1);
	ASSERT_EQ(0, assign(self->vm, self->fd, GPA, 0, DEASSIGN, 0));
	write_exits(v, GPA, 4, 1);
	ASSERT_EQ(0, assign(self->vm, self->fd, PORT, 0, PIO | DEASSIGN, 0));
	out_exits(v, 4, PORT, 1);
}

/* Memory that comes to lie there goes first; and leaves again. */
TEST_F(ioeventfd, under_memory)
{
	struct vcpu *v = self->v;

	ASSERT_EQ(0, assign(self->vm, self->fd, GPA, 4, 0, 0));
	write_silently(v, GPA, 4, 1);
	EXPECT_EQ(1, count(self->fd));
	vm_add_mem(self->vm, 3, GPA, 0x1000, 0);
	write_silently(v, GPA, 4, 0x77);
	EXPECT_EQ(0, count(self->fd));
	EXPECT_EQ(0x77, *(u32 *)vm_hva(self->vm, GPA));
	ASSERT_EQ(0, vm_set_region(self->vm, 3, 0, 0, NULL, 0));
	write_silently(v, GPA, 4, 1);
	EXPECT_EQ(1, count(self->fd));
}

/* The doorbell is also an irqfd: the guest rings for itself. */
TEST_F(ioeventfd, doorbell_to_interrupt)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e;
	} route = {
		.head.nr = 1,
		.e = { .gsi = 30, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { 0xfee00000, 0, 0x66 } },
	};
	struct kvm_irqfd irqfd = { .fd = self->fd, .gsi = 30 };
	struct vcpu *v = self->v;

	puppet_call(v, guest_irq_setup, EOI_XAPIC);
	kvm_do(self->vm->fd, KVM_SET_GSI_ROUTING, &route);
	kvm_do(self->vm->fd, KVM_IRQFD, &irqfd);
	ASSERT_EQ(0, assign(self->vm, self->fd, GPA + 0x10, 4, 0, 0));
	for (u32 i = 1; i <= 20; i++) {
		write_silently(v, GPA + 0x10, 4, i);
		do
			puppet_call(v, guest_irq_window, 0);
		while (G(self->vm, guest_irqs[0][0x66]) < i);
		ASSERT_EQ(i, G(self->vm, guest_irqs[0][0x66]));
	}
}

TEST_F(ioeventfd, eventfd_closed_first)
{
	struct vcpu *v = self->v;

	ASSERT_EQ(0, assign(self->vm, self->fd, PORT, 1, PIO, 0));
	close(self->fd);
	for (int i = 0; i < 5; i++) {
		/* whether the registration lives on is nobody's promise; the VM does */
		puppet_set(v, PUPPET_CALL, (u64)guest_out, 0, OUT_ARG(1, PORT, i));
		vcpu_run(v);
		if (v->run->exit_reason == KVM_EXIT_IO && v->run->io.port == PORT)
			expect_sync(v, PUPPET_STAGE);
	}
	out_exits(v, 1, PORT + 1, 1);
}

/* Each hears its own port only, however many there are and whoever goes. */
TEST_F(ioeventfd, side_by_side)
{
	enum { NR = 40 };
	struct vcpu *v = self->v;
	int fds[NR], i, round;

	for (i = 0; i < NR; i++) {
		fds[i] = eventfd(0, EFD_NONBLOCK);
		ASSERT_EQ(0, assign(self->vm, fds[i], PORT + 4 * i, 2, PIO, 0));
	}
	for (round = 0; round < 2; round++) {
		for (i = 0; i < NR; i++) {
			if (i % 3 || !round)
				out_silently(v, 2, PORT + 4 * i, i);
			else
				out_exits(v, 2, PORT + 4 * i, i);
			for (int n = 0; n < NR; n++)
				ASSERT_EQ(n == i && (i % 3 || !round), count(fds[n]));
		}
		for (i = 0; i < NR && !round; i += 3)
			ASSERT_EQ(0, assign(self->vm, fds[i], PORT + 4 * i, 2, PIO | DEASSIGN, 0));
	}

	/* A neighbour changes nothing; a second one at the same port goes by the data. */
	out_silently(v, 2, PORT + 4, 1);
	ASSERT_EQ(1, count(fds[1]));
	ASSERT_EQ(0, assign(self->vm, self->fd, PORT, 1, PIO, 0));
	out_silently(v, 2, PORT + 4, 1);
	ASSERT_EQ(1, count(fds[1]));
	ASSERT_EQ(0, assign(self->vm, fds[1], PORT + 4, 2, PIO | DEASSIGN, 0));
	ASSERT_EQ(0, assign(self->vm, fds[1], PORT + 4, 2, PIO | MATCH, 1));
	out_exits(v, 2, PORT + 4, 2);
	ASSERT_EQ(0, assign(self->vm, fds[0], PORT + 4, 2, PIO | MATCH, 2));
	for (i = 1; i <= 2; i++)
		out_silently(v, 2, PORT + 4, i);
	ASSERT_EQ(1, count(fds[1]));
	ASSERT_EQ(1, count(fds[0]));
	ASSERT_EQ(0, count(self->fd));
	for (i = 0; i < NR; i++)
		close(fds[i]);
}

TEST_F(ioeventfd, many)
{
	struct vcpu *v = self->v;

	for (int i = 0; i < 100; i++)
		ASSERT_EQ(0, assign(self->vm, self->fd, GPA + i * 4, 4, 0, 0));
	for (int i = 0; i < 100; i += 7) {
		write_silently(v, GPA + i * 4, 4, i);
		ASSERT_EQ(1, count(self->fd));
	}
	for (int i = 0; i < 100; i++)
		ASSERT_EQ(0, assign(self->vm, self->fd, GPA + i * 4, 4, DEASSIGN, 0));
	write_exits(v, GPA + 28, 4, 1);
}

TEST_HARNESS_MAIN
