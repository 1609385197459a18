// SPDX-License-Identifier: GPL-2.0
/*
 * Instructions on memory that nobody backs. Each runs twice in the guest: on
 * RAM, by the CPU itself, and on MMIO, by the module's emulator and a test that
 * plays memory. Registers, flags and memory must come out the same.
 */
#include "lib.h"
#include "harness.h"

#define STATUS_FLAGS	0x8c5		/* CF PF ZF SF OF; AF is often undefined */
#define CF_OF		0x801
#define NONE		0

/*
 * X(instructions, flags to compare). RDI is the operand's address; RSI points
 * to RAM; RAX, RBX, RCX (small), RDX and R9 hold patterns.
 */
#define MOVES(X) \
	X("movb %al, (%rdi)", STATUS_FLAGS) X("movb %ah, 1(%rdi)", STATUS_FLAGS) \
	X("movw %ax, 2(%rdi)", STATUS_FLAGS) X("movl %eax, 4(%rdi)", STATUS_FLAGS) \
	X("movq %rax, 8(%rdi)", STATUS_FLAGS) X("movb %r9b, (%rdi,%rcx,2)", STATUS_FLAGS) \
	X("movq %r9, 0x20(%rdi,%rcx,8)", STATUS_FLAGS) \
	X("movb $0x5a, (%rdi)", STATUS_FLAGS) X("movw $0x5a5b, (%rdi)", STATUS_FLAGS) \
	X("movl $0x5a5b5c5d, (%rdi)", STATUS_FLAGS) X("movq $-3, (%rdi)", STATUS_FLAGS) \
	X("movb (%rdi), %al", STATUS_FLAGS) X("movb 1(%rdi), %bh", STATUS_FLAGS) \
	X("movw (%rdi), %ax", STATUS_FLAGS) X("movl (%rdi), %eax", STATUS_FLAGS) \
	X("movq (%rdi), %rax", STATUS_FLAGS) X("movl 4(%rdi), %r9d", STATUS_FLAGS) \
	X("movl (%edi), %eax", STATUS_FLAGS) \
	X("movzbl (%rdi), %eax", STATUS_FLAGS) X("movzbw (%rdi), %ax", STATUS_FLAGS) \
	X("movzwl (%rdi), %eax", STATUS_FLAGS) X("movzbq (%rdi), %rax", STATUS_FLAGS) \
	X("movsbl (%rdi), %eax", STATUS_FLAGS) X("movswq (%rdi), %rax", STATUS_FLAGS) \
	X("movslq (%rdi), %rax", STATUS_FLAGS) X("movnti %rax, (%rdi)", STATUS_FLAGS) \
	X("xchg %al, (%rdi)", STATUS_FLAGS) X("xchg %rax, (%rdi)", STATUS_FLAGS) \
	X("cmovz (%rdi), %rax", STATUS_FLAGS) X("cmovnz (%rdi), %eax", STATUS_FLAGS) \
	X("sete (%rdi)", STATUS_FLAGS) X("setne (%rdi)", STATUS_FLAGS) \
	X("pushq (%rdi); pop %rax", STATUS_FLAGS) X("push %rax; popq (%rdi)", STATUS_FLAGS)

