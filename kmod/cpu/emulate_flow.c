// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: stack, branches, segment registers and far transfers.
 *
 * Owns:    the checks of a segment load.
 * Touches: descriptor tables and the stack through struct rl_emul_ops.
 * Locks:   none.
 * Manuals: SDM Vol 3A "Protection" (segment loads, direct far transfers); SDM Vol 2 MOV, POP, RET.
 *
 * Not here: gates, task switches, transfers between privilege levels, interrupts outside real mode.
 */
#include "emulate_priv.h"

enum rl_emul_result rl_em_push(struct rl_emul *e)
{
	return rl_em_push_bytes(e, &e->src, e->size);
}

enum rl_emul_result rl_em_pop(struct rl_emul *e)
{
	enum rl_emul_result r;
	u64 val = 0;

	r = rl_em_stack_read(e, &val, e->size);
	if (r)
		return r;
	if (e->mod != 3) {
		r = rl_em_store(e, val);
		if (r)
			return r;
	}
	rl_em_sp_add(e, e->size);
	if (e->mod == 3)	/* after the stack pointer, which it may be */
		return rl_em_store(e, val);
	return RL_EMUL_OK;
}

/* DI SI BP SP BX DX CX AX, from low addresses to high ones */
enum rl_emul_result rl_em_pusha(struct rl_emul *e)
{
	u8 frame[8 * 4];
	unsigned int i;

	for (i = 0; i < 8; i++)
		memcpy(frame + i * e->size, &e->regs[7 - i], e->size);
	return rl_em_push_bytes(e, frame, 8 * e->size);
}

enum rl_emul_result rl_em_popa(struct rl_emul *e)
{
	enum rl_emul_result r;
	u8 frame[8 * 4];
	unsigned int i;
	u64 val = 0;

	r = rl_em_stack_read(e, frame, 8 * e->size);
	if (r)
		return r;
	rl_em_sp_add(e, 8 * e->size);
	for (i = 0; i < 8; i++) {
		memcpy(&val, frame + i * e->size, e->size);
		if (7 - i != REG_SP)
			rl_em_set_reg(e, 7 - i, e->size, val);
	}
	return RL_EMUL_OK;
}

/* In virtual-8086 mode below IOPL 3 PUSHF, POPF and IRET fault, or do what CR4.VME says. */
static enum rl_emul_result check_vm86(struct rl_emul *e)
{
	if (e->mode != RL_MODE_VM86 || (e->rflags & FL_IOPL) == FL_IOPL)
		return RL_EMUL_OK;
	return e->cr4 & EMUL_CR4_VME ? RL_EMUL_UNHANDLED : rl_em_gp(e, 0);
}

enum rl_emul_result rl_em_pushf(struct rl_emul *e)
{
	enum rl_emul_result r = check_vm86(e);
	u64 val = e->rflags & ~(FL_VM | FL_RF);

	return r ? r : rl_em_push_bytes(e, &val, e->size);
}

/* Load RFLAGS from the stack's image of @e->opsize bytes, as far as the privilege goes. */
static void set_rflags(struct rl_emul *e, u64 image, u64 more)
{
	u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID | more;

	if (e->mode == RL_MODE_REAL || e->cpl == 0)
		mask |= FL_IOPL | FL_IF;
	else if (e->cpl <= (e->rflags & FL_IOPL) >> 12)
		mask |= FL_IF;
	mask &= rl_em_mask(e->opsize);
	e->rflags = (e->rflags & ~mask) | (image & mask) | 2;
}

enum rl_emul_result rl_em_popf(struct rl_emul *e)
{
	enum rl_emul_result r = check_vm86(e);
	u64 image = 0;

	if (!r)
		r = rl_em_stack_read(e, &image, e->size);
	if (r)
		return r;
	rl_em_sp_add(e, e->size);
	set_rflags(e, image, 0);
	return RL_EMUL_OK;
}

