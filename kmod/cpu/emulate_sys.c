// SPDX-License-Identifier: GPL-2.0
/*
 * Instruction emulator: control and debug registers, MSRs, descriptor tables, and the instructions
 * whose work is done elsewhere (CPUID, HLT, RDTSC, ...).
 *
 * Owns:    who may execute them; the values are judged by the operations.
 * Touches: system registers through struct rl_emul_ops.
 * Locks:   none.
 * Manuals: SDM Vol 3A "Privileged Instructions", "Debug Registers"; SDM Vol 2.
 */
#include "emulate_priv.h"

static enum rl_emul_result misc_if(struct rl_emul *e, bool allowed, enum rl_emul_misc what)
{
	return allowed ? e->ops->misc(e, what, 0) : rl_em_gp(e, 0);
}

/* F4 HLT, 0F A2 CPUID, 0F 08 INVD, 0F 09 WBINVD */
enum rl_emul_result rl_em_misc(struct rl_emul *e)
{
	switch (e->opcode) {
	case 0xf4:
		return e->ops->misc(e, RL_MISC_HLT, 0);
	case 0xa2:
		return e->ops->misc(e, RL_MISC_CPUID, 0);
	default:
		return e->ops->misc(e, e->opcode & 1 ? RL_MISC_WBINVD : RL_MISC_INVD, 0);
	}
}

static bool may_read_tsc(const struct rl_emul *e)
{
	return !e->cpl || e->mode == RL_MODE_REAL || !(e->cr4 & EMUL_CR4_TSD);
}

enum rl_emul_result rl_em_rdtsc(struct rl_emul *e)
{
	return misc_if(e, may_read_tsc(e), RL_MISC_RDTSC);
}

enum rl_emul_result rl_em_rdpmc(struct rl_emul *e)
{
	return misc_if(e, !e->cpl || e->cr4 & EMUL_CR4_PCE, RL_MISC_RDPMC);
}

/* EDX:EAX */
static void set_edx_eax(struct rl_emul *e, u64 val)
{
	rl_em_set_reg(e, REG_AX, 4, val);
	rl_em_set_reg(e, REG_DX, 4, val >> 32);
}

enum rl_emul_result rl_em_rdmsr(struct rl_emul *e)
{
	enum rl_emul_result r;
	u64 val = 0;

	r = e->ops->rdmsr(e, e->regs[REG_CX], &val);
	if (!r)
		set_edx_eax(e, val);
	return r;
}

enum rl_emul_result rl_em_wrmsr(struct rl_emul *e)
{
	return e->ops->wrmsr(e, e->regs[REG_CX],
			     (u32)e->regs[REG_AX] | (u64)e->regs[REG_DX] << 32);
}

/* 0F 20 reads, 0F 22 writes. The operand is always as wide as the mode has it. */
enum rl_emul_result rl_em_mov_cr(struct rl_emul *e)
{
	unsigned int size = rl_em_long(e) ? 8 : 4, nr = e->reg;

	if (nr > 8 || nr == 1 || (nr > 4 && nr < 8))
		return rl_em_ud(e);
	if (e->opcode & 2)
		return e->ops->set_cr(e, nr, rl_em_reg(e, e->rm, size));
	rl_em_set_reg(e, e->rm, size, e->ops->get_cr(e, nr));
	return RL_EMUL_OK;
}

/* 0F 21 reads, 0F 23 writes. Without CR4.DE, DR4 and DR5 are other names of DR6 and DR7. */
enum rl_emul_result rl_em_mov_dr(struct rl_emul *e)
{
	unsigned int size = rl_em_long(e) ? 8 : 4, nr = e->reg;
	enum rl_emul_result r;
	u64 val = 0;

	if (nr > 7 || ((nr & 6) == 4 && e->cr4 & EMUL_CR4_DE))
		return rl_em_ud(e);
	nr = (nr & 6) == 4 ? nr + 2 : nr;
	if (e->opcode & 2)
		return e->ops->set_dr(e, nr, rl_em_reg(e, e->rm, size));
	r = e->ops->get_dr(e, nr, &val);
	if (!r)
		rl_em_set_reg(e, e->rm, size, val);
	return r;
}

enum rl_emul_result rl_em_clts(struct rl_emul *e)
{
	return e->ops->set_cr(e, 0, e->ops->get_cr(e, 0) & ~EMUL_CR0_TS);
}

/* PE MP EM TS; PE can be set but not cleared. */
enum rl_emul_result rl_em_lmsw(struct rl_emul *e)
{
	u64 cr0 = e->ops->get_cr(e, 0);

	return e->ops->set_cr(e, 0, (cr0 & ~0xeull) | (e->src & 0xf));
}

static bool umip(const struct rl_emul *e)
{
	return e->cpl && e->cr4 & EMUL_CR4_UMIP;
}

enum rl_emul_result rl_em_smsw(struct rl_emul *e)
{
	return umip(e) ? rl_em_gp(e, 0) : rl_em_store(e, e->ops->get_cr(e, 0));
}

/* 0F 00 /0 SLDT, /1 STR */
enum rl_emul_result rl_em_sldt_str(struct rl_emul *e)
{
	if (umip(e))
		return rl_em_gp(e, 0);
	return rl_em_store(e, rl_em_seg(e, e->reg & 1 ? RL_SEG_TR : RL_SEG_LDTR)->sel);
}

