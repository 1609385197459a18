// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: string instructions, port I/O, and moves of XMM and MMX registers.
 *
 * Owns:    how many iterations of a string instruction one run makes.
 * Touches: ports, memory, the TSS's I/O map and XMM registers through struct rl_emul_ops.
 * Locks:   none.
 * Manuals: SDM Vol 1 "String Operations", "I/O Permission Bit Map"; SDM Vol 2 INS, OUTS, MOVAPS.
 */
#include <linux/kernel.h>
#include "emulate_priv.h"

/* Iterations of a string instruction in one run; then the guest is entered, with its events. */
#define STRING_BATCH	512
#define IO_PAGE		4096u

#define TSS_IO_BASE	102	/* offset of the I/O map base address */

/* CPL above IOPL, and virtual-8086 mode always: all bits of the TSS's I/O map must be 0. */
static enum rl_emul_result check_port(struct rl_emul *e, u16 port, unsigned int size)
{
	const struct rl_seg *tr;
	enum rl_emul_result r;
	u16 base, bits;

	if (e->mode == RL_MODE_REAL ||
	    (e->mode != RL_MODE_VM86 && e->cpl <= (e->rflags & X86_EFLAGS_IOPL) >> 12))
		return RL_EMUL_OK;
	tr = rl_em_seg(e, RL_SEG_TR);
	if (!(tr->attr & RL_SEG_ATTR_P) || !(tr->attr & 8) || tr->limit < TSS_IO_BASE + 1)
		return rl_em_gp(e, 0);
	r = e->ops->read(e, tr->base + TSS_IO_BASE, &base, 2, RL_EMUL_READ | RL_EMUL_SUPER);
	if (r)
		return r;
	if (base + port / 8 + 1u > tr->limit)
		return rl_em_gp(e, 0);
	r = e->ops->read(e, tr->base + base + port / 8, &bits, 2, RL_EMUL_READ | RL_EMUL_SUPER);
	if (r)
		return r;
	return bits >> (port & 7) & ((1u << size) - 1) ? rl_em_gp(e, 0) : RL_EMUL_OK;
}

static unsigned int io_size(const struct rl_emul *e)
{
	return e->size == 8 ? 4 : e->size;
}

/* Advance an index register by @n items of @size bytes in the direction of DF. */
static void advance(struct rl_emul *e, unsigned int reg, unsigned int size, unsigned int n)
{
	u64 delta = (u64)size * n;

	if (e->rflags & X86_EFLAGS_DF)
		delta = -delta;
	rl_em_set_reg(e, reg, e->adsize, e->regs[reg] + delta);
}

/* Items left to do: 1 without a repeat prefix. */
static u64 string_count(const struct rl_emul *e)
{
	return e->rep ? rl_em_reg(e, REG_CX, e->adsize) : 1;
}

/* One iteration. *@more is cleared when the condition of REPE or REPNE ends the repetition. */
static enum rl_emul_result string_item(struct rl_emul *e, bool *more)
{
	u64 mask = rl_em_mask(e->adsize), a = 0, b = 0;
	u64 si = e->regs[REG_SI] & mask, di = e->regs[REG_DI] & mask;
	unsigned int size = e->size, op = e->opcode & 0xfe;
	enum rl_emul_result r = RL_EMUL_OK;

	if (op == 0xa4 || op == 0xa6 || op == 0xac)	/* MOVS CMPS LODS */
		r = rl_em_seg_read(e, e->ea_seg, si, &a, size);
	else						/* STOS SCAS */
		a = rl_em_reg(e, REG_AX, size);
	if (!r && (op == 0xa6 || op == 0xae))		/* CMPS SCAS */
		r = rl_em_seg_read(e, RL_SEG_ES, di, &b, size);
	if (!r && (op == 0xa4 || op == 0xaa))		/* MOVS STOS */
		r = rl_em_seg_write(e, RL_SEG_ES, di, &a, size);
	if (r)
		return r;

