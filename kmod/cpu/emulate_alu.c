// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: arithmetic, logic, bits, and moves between registers and memory.
 *
 * Owns:    the values of the arithmetic flags. Those that the manuals leave undefined come out as
 *          the expressions here happen to give.
 * Touches: operands that the frame (emulate_exec.c) has loaded.
 * Locks:   none.
 * Manuals: SDM Vol 2 "Instruction Set Reference"; SDM Vol 1, appendix "EFLAGS Cross-Reference".
 */
#include "emulate_priv.h"

static u64 sign_bit(unsigned int size)
{
	return 1ull << (8 * size - 1);
}

/* PF, ZF and SF of a result */
static u64 result_flags(u64 val, unsigned int size)
{
	u8 nibble = (val ^ val >> 4) & 0xf;
	u64 fl = 0;

	if (0x9669 >> nibble & 1)
		fl |= FL_PF;
	if (!(val & rl_em_mask(size)))
		fl |= FL_ZF;
	if (val & sign_bit(size))
		fl |= FL_SF;
	return fl;
}

/* Operation @op (ALU_*) on operands of @size bytes; the result has garbage above them. */
u64 rl_em_alu_op(unsigned int op, u64 a, u64 b, unsigned int size, u64 *rflags)
{
	u64 val, carry = 0, overflow = 0, fl = *rflags;
	u64 carry_in = op == ALU_ADC || op == ALU_SBB ? fl & FL_CF : 0;

	switch (op) {
	case ALU_ADD:
	case ALU_ADC:
		val = a + b + carry_in;
		carry = (a & b) | ((a | b) & ~val);
		overflow = (a ^ val) & (b ^ val);
		break;
	case ALU_SUB:
	case ALU_SBB:
	case ALU_CMP:
		val = a - b - carry_in;
		carry = (~a & b) | ((~a | b) & val);
		overflow = (a ^ b) & (a ^ val);
		break;
	case ALU_AND:
		val = a & b;
		break;
	case ALU_OR:
		val = a | b;
		break;
	default:
		val = a ^ b;
	}
	fl = (fl & ~FL_ARITH) | result_flags(val, size);
	if (carry & sign_bit(size))
		fl |= FL_CF;
	if (carry & 8)
		fl |= FL_AF;
	if (overflow & sign_bit(size))
		fl |= FL_OF;
	*rflags = fl;
	return val;
}

static enum rl_emul_result store_flags(struct rl_emul *e, u64 val, u64 fl)
{
	enum rl_emul_result r = rl_em_store(e, val);

	if (!r)
		e->rflags = fl;
	return r;
}

static void set_flag(u64 *rflags, u64 flag, bool on)
{
	*rflags = on ? *rflags | flag : *rflags & ~flag;
}

enum rl_emul_result rl_em_alu(struct rl_emul *e)
{
	unsigned int op = (e->opcode < 0x40 ? e->opcode >> 3 : e->reg) & 7;
	u64 fl = e->rflags;
	u64 val = rl_em_alu_op(op, e->dst, e->src, e->size, &fl);

