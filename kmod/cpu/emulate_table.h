/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Instruction emulator: what every opcode is. Included by emulate_decode.c alone.
 *
 * Owns:    the opcode tables.
 * Manuals: SDM Vol 2 "Opcode Map"; APM Vol 3 "Opcode and Operand Encodings".
 */
#ifndef RL_CPU_EMULATE_TABLE_H
#define RL_CPU_EMULATE_TABLE_H

#include "emulate_priv.h"

#define X(name, f)	{ .exec = rl_em_##name, .flags = (f) }
#define N(f)		X(unhandled, f)
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
#define RM_R_MOV	(RM_R | OP_MOV)
#define R_RM_MOV	(R_RM | OP_MOV)
#define SRC8		OP_SRC8
#define SRC16		OP_SRC16
#define PROT		OP_PROT
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
	X(sldt_str, RM | MOV | OP_DST16 | PROT), X(sldt_str, RM | MOV | OP_DST16 | PROT),
	X(ldt_tr, SRC_RM | SRC16 | PRIV | PROT), X(ldt_tr, SRC_RM | SRC16 | PRIV | PROT),
	N(PROT), N(PROT), UD, UD,
};

/* With a register in ModRM.rm the unused ones are other instructions: sgdt and lgdt know them. */
static const struct rl_opcode group7[8] = {
	X(sgdt, 0), X(sgdt, 0), X(lgdt, 0), X(lgdt, 0),
	X(smsw, RM | MOV | OP_DST16), UD, X(lmsw, SRC_RM | SRC16 | PRIV), X(invlpg, 0),
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

static const struct rl_opcode opcodes[256] = {
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
	/* 60 */ X(pusha, NO64), X(popa, NO64), N(NO64 | M | OP_VEX),
		 X(movsx, R_RM_MOV | OP_SRC32), P, P, P, P,
	/* 68 */ X(push, SRC_IMM | IMM_Z | D64), X(imul, R_RM_MOV | IMM_Z),
		 X(push, SRC_IMM | IMM_B | D64), X(imul, R_RM_MOV | IMM_B),
		 X(ins, B), X(ins, 0), X(outs, B), X(outs, 0),
	/* 70 */ X8(X(jcc, F64 | IMM_B)), X8(X(jcc, F64 | IMM_B)),
	/* 80 */ G(group1, B | RM | SRC_IMM | IMM_B), G(group1, RM | SRC_IMM | IMM_Z),
		 G(group1, B | RM | SRC_IMM | IMM_B | NO64), G(group1, RM | SRC_IMM | IMM_B),
		 X(test, B | RM_R | RO), X(test, RM_R | RO),
		 X(xchg, B | RM_R | L), X(xchg, RM_R | L),
	/* 88 */ X(mov, B | RM_R_MOV), X(mov, RM_R_MOV), X(mov, B | R_RM_MOV), X(mov, R_RM_MOV),
		 X(mov_from_seg, RM | MOV | OP_DST16), X(lea, M | DST_REG | MOV | OP_MEM),
		 X(mov_to_seg, M | SRC_RM | SRC16), G(group1a, 0),
	/* 90 */ X8(X(xchg, DST_OPREG | SRC_ACC)),
	/* 98 */ X(cbw, 0), X(cwd, 0), X(call_far, IMM_FAR | NO64), N(0),
		 X(pushf, D64), X(popf, D64), X(sahf, 0), X(lahf, 0),
	/* A0 */ X(mov, B | DST_ACC | SRC_RM | MOV | IMM_MOFFS),
		 X(mov, DST_ACC | SRC_RM | MOV | IMM_MOFFS),
		 X(mov, B | DST_RM | SRC_ACC | MOV | IMM_MOFFS),
		 X(mov, DST_RM | SRC_ACC | MOV | IMM_MOFFS),
		 X(string, B), X(string, 0), X(string, B), X(string, 0),
	/* A8 */ X(test, B | A_I | IMM_B | RO), X(test, A_I | IMM_Z | RO),
		 X(string, B), X(string, 0),
		 X(string, B), X(string, 0), X(string, B), X(string, 0),
	/* B0 */ X8(X(mov, B | DST_OPREG | SRC_IMM | MOV | IMM_B)),
	/* B8 */ X8(X(mov, DST_OPREG | SRC_IMM | MOV | IMM_V)),
	/* C0 */ G(group2, B | SRC_IMM | IMM_B), G(group2, SRC_IMM | IMM_B),
		 X(ret, F64 | IMM_W), X(ret, F64),
		 X(lds, MEM | NO64 | OP_VEX), X(lds, MEM | NO64 | OP_VEX),
		 G(group11, B | IMM_B), G(group11, IMM_Z),
	/* C8 */ X(enter, D64 | IMM_WB), X(leave, D64), X(ret_far, IMM_W), X(ret_far, 0),
		 X(int, 0), X(int, IMM_B), X(int, NO64), X(iret, 0),
	/* D0 */ G(group2, B | SRC_ONE), G(group2, SRC_ONE),
		 G(group2, B | SRC_CL), G(group2, SRC_CL),
		 X(aam, IMM_B | NO64), X(aad, IMM_B | NO64), X(salc, NO64), X(xlat, 0),
	/* D8: x87 */ N8,
	/* E0 */ X(loop, F64 | IMM_B), X(loop, F64 | IMM_B),
		 X(loop, F64 | IMM_B), X(jcxz, F64 | IMM_B),
		 X(in, B | IMM_B), X(in, IMM_B), X(out, B | IMM_B), X(out, IMM_B),
	/* E8 */ X(call, F64 | IMM_Z), X(jmp, F64 | IMM_Z),
		 X(jmp_far, IMM_FAR | NO64), X(jmp, F64 | IMM_B),
		 X(in, B), X(in, 0), X(out, B), X(out, 0),
	/* F0 */ P, N(0), P, P, X(misc, PRIV), X(flag, 0), G(group3b, B), G(group3, 0),
	/* F8 */ X(flag, 0), X(flag, 0), X(if, 0), X(if, 0), X(flag, 0), X(flag, 0),
		 G(group4, B), G(group5, 0),
};

#define SETCC		X(setcc, B | RM | MOV)
#define CMOV		X(cmov, R_RM)
#define JCC		X(jcc, F64 | IMM_Z)
#define MI		N(M | IMM_B)

static const struct rl_opcode opcodes_0f[256] = {
	/* 00 */ G(group6, 0), G(group7, 0), N(M | PROT),
		 N(M | PROT), UD, N(0), X(clts, PRIV), N(PRIV),
	/* 08 */ X(misc, PRIV), X(misc, PRIV), UD, UD, UD, X(nop, M), N(0), MI,
	/* 10 */ X(sse_mov, M), X(sse_mov, M), X(sse_mov, M),
		 X(sse_mov, MEM), N(M), N(M), X(sse_mov, M),
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
	/* 70 */ MI, MI, MI, MI, N(M), N(M), N(M), N(0), N4,
		 N(M), N(M), X(sse_mov, M), X(sse_mov, M),
	/* 80 */ X8(JCC), X8(JCC),
	/* 90 */ X8(SETCC), X8(SETCC),
	/* A0 */ X(pushseg, D64), X(popseg, D64), X(misc, 0), X(bt, RM_R | OP_BITS | RO),
		 X(shld, RM_R | IMM_B), X(shld, RM_R), UD, UD,
	/* A8 */ X(pushseg, D64), X(popseg, D64), N(0), X(bt, RM_R | OP_BITS | L),
		 X(shld, RM_R | IMM_B), X(shld, RM_R), G(group15, 0), X(imul, R_RM),
	/* B0 */ X(cmpxchg, B | RM_R | L), X(cmpxchg, RM_R | L),
		 X(lds, MEM), X(bt, RM_R | OP_BITS | L),
		 X(lds, MEM), X(lds, MEM), X(mov, R_RM_MOV | SRC8), X(mov, R_RM_MOV | SRC16),
	/* B8 */ X(popcnt, R_RM_MOV), UD, G(group8, RM | SRC_IMM | IMM_B),
		 X(bt, RM_R | OP_BITS | L),
		 X(bsx, R_RM), X(bsx, R_RM), X(movsx, R_RM_MOV | SRC8), X(movsx, R_RM_MOV | SRC16),
	/* C0 */ X(xadd, B | RM_R | L), X(xadd, RM_R | L), MI,
		 X(movnti, RM_R_MOV | OP_MEM), MI, MI, MI,
		 G(group9, 0),
	/* C8 */ X8(X(bswap, DST_OPREG)),
	/* D0 */ N4, N(M), N(M), X(sse_mov, M), N(M), N8,
	/* E0 */ N4, N(M), N(M), N(M), X(sse_mov, MEM), N8,
	/* F0 */ X(sse_mov, MEM), N(M), N(M), N(M), N4, N4, N(M), N(M), N(M), UD,
};

/* 0F 38 and 0F 3A: MOVBE, MOVNTDQA, and those that are only decoded */
static const struct rl_opcode opcode_movbe[2] = {
	X(movbe, R_RM_MOV | OP_MEM), X(movbe, RM_R_MOV | OP_MEM),
};
static const struct rl_opcode opcode_movntdqa = X(sse_mov, MEM);
static const struct rl_opcode opcode_0f38 = N(M);
static const struct rl_opcode opcode_0f3a = N(M | IMM_B);

#endif
