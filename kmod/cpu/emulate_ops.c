// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: arithmetic, moves, the stack, control and debug registers.
 *
 * Owns:    nothing.
 * Touches: operands that the frame (emulate_decode.c) has loaded.
 * Locks:   none.
 * Manuals: SDM Vol 2 "Instruction Set Reference".
 *
 * Arithmetic is done by the instruction itself, on this CPU, with the operands in registers: its
 * result and flags are right by definition, those that the manuals leave undefined included.
 */
#include "emulate_priv.h"

/*
 * With the guest's arithmetic flags in @fl, execute @insn on @d (and @s, RCX, RDX:RAX), take the
 * flags back. Interrupts are on here: with them off only MOV is emulated.
 */
#define EXECUTE(insn)								\
	asm("push %[fl]; popf; " insn "; pushf; pop %[fl]"			\
	    : [fl] "+r" (fl), [d] "+r" (d), "+a" (a), "+d" (hi) : [s] "r" (s), "c" (count) : "cc")
/* By operand size, with the operands that one of the macros below names */
#define WORDS(insn, operands) do {						\
	if (size == 2)								\
		EXECUTE(insn "w " operands(w));					\
	else if (size == 4)							\
		EXECUTE(insn "l " operands(k));					\
	else									\
		EXECUTE(insn "q " operands(q));					\
} while (0)
#define SIZES(insn, operands) do {						\
	if (size == 1)								\
		EXECUTE(insn "b " operands(b));					\
	else									\
		WORDS(insn, operands);						\
} while (0)
#define CASE(op, execute)	case op: execute; break

#define D(z)	"%" #z "[d]"
#define S(z)	"%" #z "[s]"
#define S_D(z)	S(z) ", " D(z)
#define CL_D(z)	"%%cl, " D(z)
#define CL_S_D(z) "%%cl, " S_D(z)

#define HOST_FLAGS(rflags)	(((rflags) & FL_ARITH) | X86_EFLAGS_IF)

/*
 * Operation @op (ALU_*) on operands of @size bytes, of which shifts take @count; the result has
 * garbage above them.
 */
u64 rl_em_alu_op(unsigned int op, u64 dst, u64 src, u64 count, unsigned int size, u64 *rflags)
{
	u64 d = dst, s = src, a = 0, hi = 0, fl = HOST_FLAGS(*rflags);

	switch (op) {
	CASE(ALU_ADD, SIZES("add", S_D));
	CASE(ALU_OR, SIZES("or", S_D));
	CASE(ALU_ADC, SIZES("adc", S_D));
	CASE(ALU_SBB, SIZES("sbb", S_D));
	CASE(ALU_AND, SIZES("and", S_D));
	CASE(ALU_SUB, SIZES("sub", S_D));
	CASE(ALU_XOR, SIZES("xor", S_D));
	CASE(ALU_CMP, SIZES("cmp", S_D));
	CASE(ALU_TEST, SIZES("test", S_D));
	CASE(ALU_NEG, SIZES("neg", D));
	CASE(ALU_INC, SIZES("inc", D));
	CASE(ALU_DEC, SIZES("dec", D));
	CASE(ALU_ROL, SIZES("rol", CL_D));
	CASE(ALU_ROR, SIZES("ror", CL_D));
	CASE(ALU_RCL, SIZES("rcl", CL_D));
	CASE(ALU_RCR, SIZES("rcr", CL_D));
	CASE(ALU_SHL, SIZES("shl", CL_D));
	CASE(ALU_SHR, SIZES("shr", CL_D));
	CASE(ALU_SAR, SIZES("sar", CL_D));
	CASE(ALU_SHLD, WORDS("shld", CL_S_D));
	CASE(ALU_SHRD, WORDS("shrd", CL_S_D));
	CASE(ALU_BT, WORDS("bt", S_D));
	CASE(ALU_BTS, WORDS("bts", S_D));
	CASE(ALU_BTR, WORDS("btr", S_D));
	CASE(ALU_BTC, WORDS("btc", S_D));
	CASE(ALU_BSF, WORDS("bsf", S_D));
	CASE(ALU_BSR, WORDS("bsr", S_D));
	CASE(ALU_TZCNT, WORDS("tzcnt", S_D));
	CASE(ALU_LZCNT, WORDS("lzcnt", S_D));
	CASE(ALU_IMUL, WORDS("imul", S_D));
	}
	*rflags = (*rflags & ~FL_ARITH) | (fl & FL_ARITH);
	return d;
}

