// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction decoder: from bytes at RIP to an opcode's handler and its operands' places.
 *
 * Owns:    the opcode tables; the decoded instruction in struct rl_emul.
 * Touches: the guest only to fetch code.
 * Locks:   none.
 * Manuals: SDM Vol 2 "Instruction Format" and "Opcode Map"; APM Vol 3 "Opcode and Operand Encodings".
 */
#include "emulate_priv.h"

#define X(name, f)	{ .exec = rl_em_##name, .flags = (f) }
#define N(f)		{ .flags = (f) }		/* decoded, not emulated */
#define G(table, f)	{ .group = table, .flags = (f) | OP_GROUP | OP_MODRM }
#define P		{ .flags = OP_PREFIX }
#define UD		{ .flags = OP_UD }
#define X4(...)		__VA_ARGS__, __VA_ARGS__, __VA_ARGS__, __VA_ARGS__
#define X8(...)		X4(__VA_ARGS__), X4(__VA_ARGS__)
#define N4		X4(N(M))
#define N8		X8(N(M))
#define UD4		X4(UD)

#define B		OP_BYTE
#define M		OP_MODRM
#define MEM		(OP_MODRM | OP_MEM)
#define RM		(OP_MODRM | DST_RM)
#define RM_R		(OP_MODRM | DST_RM | SRC_REG)
#define R_RM		(OP_MODRM | DST_REG | SRC_RM)
#define A_I		(DST_ACC | SRC_IMM)
#define L		OP_LOCK
#define MOV		OP_MOV
#define RO		OP_RO
#define D64		OP_D64
#define F64		OP_F64
#define NO64		OP_NO64
#define PRIV		OP_PRIV

#define ALU(f, lock)									\
	X(alu, B | RM_R | (f) | (lock)), X(alu, RM_R | (f) | (lock)),			\
	X(alu, B | R_RM | (f)), X(alu, R_RM | (f)),					\
	X(alu, B | A_I | IMM_B | (f)), X(alu, A_I | IMM_Z | (f))

static const struct rl_opcode group1[8] = {
	X(alu, L), X(alu, L), X(alu, L), X(alu, L), X(alu, L), X(alu, L), X(alu, L), X(alu, RO),
};

static const struct rl_opcode group1a[8] = {
	X(pop, RM | MOV | D64), UD, UD, UD, UD4,
};

static const struct rl_opcode group2[8] = {
	X8(X(shift, RM)),
};

static const struct rl_opcode group3b[8] = {
	X(test, RM | RO | SRC_IMM | IMM_B), X(test, RM | RO | SRC_IMM | IMM_B),
	X(not, RM | L), X(neg, RM | L),
	X(mul, SRC_RM), X(imul_acc, SRC_RM), X(div, SRC_RM), X(idiv, SRC_RM),
};

static const struct rl_opcode group3[8] = {
	X(test, RM | RO | SRC_IMM | IMM_Z), X(test, RM | RO | SRC_IMM | IMM_Z),
	X(not, RM | L), X(neg, RM | L),
	X(mul, SRC_RM), X(imul_acc, SRC_RM), X(div, SRC_RM), X(idiv, SRC_RM),
};

static const struct rl_opcode group4[8] = {
	X(incdec, RM | L), X(incdec, RM | L), UD, UD, UD4,
};

static const struct rl_opcode group5[8] = {
	X(incdec, RM | L), X(incdec, RM | L), X(call_rm, SRC_RM | F64), X(far_rm, MEM),
	X(jmp_rm, SRC_RM | F64), X(far_rm, MEM), X(push, SRC_RM | D64), UD,
};

static const struct rl_opcode group6[8] = {
	X(sldt_str, RM | MOV | OP_DST16 | OP_PROT), X(sldt_str, RM | MOV | OP_DST16 | OP_PROT),
	X(ldt_tr, SRC_RM | OP_SRC16 | PRIV | OP_PROT), X(ldt_tr, SRC_RM | OP_SRC16 | PRIV | OP_PROT),
	N(OP_PROT), N(OP_PROT), UD, UD,
};

/* With a register in ModRM.rm the unused ones are other instructions: sgdt and lgdt know them. */
static const struct rl_opcode group7[8] = {
	X(sgdt, 0), X(sgdt, 0), X(lgdt, 0), X(lgdt, 0),
	X(smsw, RM | MOV | OP_DST16), UD, X(lmsw, SRC_RM | OP_SRC16 | PRIV), X(invlpg, 0),
};

