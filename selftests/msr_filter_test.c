// SPDX-License-Identifier: GPL-2.0
/* User space's say in RDMSR and WRMSR: the filter, and accesses it carries out itself. */
#include "lib.h"
#include "harness.h"

#define GP		TRAP(13, 0)
#define MSR_NONE	0x12345678	/* no CPU has it */
#define MSR_PAT		0x277

#define ALL_REASONS	(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | \
			 KVM_MSR_EXIT_REASON_FILTER)

static u8 nothing[KVM_MSR_FILTER_MAX_BITMAP_SIZE], everything[KVM_MSR_FILTER_MAX_BITMAP_SIZE];

FIXTURE(msr) {
	struct vm *vm;
	struct vcpu *v;
	struct kvm_msr_filter f;
};

FIXTURE_SETUP(msr)
{
	if (!rl_cap(KVM_CAP_X86_MSR_FILTER) || !rl_cap(KVM_CAP_X86_USER_SPACE_MSR))
		SKIP(return, "no MSR filter");
	self->vm = vm_puppet(1, VM_IRQCHIP);
	self->v = self->vm->vcpus[0];
	memset(everything, 0xff, sizeof(everything));
}

FIXTURE_TEARDOWN(msr)
{
	vm_free(self->vm);
}

static long user_msrs(struct vm *vm, u64 reasons)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args[0] = reasons };

	return kvm_try(vm->fd, KVM_ENABLE_CAP, &cap);
}

static long set_filter(struct vm *vm, struct kvm_msr_filter *f)
{
	return kvm_try(vm->fd, KVM_X86_SET_MSR_FILTER, f);
}

static void deny(struct kvm_msr_filter *f, int i, u32 flags, u32 base, u32 n)
{
	f->ranges[i] = (struct kvm_msr_filter_range) {
		.flags = flags, .base = base, .nmsrs = n, .bitmap = nothing,
	};
}

static u64 rd(struct vcpu *v, u32 msr, u64 *val)
{
	puppet_do(v, PUPPET_RDMSR, msr, 0, 0);
	*val = puppet(v)->val;
	return puppet(v)->trap;
}

static u64 wr(struct vcpu *v, u32 msr, u64 val)
{
	puppet_do(v, PUPPET_WRMSR, msr, 0, val);
	return puppet(v)->trap;
}

TEST_F(msr, arguments)
{
	EXPECT_EQ(-EINVAL, user_msrs(self->vm, 8));
	EXPECT_EQ(0, user_msrs(self->vm, ALL_REASONS));
	EXPECT_EQ(0, user_msrs(self->vm, 0));

	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_X86_SET_MSR_FILTER, 8));
	self->f.flags = 2;
	EXPECT_EQ(-EINVAL, set_filter(self->vm, &self->f));
	self->f.flags = KVM_MSR_FILTER_DEFAULT_DENY;
	EXPECT_EQ(-EINVAL, set_filter(self->vm, &self->f));	/* nothing would be left */
	self->f.flags = 0;
	EXPECT_EQ(0, set_filter(self->vm, &self->f));

	deny(&self->f, 3, 4, MSR_PAT, 1);
	EXPECT_EQ(-EINVAL, set_filter(self->vm, &self->f));
	deny(&self->f, 3, 0, MSR_PAT, 1);
	EXPECT_EQ(-EINVAL, set_filter(self->vm, &self->f));
	deny(&self->f, 3, KVM_MSR_FILTER_READ, 0, sizeof(nothing) * 8 + 1);
	EXPECT_EQ(-EINVAL, set_filter(self->vm, &self->f));
	deny(&self->f, 3, KVM_MSR_FILTER_READ, 0, ~0u);
	EXPECT_EQ(-EINVAL, set_filter(self->vm, &self->f));
	deny(&self->f, 3, KVM_MSR_FILTER_READ, MSR_PAT, 8);
	self->f.ranges[3].bitmap = (u8 *)8;
	EXPECT_EQ(-EFAULT, set_filter(self->vm, &self->f));
	/* none of these left anything behind */
	puppet_rdmsr(self->v, MSR_PAT);
	EXPECT_EQ(0, puppet(self->v)->trap);
}

