// SPDX-License-Identifier: GPL-2.0
/* Model-specific registers: the lists, the two ioctls, and what the guest may do. */
#include "lib.h"
#include "harness.h"

#define MSR_SYSENTER_CS		0x174
#define MSR_SYSENTER_ESP	0x175
#define MSR_SYSENTER_EIP	0x176
#define MSR_PAT			0x277
#define MSR_NONE		0x12345678	/* no CPU has it */

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry entry[300];
};

static struct kvm_msr_list *get_list(unsigned long cmd)
{
	struct kvm_msr_list *list = calloc(1, sizeof(*list) + 1000 * 4);
	int dev = rl_dev_open();

	list->nmsrs = 1000;
	kvm_do(dev, cmd, list);
	close(dev);
	return list;
}

static bool in_list(struct kvm_msr_list *list, u32 msr)
{
	for (u32 i = 0; i < list->nmsrs; i++)
		if (list->indices[i] == msr)
			return true;
	return false;
}

TEST(index_lists)
{
	static const unsigned long lists[] = {
		KVM_GET_MSR_INDEX_LIST, KVM_GET_MSR_FEATURE_INDEX_LIST,
	};
	static const u32 needed[] = {
		MSR_TSC, MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_PAT, MSR_STAR,
		MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_KERNEL_GS, 0x1a0, 0x17a,
		0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03, 0x1fc,
	};
	struct kvm_msr_list *list;
	int dev = rl_dev_open();

	for (int i = 0; i < 2; i++) {
		struct kvm_msr_list none = { .nmsrs = 0 };
		struct {
			struct kvm_msr_list head;
			u32 msr;
		} one = { .head.nmsrs = 1 };

		list = get_list(lists[i]);
		EXPECT_EQ(-EFAULT, kvm_try(dev, lists[i], 8));
		if (!list->nmsrs)
			continue;
		EXPECT_EQ(-E2BIG, kvm_try(dev, lists[i], &none));
		EXPECT_EQ(list->nmsrs, none.nmsrs);
		if (list->nmsrs > 1)
			EXPECT_EQ(-E2BIG, kvm_try(dev, lists[i], &one));
		EXPECT_EQ(0, one.msr * (list->nmsrs > 1));
		for (u32 j = 0; j < list->nmsrs; j++)
			for (u32 k = 0; k < j; k++)
				EXPECT_NE(list->indices[j], list->indices[k]);
		free(list);
	}
	list = get_list(KVM_GET_MSR_INDEX_LIST);
	for (u32 i = 0; i < ARRAY_SIZE(needed); i++) {
		EXPECT_TRUE(in_list(list, needed[i]))
			TH_LOG("%#x is not in the list", needed[i]);
	}
}

/* What migration does: read all that is in the list, write it into another vCPU. */
TEST(whole_list_survives_a_move)
{
	struct kvm_msr_list *list = get_list(KVM_GET_MSR_INDEX_LIST);
	struct vm *a = vm_puppet(1, VM_IRQCHIP), *b = vm_puppet(1, VM_IRQCHIP);
	struct msrs one = { .head.nmsrs = 1 };

	for (u32 i = 0; i < list->nmsrs; i++) {
		one.entry[0].index = list->indices[i];
		EXPECT_EQ(1, kvm_try(a->vcpus[0]->fd, KVM_GET_MSRS, &one))
			TH_LOG("reading %#x", list->indices[i]);
		EXPECT_EQ(1, kvm_try(b->vcpus[0]->fd, KVM_SET_MSRS, &one))
			TH_LOG("writing %#x to %#llx", list->indices[i], one.entry[0].data);
	}
	puppet_write(b->vcpus[0], FREE_GPA, 1);
}

TEST(feature_msrs)
{
	struct kvm_msr_list *list = get_list(KVM_GET_MSR_FEATURE_INDEX_LIST);
	struct msrs m = { .head.nmsrs = list->nmsrs };
	int dev = rl_dev_open();

	ASSERT_LT(list->nmsrs, 255);
	for (u32 i = 0; i < list->nmsrs; i++)
		m.entry[i].index = list->indices[i];
	EXPECT_EQ(list->nmsrs, kvm_try(dev, KVM_GET_MSRS, &m));
	m.entry[0].index = MSR_NONE;
	m.head.nmsrs = 1;
	EXPECT_EQ(0, kvm_try(dev, KVM_GET_MSRS, &m));
}

FIXTURE(msr) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(msr)
{
	self->vm = vm_puppet(1, VM_IRQCHIP);
	self->v = self->vm->vcpus[0];
}

FIXTURE_TEARDOWN(msr)
{
	vm_free(self->vm);
}

