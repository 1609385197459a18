/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the interrupt controllers know of one another.
 *
 * Lock order, all taken with IRQs off: an eventfd's wait queue (irqfd) >
 * irq.irqfd_lock; eventfd's wait queue > ioapic->lock, pic->lock > map->lock;
 * pit->lock by itself. Ack notifiers (resampling, PIT) are called with none of them
 * held, since they signal eventfds and lower lines.
 */
#ifndef RL_IRQ_PRIV_H
#define RL_IRQ_PRIV_H

#include <linux/hrtimer.h>
#include <asm/apicdef.h>

#include "../bus.h"
#include "../vcpu.h"
#include "../vm.h"
#include "apic_math.h"
#include "irq.h"

/* Faster periodic timers would let a guest drown the host in interrupts. */
#define RL_MIN_PERIOD_NS	200000

/*
 * Who drives an interrupt line: the line is high while any of them says so.
 */
enum rl_irq_source { RL_SRC_USER, RL_SRC_RESAMPLE, RL_SRC_PIT };

static inline bool rl_line_level(u8 *sources, enum rl_irq_source src, int level)
{
	if (level)
		*sources |= BIT(src);
	else
		*sources &= ~BIT(src);
	return *sources;
}

/* An interrupt message between APICs; SDM Vol 3A, "Interrupt Command Register (ICR)". */
struct rl_apic_msg {
	u32 dest;
	u8 vector;
	u16 mode;		/* APIC_DM_* */
	bool logical;
	bool assert;
	bool level;		/* trigger mode */
	bool lowest;		/* one of the matching APICs only */
	u32 shorthand;		/* 0 or APIC_DEST_SELF, _ALLINC, _ALLBUT */
	struct rl_lapic *src;	/* NULL: a device */
};

/* A device's, by the lower half of a redirection entry or the data of an MSI: same layout. */
static inline struct rl_apic_msg rl_device_msg(u32 data, u32 dest, bool logical)
{
	return (struct rl_apic_msg){
		.dest = dest,
		.vector = data,
		.mode = data & APIC_MODE_MASK,
		.logical = logical,
		.assert = true,
		.level = data & BIT(15),
		.lowest = (data & APIC_MODE_MASK) == APIC_DM_LOWEST,
	};
}

/* lapic.c; [v] the vCPU's thread (vcpu->mutex), [a] atomic, anybody */
struct rl_lapic_timer {
	struct hrtimer hrtimer;
	u32 mode;		/* [v] APIC_LVT_TIMER_* */
	u32 divisor;		/* [v] */
	u64 period_ns;		/* [v] while not armed; the callback reads it */
	u64 tsc_deadline;	/* [v] */
	bool pending;		/* [a] expired, not yet an interrupt */
};

/*
 * Interrupts on their way to the IRR of an APIC that the CPU runs, in the layout of
 * SDM Vol 3C, "Posted-Interrupt Processing": 64 bytes.
 */
struct rl_posted {
	unsigned long sent[4];
	unsigned long notified;	/* bit 0, "ON": whoever sets it sends the IPI */
	unsigned long others[3];
} __aligned(64);

struct rl_lapic {
	struct rl_vcpu *vcpu;
	void *regs;		/* the page; IRR and TMR [a], the rest [v] */
	unsigned long irr_words; /* [a] words of IRR that may have bits; see rl_lapic_irr() */
	int isr_top;		/* [v] highest vector in service, or -1; not if @virtual */
	bool virtual;		/* [v] the CPU delivers from IRR and takes EOIs: apicv.c */
	struct rl_posted posted; /* [a] if so */
	gpa_t vapic_addr;	/* [v] KVM_SET_VAPIC_ADDR, 0: none */
	bool lvt0_nmi;		/* [v] counted in irq.nmi_lvt0 */
	unsigned long errors;	/* [a] ESR bits since the last write of ESR */
	unsigned long events;	/* [a] LAPIC_INIT, LAPIC_SIPI */
	u8 sipi_vector;		/* written before LAPIC_SIPI is set */
	struct rl_lapic_timer timer;
};

enum { LAPIC_INIT, LAPIC_SIPI };

static inline u32 lapic_get(const struct rl_lapic *apic, u32 reg)
{
	return READ_ONCE(*(u32 *)(apic->regs + reg));
}

static inline void lapic_set(struct rl_lapic *apic, u32 reg, u32 val)
{
	WRITE_ONCE(*(u32 *)(apic->regs + reg), val);
}

/* 256 bits in eight registers, each at the start of 16 bytes */
static inline unsigned long *lapic_word(struct rl_lapic *apic, u32 reg, u8 vector)
{
	/* Little endian, and bit 31 is the highest used: atomic long ops fit. */
	return apic->regs + reg + (vector >> 5) * 0x10;
}

static inline bool lapic_test(struct rl_lapic *apic, u32 reg, u8 vector)
{
	return test_bit(vector & 31, lapic_word(apic, reg, vector));
}

static inline bool lapic_hw_enabled(const struct rl_lapic *apic)
{
	return READ_ONCE(apic->vcpu->apic_base) & XAPIC_ENABLE;
}