/* 0F 00 /2 LLDT, /3 LTR: system descriptors, 16 bytes while EFER.LMA is set */
enum rl_emul_result rl_em_ldt_tr(struct rl_emul *e)
{
	bool tr = e->reg & 1, wide = e->efer & EMUL_EFER_LMA;
	u16 sel = e->src, type;
	u64 desc[2] = {}, addr;
	enum rl_emul_result r;
	struct rl_seg s = {};
	u8 access;

	if (!(sel & ~3)) {
		if (tr)
			return rl_em_gp(e, 0);
		s.sel = sel;
		rl_em_set_seg(e, RL_SEG_LDTR, &s);
		return RL_EMUL_OK;
	}
	if (sel & 4)
		return rl_em_gp(e, sel & ~3);
	r = rl_em_read_desc(e, sel, desc, wide ? 16 : 8, &addr);
	if (r)
		return r;
	rl_em_parse_desc(sel, desc[0], &s);
	s.base |= desc[1] << 32;
	type = s.attr & (RL_SEG_ATTR_S | RL_SEG_ATTR_TYPE);
	/* An LDT, or an available TSS: 32-bit, or 16-bit outside long mode */
	if (tr ? type != 9 && (type != 1 || wide) : type != 2)
		return rl_em_gp(e, sel & ~3);
	if (!(s.attr & RL_SEG_ATTR_P))
		return rl_emul_fault_code(e, VEC_NP, sel & ~3);
	if (wide && !rl_em_canonical(e, s.base))
		return rl_em_gp(e, sel & ~3);
	if (tr) {
		s.attr |= 2;	/* busy */
		access = s.attr;
		r = e->ops->write(e, addr + 5, &access, 1, RL_EMUL_WRITE | RL_EMUL_SUPER);
		if (r)
			return r;
	}
	rl_em_set_seg(e, tr ? RL_SEG_TR : RL_SEG_LDTR, &s);
	return RL_EMUL_OK;
}

/* 0F 01 with a register in ModRM.rm, where the memory forms are SGDT, SIDT, LGDT, LIDT, INVLPG */
static enum rl_emul_result group7_reg(struct rl_emul *e)
{
	bool xsave = e->cr4 & EMUL_CR4_OSXSAVE;

	switch (e->reg << 3 | (e->rm & 7)) {
	case 0001:
	case 0031:
		return e->ops->misc(e, RL_MISC_HYPERCALL, 0);
	case 0020:
		return xsave ? e->ops->misc(e, RL_MISC_XGETBV, 0) : rl_em_ud(e);
	case 0021:
		return xsave ? misc_if(e, !e->cpl, RL_MISC_XSETBV) : rl_em_ud(e);
	case 0071:
		return misc_if(e, may_read_tsc(e), RL_MISC_RDTSCP);
	default:
		return RL_EMUL_UNHANDLED;
	}
}

/* A limit of 2 bytes and a base of 4, or 8 in 64-bit mode */
enum rl_emul_result rl_em_sgdt(struct rl_emul *e)
{
	unsigned int len = rl_em_long(e) ? 10 : 6;
	struct rl_dtable table;
	u8 image[10];

	if (e->mod == 3)
		return group7_reg(e);
	if (umip(e))
		return rl_em_gp(e, 0);
	e->ops->get_dtable(e, e->reg & 1, &table);
	memcpy(image, &table.limit, 2);
	memcpy(image + 2, &table.base, 8);
	return rl_em_seg_write(e, e->ea_seg, e->ea, image, len);
}

enum rl_emul_result rl_em_lgdt(struct rl_emul *e)
{
	unsigned int len = rl_em_long(e) ? 10 : 6;
	struct rl_dtable table = {};
	enum rl_emul_result r;
	u8 image[10];

	if (e->mod == 3)
		return group7_reg(e);
	if (e->cpl)
		return rl_em_gp(e, 0);
	r = rl_em_seg_read(e, e->ea_seg, e->ea, image, len);
	if (r)
		return r;
	memcpy(&table.limit, image, 2);
	memcpy(&table.base, image + 2, len - 2);
	if (len == 6 && e->opsize == 2)
		table.base &= 0xffffff;
	if (len == 10 && !rl_em_canonical(e, table.base))
		return rl_em_gp(e, 0);
	e->ops->set_dtable(e, e->reg & 1, &table);
	return RL_EMUL_OK;
}

enum rl_emul_result rl_em_invlpg(struct rl_emul *e)
{
	u64 linear = e->ea;

	if (e->mod == 3)
		return group7_reg(e);
	if (e->cpl)
		return rl_em_gp(e, 0);
	if (!rl_em_long(e) || e->ea_seg >= RL_SEG_FS)
		linear += rl_em_seg(e, e->ea_seg)->base;
	return e->ops->misc(e, RL_MISC_INVLPG, rl_em_long(e) ? linear : (u32)linear);
}

/* FA CLI, FB STI. The virtual interrupt flag of CR4.VME and CR4.PVI is not emulated. */
enum rl_emul_result rl_em_if(struct rl_emul *e)
{
	if (e->mode != RL_MODE_REAL && e->cpl > (e->rflags & FL_IOPL) >> 12) {
		bool virtual = e->cpl == 3 &&
			       e->cr4 & (e->mode == RL_MODE_VM86 ? EMUL_CR4_VME : EMUL_CR4_PVI);

		return virtual ? RL_EMUL_UNHANDLED : rl_em_gp(e, 0);
	}
	if (!(e->opcode & 1)) {
		e->rflags &= ~FL_IF;
		return RL_EMUL_OK;
	}
	if (!(e->rflags & FL_IF))
		e->shadow = RL_SHADOW_STI;
	e->rflags |= FL_IF;
	return RL_EMUL_OK;
}
