// SPDX-License-Identifier: GPL-2.0
/*
 * vCPUs as threads: more of them than CPUs, moved from one CPU to another, and
 * nothing of a guest left behind for the next one or for the host.
 */
#include "lib.h"
#include "harness.h"
#include <asm/prctl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/syscall.h>
#include <ucontext.h>

static u32 stop;
static u64 counters[MAX_VCPUS];

static void guest_count(u64 id)
{
	while (counters[id] < 20000)
		WRITE_ONCE(counters[id], counters[id] + 1);
	GUEST_DONE();
}

TEST(sixty_four_vcpus)
{
	struct vm *vm = vm_long(64, guest_count, VM_IRQCHIP);

	vm_run_all(vm);
	for (int i = 0; i < 64; i++)
		ASSERT_EQ(20000, G(vm, counters[i]));
	vm_free(vm);
}

static void guest_count_until_stop(u64 id)
{
	while (!READ_ONCE(stop))
		WRITE_ONCE(counters[id], counters[id] + 1);
	GUEST_DONE();
}

/* Nobody starves: all go on while all compete. */
TEST(all_make_progress)
{
	struct vm *vm = vm_long(8, guest_count_until_stop, VM_IRQCHIP);

	for (int i = 0; i < 8; i++)
		vcpu_start(vm->vcpus[i]);
	for (int round = 0; round < 3; round++) {
		u64 before[8];

		for (int i = 0; i < 8; i++)
			before[i] = G(vm, counters[i]);
		for (int i = 0; i < 8; i++)
			WAIT_FOR(G(vm, counters[i]) > before[i]);
	}
	G(vm, stop) = 1;
	for (int i = 0; i < 8; i++)
		vcpu_join(vm->vcpus[i]);
	vm_free(vm);
}

static int nr_cpus(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN);
}

static void pin(pthread_t thread, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_setaffinity_np(thread, sizeof(set), &set);
}

/* State that no exit saves by itself: registers of the FPU, bases, debug registers. */
static void guest_guard_state(u64 id)
{
	u64 pattern = 0x1111111111111111 * (id + 1), val, tsc = 0, now;

	guest_wrmsr(MSR_KERNEL_GS, 0x1000 * (id + 1));
	guest_wrmsr(MSR_LSTAR, 0x2000 * (id + 1));
	asm volatile("mov %0, %%db0; mov %1, %%db3" : : "r"(pattern >> 20), "r"(pattern >> 30));
	asm volatile("movq %0, %%xmm0; movq %0, %%xmm7; movq %0, %%xmm15" : : "r"(pattern));
	asm volatile("fninit; fildq %0" : : "m"(pattern));
	GUEST_SYNC(1, 0);
	while (!READ_ONCE(stop)) {
		asm volatile("movq %%xmm0, %0" : "=r"(val));
		GUEST_ASSERT_EQ(val, pattern);
		asm volatile("movq %%xmm7, %0" : "=r"(val));
		GUEST_ASSERT_EQ(val, pattern);
		asm volatile("movq %%xmm15, %0" : "=r"(val));
		GUEST_ASSERT_EQ(val, pattern);
		asm volatile("fld %%st(0); fistpq %0" : "=m"(val));
		GUEST_ASSERT_EQ(val, pattern);
		asm volatile("mov %%db0, %0" : "=r"(val));
		GUEST_ASSERT_EQ(val, pattern >> 20);
		asm volatile("mov %%db3, %0" : "=r"(val));
		GUEST_ASSERT_EQ(val, pattern >> 30);
		GUEST_ASSERT_EQ(guest_rdmsr(MSR_KERNEL_GS), 0x1000 * (id + 1));
		GUEST_ASSERT_EQ(guest_rdmsr(MSR_LSTAR), 0x2000 * (id + 1));
		now = rdtsc();
		GUEST_ASSERT(now >= tsc);
		tsc = now;
		WRITE_ONCE(counters[id], counters[id] + 1);
	}
	GUEST_DONE();
}

static void guard(int vcpus, bool move)
{
	struct vm *vm = vm_long(vcpus, guest_guard_state, VM_IRQCHIP);

	for (int i = 0; i < vcpus; i++) {
		vcpu_start(vm->vcpus[i]);
		pin(vm->vcpus[i]->thread, 0);
	}
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < vcpus; i++) {
			u64 before = G(vm, counters[i]);

			if (move)
				pin(vm->vcpus[i]->thread, (round + i) % nr_cpus());
			WAIT_FOR(G(vm, counters[i]) > before);
		}
	}
	G(vm, stop) = 1;
	for (int i = 0; i < vcpus; i++)
		vcpu_join(vm->vcpus[i]);
	vm_free(vm);
}

