// SPDX-License-Identifier: GPL-2.0
/* Capabilities that user space switches on: what each changes, and what it refuses. */
#include "lib.h"
#include "harness.h"

#define GP	TRAP(13, 0)

FIXTURE(caps) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(caps)
{
	self->vm = vm_puppet(1, 0);
	self->v = self->vm->vcpus[0];
}

FIXTURE_TEARDOWN(caps)
{
	vm_free(self->vm);
}

#define NEEDS(cap) \
	do { \
		if (!rl_cap(cap)) \
			SKIP(return, "no " #cap); \
	} while (0)

static long enable_cap(int fd, u32 cap, u64 arg)
{
	struct kvm_enable_cap c = { .cap = cap, .args[0] = arg };

	return kvm_try(fd, KVM_ENABLE_CAP, &c);
}

static bool amd;	/* the guest's copy */

static u64 guest_map_range(u64 npages)
{
	return hypercall(amd, 12 /* KVM_HC_MAP_GPA_RANGE */, 0x5000, npages, 0x13, 0);
}

TEST_F(caps, exit_hypercall)
{
	const u64 map_range = 1ull << 12;

	amd = rl_host_is_amd();
	NEEDS(KVM_CAP_EXIT_HYPERCALL);
	G(self->vm, amd) = amd;
	EXPECT_EQ(map_range, rl_cap(KVM_CAP_EXIT_HYPERCALL));
	EXPECT_EQ(-EINVAL, enable_cap(self->vm->fd, KVM_CAP_EXIT_HYPERCALL, 1));
	EXPECT_EQ(-1000, puppet_call(self->v, guest_map_range, 1));	/* not asked for */

	ASSERT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_EXIT_HYPERCALL, map_range));
	for (u64 ret = 0; ret < 2; ret++) {
		puppet_set(self->v, PUPPET_CALL, (u64)guest_map_range, 0, 3);
		expect_exit(self->v, KVM_EXIT_HYPERCALL);
		EXPECT_EQ(12, self->v->run->hypercall.nr);
		EXPECT_EQ(0x5000, self->v->run->hypercall.args[0]);
		EXPECT_EQ(3, self->v->run->hypercall.args[1]);
		EXPECT_EQ(0x13, self->v->run->hypercall.args[2]);
		self->v->run->hypercall.ret = -ret;
		expect_sync(self->v, PUPPET_STAGE);
		EXPECT_EQ(-ret, puppet(self->v)->val);
	}
	EXPECT_EQ(-22, puppet_call(self->v, guest_map_range, 0));
	EXPECT_EQ(-22, puppet_call(self->v, guest_map_range, ~0ull));
	ASSERT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_EXIT_HYPERCALL, 0));
	EXPECT_EQ(-1000, puppet_call(self->v, guest_map_range, 1));
}

static const u32 pv_msrs[] = { 0x11, 0x12, 0x4b564d00, 0x4b564d01, 0x4b564d03, 0x4b564d02 };

static void guest_pv_msrs(u64 expected)
{
	for (u32 i = 0; i < ARRAY_SIZE(pv_msrs); i++) {
		u64 val, want = expected >> i & 1 ? 0 : GP;

		GUEST_ASSERT_EQ(guest_rdmsr_safe(pv_msrs[i], &val), want);
		GUEST_ASSERT_EQ(guest_wrmsr_safe(pv_msrs[i], 0), want);
	}
	GUEST_DONE();
}

static void run_pv(u32 features, bool enforce, u64 expected)
{
	struct vm *vm = vm_long(1, guest_pv_msrs, 0);
	struct kvm_cpuid2 *cpuid = rl_supported_cpuid(vm->dev);
	struct kvm_cpuid_entry2 *e = rl_cpuid_find(cpuid, 0x40000001, 0);

	CHECK(NULL, e, "no leaf of features");
	e->eax = features;
	vcpu_set_cpuid(vm->vcpus[0], cpuid);
	vcpu_long(vm->vcpus[0], guest_pv_msrs, expected);
	if (enforce)
		CHECK(NULL, !enable_cap(vm->vcpus[0]->fd, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1),
		      "not to be enforced");
	expect_done(vm->vcpus[0]);
	free(cpuid);
	vm_free(vm);
}

TEST_F(caps, pv_features)
{
	struct kvm_enable_cap flags = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .flags = 1 };

	NEEDS(KVM_CAP_ENFORCE_PV_FEATURE_CPUID);
	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_ENABLE_CAP, &flags));
	EXPECT_EQ(-EINVAL, enable_cap(self->v->fd, KVM_CAP_EXIT_HYPERCALL, 0));
	EXPECT_EQ(-EINVAL, enable_cap(self->vm->fd, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1));
	run_pv(0, false, 0x3f);
	run_pv(0, true, 0);
	run_pv(1u << 0, true, 0x03);	/* CLOCKSOURCE */
	run_pv(1u << 3, true, 0x0c);	/* CLOCKSOURCE2 */
	run_pv(1u << 5, true, 0x10);	/* STEAL_TIME */
	run_pv(1u << 4, true, 0x20);	/* ASYNC_PF */
}

/* What QEMU's CPU models ask for unless told otherwise, some of it with "enforce". */
TEST_F(caps, pv_features_that_are_expected)
{
	u32 want = 0x1000000 | 0xb | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7;
	struct kvm_cpuid2 *cpuid = rl_supported_cpuid(self->vm->dev);
	struct kvm_cpuid_entry2 *e = rl_cpuid_find(cpuid, 0x40000001, 0);

	ASSERT_NE(NULL, e);
	EXPECT_EQ(want, e->eax & want);
	free(cpuid);
}

