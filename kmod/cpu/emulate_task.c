// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: segment loads, far jumps, and hardware task switches, which VMX leaves to
 * software.
 *
 * Owns:    the checks of a segment load.
 * Touches: descriptor tables and TSSs through struct rl_emul_ops.
 * Locks:   none.
 * Manuals: SDM Vol 3A, "Protection", "Task Switching" and "Task-State Segment (TSS)".
 *
 * The CPU has checked the task gate and who may use it. Up to the commit point faults belong to the
 * old task and nothing of it has changed; behind it they belong to the new one.
 */
#include "emulate_priv.h"

#define TSS_LINK	0
#define TSS32_CR3	0x1c
#define TSS32_TRAP	0x64
#define TSS_MAX		104
#define TYPE_ACCESSED	1	/* in a segment descriptor's type */
#define TYPE_BUSY	2	/* in a TSS descriptor's type */
#define TYPE_32BIT	8

/* What a switch saves and loads is an array in both kinds of TSS; 16-bit ones end with DS. */
enum { STATE_IP, STATE_FLAGS, STATE_GPR, STATE_SEG = STATE_GPR + 8, STATE_NR = STATE_SEG + 6 };

static const struct tss_format {
	u8 size, state, nr, width, ldt;
} formats[] = {
	{ .size = 44, .state = 0x0e, .nr = STATE_NR - 2, .width = 2, .ldt = 0x2a },
	{ .size = TSS_MAX, .state = 0x20, .nr = STATE_NR, .width = 4, .ldt = 0x60 },
};

static const struct tss_format *format_of(const struct rl_seg *tss)
{
	return &formats[!!(tss->attr & TYPE_32BIT)];
}

static enum rl_emul_result write_super(struct rl_emul *e, u64 addr, const void *buf,
				       unsigned int len)
{
	return e->ops->write(e, (u32)addr, buf, len, RL_EMUL_WRITE | RL_EMUL_SUPER);
}

/* The lower byte of a descriptor's attributes */
static enum rl_emul_result write_type(struct rl_emul *e, u64 desc, u8 type)
{
	return e->ops->write(e, desc + 5, &type, 1, RL_EMUL_WRITE | RL_EMUL_SUPER);
}

static enum rl_emul_result bad_selector(struct rl_emul *e, u16 sel, bool task)
{
	return rl_emul_fault_code(e, task ? VEC_TS : VEC_GP, sel & ~3);
}

/*
 * Read the descriptor that @sel names, 8 bytes or 16, of a system segment; it lies at @addr. In a
 * task switch what is wrong with a selector is the TSS's fault.
 */
static enum rl_emul_result read_desc(struct rl_emul *e, u16 sel, bool task, unsigned int len,
				     struct rl_seg *s, u64 *addr)
{
	struct rl_dtable table = {};
	u64 desc, image[2] = {};
	enum rl_emul_result r;

	if (sel & 4) {
		const struct rl_seg *ldt = rl_em_seg(e, RL_SEG_LDTR);

		table.base = ldt->base;
		if (ldt->attr & RL_SEG_ATTR_P)
			table.limit = ldt->limit > 0xffff ? 0xffff : ldt->limit;
	} else {
		e->ops->get_dtable(e, false, &table);
	}
	if ((sel & ~7u) + len - 1 > table.limit)
		return bad_selector(e, sel, task);
	*addr = table.base + (sel & ~7);
	if (!(e->efer & EMUL_EFER_LMA))
		*addr = (u32)*addr;
	r = e->ops->read(e, *addr, image, len, RL_EMUL_READ | RL_EMUL_SUPER);
	if (r)
		return r;
	desc = image[0];
	s->sel = sel;
	s->attr = desc >> 40 & 0xf0ff;
	s->base = (desc >> 16 & 0xffffff) | (desc >> 32 & 0xff000000) | image[1] << 32;
	s->limit = (desc & 0xffff) | (desc >> 32 & 0xf0000);
	if (s->attr & RL_SEG_ATTR_G)
		s->limit = s->limit << 12 | 0xfff;
	return RL_EMUL_OK;
}