TEST(several_on_one_cpu)
{
	guard(3, false);
}

TEST(moved_between_cpus)
{
	if (nr_cpus() < 2)
		SKIP(return, "one CPU");
	guard(2, true);
}

/* What KVM_RUN may not change for the thread that calls it. */
struct host_state {
	u64 xmm[4], st, xcr0, fs, tsc_aux;
	u16 ds, es, ss;
};

static u64 xgetbv(void)
{
	u32 out[4], lo, hi;

	guest_cpuid(1, 0, out);
	if (!(out[2] & 1 << 27))
		return 0;
	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return lo | (u64)hi << 32;
}

static u64 tsc_aux(void)
{
	u32 out[4], lo, hi, aux;

	guest_cpuid(0x80000001, 0, out);
	if (!(out[3] & 1 << 27))
		return 0;
	asm volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
	return aux;
}

/* The ioctl in between is a bare system call, so that no C code touches the registers. */
static long run_between(struct vcpu *v, u64 pattern, struct host_state *s)
{
	long ret = SYS_ioctl;

	asm volatile("movq %[p], %%xmm0; movq %[p], %%xmm5; movq %[p], %%xmm8; movq %[p], %%xmm15\n"
		     "push %[p]; fninit; fildq (%%rsp); pop %%r11\n"
		     "xor %%edx, %%edx\n"
		     "syscall\n"
		     "movq %%xmm0, 0(%[s]); movq %%xmm5, 8(%[s]); movq %%xmm8, 16(%[s])\n"
		     "movq %%xmm15, 24(%[s]); fistpq 32(%[s])\n"
		     : "+a"(ret)
		     : "D"((long)v->fd), "S"((long)KVM_RUN), [p] "r"(pattern), [s] "r"(s)
		     : "rcx", "rdx", "r11", "memory");
	asm volatile("mov %%ds, %0; mov %%es, %1; mov %%ss, %2" : "=r"(s->ds), "=r"(s->es),
		     "=r"(s->ss));
	asm volatile("mov %%fs:0, %0" : "=r"(s->fs));
	s->xcr0 = xgetbv();
	s->tsc_aux = tsc_aux();
	return ret;
}

static void guest_spoil(u64 id)
{
	for (u64 i = 1;; i++) {
		asm volatile("movq %0, %%xmm0; movq %0, %%xmm5; movq %0, %%xmm8; movq %0, %%xmm15"
			     : : "r"(i));
		asm volatile("fninit; fldpi; fldpi");
		asm volatile("mov %w0, %%ds; mov %w0, %%es; mov %w0, %%fs; mov %w0, %%gs"
			     : : "r"(SEL_UDATA));
		guest_wrmsr(MSR_FS_BASE, 0xdead000);
		guest_wrmsr(MSR_GS_BASE, 0xdead000);
		guest_wrmsr(MSR_KERNEL_GS, 0xdead000);
		guest_wrmsr(MSR_LSTAR, 0xdead000);
		guest_wrmsr(MSR_STAR, 0xdead000);
		guest_wrmsr(MSR_SFMASK, 0);
		guest_wrmsr_safe(MSR_TSC_AUX, 0xdead);
		asm volatile("mov %0, %%db0; mov %0, %%db1" : : "r"(0x1234567ull));
		asm volatile("mov %0, %%db7" : : "r"(0x400ull));
		outb(0x80, i);
	}
}

