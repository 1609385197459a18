// SPDX-License-Identifier: GPL-2.0
/* KVM_RUN: how it starts, every kind of exit to user space, how signals end it. */
#include "lib.h"
#include "harness.h"
#include <sys/time.h>

GUEST16(io_sizes,
	"mov $0x11223344, %eax\n"
	"out %al, $0x40\n"
	"out %ax, $0x42\n"
	"mov $0x3f8, %dx\n"
	"out %eax, %dx\n"
	"in $0x60, %al\n"
	"mov %eax, %ebx\n"
	"in %dx, %ax\n"
	"mov %eax, %ecx\n"
	"in $0x64, %eax\n"
	"hlt\n");

TEST(io_sizes)
{
	struct vm *vm = VM_BLOB(io_sizes, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_regs regs;

	expect_out(v, 0x40, 1, 0x44);
	expect_out(v, 0x42, 2, 0x3344);
	expect_out(v, 0x3f8, 4, 0x11223344);
	expect_in(v, 0x60, 1);
	*(u8 *)run_io_data(v) = 0xa5;
	expect_in(v, 0x3f8, 2);
	*(u16 *)run_io_data(v) = 0xb6c7;
	expect_in(v, 0x64, 4);
	*(u32 *)run_io_data(v) = 0xdeadbeef;
	expect_exit(v, KVM_EXIT_HLT);
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	ASSERT_EQ(0x112233a5, regs.rbx);
	ASSERT_EQ(0x1122b6c7, regs.rcx);
	ASSERT_EQ(0xdeadbeef, regs.rax);
	ASSERT_EQ(BLOB_GPA + (io_sizes_end - io_sizes_start), regs.rip);
	ASSERT_EQ(1, v->run->io.count);
	vm_free(vm);
}

static void guest_in64(u64 id)
{
	u64 rax = ~0ull;

	asm volatile("in $0x60, %%eax" : "+a"(rax));
	GUEST_ASSERT_EQ(rax, 0x80000001);
	rax = 0x1122334455667788;
	asm volatile("in $0x60, %%al" : "+a"(rax));
	GUEST_ASSERT_EQ(rax, 0x1122334455667799);
	GUEST_DONE();
}

TEST(in_widens_like_a_move)
{
	struct vm *vm = vm_long(1, guest_in64, 0);
	struct vcpu *v = vm->vcpus[0];

	expect_in(v, 0x60, 4);
	*(u32 *)run_io_data(v) = 0x80000001;
	expect_in(v, 0x60, 1);
	*(u8 *)run_io_data(v) = 0x99;
	expect_done(v);
}

/* String I/O may come in any number of exits; what counts is the bytes. */
static void collect_outs(struct vcpu *v, u16 port, u32 size, void *buf, u32 bytes)
{
	while (bytes) {
		u32 n;

		expect_exit(v, KVM_EXIT_IO);
		CHECK(v, v->run->io.port == port && v->run->io.size == size, "wrong access");
		CHECK(v, v->run->io.direction == KVM_EXIT_IO_OUT, "wrong direction");
		n = size * v->run->io.count;
		CHECK(v, n && n <= bytes, "%u bytes, %u left", n, bytes);
		memcpy(buf, run_io_data(v), n);
		buf = (u8 *)buf + n;
		bytes -= n;
	}
}

static void feed_ins(struct vcpu *v, u16 port, u32 size, const void *buf, u32 bytes)
{
	while (bytes) {
		u32 n;

		expect_exit(v, KVM_EXIT_IO);
		CHECK(v, v->run->io.port == port && v->run->io.size == size, "wrong access");
		CHECK(v, v->run->io.direction == KVM_EXIT_IO_IN, "wrong direction");
		n = size * v->run->io.count;
		CHECK(v, n && n <= bytes, "%u bytes, %u left", n, bytes);
		memcpy(run_io_data(v), buf, n);
		buf = (const u8 *)buf + n;
		bytes -= n;
	}
}

GUEST16(strings,
	"cld\n"
	"mov $0x1000, %ax\n"		/* ds = 0x10000 */
	"mov %ax, %ds\n"
	"mov $0x2000, %ax\n"		/* es = 0x20000 */
	"mov %ax, %es\n"
	"mov $0x300, %dx\n"
	"mov $0xfffc, %si\n"		/* wraps at 64 KiB */
	"mov $8, %cx\n"
	"rep outsb\n"
	"mov %si, %bx\n"
	"mov $0x100, %si\n"
	"mov $3, %cx\n"
	"rep outsw %es:(%si), %dx\n"
	"mov $0x200, %si\n"
	"outsl\n"
	"mov $0x300, %di\n"
	"mov $5, %cx\n"
	"rep insb\n"
	"std\n"
	"mov $0x410, %di\n"
	"mov $2, %cx\n"
	"rep insl\n"
	"xor %cx, %cx\n"
	"rep insb\n"			/* nothing */
	"hlt\n");

TEST(string_io)
{
	struct vm *vm = VM_BLOB(strings, 0);
	struct vcpu *v = vm->vcpus[0];
	u8 *ds = vm_hva(vm, 0x10000), *es = vm_hva(vm, 0x20000);
	struct kvm_regs regs;
	u8 buf[16];

	memcpy(ds + 0xfffc, "wrap", 4);
	memcpy(ds, "ping", 4);
	memcpy(es + 0x100, "string", 6);
	memcpy(ds + 0x200, "long", 4);
	collect_outs(v, 0x300, 1, buf, 8);
	ASSERT_EQ(0, memcmp(buf, "wrapping", 8));
	collect_outs(v, 0x300, 2, buf, 6);
	ASSERT_EQ(0, memcmp(buf, "string", 6));
	collect_outs(v, 0x300, 4, buf, 4);
	ASSERT_EQ(0, memcmp(buf, "long", 4));
	feed_ins(v, 0x300, 1, "hello", 5);
	feed_ins(v, 0x300, 4, "BACKward", 8);
	expect_exit(v, KVM_EXIT_HLT);
	ASSERT_EQ(0, memcmp(es + 0x300, "hello", 6));
	ASSERT_EQ(0, memcmp(es + 0x40c, "wardBACK", 8));
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	ASSERT_EQ(4, regs.rbx & 0xffff);
	ASSERT_EQ(0x408, regs.rdi & 0xffff);
	ASSERT_EQ(0, regs.rcx & 0xffff);
}

static u8 string_buf[3000];

static void guest_long_string(u64 id)
{
	u64 n = sizeof(string_buf), p = (u64)string_buf;

	asm volatile("rep outsb" : "+S"(p), "+c"(n) : "d"(0x300) : "memory");
	GUEST_ASSERT_EQ(p, string_buf + sizeof(string_buf));
	n = sizeof(string_buf) / 2;
	p = (u64)string_buf;
	asm volatile("rep insw" : "+D"(p), "+c"(n) : "d"(0x302) : "memory");
	GUEST_ASSERT_EQ(n, 0);
	GUEST_DONE();
}

TEST(string_io_over_many_pages)
{
	struct vm *vm = vm_long(1, guest_long_string, 0);
	struct vcpu *v = vm->vcpus[0];
	u8 out[sizeof(string_buf)];

	for (u32 i = 0; i < sizeof(string_buf); i++)
		(&G(vm, string_buf[0]))[i] = i * 7;
	collect_outs(v, 0x300, 1, out, sizeof(out));
	for (u32 i = 0; i < sizeof(out); i++) {
		ASSERT_EQ((u8)(i * 7), out[i]);
		out[i] = i * 5;
	}
	feed_ins(v, 0x302, 2, out, sizeof(out));
	expect_done(v);
	for (u32 i = 0; i < sizeof(out); i++)
		ASSERT_EQ((u8)(i * 5), (&G(vm, string_buf[0]))[i]);
}

static void guest_mmio(u64 id)
{
	guest_writeb(HOLE_GPA + 1, 0x81);
	guest_writew(HOLE_GPA + 2, 0x8182);
	guest_writel(HOLE_GPA + 4, 0x81828384);
	guest_writeq(HOLE_GPA + 8, 0x8182838485868788);
	GUEST_ASSERT_EQ(guest_readb(HOLE_GPA + 1), 0x91);
	GUEST_ASSERT_EQ(guest_readw(HOLE_GPA + 2), 0x9192);
	GUEST_ASSERT_EQ(guest_readl(HOLE_GPA + 4), 0x91929394);
	GUEST_ASSERT_EQ(guest_readq(HOLE_GPA + 8), 0x9192939495969798);
	GUEST_DONE();
}

static void mmio_reply(struct vcpu *v, u64 val)
{
	memcpy(v->run->mmio.data, &val, 8);
}

TEST(mmio_sizes)
{
	struct vm *vm = vm_long(1, guest_mmio, 0);
	struct vcpu *v = vm->vcpus[0];

	expect_mmio_write(v, HOLE_GPA + 1, 1, 0x81);
	expect_mmio_write(v, HOLE_GPA + 2, 2, 0x8182);
	expect_mmio_write(v, HOLE_GPA + 4, 4, 0x81828384);
	expect_mmio_write(v, HOLE_GPA + 8, 8, 0x8182838485868788);
	expect_mmio_read(v, HOLE_GPA + 1, 1);
	mmio_reply(v, 0x91);
	expect_mmio_read(v, HOLE_GPA + 2, 2);
	mmio_reply(v, 0x9192);
	expect_mmio_read(v, HOLE_GPA + 4, 4);
	mmio_reply(v, 0x91929394);
	expect_mmio_read(v, HOLE_GPA + 8, 8);
	mmio_reply(v, 0x9192939495969798);
	expect_done(v);
}

static void guest_mmio_crossing(u64 id)
{
	guest_writeq(HOLE_GPA + 0xffd, 0x0807060504030201);
	GUEST_ASSERT_EQ(guest_readl(HOLE_GPA + 0xffe), 0x44332211);
	/* half of it is RAM */
	guest_writel(RAM_SIZE - 4, 0xa1a2a3a4);
	GUEST_ASSERT_EQ(guest_readq(RAM_SIZE - 4), 0xb1b2b3b4a1a2a3a4);
	guest_writeq(RAM_SIZE - 4, 0xc1c2c3c4d1d2d3d4);
	GUEST_DONE();
}

TEST(mmio_across_pages)
{
	struct vm *vm = vm_long(1, guest_mmio_crossing, 0);
	struct vcpu *v = vm->vcpus[0];

	expect_mmio_write(v, HOLE_GPA + 0xffd, 3, 0x030201);
	expect_mmio_write(v, HOLE_GPA + 0x1000, 5, 0x0807060504);
	expect_mmio_read(v, HOLE_GPA + 0xffe, 2);
	mmio_reply(v, 0x2211);
	expect_mmio_read(v, HOLE_GPA + 0x1000, 2);
	mmio_reply(v, 0x4433);
	expect_mmio_read(v, RAM_SIZE, 4);
	mmio_reply(v, 0xb1b2b3b4);
	expect_mmio_write(v, RAM_SIZE, 4, 0xc1c2c3c4);
	expect_done(v);
	ASSERT_EQ(0xd1d2d3d4, *(u32 *)vm_hva(vm, RAM_SIZE - 4));
}

GUEST16(hlt_twice, "hlt; mov $7, %bx; hlt\n");

TEST(hlt)
{
	struct vm *vm = VM_BLOB(hlt_twice, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_regs regs;

	expect_exit(v, KVM_EXIT_HLT);
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	ASSERT_EQ(BLOB_GPA + 1, regs.rip);
	expect_exit(v, KVM_EXIT_HLT);
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	ASSERT_EQ(7, regs.rbx);
	/* where user space puts it, it goes on */
	regs.rip = BLOB_GPA;
	kvm_do(v->fd, KVM_SET_REGS, &regs);
	expect_exit(v, KVM_EXIT_HLT);
}

GUEST64(triple, "lidt null(%rip); ud2; null: .word 0; .quad 0\n");

TEST(triple_fault_is_shutdown)
{
	struct vm *vm;

	if (rl_host_is_bochs_svm())
		SKIP(return, "Bochs' SVM does not survive it, with kvm.ko either");
	vm = VM_BLOB(triple, 0);
	expect_exit(vm->vcpus[0], KVM_EXIT_SHUTDOWN);
	/* and the VM can still be asked */
	kvm_do(vm->vcpus[0]->fd, KVM_GET_REGS, &(struct kvm_regs){});
	vm_free(vm);
}

GUEST16(triple16, "lidt null16 - triple16_start + 0x8000; int $3; null16: .word 0; .long 0\n");

TEST(triple_fault_in_real_mode)
{
	struct vm *vm;

	if (rl_host_is_bochs_svm())
		SKIP(return, "Bochs' SVM does not survive it, with kvm.ko either");
	vm = VM_BLOB(triple16, 0);
	expect_exit(vm->vcpus[0], KVM_EXIT_SHUTDOWN);
}

GUEST16(stack_in_mmio, "ud2\n");

/* The CPU pushes the exception's frame to where there is no memory. */
TEST(event_delivery_to_mmio)
{
	struct vm *vm = VM_BLOB(stack_in_mmio, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_sregs sregs;

	if (strcmp(rl_dev_path(), "/dev/ringlet"))
		SKIP(return, "kvm_amd emulates the instruction instead of the push");
	kvm_do(v->fd, KVM_GET_SREGS, &sregs);
	sregs.ss.base = HOLE_GPA;
	kvm_do(v->fd, KVM_SET_SREGS, &sregs);
	expect_exit(v, KVM_EXIT_INTERNAL_ERROR);
	ASSERT_EQ(KVM_INTERNAL_ERROR_DELIVERY_EV, v->run->internal.suberror);
	vm_free(vm);
}

TEST(fetch_from_mmio_is_internal_error)
{
	struct vm *vm = VM_BLOB(triple, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_regs regs;

	kvm_do(v->fd, KVM_GET_REGS, &regs);
	regs.rip = HOLE_GPA;
	kvm_do(v->fd, KVM_SET_REGS, &regs);
	expect_exit(v, KVM_EXIT_INTERNAL_ERROR);
	ASSERT_EQ(KVM_INTERNAL_ERROR_EMULATION, v->run->internal.suberror);
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	ASSERT_EQ(HOLE_GPA, regs.rip);
	vm_free(vm);
}

TEST(immediate_exit)
{
	struct vm *vm = VM_BLOB(io_sizes, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_regs regs;

	v->run->immediate_exit = 1;
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(-EINTR, vcpu_try_run(v));
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	ASSERT_EQ(BLOB_GPA, regs.rip);
	v->run->immediate_exit = 0;
	expect_out(v, 0x40, 1, 0x44);
	expect_out(v, 0x42, 2, 0x3344);
	expect_out(v, 0x3f8, 4, 0x11223344);
	expect_in(v, 0x60, 1);
	/* it finishes what the last exit left open, and goes no further */
	*(u8 *)run_io_data(v) = 0x5a;
	v->run->immediate_exit = 1;
	ASSERT_EQ(-EINTR, vcpu_try_run(v));
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	ASSERT_EQ(0x1122335a, regs.rax);
	v->run->immediate_exit = 0;
	expect_in(v, 0x3f8, 2);
}

static void guest_spin(u64 id)
{
	GUEST_SYNC(1, 0);
	for (;;)
		cpu_relax();
}

static volatile int signals;

static void count_signal(int sig)
{
	signals++;
}

static void catch_signal(int sig)
{
	struct sigaction sa = { .sa_handler = count_signal };

	sigaction(sig, &sa, NULL);
}

static void arm_alarm(void)
{
	struct itimerval soon = { .it_value.tv_usec = 30000 };

	catch_signal(SIGALRM);
	setitimer(ITIMER_REAL, &soon, NULL);
}

TEST(signal_ends_run)
{
	struct vm *vm = vm_long(1, guest_spin, 0);
	struct vcpu *v = vm->vcpus[0];

	expect_sync(v, 1);
	for (int i = 0; i < 3; i++) {
		arm_alarm();
		ASSERT_EQ(-EINTR, vcpu_try_run(v));
		ASSERT_EQ(i + 1, signals);
		ASSERT_EQ(KVM_EXIT_INTR, v->run->exit_reason);
	}
}

static void *kick_thread(void *arg)
{
	struct vcpu *v = arg;

	while (!v->stage) {
		usleep(1000);
		pthread_kill(v->thread, SIGUSR1);
	}
	return NULL;
}

TEST(signals_from_another_thread)
{
	struct vm *vm = vm_long(1, guest_spin, 0);
	struct vcpu *v = vm->vcpus[0];
	pthread_t kicker;

	catch_signal(SIGUSR1);
	expect_sync(v, 1);
	v->thread = pthread_self();
	pthread_create(&kicker, NULL, kick_thread, v);
	for (int i = 0; i < 50; i++)
		ASSERT_EQ(-EINTR, vcpu_try_run(v));
	v->stage = 1;
	pthread_join(kicker, NULL);
}

static int set_sigmask(struct vcpu *v, u32 len, const sigset_t *set)
{
	struct {
		struct kvm_signal_mask head;
		u8 bits[16];
	} mask = { .head.len = len };

	memcpy(mask.bits, set, 8);
	return kvm_try(v->fd, KVM_SET_SIGNAL_MASK, &mask);
}

TEST(signal_mask)
{
	struct vm *vm = vm_long(1, guest_spin, 0);
	struct vcpu *v = vm->vcpus[0];
	sigset_t blocked, none, pending;

	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	catch_signal(SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	ASSERT_EQ(-EINVAL, set_sigmask(v, 4, &none));
	ASSERT_EQ(-EINVAL, set_sigmask(v, 16, &none));
	ASSERT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_SIGNAL_MASK, 8));
	ASSERT_EQ(0, set_sigmask(v, 8, &none));
	expect_sync(v, 1);

	/* Pending, open only while KVM_RUN has its own mask: ends it, is not delivered. */
	raise(SIGUSR1);
	ASSERT_EQ(-EINTR, vcpu_try_run(v));
	ASSERT_EQ(-EINTR, vcpu_try_run(v));
	ASSERT_EQ(0, signals);
	sigpending(&pending);
	ASSERT_EQ(1, sigismember(&pending, SIGUSR1));

	/* With the mask gone the thread's own counts again: only the alarm ends the run. */
	ASSERT_EQ(0, kvm_try(v->fd, KVM_SET_SIGNAL_MASK, NULL));
	arm_alarm();
	ASSERT_EQ(-EINTR, vcpu_try_run(v));
	ASSERT_EQ(1, signals);
	sigprocmask(SIG_UNBLOCK, &blocked, NULL);
	ASSERT_EQ(2, signals);
}

static void *compete(void *arg)
{
	struct timespec used = {};
	struct vcpu *v = arg;

	/* Time of this thread: the other one has been taken off the CPU by then. */
	while (used.tv_nsec < 20 * 1000 * 1000)
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	pthread_kill(v->thread, SIGUSR1);
	return NULL;
}

/* A signal that is blocked but for KVM_RUN, and sent while the guest spins: it ends the run and stays. */
static void ten_runs_end_by_signal(struct vcpu *v)
{
	struct timespec now = {};
	sigset_t blocked, none;
	pthread_t other;

	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	CHECK(v, !set_sigmask(v, 8, &none), "KVM_SET_SIGNAL_MASK");
	expect_sync(v, 1);
	v->thread = pthread_self();
	for (int i = 0; i < 10; i++) {
		CHECK(v, !pthread_create(&other, NULL, compete, v), "pthread_create");
		CHECK(v, vcpu_try_run(v) == -EINTR, "run %d", i);
		CHECK(v, sigtimedwait(&blocked, NULL, &now) == SIGUSR1, "signal %d", i);
		pthread_join(other, NULL);
	}
}

/*
 * Work that waits for the thread on its way to user space (a preempted one has
 * some: rseq) is done there and back, whatever the signal mask was meanwhile.
 */
TEST(signal_mask_and_preemption)
{
	struct vm *vm = vm_long(1, guest_spin, 0);
	struct vcpu *v = vm->vcpus[0];
	cpu_set_t cpus, first;

	ASSERT_EQ(0, sched_getaffinity(0, sizeof(cpus), &cpus));
	CPU_ZERO(&first);
	for (int cpu = 0; !CPU_COUNT(&first); cpu++)
		if (CPU_ISSET(cpu, &cpus))
			CPU_SET(cpu, &first);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(first), &first));
	catch_signal(SIGUSR1);
	ten_runs_end_by_signal(v);
	ASSERT_EQ(0, signals);
}

/* The same with a signal that nobody catches: it must not end the process. */
TEST(signal_mask_and_a_fatal_signal)
{
	struct vm *vm = vm_long(1, guest_spin, 0);
	struct vcpu *v = vm->vcpus[0];
	sigset_t now;

	signal(SIGUSR1, SIG_DFL);
	ten_runs_end_by_signal(v);
	/* The thread's own mask is what it was. */
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, NULL, &now));
	ASSERT_EQ(1, sigismember(&now, SIGUSR1));
	ASSERT_EQ(0, sigismember(&now, SIGALRM));
}

