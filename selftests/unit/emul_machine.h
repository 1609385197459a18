/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A machine for the emulator to run on: 1 MiB of memory with an MMIO window and a page that is not
 * there, flat linear addresses, ports that are logged, registers that are plain variables.
 */
#ifndef UNIT_EMUL_MACHINE_H
#define UNIT_EMUL_MACHINE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../../kmod/cpu/emulate.h"

enum { AX, CX, DX, BX, SP, BP, SI, DI };

#define MEM_SIZE	0x100000
#define MMIO_BASE	0xa0000		/* a page */
#define HOLE_BASE	0xf0000		/* a page that faults */
#define RO_BASE		0xe0000		/* a page that faults when written */
#define CODE_BASE	0x10000
#define DATA_BASE	0x20000
#define STACK_BASE	0x30000
#define TABLE_BASE	0x40000		/* GDT; LDT at +0x1000, TSS at +0x2000 */

#define FL_CF	0x1
#define FL_PF	0x4
#define FL_AF	0x10
#define FL_ZF	0x40
#define FL_SF	0x80
#define FL_TF	0x100
#define FL_IF	0x200
#define FL_DF	0x400
#define FL_OF	0x800
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

struct access {
	char kind;		/* 'r', 'w', 'i', 'o' */
	u64 addr;
	unsigned int len;	/* 'i', 'o': of an item */
	unsigned int count;
	u64 data;
};

struct machine {
	struct rl_emul e;
	unsigned long regs[16];
	struct rl_seg seg[RL_SEG_NR];
	struct rl_dtable gdt, idt;
	u64 cr[9], dr[8];
	u8 xmm[16 + 8][16];	/* with MMX behind */
	u8 io_page[4096];
	bool to_user;		/* MMIO reads and IN need user space */
	u64 answer[8];		/* what it answered for the instruction so far */
	unsigned int nr_answers, next_answer;
	bool lose_race;		/* the next cmpxchg fails */
	u64 input;		/* what MMIO reads and IN give; counts up */
	struct access log[64];	/* MMIO and ports */
	unsigned int nr_log;
	unsigned int nr_ops;	/* calls of read, write and cmpxchg */
	u8 mem[MEM_SIZE];
};

static struct machine *machine_of(struct rl_emul *e)
{
	return (struct machine *)e;	/* first member */
}

static void log_access(struct machine *m, char kind, u64 addr, unsigned int len,
		       unsigned int count, const void *data)
{
	struct access *a = &m->log[m->nr_log < 63 ? m->nr_log++ : 63];

	a->kind = kind;
	a->addr = addr;
	a->len = len;
	a->count = count;
	a->data = 0;
	memcpy(&a->data, data, len < 8 ? len : 8);
}

static enum rl_emul_result page_fault(struct rl_emul *e, u64 linear, unsigned int access, bool present)
{
	rl_emul_fault_code(e, 14, present | (access & RL_EMUL_WRITE ? 2 : 0) | (e->cpl == 3 ? 4 : 0) |
			   (access & RL_EMUL_FETCH ? 16 : 0));
	e->fault.has_error = true;
	e->fault.cr2 = linear;
	return RL_EMUL_FAULT;
}

static enum rl_emul_result check_access(struct rl_emul *e, u64 linear, unsigned int len,
					unsigned int access)
{
	u64 i;

	for (i = linear; i < linear + (len ? len : 1); i++) {
		if (i >= MEM_SIZE || (i >= HOLE_BASE && i < HOLE_BASE + 0x1000))
			return page_fault(e, i, access, false);
		if (access & RL_EMUL_WRITE && i >= RO_BASE && i < RO_BASE + 0x1000)
			return page_fault(e, i, access, true);
	}
	return linear + len < linear ? page_fault(e, linear, access, false) : RL_EMUL_OK;
}

/* True: the next input is in m->input. False: user space has to be asked. */
static bool take_input(struct machine *m)
{
	if (!m->to_user)
		return true;
	if (m->next_answer >= m->nr_answers)
		return false;
	m->input = m->answer[m->next_answer++];
	m->e.stop = true;
	return true;
}

