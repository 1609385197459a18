// SPDX-License-Identifier: GPL-2.0-only
/*
 * How the instruction emulator reaches a guest: memory, devices, ports,
 * registers.
 *
 * Owns:    rl_insn_ops; the log and the queue in struct rl_insn while an
 *          instruction runs.
 * Touches: mm/, bus.h, irq/ (the APIC page), cpu/.
 * Locks:   the vCPU's thread; callers hold vm->srcu.
 */
#include <asm/trapnr.h>
#include <linux/kernel.h>

#include "cpu/cpu.h"
#include "insn.h"
#include "insn_priv.h"
#include "trace.h"
#include "vcpu.h"
#include "vm.h"

static struct rl_insn *to_insn(struct rl_emul *e)
{
	return container_of(e, struct rl_insn, e);
}

static struct rl_vcpu *to_vcpu(struct rl_emul *e)
{
	return to_insn(e)->vcpu;
}

/* Guest memory at one linear address, up to the end of its page. */
static enum rl_emul_result translate(struct rl_emul *e, u64 linear, unsigned int access,
				     gpa_t *gpa)
{
	struct rl_insn *in = to_insn(e);
	struct rl_vcpu *vcpu = in->vcpu;
	struct rl_exit *exit = &vcpu->exit;
	struct rl_walk w;
	u32 acc = 0;
	int r;

	/*
	 * The exit said where the access goes. MOVS and CMPS have two operands
	 * that this could mistake for each other.
	 */
	if (in->hint && !(access & (RL_EMUL_FETCH | RL_EMUL_SUPER)) &&
	    ((linear ^ exit->fault.gpa) & ~PAGE_MASK) == 0 &&
	    !!(access & RL_EMUL_WRITE) == !!(exit->fault.access & RL_ACC_WRITE) &&
	    (e->opcode & 0xfc) != 0xa4) {
		*gpa = exit->fault.gpa;
		return RL_EMUL_OK;
	}
	if (in->atomic)
		return RL_EMUL_UNHANDLED;
	if (access & RL_EMUL_WRITE)
		acc |= RL_ACC_WRITE;
	if (access & RL_EMUL_FETCH)
		acc |= RL_ACC_FETCH;
	if (access & RL_EMUL_SUPER)
		acc |= RL_WALK_IMPLICIT;
	else if (e->cpl == 3)
		acc |= RL_ACC_USER;
	r = rl_walk(vcpu, linear, acc, true, false, &w);
	if (r)
		return r == -EAGAIN ? RL_EMUL_RETRY : RL_EMUL_UNHANDLED;
	if (w.fault) {
		e->fault.vector = X86_TRAP_PF;
		e->fault.has_error = true;
		e->fault.error_code = w.error_code;
		e->fault.cr2 = linear;
		return RL_EMUL_FAULT;
	}
	*gpa = w.gpa;
	return RL_EMUL_OK;
}

/* Is it memory that a plain access reaches? Writes to read-only slots do not. */
static bool is_ram(struct rl_vcpu *vcpu, gpa_t gpa, bool write)
{
	if (rl_lapic_mmio_hit(vcpu, gpa))
		return false;
	return rl_gfn_to_hva(vcpu->vm, gpa >> PAGE_SHIFT, write) != 0;
}

static bool kernel_mmio_read(struct rl_vcpu *vcpu, gpa_t gpa, int len, void *val)
{
	if (rl_lapic_mmio_hit(vcpu, gpa)) {
		rl_lapic_mmio_read(vcpu, gpa, len, val);
		return true;
	}
	return rl_bus_claimed(vcpu->vm, RL_BUS_MMIO, gpa) &&
	       !rl_bus_read(vcpu, RL_BUS_MMIO, gpa, len, val);
}

/*
 * A device in the kernel takes the write, the local APIC included. Every write
 * to a device is offered here first, once.
 *
 * @irqs_off: they are, so that a bell can be rung without a search.
 */
bool rl_mmio_write(struct rl_vcpu *vcpu, gpa_t gpa, int len, const void *val, bool irqs_off)
{
	rl_trace(mmio, vcpu, true, gpa, len, val);
	if (rl_lapic_mmio_hit(vcpu, gpa)) {
		rl_lapic_mmio_write(vcpu, gpa, len, val);
		return true;
	}
	if (!rl_bus_claimed(vcpu->vm, RL_BUS_MMIO, gpa))
		return false;
	return (irqs_off && rl_bus_ring(vcpu, RL_BUS_MMIO, gpa, len, val)) ||
	       !rl_bus_write(vcpu, RL_BUS_MMIO, gpa, len, val);
}

/* Up to 8 bytes of a device: from the log, from the kernel, or user space first. */
static enum rl_emul_result read_piece(struct rl_insn *in, gpa_t gpa, void *buf, unsigned int len)
{
	struct mmio_piece *p;

