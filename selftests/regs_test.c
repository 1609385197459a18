// SPDX-License-Identifier: GPL-2.0
/*
 * A vCPU's state as user space sets and gets it: what comes back, what the
 * guest sees of it, and what is refused with nothing changed.
 */
#include "lib.h"
#include "harness.h"
#include <sched.h>
#include <sys/syscall.h>

/* Every register one more than it was, without touching the flags first. */
GUEST64(increment,
	"pushfq; popq 8f(%rip)\n"
	"inc %rax; inc %rbx; inc %rcx; inc %rdx; inc %rsi; inc %rdi; inc %rbp\n"
	"inc %r8; inc %r9; inc %r10; inc %r11; inc %r12; inc %r13; inc %r14; inc %r15\n"
	"hlt\n"
	"8: .quad 0\n");

TEST(general_registers)
{
	struct vm *vm = VM_BLOB(increment, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 in[16] = {}, out[16];
	struct kvm_regs r;

	for (int i = 0; i < 16; i++)
		in[i] = 0x1111222233334440ull * (i + 1) + i;
	in[6] = BLOB_STACK;		/* rsp */
	memcpy(&r, in, sizeof(in));
	r.rip = BLOB_GPA;
	r.rflags = 0x8d7 & ~0x200;	/* all arithmetic flags; without the bit that is always 1 */
	r.rflags &= ~2ull;
	kvm_do(v->fd, KVM_SET_REGS, &r);
	kvm_do(v->fd, KVM_GET_REGS, &r);
	ASSERT_EQ(0, memcmp(&r, in, sizeof(in)));
	ASSERT_EQ(0x8d7, r.rflags);
	expect_exit(v, KVM_EXIT_HLT);
	kvm_do(v->fd, KVM_GET_REGS, &r);
	memcpy(out, &r, sizeof(out));
	for (int i = 0; i < 16; i++)
		ASSERT_EQ(in[i] + (i != 6), out[i]);
	ASSERT_EQ(0x8d7, *(u64 *)vm_hva(vm, BLOB_GPA + (increment_end - increment_start) - 8));
	ASSERT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_REGS, 8));
	ASSERT_EQ(-EFAULT, kvm_try(v->fd, KVM_GET_REGS, 8));
}

TEST(reset_state)
{
	struct vm *vm = vm_new(VM_IRQCHIP);
	struct kvm_debugregs dr;
	struct kvm_mp_state mp;
	struct kvm_sregs s;
	struct kvm_regs r;

	for (int id = 0; id < 2; id++) {
		struct vcpu *v = vcpu_new(vm, id);

		kvm_do(v->fd, KVM_GET_REGS, &r);
		EXPECT_EQ(0xfff0, r.rip);
		EXPECT_EQ(2, r.rflags);
		EXPECT_EQ(0, r.rax | r.rbx | r.rcx | r.rsp | r.rbp | r.rsi | r.rdi | r.r8 | r.r15);
		kvm_do(v->fd, KVM_GET_SREGS, &s);
		EXPECT_EQ(0x60000010, s.cr0);
		EXPECT_EQ(0, s.cr2 | s.cr3 | s.cr4 | s.cr8 | s.efer);
		EXPECT_EQ(0xf000, s.cs.selector);
		EXPECT_EQ(0xffff0000, s.cs.base);
		EXPECT_EQ(0xffff, s.cs.limit);
		EXPECT_EQ(0, s.ds.selector | s.ds.base | s.ss.selector | s.ss.base);
		EXPECT_EQ(0xffff, s.ds.limit);
		EXPECT_EQ(3, s.ds.type);
		EXPECT_EQ(1, s.ds.present);
		EXPECT_EQ(0xffff, s.gdt.limit);
		EXPECT_EQ(0xffff, s.idt.limit);
		EXPECT_EQ(0, s.gdt.base | s.idt.base);
		EXPECT_EQ(id ? 0xfee00800 : 0xfee00900, s.apic_base);
		kvm_do(v->fd, KVM_GET_DEBUGREGS, &dr);
		EXPECT_EQ(0xffff0ff0, dr.dr6);
		EXPECT_EQ(0x400, dr.dr7);
		kvm_do(v->fd, KVM_GET_MP_STATE, &mp);
		EXPECT_EQ(id ? KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE, mp.mp_state);
		EXPECT_EQ(0x0007040600070406, vcpu_get_msr(v, 0x277));
	}
}

FIXTURE(regs) {
	struct vm *vm;
	struct vcpu *v;
	struct kvm_sregs s;
};

FIXTURE_SETUP(regs)
{
	self->vm = vm_puppet(1, 0);
	self->v = self->vm->vcpus[0];
	kvm_do(self->v->fd, KVM_GET_SREGS, &self->s);
}

FIXTURE_TEARDOWN(regs)
{
	vm_free(self->vm);
}

