// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: hardware task switches. VMX leaves them to software.
 *
 * Owns:    nothing.
 * Touches: TSSs and their descriptors through struct rl_emul_ops.
 * Locks:   none.
 * Manuals: SDM Vol 3A, "Task Switching" and "Task-State Segment (TSS)".
 *
 * The CPU has checked the task gate and who may use it. Up to the commit point faults belong to the
 * old task and nothing of it has changed; behind it they belong to the new one.
 */
#include "emulate_priv.h"

#define VEC_TS		10
#define TSS_LINK	0
#define TSS32_CR3	0x1c
#define TSS32_TRAP	0x64
#define TSS_MAX		104
#define TYPE_BUSY	2	/* in a TSS descriptor's type */
#define TYPE_32BIT	8
#define EMUL_CR0_PG	BIT_ULL(31)

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

static enum rl_emul_result ts(struct rl_emul *e, u16 sel)
{
	return rl_emul_fault_code(e, VEC_TS, sel & ~3);
}

/* The descriptor of a selector from a TSS: what is wrong with it is the TSS's fault. */
static enum rl_emul_result read_desc(struct rl_emul *e, u16 sel, struct rl_seg *s, u64 *addr)
{
	enum rl_emul_result r;
	u64 desc = 0;

	r = rl_em_read_desc(e, sel, &desc, 8, addr);
	if (r == RL_EMUL_FAULT && e->fault.vector == VEC_GP)
		return ts(e, sel);
	rl_em_parse_desc(sel, desc, s);
	return r;
}

static enum rl_emul_result load_ldt(struct rl_emul *e, u16 sel)
{
	struct rl_seg s = { .sel = sel };
	u64 addr;

	if (sel & ~3) {
		enum rl_emul_result r = sel & 4 ? ts(e, sel) : read_desc(e, sel, &s, &addr);

		if (r)
			return r;
		if ((s.attr & (RL_SEG_ATTR_S | RL_SEG_ATTR_TYPE)) != 2 ||
		    !(s.attr & RL_SEG_ATTR_P))
			return ts(e, sel);
	}
	rl_em_set_seg(e, RL_SEG_LDTR, &s);
	return RL_EMUL_OK;
}

static enum rl_emul_result load_seg(struct rl_emul *e, unsigned int seg, u16 sel)
{
	struct rl_seg s = { .sel = sel };
	unsigned int rpl = sel & 3, dpl, type;
	enum rl_emul_result r;
	bool ok;
	u64 addr;

	if (e->rflags & FL_VM) {
		s = (struct rl_seg) { .sel = sel, .base = sel << 4, .limit = 0xffff, .attr = 0xf3 };
		goto set;
	}
	if (!(sel & ~3)) {
		if (seg == RL_SEG_CS || seg == RL_SEG_SS)
			return ts(e, sel);
		goto set;
	}
	r = read_desc(e, sel, &s, &addr);
	if (r)
		return r;
	dpl = s.attr >> RL_SEG_ATTR_DPL_SHIFT & 3;
	type = s.attr & RL_SEG_ATTR_TYPE;
	if (seg == RL_SEG_CS)
		ok = type & 8 && (type & 4 ? dpl <= rpl : dpl == rpl);
	else if (seg == RL_SEG_SS)
		ok = (type & 0xa) == 2 && rpl == e->cpl && dpl == e->cpl;
	else
		ok = (type & 0xa) != 8 && ((type & 0xc) == 0xc || (rpl <= dpl && e->cpl <= dpl));
	if (!ok || !(s.attr & RL_SEG_ATTR_S))
		return ts(e, sel);
	if (!(s.attr & RL_SEG_ATTR_P))
		return rl_emul_fault_code(e, seg == RL_SEG_SS ? VEC_SS : VEC_NP, sel & ~3);
	if (!(type & 1)) {
		u8 access = s.attr |= 1;

		r = write_super(e, addr + 5, &access, 1);
		if (r)
			return r;
	}
set:
	rl_em_set_seg(e, seg, &s);
	return RL_EMUL_OK;
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
		rl_em_set_seg(e, i, &s);
	}
	r = load_ldt(e, ldt);
	for (i = 0; i < sizeof(order) && !r; i++)
		r = load_seg(e, order[i], state[STATE_SEG + order[i]]);
	if (!r && error_code)
		r = rl_em_push_bytes(e, error_code, width);
	return r ? r : rl_em_check_target(e, rl_em_seg(e, RL_SEG_CS), e->rip);
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
	u8 image[TSS_MAX], access;
	u64 desc = 0, addr, old_addr;
	enum rl_emul_result r;
	struct rl_seg tr;
	u16 ldt = 0;
	int i;

	*done = *trap = false;
	if (e->mode == RL_MODE_REAL || e->efer & EMUL_EFER_LMA)
		return RL_EMUL_UNHANDLED;
	r = sel & 4 || !(sel & ~3) ? rl_em_gp(e, sel & ~3) :
		rl_em_read_desc(e, sel, &desc, 8, &addr);
	rl_em_parse_desc(sel, desc, &tr);
	if (!r && (tr.attr & (RL_SEG_ATTR_S | 7)) != (source == RL_TASK_IRET ? 3 : 1))
		r = rl_em_gp(e, sel & ~3);
	if (r == RL_EMUL_FAULT && source == RL_TASK_IRET && e->fault.vector == VEC_GP)
		r = ts(e, sel);
	if (r)
		return r;
	f = format_of(&tr);
	if (!(tr.attr & RL_SEG_ATTR_P))
		return rl_emul_fault_code(e, VEC_NP, sel & ~3);
	if (tr.limit < f->size - 1u)
		return ts(e, sel);
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

		if (i == STATE_FLAGS && source == RL_TASK_IRET)
			val &= ~FL_NT;
		memcpy(image + i * f->width, &val, f->width);
	}
	if (old.limit < f->size - 1u)
		return ts(e, old.sel);
	r = write_super(e, old.base + f->state, image, f->nr * f->width);
	if (!r && nests)
		r = write_super(e, tr.base + TSS_LINK, &old.sel, sizeof(old.sel));
	if (!r && !nests) {
		r = rl_em_read_desc(e, old.sel, &desc, 8, &old_addr);
		access = desc >> 40 & ~TYPE_BUSY;
		if (!r)
			r = write_super(e, old_addr + 5, &access, 1);
	}
	if (!r && source != RL_TASK_IRET) {
		access = tr.attr | TYPE_BUSY;
		r = write_super(e, addr + 5, &access, 1);
	}
	if (r)
		return r;

	*done = true;
	e->rip = state[STATE_IP];
	e->rflags = state[STATE_FLAGS] | 2 | (nests ? FL_NT : 0);
	for (i = 0; i < 8; i++)
		e->regs[i] = state[STATE_GPR + i];
	tr.attr |= TYPE_BUSY;
	rl_em_set_seg(e, RL_SEG_TR, &tr);
	r = e->ops->set_cr(e, 0, e->cr0 | EMUL_CR0_TS);
	if (!r && tr.attr & TYPE_32BIT && e->cr0 & EMUL_CR0_PG)
		r = e->ops->set_cr(e, 3, cr3);
	if (r)
		return r;
	e->cpl = e->rflags & FL_VM ? 3 : state[STATE_SEG + RL_SEG_CS] & 3;
	e->mode = e->rflags & FL_VM ? RL_MODE_VM86 : RL_MODE_PROT32;
	return enter_task(e, state, ldt, format_of(&tr)->width, error_code);
}
