// SPDX-License-Identifier: GPL-2.0
/*
 * The instruction emulator in all modes, against expectations written by hand: segmentation, faults,
 * restarts, privileges, string and port I/O, system instructions.
 */
#include "emul_machine.h"
#include "unit.h"

static struct machine m;

#define RUN(...)								\
	machine_run(&m, (const u8[]){ __VA_ARGS__ }, sizeof((const u8[]){ __VA_ARGS__ }))
#define EXPECT_OK(...)		EXPECT_EQ(RUN(__VA_ARGS__), RL_EMUL_OK)
#define EXPECT_FAULT(vec, err, ...)						\
	do {									\
		EXPECT_EQ(RUN(__VA_ARGS__), RL_EMUL_FAULT);			\
		EXPECT_EQ(m.e.fault.vector, vec);				\
		EXPECT_EQ(m.e.fault.error_code, err);				\
	} while (0)
#define UD	6
#define NM	7
#define NP	11
#define SS	12
#define GP	13
#define PF	14

static u64 mem(u64 addr, unsigned int len)
{
	u64 val = 0;

	memcpy(&val, m.mem + addr, len);
	return val;
}

static void put(u64 addr, unsigned int len, u64 val)
{
	memcpy(m.mem + addr, &val, len);
}

static void expect_log(unsigned int i, char kind, u64 addr, unsigned int len, unsigned int count,
		       u64 data)
{
	if (!EXPECT(i < m.nr_log))
		return;
	EXPECT_EQ(m.log[i].kind, kind);
	EXPECT_EQ(m.log[i].addr, addr);
	EXPECT_EQ(m.log[i].len, len);
	EXPECT_EQ(m.log[i].count, count);
	EXPECT_EQ(m.log[i].data, data);
}

TEST(mov_commits_memory_register_and_rip)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[BX] = DATA_BASE;
	m.regs[AX] = 0x1122334455667788;
	EXPECT_OK(0x48, 0x89, 0x03);			/* mov %rax,(%rbx) */
	EXPECT_EQ(mem(DATA_BASE, 8), 0x1122334455667788);
	EXPECT_EQ(m.e.rip, CODE_BASE + 3);
	EXPECT_EQ(m.e.insn_len, 3);
	EXPECT_OK(0x8b, 0x4b, 0x04);			/* mov 4(%rbx),%ecx */
	EXPECT_EQ(m.regs[CX], 0x11223344);
	EXPECT_OK(0x8a, 0x6b, 0x01);			/* mov 1(%rbx),%ch */
	EXPECT_EQ(m.regs[CX], 0x11227744);
	EXPECT_OK(0x40, 0x8a, 0x6b, 0x02);		/* mov 2(%rbx),%bpl */
	EXPECT_EQ(m.regs[BP], 0x66);
}

TEST(prefilled_bytes_are_not_fetched)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[BX] = DATA_BASE;
	m.regs[AX] = 5;
	m.e.rip = HOLE_BASE + 8;	/* fetching there faults */
	memcpy(m.e.insn, "\x89\x03", 2);
	m.e.fetched = 2;
	EXPECT_EQ(rl_emul_run(&m.e), RL_EMUL_OK);
	EXPECT_EQ(mem(DATA_BASE, 4), 5);
	EXPECT_EQ(m.nr_ops, 1);
	m.e.fetched = 0;
	EXPECT_EQ(rl_emul_run(&m.e), RL_EMUL_FAULT);
	EXPECT_EQ(m.e.fault.cr2, HOLE_BASE + 10);
	EXPECT_EQ(m.e.fault.error_code, 16);
}

TEST(fetch_stops_at_the_page_and_goes_on_when_needed)
{
	machine_init(&m, RL_MODE_LONG64);
	m.e.rip = HOLE_BASE - 2;
	EXPECT_EQ(machine_run(&m, "\x31\xc0", 2), RL_EMUL_OK);	/* the next page is not touched */
	m.e.rip = HOLE_BASE - 1;
	m.mem[HOLE_BASE - 1] = 0x31;
	m.e.fetched = 0;
	EXPECT_EQ(rl_emul_run(&m.e), RL_EMUL_FAULT);
	EXPECT_EQ(m.e.fault.vector, PF);
	EXPECT_EQ(m.e.fault.cr2, HOLE_BASE);
}

TEST(rip_relative_counts_from_the_next_instruction)
{
	machine_init(&m, RL_MODE_LONG64);
	put(CODE_BASE + 0x100 + 10, 4, 0x89abcdef);
	m.e.rflags |= FL_CF;
	/* cmpl $0x89abcdef,0x100(%rip): the immediate belongs to the instruction */
	EXPECT_OK(0x81, 0x3d, 0, 1, 0, 0, 0xef, 0xcd, 0xab, 0x89);
	EXPECT_EQ(m.e.rflags & FL_ARITH, FL_ZF | FL_PF);
	/* addr32: the address is cut to 32 bits */
	m.e.rip = CODE_BASE;
	EXPECT_FAULT(PF, 0, 0x67, 0x8b, 0x05, 0, 0, 0, 0x80);	/* mov -0x80000000(%eip),%eax */
	EXPECT_EQ(m.e.fault.cr2, (u32)(CODE_BASE + 7 + 0x80000000u));
}

TEST(length_of_instructions_that_are_only_stepped_over)
{
	static const struct { u8 mode, len, bytes[15]; } insn[] = {
		{ RL_MODE_LONG64, 3, { 0x0f, 0x01, 0xd9 } },			/* vmmcall */
		{ RL_MODE_LONG64, 2, { 0x0f, 0xa2 } },				/* cpuid */
		{ RL_MODE_LONG64, 3, { 0x0f, 0x01, 0xc9 } },			/* mwait */
		{ RL_MODE_LONG64, 4, { 0x66, 0x66, 0x0f, 0x32 } },		/* rdmsr */
		{ RL_MODE_LONG64, 3, { 0xf3, 0x40, 0x90 } },			/* pause */
		{ RL_MODE_REAL, 2, { 0x2e, 0xf4 } },				/* hlt */
		{ RL_MODE_PROT32, 3, { 0x66, 0x0f, 0x09 } },			/* wbinvd */
		{ RL_MODE_PROT32, 1, { 0xcc } },				/* int3 */
		{ RL_MODE_LONG64, 9, { 0xa1, 1, 2, 3, 4, 5, 6, 7, 8 } },	/* moffs */
		{ RL_MODE_LONG64, 6, { 0x67, 0xa1, 1, 2, 3, 4 } },
		{ RL_MODE_PROT32, 3, { 0x0f, 0x20, 0x05 } },			/* mov %cr0: no memory */
		{ RL_MODE_PROT32, 8, { 0xf6, 0x84, 0x24, 1, 2, 3, 4, 5 } },	/* testb $5 */
		{ RL_MODE_PROT16, 4, { 0x8b, 0x06, 1, 2 } },			/* mov disp16,%ax */
		{ RL_MODE_PROT16, 2, { 0xf7, 0x3f } },				/* idivw (%bx) */
		{ RL_MODE_REAL, 4, { 0x66, 0x0f, 0x20, 0xc0 } },
		{ RL_MODE_REAL, 8, { 0x67, 0x8b, 0x04, 0x25, 1, 2, 3, 4 } },
	};
	unsigned int i;

	for (i = 0; i < sizeof(insn) / sizeof(insn[0]); i++) {
		machine_init(&m, insn[i].mode);
		memcpy(m.mem + CODE_BASE, insn[i].bytes, 15);
		EXPECT_EQ(rl_emul_decode(&m.e), RL_EMUL_OK);
		if (!EXPECT_EQ(m.e.insn_len, insn[i].len))
			printf("# instruction %u\n", i);
	}
}

TEST(sixteen_bytes_are_too_many)
{
	u8 code[16];

	machine_init(&m, RL_MODE_LONG64);
	memset(code, 0x66, sizeof(code));
	code[14] = 0xa4;
	m.regs[SI] = m.regs[DI] = DATA_BASE;
	EXPECT_EQ(machine_run(&m, code, 15), RL_EMUL_OK);
	m.e.rip = CODE_BASE;
	code[14] = 0x66;
	code[15] = 0xa4;
	EXPECT_EQ(machine_run(&m, code, 16), RL_EMUL_FAULT);
	EXPECT_EQ(m.e.fault.vector, GP);
}

