// SPDX-License-Identifier: GPL-2.0
/*
 * Exceptions: the guest's own with their error codes, those that user space
 * injects, and every kind of event that meets a second-level fault on its way.
 */
#include "lib.h"
#include "harness.h"

#define NOT_PRESENT	0x300000000ull		/* 1 GiB page that the test takes away */

FIXTURE(fault) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(fault)
{
	self->vm = vm_puppet(1, 0);
	self->v = self->vm->vcpus[0];
}

FIXTURE_TEARDOWN(fault)
{
	vm_free(self->vm);
}

static u64 guest_divide(u64 by)
{
	u64 lo = 1, hi = 0;

	return GUEST_TRY("divq %3", : TRAP_OUT, "+a"(lo), "+d"(hi) : "r"(by));
}

static u64 guest_ud2(u64 unused)
{
	return GUEST_TRY("ud2", : TRAP_OUT : );
}

static u64 guest_load_ds(u64 selector)
{
	return GUEST_TRY("mov %w1, %%ds", : TRAP_OUT : "r"(selector));
}

static u64 guest_load_ss(u64 selector)
{
	return GUEST_TRY("mov %w1, %%ss", : TRAP_OUT : "r"(selector));
}

static u64 guest_write_cr0(u64 val)
{
	return GUEST_TRY("mov %1, %%cr0", : TRAP_OUT : "r"(val));
}

static u64 guest_write_cr4(u64 val)
{
	return GUEST_TRY("mov %1, %%cr4", : TRAP_OUT : "r"(val));
}

static u64 guest_write_cr8(u64 val)
{
	return GUEST_TRY("mov %1, %%cr8", : TRAP_OUT : "r"(val));
}

static u64 guest_write_dr7(u64 val)
{
	return GUEST_TRY("mov %1, %%db7", : TRAP_OUT : "r"(val));
}

static u64 guest_fpu_use(u64 unused)
{
	return GUEST_TRY("fnop", : TRAP_OUT : );
}

static u64 guest_int(u64 unused)
{
	return GUEST_TRY("int $0x1f", : TRAP_OUT : );
}

TEST_F(fault, of_instructions)
{
	u64 cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_PG;
	struct vcpu *v = self->v;
	u64 *gdt = vm_hva(self->vm, GDT_GPA);

	EXPECT_EQ(0, puppet_call(v, guest_divide, 1));
	EXPECT_EQ(TRAP(DE, 0), puppet_call(v, guest_divide, 0));
	EXPECT_EQ(TRAP(UD, 0), puppet_call(v, guest_ud2, 0));
	EXPECT_EQ(TRAP(GP, 0x78), puppet_call(v, guest_load_ds, 0x78));	/* past the GDT */
	gdt[SEL_CODE32 / 8] &= ~(1ull << 47);
	EXPECT_EQ(TRAP(NP, SEL_CODE32), puppet_call(v, guest_load_ds, SEL_CODE32));
	gdt[7] = gdt[SEL_DATA / 8] & ~(1ull << 47);
	EXPECT_EQ(TRAP(SS, 0x38), puppet_call(v, guest_load_ss, 0x38));
	EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_write_cr0, cr0 & ~(u64)X86_CR0_PE));
	EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_write_cr0, cr0 | X86_CR0_NW));
	EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_write_cr4, 0));	/* PAE may not go */
	EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_write_cr4, X86_CR4_PAE | 1u << 31));
	EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_write_cr8, 16));
	if (!rl_host_is_tcg()) {
		EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_write_cr0, cr0 | 1ull << 32));
		EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_write_dr7, 1ull << 32));
	}
	EXPECT_EQ(0, puppet_call(v, guest_fpu_use, 0));
	EXPECT_EQ(0, puppet_call(v, guest_write_cr0, cr0 | X86_CR0_TS));
	EXPECT_EQ(TRAP(NM, 0), puppet_call(v, guest_fpu_use, 0));
	EXPECT_EQ(0, puppet_call(v, guest_write_cr0, cr0));
	EXPECT_EQ(0, puppet_call(v, guest_fpu_use, 0));
}

static u64 guest_invlpg(u64 addr)
{
	asm volatile("invlpg (%0)" : : "r"(addr) : "memory");
	return 0;
}

static u64 guest_jump(u64 addr)
{
	return GUEST_TRY("call *%1", : TRAP_OUT : "r"(addr) : "memory", "rax", "rcx", "rdx",
			 "rsi", "rdi", "r9", "r10", "r11");
}

