// SPDX-License-Identifier: GPL-2.0-only
/*
 * From a destination to local APICs: IPIs, MSIs and the I/O APIC's messages; and
 * what INIT and SIPI do to a vCPU.
 *
 * Owns:    struct rl_apic_map, what APIC ids mean right now.
 * Touches: local APICs through rl_lapic_receive().
 * Locks:   map->lock to rebuild the map, IRQs off; senders take none.
 * Manuals: SDM Vol 3A, "Determining IPI Destination".
 *
 * The map answers the common cases without a look at every vCPU: one physical
 * id, a flat or clustered logical id. Where the guest's ids are ambiguous (two
 * APICs with one id, several bits in one logical id) it calls itself irregular
 * and every APIC is asked, as it is for broadcasts.
 *
 * Entries are vCPU indexes plus one. A rebuild computes the new entries aside
 * and stores them one by one, so that a sender sees an old or a new one, never
 * none; ids that change while somebody sends to them are the guest's problem.
 */
#include <linux/nospec.h>
#include <linux/slab.h>

#include "../cpu/cpu.h"
#include "irq_priv.h"

struct xapic_ids {
	u16 phys[256];
	u16 flat[8];
	u16 cluster[16 * 4];
};

struct rl_apic_map {
	spinlock_t lock;		/* IRQs off; rebuilding */
	bool irregular;
	u16 x2apic[RL_MAX_VCPU_ID];	/* by vCPU id, in any mode */
	struct xapic_ids xapic;		/* those in xAPIC mode */
};

static void lapic_ids(const struct rl_lapic *apic, struct rl_apic_ids *ids)
{
	ids->x2apic_id = apic->vcpu->id;
	ids->xapic_id = lapic_get(apic, APIC_ID) >> 24;
	ids->x2apic = lapic_is_x2apic(apic);
	ids->ldr = lapic_get(apic, APIC_LDR);
	ids->dfr = lapic_get(apic, APIC_DFR);
}

/* False when the slot is somebody else's already. */
static bool claim(u16 *slot, int index)
{
	if (*slot)
		return false;
	*slot = index + 1;
	return true;
}

/* Enter an APIC in xAPIC mode; false when the map cannot express its ids. */
static bool map_xapic(struct xapic_ids *map, const struct rl_apic_ids *ids, int index)
{
	u8 ldr = ids->ldr >> 24;
	bool ok = true;

	/* With a big id it answers to that alone, until told otherwise. */
	if (ids->x2apic_id <= 0xff || ids->xapic_id != (u8)ids->x2apic_id)
		ok = claim(&map->phys[ids->xapic_id], index);
	if (!ldr)
		return ok;
	if (ids->dfr == RL_DFR_FLAT)
		return hweight8(ldr) == 1 && claim(&map->flat[ilog2(ldr)], index) && ok;
	if (ids->dfr != RL_DFR_CLUSTER)
		return false;
	if (!(ldr & 0xf))
		return ok;
	return hweight8(ldr & 0xf) == 1 &&
	       claim(&map->cluster[(ldr >> 4) * 4 + ilog2(ldr & 0xf)], index) && ok;
}

/**
 * rl_lapic_map_update() - An id or a mode of some local APIC changed
 * @vm: whose
 *
 * Context: any, IRQs on or off.
 */
void rl_lapic_map_update(struct rl_vm *vm)
{
	struct rl_apic_map *map = READ_ONCE(vm->irq.map);
	bool irregular = false;
	struct rl_apic_ids ids;
	struct xapic_ids new;
	struct rl_vcpu *vcpu;
	unsigned long flags;
	int i;

	if (!map)
		return;
	memset(&new, 0, sizeof(new));
	spin_lock_irqsave(&map->lock, flags);
	rl_for_each_vcpu(i, vcpu, vm) {
		if (!vcpu->lapic)
			continue;
		WRITE_ONCE(map->x2apic[vcpu->id], i + 1);
		if (!lapic_hw_enabled(vcpu->lapic))
			continue;
		lapic_ids(vcpu->lapic, &ids);
		if (!ids.x2apic && !map_xapic(&new, &ids, i))
			irregular = true;
	}
	if (irregular)
		WRITE_ONCE(map->irregular, true);
	for (i = 0; i < sizeof(new) / sizeof(u16); i++)
		WRITE_ONCE(((u16 *)&map->xapic)[i], ((u16 *)&new)[i]);
	/* Pairs with apic_dests(): a regular map is complete. */
	smp_store_release(&map->irregular, irregular);
	spin_unlock_irqrestore(&map->lock, flags);
}

int rl_apic_map_create(struct rl_vm *vm)
{
	struct rl_apic_map *map = kzalloc(sizeof(*map), GFP_KERNEL_ACCOUNT);

	if (!map)
		return -ENOMEM;
	spin_lock_init(&map->lock);
	WRITE_ONCE(vm->irq.map, map);
	return 0;
}

