// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC: registers, priorities, modes, INIT and SIPI.
 *
 * Owns:    struct rl_lapic and its register page.
 * Touches: ipi.c to send, lapic_timer.c, ioapic.c for the EOI of a level.
 * Locks:   none. IRR, TMR, errors and events are atomic bits that anybody sets;
 *          everything else belongs to the thread that holds vcpu->mutex.
 * Manuals: SDM Vol 3A, "Advanced Programmable Interrupt Controller (APIC)";
 *          APM Vol 2, "Advanced Programmable Interrupt Controller (APIC)".
 *
 * The page has the layout of KVM_GET_LAPIC, but for the ID in x2APIC mode,
 * which KVM_CAP_X2APIC_API lets user space see in either of two formats.
 * Nothing here sleeps: a guest's access may come with IRQs off.
 */
#include <linux/slab.h>
#include <asm/kvm_para.h>
#include <asm/msr-index.h>

#include "../cpu/cpu.h"
#include "irq_priv.h"

/*
 * xAPIC with six LVT entries, or seven with that of corrected machine checks; no
 * EOI-broadcast suppression, since our I/O APIC has no EOI register.
 */
#define LAPIC_VERSION(cmci)	(0x14 | (5 + (cmci)) << 16)

#define LVT_BITS	(APIC_LVT_MASKED | APIC_SEND_PENDING | APIC_VECTOR_MASK)
#define LVT_LINT_BITS	(LVT_BITS | APIC_MODE_MASK | APIC_INPUT_POLARITY |	\
			 APIC_LVT_REMOTE_IRR | APIC_LVT_LEVEL_TRIGGER)
#define X2APIC_ICR_RESERVED	(GENMASK_ULL(31, 20) | GENMASK_ULL(17, 16) | BIT_ULL(13))

#define REG(r)		BIT_ULL((r) >> 4)
#define REGS8(r)	(0xffull << ((r) >> 4))

/* What a read finds in both modes, and in xAPIC mode besides. */
static const u64 readable_regs =
	REG(APIC_ID) | REG(APIC_LVR) | REG(APIC_TASKPRI) | REG(APIC_PROCPRI) | REG(APIC_LDR) |
	REG(APIC_SPIV) | REGS8(APIC_ISR) | REGS8(APIC_TMR) | REGS8(APIC_IRR) | REG(APIC_ESR) |
	REG(APIC_ICR) | REG(APIC_LVTT) | REG(APIC_LVTTHMR) | REG(APIC_LVTPC) | REG(APIC_LVT0) |
	REG(APIC_LVT1) | REG(APIC_LVTERR) | REG(APIC_TMICT) | REG(APIC_TMCCT) | REG(APIC_TDCR);
static const u64 readable_xapic_regs = REG(APIC_ARBPRI) | REG(APIC_DFR) | REG(APIC_ICR2);

static bool has_cmci(const struct rl_lapic *apic)
{
	return apic->vcpu->mcg_cap & MCG_CMCI_P;
}

static u64 readable(const struct rl_lapic *apic)
{
	return has_cmci(apic) ? readable_regs | REG(APIC_LVTCMCI) : readable_regs;
}

static u32 lvt_bits(u32 reg)
{
	switch (reg) {
	case APIC_LVT0:
	case APIC_LVT1:
		return LVT_LINT_BITS;
	case APIC_LVTCMCI:
	case APIC_LVTTHMR:
	case APIC_LVTPC:
		return LVT_BITS | APIC_MODE_MASK;
	default:
		return LVT_BITS;
	}
}

bool rl_vcpu_is_bsp(const struct rl_vcpu *vcpu)
{
	return vcpu->id == vcpu->vm->irq.bsp_id;
}

/* Priorities */

