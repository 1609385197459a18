// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's page tables in every paging mode, walked by KVM_TRANSLATE: what
 * an address leads to, and which entries lead nowhere.
 */
#include "lib.h"
#include "harness.h"

#define MEM_SIZE	0x100000
#define TOP		0x1000		/* the table in CR3; the next ones follow */
#define CR4_PSE		X86_CR4_PSE
#define CR4_PAE		X86_CR4_PAE
#define CR4_LA57	X86_CR4_LA57
#define CR0_PROTECTED	0x80000031u	/* PG, NE, ET, PE */
#define P		1u
#define PS		0x80u
#define NX		(1ull << 63)

FIXTURE(translate) {
	struct vm *vm;
	struct vcpu *v;
	u8 *mem;
	struct kvm_sregs s;
};

FIXTURE_SETUP(translate)
{
	self->vm = vm_new(0);
	self->mem = vm_add_mem(self->vm, 0, 0, MEM_SIZE, 0);
	self->v = vcpu_new(self->vm, 0);
	kvm_do(self->v->fd, KVM_GET_SREGS, &self->s);
	self->s.cr0 = CR0_PROTECTED;
	self->s.cr3 = TOP;
}

FIXTURE_TEARDOWN(translate)
{
	vm_free(self->vm);
}

static u64 translate(struct vcpu *v, u64 linear)
{
	struct kvm_translation t = { .linear_address = linear };

	kvm_do(v->fd, KVM_TRANSLATE, &t);
	return t.valid ? t.physical_address : ~0ull;
}

#define E32(gpa, i)	(((u32 *)(self->mem + (gpa)))[i])
#define E64(gpa, i)	(((u64 *)(self->mem + (gpa)))[i])
#define MODE(cr4_bits, efer_bits) \
	do { \
		self->s.cr4 = (cr4_bits); \
		self->s.efer = (efer_bits); \
		kvm_do(self->v->fd, KVM_SET_SREGS, &self->s); \
	} while (0)
#define LEADS(linear, to)	EXPECT_EQ(to, translate(self->v, linear))
#define NOWHERE(linear)		LEADS(linear, ~0ull)

TEST_F(translate, no_paging)
{
	self->s.cr0 &= ~0x80000000u;
	MODE(0, 0);
	LEADS(0x12345678, 0x12345678);
}

TEST_F(translate, two_levels)
{
	E32(TOP, 1) = 0x2000 | P;		/* 4 MiB to 8 MiB */
	E32(0x2000, 0x3ff) = 0x7000 | P;
	E32(TOP, 2) = 0x40400000 | PS | P;	/* 8 MiB to 12 MiB in one */
	E32(TOP, 3) = 0x40400000 | PS | P | 0x2000;	/* bit 32 of the address, PSE-36 */
	E32(TOP, 4) = 0x40600000 | PS | P;	/* bit 21 is reserved */
	MODE(CR4_PSE, 0);
	LEADS(0x7ff123, 0x7123);
	NOWHERE(0x7fe123);
	NOWHERE(0x123);
	LEADS(0x8a5432, 0x404a5432);
	if (rl_guest_has(1, 3, 17))
		LEADS(0xc00000, 0x140400000);
	NOWHERE(0x1000000);
	/* the upper half of a linear address is not there */
	LEADS(0x12345000007ff123, 0x7123);

	/* without PSE the large entry names a table */
	E32(TOP, 2) = 0x3000 | PS | P;
	E32(0x3000, 0) = 0x9000 | P;
	MODE(0, 0);
	LEADS(0x800456, 0x9456);
}

TEST_F(translate, pae)
{
	self->s.cr3 = TOP + 0x20;		/* 32-byte aligned is enough */
	E64(TOP + 0x20, 3) = 0x2000 | P;	/* 3 GiB to 4 GiB */
	E64(0x2000, 1) = 0x3000 | P;
	E64(0x3000, 2) = 0x8000 | P;
	E64(0x2000, 2) = 0x40600000 | PS | P;
	E64(0x2000, 3) = 0x40602000 | PS | P;	/* not 2 MiB aligned */
	E64(0x3000, 4) = 0x8000 | P | NX;
	E64(0x3000, 5) = 0x8000 | P | 1ull << 51;	/* beyond the guest's address width */
	MODE(CR4_PAE, 0);
	LEADS(0xc0202abc, 0x8abc);
	NOWHERE(0xc0203abc);
	NOWHERE(0x40202abc);
	LEADS(0xc0412345, 0x40612345);
	NOWHERE(0xc0600000);
	NOWHERE(0xc0204000);			/* NX without EFER.NX */
	NOWHERE(0xc0205000);
	MODE(CR4_PAE, EFER_NX);
	LEADS(0xc0204000, 0x8000);
}

TEST_F(translate, four_levels)
{
	u64 high = 0xffff800000000000;

	E64(TOP, 256) = 0x2000 | P;
	E64(0x2000, 0) = 0x3000 | P;
	E64(0x3000, 0) = 0x4000 | P;
	E64(0x4000, 511) = 0x8000 | P | NX | 0x7ffull << 52 | 0xe00;
	E64(0x3000, 1) = 0x40200000 | PS | P;
	E64(0x3000, 2) = 0x40202000 | PS | P;
	E64(0x2000, 1) = 0x80000000 | PS | P;
	E64(0x2000, 2) = 0x80002000 | PS | P;
	E64(TOP, 257) = 0x2000 | PS | P;	/* reserved at this level */
	MODE(CR4_PAE, EFER_LME | EFER_LMA | EFER_NX);
	LEADS(high + 0x1ff123, 0x8123);
	NOWHERE(high + 0x1fe123);
	LEADS(high + 0x312345, 0x40312345);
	NOWHERE(high + 0x400000);
	if (rl_guest_has(0x80000001, 3, 26)) {
		LEADS(high + 0x55555555, 0x95555555);
		NOWHERE(high + 0x80000000);
	}
	NOWHERE(high + (1ull << 39));
	NOWHERE(0);
	/* a table outside memory */
	E64(TOP, 0) = 0x7000000 | P;
	NOWHERE(0);
}

