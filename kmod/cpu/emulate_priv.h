/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the emulator's files share: opcode flags, handlers, operand access.
 *
 * Owns:    nothing; included by kmod/cpu/emulate_*.c only.
 */
#ifndef RL_CPU_EMULATE_PRIV_H
#define RL_CPU_EMULATE_PRIV_H

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
#define SRC_REG		0x20
#define SRC_IMM		0x30
#define SRC_ACC		0x40
#define SRC_ONE		0x50
#define SRC_CL		0x60
/* Immediate, in e->imm */
#define OP_IMM		0x700
#define IMM_B		0x100	/* 1 byte, sign-extended */
#define IMM_Z		0x200	/* 2 or 4 bytes, sign-extended */
#define IMM_V		0x300	/* as the operand size, up to 8 bytes */
#define IMM_W		0x400	/* 2 bytes */
#define IMM_WB		0x500	/* 2 bytes and 1 byte (ENTER) */
#define IMM_MOFFS	0x600	/* an address, into e->ea */
#define IMM_FAR		0x700	/* offset as the operand size in e->imm, selector in e->src */

#define OP_MODRM	BIT(11)
#define OP_BYTE		BIT(12)	/* operands are 1 byte */
#define OP_MOV		BIT(13)	/* operand 1 is written without being read */
#define OP_RO		BIT(14)	/* operand 1 is read only */
#define OP_LOCK		BIT(15)	/* LOCK is allowed if operand 1 is memory */
#define OP_SRC8		BIT(16)	/* operand 2 is 1 byte */
#define OP_SRC16	BIT(17)	/* operand 2 is 2 bytes */
#define OP_D64		BIT(18)	/* in 64-bit mode the default operand size is 8 */
#define OP_F64		BIT(19)	/* in 64-bit mode the operand size is 8 */
#define OP_NO64		BIT(20)	/* #UD in 64-bit mode */
#define OP_MEM		BIT(21)	/* #UD with a register in ModRM.rm */
#define OP_PRIV		BIT(22)	/* #GP(0) unless CPL is 0 */
#define OP_PROT		BIT(23)	/* #UD in real and virtual-8086 mode */
#define OP_GROUP	BIT(24)
#define OP_PREFIX	BIT(25)
#define OP_UD		BIT(26)	/* not an instruction */
#define OP_REGS		BIT(27)	/* ModRM.rm is a register whatever ModRM.mod says (MOV CR) */
#define OP_SRC32	BIT(28)	/* operand 2 is 4 bytes */
#define OP_DST16	BIT(29)	/* operand 1 is 2 bytes if it is memory */
#define OP_BITS		BIT(30)	/* operand 2 is a bit offset, maybe outside memory operand 1 */
#define OP_VEX		BIT(31)	/* where it is not legal, another encoding begins */
#define OP_CHECKS	(OP_NO64 | OP_MEM | OP_PRIV | OP_PROT | OP_UD)

/* Handlers: they execute e and commit all but RIP, which the caller takes from e->next_rip. */
rl_em_fn rl_em_aaa, rl_em_aad, rl_em_aam, rl_em_alu, rl_em_bswap, rl_em_bsx, rl_em_bt, rl_em_call,
	rl_em_call_far, rl_em_call_rm, rl_em_cbw, rl_em_clts, rl_em_cmov, rl_em_cmpxchg,
	rl_em_cmpxchg8b, rl_em_cwd, rl_em_daa, rl_em_div, rl_em_enter, rl_em_far_rm, rl_em_fence,
	rl_em_flag, rl_em_idiv, rl_em_if, rl_em_imul, rl_em_imul_acc, rl_em_in, rl_em_incdec,
	rl_em_ins, rl_em_int, rl_em_invlpg, rl_em_iret, rl_em_jcc, rl_em_jcxz, rl_em_jmp,
	rl_em_jmp_far, rl_em_jmp_rm, rl_em_lahf, rl_em_lds, rl_em_ldt_tr, rl_em_lea, rl_em_leave,
	rl_em_lgdt, rl_em_lmsw, rl_em_loop, rl_em_misc, rl_em_mov, rl_em_mov_cr, rl_em_mov_dr,
	rl_em_mov_from_seg, rl_em_mov_to_seg, rl_em_movbe, rl_em_movnti, rl_em_movsx, rl_em_mul,
	rl_em_neg, rl_em_nop, rl_em_not, rl_em_out, rl_em_outs, rl_em_pop, rl_em_popa,
	rl_em_popcnt, rl_em_popf, rl_em_popseg, rl_em_push, rl_em_pusha, rl_em_pushf,
	rl_em_pushseg, rl_em_rdmsr, rl_em_rdpmc, rl_em_rdtsc, rl_em_ret, rl_em_ret_far,
	rl_em_sahf, rl_em_salc, rl_em_setcc, rl_em_sgdt, rl_em_shift, rl_em_shld, rl_em_sldt_str,
	rl_em_smsw, rl_em_sse_mov, rl_em_string, rl_em_test, rl_em_unhandled, rl_em_wrmsr,
	rl_em_xadd, rl_em_xchg, rl_em_xlat;

