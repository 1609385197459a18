/* SPDX-License-Identifier: GPL-2.0-only */
/* What insn.c and insn_ops.c share: an instruction that is being emulated. */
#ifndef RL_INSN_PRIV_H
#define RL_INSN_PRIV_H

#include "cpu/emulate.h"
#include "types.h"

/* 64 bytes over a page boundary make 9 pieces of 8; CMPS reads twice. */
#define MAX_PIECES	20

struct mmio_piece {
	gpa_t gpa;
	u8 len;
	union {
		u8 data[8];
		u64 val;
	};
};

struct rl_insn {
	struct rl_emul e;
	struct rl_vcpu *vcpu;
	struct mmio_piece reads[MAX_PIECES];	/* log of this instruction */
	struct mmio_piece writes[MAX_PIECES];	/* queue behind it */
	u8 nr_reads, pos;		/* of reads: filled, used by this run */
	u8 nr_writes, sent;
	bool pio_in;			/* an IN waits for user space */
	bool pio_in_done;		/* vcpu->pio_data answers the next IN */
	bool pio_out;			/* an OUT waits to leave */
	bool hint;			/* exit.fault names the gpa of the data access */
	bool atomic;			/* IRQs are off: what would need more is left alone */
	bool no_memory;			/* a slot has nothing behind it */
	bool begun;			/* the fast path got as far as a user-space exit */
};

/* insn_ops.c */
extern const struct rl_emul_ops rl_insn_ops;
bool rl_mmio_write(struct rl_vcpu *vcpu, gpa_t gpa, int len, const void *val, bool irqs_off);

#endif