TEST(what_no_exit_brings_is_left_alone)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[BX] = DATA_BASE;
	EXPECT_FAULT(UD, 0, 0x8e, 0xc8);		/* mov %eax,%cs */
	EXPECT_FAULT(UD, 0, 0x8e, 0xf0);		/* mov %eax, segment 6 */
	EXPECT_FAULT(UD, 0, 0x0f, 0x22, 0xc8);		/* mov %rax,%cr1 */
	EXPECT_FAULT(UD, 0, 0x0f, 0xb8, 0x03);		/* popcnt without F3 */
	EXPECT_EQ(RUN(0x0f, 0xc7, 0xc8), RL_EMUL_UNHANDLED);	/* cmpxchg8b with a register */
	EXPECT_EQ(RUN(0xc5, 0xf8, 0x10, 0x03), RL_EMUL_UNHANDLED);	/* vmovups */
	EXPECT_EQ(RUN(0xc5, 0x78, 0x10, 0x03), RL_EMUL_UNHANDLED);	/* into xmm8: looks like LDS */
	EXPECT_EQ(RUN(0x62, 0xf1, 0x7c, 0x48, 0x10, 0x03), RL_EMUL_UNHANDLED);	/* EVEX */
	EXPECT_EQ(RUN(0x0f, 0x0b), RL_EMUL_UNHANDLED);		/* ud2 */
	EXPECT_EQ(RUN(0xff, 0x38), RL_EMUL_UNHANDLED);		/* group 5 /7 */
	EXPECT_EQ(RUN(0xff, 0x1b), RL_EMUL_UNHANDLED);		/* lcall *(%rbx) */
	EXPECT_EQ(RUN(0xff, 0xeb), RL_EMUL_UNHANDLED);		/* ljmp with a register */
	EXPECT_EQ(RUN(0xc8, 0, 0, 1), RL_EMUL_UNHANDLED);	/* enter $0, $1 */
	EXPECT_EQ(RUN(0x0f, 0xa2), RL_EMUL_UNHANDLED);		/* cpuid has an exit of its own */
	EXPECT_EQ(RUN(0xdd, 0x03), RL_EMUL_UNHANDLED);		/* x87 */
	EXPECT_EQ(m.e.rip, CODE_BASE);
	EXPECT_OK(0x0f, 0xae, 0x3b);			/* clflush (%rbx) */
	machine_init(&m, RL_MODE_PROT32);
	EXPECT_EQ(RUN(0xc5, 0xf8, 0x10, 0x03), RL_EMUL_UNHANDLED);	/* VEX here, too */
	EXPECT_EQ(RUN(0x40), RL_EMUL_UNHANDLED);	/* inc %eax */
	EXPECT_EQ(RUN(0x63, 0x03), RL_EMUL_UNHANDLED);	/* arpl */
}

TEST(lock_is_for_rmw_of_memory)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[BX] = DATA_BASE;
	m.regs[AX] = 2;
	EXPECT_FAULT(UD, 0, 0xf0, 0x89, 0x03);		/* lock mov */
	EXPECT_FAULT(UD, 0, 0xf0, 0x01, 0xc3);		/* lock add %eax,%ebx */
	EXPECT_FAULT(UD, 0, 0xf0, 0x39, 0x03);		/* lock cmp */
	EXPECT_FAULT(UD, 0, 0xf0, 0x83, 0x3b, 0);	/* lock cmp, group 1 */
	EXPECT_FAULT(UD, 0, 0xf0, 0x03, 0x03);		/* lock add (%rbx),%eax */
	EXPECT_FAULT(UD, 0, 0xf0, 0x0f, 0xa3, 0x03);	/* lock bt */
	EXPECT_FAULT(UD, 0, 0xf0, 0xf7, 0x03, 0, 0, 0, 0);	/* lock test */
	put(DATA_BASE, 4, 40);
	EXPECT_OK(0xf0, 0x01, 0x03);			/* lock add %eax,(%rbx) */
	EXPECT_EQ(mem(DATA_BASE, 4), 42);
	m.lose_race = true;
	EXPECT_EQ(RUN(0xf0, 0x01, 0x03), RL_EMUL_RETRY);
	EXPECT_EQ(mem(DATA_BASE, 4), 42);
	EXPECT_EQ(m.e.rflags, 2);
	m.lose_race = true;
	EXPECT_EQ(RUN(0x87, 0x03), RL_EMUL_RETRY);	/* xchg locks without the prefix */
	EXPECT_EQ(m.regs[AX], 2);
	EXPECT_OK(0x87, 0x03);
	EXPECT_EQ(m.regs[AX], 42);
}

TEST(cmpxchg8b_and_16b)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[SI] = DATA_BASE;
	put(DATA_BASE, 8, 0x1111111122222222);
	m.regs[AX] = 0x22222222;
	m.regs[DX] = 0xff00000011111111;	/* upper halves do not count */
	m.regs[BX] = 0x33333333;
	m.regs[CX] = 0x44444444;
	EXPECT_OK(0xf0, 0x0f, 0xc7, 0x0e);
	EXPECT_EQ(mem(DATA_BASE, 8), 0x4444444433333333);
	EXPECT(m.e.rflags & FL_ZF);
	EXPECT_OK(0x0f, 0xc7, 0x0e);
	EXPECT_EQ(m.regs[AX], 0x33333333);
	EXPECT_EQ(m.regs[DX], 0x44444444);
	EXPECT(!(m.e.rflags & FL_ZF));
	put(DATA_BASE + 8, 8, 7);
	m.regs[AX] = mem(DATA_BASE, 8);
	m.regs[DX] = 7;
	EXPECT_OK(0xf0, 0x48, 0x0f, 0xc7, 0x0e);
	EXPECT_EQ(mem(DATA_BASE, 8), 0x33333333);
	EXPECT_EQ(mem(DATA_BASE + 8, 8), 0x44444444);
	m.regs[SI] += 8;
	EXPECT_FAULT(GP, 0, 0x48, 0x0f, 0xc7, 0x0e);	/* not aligned to 16 */
}

TEST(nothing_commits_before_a_fault)
{
	struct machine before;

	machine_init(&m, RL_MODE_LONG64);
	m.regs[BX] = RO_BASE;
	m.regs[AX] = 0x1234;
	m.regs[SI] = HOLE_BASE - 4;
	before = m;
	EXPECT_FAULT(PF, 3, 0x01, 0x03);		/* add %eax,(%rbx) */
	EXPECT_EQ(m.e.fault.cr2, RO_BASE);
	EXPECT_FAULT(PF, 3, 0x0f, 0xc1, 0x03);		/* xadd */
	EXPECT_FAULT(PF, 3, 0x87, 0x03);		/* xchg */
	EXPECT_FAULT(PF, 2, 0x48, 0x89, 0x06);		/* mov over the edge of the hole */
	EXPECT_EQ(m.e.fault.cr2, HOLE_BASE);
	EXPECT_FAULT(PF, 2, 0xff, 0x46, 0x04);		/* incl 4(%rsi): a write from the start */
	EXPECT_FAULT(PF, 0, 0x03, 0x46, 0x04);		/* add 4(%rsi),%eax */
	EXPECT(!memcmp(m.regs, before.regs, sizeof(m.regs)));
	EXPECT(!memcmp(m.mem + DATA_BASE, before.mem + DATA_BASE, MEM_SIZE - DATA_BASE));
	EXPECT_EQ(m.e.rip, CODE_BASE);
	EXPECT_EQ(m.e.rflags, 2);
	m.regs[SP] = HOLE_BASE;
	EXPECT_FAULT(PF, 0, 0x58);			/* pop %rax */
	EXPECT_EQ(m.regs[SP], HOLE_BASE);
	m.regs[SP] = HOLE_BASE + 0x1000;
	EXPECT_FAULT(PF, 2, 0x50);			/* push %rax */
	EXPECT_FAULT(PF, 2, 0xff, 0xd0);		/* call *%rax */
	EXPECT_EQ(m.regs[SP], HOLE_BASE + 0x1000);
}