	if (in->pos == MAX_PIECES)
		return RL_EMUL_UNHANDLED;
	/* A string ends its run here: the log is for one item. */
	in->e.stop = true;
	p = &in->reads[in->pos];
	if (in->pos < in->nr_reads) {
		if (p->gpa != gpa || p->len != len)
			return RL_EMUL_RETRY;	/* the guest rewrote the instruction */
		memcpy(buf, p->data, len);
		in->pos++;
		return RL_EMUL_OK;
	}
	p->gpa = gpa;
	p->len = len;
	if (!kernel_mmio_read(in->vcpu, gpa, len, p->data))
		return RL_EMUL_USER;
	rl_trace(mmio, in->vcpu, false, gpa, len, p->data);
	memcpy(buf, p->data, len);
	in->pos++;
	in->nr_reads++;
	return RL_EMUL_OK;
}

/* A slot without a host page behind it is user space's mistake, as in a second-stage fault. */
static enum rl_emul_result ram_result(struct rl_insn *in, int r)
{
	in->no_memory = r;
	return r ? RL_EMUL_UNHANDLED : RL_EMUL_OK;
}

static enum rl_emul_result read_gpa(struct rl_insn *in, gpa_t gpa, void *buf, unsigned int len,
				    unsigned int access)
{
	enum rl_emul_result r = RL_EMUL_OK;
	unsigned int n;

	if (!in->atomic && is_ram(in->vcpu, gpa, false))
		return ram_result(in, rl_guest_read(in->vcpu->vm, gpa, buf, len));
	/* Nobody runs code from a device. */
	if (access & RL_EMUL_FETCH)
		return RL_EMUL_UNHANDLED;
	for (; len && r == RL_EMUL_OK; len -= n, gpa += n, buf += n) {
		n = min(len, 8u);
		r = read_piece(in, gpa, buf, n);
	}
	return r;
}

static enum rl_emul_result write_gpa(struct rl_insn *in, gpa_t gpa, const void *buf,
				     unsigned int len)
{
	struct mmio_piece *p;
	unsigned int n;

	if (!in->atomic && is_ram(in->vcpu, gpa, true))
		return ram_result(in, rl_guest_write(in->vcpu->vm, gpa, buf, len));
	for (; len; len -= n, gpa += n, buf += n) {
		n = min(len, 8u);
		if (!in->nr_writes && rl_mmio_write(in->vcpu, gpa, n, buf, false))
			continue;
		if (in->nr_writes == MAX_PIECES)
			return RL_EMUL_UNHANDLED;
		p = &in->writes[in->nr_writes++];
		p->gpa = gpa;
		p->len = n;
		memcpy(p->data, buf, n);
		in->e.stop = true;
	}
	return RL_EMUL_OK;
}

static unsigned int in_page(u64 addr, unsigned int len)
{
	return min_t(unsigned int, len, PAGE_SIZE - (addr & ~PAGE_MASK));
}

static enum rl_emul_result op_read(struct rl_emul *e, u64 linear, void *buf, unsigned int len,
				   unsigned int access)
{
	enum rl_emul_result r;
	unsigned int n;
	gpa_t gpa;

	do {
		n = in_page(linear, len);
		r = translate(e, linear, access, &gpa);
		if (r == RL_EMUL_OK && !len)
			e->stop = !is_ram(to_vcpu(e), gpa, access & RL_EMUL_WRITE);
		if (r != RL_EMUL_OK || !len)
			return r;
		r = read_gpa(to_insn(e), gpa, buf, n, access);
		linear += n;
		buf += n;
		len -= n;
	} while (len && r == RL_EMUL_OK);
	return r;
}

static enum rl_emul_result op_write(struct rl_emul *e, u64 linear, const void *buf,
				    unsigned int len, unsigned int access)
{
	unsigned int n = in_page(linear, len);
	enum rl_emul_result r;
	gpa_t gpa, gpa2 = 0;

	/* Both pages must be writable before the first byte changes. */
	r = translate(e, linear, access | RL_EMUL_WRITE, &gpa);
	if (r == RL_EMUL_OK && n < len)
		r = translate(e, linear + n, access | RL_EMUL_WRITE, &gpa2);
	if (r == RL_EMUL_OK)
		r = write_gpa(to_insn(e), gpa, buf, n);
	if (r == RL_EMUL_OK && n < len)
		r = write_gpa(to_insn(e), gpa2, buf + n, len - n);
	return r;
}

