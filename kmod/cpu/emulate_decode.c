// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: from bytes at RIP to a handler and its operands, and the frame around every
 * instruction.
 *
 * Owns:    the opcode tables; the decoded instruction in struct rl_emul; the order of an
 *          instruction's steps: decode, checks, reads, execution, RIP.
 * Touches: guest code and operands through struct rl_emul_ops.
 * Locks:   none.
 * Manuals: SDM Vol 2 "Instruction Format", "Opcode Map"; APM Vol 3.
 *
 * This is the hot path of MMIO: a plain MOV takes about 200 instructions from here to its write.
 */
#include "emulate_priv.h"

#define X(name, f)	{ .exec = rl_em_##name, .flags = (f) }
#define G(table, f)	{ .group = table, .flags = (f) | OP_GROUP | OP_MODRM }
#define P		{ .flags = OP_PREFIX }
#define LENGTH(f)	X(unhandled, f)		/* what rl_emul_decode() is asked about */

#define B		OP_BYTE
#define M		OP_MODRM
#define RM		(OP_MODRM | DST_RM)
#define RM_R		(OP_MODRM | DST_RM | SRC_REG)
#define R_RM		(OP_MODRM | DST_REG | SRC_RM)
#define RM_R_MOV	(RM_R | OP_MOV)
#define R_RM_MOV	(R_RM | OP_MOV)
#define MEM		OP_MEM
#define SRC8		OP_SRC8
#define SRC16		OP_SRC16
#define L		OP_LOCK
#define MOV		OP_MOV
#define RO		OP_RO
#define D64		OP_D64
#define F64		OP_F64
#define PRIV		OP_PRIV

/* An operation of rl_em_alu_op() */
#define ALU(op, f)	X(alu, OP_ALU(ALU_##op) | (f))
/* The same on memory and a register, by direction and size */
#define ALU4(op, f)									\
	ALU(op, B | RM_R | (f)), ALU(op, RM_R | (f)),					\
	ALU(op, B | R_RM | ((f) & RO)), ALU(op, R_RM | ((f) & RO))
/* An opcode for bytes and the next one for what is wider */
#define BV(nr, name, f)									\
	[nr] = X(name, B | (f)), X(name, f)

static const struct rl_opcode group1[8] = {
	ALU(ADD, L), ALU(OR, L), ALU(ADC, L), ALU(SBB, L), ALU(AND, L), ALU(SUB, L), ALU(XOR, L),
	ALU(CMP, RO),
};

static const struct rl_opcode group1a[8] = { X(pop, RM | MOV | D64) };

static const struct rl_opcode group2[8] = {
	ALU(ROL, RM), ALU(ROR, RM), ALU(RCL, RM), ALU(RCR, RM), ALU(SHL, RM), ALU(SHR, RM),
	ALU(SHL, RM), ALU(SAR, RM),
};

static const struct rl_opcode group3[8] = {
	[0 ... 1] = ALU(TEST, RM | RO | SRC_IMM | IMM_Z), X(not, RM | L), ALU(NEG, RM | L),
	[4 ... 7] = X(muldiv, RM | RO),
};

static const struct rl_opcode group4[8] = { ALU(INC, RM | L), ALU(DEC, RM | L) };

static const struct rl_opcode group5[8] = {
	ALU(INC, RM | L), ALU(DEC, RM | L), [2] = X(jump_rm, SRC_RM | F64),
	[4] = X(jump_rm, SRC_RM | F64), X(jump_far, MEM), X(push, SRC_RM | D64),
};

static const struct rl_opcode group6[8] = {
	[2] = X(lldt_ltr, SRC_RM | SRC16 | PRIV), X(lldt_ltr, SRC_RM | SRC16 | PRIV),
};

/* VMMCALL, XSETBV, MWAIT and the like are the others, with a register in ModRM.rm. */
static const struct rl_opcode group7[8] = {
	[0 ... 3] = LENGTH(0), [4] = X(smsw, RM | MOV | OP_DST16),
	[6] = X(lmsw, SRC_RM | SRC16 | PRIV), [7] = LENGTH(0),
};

static const struct rl_opcode group8[8] = { [4] = ALU(BT, RO), ALU(BTS, L), ALU(BTR, L), ALU(BTC, L) };