/* What user space does after RL_EMUL_USER */
static inline void machine_answer(struct machine *m, u64 val)
{
	if (m->nr_answers < 8)
		m->answer[m->nr_answers++] = val;
}

static bool is_mmio(u64 linear)
{
	return linear >= MMIO_BASE && linear < MMIO_BASE + 0x1000;
}

static enum rl_emul_result m_read(struct rl_emul *e, u64 linear, void *buf, unsigned int len,
				  unsigned int access)
{
	struct machine *m = machine_of(e);
	enum rl_emul_result r = check_access(e, linear, len, access);

	m->nr_ops++;
	if (!len)
		e->stop |= is_mmio(linear);
	if (r || !len)
		return r;
	if (!is_mmio(linear)) {
		memcpy(buf, m->mem + linear, len);
		return r;
	}
	if (!take_input(m))
		return RL_EMUL_USER;
	memset(buf, 0, len);
	memcpy(buf, &m->input, len < 8 ? len : 8);
	log_access(m, 'r', linear, len, 1, buf);
	m->input++;
	return RL_EMUL_OK;
}

static enum rl_emul_result m_write(struct rl_emul *e, u64 linear, const void *buf, unsigned int len,
				   unsigned int access)
{
	struct machine *m = machine_of(e);
	enum rl_emul_result r = check_access(e, linear, len, access | RL_EMUL_WRITE);

	m->nr_ops++;
	if (r)
		return r;
	if (is_mmio(linear)) {
		log_access(m, 'w', linear, len, 1, buf);
		e->stop |= m->to_user;
	} else {
		memcpy(m->mem + linear, buf, len);
	}
	return RL_EMUL_OK;
}

static enum rl_emul_result m_cmpxchg(struct rl_emul *e, u64 linear, const void *old, const void *new,
				     unsigned int len, bool *ok)
{
	struct machine *m = machine_of(e);
	enum rl_emul_result r = check_access(e, linear, len, RL_EMUL_WRITE);

	*ok = !m->lose_race && (is_mmio(linear) || r || !memcmp(m->mem + linear, old, len));
	m->lose_race = false;
	return r || !*ok ? r : m_write(e, linear, new, len, RL_EMUL_WRITE);
}

static enum rl_emul_result m_pio(struct rl_emul *e, u16 port, unsigned int size, unsigned int count,
				 bool in)
{
	struct machine *m = machine_of(e);
	unsigned int i;

	if (in && !take_input(m))
		return RL_EMUL_USER;
	for (i = 0; in && i < count; i++, m->input++)
		memcpy(e->io_page + i * size, &m->input, size);
	log_access(m, in ? 'i' : 'o', port, size, count, e->io_page);
	e->stop |= !in && m->to_user;
	return RL_EMUL_OK;
}

static void m_get_seg(struct rl_emul *e, enum rl_seg_reg seg, struct rl_seg *out)
{
	*out = machine_of(e)->seg[seg];
}

static void m_set_seg(struct rl_emul *e, enum rl_seg_reg seg, const struct rl_seg *val)
{
	machine_of(e)->seg[seg] = *val;
}

static void m_get_dtable(struct rl_emul *e, bool idt, struct rl_dtable *out)
{
	*out = idt ? machine_of(e)->idt : machine_of(e)->gdt;
}

static u64 m_get_cr(struct rl_emul *e, unsigned int nr)
{
	return machine_of(e)->cr[nr];
}

static enum rl_emul_result m_set_cr(struct rl_emul *e, unsigned int nr, u64 val)
{
	machine_of(e)->cr[nr] = val;
	return RL_EMUL_OK;
}

static enum rl_emul_result m_get_dr(struct rl_emul *e, unsigned int nr, u64 *val)
{
	*val = machine_of(e)->dr[nr];
	return RL_EMUL_OK;
}

static enum rl_emul_result m_set_dr(struct rl_emul *e, unsigned int nr, u64 val)
{
	machine_of(e)->dr[nr] = val;
	return RL_EMUL_OK;
}