/* The frame that ENTER makes: old BP, level - 1 frame pointers copied, the new frame pointer. */
enum rl_emul_result rl_em_enter(struct rl_emul *e)
{
	unsigned int size = e->size, level = e->src & 31, copy = level ? (level - 1) * size : 0;
	unsigned int len = copy + (level ? 2 : 1) * size;
	u64 mask = rl_em_stack_mask(e), fp = e->regs[REG_SP] - size;
	enum rl_emul_result r;
	u8 frame[64];

	if (len > sizeof(frame))
		return RL_EMUL_UNHANDLED;
	if (mask == 0xffff)
		fp = (e->regs[REG_SP] & ~mask) | (fp & mask);
	if (level)
		memcpy(frame, &fp, size);
	if (copy) {
		r = rl_em_seg_read(e, RL_SEG_SS, (e->regs[REG_BP] - copy) & mask, frame + size,
				   copy);
		if (r)
			return r;
	}
	memcpy(frame + len - size, &e->regs[REG_BP], size);
	r = rl_em_push_bytes(e, frame, len);
	if (r)
		return r;
	rl_em_set_reg(e, REG_BP, size, fp);
	rl_em_sp_add(e, -(u64)(u16)e->imm);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_leave(struct rl_emul *e)
{
	u64 mask = rl_em_stack_mask(e), val = 0;
	enum rl_emul_result r;

	r = rl_em_seg_read(e, RL_SEG_SS, e->regs[REG_BP] & mask, &val, e->size);
	if (r)
		return r;
	rl_em_sp_add(e, e->regs[REG_BP] - e->regs[REG_SP] + e->size);
	rl_em_set_reg(e, REG_BP, e->size, val);
	return RL_EMUL_OK;
}

/* Go on at @target in the same code segment. */
static enum rl_emul_result jump(struct rl_emul *e, u64 target)
{
	enum rl_emul_result r;

	target &= rl_em_mask(e->opsize);
	if (rl_em_long(e))
		r = rl_em_canonical(e, target) ? RL_EMUL_OK : rl_em_gp(e, 0);
	else
		r = rl_em_check_target(e, rl_em_seg(e, RL_SEG_CS), target);
	if (!r)
		e->next_rip = target;
	return r;
}

enum rl_emul_result rl_em_jmp(struct rl_emul *e)
{
	return jump(e, e->next_rip + e->imm);
}

enum rl_emul_result rl_em_jmp_rm(struct rl_emul *e)
{
	return jump(e, e->src);
}

enum rl_emul_result rl_em_jcc(struct rl_emul *e)
{
	return rl_em_cond(e) ? rl_em_jmp(e) : RL_EMUL_OK;
}

/* E0 LOOPNE, E1 LOOPE, E2 LOOP */
enum rl_emul_result rl_em_loop(struct rl_emul *e)
{
	u64 count = (e->regs[REG_CX] - 1) & rl_em_mask(e->adsize);
	bool zf = e->rflags & FL_ZF;
	enum rl_emul_result r;

	if (count && (e->opcode == 0xe2 || zf == (e->opcode & 1))) {
		r = rl_em_jmp(e);
		if (r)
			return r;
	}
	rl_em_set_reg(e, REG_CX, e->adsize, count);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_jcxz(struct rl_emul *e)
{
	return rl_em_reg(e, REG_CX, e->adsize) ? RL_EMUL_OK : rl_em_jmp(e);
}

static enum rl_emul_result call(struct rl_emul *e, u64 target)
{
	u64 ret = e->next_rip;
	enum rl_emul_result r;

	r = jump(e, target);
	return r ? r : rl_em_push_bytes(e, &ret, e->opsize);
}

enum rl_emul_result rl_em_call(struct rl_emul *e)
{
	return call(e, e->next_rip + e->imm);
}

enum rl_emul_result rl_em_call_rm(struct rl_emul *e)
{
	return call(e, e->src);
}

/* RET, with the number of bytes to release in C2 */
enum rl_emul_result rl_em_ret(struct rl_emul *e)
{
	enum rl_emul_result r;
	u64 target = 0;

