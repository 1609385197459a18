/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the emulator's files share: opcode flags, handlers, operand access.
 *
 * Owns:    nothing; included by kmod/cpu/emulate_*.c only.
 */
#ifndef RL_CPU_EMULATE_PRIV_H
#define RL_CPU_EMULATE_PRIV_H

#include <asm/processor-flags.h>
#include <linux/bits.h>
#include <linux/compiler.h>
#include <linux/string.h>
#include "emulate.h"

typedef enum rl_emul_result rl_em_fn(struct rl_emul *e);

/* One opcode. Members of a group add their flags to those of the opcode that leads to it. */
struct rl_opcode {
	union {
		rl_em_fn *exec;
		const struct rl_opcode *group;	/* with OP_GROUP: 8 entries by ModRM.reg */
	};
	u32 flags;
};

/* Where operand 1 (e->dst) and operand 2 (e->src) are */
#define OP_DST		0x7
#define DST_RM		0x1
#define DST_REG		0x2
#define DST_ACC		0x3
#define DST_OPREG	0x4	/* in the low bits of the opcode */
#define OP_SRC		0x70
#define SRC_RM		0x10
#define SRC_REG		0x20	/* without ModRM: in the low bits of the opcode */
#define SRC_IMM		0x30
#define SRC_ACC		0x40
#define SRC_ONE		0x50
#define SRC_CL		0x60
/* Immediate, in e->imm */
#define OP_IMM		0x380
#define IMM_B		0x100	/* 1 byte, sign-extended */
#define IMM_Z		0x200	/* as the operand size, but at most 4 bytes, sign-extended */
#define IMM_MOFFS	0x300	/* an address, into e->ea */
#define IMM_WB		0x080	/* 2 bytes and 1 byte */

#define OP_MODRM	BIT(10)
#define OP_BYTE		BIT(11)	/* operands are 1 byte */
#define OP_MOV		BIT(12)	/* operand 1 is written without being read */
#define OP_RO		BIT(13)	/* operand 1 is read only */
#define OP_LOCK		BIT(14)	/* LOCK is allowed if operand 1 is memory */
#define OP_SRC8		BIT(15)	/* operand 2 is 1 byte */
#define OP_SRC16	BIT(16)	/* operand 2 is 2 bytes */
#define OP_SRC32	BIT(17)	/* operand 2 is 4 bytes */
#define OP_DST16	BIT(18)	/* operand 1 is 2 bytes if it is memory */
#define OP_D64		BIT(19)	/* in 64-bit mode the default operand size is 8 */
#define OP_F64		BIT(20)	/* in 64-bit mode the operand size is 8 */
#define OP_PRIV		BIT(21)	/* #GP(0) unless CPL is 0 */
#define OP_GROUP	BIT(22)
#define OP_PREFIX	BIT(23)
#define OP_REGS		BIT(24)	/* ModRM.rm is a register whatever ModRM.mod says (MOV CR) */
#define OP_MEM		BIT(25)	/* with a register in ModRM.rm it is another instruction, or none */
#define OP_BITS		BIT(26)	/* operand 2 is a bit offset, maybe outside memory operand 1 */
#define OP_ALU(op)	((u32)(op) << 27)	/* what rl_em_alu() does */

/* Handlers: they execute e and commit all but RIP, which the caller takes from e->next_rip. */
rl_em_fn rl_em_alu, rl_em_clts, rl_em_cmov, rl_em_cmpxchg, rl_em_cmpxchg8b, rl_em_enter,
	rl_em_ins_outs, rl_em_jump_far, rl_em_jump_rm, rl_em_lds, rl_em_leave, rl_em_lldt_ltr,
	rl_em_lmsw, rl_em_mov, rl_em_mov_cr, rl_em_mov_dr, rl_em_mov_from_seg, rl_em_mov_to_seg,
	rl_em_movbe, rl_em_movsx, rl_em_muldiv, rl_em_nop, rl_em_not, rl_em_pop, rl_em_popcnt,
	rl_em_push, rl_em_ret, rl_em_setcc, rl_em_smsw,
	rl_em_sse_mov, rl_em_string, rl_em_unhandled, rl_em_xadd, rl_em_xchg, rl_em_xlat;

enum { REG_AX, REG_CX, REG_DX, REG_BX, REG_SP, REG_BP, REG_SI, REG_DI };

#define FL_ARITH	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF |	\
			 X86_EFLAGS_SF | X86_EFLAGS_OF)

#define EMUL_EFER_LMA	BIT_ULL(10)

enum {
	VEC_DE = 0, VEC_UD = 6, VEC_NM = 7, VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13,
};

/* What rl_em_alu_op() does */
enum {
	ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP, ALU_TEST,
	ALU_NEG, ALU_INC, ALU_DEC, ALU_ROL, ALU_ROR, ALU_RCL, ALU_RCR, ALU_SHL, ALU_SHR, ALU_SAR,
	ALU_SHLD, ALU_SHRD, ALU_BT, ALU_BTS, ALU_BTR, ALU_BTC,
	ALU_BSF, ALU_BSR, ALU_TZCNT, ALU_LZCNT, ALU_IMUL,
};

u64 rl_em_alu_op(unsigned int op, u64 dst, u64 src, u64 count, unsigned int size, u64 *rflags);
enum rl_emul_result rl_em_load_seg(struct rl_emul *e, unsigned int seg, u16 sel, bool task);
enum rl_emul_result rl_em_segment(struct rl_emul *e, unsigned int seg, u64 ea, unsigned int len,
				  unsigned int access, u64 *linear);
