// SPDX-License-Identifier: GPL-2.0
/* CPUID: what is supported, what may be set, what the guest reads. */
#include "lib.h"
#include "harness.h"

FIXTURE(cpuid) {
	struct vm *vm;
	struct vcpu *v;
	struct kvm_cpuid2 *c;	/* what is supported */
};

FIXTURE_SETUP(cpuid)
{
	self->vm = vm_puppet(1, VM_IRQCHIP);
	self->v = self->vm->vcpus[0];
	self->c = rl_supported_cpuid(self->vm->dev);
}

FIXTURE_TEARDOWN(cpuid)
{
	free(self->c);
	vm_free(self->vm);
}

/* A vCPU that has not run yet takes another table; one that has does not. */
static struct vcpu *fresh_vcpu(struct vm *vm, struct kvm_cpuid2 *c)
{
	struct vcpu *v = vcpu_new(vm, vm->nr_vcpus);

	vcpu_set_cpuid(v, c);
	return v;
}

TEST_F(cpuid, supported_list_sizes)
{
	int dev = self->vm->dev;
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 400 * sizeof(c->entries[0]));
	u32 nent = self->c->nent;

	ASSERT_GT(nent, 10);
	c->nent = 0;
	EXPECT_EQ(-E2BIG, kvm_try(dev, KVM_GET_SUPPORTED_CPUID, c));
	c->nent = 1;
	EXPECT_EQ(-E2BIG, kvm_try(dev, KVM_GET_SUPPORTED_CPUID, c));
	c->nent = nent - 1;
	EXPECT_EQ(-E2BIG, kvm_try(dev, KVM_GET_SUPPORTED_CPUID, c));
	c->nent = nent;
	EXPECT_EQ(0, kvm_try(dev, KVM_GET_SUPPORTED_CPUID, c));
	c->nent = 400;
	EXPECT_EQ(0, kvm_try(dev, KVM_GET_SUPPORTED_CPUID, c));
	EXPECT_EQ(nent, c->nent);
	EXPECT_EQ(-EFAULT, kvm_try(dev, KVM_GET_SUPPORTED_CPUID, 8));
	free(c);
}

/* What is emulated where the CPU lacks it: a list, though it may say nothing. */
TEST_F(cpuid, emulated_list)
{
	int dev = self->vm->dev;
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 40 * sizeof(c->entries[0]));

	EXPECT_EQ(-E2BIG, kvm_try(dev, KVM_GET_EMULATED_CPUID, c));
	c->nent = 1;
	EXPECT_EQ(-E2BIG, kvm_try(dev, KVM_GET_EMULATED_CPUID, c));
	c->nent = 40;
	c->entries[7].padding[0] = 1;
	EXPECT_EQ(-EINVAL, kvm_try(dev, KVM_GET_EMULATED_CPUID, c));
	c->entries[7].padding[0] = 0;
	ASSERT_EQ(0, kvm_try(dev, KVM_GET_EMULATED_CPUID, c));
	ASSERT_LT(c->nent, 40);
	ASSERT_NE(NULL, rl_cpuid_find(c, 0, 0));
	EXPECT_EQ(c->entries[c->nent - 1].function, rl_cpuid_find(c, 0, 0)->eax);
	free(c);
}