static u64 guest_crs(u64 which)
{
	u64 val = 0;

	switch (which) {
	case 0:
		asm volatile("mov %%cr0, %0" : "=r"(val));
		break;
	case 2:
		asm volatile("mov %%cr2, %0" : "=r"(val));
		break;
	case 3:
		asm volatile("mov %%cr3, %0" : "=r"(val));
		break;
	case 4:
		asm volatile("mov %%cr4, %0" : "=r"(val));
		break;
	case 8:
		asm volatile("mov %%cr8, %0" : "=r"(val));
		break;
	}
	return val;
}

static u64 guest_table_bases(u64 idt)
{
	struct {
		u16 limit;
		u64 base;
	} __packed d;

	if (idt)
		asm volatile("sidt %0" : "=m"(d));
	else
		asm volatile("sgdt %0" : "=m"(d));
	return d.base << 16 | d.limit;
}

TEST_F(regs, control_registers)
{
	struct kvm_sregs s = self->s, back;
	struct vcpu *v = self->v;

	s.cr0 |= X86_CR0_TS;
	s.cr0 ^= X86_CR0_MP;
	s.cr2 = 0xffff800012345678;
	s.cr3 = PT_GPA | 0x18;
	s.cr4 |= 0x80 | 4;		/* PGE, TSD */
	s.efer &= ~(u64)EFER_SCE;
	s.cr8 = 7;
	v->run->cr8 = 7;
	s.gdt.limit = 0x2f;
	s.ds.selector = 0x23;
	s.fs.base = 0x7fff12345000;
	s.gs.base = 0xffff888000000000;
	s.tr.base = 0xffffc90000000000;
	kvm_do(v->fd, KVM_SET_SREGS, &s);
	kvm_do(v->fd, KVM_GET_SREGS, &back);
	EXPECT_EQ(s.cr0, back.cr0);
	EXPECT_EQ(s.cr2, back.cr2);
	EXPECT_EQ(s.cr3, back.cr3);
	EXPECT_EQ(s.cr4, back.cr4);
	EXPECT_EQ(s.efer, back.efer);
	EXPECT_EQ(s.cr8, back.cr8);
	EXPECT_EQ(0x2f, back.gdt.limit);
	EXPECT_EQ(s.idt.base, back.idt.base);
	EXPECT_EQ(s.tr.base, back.tr.base);
	EXPECT_EQ(s.fs.base, back.fs.base);
	EXPECT_EQ(s.gs.base, back.gs.base);
	EXPECT_EQ(0x23, back.ds.selector);
	EXPECT_EQ(1, back.cs.l);

	EXPECT_EQ(s.cr0, puppet_call(v, guest_crs, 0));
	if (!rl_host_is_bochs_svm())	/* which does not load CR2, on kvm.ko either */
		EXPECT_EQ(s.cr2, puppet_call(v, guest_crs, 2));
	EXPECT_EQ(s.cr3, puppet_call(v, guest_crs, 3));
	EXPECT_EQ(s.cr4, puppet_call(v, guest_crs, 4));
	EXPECT_EQ(7, puppet_call(v, guest_crs, 8));
	EXPECT_EQ(s.gdt.base << 16 | 0x2f, puppet_call(v, guest_table_bases, 0));
	EXPECT_EQ(s.idt.base << 16 | 0xfff, puppet_call(v, guest_table_bases, 1));
	EXPECT_EQ(s.efer, puppet_rdmsr(v, MSR_EFER));
	EXPECT_EQ(s.fs.base, puppet_rdmsr(v, MSR_FS_BASE));
	EXPECT_EQ(s.gs.base, puppet_rdmsr(v, MSR_GS_BASE));
}

TEST_F(regs, sregs_round_trip_in_every_mode)
{
	static const int modes[] = { 16, 32, 64 };
	struct kvm_sregs a, b;

	for (int i = 0; i < 3; i++) {
		vcpu_bits(self->v, 16, 0);
		vcpu_bits(self->v, modes[i], 0);
		kvm_do(self->v->fd, KVM_GET_SREGS, &a);
		kvm_do(self->v->fd, KVM_SET_SREGS, &a);
		kvm_do(self->v->fd, KVM_GET_SREGS, &b);
		ASSERT_EQ(0, memcmp(&a, &b, sizeof(a)));
		/* back to where real mode starts from */
		a.cr0 = X86_CR0_ET;
		a.cr4 = a.efer = 0;
		a.cs.l = 0;
		kvm_do(self->v->fd, KVM_SET_SREGS, &a);
	}
}

#define REFUSED(_metadata, change) \
	do { \
		struct kvm_sregs s = self->s, now; \
		change; \
		EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_SET_SREGS, &s)); \
		kvm_do(self->v->fd, KVM_GET_SREGS, &now); \
		EXPECT_EQ(0, memcmp(&now, &self->s, sizeof(now))); \
	} while (0)