TEST_F(msr, partial_lists)
{
	struct msrs m = {
		.head.nmsrs = 3,
		.entry = { { .index = MSR_STAR, .data = 0x11 }, { .index = MSR_NONE, .data = 1 },
			   { .index = MSR_SYSENTER_CS, .data = 0x33 } },
	};
	struct vcpu *v = self->v;

	vcpu_set_msr(v, MSR_SYSENTER_CS, 0x22);
	EXPECT_EQ(1, kvm_try(v->fd, KVM_SET_MSRS, &m));
	EXPECT_EQ(0x11, vcpu_get_msr(v, MSR_STAR));
	EXPECT_EQ(0x22, vcpu_get_msr(v, MSR_SYSENTER_CS));
	m.entry[0].data = m.entry[2].data = 0;
	EXPECT_EQ(1, kvm_try(v->fd, KVM_GET_MSRS, &m));
	EXPECT_EQ(0x11, m.entry[0].data);
	EXPECT_EQ(0, m.entry[2].data);
	m.head.nmsrs = 0;
	EXPECT_EQ(0, kvm_try(v->fd, KVM_GET_MSRS, &m));
	EXPECT_EQ(0, kvm_try(v->fd, KVM_SET_MSRS, &m));
	m.head.nmsrs = 257;
	EXPECT_EQ(-E2BIG, kvm_try(v->fd, KVM_GET_MSRS, &m));
	EXPECT_EQ(-E2BIG, kvm_try(v->fd, KVM_SET_MSRS, &m));
	m.head.nmsrs = -1;
	EXPECT_EQ(-E2BIG, kvm_try(v->fd, KVM_SET_MSRS, &m));
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_MSRS, 8));
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_GET_MSRS, 8));
	m.head.nmsrs = 200;
	for (int i = 0; i < 200; i++)
		m.entry[i].index = MSR_STAR;
	EXPECT_EQ(200, kvm_try(v->fd, KVM_GET_MSRS, &m));
	EXPECT_EQ(0x11, m.entry[199].data);
}

/* What one side writes, the other reads. */
TEST_F(msr, shared_by_guest_and_user_space)
{
	static const struct { u32 msr; u64 a, b; } plain[] = {
		{ MSR_STAR, 0x0023001000000000, 0x0033002000000000 },
		{ MSR_LSTAR, 0xffffffff81000000, 0x00007fffdeadbeef },
		{ MSR_CSTAR, 0xffffffff82000000, 0x1234 },
		{ MSR_SFMASK, 0x47700, 0x200 },
		{ MSR_KERNEL_GS, 0xffff888012345678, 0x7f0000001000 },
		{ MSR_FS_BASE, 0x7f1234567000, 0xffffffff80000000 },
		{ MSR_GS_BASE, 0xffff88801f000000, 0x1000 },
		{ MSR_SYSENTER_CS, 0x10, 0x20 },
		{ MSR_SYSENTER_ESP, 0xfe002200, 0x8000 },
		{ MSR_SYSENTER_EIP, 0x81001000, 0x9000 },
		{ MSR_PAT, 0x0407010600070406, 0x0606060606060606 },
		{ 0x1fc, 0x1234, 2 },		/* POWER_CTL */
	};
	struct vcpu *v = self->v;

	for (u32 i = 0; i < ARRAY_SIZE(plain); i++) {
		u32 msr = plain[i].msr;

		vcpu_set_msr(v, msr, plain[i].a);
		EXPECT_EQ(plain[i].a, puppet_rdmsr(v, msr)) TH_LOG("guest reads %#x", msr);
		EXPECT_EQ(0, puppet(v)->trap);
		puppet_wrmsr(v, msr, plain[i].b);
		EXPECT_EQ(0, puppet(v)->trap);
		EXPECT_EQ(plain[i].b, puppet_rdmsr(v, msr)) TH_LOG("guest wrote %#x", msr);
		EXPECT_EQ(plain[i].b, vcpu_get_msr(v, msr)) TH_LOG("user reads %#x", msr);
		vcpu_set_msr(v, msr, plain[i].a);
		EXPECT_EQ(plain[i].a, vcpu_get_msr(v, msr));
	}
}

/* Two vCPUs that take turns on one CPU have their own. */
TEST(per_vcpu)
{
	static const u32 msrs[] = {
		MSR_STAR, MSR_LSTAR, MSR_SFMASK, MSR_KERNEL_GS, MSR_SYSENTER_CS, MSR_TSC_AUX,
	};
	struct vm *vm = vm_puppet(2, 0);
	u32 nr = ARRAY_SIZE(msrs);

	if (!rl_guest_has(0x80000001, 3, 27))	/* RDTSCP */
		nr--;
	for (u32 round = 0; round < 3; round++) {
		for (u32 i = 0; i < nr; i++)
			for (u32 c = 0; c < 2; c++)
				puppet_wrmsr(vm->vcpus[c], msrs[i], 0x100 * (c + 1) + round);
		for (u32 i = 0; i < nr; i++)
			for (u32 c = 0; c < 2; c++)
				EXPECT_EQ(0x100 * (c + 1) + round,
					  puppet_rdmsr(vm->vcpus[c], msrs[i]));
	}
}

