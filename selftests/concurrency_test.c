// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once: threads that change a VM under its running vCPUs and close descriptors in
 * every order, processes that are killed at any moment, CPUs that go away, many VMs one after
 * another and together. Afterwards the guests have gone on, and the host has its memory back.
 */
#include "lib.h"
#include "harness.h"
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NR_VCPUS	2
#define MSI_ADDR	0xfee00000u
#define PAGE		0x1000ull
#define GPA		0x20000000ull
#define MEM_SIZE	(64 * PAGE)

struct rng {
	u64 state;
};

static u32 rnd(struct rng *r, u32 below)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return (r->state >> 20) % below;
}

static struct rng seeded(u64 n)
{
	return (struct rng) { (n + 1) * 0x9e3779b97f4a7c15 };
}

/* The guests: they count, take interrupts, and ring a doorbell now and then. */
static u64 counters[NR_VCPUS];
static u32 stop;

static void guest_nmi(struct guest_regs *regs)
{
}

static void guest_count(u64 id)
{
	guest_irq_setup(EOI_X2APIC);
	guest_wrmsr(MSR_X2APIC(APIC_LVT0), 0x10000);	/* nobody set up the 8259 */
	guest_handlers[NMI] = guest_nmi;
	sti();
	while (!READ_ONCE(stop)) {
		counters[id]++;
		if (counters[id] % 64 == 0)
			outw(0x4560, 1);
		cpu_relax();
	}
	cli();
	GUEST_DONE();
}

static void ignore(int sig)
{
}

/* SIGUSR1 ends a KVM_RUN and nothing else. */
static void catch_usr1(void)
{
	struct sigaction sa = { .sa_handler = ignore };

	sigaction(SIGUSR1, &sa, NULL);
}

/* A vCPU that runs until the guest is through; another thread may want the vCPU in between. */
static void *runner(void *arg)
{
	struct vcpu *v = arg;
	struct ucall uc;

	for (;;) {
		int ret = vcpu_try_run(v);

		if (ret == -EINTR || ret == -EAGAIN) {
			sched_yield();
			continue;
		}
		CHECK(v, !ret, "KVM_RUN: %s", strerror(-ret));
		if (vcpu_ucall(v, &uc) && uc.code == UCALL_DONE)
			return NULL;
		CHECK(v, v->run->exit_reason == KVM_EXIT_IO && v->run->io.port == 0x4560,
		      "an exit that nobody asked for");
	}
}

static void kick(struct vm *vm, struct rng *r)
{
	pthread_kill(vm->vcpus[rnd(r, NR_VCPUS)]->thread, SIGUSR1);
}

static void change_slot(struct vm *vm, struct rng *r, u8 *mem)
{
	u32 slot = 1 + rnd(r, 4);

	if (rnd(r, 2))
		vm_set_region(vm, slot, 0, 0, NULL, 0);
	else
		vm_set_region(vm, slot, GPA + PAGE * rnd(r, 64), PAGE * (1 + rnd(r, 32)), mem,
			      rnd(r, 2));
}

static void change_route(struct vm *vm, struct rng *r)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e[8];
	} k = { .head.nr = rnd(r, 8) };

	for (u32 i = 0; i < k.head.nr; i++)
		k.e[i] = (struct kvm_irq_routing_entry) {
			.gsi = 24 + i, .type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { MSI_ADDR | rnd(r, NR_VCPUS) << 12, 0, 0x40 + rnd(r, 16) },
		};
	kvm_try(vm->fd, KVM_SET_GSI_ROUTING, &k);
}

static void change_irqfd(struct vm *vm, struct rng *r, int *fds)
{
	u32 n = rnd(r, 4);
	struct kvm_irqfd k = { .fd = fds[n], .gsi = 24 + rnd(r, 8), .flags = rnd(r, 3),
			       .resamplefd = fds[rnd(r, 4)] };

	kvm_try(vm->fd, KVM_IRQFD, &k);
	eventfd_write(fds[n], 1);
	if (!rnd(r, 4)) {
		close(fds[n]);
		fds[n] = eventfd(0, EFD_NONBLOCK);
	}
}

