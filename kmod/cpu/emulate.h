/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Instruction emulator: decode and execute one x86 instruction of a guest.
 *
 * Owns:    struct rl_emul, the decoded instruction in it, and nothing else.
 * Touches: the guest only through struct rl_emul_ops. Also builds in user space (selftests/unit).
 * Locks:   none; a struct rl_emul belongs to one vCPU. Operations may sleep if their caller may.
 * Manuals: SDM Vol 2 "Instruction Set Reference" and "Opcode Map"; APM Vol 3.
 *
 * How to use it. Fill the inputs, clear @seg_valid and set @fetched (0, or how many bytes of @insn
 * are the guest's code at RIP), then call rl_emul_run(). All reads of an instruction come before
 * its first change, writes to memory next, registers last; so an instruction that did not finish
 * can be run again. After RL_EMUL_USER: keep @insn and @fetched, get the data from user space, run
 * again. The same reads come again in the same order, and the read operation answers from what was
 * completed. Once RL_EMUL_OK comes back, the completed data is used up. An operation that keeps
 * such data, or leaves something to user space, sets @stop: a string instruction then ends its run
 * after the item, so that what is kept never belongs to two items.
 */
#ifndef RL_CPU_EMULATE_H
#define RL_CPU_EMULATE_H

#include <linux/types.h>

struct rl_emul;

enum rl_emul_result {
	RL_EMUL_OK,		/* done and committed; RIP unchanged: a string has items left */
	RL_EMUL_FAULT,		/* exception in @fault; only finished string items are committed */
	RL_EMUL_USER,		/* user space first, then again; committed as for FAULT */
	RL_EMUL_RETRY,		/* a locked access lost a race: enter the guest again */
	RL_EMUL_UNHANDLED,	/* not an instruction that is emulated here; nothing is committed */
};

/* In the order in which instructions encode them; the last two have no encoding. */
enum rl_seg_reg {
	RL_SEG_ES, RL_SEG_CS, RL_SEG_SS, RL_SEG_DS, RL_SEG_FS, RL_SEG_GS,
	RL_SEG_LDTR, RL_SEG_TR, RL_SEG_NR,
};

/* attr is bits 23:8 of a descriptor's upper half, without the limit's; P=0: not usable */
#define RL_SEG_ATTR_TYPE	0x000f
#define RL_SEG_ATTR_S		0x0010
#define RL_SEG_ATTR_DPL_SHIFT	5
#define RL_SEG_ATTR_P		0x0080
#define RL_SEG_ATTR_AVL		0x1000
#define RL_SEG_ATTR_L		0x2000
#define RL_SEG_ATTR_DB		0x4000
#define RL_SEG_ATTR_G		0x8000

struct rl_seg {
	u64 base;
	u32 limit;		/* in bytes, granularity already applied */
	u16 sel;
	u16 attr;
};

/* GDTR or IDTR */
struct rl_dtable {
	u64 base;
	u16 limit;
};

enum rl_emul_mode { RL_MODE_REAL, RL_MODE_VM86, RL_MODE_PROT16, RL_MODE_PROT32, RL_MODE_LONG64 };

/* Bits of the access argument. Without RL_EMUL_SUPER the access has the rights of @cpl. */
#define RL_EMUL_READ	0
#define RL_EMUL_WRITE	1	/* on a read: first half of a read-modify-write, may write too */
#define RL_EMUL_FETCH	2
#define RL_EMUL_SUPER	4	/* implicit supervisor access: descriptor tables and TSS */

/*
 * How the emulator reaches the rest of the guest. Every operation must be there. One that returns
 * RL_EMUL_FAULT has filled @fault, by rl_emul_fault() or itself. The void ones cannot fail.
 */
struct rl_emul_ops {
	/*
	 * Memory at a linear address, 1 to 64 bytes that may cross a page (for INS and OUTS up to a
	 * page, not crossing one, of memory). A write changes nothing unless all of it is allowed.
	 * A read of @len 0 only checks that the byte there may be accessed, and sets @stop if it is
	 * a device's. A write that user space has to see is posted: RL_EMUL_OK, with @stop set.
	 */
	enum rl_emul_result (*read)(struct rl_emul *e, u64 linear, void *buf, unsigned int len,
				    unsigned int access);
	enum rl_emul_result (*write)(struct rl_emul *e, u64 linear, const void *buf,
				     unsigned int len, unsigned int access);
	/*
	 * The second half of a locked read-modify-write, after a read with RL_EMUL_WRITE: if memory
	 * still holds @old, store @new, atomically for 1, 2, 4 or 8 aligned bytes. *@ok: it was
	 * stored. Others, and what is not memory (MMIO), take a plain write.
	 */
	enum rl_emul_result (*cmpxchg)(struct rl_emul *e, u64 linear, const void *old,
				       const void *new, unsigned int len, bool *ok);

	/* INS or OUTS, permission already checked: @count items of @size bytes in @io_page */
	enum rl_emul_result (*pio)(struct rl_emul *e, u16 port, unsigned int size,
				   unsigned int count, bool in);

	void (*get_seg)(struct rl_emul *e, enum rl_seg_reg seg, struct rl_seg *out);
	void (*set_seg)(struct rl_emul *e, enum rl_seg_reg seg, const struct rl_seg *val);
	void (*get_dtable)(struct rl_emul *e, bool idt, struct rl_dtable *out);

	/* Numbers that do not exist were refused before; the operation judges values (#GP). */
	u64 (*get_cr)(struct rl_emul *e, unsigned int nr);
	enum rl_emul_result (*set_cr)(struct rl_emul *e, unsigned int nr, u64 val);
	enum rl_emul_result (*get_dr)(struct rl_emul *e, unsigned int nr, u64 *val);
	enum rl_emul_result (*set_dr)(struct rl_emul *e, unsigned int nr, u64 val);
	/*
	 * The guest's XMM registers, 16 bytes; what lies above bit 127 stays as it is. From
	 * RL_EMUL_MM on the MMX registers: 8 bytes, and the upper ones of the x87 register.
	 */
	void (*xmm_read)(struct rl_emul *e, unsigned int nr, void *buf);
	void (*xmm_write)(struct rl_emul *e, unsigned int nr, const void *buf);
};

struct rl_emul_fault {
	u8 vector;
	bool has_error;
	u32 error_code;
	u64 cr2;		/* of a page fault, filled by the operation that found it */
};

/* e->shadow: interrupts are blocked for the one instruction that follows */
#define RL_SHADOW_MOV_SS	2

#define RL_EMUL_MM		16
#define RL_INSN_MAX		15
#define RL_NO_GPR		16

struct rl_emul {
	/* Inputs, the first three set once; @rip, @rflags, @cpl and *@regs are outputs too */
	const struct rl_emul_ops *ops;
	u8 *io_page;		/* 4 KiB for the data of INS and OUTS; user space may see it */
	unsigned long *regs;	/* in encoding order: AX CX DX BX SP BP SI DI R8 to R15 */
	u64 rip;
	u64 rflags;
	u64 cr0, cr4, efer;
	u8 cpl;
	u8 mode;		/* enum rl_emul_mode, see rl_emul_mode() */
	u8 fetched;		/* valid bytes in @insn */
	bool mov_only;		/* anything but MOV is UNHANDLED */
	u8 seg_valid;		/* a bit per current member of @seg: 0 after the guest ran */
	/* With room to look ahead */
	u8 insn[2 * (RL_INSN_MAX + 1)] __attribute__((aligned(8)));

	/* Results, valid after RL_EMUL_OK */
	u8 insn_len;		/* also after rl_emul_decode() */
	bool single_step;	/* TF was set: the instruction ends with a #DB trap */
	u8 shadow;		/* RL_SHADOW_MOV_SS; any other shadow is over */
	bool stop;		/* set by an operation: return after this string item */
	struct rl_emul_fault fault;	/* valid after RL_EMUL_FAULT */

	/* Private to kmod/cpu/emulate*.c: the decoded instruction, cleared by each decode */
	struct rl_seg seg[RL_SEG_NR];
	enum rl_emul_result (*exec)(struct rl_emul *e);
	u64 dst, src, imm;	/* operand values */
	u64 ea;			/* effective address of a memory operand */
	u64 linear;		/* and its linear address, once computed */
	u64 next_rip;
	u32 flags;		/* of the opcode */
	u8 rep;			/* F2, F3 or 0 */
	u8 lock, opsize_prefix;
	bool seg_override;
	bool ea_sp;		/* the effective address is based on the stack pointer */
	bool rip_relative;
	u8 mod;			/* of ModRM; 3 without one */
	u8 ea_seg;
	u8 reg, rm;		/* of ModRM with REX; @rm is a register when @mod is 3 */
	u8 opcode;		/* last byte of it */
	u8 rex;			/* REX prefix, 0: none */
	u8 opsize, adsize;	/* in bytes, as prefixes and mode have it */
	u8 size;		/* of the operands: @opsize, or 1 */
	u8 base, index, scale;	/* of the address; RL_NO_GPR: none */
	u64 disp;
	/* The last instruction was a store, and all above is still what these bytes mean. */
	bool store_known;
	u8 store_mode;
	u64 store_code[2];
};

/**
 * rl_emul_mode() - Which of the modes a CPU is in
 * @cr0:     guest's CR0
 * @rflags:  guest's RFLAGS
 * @efer:    guest's EFER
 * @cs_attr: attributes of CS as in struct rl_seg
 */
static inline u8 rl_emul_mode(u64 cr0, u64 rflags, u64 efer, u16 cs_attr)
{
	if (!(cr0 & 1))
		return RL_MODE_REAL;
	if ((efer & (1u << 10)) && (cs_attr & RL_SEG_ATTR_L))
		return RL_MODE_LONG64;
	if (rflags & (1u << 17))
		return RL_MODE_VM86;
	return cs_attr & RL_SEG_ATTR_DB ? RL_MODE_PROT32 : RL_MODE_PROT16;
}

/* What causes a task switch, as VMX numbers it */
enum rl_emul_task { RL_TASK_CALL, RL_TASK_IRET, RL_TASK_JMP, RL_TASK_GATE };

enum rl_emul_result rl_emul_fault(struct rl_emul *e, u8 vector);
enum rl_emul_result rl_emul_fault_code(struct rl_emul *e, u8 vector, u32 error_code);
enum rl_emul_result rl_emul_decode(struct rl_emul *e);
enum rl_emul_result rl_emul_run(struct rl_emul *e);
enum rl_emul_result rl_emul_task_switch(struct rl_emul *e, u16 sel, enum rl_emul_task source,
					const u32 *error_code, bool *done, bool *trap);
/*
 * Decode a MOV of a register or immediate to memory, at most 8 bytes: value in @src, bytes in
 * @size, effective address in @ea of @ea_seg, @next_rip. For a store that the CPU has begun, and
 * so checked. UNHANDLED: another instruction. Needs @mode, @rip, @regs and all of @insn.
 */
enum rl_emul_result rl_emul_decode_store(struct rl_emul *e);

#endif