/* Highest vector of IRR, or -1. Any context. */
int rl_lapic_irr(struct rl_lapic *apic)
{
	unsigned long words;
	u32 *word, bits;
	int i;

	while ((words = READ_ONCE(apic->irr_words))) {
		i = __fls(words);
		word = apic->regs + APIC_IRR + i * 0x10;
		bits = READ_ONCE(*word);
		if (bits)
			return i * 32 + __fls(bits);
		clear_bit(i, &apic->irr_words);
		/* Pairs with receive_vector(): if this was too late, set it again. */
		smp_mb__after_atomic();
		if (READ_ONCE(*word))
			set_bit(i, &apic->irr_words);
	}
	return -1;
}

static int lapic_find_pending(struct rl_lapic *apic)
{
	int irr;

	if (!lapic_hw_enabled(apic))
		return -1;
	if (apic->virtual)
		WRITE_ONCE(apic->irr_words, 0xff);	/* the CPU sets bits as well */
	irr = rl_lapic_irr(apic);
	if (rl_caps.virtual_apic)
		irr = max(irr, rl_apicv_sent(apic));
	/* Only a higher priority class than the processor's interrupts it. */
	if (irr < 0 || (irr & 0xf0) <= (lapic_get(apic, APIC_PROCPRI) & 0xf0))
		return -1;
	return irr;
}

static void lapic_update_ppr(struct rl_lapic *apic)
{
	if (apic->virtual)
		apic->isr_top = rl_apic_highest(apic->regs + APIC_ISR);
	lapic_set(apic, APIC_PROCPRI, rl_apic_ppr(lapic_get(apic, APIC_TASKPRI), apic->isr_top));
	if (unlikely(apic->vapic_addr))
		rl_vapic_publish(apic);
}

/* The processor's priority fell: something may have become deliverable. */
static void lapic_lowered(struct rl_lapic *apic)
{
	if (apic->virtual || lapic_find_pending(apic) >= 0)
		rl_request(apic->vcpu, RL_REQ_EVENT);
}

int rl_lapic_pending(struct rl_vcpu *vcpu)
{
	return vcpu->lapic ? lapic_find_pending(vcpu->lapic) : -1;
}

void rl_lapic_accept(struct rl_vcpu *vcpu, u8 vector)
{
	struct rl_lapic *apic = vcpu->lapic;

	clear_bit(vector & 31, lapic_word(apic, APIC_IRR, vector));
	__set_bit(vector & 31, lapic_word(apic, APIC_ISR, vector));
	/* Higher than all in service, or it would not have been pending. */
	apic->isr_top = vector;
	lapic_set(apic, APIC_PROCPRI, rl_apic_ppr(lapic_get(apic, APIC_TASKPRI), vector));
	if (unlikely(apic->vapic_addr))
		rl_vapic_publish(apic);
	if (vcpu->pv_eoi_msr & KVM_MSR_ENABLED)
		rl_pv_eoi_offer(apic, vector);
}

void rl_lapic_eoi(struct rl_lapic *apic)
{
	int vector = apic->virtual ? rl_apic_highest(apic->regs + APIC_ISR) : apic->isr_top;

	/* Software that probes the APIC sends EOIs out of the blue. */
	if (vector < 0)
		return;
	__clear_bit(vector & 31, lapic_word(apic, APIC_ISR, vector));
	apic->isr_top = rl_apic_highest(apic->regs + APIC_ISR);
	lapic_update_ppr(apic);
	rl_ioapic_eoi(apic->vcpu, vector, lapic_test(apic, APIC_TMR, vector));
	lapic_lowered(apic);
}

/* Whether it changed. */
bool rl_lapic_set_tpr(struct rl_lapic *apic, u32 tpr)
{
	if (tpr == lapic_get(apic, APIC_TASKPRI))
		return false;
	lapic_set(apic, APIC_TASKPRI, tpr);
	lapic_update_ppr(apic);
	return true;
}

void rl_lapic_set_cr8(struct rl_vcpu *vcpu, u64 cr8)
{
	if (!vcpu->lapic) {
		vcpu->cr8 = cr8;
		return;
	}
	/* What the CPU keeps in a virtual TPR comes back on every exit, without the lower half. */
	if (cr8 != lapic_get(vcpu->lapic, APIC_TASKPRI) >> 4 &&
	    rl_lapic_set_tpr(vcpu->lapic, (cr8 & 0xf) << 4))
		lapic_lowered(vcpu->lapic);
}