TEST_F(cpuid, supported_contents)
{
	static const u32 leaves[] = { 0, 1, 7, 0xd, 0x40000000, 0x40000001, 0x80000000, 0x80000001,
				      0x80000008 };
	struct kvm_cpuid_entry2 *e;

	for (u32 i = 0; i < ARRAY_SIZE(leaves); i++) {
		EXPECT_NE(NULL, rl_cpuid_find(self->c, leaves[i], 0))
			TH_LOG("no leaf %#x", leaves[i]);
	}
	for (u32 i = 0; i < self->c->nent; i++) {
		for (u32 j = 0; j < i; j++) {
			EXPECT_FALSE(self->c->entries[i].function == self->c->entries[j].function &&
				     self->c->entries[i].index == self->c->entries[j].index);
		}
	}
	e = rl_cpuid_find(self->c, 0x40000000, 0);
	EXPECT_EQ(0, memcmp(&e->ebx, "KVMKVMKVM\0\0\0", 12));
	EXPECT_GE(e->eax, 0x40000001);
	e = rl_cpuid_find(self->c, 0x40000001, 0);
	EXPECT_EQ(9, e->eax & 9);		/* both kvmclock interfaces */
	e = rl_cpuid_find(self->c, 1, 0);
	EXPECT_EQ(1, e->ecx >> 21 & 1);		/* x2APIC */
	EXPECT_EQ(0, e->ecx >> 24 & 1);		/* TSC deadline: only with the kernel's APIC */
	EXPECT_EQ(0, e->ecx >> 31);		/* hypervisor: user space's to say */
	EXPECT_EQ(0, e->ecx >> 27 & 1);		/* OSXSAVE is the guest's own */
	EXPECT_EQ(1, e->edx >> 9 & 1);		/* APIC */
	e = rl_cpuid_find(self->c, 7, 0);
	EXPECT_EQ(1, e->edx >> 29 & 1);		/* ARCH_CAPABILITIES, on any host */
	e = rl_cpuid_find(self->c, 0x80000008, 0);
	EXPECT_GE(e->eax & 0xff, 36);
	EXPECT_TRUE((e->eax >> 8 & 0xff) == 48 || (e->eax >> 8 & 0xff) == 57);
	e = rl_cpuid_find(self->c, 0x80000001, 0);
	EXPECT_EQ(1, e->edx >> 29 & 1);		/* long mode */
}

TEST_F(cpuid, set_limits)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 300 * sizeof(c->entries[0]));
	struct vcpu *v = fresh_vcpu(self->vm, self->c);
	struct kvm_cpuid_entry2 *e;

	c->nent = 257;
	EXPECT_EQ(-E2BIG, kvm_try(v->fd, KVM_SET_CPUID2, c));
	c->nent = -1;
	EXPECT_EQ(-E2BIG, kvm_try(v->fd, KVM_SET_CPUID2, c));
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_CPUID2, 8));
	memcpy(c, self->c, sizeof(*c) + self->c->nent * sizeof(c->entries[0]));
	e = rl_cpuid_find(c, 0x80000008, 0);
	e->eax = (e->eax & ~0xff00) | 40 << 8;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_CPUID2, c));
	c->nent = 0;
	EXPECT_EQ(0, kvm_try(v->fd, KVM_SET_CPUID2, c));
	for (u32 i = 0; i < 256; i++)
		c->entries[i].function = 0x40000000 + i;
	c->nent = 256;
	EXPECT_EQ(0, kvm_try(v->fd, KVM_SET_CPUID2, c));
	free(c);
}

TEST_F(cpuid, get_what_was_set)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));
	struct vcpu *v = fresh_vcpu(self->vm, self->c);

	c->nent = self->c->nent - 1;
	EXPECT_EQ(-E2BIG, kvm_try(v->fd, KVM_GET_CPUID2, c));
	c->nent = 256;		/* Linux 6.1 leaves it at that; the manual has the real number */
	EXPECT_EQ(0, kvm_try(v->fd, KVM_GET_CPUID2, c));
	ASSERT_GE(c->nent, self->c->nent);
	for (u32 i = 0; i < self->c->nent; i++) {
		EXPECT_EQ(self->c->entries[i].function, c->entries[i].function);
		EXPECT_EQ(self->c->entries[i].index, c->entries[i].index);
		EXPECT_EQ(self->c->entries[i].flags, c->entries[i].flags);
		EXPECT_EQ(self->c->entries[i].eax, c->entries[i].eax);
	}
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_GET_CPUID2, 8));
	free(c);
}

TEST_F(cpuid, changed_after_run)
{
	struct kvm_cpuid2 *c = self->c;
	u32 nent = c->nent;

	rl_cpuid_find(c, 1, 0)->ebx &= 0xffffff;
	rl_cpuid_find(c, 1, 0)->ecx ^= 1;
	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_SET_CPUID2, c));
	c->nent = nent;
	kvm_do(self->v->fd, KVM_GET_CPUID2, c);
	c->nent = nent;
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_CPUID2, c));	/* the same is no change */
}

/* Bits that the CPU itself changes while the guest runs. */
static void clear_dynamic(u32 leaf, u32 sub, u32 r[4])
{
	if (leaf == 1)
		r[2] &= ~(1u << 27);		/* OSXSAVE */
	if (leaf == 7 && !sub)
		r[2] &= ~(1u << 4);		/* OSPKE */
	if (leaf == 0xd && sub < 2)
		r[1] = 0;			/* sizes for the current XCR0 and XSS */
}