/* Those that the CPU lets pass without an exit, too; and not user space's own accesses. */
TEST_F(msr, denied)
{
	static const u32 msrs[] = { MSR_PAT, MSR_LSTAR, MSR_KERNEL_GS, 0x1b, 0x6e0 };
	u64 val, was;

	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
		ASSERT_EQ(0, rd(self->v, msrs[i], &was));
		deny(&self->f, 0, KVM_MSR_FILTER_WRITE, msrs[i], 1);
		ASSERT_EQ(0, set_filter(self->vm, &self->f));
		EXPECT_EQ(0, rd(self->v, msrs[i], &val)) TH_LOG("%#x", msrs[i]);
		EXPECT_EQ(was, val);
		EXPECT_EQ(GP, wr(self->v, msrs[i], was)) TH_LOG("%#x", msrs[i]);

		deny(&self->f, 0, KVM_MSR_FILTER_READ, msrs[i], 1);
		ASSERT_EQ(0, set_filter(self->vm, &self->f));
		EXPECT_EQ(GP, rd(self->v, msrs[i], &val)) TH_LOG("%#x", msrs[i]);
		EXPECT_EQ(0, wr(self->v, msrs[i], was)) TH_LOG("%#x", msrs[i]);
		EXPECT_EQ(was, vcpu_get_msr(self->v, msrs[i]));
		vcpu_set_msr(self->v, msrs[i], was);

		self->f.ranges[0].nmsrs = 0;
		ASSERT_EQ(0, set_filter(self->vm, &self->f));
		EXPECT_EQ(0, rd(self->v, msrs[i], &val));
	}
}

/* The first range that says something counts; a bit allows; what no range has, the default. */
TEST_F(msr, ranges)
{
	u64 val;

	self->f.flags = KVM_MSR_FILTER_DEFAULT_DENY;
	deny(&self->f, 0, KVM_MSR_FILTER_READ, MSR_STAR, 4);
	self->f.ranges[0].bitmap = (u8 *)"\x05";	/* STAR and CSTAR */
	deny(&self->f, 1, KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, MSR_STAR, 16);
	self->f.ranges[1].bitmap = everything;
	ASSERT_EQ(0, set_filter(self->vm, &self->f));
	EXPECT_EQ(0, rd(self->v, MSR_STAR, &val));
	EXPECT_EQ(GP, rd(self->v, MSR_LSTAR, &val));
	EXPECT_EQ(0, rd(self->v, MSR_CSTAR, &val));
	EXPECT_EQ(GP, rd(self->v, MSR_SFMASK, &val));
	EXPECT_EQ(0, wr(self->v, MSR_LSTAR, 0x1000));
	EXPECT_EQ(GP, rd(self->v, MSR_PAT, &val));
	EXPECT_EQ(GP, wr(self->v, MSR_PAT, 0x0007040600070406));
	EXPECT_EQ(0x1000, vcpu_get_msr(self->v, MSR_LSTAR));
}

/* The local APIC's are beyond it. */
TEST_F(msr, x2apic)
{
	u64 val;

	puppet_wrmsr(self->v, 0x1b, 0xfee00d00);
	self->f.flags = KVM_MSR_FILTER_DEFAULT_DENY;
	deny(&self->f, 0, KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 0x800, 0x100);
	ASSERT_EQ(0, set_filter(self->vm, &self->f));
	EXPECT_EQ(0, rd(self->v, 0x802, &val));
	EXPECT_EQ(0, val);
	EXPECT_EQ(0, wr(self->v, 0x808, 0x20));
	EXPECT_EQ(0, rd(self->v, 0x808, &val));
	EXPECT_EQ(0x20, val);
}