	r = rl_em_stack_read(e, &target, e->opsize);
	if (!r)
		r = jump(e, target);
	if (!r)
		rl_em_sp_add(e, e->opsize + (e->opcode & 1 ? 0 : (u16)e->imm));
	return r;
}

/*
 * Read the descriptor that @sel names: 8 bytes, or 16 for a system segment of 64-bit mode. @addr:
 * where it lies.
 */
enum rl_emul_result rl_em_read_desc(struct rl_emul *e, u16 sel, u64 *desc, unsigned int len,
				    u64 *addr)
{
	struct rl_dtable table;

	if (sel & 4) {
		const struct rl_seg *ldt = rl_em_seg(e, RL_SEG_LDTR);

		if (!(ldt->attr & RL_SEG_ATTR_P))
			return rl_em_gp(e, sel & ~3);
		table.base = ldt->base;
		table.limit = ldt->limit > 0xffff ? 0xffff : ldt->limit;
	} else {
		e->ops->get_dtable(e, false, &table);
	}
	if ((sel & ~7u) + len - 1 > table.limit)
		return rl_em_gp(e, sel & ~3);
	*addr = table.base + (sel & ~7);
	if (!(e->efer & EMUL_EFER_LMA))
		*addr = (u32)*addr;
	return e->ops->read(e, *addr, desc, len, RL_EMUL_READ | RL_EMUL_SUPER);
}

void rl_em_parse_desc(u16 sel, u64 desc, struct rl_seg *s)
{
	s->sel = sel;
	s->attr = desc >> 40 & 0xf0ff;
	s->base = (desc >> 16 & 0xffffff) | (desc >> 32 & 0xff000000);
	s->limit = (desc & 0xffff) | (desc >> 32 & 0xf0000);
	if (s->attr & RL_SEG_ATTR_G)
		s->limit = s->limit << 12 | 0xfff;
}

void rl_em_set_seg(struct rl_emul *e, unsigned int seg, const struct rl_seg *s)
{
	e->seg[seg] = *s;
	e->seg_valid |= 1u << seg;
	e->ops->set_seg(e, seg, s);
}

/* Segments without descriptors. Real mode keeps limit and size: "unreal" mode depends on it. */
static void real_seg(struct rl_emul *e, unsigned int seg, u16 sel, struct rl_seg *s)
{
	*s = *rl_em_seg(e, seg);
	s->sel = sel;
	s->base = (u32)sel << 4;
	s->attr = (s->attr & 0xff00) | 0x93;
	if (e->mode == RL_MODE_VM86) {
		s->limit = 0xffff;
		s->attr = 0xf3;
	}
}

static enum rl_emul_result mark_accessed(struct rl_emul *e, struct rl_seg *s, u64 addr)
{
	u8 access = s->attr | 1;

	if (s->attr & 1)
		return RL_EMUL_OK;
	s->attr |= 1;
	return e->ops->write(e, addr + 5, &access, 1, RL_EMUL_WRITE | RL_EMUL_SUPER);
}

/* Check @sel for a data segment register or SS; *@s is what to load. */
static enum rl_emul_result check_data_seg(struct rl_emul *e, unsigned int seg, u16 sel,
					  struct rl_seg *s)
{
	unsigned int dpl, rpl = sel & 3, type;
	enum rl_emul_result r;
	u64 desc, addr;

