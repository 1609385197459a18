// SPDX-License-Identifier: GPL-2.0
/*
 * What a guest finds when it starts: descriptor tables, page tables, entry
 * points for exceptions, and its code; in real mode, in flat 32-bit protected
 * mode without paging, or in 64-bit mode with 512 GiB mapped one to one.
 */
#include "lib.h"
#include <link.h>

guest_handler_t guest_handlers[256];
u64 guest_cr2;
/* QEMU's SVM forgets the shadow of STI when an exit of the host's comes just there. */
static bool guest_loses_shadow;

/* 256 stubs of 16 bytes; the vectors listed have an error code of their own. */
asm(".pushsection .text\n"
    ".balign 16\n"
    "guest_vectors:\n"
    "vector = 0\n"
    ".rept 256\n"
    "	.balign 16\n"
    "	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)\n"
    "	push $0\n"
    "	.endif\n"
    "	push $vector\n"
    "	jmp guest_common\n"
    "	vector = vector + 1\n"
    ".endr\n"
    ".balign 16\n"
    "guest_common:\n"
    "	push %rax; push %rbx; push %rcx; push %rdx; push %rsi; push %rdi; push %rbp\n"
    "	push %r8; push %r9; push %r10; push %r11; push %r12; push %r13; push %r14; push %r15\n"
    "	cld\n"
    "	mov %rsp, %rdi\n"
    "	mov %rsp, %rbp\n"
    "	and $-16, %rsp\n"
    "	call guest_trap\n"
    "	mov %rbp, %rsp\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %r11; pop %r10; pop %r9; pop %r8\n"
    "	pop %rbp; pop %rdi; pop %rsi; pop %rdx; pop %rcx; pop %rbx; pop %rax\n"
    "	add $16, %rsp\n"
    "	iretq\n"
    ".popsection\n");

extern const char guest_vectors[];

struct fixup {
	u64 insn, next;
};
extern const struct fixup __start_guest_fixups[] __attribute__((weak));
extern const struct fixup __stop_guest_fixups[] __attribute__((weak));

void guest_trap(struct guest_regs *regs)
{
	const struct fixup *f;

	/* an interrupt between STI and HLT: the HLT behind it would sleep for ever */
	if (guest_loses_shadow && regs->vector >= 0x20 && *(u16 *)(regs->rip - 1) == 0xf4fb)
		regs->rip++;
	if (regs->vector == PF)
		asm volatile("mov %%cr2, %0" : "=r"(guest_cr2));
	if (guest_handlers[regs->vector]) {
		guest_handlers[regs->vector](regs);
		return;
	}
	for (f = __start_guest_fixups; f < __stop_guest_fixups; f++) {
		if (f->insn == regs->rip) {
			regs->r8 = TRAP(regs->vector, regs->error);
			regs->rip = f->next;
			return;
		}
	}
	ucall(UCALL_TRAP, regs->vector, regs->rip, regs->error);
}

static void build_tables(struct vm *vm)
{
	u64 *gdt = vm_hva(vm, GDT_GPA);
	u64 *pt = vm_hva(vm, PT_GPA);
	u32 *idt = vm_hva(vm, IDT_GPA);

	gdt[SEL_CODE64 / 8] = 0x00af9b000000ffff;
	gdt[SEL_DATA / 8] = 0x00cf93000000ffff;
	gdt[SEL_CODE32 / 8] = 0x00cf9b000000ffff;
	gdt[SEL_UDATA / 8] = 0x00cff3000000ffff;
	gdt[SEL_UCODE64 / 8] = 0x00affb000000ffff;

	for (u32 i = 0; i < 256; i++) {
		u64 entry = (u64)guest_vectors + i * 16;

		idt[i * 4 + 0] = SEL_CODE64 << 16 | (entry & 0xffff);
		idt[i * 4 + 1] = (entry & 0xffff0000) | 0x8e00;
		idt[i * 4 + 2] = entry >> 32;
		idt[i * 4 + 3] = 0;
	}
	idt[DF * 4 + 1] |= 1;		/* IST 1 */

	/* The first 4 GiB in 2 MiB pages, the rest of 512 GiB in 1 GiB pages. */
	pt[0] = (PT_GPA + 0x1000) | 7;
	for (u64 i = 0; i < 512; i++)
		pt[512 + i] = i < 4 ? (PT_GPA + 0x2000 + i * 0x1000) | 7 : i << 30 | 0x87;
	for (u64 i = 0; i < 4 * 512; i++)
		pt[1024 + i] = i << 21 | 0x87;
}