static void change_doorbell(struct vm *vm, struct rng *r, int *fds)
{
	struct kvm_ioeventfd k = { .fd = fds[rnd(r, 4)], .addr = 0x4560, .len = 2 * rnd(r, 2),
				   .flags = KVM_IOEVENTFD_FLAG_PIO };

	if (rnd(r, 2))
		k.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	kvm_try(vm->fd, KVM_IOEVENTFD, &k);
}

/* Reads a vCPU's state and puts it back, between two of its KVM_RUNs. */
static void touch_vcpu(struct vm *vm, struct rng *r)
{
	struct vcpu *v = vm->vcpus[rnd(r, NR_VCPUS)];
	struct kvm_debugregs debug;
	struct kvm_sregs sregs;

	/* the vCPU's own thread may be faster: it is asked again as long as it takes */
	pthread_kill(v->thread, SIGUSR1);
	switch (rnd(r, 3)) {
	case 0:
		kvm_do(v->fd, KVM_GET_SREGS, &sregs);
		break;
	case 1:
		kvm_do(v->fd, KVM_GET_DEBUGREGS, &debug);
		kvm_do(v->fd, KVM_SET_DEBUGREGS, &debug);
		break;
	default:
		kvm_do(v->fd, KVM_NMI, 0);
	}
}

struct worker {
	pthread_t thread;
	struct vm *vm;
	struct rng rng;
	u8 *mem;
	int calls, fds[4];
	bool vcpus;		/* may wait for vCPUs */
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < w->calls; i++) {
		switch (rnd(&w->rng, 8)) {
		case 0:
			change_slot(w->vm, &w->rng, w->mem);
			break;
		case 1:
			change_route(w->vm, &w->rng);
			break;
		case 2:
		case 3:
			change_irqfd(w->vm, &w->rng, w->fds);
			break;
		case 4:
			change_doorbell(w->vm, &w->rng, w->fds);
			break;
		case 5:
			close(kvm_try(w->vm->fd, KVM_CREATE_VCPU, 8 + rnd(&w->rng, 32)));
			break;
		case 6:
			kick(w->vm, &w->rng);
			break;
		default:
			madvise(w->mem, MEM_SIZE, MADV_DONTNEED);
		}
	}
	return NULL;
}

/* Between runs its thread lets others have a vCPU, but the lock is not fair: kicks go on. */
static void *kicker(void *arg)
{
	struct worker *w = arg;

	while (!__atomic_load_n(&w->calls, __ATOMIC_SEQ_CST)) {
		kick(w->vm, &w->rng);
		usleep(500);
	}
	return NULL;
}

static void start_worker(struct worker *w, struct vm *vm, u64 seed, int calls)
{
	*w = (struct worker) { .vm = vm, .rng = seeded(seed), .calls = calls };
	w->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 4; i++)
		w->fds[i] = eventfd(0, EFD_NONBLOCK);
	CHECK(NULL, !pthread_create(&w->thread, NULL, work, w), "pthread_create");
}

static void end_worker(struct worker *w)
{
	pthread_join(w->thread, NULL);
	for (int i = 0; i < 4; i++)
		close(w->fds[i]);
	munmap(w->mem, MEM_SIZE);
}

static struct vm *counting_vm(void)
{
	struct vm *vm = vm_long(NR_VCPUS, guest_count, VM_IRQCHIP);

	catch_usr1();
	for (int i = 0; i < NR_VCPUS; i++)
		CHECK(NULL, !pthread_create(&vm->vcpus[i]->thread, NULL, runner, vm->vcpus[i]),
		      "pthread_create");
	return vm;
}

static void stop_guests(struct vm *vm)
{
	G(vm, stop) = 1;
	for (int i = 0; i < NR_VCPUS; i++)
		vcpu_join(vm->vcpus[i]);
}

TEST(everything_changes_under_running_vcpus)
{
	struct worker w[3], kicks = {};
	struct vm *vm = counting_vm();
	struct rng r = seeded(77);
	u64 counted[NR_VCPUS];

	WAIT_FOR(G(vm, counters[0]) && G(vm, counters[1]));
	for (int i = 0; i < 3; i++)
		start_worker(&w[i], vm, i, 400);
	kicks.vm = vm;
	kicks.rng = seeded(99);
	ASSERT_EQ(0, pthread_create(&kicks.thread, NULL, kicker, &kicks));
	for (int i = 0; i < 30; i++)
		touch_vcpu(vm, &r);
	for (int i = 0; i < 3; i++)
		end_worker(&w[i]);
	__atomic_store_n(&kicks.calls, 1, __ATOMIC_SEQ_CST);
	pthread_join(kicks.thread, NULL);
	/* and all the time the guests have counted, and still do */
	for (int i = 0; i < NR_VCPUS; i++) {
		counted[i] = G(vm, counters[i]);
		WAIT_FOR(G(vm, counters[i]) > counted[i]);
	}
	stop_guests(vm);
	vm_free(vm);
}