void rl_lapic_sync(struct rl_vcpu *vcpu)
{
	struct rl_lapic *apic = vcpu->lapic;

	if (!apic)
		return;
	if (unlikely(apic->vapic_addr))
		rl_vapic_fetch(apic);
	if (rl_caps.virtual_apic)
		rl_apicv_collect(apic);
	lapic_update_ppr(apic);
	rl_ops->update_apic(vcpu, lapic_get(apic, APIC_TASKPRI), rl_lapic_irr(apic),
			    apic->isr_top);
}

/* Receiving */

void rl_lapic_error(struct rl_lapic *apic, u32 bit)
{
	if (!test_and_set_bit(ilog2(bit), &apic->errors))
		rl_lapic_local_deliver(apic, APIC_LVTERR);
}

static int receive_vector(struct rl_lapic *apic, const struct rl_apic_msg *msg)
{
	unsigned long *tmr = lapic_word(apic, APIC_TMR, msg->vector);
	bool virtual = READ_ONCE(apic->virtual), merged;
	int bit = msg->vector & 31;

	if ((msg->level && !msg->assert) || !lapic_hw_enabled(apic) || !lapic_sw_enabled(apic))
		return 0;
	if (msg->vector < 16) {
		rl_lapic_error(apic, APIC_ESR_RECVILL);
		return 0;
	}
	if (test_bit(bit, tmr) != msg->level) {
		if (msg->level)
			set_bit(bit, tmr);
		else
			clear_bit(bit, tmr);
	}
	if (virtual)
		merged = test_and_set_bit(msg->vector, apic->posted.sent);
	else
		merged = test_and_set_bit(bit, lapic_word(apic, APIC_IRR, msg->vector));
	/* Whoever set it first also kicks. */
	if (!merged) {
		set_bit(msg->vector >> 5, &apic->irr_words);
		/* A vCPU's thread looks at its own requests before it enters. */
		if (virtual && msg->src != apic) {
			rl_apicv_notify(apic);
		} else {
			rl_request(apic->vcpu, RL_REQ_EVENT);
			if (msg->src != apic)
				rl_vcpu_kick(apic->vcpu);
		}
	}
	return 1;
}

/* A message arrives, in any context: 1 when taken, 0 when dropped. */
int rl_lapic_receive(struct rl_lapic *apic, const struct rl_apic_msg *msg)
{
	struct rl_vcpu *vcpu = apic->vcpu;

	switch (msg->mode) {
	case APIC_DM_FIXED:
	case APIC_DM_LOWEST:
		return receive_vector(apic, msg);
	case APIC_DM_NMI:
		rl_queue_nmi(vcpu);
		break;
	case APIC_DM_INIT:
		/* The de-assert of old only synchronized arbitration ids. */
		if (msg->level && !msg->assert)
			return 0;
		/* An INIT also cancels a SIPI that is still on its way. */
		WRITE_ONCE(apic->events, BIT(LAPIC_INIT));
		rl_request(vcpu, RL_REQ_APIC_STATE);
		break;
	case APIC_DM_STARTUP:
		WRITE_ONCE(apic->sipi_vector, msg->vector);
		/* Pairs with rl_lapic_do_init_sipi(): the vector before the bit. */
		smp_wmb();
		set_bit(LAPIC_SIPI, &apic->events);
		rl_request(vcpu, RL_REQ_APIC_STATE);
		break;
	default:
		/* No SMM; remote read and ExtINT are not for messages. */
		return 0;
	}
	rl_vcpu_kick(vcpu);
	return 1;
}

/* An LVT entry's source fires. Any context. Whether an interrupt came of it. */
bool rl_lapic_local_deliver(struct rl_lapic *apic, u32 lvt)
{
	u32 val = lapic_get(apic, lvt) & lvt_bits(lvt);
	struct rl_apic_msg msg = {
		.vector = val & APIC_VECTOR_MASK,
		.mode = val & APIC_MODE_MASK,
		.assert = true,
		.level = val & APIC_LVT_LEVEL_TRIGGER,
		/* The timer's is delivered by the vCPU's own thread. */
		.src = lvt == APIC_LVTT ? apic : NULL,
	};

	if (!lapic_hw_enabled(apic) || val & APIC_LVT_MASKED)
		return false;
	return rl_lapic_receive(apic, &msg);
}