TEST_F(msr, unknown_is_gp)
{
	static const u32 unknown[] = { MSR_NONE, 0x4fff, 0xc0001ffe, 0xc0010fff, 0x40001fff,
				       0xffffffff, 0x9ff };
	struct vcpu *v = self->v;

	for (u32 i = 0; i < ARRAY_SIZE(unknown); i++) {
		puppet_rdmsr(v, unknown[i]);
		EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap) TH_LOG("rdmsr %#x", unknown[i]);
		puppet_wrmsr(v, unknown[i], 0);
		EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap) TH_LOG("wrmsr %#x", unknown[i]);
	}
}

TEST_F(msr, bad_values_are_gp)
{
	static const struct { u32 msr; u64 val; bool tcg_misses; } bad[] = {
		{ MSR_PAT, 0x0002 },
		{ MSR_PAT, 0x0800000000000000 },
		{ MSR_EFER, 1ull << 40 },
		{ MSR_EFER, 1ull << 1 | EFER_LME | EFER_LMA },
		{ MSR_EFER, EFER_NX },			/* LME may not go while paging is on */
		{ MSR_APIC_BASE, 0xfee00901 },
		{ MSR_APIC_BASE, 0xfee00500 },		/* x2APIC without the enable bit */
		{ MSR_APIC_BASE, 1ull << 60 | 0xfee00900 },
		{ MSR_X2APIC(APIC_ID), 0 },		/* the APIC is not in x2APIC mode */
		{ 0xfe, 0x508 },			/* MTRRcap is read-only */
		{ 0x2ff, 0x2 },				/* no such memory type */
		{ 0x200, 0x2 },
		{ MSR_LSTAR, 1ull << 47, true },
		{ MSR_KERNEL_GS, 1ull << 60, true },
		{ MSR_FS_BASE, 1ull << 47, true },
	};
	struct vcpu *v = self->v;

	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		if (bad[i].tcg_misses && rl_host_is_tcg())
			continue;
		puppet_wrmsr(v, bad[i].msr, bad[i].val);
		EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap)
			TH_LOG("wrmsr %#x %#lx", bad[i].msr, bad[i].val);
	}
	puppet_rdmsr(v, MSR_X2APIC(APIC_ID));
	EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap);
	EXPECT_EQ(0xfee00900, puppet_rdmsr(v, MSR_APIC_BASE));
	EXPECT_EQ(0x0007040600070406, puppet_rdmsr(v, MSR_PAT));
	/* user space is told the same by the count */
	EXPECT_EQ(0, vcpu_try_set_msr(v, MSR_PAT, 2));
	EXPECT_EQ(0, vcpu_try_set_msr(v, MSR_LSTAR, 1ull << 47));
	EXPECT_EQ(0, vcpu_try_set_msr(v, MSR_APIC_BASE, 0xfee00901));
}

TEST_F(msr, efer)
{
	struct vcpu *v = self->v;
	struct kvm_sregs s;

	EXPECT_EQ(EFER_LME | EFER_LMA | EFER_NX | EFER_SCE, puppet_rdmsr(v, MSR_EFER));
	puppet_wrmsr(v, MSR_EFER, EFER_LME | EFER_LMA);
	EXPECT_EQ(0, puppet(v)->trap);
	EXPECT_EQ(EFER_LME | EFER_LMA, puppet_rdmsr(v, MSR_EFER));
	kvm_do(v->fd, KVM_GET_SREGS, &s);
	EXPECT_EQ(EFER_LME | EFER_LMA, s.efer);
	EXPECT_EQ(EFER_LME | EFER_LMA, vcpu_get_msr(v, MSR_EFER));
}

static u64 guest_undefined(u64 arg)
{
	return GUEST_TRY("syscall", : TRAP_OUT : : "rcx", "r11", "memory");
}

TEST_F(msr, syscall_needs_sce)
{
	puppet_wrmsr(self->v, MSR_EFER, EFER_LME | EFER_LMA);
	EXPECT_EQ(TRAP(UD, 0), puppet_call(self->v, guest_undefined, 0));
}