TEST(thread_keeps_its_own_state)
{
	struct vm *vm = vm_long(1, guest_spoil, 0);
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = 1 };
	struct host_state before = {}, after;
	struct vcpu *v = vm->vcpus[0];

	pin(pthread_self(), 0);
	if (rl_cap(KVM_CAP_XCRS))
		kvm_try(v->fd, KVM_SET_XCRS, &xcrs);
	asm volatile("mov %%ds, %0; mov %%es, %1; mov %%ss, %2" : "=r"(before.ds),
		     "=r"(before.es), "=r"(before.ss));
	asm volatile("mov %%fs:0, %0" : "=r"(before.fs));
	before.xcr0 = xgetbv();
	before.tsc_aux = tsc_aux();
	for (u64 i = 1; i < 200; i++) {
		u64 pattern = 0x1234567812345678 + i;

		ASSERT_EQ(0, run_between(v, pattern, &after));
		ASSERT_EQ(KVM_EXIT_IO, v->run->exit_reason);
		for (int x = 0; x < 4; x++)
			ASSERT_EQ(pattern, after.xmm[x]);
		ASSERT_EQ(pattern, after.st);
		ASSERT_EQ(before.ds, after.ds);
		ASSERT_EQ(before.es, after.es);
		ASSERT_EQ(before.ss, after.ss);
		ASSERT_EQ(before.fs, after.fs);
		ASSERT_EQ(before.xcr0, after.xcr0);
		ASSERT_EQ(before.tsc_aux, after.tsc_aux);
	}
	vm_free(vm);
}

/* User space may set TSC_AUX before CPUID says that there is RDTSCP; the CPU's is getcpu()'s. */
TEST(cpu_keeps_its_tsc_aux)
{
	struct vm *vm = vm_new(0);
	struct vcpu v = { .vm = vm };
	u64 before;

	if (nr_cpus() < 2)
		SKIP(return, "one CPU");
	pin(pthread_self(), 1);
	before = tsc_aux();
	v.fd = kvm_do(vm->fd, KVM_CREATE_VCPU, 0);
	vcpu_try_set_msr(&v, MSR_TSC_AUX, 0x5555);
	EXPECT_EQ(before, tsc_aux());
	close(v.fd);
	vm_free(vm);
}

static bool ldt_has(u16 sel)
{
	u32 rights = sel;
	bool ok;

	asm volatile("lar %1, %1; setz %0" : "=q"(ok), "+r"(rights));
	return ok;
}

static bool set_ldt(u32 entry, u32 base)
{
	struct { u32 entry, base, limit, flags; } desc = { entry, base, 0xfffff, 0x51 };

	return !syscall(SYS_modify_ldt, 0x11, &desc, sizeof(desc));
}

/*
 * Another thread gives the process a longer LDT, which the kernel puts elsewhere, while
 * a guest runs. The CPU has the new one behind KVM_RUN.
 */
struct ldt_run {
	struct vcpu *v;
	u16 sel;
	bool found;
};

static void *run_and_look(void *arg)
{
	struct ldt_run *run = arg;
	struct ucall uc;

	pin(pthread_self(), 1);
	do
		CHECK(run->v, !vcpu_try_run(run->v), "KVM_RUN");
	while (!vcpu_ucall(run->v, &uc) || uc.code != UCALL_DONE);
	run->found = ldt_has(run->sel);
	return NULL;
}

TEST(cpu_keeps_its_ldt)
{
	static const u32 entries[] = { 1000, 5000 };
	pthread_t thread;

	if (nr_cpus() < 2)
		SKIP(return, "one CPU");
	if (rl_host_is_amd() && strcmp(rl_dev_path(), "/dev/ringlet"))
		SKIP(return, "Linux 6.1's kvm_amd loads the LDT that was there before");
	if (!set_ldt(0, 0))
		SKIP(return, "no modify_ldt()");
	pin(pthread_self(), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(entries); i++) {
		struct vm *vm = vm_long(1, guest_count_until_stop, 0);
		struct ldt_run run = { vm->vcpus[0], entries[i] << 3 | 7 };

		ASSERT_EQ(0, pthread_create(&thread, NULL, run_and_look, &run));
		WAIT_FOR(G(vm, counters[0]));
		EXPECT_TRUE(set_ldt(entries[i], 0));
		G(vm, stop) = 1;
		pthread_join(thread, NULL);
		EXPECT_TRUE(run.found);
		vm_free(vm);
	}
}

/* What only some processes have: data segments, of an LDT even, and permission to use ports. */
struct segments {
	long ret;
	u64 fs_word, gs_word;		/* the first of each segment */
	u16 ds, es, fs, gs;
};

static void guest_spoil_slowly(u64 id)
{
	for (;;) {
		asm volatile("mov %w0, %%ds; mov %w0, %%es; mov %w0, %%fs; mov %w0, %%gs"
			     : : "r"(SEL_UDATA));
		for (int i = 0; i < 5000; i++)
			cpu_relax();
		outb(0x80, 0);
	}
}

