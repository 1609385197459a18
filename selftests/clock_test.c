// SPDX-License-Identifier: GPL-2.0
/* Time: the VM's clock, kvmclock pages, wall clock, steal time, the TSC's frequency. */
#include "lib.h"
#include "harness.h"
#include <linux/kvm_para.h>
#include <time.h>

#define MSR_WALL_CLOCK		0x4b564d00
#define MSR_SYSTEM_TIME		0x4b564d01
#define MSR_WALL_CLOCK_OLD	0x11
#define MSR_SYSTEM_TIME_OLD	0x12
#define SECOND			1000000000ull

/* Documentation/virt/kvm/x86/msr.rst */
struct pvclock {
	u32 version, pad0;
	u64 tsc_timestamp, system_time;
	u32 tsc_to_system_mul;
	signed char tsc_shift;
	u8 flags, pad[2];
} __packed;

struct wall_clock {
	u32 version, sec, nsec;
} __packed;

FIXTURE(clock) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(clock)
{
	self->vm = vm_puppet(2, VM_IRQCHIP);
	self->v = self->vm->vcpus[0];
}

FIXTURE_TEARDOWN(clock)
{
	vm_free(self->vm);
}

static u64 get_clock(struct vm *vm)
{
	struct kvm_clock_data data = {};

	kvm_do(vm->fd, KVM_GET_CLOCK, &data);
	return data.clock;
}

static volatile struct pvclock pages[2] __aligned(64);

/* Nanoseconds, as a guest reads them from its page. */
static u64 guest_clock(u64 id)
{
	volatile struct pvclock *p = &pages[id];
	u64 delta, ns;
	u32 version;

	do {
		version = p->version & ~1u;
		delta = rdtsc() - p->tsc_timestamp;
		delta = p->tsc_shift < 0 ? delta >> -p->tsc_shift : delta << p->tsc_shift;
		asm("mulq %2; shrd $32, %%rdx, %0" : "+a"(delta) : "d"(0),
		    "r"((u64)p->tsc_to_system_mul) : "cc");
		ns = p->system_time + delta;
	} while (version != p->version);
	return ns;
}

static u64 guest_clock_backwards(u64 rounds)
{
	u64 last = guest_clock(0), now;

	while (rounds--) {
		now = guest_clock(0);
		if (now < last)
			return last - now;
		last = now;
	}
	return 0;
}

TEST_F(clock, vm_clock)
{
	struct kvm_clock_data data = {};
	u64 a = get_clock(self->vm), b = get_clock(self->vm);

	EXPECT_LE(a, b);
	data.clock = 1000 * SECOND;
	EXPECT_EQ(0, kvm_try(self->vm->fd, KVM_SET_CLOCK, &data));
	a = get_clock(self->vm);
	EXPECT_GE(a, 1000 * SECOND);
	EXPECT_LT(a, 2000 * SECOND);
	data.clock = 5;
	EXPECT_EQ(0, kvm_try(self->vm->fd, KVM_SET_CLOCK, &data));
	EXPECT_LT(get_clock(self->vm), 1000 * SECOND);
	data.flags = 1u << 31;
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_SET_CLOCK, &data));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_SET_CLOCK, 8));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_GET_CLOCK, 8));
}

TEST_F(clock, kvmclock_page)
{
	static const u32 msrs[] = { MSR_SYSTEM_TIME, MSR_SYSTEM_TIME_OLD };
	const u64 slack = SECOND / 10;	/* conversion, never elapsed time */
	struct vcpu *v = self->v;

	for (int i = 0; i < 2; i++) {
		volatile struct pvclock *p = &G(self->vm, pages[0]);
		u64 before, guest, after, at = (u64)&pages[0];

		memset((void *)p, 0, sizeof(*p));
		puppet_wrmsr(v, msrs[i], at | 1);
		EXPECT_EQ(0, puppet(v)->trap);
		EXPECT_EQ(at | 1, puppet_rdmsr(v, msrs[i]));
		before = get_clock(self->vm);
		guest = puppet_call(v, guest_clock, 0);
		after = get_clock(self->vm);
		EXPECT_NE(0, p->version);
		EXPECT_EQ(0, p->version & 1);
		EXPECT_NE(0, p->tsc_to_system_mul);
		EXPECT_GE(guest + slack, before);
		EXPECT_LE(guest, after + slack);
		EXPECT_EQ(0, puppet_call(v, guest_clock_backwards, 2000));
		/* off: the page is the guest's own again */
		puppet_wrmsr(v, msrs[i], 0);
		memset((void *)p, 0x22, sizeof(*p));
		puppet_call(v, guest_clock_backwards, 0);
		EXPECT_EQ(0x22222222, p->version);
	}
}

TEST_F(clock, kvmclock_follows_set_clock)
{
	struct kvm_clock_data data = { .clock = 5000 * SECOND };
	struct vcpu *v = self->v;
	u64 now;

	puppet_wrmsr(v, MSR_SYSTEM_TIME, (u64)&pages[0] | 1);
	EXPECT_LT(puppet_call(v, guest_clock, 0), 1000 * SECOND);
	kvm_do(self->vm->fd, KVM_SET_CLOCK, &data);
	now = puppet_call(v, guest_clock, 0);
	EXPECT_GE(now, 5000 * SECOND);
	EXPECT_LT(now, 6000 * SECOND);
}

