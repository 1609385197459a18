// SPDX-License-Identifier: GPL-2.0
/*
 * The instruction emulator against the CPU that runs this test: the same random instruction with the
 * same registers, flags and memory, once natively and once emulated, must end the same. Flags and
 * results that the manuals leave undefined are not compared. 64-bit mode, CPL 3.
 */
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "../../kmod/cpu/emulate.h"
#include "unit.h"

enum { AX, CX, DX, BX, SP, BP, SI, DI };

#define CF 0x1
#define PF 0x4
#define AF 0x10
#define ZF 0x40
#define SF 0x80
#define DF 0x400
#define OF 0x800
#define ARITH (CF | PF | AF | ZF | SF | OF)

#define CODE	0x10000000ul	/* one page each, below 4 GiB for 32-bit addresses */
#define DATA	0x20000000ul
#define STACK	0x30000000ul
#define SIZE	0x1000

struct native { u64 regs[16], flags; };

struct native native_in, native_out;
u64 native_host_sp, native_entry = CODE;
void native_run(void);
void native_exit(void);

/* Loads native_in, jumps to CODE; the code there ends in a jump to native_exit. */
asm(".text\n"
    "native_run:\n"
    "	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
    "	mov %rsp, native_host_sp(%rip)\n"
    "	push native_in+128(%rip); popfq\n"
#define EACH(X) X(rax, 0) X(rcx, 8) X(rdx, 16) X(rbx, 24) X(rsp, 32) X(rbp, 40) X(rsi, 48) X(rdi, 56) \
	X(r8, 64) X(r9, 72) X(r10, 80) X(r11, 88) X(r12, 96) X(r13, 104) X(r14, 112) X(r15, 120)
#define LOAD(reg, off) "	mov native_in+" #off "(%rip), %" #reg "\n"
#define SAVE(reg, off) "	mov %" #reg ", native_out+" #off "(%rip)\n"
    EACH(LOAD)
    "	jmp *native_entry(%rip)\n"
    "native_exit:\n"
    EACH(SAVE)
    "	mov native_host_sp(%rip), %rsp\n"
    "	pushfq; pop native_out+128(%rip)\n"
    "	cld\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
    "	ret\n");

static sigjmp_buf after_signal;

static void on_signal(int sig)
{
	siglongjmp(after_signal, sig);
}

/* 0, or the signal that the instruction raised */
static int run_native(const u8 *insn, unsigned int len)
{
	static const u8 jump[] = { 0xff, 0x25, 0, 0, 0, 0 };
	u64 target = (u64)native_exit;
	int sig;

	memcpy((void *)CODE, insn, len);
	memcpy((void *)(CODE + len), jump, sizeof(jump));
	memcpy((void *)(CODE + len + sizeof(jump)), &target, 8);
	sig = sigsetjmp(after_signal, 1);
	if (!sig)
		native_run();
	return sig;
}

/* The emulator on this process's own memory */
static bool mapped(u64 addr, unsigned int len)
{
	return (addr >= DATA && addr + len <= DATA + SIZE) ||
	       (addr >= STACK && addr + len <= STACK + SIZE) ||
	       (addr >= CODE && addr + len <= CODE + SIZE);
}

static enum rl_emul_result n_read(struct rl_emul *e, u64 linear, void *buf, unsigned int len,
				  unsigned int access)
{
	if (!mapped(linear, len))
		return rl_emul_fault_code(e, 14, 0);
	memcpy(buf, (void *)linear, len);
	return RL_EMUL_OK;
}

static enum rl_emul_result n_write(struct rl_emul *e, u64 linear, const void *buf, unsigned int len,
				   unsigned int access)
{
	if (!mapped(linear, len))
		return rl_emul_fault_code(e, 14, 2);
	memcpy((void *)linear, buf, len);
	return RL_EMUL_OK;
}

static enum rl_emul_result n_cmpxchg(struct rl_emul *e, u64 linear, const void *old, const void *new,
				     unsigned int len, bool *ok)
{
	*ok = mapped(linear, len) && !memcmp((void *)linear, old, len);
	return n_write(e, linear, new, len, RL_EMUL_WRITE);
}