TEST(mmio_read_waits_for_user_space_and_restarts)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[BX] = MMIO_BASE + 8;
	m.regs[CX] = 3;
	m.to_user = true;
	EXPECT_EQ(RUN(0x01, 0x0b), RL_EMUL_USER);	/* add %ecx,(%rbx) */
	EXPECT_EQ(m.e.rip, CODE_BASE);
	EXPECT_EQ(m.nr_log, 0);
	machine_answer(&m, 0x10);
	EXPECT_EQ(machine_step(&m), RL_EMUL_OK);
	expect_log(0, 'r', MMIO_BASE + 8, 4, 1, 0x10);
	expect_log(1, 'w', MMIO_BASE + 8, 4, 1, 0x13);
	EXPECT_EQ(m.e.rip, CODE_BASE + 2);
	EXPECT(m.e.stop);
	EXPECT_EQ(RUN(0x0f, 0xb6, 0x03), RL_EMUL_USER);	/* movzbl (%rbx),%eax */
	machine_answer(&m, 0x1ff);
	EXPECT_EQ(machine_step(&m), RL_EMUL_OK);
	EXPECT_EQ(m.regs[AX], 0xff);
	EXPECT_EQ(m.log[2].len, 1);
}

TEST(two_mmio_reads_in_one_instruction)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[SI] = MMIO_BASE;
	m.regs[DI] = MMIO_BASE + 0x100;
	m.to_user = true;
	EXPECT_EQ(RUN(0xa7), RL_EMUL_USER);		/* cmpsl */
	machine_answer(&m, 7);
	EXPECT_EQ(machine_step(&m), RL_EMUL_USER);	/* the second one; the first is kept */
	EXPECT_EQ(m.regs[SI], MMIO_BASE);
	machine_answer(&m, 9);
	EXPECT_EQ(machine_step(&m), RL_EMUL_OK);
	EXPECT(m.e.rflags & FL_CF);
	EXPECT_EQ(m.regs[SI], MMIO_BASE + 4);
	EXPECT_EQ(m.regs[DI], MMIO_BASE + 0x104);
}

TEST(non_canonical_addresses)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[BX] = 0x800000000000;
	m.regs[BP] = 0x800000000000;
	EXPECT_FAULT(GP, 0, 0x8b, 0x03);		/* mov (%rbx),%eax */
	EXPECT_FAULT(SS, 0, 0x8b, 0x45, 0x00);		/* mov 0(%rbp),%eax */
	EXPECT_FAULT(GP, 0, 0x3e, 0xff, 0xe3);		/* jmp *%rbx */
	m.regs[BX] = 0x7fffffffffff;
	EXPECT_FAULT(GP, 0, 0x8b, 0x03);		/* its last byte */
	m.e.cr4 |= 1 << 12;				/* LA57 */
	EXPECT_FAULT(PF, 0, 0x8b, 0x03);
	m.seg[RL_SEG_GS].base = 0x1000;
	m.regs[BX] = DATA_BASE - 0x1000;
	put(DATA_BASE, 4, 77);
	EXPECT_OK(0x65, 0x8b, 0x03);			/* mov %gs:(%rbx),%eax */
	EXPECT_EQ(m.regs[AX], 77);
	m.seg[RL_SEG_DS].base = 0x1000;
	m.regs[BX] = DATA_BASE;
	EXPECT_OK(0x26, 0x8b, 0x03);			/* other segments have no base */
	EXPECT_EQ(m.regs[AX], 77);
}

TEST(protected_mode_limits_and_rights)
{
	machine_init(&m, RL_MODE_PROT32);
	m.regs[BX] = DATA_BASE;
	m.seg[RL_SEG_DS].limit = DATA_BASE + 3;
	EXPECT_OK(0x89, 0x03);				/* mov %eax,(%ebx) */
	EXPECT_FAULT(GP, 0, 0x89, 0x43, 0x01);		/* one byte over */
	EXPECT_OK(0x88, 0x43, 0x03);
	m.regs[BP] = m.regs[BX];
	m.seg[RL_SEG_SS].limit = DATA_BASE + 3;
	EXPECT_FAULT(SS, 0, 0x89, 0x45, 0x01);
	m.seg[RL_SEG_DS].attr = 0xc091;			/* read-only */
	EXPECT_FAULT(GP, 0, 0x89, 0x03);
	EXPECT_FAULT(GP, 0, 0x01, 0x03);
	EXPECT_OK(0x8b, 0x03);
	m.seg[RL_SEG_ES].attr = 0;			/* null selector */
	EXPECT_FAULT(GP, 0, 0x26, 0x8b, 0x03);
	m.seg[RL_SEG_CS].attr = 0xc099;			/* execute-only */
	EXPECT_FAULT(GP, 0, 0x2e, 0x8b, 0x03);
	m.seg[RL_SEG_CS].attr = 0xc09b;
	EXPECT_OK(0x2e, 0x8b, 0x03);
	EXPECT_FAULT(GP, 0, 0x2e, 0x89, 0x03);		/* code is never written */
	m.seg[RL_SEG_FS] = (struct rl_seg){ .limit = DATA_BASE, .attr = 0xc097 };	/* down */
	EXPECT_FAULT(GP, 0, 0x64, 0x8b, 0x03);
	EXPECT_OK(0x64, 0x8b, 0x43, 0x01);
	m.seg[RL_SEG_FS].attr = 0x97;			/* of 64 KiB: the upper bound is 0xffff */
	EXPECT_FAULT(GP, 0, 0x64, 0x8b, 0x43, 0x01);
	m.seg[RL_SEG_FS].limit = 0x100;
	m.regs[BX] = 0xfffd;
	EXPECT_FAULT(GP, 0, 0x64, 0x8b, 0x03);
	EXPECT_OK(0x64, 0x8a, 0x03);
	m.seg[RL_SEG_GS].base = 0xffff0000;		/* linear addresses wrap at 4 GiB */
	m.regs[BX] = DATA_BASE + 0x10000;
	put(DATA_BASE, 4, 99);
	EXPECT_OK(0x65, 0x8b, 0x03);
	EXPECT_EQ(m.regs[AX], 99);
	m.seg[RL_SEG_CS].limit = m.e.rip + 1;
	EXPECT_OK(0x89, 0xc0);
	EXPECT_FAULT(GP, 0, 0x89, 0xc0);		/* beyond CS */
}

TEST(real_mode_addresses)
{
	machine_init(&m, RL_MODE_REAL);
	m.regs[BX] = 0x1000;
	m.regs[SI] = 0xf010;				/* wraps at 64 KiB */
	m.regs[AX] = 0xaaaabeef;
	EXPECT_OK(0x89, 0x00);				/* mov %ax,(%bx,%si) */
	EXPECT_EQ(mem(DATA_BASE + 0x10, 4), 0xbeef);
	m.regs[BP] = 0x20;
	EXPECT_OK(0x66, 0x89, 0x42, 0xff);		/* mov %eax,-1(%bp,%si): by SS */
	EXPECT_EQ(mem(STACK_BASE + 0xf02f, 4), 0xaaaabeef);
	EXPECT_OK(0x3e, 0x8a, 0x4e, 0x00);		/* mov %ds:(%bp),%cl */
	EXPECT_EQ(m.regs[CX], 0);
	EXPECT_OK(0x8a, 0x0e, 0x10, 0x00);		/* mov 0x10,%cl */
	EXPECT_EQ(m.regs[CX], 0xef);
	m.regs[BX] = 0xffff;
	EXPECT_FAULT(GP, 0, 0x89, 0x07);		/* a word at 0xffff */
	EXPECT(!m.e.fault.has_error);
	m.regs[BP] = 0xffff;
	EXPECT_FAULT(SS, 0, 0x89, 0x46, 0x00);
	m.regs[BX] = 0x12345;
	EXPECT_FAULT(GP, 0, 0x67, 0x8a, 0x03);		/* mov (%ebx),%al over 64 KiB */
	m.seg[RL_SEG_DS].limit = 0xffffffff;		/* unreal mode */
	m.mem[DATA_BASE + 0x12345] = 0x5a;
	EXPECT_OK(0x67, 0x8a, 0x03);
	EXPECT_EQ(m.regs[AX], 0xaaaabe5a);
	EXPECT_OK(0x8e, 0xd9);				/* mov %cx,%ds keeps its limit */
	EXPECT_EQ(m.seg[RL_SEG_DS].base, 0xef0);
	EXPECT_EQ(m.seg[RL_SEG_DS].limit, 0xffffffff);
	EXPECT_EQ(m.seg[RL_SEG_DS].sel, 0xef);
	m.seg[RL_SEG_DS].base = DATA_BASE;
	m.regs[BX] = 0x12345;
	m.mem[DATA_BASE + 0x45 + 0x12] = 0;
	m.regs[AX] = 4;
	m.mem[DATA_BASE + 0x2349] = 0x77;
	EXPECT_OK(0xd7);				/* xlat: 16-bit address */
	EXPECT_EQ(m.regs[AX], 0x77);
}