/* An access ends in user space: what it answers is what the guest gets. */
static void user_access(struct __test_metadata *_metadata, struct vcpu *v, bool write, u32 msr,
			u64 data, u32 reason)
{
	for (int error = 0; error < 2; error++) {
		puppet_set(v, write ? PUPPET_WRMSR : PUPPET_RDMSR, msr, 0, data);
		expect_exit(v, write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR);
		EXPECT_EQ(msr, v->run->msr.index);
		EXPECT_EQ(reason, v->run->msr.reason);
		EXPECT_EQ(0, v->run->msr.error);
		EXPECT_EQ(write ? data : 0, v->run->msr.data);
		v->run->msr.error = error;
		v->run->msr.data = 0x1122334455667788;
		expect_sync(v, PUPPET_STAGE);
		EXPECT_EQ(error ? GP : 0, puppet(v)->trap);
		if (!write && !error)
			EXPECT_EQ(0x1122334455667788, puppet(v)->val);
	}
}

TEST_F(msr, exits)
{
	u64 val, pat = puppet_rdmsr(self->v, MSR_PAT);

	deny(&self->f, 0, KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, MSR_PAT, 1);
	deny(&self->f, 1, KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, MSR_LSTAR, 1);
	deny(&self->f, 2, KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, MSR_NONE + 1, 1);
	ASSERT_EQ(0, set_filter(self->vm, &self->f));
	ASSERT_EQ(0, user_msrs(self->vm, ALL_REASONS));
	for (int write = 0; write < 2; write++) {
		user_access(_metadata, self->v, write, MSR_PAT, 5, KVM_MSR_EXIT_REASON_FILTER);
		user_access(_metadata, self->v, write, MSR_LSTAR, 5, KVM_MSR_EXIT_REASON_FILTER);
		user_access(_metadata, self->v, write, MSR_NONE + 1, ~0ull,
			    KVM_MSR_EXIT_REASON_FILTER);
		user_access(_metadata, self->v, write, MSR_NONE, 0x123456789a,
			    KVM_MSR_EXIT_REASON_UNKNOWN);
	}
	user_access(_metadata, self->v, true, 0x2ff, 2, KVM_MSR_EXIT_REASON_INVAL);
	user_access(_metadata, self->v, true, 0x1b, 1, KVM_MSR_EXIT_REASON_INVAL);
	EXPECT_EQ(pat, vcpu_get_msr(self->v, MSR_PAT));

	/* one reason at a time; the others are #GP again */
	ASSERT_EQ(0, user_msrs(self->vm, KVM_MSR_EXIT_REASON_UNKNOWN));
	EXPECT_EQ(GP, rd(self->v, MSR_PAT, &val));
	EXPECT_EQ(GP, wr(self->v, 0x1b, 1));
	user_access(_metadata, self->v, false, MSR_NONE, 0, KVM_MSR_EXIT_REASON_UNKNOWN);
	ASSERT_EQ(0, user_msrs(self->vm, 0));
	EXPECT_EQ(GP, rd(self->v, MSR_NONE, &val));
}

static void guest_read_star(u64 id)
{
	for (;;) {
		u64 val, trap = guest_rdmsr_safe(MSR_STAR, &val);

		if (trap) {
			GUEST_ASSERT_EQ(trap, GP);
			GUEST_DONE();
		}
	}
}

/* A vCPU that is in the guest meanwhile learns of a new filter. */
TEST(while_running)
{
	struct kvm_msr_filter f = {};
	struct vm *vm;

	if (!rl_cap(KVM_CAP_X86_MSR_FILTER))
		SKIP(return, "no MSR filter");
	vm = vm_long(1, guest_read_star, 0);
	vcpu_start(vm->vcpus[0]);
	usleep(20000);
	deny(&f, 0, KVM_MSR_FILTER_READ, MSR_STAR, 1);
	ASSERT_EQ(0, set_filter(vm, &f));
	vcpu_join(vm->vcpus[0]);
	vm_free(vm);
}

TEST_HARNESS_MAIN