static const struct rl_emul_ops native_ops = {
	.read = n_read, .write = n_write, .cmpxchg = n_cmpxchg,
};

static u64 seed = 0x9e3779b97f4a7c15;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static bool one_in(unsigned int n)
{
	return rnd() % n == 0;
}

/* Numbers near the edges of all sizes as often as any others */
static u64 rnd_value(void)
{
	static const u64 edge[] = {
		0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
		0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff,
	};
	u64 val = rnd();

	if (one_in(2))
		return val >> rnd() % 64;
	return edge[val % (sizeof(edge) / sizeof(edge[0]))] + (one_in(4) ? val % 5 - 2 : 0);
}

enum { NO_IMM, IB, IZ, MOFFS };

#define B	0x1	/* byte operands */
#define M	0x2	/* ModRM */
#define LOCK	0x4	/* LOCK allowed with memory */
#define MEMONLY	0x8
#define REGOP	0x10	/* register in the opcode */
#define F3	0x20	/* needs the prefix */
#define REP	0x40	/* string */
#define NO16	0x80	/* no 16-bit form */
#define BITS	0x100	/* bit string: keep the offset small */
#define W	0x400	/* CMPXCHG8B and, with REX.W, CMPXCHG16B: wants 16-byte alignment */

static const struct insn {
	const char *name;
	u8 map;			/* 0, 0x0f, 0x38 */
	u8 opcode;
	s8 reg;			/* fixed ModRM.reg, or -1 */
	u8 imm;
	u16 flags;
	u16 undefined;		/* flags */
} insns[] = {
#define ALU(name, op, undef)							\
	{ name, 0, (op) * 8 + 0, -1, NO_IMM, B | M | LOCK, undef },		\
	{ name, 0, (op) * 8 + 1, -1, NO_IMM, M | LOCK, undef },			\
	{ name, 0, (op) * 8 + 2, -1, NO_IMM, B | M, undef },			\
	{ name, 0, (op) * 8 + 3, -1, NO_IMM, M, undef },			\
	{ name, 0, 0x80, op, IB, B | M | LOCK, undef },				\
	{ name, 0, 0x81, op, IZ, M | LOCK, undef },				\
	{ name, 0, 0x83, op, IB, M | LOCK, undef }
	ALU("add", 0, 0), ALU("or", 1, AF), ALU("adc", 2, 0), ALU("sbb", 3, 0),
	ALU("and", 4, AF), ALU("sub", 5, 0), ALU("xor", 6, AF),
#undef LOCK
#define LOCK 0
	ALU("cmp", 7, 0),
#undef LOCK
#define LOCK 0x4
#define SHIFT(name, op)								\
	{ name, 0, 0xc0, op, IB, B | M, 0 }, { name, 0, 0xc1, op, IB, M, 0 },	\
	{ name, 0, 0xd0, op, NO_IMM, B | M, 0 }, { name, 0, 0xd1, op, NO_IMM, M, 0 },	\
	{ name, 0, 0xd2, op, NO_IMM, B | M, 0 }, { name, 0, 0xd3, op, NO_IMM, M, 0 }
	SHIFT("rol", 0), SHIFT("ror", 1), SHIFT("rcl", 2), SHIFT("rcr", 3),
	SHIFT("shl", 4), SHIFT("shr", 5), SHIFT("sal", 6), SHIFT("sar", 7),
	{ "test", 0, 0x84, -1, NO_IMM, B | M, AF }, { "test", 0, 0x85, -1, NO_IMM, M, AF },
	{ "xchg", 0, 0x86, -1, NO_IMM, B | M | LOCK, 0 },
	{ "xchg", 0, 0x87, -1, NO_IMM, M | LOCK, 0 },
	{ "mov", 0, 0x88, -1, NO_IMM, B | M, 0 }, { "mov", 0, 0x89, -1, NO_IMM, M, 0 },
	{ "mov", 0, 0x8a, -1, NO_IMM, B | M, 0 }, { "mov", 0, 0x8b, -1, NO_IMM, M, 0 },
	{ "pop", 0, 0x8f, 0, NO_IMM, M, 0 },
	{ "mov", 0, 0xa0, -1, MOFFS, B, 0 }, { "mov", 0, 0xa1, -1, MOFFS, 0, 0 },
	{ "mov", 0, 0xa2, -1, MOFFS, B, 0 }, { "mov", 0, 0xa3, -1, MOFFS, 0, 0 },
	{ "movs", 0, 0xa4, -1, NO_IMM, B | REP, 0 }, { "movs", 0, 0xa5, -1, NO_IMM, REP, 0 },
	{ "cmps", 0, 0xa6, -1, NO_IMM, B | REP, 0 }, { "cmps", 0, 0xa7, -1, NO_IMM, REP, 0 },
	{ "stos", 0, 0xaa, -1, NO_IMM, B | REP, 0 }, { "stos", 0, 0xab, -1, NO_IMM, REP, 0 },
	{ "lods", 0, 0xac, -1, NO_IMM, B | REP, 0 }, { "lods", 0, 0xad, -1, NO_IMM, REP, 0 },
	{ "scas", 0, 0xae, -1, NO_IMM, B | REP, 0 }, { "scas", 0, 0xaf, -1, NO_IMM, REP, 0 },
	{ "push", 0, 0x50, -1, NO_IMM, REGOP, 0 }, { "pop", 0, 0x58, -1, NO_IMM, REGOP, 0 },
	{ "push", 0, 0x68, -1, IZ, 0, 0 }, { "push", 0, 0x6a, -1, IB, 0, 0 },
	{ "push", 0, 0xff, 6, NO_IMM, M, 0 },
	{ "movsxd", 0, 0x63, -1, NO_IMM, M | NO16, 0 },
	{ "imul", 0, 0x69, -1, IZ, M, SF | ZF | AF | PF },
	{ "imul", 0, 0x6b, -1, IB, M, SF | ZF | AF | PF },
	{ "imul", 0x0f, 0xaf, -1, NO_IMM, M, SF | ZF | AF | PF },
	{ "mov", 0, 0xc6, 0, IB, B | M, 0 }, { "mov", 0, 0xc7, 0, IZ, M, 0 },
	{ "test", 0, 0xf6, 0, IB, B | M, AF }, { "test", 0, 0xf7, 1, IZ, M, AF },
	{ "not", 0, 0xf6, 2, NO_IMM, B | M | LOCK, 0 }, { "not", 0, 0xf7, 2, NO_IMM, M | LOCK, 0 },
	{ "neg", 0, 0xf6, 3, NO_IMM, B | M | LOCK, 0 }, { "neg", 0, 0xf7, 3, NO_IMM, M | LOCK, 0 },
	{ "mul", 0, 0xf6, 4, NO_IMM, B | M, SF | ZF | AF | PF },
	{ "mul", 0, 0xf7, 4, NO_IMM, M, SF | ZF | AF | PF },
	{ "imul", 0, 0xf6, 5, NO_IMM, B | M, SF | ZF | AF | PF },
	{ "imul", 0, 0xf7, 5, NO_IMM, M, SF | ZF | AF | PF },
	{ "div", 0, 0xf6, 6, NO_IMM, B | M, ARITH }, { "div", 0, 0xf7, 6, NO_IMM, M, ARITH },
	{ "idiv", 0, 0xf6, 7, NO_IMM, B | M, ARITH }, { "idiv", 0, 0xf7, 7, NO_IMM, M, ARITH },
	{ "inc", 0, 0xfe, 0, NO_IMM, B | M | LOCK, 0 }, { "inc", 0, 0xff, 0, NO_IMM, M | LOCK, 0 },
	{ "dec", 0, 0xfe, 1, NO_IMM, B | M | LOCK, 0 }, { "dec", 0, 0xff, 1, NO_IMM, M | LOCK, 0 },
	{ "xlat", 0, 0xd7, -1, NO_IMM, 0, 0 },
#define CC(x) \
	{ "cmov", 0x0f, 0x40 + (x), -1, NO_IMM, M, 0 },				\
	{ "set", 0x0f, 0x90 + (x), 0, NO_IMM, B | M, 0 }
	CC(0), CC(1), CC(2), CC(3), CC(4), CC(5), CC(6), CC(7),
	CC(8), CC(9), CC(10), CC(11), CC(12), CC(13), CC(14), CC(15),
#define UBT (OF | SF | AF | PF)
	{ "bt", 0x0f, 0xa3, -1, NO_IMM, M | BITS, UBT },
	{ "bts", 0x0f, 0xab, -1, NO_IMM, M | BITS | LOCK, UBT },
	{ "btr", 0x0f, 0xb3, -1, NO_IMM, M | BITS | LOCK, UBT },
	{ "btc", 0x0f, 0xbb, -1, NO_IMM, M | BITS | LOCK, UBT },
	{ "bt", 0x0f, 0xba, 4, IB, M, UBT }, { "bts", 0x0f, 0xba, 5, IB, M | LOCK, UBT },
	{ "btr", 0x0f, 0xba, 6, IB, M | LOCK, UBT }, { "btc", 0x0f, 0xba, 7, IB, M | LOCK, UBT },
	{ "shld", 0x0f, 0xa4, -1, IB, M, 0 }, { "shld", 0x0f, 0xa5, -1, NO_IMM, M, 0 },
	{ "shrd", 0x0f, 0xac, -1, IB, M, 0 }, { "shrd", 0x0f, 0xad, -1, NO_IMM, M, 0 },
	{ "cmpxchg", 0x0f, 0xb0, -1, NO_IMM, B | M | LOCK, 0 },
	{ "cmpxchg", 0x0f, 0xb1, -1, NO_IMM, M | LOCK, 0 },
	{ "cmpxchg8b", 0x0f, 0xc7, 1, NO_IMM, M | MEMONLY | LOCK | W, 0 },
	{ "xadd", 0x0f, 0xc0, -1, NO_IMM, B | M | LOCK, 0 },
	{ "xadd", 0x0f, 0xc1, -1, NO_IMM, M | LOCK, 0 },
	{ "movzx", 0x0f, 0xb6, -1, NO_IMM, M, 0 }, { "movzx", 0x0f, 0xb7, -1, NO_IMM, M, 0 },
	{ "movsx", 0x0f, 0xbe, -1, NO_IMM, M, 0 }, { "movsx", 0x0f, 0xbf, -1, NO_IMM, M, 0 },
	{ "bsf", 0x0f, 0xbc, -1, NO_IMM, M, ARITH & ~ZF },
	{ "bsr", 0x0f, 0xbd, -1, NO_IMM, M, ARITH & ~ZF },
	{ "tzcnt", 0x0f, 0xbc, -1, NO_IMM, M | F3, ARITH & ~(ZF | CF) },
	{ "lzcnt", 0x0f, 0xbd, -1, NO_IMM, M | F3, ARITH & ~(ZF | CF) },
	{ "popcnt", 0x0f, 0xb8, -1, NO_IMM, M | F3, 0 },
	{ "movnti", 0x0f, 0xc3, -1, NO_IMM, M | MEMONLY | NO16, 0 },
	{ "movbe", 0x38, 0xf0, -1, NO_IMM, M | MEMONLY, 0 },
	{ "movbe", 0x38, 0xf1, -1, NO_IMM, M | MEMONLY, 0 },
};