#define ARITHMETIC(X) \
	X("addb %al, (%rdi)", STATUS_FLAGS) X("addl %eax, (%rdi)", STATUS_FLAGS) \
	X("addq (%rdi), %rax", STATUS_FLAGS) X("addw $-2, (%rdi)", STATUS_FLAGS) \
	X("addl $0x11223344, (%rdi)", STATUS_FLAGS) X("lock addl $5, (%rdi)", STATUS_FLAGS) \
	X("orb $0x80, (%rdi)", STATUS_FLAGS) X("orq %rax, (%rdi)", STATUS_FLAGS) \
	X("orl (%rdi), %eax", STATUS_FLAGS) X("stc; adcl %eax, (%rdi)", STATUS_FLAGS) \
	X("stc; sbbq (%rdi), %rax", STATUS_FLAGS) X("andl %eax, (%rdi)", STATUS_FLAGS) \
	X("andb $0xf, (%rdi)", STATUS_FLAGS) X("subl %eax, (%rdi)", STATUS_FLAGS) \
	X("subq $1, (%rdi)", STATUS_FLAGS) X("xorl %eax, (%rdi)", STATUS_FLAGS) \
	X("xorw (%rdi), %ax", STATUS_FLAGS) X("cmpb %al, (%rdi)", STATUS_FLAGS) \
	X("cmpq (%rdi), %rax", STATUS_FLAGS) X("cmpl $0x7fffffff, (%rdi)", STATUS_FLAGS) \
	X("testb $0x55, (%rdi)", STATUS_FLAGS) X("testl %eax, (%rdi)", STATUS_FLAGS) \
	X("incb (%rdi)", STATUS_FLAGS) X("stc; incq (%rdi)", STATUS_FLAGS) \
	X("decw (%rdi)", STATUS_FLAGS) X("negl (%rdi)", STATUS_FLAGS) \
	X("notq (%rdi)", STATUS_FLAGS) X("shll (%rdi)", STATUS_FLAGS) \
	X("sarq (%rdi)", STATUS_FLAGS) X("shrb (%rdi)", STATUS_FLAGS) \
	X("rolw (%rdi)", CF_OF) X("rorl (%rdi)", CF_OF) X("stc; rclb (%rdi)", CF_OF) \
	X("shll %cl, (%rdi)", 0xc5) X("sarl $5, (%rdi)", 0xc5) \
	X("shldl $3, %eax, (%rdi)", 0xc5) X("shrdq %cl, %rax, (%rdi)", 0xc5) \
	X("imull (%rdi), %eax", CF_OF) X("imull $7, (%rdi), %eax", CF_OF) \
	X("mulb (%rdi)", CF_OF) X("mulq (%rdi)", CF_OF) \
	X("btl $3, (%rdi)", 1) X("btsl $4, (%rdi)", 1) X("btrl $0, (%rdi)", 1) \
	X("btcq $33, (%rdi)", 1) X("btsl %ecx, (%rdi)", 1) \
	X("bsfq (%rdi), %rax", 0x40) X("bsrl (%rdi), %eax", 0x40) \
	X("xaddl %eax, (%rdi)", STATUS_FLAGS) X("lock xaddq %rax, (%rdi)", STATUS_FLAGS) \
	X("cmpxchgl %r9d, (%rdi)", STATUS_FLAGS) \
	X("mov (%rsi), %rax; lock cmpxchgq %r9, (%rdi)", STATUS_FLAGS) \
	X("mov (%rsi), %al; cmpxchgb %r9b, (%rdi)", STATUS_FLAGS) \
	X("mov (%rsi), %eax; mov 4(%rsi), %edx; lock cmpxchg8b (%rdi)", 0x40) \
	X("lock cmpxchg8b (%rdi)", 0x40)

#define STRINGS(X) \
	X("movsb", STATUS_FLAGS) X("movsq", STATUS_FLAGS) \
	X("mov $5, %ecx; rep movsb", STATUS_FLAGS) \
	X("mov $3, %ecx; rep movsl", STATUS_FLAGS) X("xchg %rdi, %rsi; movsl", STATUS_FLAGS) \
	X("xchg %rdi, %rsi; mov $5, %ecx; rep movsw", STATUS_FLAGS) \
	X("stosb", STATUS_FLAGS) X("mov $4, %ecx; rep stosl", STATUS_FLAGS) \
	X("mov $3, %ecx; rep stosq", STATUS_FLAGS) \
	X("xor %ecx, %ecx; rep stosb", STATUS_FLAGS) \
	X("std; lea 16(%rdi), %rdi; mov $2, %ecx; rep stosq; cld", STATUS_FLAGS) \
	X("xchg %rdi, %rsi; lodsb", STATUS_FLAGS) X("xchg %rdi, %rsi; lodsq", STATUS_FLAGS) \
	X("scasb", STATUS_FLAGS) X("mov $8, %ecx; repne scasb", STATUS_FLAGS) \
	X("cmpsb", STATUS_FLAGS) X("mov $8, %ecx; repe cmpsb", STATUS_FLAGS)

/* The stack in RBP or R8 is the caller's meanwhile; what is left of another is in RAX and RBX. */
#define ON_STACK(text)	\
	"mov %rsp, %r8; mov %rbp, %r10; lea 0x40(%rdi), %rsp; lea 0x20(%rdi), %rbp; " text \
	"; mov %rsp, %rax; mov %rbp, %rbx; mov %r8, %rsp; mov %r10, %rbp; sub %rdi, %rax"
