// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: from bytes at RIP to a handler and its operands, and the frame around every
 * instruction.
 *
 * Owns:    the decoded instruction in struct rl_emul; the order of an instruction's steps: decode,
 *          checks, reads, execution, RIP.
 * Touches: guest code and operands through struct rl_emul_ops.
 * Locks:   none.
 * Manuals: SDM Vol 2 "Instruction Format".
 *
 * This is the hot path of MMIO: a plain MOV takes about 200 instructions from here to its write.
 */
#include "emulate_priv.h"
#include "emulate_table.h"

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
 * Read code up to the end of the page, of CS or of the longest instruction, whichever comes first,
 * and again if that does not make @n bytes.
 */
static noinline enum rl_emul_result fetch_more(struct rl_emul *e, unsigned int n)
{
	while (e->fetched < n) {
		unsigned int len = RL_INSN_MAX - e->fetched;
		u64 ip = e->rip + e->fetched, linear = ip, room;
		enum rl_emul_result r;

		if (n > RL_INSN_MAX)
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
		if (r)
			return r;
		e->fetched += len;
	}
	return RL_EMUL_OK;
}

/* The next byte of code. @pos is a local of the decoder: it stays in a register. */
static __always_inline enum rl_emul_result next_byte(struct rl_emul *e, unsigned int *pos, u8 *val)
{
	enum rl_emul_result r = RL_EMUL_OK;

	if (unlikely(*pos >= e->fetched))
		r = fetch_more(e, *pos + 1);
	*val = e->insn[(*pos)++];
	return r;
}

/* The next @size bytes as a signed number */
static __always_inline enum rl_emul_result next_signed(struct rl_emul *e, unsigned int *pos,
						       unsigned int size, u64 *val)
{
	if (unlikely(*pos + size > e->fetched)) {
		enum rl_emul_result r = fetch_more(e, *pos + size);

		if (r)
			return r;
	}
	*val = 0;
	switch (size) {
	case 1:
		*val = (u64)(s8)e->insn[*pos];
		break;
	case 2:
		memcpy(val, e->insn + *pos, 2);
		*val = (u64)(s16)*val;
		break;
	case 4:
		memcpy(val, e->insn + *pos, 4);
		*val = (u64)(s32)*val;
		break;
	default:
		memcpy(val, e->insn + *pos, 8);
	}
	*pos += size;
	return RL_EMUL_OK;
}

static enum rl_emul_result decode_mem16(struct rl_emul *e, unsigned int *pos)
{
	static const u8 base[8] = {
		REG_BX, REG_BX, REG_BP, REG_BP, REG_SI, REG_DI, REG_BP, REG_BX
	};
	unsigned int rm = e->rm;
	enum rl_emul_result r;
	u64 disp = 0;

	if (e->mod == 0 && rm == 6)
		return next_signed(e, pos, 2, &e->disp);
	if (e->mod) {
		r = next_signed(e, pos, e->mod, &disp);
		if (r)
			return r;
	}
	e->disp = disp;
	e->base = base[rm];
	if (rm < 4)
		e->index = rm & 1 ? REG_DI : REG_SI;
	if (base[rm] == REG_BP && e->ea_seg == RL_SEG_DS && !e->seg_override)
		e->ea_seg = RL_SEG_SS;
	return RL_EMUL_OK;
}

/* ModRM and SIB with 32- or 64-bit addresses */
static __always_inline enum rl_emul_result decode_mem(struct rl_emul *e, unsigned int *pos,
						      u8 modrm, unsigned int rex)
{
	unsigned int base = modrm & 7;
	enum rl_emul_result r;

	e->disp = 0;
	if (base == 4) {
		unsigned int index;
		u8 sib;

		r = next_byte(e, pos, &sib);
		if (r)
			return r;
		index = (sib >> 3 & 7) | (rex & 2) << 2;
		if (index != 4) {
			e->index = index;
			e->scale = sib >> 6;
		}
		base = sib & 7;
		e->ea_sp = base == 4 && !(rex & 1);
	} else if (modrm < 0x40 && base == 5) {
		e->rip_relative = rl_em_long(e);
	}
	if (modrm < 0x40 && base == 5)
		return next_signed(e, pos, 4, &e->disp);
	base |= (rex & 1) << 3;
	e->base = base;
	if ((base & 0xe) == 4 && !e->seg_override)	/* SP or BP */
		e->ea_seg = RL_SEG_SS;
	if (modrm >= 0x40)
		return next_signed(e, pos, modrm < 0x80 ? 1 : 4, &e->disp);
	return RL_EMUL_OK;
}