/* One instruction with what it needs in registers */
struct sample {
	const struct insn *t;
	u8 code[15];
	unsigned int len, size;		/* size: of the operands */
	bool mem, lock;
	unsigned int imm;		/* its low byte */
	struct native in;
};

static void emit(struct sample *s, u64 val, unsigned int len)
{
	memcpy(s->code + s->len, &val, len);
	s->len += len;
}

/* ModRM, SIB and displacement of a memory operand, and the registers it needs */
static void emit_mem(struct sample *s, unsigned int reg, unsigned int base, unsigned int index,
		     unsigned int mod)
{
	unsigned int scale = rnd() % 4;
	s64 disp = mod == 1 ? (s8)rnd() : mod == 2 ? (s64)(rnd() % 0x200000) - 0x100000 : 0;
	bool sib = index != 4 || (base & 7) == 4;
	u64 addr = DATA + SIZE / 2 + rnd() % 64;

	if (s->t->flags & W)
		addr &= ~15ul;
	if (index != 4)
		s->in.regs[index] = rnd() % 16;
	s->in.regs[base] = addr - disp - (index != 4 ? s->in.regs[index] << scale : 0);
	emit(s, mod << 6 | (reg & 7) << 3 | (sib ? 4 : base & 7), 1);
	if (sib)
		emit(s, scale << 6 | (index & 7) << 3 | (base & 7), 1);
	if (mod)
		emit(s, disp, mod == 1 ? 1 : 4);
}