#define STACKS(X) \
	X(ON_STACK("push $1f; ret; ud2; 1: mov %rcx, %rbp"), NONE) X(ON_STACK("leave"), NONE) \
	X(ON_STACK("mov %rcx, %rbp; enter $0x1238, $0; sub %rdi, %rbp"), NONE) \
	X(ON_STACK("push %rcx; pushw (%rdi); popw 4(%rdi); pop %rbp"), NONE) \
	X("movl $1f, (%rdi); movl $8, 4(%rdi); ljmp *(%rdi); ud2; 1:", STATUS_FLAGS)

#define MMX(X) \
	X("fninit; movq (%rdi), %mm1; movq %mm1, 8(%rdi); movq %mm1, %rax; emms", STATUS_FLAGS) \
	X("fninit; fld1; fldpi; movq (%rdi), %mm1; movq %mm6, %rax; movq %mm1, %rbx; emms", \
	  STATUS_FLAGS) \
	X("fninit; fldpi; movq %mm7, (%rdi); fnstenv -32(%rsp); mov -24(%rsp), %ax; emms", \
	  STATUS_FLAGS)

#define ENTRY(text, flags)	".balign 64\n" text "\nret\n"
#define NAME(text, flags)	{ text, flags },

asm(".pushsection .text\n.balign 64\ninsn_code:\n"
    MOVES(ENTRY) ARITHMETIC(ENTRY) STRINGS(ENTRY) STACKS(ENTRY) MMX(ENTRY) ".popsection");
extern const char insn_code[];

static const struct { const char *text; u32 flags; } insns[] = {
	MOVES(NAME) ARITHMETIC(NAME) STRINGS(NAME) STACKS(NAME) MMX(NAME)
};
#define NR_INSNS	(ARRAY_SIZE(insns))

struct insn_regs {
	u64 rax, rbx, rcx, rdx, rsi, rdi, r9, flags;
};

/* run_insn(code, regs) */
void run_insn(const char *code, struct insn_regs *regs);
asm(".pushsection .text\n"
    "run_insn:\n"
    "	push %rbx; push %rbp; push %r12\n"
    "	mov %rdi, %rbp; mov %rsi, %r12\n"
    "	mov (%r12), %rax; mov 8(%r12), %rbx; mov 16(%r12), %rcx; mov 24(%r12), %rdx\n"
    "	mov 32(%r12), %rsi; mov 40(%r12), %rdi; mov 48(%r12), %r9\n"
    "	pushq $2; popfq\n"
    "	call *%rbp\n"
    "	mov %rax, (%r12); mov %rbx, 8(%r12); mov %rcx, 16(%r12); mov %rdx, 24(%r12)\n"
    "	mov %rsi, 32(%r12); mov %rdi, 40(%r12); mov %r9, 48(%r12)\n"
    "	pushfq; popq 56(%r12)\n"
    "	pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n"
    ".popsection\n");

#define WORDS	12

static struct insn_regs ram_regs, io_regs;
static u64 ram[WORDS], source[WORDS], io_source[WORDS];
static u64 io_base;		/* where the operand lies the second time */

static void fill(u64 *words, u64 seed)
{
	for (int i = 0; i < WORDS; i++)
		words[i] = 0x8123456789abcdefull * (i + 1) ^ seed;
}

static struct insn_regs start(u64 addr, u64 src)
{
	return (struct insn_regs) {
		.rax = 0x1122334455667788, .rbx = 0x99aabbccddeeff00, .rcx = 3,
		.rdx = 0x0123456789abcdef, .rsi = src, .rdi = addr, .r9 = 0xfedcba9876543210,
	};
}

static void guest_emul(u64 id)
{
	for (u32 i = 0; i < NR_INSNS; i++) {
		fill(ram, 0);
		fill(source, 0);	/* equal, so that compares and CMPXCHG hit */
		fill(io_source, 0);
		source[1] ^= 0xff00;
		io_source[1] ^= 0xff00;
		GUEST_SYNC(1, i);	/* the host refills the MMIO side */
		ram_regs = start((u64)ram, (u64)source);
		io_regs = start(io_base, (u64)io_source);
		run_insn(insn_code + i * 64, &ram_regs);
		run_insn(insn_code + i * 64, &io_regs);
		GUEST_SYNC(2, i);
	}
	GUEST_DONE();
}