/* What Linux reads and writes on its way up, without being ready for a #GP. */
TEST_F(msr, that_linux_expects)
{
	static const u32 common[] = {
		MSR_APIC_BASE, 0x8b, 0xfe, 0x179, 0x17a, 0x1a0, 0x200, 0x201, 0x20e, 0x20f,
		0x250, 0x258, 0x259, 0x268, 0x26f, MSR_PAT, 0x2ff, 0x400, 0x401, MSR_TSC,
		MSR_EFER, MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK, MSR_FS_BASE, MSR_GS_BASE,
		MSR_KERNEL_GS, 0x11e, 0x2c, 0xc0010117,
	};
	static const u32 amd[] = { 0xc0010010, 0xc0010015, 0xc001001f, 0xc0010055, 0xc0011029 };
	struct vcpu *v = self->v;
	u64 mtrr;

	for (u32 i = 0; i < ARRAY_SIZE(common); i++) {
		puppet_rdmsr(v, common[i]);
		EXPECT_EQ(0, puppet(v)->trap) TH_LOG("rdmsr %#x", common[i]);
	}
	for (u32 i = 0; rl_host_is_amd() && i < ARRAY_SIZE(amd); i++) {
		puppet_rdmsr(v, amd[i]);
		EXPECT_EQ(0, puppet(v)->trap) TH_LOG("rdmsr %#x", amd[i]);
	}
	mtrr = puppet_rdmsr(v, 0xfe);
	EXPECT_GE(mtrr & 0xff, 1);
	puppet_wrmsr(v, 0x200, 0x80000000);
	EXPECT_EQ(0, puppet(v)->trap);
	puppet_wrmsr(v, 0x201, 0xff80000800);
	EXPECT_EQ(0, puppet(v)->trap);
	puppet_wrmsr(v, 0x2ff, 0xc06);
	EXPECT_EQ(0, puppet(v)->trap);
	EXPECT_EQ(0x80000000, puppet_rdmsr(v, 0x200));
	EXPECT_EQ(0xff80000800, puppet_rdmsr(v, 0x201));
	EXPECT_EQ(0xc06, puppet_rdmsr(v, 0x2ff));
}

static u64 guest_tsc_steps(u64 n)
{
	u64 last = rdtsc();

	while (n--) {
		u64 now = rdtsc();

		if (now < last)
			return last - now;
		last = now;
	}
	return 0;
}

static u64 guest_rdtsc(u64 arg)
{
	return rdtsc();
}

TEST_F(msr, tsc)
{
	struct vcpu *v = self->v;
	u64 a, b, adjust;

	EXPECT_EQ(0, puppet_call(v, guest_tsc_steps, 1000));
	a = puppet_call(v, guest_rdtsc, 0);
	b = puppet_rdmsr(v, MSR_TSC);
	EXPECT_GE(b, a);
	a = puppet_call(v, guest_rdtsc, 0);
	EXPECT_GE(a, b);
	EXPECT_GE(vcpu_get_msr(v, MSR_TSC), a);

	/* the guest sets it: far ahead, and back */
	puppet_wrmsr(v, MSR_TSC, 1ull << 50);
	a = puppet_call(v, guest_rdtsc, 0);
	EXPECT_GE(a, 1ull << 50);
	EXPECT_LT(a, 1ull << 51);
	puppet_wrmsr(v, MSR_TSC, 0);
	EXPECT_LT(puppet_call(v, guest_rdtsc, 0), 1ull << 50);
	/* and user space */
	vcpu_set_msr(v, MSR_TSC, 1ull << 51);
	EXPECT_GE(puppet_call(v, guest_rdtsc, 0), 1ull << 51);
	EXPECT_GE(puppet_rdmsr(v, MSR_TSC), 1ull << 51);

	if (!rl_guest_has(7, 1, 1))
		return;
	/* TSC_ADJUST moves with the guest's writes, and the TSC moves with it */
	adjust = puppet_rdmsr(v, 0x3b);
	puppet_wrmsr(v, MSR_TSC, 1ull << 52);
	EXPECT_NE(adjust, puppet_rdmsr(v, 0x3b));
	adjust = puppet_rdmsr(v, 0x3b);
	a = puppet_call(v, guest_rdtsc, 0);
	puppet_wrmsr(v, 0x3b, adjust + (1ull << 53));
	EXPECT_GE(puppet_call(v, guest_rdtsc, 0), a + (1ull << 53));
	EXPECT_EQ(adjust + (1ull << 53), vcpu_get_msr(v, 0x3b));
}

static u64 guest_rdtscp(u64 arg)
{
	u32 lo, hi, aux;

	asm volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
	return aux;
}

TEST_F(msr, tsc_aux)
{
	if (!rl_guest_has(0x80000001, 3, 27))
		SKIP(return, "no RDTSCP for guests");
	vcpu_set_msr(self->v, MSR_TSC_AUX, 0x1234567);
	EXPECT_EQ(0x1234567, puppet_call(self->v, guest_rdtscp, 0));
	puppet_wrmsr(self->v, MSR_TSC_AUX, 0x89);
	EXPECT_EQ(0x89, puppet_call(self->v, guest_rdtscp, 0));
	EXPECT_EQ(0x89, vcpu_get_msr(self->v, MSR_TSC_AUX));
}

TEST_HARNESS_MAIN