static int load_segment(struct dl_phdr_info *info, size_t size, void *vm)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD)
			memcpy(vm_hva(vm, p->p_vaddr), (void *)p->p_vaddr, p->p_memsz);
	}
	return 1;	/* the program itself is the first and only object */
}

void vm_load_program(struct vm *vm)
{
	build_tables(vm);
	guest_loses_shadow = rl_host_is_tcg();
	dl_iterate_phdr(load_segment, vm);
}

static void set_segment(struct kvm_segment *s, u16 selector, u8 type, int bits)
{
	*s = (struct kvm_segment) {
		.selector = selector,
		.limit = bits == 16 ? 0xffff : 0xffffffff,
		.type = type,
		.present = 1,
		.s = 1,
		.db = bits == 32 || (bits == 64 && !(type & 8)),
		.l = bits == 64 && type & 8,
		.g = bits != 16,
	};
}

/* Put a vCPU at @rip in the mode that @bits names, its stack below BLOB_GPA. */
void vcpu_bits(struct vcpu *v, int bits, u64 rip)
{
	struct kvm_regs regs = { .rip = rip, .rsp = BLOB_STACK, .rflags = RFLAGS_FIXED };
	struct kvm_sregs s;
	u16 data = bits == 16 ? 0 : SEL_DATA;

	kvm_do(v->fd, KVM_GET_SREGS, &s);
	set_segment(&s.cs, bits == 16 ? 0 : bits == 32 ? SEL_CODE32 : SEL_CODE64, 0xb, bits);
	set_segment(&s.ds, data, 3, bits);
	s.es = s.fs = s.gs = s.ss = s.ds;
	s.tr = (struct kvm_segment) {
		.selector = SEL_TSS, .base = TSS_GPA(v->id), .limit = 0x67, .type = 0xb,
		.present = 1,
	};
	/* stacks for what comes from ring 3, and for a double fault */
	*(u64 *)vm_hva(v->vm, TSS_GPA(v->id) + 4) = STACK_GPA(v->id) - 0x2000;
	*(u64 *)vm_hva(v->vm, TSS_GPA(v->id) + 0x24) = STACK_GPA(v->id) - 0x1000;
	*(u16 *)vm_hva(v->vm, TSS_GPA(v->id) + 0x66) = 0x68;	/* no port for ring 3 */
	if (bits != 16) {
		s.gdt.base = GDT_GPA;
		s.gdt.limit = 0x3f;
		s.idt.base = IDT_GPA;
		s.idt.limit = 0xfff;
		s.cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP;
		s.cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMM;
	}
	if (bits == 64) {
		s.cr3 = PT_GPA;
		s.cr0 |= X86_CR0_PG;
		s.cr4 |= X86_CR4_PAE;
		s.efer = EFER_LME | EFER_LMA | EFER_NX | EFER_SCE;
	}
	kvm_do(v->fd, KVM_SET_SREGS, &s);
	kvm_do(v->fd, KVM_SET_REGS, &regs);
}

void vcpu_open_interrupts(struct vcpu *v)
{
	struct kvm_regs regs;

	kvm_do(v->fd, KVM_GET_REGS, &regs);
	regs.rflags |= RFLAGS_IF;
	kvm_do(v->fd, KVM_SET_REGS, &regs);
}

void vcpu_long(struct vcpu *v, void (*fn)(u64 id), u64 arg)
{
	struct kvm_regs regs = {
		.rip = (u64)fn,
		.rsp = STACK_GPA(v->id) - 8,	/* as if called: 16n + 8 */
		.rdi = arg,
		.rflags = RFLAGS_FIXED,
	};

	vcpu_bits(v, 64, 0);
	kvm_do(v->fd, KVM_SET_REGS, &regs);
}

struct vm *vm_long(unsigned int nr_vcpus, void (*fn)(u64 id), unsigned int flags)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct vm *vm = vm_new(flags);

	vm_add_mem(vm, 0, 0, RAM_SIZE, 0);
	vm_load_program(vm);
	for (unsigned int i = 0; i < nr_vcpus; i++) {
		struct vcpu *v = vcpu_new(vm, i);

		vcpu_long(v, fn, i);
		if (i && flags & VM_IRQCHIP)
			kvm_do(v->fd, KVM_SET_MP_STATE, &runnable);
	}
	return vm;
}

struct vm *vm_blob(const char *start, const char *end, int bits, unsigned int flags)
{
	struct vm *vm = vm_new(flags);

	vm_add_mem(vm, 0, 0, RAM_SIZE, 0);
	vm_load_program(vm);
	memcpy(vm_hva(vm, BLOB_GPA), start, end - start);
	vcpu_bits(vcpu_new(vm, 0), bits, BLOB_GPA);
	return vm;
}
