// SPDX-License-Identifier: GPL-2.0
/* What a guest that knows KVM asks for: kicks, IPIs to many, remote TLB flushes, clocks. */
#include "lib.h"
#include "harness.h"
#include "stats.h"
#include <linux/kvm_para.h>
#include <time.h>

#define VECTOR			0x60
#define ROUNDS			200
#define FLUSHES			20
#define SECOND			1000000000ull

static struct kvm_steal_time steal[2] __aligned(64);
static bool amd;
static u32 halts, stop;
static u64 spins;

static struct vm *vm_pv(unsigned int nr, void (*fn)(u64 id))
{
	struct vm *vm = vm_long(nr, fn, VM_IRQCHIP);

	G(vm, amd) = rl_host_is_amd();
	return vm;
}

static bool has_feature(int bit)
{
	return rl_guest_has(KVM_CPUID_FEATURES, 0, bit);
}

/* The last resort against an interrupt: none is open, and still HLT ends. */
static void guest_kick(u64 id)
{
	xapic_enable();		/* KVM does not know the last vCPU's APIC before that */
	if (id) {
		for (u32 i = 1; i <= ROUNDS; i++) {
			WRITE_ONCE(halts, i);
			asm volatile("hlt" : : : "memory");
		}
		GUEST_DONE();
		return;
	}
	/* One's own comes before its HLT; kicks do not add up. */
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_KICK_CPU, 0, 0, 0, 0), 0);
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_KICK_CPU, 0, 0, 0, 0), 0);
	asm volatile("hlt" : : : "memory");
	for (u32 i = 1; i <= ROUNDS; i++) {
		while (READ_ONCE(halts) != i)
			cpu_relax();
		GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_KICK_CPU, 0, 1, 0, 0), 0);
	}
	/* Nobody has these. */
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_KICK_CPU, 0, 77, 0, 0), 0);
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_KICK_CPU, 0, ~0ull, 0, 0), 0);
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_SCHED_YIELD, 1, 0, 0, 0), 0);
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_SCHED_YIELD, ~0ull, 0, 0, 0), 0);
	GUEST_DONE();
}

TEST(kick_ends_hlt)
{
	struct kvm_mp_state st;
	struct vm *vm;

	if (!has_feature(KVM_FEATURE_PV_UNHALT))
		SKIP(return, "no KVM_FEATURE_PV_UNHALT");
	vm = vm_pv(2, guest_kick);
	vm_run_all(vm);
	EXPECT_EQ(ROUNDS, G(vm, halts));
	kvm_do(vm->vcpus[1]->fd, KVM_GET_MP_STATE, &st);
	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, st.mp_state);
	vm_free(vm);
}

static void guest_ipis(u64 id)
{
	u64 vec = VECTOR;

	guest_irq_setup(EOI_X2APIC);
	__atomic_fetch_add(&halts, 1, __ATOMIC_SEQ_CST);
	if (id) {
		guest_irq_wait(VECTOR);
		GUEST_DONE();
		return;
	}
	while (READ_ONCE(halts) != 4)
		cpu_relax();
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_SEND_IPI, 1, 0, 0, vec | 0x800), -KVM_EINVAL);
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_SEND_IPI, 1, 0, 0, vec | 0xc0000), -KVM_EINVAL);
	/* Beyond all ids, some where the number would wrap to one that exists. */
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_SEND_IPI, ~0ull, ~0ull, 0xffffffff, vec), 0);
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_SEND_IPI, ~0ull, 0, 64, vec), 0);
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_SEND_IPI, 0, 0, 0, vec), 0);
	GUEST_ASSERT_EQ(guest_irq_total, 0);
	/* 1 from the first word, counted from 1; then 2 and 3, counted from 2, and nobody. */
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_SEND_IPI, 1, 0, 1, vec), 1);
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_SEND_IPI, 0xf3, 1, 2, vec), 2);
	GUEST_DONE();
}

TEST(ipis_by_bitmap)
{
	struct vm *vm;

	if (!has_feature(KVM_FEATURE_PV_SEND_IPI))
		SKIP(return, "no KVM_FEATURE_PV_SEND_IPI");
	vm = vm_pv(4, guest_ipis);
	vm_run_all(vm);
	for (int i = 0; i < 4; i++)
		EXPECT_EQ(!!i, G(vm, guest_irqs[i][VECTOR]));
	vm_free(vm);
}