static u64 *pte_of(struct vm *vm, u64 addr)
{
	return (u64 *)vm_hva(vm, PT_GPA + 0x1000) + (addr >> 30);
}

/* A page fault's error code and CR2, as the guest's own tables cause it. */
TEST_F(fault, page_faults)
{
	struct vcpu *v = self->v;
	u64 *pte = pte_of(self->vm, NOT_PRESENT), good = *pte;
	u64 addr = NOT_PRESENT + 0x12345;

	vm_add_mem(self->vm, 2, NOT_PRESENT, 0x100000, 0);
	puppet_write(v, addr, 5);
	*pte = 0;
	puppet_call(v, guest_invlpg, addr);
	puppet_read(v, addr);
	EXPECT_EQ(TRAP(PF, 0), puppet(v)->trap);
	EXPECT_EQ(addr, G(self->vm, guest_cr2));
	puppet_write(v, addr + 8, 5);
	EXPECT_EQ(TRAP(PF, 2), puppet(v)->trap);
	EXPECT_EQ(addr + 8, G(self->vm, guest_cr2));
	*pte = good & ~2ull;				/* read-only, CR0.WP is set */
	EXPECT_EQ(5, puppet_read(v, addr));
	puppet_write(v, addr, 6);
	EXPECT_EQ(TRAP(PF, 3), puppet(v)->trap);
	*pte = good | 1ull << 51 | 1ull << 50;		/* reserved */
	puppet_call(v, guest_invlpg, addr);
	puppet_read(v, addr);
	/* QEMU's emulator does not call such a page present */
	EXPECT_EQ(TRAP(PF, 9), puppet(v)->trap | TRAP(0, 1));
	*pte = good | 1ull << 63;			/* no-execute */
	puppet_call(v, guest_invlpg, addr);
	EXPECT_EQ(5, puppet_read(v, addr));
	puppet_read(v, 1ull << 60);			/* not canonical */
	EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap);
	*pte = good;
	puppet_call(v, guest_invlpg, addr);
	puppet_write(v, addr, 7);
	EXPECT_EQ(0, puppet(v)->trap);
	EXPECT_EQ(7, puppet_read(v, addr));
}

#define OTHER_FRAME	0x80000000ull

/* The page's entry changes under a CPU that goes by what it has cached of it. */
static u64 guest_call_stale(u64 entry)
{
	u64 *pte = (u64 *)(PT_GPA + 0x1000) + (NOT_PRESENT >> 30), old = *pte;

	asm volatile("call *%0" : : "r"(NOT_PRESENT + 0x10) : "memory");
	WRITE_ONCE(*pte, entry);
	asm volatile("call *%%rdi" : : "D"(NOT_PRESENT), "a"(0), "c"(0) : "rbx", "rdx", "memory");
	WRITE_ONCE(*pte, old);
	guest_invlpg(NOT_PRESENT);
	return 1;
}

/*
 * CPUID exits, and the module finds something else there, as if another vCPU had
 * written over it. Whatever the CPU makes of it then, the VM goes on.
 */
TEST_F(fault, instruction_replaced)
{
	static const u8 others[][3] = {
		{ 0xeb, 0x00, 0xc3 },		/* jmp to the next */
		{ 0x66, 0x90, 0xc3 },		/* nop */
		{ 0x8d, 0x01, 0xc3 },		/* lea */
		{ 0x0f, 0xa2, 0xc3 },
	};
	u64 entry = *pte_of(self->vm, NOT_PRESENT) ^ NOT_PRESENT ^ OTHER_FRAME;

	vm_add_mem(self->vm, 2, NOT_PRESENT, 0x1000, 0);
	vm_add_mem(self->vm, 3, OTHER_FRAME, 0x1000, 0);
	memcpy(vm_hva(self->vm, NOT_PRESENT), "\x0f\xa2\xc3", 3);
	*(u8 *)vm_hva(self->vm, NOT_PRESENT + 0x10) = 0xc3;
	for (int i = 0; i < 4; i++) {
		memcpy(vm_hva(self->vm, OTHER_FRAME), others[i], 3);
		EXPECT_EQ(1, puppet_call(self->v, guest_call_stale, entry));
	}
}

static u64 seen_error, seen_rip;

static void guest_fetch_fault(struct guest_regs *regs)
{
	asm volatile("mov %%cr2, %0" : "=r"(guest_cr2));
	seen_error = regs->error;
	seen_rip = regs->rip;
	regs->rip = *(u64 *)regs->rsp;		/* as if the call had returned */
	regs->rsp += 8;
}