static noinline enum rl_emul_result decode_imm(struct rl_emul *e, u32 flags)
{
	unsigned int pos = e->insn_len;
	enum rl_emul_result r;

	switch (flags & OP_IMM) {
	case IMM_B:
		r = next_signed(e, &pos, 1, &e->imm);
		break;
	case IMM_Z:
		r = next_signed(e, &pos, e->opsize == 2 ? 2 : 4, &e->imm);
		break;
	case IMM_V:
		r = next_signed(e, &pos, e->opsize, &e->imm);
		break;
	case IMM_W:
		r = next_signed(e, &pos, 2, &e->imm);
		break;
	case IMM_WB:
		r = next_signed(e, &pos, 2, &e->imm);
		if (!r)
			r = next_signed(e, &pos, 1, &e->src);
		break;
	case IMM_MOFFS:
		e->mod = 0;
		r = next_signed(e, &pos, e->adsize, &e->disp);
		break;
	default: /* IMM_FAR */
		r = next_signed(e, &pos, e->opsize, &e->imm);
		if (!r)
			r = next_signed(e, &pos, 2, &e->src);
	}
	e->insn_len = pos;
	return r;
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

/* Opcodes after 0F 38 and 0F 3A, of which only a few are emulated */
static noinline const struct rl_opcode *opcode_0f3x(const struct rl_emul *e, u8 map, u8 b)
{
	if (map == 0x3a)
		return &opcode_0f3a;
	if ((b & 0xfe) == 0xf0 && e->rep != 0xf2)
		return &opcode_movbe[b & 1];
	if (b == 0x2a && e->opsize_prefix)
		return &opcode_movntdqa;
	return &opcode_0f38;
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

static __always_inline enum rl_emul_result decode(struct rl_emul *e)
{
	unsigned int pos = 0, rex = 0, mode = e->mode;
	const struct rl_opcode *op;
	enum rl_emul_result r;
	u8 b, modrm, size;
	u32 flags;

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
		r = next_byte(e, &pos, &b);
		if (r)
			return r;
		op = &opcodes[b];
		flags = op->flags;
		if (likely(!(flags & OP_PREFIX)))
			break;
		if ((b & 0xf0) == 0x40) {
			if (mode != RL_MODE_LONG64)
				break;
			rex = b;
			continue;
		}
		if (b == 0x0f) {
			r = next_byte(e, &pos, &b);
			if (r)
				return r;
			op = &opcodes_0f[b];
			if (unlikely(b == 0x38 || b == 0x3a)) {
				modrm = b;
				r = next_byte(e, &pos, &b);
				if (r)
					return r;
				op = opcode_0f3x(e, modrm, b);
			}
			flags = op->flags;
			break;
		}
		rex = 0;	/* only the one right before the opcode counts */
		decode_prefix(e, b);
	}
	e->opcode = b;
	e->rex = rex;

	if (flags & OP_MODRM) {
		r = next_byte(e, &pos, &modrm);
		if (r)
			return r;
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
			r = e->adsize == 2 ? decode_mem16(e, &pos) :
				decode_mem(e, &pos, modrm, rex);
			if (r)
				return r;
		}
		/* Where BOUND, LES and LDS are not legal, they start an EVEX or VEX prefix. */
		if (unlikely(flags & OP_VEX) && !rl_em_real(e) &&
		    (mode == RL_MODE_LONG64 || modrm >= 0xc0))
			return RL_EMUL_UNHANDLED;
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

	e->insn_len = pos;
	if (flags & OP_IMM) {
		r = decode_imm(e, flags);
		if (r)
			return r;
	}
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
 * RL_EMUL_UNHANDLED: VEX and EVEX; or what the read operation returned.
 */
enum rl_emul_result rl_emul_decode(struct rl_emul *e)
{
	return decode(e);
}

/* What the encoding and the privilege level forbid; rare opcodes and every LOCK come here. */
static noinline enum rl_emul_result check(struct rl_emul *e)
{
	u32 flags = e->flags;

	if (e->lock && (!(flags & OP_LOCK) || e->mod == 3))
		return rl_em_ud(e);
	if (flags & OP_UD || (flags & OP_NO64 && rl_em_long(e)) ||
	    (flags & OP_MEM && e->mod == 3) || (flags & OP_PROT && rl_em_real(e)))
		return rl_em_ud(e);
	if (flags & OP_PRIV && e->cpl)
		return rl_em_gp(e, 0);
	return RL_EMUL_OK;
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
	e->single_step = e->rflags & FL_TF;
	r = decode(e);
	if (r)
		return r;
	flags = e->flags;
	if (e->mov_only && e->exec != rl_em_mov)
		return RL_EMUL_UNHANDLED;
	if (unlikely(flags & OP_CHECKS || e->lock)) {
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
	e->rip = e->next_rip;
	if (unlikely(e->rflags & FL_RF) && e->exec != rl_em_iret)
		e->rflags &= ~FL_RF;
	return RL_EMUL_OK;
}

/* A driver's store is mostly the one before again, with other values in its registers. */
static void remember_store(struct rl_emul *e)
{
	struct rl_emul_store *last = &e->last;
	u32 src = e->flags & OP_SRC;

	last->len = 0;
	/* AH and its like, and RIP as a base, are not worth a case below. */
	if (e->rip_relative || (src != SRC_IMM && src != SRC_REG && src != SRC_ACC) ||
	    (src == SRC_REG && e->size == 1 && !e->rex && e->reg >= REG_SP))
		return;
	memcpy(last->code, e->insn, sizeof(last->code));
	last->disp = e->disp;
	last->imm = e->imm;
	last->mode = e->mode;
	last->len = e->insn_len;
	last->size = e->size;
	last->reg = src == SRC_IMM ? RL_NO_GPR : src == SRC_ACC ? REG_AX : e->reg;
	last->base = e->base;
	last->index = e->index;
	last->scale = e->scale;
	last->adsize = e->adsize;
	last->ea_seg = e->ea_seg;
}

static __always_inline bool recall_store(struct rl_emul *e)
{
	const struct rl_emul_store *last = &e->last;
	const u64 *code = (const u64 *)e->insn;

	if (code[0] != last->code[0] || code[1] != last->code[1] || e->mode != last->mode ||
	    !last->len)
		return false;
	e->insn_len = last->len;
	e->size = last->size;
	e->mod = 0;
	e->disp = last->disp;
	e->base = last->base;
	e->index = last->index;
	e->scale = last->scale;
	e->rip_relative = false;
	e->adsize = last->adsize;
	e->ea_seg = last->ea_seg;
	finish_address(e);
	e->src = last->reg == RL_NO_GPR ? last->imm : e->regs[last->reg] & rl_em_mask(e->size);
	return true;
}

static noinline enum rl_emul_result decode_store(struct rl_emul *e)
{
	enum rl_emul_result r = decode(e);

	if (r)
		return r;
	if (e->exec != rl_em_mov || e->mod == 3 || e->lock || (e->flags & OP_CHECKS) ||
	    (e->flags & OP_DST) != DST_RM || (e->flags & OP_SRC) == SRC_RM)
		return RL_EMUL_UNHANDLED;
	r = load_src(e, e->flags);
	remember_store(e);
	return r;
}

enum rl_emul_result rl_emul_decode_store(struct rl_emul *e)
{
	return recall_store(e) ? RL_EMUL_OK : decode_store(e);
}