static enum rl_emul_result op_cmpxchg(struct rl_emul *e, u64 linear, const void *old,
				      const void *new, unsigned int len, bool *ok)
{
	struct rl_vcpu *vcpu = to_vcpu(e);
	u64 expect = 0, val = 0;
	enum rl_emul_result r;
	gpa_t gpa;
	int ret;

	*ok = true;
	/* Wider than 8 or unaligned: a split lock. Not atomic against other vCPUs. */
	if (len > 8 || (linear & (len - 1)))
		return op_write(e, linear, new, len, RL_EMUL_WRITE);
	r = translate(e, linear, RL_EMUL_WRITE, &gpa);
	if (r != RL_EMUL_OK)
		return r;
	if (!is_ram(vcpu, gpa, true))
		return write_gpa(to_insn(e), gpa, new, len);
	memcpy(&expect, old, len);
	memcpy(&val, new, len);
	ret = rl_guest_cmpxchg(vcpu->vm, gpa, &expect, val, len);
	if (ret < 0)
		return ram_result(to_insn(e), ret);
	*ok = !ret;
	return RL_EMUL_OK;
}

static u32 first_item(const void *buf, unsigned int size)
{
	u32 val = 0;

	memcpy(&val, buf, size);
	return val;
}

static enum rl_emul_result op_pio(struct rl_emul *e, u16 port, unsigned int size,
				  unsigned int count, bool is_in)
{
	struct rl_insn *in = to_insn(e);
	struct rl_vcpu *vcpu = in->vcpu;
	unsigned int i = 0;

	if (!is_in)
		rl_trace(pio, vcpu, true, port, size, count, first_item(e->io_page, size));
	else if (in->pio_in_done && vcpu->pio.port == port && vcpu->pio.size == size)
		i = vcpu->pio.count;	/* what user space has answered */
	for (; i < count; i++) {
		void *item = e->io_page + i * size;

		if (is_in ? rl_bus_read(vcpu, RL_BUS_PIO, port, size, item) :
			    rl_bus_write(vcpu, RL_BUS_PIO, port, size, item))
			break;
	}
	/* A device in the kernel takes all of them. */
	if (i < count) {
		rl_pio_user(vcpu, port, size, is_in, count);
		in->pio_in = is_in;
		in->pio_out = e->stop = !is_in;
		return is_in ? RL_EMUL_USER : RL_EMUL_OK;
	}
	if (is_in)
		rl_trace(pio, vcpu, false, port, size, count, first_item(e->io_page, size));
	return RL_EMUL_OK;
}

static void op_get_seg(struct rl_emul *e, enum rl_seg_reg seg, struct rl_seg *out)
{
	rl_op(get_seg)(to_vcpu(e), out, seg);
}

static void op_set_seg(struct rl_emul *e, enum rl_seg_reg seg, const struct rl_seg *val)
{
	rl_ops->set_seg(to_vcpu(e), val, seg);
}

static void op_get_dtable(struct rl_emul *e, bool idt, struct rl_dtable *out)
{
	struct kvm_dtable dt;

	rl_ops->get_dt(to_vcpu(e), &dt, idt);
	out->base = dt.base;
	out->limit = dt.limit;
}

static u64 op_get_cr(struct rl_emul *e, unsigned int nr)
{
	return rl_get_cr(to_vcpu(e), nr);
}

static enum rl_emul_result op_set_cr(struct rl_emul *e, unsigned int nr, u64 val)
{
	struct rl_vcpu *vcpu = to_vcpu(e);
	int failed = rl_set_cr(vcpu, nr, val);

	e->cr0 = rl_cr0_read(vcpu);
	e->cr4 = rl_cr4_read(vcpu);
	e->efer = vcpu->efer;
	return failed ? rl_emul_fault_code(e, X86_TRAP_GP, 0) : RL_EMUL_OK;
}

/* @vector as rl_get_dr() says; the cause of #DB is noted when it is queued. */
static enum rl_emul_result dr_fault(struct rl_emul *e, int vector)
{
	if (!vector)
		return RL_EMUL_OK;
	return vector == X86_TRAP_GP ? rl_emul_fault_code(e, vector, 0) : rl_emul_fault(e, vector);
}

static enum rl_emul_result op_get_dr(struct rl_emul *e, unsigned int nr, u64 *val)
{
	return dr_fault(e, rl_get_dr(to_vcpu(e), nr, val));
}

static enum rl_emul_result op_set_dr(struct rl_emul *e, unsigned int nr, u64 val)
{
	return dr_fault(e, rl_set_dr(to_vcpu(e), nr, val));
}

static void op_xmm_read(struct rl_emul *e, unsigned int nr, void *buf)
{
	rl_xmm_read(to_vcpu(e), nr, buf);
}

static void op_xmm_write(struct rl_emul *e, unsigned int nr, const void *buf)
{
	rl_xmm_write(to_vcpu(e), nr, buf);
}

const struct rl_emul_ops rl_insn_ops = {
	.read = op_read,
	.write = op_write,
	.cmpxchg = op_cmpxchg,
	.pio = op_pio,
	.get_seg = op_get_seg,
	.set_seg = op_set_seg,
	.get_dtable = op_get_dtable,
	.get_cr = op_get_cr,
	.set_cr = op_set_cr,
	.get_dr = op_get_dr,
	.set_dr = op_set_dr,
	.xmm_read = op_xmm_read,
	.xmm_write = op_xmm_write,
};