static const struct rl_opcode group8[8] = {
	UD4, X(bt, RO), X(bt, L), X(bt, L), X(bt, L),
};

static const struct rl_opcode group9[8] = {
	UD, X(cmpxchg8b, MEM | L), UD, N(0), N(0), N(0), N(0), N(0),
};

static const struct rl_opcode group11[8] = {
	X(mov, RM | MOV | SRC_IMM), UD, UD, UD, UD4,
};

static const struct rl_opcode group15[8] = {
	N(0), N(0), N(0), N(0), N(0), X(fence, 0), X(fence, 0), X(nop, 0),
};

static const struct rl_opcode opcodes_one[256] = {
	/* 00 */ ALU(0, L), X(pushseg, NO64), X(popseg, NO64),
	/* 08 */ ALU(0, L), X(pushseg, NO64), P,
	/* 10 */ ALU(0, L), X(pushseg, NO64), X(popseg, NO64),
	/* 18 */ ALU(0, L), X(pushseg, NO64), X(popseg, NO64),
	/* 20 */ ALU(0, L), P, X(daa, NO64),
	/* 28 */ ALU(0, L), P, X(daa, NO64),
	/* 30 */ ALU(0, L), P, X(aaa, NO64),
	/* 38 */ ALU(RO, 0), P, X(aaa, NO64),
	/* 40: REX in 64-bit mode */
	X8(X(incdec, DST_OPREG | OP_PREFIX)), X8(X(incdec, DST_OPREG | OP_PREFIX)),
	/* 50 */ X8(X(push, SRC_REG | D64)), X8(X(pop, DST_OPREG | MOV | D64)),
	/* 60 */ X(pusha, NO64), X(popa, NO64), N(NO64 | M), X(movsx, R_RM | MOV | OP_SRC32), P, P, P, P,
	/* 68 */ X(push, SRC_IMM | IMM_Z | D64), X(imul, R_RM | MOV | IMM_Z),
		 X(push, SRC_IMM | IMM_B | D64), X(imul, R_RM | MOV | IMM_B),
		 X(ins, B), X(ins, 0), X(outs, B), X(outs, 0),
	/* 70 */ X8(X(jcc, F64 | IMM_B)), X8(X(jcc, F64 | IMM_B)),
	/* 80 */ G(group1, B | RM | SRC_IMM | IMM_B), G(group1, RM | SRC_IMM | IMM_Z),
		 G(group1, B | RM | SRC_IMM | IMM_B | NO64), G(group1, RM | SRC_IMM | IMM_B),
		 X(test, B | RM_R | RO), X(test, RM_R | RO), X(xchg, B | RM_R | L), X(xchg, RM_R | L),
	/* 88 */ X(mov, B | RM_R | MOV), X(mov, RM_R | MOV), X(mov, B | R_RM | MOV), X(mov, R_RM | MOV),
		 X(mov_from_seg, RM | MOV | OP_DST16), X(lea, M | DST_REG | MOV | OP_MEM),
		 X(mov_to_seg, M | SRC_RM | OP_SRC16), G(group1a, 0),
	/* 90 */ X8(X(xchg, DST_OPREG | SRC_ACC)),
	/* 98 */ X(cbw, 0), X(cwd, 0), X(call_far, IMM_FAR | NO64), N(0),
		 X(pushf, D64), X(popf, D64), X(sahf, 0), X(lahf, 0),
	/* A0 */ X(mov, B | DST_ACC | SRC_RM | MOV | IMM_MOFFS), X(mov, DST_ACC | SRC_RM | MOV | IMM_MOFFS),
		 X(mov, B | DST_RM | SRC_ACC | MOV | IMM_MOFFS), X(mov, DST_RM | SRC_ACC | MOV | IMM_MOFFS),
		 X(string, B), X(string, 0), X(string, B), X(string, 0),
	/* A8 */ X(test, B | A_I | IMM_B | RO), X(test, A_I | IMM_Z | RO), X(string, B), X(string, 0),
		 X(string, B), X(string, 0), X(string, B), X(string, 0),
	/* B0 */ X8(X(mov, B | DST_OPREG | SRC_IMM | MOV | IMM_B)),
	/* B8 */ X8(X(mov, DST_OPREG | SRC_IMM | MOV | IMM_V)),
	/* C0 */ G(group2, B | SRC_IMM | IMM_B), G(group2, SRC_IMM | IMM_B),
		 X(ret, F64 | IMM_W), X(ret, F64), X(lds, MEM | NO64), X(lds, MEM | NO64),
		 G(group11, B | IMM_B), G(group11, IMM_Z),
	/* C8 */ X(enter, D64 | IMM_WB), X(leave, D64), X(ret_far, IMM_W), X(ret_far, 0),
		 X(int, 0), X(int, IMM_B), X(int, NO64), X(iret, 0),
	/* D0 */ G(group2, B | SRC_ONE), G(group2, SRC_ONE), G(group2, B | SRC_CL), G(group2, SRC_CL),
		 X(aam, IMM_B | NO64), X(aad, IMM_B | NO64), X(salc, NO64), X(xlat, 0),
	/* D8: x87 */ N8,
	/* E0 */ X(loop, F64 | IMM_B), X(loop, F64 | IMM_B), X(loop, F64 | IMM_B), X(jcxz, F64 | IMM_B),
		 X(in, B | IMM_B), X(in, IMM_B), X(out, B | IMM_B), X(out, IMM_B),
	/* E8 */ X(call, F64 | IMM_Z), X(jmp, F64 | IMM_Z), X(jmp_far, IMM_FAR | NO64), X(jmp, F64 | IMM_B),
		 X(in, B), X(in, 0), X(out, B), X(out, 0),
	/* F0 */ P, N(0), P, P, X(hlt, PRIV), X(cmc, 0), G(group3b, B), G(group3, 0),
	/* F8 */ X(flag, 0), X(flag, 0), X(if, 0), X(if, 0), X(flag, 0), X(flag, 0),
		 G(group4, B), G(group5, 0),
};