/* FS is where C has its thread's data: nothing but system calls until that is back. */
static void run_in_segments(struct vcpu *v, u16 sel, struct segments *s)
{
	unsigned long fs_base, nr = SYS_ioctl, fd = v->fd, cmd = KVM_RUN;

	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_base);
	asm volatile("mov %w[sel], %%ds; mov %w[sel], %%es\n"
		     "mov %w[sel], %%fs; mov %w[sel], %%gs\n"
		     "syscall\n"
		     "mov %%rax, %c[ret](%[s])\n"
		     "mov %%ds, %c[ds](%[s]); mov %%es, %c[es](%[s])\n"
		     "mov %%fs, %c[fs](%[s]); mov %%gs, %c[gs](%[s])\n"
		     "test $4, %[sel]; jz 1f\n"
		     "mov %%fs:0, %%rax; mov %%rax, %c[fs_word](%[s])\n"
		     "mov %%gs:0, %%rax; mov %%rax, %c[gs_word](%[s])\n"
		     "1: xor %%eax, %%eax\n"
		     "mov %%eax, %%ds; mov %%eax, %%es; mov %%eax, %%fs; mov %%eax, %%gs\n"
		     "mov %[prctl], %%eax; mov %[set_fs], %%edi; mov %[base], %%rsi; syscall\n"
		     : "+a"(nr), "+D"(fd), "+S"(cmd)
		     : "d"(0l), [s] "b"(s), [sel] "r"((u64)sel), [base] "r"(fs_base),
		       [prctl] "i"(SYS_arch_prctl), [set_fs] "i"(ARCH_SET_FS),
		       [ret] "i"(offsetof(struct segments, ret)),
		       [ds] "i"(offsetof(struct segments, ds)),
		       [es] "i"(offsetof(struct segments, es)),
		       [fs] "i"(offsetof(struct segments, fs)),
		       [gs] "i"(offsetof(struct segments, gs)),
		       [fs_word] "i"(offsetof(struct segments, fs_word)),
		       [gs_word] "i"(offsetof(struct segments, gs_word))
		     : "rcx", "r11", "memory", "cc");
}

static volatile bool refused;

static void port_refused(int sig, siginfo_t *info, void *ctx)
{
	refused = true;
	((ucontext_t *)ctx)->uc_mcontext.gregs[REG_RIP]++;	/* of OUT */
}

static bool may_write(u16 port)
{
	refused = false;
	asm volatile("outb %%al, %%dx" : : "a"(0), "d"(port));
	return !refused;
}

#define USER_DS		0x2b

struct special {
	struct vcpu *v;
	u32 nr;
	u16 sel;
	u64 *word;
	bool ports;
};

static void *run_special(void *arg)
{
	static const u16 port[] = { 0x80, 0xed };
	struct special *p = arg;
	struct segments s;
	u16 sel = p->sel;

	pin(pthread_self(), 0);
	p->ports = !syscall(SYS_ioperm, port[p->nr], 1, 1);
	for (int i = 0; i < 40; i++) {
		run_in_segments(p->v, sel, &s);
		CHECK(p->v, !s.ret && p->v->run->exit_reason == KVM_EXIT_IO, "KVM_RUN: %ld", s.ret);
		CHECK(p->v, s.ds == sel && s.es == sel && s.fs == sel && s.gs == sel,
		      "selectors are %#x %#x %#x %#x", s.ds, s.es, s.fs, s.gs);
		CHECK(p->v, !(sel & 4) || (s.fs_word == *p->word && s.gs_word == *p->word),
		      "segments are elsewhere: %#lx %#lx", (long)s.fs_word, (long)s.gs_word);
		if (p->ports && p->nr == 0) {
			CHECK(p->v, may_write(port[0]), "the port that it may use");
			CHECK(p->v, !may_write(port[1]), "the other thread's port");
		}
		sched_yield();
	}
	return NULL;
}