static u64 nmis;

static void guest_count_nmi(struct guest_regs *regs)
{
	nmis++;
}

static u64 guest_nmi_setup(u64 unused)
{
	guest_handlers[NMI] = guest_count_nmi;
	guest_irq_setup(EOI_X2APIC);
	return 0;
}

/* User space says that this interrupt is on its way into the guest; an NMI comes, too. */
static void both_at_once(struct vcpu *v)
{
	struct kvm_vcpu_events e;

	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	e.interrupt.injected = 1;
	e.interrupt.nr = 0x50;
	e.interrupt.soft = 0;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &e);
	kvm_do(v->fd, KVM_NMI, 0);
}

/* Where the NMI must wait for an interrupt on its way in, the guest sees both, and no step. */
TEST(nmi_behind_an_interrupt)
{
	struct vm *vm = vm_puppet(1, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];
	u32 irqs;

	puppet_call(v, guest_nmi_setup, 0);
	vcpu_open_interrupts(v);
	for (u32 i = 1; i <= 5; i++) {
		both_at_once(v);
		puppet_do(v, PUPPET_CPUID, 0, 0, 0);
		EXPECT_EQ(i, G(vm, nmis));
		irqs = G(vm, guest_irqs[0][0x50]);
		EXPECT_TRUE(irqs == i || (irqs > i && rl_host_repeats_irqs()));
	}
	vm_free(vm);
}

/*
 * An interrupt that the guest cannot take, its IF being clear, and an NMI behind it: no CPU
 * enters a guest so. Whether that is refused, delivered or put off, the host goes on.
 */
TEST(nmi_behind_an_interrupt_that_waits)
{
	struct vm *vm = vm_puppet(1, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];

	puppet_call(v, guest_nmi_setup, 0);
	both_at_once(v);
	puppet_set(v, PUPPET_CPUID, 0, 0, 0);
	vcpu_run(v);
	if (v->run->exit_reason != KVM_EXIT_FAIL_ENTRY) {
		EXPECT_TRUE(vcpu_ucall(v, &(struct ucall) {}));
		vcpu_open_interrupts(v);
		puppet_do(v, PUPPET_CPUID, 0, 0, 0);
		EXPECT_EQ(1, G(vm, nmis));
		EXPECT_LE(1, G(vm, guest_irqs[0][0x50]));
	}
	vm_free(vm);
}

/* The descriptors of a running VM go in any order; who is last takes the rest with it. */
TEST(closed_in_every_order)
{
	struct rng r = seeded(5);

	for (int round = 0; round < 24; round++) {
		struct vm *vm = counting_vm();
		int event = eventfd(0, EFD_NONBLOCK);
		struct kvm_irqfd irqfd = { .fd = event, .gsi = 3 };
		struct kvm_ioeventfd bell = { .fd = event, .addr = 0x4560,
					      .flags = KVM_IOEVENTFD_FLAG_PIO };
		int *fds[] = { &vm->fd, &vm->dev, &event, &vm->vcpus[0]->fd };

		kvm_do(vm->fd, KVM_IRQFD, &irqfd);
		kvm_do(vm->fd, KVM_IOEVENTFD, &bell);
		WAIT_FOR(G(vm, counters[0]) && G(vm, counters[1]));
		for (u32 left = ARRAY_SIZE(fds); left; left--) {
			u32 n = rnd(&r, left);
			int fd = *fds[n];

			/* a vCPU's thread has it in its hands: it ends before the number does */
			if (fds[n] == &vm->vcpus[0]->fd)
				stop_guests(vm);
			close(fd);
			*fds[n] = -1;
			fds[n] = fds[left - 1];
			kick(vm, &r);
		}
		vm_free(vm);
	}
}