/* Two vCPUs on one CPU: while the one runs, the other one was preempted. */
static void guest_flush(u64 id)
{
	volatile u8 *other = &steal[1].preempted;
	u8 seen = KVM_VCPU_PREEMPTED;

	guest_wrmsr(MSR_KVM_STEAL_TIME, (u64)&steal[id] | 1);
	if (id) {
		GUEST_ASSERT_EQ(steal[1].preempted, 0);
		while (!READ_ONCE(stop))
			WRITE_ONCE(spins, spins + 1);
		GUEST_DONE();
		return;
	}
	while (!READ_ONCE(spins))
		cpu_relax();
	for (u32 i = 0; i < FLUSHES; i++) {
		do {
			while (*other != KVM_VCPU_PREEMPTED)
				cpu_relax();
			seen = KVM_VCPU_PREEMPTED;
		} while (!__atomic_compare_exchange_n(other, &seen,
						      KVM_VCPU_PREEMPTED | KVM_VCPU_FLUSH_TLB, false,
						      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
		while (*other & KVM_VCPU_FLUSH_TLB)
			cpu_relax();
	}
	WRITE_ONCE(stop, 1);
	GUEST_DONE();
}

TEST(flush_of_a_preempted_tlb)
{
	struct stats st;
	struct vm *vm;

	if (!has_feature(KVM_FEATURE_PV_TLB_FLUSH))
		SKIP(return, "no KVM_FEATURE_PV_TLB_FLUSH");
	vm = vm_pv(2, guest_flush);
	G(vm, steal[1].preempted) = 0xff;		/* of somebody before */
	stats_open(&st, vm->vcpus[1]->fd);
	rl_one_cpu();
	vm_run_all(vm);
	EXPECT_LE(FLUSHES, stat(&st, "tlb_flush"));
	EXPECT_EQ(0, G(vm, steal[1].preempted) & KVM_VCPU_FLUSH_TLB);
	stats_close(&st);
	vm_free(vm);
}

TEST(poll_control)
{
	struct vm *vm = vm_puppet(1, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];

	if (!has_feature(KVM_FEATURE_POLL_CONTROL))
		SKIP(return, "no KVM_FEATURE_POLL_CONTROL");
	EXPECT_EQ(1, puppet_rdmsr(v, MSR_KVM_POLL_CONTROL));
	puppet_wrmsr(v, MSR_KVM_POLL_CONTROL, 2);
	EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap);
	puppet_wrmsr(v, MSR_KVM_POLL_CONTROL, 0);
	EXPECT_EQ(0, puppet(v)->trap);
	EXPECT_EQ(0, vcpu_get_msr(v, MSR_KVM_POLL_CONTROL));
	EXPECT_EQ(1, vcpu_try_set_msr(v, MSR_KVM_POLL_CONTROL, 1));
	EXPECT_EQ(1, puppet_rdmsr(v, MSR_KVM_POLL_CONTROL));
	vm_free(vm);
}

static struct kvm_clock_pairing pairing;

static u64 guest_pairing(u64 gpa)
{
	return hypercall(amd, KVM_HC_CLOCK_PAIRING, gpa, KVM_CLOCK_PAIRING_WALLCLOCK, 0, 0);
}

static u64 guest_pairing_of_nothing(u64 gpa)
{
	return hypercall(amd, KVM_HC_CLOCK_PAIRING, gpa, 1, 0, 0);
}

static u64 guest_tsc(u64 unused)
{
	return rdtsc();
}

TEST(clock_pairing)
{
	struct vm *vm = vm_puppet(1, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_clock_data now = {};
	u64 tsc, ns, from, to;
	struct timespec t;

	G(vm, amd) = rl_host_is_amd();
	EXPECT_EQ(-KVM_EOPNOTSUPP, puppet_call(v, guest_pairing_of_nothing, (u64)&pairing));
	kvm_do(vm->fd, KVM_GET_CLOCK, &now);
	if (!(now.flags & KVM_CLOCK_TSC_STABLE)) {
		EXPECT_EQ(-KVM_EOPNOTSUPP, puppet_call(v, guest_pairing, (u64)&pairing));
		SKIP(return, "the host's clock is not its TSC");
	}
	tsc = puppet_call(v, guest_tsc, 0);
	clock_gettime(CLOCK_REALTIME, &t);
	from = t.tv_sec * SECOND + t.tv_nsec;
	ASSERT_EQ(0, puppet_call(v, guest_pairing, (u64)&pairing));
	clock_gettime(CLOCK_REALTIME, &t);
	to = t.tv_sec * SECOND + t.tv_nsec;
	ns = G(vm, pairing.sec) * SECOND + G(vm, pairing.nsec);
	EXPECT_LE(from, ns);
	EXPECT_GE(to, ns);
	EXPECT_LT(tsc, G(vm, pairing.tsc));
	EXPECT_GT(puppet_call(v, guest_tsc, 0), G(vm, pairing.tsc));
	EXPECT_EQ(-KVM_EFAULT, puppet_call(v, guest_pairing, HOLE_GPA));
	vm_free(vm);
}

static u64 guest_kick_self(u64 unused)
{
	return hypercall(amd, KVM_HC_KICK_CPU, 0, 0, 0, 0);
}

static u64 guest_ipi_nobody(u64 unused)
{
	return hypercall(amd, KVM_HC_SEND_IPI, 0, 0, 0, VECTOR);
}

/* What CPUID does not tell of: there all the same, unless user space insists. */
static void guest_untold(u64 enforced)
{
	u64 want = enforced ? -KVM_ENOSYS : 0, val;

	GUEST_ASSERT_EQ(guest_kick_self(0), want);
	GUEST_ASSERT_EQ(guest_ipi_nobody(0), want);
	GUEST_ASSERT_EQ(hypercall(amd, KVM_HC_SCHED_YIELD, 0, 0, 0, 0), want);
	GUEST_ASSERT_EQ(guest_rdmsr_safe(MSR_KVM_POLL_CONTROL, &val), enforced ? TRAP(GP, 0) : 0);
	GUEST_DONE();
}

TEST(not_told_of)
{
	if (!rl_cap(KVM_CAP_ENFORCE_PV_FEATURE_CPUID) || !has_feature(KVM_FEATURE_PV_SEND_IPI))
		SKIP(return, "nothing to enforce");
	for (u64 i = 0; i < 2; i++) {
		struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID,
					      .args[0] = i };
		struct vm *vm = vm_pv(1, guest_untold);
		struct kvm_cpuid2 *cpuid = rl_supported_cpuid(vm->dev);
		struct kvm_cpuid_entry2 *e = rl_cpuid_find(cpuid, KVM_CPUID_FEATURES, 0);

		ASSERT_NE(NULL, e);
		e->eax = 0;
		vcpu_set_cpuid(vm->vcpus[0], cpuid);
		vcpu_long(vm->vcpus[0], guest_untold, i);
		kvm_do(vm->vcpus[0]->fd, KVM_ENABLE_CAP, &cap);
		expect_done(vm->vcpus[0]);
		free(cpuid);
		vm_free(vm);
	}
}

/* What nobody here could do is not offered to the guest, whatever user space says. */
TEST(without_an_apic)
{
	struct vm *vm = vm_puppet(1, 0);
	struct vcpu *v = vm->vcpus[0];

	if (strcmp(rl_dev_path(), "/dev/ringlet"))
		SKIP(return, "KVM leaves that to user space");
	G(vm, amd) = rl_host_is_amd();
	puppet_do(v, PUPPET_CPUID, KVM_CPUID_FEATURES, 0, 0);
	EXPECT_EQ(0, puppet(v)->cpuid[0] & (1 << KVM_FEATURE_PV_UNHALT |
					    1 << KVM_FEATURE_PV_SEND_IPI));
	EXPECT_EQ(-KVM_EOPNOTSUPP, puppet_call(v, guest_ipi_nobody, 0));
	EXPECT_EQ(0, puppet_call(v, guest_kick_self, 0));
	vm_free(vm);
}

TEST_HARNESS_MAIN