TEST_F(cpuid, guest_reads_the_table)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));

	c->nent = 256;
	kvm_do(self->v->fd, KVM_GET_CPUID2, c);
	for (u32 i = 0; i < self->c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];
		u32 want[4] = { e->eax, e->ebx, e->ecx, e->edx }, got[4];

		if (e->function == 2)
			continue;
		puppet_do(self->v, PUPPET_CPUID, e->function, e->index, 0);
		for (int r = 0; r < 4; r++)
			got[r] = puppet(self->v)->cpuid[r];
		clear_dynamic(e->function, e->index, want);
		clear_dynamic(e->function, e->index, got);
		EXPECT_EQ(0, memcmp(want, got, 16))
			TH_LOG("leaf %#x.%u: %#x %#x %#x %#x, not %#x %#x %#x %#x", e->function,
			       e->index, got[0], got[1], got[2], got[3], want[0], want[1], want[2],
			       want[3]);
	}
	free(c);
}

GUEST64(cpuid_once, "cpuid; hlt\n");

static struct kvm_regs run_cpuid(struct vcpu *v, u32 leaf, u32 sub)
{
	struct kvm_regs regs = {
		.rip = BLOB_GPA, .rax = leaf, .rcx = sub, .rflags = RFLAGS_FIXED,
	};

	kvm_do(v->fd, KVM_SET_REGS, &regs);
	expect_exit(v, KVM_EXIT_HLT);
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	return regs;
}

TEST(invented_table)
{
	/* vendor, and what a basic leaf out of range gives: Intel's last leaf, AMD's zeros */
	static const struct { const char *vendor; u32 beyond; } cases[] = {
		{ "GenuntelineI", 0x77 }, { "AuthcAMDenti", 0 },
	};

	for (int i = 0; i < 2; i++) {
		struct vm *vm = VM_BLOB(cpuid_once, 0);
		struct vcpu *v = vm->vcpus[0];
		struct kvm_cpuid2 *c = rl_supported_cpuid(vm->dev);
		struct kvm_cpuid_entry2 *e = rl_cpuid_find(c, 0, 0);
		struct kvm_regs r;

		e->eax = 0x16;
		memcpy(&e->ebx, cases[i].vendor, 12);
		e = rl_cpuid_find(c, 0x16, 0);
		if (!e)
			e = &c->entries[c->nent++];
		*e = (struct kvm_cpuid_entry2) {
			.function = 0x16, .eax = 0x77, .ebx = 0x88, .ecx = 0x99, .edx = 0xaa,
		};
		vcpu_set_cpuid(v, c);
		r = run_cpuid(v, 0x16, 5);
		EXPECT_EQ(0x77, r.rax);
		EXPECT_EQ(0xaa, r.rdx);
		r = run_cpuid(v, 0x17, 0);
		EXPECT_EQ(cases[i].beyond, r.rax);
		/* a sub-leaf that is not there, of a leaf that has some: nothing */
		r = run_cpuid(v, 7, 0x1234);
		EXPECT_EQ(0, r.rax | r.rbx | r.rcx | r.rdx);
		free(c);
		vm_free(vm);
	}
}