TEST_F(regs, invalid_sregs)
{
	struct kvm_cpuid2 *cpuid = rl_supported_cpuid(self->vm->dev);
	struct kvm_cpuid_entry2 *e = rl_cpuid_find(cpuid, 0x80000008, 0);
	int maxphyaddr = e ? e->eax & 0xff : 36;

	REFUSED(_metadata, s.cr0 |= 1ull << 32);
	REFUSED(_metadata, s.cr0 &= ~(u64)X86_CR0_PE);
	REFUSED(_metadata, s.cr0 |= X86_CR0_NW);
	REFUSED(_metadata, s.cr4 |= 1u << 31);
	REFUSED(_metadata, s.cr4 |= 1ull << 40);
	REFUSED(_metadata, s.cr4 |= 1u << 15);
	REFUSED(_metadata, s.cr4 &= ~(u64)X86_CR4_PAE);
	REFUSED(_metadata, s.efer &= ~(u64)EFER_LMA);
	REFUSED(_metadata, s.efer &= ~(u64)EFER_LME);
	REFUSED(_metadata, s.cr0 &= ~(u64)X86_CR0_PG);		/* with LMA */
	REFUSED(_metadata, (s.cr0 &= ~(u64)X86_CR0_PG, s.efer = 0));	/* with cs.l */
	REFUSED(_metadata, s.cr3 |= 1ull << maxphyaddr);
	REFUSED(_metadata, s.cr3 |= 1ull << 63);
	REFUSED(_metadata, s.apic_base |= 1ull << maxphyaddr);
	REFUSED(_metadata, s.apic_base |= 1);
	REFUSED(_metadata, s.apic_base |= 0x200);
	REFUSED(_metadata, s.apic_base = (s.apic_base & ~0xc00ull) | 0x400);
	EXPECT_EQ(-EFAULT, kvm_try(self->v->fd, KVM_SET_SREGS, 8));
	EXPECT_EQ(-EFAULT, kvm_try(self->v->fd, KVM_GET_SREGS, 8));
	free(cpuid);
	puppet_write(self->v, FREE_GPA, 1);	/* it still runs */
}

/* A vCPU before its CPUID, out of long mode: any bit that the host can give is taken. */
TEST(pcide_before_cpuid)
{
	struct vm *vm = vm_new(0);
	struct vcpu *v = vcpu_new(vm, 0);
	struct kvm_sregs s;

	if (!rl_guest_has(1, 2, 17))
		SKIP(return, "no PCID");
	kvm_do(v->fd, KVM_GET_SREGS, &s);
	s.cr4 |= 1u << 17;
	EXPECT_EQ(0, kvm_try(v->fd, KVM_SET_SREGS, &s));
	kvm_do(v->fd, KVM_GET_SREGS, &s);
	EXPECT_EQ(1u << 17, s.cr4);
	vm_free(vm);
}

TEST(cr4_follows_cpuid)
{
	static const struct { u32 leaf; int reg, bit, cr4; } feature[] = {
		{ 7, 1, 7, 20 },	/* SMEP */
		{ 7, 1, 20, 21 },	/* SMAP */
		{ 7, 1, 0, 16 },	/* FSGSBASE */
		{ 7, 2, 2, 11 },	/* UMIP */
		{ 7, 2, 3, 22 },	/* PKU */
		{ 7, 2, 16, 12 },	/* LA57 */
		{ 1, 2, 17, 17 },	/* PCID */
		{ 1, 2, 26, 18 },	/* XSAVE */
	};
	struct kvm_cpuid_entry2 *e;
	struct kvm_cpuid2 *cpuid;
	struct kvm_sregs s;
	int have;

	for (u32 i = 0; i < ARRAY_SIZE(feature); i++) {
		struct vm *vm = VM_BLOB(increment, 0);
		struct vcpu *v = vm->vcpus[0];

		cpuid = rl_supported_cpuid(vm->dev);
		e = rl_cpuid_find(cpuid, feature[i].leaf, 0);
		ASSERT_NE(NULL, e);
		have = (&e->eax)[feature[i].reg] >> feature[i].bit & 1;
		(&e->eax)[feature[i].reg] &= ~(1u << feature[i].bit);
		kvm_do(v->fd, KVM_GET_SREGS, &s);
		s.cr4 |= 1u << feature[i].cr4;
		if (feature[i].cr4 != 12) /* needs a table of its own in 64-bit mode */
			EXPECT_EQ(have ? 0 : -EINVAL, kvm_try(v->fd, KVM_SET_SREGS, &s));
		s.cr4 &= ~(1ull << feature[i].cr4);
		kvm_do(v->fd, KVM_SET_SREGS, &s);
		vcpu_set_cpuid(v, cpuid);
		s.cr4 |= 1u << feature[i].cr4;
		EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_SREGS, &s));
		expect_exit(v, KVM_EXIT_HLT);
		free(cpuid);
		vm_free(vm);
	}
}