enum rl_emul_result rl_em_seg_read(struct rl_emul *e, unsigned int seg, u64 ea, void *buf,
				   unsigned int len);
enum rl_emul_result rl_em_read_far(struct rl_emul *e, u64 *offset, u16 *sel);
enum rl_emul_result rl_em_seg_write(struct rl_emul *e, unsigned int seg, u64 ea, const void *buf,
				    unsigned int len);
enum rl_emul_result rl_em_rm_read(struct rl_emul *e, unsigned int size, unsigned int access,
				  u64 *val);
enum rl_emul_result rl_em_store(struct rl_emul *e, u64 val);
enum rl_emul_result rl_em_push_bytes(struct rl_emul *e, const void *buf, unsigned int len);
u64 rl_em_stack_mask(struct rl_emul *e);
void rl_em_sp_add(struct rl_emul *e, u64 n);
enum rl_emul_result rl_em_check_target(struct rl_emul *e, u64 rip);

static inline enum rl_emul_result rl_em_ud(struct rl_emul *e)
{
	return rl_emul_fault(e, VEC_UD);
}

static inline enum rl_emul_result rl_em_gp(struct rl_emul *e, u32 code)
{
	return rl_emul_fault_code(e, VEC_GP, code);
}

static inline bool rl_em_long(const struct rl_emul *e)
{
	return e->mode == RL_MODE_LONG64;
}

/* Paging-free segmentation: selectors are paragraph numbers */
static inline bool rl_em_real(const struct rl_emul *e)
{
	return e->mode <= RL_MODE_VM86;
}

/* Are the @len bytes (at least one) at @addr all at canonical addresses? */
static inline bool rl_em_canonical_range(const struct rl_emul *e, u64 addr, unsigned int len)
{
	unsigned int shift = e->cr4 & X86_CR4_LA57 ? 56 : 47;
	s64 first = (s64)addr >> shift, last = (s64)(addr + len - 1) >> shift;

	return first == last && (u64)(first + 1) <= 1;
}

static inline bool rl_em_canonical(const struct rl_emul *e, u64 addr)
{
	return rl_em_canonical_range(e, addr, 1);
}

/* Check @len bytes (at least one) at @seg:@ea and find their linear address. */
static inline enum rl_emul_result rl_em_linear(struct rl_emul *e, unsigned int seg, u64 ea,
					       unsigned int len, unsigned int access, u64 *linear)
{
	s64 first = (s64)ea >> 47, last = (s64)(ea + len - 1) >> 47;

	/* What is canonical with 48 bits is so with 57. */
	if (unlikely(!rl_em_long(e) || seg >= RL_SEG_FS || first != last || (u64)(first + 1) > 1))
		return rl_em_segment(e, seg, ea, len, access, linear);
	*linear = ea;
	return RL_EMUL_OK;
}

static inline u64 rl_em_mask(unsigned int size)
{
	return ~0ull >> (64 - 8 * size);
}

static inline u64 rl_em_sext(u64 val, unsigned int size)
{
	unsigned int unused = 64 - 8 * size;

	return (u64)((s64)(val << unused) >> unused);
}

static inline const struct rl_seg *rl_em_seg(struct rl_emul *e, unsigned int seg)
{
	if (!(e->seg_valid & (1u << seg))) {
		e->ops->get_seg(e, seg, &e->seg[seg]);
		e->seg_valid |= 1u << seg;
	}
	return &e->seg[seg];
}

/* Of an operand 2 with a size of its own */
static inline unsigned int rl_em_src_size(const struct rl_emul *e)
{
	return e->flags & OP_SRC8 ? 1 : e->flags & OP_SRC16 ? 2 : 4;
}

/* The register in the low bits of the opcode */
static inline unsigned int rl_em_opcode_reg(const struct rl_emul *e)
{
	return (e->opcode & 7) | (e->rex & 1) << 3;
}

/* The register that is operand 1, unless that is in ModRM.rm */
static inline unsigned int rl_em_dst_reg(const struct rl_emul *e)
{
	unsigned int dst = e->flags & OP_DST;

	return dst == DST_REG ? e->reg : dst == DST_ACC ? REG_AX : rl_em_opcode_reg(e);
}

static inline u64 rl_em_reg(const struct rl_emul *e, unsigned int nr, unsigned int size)
{
	switch (size) {
	case 1:
		if (!e->rex && (nr & 0xc) == 4)	/* AH CH DH BH */
			return (u8)(e->regs[nr & 3] >> 8);
		return (u8)e->regs[nr];
	case 2:
		return (u16)e->regs[nr];
	case 4:
		return (u32)e->regs[nr];
	default:
		return e->regs[nr];
	}
}

static inline void rl_em_set_reg(struct rl_emul *e, unsigned int nr, unsigned int size, u64 val)
{
	switch (size) {
	case 1:
		if (!e->rex && (nr & 0xc) == 4)
			e->regs[nr & 3] = (e->regs[nr & 3] & ~0xff00ul) | (u8)val << 8;
		else
			e->regs[nr] = (e->regs[nr] & ~0xfful) | (u8)val;
		break;
	case 2:
		e->regs[nr] = (e->regs[nr] & ~0xfffful) | (u16)val;
		break;
	case 4:
		e->regs[nr] = (u32)val;
		break;
	default:
		e->regs[nr] = val;
	}
}

#endif