TEST(stack_width_follows_ss)
{
	machine_init(&m, RL_MODE_PROT32);
	m.seg[RL_SEG_SS] = (struct rl_seg){ STACK_BASE, 0xffff, SEL_STACK16, 0x93 };
	m.regs[SP] = 0x77770002;
	m.regs[AX] = 0x11223344;
	EXPECT_FAULT(SS, 0, 0x50);			/* four bytes at 0xfffe */
	m.regs[SP] = 0x77770000;
	EXPECT_OK(0x50);				/* push %eax */
	EXPECT_EQ(m.regs[SP], 0x7777fffc);
	EXPECT_EQ(mem(STACK_BASE + 0xfffc, 4), 0x11223344);
	EXPECT_OK(0x59);				/* pop %ecx */
	EXPECT_EQ(m.regs[CX], 0x11223344);
	EXPECT_EQ(m.regs[SP], 0x77770000);
	m.regs[SP] = 0x100;
	EXPECT_OK(0x66, 0x6a, 0xff);			/* pushw $-1 */
	EXPECT_EQ(m.regs[SP], 0xfe);
	EXPECT_EQ(mem(STACK_BASE + 0xfe, 2), 0xffff);

	machine_init(&m, RL_MODE_LONG64);
	m.regs[9] = 0x99;
	EXPECT_OK(0x41, 0x51);				/* push %r9 */
	EXPECT_EQ(mem(STACK_BASE - 8, 8), 0x99);
	EXPECT_OK(0x8f, 0x44, 0x24, 0x08);		/* pop 8(%rsp): by the new RSP */
	EXPECT_EQ(m.regs[SP], STACK_BASE);
	EXPECT_EQ(mem(STACK_BASE + 8, 8), 0x99);
	put(STACK_BASE, 8, 0x1234);
	EXPECT_OK(0x5c);				/* pop %rsp */
	EXPECT_EQ(m.regs[SP], 0x1234);
}

TEST(near_branches_through_memory)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[BX] = DATA_BASE;
	put(DATA_BASE, 8, 0x123456789);
	EXPECT_OK(0xff, 0x13);				/* call *(%rbx) */
	EXPECT_EQ(m.e.rip, 0x123456789);
	EXPECT_EQ(mem(STACK_BASE - 8, 8), CODE_BASE + 2);
	machine_init(&m, RL_MODE_REAL);
	m.regs[AX] = 0x1234;
	EXPECT_OK(0xff, 0xd0);				/* call *%ax */
	EXPECT_EQ(m.e.rip, 0x1234);
	EXPECT_EQ(mem(STACK_BASE + 0x7ffe, 2), 2);
	m.regs[AX] = 0x12345;
	EXPECT_FAULT(GP, 0, 0x66, 0xff, 0xe0);		/* jmp *%eax beyond CS */
	m.regs[SP] = 0x7ffe;
	EXPECT_OK(0xc3);				/* ret */
	EXPECT_EQ(m.e.rip, 2);
	EXPECT_EQ(m.regs[SP], 0x8000);
	machine_init(&m, RL_MODE_LONG64);
	put(STACK_BASE, 8, 1ull << 63);
	EXPECT_FAULT(GP, 0, 0xc3);
	EXPECT_EQ(m.regs[SP], STACK_BASE);
}

TEST(stack_frames)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[BP] = 0x1122334455667788;
	EXPECT_OK(0xc8, 0x34, 0x92, 0);			/* enter $0x9234, $0 */
	EXPECT_EQ(m.regs[BP], STACK_BASE - 8);
	EXPECT_EQ(m.regs[SP], STACK_BASE - 8 - 0x9234);
	EXPECT_EQ(mem(STACK_BASE - 8, 8), 0x1122334455667788);
	EXPECT_OK(0xc9);				/* leave */
	EXPECT_EQ(m.regs[BP], 0x1122334455667788);
	EXPECT_EQ(m.regs[SP], STACK_BASE);
	machine_init(&m, RL_MODE_REAL);
	m.regs[BP] = 0xaaaa1234;
	m.regs[SP] = 0xbbbb8000;
	EXPECT_OK(0xc8, 2, 0, 0);
	EXPECT_EQ(m.regs[BP], 0xaaaa7ffe);
	EXPECT_EQ(m.regs[SP], 0xbbbb7ffc);
	EXPECT_OK(0xc9);
	EXPECT_EQ(m.regs[BP], 0xaaaa1234);
	EXPECT_EQ(m.regs[SP], 0xbbbb8000);
}

static void put_far(u64 offset, unsigned int size, u16 sel)
{
	put(DATA_BASE, 8, offset);
	put(DATA_BASE + size, 2, sel);
}

TEST(far_jumps)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[BX] = DATA_BASE;
	put_far(0x123456789, 8, SEL_CODE64);
	EXPECT_OK(0x48, 0xff, 0x2b);			/* rex.w ljmp *(%rbx) */
	EXPECT_EQ(m.e.rip, 0x123456789);
	EXPECT_EQ(m.mem[TABLE_BASE + SEL_CODE64 + 5], 0x9b);
	m.e.rip = CODE_BASE;
	put_far(1ull << 63, 8, SEL_CODE64);
	EXPECT_FAULT(GP, 0, 0x48, 0xff, 0x2b);
	put_far(0x1234, 8, SEL_CODE64 + 3);
	EXPECT_FAULT(GP, SEL_CODE64, 0x48, 0xff, 0x2b);
	put_far(0x1234, 8, SEL_DATA0);
	EXPECT_FAULT(GP, SEL_DATA0, 0x48, 0xff, 0x2b);
	put_far(0x1234, 8, 0);
	EXPECT_FAULT(GP, 0, 0x48, 0xff, 0x2b);
	put_far(0x1234, 8, SEL_GATE);
	EXPECT_EQ(RUN(0x48, 0xff, 0x2b), RL_EMUL_UNHANDLED);
	put_desc(&m, TABLE_BASE + SEL_CODE16, 0, 0xffff, 0x609b);	/* L and D */
	put_far(0x1234, 8, SEL_CODE16);
	EXPECT_FAULT(GP, SEL_CODE16, 0x48, 0xff, 0x2b);
	put_desc(&m, TABLE_BASE + SEL_CODE16, 0, 0x1000, 0x009b);
	EXPECT_FAULT(GP, 0, 0x48, 0xff, 0x2b);		/* beyond the limit there */
	EXPECT_EQ(m.seg[RL_SEG_CS].attr, 0xa09b);
	EXPECT_EQ(m.seg[RL_SEG_CS].sel, SEL_CODE64);
	put_far(0x1000, 4, SEL_CODE16);
	EXPECT_OK(0xff, 0x2b);				/* to compatibility mode */
	EXPECT_EQ(m.e.rip, 0x1000);
	EXPECT_EQ(m.seg[RL_SEG_CS].attr, 0x9b);
	machine_init(&m, RL_MODE_REAL);
	put_far(0x10, 2, 0x1234);
	EXPECT_OK(0xff, 0x2f);				/* ljmp *(%bx) */
	EXPECT_EQ(m.seg[RL_SEG_CS].base, 0x12340);
	EXPECT_EQ(m.e.rip, 0x10);
}