/* Whether it is the ioctl or the entry that says no: no guest runs like this. */
TEST_F(regs, reserved_efer_bits_never_run)
{
	struct kvm_sregs s = self->s;

	s.efer |= 1ull << 40;
	if (!kvm_try(self->v->fd, KVM_SET_SREGS, &s))
		expect_exit(self->v, KVM_EXIT_FAIL_ENTRY);
	kvm_do(self->v->fd, KVM_SET_SREGS, &self->s);
}

static u64 vectors_seen;

static void guest_see_vector(struct guest_regs *regs)
{
	vectors_seen |= 1ull << (regs->vector & 63);
}

static u64 guest_vectors_seen(u64 arg)
{
	guest_handlers[0x41] = guest_see_vector;
	return vectors_seen;
}

TEST_F(regs, pending_interrupt_in_sregs)
{
	struct vcpu *v = self->v;
	struct kvm_sregs s;

	EXPECT_EQ(0, puppet_call(v, guest_vectors_seen, 0));
	vcpu_open_interrupts(v);	/* a VMX entry with an interrupt wants that */
	kvm_do(v->fd, KVM_GET_SREGS, &s);
	s.interrupt_bitmap[1] = 2;	/* vector 0x41, as if its delivery had begun */
	kvm_do(v->fd, KVM_SET_SREGS, &s);
	kvm_do(v->fd, KVM_GET_SREGS, &s);
	EXPECT_EQ(2, s.interrupt_bitmap[1]);
	EXPECT_EQ(0, s.interrupt_bitmap[0] | s.interrupt_bitmap[2] | s.interrupt_bitmap[3]);
	memset(s.interrupt_bitmap, 0, sizeof(s.interrupt_bitmap));
	kvm_do(v->fd, KVM_SET_SREGS, &s);	/* an empty one does not take it back ... */
	EXPECT_EQ(2, puppet_call(v, guest_vectors_seen, 0));
	kvm_do(v->fd, KVM_GET_SREGS, &s);	/* ... delivery does */
	EXPECT_EQ(0, s.interrupt_bitmap[1]);
}

static u64 xmm_image[2] __aligned(16);
static u64 st_image[2];

static u64 guest_fpu_swap(u64 arg)
{
	u64 old[2] __aligned(16);

	asm volatile("movdqa %%xmm3, %0" : "=m"(old));
	asm volatile("movdqa %0, %%xmm3" : : "m"(xmm_image));
	xmm_image[0] = old[0];
	xmm_image[1] = old[1];
	asm volatile("fstpt %0" : "=m"(st_image));
	asm volatile("fld1");
	return 0;
}

static u64 guest_mxcsr(u64 unused)
{
	u32 mxcsr;

	asm volatile("stmxcsr %0" : "=m"(mxcsr));
	return mxcsr;
}

TEST_F(regs, fpu)
{
	struct vcpu *v = self->v;
	struct kvm_fpu f, g;

	G(self->vm, xmm_image[0]) = 1;
	puppet_call(v, guest_fpu_swap, 0);	/* kvm.ko cannot set what is in its reset state */
	G(self->vm, xmm_image[0]) = 0xfeedface;
	G(self->vm, xmm_image[1]) = 0xcafe;
	kvm_do(v->fd, KVM_GET_FPU, &f);
	memset(f.xmm, 0xa5, sizeof(f.xmm));
	for (int i = 0; i < 8; i++) {
		memset(f.fpr[i], 0x10 + i, 8);
		f.fpr[i][8] = 0xff;
		f.fpr[i][9] = 0x3f;
	}
	f.fcw = 0x27f;
	f.ftwx = 0xff;
	f.mxcsr = 0;		/* not looked at: the guest goes on with what it had */
	kvm_do(v->fd, KVM_SET_FPU, &f);
	EXPECT_EQ(0x1f80, puppet_call(v, guest_mxcsr, 0));
	kvm_do(v->fd, KVM_GET_FPU, &g);
	for (int i = 0; i < 8; i++)
		EXPECT_EQ(0, memcmp(f.fpr[i], g.fpr[i], 10));
	EXPECT_EQ(0, memcmp(f.xmm, g.xmm, sizeof(f.xmm)));
	EXPECT_EQ(f.fcw, g.fcw);
	EXPECT_EQ(f.fsw, g.fsw);
	EXPECT_EQ(f.ftwx, g.ftwx);
	puppet_call(v, guest_fpu_swap, 0);
	EXPECT_EQ(0xa5a5a5a5a5a5a5a5, G(self->vm, xmm_image[0]));
	EXPECT_EQ(0xa5a5a5a5a5a5a5a5, G(self->vm, xmm_image[1]));
	EXPECT_EQ(0x1010101010101010, G(self->vm, st_image[0]));
	EXPECT_EQ(0x3fff, (u16)G(self->vm, st_image[1]));
	kvm_do(v->fd, KVM_GET_FPU, &g);
	EXPECT_EQ(0xfeedface, *(u64 *)g.xmm[3]);
	EXPECT_EQ(0xcafe, *(u64 *)(g.xmm[3] + 8));
	EXPECT_EQ(0xa5, g.xmm[4][7]);
	EXPECT_EQ(0x3f, g.fpr[0][9]);
	EXPECT_EQ(0x80, g.fpr[0][7]);
	EXPECT_EQ(0x11, g.fpr[1][0]);
}