/* The opcode's operation; its result goes to operand 1, and only then come the flags. */
enum rl_emul_result rl_em_alu(struct rl_emul *e)
{
	unsigned int op = e->flags / OP_ALU(1);
	u64 dst = e->dst, count = e->src, fl = e->rflags, val;
	enum rl_emul_result r = RL_EMUL_OK;

	if (op == ALU_SHLD || op == ALU_SHRD)
		count = e->opcode & 1 ? e->regs[REG_CX] : e->imm;
	else if (op == ALU_IMUL && e->flags & OP_IMM)
		dst = e->imm;
	else if ((op == ALU_BSF || op == ALU_BSR) && e->rep == 0xf3)
		op += ALU_TZCNT - ALU_BSF;	/* which CPUs without them take for the former */
	val = rl_em_alu_op(op, dst, e->src, count, e->size, &fl);
	if (!(e->flags & OP_RO))
		r = rl_em_store(e, val);
	if (!r)
		e->rflags = fl;
	return r;
}

enum rl_emul_result rl_em_not(struct rl_emul *e)
{
	return rl_em_store(e, ~e->dst);
}

/* Not the instruction itself: a guest that rewrites code behind the CPU's back could run it here. */
enum rl_emul_result rl_em_popcnt(struct rl_emul *e)
{
	u64 n = 0, rest;

	if (e->rep != 0xf3)
		return rl_em_ud(e);
	for (rest = e->src; rest; rest &= rest - 1)
		n++;
	e->rflags = (e->rflags & ~FL_ARITH) | (n ? 0 : X86_EFLAGS_ZF);
	return rl_em_store(e, n);
}

/* Does the quotient of @n, twice as wide as the operands, by e->dst fit? Else it is a #DE. */
static bool quotient_fits(const struct rl_emul *e, unsigned __int128 n, bool is_signed)
{
	unsigned int bits = 8 * e->size;
	__int128 num = n << (128 - 2 * bits);
	s64 divisor = rl_em_sext(e->dst, e->size);
	bool negative = (num < 0) != (divisor < 0);
	unsigned __int128 d;

	if (!is_signed)
		return n < (unsigned __int128)e->dst << bits;
	num >>= 128 - 2 * bits;
	n = num < 0 ? -(unsigned __int128)num : (unsigned __int128)num;
	d = divisor < 0 ? -(u64)divisor : (u64)divisor;
	return n < (d << (bits - 1)) + (negative ? d : 0);
}

/* F6 and F7 /4 MUL, /5 IMUL, /6 DIV, /7 IDIV: AX or DX:AX by size */
enum rl_emul_result rl_em_muldiv(struct rl_emul *e)
{
	unsigned int size = e->size, op = e->reg & 7;
	u64 a = rl_em_reg(e, REG_AX, size == 1 ? 2 : size), hi = rl_em_reg(e, REG_DX, size);
	u64 d = e->dst, s = 0, count = 0, fl = HOST_FLAGS(e->rflags);
	unsigned __int128 n = a;

	if (size > 1)
		n |= (unsigned __int128)hi << (8 * size);
	if (op >= 6 && !quotient_fits(e, n, op == 7))
		return rl_emul_fault(e, VEC_DE);
	switch (op) {
	CASE(4, SIZES("mul", D));
	CASE(5, SIZES("imul", D));
	CASE(6, SIZES("div", D));
	CASE(7, SIZES("idiv", D));
	}
	rl_em_set_reg(e, REG_AX, size == 1 ? 2 : size, a);
	if (size > 1)
		rl_em_set_reg(e, REG_DX, size, hi);
	e->rflags = (e->rflags & ~FL_ARITH) | (fl & FL_ARITH);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_xadd(struct rl_emul *e)
{
	enum rl_emul_result r;

	if (e->mod == 3)	/* first: with one register twice, the sum stays */
		rl_em_set_reg(e, e->reg, e->size, e->dst);
	r = rl_em_alu(e);
	if (!r && e->mod != 3)
		rl_em_set_reg(e, e->reg, e->size, e->dst);
	return r;
}

enum rl_emul_result rl_em_cmpxchg(struct rl_emul *e)
{
	u64 fl = e->rflags;
	enum rl_emul_result r;

