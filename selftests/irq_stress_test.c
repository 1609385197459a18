// SPDX-License-Identifier: GPL-2.0
/*
 * Interrupt sources that come, go and end while others use them: no interrupt
 * and no doorbell gets lost, and nothing is left behind.
 */
#include "lib.h"
#include "harness.h"

#define MSI_ADDR	0xfee00000u
#define IOAPIC_GPA	0xfec00000ull
#define PORT		0x4560
#define NR_VCPUS	24		/* more than one x2APIC cluster */

static u32 stop;

/* Interrupts open until told otherwise. */
static void guest_listen(u64 id)
{
	guest_irq_setup(EOI_X2APIC);
	GUEST_SYNC(1, 0);
	sti();
	while (!READ_ONCE(stop))
		cpu_relax();
	cli();
	GUEST_DONE();
}

static void set_msi_route(struct vm *vm, u32 gsi, u32 vector)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e[1];
	} r = {
		.head.nr = 1,
		.e[0] = { .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
			  .u.msi = { MSI_ADDR, 0, vector } },
	};

	kvm_do(vm->fd, KVM_SET_GSI_ROUTING, &r);
}

static long irqfd(struct vm *vm, int fd, u32 gsi, u32 flags, int resample)
{
	struct kvm_irqfd k = { .fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resample };

	return kvm_try(vm->fd, KVM_IRQFD, &k);
}

/* An eventfd that a thread signals without pause. */
struct signaller {
	pthread_t thread;
	volatile int fd, stop;
	volatile u64 sent;
};

static void *signal_loop(void *arg)
{
	struct signaller *s = arg;

	while (!s->stop) {
		eventfd_write(s->fd, 1);	/* EAGAIN and EBADF are as good */
		s->sent++;
	}
	return NULL;
}

static void signaller_start(struct signaller *s, int fd)
{
	s->fd = fd;
	s->stop = 0;
	CHECK(NULL, !pthread_create(&s->thread, NULL, signal_loop, s), "thread");
}

static void signaller_end(struct signaller *s)
{
	s->stop = 1;
	pthread_join(s->thread, NULL);
}

static u64 wait_irq(struct vm *vm, u32 vector, u32 before)
{
	WAIT_FOR(G(vm, guest_irqs[0][vector]) != before);
	return G(vm, guest_irqs[0][vector]) - before;
}

TEST(irqfds_come_and_go_under_signals)
{
	int trigger = eventfd(0, EFD_NONBLOCK), resample = eventfd(0, EFD_NONBLOCK), closing;
	struct signaller s = {};
	struct vm *vm = vm_long(1, guest_listen, VM_IRQCHIP);

	vcpu_start(vm->vcpus[0]);
	vcpu_wait_stage(vm->vcpus[0], 1);
	signaller_start(&s, trigger);
	for (int i = 0; i < 60; i++) {
		set_msi_route(vm, 30, 0x40 + i % 2);
		ASSERT_EQ(0, irqfd(vm, trigger, 30, 0, 0));
		ASSERT_EQ(-EBUSY, irqfd(vm, trigger, 31, 0, 0));
		set_msi_route(vm, 30, 0x42);
		ASSERT_EQ(0, irqfd(vm, trigger, 30, KVM_IRQFD_FLAG_DEASSIGN, 0));
		ASSERT_EQ(0, irqfd(vm, trigger, 30, KVM_IRQFD_FLAG_RESAMPLE, resample));
		ASSERT_EQ(0, irqfd(vm, trigger, 30, KVM_IRQFD_FLAG_DEASSIGN, 0));
		/* one whose eventfd goes away by itself */
		closing = eventfd(0, EFD_NONBLOCK);
		ASSERT_EQ(0, irqfd(vm, closing, 30, i % 2 ? KVM_IRQFD_FLAG_RESAMPLE : 0, resample));
		s.fd = closing;
		usleep(100);
		s.fd = trigger;
		close(closing);
	}
	signaller_end(&s);
	EXPECT_NE(0, s.sent);

	/* After all that, one signal is one interrupt. */
	set_msi_route(vm, 30, 0x50);
	eventfd_write(trigger, 1);
	closing = eventfd(0, EFD_NONBLOCK);
	ASSERT_EQ(0, irqfd(vm, closing, 30, 0, 0));
	for (int i = 0; i < 10; i++) {
		eventfd_write(closing, 1);
		EXPECT_EQ(1, wait_irq(vm, 0x50, i));
	}
	G(vm, stop) = 1;
	vcpu_join(vm->vcpus[0]);
	vm_free(vm);
}

