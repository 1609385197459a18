// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instructions that are carried out here rather than by the CPU: when, in which
 * context, and how the accesses that user space performs come back.
 *
 * Owns:    struct rl_insn, one a vCPU, made when it is first needed.
 * Touches: cpu/emulate.h, mm/, bus.h, irq/ (the APIC page), struct kvm_run.
 * Locks:   the vCPU's thread; takes vm->srcu.
 *
 * An instruction that reads a device is run again after every piece that user
 * space delivered: what was read from devices is logged, and answered from the
 * log the next time. Writes to devices come after the instruction has
 * committed, so those are only queued, and leave one by one.
 */
#include <uapi/asm/debugreg.h>
#include <asm/trapnr.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "cpu/cpu.h"
#include "insn.h"
#include "insn_priv.h"
#include "netlink.h"
#include "trace.h"
#include "vcpu.h"
#include "vm.h"

#define DR7_LOCAL	0x155ul		/* L0 to L3, LE */

static struct rl_insn *get_insn(struct rl_vcpu *vcpu)
{
	struct rl_insn *in = vcpu->insn;

	if (likely(in))
		return in;
	in = kzalloc(sizeof(*in), GFP_KERNEL_ACCOUNT);
	if (!in)
		return NULL;
	in->vcpu = vcpu;
	in->e.ops = &rl_insn_ops;
	in->e.regs = vcpu->regs;
	in->e.io_page = vcpu->pio_data;
	vcpu->insn = in;
	return in;
}

void rl_insn_free(struct rl_vcpu *vcpu)
{
	kfree(vcpu->insn);
}

#define DECODE_REGS (BIT(RL_REG_RIP) | BIT(RL_REG_RSP) | BIT(RL_REG_RFLAGS) | BIT(RL_REG_CR0))

/* All that decoding needs. */
static __always_inline void load_decode_context(struct rl_vcpu *vcpu, struct rl_emul *e)
{
	rl_need_regs(vcpu, DECODE_REGS);
	e->rip = vcpu->rip;
	e->rflags = vcpu->rflags;
	e->seg_valid = 0;
	e->mode = vcpu->cr0 & X86_CR0_PE ?
		  rl_emul_mode(vcpu->cr0, e->rflags, vcpu->efer, rl_op(cs_attr)(vcpu)) :
		  RL_MODE_REAL;
}

static void load_context(struct rl_vcpu *vcpu, struct rl_emul *e)
{
	load_decode_context(vcpu, e);
	e->cr0 = rl_cr0_read(vcpu);
	e->cr4 = rl_cr4_read(vcpu);
	e->efer = vcpu->efer;
	e->cpl = rl_ops->get_cpl(vcpu);
	e->stop = false;
}

/**
 * rl_internal_error() - Leave for user space: the guest did what we cannot do
 * @vcpu: the vCPU
 * @suberror: KVM_INTERNAL_ERROR_*
 */
int rl_internal_error(struct rl_vcpu *vcpu, u32 suberror)
{
	struct kvm_run *run = vcpu->run;

	rl_netlink_vcpu_stopped(vcpu, RINGLET_STOP_REASON_INTERNAL_ERROR, suberror);
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = suberror;
	if (suberror == KVM_INTERNAL_ERROR_EMULATION && vcpu->insn) {
		struct rl_emul *e = &vcpu->insn->e;

		run->emulation_failure.ndata = 1 + 2;
		run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
		run->emulation_failure.insn_size = min_t(u8, e->fetched, RL_INSN_MAX);
		memset(run->emulation_failure.insn_bytes, 0x90,
		       sizeof(run->emulation_failure.insn_bytes));
		memcpy(run->emulation_failure.insn_bytes, e->insn,
		       min_t(u8, e->fetched, RL_INSN_MAX));
	} else {
		run->internal.ndata = 2;
		run->internal.data[0] = vcpu->exit.hw_reason;
		run->internal.data[1] = raw_smp_processor_id();
	}
	return RL_EXIT_USER;
}

/**
 * rl_watch_rip() - User space is about to write registers
 * @vcpu: the vCPU
 *
 * If an access is user space's to finish, RIP tells at the end whether the
 * instruction that it belongs to is still the current one.
 */
void rl_watch_rip(struct rl_vcpu *vcpu)
{
	if (!vcpu->complete || vcpu->rip_watched)
		return;
	vcpu->user_rip = rl_linear_rip(vcpu);
	vcpu->rip_watched = true;
}