	rl_em_alu_op(ALU_CMP, e->regs[REG_AX], e->dst, 0, e->size, &fl);
	/* Memory is written in both cases, with what it held if the comparison failed. */
	if (fl & X86_EFLAGS_ZF || e->mod != 3) {
		r = rl_em_store(e, fl & X86_EFLAGS_ZF ? e->src : e->dst);
		if (r)
			return r;
	}
	if (!(fl & X86_EFLAGS_ZF))
		rl_em_set_reg(e, REG_AX, e->size, e->dst);
	e->rflags = fl;
	return RL_EMUL_OK;
}

/* CMPXCHG8B, or CMPXCHG16B with REX.W */
enum rl_emul_result rl_em_cmpxchg8b(struct rl_emul *e)
{
	unsigned int half = e->opsize == 8 ? 8 : 4;
	u8 old[16] = {}, expected[16], new[16];
	enum rl_emul_result r;
	bool ok = true, equal;

	r = rl_em_linear(e, e->ea_seg, e->ea, 2 * half, RL_EMUL_WRITE, &e->linear);
	if (r)
		return r;
	if (half == 8 && e->linear & 15)
		return rl_em_gp(e, 0);
	r = e->ops->read(e, e->linear, old, 2 * half, RL_EMUL_WRITE);
	if (r)
		return r;
	memcpy(expected, &e->regs[REG_AX], half);
	memcpy(expected + half, &e->regs[REG_DX], half);
	memcpy(new, &e->regs[REG_BX], half);
	memcpy(new + half, &e->regs[REG_CX], half);
	equal = !memcmp(old, expected, 2 * half);
	if (e->lock)
		r = (e->ops->cmpxchg)(e, e->linear, old, equal ? new : old, 2 * half, &ok);
	else
		r = e->ops->write(e, e->linear, equal ? new : old, 2 * half, RL_EMUL_WRITE);
	if (r || !ok)
		return r ? r : RL_EMUL_RETRY;
	e->rflags &= ~X86_EFLAGS_ZF;
	if (equal) {
		e->rflags |= X86_EFLAGS_ZF;
	} else {
		e->regs[REG_AX] = e->regs[REG_DX] = 0;
		memcpy(&e->regs[REG_AX], old, half);
		memcpy(&e->regs[REG_DX], old + half, half);
	}
	return RL_EMUL_OK;
}

/* The condition in the low four bits of SETcc and CMOVcc; bit 0 negates it. */
static bool condition(const struct rl_emul *e)
{
	static const u16 any_of[8] = {
		X86_EFLAGS_OF, X86_EFLAGS_CF, X86_EFLAGS_ZF, X86_EFLAGS_CF | X86_EFLAGS_ZF,
		X86_EFLAGS_SF, X86_EFLAGS_PF, 0, X86_EFLAGS_ZF,
	};
	unsigned int nr = e->opcode >> 1 & 7;
	bool cond = e->rflags & any_of[nr];

	if (nr >= 6)	/* less: SF is not OF */
		cond |= !!(e->rflags & X86_EFLAGS_SF) != !!(e->rflags & X86_EFLAGS_OF);
	return cond != (e->opcode & 1);
}

enum rl_emul_result rl_em_setcc(struct rl_emul *e)
{
	return rl_em_store(e, condition(e));
}

enum rl_emul_result rl_em_cmov(struct rl_emul *e)
{
	/* In 64-bit mode a 32-bit CMOV clears the upper half even if it does not move. */
	return rl_em_store(e, condition(e) ? e->src : e->dst);
}

enum rl_emul_result rl_em_mov(struct rl_emul *e)
{
	return rl_em_store(e, e->src);
}

/* MOVSX and MOVSXD; outside 64-bit mode opcode 63 is ARPL. */
enum rl_emul_result rl_em_movsx(struct rl_emul *e)
{
	if (e->flags & OP_SRC32 && !rl_em_long(e))
		return RL_EMUL_UNHANDLED;
	return rl_em_store(e, rl_em_sext(e->src, rl_em_src_size(e)));
}

enum rl_emul_result rl_em_movbe(struct rl_emul *e)
{
	return rl_em_store(e, __builtin_bswap64(e->src) >> (64 - 8 * e->size));
}

enum rl_emul_result rl_em_xchg(struct rl_emul *e)
{
	enum rl_emul_result r;