TEST(system_segments)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[AX] = SEL_TSS;
	put(TABLE_BASE + SEL_TSS + 8, 8, 0xffff8000);
	EXPECT_OK(0x0f, 0x00, 0xd8);			/* ltr %ax */
	EXPECT_EQ(m.seg[RL_SEG_TR].base, 0xffff800000000000 + TABLE_BASE + 0x2000);
	EXPECT_EQ(m.seg[RL_SEG_TR].attr, 0x8b);
	EXPECT_EQ(m.mem[TABLE_BASE + SEL_TSS + 5], 0x8b);
	EXPECT_FAULT(GP, SEL_TSS, 0x0f, 0x00, 0xd8);	/* busy */
	m.mem[TABLE_BASE + SEL_TSS + 5] = 9;
	EXPECT_FAULT(NP, SEL_TSS, 0x0f, 0x00, 0xd8);
	m.mem[TABLE_BASE + SEL_TSS + 5] = 0x89;
	put(TABLE_BASE + SEL_TSS + 8, 8, 0x8000);
	EXPECT_FAULT(GP, SEL_TSS, 0x0f, 0x00, 0xd8);	/* not canonical */
	EXPECT_FAULT(GP, SEL_TSS, 0x0f, 0x00, 0xd0);	/* no LDT */
	m.regs[AX] = SEL_LIMIT;
	EXPECT_FAULT(GP, SEL_LIMIT, 0x0f, 0x00, 0xd0);	/* half of it is beyond the limit */
	m.regs[AX] = SEL_LDT;
	put(TABLE_BASE + SEL_LDT + 8, 8, 0);
	EXPECT_OK(0x0f, 0x00, 0xd0);			/* lldt %ax */
	EXPECT_EQ(m.seg[RL_SEG_LDTR].base, TABLE_BASE + 0x1000);
	m.regs[AX] = 0;
	EXPECT_OK(0x0f, 0x00, 0xd0);
	EXPECT_EQ(m.seg[RL_SEG_LDTR].attr, 0);
	EXPECT_FAULT(GP, 0, 0x0f, 0x00, 0xd8);
	machine_user(&m);
	EXPECT_FAULT(GP, 0, 0x0f, 0x00, 0xd0);
	machine_init(&m, RL_MODE_REAL);
	EXPECT_FAULT(UD, 0, 0x0f, 0x00, 0xd8);
	machine_init(&m, RL_MODE_PROT32);		/* 8 bytes, and 16-bit TSSs as well */
	m.regs[AX] = SEL_LIMIT;
	put_desc(&m, TABLE_BASE + SEL_LIMIT, DATA_BASE, 0x2b, 0x81);
	EXPECT_OK(0x0f, 0x00, 0xd8);
	EXPECT_EQ(m.seg[RL_SEG_TR].base, DATA_BASE);
	EXPECT_EQ(m.mem[TABLE_BASE + SEL_LIMIT + 5], 0x83);
	m.regs[AX] = 4;
	EXPECT_FAULT(GP, 4, 0x0f, 0x00, 0xd0);		/* not from the LDT */
}

TEST(far_pointers)
{
	machine_init(&m, RL_MODE_REAL);
	put(DATA_BASE, 4, 0x12345678);
	m.regs[BX] = 0;
	EXPECT_OK(0xc4, 0x0f);				/* les (%bx),%cx */
	EXPECT_EQ(m.seg[RL_SEG_ES].sel, 0x1234);
	EXPECT_EQ(m.regs[CX], 0x5678);
	EXPECT_OK(0x0f, 0xb2, 0x27);			/* lss (%bx),%sp */
	EXPECT_EQ(m.seg[RL_SEG_SS].base, 0x12340);
	EXPECT_EQ(m.regs[SP], 0x5678);
}

TEST(segment_loads_in_protected_mode)
{
	machine_init(&m, RL_MODE_PROT32);
	m.regs[AX] = SEL_DATA0;
	EXPECT_OK(0x8e, 0xc0);				/* mov %eax,%es */
	EXPECT_EQ(m.seg[RL_SEG_ES].attr, 0xc093);
	EXPECT_EQ(m.seg[RL_SEG_ES].limit, 0xffffffff);
	EXPECT_EQ(m.mem[TABLE_BASE + SEL_DATA0 + 5], 0x93);	/* marked accessed */
	m.regs[AX] = 3;
	EXPECT_OK(0x8e, 0xe0);				/* null, with an RPL, into FS */
	EXPECT_EQ(m.seg[RL_SEG_FS].attr & 0x80, 0);
	EXPECT_EQ(m.seg[RL_SEG_FS].sel, 3);
	EXPECT_FAULT(GP, 0, 0x8e, 0xd0);		/* but not into SS */
	m.regs[AX] = SEL_RODATA;
	EXPECT_FAULT(GP, SEL_RODATA, 0x8e, 0xd0);
	m.regs[AX] = SEL_DATA0 + 3;
	EXPECT_FAULT(GP, SEL_DATA0, 0x8e, 0xd0);	/* RPL above CPL */
	EXPECT_FAULT(GP, SEL_DATA0, 0x8e, 0xd8);	/* RPL above DPL */
	m.regs[AX] = SEL_DATA3;
	EXPECT_FAULT(GP, SEL_DATA3, 0x8e, 0xd0);	/* DPL is not CPL */
	m.regs[AX] = SEL_XCODE;
	EXPECT_FAULT(GP, SEL_XCODE, 0x8e, 0xd8);	/* not readable */
	m.regs[AX] = SEL_CODE0;
	EXPECT_OK(0x8e, 0xd8);
	m.regs[AX] = SEL_ABSENT;
	EXPECT_FAULT(NP, SEL_ABSENT, 0x8e, 0xd8);
	put_desc(&m, TABLE_BASE + SEL_ABSENT, 0, 0xfffff, 0xc013);
	EXPECT_FAULT(SS, SEL_ABSENT, 0x8e, 0xd0);
	m.regs[AX] = SEL_TSS;
	EXPECT_FAULT(GP, SEL_TSS, 0x8e, 0xd8);
	m.regs[AX] = SEL_LIMIT + 8;
	EXPECT_FAULT(GP, SEL_LIMIT + 8, 0x8e, 0xd8);
	m.regs[AX] = 0xc;				/* LDT */
	EXPECT_FAULT(GP, 0xc, 0x8e, 0xd8);		/* there is none */
	m.seg[RL_SEG_LDTR] = (struct rl_seg){ TABLE_BASE + 0x1000, 0xf, SEL_LDT, 0x82 };
	put_desc(&m, TABLE_BASE + 0x1008, 0x5000, 0x123, 0x93);
	EXPECT_OK(0x8e, 0xd8);
	EXPECT_EQ(m.seg[RL_SEG_DS].base, 0x5000);
	EXPECT_EQ(m.seg[RL_SEG_DS].limit, 0x123);
	m.seg[RL_SEG_LDTR].limit = 0xe;
	EXPECT_FAULT(GP, 0xc, 0x8e, 0xd8);
	m.regs[AX] = SEL_STACK16;
	EXPECT_OK(0x8e, 0xd0);
	EXPECT_EQ(m.e.shadow, RL_SHADOW_MOV_SS);
	EXPECT_EQ(m.seg[RL_SEG_SS].base, STACK_BASE);
	m.e.rflags |= FL_TF;
	EXPECT_OK(0x8e, 0xd0);
	EXPECT(!m.e.single_step);			/* the trap, too, is held back */
	m.e.rflags &= ~(u64)FL_TF;
	EXPECT_OK(0x89, 0xc0);
	EXPECT_EQ(m.e.shadow, 0);
	machine_init(&m, RL_MODE_PROT32);
	m.seg[RL_SEG_SS].sel = SEL_STACK16;
	EXPECT_OK(0x8c, 0xd2);				/* mov %ss,%edx */
	EXPECT_EQ(m.regs[DX], SEL_STACK16);
	m.regs[BX] = DATA_BASE;
	put(DATA_BASE, 4, 0xffffffff);
	EXPECT_OK(0x8c, 0x13);				/* to memory always 16 bits */
	EXPECT_EQ(mem(DATA_BASE, 4), 0xffff0000 | SEL_STACK16);
}