static void set_seg(struct rl_emul *e, unsigned int seg, const struct rl_seg *s)
{
	e->seg[seg] = *s;
	e->seg_valid |= 1u << seg;
	e->ops->set_seg(e, seg, s);
}

/* Segments without descriptors. Real mode keeps limit and size: "unreal" mode depends on it. */
static void load_real_seg(struct rl_emul *e, unsigned int seg, u16 sel)
{
	struct rl_seg s = *rl_em_seg(e, seg);

	s.sel = sel;
	s.base = (u32)sel << 4;
	s.attr = (s.attr & 0xff00) | 0x93;
	if (e->mode == RL_MODE_VM86) {
		s.limit = 0xffff;
		s.attr = 0xf3;
	}
	set_seg(e, seg, &s);
}

/* May a segment of @s's type and rights be in @seg, behind a selector with @rpl? */
static bool seg_allowed(const struct rl_emul *e, unsigned int seg, const struct rl_seg *s,
			unsigned int rpl)
{
	unsigned int dpl = s->attr >> RL_SEG_ATTR_DPL_SHIFT & 3, type = s->attr & RL_SEG_ATTR_TYPE;

	if (!(s->attr & RL_SEG_ATTR_S))
		return false;
	if (seg == RL_SEG_CS)
		return type & 8 && (type & 4 ? dpl <= rpl : dpl == rpl) &&
		       !(e->efer & EMUL_EFER_LMA && !(~s->attr & (RL_SEG_ATTR_L | RL_SEG_ATTR_DB)));
	if (seg == RL_SEG_SS)
		return (type & 0xa) == 2 && rpl == e->cpl && dpl == e->cpl;
	return (type & 0xa) != 8 && ((type & 0xc) == 0xc || (rpl <= dpl && e->cpl <= dpl));
}

/* Load a segment register; the RPL of CS is the new CPL. */
enum rl_emul_result rl_em_load_seg(struct rl_emul *e, unsigned int seg, u16 sel, bool task)
{
	struct rl_seg s = { .sel = sel };
	enum rl_emul_result r;
	u64 addr;

	if (rl_em_real(e)) {
		load_real_seg(e, seg, sel);
		return RL_EMUL_OK;
	}
	if (!(sel & ~3)) {
		if (seg == RL_SEG_CS || (seg == RL_SEG_SS &&
					 (!rl_em_long(e) || e->cpl == 3 || (sel & 3) != e->cpl)))
			return bad_selector(e, sel, task);
		if (seg == RL_SEG_SS)
			s.attr = e->cpl << RL_SEG_ATTR_DPL_SHIFT;
		set_seg(e, seg, &s);
		return RL_EMUL_OK;
	}
	r = read_desc(e, sel, task, 8, &s, &addr);
	if (r)
		return r;
	if (seg == RL_SEG_CS && !task && !(s.attr & RL_SEG_ATTR_S))
		return RL_EMUL_UNHANDLED;	/* a gate */
	if (!seg_allowed(e, seg, &s, sel & 3))
		return bad_selector(e, sel, task);
	if (!(s.attr & RL_SEG_ATTR_P))
		return rl_emul_fault_code(e, seg == RL_SEG_SS ? VEC_SS : VEC_NP, sel & ~3);
	if (!(s.attr & TYPE_ACCESSED)) {
		s.attr |= TYPE_ACCESSED;
		r = write_type(e, addr, s.attr);
		if (r)
			return r;
	}
	set_seg(e, seg, &s);
	return RL_EMUL_OK;
}

/* FF /5 JMP, not through gates. A target that is refused leaves CS as it was. */
enum rl_emul_result rl_em_jump_far(struct rl_emul *e)
{
	struct rl_seg old = *rl_em_seg(e, RL_SEG_CS);
	enum rl_emul_result r;
	u8 mode = e->mode;
	u64 target;
	u16 sel;