static const struct rl_opcode group9[8] = { [1] = X(cmpxchg8b, MEM | L) };

static const struct rl_opcode group11[8] = { X(mov, RM | MOV | SRC_IMM) };

/* CLFLUSH reads, as far as a second-stage fault goes. */
static const struct rl_opcode group15[8] = { [7] = X(nop, MEM) };

/*
 * What can fault on a device, exits by itself, or exits and is stepped over. The rest has no row:
 * register to register, code, and system instructions that the CPU does without us; also not
 * emulated are far calls and returns, x87 and whatever has a VEX prefix.
 */
static const struct rl_opcode opcodes[256] = {
	[0x00] = ALU4(ADD, L), [0x08] = ALU4(OR, L), [0x10] = ALU4(ADC, L), [0x18] = ALU4(SBB, L),
	[0x20] = ALU4(AND, L), [0x28] = ALU4(SUB, L), [0x30] = ALU4(XOR, L), [0x38] = ALU4(CMP, RO),
	[0x0f] = P, [0x26] = P, [0x2e] = P, [0x36] = P, [0x3e] = P, [0x64 ... 0x67] = P,
	[0x40 ... 0x4f] = P,	/* REX in 64-bit mode */
	[0x50 ... 0x57] = X(push, SRC_REG | D64), [0x58 ... 0x5f] = X(pop, DST_OPREG | MOV | D64),
	[0x63] = X(movsx, R_RM_MOV | OP_SRC32),
	[0x68] = X(push, SRC_IMM | IMM_Z | D64), ALU(IMUL, R_RM_MOV | IMM_Z),
		 X(push, SRC_IMM | IMM_B | D64), ALU(IMUL, R_RM_MOV | IMM_B),
	BV(0x6c, ins_outs, 0), BV(0x6e, ins_outs, 0),
	[0x80] = G(group1, B | RM | SRC_IMM | IMM_Z), G(group1, RM | SRC_IMM | IMM_Z),
	[0x83] = G(group1, RM | SRC_IMM | IMM_B),
	[0x84] = ALU(TEST, B | RM_R | RO), ALU(TEST, RM_R | RO), BV(0x86, xchg, RM_R | L),
	BV(0x88, mov, RM_R_MOV), BV(0x8a, mov, R_RM_MOV),
	[0x8c] = X(mov_from_seg, RM | MOV | OP_DST16),
	[0x8e] = X(mov_to_seg, M | SRC_RM | SRC16), G(group1a, 0),
	[0x90] = LENGTH(0),	/* PAUSE */
	BV(0xa0, mov, DST_ACC | SRC_RM | MOV | IMM_MOFFS),
	BV(0xa2, mov, DST_RM | SRC_ACC | MOV | IMM_MOFFS),
	BV(0xa4, string, 0), BV(0xa6, string, 0), BV(0xaa, string, 0), BV(0xac, string, 0),
	BV(0xae, string, 0),
	[0xc0] = G(group2, B | SRC_IMM | IMM_B), G(group2, SRC_IMM | IMM_B),
	[0xc3] = X(ret, F64),
	[0xc4] = X(lds, M | MEM), X(lds, M | MEM), G(group11, B | IMM_Z), G(group11, IMM_Z),
	[0xc8] = X(enter, D64 | IMM_WB), X(leave, D64),
	[0xcc] = LENGTH(0), [0xce] = LENGTH(0),
	[0xd0] = G(group2, B | SRC_ONE), G(group2, SRC_ONE),
		 G(group2, B | SRC_CL), G(group2, SRC_CL),
	[0xd7] = X(xlat, 0),
	[0xf0] = P, [0xf2] = P, P, LENGTH(0),
	[0xf6] = G(group3, B), G(group3, 0), [0xfe] = G(group4, B), G(group5, 0),
};