/* The APIC of a map's entry, if it is on and in the mode asked for. */
static struct rl_lapic *entry_lapic(struct rl_vm *vm, const u16 *slot, bool x2apic, bool any_mode)
{
	u16 entry = READ_ONCE(*slot);
	struct rl_lapic *apic;

	if (!entry)
		return NULL;
	apic = vm->vcpus[array_index_nospec(entry - 1, RL_MAX_VCPUS)]->lapic;
	if (!apic || !lapic_hw_enabled(apic))
		return NULL;
	return any_mode || lapic_is_x2apic(apic) == x2apic ? apic : NULL;
}

static struct rl_lapic *x2apic_by_id(struct rl_vm *vm, u32 id, bool any_mode)
{
	if (id >= RL_MAX_VCPU_ID)
		return NULL;
	id = array_index_nospec(id, RL_MAX_VCPU_ID);
	return entry_lapic(vm, &vm->irq.map->x2apic[id], true, any_mode);
}

static bool lapic_matches(struct rl_lapic *apic, const struct rl_apic_msg *msg)
{
	struct rl_apic_ids ids;

	if (!apic || !lapic_hw_enabled(apic))
		return false;
	if (msg->shorthand)
		return msg->shorthand == APIC_DEST_ALLINC || apic != msg->src;
	lapic_ids(apic, &ids);
	return rl_apic_match(&ids, msg->dest, msg->logical, msg->src,
			     apic->vcpu->vm->x2apic_api &
			     KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
}

static bool ask_everybody(struct rl_vm *vm, const struct rl_apic_msg *msg)
{
	if (msg->shorthand || msg->dest == RL_XAPIC_BROADCAST || msg->dest == RL_X2APIC_BROADCAST)
		return true;
	/* Pairs with rl_lapic_map_update(). */
	return smp_load_acquire(&vm->irq.map->irregular);
}

typedef int (*dest_fn)(struct rl_lapic *apic, const struct rl_apic_msg *msg, int *arg);

#define VISIT(lapic)							\
	do {								\
		struct rl_lapic *__apic = lapic;			\
									\
		if (__apic)						\
			n += fn(__apic, msg, arg);			\
	} while (0)

/* Call @fn once for each local APIC that @msg is for; the sum of its answers. */
static __always_inline int visit_dests(struct rl_vm *vm, const struct rl_apic_msg *msg,
				       dest_fn fn, int *arg)
{
	struct xapic_ids *xapic = &vm->irq.map->xapic;
	unsigned long bits;
	struct rl_vcpu *vcpu;
	int i, n = 0;
	u32 id;

	if (ask_everybody(vm, msg)) {
		rl_for_each_vcpu(i, vcpu, vm)
			if (lapic_matches(vcpu->lapic, msg))
				n += fn(vcpu->lapic, msg, arg);
		return n;
	}
	if (!msg->logical) {
		id = array_index_nospec(msg->dest & 0xff, 256);
		if (msg->dest <= 0xff)
			VISIT(entry_lapic(vm, &xapic->phys[id], false, false));
		VISIT(x2apic_by_id(vm, msg->dest, msg->dest > 0xff));
		return n;
	}
	bits = msg->dest & 0xff;
	for_each_set_bit(i, &bits, 8)
		VISIT(entry_lapic(vm, &xapic->flat[i], false, false));
	bits = msg->dest <= 0xff ? msg->dest & 0xf : 0;
	id = array_index_nospec((msg->dest >> 4) & 0xf, 16) * 4;
	for_each_set_bit(i, &bits, 4)
		VISIT(entry_lapic(vm, &xapic->cluster[id + i], false, false));
	bits = msg->dest & 0xffff;
	for_each_set_bit(i, &bits, 16)
		VISIT(x2apic_by_id(vm, (msg->dest >> 16) * 16 + i, false));
	return n;
}

static int receive(struct rl_lapic *apic, const struct rl_apic_msg *msg, int *unused)
{
	return rl_lapic_receive(apic, msg);
}

static int count_enabled(struct rl_lapic *apic, const struct rl_apic_msg *msg, int *unused)
{
	return lapic_sw_enabled(apic);
}

static int receive_nth(struct rl_lapic *apic, const struct rl_apic_msg *msg, int *nth)
{
	return lapic_sw_enabled(apic) && !(*nth)-- ? rl_lapic_receive(apic, msg) : 0;
}

static int count_busy(struct rl_lapic *apic, const struct rl_apic_msg *msg, int *unused)
{
	return lapic_test(apic, APIC_IRR, msg->vector) || lapic_test(apic, APIC_ISR, msg->vector) ||
	       test_bit(msg->vector, apic->posted.sent);
}

/**
 * rl_apic_deliver() - Send a message to every local APIC that it is for
 * @vm:  with an in-kernel irqchip
 * @msg: the message
 *
 * "Lowest priority" is any one of them: the vector chooses, so that a source
 * stays where it is and several spread. Context: any, IRQs on or off.
 * Return: the number of vCPUs that took it.
 */
int rl_apic_deliver(struct rl_vm *vm, const struct rl_apic_msg *msg)
{
	int n;

	if (msg->shorthand == APIC_DEST_SELF)
		return rl_lapic_receive(msg->src, msg);
	if (!msg->lowest)
		return visit_dests(vm, msg, receive, NULL);
	n = visit_dests(vm, msg, count_enabled, NULL);
	if (!n)
		return 0;
	n = msg->vector % n;
	return visit_dests(vm, msg, receive_nth, &n);
}

/* Is the vector still pending or in service somewhere it would go? */
bool rl_apic_dest_busy(struct rl_vm *vm, const struct rl_apic_msg *msg)
{
	return visit_dests(vm, msg, count_busy, NULL);
}

static struct rl_apic_msg icr_msg(struct rl_lapic *apic, u32 low, u32 dest)
{
	return (struct rl_apic_msg) {
		.dest = dest,
		.vector = low & APIC_VECTOR_MASK,
		.mode = low & APIC_MODE_MASK,
		.logical = low & APIC_DEST_LOGICAL,
		.assert = low & APIC_INT_ASSERT,
		.level = low & APIC_INT_LEVELTRIG,
		.lowest = (low & APIC_MODE_MASK) == APIC_DM_LOWEST,
		.shorthand = low & APIC_DEST_ALLBUT,
		.src = apic,
	};
}

/* A write of the interrupt command register; @dest is 8 bits in xAPIC mode. */
void rl_apic_send_icr(struct rl_lapic *apic, u32 low, u32 dest)
{
	struct rl_apic_msg msg = icr_msg(apic, low, dest);

	if (msg.mode <= APIC_DM_LOWEST && msg.vector < 16)
		rl_lapic_error(apic, APIC_ESR_SENDILL);
	else
		rl_apic_deliver(apic->vcpu->vm, &msg);
}

/**
 * rl_apic_send_ids() - An IPI to a set of vCPUs at once
 * @apic: who sends it
 * @low: lower half of an ICR, physical and without a shorthand
 * @ids: bit N is for the APIC id @min + N
 * @min: an APIC id
 *
 * Return: the number of vCPUs that took it.
 */
int rl_apic_send_ids(struct rl_lapic *apic, u32 low, unsigned long ids, u64 min)
{
	struct rl_apic_msg msg = icr_msg(apic, low, 0);
	struct rl_lapic *to;
	int i, n = 0;

	if (min >= RL_MAX_VCPU_ID)
		return 0;
	for_each_set_bit(i, &ids, BITS_PER_LONG) {
		to = x2apic_by_id(apic->vcpu->vm, min + i, true);
		if (to)
			n += rl_lapic_receive(to, &msg);
	}
	return n;
}

/* INIT and SIPI */

bool rl_lapic_has_init_sipi(struct rl_vcpu *vcpu)
{
	return vcpu->lapic && READ_ONCE(vcpu->lapic->events);
}

/*
 * SDM Vol 3A, "Multiple-Processor (MP) Initialization". A SIPI to a vCPU that
 * is not waiting for one is lost.
 */
void rl_lapic_do_init_sipi(struct rl_vcpu *vcpu)
{
	struct rl_lapic *apic = vcpu->lapic;
	struct rl_seg cs;
	u8 vector;

	if (!apic)
		return;
	if (test_and_clear_bit(LAPIC_INIT, &apic->events)) {
		rl_vcpu_reset(vcpu, true);
		WRITE_ONCE(vcpu->mp_state, rl_vcpu_is_bsp(vcpu) ? KVM_MP_STATE_RUNNABLE :
								  KVM_MP_STATE_INIT_RECEIVED);
	}
	if (!test_and_clear_bit(LAPIC_SIPI, &apic->events) ||
	    vcpu->mp_state != KVM_MP_STATE_INIT_RECEIVED)
		return;
	/* Pairs with rl_lapic_receive(). */
	smp_rmb();
	vector = READ_ONCE(apic->sipi_vector);
	rl_ops->get_seg(vcpu, &cs, RL_SEG_CS);
	cs.sel = vector << 8;
	cs.base = vector << 12;
	rl_ops->set_seg(vcpu, &cs, RL_SEG_CS);
	rl_rip_write(vcpu, 0);
	WRITE_ONCE(vcpu->mp_state, KVM_MP_STATE_RUNNABLE);
}