/* The resample eventfd of one irqfd may be the trigger of another. */
TEST(resample_into_an_irqfd)
{
	int trigger = eventfd(0, EFD_NONBLOCK), both = eventfd(0, EFD_NONBLOCK);
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e[2];
	} r = {
		.head.nr = 2,
		.e = {
			{ .gsi = 22, .type = KVM_IRQ_ROUTING_IRQCHIP,
			  .u.irqchip = { KVM_IRQCHIP_IOAPIC, 22 } },
			{ .gsi = 40, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { MSI_ADDR, 0, 0x61 } },
		},
	};
	struct vm *vm = vm_puppet(1, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];

	puppet_call(v, guest_irq_setup, EOI_X2APIC);
	puppet_do(v, PUPPET_WRITE, IOAPIC_GPA, 4, 0x10 + 2 * 22);
	puppet_do(v, PUPPET_WRITE, IOAPIC_GPA + 0x10, 4, 0x8000 | 0x60);
	kvm_do(vm->fd, KVM_SET_GSI_ROUTING, &r);
	ASSERT_EQ(0, irqfd(vm, trigger, 22, KVM_IRQFD_FLAG_RESAMPLE, both));
	ASSERT_EQ(0, irqfd(vm, both, 40, 0, 0));
	for (u32 i = 1; i <= 20; i++) {
		eventfd_write(trigger, 1);
		puppet_call(v, guest_irq_window, 0);
		puppet_call(v, guest_irq_window, 0);
		EXPECT_EQ(i, G(vm, guest_irqs[0][0x60]));
		EXPECT_EQ(i, G(vm, guest_irqs[0][0x61]));
	}
	vm_free(vm);
}

#define NR_OUTS		3000

static void guest_ring_doorbell(u64 id)
{
	for (u32 i = 0; i < NR_OUTS; i++)
		outw(PORT, i);
	GUEST_DONE();
}

static void *doorbells_come_and_go(void *arg)
{
	struct vm *vm = ((void **)arg)[0];
	int fd = *(int *)((void **)arg)[1];
	volatile int *end = ((void **)arg)[2];

	while (!*end) {
		struct kvm_ioeventfd k = {
			.fd = fd, .addr = PORT, .len = 2, .flags = KVM_IOEVENTFD_FLAG_PIO,
		}, other = { .fd = fd, .addr = PORT + 8, .flags = KVM_IOEVENTFD_FLAG_PIO };

		kvm_do(vm->fd, KVM_IOEVENTFD, &k);
		kvm_do(vm->fd, KVM_IOEVENTFD, &other);
		usleep(300);
		other.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
		kvm_do(vm->fd, KVM_IOEVENTFD, &other);
		k.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
		kvm_do(vm->fd, KVM_IOEVENTFD, &k);
		usleep(300);
	}
	return NULL;
}

/* Every write either signals or exits, never both, never neither. */
TEST(doorbells_come_and_go_under_writes)
{
	int fd = eventfd(0, EFD_NONBLOCK), end = 0;
	struct vm *vm = vm_long(1, guest_ring_doorbell, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];
	void *args[] = { vm, &fd, &end };
	eventfd_t signals = 0;
	u32 exits = 0;
	pthread_t t;
	struct ucall uc;

	ASSERT_EQ(0, pthread_create(&t, NULL, doorbells_come_and_go, args));
	for (;;) {
		vcpu_run(v);
		if (vcpu_ucall(v, &uc))
			break;
		ASSERT_EQ(KVM_EXIT_IO, v->run->exit_reason);
		ASSERT_EQ(PORT, v->run->io.port);
		exits++;
	}
	EXPECT_EQ(UCALL_DONE, uc.code);
	end = 1;
	pthread_join(t, NULL);
	eventfd_read(fd, &signals);
	EXPECT_EQ(NR_OUTS, exits + signals);
	vm_free(vm);
}

/* IPIs over several clusters: vCPU 0 sends, the others sleep until they have it. */
static u32 ready, served;

static void guest_ipi_target(u64 id)
{
	guest_irq_setup(EOI_X2APIC);
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	for (u32 round = 1; round <= 3; round++) {
		guest_irq_wait(0x70 + round);
		__atomic_add_fetch(&served, 1, __ATOMIC_SEQ_CST);
	}
	GUEST_DONE();
}

static void wait_served(u32 n)
{
	while (READ_ONCE(served) != n)
		cpu_relax();
}