#define XSAVE_MXCSR	6	/* offsets in u32 */
#define XSAVE_XMM0	40
#define XSAVE_HEADER	128
#define XSAVE_YMM	144

static void set_osxsave(struct vcpu *v)
{
	struct kvm_sregs s;

	kvm_do(v->fd, KVM_GET_SREGS, &s);
	s.cr4 |= X86_CR4_OSXSAVE;
	kvm_do(v->fd, KVM_SET_SREGS, &s);
}

static u64 ymm_image[4] __aligned(32);

static u64 guest_ymm_swap(u64 arg)
{
	u64 old[4] __aligned(32);

	asm volatile("vmovdqu %%ymm5, %0" : "=m"(old));
	asm volatile("vmovdqu %0, %%ymm5" : : "m"(ymm_image));
	for (int i = 0; i < 4; i++)
		WRITE_ONCE(ymm_image[i], old[i]);
	return 0;
}

TEST_F(regs, xsave)
{
	struct kvm_xsave x, y;
	struct vcpu *v = self->v;
	u64 *header = (u64 *)&x.region[XSAVE_HEADER];

	if (!rl_cap(KVM_CAP_XSAVE))
		SKIP(return, "no KVM_CAP_XSAVE");
	kvm_do(v->fd, KVM_GET_XSAVE, &x);
	EXPECT_EQ(0x1f80, x.region[XSAVE_MXCSR]);
	for (int i = 0; i < 64; i++)
		x.region[XSAVE_XMM0 + i] = i * 0x01010101;
	header[0] |= 3;
	x.region[XSAVE_MXCSR] = 0x9f80;
	kvm_do(v->fd, KVM_SET_XSAVE, &x);
	memset(&y, 0xff, sizeof(y));
	kvm_do(v->fd, KVM_GET_XSAVE, &y);
	EXPECT_EQ(0, memcmp(&x.region[XSAVE_XMM0], &y.region[XSAVE_XMM0], 256));
	EXPECT_EQ(0x9f80, y.region[XSAVE_MXCSR]);
	puppet_call(v, guest_fpu_swap, 0);
	EXPECT_EQ(0x0d0d0d0d0c0c0c0c, G(self->vm, xmm_image[0]));

	/* refusals change nothing */
	x.region[XSAVE_MXCSR] |= 1u << 31;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_XSAVE, &x));
	x.region[XSAVE_MXCSR] = 0x1f80;
	header[0] |= 1ull << 62;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_XSAVE, &x));
	header[0] &= ~(1ull << 62);
	header[0] |= 1ull << 40;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_XSAVE, &x));
	kvm_do(v->fd, KVM_GET_XSAVE, &y);
	EXPECT_EQ(0x9f80, y.region[XSAVE_MXCSR]);
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_XSAVE, 8));
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_GET_XSAVE, 8));
}

TEST_F(regs, xsave_of_avx)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = 7 };
	struct kvm_xsave x;
	struct vcpu *v = self->v;

	if (!rl_guest_has(1, 2, 28) || !rl_cap(KVM_CAP_XCRS))
		SKIP(return, "no AVX for guests");
	set_osxsave(v);
	kvm_do(v->fd, KVM_SET_XCRS, &xcrs);
	kvm_do(v->fd, KVM_GET_XSAVE, &x);
	for (int i = 0; i < 16; i++) {
		x.region[XSAVE_XMM0 + 5 * 4 + i % 4] = 0x55;
		x.region[XSAVE_YMM + 5 * 4 + i % 4] = 0x77;
	}
	*(u64 *)&x.region[XSAVE_HEADER] |= 7;
	kvm_do(v->fd, KVM_SET_XSAVE, &x);
	for (int i = 0; i < 4; i++)
		G(self->vm, ymm_image[i]) = 0x1000 + i;
	puppet_call(v, guest_ymm_swap, 0);
	EXPECT_EQ(0x5500000055, G(self->vm, ymm_image[1]));
	EXPECT_EQ(0x7700000077, G(self->vm, ymm_image[2]));
	kvm_do(v->fd, KVM_GET_XSAVE, &x);
	EXPECT_EQ(0x1000, x.region[XSAVE_XMM0 + 5 * 4]);
	EXPECT_EQ(0x1002, x.region[XSAVE_YMM + 5 * 4]);
	EXPECT_EQ(4, *(u64 *)&x.region[XSAVE_HEADER] & 4);
}

static u64 guest_xgetbv(u64 idx)
{
	u32 lo, hi;

	asm volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"((u32)idx));
	return lo | (u64)hi << 32;
}