TEST_F(translate, five_levels)
{
	if (!rl_guest_has(7, 2, 16))
		SKIP(return, "no LA57 for guests");
	E64(TOP, 256) = 0x2000 | P;
	E64(0x2000, 1) = 0x3000 | P;
	E64(0x3000, 2) = 0x4000 | P;
	E64(0x4000, 3) = 0x5000 | P;
	E64(0x5000, 4) = 0x9000 | P;
	MODE(CR4_PAE | CR4_LA57, EFER_LME | EFER_LMA);
	LEADS(0xff00000000000000 | 1ull << 39 | 2ull << 30 | 3 << 21 | 4 << 12 | 0x321, 0x9321);
	NOWHERE(1ull << 39 | 2ull << 30 | 3 << 21 | 4 << 12);
}

/*
 * Rights: INS and OUTS have their memory looked up by the hypervisor, before or
 * after an exit to user space, and must fault as the CPU itself would.
 */
#define WINDOW		0x3fe00000ull	/* mapped by the table below alone */
#define PTE_GPA		FREE_GPA
#define PAGE_GPA	(FREE_GPA + 0x1000)
#define W		2u
#define U		4u
#define A		0x20u
#define D		0x40u
#define PF		14

static u64 guest_outs(u64 with_ac)
{
	if (with_ac)
		asm volatile("stac");
	return GUEST_TRY("outsb", : TRAP_OUT : "S"(WINDOW + 8), "d"(0x80) : "memory");
}

static u64 guest_ins(u64 with_ac)
{
	if (with_ac)
		asm volatile("stac");
	return GUEST_TRY("insb", : TRAP_OUT : "D"(WINDOW + 8), "d"(0x80) : "memory");
}

static u64 guest_set_cr4(u64 bits)
{
	u64 cr4;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" : : "r"(cr4 | bits) : "memory");
	return 0;
}

FIXTURE(rights) {
	struct vm *vm;
	struct vcpu *v;
	volatile u64 *pte;
};

FIXTURE_SETUP(rights)
{
	self->vm = vm_puppet(1, 0);
	self->v = self->vm->vcpus[0];
	self->pte = vm_hva(self->vm, PTE_GPA);
	((volatile u64 *)vm_hva(self->vm, PT_GPA + 0x2000))[511] = PTE_GPA | P | W | U;
}

FIXTURE_TEARDOWN(rights)
{
	vm_free(self->vm);
}

#define FAULTS(fn, ac, entry, error) \
	do { \
		*self->pte = (entry); \
		EXPECT_EQ(TRAP(PF, error), puppet_call(self->v, fn, ac)); \
	} while (0)
#define PASSES(fn, ac, entry, direction) \
	do { \
		*self->pte = (entry); \
		puppet_set(self->v, PUPPET_CALL, (u64)(fn), 0, ac); \
		direction; \
		expect_sync(self->v, PUPPET_STAGE); \
		EXPECT_EQ(0, puppet(self->v)->val); \
	} while (0)
#define OUT	expect_out(self->v, 0x80, 1, 0x5a)
#define IN \
	do { \
		expect_in(self->v, 0x80, 1); \
		*(u8 *)run_io_data(self->v) = 0x66; \
	} while (0)

TEST_F(rights, of_supervisor_pages)
{
	u8 *page = vm_hva(self->vm, PAGE_GPA);

	page[8] = 0x5a;
	FAULTS(guest_outs, 0, 0, 0);
	FAULTS(guest_ins, 0, 0, 2);
	FAULTS(guest_outs, 0, PAGE_GPA | P | 1ull << 51, 9);
	PASSES(guest_outs, 0, PAGE_GPA | P, OUT);
	EXPECT_EQ(PAGE_GPA | P | A, *self->pte);
	FAULTS(guest_ins, 0, PAGE_GPA | P, 3);
	EXPECT_EQ(0x5a, page[8]);
	PASSES(guest_ins, 0, PAGE_GPA | P | W, IN);
	EXPECT_EQ(PAGE_GPA | P | W | A | D, *self->pte);
	EXPECT_EQ(0x66, page[8]);
}

TEST_F(rights, of_user_pages)
{
	volatile u64 *pd = vm_hva(self->vm, PT_GPA + 0x2000);
	u8 *page = vm_hva(self->vm, PAGE_GPA);

	if (!rl_guest_has(7, 1, 20))
		SKIP(return, "no SMAP for guests");
	for (int i = 0; i < 511; i++)
		pd[i] &= ~(u64)U;
	page[8] = 0x5a;
	PASSES(guest_outs, 0, PAGE_GPA | P | U, OUT);
	puppet_call(self->v, guest_set_cr4, 1u << 21);	/* SMAP */
	FAULTS(guest_outs, 0, PAGE_GPA | P | U, 1);
	FAULTS(guest_ins, 0, PAGE_GPA | P | W | U, 3);
	PASSES(guest_outs, 1, PAGE_GPA | P | U, OUT);
}

TEST_HARNESS_MAIN