TEST(flags_and_privilege)
{
	machine_init(&m, RL_MODE_PROT32);
	machine_user(&m);
	EXPECT_FAULT(GP, 0, 0x0f, 0x20, 0xc0);		/* mov %cr0,%eax */
	EXPECT_FAULT(GP, 0, 0x0f, 0x06);		/* clts */
	m.regs[DX] = 0x60;
	EXPECT_FAULT(GP, 0, 0x6c);			/* insb: no TSS allows it */
	EXPECT_OK(0x0f, 0x01, 0xe0);			/* smsw %eax */
	m.e.cr4 |= 1 << 11;				/* UMIP */
	EXPECT_FAULT(GP, 0, 0x0f, 0x01, 0xe0);
	m.e.rflags |= 1 << 16;				/* RF ends with the instruction */
	EXPECT_OK(0x89, 0xc0);
	EXPECT(!(m.e.rflags & 1 << 16));
	m.e.rflags |= FL_TF;
	EXPECT_OK(0x89, 0xc0);
	EXPECT(m.e.single_step);
	m.e.rflags &= ~FL_TF;
	EXPECT_OK(0x89, 0xc0);
	EXPECT(!m.e.single_step);
	/* Arithmetic is this CPU's: flags that it does not define for the guest stay the guest's. */
	m.e.rflags |= FL_DF | 0x3000;
	EXPECT_OK(0x01, 0xc0);
	EXPECT_EQ(m.e.rflags & ~(u64)FL_ARITH, 2 | FL_DF | 0x3000);
}

TEST(io_permission_map)
{
	machine_init(&m, RL_MODE_PROT32);
	machine_user(&m);
	put(TABLE_BASE + 0x2000 + 102, 2, 0x68);	/* the map follows the TSS */
	m.seg[RL_SEG_TR].limit = 0x68 + 0x81;
	m.input = 0x12345678;
	m.regs[DX] = 0x60;
	m.regs[SI] = m.regs[DI] = DATA_BASE;
	EXPECT_OK(0x6c);				/* insb */
	EXPECT_EQ(m.mem[DATA_BASE], 0x78);
	m.mem[TABLE_BASE + 0x2068 + 0x60 / 8] = 0x04;	/* port 0x62 is not allowed */
	m.regs[DX] = 0x5e;
	EXPECT_OK(0x6d);				/* insl: up to 0x61 */
	m.regs[DX] = 0x5f;
	EXPECT_FAULT(GP, 0, 0x6d);
	m.regs[DX] = 0x62;
	EXPECT_FAULT(GP, 0, 0x6e);			/* outsb */
	m.regs[DX] = 0x60;
	EXPECT_OK(0x66, 0x6f);
	m.regs[DX] = 0x408;
	EXPECT_FAULT(GP, 0, 0x6c);			/* outside the map */
	m.regs[DX] = 0x400;
	EXPECT_OK(0x6c);
	m.e.rflags |= 0x3000;
	m.regs[DX] = 0xffff;
	EXPECT_OK(0x6c);				/* IOPL 3 needs no map */
	m.seg[RL_SEG_TR].attr = 0x83;			/* a 16-bit TSS has none */
	m.e.rflags &= ~0x3000ull;
	EXPECT_FAULT(GP, 0, 0x6c);
	machine_init(&m, RL_MODE_VM86);
	m.e.rflags |= 0x3000;
	m.regs[DX] = 0xffff;
	EXPECT_FAULT(GP, 0, 0x6c);			/* virtual-8086 mode needs it always */
}

TEST(string_moves)
{
	unsigned int i;

	machine_init(&m, RL_MODE_LONG64);
	for (i = 0; i < 2048; i++)
		m.mem[DATA_BASE + i] = i * 7;
	m.regs[SI] = DATA_BASE;
	m.regs[DI] = DATA_BASE + 0x4000;
	m.regs[CX] = 2048;
	i = 0;
	do {
		EXPECT_OK(0xf3, 0xa4);			/* rep movsb, in bounded pieces */
		i++;
	} while (m.e.rip == CODE_BASE && i < 2048);
	EXPECT(i > 1 && i < 100);
	EXPECT(!memcmp(m.mem + DATA_BASE, m.mem + DATA_BASE + 0x4000, 2048));
	EXPECT_EQ(m.regs[CX], 0);
	EXPECT_EQ(m.regs[SI], DATA_BASE + 2048);
	EXPECT_EQ(m.regs[DI], DATA_BASE + 0x4000 + 2048);
	EXPECT_OK(0xf3, 0xa4);				/* nothing left: no access */
	m.e.rflags |= FL_DF;
	m.regs[AX] = 0x1234567890abcdef;
	m.regs[CX] = 2;
	EXPECT_OK(0xf3, 0x48, 0xab);			/* rep stosq, down */
	EXPECT_EQ(m.regs[DI], DATA_BASE + 0x4000 + 2048 - 16);
	EXPECT_EQ(mem(DATA_BASE + 0x4000 + 2048 - 8, 8), 0x1234567890abcdef);
	m.regs[SI] = DATA_BASE + 4;
	EXPECT_OK(0xad);				/* lodsl */
	EXPECT_EQ(m.regs[AX], mem(DATA_BASE + 4, 4));
	EXPECT_EQ(m.regs[SI], DATA_BASE);
	m.e.rflags &= ~(u64)FL_DF;
	m.regs[SI] = DATA_BASE;
	m.regs[DI] = DATA_BASE + 0x4000;
	m.mem[DATA_BASE + 0x4005] ^= 1;
	m.regs[CX] = 100;
	EXPECT_OK(0xf3, 0xa6);				/* repe cmpsb finds the difference */
	EXPECT_EQ(m.regs[CX], 94);
	EXPECT(!(m.e.rflags & FL_ZF));
	m.regs[AX] = m.mem[DATA_BASE + 0x4009];
	EXPECT_OK(0xf2, 0xae);				/* repne scasb */
	EXPECT_EQ(m.regs[DI], DATA_BASE + 0x400a);
	EXPECT(m.e.rflags & FL_ZF);
	/* 32-bit addresses: the registers' upper halves go, as with any 32-bit write */
	m.regs[SI] = 0xffff00000000 | DATA_BASE;
	m.regs[DI] = DATA_BASE + 0x5000;
	m.regs[CX] = 0xff00000001;
	EXPECT_OK(0x67, 0xf3, 0xa5);
	EXPECT_EQ(m.regs[SI], DATA_BASE + 4);
	EXPECT_EQ(m.regs[CX], 0);
	m.e.rflags |= FL_TF;
	m.regs[CX] = 5;
	EXPECT_OK(0xf3, 0xaa);				/* single step: one item, #DB */
	EXPECT_EQ(m.regs[CX], 4);
	EXPECT(m.e.single_step);
}

TEST(string_faults_keep_what_was_done)
{
	machine_init(&m, RL_MODE_PROT32);
	m.regs[DI] = HOLE_BASE - 10;
	m.regs[AX] = 0x61616161;
	m.regs[CX] = 100;
	EXPECT_FAULT(PF, 2, 0xf3, 0xab);		/* rep stosl */
	EXPECT_EQ(m.e.fault.cr2, HOLE_BASE);
	EXPECT_EQ(m.regs[CX], 98);
	EXPECT_EQ(m.regs[DI], HOLE_BASE - 2);
	EXPECT_EQ(m.e.rip, CODE_BASE);
	EXPECT_EQ(mem(HOLE_BASE - 2, 2), 0);
	m.seg[RL_SEG_ES].limit = DATA_BASE + 7;
	m.regs[DI] = DATA_BASE;
	EXPECT_FAULT(GP, 0, 0xf3, 0xab);
	EXPECT_EQ(m.regs[CX], 96);
}