static u64 guest_fetch(u64 addr)
{
	guest_handlers[PF] = guest_fetch_fault;
	guest_jump(addr);
	guest_handlers[PF] = NULL;
	return seen_error;
}

TEST_F(fault, instruction_fetch)
{
	u64 *pte = pte_of(self->vm, NOT_PRESENT);
	struct vcpu *v = self->v;

	vm_add_mem(self->vm, 2, NOT_PRESENT, 0x1000, 0);
	*(u8 *)vm_hva(self->vm, NOT_PRESENT) = 0xc3;
	EXPECT_EQ(0, puppet_call(v, guest_fetch, NOT_PRESENT));
	*pte |= 1ull << 63;
	puppet_call(v, guest_invlpg, NOT_PRESENT);
	EXPECT_EQ(0x11, puppet_call(v, guest_fetch, NOT_PRESENT));
	EXPECT_EQ(NOT_PRESENT, G(self->vm, guest_cr2));
	EXPECT_EQ(NOT_PRESENT, G(self->vm, seen_rip));
}

/* Ring 3 */

static u64 user_trap, kernel_rsp, kernel_rip;

static void guest_back_from_user(struct guest_regs *regs)
{
	GUEST_ASSERT_EQ(regs->cs, SEL_UCODE64);
	user_trap = TRAP(regs->vector, regs->error);
	if (regs->vector == PF)
		asm volatile("mov %%cr2, %0" : "=r"(guest_cr2));
	regs->cs = SEL_CODE64;
	regs->ss = SEL_DATA;
	regs->rip = kernel_rip;
	regs->rsp = kernel_rsp;
	regs->rflags = RFLAGS_FIXED;
}