static u64 irqs;

static void guest_irq(struct guest_regs *regs)
{
	irqs = irqs * 0x100 + regs->vector;
}

static void guest_window(u64 id)
{
	guest_handlers[0x31] = guest_irq;
	guest_handlers[0x32] = guest_irq;
	cli();
	GUEST_SYNC(1, 0);
	GUEST_SYNC(2, 0);
	sti();
	GUEST_ASSERT_EQ(irqs, 0x31);
	GUEST_SYNC(3, 0);
	GUEST_ASSERT_EQ(irqs, 0x3132);
	GUEST_DONE();
}

TEST(interrupt_window)
{
	struct vm *vm = vm_long(1, guest_window, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_interrupt irq = { .irq = 0x31 };

	expect_sync(v, 1);
	ASSERT_EQ(0, v->run->if_flag);
	ASSERT_EQ(0, v->run->ready_for_interrupt_injection);
	v->run->request_interrupt_window = 1;
	expect_sync(v, 2);		/* still cli */
	expect_exit(v, KVM_EXIT_IRQ_WINDOW_OPEN);
	ASSERT_EQ(1, v->run->if_flag);
	ASSERT_EQ(1, v->run->ready_for_interrupt_injection);
	v->run->request_interrupt_window = 0;
	ASSERT_EQ(0, kvm_try(v->fd, KVM_INTERRUPT, &irq));
	expect_sync(v, 3);
	ASSERT_EQ(0x31, G(vm, irqs));
	irq.irq = 0x32;
	ASSERT_EQ(0, kvm_try(v->fd, KVM_INTERRUPT, &irq));
	expect_done(v);
	irq.irq = 256;
	ASSERT_EQ(-EINVAL, kvm_try(v->fd, KVM_INTERRUPT, &irq));
	irq.irq = -1;
	ASSERT_EQ(-EINVAL, kvm_try(v->fd, KVM_INTERRUPT, &irq));
}

static void guest_takes_none(u64 id)
{
	guest_handlers[0x31] = guest_irq;
	sti();
	GUEST_SYNC(1, 0);
	GUEST_ASSERT_EQ(irqs, 0);
	GUEST_DONE();
}

/* All is prepared for an entry, which a signal then prevents. */
static void run_without_entry(struct vcpu *v)
{
	sigset_t blocked, none;

	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	CHECK(v, !set_sigmask(v, 8, &none), "KVM_SET_SIGNAL_MASK");
	raise(SIGUSR1);
	CHECK(v, vcpu_try_run(v) == -EINTR, "KVM_RUN");
	CHECK(v, sigwaitinfo(&blocked, NULL) == SIGUSR1, "sigwaitinfo");
}

/*
 * An interrupt went into the entry, and user space puts another state in place, as
 * QEMU's loadvm does: the interrupt is not part of that.
 */
TEST(interrupt_taken_back)
{
	struct vm *vm = vm_long(1, guest_takes_none, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_interrupt irq = { .irq = 0x31 };
	struct kvm_vcpu_events events;

	expect_sync(v, 1);
	ASSERT_EQ(0, kvm_try(v->fd, KVM_INTERRUPT, &irq));
	run_without_entry(v);
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &events);
	ASSERT_EQ(1, events.interrupt.injected);
	ASSERT_EQ(0x31, events.interrupt.nr);
	events.interrupt.injected = 0;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &events);
	expect_done(v);
}