static void make_sample(struct sample *s, const struct insn *t)
{
	unsigned int reg = t->reg >= 0 ? (unsigned int)t->reg : rnd() % 16, rm = rnd() % 16, index = 4, mod, i;
	bool p66 = !(t->flags & (NO16 | W)) && one_in(4), p67 = one_in(16), w = one_in(3);
	unsigned int rex = w ? 0x48 : 0;

	memset(s, 0, sizeof(*s));
	s->t = t;
	for (i = 0; i < 16; i++)
		s->in.regs[i] = rnd_value();
	/* What has fixed registers finds something there. */
	s->in.regs[SP] = STACK + SIZE / 2 + rnd() % 64;
	if (t->opcode == 0xd7)
		s->in.regs[BX] = DATA + SIZE / 2;
	if (t->flags & REP) {
		s->in.regs[SI] = DATA + SIZE / 2 + rnd() % 64;
		s->in.regs[DI] = DATA + SIZE / 2 + rnd() % 64;
		s->in.regs[CX] = rnd() % 8;
	}
	if (t->flags & W) {	/* let CMPXCHG8B succeed sometimes */
		s->in.regs[AX] = s->in.regs[DX] = one_in(2) ? 0 : rnd_value();
	}
	s->in.flags = 0x202 | (rnd() & ARITH) | (one_in(4) ? DF : 0);

	s->mem = t->flags & M && (t->flags & MEMONLY || one_in(2));
	s->lock = s->mem && t->flags & LOCK && one_in(4);
	mod = rnd() % 3;
	if (s->mem) {
		if (one_in(2))
			index = rnd() % 16;
		if (rm == SP)
			rm = BX;	/* the stack pointer as base has its own test */
		if (!mod && (rm & 7) == 5)
			mod = 1;
		if (index == rm || index == SP)
			index = 4;
		if (t->flags & BITS) {
			while (reg == rm || reg == index)
				reg = rnd() % 16;
			s->in.regs[reg] = rnd() % 2000 - 1000;
		}
	}
	if (t->flags & M)
		rex |= (reg & 8) >> 1 | (rm & 8) >> 3 | (s->mem && index != 4 ? (index & 8) >> 2 : 0);
	else if (t->flags & REGOP)
		rex |= (rm & 8) >> 3;
	if (rex || one_in(3))
		rex |= 0x40;

	s->size = t->flags & B ? 1 : w ? 8 : p66 ? 2 : 4;
	if (p66)
		emit(s, 0x66, 1);
	if (p67)
		emit(s, 0x67, 1);
	if (t->flags & F3)
		emit(s, 0xf3, 1);
	if (s->lock)
		emit(s, 0xf0, 1);
	if (t->flags & REP && one_in(2))
		emit(s, 0xf2 + rnd() % 2, 1);
	if (rex)
		emit(s, rex, 1);
	if (t->map)
		emit(s, 0x0f, 1);
	if (t->map == 0x38)
		emit(s, 0x38, 1);
	emit(s, t->opcode + (t->flags & REGOP ? rm & 7 : 0), 1);
	if (s->mem)
		emit_mem(s, reg, rm, index, mod);
	else if (t->flags & M)
		emit(s, 0xc0 | (reg & 7) << 3 | (rm & 7), 1);
	i = s->len;
	switch (t->imm) {
	case IB:
		emit(s, rnd_value(), 1);
		break;
	case IZ:
		emit(s, rnd_value(), p66 && !w ? 2 : 4);
		break;
	case MOFFS:
		emit(s, DATA + rnd() % (SIZE - 8), p67 ? 4 : 8);
	}
	s->imm = s->code[i];
}