static inline bool lapic_is_x2apic(const struct rl_lapic *apic)
{
	const u64 both = XAPIC_ENABLE | X2APIC_ENABLE;

	return (READ_ONCE(apic->vcpu->apic_base) & both) == both;
}

static inline bool lapic_sw_enabled(const struct rl_lapic *apic)
{
	return lapic_get(apic, APIC_SPIV) & APIC_SPIV_APIC_ENABLED;
}

int rl_lapic_receive(struct rl_lapic *apic, const struct rl_apic_msg *msg);
bool rl_lapic_local_deliver(struct rl_lapic *apic, u32 lvt);
void rl_lapic_update_cmci(struct rl_lapic *apic);
void rl_lapic_error(struct rl_lapic *apic, u32 bit);
void rl_lapic_eoi(struct rl_lapic *apic);
int rl_lapic_irr(struct rl_lapic *apic);

bool rl_lapic_set_tpr(struct rl_lapic *apic, u32 tpr);	/* whether it changed */
void rl_lapic_write(struct rl_lapic *apic, u32 reg, u32 val);

/* vapic.c */
void rl_vapic_publish(struct rl_lapic *apic);
void rl_vapic_fetch(struct rl_lapic *apic);
void rl_vapic_report(struct rl_lapic *apic, bool write);

/* pv_eoi.c */
void rl_pv_eoi_offer(struct rl_lapic *apic, u8 vector);

/* apicv.c */
void rl_apicv_collect(struct rl_lapic *apic);
void rl_apicv_notify(struct rl_lapic *apic);
int rl_apicv_sent(const struct rl_lapic *apic);
void rl_eoi_vectors_changed(struct rl_vm *vm);

/* lapic_timer.c */
void rl_lapic_timer_init(struct rl_lapic *apic);
void rl_lapic_timer_stop(struct rl_lapic *apic);
void rl_lapic_timer_set_mode(struct rl_lapic *apic);
void rl_lapic_timer_set_count(struct rl_lapic *apic, u32 count);
void rl_lapic_timer_set_divisor(struct rl_lapic *apic);
u32 rl_lapic_timer_count(struct rl_lapic *apic);
void rl_lapic_timer_restore(struct rl_lapic *apic, u32 remaining);
u64 rl_lapic_timer_get_deadline(struct rl_lapic *apic);
void rl_lapic_timer_set_deadline(struct rl_lapic *apic, u64 deadline);

/* ipi.c */
int rl_apic_map_create(struct rl_vm *vm);
int rl_apic_deliver(struct rl_vm *vm, const struct rl_apic_msg *msg);
bool rl_apic_dest_busy(struct rl_vm *vm, const struct rl_apic_msg *msg);
void rl_apic_send_icr(struct rl_lapic *apic, u32 low, u32 dest);

/* ioapic.c */
int rl_ioapic_create(struct rl_vm *vm);
void rl_ioapic_stop(struct rl_vm *vm);
void rl_ioapic_destroy(struct rl_vm *vm);
/* Does a pin, or somebody behind one, wait for the end of this vector? */
bool rl_ioapic_waits(struct rl_vcpu *vcpu, u8 vector);
int rl_ioapic_set_irq(struct rl_vm *vm, u8 pin, enum rl_irq_source src, int level,
		      bool line_status);
void rl_ioapic_eoi(struct rl_vcpu *vcpu, u8 vector, bool level);
void rl_ioapic_state(struct rl_vm *vm, struct kvm_ioapic_state *state, bool set);
void rl_ioapic_notifiers_changed(struct rl_vm *vm);
void rl_ioapic_eoi_vectors(struct rl_vm *vm, unsigned long *vectors);

/* pic.c */
int rl_pic_create(struct rl_vm *vm);
void rl_pic_destroy(struct rl_vm *vm);
int rl_pic_set_irq(struct rl_vm *vm, u8 pin, enum rl_irq_source src, int level);
void rl_pic_state(struct rl_vm *vm, int chip, struct kvm_pic_state *state, bool set);

/* pit.c */
void rl_pit_stop(struct rl_vm *vm);
bool rl_pit_wants_ack(struct rl_vm *vm);
void rl_pit_acked(struct rl_vm *vm);
void rl_pit_unmasked(struct rl_vm *vm);

/* routing.c */
int rl_routing_default(struct rl_vm *vm);
void rl_routing_free(struct rl_vm *vm);
int rl_set_gsi_from(struct rl_vm *vm, enum rl_irq_source src, u32 gsi, int level, bool line_status);
void rl_users_eoi_vectors(struct rl_vm *vm, unsigned long *vectors);
bool rl_pin_has_notifier(struct rl_vm *vm, int chip, int pin);
void rl_pin_acked(struct rl_vm *vm, int chip, int pin);
void rl_pin_unmasked(struct rl_vm *vm, int chip, int pin);

/* irqfd.c */
void rl_irqfd_init(struct rl_vm *vm);
void rl_irqfd_stop(struct rl_vm *vm);
bool rl_resample_wanted(struct rl_vm *vm, u32 gsi);
void rl_resample_acked(struct rl_vm *vm, u32 gsi);

#endif