/* All vCPUs show the same clock, and together it never goes back by much. */
TEST_F(clock, kvmclock_of_two_vcpus)
{
	struct vcpu **v = self->vm->vcpus;
	u64 a, b;

	for (int i = 0; i < 2; i++)
		puppet_wrmsr(v[i], MSR_SYSTEM_TIME, (u64)&pages[i] | 1);
	for (int i = 0; i < 20; i++) {
		a = puppet_call(v[i & 1], guest_clock, i & 1);
		b = puppet_call(v[~i & 1], guest_clock, ~i & 1);
		EXPECT_GE(b + SECOND / 10, a);
		EXPECT_LT(b, a + 1000 * SECOND);
	}
}

TEST_F(clock, kvmclock_page_that_is_not_there)
{
	struct vcpu *v = self->v;

	/* whether the write is refused is the hypervisor's choice; nothing may break */
	puppet_wrmsr(v, MSR_SYSTEM_TIME, HOLE_GPA | 1);
	puppet_wrmsr(v, MSR_SYSTEM_TIME, 0xfffffffffffff001);
	puppet_wrmsr(v, MSR_SYSTEM_TIME, (RAM_SIZE - 8) | 1);
	puppet_wrmsr(v, MSR_WALL_CLOCK, HOLE_GPA);
	puppet_wrmsr(v, MSR_WALL_CLOCK, ~0ull);
	puppet_wrmsr(v, MSR_SYSTEM_TIME, 0);
	EXPECT_EQ(0, puppet_call(v, guest_clock_backwards, 0));
}

TEST_F(clock, wall_clock)
{
	static const u32 msrs[] = { MSR_WALL_CLOCK, MSR_WALL_CLOCK_OLD };
	struct vcpu *v = self->v;

	puppet_wrmsr(v, MSR_SYSTEM_TIME, (u64)&pages[0] | 1);
	for (int i = 0; i < 2; i++) {
		struct wall_clock *w = vm_hva(self->vm, FREE_GPA);
		u64 boot, now;

		memset(w, 0, sizeof(*w));
		puppet_wrmsr(v, msrs[i], FREE_GPA);
		EXPECT_EQ(0, puppet(v)->trap);
		EXPECT_NE(0, w->version);
		EXPECT_EQ(0, w->version & 1);
		EXPECT_LT(w->nsec, SECOND);
		boot = w->sec * SECOND + w->nsec;
		now = boot + puppet_call(v, guest_clock, 0);
		EXPECT_GE(now / SECOND + 2, time(NULL));
		EXPECT_LE(now / SECOND, time(NULL) + 2);
	}
}

TEST_F(clock, tsc_khz)
{
	long khz = kvm_try(self->v->fd, KVM_GET_TSC_KHZ, 0);

	EXPECT_GT(khz, 1000);
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_TSC_KHZ, khz));
	EXPECT_EQ(khz, kvm_try(self->v->fd, KVM_GET_TSC_KHZ, 0));
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_TSC_KHZ, 0));		/* the host's own */
	EXPECT_EQ(khz, kvm_try(self->v->fd, KVM_GET_TSC_KHZ, 0));
}

TEST_F(clock, guest_is_told_that_it_was_paused)
{
	volatile struct pvclock *p = &G(self->vm, pages[0]);
	struct vcpu *v = self->v;

	if (!rl_cap(KVM_CAP_KVMCLOCK_CTRL))
		SKIP(return, "no KVM_CAP_KVMCLOCK_CTRL");
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_KVMCLOCK_CTRL, 0));	/* no page yet */
	puppet_wrmsr(v, MSR_SYSTEM_TIME, (u64)&pages[0] | 1);
	EXPECT_EQ(0, p->flags & 2);
	EXPECT_EQ(0, kvm_try(v->fd, KVM_KVMCLOCK_CTRL, 0));
	puppet_call(v, guest_clock, 0);
	EXPECT_EQ(2, p->flags & 2);
}

static bool has_steal_time(void)
{
	return rl_guest_has(0x40000001, 0, 5);
}

TEST_F(clock, steal_time_msr)
{
	struct kvm_steal_time *st = vm_hva(self->vm, FREE_GPA);
	struct vcpu *v = self->v;

	if (!has_steal_time())
		SKIP(return, "no steal time");
	memset(st, 0, sizeof(*st));
	puppet_wrmsr(v, MSR_KVM_STEAL_TIME, FREE_GPA | 3);		/* reserved */
	EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap);
	puppet_wrmsr(v, MSR_KVM_STEAL_TIME, FREE_GPA | 1);
	EXPECT_EQ(0, puppet(v)->trap);
	EXPECT_EQ(FREE_GPA | 1, vcpu_get_msr(v, MSR_KVM_STEAL_TIME));
	puppet_call(v, guest_clock_backwards, 0);
	EXPECT_NE(0, st->version);
	EXPECT_EQ(0, st->version & 1);
	puppet_wrmsr(v, MSR_KVM_STEAL_TIME, HOLE_GPA | 1);		/* nobody's memory: no harm */
	puppet_wrmsr(v, MSR_KVM_STEAL_TIME, 0);
	EXPECT_EQ(0, puppet(v)->trap);
}

/* Two vCPUs that want one CPU: what the one has, the other one counts as stolen. */
static void guest_count_stolen(u64 id)
{
	volatile struct kvm_steal_time *st = (void *)(FREE_GPA + id * 64);

	guest_wrmsr(MSR_KVM_STEAL_TIME, (u64)st | 1);
	while (!st->steal)
		cpu_relax();
	GUEST_DONE();
}

TEST(steal_time_grows)
{
	struct vm *vm = vm_long(2, guest_count_stolen, VM_IRQCHIP);

	if (!has_steal_time())
		SKIP(return, "no steal time");
	rl_one_cpu();
	vm_run_all(vm);
	vm_free(vm);
}

TEST_HARNESS_MAIN