static void run_and_never_end(struct rng *r)
{
	struct worker w[2];
	struct vm *vm = counting_vm();

	for (int i = 0; i < 2; i++)
		start_worker(&w[i], vm, rnd(r, 1000), 100000000);
	if (rnd(r, 2)) {
		/* what a fork and an exec inherit is of no use to them and ends with them */
		pid_t pid = fork();

		if (!pid) {
			if (kvm_try(vm->fd, KVM_CREATE_VCPU, 60) != -EIO ||
			    kvm_try(vm->vcpus[0]->fd, KVM_RUN, 0) != -EIO)
				_exit(1);
			fcntl(vm->vcpus[0]->fd, F_SETFD, 0);
			execl("/bin/true", "true", NULL);
			_exit(0);
		}
	}
	for (;;)
		pause();
}

/*
 * A process becomes another program while its guests run: their threads and their memory end in
 * the middle of KVM_RUN. The other program, this one again, finds descriptors that it cannot use.
 */
static __attribute__((constructor)) void after_exec(void)
{
	const char *fds = getenv("AFTER_EXEC");
	int vm, vcpu;

	if (!fds || sscanf(fds, "%d %d", &vm, &vcpu) != 2)
		return;
	if (kvm_try(vm, KVM_CREATE_VCPU, 60) != -EIO || kvm_try(vcpu, KVM_RUN, 0) != -EIO)
		_exit(1);
	close(vm);
	_exit(kvm_try(vcpu, KVM_RUN, 0) != -EIO);
}

static void run_and_exec(bool keep)
{
	struct vm *vm = counting_vm();
	char fds[40];

	WAIT_FOR(G(vm, counters[0]) && G(vm, counters[1]));
	snprintf(fds, sizeof(fds), "%d %d", vm->fd, vm->vcpus[0]->fd);
	if (!keep) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	fcntl(vm->fd, F_SETFD, 0);
	fcntl(vm->vcpus[0]->fd, F_SETFD, 0);
	setenv("AFTER_EXEC", fds, 1);
	execl("/proc/self/exe", "after_exec", NULL);
	_exit(1);
}

TEST(exec_under_running_vcpus)
{
	for (int round = 0; round < 6; round++) {
		int status;
		pid_t pid;

		fflush(stdout);
		pid = fork();
		if (!pid)
			run_and_exec(round & 1);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
	}
}

static u64 meminfo(const char *key)
{
	char line[100], name[40];
	unsigned long long n, kib = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%39[^:]: %llu", name, &n) == 2 && !strcmp(name, key))
			kib = n;
	if (f)
		fclose(f);
	return kib;
}

/* In KiB, without what can be dropped. */
static u64 free_memory(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	if (fd >= 0 && write(fd, "3", 1) != 1)
		fd = -1;
	close(fd);
	return meminfo("MemAvailable");
}

/* Once nothing comes back any more: what was killed ends when it gets to it. */
static u64 settled_memory(void)
{
	u64 now, most = free_memory();

	for (int same = 0; same < 5; same++) {
		usleep(20000);
		now = free_memory();
		if (now > most) {
			most = now;
			same = 0;
		}
	}
	return most;
}

/*
 * Objects in the slabs that a module allocates from, its own ones among them. Not the smallest:
 * hundreds of these come and go by the page.
 */
static long slab_objects(void)
{
	long n, size, all = 0;
	char line[300], name[80], path[120];
	FILE *f = fopen("/proc/slabinfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if ((!strncmp(line, "kmalloc-", 8) || !strncmp(line, "ringlet", 7)) &&
		    sscanf(line, "%79s %ld %*d %ld", name, &n, &size) == 3 && size >= 64) {
			int fd;

			/* what a CPU keeps in hand is counted as if it were in use: for next time */
			snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", name);
			fd = open(path, O_WRONLY);
			if (fd >= 0 && write(fd, "1", 1) != 1)
				printf("# %s: %s\n", path, strerror(errno));
			close(fd);
			all += n;
		}
	if (f)
		fclose(f);
	return all;
}

/*
 * Nothing has leaked when one of several equal rounds left the host's memory as it was, and all
 * of them together less than an object for every second of their @vms VMs: the count is not
 * exact. Where freed memory comes back late (KASAN), kmemleak says what is lost.
 */
#define ROUNDS		5
#define NOISE_KIB	512