/* An NMI that waits for the end of an interrupt shadow leaves no trace in the flags. */
TEST(nmi_window_taken_back)
{
	struct vm *vm = vm_long(1, guest_takes_none, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_vcpu_events events;
	struct kvm_regs before, after;

	expect_sync(v, 1);
	/* Through the OUT, and no further. */
	v->run->immediate_exit = 1;
	ASSERT_EQ(-EINTR, vcpu_try_run(v));
	v->run->immediate_exit = 0;
	kvm_do(v->fd, KVM_GET_REGS, &before);
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &events);
	events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	events.nmi.pending = 1;
	events.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &events);
	run_without_entry(v);
	kvm_do(v->fd, KVM_GET_REGS, &after);
	ASSERT_EQ(before.rip, after.rip);
	ASSERT_EQ(before.rflags, after.rflags);
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &events);
	ASSERT_EQ(1, events.nmi.pending);
	events.nmi.pending = 0;
	events.interrupt.shadow = 0;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &events);
	expect_done(v);
}

TEST(interrupt_refused_with_irqchip)
{
	struct vm *vm = vm_long(1, guest_window, VM_IRQCHIP);
	struct kvm_interrupt irq = { .irq = 0x31 };

	ASSERT_EQ(-ENXIO, kvm_try(vm->vcpus[0]->fd, KVM_INTERRUPT, &irq));
}