TEST(thread_keeps_its_segments_and_ports)
{
	struct sigaction sa = { .sa_sigaction = port_refused, .sa_flags = SA_SIGINFO };
	struct vm *vm = vm_long(2, guest_spoil_slowly, 0);
	struct special p[2] = {};
	bool ldt = !rl_host_is_tcg();	/* which dies of it, with kvm.ko just so */

	sigaction(SIGSEGV, &sa, NULL);
	for (u32 i = 0; i < 2; i++) {
		p[i] = (struct special) { vm->vcpus[i], i };
		p[i].word = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
		ASSERT_NE(MAP_FAILED, (void *)p[i].word);
		*p[i].word = 0x5e9 + i;
		/* Without an LDT what 32-bit processes have; its base is 0. */
		p[i].sel = ldt && set_ldt(i, (u64)p[i].word) ? i << 3 | 7 : USER_DS;
	}
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&p[i].v->thread, NULL, run_special, &p[i]));
	for (int i = 0; i < 2; i++)
		pthread_join(p[i].v->thread, NULL);
	if (!p[0].ports)
		TH_LOG("no ioperm(): ports not looked at");
	vm_free(vm);
}

/* A debugger's breakpoint on the thread survives guests, those that have their own included. */
TEST(thread_keeps_its_breakpoints)
{
	static volatile u64 watched;
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .size = sizeof(attr), .bp_type = HW_BREAKPOINT_W,
		.bp_addr = (u64)&watched, .bp_len = HW_BREAKPOINT_LEN_8, .exclude_kernel = 1,
		.exclude_hv = 1, .sample_period = 1,
	};
	struct vm *vm = vm_long(1, guest_spoil_slowly, 0);
	int fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	u64 hits;

	if (fd < 0)
		SKIP(return, "no hardware breakpoints");
	for (u64 i = 1; i < 20; i++) {
		if (i == 10)
			vcpu_long(vm->vcpus[0], guest_spoil, 0);
		expect_exit(vm->vcpus[0], KVM_EXIT_IO);
		watched = i;
		ASSERT_EQ(8, read(fd, &hits, 8));
		ASSERT_EQ(i, hits);
	}
	vm_free(vm);
}

/* Two VMs of one process, taking turns in one thread. */
TEST(two_vms_in_one_thread)
{
	struct vm *vm[2] = { vm_puppet(1, 0), vm_puppet(1, VM_IRQCHIP) };

	for (u64 i = 0; i < 50; i++) {
		for (int n = 0; n < 2; n++) {
			puppet_write(vm[n]->vcpus[0], FREE_GPA, i * 2 + n);
			puppet_wrmsr(vm[n]->vcpus[0], MSR_STAR, i * 2 + n);
		}
		for (int n = 0; n < 2; n++) {
			ASSERT_EQ(i * 2 + n, puppet_read(vm[n]->vcpus[0], FREE_GPA));
			ASSERT_EQ(i * 2 + n, puppet_rdmsr(vm[n]->vcpus[0], MSR_STAR));
		}
	}
}

static bool set_online(int cpu, bool online)
{
	char path[100];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/online", cpu);
	f = fopen(path, "w");
	if (!f)
		return false;
	ok = fprintf(f, "%d\n", online) > 0;
	return !fclose(f) && ok;
}

/* CPUs that go and come: vCPUs move away, and find virtualization on where they come back. */
TEST(cpu_hotplug)
{
	struct vm *vm;

	if (nr_cpus() < 2 || !set_online(1, true))
		SKIP(return, "no second CPU that can be taken off");
	vm = vm_long(2, guest_guard_state, VM_IRQCHIP);
	for (int i = 0; i < 2; i++)
		vcpu_start(vm->vcpus[i]);
	for (int round = 0; round < 3; round++) {
		struct vm *second;
		u64 before;

		CHECK(NULL, set_online(1, false), "offline");
		for (int i = 0; i < 2; i++) {
			before = G(vm, counters[i]);
			WAIT_FOR(G(vm, counters[i]) > before);
		}
		second = vm_puppet(1, 0);		/* made while the CPU is away */
		CHECK(NULL, set_online(1, true), "online");
		pin(vm->vcpus[1]->thread, 1);
		before = G(vm, counters[1]);
		WAIT_FOR(G(vm, counters[1]) > before);
		pin(pthread_self(), 1);
		puppet_write(second->vcpus[0], FREE_GPA, round);
		pin(pthread_self(), 0);
		puppet_write(second->vcpus[0], FREE_GPA, round);
		vm_free(second);
	}
	G(vm, stop) = 1;
	for (int i = 0; i < 2; i++)
		vcpu_join(vm->vcpus[i]);
	vm_free(vm);
}

TEST_HARNESS_MAIN