static bool leaks(int vms, void (*round)(void *arg), void *arg)
{
	long first, last;
	bool lost = true;
	u64 kib[2];

	round(arg);
	kib[1] = settled_memory();
	slab_objects();
	first = slab_objects();
	for (int i = 0; i < ROUNDS; i++) {
		kib[0] = kib[1];
		round(arg);
		kib[1] = settled_memory();
		lost &= kib[1] + NOISE_KIB < kib[0];
	}
	slab_objects();
	last = slab_objects();
	lost |= last >= first + ROUNDS * vms / 2;
	printf("# the last round took %ld KiB, all of them %ld objects\n",
	       (long)(kib[0] - kib[1]), last - first);
	fflush(stdout);
	return lost && access("/sys/kernel/debug/kmemleak", F_OK);
}

static void live_and_die(void *arg)
{
	struct rng *r = arg;

	for (int i = 0; i < 10; i++) {
		pid_t pid;
		int status;

		fflush(stdout);
		pid = fork();
		if (!pid)
			run_and_never_end(r);
		usleep(rnd(r, 60000));
		kill(pid, SIGKILL);
		CHECK(NULL, waitpid(pid, &status, 0) == pid && WIFSIGNALED(status),
		      "the child ended by itself, status %#x", status);
		rnd(r, 2);	/* the child's numbers are a copy of these: other ones next time */
	}
}

TEST(killed_at_any_moment)
{
	struct rng r = seeded(3);

	EXPECT_FALSE(leaks(100, live_and_die, &r));
}

static bool set_online(int cpu, bool on)
{
	char path[80];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	fd = open(path, O_WRONLY);
	ok = fd >= 0 && write(fd, on ? "1" : "0", 1) == 1;
	close(fd);
	return ok;
}

TEST(cpus_come_and_go)
{
	u64 counted[NR_VCPUS];
	struct vm *vm;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2 || !set_online(1, true))
		SKIP(return, "no second CPU that can be taken away");
	vm = counting_vm();
	for (int round = 0; round < 10; round++) {
		struct vm *other;

		ASSERT_TRUE(set_online(1, round & 1));
		for (int i = 0; i < NR_VCPUS; i++) {
			counted[i] = G(vm, counters[i]);
			WAIT_FOR(G(vm, counters[i]) > counted[i]);
		}
		/* virtualization is on where it must be: a VM more, a VM less */
		other = vm_long(1, guest_puppet, 0);
		expect_sync(other->vcpus[0], PUPPET_STAGE);
		vm_free(other);
	}
	stop_guests(vm);
	vm_free(vm);
	/* the last VM ends while a CPU is away, the next begins, the CPU comes back */
	ASSERT_TRUE(set_online(1, false));
	vm = counting_vm();
	ASSERT_TRUE(set_online(1, true));
	WAIT_FOR(G(vm, counters[0]) && G(vm, counters[1]));
	stop_guests(vm);
	vm_free(vm);
}

GUEST16(hello, "mov $0x5a, %al; out %al, $0x10; hlt\n");

static struct vm *hello_vm(int i)
{
	struct vm *vm = VM_BLOB(hello, i & 1 ? VM_IRQCHIP : 0);

	expect_out(vm->vcpus[0], 0x10, 1, 0x5a);
	return vm;
}

/* Bochs takes seconds for a hundred. */
static u32 many(u32 vms)
{
	return rl_host_is_bochs() ? vms / 4 : vms;
}

static void one_by_one(void *unused)
{
	for (u32 i = 0; i < many(200); i++)
		vm_free(hello_vm(i));
}

TEST(thousand_vms_in_a_row)
{
	EXPECT_FALSE(leaks(many(200), one_by_one, NULL));
}

static void all_at_once(void *arg)
{
	static struct vm *vms[128];
	struct rng *r = arg;

	for (u32 i = 0; i < many(ARRAY_SIZE(vms)); i++)
		vms[i] = hello_vm(i);
	for (u32 left = many(ARRAY_SIZE(vms)); left; left--) {
		u32 n = rnd(r, left);

		vm_free(vms[n]);
		vms[n] = vms[left - 1];
	}
}

TEST(many_vms_at_once)
{
	struct rng r = seeded(9);

	EXPECT_FALSE(leaks(many(128), all_at_once, &r));
}

TEST_HARNESS_MAIN
