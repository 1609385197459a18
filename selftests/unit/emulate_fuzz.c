// SPDX-License-Identifier: GPL-2.0
/*
 * The instruction emulator on arbitrary code in arbitrary states: a libFuzzer target, and the body
 * of emulate_random_test. What must always hold is checked here; ASan and UBSan see the rest.
 */
#include "emul_machine.h"

static struct machine first, start, second;

#define MUST(cond)								\
	do {									\
		if (!(cond)) {							\
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);	\
			abort();						\
		}								\
	} while (0)

/* A register points somewhere interesting, near an edge of it. */
static u64 pointer(u8 kind, u8 offset)
{
	static const u64 base[] = {
		DATA_BASE, MMIO_BASE, MMIO_BASE + 0x1000, HOLE_BASE, RO_BASE, STACK_BASE, 0, 0xffff,
		TABLE_BASE, 0x800000000000, 0xffff800000000000, -1ull, 0x80000000, MEM_SIZE, 1, 0x7f,
	};

	return base[kind % 16] + (kind & 16 ? offset : -(offset % 32));
}

static void build(struct machine *m, const u8 *data, size_t size)
{
	unsigned int i;

	machine_init(m, data[0] % 5);
	if (data[0] & 0x20 && m->e.mode >= RL_MODE_PROT16)
		machine_user(m);
	m->e.cr4 ^= data[1] & 0x0c ? 1 << 11 | 1 << 12 : 0;
	m->e.cr0 |= data[1] & 0x02 ? 8 : 0;
	m->e.rflags |= ((data[2] << 4 | data[1] >> 4) & 0xfd5) | (data[1] & 1 ? 0x3000 : 0);
	if (data[0] & 0x40)	/* small segments */
		for (i = 0; i <= RL_SEG_GS; i++)
			m->seg[i].limit = i == RL_SEG_CS ? CODE_BASE + 0x100 : DATA_BASE + data[3];
	for (i = 0; i < 16; i++)
		m->regs[i] = pointer(data[4 + 2 * i], data[5 + 2 * i]);
	for (i = 0; i < 0x1000; i++)
		m->mem[DATA_BASE + i] = m->mem[STACK_BASE + i - 0x800] = i * data[3] + i / 256;
	m->input = 0x123456789abc;
	for (i = 36; i < size && i < 36 + 64; i++)
		m->mem[machine_pc(m) + i - 36] = data[i];
}

/* Only what a guest sees: the log and counters differ when an instruction is run again. */
static bool same(const struct machine *a, const struct machine *b)
{
	return !memcmp(a->regs, b->regs, sizeof(a->regs)) && a->e.rip == b->e.rip &&
	       a->e.rflags == b->e.rflags && !memcmp(a->seg, b->seg, sizeof(a->seg)) &&
	       !memcmp(a->cr, b->cr, sizeof(a->cr)) && !memcmp(a->xmm, b->xmm, sizeof(a->xmm)) &&
	       !memcmp(a->mem, b->mem, MEM_SIZE);
}

static bool is_string(const struct machine *m)
{
	u8 op = m->e.opcode;

	return (op >= 0xa4 && op <= 0xaf) || (op >= 0x6c && op <= 0x6f);
}

static void check_result(struct machine *m, enum rl_emul_result r)
{
	MUST(r <= RL_EMUL_UNHANDLED);
	MUST(m->nr_ops < 4000);
	if (r == RL_EMUL_OK) {
		MUST(m->e.insn_len >= 1 && m->e.insn_len <= 15);
		MUST(m->e.mode == RL_MODE_LONG64 || m->e.rip <= 0xffffffff);
		MUST(m->e.rflags & 2);
		return;
	}
	MUST(m->e.rip == start.e.rip);
	/* Only finished items of a string may be committed. */
	if (!is_string(m) && r != RL_EMUL_USER) {
		MUST(!memcmp(m->regs, start.regs, sizeof(m->regs)));
		MUST(m->e.rflags == start.e.rflags);
		MUST(!memcmp(m->seg, start.seg, sizeof(m->seg)));
	}
	if (r == RL_EMUL_FAULT) {
		MUST(m->e.fault.vector < 32);
		MUST(!m->e.fault.has_error || m->e.mode != RL_MODE_REAL || m->e.fault.vector == 14);
	}
}

/* The same code, with user space asked for every input: the guest must not see a difference. */
static void run_again_with_user_space(enum rl_emul_result expected)
{
	u64 input = start.input;
	enum rl_emul_result r;
	unsigned int n;

	machine_copy(&second, &start);
	second.to_user = true;
	for (n = 0; n < 64; n++) {
		r = machine_step(&second);
		check_result(&second, r);
		if (r == RL_EMUL_USER)
			machine_answer(&second, input++);
		else
			break;
	}
	if (is_string(&second))	/* these stop where user space has been asked */
		return;
	MUST(n < 8);
	MUST(r == expected);
	MUST(same(&first, &second));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	enum rl_emul_result r;
	unsigned int n;
	u8 len;

	if (size < 37)
		return 0;
	build(&first, data, size);
	for (n = 0; n < 8; n++) {
		machine_copy(&start, &first);
		r = machine_step(&first);
		check_result(&first, r);
		if (r == RL_EMUL_OK) {
			/* Decoding alone finds the same length. */
			len = first.e.insn_len;
			machine_copy(&second, &start);
			MUST(rl_emul_decode(&second.e) == RL_EMUL_OK);
			MUST(second.e.insn_len == len);
		}
		run_again_with_user_space(r);
		if (r != RL_EMUL_OK)
			break;
		/* What the caller would find out again about the new code segment */
		if (first.e.mode >= RL_MODE_PROT16 && first.e.mode != RL_MODE_LONG64)
			first.e.mode = rl_emul_mode(1, 0, 0, first.seg[RL_SEG_CS].attr);
		first.nr_ops = 0;
	}
	return 0;
}