static int mmio_user(struct rl_vcpu *vcpu, const struct mmio_piece *p, bool write)
{
	struct kvm_run *run = vcpu->run;

	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = p->gpa;
	run->mmio.len = p->len;
	run->mmio.is_write = write;
	*(u64 *)run->mmio.data = write ? p->val & ~0ull >> (64 - 8 * p->len) : 0;
	return RL_EXIT_USER;
}

static int run_insn(struct rl_vcpu *vcpu, struct rl_insn *in);

static int complete_read(struct rl_vcpu *vcpu)
{
	struct rl_insn *in = vcpu->insn;
	struct mmio_piece *p;

	if (rl_user_moved_rip(vcpu))
		return RL_RESUME;
	p = &in->reads[in->nr_reads++];
	memcpy(p->data, vcpu->run->mmio.data, p->len);
	rl_trace(mmio, vcpu, false, p->gpa, p->len, p->data);
	return run_insn(vcpu, in);
}

static int complete_in(struct rl_vcpu *vcpu)
{
	struct rl_insn *in = vcpu->insn;

	if (rl_user_moved_rip(vcpu))
		return RL_RESUME;
	in->pio_in_done = true;
	return run_insn(vcpu, in);
}

static int complete_out(struct rl_vcpu *vcpu)
{
	return RL_RESUME;
}

static int send_writes(struct rl_vcpu *vcpu);

/* The next queued write, which the kernel does not take. */
static int send_write(struct rl_vcpu *vcpu, struct rl_insn *in)
{
	struct mmio_piece *p = &in->writes[in->sent++];

	vcpu->complete = in->sent < in->nr_writes ? send_writes : complete_out;
	return mmio_user(vcpu, p, true);
}

/* Those behind the first were not offered to devices in the kernel yet. */
static int send_writes(struct rl_vcpu *vcpu)
{
	struct rl_insn *in = vcpu->insn;

	for (; in->sent < in->nr_writes; in->sent++) {
		struct mmio_piece *p = &in->writes[in->sent];
		int idx = srcu_read_lock(&vcpu->vm->srcu);
		bool done = rl_mmio_write(vcpu, p->gpa, p->len, p->data, false);

		srcu_read_unlock(&vcpu->vm->srcu, idx);
		if (!done)
			return send_write(vcpu, in);
	}
	return RL_RESUME;
}

static void queue_fault(struct rl_vcpu *vcpu, const struct rl_emul_fault *f)
{
	if (f->vector == X86_TRAP_PF)
		rl_queue_page_fault(vcpu, f->error_code, f->cr2);
	else if (f->vector == X86_TRAP_DB)
		rl_queue_exception_p(vcpu, X86_TRAP_DB, RL_DR6_BD);	/* MOV DR under GD */
	else if (f->has_error)
		rl_queue_exception_e(vcpu, f->vector, f->error_code);
	else
		rl_queue_exception(vcpu, f->vector);
}

static void commit(struct rl_vcpu *vcpu, struct rl_emul *e)
{
	rl_rip_write(vcpu, e->rip);
	rl_rflags_write(vcpu, e->rflags);
	rl_set_dirty(vcpu, RL_REG_RSP);
}

/* A program's problem is its kernel's, unless user space wants to see all of them. */
static int emulation_failed(struct rl_vcpu *vcpu)
{
	if (vcpu->insn->no_memory)
		return -EFAULT;
	if (vcpu->vm->exit_on_emul_failure || !rl_ops->get_cpl(vcpu))
		return rl_internal_error(vcpu, KVM_INTERNAL_ERROR_EMULATION);
	rl_queue_exception(vcpu, X86_TRAP_UD);
	return RL_RESUME;
}

static int run_insn(struct rl_vcpu *vcpu, struct rl_insn *in)
{
	enum rl_emul_result res;
	struct rl_emul *e = &in->e;
	int idx;

	load_context(vcpu, e);
	in->pos = 0;
	in->nr_writes = in->sent = 0;
	in->pio_in = in->pio_out = in->no_memory = false;
	vcpu->stat.emulated++;
	idx = srcu_read_lock(&vcpu->vm->srcu);
	res = rl_emul_run(e);
	srcu_read_unlock(&vcpu->vm->srcu, idx);

	switch (res) {
	case RL_EMUL_OK:
		commit(vcpu, e);
		rl_op(set_shadow)(vcpu, e->shadow);
		if (e->single_step)
			rl_singlestep_done(vcpu);
		if (in->pio_out) {
			vcpu->complete = complete_out;
			return RL_EXIT_USER;
		}
		return in->nr_writes ? send_write(vcpu, in) : RL_RESUME;
	case RL_EMUL_FAULT:
		commit(vcpu, e);
		queue_fault(vcpu, &e->fault);
		return RL_RESUME;
	case RL_EMUL_USER:
		commit(vcpu, e);
		if (in->pio_in) {
			vcpu->complete = complete_in;
			return RL_EXIT_USER;
		}
		vcpu->complete = complete_read;
		return mmio_user(vcpu, &in->reads[in->nr_reads], false);
	case RL_EMUL_RETRY:
		commit(vcpu, e);
		return RL_RESUME;
	default:
		return emulation_failed(vcpu);
	}
}

