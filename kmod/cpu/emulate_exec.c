// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: the frame around every instruction, and operand and stack access.
 *
 * Owns:    the order of an instruction's steps: checks, reads, execution, RIP.
 * Touches: guest memory through struct rl_emul_ops.
 * Locks:   none.
 * Manuals: SDM Vol 3A "Limit Checking", "Type Checking"; SDM Vol 1 "Stack Behavior in 64-Bit Mode".
 */
#include "emulate_priv.h"

/* #SS for the stack segment, #GP for all others */
static noinline enum rl_emul_result seg_fault(struct rl_emul *e, unsigned int seg)
{
	return rl_emul_fault_code(e, seg == RL_SEG_SS ? VEC_SS : VEC_GP, 0);
}

static enum rl_emul_result linear_legacy(struct rl_emul *e, unsigned int seg, u64 ea,
					 unsigned int len, unsigned int access, u64 *linear)
{
	const struct rl_seg *s = rl_em_seg(e, seg);
	unsigned int type = rl_em_real(e) ? 3 : s->attr & RL_SEG_ATTR_TYPE;
	u64 last = ea + len - 1;

	if (unlikely(!(s->attr & RL_SEG_ATTR_P)) && !rl_em_real(e))
		return seg_fault(e, seg);
	if (access & RL_EMUL_WRITE ? (type & 0xa) != 2 : (type & 0xa) == 8)
		return seg_fault(e, seg);
	if (unlikely((type & 0xc) == 4)) {	/* expand-down data */
		if (ea <= s->limit || last > (s->attr & RL_SEG_ATTR_DB ? 0xffffffff : 0xffff))
			return seg_fault(e, seg);
	} else if (last > s->limit) {
		return seg_fault(e, seg);
	}
	*linear = (u32)(s->base + ea);
	return RL_EMUL_OK;
}