/* Be memory: serve the guest's MMIO from @mem, which lies at io_base, up to a ucall. */
static void serve(struct vcpu *v, u8 *mem, u64 base, u64 size, struct ucall *uc)
{
	for (int i = 0; i < 1000; i++) {
		vcpu_run(v);
		if (vcpu_ucall(v, uc))
			return;
		CHECK(v, v->run->exit_reason == KVM_EXIT_MMIO, "not MMIO");
		CHECK(v, v->run->mmio.phys_addr >= base &&
		      v->run->mmio.phys_addr + v->run->mmio.len <= base + size, "elsewhere");
		if (v->run->mmio.is_write)
			memcpy(mem + (v->run->mmio.phys_addr - base), v->run->mmio.data,
			       v->run->mmio.len);
		else
			memcpy(v->run->mmio.data, mem + (v->run->mmio.phys_addr - base),
			       v->run->mmio.len);
	}
	CHECK(v, false, "no end of it");
}

/* Pointers into the operand or the source, as offsets from their start. */
static u64 relative(u64 reg, u64 operand, u64 src)
{
	return reg - operand < 0x100 ? reg - operand : reg - src;
}

static bool same(struct vm *vm, u32 i, const u8 *mem, u64 base)
{
	struct insn_regs a = G(vm, ram_regs), b = G(vm, io_regs);
	u32 flags = insns[i].flags;
	bool ok = true;

	a.rsi = relative(a.rsi, (u64)ram, (u64)source);
	a.rdi = relative(a.rdi, (u64)ram, (u64)source);
	b.rsi = relative(b.rsi, base, (u64)io_source);
	b.rdi = relative(b.rdi, base, (u64)io_source);
	a.flags &= flags;
	b.flags &= flags;
	if (memcmp(&a, &b, sizeof(a))) {
		fprintf(stderr, "# %s: rax %#lx/%#lx rbx %#lx/%#lx rcx %#lx/%#lx rdx %#lx/%#lx\n",
			insns[i].text, a.rax, b.rax, a.rbx, b.rbx, a.rcx, b.rcx, a.rdx, b.rdx);
		fprintf(stderr, "#   rsi %#lx/%#lx rdi %#lx/%#lx r9 %#lx/%#lx flags %#lx/%#lx\n",
			a.rsi, b.rsi, a.rdi, b.rdi, a.r9, b.r9, a.flags, b.flags);
		ok = false;
	}
	if (memcmp((void *)&G(vm, ram[0]), mem, sizeof(ram)) ||
	    memcmp((void *)&G(vm, source[0]), (void *)&G(vm, io_source[0]), sizeof(source))) {
		fprintf(stderr, "# %s: memory differs\n", insns[i].text);
		ok = false;
	}
	return ok;
}

static int run_all(struct vm *vm, u8 *mem, u64 base)
{
	struct vcpu *v = vm->vcpus[0];
	struct ucall uc;
	int bad = 0;

	G(vm, io_base) = base;
	for (;;) {
		serve(v, mem, base, 0x1000, &uc);
		if (uc.code == UCALL_DONE)
			return bad;
		CHECK(v, uc.code == UCALL_SYNC, "ucall %u %#lx %#lx %#lx", uc.code, uc.a, uc.b,
		      uc.c);
		if (uc.a == 1)
			fill((u64 *)mem, 0);
		else
			bad += !same(vm, uc.b, mem, base);
	}
}

TEST(on_mmio)
{
	static u8 mem[0x1000];
	struct vm *vm = vm_long(1, guest_emul, 0);

	ASSERT_EQ(0, run_all(vm, mem, HOLE_GPA));
	vm_free(vm);
}

/* The same with the operand across two pages: two accesses for one. */
TEST(on_mmio_across_pages)
{
	static u8 mem[0x1000];
	struct vm *vm = vm_long(1, guest_emul, 0);

	ASSERT_EQ(0, run_all(vm, mem, HOLE_GPA + 0xffd));
	vm_free(vm);
}