/* What redirects to a topology leaf has its answer, beyond its last level too. */
TEST(beyond_the_topology)
{
	struct vm *vm = VM_BLOB(cpuid_once, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_cpuid2 *c = rl_supported_cpuid(vm->dev);
	struct kvm_cpuid_entry2 *e = rl_cpuid_find(c, 0, 0);
	struct kvm_regs r;
	u32 n = 0;

	e->eax = 0xb;
	memcpy(&e->ebx, "GenuntelineI", 12);
	for (u32 i = 0; i < c->nent; i++)
		if (c->entries[i].function <= 7 || c->entries[i].function >= 0x80000000)
			c->entries[n++] = c->entries[i];
	c->nent = n + 2;
	for (u32 i = 0; i < 2; i++)
		c->entries[n + i] = (struct kvm_cpuid_entry2) {
			.function = 0xb, .index = i, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = 1, .edx = 0x77,
		};
	vcpu_set_cpuid(v, c);
	r = run_cpuid(v, 0x20, 5);
	EXPECT_EQ(0, r.rax);
	EXPECT_EQ(5, r.rcx);
	EXPECT_EQ(0x77, r.rdx);
	free(c);
	vm_free(vm);
}

static u64 guest_osxsave(u64 on)
{
	u32 out[4];
	u64 cr4;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 = on ? cr4 | X86_CR4_OSXSAVE : cr4 & ~(u64)X86_CR4_OSXSAVE;
	asm volatile("mov %0, %%cr4" : : "r"(cr4));
	guest_cpuid(1, 0, out);
	return out[2] >> 27 & 1;
}

/* SYSCALL in 32-bit code. What comes back: RCX, R11 and the selectors, in the registers of a call. */
u64 syscall32_run(u64 out[4]);
extern const char syscall32_next[], syscall32_target[];
asm(".pushsection .text\n"
    "syscall32_run:\n"
    "	pushfq; pop %rdx; or $1, %rdx; push %rdx; popfq\n"
    "	mov %ss, %esi\n"
    "	ljmp *1f(%rip)\n"
    "1:	.long 2f; .word 0x18\n"
    ".code32\n"
    "2:	syscall\n"
    "syscall32_next:\n"
    "	ud2\n"
    ".code64\n"
    "syscall32_target:\n"
    "	mov %rcx, (%rdi); mov %r11, 8(%rdi); mov %cs, 16(%rdi); mov %ss, 24(%rdi)\n"
    "	pushfq; pop %rax; mov %esi, %ss\n"
    "	ret\n"
    ".popsection\n");

static u64 syscall32[4];

static u64 guest_syscall32(u64 unused)
{
	guest_wrmsr(MSR_STAR, (u64)SEL_CODE64 << 32);
	guest_wrmsr(MSR_CSTAR, (u64)syscall32_target);
	guest_wrmsr(MSR_SFMASK, 1);
	return syscall32_run(syscall32);
}

/* AMD's CPUs have it; on others a guest that was promised one gets it all the same. */
TEST(syscall_in_32_bit_code)
{
	struct vm *vm = vm_long(1, guest_puppet, 0);
	struct kvm_cpuid2 *c = rl_supported_cpuid(vm->dev);
	struct kvm_cpuid_entry2 *e = rl_cpuid_find(c, 0, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 flags;

	memcpy(&e->ebx, "Auth", 4);
	memcpy(&e->edx, "enti", 4);
	memcpy(&e->ecx, "cAMD", 4);
	vcpu_set_cpuid(v, c);
	free(c);
	expect_sync(v, PUPPET_STAGE);
	flags = puppet_call(v, guest_syscall32, 0);
	EXPECT_EQ((u64)syscall32_next, G(vm, syscall32[0]));
	EXPECT_EQ(1, G(vm, syscall32[1]) & 1);		/* of the others QEMU loses some */
	EXPECT_EQ(0, flags & 1);
	EXPECT_EQ(SEL_CODE64, G(vm, syscall32[2]));
	EXPECT_EQ(SEL_CODE64 + 8, G(vm, syscall32[3]));
	vm_free(vm);
}

TEST_F(cpuid, osxsave_follows_cr4)
{
	if (!rl_guest_has(1, 2, 26))
		SKIP(return, "no XSAVE for guests");
	EXPECT_EQ(1, puppet_call(self->v, guest_osxsave, 1));
	EXPECT_EQ(0, puppet_call(self->v, guest_osxsave, 0));
	EXPECT_EQ(1, puppet_call(self->v, guest_osxsave, 1));
}

TEST_F(cpuid, xsave_size_follows_xcr0)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = 3 };

	if (!rl_guest_has(1, 2, 28))
		SKIP(return, "no AVX for guests");
	EXPECT_EQ(1, puppet_call(self->v, guest_osxsave, 1));
	kvm_do(self->v->fd, KVM_SET_XCRS, &xcrs);
	puppet_do(self->v, PUPPET_CPUID, 0xd, 0, 0);
	EXPECT_EQ(576, puppet(self->v)->cpuid[1]);
	xcrs.xcrs[0].value = 7;
	kvm_do(self->v->fd, KVM_SET_XCRS, &xcrs);
	puppet_do(self->v, PUPPET_CPUID, 0xd, 0, 0);
	EXPECT_EQ(832, puppet(self->v)->cpuid[1]);
}

TEST_HARNESS_MAIN