/**
 * rl_emulate() - Emulate the instruction at RIP
 * @vcpu: the vCPU
 *
 * Or leave for user space with what rl_emulate_fast() began.
 * Context: vCPU's thread, loaded, may sleep.
 * Return: RL_RESUME, RL_EXIT_USER, -ENOMEM, -EFAULT for memory that user space lacks.
 */
int rl_emulate(struct rl_vcpu *vcpu)
{
	struct rl_insn *in = get_insn(vcpu);
	struct rl_exit *exit = &vcpu->exit;

	if (!in)
		return -ENOMEM;
	if (in->begun) {
		in->begun = false;
		if (in->nr_writes)
			return send_write(vcpu, in);
		vcpu->complete = complete_read;
		return mmio_user(vcpu, &in->reads[in->nr_reads], false);
	}
	in->nr_reads = 0;
	in->pio_in_done = false;
	in->hint = exit->kind == RL_EXIT_FAULT && !(exit->fault.access & RL_ACC_WALK);
	in->e.fetched = 0;
	if (exit->kind == RL_EXIT_FAULT && exit->fault.bytes_len) {
		in->e.fetched = min_t(u8, exit->fault.bytes_len, RL_INSN_MAX);
		memcpy(in->e.insn, exit->fault.bytes, in->e.fetched);
	}
	return run_insn(vcpu, in);
}

/**
 * rl_task_switch() - The hardware task switch that exited
 * @vcpu: the vCPU
 *
 * Context and return: as rl_emulate().
 */
int rl_task_switch(struct rl_vcpu *vcpu)
{
	struct rl_insn *in = get_insn(vcpu);
	struct rl_exit *exit = &vcpu->exit;
	u32 error_code = exit->task.error_code;
	enum rl_emul_result res;
	struct rl_emul *e;
	bool done, trap;
	int idx;

	if (!in)
		return -ENOMEM;
	e = &in->e;
	in->hint = false;
	do {	/* what caused it cannot be had again from the CPU */
		load_context(vcpu, e);
		e->next_rip = (u32)e->rip + (exit->task.skip ? exit->insn_len : 0);
		in->nr_reads = in->pos = in->nr_writes = in->sent = 0;
		idx = srcu_read_lock(&vcpu->vm->srcu);
		res = rl_emul_task_switch(e, exit->task.selector, exit->task.source,
					  exit->task.has_error ? &error_code : NULL,
					  &done, &trap);
		srcu_read_unlock(&vcpu->vm->srcu, idx);
		cond_resched();
	} while (res == RL_EMUL_RETRY && !signal_pending(current));
	if ((res != RL_EMUL_OK && res != RL_EMUL_FAULT) || in->nr_writes) {
		e->fetched = 0;
		return rl_internal_error(vcpu, KVM_INTERNAL_ERROR_EMULATION);
	}
	commit(vcpu, e);
	rl_op(set_shadow)(vcpu, 0);
	/* SDM Vol 3B, "Debug Control Register (DR7)": local breakpoints are one task's. */
	if (done) {
		vcpu->dr7 &= ~DR7_LOCAL;
		rl_update_dr(vcpu);
	}
	if (res == RL_EMUL_FAULT)
		queue_fault(vcpu, &e->fault);
	else if (trap)
		rl_queue_exception_p(vcpu, X86_TRAP_DB, DR_SWITCH);
	return RL_RESUME;
}

static noinline bool walk_code(struct rl_vcpu *vcpu, gva_t linear, gpa_t *gpa)
{
	u32 access = RL_ACC_FETCH | (rl_ops->get_cpl(vcpu) == 3 ? RL_ACC_USER : 0);
	struct rl_walk w;

	if (rl_walk(vcpu, linear, access, false, true, &w) || w.fault)
		return false;
	*gpa = w.gpa;
	return true;
}