static void guest_system(u64 id)
{
	u64 *gdt = (u64 *)GDT_GPA, at = HOLE_GPA, trap;
	u16 sel;

	gdt[SEL_TSS / 8] = 0x0000890000000067 | TSS_GPA(0) << 16;
	gdt[SEL_TSS / 8 + 1] = 0;
	guest_writew(at, SEL_TSS);
	asm volatile("ltr (%0)" : : "r"(at) : "memory");
	asm volatile("str %0" : "=r"(sel));
	GUEST_ASSERT_EQ(SEL_TSS, sel);
	GUEST_ASSERT_EQ(0x8b, READ_ONCE(gdt[SEL_TSS / 8]) >> 40);
	trap = GUEST_TRY("ltr (%1)", : TRAP_OUT : "r"(at) : "memory");
	GUEST_ASSERT_EQ(TRAP(GP, SEL_TSS), trap);	/* busy */

	WRITE_ONCE(gdt[SEL_TSS / 8], 0x0000820000000fff | FREE_GPA << 16);
	asm volatile("lldt (%0)" : : "r"(at) : "memory");
	asm volatile("sldt %0" : "=r"(sel));
	GUEST_ASSERT_EQ(SEL_TSS, sel);
	*(u64 *)FREE_GPA = gdt[SEL_DATA / 8];
	guest_writew(at, 4);			/* its first descriptor */
	asm volatile("mov (%0), %%fs" : : "r"(at) : "memory");
	guest_writew(at, 0);
	asm volatile("lldt (%0)" : : "r"(at) : "memory");
	asm volatile("sldt %0" : "=r"(sel));
	GUEST_ASSERT_EQ(0, sel);

	guest_writew(at, 0);
	asm volatile("mov (%0), %%ss" : : "r"(at) : "memory");
	guest_writew(at, 3);			/* the RPL must be the CPL */
	trap = GUEST_TRY("mov (%1), %%ss", : TRAP_OUT : "r"(at) : "memory");
	GUEST_ASSERT_EQ(TRAP(GP, 0), trap);
	guest_writew(at, SEL_DATA);
	asm volatile("mov (%0), %%ss" : : "r"(at) : "memory");

	/* A far pointer of 10 bytes, in all CPUs while it is emulated */
	asm volatile("movq $1f, (%0); movw %1, 8(%0); rex.W ljmp *(%0); ud2; 1:"
		     : : "r"(at), "i"(SEL_CODE64) : "memory");
	guest_writew(at + 8, SEL_DATA);
	trap = GUEST_TRY("rex.W ljmp *(%1)", : TRAP_OUT : "r"(at) : "memory");
	GUEST_ASSERT_EQ(TRAP(GP, SEL_DATA), trap);
	guest_writeq(at, 1ull << 63);
	trap = GUEST_TRY("jmp *(%1)", : TRAP_OUT : "r"(at) : "memory");
	GUEST_ASSERT_EQ(TRAP(GP, 0), trap);
	GUEST_DONE();
}

TEST(system_registers_and_far_jumps)
{
	struct vm *vm = vm_long(1, guest_system, 0);
	static u8 mem[0x1000];
	struct ucall uc;

	serve(vm->vcpus[0], mem, HOLE_GPA, sizeof(mem), &uc);
	ASSERT_EQ(UCALL_DONE, uc.code) TH_LOG("%#lx %#lx %#lx", uc.a, uc.b, uc.c);
	vm_free(vm);
}

#define STRING_PORT	0xe0
#define STRING_LEN	300

static void guest_string_io(u64 id)
{
	u64 at = HOLE_GPA + 0xfe1, count = STRING_LEN;

	asm volatile("rep insb" : "+D"(at), "+c"(count) : "d"(STRING_PORT) : "memory");
	GUEST_ASSERT_EQ(HOLE_GPA + 0xfe1 + STRING_LEN, at);
	GUEST_ASSERT_EQ(0, count);
	at = HOLE_GPA + 0xfe1;
	count = STRING_LEN / 2;
	asm volatile("rep outsw" : "+S"(at), "+c"(count) : "d"(STRING_PORT) : "memory");
	GUEST_ASSERT_EQ(HOLE_GPA + 0xfe1 + STRING_LEN, at);
	GUEST_DONE();
}