bool rl_lapic_extint_ok(struct rl_vcpu *vcpu)
{
	struct rl_lapic *apic = vcpu->lapic;

	if (!apic)
		return false;
	/* Without an APIC the 8259's output is the CPU's INTR pin. */
	return !lapic_hw_enabled(apic) ||
	       (lapic_get(apic, APIC_LVT0) & (APIC_LVT_MASKED | APIC_MODE_MASK)) == APIC_DM_EXTINT;
}

void rl_lapic_nmi_wd(struct rl_vm *vm)
{
	struct rl_vcpu *vcpu;
	int i;

	if (!atomic_read(&vm->irq.nmi_lvt0))
		return;
	rl_for_each_vcpu(i, vcpu, vm) {
		struct rl_lapic *apic = vcpu->lapic;

		if (apic && (lapic_get(apic, APIC_LVT0) & APIC_MODE_MASK) == APIC_DM_NMI)
			rl_lapic_local_deliver(apic, APIC_LVT0);
	}
}

/* Registers */

static u32 lapic_read(struct rl_lapic *apic, u32 reg)
{
	switch (reg) {
	case APIC_TASKPRI:
		rl_vapic_report(apic, false);
		return lapic_get(apic, reg);
	case APIC_ARBPRI:
		return 0;
	case APIC_TMCCT:
		return rl_lapic_timer_count(apic);
	case APIC_PROCPRI:
		/* With a TPR shadow, TPR changes behind our back. */
		lapic_update_ppr(apic);
		fallthrough;
	default:
		return lapic_get(apic, reg);
	}
}

static void lapic_lvt0_changed(struct rl_lapic *apic)
{
	bool nmi = (lapic_get(apic, APIC_LVT0) & (APIC_LVT_MASKED | APIC_MODE_MASK)) == APIC_DM_NMI;

	if (nmi != apic->lvt0_nmi) {
		apic->lvt0_nmi = nmi;
		atomic_add(nmi ? 1 : -1, &apic->vcpu->vm->irq.nmi_lvt0);
	}
	/* The 8259's output may get through now. */
	rl_request(apic->vcpu, RL_REQ_EVENT);
}

static void lapic_mask_lvts(struct rl_lapic *apic)
{
	u32 reg;

	for (reg = APIC_LVTT; reg <= APIC_LVTERR; reg += 0x10)
		lapic_set(apic, reg, lapic_get(apic, reg) | APIC_LVT_MASKED);
	if (has_cmci(apic))
		lapic_set(apic, APIC_LVTCMCI, lapic_get(apic, APIC_LVTCMCI) | APIC_LVT_MASKED);
	lapic_lvt0_changed(apic);
}

static void lapic_write_lvt(struct rl_lapic *apic, u32 reg, u32 val)
{
	u32 bits = lvt_bits(reg);

	if (reg == APIC_LVTT)
		bits |= rl_guest_has(apic->vcpu, X86_FEATURE_TSC_DEADLINE_TIMER) ?
			APIC_LVT_TIMER_PERIODIC | APIC_LVT_TIMER_TSCDEADLINE :
			APIC_LVT_TIMER_PERIODIC;
	/* "Software disabled" forces the mask bits. */
	if (!lapic_sw_enabled(apic))
		val |= APIC_LVT_MASKED;
	lapic_set(apic, reg, val & bits);
	if (reg == APIC_LVTT)
		rl_lapic_timer_set_mode(apic);
	else if (reg == APIC_LVT0)
		lapic_lvt0_changed(apic);
}