static u64 guest_xsetbv(u64 val)
{
	return GUEST_TRY("xsetbv", : TRAP_OUT
			 : "a"((u32)val), "d"((u32)(val >> 32)), "c"(0) : "memory");
}

TEST_F(regs, xcrs)
{
	struct kvm_xcrs xcrs = {}, bad;
	struct vcpu *v = self->v;

	if (!rl_cap(KVM_CAP_XCRS) || !rl_guest_has(1, 2, 26))
		SKIP(return, "no XSAVE for guests");
	kvm_do(v->fd, KVM_GET_XCRS, &xcrs);
	ASSERT_EQ(1, xcrs.nr_xcrs);
	EXPECT_EQ(0, xcrs.flags);
	EXPECT_EQ(0, xcrs.xcrs[0].xcr);
	EXPECT_EQ(1, xcrs.xcrs[0].value);
	set_osxsave(v);
	EXPECT_EQ(1, puppet_call(v, guest_xgetbv, 0));
	xcrs.xcrs[0].value = 3;
	kvm_do(v->fd, KVM_SET_XCRS, &xcrs);
	EXPECT_EQ(3, puppet_call(v, guest_xgetbv, 0));

#define XCRS_REFUSED(change) \
	do { \
		bad = xcrs; \
		change; \
		EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_XCRS, &bad)); \
	} while (0)
	XCRS_REFUSED(bad.xcrs[0].value = 2);
	XCRS_REFUSED(bad.xcrs[0].value = 0);
	XCRS_REFUSED(bad.xcrs[0].value = 5);
	XCRS_REFUSED(bad.xcrs[0].value = 3 | 1ull << 40);
	XCRS_REFUSED(bad.flags = 1);
	XCRS_REFUSED(bad.nr_xcrs = 17);
	EXPECT_EQ(3, puppet_call(v, guest_xgetbv, 0));

	/* and what the guest itself may not do */
	EXPECT_EQ(0, puppet_call(v, guest_xsetbv, 1));
	EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_xsetbv, 0));
	EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_xsetbv, 5));
	EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_xsetbv, 3 | 1ull << 40));
	if (rl_host_is_tcg())
		return;		/* its SVM does not intercept XSETBV */
	kvm_do(v->fd, KVM_GET_XCRS, &xcrs);
	EXPECT_EQ(1, xcrs.xcrs[0].value);
}

static u64 guest_read_dr(u64 n)
{
	u64 val = 0;

	switch (n) {
	case 0:
		asm volatile("mov %%db0, %0" : "=r"(val));
		break;
	case 3:
		asm volatile("mov %%db3, %0" : "=r"(val));
		break;
	case 6:
		asm volatile("mov %%db6, %0" : "=r"(val));
		break;
	case 7:
		asm volatile("mov %%db7, %0" : "=r"(val));
		break;
	}
	return val;
}

static u64 guest_write_dr1(u64 val)
{
	asm volatile("mov %0, %%db1" : : "r"(val));
	return 0;
}

TEST_F(regs, debug_registers)
{
	struct kvm_debugregs d = {}, back;
	struct vcpu *v = self->v;

	for (int i = 0; i < 4; i++)
		d.db[i] = 0x1000000 + i;
	d.dr6 = 0xffff0ff1;
	d.dr7 = 0x400;
	kvm_do(v->fd, KVM_SET_DEBUGREGS, &d);
	kvm_do(v->fd, KVM_GET_DEBUGREGS, &back);
	EXPECT_EQ(0, memcmp(&d, &back, sizeof(d)));
	EXPECT_EQ(0x1000000, puppet_call(v, guest_read_dr, 0));
	EXPECT_EQ(0x1000003, puppet_call(v, guest_read_dr, 3));
	EXPECT_EQ(0xffff0ff1, puppet_call(v, guest_read_dr, 6));
	EXPECT_EQ(0x400, puppet_call(v, guest_read_dr, 7));
	puppet_call(v, guest_write_dr1, 0x1234);
	kvm_do(v->fd, KVM_GET_DEBUGREGS, &back);
	EXPECT_EQ(0x1234, back.db[1]);
	EXPECT_EQ(0x1000002, back.db[2]);
	d.flags = 1;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_DEBUGREGS, &d));
	d.flags = 0;
	d.dr6 |= 1ull << 32;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_DEBUGREGS, &d));
	d.dr6 = 0xffff0ff0;
	d.dr7 |= 1ull << 32;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_DEBUGREGS, &d));
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_DEBUGREGS, 8));
}

/* step_run(MMIO address): some instructions that exit, each with a trap behind it */
u64 step_run(u64 mmio);
extern const char step_code[], step_end[];
asm(".pushsection .text\n"
    "step_run:\n"
    "	push %rbx; mov %rdi, %rsi; pushfq; pop %r10; mov %r10, %r11; or $0x100, %r11\n"
    "	push %r11; popfq\n"
    "step_code:\n"
    "	xor %eax, %eax; cpuid; mov $0x1b, %ecx; rdmsr; in $0x80, %al; mov (%rsi), %eax; nop\n"
    "	push %r10; popfq\n"
    "step_end:\n"
    "	pop %rbx; ret\n"
    ".popsection\n");