	e->lock = e->mod != 3;	/* with memory always, whatever the prefix says */
	r = rl_em_store(e, e->src);
	if (!r)
		rl_em_set_reg(e, e->reg, e->size, e->dst);
	return r;
}

enum rl_emul_result rl_em_xlat(struct rl_emul *e)
{
	u64 ea = (e->regs[REG_BX] + (u8)e->regs[REG_AX]) & rl_em_mask(e->adsize);
	enum rl_emul_result r;
	u8 val;

	r = rl_em_seg_read(e, e->ea_seg, ea, &val, 1);
	if (!r)
		rl_em_set_reg(e, REG_AX, 1, val);
	return r;
}

enum rl_emul_result rl_em_nop(struct rl_emul *e)
{
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_unhandled(struct rl_emul *e)
{
	return RL_EMUL_UNHANDLED;
}

enum rl_emul_result rl_em_push(struct rl_emul *e)
{
	return rl_em_push_bytes(e, &e->src, e->size);
}

enum rl_emul_result rl_em_pop(struct rl_emul *e)
{
	enum rl_emul_result r;
	u64 val = 0;

	r = rl_em_seg_read(e, RL_SEG_SS, e->regs[REG_SP] & rl_em_stack_mask(e), &val, e->size);
	if (!r && e->mod != 3)
		r = rl_em_store(e, val);
	if (r)
		return r;
	rl_em_sp_add(e, e->size);
	if (e->mod == 3)	/* after the stack pointer, which it may be */
		return rl_em_store(e, val);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_ret(struct rl_emul *e)
{
	enum rl_emul_result r;
	u64 target = 0;

	r = rl_em_seg_read(e, RL_SEG_SS, e->regs[REG_SP] & rl_em_stack_mask(e), &target, e->size);
	if (!r)
		r = rl_em_check_target(e, target);
	if (r)
		return r;
	rl_em_sp_add(e, e->size);
	e->next_rip = target;
	return RL_EMUL_OK;
}

/* At level 0; the others copy frame pointers. */
enum rl_emul_result rl_em_enter(struct rl_emul *e)
{
	enum rl_emul_result r;

	if (e->imm >> 16 & 31)
		return RL_EMUL_UNHANDLED;
	r = rl_em_push_bytes(e, &e->regs[REG_BP], e->size);
	if (r)
		return r;
	rl_em_set_reg(e, REG_BP, e->size, e->regs[REG_SP]);
	rl_em_sp_add(e, -(u64)(u16)e->imm);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_leave(struct rl_emul *e)
{
	enum rl_emul_result r;
	u64 val = 0;

	r = rl_em_seg_read(e, RL_SEG_SS, e->regs[REG_BP] & rl_em_stack_mask(e), &val, e->size);
	if (r)
		return r;
	rl_em_sp_add(e, e->regs[REG_BP] - e->regs[REG_SP] + e->size);
	rl_em_set_reg(e, REG_BP, e->size, val);
	return RL_EMUL_OK;
}

/* FF /2 CALL and /4 JMP */
enum rl_emul_result rl_em_jump_rm(struct rl_emul *e)
{
	u64 target = e->src & rl_em_mask(e->opsize), ret = e->next_rip;
	enum rl_emul_result r;