static const struct rl_opcode opcodes_0f[256] = {
	G(group6, 0), G(group7, 0), [0x06] = X(clts, PRIV), [0x08 ... 0x09] = LENGTH(0),
	[0x10 ... 0x13] = X(sse_mov, M), [0x16 ... 0x17] = X(sse_mov, M),
	[0x20] = X(mov_cr, M | OP_REGS | PRIV), X(mov_dr, M | OP_REGS | PRIV),
		 X(mov_cr, M | OP_REGS | PRIV), X(mov_dr, M | OP_REGS | PRIV),
	[0x28 ... 0x29] = X(sse_mov, M), [0x2b] = X(sse_mov, M),
	[0x30] = LENGTH(0), [0x32] = LENGTH(0), [0xa2] = LENGTH(0),
	[0x40 ... 0x4f] = X(cmov, R_RM),
	[0x6e ... 0x6f] = X(sse_mov, M), [0x7e ... 0x7f] = X(sse_mov, M),
	[0x90 ... 0x9f] = X(setcc, B | RM | MOV),
	[0xa3] = ALU(BT, RM_R | OP_BITS | RO), [0xab] = ALU(BTS, RM_R | OP_BITS | L),
	[0xb3] = ALU(BTR, RM_R | OP_BITS | L), [0xbb] = ALU(BTC, RM_R | OP_BITS | L),
	[0xa4] = ALU(SHLD, RM_R | IMM_B), ALU(SHLD, RM_R),
	[0xac] = ALU(SHRD, RM_R | IMM_B), ALU(SHRD, RM_R), G(group15, 0), ALU(IMUL, R_RM),
	BV(0xb0, cmpxchg, RM_R | L), [0xb2] = X(lds, M | MEM),
	[0xb4] = X(lds, M | MEM), X(lds, M | MEM),
		 X(mov, R_RM_MOV | SRC8), X(mov, R_RM_MOV | SRC16), X(popcnt, R_RM_MOV),
	[0xba] = G(group8, RM | SRC_IMM | IMM_B),
	[0xbc] = ALU(BSF, R_RM), ALU(BSR, R_RM),
		 X(movsx, R_RM_MOV | SRC8), X(movsx, R_RM_MOV | SRC16),
	BV(0xc0, xadd, OP_ALU(ALU_ADD) | RM_R | L), [0xc3] = X(mov, RM_R_MOV | MEM), [0xc7] = G(group9, 0),
	[0xd6] = X(sse_mov, M), [0xe7] = X(sse_mov, M), [0xf0] = X(sse_mov, M),
};

/* 0F 38: MOVBE, MOVNTDQA */
static const struct rl_opcode opcode_movbe[2] = {
	X(movbe, R_RM_MOV | MEM), X(movbe, RM_R_MOV | MEM),
};
static const struct rl_opcode opcode_movntdqa = X(sse_mov, M);
static const struct rl_opcode no_opcode;

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

/*
 * Read more code: up to the end of the page, of CS or of the longest instruction, whichever comes
 * first.
 */
static noinline enum rl_emul_result fetch_more(struct rl_emul *e)
{
	unsigned int len = RL_INSN_MAX - e->fetched;
	u64 ip = e->rip + e->fetched, linear = ip, room;
	enum rl_emul_result r;

	if (!len)
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
		len = room < len ? room : len;
		linear = (u32)(cs->base + ip);
	}
	room = 4096 - (linear & 4095);
	len = room < len ? room : len;
	r = e->ops->read(e, linear, e->insn + e->fetched, len, RL_EMUL_FETCH);
	if (!r)
		e->fetched += len;
	return r;
}

/* The @size bytes at @code as a signed number */
static __always_inline u64 get_signed(const u8 *code, unsigned int size)
{
	u64 val = 0;

	if (size == 1)
		return (u64)(s8)*code;
	memcpy(&val, code, size == 2 ? 2 : size == 4 ? 4 : 8);
	return size == 2 ? (u64)(s16)val : size == 4 ? (u64)(s32)val : val;
}

/* What ModRM says of memory, with 16-bit addresses; the number of bytes behind it that belong to it. */
static unsigned int decode_mem16(struct rl_emul *e, const u8 *code)
{
	static const u8 base[8] = {
		REG_BX, REG_BX, REG_BP, REG_BP, REG_SI, REG_DI, REG_BP, REG_BX
	};
	unsigned int rm = e->rm;

	e->disp = 0;
	if (e->mod == 0 && rm == 6) {
		e->disp = get_signed(code, 2);
		return 2;
	}
	if (e->mod)
		e->disp = get_signed(code, e->mod);
	e->base = base[rm];
	if (rm < 4)
		e->index = rm & 1 ? REG_DI : REG_SI;
	if (base[rm] == REG_BP && e->ea_seg == RL_SEG_DS && !e->seg_override)
		e->ea_seg = RL_SEG_SS;
	return e->mod;
}