static void guest_ipi_sender(u64 id)
{
	const u32 others = NR_VCPUS - 1;

	guest_irq_setup(EOI_X2APIC);
	while (READ_ONCE(ready) != others)
		cpu_relax();
	for (u64 i = 1; i <= others; i++)		/* physical */
		guest_wrmsr(MSR_X2APIC(APIC_ICR), i << 32 | 0x71);
	wait_served(others);
	/* logical: cluster 0 without its first member, then cluster 1 */
	guest_wrmsr(MSR_X2APIC(APIC_ICR), 0x0000fffeull << 32 | 0x872);
	guest_wrmsr(MSR_X2APIC(APIC_ICR), 0x0001ffffull << 32 | 0x872);
	wait_served(2 * others);
	guest_wrmsr(MSR_X2APIC(APIC_ICR), 0xc0073);	/* all but itself */
	wait_served(3 * others);
	GUEST_DONE();
}

static void guest_ipi(u64 id)
{
	if (id)
		guest_ipi_target(id);
	else
		guest_ipi_sender(id);
}

TEST(ipis_to_two_clusters)
{
	struct vm *vm = vm_long(NR_VCPUS, guest_ipi, VM_IRQCHIP);
	u32 total = 0;

	vm_run_all(vm);
	for (int i = 1; i < NR_VCPUS; i++) {
		for (int round = 1; round <= 3; round++) {
			u32 n = G(vm, guest_irqs[i][0x70 + round]);

			EXPECT_TRUE(n == 1 || (n > 1 && rl_host_repeats_irqs())) {
				TH_LOG("vCPU %d, vector %#x: %u times", i, 0x70 + round, n);
			}
			total += n;
		}
	}
	EXPECT_EQ(total, G(vm, guest_irq_total));	/* and nothing else */
	vm_free(vm);
}

/* A VM ends while all its sources are at work. */
TEST(end_with_everything_armed)
{
	struct signaller s[2] = {};
	struct kvm_pit_state2 pit = {};
	struct vm *vm;
	int fd[2];

	for (int round = 0; round < 15; round++) {
		struct kvm_pit_config cfg = {};

		vm = vm_puppet(2, VM_IRQCHIP);
		for (int i = 0; i < 2; i++) {
			puppet_call(vm->vcpus[i], guest_irq_setup, EOI_X2APIC);
			/* no 8259 programs its vectors here */
			puppet_wrmsr(vm->vcpus[i], MSR_X2APIC(APIC_LVT0), 0x10000);
			puppet_wrmsr(vm->vcpus[i], MSR_X2APIC(APIC_TDCR), 0xb);
			puppet_wrmsr(vm->vcpus[i], MSR_X2APIC(APIC_LVTT), 0x20000 | 0x80);
			puppet_wrmsr(vm->vcpus[i], MSR_X2APIC(APIC_TMICT), 250000);
			fd[i] = eventfd(0, EFD_NONBLOCK);
			ASSERT_EQ(0, irqfd(vm, fd[i], 20 + i, i ? KVM_IRQFD_FLAG_RESAMPLE : 0,
					   fd[0]));
			signaller_start(&s[i], fd[i]);
		}
		/* one pin edge to vCPU 0, one level to vCPU 1 */
		for (int i = 0; i < 2; i++) {
			puppet_do(vm->vcpus[0], PUPPET_WRITE, IOAPIC_GPA, 4, 0x11 + 2 * (20 + i));
			puppet_do(vm->vcpus[0], PUPPET_WRITE, IOAPIC_GPA + 0x10, 4, i << 24);
			puppet_do(vm->vcpus[0], PUPPET_WRITE, IOAPIC_GPA, 4, 0x10 + 2 * (20 + i));
			puppet_do(vm->vcpus[0], PUPPET_WRITE, IOAPIC_GPA + 0x10, 4,
				  (i ? 0x8000 : 0) | (0x90 + i));
		}
		kvm_do(vm->fd, KVM_CREATE_PIT2, &cfg);
		pit.channels[0].count = 300;
		pit.channels[0].mode = 2;
		kvm_do(vm->fd, KVM_SET_PIT2, &pit);
		for (int i = 0; i < 10 || !G(vm, guest_irq_total); i++)
			puppet_call(vm->vcpus[i % 2], guest_irq_window, 0);
		if (round % 3 == 1)
			close(fd[round % 2]);
		if (round % 2) {
			/* vCPUs outlive the VM's descriptor, irqfds do not */
			close(vm->fd);
			vm->fd = -1;
			for (int i = 0; i < 10; i++)
				puppet_call(vm->vcpus[i % 2], guest_irq_window, 0);
		}
		vm_free(vm);
		for (int i = 0; i < 2; i++)
			signaller_end(&s[i]);
		for (int i = 0; i < 2; i++)
			if (round % 3 != 1 || i != round % 2)
				close(fd[i]);
	}
}

TEST_HARNESS_MAIN