	r = rl_em_check_target(e, target);
	if (!r && (e->reg & 7) == 2)
		r = rl_em_push_bytes(e, &ret, e->opsize);
	if (!r)
		e->next_rip = target;
	return r;
}

/* 0F 20 reads, 0F 22 writes. The operand is always as wide as the mode has it. */
enum rl_emul_result rl_em_mov_cr(struct rl_emul *e)
{
	unsigned int size = rl_em_long(e) ? 8 : 4, nr = e->reg;

	if (nr > 8 || nr == 1 || (nr > 4 && nr < 8))
		return rl_em_ud(e);
	if (e->opcode & 2)
		return e->ops->set_cr(e, nr, rl_em_reg(e, e->rm, size));
	rl_em_set_reg(e, e->rm, size, e->ops->get_cr(e, nr));
	return RL_EMUL_OK;
}

/* 0F 21 reads, 0F 23 writes. Without CR4.DE, DR4 and DR5 are other names of DR6 and DR7. */
enum rl_emul_result rl_em_mov_dr(struct rl_emul *e)
{
	unsigned int size = rl_em_long(e) ? 8 : 4, nr = e->reg;
	enum rl_emul_result r;
	u64 val = 0;

	if (nr > 7 || ((nr & 6) == 4 && e->cr4 & X86_CR4_DE))
		return rl_em_ud(e);
	nr = (nr & 6) == 4 ? nr + 2 : nr;
	if (e->opcode & 2)
		return e->ops->set_dr(e, nr, rl_em_reg(e, e->rm, size));
	r = e->ops->get_dr(e, nr, &val);
	if (!r)
		rl_em_set_reg(e, e->rm, size, val);
	return r;
}

enum rl_emul_result rl_em_clts(struct rl_emul *e)
{
	return e->ops->set_cr(e, 0, e->ops->get_cr(e, 0) & ~(u64)X86_CR0_TS);
}

/* PE MP EM TS; PE can be set but not cleared. */
enum rl_emul_result rl_em_lmsw(struct rl_emul *e)
{
	return e->ops->set_cr(e, 0, (e->ops->get_cr(e, 0) & ~0xeull) | (e->src & 0xf));
}

enum rl_emul_result rl_em_smsw(struct rl_emul *e)
{
	if (e->cpl && e->cr4 & X86_CR4_UMIP)
		return rl_em_gp(e, 0);
	return rl_em_store(e, e->ops->get_cr(e, 0));
}

enum rl_emul_result rl_em_mov_from_seg(struct rl_emul *e)
{
	unsigned int seg = e->reg & 7;

	return seg > RL_SEG_GS ? rl_em_ud(e) : rl_em_store(e, rl_em_seg(e, seg)->sel);
}

enum rl_emul_result rl_em_mov_to_seg(struct rl_emul *e)
{
	unsigned int seg = e->reg & 7;

	if (seg > RL_SEG_GS || seg == RL_SEG_CS)
		return rl_em_ud(e);
	if (seg == RL_SEG_SS) {
		e->shadow = RL_SHADOW_MOV_SS;
		e->single_step = false;
	}
	return rl_em_load_seg(e, seg, e->src, false);
}

/* C4 LES, C5 LDS, 0F B2 LSS, 0F B4 LFS, 0F B5 LGS */
enum rl_emul_result rl_em_lds(struct rl_emul *e)
{
	unsigned int seg = e->opcode == 0xc4 ? RL_SEG_ES : e->opcode == 0xc5 ? RL_SEG_DS :
		e->opcode & 7;
	enum rl_emul_result r;
	u64 offset;
	u16 sel;

	if (rl_em_long(e) && e->opcode >= 0xc4)
		return RL_EMUL_UNHANDLED;	/* a VEX prefix */
	r = rl_em_read_far(e, &offset, &sel);
	if (!r)
		r = rl_em_load_seg(e, seg, sel, false);
	if (!r)
		rl_em_set_reg(e, e->reg, e->opsize, offset);
	return r;
}