#define SETCC		X(setcc, B | RM | MOV)
#define CMOV		X(cmov, R_RM)
#define JCC		X(jcc, F64 | IMM_Z)
#define MI		N(M | IMM_B)

static const struct rl_opcode opcodes_0f[256] = {
	/* 00 */ G(group6, 0), G(group7, 0), N(M | OP_PROT), N(M | OP_PROT), UD, N(0), X(clts, PRIV), N(PRIV),
	/* 08 */ X(invd, PRIV), X(wbinvd, PRIV), UD, UD, UD, X(nop, M), N(0), MI,
	/* 10 */ X(sse_mov, M), X(sse_mov, M), X(sse_mov, M), X(sse_mov, MEM), N(M), N(M), X(sse_mov, M),
		 X(sse_mov, MEM),
	/* 18 */ X8(X(nop, M)),
	/* 20 */ X(mov_cr, M | OP_REGS | PRIV), X(mov_dr, M | OP_REGS | PRIV),
		 X(mov_cr, M | OP_REGS | PRIV), X(mov_dr, M | OP_REGS | PRIV), UD4,
	/* 28 */ X(sse_mov, M), X(sse_mov, M), N(M), X(sse_mov, MEM), N4,
	/* 30 */ X(wrmsr, PRIV), X(rdtsc, 0), X(rdmsr, PRIV), X(rdpmc, 0), N(0), N(0), UD, N(0),
	/* 38: escapes */ UD4, UD4,
	/* 40 */ X8(CMOV), X8(CMOV),
	/* 50 */ N8, N8,
	/* 60 */ N8, N4, N(M), N(M), X(sse_mov, M), X(sse_mov, M),
	/* 70 */ MI, MI, MI, MI, N(M), N(M), N(M), N(0), N4, N(M), N(M), X(sse_mov, M), X(sse_mov, M),
	/* 80 */ X8(JCC), X8(JCC),
	/* 90 */ X8(SETCC), X8(SETCC),
	/* A0 */ X(pushseg, D64), X(popseg, D64), X(cpuid, 0), X(bt, RM_R | OP_BITS | RO),
		 X(shld, RM_R | IMM_B), X(shld, RM_R), UD, UD,
	/* A8 */ X(pushseg, D64), X(popseg, D64), N(0), X(bt, RM_R | OP_BITS | L),
		 X(shld, RM_R | IMM_B), X(shld, RM_R), G(group15, 0), X(imul, R_RM),
	/* B0 */ X(cmpxchg, B | RM_R | L), X(cmpxchg, RM_R | L), X(lds, MEM), X(bt, RM_R | OP_BITS | L),
		 X(lds, MEM), X(lds, MEM), X(mov, R_RM | MOV | OP_SRC8), X(mov, R_RM | MOV | OP_SRC16),
	/* B8 */ X(popcnt, R_RM | MOV), UD, G(group8, RM | SRC_IMM | IMM_B), X(bt, RM_R | OP_BITS | L),
		 X(bsx, R_RM), X(bsx, R_RM), X(movsx, R_RM | MOV | OP_SRC8), X(movsx, R_RM | MOV | OP_SRC16),
	/* C0 */ X(xadd, B | RM_R | L), X(xadd, RM_R | L), MI, X(movnti, RM_R | MOV | OP_MEM), MI, MI, MI,
		 G(group9, 0),
	/* C8 */ X8(X(bswap, DST_OPREG)),
	/* D0 */ N4, N(M), N(M), X(sse_mov, M), N(M), N8,
	/* E0 */ N4, N(M), N(M), N(M), X(sse_mov, MEM), N8,
	/* F0 */ X(sse_mov, MEM), N(M), N(M), N(M), N4, N4, N(M), N(M), N(M), UD,
};