	r = rl_em_read_far(e, &target, &sel);
	if (!r && !rl_em_real(e) && (sel & 3) > e->cpl)
		r = bad_selector(e, sel, false);
	if (!r)
		r = rl_em_load_seg(e, RL_SEG_CS, rl_em_real(e) ? sel : (sel & ~3) | e->cpl, false);
	if (r)
		return r;
	e->mode = rl_emul_mode(e->cr0, e->rflags, e->efer, rl_em_seg(e, RL_SEG_CS)->attr);
	r = rl_em_check_target(e, target);
	if (r) {
		set_seg(e, RL_SEG_CS, &old);
		e->mode = mode;
	}
	e->next_rip = target;
	return r;
}

/* LDTR or TR. Descriptors of system segments are 16 bytes while EFER.LMA is set. */
static enum rl_emul_result load_system(struct rl_emul *e, unsigned int seg, u16 sel, bool task)
{
	bool tr = seg == RL_SEG_TR, wide = e->efer & EMUL_EFER_LMA;
	struct rl_seg s = { .sel = sel };
	enum rl_emul_result r;
	unsigned int type;
	u64 addr;

	if (tr || sel & ~3) {
		r = sel & 4 || !(sel & ~3) ? bad_selector(e, sel, task) :
					     read_desc(e, sel, task, wide ? 16 : 8, &s, &addr);
		if (r)
			return r;
		type = s.attr & (RL_SEG_ATTR_S | RL_SEG_ATTR_TYPE);
		if ((tr ? type != 9 && (type != 1 || wide) : type != 2) ||
		    !rl_em_canonical(e, s.base) || (task && !(s.attr & RL_SEG_ATTR_P)))
			return bad_selector(e, sel, task);
		if (!(s.attr & RL_SEG_ATTR_P))
			return rl_emul_fault_code(e, VEC_NP, sel & ~3);
		if (tr) {
			s.attr |= TYPE_BUSY;
			r = write_type(e, addr, s.attr);
			if (r)
				return r;
		}
	}
	set_seg(e, seg, &s);
	return RL_EMUL_OK;
}

/* 0F 00 /2 LLDT, /3 LTR */
enum rl_emul_result rl_em_lldt_ltr(struct rl_emul *e)
{
	if (rl_em_real(e))
		return rl_em_ud(e);
	return load_system(e, e->reg & 1 ? RL_SEG_TR : RL_SEG_LDTR, e->src, false);
}

/* Behind the commit point: segments by the new task's selectors, then the rest of a delivery. */
static enum rl_emul_result enter_task(struct rl_emul *e, const u32 *state, u16 ldt,
				      unsigned int width, const u32 *error_code)
{
	static const u8 order[] = {
		RL_SEG_CS, RL_SEG_SS, RL_SEG_ES, RL_SEG_DS, RL_SEG_FS, RL_SEG_GS,
	};
	enum rl_emul_result r;
	struct rl_seg s;
	unsigned int i;

	/* Selectors come before what they name: a fault shows those of the new task. */
	for (i = 0; i < sizeof(order); i++) {
		s = *rl_em_seg(e, i);
		s.sel = state[STATE_SEG + i];
		set_seg(e, i, &s);
	}
	r = load_system(e, RL_SEG_LDTR, ldt, true);
	for (i = 0; i < sizeof(order) && !r; i++)
		r = rl_em_load_seg(e, order[i], state[STATE_SEG + order[i]], true);
	if (!r && error_code)
		r = rl_em_push_bytes(e, error_code, width);
	return r ? r : rl_em_check_target(e, e->rip);
}

/**
 * rl_emul_task_switch() - Switch to another task
 * @e: inputs as for rl_emul_run(), and @next_rip: where the old task goes on
 * @sel: selector of the new task's TSS
 * @source: what causes it
 * @error_code: to push in the new task, or NULL
 * @done: out: the switch has passed the commit point
 * @trap: out: the new task begins with a #DB
 *
 * Return: RL_EMUL_OK, _FAULT, _RETRY; _USER and _UNHANDLED when a TSS is not in memory.
 */