/* Both ends are user space's, and the items are more than one exit can carry. */
TEST(string_io_with_mmio)
{
	struct vm *vm = vm_long(1, guest_string_io, 0);
	struct vcpu *v = vm->vcpus[0];
	u32 nr_in = 0, nr_out = 0;
	static u8 mem[0x2000];
	struct ucall uc;

	for (;;) {
		struct kvm_run *run = v->run;
		u8 *data = run_io_data(v);

		vcpu_run(v);
		if (vcpu_ucall(v, &uc))
			break;
		if (run->exit_reason == KVM_EXIT_MMIO) {
			u64 off = run->mmio.phys_addr - HOLE_GPA;

			CHECK(v, off + run->mmio.len <= sizeof(mem), "elsewhere");
			if (run->mmio.is_write)
				memcpy(mem + off, run->mmio.data, run->mmio.len);
			else
				memcpy(run->mmio.data, mem + off, run->mmio.len);
			continue;
		}
		CHECK(v, run->exit_reason == KVM_EXIT_IO && run->io.port == STRING_PORT, "");
		data = run_io_data(v);
		for (u32 i = 0; i < run->io.count * run->io.size; i++) {
			if (run->io.direction == KVM_EXIT_IO_IN)
				data[i] = nr_in++ * 7;
			else
				CHECK(v, data[i] == (u8)(nr_out++ * 7), "byte %u", nr_out);
		}
	}
	ASSERT_EQ(UCALL_DONE, uc.code) TH_LOG("%#lx %#lx %#lx", uc.a, uc.b, uc.c);
	EXPECT_EQ(STRING_LEN, nr_in);
	EXPECT_EQ(STRING_LEN, nr_out);
	for (u32 i = 0; i < STRING_LEN; i++)
		ASSERT_EQ((u8)(i * 7), mem[0xfe1 + i]);
	vm_free(vm);
}

/* Read-only memory: reads are the CPU's own, writes come out. */
TEST(on_a_read_only_slot)
{
	struct vm *vm = vm_long(1, guest_emul, 0);
	u8 *mem;

	if (!rl_cap(KVM_CAP_READONLY_MEM))
		SKIP(return, "no KVM_CAP_READONLY_MEM");
	mem = vm_add_mem(vm, 1, HOLE_GPA, 0x1000, KVM_MEM_READONLY);
	ASSERT_EQ(0, run_all(vm, mem + 0x100, HOLE_GPA + 0x100));
	vm_free(vm);
}

/* Real mode: 0xa0000 up is the hole, as on a PC. */
GUEST16(real,
	"mov $0xa000, %ax; mov %ax, %es; mov $0x9000, %ax; mov %ax, %ds\n"
	"movb $0x12, %es:0x10\n"
	"movw $0x3456, %es:0x12\n"
	"mov $0x20, %bx; mov $4, %si; mov $0xbeef, %ax\n"
	"mov %ax, %es:2(%bx,%si)\n"
	"movl $0xcafebabe, %es:(%bx,%si)\n"	/* over it, by 2 bytes */
	"mov $0x40, %di; mov $3, %cx; cld; rep stosw\n"
	"mov $0x10, %si; mov $0x50, %di; es movsb\n"
	"mov $0x80, %di; mov $0xfffe, %si; mov $4, %cx; rep movsb\n"	/* ds:si wraps */
	"addw $1, %es:0x12\n"
	"xchg %ax, %es:0x12\n"
	"pushw %es:0x10; pop %dx\n"
	"mov %es:0x26, %cx\n"
	"hlt\n");