/* Registers that x2APIC mode makes read-only or takes away; 1 when it is on. */
static int lapic_write_xapic_only(struct rl_lapic *apic, u32 reg, u32 val)
{
	if (lapic_is_x2apic(apic))
		return 1;
	lapic_set(apic, reg, val);
	if (reg != APIC_ICR2)
		rl_lapic_map_update(apic->vcpu->vm);
	return 0;
}

/* 0, or 1 where x2APIC mode raises #GP and xAPIC mode ignores the write. */
static int lapic_write(struct rl_lapic *apic, u32 reg, u32 val)
{
	bool x2apic = lapic_is_x2apic(apic);

	switch (reg) {
	case APIC_ID:
		return lapic_write_xapic_only(apic, reg, val & 0xff000000);
	case APIC_LDR:
		return lapic_write_xapic_only(apic, reg, val & APIC_LDR_MASK);
	case APIC_DFR:
		return lapic_write_xapic_only(apic, reg, val | 0x0fffffff);
	case APIC_ICR2:
		return lapic_write_xapic_only(apic, reg, val & 0xff000000);
	case APIC_TASKPRI:
		if (x2apic && val & ~APIC_TPRI_MASK)
			return 1;
		rl_vapic_report(apic, true);
		/* Also so that the backend learns of it. */
		if (rl_lapic_set_tpr(apic, val & APIC_TPRI_MASK))
			rl_request(apic->vcpu, RL_REQ_EVENT);
		return 0;
	case APIC_EOI:
		if (x2apic && val)
			return 1;
		rl_lapic_eoi(apic);
		return 0;
	case APIC_SPIV:
		lapic_set(apic, reg, val & (APIC_VECTOR_MASK | APIC_SPIV_APIC_ENABLED |
					    APIC_SPIV_FOCUS_DISABLED));
		if (!(val & APIC_SPIV_APIC_ENABLED))
			lapic_mask_lvts(apic);
		return 0;
	case APIC_ESR:
		if (x2apic && val)
			return 1;
		/* A write latches what happened since the last one. */
		lapic_set(apic, reg, xchg(&apic->errors, 0));
		return 0;
	case APIC_ICR:
		/* Messages arrive at once: never busy. */
		lapic_set(apic, reg, val & ~APIC_ICR_BUSY);
		rl_apic_send_icr(apic, val, lapic_get(apic, APIC_ICR2) >> 24);
		return 0;
	case APIC_LVTCMCI:
		if (!has_cmci(apic))
			return 1;
		fallthrough;
	case APIC_LVTT:
	case APIC_LVTTHMR:
	case APIC_LVTPC:
	case APIC_LVT0:
	case APIC_LVT1:
	case APIC_LVTERR:
		lapic_write_lvt(apic, reg, val);
		return 0;
	case APIC_TMICT:
		rl_lapic_timer_set_count(apic, val);
		return 0;
	case APIC_TDCR:
		lapic_set(apic, reg, val & 0xb);
		rl_lapic_timer_set_divisor(apic);
		return 0;
	case APIC_SELF_IPI:
		if (!x2apic || val & ~APIC_VECTOR_MASK)
			return 1;
		rl_apic_send_icr(apic, APIC_DEST_SELF | val, 0);
		return 0;
	default:
		return 1;
	}
}

void rl_lapic_write(struct rl_lapic *apic, u32 reg, u32 val)
{
	if (lapic_write(apic, reg, val))
		rl_lapic_error(apic, APIC_ESR_ILLREGA);
}

/* xAPIC page */

bool rl_lapic_mmio_hit(struct rl_vcpu *vcpu, gpa_t gpa)
{
	struct rl_lapic *apic = vcpu->lapic;

	if (!apic || (gpa ^ vcpu->apic_base) & MSR_IA32_APICBASE_BASE || gpa >> 52)
		return false;
	return (lapic_hw_enabled(apic) && !lapic_is_x2apic(apic)) ||
	       !(vcpu->vm->quirks_off & KVM_X86_QUIRK_LAPIC_MMIO_HOLE);
}