/* Check @len bytes (at least one) at @seg:@ea and find their linear address. */
enum rl_emul_result rl_em_linear(struct rl_emul *e, unsigned int seg, u64 ea, unsigned int len,
				 unsigned int access, u64 *linear)
{
	if (!rl_em_long(e))
		return linear_legacy(e, seg, ea, len, access, linear);
	if (seg >= RL_SEG_FS)
		ea += rl_em_seg(e, seg)->base;
	if (unlikely(!rl_em_canonical(e, ea) || !rl_em_canonical(e, ea + len - 1)))
		return seg_fault(e, seg);
	*linear = ea;
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_seg_read(struct rl_emul *e, unsigned int seg, u64 ea, void *buf,
				   unsigned int len)
{
	enum rl_emul_result r;
	u64 linear;

	r = rl_em_linear(e, seg, ea, len, RL_EMUL_READ, &linear);
	return r ? r : e->ops->read(e, linear, buf, len, RL_EMUL_READ);
}

enum rl_emul_result rl_em_seg_write(struct rl_emul *e, unsigned int seg, u64 ea, const void *buf,
				    unsigned int len)
{
	enum rl_emul_result r;
	u64 linear;

	r = rl_em_linear(e, seg, ea, len, RL_EMUL_WRITE, &linear);
	return r ? r : e->ops->write(e, linear, buf, len, RL_EMUL_WRITE);
}

/* Read what ModRM.rm names. A memory operand's linear address stays in e->linear. */
enum rl_emul_result rl_em_rm_read(struct rl_emul *e, unsigned int size, unsigned int access,
				  u64 *val)
{
	enum rl_emul_result r;

	if (e->mod == 3) {
		*val = rl_em_reg(e, e->rm, size);
		return RL_EMUL_OK;
	}
	r = rl_em_linear(e, e->ea_seg, e->ea, size, access, &e->linear);
	if (r)
		return r;
	*val = 0;
	return e->ops->read(e, e->linear, val, size, access);
}

/*
 * Write operand 1, whose old value is in e->dst if it was read. Memory comes at the latest here:
 * after RL_EMUL_OK the handler only changes registers.
 */
enum rl_emul_result rl_em_store(struct rl_emul *e, u64 val)
{
	enum rl_emul_result r;
	unsigned int nr;
	bool ok;

	switch (e->flags & OP_DST) {
	case DST_RM:
		if (e->mod != 3) {
			if (likely(!e->lock))
				return e->ops->write(e, e->linear, &val, e->size, RL_EMUL_WRITE);
			r = e->ops->cmpxchg(e, e->linear, &e->dst, &val, e->size, &ok);
			return r || ok ? r : RL_EMUL_RETRY;
		}
		nr = e->rm;
		break;
	case DST_REG:
		nr = e->reg;
		break;
	case DST_OPREG:
		nr = (e->opcode & 7) | (e->rex & 1) << 3;
		break;
	default:
		nr = REG_AX;
	}
	rl_em_set_reg(e, nr, e->size, val);
	return RL_EMUL_OK;
}

u64 rl_em_stack_mask(struct rl_emul *e)
{
	if (rl_em_long(e))
		return ~0ull;
	return rl_em_seg(e, RL_SEG_SS)->attr & RL_SEG_ATTR_DB ? 0xffffffff : 0xffff;
}

/* Move the stack pointer; a 16-bit one leaves the upper half of the register alone. */
void rl_em_sp_add(struct rl_emul *e, u64 n)
{
	u64 mask = rl_em_stack_mask(e), sp = e->regs[REG_SP];

	if (mask == 0xffff)
		e->regs[REG_SP] = (sp & ~mask) | ((sp + n) & mask);
	else
		e->regs[REG_SP] = (sp + n) & mask;
}

/* Push @len bytes, what was pushed last first, all or nothing. */
enum rl_emul_result rl_em_push_bytes(struct rl_emul *e, const void *buf, unsigned int len)
{
	u64 sp = (e->regs[REG_SP] - len) & rl_em_stack_mask(e);
	enum rl_emul_result r;

	r = rl_em_seg_write(e, RL_SEG_SS, sp, buf, len);
	if (!r)
		rl_em_sp_add(e, -(u64)len);
	return r;
}

/* Read what a pop of @len bytes gives; the stack pointer moves when the instruction commits. */
enum rl_emul_result rl_em_stack_read(struct rl_emul *e, void *buf, unsigned int len)
{
	return rl_em_seg_read(e, RL_SEG_SS, e->regs[REG_SP] & rl_em_stack_mask(e), buf, len);
}

/* May execution go on at @cs:@rip? */
enum rl_emul_result rl_em_check_target(struct rl_emul *e, const struct rl_seg *cs, u64 rip)
{
	bool long64 = e->efer & EMUL_EFER_LMA && cs->attr & RL_SEG_ATTR_L;

	if (long64 ? !rl_em_canonical(e, rip) : rip > cs->limit)
		return rl_em_gp(e, 0);
	return RL_EMUL_OK;
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

static inline enum rl_emul_result load_src(struct rl_emul *e, u32 flags)
{
	unsigned int size = e->size;

	switch (flags & OP_SRC) {
	case SRC_RM:
		if (flags & (OP_SRC8 | OP_SRC16 | OP_SRC32))
			size = flags & OP_SRC8 ? 1 : flags & OP_SRC16 ? 2 : 4;
		return rl_em_rm_read(e, size, RL_EMUL_READ, &e->src);
	case SRC_REG:
		if (flags & OP_MODRM)
			e->src = rl_em_reg(e, e->reg, size);
		else	/* PUSH */
			e->src = rl_em_reg(e, (e->opcode & 7) | (e->rex & 1) << 3, size);
		break;
	case SRC_IMM:
		e->src = e->imm;
		break;
	case SRC_ACC:
		e->src = rl_em_reg(e, REG_AX, size);
		break;
	case SRC_ONE:
		e->src = 1;
		break;
	case SRC_CL:
		e->src = (u8)e->regs[REG_CX];
	}
	return RL_EMUL_OK;
}

static inline enum rl_emul_result load_dst(struct rl_emul *e, u32 flags)
{
	switch (flags & OP_DST) {
	case DST_RM:
		if (flags & OP_MOV) {
			if (e->mod == 3)
				break;
			if (flags & OP_DST16)
				e->size = 2;
			/* POP to memory addressed by the stack pointer: by its new value */
			if (unlikely(e->ea_sp) && e->exec == rl_em_pop)
				e->ea = (e->ea + e->size) & rl_em_mask(e->adsize);
			return rl_em_linear(e, e->ea_seg, e->ea, e->size, RL_EMUL_WRITE, &e->linear);
		}
		if (flags & OP_BITS && e->mod != 3)
			e->ea = (e->ea + ((s64)rl_em_sext(e->src, e->size) >> 3 & -(s64)e->size)) &
				rl_em_mask(e->adsize);
		return rl_em_rm_read(e, e->size, flags & OP_RO ? RL_EMUL_READ : RL_EMUL_WRITE, &e->dst);
	case DST_REG:
		if (!(flags & OP_MOV))
			e->dst = rl_em_reg(e, e->reg, e->size);
		break;
	case DST_ACC:
		if (!(flags & OP_MOV))
			e->dst = rl_em_reg(e, REG_AX, e->size);
		break;
	case DST_OPREG:
		if (!(flags & OP_MOV))
			e->dst = rl_em_reg(e, (e->opcode & 7) | (e->rex & 1) << 3, e->size);
	}
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
	bool tf = e->rflags & FL_TF;
	enum rl_emul_result r;
	u32 flags;

	e->stop = false;
	e->shadow = 0;
	r = rl_emul_decode(e);
	if (r)
		return r;
	flags = e->flags;
	if (unlikely(flags & OP_CHECKS || e->lock)) {
		r = check(e);
		if (r)
			return r;
	}
	if (unlikely(!e->exec))
		return RL_EMUL_UNHANDLED;
	if (flags & OP_SRC) {
		r = load_src(e, flags);
		if (r)
			return r;
	}
	if (flags & OP_DST) {
		r = load_dst(e, flags);
		if (r)
			return r;
	}
	r = e->exec(e);
	if (r)
		return r;
	e->rip = e->next_rip;
	if (e->exec != rl_em_iret)
		e->rflags &= ~FL_RF;
	e->single_step = tf;
	return RL_EMUL_OK;
}