TEST(real_mode)
{
	struct vm *vm = VM_BLOB(real, 0);
	struct vcpu *v = vm->vcpus[0];
	u8 mem[0x1000] = {}, *hva = vm_hva(vm, 0);
	struct kvm_regs r;

	ASSERT_EQ(0, vm_set_region(vm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, vm_set_region(vm, 0, 0, 0xa0000, hva, 0));
	memcpy(hva + 0x9fffe, "ab", 2);
	memcpy(hva + 0x90000, "cd", 2);
	for (;;) {
		struct kvm_run *run = v->run;
		u64 off;

		vcpu_run(v);
		if (run->exit_reason == KVM_EXIT_HLT)
			break;
		CHECK(v, run->exit_reason == KVM_EXIT_MMIO, "not MMIO");
		off = run->mmio.phys_addr - 0xa0000;
		CHECK(v, off < 0xff8, "elsewhere");
		if (run->mmio.is_write)
			memcpy(mem + off, run->mmio.data, run->mmio.len);
		else
			memcpy(run->mmio.data, mem + off, run->mmio.len);
	}
	kvm_do(v->fd, KVM_GET_REGS, &r);
	EXPECT_EQ(0x12, mem[0x10]);
	EXPECT_EQ(0xbeef, *(u16 *)(mem + 0x12));
	EXPECT_EQ(0x3457, r.rax & 0xffff);
	EXPECT_EQ(0xcafebabe, *(u32 *)(mem + 0x24));
	EXPECT_EQ(0xbeefbeefbeef, *(u64 *)(mem + 0x40));
	EXPECT_EQ(0x12, mem[0x50]);
	EXPECT_EQ(0, memcmp(mem + 0x80, "abcd", 4));
	EXPECT_EQ(0x12, r.rdx & 0xff);
	EXPECT_EQ(0xcafe, r.rcx & 0xffff);
	EXPECT_EQ(0x84, r.rdi & 0xffff);
	EXPECT_EQ(2, r.rsi & 0xffff);
}

/* 32-bit code, and 16-bit addresses within it; a segment with a base of its own. */
GUEST32(flat32,
	"mov $0x10000000, %edi\n"
	"movl $0x11223344, (%edi)\n"
	"movb $0x55, 2(%edi)\n"
	"mov $2, %ecx\n"
	"addl $0x100, -4(%edi,%ecx,2)\n"
	"mov (%edi), %eax\n"
	"mov $0x66778899, %ebx\n"
	"xchg %ebx, 4(%edi)\n"
	"pushl 4(%edi)\n"
	"popl 8(%edi)\n"
	"mov $0x10000020, %edi\n"
	"mov $0x10000000, %esi\n"
	"mov $3, %ecx\n"
	"rep movsl\n"
	"movw $0xabcd, %fs:0x30\n"
	"hlt\n");

TEST(protected_mode_32)
{
	struct vm *vm = VM_BLOB(flat32, 0);
	struct vcpu *v = vm->vcpus[0];
	u8 mem[0x1000] = {};
	struct kvm_sregs s;
	struct kvm_regs r;

	kvm_do(v->fd, KVM_GET_SREGS, &s);
	s.fs.base = HOLE_GPA + 0x100;
	kvm_do(v->fd, KVM_SET_SREGS, &s);
	for (;;) {
		vcpu_run(v);
		if (v->run->exit_reason == KVM_EXIT_HLT)
			break;
		CHECK(v, v->run->exit_reason == KVM_EXIT_MMIO, "not MMIO");
		CHECK(v, v->run->mmio.phys_addr - HOLE_GPA < 0xff8, "elsewhere");
		if (v->run->mmio.is_write)
			memcpy(mem + (v->run->mmio.phys_addr - HOLE_GPA), v->run->mmio.data,
			       v->run->mmio.len);
		else
			memcpy(v->run->mmio.data, mem + (v->run->mmio.phys_addr - HOLE_GPA),
			       v->run->mmio.len);
	}
	kvm_do(v->fd, KVM_GET_REGS, &r);
	EXPECT_EQ(0x11553444, r.rax);
	EXPECT_EQ(0, r.rbx);
	EXPECT_EQ(0x66778899, *(u32 *)(mem + 8));
	EXPECT_EQ(0, memcmp(mem, mem + 0x20, 12));
	EXPECT_EQ(0xabcd, *(u16 *)(mem + 0x130));
	EXPECT_EQ(0x1000002c, r.rdi);
}

GUEST64(stores, "1: mov %al, (%rbx); jmp 1b\n2: cld; rep stosb; hlt\n");

#define RFLAGS_RF	(1ull << 16)

/* RF keeps the breakpoint of one instruction quiet, all items of a string, and no other's. */
TEST(resume_flag)
{
	struct vm *vm = VM_BLOB(stores, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_regs r;

	kvm_do(v->fd, KVM_GET_REGS, &r);
	r.rbx = r.rdi = HOLE_GPA;
	r.rax = 7;
	r.rcx = 2;
	for (int i = 0; i < 3; i++) {
		r.rip = BLOB_GPA;
		r.rflags |= RFLAGS_RF;
		kvm_do(v->fd, KVM_SET_REGS, &r);
		expect_mmio_write(v, HOLE_GPA, 1, 7);
		kvm_do(v->fd, KVM_GET_REGS, &r);
		EXPECT_EQ(0, r.rflags & RFLAGS_RF) TH_LOG("store %d", i);
	}
	r.rip = BLOB_GPA + 4;
	kvm_do(v->fd, KVM_SET_REGS, &r);
	expect_mmio_write(v, HOLE_GPA, 1, 7);
	kvm_do(v->fd, KVM_GET_REGS, &r);
	EXPECT_EQ(1, r.rcx);
	EXPECT_EQ(RFLAGS_RF, r.rflags & RFLAGS_RF);
	expect_mmio_write(v, HOLE_GPA + 1, 1, 7);
	expect_exit(v, KVM_EXIT_HLT);
	vm_free(vm);
}

TEST_HARNESS_MAIN