TEST(string_to_and_from_mmio)
{
	unsigned int i;

	machine_init(&m, RL_MODE_LONG64);
	m.regs[SI] = MMIO_BASE;
	m.regs[DI] = DATA_BASE;
	m.regs[CX] = 3;
	m.to_user = true;
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(RUN(0xf3, 0xa5), RL_EMUL_USER);
		EXPECT_EQ(m.regs[CX], 3 - i);
		machine_answer(&m, 0x100 + i);
		EXPECT_EQ(machine_step(&m), RL_EMUL_OK);
		EXPECT_EQ(m.e.rip, i == 2 ? CODE_BASE + 2 : CODE_BASE);
	}
	EXPECT_EQ(mem(DATA_BASE, 8), 0x10100000100);
	EXPECT_EQ(mem(DATA_BASE + 8, 4), 0x102);
	m.nr_log = 0;
	m.e.rip = CODE_BASE;
	m.regs[DI] = MMIO_BASE;
	m.regs[CX] = 2;
	m.regs[AX] = 0x77;
	EXPECT_OK(0xf3, 0xaa);				/* a posted write stops the run */
	EXPECT_EQ(m.regs[CX], 1);
	EXPECT_EQ(m.nr_log, 1);
	EXPECT_EQ(m.e.rip, CODE_BASE);
	EXPECT_OK(0xf3, 0xaa);
	expect_log(1, 'w', MMIO_BASE + 1, 1, 1, 0x77);
	EXPECT_EQ(m.e.rip, CODE_BASE + 2);
	m.e.rip = CODE_BASE;
	m.regs[SI] = MMIO_BASE;
	m.regs[DI] = MMIO_BASE + 4;
	EXPECT_EQ(RUN(0xa5), RL_EMUL_USER);		/* MMIO to MMIO */
	machine_answer(&m, 0x103);
	EXPECT_EQ(machine_step(&m), RL_EMUL_OK);
	expect_log(3, 'w', MMIO_BASE + 4, 4, 1, 0x103);
}

TEST(ins_and_outs_in_batches)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[DX] = 0x1f0;
	m.regs[DI] = DATA_BASE + 0xff0;
	m.regs[CX] = 256;
	m.to_user = true;
	EXPECT_EQ(RUN(0xf3, 0x66, 0x6d), RL_EMUL_USER);	/* rep insw */
	EXPECT_EQ(m.regs[CX], 256);
	machine_answer(&m, 0xa000);
	EXPECT_EQ(machine_step(&m), RL_EMUL_OK);
	expect_log(0, 'i', 0x1f0, 2, 8, 0xa000);	/* up to the end of the page */
	EXPECT_EQ(m.regs[CX], 248);
	EXPECT_EQ(m.regs[DI], DATA_BASE + 0x1000);
	EXPECT_EQ(m.e.rip, CODE_BASE);
	EXPECT_EQ(mem(DATA_BASE + 0xffe, 2), 0xa007);
	machine_answer(&m, 0xa008);
	EXPECT_OK(0xf3, 0x66, 0x6d);
	EXPECT_EQ(m.log[1].count, 248);
	EXPECT_EQ(m.regs[CX], 0);
	EXPECT_EQ(m.e.rip, CODE_BASE + 3);
	m.to_user = false;
	m.e.rip = CODE_BASE;
	m.e.rflags |= FL_DF;
	m.regs[CX] = 2;
	EXPECT_OK(0xf3, 0x6c);				/* downwards one at a time */
	EXPECT_EQ(m.log[2].count, 1);
	EXPECT_EQ(m.regs[CX], 1);
	m.e.rflags &= ~(u64)FL_DF;
	m.regs[DI] = RO_BASE;
	m.nr_log = 0;
	m.e.rip = CODE_BASE;
	EXPECT_FAULT(PF, 3, 0x6c);			/* the port is not read in vain */
	EXPECT_EQ(m.nr_log, 0);
	m.regs[SI] = DATA_BASE + 0xff0;
	m.regs[CX] = 5;
	EXPECT_OK(0xf3, 0x6f);				/* rep outsl */
	EXPECT_EQ(m.log[0].count, 4);
	EXPECT_EQ(m.log[0].data, mem(DATA_BASE + 0xff0, 4));
	EXPECT_EQ(m.regs[CX], 1);
	EXPECT_EQ(m.regs[SI], DATA_BASE + 0x1000);
	m.regs[DI] = MMIO_BASE;
	m.regs[CX] = 5;
	m.nr_log = 0;
	EXPECT_OK(0xf3, 0x6c);				/* to a device one at a time */
	EXPECT_EQ(m.log[0].count, 1);
	expect_log(1, 'w', MMIO_BASE, 1, 1, m.log[0].data & 0xff);
	EXPECT_EQ(m.regs[CX], 4);
	machine_init(&m, RL_MODE_REAL);
	m.regs[DI] = 0xfffc;
	m.regs[CX] = 0x10;
	EXPECT_OK(0xf3, 0x6d);				/* not beyond 64 KiB */
	EXPECT_EQ(m.log[0].count, 1);
}

TEST(system_registers)
{
	machine_init(&m, RL_MODE_LONG64);
	m.cr[3] = 0x123456789000;
	m.cr[8] = 5;
	EXPECT_OK(0x0f, 0x20, 0xd8);
	EXPECT_EQ(m.regs[AX], 0x123456789000);
	EXPECT_OK(0x44, 0x0f, 0x20, 0xc1);		/* mov %cr8,%rcx */
	EXPECT_EQ(m.regs[CX], 5);
	m.regs[CX] = 9;
	EXPECT_OK(0x44, 0x0f, 0x22, 0xc1);
	EXPECT_EQ(m.cr[8], 9);
	m.cr[0] = 0x8005003b;
	EXPECT_OK(0x0f, 0x06);				/* clts */
	EXPECT_EQ(m.cr[0], 0x80050033);
	m.regs[AX] = 0x8;
	EXPECT_OK(0x0f, 0x01, 0xf0);			/* lmsw: cannot clear PE */
	EXPECT_EQ(m.cr[0], 0x80050039);
	m.regs[AX] = 0xffffffffffff;
	EXPECT_OK(0x48, 0x0f, 0x23, 0xf8);		/* mov %rax,%dr7 */
	EXPECT_EQ(m.dr[7], 0xffffffffffff);
	EXPECT_OK(0x0f, 0x21, 0xeb);			/* dr5 is dr7 */
	EXPECT_EQ(m.regs[BX], 0xffffffffffff);
	m.e.cr4 |= 8;					/* DE */
	EXPECT_FAULT(UD, 0, 0x0f, 0x21, 0xeb);
}

TEST(division_errors)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[AX] = 100;
	m.regs[CX] = 0;
	EXPECT_FAULT(0, 0, 0x48, 0xf7, 0xf1);		/* div %rcx by 0 */
	m.regs[DX] = 7;
	m.regs[CX] = 7;
	EXPECT_FAULT(0, 0, 0x48, 0xf7, 0xf1);		/* too large */
	m.regs[AX] = 1ull << 63;
	m.regs[DX] = -1ull;
	m.regs[CX] = -1ull;
	EXPECT_FAULT(0, 0, 0x48, 0xf7, 0xf9);		/* idiv: -2^63 / -1 */
	m.regs[CX] = 1;
	EXPECT_OK(0x48, 0xf7, 0xf9);
	EXPECT_EQ(m.regs[AX], 1ull << 63);
	EXPECT_EQ(m.regs[DX], 0);
	EXPECT(!m.e.fault.has_error);
}