/*
 * The page of code at RIP, as an address of user space that may be looked at
 * with page faults off. vm->srcu held. 0: not to be found without sleeping.
 */
static hva_t code_hva(struct rl_vcpu *vcpu, gva_t linear)
{
	gpa_t gpa = linear;
	hva_t hva;

	if (rl_cr0_read(vcpu) & X86_CR0_PG && !walk_code(vcpu, linear, &gpa))
		return 0;
	hva = rl_gfn_to_hva(vcpu->vm, gpa >> PAGE_SHIFT, false);
	return hva ? hva + (gpa & ~PAGE_MASK) : 0;
}

/* @words of 8 bytes from @hva, which lie in one page; never sleeps. */
static __always_inline bool copy_code(hva_t hva, u64 *to, int words)
{
	u64 __user *from = (u64 __user *)hva;
	bool ok = false;

	pagefault_disable();
	if (user_read_access_begin(from, words * sizeof(u64))) {
		unsafe_get_user(to[0], from, out);
		if (words > 1)
			unsafe_get_user(to[1], from + 1, out);
		ok = true;
out:
		user_read_access_end();
	}
	pagefault_enable();
	return ok;
}

/*
 * The fault's address is where the store begins, rather than where its second
 * page does? There, less of the store is left than all of it.
 */
static bool store_begins_at(struct rl_vcpu *vcpu, struct rl_emul *e, gpa_t gpa)
{
	u64 base = 0;

	if ((gpa & ~PAGE_MASK) >= e->size)
		return true;
	if (e->mode != RL_MODE_LONG64 || e->ea_seg == RL_SEG_FS || e->ea_seg == RL_SEG_GS)
		base = rl_op(seg_base)(vcpu, e->ea_seg);
	return !((base + e->ea - gpa) & ~PAGE_MASK);
}

static enum rl_emul_result fast_store(struct rl_vcpu *vcpu, struct rl_insn *in)
{
	gpa_t gpa = vcpu->exit.fault.gpa;
	struct rl_emul *e = &in->e;
	enum rl_emul_result res;

	res = rl_emul_decode_store(e);
	if (res != RL_EMUL_OK)
		return res;
	if ((gpa & ~PAGE_MASK) + e->size > PAGE_SIZE || !store_begins_at(vcpu, e, gpa))
		return RL_EMUL_UNHANDLED;
	if (!rl_mmio_write(vcpu, gpa, e->size, &e->src, true)) {
		in->writes[0].gpa = gpa;
		in->writes[0].len = e->size;
		in->writes[0].val = e->src;
		in->nr_writes = 1;
	}
	rl_rip_write(vcpu, e->next_rip);
	/* EPT violations set it: SDM Vol 3C, "Saving RIP, RSP, RFLAGS, and SSP". */
	if (e->rflags & X86_EFLAGS_RF)
		rl_rflags_write(vcpu, e->rflags & ~X86_EFLAGS_RF);
	return RL_EMUL_OK;
}

static enum rl_emul_result fast_load(struct rl_vcpu *vcpu, struct rl_insn *in)
{
	struct rl_emul *e = &in->e;
	enum rl_emul_result res;

	in->hint = in->atomic = e->mov_only = true;
	load_context(vcpu, e);
	res = rl_emul_run(e);
	in->atomic = e->mov_only = false;
	if (res == RL_EMUL_OK)
		commit(vcpu, e);
	return res;
}

/**
 * rl_emulate_fast() - A MOV from or to a device, with IRQs still off
 * @vcpu: the vCPU, stopped by a second-stage fault, with ->insn
 *
 * What the kernel answers is done. What user space has to answer is prepared,
 * and rl_emulate() goes on from there. Everything else is left alone.
 * Return: true when the guest can go on.
 */