	if (op == 0xac)
		rl_em_set_reg(e, REG_AX, size, a);
	if (op == 0xa6 || op == 0xae) {
		rl_em_alu_op(ALU_CMP, a, b, 0, size, &e->rflags);
		*more = !!(e->rflags & X86_EFLAGS_ZF) == (e->rep == 0xf3);
	}
	if (op <= 0xa6 || op == 0xac)
		advance(e, REG_SI, size, 1);
	if (op != 0xac)
		advance(e, REG_DI, size, 1);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_string(struct rl_emul *e)
{
	u64 left = string_count(e);
	enum rl_emul_result r;
	bool more = true;
	unsigned int n;

	for (n = 0; n < STRING_BATCH && left; n++) {
		r = string_item(e, &more);
		if (r)
			return r;
		if (!e->rep)
			return RL_EMUL_OK;
		rl_em_set_reg(e, REG_CX, e->adsize, --left);
		if (!more)
			return RL_EMUL_OK;
		if (e->stop || e->rflags & X86_EFLAGS_TF)
			break;
	}
	if (left)
		e->next_rip = e->rip;
	return RL_EMUL_OK;
}

/*
 * How many items of INS or OUTS to do at once: upwards, and within a page of linear addresses, so
 * that no item faults after another one had its effect. *@linear: of the first.
 */
static enum rl_emul_result io_batch(struct rl_emul *e, unsigned int seg, unsigned int reg,
				    unsigned int access, unsigned int *n, u64 *linear)
{
	u64 ea = e->regs[reg] & rl_em_mask(e->adsize), left = string_count(e);
	unsigned int size = io_size(e);
	enum rl_emul_result r;
	u64 last;

	*n = 1;
	r = rl_em_linear(e, seg, ea, size, access, linear);
	if (r || left == 1 || e->rflags & (X86_EFLAGS_DF | X86_EFLAGS_TF))
		return r;
	last = (IO_PAGE - (*linear & (IO_PAGE - 1))) / size;
	left = left < last ? left : last;
	last = (rl_em_mask(e->adsize) - ea) / size;
	left = left < last ? left : last;
	if (left > 1 && !rl_em_linear(e, seg, ea, left * size, access, &last))
		*n = left;
	return RL_EMUL_OK;
}

/* 6C and 6D INS, 6E and 6F OUTS */
enum rl_emul_result rl_em_ins_outs(struct rl_emul *e)
{
	bool in = !(e->opcode & 2);
	unsigned int size = io_size(e), reg = in ? REG_DI : REG_SI, n;
	unsigned int access = in ? RL_EMUL_WRITE : RL_EMUL_READ;
	u64 linear, left = string_count(e);
	u16 port = e->regs[REG_DX];
	enum rl_emul_result r;