enum rl_emul_result rl_emul_task_switch(struct rl_emul *e, u16 sel, enum rl_emul_task source,
					const u32 *error_code, bool *done, bool *trap)
{
	bool nests = source == RL_TASK_CALL || source == RL_TASK_GATE;
	const struct rl_seg old = *rl_em_seg(e, RL_SEG_TR);
	const struct tss_format *f;
	u32 state[STATE_NR] = {}, cr3 = 0;
	bool iret = source == RL_TASK_IRET;
	struct rl_seg tr = {}, desc;
	enum rl_emul_result r;
	u8 image[TSS_MAX];
	u64 addr, old_addr;
	u16 ldt = 0;
	int i;

	*done = *trap = false;
	if (e->mode == RL_MODE_REAL || e->efer & EMUL_EFER_LMA)
		return RL_EMUL_UNHANDLED;
	r = sel & 4 || !(sel & ~3) ? bad_selector(e, sel, iret) :
				     read_desc(e, sel, iret, 8, &tr, &addr);
	if (!r && (tr.attr & (RL_SEG_ATTR_S | 7)) != (iret ? 3 : 1))
		r = bad_selector(e, sel, iret);
	if (r)
		return r;
	f = format_of(&tr);
	if (!(tr.attr & RL_SEG_ATTR_P))
		return rl_emul_fault_code(e, VEC_NP, sel & ~3);
	if (tr.limit < f->size - 1u)
		return bad_selector(e, sel, true);
	r = e->ops->read(e, (u32)tr.base, image, f->size, RL_EMUL_READ | RL_EMUL_SUPER);
	if (r)
		return r;
	for (i = 0; i < f->nr; i++)
		memcpy(&state[i], image + f->state + i * f->width, f->width);
	memcpy(&ldt, image + f->ldt, sizeof(ldt));
	if (f->width == 4) {
		memcpy(&cr3, image + TSS32_CR3, sizeof(cr3));
		*trap = image[TSS32_TRAP] & 1;
	}

	/* The old task: its state, and that it is not busy any more unless it is nested in. */
	f = format_of(&old);
	for (i = 0; i < f->nr; i++) {
		u32 val = i == STATE_IP ? e->next_rip : i == STATE_FLAGS ? e->rflags :
			  i < STATE_SEG ? e->regs[i - STATE_GPR] : rl_em_seg(e, i - STATE_SEG)->sel;

		if (i == STATE_FLAGS && iret)
			val &= ~X86_EFLAGS_NT;
		memcpy(image + i * f->width, &val, f->width);
	}
	if (old.limit < f->size - 1u)
		return bad_selector(e, old.sel, true);
	r = write_super(e, old.base + f->state, image, f->nr * f->width);
	if (!r && nests)
		r = write_super(e, tr.base + TSS_LINK, &old.sel, sizeof(old.sel));
	if (!r && !nests) {
		r = read_desc(e, old.sel, false, 8, &desc, &old_addr);
		if (!r)
			r = write_type(e, old_addr, desc.attr & ~TYPE_BUSY);
	}
	if (!r && !iret)
		r = write_type(e, addr, tr.attr | TYPE_BUSY);
	if (r)
		return r;

	*done = true;
	e->rip = state[STATE_IP];
	e->rflags = state[STATE_FLAGS] | 2 | (nests ? X86_EFLAGS_NT : 0);
	for (i = 0; i < 8; i++)
		e->regs[i] = state[STATE_GPR + i];
	tr.attr |= TYPE_BUSY;
	set_seg(e, RL_SEG_TR, &tr);
	r = e->ops->set_cr(e, 0, e->cr0 | X86_CR0_TS);
	if (!r && tr.attr & TYPE_32BIT && e->cr0 & X86_CR0_PG)
		r = e->ops->set_cr(e, 3, cr3);
	if (r)
		return r;
	e->cpl = e->rflags & X86_EFLAGS_VM ? 3 : state[STATE_SEG + RL_SEG_CS] & 3;
	e->mode = e->rflags & X86_EFLAGS_VM ? RL_MODE_VM86 : RL_MODE_PROT32;
	return enter_task(e, state, ldt, format_of(&tr)->width, error_code);
}