/* Flags without a defined value after @s */
static u64 undefined_flags(const struct sample *s)
{
	unsigned int bits = 8 * s->size, count;
	u8 op = s->t->opcode;
	bool shift = !s->t->map && ((op & 0xfe) == 0xc0 || (op & 0xfc) == 0xd0);
	bool dshift = s->t->map == 0x0f && (op == 0xa4 || op == 0xa5 || op == 0xac || op == 0xad);

	if (!shift && !dshift)
		return s->t->undefined;
	count = s->t->imm == IB ? s->imm : (op & 0xfe) == 0xd0 ? 1 : (u8)s->in.regs[CX];
	count &= s->size == 8 ? 63 : 31;
	if (!count)
		return 0;
	if (dshift)
		return count > bits ? ARITH : AF | (count > 1 ? OF : 0);
	return (s->t->reg >= 4 ? AF : 0) | (count > 1 ? OF : 0) |
	       (s->t->reg >= 4 && s->t->reg < 7 && count >= bits ? CF : 0);
}

/* Results without a defined value: SHLD and SHRD of 16 bits by more than 16, BSF and BSR of 0 */
static bool undefined_result(const struct sample *s)
{
	u8 op = s->t->opcode;

	if (s->t->map == 0x0f && (op & 0xfe) == 0xbc && !(s->t->flags & F3))
		return native_out.flags & ZF;
	return s->size == 2 && s->t->map == 0x0f && (op & 0xf6) == 0xa4 && undefined_flags(s) == ARITH;
}