static u64 step_rip[16], step_dr6[16];
static u32 nr_steps;

static void note_step(struct guest_regs *regs)
{
	step_rip[nr_steps & 15] = regs->rip;
	asm volatile("mov %%dr6, %0; mov %1, %%dr6" : "=&r"(step_dr6[nr_steps & 15])
		     : "r"(0xffff0ff0ull));
	nr_steps++;
}

static u64 guest_step(u64 mmio)
{
	guest_handlers[DB] = note_step;
	return step_run(mmio);
}

/* A guest that steps itself, over what is carried out for it, too. */
TEST_F(regs, single_step_over_exits)
{
	static const u8 lengths[] = { 2, 2, 5, 2, 2, 2, 1, 2, 1 };
	struct vcpu *v = self->v;
	u64 rip = (u64)step_code;

	if (rl_host_is_bochs())
		SKIP(return, "Bochs does not enter a guest with TF set");
	puppet_set(v, PUPPET_CALL, (u64)guest_step, 0, HOLE_GPA);
	expect_in(v, 0x80, 1);
	expect_mmio_read(v, HOLE_GPA, 4);
	expect_sync(v, PUPPET_STAGE);
	EXPECT_EQ(ARRAY_SIZE(lengths), G(self->vm, nr_steps));
	for (int i = 0; i < ARRAY_SIZE(lengths); i++) {
		rip += lengths[i];
		EXPECT_EQ(rip, G(self->vm, step_rip[i])) TH_LOG("step %d", i);
		EXPECT_EQ(0xffff4ff0, G(self->vm, step_dr6[i])) TH_LOG("step %d", i);
	}
}

TEST_F(regs, vcpu_events)
{
	struct kvm_vcpu_events e, back;
	struct vcpu *v = self->v;

	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	EXPECT_EQ(0, e.exception.injected | e.interrupt.injected | e.nmi.injected | e.nmi.masked);
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &e);

	e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	e.nmi.masked = 1;
	e.nmi.pending = 1;
	e.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &e);
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &back);
	EXPECT_EQ(1, back.nmi.masked);
	EXPECT_EQ(1, back.nmi.pending);
	EXPECT_NE(0, back.interrupt.shadow);
	EXPECT_EQ(KVM_VCPUEVENT_VALID_SHADOW, back.flags & KVM_VCPUEVENT_VALID_SHADOW);

	/* without its flag, a field is not taken */
	e.flags = 0;
	e.nmi.pending = 0;
	e.nmi.masked = 0;
	e.interrupt.shadow = 0;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &e);
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &back);
	EXPECT_EQ(0, back.nmi.masked);
	EXPECT_EQ(1, back.nmi.pending);
	EXPECT_NE(0, back.interrupt.shadow);

	e.flags = 1u << 31;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_VCPU_EVENTS, &e));
	e.flags = 0;
	e.exception.injected = 1;
	e.exception.nr = NMI;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_VCPU_EVENTS, &e));
	e.exception.nr = 32;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_VCPU_EVENTS, &e));
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &back);
	EXPECT_EQ(0, back.exception.injected);
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_VCPU_EVENTS, 8));
}

TEST(mp_state)
{
	static const u32 with_lapic[] = {
		KVM_MP_STATE_UNINITIALIZED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_HALTED,
	};
	struct kvm_mp_state mp;

	for (int chip = 0; chip < 2; chip++) {
		struct vm *vm = VM_BLOB(increment, chip ? VM_IRQCHIP : 0);
		struct vcpu *v = vm->vcpus[0];

		for (int i = 0; i < 3; i++) {
			mp.mp_state = with_lapic[i];
			EXPECT_EQ(chip ? 0 : -EINVAL, kvm_try(v->fd, KVM_SET_MP_STATE, &mp));
			kvm_do(v->fd, KVM_GET_MP_STATE, &mp);
			EXPECT_EQ(chip ? with_lapic[i] : KVM_MP_STATE_RUNNABLE, mp.mp_state);
		}
		mp.mp_state = 77;
		EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_MP_STATE, &mp));
		mp.mp_state = KVM_MP_STATE_RUNNABLE;
		EXPECT_EQ(0, kvm_try(v->fd, KVM_SET_MP_STATE, &mp));
		EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_MP_STATE, 8));
		EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_GET_MP_STATE, 8));
		vm_free(vm);
	}
}

/* The FPU of several guests, their threads and a third party, all on one CPU. */
#define EACH_XMM(insns)	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t" insns "\n\t.endr\n\t"
#define FPU_ROUNDS	40