/* Run the code at @rip in ring 3 until it traps; rcx, rdx and rax are zero there. */
static u64 guest_user(u64 rip)
{
	guest_handlers[GP] = guest_handlers[UD] = guest_handlers[PF] = guest_back_from_user;
	guest_handlers[0x80] = guest_back_from_user;
	asm volatile("push %%rbx; push %%rbp; push %%r12; push %%r13; push %%r14; push %%r15\n"
		     "mov %%rsp, %0\n"
		     "lea 1f(%%rip), %%rax\n"
		     "mov %%rax, %1\n"
		     "push %2; lea -0x800(%%rsp), %%rax; push %%rax; push $0x202; push %3; push %4\n"
		     "xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx\n"
		     "iretq\n"
		     "1: pop %%r15; pop %%r14; pop %%r13; pop %%r12; pop %%rbp; pop %%rbx\n"
		     : "=m"(kernel_rsp), "=m"(kernel_rip)
		     : "i"(SEL_UDATA), "i"(SEL_UCODE64), "r"(rip)
		     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
	guest_handlers[GP] = guest_handlers[UD] = guest_handlers[PF] = NULL;
	return user_trap;
}

static u64 guest_cpuid_traps(u64 unused)
{
	u32 eax = 0, ecx = 0;

	return GUEST_TRY("cpuid", : TRAP_OUT, "+a"(eax), "+c"(ecx) : : "rbx", "rdx");
}

#define USER_CODE(name, insn)	GUEST64(name, insn "; int $0x80")
USER_CODE(user_nothing, "nop");
USER_CODE(user_hlt, "hlt");
USER_CODE(user_cli, "cli");
USER_CODE(user_in, "in $0x60, %al");
USER_CODE(user_rdmsr, "rdmsr");
USER_CODE(user_wrmsr, "wrmsr");
USER_CODE(user_cr0, "mov %cr0, %rax");
USER_CODE(user_lgdt, "lgdt (%rsp)");
USER_CODE(user_invlpg, "invlpg (%rsp)");
USER_CODE(user_wbinvd, "wbinvd");
USER_CODE(user_cpuid, "cpuid");
USER_CODE(user_read, "mov 0x300000000, %rax");

TEST_F(fault, of_user_mode)
{
#define PROGRAM(name, want) { name##_start, name##_end, want }
	static const struct { const char *start, *end; u64 want; } programs[] = {
		PROGRAM(user_nothing, TRAP(0x80, 0)),
		PROGRAM(user_cpuid, TRAP(0x80, 0)),
		PROGRAM(user_hlt, TRAP(GP, 0)),
		PROGRAM(user_cli, TRAP(GP, 0)),
		PROGRAM(user_in, TRAP(GP, 0)),
		PROGRAM(user_rdmsr, TRAP(GP, 0)),
		PROGRAM(user_wrmsr, TRAP(GP, 0)),
		PROGRAM(user_cr0, TRAP(GP, 0)),
		PROGRAM(user_lgdt, TRAP(GP, 0)),
		PROGRAM(user_invlpg, TRAP(GP, 0)),
		PROGRAM(user_wbinvd, TRAP(GP, 0)),
		PROGRAM(user_read, TRAP(PF, 5)),
	};
	u32 *idt = vm_hva(self->vm, IDT_GPA);

	if (rl_host_is_bochs_svm())
		SKIP(return, "Bochs' SVM refuses the first fetch, with kvm.ko as well");
	idt[0x80 * 4 + 1] |= 0x6000;				/* ring 3 may call it */
	*pte_of(self->vm, NOT_PRESENT) &= ~4ull;		/* supervisor's */
	for (u32 i = 0; i < ARRAY_SIZE(programs); i++) {
		memcpy(vm_hva(self->vm, BLOB_GPA), programs[i].start,
		       programs[i].end - programs[i].start);
		EXPECT_EQ(programs[i].want, puppet_call(self->v, guest_user, BLOB_GPA))
			TH_LOG("program %u", i);
	}
	EXPECT_EQ(NOT_PRESENT, G(self->vm, guest_cr2));
}

#define MSR_PLATFORM_INFO	0xce
#define MSR_MISC_FEATURES	0x140
#define CPUID_FAULTING		(1u << 31)	/* of the former: bit 0 of the latter can be set */

TEST_F(fault, cpuid_of_user_mode)
{
	struct vcpu *v = self->v;
	u32 *idt = vm_hva(self->vm, IDT_GPA);

	ASSERT_EQ(CPUID_FAULTING, vcpu_get_msr(v, MSR_PLATFORM_INFO));
	idt[0x80 * 4 + 1] |= 0x6000;
	memcpy(vm_hva(self->vm, BLOB_GPA), user_cpuid_start, user_cpuid_end - user_cpuid_start);
	puppet_wrmsr(v, MSR_MISC_FEATURES, 2);
	EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap);
	puppet_wrmsr(v, MSR_MISC_FEATURES, 1);
	EXPECT_EQ(0, puppet(v)->trap);
	EXPECT_EQ(TRAP(GP, 0), puppet_call(v, guest_user, BLOB_GPA));
	EXPECT_EQ(0, puppet_call(v, guest_cpuid_traps, 0));
	EXPECT_EQ(0, vcpu_try_set_msr(v, MSR_PLATFORM_INFO, 0));
	puppet_wrmsr(v, MSR_MISC_FEATURES, 0);
	EXPECT_EQ(TRAP(0x80, 0), puppet_call(v, guest_user, BLOB_GPA));
	vcpu_set_msr(v, MSR_PLATFORM_INFO, 0);
	puppet_wrmsr(v, MSR_MISC_FEATURES, 1);
	EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap);
}

USER_CODE(user_fld, "mov $0xf1000000, %eax; fldl (%rax)");

/* What cannot be emulated is a program's #UD, unless user space wants to see it. */
TEST_F(fault, unemulated)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args[0] = 2 };
	u32 *idt = vm_hva(self->vm, IDT_GPA);

	if (!rl_cap(KVM_CAP_EXIT_ON_EMULATION_FAILURE))
		SKIP(return, "no KVM_CAP_EXIT_ON_EMULATION_FAILURE");
	idt[0x80 * 4 + 1] |= 0x6000;
	memcpy(vm_hva(self->vm, BLOB_GPA), user_fld_start, user_fld_end - user_fld_start);
	EXPECT_EQ(TRAP(UD, 0), puppet_call(self->v, guest_user, BLOB_GPA));
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_ENABLE_CAP, &cap));
	cap.args[0] = 1;
	ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_ENABLE_CAP, &cap));
	puppet_set(self->v, PUPPET_CALL, (u64)guest_user, 0, BLOB_GPA);
	expect_exit(self->v, KVM_EXIT_INTERNAL_ERROR);
	EXPECT_EQ(KVM_INTERNAL_ERROR_EMULATION, self->v->run->internal.suberror);
	/* Which instruction it was, for a user space that can do better. */
	EXPECT_LE(3, self->v->run->emulation_failure.ndata);
	EXPECT_TRUE(self->v->run->emulation_failure.flags &
		    KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES);
	EXPECT_LE(2, self->v->run->emulation_failure.insn_size);
	EXPECT_EQ(0, memcmp(self->v->run->emulation_failure.insn_bytes, "\xdd\0", 2));
}