	if (rl_em_real(e)) {
		real_seg(e, seg, sel, s);
		return RL_EMUL_OK;
	}
	if (!(sel & ~3)) {
		if (seg == RL_SEG_SS && (!rl_em_long(e) || e->cpl == 3 || rpl != e->cpl))
			return rl_em_gp(e, 0);
		memset(s, 0, sizeof(*s));
		s->sel = sel;
		s->attr = seg == RL_SEG_SS ? e->cpl << RL_SEG_ATTR_DPL_SHIFT : 0;
		return RL_EMUL_OK;
	}
	r = rl_em_read_desc(e, sel, &desc, 8, &addr);
	if (r)
		return r;
	rl_em_parse_desc(sel, desc, s);
	dpl = s->attr >> RL_SEG_ATTR_DPL_SHIFT & 3;
	type = s->attr & RL_SEG_ATTR_TYPE;
	if (!(s->attr & RL_SEG_ATTR_S))
		return rl_em_gp(e, sel & ~3);
	if (seg == RL_SEG_SS) {
		if (rpl != e->cpl || dpl != e->cpl || (type & 0xa) != 2)
			return rl_em_gp(e, sel & ~3);
	} else {
		if ((type & 0xa) == 8 || ((type & 0xc) != 0xc && (rpl > dpl || e->cpl > dpl)))
			return rl_em_gp(e, sel & ~3);
	}
	if (!(s->attr & RL_SEG_ATTR_P))
		return rl_emul_fault_code(e, seg == RL_SEG_SS ? VEC_SS : VEC_NP, sel & ~3);
	return mark_accessed(e, s, addr);
}

/* Check a direct transfer, or with @ret a return, to @sel:@rip at the same privilege level. */
static enum rl_emul_result check_code_seg(struct rl_emul *e, u16 sel, u64 rip, bool ret,
					  struct rl_seg *s)
{
	unsigned int dpl, rpl = sel & 3;
	enum rl_emul_result r;
	u64 desc, addr;
	bool conforming;

	if (rl_em_real(e)) {
		real_seg(e, RL_SEG_CS, sel, s);
		return rl_em_check_target(e, s, rip);
	}
	if (!(sel & ~3))
		return rl_em_gp(e, 0);
	r = rl_em_read_desc(e, sel, &desc, 8, &addr);
	if (r)
		return r;
	rl_em_parse_desc(sel, desc, s);
	dpl = s->attr >> RL_SEG_ATTR_DPL_SHIFT & 3;
	conforming = s->attr & 4;
	if (!(s->attr & RL_SEG_ATTR_S) && !ret)
		return RL_EMUL_UNHANDLED;	/* gate or TSS */
	if ((s->attr & 0x18) != 0x18 || (ret && rpl < e->cpl))
		return rl_em_gp(e, sel & ~3);
	if (ret && rpl > e->cpl)
		return RL_EMUL_UNHANDLED;
	if (conforming ? dpl > e->cpl : dpl != e->cpl || rpl > e->cpl)
		return rl_em_gp(e, sel & ~3);
	if (e->efer & EMUL_EFER_LMA && s->attr & RL_SEG_ATTR_L && s->attr & RL_SEG_ATTR_DB)
		return rl_em_gp(e, sel & ~3);
	if (!(s->attr & RL_SEG_ATTR_P))
		return rl_emul_fault_code(e, VEC_NP, sel & ~3);
	s->sel = (sel & ~3) | e->cpl;
	r = rl_em_check_target(e, s, rip);
	return r ? r : mark_accessed(e, s, addr);
}

static enum rl_emul_result jump_far(struct rl_emul *e, u16 sel, u64 rip)
{
	enum rl_emul_result r;
	struct rl_seg cs;

	rip &= rl_em_mask(e->opsize);
	r = check_code_seg(e, sel, rip, false, &cs);
	if (r)
		return r;
	rl_em_set_seg(e, RL_SEG_CS, &cs);
	e->next_rip = rip;
	return RL_EMUL_OK;
}

static enum rl_emul_result call_far(struct rl_emul *e, u16 sel, u64 rip)
{
	u64 old_sel = rl_em_seg(e, RL_SEG_CS)->sel;
	enum rl_emul_result r;
	struct rl_seg cs;
	u8 frame[16];