	if (op != ALU_CMP)
		return store_flags(e, val, fl);
	e->rflags = fl;
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_test(struct rl_emul *e)
{
	rl_em_alu_op(ALU_AND, e->dst, e->src, e->size, &e->rflags);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_not(struct rl_emul *e)
{
	return rl_em_store(e, ~e->dst);
}

enum rl_emul_result rl_em_neg(struct rl_emul *e)
{
	u64 fl = e->rflags;
	u64 val = rl_em_alu_op(ALU_SUB, 0, e->dst, e->size, &fl);

	return store_flags(e, val, fl);
}

/* 40 to 4F, FE and FF: bit 3 of the opcode or of ModRM is DEC. CF stays. */
enum rl_emul_result rl_em_incdec(struct rl_emul *e)
{
	bool dec = e->opcode < 0x50 ? e->opcode & 8 : e->reg & 1;
	u64 fl = e->rflags;
	u64 val = rl_em_alu_op(dec ? ALU_SUB : ALU_ADD, e->dst, 1, e->size, &fl);

	return store_flags(e, val, (fl & ~FL_CF) | (e->rflags & FL_CF));
}

enum rl_emul_result rl_em_xadd(struct rl_emul *e)
{
	u64 fl = e->rflags;
	u64 val = rl_em_alu_op(ALU_ADD, e->dst, e->src, e->size, &fl);
	enum rl_emul_result r;

	if (e->mod == 3)	/* first: with one register twice, the sum stays */
		rl_em_set_reg(e, e->reg, e->size, e->dst);
	r = store_flags(e, val, fl);
	if (!r && e->mod != 3)
		rl_em_set_reg(e, e->reg, e->size, e->dst);
	return r;
}

enum rl_emul_result rl_em_cmpxchg(struct rl_emul *e)
{
	u64 fl = e->rflags;
	enum rl_emul_result r;

	rl_em_alu_op(ALU_CMP, rl_em_reg(e, REG_AX, e->size), e->dst, e->size, &fl);
	/* Memory is written in both cases, with what it held if the comparison failed. */
	if (fl & FL_ZF || e->mod != 3) {
		r = rl_em_store(e, fl & FL_ZF ? e->src : e->dst);
		if (r)
			return r;
	}
	if (!(fl & FL_ZF))
		rl_em_set_reg(e, REG_AX, e->size, e->dst);
	e->rflags = fl;
	return RL_EMUL_OK;
}

/* CMPXCHG8B, or CMPXCHG16B with REX.W */
enum rl_emul_result rl_em_cmpxchg8b(struct rl_emul *e)
{
	unsigned int half = e->opsize == 8 ? 8 : 4;
	u64 mem[2] = {}, old[2], new[2];
	enum rl_emul_result r;
	bool ok = true, equal;

	r = rl_em_linear(e, e->ea_seg, e->ea, 2 * half, RL_EMUL_WRITE, &e->linear);
	if (r)
		return r;
	if (half == 8 && e->linear & 15)
		return rl_em_gp(e, 0);
	r = e->ops->read(e, e->linear, mem, 2 * half, RL_EMUL_WRITE);
	if (r)
		return r;
	old[0] = half == 8 ? mem[0] : (u32)mem[0];
	old[1] = half == 8 ? mem[1] : mem[0] >> 32;
	equal = old[0] == rl_em_reg(e, REG_AX, half) && old[1] == rl_em_reg(e, REG_DX, half);
	new[0] = e->regs[REG_BX];
	new[1] = e->regs[REG_CX];
	if (half == 4)
		new[0] = (u32)new[0] | new[1] << 32;
	if (!equal)
		memcpy(new, mem, sizeof(new));
	if (e->lock)
		r = (e->ops->cmpxchg)(e, e->linear, mem, new, 2 * half, &ok);
	else
		r = e->ops->write(e, e->linear, new, 2 * half, RL_EMUL_WRITE);
	if (r || !ok)
		return r ? r : RL_EMUL_RETRY;
	if (!equal) {
		rl_em_set_reg(e, REG_AX, half, old[0]);
		rl_em_set_reg(e, REG_DX, half, old[1]);
	}
	set_flag(&e->rflags, FL_ZF, equal);
	return RL_EMUL_OK;
}

/* Group 2: ROL ROR RCL RCR SHL SHR SHL SAR by e->src */
enum rl_emul_result rl_em_shift(struct rl_emul *e)
{
	unsigned int bits = 8 * e->size, count = e->src & (e->size == 8 ? 63 : 31);
	u64 a = e->dst, val = a, fl = e->rflags, sign = sign_bit(e->size);
	unsigned int n, op = e->reg & 7;
	bool cf = fl & FL_CF, of;

	if (!count)
		return rl_em_store(e, val);
	switch (op) {
	case 0:
	case 1:
		n = op ? (bits - count) & (bits - 1) : count & (bits - 1);
		if (n)
			val = (a << n | a >> (bits - n)) & rl_em_mask(e->size);
		cf = op ? val & sign : val & 1;
		break;
	case 2:
		for (n = 0; n < count; n++) {
			bool out = val & sign;

			val = val << 1 | cf;
			cf = out;
		}
		break;
	case 3:
		for (n = 0; n < count; n++) {
			bool out = val & 1;

			val = (val & rl_em_mask(e->size)) >> 1 | (cf ? sign : 0);
			cf = out;
		}
		break;
	case 5:
		cf = a >> (count - 1) & 1;
		val = a >> count;
		break;
	case 7:
		a = rl_em_sext(a, e->size);
		cf = a >> (count - 1) & 1;
		val = (u64)((s64)a >> count);
		break;
	default: /* SHL, and its alias 6 */
		cf = count <= bits ? a >> (bits - count) & 1 : 0;
		val = a << count;
	}
	/* OF: to the left, the sign changed; to the right, the old sign or the upper two differ. */
	if (op == 5)
		of = a & sign;
	else if (op == 7)
		of = false;
	else if (op & 1)
		of = (val ^ val << 1) & sign;
	else
		of = !!(val & sign) != cf;
	if (op & 4)
		fl = (fl & ~FL_ARITH) | result_flags(val, e->size);
	set_flag(&fl, FL_CF, cf);
	set_flag(&fl, FL_OF, of);
	return store_flags(e, val, fl);
}

/* SHLD and SHRD, by CL with the odd opcodes. A 16-bit count above 16 has no defined result. */
enum rl_emul_result rl_em_shld(struct rl_emul *e)
{
	unsigned int bits = 8 * e->size;
	unsigned int count = e->opcode & 1 ? (u8)e->regs[REG_CX] : (u8)e->imm;
	u64 val, fl = e->rflags;
	bool cf;

	count &= e->size == 8 ? 63 : 31;
	if (!count)
		return rl_em_store(e, e->dst);
	count = count > bits ? count - bits : count;
	if (e->opcode & 8) {
		val = e->dst >> count | e->src << (bits - count);
		cf = e->dst >> (count - 1) & 1;
	} else {
		val = e->dst << count | e->src >> (bits - count);
		cf = e->dst >> (bits - count) & 1;
	}
	fl = (fl & ~FL_ARITH) | result_flags(val, e->size);
	set_flag(&fl, FL_CF, cf);
	set_flag(&fl, FL_OF, (val ^ e->dst) & sign_bit(e->size));
	return store_flags(e, val, fl);
}

/* BT BTS BTR BTC with a register or an immediate; with a register, memory is a string of bits. */
enum rl_emul_result rl_em_bt(struct rl_emul *e)
{
	unsigned int op = (e->opcode == 0xba ? e->reg : e->opcode >> 3) & 3;
	u64 bit = 1ull << (e->src & (8 * e->size - 1)), val;
	bool set = e->dst & bit;
	enum rl_emul_result r;

	if (op) {
		val = op == 1 ? e->dst | bit : op == 2 ? e->dst & ~bit : e->dst ^ bit;
		r = rl_em_store(e, val);
		if (r)
			return r;
	}
	set_flag(&e->rflags, FL_CF, set);
	return RL_EMUL_OK;
}

/* BSF and BSR; with F3, TZCNT and LZCNT */
enum rl_emul_result rl_em_bsx(struct rl_emul *e)
{
	u64 fl = e->rflags, val = 8 * e->size;
	bool reverse = e->opcode & 1;

	if (e->src)
		val = reverse ? 63 - __builtin_clzll(e->src) : __builtin_ctzll(e->src);
	if (e->rep == 0xf3) {
		if (e->src && reverse)
			val = 8 * e->size - 1 - val;
		set_flag(&fl, FL_CF, !e->src);
		set_flag(&fl, FL_ZF, !val);
	} else {
		set_flag(&fl, FL_ZF, !e->src);
		if (!e->src) {	/* the register stays as it is, its upper half too */
			e->rflags = fl;
			return RL_EMUL_OK;
		}
	}
	return store_flags(e, val, fl);
}

enum rl_emul_result rl_em_popcnt(struct rl_emul *e)
{
	u64 n = 0, rest;

	if (e->rep != 0xf3)
		return rl_em_ud(e);
	for (rest = e->src; rest; rest &= rest - 1)
		n++;
	return store_flags(e, n, (e->rflags & ~FL_ARITH) | (n ? 0 : FL_ZF));
}

enum rl_emul_result rl_em_bswap(struct rl_emul *e)
{
	u64 val = __builtin_bswap64(e->dst);

	/* 16 bits: undefined; zero as CPUs have it */
	return rl_em_store(e, e->size == 8 ? val : e->size == 4 ? val >> 32 : 0);
}

/* The double-width product or dividend in AX, DX:AX, EDX:EAX or RDX:RAX */
static void set_wide(struct rl_emul *e, u64 low, u64 high)
{
	if (e->size == 1) {
		rl_em_set_reg(e, REG_AX, 2, (u8)low | high << 8);
		return;
	}
	rl_em_set_reg(e, REG_AX, e->size, low);
	rl_em_set_reg(e, REG_DX, e->size, high);
}

static u64 wide_high(struct rl_emul *e)
{
	return e->size == 1 ? (u8)(e->regs[REG_AX] >> 8) : rl_em_reg(e, REG_DX, e->size);
}

enum rl_emul_result rl_em_mul(struct rl_emul *e)
{
	unsigned __int128 val = (unsigned __int128)rl_em_reg(e, REG_AX, e->size) * e->src;
	u64 high = e->size == 8 ? val >> 64 : (u64)val >> (8 * e->size);

	set_wide(e, val, high);
	set_flag(&e->rflags, FL_CF | FL_OF, high);
	return RL_EMUL_OK;
}

static __int128 signed_product(u64 a, u64 b, unsigned int size)
{
	return (__int128)(s64)rl_em_sext(a, size) * (s64)rl_em_sext(b, size);
}

enum rl_emul_result rl_em_imul_acc(struct rl_emul *e)
{
	__int128 val = signed_product(rl_em_reg(e, REG_AX, e->size), e->src, e->size);

	set_wide(e, val, e->size == 8 ? (u64)(val >> 64) : (u64)val >> (8 * e->size));
	set_flag(&e->rflags, FL_CF | FL_OF, val != (s64)rl_em_sext(val, e->size));
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_imul(struct rl_emul *e)
{
	__int128 val = signed_product(e->flags & OP_IMM ? e->imm : e->dst, e->src, e->size);
	u64 fl = e->rflags;

	set_flag(&fl, FL_CF | FL_OF, val != (s64)rl_em_sext(val, e->size));
	return store_flags(e, val, fl);
}

/*
 * Divide high:low by e->src. False: the quotient does not fit. The 128-bit division is the
 * instruction itself, since C would call a library for it.
 */
static bool divide(struct rl_emul *e, u64 low, u64 high, u64 divisor, u64 *quot, u64 *rem)
{
	if (high >= divisor)	/* also when it is 0 */
		return false;
	if (e->size < 8) {
		low |= high << (8 * e->size);
		*quot = low / divisor;
		*rem = low % divisor;
	} else {
		asm("divq %4" : "=a" (*quot), "=d" (*rem)
		    : "a" (low), "d" (high), "rm" (divisor) : "cc");
	}
	return true;
}

enum rl_emul_result rl_em_div(struct rl_emul *e)
{
	u64 quot, rem;

	if (!divide(e, rl_em_reg(e, REG_AX, e->size), wide_high(e), e->src, &quot, &rem))
		return rl_emul_fault(e, VEC_DE);
	set_wide(e, quot, rem);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_idiv(struct rl_emul *e)
{
	u64 low = rl_em_reg(e, REG_AX, e->size), high = wide_high(e);
	u64 mask = rl_em_mask(e->size), sign = sign_bit(e->size);
	u64 divisor = e->src, quot, rem;
	bool neg = high & sign, neg_quot = neg != !!(divisor & sign);

	/* Divide magnitudes; the remainder has the dividend's sign. */
	if (neg) {
		low = -low & mask;
		high = (~high + !low) & mask;
	}
	if (divisor & sign)
		divisor = -divisor & mask;
	if (!divide(e, low, high, divisor, &quot, &rem) || quot > sign - !neg_quot)
		return rl_emul_fault(e, VEC_DE);
	set_wide(e, neg_quot ? -quot : quot, neg ? -rem : rem);
	return RL_EMUL_OK;
}

/* CBW CWDE CDQE: AX from its lower half; CWD CDQ CQO: DX from the sign of AX */
enum rl_emul_result rl_em_cbw(struct rl_emul *e)
{
	unsigned int half = e->size / 2;

	rl_em_set_reg(e, REG_AX, e->size, rl_em_sext(rl_em_reg(e, REG_AX, half), half));
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_cwd(struct rl_emul *e)
{
	u64 ax = rl_em_reg(e, REG_AX, e->size);

	rl_em_set_reg(e, REG_DX, e->size, ax & sign_bit(e->size) ? ~0ull : 0);
	return RL_EMUL_OK;
}

/* DAA and, with bit 3 of the opcode, DAS */
enum rl_emul_result rl_em_daa(struct rl_emul *e)
{
	u8 al = e->regs[REG_AX], val = al;
	bool sub = e->opcode & 8, cf = e->rflags & FL_CF, af = e->rflags & FL_AF;
	bool carry = cf;

	if ((al & 0xf) > 9 || af) {
		val = sub ? val - 6 : val + 6;
		carry = cf || (sub ? al < 6 : al > 0xf9);
		af = true;
	}
	if (al > 0x99 || cf) {
		val = sub ? val - 0x60 : val + 0x60;
		carry = true;
	}
	e->rflags = (e->rflags & ~FL_ARITH) | result_flags(val, 1);
	set_flag(&e->rflags, FL_CF, carry);
	set_flag(&e->rflags, FL_AF, af);
	rl_em_set_reg(e, REG_AX, 1, val);
	return RL_EMUL_OK;
}

/* AAA and, with bit 3 of the opcode, AAS */
enum rl_emul_result rl_em_aaa(struct rl_emul *e)
{
	u16 ax = e->regs[REG_AX];
	bool adjust = (ax & 0xf) > 9 || e->rflags & FL_AF;

	if (adjust)
		ax = e->opcode & 8 ? ax - 0x106 : ax + 0x106;
	set_flag(&e->rflags, FL_CF | FL_AF, adjust);
	rl_em_set_reg(e, REG_AX, 2, ax & 0xff0f);
	return RL_EMUL_OK;
}

static enum rl_emul_result set_al_ah(struct rl_emul *e, u8 al, u8 ah)
{
	e->rflags = (e->rflags & ~FL_ARITH) | result_flags(al, 1);
	rl_em_set_reg(e, REG_AX, 2, al | ah << 8);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_aam(struct rl_emul *e)
{
	u8 al = e->regs[REG_AX], base = e->imm;

	if (!base)
		return rl_emul_fault(e, VEC_DE);
	return set_al_ah(e, al % base, al / base);
}

enum rl_emul_result rl_em_aad(struct rl_emul *e)
{
	u16 ax = e->regs[REG_AX];

	return set_al_ah(e, ax + (ax >> 8) * (u8)e->imm, 0);
}

enum rl_emul_result rl_em_salc(struct rl_emul *e)
{
	rl_em_set_reg(e, REG_AX, 1, e->rflags & FL_CF ? 0xff : 0);
	return RL_EMUL_OK;
}

/* The condition in the low four bits of Jcc, SETcc and CMOVcc; bit 0 negates it. */
bool rl_em_cond(const struct rl_emul *e)
{
	static const u16 any_of[8] = {
		FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF, FL_SF, FL_PF, 0, FL_ZF,
	};
	unsigned int nr = e->opcode >> 1 & 7;
	bool cond = e->rflags & any_of[nr];

	if (nr >= 6)	/* less: SF is not OF */
		cond |= !!(e->rflags & FL_SF) != !!(e->rflags & FL_OF);
	return cond != (e->opcode & 1);
}

enum rl_emul_result rl_em_setcc(struct rl_emul *e)
{
	return rl_em_store(e, rl_em_cond(e));
}

enum rl_emul_result rl_em_cmov(struct rl_emul *e)
{
	/* In 64-bit mode a 32-bit CMOV clears the upper half even if it does not move. */
	return rl_em_store(e, rl_em_cond(e) ? e->src : e->dst);
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

enum rl_emul_result rl_em_movnti(struct rl_emul *e)
{
	return e->opsize_prefix || e->rep ? rl_em_ud(e) : rl_em_store(e, e->src);
}

enum rl_emul_result rl_em_lea(struct rl_emul *e)
{
	return rl_em_store(e, e->ea);
}

enum rl_emul_result rl_em_xchg(struct rl_emul *e)
{
	enum rl_emul_result r;
	unsigned int nr;

	if (e->flags & OP_MODRM) {
		e->lock = e->mod != 3;	/* with memory always, whatever the prefix says */
		r = rl_em_store(e, e->src);
		if (!r)
			rl_em_set_reg(e, e->reg, e->size, e->dst);
		return r;
	}
	nr = (e->opcode & 7) | (e->rex & 1) << 3;
	if (nr) {	/* 90 is NOP and clears nothing */
		rl_em_set_reg(e, nr, e->size, e->src);
		rl_em_set_reg(e, REG_AX, e->size, e->dst);
	} else if (e->rep == 0xf3) {
		return e->ops->misc(e, RL_MISC_PAUSE, 0);
	}
	return RL_EMUL_OK;
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

/* F5 CMC, F8 CLC, F9 STC, FC CLD, FD STD */
enum rl_emul_result rl_em_flag(struct rl_emul *e)
{
	if (e->opcode == 0xf5)
		e->rflags ^= FL_CF;
	else
		set_flag(&e->rflags, e->opcode & 4 ? FL_DF : FL_CF, e->opcode & 1);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_lahf(struct rl_emul *e)
{
	u64 fl = (e->rflags & FL_ARITH & 0xff) | 2;

	e->regs[REG_AX] = (e->regs[REG_AX] & ~0xff00ul) | fl << 8;
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_sahf(struct rl_emul *e)
{
	const u64 mask = FL_ARITH & 0xff;

	e->rflags = (e->rflags & ~mask) | (e->regs[REG_AX] >> 8 & mask);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_unhandled(struct rl_emul *e)
{
	return RL_EMUL_UNHANDLED;
}

enum rl_emul_result rl_em_nop(struct rl_emul *e)
{
	return RL_EMUL_OK;
}

/* 0F AE /5 and /6 are fences only with a register; with memory, /6 under 66 is CLWB. */
enum rl_emul_result rl_em_fence(struct rl_emul *e)
{
	if (e->mod != 3 && !((e->reg & 7) == 6 && e->opsize_prefix))
		return RL_EMUL_UNHANDLED;
	return RL_EMUL_OK;
}