/* The same with 32- or 64-bit addresses, and SIB */
static __always_inline unsigned int decode_mem(struct rl_emul *e, const u8 *code, u8 modrm,
					       unsigned int rex)
{
	unsigned int base = modrm & 7, pos = 0, size;

	e->disp = 0;
	if (base == 4) {
		u8 sib = code[pos++];
		unsigned int index = (sib >> 3 & 7) | (rex & 2) << 2;

		if (index != 4) {
			e->index = index;
			e->scale = sib >> 6;
		}
		base = sib & 7;
		e->ea_sp = base == 4 && !(rex & 1);
	} else if (modrm < 0x40 && base == 5) {
		e->rip_relative = rl_em_long(e);
	}
	if (modrm < 0x40 && base == 5) {
		e->disp = get_signed(code + pos, 4);
		return pos + 4;
	}
	base |= (rex & 1) << 3;
	e->base = base;
	if ((base & 0xe) == 4 && !e->seg_override)	/* SP or BP */
		e->ea_seg = RL_SEG_SS;
	if (modrm < 0x40)
		return pos;
	size = modrm < 0x80 ? 1 : 4;
	e->disp = get_signed(code + pos, size);
	return pos + size;
}

static noinline unsigned int decode_imm(struct rl_emul *e, const u8 *code)
{
	unsigned int imm = e->flags & OP_IMM, size = e->size < 4 ? e->size : 4;

	if (imm == IMM_MOFFS) {
		e->mod = 0;
		e->disp = get_signed(code, e->adsize);
		return e->adsize;
	}
	if (imm == IMM_WB) {
		e->imm = get_signed(code, 4);
		return 3;
	}
	if (imm == IMM_B)
		size = 1;
	e->imm = get_signed(code, size);
	return size;
}

/* A legacy prefix; REX is the decoder's. */
static noinline void decode_prefix(struct rl_emul *e, u8 b)
{
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
		e->seg_override = true;
		break;
	default: /* ES CS SS DS: only outside 64-bit mode */
		if (!rl_em_long(e)) {
			e->ea_seg = b >> 3 & 3;
			e->seg_override = true;
		}
	}
}

/* Opcodes after 0F 38, of which only a few are emulated */
static noinline const struct rl_opcode *opcode_0f38(const struct rl_emul *e, u8 b)
{
	if ((b & 0xfe) == 0xf0 && e->rep != 0xf2)
		return &opcode_movbe[b & 1];
	return b == 0x2a && e->opsize_prefix ? &opcode_movntdqa : &no_opcode;
}

/* Where the next instruction is, and what memory this one addresses, if any. */
static __always_inline void finish_address(struct rl_emul *e)
{
	e->next_rip = e->rip + e->insn_len;
	if (e->mod != 3) {
		e->ea = e->disp;
		if (e->base != RL_NO_GPR)
			e->ea += e->regs[e->base];
		if (e->index != RL_NO_GPR)
			e->ea += e->regs[e->index] << e->scale;
		if (e->rip_relative)
			e->ea += e->next_rip;
	}
	if (unlikely(e->adsize != 8)) {
		e->ea &= e->adsize == 4 ? 0xffffffff : 0xffff;
		if (e->mode != RL_MODE_LONG64)
			e->next_rip = (u32)e->next_rip;
	}
}

/*
 * Decode what is in e->insn. What lies behind e->fetched is anything: when e->insn_len gets there,
 * nothing counts but that more bytes are needed. No encoding gets to the end of e->insn.
 */
static enum rl_emul_result decode_bytes(struct rl_emul *e)
{
	unsigned int pos = 0, rex = 0, mode = e->mode;
	const struct rl_opcode *op;
	u8 b, modrm, size;
	u32 flags;

	e->store_known = false;
	e->rep = 0;
	e->lock = 0;
	e->opsize_prefix = 0;
	e->seg_override = false;
	e->ea_sp = false;
	e->rip_relative = false;
	e->mod = 3;
	e->base = RL_NO_GPR;
	e->index = RL_NO_GPR;
	e->ea_seg = RL_SEG_DS;
	e->adsize = default_adsize[mode];