static struct rl_emul emul;
static unsigned long emul_regs[16];

static enum rl_emul_result run_emulated(const struct sample *s)
{
	enum rl_emul_result r;
	unsigned int i;

	for (i = 0; i < 16; i++)
		emul_regs[i] = s->in.regs[i];
	emul.ops = &native_ops;
	emul.regs = emul_regs;
	emul.mode = RL_MODE_LONG64;
	emul.cpl = 3;
	emul.cr0 = 0x80000011;
	emul.efer = 0x500;
	emul.rip = CODE;
	emul.rflags = s->in.flags;
	emul.fetched = 0;
	do {
		r = rl_emul_run(&emul);
	} while (r == RL_EMUL_OK && emul.rip == CODE);
	return r;
}

static void show(const struct sample *s, const char *what)
{
	unsigned int i;

	printf("# %s: %s:", s->t->name, what);
	for (i = 0; i < s->len; i++)
		printf(" %02x", s->code[i]);
	printf(" flags %llx rax %llx rcx %llx rdx %llx\n", s->in.flags, s->in.regs[AX], s->in.regs[CX],
	       s->in.regs[DX]);
}

/* False: they differ. */
static bool compare(const struct sample *s)
{
	static u8 data[SIZE], stack[SIZE], native_data[SIZE], native_stack[SIZE];
	u64 mask = (ARITH | DF) & ~undefined_flags(s);
	enum rl_emul_result r;
	unsigned int i;
	int sig;

	for (i = 0; i < SIZE; i += 8) {
		u64 val = one_in(3) ? 0 : rnd_value();

		memcpy(data + i, &val, 8);
		memcpy(stack + i, &val, 8);
	}
	memcpy((void *)DATA, data, SIZE);
	memcpy((void *)STACK, stack, SIZE);
	native_in = s->in;
	sig = run_native(s->code, s->len);
	memcpy(native_data, (void *)DATA, SIZE);
	memcpy(native_stack, (void *)STACK, SIZE);
	memcpy((void *)DATA, data, SIZE);
	memcpy((void *)STACK, stack, SIZE);
	r = run_emulated(s);

	if (sig) {
		if (r == RL_EMUL_FAULT && (sig == SIGFPE) == (emul.fault.vector == 0))
			return true;
		show(s, "only the CPU faults");
		return false;
	}
	if (r != RL_EMUL_OK) {
		show(s, "only the emulator faults");
		return false;
	}
	if (emul.insn_len != s->len) {
		show(s, "length differs");
		return false;
	}
	if (undefined_result(s))
		return true;
	for (i = 0; i < 16; i++) {
		if (native_out.regs[i] != emul_regs[i]) {
			show(s, "register differs");
			printf("#   %u is %#lx, on the CPU %#llx\n", i, emul_regs[i],
			       native_out.regs[i]);
			return false;
		}
	}
	if ((native_out.flags ^ emul.rflags) & mask) {
		show(s, "flags differ");
		printf("#   %#llx, on the CPU %#llx, mask %#llx\n", emul.rflags, native_out.flags, mask);
		return false;
	}
	if (memcmp((void *)DATA, native_data, SIZE) || memcmp((void *)STACK, native_stack, SIZE)) {
		show(s, "memory differs");
		return false;
	}
	return true;
}