bool rl_emulate_fast(struct rl_vcpu *vcpu)
{
	struct rl_insn *in = vcpu->insn;
	struct rl_exit *exit = &vcpu->exit;
	enum rl_emul_result res = RL_EMUL_UNHANDLED;
	struct rl_emul *e;
	gva_t linear;
	hva_t hva;
	int idx;

	if (exit->fault.access & (RL_ACC_WALK | RL_ACC_FETCH) || rl_event_pending(vcpu))
		return false;
	e = &in->e;
	idx = srcu_read_lock(&vcpu->vm->srcu);
	if (rl_gfn_to_slot(vcpu->vm, exit->fault.gpa >> PAGE_SHIFT))
		goto out;
	load_decode_context(vcpu, e);
	/* A single step ends behind the instruction, which is for the slow path. */
	if (e->rflags & X86_EFLAGS_TF)
		goto out;
	linear = e->rip;
	if (e->mode != RL_MODE_LONG64)
		linear = (u32)(rl_op(seg_base)(vcpu, RL_SEG_CS) + e->rip);
	if ((linear & ~PAGE_MASK) > PAGE_SIZE - 2 * sizeof(u64))
		goto out;
	if (exit->fault.bytes_len < RL_INSN_MAX) {
		hva = code_hva(vcpu, linear);
		if (!hva || !copy_code(hva, (u64 *)e->insn, 2))
			goto out;
	} else {
		memcpy(e->insn, exit->fault.bytes, RL_INSN_MAX);
	}
	e->fetched = RL_INSN_MAX;
	in->nr_reads = in->pos = in->nr_writes = in->sent = 0;
	res = exit->fault.access & RL_ACC_WRITE ? fast_store(vcpu, in) : fast_load(vcpu, in);
out:
	srcu_read_unlock(&vcpu->vm->srcu, idx);

	if (res != RL_EMUL_USER) {
		if (res != RL_EMUL_OK)
			return false;
		vcpu->stat.emulated++;
		rl_op(set_shadow)(vcpu, 0);
		if (!in->nr_writes)
			return true;
	}
	in->begun = true;
	exit->kind = RL_EXIT_EMULATE;
	return false;
}

/* Opcodes behind the exits whose instruction has no operands to look at. */
static int known_length(struct rl_vcpu *vcpu, u64 code)
{
	unsigned int kind = vcpu->exit.kind;

	if (kind == RL_EXIT_MSR)
		return (u16)code == (vcpu->exit.msr.write ? 0x300f : 0x320f) ? 2 : 0;
	if (kind == RL_EXIT_CPUID)
		return (u16)code == 0xa20f ? 2 : 0;
	return kind == RL_EXIT_HLT && (u8)code == 0xf4;
}

/**
 * rl_insn_length() - Find the length of the instruction that exited
 * @vcpu: the vCPU
 * @atomic: with IRQs off; gives up where it would have to sleep
 *
 * For CPUs that do not tell. Fills vcpu->exit.insn_len.
 * Return: 0; RL_RESUME when the guest gets a fault instead (queued) or must run the
 * instruction again; -EFAULT, -EAGAIN (@atomic), -ENOMEM.
 */
int rl_insn_length(struct rl_vcpu *vcpu, bool atomic)
{
	gva_t linear = rl_linear_rip(vcpu);
	struct rl_insn *in;
	u64 code = 0;
	hva_t hva;
	int n, idx;

	if ((linear & ~PAGE_MASK) <= PAGE_SIZE - sizeof(code)) {
		idx = srcu_read_lock(&vcpu->vm->srcu);
		hva = code_hva(vcpu, linear);
		if (hva && copy_code(hva, &code, 1))
			vcpu->exit.insn_len = known_length(vcpu, code);
		srcu_read_unlock(&vcpu->vm->srcu, idx);
		if (likely(vcpu->exit.insn_len))
			return 0;
	}
	if (atomic)
		return -EAGAIN;

	/* Prefixes, or an instruction over two pages: let the decoder look. */
	in = get_insn(vcpu);
	if (!in)
		return -ENOMEM;
	in->nr_reads = 0;
	in->hint = in->no_memory = false;
	in->pos = 0;
	in->e.fetched = 0;
	load_context(vcpu, &in->e);
	idx = srcu_read_lock(&vcpu->vm->srcu);
	n = rl_emul_decode(&in->e);
	srcu_read_unlock(&vcpu->vm->srcu, idx);
	switch (n) {
	case RL_EMUL_OK:
		vcpu->exit.insn_len = in->e.insn_len;
		return 0;
	case RL_EMUL_FAULT:
		queue_fault(vcpu, &in->e.fault);
		return RL_RESUME;
	case RL_EMUL_RETRY:
		return RL_RESUME;
	default:
		/* Nothing that exits: another vCPU has put another instruction there. */
		return in->no_memory ? -EFAULT : RL_RESUME;
	}
}

/* An IN's result: AL and AX leave the rest of RAX alone, EAX clears it. */
void rl_pio_result(struct rl_vcpu *vcpu, int size, u32 val)
{
	unsigned long mask = ~0u >> (32 - 8 * size), rest = size < 4 ? ~mask : 0;

	vcpu->regs[RL_RAX] = (vcpu->regs[RL_RAX] & rest) | (val & mask);
}