static void guest_cr8(u64 id)
{
	u64 cr8;

	asm volatile("mov %%cr8, %0" : "=r"(cr8));
	GUEST_ASSERT_EQ(cr8, 5);
	asm volatile("mov %0, %%cr8" : : "r"(9ull));
	GUEST_SYNC(1, 0);
	asm volatile("mov %0, %%cr8" : : "r"(2ull));
	GUEST_DONE();
}

TEST(cr8_without_irqchip)
{
	struct vm *vm = vm_long(1, guest_cr8, 0);
	struct vcpu *v = vm->vcpus[0];

	v->run->cr8 = 16;
	ASSERT_EQ(-EINVAL, vcpu_try_run(v));
	v->run->cr8 = 5;
	expect_sync(v, 1);
	ASSERT_EQ(9, v->run->cr8);
	ASSERT_EQ(0xfee00900, v->run->apic_base);
	/* only lowering it may open the way for something that user space holds back */
	expect_exit(v, KVM_EXIT_SET_TPR);
	ASSERT_EQ(2, v->run->cr8);
	expect_done(v);
}

TEST(run_takes_no_argument)
{
	struct vm *vm = VM_BLOB(hlt_twice, 0);

	ASSERT_EQ(-EINVAL, kvm_try(vm->vcpus[0]->fd, KVM_RUN, 1));
	expect_exit(vm->vcpus[0], KVM_EXIT_HLT);
}

TEST(waiting_ap_can_be_left)
{
	struct vm *vm = vm_long(1, guest_spin, VM_IRQCHIP);
	struct vcpu *ap = vcpu_new(vm, 1);

	ap->run->immediate_exit = 1;
	ASSERT_EQ(-EINTR, vcpu_try_run(ap));
	ap->run->immediate_exit = 0;
	arm_alarm();
	ASSERT_EQ(-EINTR, vcpu_try_run(ap));
	ASSERT_EQ(1, signals);
}

/* Fields that a hostile user space scribbles on while an exit is open. */
TEST(scribbled_kvm_run)
{
	struct vm *vm = VM_BLOB(strings, 0);
	struct vcpu *v = vm->vcpus[0];

	for (int i = 0; i < 100; i++) {
		u8 *p = (u8 *)v->run;

		if (vcpu_try_run(v) || v->run->exit_reason == KVM_EXIT_HLT)
			break;
		for (u32 j = 32; j < 1024; j++)	/* behind the run loop's own fields */
			p[j] = 0xff - j * i;
	}
	vm_free(vm);
	vm = VM_BLOB(hlt_twice, 0);
	expect_exit(vm->vcpus[0], KVM_EXIT_HLT);
}

TEST_HARNESS_MAIN