	rip &= rl_em_mask(e->opsize);
	r = check_code_seg(e, sel, rip, false, &cs);
	if (r)
		return r;
	memcpy(frame, &e->next_rip, e->opsize);
	memcpy(frame + e->opsize, &old_sel, e->opsize);
	r = rl_em_push_bytes(e, frame, 2 * e->opsize);
	if (r)
		return r;
	rl_em_set_seg(e, RL_SEG_CS, &cs);
	e->next_rip = rip;
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_jmp_far(struct rl_emul *e)
{
	return jump_far(e, e->src, e->imm);
}

enum rl_emul_result rl_em_call_far(struct rl_emul *e)
{
	return call_far(e, e->src, e->imm);
}

/* A far pointer in memory: offset of the operand size, then the selector */
static enum rl_emul_result read_far_pointer(struct rl_emul *e, u64 *offset, u16 *sel)
{
	enum rl_emul_result r;
	u8 ptr[10];

	r = rl_em_seg_read(e, e->ea_seg, e->ea, ptr, e->opsize + 2);
	if (r)
		return r;
	*offset = 0;
	memcpy(offset, ptr, e->opsize);
	memcpy(sel, ptr + e->opsize, 2);
	return RL_EMUL_OK;
}

/* FF /3 CALL and /5 JMP */
enum rl_emul_result rl_em_far_rm(struct rl_emul *e)
{
	enum rl_emul_result r;
	u64 rip;
	u16 sel;

	r = read_far_pointer(e, &rip, &sel);
	if (r)
		return r;
	return (e->reg & 7) == 3 ? call_far(e, sel, rip) : jump_far(e, sel, rip);
}

/* C4 LES, C5 LDS, 0F B2 LSS, 0F B4 LFS, 0F B5 LGS */
enum rl_emul_result rl_em_lds(struct rl_emul *e)
{
	unsigned int seg = e->opcode == 0xc4 ? RL_SEG_ES : e->opcode == 0xc5 ? RL_SEG_DS :
		e->opcode & 7;
	enum rl_emul_result r;
	struct rl_seg s;
	u64 offset;
	u16 sel;

	r = read_far_pointer(e, &offset, &sel);
	if (!r)
		r = check_data_seg(e, seg, sel, &s);
	if (r)
		return r;
	rl_em_set_seg(e, seg, &s);
	rl_em_set_reg(e, e->reg, e->opsize, offset);
	return RL_EMUL_OK;
}

/* RETF, with the number of bytes to release in CA */
enum rl_emul_result rl_em_ret_far(struct rl_emul *e)
{
	enum rl_emul_result r;
	struct rl_seg cs;
	u8 frame[16];
	u64 rip = 0;
	u16 sel;

	r = rl_em_stack_read(e, frame, 2 * e->opsize);
	if (r)
		return r;
	memcpy(&rip, frame, e->opsize);
	memcpy(&sel, frame + e->opsize, 2);
	r = check_code_seg(e, sel, rip, true, &cs);
	if (r)
		return r;
	rl_em_sp_add(e, 2 * e->opsize + (e->opcode & 1 ? 0 : (u16)e->imm));
	rl_em_set_seg(e, RL_SEG_CS, &cs);
	e->next_rip = rip;
	return RL_EMUL_OK;
}

/* IRET to the same privilege level. In 64-bit mode SS:RSP is on the stack all the same. */
enum rl_emul_result rl_em_iret(struct rl_emul *e)
{
	unsigned int i, nr = rl_em_long(e) ? 5 : 3;
	u64 item[5] = {};	/* IP, CS, FLAGS, SP, SS */
	enum rl_emul_result r;
	struct rl_seg cs, ss;
	u8 frame[5 * 8];