/* Faults on the way into a handler */

static u64 double_faults;

static void guest_double_fault(struct guest_regs *regs)
{
	double_faults++;
	GUEST_ASSERT_EQ(regs->error, 0);
	GUEST_SYNC(77, 0);
	for (;;)
		;
}

static u64 guest_take_df(u64 unused)
{
	guest_handlers[DF] = guest_double_fault;
	return 0;
}

TEST_F(fault, missing_gates)
{
	u32 *idt = vm_hva(self->vm, IDT_GPA);
	struct vcpu *v = self->v;
	u64 trap;

	/* #UD is benign: its missing gate is a plain #NP that names the gate */
	idt[UD * 4 + 1] &= ~0x8000;
	trap = puppet_call(v, guest_ud2, 0);
	EXPECT_EQ(NP, trap & 0xff);
	if (rl_host_is_tcg())
		SKIP(return, "QEMU counts gates of 16 bytes twice and knows no double fault here");
	EXPECT_EQ(UD * 8 + 2, trap >> 32 & ~1ull);
	/* a software interrupt through no gate */
	idt[0x1f * 4 + 1] &= ~0x8000;
	EXPECT_EQ(TRAP(NP, 0x1f * 8 + 2), puppet_call(v, guest_int, 0));
	/* #GP and #NP together are a double fault */
	puppet_call(v, guest_take_df, 0);
	idt[GP * 4 + 1] &= ~0x8000;
	puppet_set(v, PUPPET_CALL, (u64)guest_write_cr8, 0, 16);
	expect_sync(v, 77);
}

/* User space injects */

static u64 guest_nop(u64 unused)
{
	return GUEST_TRY("nop", : TRAP_OUT : );
}

static void inject(struct vcpu *v, u8 nr, bool has_error, u32 error)
{
	struct kvm_vcpu_events e;

	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	e.exception.injected = 1;
	e.exception.nr = nr;
	e.exception.has_error_code = has_error;
	e.exception.error_code = error;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &e);
}

static struct guest_regs taken;
static u32 taken_count;

static void guest_note(struct guest_regs *regs)
{
	if (regs->vector == PF)
		asm volatile("mov %%cr2, %0" : "=r"(guest_cr2));
	taken = *regs;
	taken_count++;
}

static u64 guest_note_all(u64 unused)
{
	for (int i = 0; i < 256; i++)
		guest_handlers[i] = guest_note;
	return 0;
}

TEST_F(fault, injected_exceptions)
{
	struct vcpu *v = self->v;
	struct kvm_vcpu_events e;
	struct kvm_sregs s;

	puppet_call(v, guest_note_all, 0);
	inject(v, GP, true, 0x1234);
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	EXPECT_EQ(1, e.exception.injected);
	EXPECT_EQ(GP, e.exception.nr);
	EXPECT_EQ(0x1234, e.exception.error_code);
	puppet_call(v, guest_nop, 0);
	EXPECT_EQ(1, G(self->vm, taken_count));
	EXPECT_EQ(GP, G(self->vm, taken.vector));
	EXPECT_EQ(0x1234, G(self->vm, taken.error));
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	EXPECT_EQ(0, e.exception.injected);

	inject(v, UD, false, 0);
	puppet_call(v, guest_nop, 0);
	EXPECT_EQ(UD, G(self->vm, taken.vector));
	EXPECT_EQ(0, G(self->vm, taken.error));

	kvm_do(v->fd, KVM_GET_SREGS, &s);
	s.cr2 = 0xabcdef000;
	kvm_do(v->fd, KVM_SET_SREGS, &s);
	inject(v, PF, true, 6);
	puppet_call(v, guest_nop, 0);
	EXPECT_EQ(PF, G(self->vm, taken.vector));
	EXPECT_EQ(6, G(self->vm, taken.error));
	if (!rl_host_is_bochs_svm())	/* which does not load CR2, on kvm.ko either */
		EXPECT_EQ(0xabcdef000, G(self->vm, guest_cr2));
	EXPECT_EQ(3, G(self->vm, taken_count));

	/* an interrupt whose delivery had begun (when IF was set) */
	vcpu_open_interrupts(v);
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	e.interrupt.injected = 1;
	e.interrupt.nr = 0x99;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &e);
	puppet_call(v, guest_nop, 0);
	EXPECT_EQ(0x99, G(self->vm, taken.vector));
	/* and an NMI */
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	e.nmi.injected = 1;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &e);
	puppet_call(v, guest_nop, 0);
	EXPECT_EQ(NMI, G(self->vm, taken.vector));
	EXPECT_EQ(5, G(self->vm, taken_count));
}