static const struct rl_opcode opcode_movbe[2] = { X(movbe, R_RM | MOV | OP_MEM), X(movbe, RM_R | MOV | OP_MEM) };
static const struct rl_opcode opcode_movntdqa = X(sse_mov, MEM);
static const struct rl_opcode opcode_0f38 = N(M);
static const struct rl_opcode opcode_0f3a = N(M | IMM_B);

/* Operand and address size by mode, before prefixes */
static const u8 default_opsize[] = { 2, 2, 2, 4, 4 };
static const u8 default_adsize[] = { 2, 2, 2, 4, 8 };

/**
 * rl_emul_fault_code() - Note an exception that pushes an error code outside real mode
 * @e:          emulator
 * @vector:     exception
 * @error_code: its error code
 *
 * Return: RL_EMUL_FAULT.
 */
enum rl_emul_result rl_emul_fault_code(struct rl_emul *e, u8 vector, u32 error_code)
{
	e->fault.vector = vector;
	e->fault.has_error = e->mode != RL_MODE_REAL;
	e->fault.error_code = error_code;
	return RL_EMUL_FAULT;
}

/**
 * rl_emul_fault() - Note an exception without an error code
 * @e:      emulator
 * @vector: exception
 *
 * Return: RL_EMUL_FAULT.
 */
enum rl_emul_result rl_emul_fault(struct rl_emul *e, u8 vector)
{
	e->fault.vector = vector;
	e->fault.has_error = false;
	e->fault.error_code = 0;
	return RL_EMUL_FAULT;
}

/* Read on to the end of the page, of CS or of the longest instruction, whichever comes first. */
static noinline enum rl_emul_result fetch_more(struct rl_emul *e)
{
	u64 ip = e->rip + e->fetched, linear = ip, room;
	unsigned int n = RL_INSN_MAX - e->fetched;
	enum rl_emul_result r;

	if (e->fetched >= RL_INSN_MAX)
		return rl_em_gp(e, 0);
	if (rl_em_long(e)) {
		if (!rl_em_canonical(e, ip))
			return rl_em_gp(e, 0);
	} else {
		const struct rl_seg *cs = rl_em_seg(e, RL_SEG_CS);

		ip = (u32)ip;
		if (ip > cs->limit)
			return rl_em_gp(e, 0);
		room = (u64)cs->limit - ip + 1;
		n = room < n ? room : n;
		linear = (u32)(cs->base + ip);
	}
	room = 4096 - (linear & 4095);
	n = room < n ? room : n;
	r = e->ops->read(e, linear, e->insn + e->fetched, n, RL_EMUL_FETCH);
	if (!r)
		e->fetched += n;
	return r;
}

static inline enum rl_emul_result fetch(struct rl_emul *e, void *buf, unsigned int n)
{
	while (unlikely(e->pos + n > e->fetched)) {
		enum rl_emul_result r = fetch_more(e);

		if (r)
			return r;
	}
	memcpy(buf, e->insn + e->pos, n);
	e->pos += n;
	return RL_EMUL_OK;
}

static enum rl_emul_result fetch_signed(struct rl_emul *e, unsigned int n, u64 *val)
{
	enum rl_emul_result r;
	u64 raw = 0;

	switch (n) {
	case 1:
		r = fetch(e, &raw, 1);
		break;
	case 2:
		r = fetch(e, &raw, 2);
		break;
	case 4:
		r = fetch(e, &raw, 4);
		break;
	default:
		r = fetch(e, &raw, 8);
	}
	*val = rl_em_sext(raw, n);
	return r;
}

/* A segment prefix names @ea_seg before ModRM is looked at; SP and BP as base mean SS otherwise. */
static inline void default_ss(struct rl_emul *e)
{
	if (e->ea_seg == RL_SEG_NR)
		e->ea_seg = RL_SEG_SS;
}