	r = check_port(e, port, size);
	if (r || !left)
		return r;
	r = io_batch(e, in ? RL_SEG_ES : e->ea_seg, reg, access, &n, &linear);
	/* A port may change by being read: see first that the data can be stored. */
	if (!r)
		r = e->ops->read(e, linear, NULL, 0, access);
	if (e->stop)
		n = 1;
	if (in && !r)
		r = e->ops->read(e, linear + n * size - 1, NULL, 0, access);
	if (!in && !r)
		r = e->ops->read(e, linear, e->io_page, n * size, access);
	if (!r)
		r = e->ops->pio(e, port, size, n, in);
	if (in && !r)
		r = e->ops->write(e, linear, e->io_page, n * size, access);
	if (r)
		return r;
	advance(e, reg, size, n);
	if (e->rep)
		rl_em_set_reg(e, REG_CX, e->adsize, left - n);
	if (left > n)
		e->next_rip = e->rip;
	return RL_EMUL_OK;
}

/*
 * Moves between XMM or MMX registers and memory: the length of what memory holds, and what the
 * register's other bytes become. Alignment has been judged by the CPU.
 */
#define SSE_STORE	BIT(0)
#define SSE_MERGE	BIT(1)	/* a load leaves the register's other bytes alone, or they are 0 */
#define SSE_HIGH	BIT(2)	/* the upper half of the register */
#define SSE_WIDE	BIT(3)	/* 8 bytes with REX.W */
#define SSE_MMX		BIT(4)	/* an MMX register */

enum { PFX_NONE = 1, PFX_66 = 2, PFX_F3 = 4, PFX_F2 = 8 };

static const struct sse_move {
	u8 opcode, prefixes, len, flags;
} sse_moves[] = {
	{ 0x10, PFX_NONE | PFX_66, 16, 0 },			/* MOVUPS MOVUPD */
	{ 0x10, PFX_F3, 4, 0 }, { 0x10, PFX_F2, 8, 0 },		/* MOVSS MOVSD */
	{ 0x11, PFX_NONE | PFX_66, 16, SSE_STORE },
	{ 0x11, PFX_F3, 4, SSE_STORE }, { 0x11, PFX_F2, 8, SSE_STORE },
	{ 0x12, PFX_NONE | PFX_66, 8, SSE_MERGE },		/* MOVLPS MOVLPD */
	{ 0x13, PFX_NONE | PFX_66, 8, SSE_STORE },
	{ 0x16, PFX_NONE | PFX_66, 8, SSE_MERGE | SSE_HIGH },	/* MOVHPS MOVHPD */
	{ 0x17, PFX_NONE | PFX_66, 8, SSE_STORE | SSE_HIGH },
	{ 0x28, PFX_NONE | PFX_66, 16, 0 },			/* MOVAPS MOVAPD */
	{ 0x29, PFX_NONE | PFX_66, 16, SSE_STORE },
	{ 0x2b, PFX_NONE | PFX_66, 16, SSE_STORE },		/* MOVNTPS MOVNTPD */
	{ 0x2a, PFX_66, 16, 0 },				/* MOVNTDQA */
	{ 0x6e, PFX_66, 4, SSE_WIDE }, { 0x7e, PFX_66, 4, SSE_WIDE | SSE_STORE },	/* MOVD */
	{ 0x6f, PFX_66 | PFX_F3, 16, 0 }, { 0x7f, PFX_66 | PFX_F3, 16, SSE_STORE }, /* MOVDQA/U */
	{ 0x7e, PFX_F3, 8, 0 }, { 0xd6, PFX_66, 8, SSE_STORE },	/* MOVQ */
	{ 0xe7, PFX_66, 16, SSE_STORE },			/* MOVNTDQ */
	{ 0xf0, PFX_F2, 16, 0 },				/* LDDQU */
	{ 0x6f, PFX_NONE, 8, SSE_MMX }, { 0x7f, PFX_NONE, 8, SSE_MMX | SSE_STORE },
};

static const struct sse_move *sse_find(const struct rl_emul *e)
{
	unsigned int prefix, i;

	prefix = e->rep == 0xf3 ? PFX_F3 : e->rep ? PFX_F2 : e->opsize_prefix ? PFX_66 : PFX_NONE;
	for (i = 0; i < ARRAY_SIZE(sse_moves); i++)
		if (sse_moves[i].opcode == e->opcode && sse_moves[i].prefixes & prefix)
			return &sse_moves[i];
	return NULL;
}

enum rl_emul_result rl_em_sse_mov(struct rl_emul *e)
{
	const struct sse_move *m = sse_find(e);
	enum rl_emul_result r;
	unsigned int len, access, nr;
	u8 reg[16] = {}, *data;

	if (!m || e->mod == 3)
		return RL_EMUL_UNHANDLED;
	if (e->cr0 & X86_CR0_EM || !(m->flags & SSE_MMX || e->cr4 & X86_CR4_OSFXSR))
		return rl_em_ud(e);
	if (e->cr0 & X86_CR0_TS)
		return rl_emul_fault(e, VEC_NM);
	len = m->flags & SSE_WIDE && e->rex & 8 ? 8 : m->len;
	data = m->flags & SSE_HIGH ? reg + 8 : reg;
	access = m->flags & SSE_STORE ? RL_EMUL_WRITE : RL_EMUL_READ;

	r = rl_em_linear(e, e->ea_seg, e->ea, len, access, &e->linear);
	if (r)
		return r;
	nr = m->flags & SSE_MMX ? RL_EMUL_MM + (e->reg & 7) : e->reg;
	if (m->flags & (SSE_STORE | SSE_MERGE))
		e->ops->xmm_read(e, nr, reg);
	if (access == RL_EMUL_WRITE)
		return e->ops->write(e, e->linear, data, len, access);
	r = e->ops->read(e, e->linear, data, len, access);
	if (m->flags & SSE_MMX)		/* the exponent of the x87 register that it is */
		memset(reg + 8, 0xff, 2);
	if (!r)
		e->ops->xmm_write(e, nr, reg);
	return r;
}