TEST(xmm_moves)
{
	unsigned int i;

	machine_init(&m, RL_MODE_LONG64);
	for (i = 0; i < 16; i++) {
		m.xmm[3][i] = i + 1;
		m.mem[DATA_BASE + i] = 0xf0 - i;
	}
	m.regs[BX] = MMIO_BASE + 0x10;
	EXPECT_OK(0x0f, 0x29, 0x1b);			/* movaps %xmm3,(%rbx) */
	expect_log(0, 'w', MMIO_BASE + 0x10, 16, 1, 0x0807060504030201);
	m.regs[BX] = DATA_BASE + 1;
	EXPECT_OK(0x44, 0x0f, 0x10, 0x43, 0xff);	/* movups -1(%rbx),%xmm8 */
	EXPECT(!memcmp(m.xmm[8], m.mem + DATA_BASE, 16));
	EXPECT_OK(0xf3, 0x0f, 0x10, 0x5b, 0xff);	/* movss clears the rest */
	EXPECT(!memcmp(m.xmm[3], m.mem + DATA_BASE, 4) && !m.xmm[3][4] && !m.xmm[3][15]);
	memset(m.xmm[3], 0x33, 16);
	EXPECT_OK(0x0f, 0x16, 0x5b, 0xff);		/* movhps keeps the lower half */
	EXPECT(m.xmm[3][7] == 0x33 && !memcmp(m.xmm[3] + 8, m.mem + DATA_BASE, 8));
	EXPECT_OK(0x66, 0x48, 0x0f, 0x6e, 0x5b, 0xff);	/* movq -1(%rbx),%xmm3 */
	EXPECT(!memcmp(m.xmm[3], m.mem + DATA_BASE, 8) && !m.xmm[3][8]);
	EXPECT_OK(0x66, 0x0f, 0x7e, 0x5b, 0x0f);	/* movd %xmm3,15(%rbx) */
	EXPECT(!memcmp(m.xmm[3], m.mem + DATA_BASE + 16, 4) && !m.mem[DATA_BASE + 20]);
	EXPECT_OK(0x66, 0x0f, 0xd6, 0x43, 0x1f);	/* movq %xmm0,31(%rbx) */
	put(DATA_BASE, 8, 0x1122334455667788);
	m.regs[BX] = DATA_BASE;
	EXPECT_OK(0x44, 0x0f, 0x6f, 0x2b);		/* movq (%rbx),%mm5: REX.R counts for nothing */
	EXPECT(!memcmp(m.xmm[RL_EMUL_MM + 5], "\x88\x77\x66\x55\x44\x33\x22\x11\xff\xff", 10));
	EXPECT_OK(0x0f, 0x7f, 0x6b, 0x08);		/* movq %mm5,8(%rbx) */
	EXPECT_EQ(mem(DATA_BASE + 8, 8), 0x1122334455667788);
	EXPECT_EQ(RUN(0x0f, 0x6e, 0x0b), RL_EMUL_UNHANDLED);	/* movd (%rbx),%mm1 */
	EXPECT_EQ(RUN(0x0f, 0x12, 0xc1), RL_EMUL_UNHANDLED);	/* movhlps */
	m.e.cr0 |= 8;
	EXPECT_FAULT(NM, 0, 0x0f, 0x10, 0x03);
	m.e.cr0 |= 4;
	EXPECT_FAULT(UD, 0, 0x0f, 0x10, 0x03);
	m.e.cr0 &= ~12ull;
	m.e.cr4 &= ~0x200ull;
	EXPECT_FAULT(UD, 0, 0x0f, 0x10, 0x03);
	EXPECT_OK(0x0f, 0x6f, 0x03);			/* MMX is older */
}

TEST(bit_strings_reach_outside_their_operand)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[BX] = DATA_BASE + 0x100;
	m.regs[CX] = -1;				/* the bit below */
	EXPECT_OK(0x48, 0x0f, 0xab, 0x0b);		/* bts %rcx,(%rbx) */
	EXPECT_EQ(mem(DATA_BASE + 0xf8, 8), 1ull << 63);
	m.regs[CX] = 0x12345;
	EXPECT_OK(0xf0, 0x0f, 0xab, 0x0b);
	EXPECT_EQ(mem(DATA_BASE + 0x100 + 0x12345 / 32 * 4, 4), 1u << (0x12345 % 32));
	EXPECT_OK(0x66, 0x0f, 0xa3, 0x0b);		/* bt %cx,(%rbx) */
	EXPECT(!(m.e.rflags & FL_CF));
	EXPECT_OK(0x0f, 0xba, 0x6b, 0x08, 0xff);	/* bts $255: only its low five bits */
	EXPECT_EQ(mem(DATA_BASE + 0x108, 4), 1u << 31);
}

TEST(a_rex_prefix_that_is_not_last_is_none)
{
	machine_init(&m, RL_MODE_LONG64);
	m.regs[AX] = -1ul;
	EXPECT_OK(0x48, 0x66, 0x83, 0xc0, 1);		/* add $1,%ax */
	EXPECT_EQ(m.regs[AX], 0xffffffffffff0000);
}

/* What a recalled store gives is what decoding it gives, whatever the registers are by then. */
static void expect_same_store(const u8 *code, u8 mode)
{
	enum rl_emul_result first, again;
	struct rl_emul *e = &m.e;
	struct rl_emul fresh;
	int i;

	for (i = 0; i < 3; i++) {
		e->mode = mode;
		e->fetched = RL_INSN_MAX;
		memcpy(e->insn, code, 16);
		e->rip = CODE_BASE + 0x10 * i;
		fresh = *e;
		fresh.store_known = false;
		first = rl_emul_decode_store(&fresh);
		again = rl_emul_decode_store(e);
		EXPECT_EQ(again, first);
		if (first != RL_EMUL_OK)
			continue;
		EXPECT_EQ(e->ea, fresh.ea);
		EXPECT_EQ(e->ea_seg, fresh.ea_seg);
		EXPECT_EQ(e->size, fresh.size);
		EXPECT_EQ(e->insn_len, fresh.insn_len);
		EXPECT_EQ(e->next_rip, fresh.next_rip);
		EXPECT(!((e->src ^ fresh.src) << (64 - 8 * e->size)));
		for (int reg = 0; reg < 16; reg++)
			m.regs[reg] = m.regs[reg] * 0x5851f42d4c957f2d + 0x14057b7ef767814f + reg;
	}
}

TEST(a_store_is_recalled_with_new_registers)
{
	static const u8 codes[][16] = {
		{ 0x89, 0x03 }, { 0x48, 0x89, 0x44, 0x8b, 0x10 }, { 0x88, 0x23 },
		{ 0x40, 0x88, 0x23 }, { 0x41, 0x88, 0x5d, 0x7f }, { 0x66, 0x89, 0x05, 1, 2, 3, 4 },
		{ 0xc7, 0x03, 1, 2, 3, 0x84 }, { 0x48, 0xc7, 0x03, 1, 2, 3, 0x84 },
		{ 0xc6, 0x45, 0xfe, 0x80 }, { 0xa2, 1, 2, 3, 4, 5, 6, 7, 8 },
		{ 0x66, 0xa3, 1, 0x90, 3, 4, 5, 6, 7, 8 }, { 0x64, 0x89, 0x4d, 0 },
		{ 0x67, 0x89, 0x04, 0x24 }, { 0x89, 0x42, 0x80 }, { 0x89, 0x06, 0, 0x80 },
		{ 0x36, 0x89, 0x40, 0x10 }, { 0x89, 0x04, 0x65, 0, 0, 0, 1 }, { 0x8b, 0x03 },
	};
	u64 seed = 88172645463325252;
	u8 mode, code[16];
	unsigned int i;
	int n;

	machine_init(&m, RL_MODE_LONG64);
	for (mode = RL_MODE_REAL; mode <= RL_MODE_LONG64; mode++)
		for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
			expect_same_store(codes[i], mode);
	/* All kinds of prefixes, ModRM and SIB in front of and behind a MOV. */
	for (n = 0; n < 200000; n++) {
		for (i = 0; i < 16; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			code[i] = seed >> 32;
		}
		code[seed % 3] = (const u8[]){ 0x88, 0x89, 0xc6, 0xc7, 0xa2, 0xa3 }[seed / 8 % 6];
		expect_same_store(code, seed / 64 % 5);
	}
}