static enum rl_emul_result decode_mem16(struct rl_emul *e)
{
	static const u8 base[8] = { REG_BX, REG_BX, REG_BP, REG_BP, REG_SI, REG_DI, REG_BP, REG_BX };
	unsigned int rm = e->rm;
	enum rl_emul_result r;
	u64 disp = 0;

	if (e->mod == 0 && rm == 6) {
		r = fetch_signed(e, 2, &disp);
		e->ea = (u16)disp;
		return r;
	}
	if (e->mod) {
		r = fetch_signed(e, e->mod == 1 ? 1 : 2, &disp);
		if (r)
			return r;
	}
	e->ea = e->regs[base[rm]] + disp;
	if (rm < 4)
		e->ea += e->regs[rm & 1 ? REG_DI : REG_SI];
	e->ea = (u16)e->ea;
	if (base[rm] == REG_BP)
		default_ss(e);
	return RL_EMUL_OK;
}

/* ModRM and SIB with 32- or 64-bit addresses. *@rip_relative: add the address of what follows. */
static enum rl_emul_result decode_mem(struct rl_emul *e, bool *rip_relative)
{
	unsigned int base = e->rm & 7;
	enum rl_emul_result r;
	u64 ea = 0, disp;

	if (base == 4) {
		unsigned int index;
		u8 sib;

		r = fetch(e, &sib, 1);
		if (r)
			return r;
		index = (sib >> 3 & 7) | (e->rex & 2) << 2;
		if (index != 4)
			ea = e->regs[index] << (sib >> 6);
		base = sib & 7;
		if (base == 4 && !(e->rex & 1))
			e->ea_sp = true;
	} else if (base == 5 && !e->mod) {
		*rip_relative = rl_em_long(e);
	}
	if (base == 5 && !e->mod) {
		r = fetch_signed(e, 4, &disp);
		e->ea = ea + disp;
		return r;
	}
	ea += e->regs[base | (e->rex & 1) << 3];
	if ((base == 4 || base == 5) && !(e->rex & 1))
		default_ss(e);
	if (e->mod) {
		r = fetch_signed(e, e->mod == 1 ? 1 : 4, &disp);
		if (r)
			return r;
		ea += disp;
	}
	e->ea = ea;
	return RL_EMUL_OK;
}

static enum rl_emul_result decode_imm(struct rl_emul *e, u32 flags)
{
	enum rl_emul_result r;
	u8 level = 0;

	switch (flags & OP_IMM) {
	case IMM_B:
		return fetch_signed(e, 1, &e->imm);
	case IMM_Z:
		return fetch_signed(e, e->opsize == 2 ? 2 : 4, &e->imm);
	case IMM_V:
		return fetch_signed(e, e->opsize, &e->imm);
	case IMM_W:
		return fetch_signed(e, 2, &e->imm);
	case IMM_WB:
		r = fetch_signed(e, 2, &e->imm);
		if (r)
			return r;
		r = fetch(e, &level, 1);
		e->src = level;
		return r;
	case IMM_MOFFS:
		e->mod = 0;
		return fetch_signed(e, e->adsize, &e->ea);
	default: /* IMM_FAR */
		r = fetch_signed(e, e->opsize, &e->imm);
		return r ? r : fetch_signed(e, 2, &e->src);
	}
}

/* Legacy and REX prefixes; leaves the byte that follows them in e->opcode. */
static enum rl_emul_result decode_prefixes(struct rl_emul *e)
{
	enum rl_emul_result r;
	u8 b;

	for (;;) {
		r = fetch(e, &b, 1);
		if (r)
			return r;
		e->opcode = b;
		if (likely(!(opcodes_one[b].flags & OP_PREFIX)) || b == 0x0f)
			return RL_EMUL_OK;
		if ((b & 0xf0) == 0x40) {
			if (!rl_em_long(e))
				return RL_EMUL_OK;
			e->rex = b;
			continue;
		}
		/* Only a REX prefix right before the opcode counts. */
		e->rex = 0;
		switch (b) {
		case 0x66:
			e->opsize_prefix = 1;
			break;
		case 0x67:
			e->adsize = default_adsize[e->mode] == 4 ? 2 : 4;
			break;
		case 0xf0:
			e->lock = 1;
			break;
		case 0xf2:
		case 0xf3:
			e->rep = b;
			break;
		case 0x64:
		case 0x65:
			e->ea_seg = RL_SEG_FS + (b & 1);
			break;
		default: /* ES CS SS DS; without meaning in 64-bit mode */
			if (!rl_em_long(e))
				e->ea_seg = b >> 3 & 3;
		}
	}
}

