// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: segmentation, and access to operands and the stack.
 *
 * Owns:    nothing.
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

/* What rl_em_linear() does not see at first sight */
enum rl_emul_result rl_em_segment(struct rl_emul *e, unsigned int seg, u64 ea, unsigned int len,
				  unsigned int access, u64 *linear)
{
	if (!rl_em_long(e))
		return linear_legacy(e, seg, ea, len, access, linear);
	if (seg >= RL_SEG_FS)
		ea += rl_em_seg(e, seg)->base;
	if (unlikely(!rl_em_canonical_range(e, ea, len)))
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

/* A far pointer in memory: an offset of the operand size, then a selector */
enum rl_emul_result rl_em_read_far(struct rl_emul *e, u64 *offset, u16 *sel)
{
	enum rl_emul_result r;
	u8 ptr[10];

	r = rl_em_seg_read(e, e->ea_seg, e->ea, ptr, e->opsize + 2);
	if (r)
		return r;
	*offset = 0;
	memcpy(offset, ptr, e->opsize);
	memcpy(sel, ptr + e->opsize, sizeof(*sel));
	return RL_EMUL_OK;
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
	bool rm = (e->flags & OP_DST) == DST_RM, ok;
	enum rl_emul_result r;

	if (!rm || e->mod == 3) {
		rl_em_set_reg(e, rm ? e->rm : rl_em_dst_reg(e), e->size, val);
		return RL_EMUL_OK;
	}
	if (likely(!e->lock))
		return e->ops->write(e, e->linear, &val, e->size, RL_EMUL_WRITE);
	r = (e->ops->cmpxchg)(e, e->linear, &e->dst, &val, e->size, &ok);
	return r || ok ? r : RL_EMUL_RETRY;
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

/* May execution go on at @rip? */
enum rl_emul_result rl_em_check_target(struct rl_emul *e, u64 rip)
{
	if (rl_em_long(e) ? !rl_em_canonical(e, rip) : rip > rl_em_seg(e, RL_SEG_CS)->limit)
		return rl_em_gp(e, 0);
	return RL_EMUL_OK;
}