	for (;;) {
		b = e->insn[pos++];
		op = &opcodes[b];
		flags = op->flags;
		if (likely(!(flags & OP_PREFIX)))
			break;
		if (b == 0x0f) {
			b = e->insn[pos++];
			op = &opcodes_0f[b];
			if (unlikely(b == 0x38)) {
				b = e->insn[pos++];
				op = opcode_0f38(e, b);
			}
			flags = op->flags;
			break;
		}
		e->insn_len = pos + 1;
		if (unlikely(pos >= RL_INSN_MAX))
			return RL_EMUL_UNHANDLED;
		if ((b & 0xf0) == 0x40) {
			if (mode != RL_MODE_LONG64)
				return RL_EMUL_UNHANDLED;
			rex = b;
		} else {
			rex = 0;	/* only the one right before the opcode counts */
			decode_prefix(e, b);
		}
	}
	e->opcode = b;
	e->rex = rex;

	if (flags & OP_MODRM) {
		modrm = e->insn[pos++];
		if (unlikely(flags & OP_REGS))
			modrm |= 0xc0;
		e->reg = modrm >> 3 & 7;
		e->rm = modrm & 7;
		if (rex) {
			e->reg |= (rex & 4) << 1;
			e->rm |= (rex & 1) << 3;
		}
		if (flags & OP_GROUP) {
			op = &op->group[modrm >> 3 & 7];
			flags |= op->flags;
		}
		if (modrm < 0xc0) {
			e->mod = modrm >> 6;
			pos += e->adsize == 2 ? decode_mem16(e, e->insn + pos) :
						decode_mem(e, e->insn + pos, modrm, rex);
		}
	}
	e->exec = op->exec;
	e->flags = flags;

	size = default_opsize[mode];
	if (e->opsize_prefix)
		size = size == 2 ? 4 : 2;
	if ((rex & 8 || flags & (OP_F64 | OP_D64)) && mode == RL_MODE_LONG64 &&
	    (size == 4 || !(flags & OP_D64) || rex & 8))
		size = 8;
	e->opsize = size;
	e->size = flags & OP_BYTE ? 1 : size;

	if (flags & OP_IMM)
		pos += decode_imm(e, e->insn + pos);
	e->insn_len = pos;
	if (unlikely(!e->exec))
		return RL_EMUL_UNHANDLED;
	finish_address(e);
	return RL_EMUL_OK;
}

/**
 * rl_emul_decode() - Decode the instruction at RIP
 * @e: emulator with its inputs filled
 *
 * Finds the instruction's length, for those who only have to step over it, and everything that
 * rl_emul_run() goes on with. Whether the instruction is legal is rl_emul_run()'s concern.
 *
 * Return: RL_EMUL_OK with @e->insn_len set; RL_EMUL_FAULT: it cannot be fetched or is too long;
 * RL_EMUL_UNHANDLED: nothing that exits, as when the guest has rewritten it meanwhile; or what
 * the read operation returned.
 */
enum rl_emul_result rl_emul_decode(struct rl_emul *e)
{
	enum rl_emul_result r, more;

	for (;;) {
		r = decode_bytes(e);
		if (likely(e->insn_len <= e->fetched))
			return r;
		more = fetch_more(e);
		if (more)
			return more;
	}
}

/* What the encoding and the privilege level forbid; rare opcodes and every LOCK come here. */
static noinline enum rl_emul_result check(struct rl_emul *e)
{
	if (e->lock && (!(e->flags & OP_LOCK) || e->mod == 3))
		return rl_em_ud(e);
	if (e->flags & OP_MEM && e->mod == 3)
		return RL_EMUL_UNHANDLED;
	return e->flags & OP_PRIV && e->cpl ? rl_em_gp(e, 0) : RL_EMUL_OK;
}

static __always_inline enum rl_emul_result load_src(struct rl_emul *e, u32 flags)
{
	unsigned int size = e->size, src = flags & OP_SRC;

	if (src == SRC_REG) {
		e->src = rl_em_reg(e, flags & OP_MODRM ? e->reg : rl_em_opcode_reg(e), size);
	} else if (src == SRC_RM) {
		if (unlikely(flags & (OP_SRC8 | OP_SRC16 | OP_SRC32)))
			size = rl_em_src_size(e);
		return rl_em_rm_read(e, size, RL_EMUL_READ, &e->src);
	} else if (src == SRC_IMM) {
		e->src = e->imm;
	} else if (src == SRC_ACC) {
		e->src = rl_em_reg(e, REG_AX, size);
	} else {
		e->src = src == SRC_ONE ? 1 : (u8)e->regs[REG_CX];
	}
	return RL_EMUL_OK;
}