/* After 0F. Sets the table entry; 0F 38 and 0F 3A have only a few that are emulated. */
static enum rl_emul_result decode_escape(struct rl_emul *e, const struct rl_opcode **op)
{
	enum rl_emul_result r;
	u8 map;

	r = fetch(e, &e->opcode, 1);
	if (r)
		return r;
	*op = &opcodes_0f[e->opcode];
	map = e->opcode;
	if (map != 0x38 && map != 0x3a)
		return RL_EMUL_OK;
	r = fetch(e, &e->opcode, 1);
	if (r)
		return r;
	if (map == 0x3a)
		*op = &opcode_0f3a;
	else if ((e->opcode & 0xfe) == 0xf0 && e->rep != 0xf2)
		*op = &opcode_movbe[e->opcode & 1];
	else if (e->opcode == 0x2a && e->opsize_prefix)
		*op = &opcode_movntdqa;
	else
		*op = &opcode_0f38;
	return RL_EMUL_OK;
}

static inline void decode_opsize(struct rl_emul *e, u32 flags)
{
	u8 size = default_opsize[e->mode];

	if (e->opsize_prefix)
		size ^= 2 ^ 4;
	if (rl_em_long(e) && (e->rex & 8 || flags & OP_F64 || (flags & OP_D64 && size == 4)))
		size = 8;
	e->opsize = size;
	e->size = flags & OP_BYTE ? 1 : size;
}

/**
 * rl_emul_decode() - Decode the instruction at RIP
 * @e: emulator with its inputs filled
 *
 * Finds the instruction's length, for those who only have to step over it, and everything that
 * rl_emul_run() goes on with. Whether the instruction is legal is rl_emul_run()'s concern.
 *
 * Return: RL_EMUL_OK with @e->insn_len set; RL_EMUL_FAULT: it cannot be fetched or is too long;
 * RL_EMUL_UNHANDLED: VEX, EVEX and XOP, or what the read operation returned.
 */
enum rl_emul_result rl_emul_decode(struct rl_emul *e)
{
	const struct rl_opcode *op;
	bool rip_relative = false;
	enum rl_emul_result r;
	u32 flags;
	u8 modrm;

	e->pos = 0;
	e->rex = 0;
	e->rep = 0;
	e->lock = 0;
	e->opsize_prefix = 0;
	e->ea_sp = false;
	e->mod = 3;
	e->ea_seg = RL_SEG_NR;
	e->adsize = default_adsize[e->mode];

	r = decode_prefixes(e);
	if (r)
		return r;
	op = &opcodes_one[e->opcode];
	if (e->opcode == 0x0f) {
		r = decode_escape(e, &op);
		if (r)
			return r;
	}
	flags = op->flags;
	if (flags & OP_MODRM) {
		r = fetch(e, &modrm, 1);
		if (r)
			return r;
		e->mod = modrm >> 6;
		e->reg = (modrm >> 3 & 7) | (e->rex & 4) << 1;
		e->rm = (modrm & 7) | (e->rex & 1) << 3;
		if (flags & OP_GROUP) {
			op = &op->group[e->reg & 7];
			flags |= op->flags;
		}
		if (flags & OP_REGS)
			e->mod = 3;
		/* Where BOUND, LES and LDS are not legal, they start an EVEX or VEX prefix. */
		if (unlikely((flags & (OP_NO64 | OP_GROUP)) == OP_NO64) && !rl_em_real(e) &&
		    (rl_em_long(e) || e->mod == 3))
			return RL_EMUL_UNHANDLED;
		if (e->mod != 3) {
			r = e->adsize == 2 ? decode_mem16(e) : decode_mem(e, &rip_relative);
			if (r)
				return r;
		}
	}
	e->exec = op->exec;
	e->flags = flags;
	decode_opsize(e, flags);
	if (flags & OP_IMM) {
		r = decode_imm(e, flags);
		if (r)
			return r;
	}
	e->insn_len = e->pos;
	e->next_rip = e->rip + e->pos;
	if (!rl_em_long(e))
		e->next_rip = (u32)e->next_rip;
	if (rip_relative)
		e->ea += e->next_rip;
	if (e->adsize != 8)
		e->ea &= rl_em_mask(e->adsize);
	if (e->ea_seg == RL_SEG_NR)
		e->ea_seg = RL_SEG_DS;
	return RL_EMUL_OK;
}