void rl_lapic_mmio_read(struct rl_vcpu *vcpu, gpa_t gpa, int len, void *val)
{
	struct rl_lapic *apic = vcpu->lapic;
	u32 off = gpa & 0xfff, data;

	memset(val, 0, len);
	if (!lapic_hw_enabled(apic) || lapic_is_x2apic(apic)) {
		memset(val, 0xff, len);
		return;
	}
	/* Accesses beyond the 32 bits of a register are undefined: zero here. */
	if ((off & 0xf) + len > 4)
		return;
	if (off >= 0x400 || !((readable(apic) | readable_xapic_regs) & REG(off))) {
		rl_lapic_error(apic, APIC_ESR_ILLREGA);
		return;
	}
	data = lapic_read(apic, off & ~0xf);
	memcpy(val, (u8 *)&data + (off & 0xf), len);
}

void rl_lapic_mmio_write(struct rl_vcpu *vcpu, gpa_t gpa, int len, const void *val)
{
	struct rl_lapic *apic = vcpu->lapic;
	u32 off = gpa & 0xfff;

	if (!lapic_hw_enabled(apic) || lapic_is_x2apic(apic))
		return;
	/* Registers are written with aligned 32-bit accesses only. */
	if (len != 4 || off & 0xf)
		return;
	rl_lapic_write(apic, off, *(const u32 *)val);
}

/* MSRs */

static int x2apic_write_icr(struct rl_lapic *apic, u64 data)
{
	if (data & X2APIC_ICR_RESERVED)
		return 1;
	lapic_set(apic, APIC_ICR, data & ~APIC_ICR_BUSY);
	lapic_set(apic, APIC_ICR2, data >> 32);
	rl_apic_send_icr(apic, data, data >> 32);
	return 0;
}

static bool x2apic_reg(struct rl_lapic *apic, u32 index, u32 *reg)
{
	*reg = (index - APIC_BASE_MSR) << 4;
	return apic && *reg < 0x400 && lapic_is_x2apic(apic);
}

/**
 * rl_lapic_msr_passes() - Can a guest in x2APIC mode have this MSR without an exit?
 * @index: in the x2APIC range
 * @write: WRMSR rather than RDMSR
 *
 * SDM Vol 3C, "Virtualizing MSR-Based APIC Accesses". The count is computed,
 * and ICR, one 64-bit register there, is two in the layout of KVM_GET_LAPIC.
 */
bool rl_lapic_msr_passes(u32 index, bool write)
{
	u32 reg = (index - APIC_BASE_MSR) << 4;
	u64 writable = REG(APIC_TASKPRI) | REG(APIC_EOI) | REG(APIC_SELF_IPI);

	if (reg >= 0x400)
		return false;
	return (write ? writable : readable_regs & ~(REG(APIC_ICR) | REG(APIC_TMCCT))) & REG(reg);
}

int rl_lapic_get_msr(struct rl_vcpu *vcpu, u32 index, u64 *data)
{
	struct rl_lapic *apic = vcpu->lapic;
	u32 reg;

	if (index == MSR_IA32_TSC_DEADLINE) {
		*data = apic ? rl_lapic_timer_get_deadline(apic) : 0;
		return 0;
	}
	if (!x2apic_reg(apic, index, &reg) || !(readable(apic) & REG(reg)))
		return 1;
	*data = lapic_read(apic, reg);
	if (reg == APIC_ICR)
		*data |= (u64)lapic_get(apic, APIC_ICR2) << 32;
	return 0;
}

int rl_lapic_set_msr(struct rl_vcpu *vcpu, u32 index, u64 data)
{
	struct rl_lapic *apic = vcpu->lapic;
	u32 reg;

	if (index == MSR_IA32_TSC_DEADLINE) {
		if (apic)
			rl_lapic_timer_set_deadline(apic, data);
		return 0;
	}
	if (!x2apic_reg(apic, index, &reg))
		return 1;
	if (reg == APIC_ICR)
		return x2apic_write_icr(apic, data);
	return data >> 32 ? 1 : lapic_write(apic, reg, data);
}

/* Modes */