/* Memory that is only written is checked here, so that e->linear is there for rl_em_store(). */
static __always_inline enum rl_emul_result prepare_mov(struct rl_emul *e, u32 flags)
{
	if (e->mod == 3 || (flags & OP_DST) != DST_RM)
		return RL_EMUL_OK;
	if (unlikely(flags & OP_DST16))
		e->size = 2;
	/* POP to memory addressed by the stack pointer: by its new value */
	if (unlikely(e->ea_sp) && e->exec == rl_em_pop)
		e->ea = (e->ea + e->size) & rl_em_mask(e->adsize);
	return rl_em_linear(e, e->ea_seg, e->ea, e->size, RL_EMUL_WRITE, &e->linear);
}

static __always_inline enum rl_emul_result load_dst(struct rl_emul *e, u32 flags)
{
	if ((flags & OP_DST) == DST_RM) {
		if (unlikely(flags & OP_BITS) && e->mod != 3)
			e->ea = (e->ea + ((s64)rl_em_sext(e->src, e->size) >> 3 & -(s64)e->size)) &
				rl_em_mask(e->adsize);
		return rl_em_rm_read(e, e->size, flags & OP_RO ? RL_EMUL_READ : RL_EMUL_WRITE,
				     &e->dst);
	}
	e->dst = rl_em_reg(e, rl_em_dst_reg(e), e->size);
	return RL_EMUL_OK;
}

/**
 * rl_emul_run() - Emulate the instruction at RIP
 * @e: emulator with its inputs filled
 *
 * Decodes and executes one instruction, or some iterations of one string instruction.
 *
 * Return: see enum rl_emul_result.
 */
enum rl_emul_result rl_emul_run(struct rl_emul *e)
{
	enum rl_emul_result r;
	u32 flags;

	e->stop = false;
	e->shadow = 0;
	e->single_step = e->rflags & X86_EFLAGS_TF;
	r = rl_emul_decode(e);
	if (r)
		return r;
	flags = e->flags;
	if (e->mov_only && e->exec != rl_em_mov)
		return RL_EMUL_UNHANDLED;
	if (unlikely(flags & (OP_MEM | OP_PRIV) || e->lock)) {
		r = check(e);
		if (r)
			return r;
	}
	if (flags & OP_SRC) {
		r = load_src(e, flags);
		if (r)
			return r;
	}
	if (flags & OP_DST) {
		r = flags & OP_MOV ? prepare_mov(e, flags) : load_dst(e, flags);
		if (r)
			return r;
	}
	r = e->exec(e);
	if (r)
		return r;
	/* Between two items of a string its breakpoint stays quiet, whatever interrupts it there. */
	if (e->next_rip == e->rip)
		e->rflags |= X86_EFLAGS_RF;
	else
		e->rflags &= ~(u64)X86_EFLAGS_RF;
	e->rip = e->next_rip;
	return RL_EMUL_OK;
}

/* Only a MOV from a register or an immediate to memory will do. */
static noinline enum rl_emul_result decode_store(struct rl_emul *e)
{
	enum rl_emul_result r = rl_emul_decode(e);

	if (r)
		return r;
	if (e->exec != rl_em_mov || e->mod == 3 || e->lock || (e->flags & OP_DST) != DST_RM)
		return RL_EMUL_UNHANDLED;
	memcpy(e->store_code, e->insn, sizeof(e->store_code));
	e->store_mode = e->mode;
	e->store_known = true;
	return RL_EMUL_OK;
}

/* A driver's store is mostly the one before again, with other values in its registers. */
enum rl_emul_result rl_emul_decode_store(struct rl_emul *e)
{
	const u64 *code = (const u64 *)e->insn;

	if (likely(e->store_known && code[0] == e->store_code[0] && code[1] == e->store_code[1] &&
		   e->mode == e->store_mode)) {
		finish_address(e);
	} else {
		enum rl_emul_result r = decode_store(e);

		if (r)
			return r;
	}
	return load_src(e, e->flags);
}