static bool setup(void)
{
	static const int signals[] = { SIGSEGV, SIGILL, SIGFPE, SIGBUS };
	static u8 alt[64 * 1024];
	static bool done;
	static const u64 pages[] = { CODE, DATA, STACK };
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	stack_t ss = { .ss_sp = alt, .ss_size = sizeof(alt) };
	unsigned int i;

	if (done)
		return true;
	for (i = 0; i < 3; i++)
		if (mmap((void *)pages[i], SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)pages[i])
			return false;
	sigaltstack(&ss, NULL);
	for (i = 0; i < 4; i++)
		sigaction(signals[i], &sa, NULL);
	done = true;
	return true;
}

/* Without it, the CPU takes the encoding for something else. */
static bool cpu_has(const struct insn *t)
{
	if (t->map == 0x38)
		return __builtin_cpu_supports("movbe");
	if (!strcmp(t->name, "tzcnt"))
		return __builtin_cpu_supports("bmi");
	if (!strcmp(t->name, "lzcnt"))
		return __builtin_cpu_supports("lzcnt");
	return true;
}

static void samples(unsigned int nr)
{
	unsigned int i, j, bad = 0;

	if (!EXPECT(setup()))
		return;
	for (i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		for (j = 0; j < nr && cpu_has(&insns[i]); j++) {
			struct sample s;

			make_sample(&s, &insns[i]);
			if (!EXPECT(compare(&s)))
				bad++;
			if (bad > 10)
				return;
		}
	}
}

TEST(random_instructions_end_as_on_the_cpu)
{
	samples(1000);
}

/* POP to memory at RSP, PUSH RSP: where the order of two updates shows */
TEST(stack_pointer_as_operand)
{
	static const u8 code[][6] = {
		{ 3, 0x8f, 0x04, 0x24 }, { 4, 0x8f, 0x44, 0x24, 0x10 }, { 1, 0x54 }, { 1, 0x5c },
		{ 3, 0xff, 0x34, 0x24 }, { 2, 0x66, 0x54 }, { 2, 0x66, 0x5c }, { 3, 0x48, 0x87, 0xe4 },
		{ 4, 0x48, 0x03, 0x24, 0x24 },
	};
	unsigned int i, j;

	if (!EXPECT(setup()))
		return;
	for (i = 0; i < sizeof(code) / sizeof(code[0]); i++) {
		for (j = 0; j < 50; j++) {
			static const struct insn t = { "stack", 0, 0, -1, NO_IMM, 0, 0 };
			struct sample s = { .t = &t };

			s.len = code[i][0];
			s.size = 8;
			memcpy(s.code, code[i] + 1, s.len);
			s.in.flags = 0x202;
			s.in.regs[SP] = STACK + SIZE / 2 + rnd() % 64;
			if (!EXPECT(compare(&s)))
				break;
		}
	}
}