static void lapic_reset_regs(struct rl_lapic *apic)
{
	u32 id = lapic_get(apic, APIC_ID), ldr = lapic_get(apic, APIC_LDR);
	struct rl_vcpu *vcpu = apic->vcpu;

	rl_lapic_timer_stop(apic);
	memset(apic->regs, 0, PAGE_SIZE);
	bitmap_zero(apic->posted.sent, 256);
	lapic_set(apic, APIC_ID, id);
	lapic_set(apic, APIC_LVR, LAPIC_VERSION(has_cmci(apic)));
	if (lapic_is_x2apic(apic))
		lapic_set(apic, APIC_LDR, ldr);
	lapic_set(apic, APIC_DFR, RL_DFR_FLAT);
	lapic_set(apic, APIC_SPIV, 0xff);
	lapic_mask_lvts(apic);
	/* Firmware that never heard of APICs expects its 8259 to work. */
	if (rl_vcpu_is_bsp(vcpu) && !(vcpu->vm->quirks_off & KVM_X86_QUIRK_LINT0_REENABLED))
		lapic_set(apic, APIC_LVT0, APIC_DM_EXTINT);
	lapic_lvt0_changed(apic);
	xchg(&apic->errors, 0);
	rl_lapic_timer_set_mode(apic);
	rl_lapic_timer_set_divisor(apic);
	apic->isr_top = -1;
	apic->irr_words = 0;
	vcpu->pv_eoi_msr = 0;
}

/* KVM_X86_SETUP_MCE: an entry that was not there yet is masked. */
void rl_lapic_update_cmci(struct rl_lapic *apic)
{
	lapic_set(apic, APIC_LVR, LAPIC_VERSION(has_cmci(apic)));
	lapic_set(apic, APIC_LVTCMCI, has_cmci(apic) ? APIC_LVT_MASKED : 0);
}

static void lapic_change_base(struct rl_lapic *apic, u64 base)
{
	u64 changed = apic->vcpu->apic_base ^ base;

	WRITE_ONCE(apic->vcpu->apic_base, base);
	if (!(changed & (XAPIC_ENABLE | X2APIC_ENABLE)))
		return;
	if (base & X2APIC_ENABLE) {
		lapic_set(apic, APIC_ID, apic->vcpu->id);
		lapic_set(apic, APIC_LDR, rl_x2apic_ldr(apic->vcpu->id));
	} else if (base & XAPIC_ENABLE) {
		lapic_set(apic, APIC_ID, apic->vcpu->id << 24);
	}
	rl_lapic_map_update(apic->vcpu->vm);
	rl_request(apic->vcpu, RL_REQ_EVENT);
	rl_apicv_choose(apic->vcpu);
	rl_ops->update_intercepts(apic->vcpu);
}

static u64 lapic_reset_base(struct rl_vcpu *vcpu)
{
	return APIC_DEFAULT_PHYS_BASE | XAPIC_ENABLE |
	       (rl_vcpu_is_bsp(vcpu) ? MSR_IA32_APICBASE_BSP : 0);
}

/* SDM Vol 3A, "x2APIC State Transitions"; user space may skip from any mode to any other. */
int rl_lapic_set_base(struct rl_vcpu *vcpu, u64 base, bool host)
{
	u64 reserved = ~GENMASK_ULL((vcpu->maxphyaddr ?: 36) - 1, 0) | 0x2ff;
	u64 old = vcpu->apic_base;
	bool was_on = old & XAPIC_ENABLE, was_x2 = old & X2APIC_ENABLE;
	bool on = base & XAPIC_ENABLE, x2 = base & X2APIC_ENABLE;

	if (!rl_guest_has(vcpu, X86_FEATURE_X2APIC))
		reserved |= X2APIC_ENABLE;
	if (base & reserved || (x2 && !on))
		return 1;
	if (!host && ((was_x2 && on && !x2) || (!was_on && x2)))
		return 1;
	if (!vcpu->lapic) {
		vcpu->apic_base = base;
		return 0;
	}
	lapic_change_base(vcpu->lapic, base);
	/* Off and on again is a reset of the APIC. */
	if (!host && was_on && !on)
		lapic_reset_regs(vcpu->lapic);
	return 0;
}