/* RBX is in every XMM register and in ST(0), ESI in MXCSR; stops when one of them is not. */
GUEST64(fpu_keeper,
	"mov %rbx, 9f(%rip); fildq 9f(%rip)\n"
	"mov %esi, 8f(%rip); ldmxcsr 8f(%rip)\n"
	EACH_XMM("movq %rbx, %xmm\\n")
	"1: mov $1500, %ecx\n"
	"2:" EACH_XMM("movq %xmm\\n, %rax; cmp %rbx, %rax; jne 3f")
	"dec %ecx; jnz 2b\n"
	"fistpq 9f(%rip); fildq 9f(%rip); cmp %rbx, 9f(%rip); jne 3f\n"
	"stmxcsr 8f(%rip); cmp %esi, 8f(%rip); jne 3f\n"
	"out %al, $0x10; jmp 1b\n"
	"3: hlt\n"
	"8: .quad 0; 9: .quad 0\n");

struct fpu_user {
	pthread_t thread;
	struct vcpu *v;			/* NULL: yields instead */
	u32 id;
	const char *lost;		/* what was not kept */
};

/* A system call with XMM registers and MXCSR as given, which gcc has no use for here. */
static long fpu_syscall(long nr, long a, long b, u64 xmm[32], u32 *mxcsr)
{
	u32 usual = 0x1f80;
	register u64 *regs asm("r8") = xmm;
	register u32 *csr asm("r9") = mxcsr;

	asm volatile("ldmxcsr (%%r9)\n\t"
		     EACH_XMM("movdqu \\n*16(%%r8), %%xmm\\n")
		     "syscall\n\t"
		     EACH_XMM("movdqu %%xmm\\n, \\n*16(%%r8)")
		     "stmxcsr (%%r9)\n\t"
		     "ldmxcsr %[usual]"
		     : "+a"(nr) : "D"(a), "S"(b), "d"(0), "r"(regs), "r"(csr), [usual] "m"(usual)
		     : "rcx", "r11", "memory");
	return nr;
}

static void *fpu_use(void *arg)
{
	struct fpu_user *u = arg;
	u32 mxcsr, want = 0x1f80 | u->id << 13;		/* a rounding mode each */
	u64 xmm[32];

	rl_one_cpu();
	for (int round = 0; round < FPU_ROUNDS && !u->lost; round++) {
		long ret;

		for (int i = 0; i < 32; i++)
			xmm[i] = u->id << 24 | round << 8 | i;
		mxcsr = want;
		ret = u->v ? fpu_syscall(SYS_ioctl, u->v->fd, KVM_RUN, xmm, &mxcsr) :
			     fpu_syscall(SYS_sched_yield, 0, 0, xmm, &mxcsr);
		for (int i = 0; i < 32; i++)
			if (xmm[i] != (u->id << 24 | round << 8 | i))
				u->lost = "the thread's XMM registers";
		if (mxcsr != want)
			u->lost = "the thread's MXCSR";
		if (ret)
			u->lost = "the system call";
		else if (u->v && u->v->run->exit_reason != KVM_EXIT_IO)
			u->lost = "the guest's registers";
	}
	return NULL;
}

TEST(fpu_of_many)
{
	struct fpu_user users[4] = {};

	for (int i = 0; i < 4; i++) {
		struct fpu_user *u = &users[i];

		u->id = i;
		if (i < 3) {
			struct kvm_sregs s;
			struct kvm_regs r;

			u->v = VM_BLOB(fpu_keeper, 0)->vcpus[0];
			kvm_do(u->v->fd, KVM_GET_SREGS, &s);
			s.cr4 |= X86_CR4_OSFXSR;
			kvm_do(u->v->fd, KVM_SET_SREGS, &s);
			kvm_do(u->v->fd, KVM_GET_REGS, &r);
			r.rbx = 0x1234567800000000 + i;
			r.rsi = 0x1f80 | (3 - i) << 13;
			kvm_do(u->v->fd, KVM_SET_REGS, &r);
		}
	}
	for (int i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_create(&users[i].thread, NULL, fpu_use, &users[i]));
	for (int i = 0; i < 4; i++)
		pthread_join(users[i].thread, NULL);
	for (int i = 0; i < 4; i++) {
		if (users[i].lost)
			TH_LOG("%d lost %s", i, users[i].lost);
		EXPECT_EQ(NULL, users[i].lost);
	}
}

TEST_F(regs, translate)
{
	struct kvm_translation t = { .linear_address = 0x12345678 };
	struct vcpu *v = self->v;
	u64 *pd = vm_hva(self->vm, PT_GPA + 0x2000);
	int ret = kvm_try(v->fd, KVM_TRANSLATE, &t);

	if (ret == -ENOTTY || ret == -EINVAL)
		SKIP(return, "no KVM_TRANSLATE");
	ASSERT_EQ(0, ret);
	EXPECT_EQ(1, t.valid);
	EXPECT_EQ(0x12345678, t.physical_address);
	pd[0x12345678 >> 21] = 0;
	kvm_do(v->fd, KVM_TRANSLATE, &t);
	EXPECT_EQ(0, t.valid);
}

TEST_HARNESS_MAIN