TEST_F(fault, nmi_without_irqchip)
{
	struct vcpu *v = self->v;

	puppet_call(v, guest_note_all, 0);
	for (u32 i = 1; i < 5; i++) {
		kvm_do(v->fd, KVM_NMI, 0);
		puppet_call(v, guest_nop, 0);
		EXPECT_EQ(i, G(self->vm, taken_count));
		EXPECT_EQ(NMI, G(self->vm, taken.vector));
	}
}

/* Every mapping of the guest goes: whatever the CPU touches next faults. */
static void drop_mappings(struct vm *vm)
{
	CHECK(NULL, !vm_set_region(vm, 0, 0, 0, NULL, 0), "delete");
	CHECK(NULL, !vm_set_region(vm, 0, 0, RAM_SIZE, vm->slots[0].hva, 0), "create");
}

static u64 guest_soft_int(u64 unused)
{
	GUEST_SYNC(1, 0);
	asm volatile("int $0x42");
	return taken_count;
}

TEST_F(fault, events_that_meet_a_second_level_fault)
{
	struct kvm_interrupt irq = { .irq = 0x40 };
	struct vcpu *v = self->v;

	if (rl_host_is_bochs_svm())
		SKIP(return, "Bochs' SVM delivers an INT twice, with kvm.ko as well");
	puppet_call(v, guest_note_all, 0);
	for (u32 i = 0; i < 10; i++) {
		u32 before = G(self->vm, taken_count);

		inject(v, GP, true, i);
		drop_mappings(self->vm);
		puppet_call(v, guest_nop, 0);
		ASSERT_EQ(before + 1, G(self->vm, taken_count));
		ASSERT_EQ(GP, G(self->vm, taken.vector));
		ASSERT_EQ(i, G(self->vm, taken.error));

		kvm_do(v->fd, KVM_NMI, 0);
		drop_mappings(self->vm);
		puppet_call(v, guest_nop, 0);
		ASSERT_EQ(before + 2, G(self->vm, taken_count));
		ASSERT_EQ(NMI, G(self->vm, taken.vector));

		vcpu_open_interrupts(v);
		kvm_do(v->fd, KVM_INTERRUPT, &irq);
		drop_mappings(self->vm);
		puppet_call(v, guest_irq_window, 0);
		ASSERT_EQ(before + 3, G(self->vm, taken_count));
		ASSERT_EQ(0x40, G(self->vm, taken.vector));

		puppet_set(v, PUPPET_CALL, (u64)guest_soft_int, 0, 0);
		expect_sync(v, 1);
		drop_mappings(self->vm);
		expect_sync(v, PUPPET_STAGE);
		ASSERT_EQ(before + 4, puppet(v)->val);
		ASSERT_EQ(0x42, G(self->vm, taken.vector));
	}
}

static u64 guest_movs(u64 to)
{
	u64 from = HOLE_GPA;

	asm volatile("movsq" : "+S"(from), "+D"(to) : : "memory");
	return 0;
}

/* An emulated access to a slot without memory behind it is as wrong as the CPU's own. */
TEST_F(fault, emulated_access_without_memory)
{
	const u64 gpa = 0x20000000;
	struct vcpu *v = self->v;
	u64 *mem = vm_add_mem(self->vm, 5, gpa, 0x1000, 0);

	if (strcmp(rl_dev_path(), "/dev/ringlet"))
		SKIP(return, "KVM takes such memory for a device");
	ASSERT_EQ(0, munmap(mem, 0x1000));
	puppet_set(v, PUPPET_CALL, (u64)guest_movs, 0, gpa);
	for (int i = 0; i < 3; i++) {
		expect_mmio_read(v, HOLE_GPA, 8);
		*(u64 *)v->run->mmio.data = 0x1234;
		ASSERT_EQ(-EFAULT, vcpu_try_run(v));
	}
	ASSERT_EQ(mem, mmap(mem, 0x1000, PROT_READ | PROT_WRITE,
			    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	expect_mmio_read(v, HOLE_GPA, 8);
	*(u64 *)v->run->mmio.data = 0x5678;
	expect_sync(v, PUPPET_STAGE);
	EXPECT_EQ(0x5678, *mem);
}

TEST_HARNESS_MAIN