void rl_lapic_reset(struct rl_vcpu *vcpu, bool init)
{
	struct rl_lapic *apic = vcpu->lapic;

	if (!apic) {
		if (!init)
			vcpu->apic_base = lapic_reset_base(vcpu);
		return;
	}
	if (!init) {
		lapic_change_base(apic, lapic_reset_base(vcpu));
		lapic_set(apic, APIC_ID, vcpu->id << 24);
	}
	lapic_reset_regs(apic);
	rl_lapic_map_update(vcpu->vm);
}

int rl_lapic_create(struct rl_vcpu *vcpu)
{
	struct rl_lapic *apic;

	/* A power of two is aligned to itself, as the CPU wants apic->posted. */
	apic = kzalloc(roundup_pow_of_two(sizeof(*apic)), GFP_KERNEL_ACCOUNT);
	if (!apic)
		return -ENOMEM;
	apic->regs = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!apic->regs) {
		kfree(apic);
		return -ENOMEM;
	}
	apic->vcpu = vcpu;
	apic->isr_top = -1;
	rl_lapic_timer_init(apic);
	vcpu->lapic = apic;
	vcpu->apic_page = apic->regs;
	return 0;
}

void rl_lapic_destroy(struct rl_vcpu *vcpu)
{
	struct rl_lapic *apic = vcpu->lapic;

	if (!apic)
		return;
	hrtimer_cancel(&apic->timer.hrtimer);
	if (apic->lvt0_nmi)
		atomic_dec(&vcpu->vm->irq.nmi_lvt0);
	vcpu->lapic = NULL;
	vcpu->apic_page = NULL;
	free_page((unsigned long)apic->regs);
	kfree(apic);
}

/* KVM_GET_LAPIC, KVM_SET_LAPIC */

int rl_lapic_get_state(struct rl_vcpu *vcpu, struct kvm_lapic_state *s)
{
	struct rl_lapic *apic = vcpu->lapic;

	if (!apic)
		return -EINVAL;
	if (unlikely(apic->vapic_addr))
		rl_vapic_fetch(apic);
	/* What has expired is an interrupt: the page is all there is. */
	rl_lapic_timer_fired(vcpu);
	rl_apicv_collect(apic);
	memcpy(s->regs, apic->regs, sizeof(s->regs));
	*(u32 *)(s->regs + APIC_TMCCT) = rl_lapic_timer_count(apic);
	if (lapic_is_x2apic(apic) && !(vcpu->vm->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS))
		*(u32 *)(s->regs + APIC_ID) <<= 24;
	return 0;
}

int rl_lapic_set_state(struct rl_vcpu *vcpu, struct kvm_lapic_state *s)
{
	struct rl_lapic *apic = vcpu->lapic;
	u32 remaining = *(u32 *)(s->regs + APIC_TMCCT);

	if (!apic)
		return -EINVAL;
	if (lapic_is_x2apic(apic) && vcpu->vm->x2apic_api & KVM_X2APIC_API_USE_32BIT_IDS &&
	    *(u32 *)(s->regs + APIC_ID) != vcpu->id)
		return -EINVAL;

	memcpy(apic->regs, s->regs, sizeof(s->regs));
	bitmap_zero(apic->posted.sent, 256);
	if (lapic_is_x2apic(apic)) {
		lapic_set(apic, APIC_ID, vcpu->id);
		lapic_set(apic, APIC_LDR, rl_x2apic_ldr(vcpu->id));
	}
	lapic_set(apic, APIC_LVR, LAPIC_VERSION(has_cmci(apic)));
	lapic_set(apic, APIC_TMCCT, 0);
	apic->irr_words = 0xff;
	apic->isr_top = rl_apic_highest(apic->regs + APIC_ISR);
	lapic_update_ppr(apic);
	lapic_lvt0_changed(apic);
	rl_lapic_map_update(vcpu->vm);
	rl_lapic_timer_restore(apic, remaining);
	rl_request(vcpu, RL_REQ_EVENT);
	return 0;
}