static void m_xmm_read(struct rl_emul *e, unsigned int nr, void *buf)
{
	memcpy(buf, machine_of(e)->xmm[nr], 16);
}

static void m_xmm_write(struct rl_emul *e, unsigned int nr, const void *buf)
{
	memcpy(machine_of(e)->xmm[nr], buf, 16);
}

static const struct rl_emul_ops machine_ops = {
	.read = m_read, .write = m_write, .cmpxchg = m_cmpxchg, .pio = m_pio,
	.get_seg = m_get_seg, .set_seg = m_set_seg,
	.get_dtable = m_get_dtable,
	.get_cr = m_get_cr, .set_cr = m_set_cr, .get_dr = m_get_dr, .set_dr = m_set_dr,
	.xmm_read = m_xmm_read, .xmm_write = m_xmm_write,
};

static void put_desc(struct machine *m, u64 addr, u32 base, u32 limit, u16 attr)
{
	u64 desc = (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(attr & 0xf0ff) << 40 |
		   (u64)(limit >> 16 & 0xf) << 48 | (u64)(base >> 24) << 56;

	memcpy(m->mem + addr, &desc, 8);
}

/* Selectors in the machine's GDT */
enum {
	SEL_CODE0 = 0x08, SEL_DATA0 = 0x10, SEL_CODE3 = 0x18, SEL_DATA3 = 0x20, SEL_CODE64 = 0x28,
	SEL_CODE16 = 0x30, SEL_RODATA = 0x38, SEL_XCODE = 0x40, SEL_ABSENT = 0x48, SEL_DOWN = 0x50,
	SEL_TSS = 0x58, SEL_LDT = 0x68, SEL_GATE = 0x78, SEL_STACK16 = 0x80, SEL_LIMIT = 0x80,
};

/*
 * Everything as after a reset into @mode: flat segments, CPL 0, RIP at CODE_BASE, RSP at STACK_BASE;
 * in real and virtual-8086 mode CS, DS, ES and SS start at CODE, DATA, DATA and STACK_BASE.
 */
static void machine_init(struct machine *m, enum rl_emul_mode mode)
{
	struct rl_seg flat = { .limit = 0xffffffff };
	unsigned int i;

	memset(m, 0, sizeof(*m));
	m->e.ops = &machine_ops;
	m->e.regs = m->regs;
	m->e.io_page = m->io_page;
	m->e.mode = mode;
	m->e.rflags = 2;
	m->e.cr0 = mode == RL_MODE_REAL ? 0x10 : 0x80000011;
	m->e.cr4 = 0x600;	/* OSFXSR, OSXMMEXCPT */
	m->e.efer = mode == RL_MODE_LONG64 ? 0x500 : 0;
	m->cr[0] = m->e.cr0;
	m->cr[4] = m->e.cr4;
	m->gdt.base = TABLE_BASE;
	m->gdt.limit = SEL_LIMIT + 7;
	m->idt.limit = 0x3ff;
	put_desc(m, TABLE_BASE + SEL_CODE0, 0, 0xfffff, 0xc09b);
	put_desc(m, TABLE_BASE + SEL_DATA0, 0, 0xfffff, 0xc092);
	put_desc(m, TABLE_BASE + SEL_CODE3, 0, 0xfffff, 0xc0fb);
	put_desc(m, TABLE_BASE + SEL_DATA3, 0, 0xfffff, 0xc0f3);
	put_desc(m, TABLE_BASE + SEL_CODE64, 0, 0xfffff, 0xa09a);
	put_desc(m, TABLE_BASE + SEL_CODE16, CODE_BASE, 0xffff, 0x009b);
	put_desc(m, TABLE_BASE + SEL_RODATA, 0, 0xfffff, 0xc091);
	put_desc(m, TABLE_BASE + SEL_XCODE, 0, 0xfffff, 0xc099);
	put_desc(m, TABLE_BASE + SEL_ABSENT, 0, 0xfffff, 0xc013);
	put_desc(m, TABLE_BASE + SEL_DOWN, 0, 0x0000f, 0xc097);
	put_desc(m, TABLE_BASE + SEL_TSS, TABLE_BASE + 0x2000, 0x2067, 0x0089);
	put_desc(m, TABLE_BASE + SEL_LDT, TABLE_BASE + 0x1000, 0xff, 0x0082);
	put_desc(m, TABLE_BASE + SEL_GATE, 0, 0, 0x008c);
	put_desc(m, TABLE_BASE + SEL_STACK16, STACK_BASE, 0xffff, 0x0093);

	for (i = RL_SEG_ES; i <= RL_SEG_GS; i++) {
		flat.sel = i == RL_SEG_CS ? SEL_CODE0 : SEL_DATA0;
		flat.attr = i == RL_SEG_CS ? 0xc09b : 0xc093;
		m->seg[i] = flat;
	}
	m->seg[RL_SEG_TR] = (struct rl_seg){ TABLE_BASE + 0x2000, 0x2067, SEL_TSS, 0x8b };
	memcpy(m->mem + TABLE_BASE + 0x2000 + 102, "\xff\xdf", 2);	/* no I/O map */
	m->seg[RL_SEG_LDTR] = (struct rl_seg){ .attr = 0 };
	m->e.rip = CODE_BASE;
	m->regs[SP] = STACK_BASE;
	switch (mode) {
	case RL_MODE_LONG64:
		m->seg[RL_SEG_CS].sel = SEL_CODE64;
		m->seg[RL_SEG_CS].attr = 0xa09b;
		break;
	case RL_MODE_PROT16:
		m->seg[RL_SEG_CS] = (struct rl_seg){ CODE_BASE, 0xffff, SEL_CODE16, 0x9b };
		m->seg[RL_SEG_SS] = (struct rl_seg){ STACK_BASE, 0xffff, SEL_STACK16, 0x93 };
		m->e.rip = 0;
		m->regs[SP] = 0x8000;
		break;
	case RL_MODE_REAL:
	case RL_MODE_VM86:
		for (i = RL_SEG_ES; i <= RL_SEG_GS; i++) {
			u32 base = i == RL_SEG_CS ? CODE_BASE : i == RL_SEG_SS ? STACK_BASE : DATA_BASE;

			m->seg[i] = (struct rl_seg){ base, 0xffff, base >> 4, 0x93 };
			if (mode == RL_MODE_VM86)
				m->seg[i].attr = 0xf3;
		}
		m->e.rip = 0;
		m->regs[SP] = 0x8000;
		if (mode == RL_MODE_VM86) {
			m->e.rflags |= 1 << 17;
			m->e.cpl = 3;
		}
		break;
	default:
		break;
	}
}

/* CPL 3 with its segments */
static inline void machine_user(struct machine *m)
{
	unsigned int i;

	m->e.cpl = 3;
	for (i = RL_SEG_ES; i <= RL_SEG_GS; i++) {
		m->seg[i].sel = i == RL_SEG_CS ? SEL_CODE3 + 3 : SEL_DATA3 + 3;
		m->seg[i].attr |= 0x60;
	}
}

static inline void machine_copy(struct machine *to, const struct machine *from)
{
	*to = *from;
	to->e.regs = to->regs;
	to->e.io_page = to->io_page;
}

static u64 machine_pc(const struct machine *m)
{
	return m->e.rip + (m->e.mode == RL_MODE_LONG64 ? 0 : m->seg[RL_SEG_CS].base);
}

/* Run what is at CS:RIP. */
static inline enum rl_emul_result machine_step(struct machine *m)
{
	enum rl_emul_result r;

	m->e.seg_valid = 0;
	m->next_answer = 0;
	r = rl_emul_run(&m->e);
	if (r == RL_EMUL_OK) {
		m->nr_answers = 0;
		m->e.fetched = 0;
	}
	return r;
}

/* Run the @len bytes at @code, put at the current CS:RIP. */
static inline enum rl_emul_result machine_run(struct machine *m, const void *code, unsigned int len)
{
	memcpy(m->mem + machine_pc(m), code, len);
	m->e.fetched = 0;
	return machine_step(m);
}

#endif