static u64 wrmsr_trap(struct vcpu *v, u32 msr, u64 val)
{
	puppet_wrmsr(v, msr, val);
	return puppet(v)->trap;
}

TEST_F(caps, async_pf_msr)
{
	const u32 msr = 0x4b564d02;
	struct vcpu *v;
	struct vm *vm;

	NEEDS(KVM_CAP_ASYNC_PF);
	vm = vm_puppet(1, VM_IRQCHIP);
	v = vm->vcpus[0];
	EXPECT_EQ(0, wrmsr_trap(v, msr, 0x5003));
	EXPECT_EQ(TRAP(GP, 0), wrmsr_trap(v, msr, 0x5011));	/* reserved */
	EXPECT_EQ(TRAP(GP, 0), wrmsr_trap(v, msr, 0x5021));
	EXPECT_EQ(0x5003, vcpu_get_msr(v, msr));
	EXPECT_EQ(0, wrmsr_trap(v, msr, 0));
	vm_free(vm);

	/* What belongs to it comes by interrupt. */
	vm = vm_puppet(1, 0);
	v = vm->vcpus[0];
	EXPECT_EQ(TRAP(GP, 0), wrmsr_trap(v, msr, 0x5001));
	EXPECT_EQ(0, wrmsr_trap(v, msr, 0));
	vm_free(vm);
}

TEST_F(caps, triple_fault_event)
{
	struct kvm_vcpu_events ev;

	NEEDS(KVM_CAP_X86_TRIPLE_FAULT_EVENT);
	kvm_do(self->v->fd, KVM_GET_VCPU_EVENTS, &ev);
	EXPECT_EQ(0, ev.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	ev.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	ev.triple_fault.pending = 1;
	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_SET_VCPU_EVENTS, &ev));

	ASSERT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1));
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_VCPU_EVENTS, &ev));
	kvm_do(self->v->fd, KVM_GET_VCPU_EVENTS, &ev);
	EXPECT_TRUE(ev.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	EXPECT_EQ(1, ev.triple_fault.pending);
	ev.triple_fault.pending = 0;
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_VCPU_EVENTS, &ev));
	puppet_rdmsr(self->v, 0x10);			/* runs */
	ev.triple_fault.pending = 1;
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_VCPU_EVENTS, &ev));
	expect_exit(self->v, KVM_EXIT_SHUTDOWN);
	kvm_do(self->v->fd, KVM_GET_VCPU_EVENTS, &ev);
	EXPECT_EQ(0, ev.triple_fault.pending);
}

TEST(system_attribute)
{
	struct kvm_device_attr a = { .attr = 1 };
	int dev = rl_dev_open();
	u64 xcr0 = ~0ull;

	NEEDS(KVM_CAP_SYS_ATTRIBUTES);
	EXPECT_EQ(-ENXIO, kvm_try(dev, KVM_HAS_DEVICE_ATTR, &a));
	EXPECT_EQ(-ENXIO, kvm_try(dev, KVM_GET_DEVICE_ATTR, &a));
	a.attr = KVM_X86_XCOMP_GUEST_SUPP;
	EXPECT_EQ(0, kvm_try(dev, KVM_HAS_DEVICE_ATTR, &a));
	EXPECT_EQ(-EFAULT, kvm_try(dev, KVM_GET_DEVICE_ATTR, &a));
	a.addr = (u64)&xcr0;
	EXPECT_EQ(0, kvm_try(dev, KVM_GET_DEVICE_ATTR, &a));
	if (xcr0) {	/* a host without XSAVE has none */
		EXPECT_EQ(3, xcr0 & 3);
	}
}

TEST_F(caps, xsave2)
{
	struct kvm_xsave *a = calloc(1, 1 << 16), *b = calloc(1, 1 << 16);

	NEEDS(KVM_CAP_XSAVE2);
	EXPECT_LE(4096, rl_cap(KVM_CAP_XSAVE2));
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_GET_XSAVE2, a));
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_GET_XSAVE, b));
	EXPECT_EQ(0, memcmp(a, b, 4096));
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_XSAVE, a));
}

TEST(max_vcpu_id)
{
	struct vm *vm = vm_new(0);
	int max = rl_cap(KVM_CAP_MAX_VCPU_ID);

	EXPECT_EQ(-EINVAL, enable_cap(vm->fd, KVM_CAP_MAX_VCPU_ID, max + 1));
	EXPECT_EQ(0, enable_cap(vm->fd, KVM_CAP_MAX_VCPU_ID, 4));
	EXPECT_EQ(0, enable_cap(vm->fd, KVM_CAP_MAX_VCPU_ID, 4));
	EXPECT_EQ(-EINVAL, enable_cap(vm->fd, KVM_CAP_MAX_VCPU_ID, 5));
	EXPECT_EQ(-EINVAL, kvm_try(vm->fd, KVM_CREATE_VCPU, 4));
	EXPECT_LE(0, kvm_try(vm->fd, KVM_CREATE_VCPU, 3));
	vm_free(vm);
}

TEST_F(caps, halt_poll)
{
	NEEDS(KVM_CAP_HALT_POLL);
	EXPECT_EQ(-EINVAL, enable_cap(self->vm->fd, KVM_CAP_HALT_POLL, 1ull << 32));
	EXPECT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_HALT_POLL, 0));
	EXPECT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_HALT_POLL, 100000));
}

TEST_HARNESS_MAIN