enum { REG_AX, REG_CX, REG_DX, REG_BX, REG_SP, REG_BP, REG_SI, REG_DI };

#define FL_CF	BIT_ULL(0)
#define FL_PF	BIT_ULL(2)
#define FL_AF	BIT_ULL(4)
#define FL_ZF	BIT_ULL(6)
#define FL_SF	BIT_ULL(7)
#define FL_TF	BIT_ULL(8)
#define FL_IF	BIT_ULL(9)
#define FL_DF	BIT_ULL(10)
#define FL_OF	BIT_ULL(11)
#define FL_IOPL	0x3000ull
#define FL_NT	BIT_ULL(14)
#define FL_RF	BIT_ULL(16)
#define FL_VM	BIT_ULL(17)
#define FL_AC	BIT_ULL(18)
#define FL_VIF	BIT_ULL(19)
#define FL_VIP	BIT_ULL(20)
#define FL_ID	BIT_ULL(21)
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define EMUL_CR0_PE	BIT_ULL(0)
#define EMUL_CR0_EM	BIT_ULL(2)
#define EMUL_CR0_TS	BIT_ULL(3)
#define EMUL_CR4_VME	BIT_ULL(0)
#define EMUL_CR4_PVI	BIT_ULL(1)
#define EMUL_CR4_TSD	BIT_ULL(2)
#define EMUL_CR4_DE	BIT_ULL(3)
#define EMUL_CR4_PCE	BIT_ULL(8)
#define EMUL_CR4_OSFXSR	BIT_ULL(9)
#define EMUL_CR4_UMIP	BIT_ULL(11)
#define EMUL_CR4_LA57	BIT_ULL(12)
#define EMUL_CR4_OSXSAVE	BIT_ULL(18)
#define EMUL_EFER_LMA	BIT_ULL(10)

enum {
	VEC_DE = 0, VEC_BP = 3, VEC_OF = 4, VEC_UD = 6, VEC_NM = 7, VEC_NP = 11, VEC_SS = 12,
	VEC_GP = 13,
};

/* The operations of opcodes 00 to 3F and of group 1, as encoded there */
enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

u64 rl_em_alu_op(unsigned int op, u64 a, u64 b, unsigned int size, u64 *rflags);
bool rl_em_cond(const struct rl_emul *e);
enum rl_emul_result rl_em_read_desc(struct rl_emul *e, u16 sel, u64 *desc, unsigned int len,
				    u64 *addr);
void rl_em_parse_desc(u16 sel, u64 desc, struct rl_seg *s);
void rl_em_set_seg(struct rl_emul *e, unsigned int seg, const struct rl_seg *s);
enum rl_emul_result rl_em_segment(struct rl_emul *e, unsigned int seg, u64 ea, unsigned int len,
				  unsigned int access, u64 *linear);
enum rl_emul_result rl_em_seg_read(struct rl_emul *e, unsigned int seg, u64 ea, void *buf,
				   unsigned int len);
enum rl_emul_result rl_em_seg_write(struct rl_emul *e, unsigned int seg, u64 ea, const void *buf,
				    unsigned int len);
enum rl_emul_result rl_em_rm_read(struct rl_emul *e, unsigned int size, unsigned int access,
				  u64 *val);
enum rl_emul_result rl_em_store(struct rl_emul *e, u64 val);
enum rl_emul_result rl_em_push_bytes(struct rl_emul *e, const void *buf, unsigned int len);
enum rl_emul_result rl_em_stack_read(struct rl_emul *e, void *buf, unsigned int len);
void rl_em_sp_add(struct rl_emul *e, u64 n);
u64 rl_em_stack_mask(struct rl_emul *e);
enum rl_emul_result rl_em_check_target(struct rl_emul *e, const struct rl_seg *cs, u64 rip);

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
	unsigned int shift = e->cr4 & EMUL_CR4_LA57 ? 56 : 47;
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