	r = check_vm86(e);
	if (r)
		return r;
	if (e->rflags & FL_NT && !rl_em_real(e))
		return rl_em_long(e) ? rl_em_gp(e, 0) : RL_EMUL_UNHANDLED;
	r = rl_em_stack_read(e, frame, nr * e->opsize);
	if (r)
		return r;
	for (i = 0; i < nr; i++)
		memcpy(&item[i], frame + i * e->opsize, e->opsize);
	if (item[2] & FL_VM && !rl_em_real(e) && e->cpl == 0 && !(e->efer & EMUL_EFER_LMA))
		return RL_EMUL_UNHANDLED;
	r = check_code_seg(e, item[1], item[0], true, &cs);
	if (!r && nr == 5)
		r = check_data_seg(e, RL_SEG_SS, item[4], &ss);
	if (r)
		return r;
	if (nr == 5) {
		rl_em_set_seg(e, RL_SEG_SS, &ss);
		rl_em_set_reg(e, REG_SP, e->opsize, item[3]);
	} else {
		rl_em_sp_add(e, nr * e->opsize);
	}
	e->rflags &= ~FL_RF;
	set_rflags(e, item[2], FL_RF);
	rl_em_set_seg(e, RL_SEG_CS, &cs);
	e->next_rip = item[0];
	return RL_EMUL_OK;
}

/* CC INT3, CD INT n, CE INTO: through the interrupt vector table of real mode */
enum rl_emul_result rl_em_int(struct rl_emul *e)
{
	u8 vector = e->opcode == 0xcc ? VEC_BP : e->opcode == 0xce ? VEC_OF : e->imm;
	enum rl_emul_result r;
	struct rl_dtable idt;
	struct rl_seg cs;
	u16 entry[2], frame[3];

	if (e->opcode == 0xce && !(e->rflags & FL_OF))
		return RL_EMUL_OK;
	if (e->mode != RL_MODE_REAL)
		return RL_EMUL_UNHANDLED;
	e->ops->get_dtable(e, true, &idt);
	if (vector * 4u + 3 > idt.limit)
		return rl_em_gp(e, 0);
	r = e->ops->read(e, (u32)(idt.base + vector * 4), entry, sizeof(entry),
			 RL_EMUL_READ | RL_EMUL_SUPER);
	if (!r)
		r = check_code_seg(e, entry[1], entry[0], false, &cs);
	if (r)
		return r;
	frame[0] = e->next_rip;
	frame[1] = rl_em_seg(e, RL_SEG_CS)->sel;
	frame[2] = e->rflags;
	r = rl_em_push_bytes(e, frame, sizeof(frame));
	if (r)
		return r;
	e->rflags &= ~(FL_IF | FL_TF | FL_RF | FL_AC);
	rl_em_set_seg(e, RL_SEG_CS, &cs);
	e->next_rip = entry[0];
	return RL_EMUL_OK;
}

/* One-byte opcodes ES CS SS DS, 0F A0 to A9 FS GS */
static unsigned int opcode_seg(const struct rl_emul *e)
{
	return e->opcode >> 3 & 7;
}

/* Load @seg and release @popped bytes of the stack, by the size of the stack until now. */
static enum rl_emul_result load_seg(struct rl_emul *e, unsigned int seg, u16 sel,
				    unsigned int popped)
{
	enum rl_emul_result r;
	struct rl_seg s;

	r = check_data_seg(e, seg, sel, &s);
	if (r)
		return r;
	if (popped)
		rl_em_sp_add(e, popped);
	rl_em_set_seg(e, seg, &s);
	if (seg == RL_SEG_SS) {
		e->shadow = RL_SHADOW_MOV_SS;
		e->single_step = false;
	}
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_pushseg(struct rl_emul *e)
{
	u64 sel = rl_em_seg(e, opcode_seg(e))->sel;

	return rl_em_push_bytes(e, &sel, e->size);
}

enum rl_emul_result rl_em_popseg(struct rl_emul *e)
{
	enum rl_emul_result r;
	u64 sel = 0;

	r = rl_em_stack_read(e, &sel, e->size);
	return r ? r : load_seg(e, opcode_seg(e), sel, e->size);
}

enum rl_emul_result rl_em_mov_from_seg(struct rl_emul *e)
{
	unsigned int seg = e->reg & 7;

	return seg > RL_SEG_GS ? rl_em_ud(e) : rl_em_store(e, rl_em_seg(e, seg)->sel);
}

enum rl_emul_result rl_em_mov_to_seg(struct rl_emul *e)
{
	unsigned int seg = e->reg & 7;

	return seg > RL_SEG_GS || seg == RL_SEG_CS ? rl_em_ud(e) :
		load_seg(e, seg, e->src, 0);
}
