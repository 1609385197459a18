// SPDX-License-Identifier: GPL-2.0
/* The fuzzer's random numbers, arguments that a random structure would never hit, and all calls. */
#include "fuzz.h"

u64 rnd64(void)
{
	s.rng ^= s.rng << 13;
	s.rng ^= s.rng >> 7;
	s.rng ^= s.rng << 17;
	return s.rng * 0x2545f4914f6cdd1d;
}

u32 rnd(u32 below)
{
	return (rnd64() >> 33) % below;
}

bool one_in(u32 n)
{
	return !rnd(n);
}

u64 odd_number(void)
{
	static const u64 numbers[] = {
		0, 1, 2, 3, 4, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 511, 512, 1023, 1024,
		4095, 4096, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff,
		0x100000000, 0xfee00000, 0xfec00000, 1ull << 40, 1ull << 47, 1ull << 52,
		0xffff800000000000, 0x7fffffffffffffff, 1ull << 63, -4096ull, -1ull,
	};

	return one_in(8) ? rnd64() : numbers[rnd(ARRAY_SIZE(numbers))] + (one_in(6) ? rnd(3) - 1 : 0);
}

void scribble(u8 *p, size_t size)
{
	switch (rnd(4)) {
	case 0:
		memset(p, 0, size);
		break;
	case 1:
		for (size_t i = 0; i < size; i++)
			p[i] = rnd64() >> 40;
		break;
	case 2:
		memset(p, 0, size);
		for (u32 n = 1 + rnd(4); n && size >= 8; n--)
			*(u64 *)(p + rnd(size / 8) * 8) = odd_number();
		break;
	default:
		memset(p, 0, size);
		for (size_t i = 0; i + 4 <= size && i < 64; i += 4)
			*(u32 *)(p + i) = one_in(2) ? rnd(8) : odd_number();
		break;
	}
}

void flip(u8 *p, size_t size)
{
	for (u32 n = rnd(4); n && size; n--) {
		if (one_in(2) || size < 8)
			p[rnd(size)] ^= 1 << rnd(8);
		else
			*(u64 *)(p + rnd(size / 8) * 8) = odd_number();
	}
}

/* Arguments that a random structure would never hit. */

static u64 guest_page(void)
{
	static const u64 bases[] = { 0, 0, 0, 0x8000, 0x10000, 0x100000, 0x200000, 0xfee00000,
				     0xfffff000, 0x100000000, 1ull << 39 };

	return bases[rnd(ARRAY_SIZE(bases))] + PAGE * rnd(4) * one_in(2);
}

static size_t make_region(void *p)
{
	struct kvm_userspace_memory_region *r = p;
	u32 first = rnd(ARENA_PAGES);

	r->slot = one_in(8) ? odd_number() : rnd(6);
	r->flags = one_in(16) ? odd_number() : rnd(4) * one_in(3);
	r->guest_phys_addr = one_in(16) ? odd_number() : guest_page();
	r->memory_size = one_in(4) ? 0 : one_in(16) ? odd_number() :
			 PAGE * (u64)(1 + rnd(ARENA_PAGES - first));
	r->userspace_addr = one_in(16) ? odd_number() : (u64)s.arena + PAGE * first;
	if (r->memory_size >= 4 * PAGE && !r->flags) {
		s.region_gpa = r->guest_phys_addr;
		s.region = s.arena + PAGE * first;
	}
	return sizeof(*r);
}

static size_t make_dirty_log(void *p)
{
	struct kvm_dirty_log *l = p;

	l->slot = rnd(6);
	l->dirty_bitmap = one_in(8) ? (void *)odd_number() : s.arena;
	return sizeof(*l);
}

static size_t make_clear_log(void *p)
{
	struct kvm_clear_dirty_log *l = p;

	l->slot = rnd(6);
	l->first_page = one_in(3) ? odd_number() : 64 * rnd(4);
	l->num_pages = one_in(3) ? odd_number() : 1 + rnd(ARENA_PAGES);
	l->dirty_bitmap = one_in(8) ? (void *)odd_number() : s.arena;
	return sizeof(*l);
}

static size_t make_routing(void *p)
{
	struct kvm_irq_routing *r = p;
	u32 n = rnd(8);

	r->nr = one_in(16) ? odd_number() : n;
	r->flags = one_in(16);
	for (u32 i = 0; i < n; i++) {
		struct kvm_irq_routing_entry *e = &r->entries[i];

		memset(e, 0, sizeof(*e));
		e->gsi = one_in(10) ? odd_number() : rnd(32);
		e->type = one_in(10) ? odd_number() : 1 + rnd(4);
		e->flags = one_in(16) ? odd_number() : 0;
		if (e->type == KVM_IRQ_ROUTING_IRQCHIP) {
			e->u.irqchip.irqchip = one_in(10) ? odd_number() : rnd(3);
			e->u.irqchip.pin = one_in(10) ? odd_number() : rnd(24);
		} else {
			e->u.msi.address_lo = 0xfee00000 | rnd(1 << 20);
			e->u.msi.address_hi = one_in(8) ? odd_number() : 0;
			e->u.msi.data = rnd(0x10000);
		}
	}
	return sizeof(*r) + n * sizeof(r->entries[0]);
}

static u32 some_fd(void)
{
	enum kind k = rnd(KINDS);

	if (one_in(8))
		return odd_number();
	if (one_in(10) && s.nr[k])
		return s.objs[k][rnd(s.nr[k])].fd;
	return s.events[rnd(ARRAY_SIZE(s.events))];
}

static size_t make_irqfd(void *p)
{
	struct kvm_irqfd *i = p;

	i->fd = some_fd();
	i->gsi = one_in(10) ? odd_number() : rnd(32);
	i->flags = one_in(16) ? odd_number() : rnd(4);
	i->resamplefd = some_fd();
	return sizeof(*i);
}

static size_t make_ioeventfd(void *p)
{
	struct kvm_ioeventfd *i = p;

	i->fd = some_fd();
	i->addr = one_in(8) ? odd_number() : one_in(2) ? guest_page() : 0x10 + rnd(8);
	i->len = one_in(8) ? odd_number() : (1 << rnd(4)) * one_in(2);
	i->flags = one_in(16) ? odd_number() : rnd(8);
	i->datamatch = rnd(4);
	return sizeof(*i);
}

static size_t make_msi(void *p)
{
	struct kvm_msi *m = p;

	m->address_lo = one_in(8) ? odd_number() : 0xfee00000 | rnd(1 << 20);
	m->data = rnd(0x10000);
	m->flags = one_in(16) ? odd_number() : 0;
	return sizeof(*m);
}

static size_t make_cap(void *p)
{
	struct kvm_enable_cap *c = p;
	static const u32 caps[] = {
		KVM_CAP_DISABLE_QUIRKS, KVM_CAP_DISABLE_QUIRKS2, KVM_CAP_SPLIT_IRQCHIP,
		KVM_CAP_X2APIC_API, KVM_CAP_EXCEPTION_PAYLOAD, KVM_CAP_X86_USER_SPACE_MSR,
		KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_CAP_DIRTY_LOG_RING, KVM_CAP_MAX_VCPU_ID,
		KVM_CAP_X86_BUS_LOCK_EXIT, KVM_CAP_PMU_CAPABILITY, KVM_CAP_EXIT_ON_EMULATION_FAILURE,
		KVM_CAP_HALT_POLL, KVM_CAP_HYPERV_SYNIC2, KVM_CAP_ENFORCE_PV_FEATURE_CPUID,
		KVM_CAP_SGX_ATTRIBUTE, KVM_CAP_X86_TRIPLE_FAULT_EVENT, KVM_CAP_HYPERV_ENFORCE_CPUID,
		KVM_CAP_X86_NOTIFY_VMEXIT, KVM_CAP_VM_DISABLE_NX_HUGE_PAGES,
		KVM_CAP_X86_DISABLE_EXITS,
	};

	c->cap = one_in(8) ? odd_number() : caps[rnd(ARRAY_SIZE(caps))];
	c->flags = one_in(16) ? odd_number() : 0;
	for (u32 i = 0; i < 4; i++)
		c->args[i] = one_in(2) ? rnd(256) : odd_number();
	/* QEMU's emulator may forget to wake a CPU that a guest has put to sleep. */
	if (c->cap == KVM_CAP_X86_DISABLE_EXITS)
		c->args[0] &= ~(u64)(KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_MWAIT);
	/* Dirty rings forbid the log for good: rarely. */
	if (c->cap == KVM_CAP_DIRTY_LOG_RING && !one_in(20))
		c->cap = KVM_CAP_X2APIC_API;
	if (c->cap == KVM_CAP_DIRTY_LOG_RING && one_in(2))
		c->args[0] = 1ull << (10 + rnd(12));
	return sizeof(*c);
}

static u32 some_msr(void)
{
	static const u32 msrs[] = {
		0x10, 0x1b, 0x3a, 0x3b, 0x8b, 0xc1, 0xfe, 0x11, 0x12, 0x174, 0x175, 0x176, 0x179, 0x17a,
		0x17b, 0x186, 0x1a0, 0x1d9, 0x200, 0x250, 0x277, 0x2ff, 0x400, 0x401, 0x403, 0x6e0, 0x802,
		0x808, 0x80f, 0x830, 0x832, 0x838, 0xda0, 0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03,
		0x4b564d04, 0x4b564d05, 0x4b564d06, 0x40000000, 0x40000001, 0xc0000080, 0xc0000081,
		0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103,
		0xc0010000, 0xc0010015, 0xc0010058, 0xc0010114, 0xc0010117, 0xc0011029,
	};

	return one_in(10) ? odd_number() : msrs[rnd(ARRAY_SIZE(msrs))];
}

static size_t make_msrs(void *p)
{
	struct kvm_msrs *m = p;
	u32 n = rnd(8);

	m->nmsrs = one_in(16) ? odd_number() : n;
	for (u32 i = 0; i < n; i++) {
		m->entries[i].index = some_msr();
		m->entries[i].data = one_in(2) ? odd_number() : guest_page() | rnd(4);
	}
	return sizeof(*m) + n * sizeof(m->entries[0]);
}

static size_t make_cpuid(void *p)
{
	struct kvm_cpuid2 *c = p;
	u32 n = one_in(4) ? rnd(100) : s.cpuid->nent;

	c->nent = one_in(16) ? odd_number() : n;
	for (u32 i = 0; i < n; i++)
		c->entries[i] = s.cpuid->entries[i % s.cpuid->nent];
	if (n && one_in(2))
		flip((u8 *)c->entries, n * sizeof(c->entries[0]));
	return sizeof(*c) + n * sizeof(c->entries[0]);
}

/* Old entries of 24 bytes. */
static size_t make_old_cpuid(void *p)
{
	struct kvm_cpuid *c = p;
	u32 n = rnd(20);

	memset(c, 0, sizeof(*c) + n * sizeof(c->entries[0]));
	c->nent = one_in(16) ? odd_number() : n;
	for (u32 i = 0; i < n; i++) {
		struct kvm_cpuid_entry2 *e = &s.cpuid->entries[i % s.cpuid->nent];

		c->entries[i] = (struct kvm_cpuid_entry) { e->function, e->eax, e->ebx, e->ecx, e->edx };
	}
	return sizeof(*c) + n * sizeof(c->entries[0]);
}

/* The alarm must get through, or KVM_RUN has no end. */
static size_t make_sigmask(void *p)
{
	struct {
		u32 len;
		u64 mask;
	} __packed *m = p;

	m->len = one_in(8) ? odd_number() : 8;
	m->mask = rnd64() & ~(1ull << (SIGALRM - 1));
	return sizeof(*m);
}

static size_t make_device(void *p)
{
	struct kvm_create_device *d = p;

	d->type = rnd(12);
	d->fd = odd_number();
	d->flags = rnd(3);
	return sizeof(*d);
}

static size_t make_attr(void *p)
{
	struct kvm_device_attr *a = p;

	a->flags = one_in(8);
	a->group = rnd(4);
	a->attr = rnd(4);
	a->addr = one_in(4) ? odd_number() : (u64)s.arena;
	return sizeof(*a);
}

static size_t make_filter(void *p)
{
	struct kvm_msr_filter *f = p;

	memset(f, 0, sizeof(*f));
	f->flags = rnd(3);
	for (u32 i = 0; i < rnd(4); i++) {
		f->ranges[i].flags = 1 + rnd(3);
		f->ranges[i].nmsrs = one_in(8) ? odd_number() : 1 + rnd(64);
		f->ranges[i].base = some_msr();
		f->ranges[i].bitmap = one_in(8) ? (u8 *)odd_number() : s.arena;
	}
	return sizeof(*f);
}

static size_t make_list(void *p)
{
	struct kvm_msr_list *l = p;

	l->nmsrs = one_in(2) ? 250 : odd_number();
	return sizeof(*l) + 250 * 4;
}

static size_t make_vapic(void *p)
{
	*(u64 *)p = one_in(2) ? odd_number() : guest_page();
	return 8;
}

/* Data planes */

static size_t make_vdev(void *p)
{
	struct ringlet_create_device *d = p;
	bool net = one_in(3);

	memset(d, 0, sizeof(*d));
	d->type = one_in(16) ? odd_number() : net ? RINGLET_DEVICE_NET : RINGLET_DEVICE_BLK;
	d->flags = one_in(16) ? odd_number() : one_in(4);
	d->nr_backends = one_in(16) ? odd_number() : 1;
	d->nr_queues = one_in(16) ? odd_number() : net ? 2 : 1 + rnd(3);
	for (u32 i = 0; i < ARRAY_SIZE(d->backend); i++)
		d->backend[i] = one_in(16) ? (int)some_fd() : s.backends[net];
	d->blk_sectors = one_in(16) ? odd_number() : 0;
	if (one_in(16))
		flip((u8 *)d, sizeof(*d));
	return sizeof(*d);
}

static size_t make_features(void *p)
{
	*(u64 *)p = one_in(8) ? odd_number() : 1ull << 32 | (u64)rnd(16) << 32 | rnd(4) << 28;
	return 8;
}

/* A split ring with one request in it, where a guest's memory was last. */
static void fill_ring(u8 *mem, u64 gpa)
{
	struct { u64 addr; u32 len; u16 flags, next; } *desc = (void *)mem;
	u16 *avail = (u16 *)(mem + 0x400);

	memset(mem, 0, 0x1000);
	*(u32 *)(mem + 0xc00) = rnd(12);		/* type of the request */
	desc[0].addr = gpa + 0xc00;
	desc[0].len = 16;
	desc[0].flags = 1;
	desc[0].next = 1;
	desc[1].addr = gpa + 0x1000;
	desc[1].len = one_in(8) ? odd_number() : 512 * (1 + rnd(8));
	desc[1].flags = 1 + 2 * rnd(2);
	desc[1].next = 2;
	desc[2].addr = gpa + 0xd00;
	desc[2].len = 1;
	desc[2].flags = 2;
	avail[1] = 1 + one_in(4) * rnd(4);
	if (one_in(4))
		flip(mem, 0x440);
}

static size_t make_queue(void *p)
{
	struct ringlet_queue *q = p;

	memset(q, 0, sizeof(*q));
	q->queue = one_in(8) ? odd_number() : rnd(4);
	q->size = one_in(8) ? odd_number() : 8 << rnd(3);
	if (s.region && !one_in(4)) {
		q->desc = s.region_gpa;
		q->driver = s.region_gpa + 0x400;
		q->device = s.region_gpa + 0x800;
		fill_ring(s.region, s.region_gpa);
	} else {
		q->desc = one_in(4) ? odd_number() : guest_page();
		q->driver = one_in(4) ? odd_number() : guest_page();
		q->device = one_in(4) ? odd_number() : guest_page();
	}
	return sizeof(*q);
}

static size_t make_bell(void *p)
{
	struct ringlet_doorbell *b = p;

	memset(b, 0, sizeof(*b));
	b->queue = one_in(8) ? odd_number() : rnd(4);
	b->flags = one_in(16) ? odd_number() : rnd(8);
	b->addr = one_in(8) ? odd_number() : one_in(2) ? guest_page() : 0x10 + rnd(8);
	b->len = one_in(8) ? odd_number() : (1 << rnd(4)) * one_in(2);
	b->datamatch = rnd(4);
	return sizeof(*b);
}

static size_t make_virq(void *p)
{
	struct ringlet_irq *i = p;

	memset(i, 0, sizeof(*i));
	i->queue = one_in(8) ? odd_number() : rnd(4);
	i->type = one_in(8) ? odd_number() : rnd(4);
	i->msi_addr = one_in(8) ? odd_number() : 0xfee00000 | rnd(1 << 20);
	i->msi_data = rnd(0x10000);
	i->gsi = one_in(8) ? odd_number() : rnd(32);
	i->fd = some_fd();
	return sizeof(*i);
}

static size_t make_qstate(void *p)
{
	struct ringlet_queue_state *q = p;

	memset(q, 0, sizeof(*q));
	q->queue = one_in(8) ? odd_number() : rnd(4);
	q->avail_idx = q->used_idx = one_in(2) ? odd_number() : rnd(8);
	q->avail_wrap = q->used_wrap = rnd(2);
	if (one_in(8))
		flip((u8 *)q, sizeof(*q));
	return sizeof(*q);
}

static size_t make_qstats(void *p)
{
	struct ringlet_queue_stats *q = p;

	memset(q, 0, sizeof(*q));
	q->queue = one_in(8) ? odd_number() : rnd(4);
	return sizeof(*q);
}

static size_t make_zone(void *p)
{
	struct kvm_coalesced_mmio_zone *z = p;

	z->addr = one_in(8) ? odd_number() : one_in(2) ? guest_page() : 0x10 + rnd(8);
	z->size = one_in(8) ? odd_number() : 1 + rnd(0x1000);
	z->pio = one_in(16) ? odd_number() : rnd(2);
	return sizeof(*z);
}

#define C(kinds, name, ...)	{ #name, (u32)(name), kinds, ##__VA_ARGS__ }

const struct call calls[] = {
	C(ON(SYS), KVM_GET_API_VERSION),
	C(ON(SYS), KVM_CREATE_VM, .weight = 2),
	C(ON(SYS), KVM_GET_MSR_INDEX_LIST, make_list),
	C(ON(SYS), KVM_GET_MSR_FEATURE_INDEX_LIST, make_list),
	C(ON(SYS) | ON(VM), KVM_CHECK_EXTENSION),
	C(ON(SYS), KVM_GET_VCPU_MMAP_SIZE),
	C(ON(SYS), KVM_GET_SUPPORTED_CPUID, make_cpuid),
	C(ON(SYS), KVM_GET_EMULATED_CPUID, make_cpuid),
	C(ON(SYS) | ON(VCPU), KVM_GET_SUPPORTED_HV_CPUID, make_cpuid),
	C(ON(SYS), KVM_X86_GET_MCE_CAP_SUPPORTED),
	C(ON(SYS) | ON(VCPU), KVM_GET_MSRS, make_msrs, .weight = 3),
	C(ON(VM), KVM_CREATE_VCPU, .weight = 6),
	C(ON(VM), KVM_SET_USER_MEMORY_REGION, make_region, .weight = 8),
	C(ON(VM), KVM_GET_DIRTY_LOG, make_dirty_log, .weight = 2),
	C(ON(VM), KVM_CLEAR_DIRTY_LOG, make_clear_log, .weight = 2),
	C(ON(VM), KVM_RESET_DIRTY_RINGS),
	C(ON(VM), KVM_SET_NR_MMU_PAGES),
	C(ON(VM), KVM_GET_NR_MMU_PAGES),
	C(ON(VM), KVM_SET_TSS_ADDR),
	C(ON(VM), KVM_SET_IDENTITY_MAP_ADDR, make_vapic),
	C(ON(VM), KVM_CREATE_IRQCHIP, .weight = 4),
	C(ON(VM), KVM_IRQ_LINE, .weight = 3),
	C(ON(VM), KVM_IRQ_LINE_STATUS, .weight = 2),
	C(ON(VM), KVM_GET_IRQCHIP),
	C(ON(VM), KVM_SET_IRQCHIP, .get = (u32)KVM_GET_IRQCHIP, .weight = 3),
	C(ON(VM), KVM_CREATE_PIT),
	C(ON(VM), KVM_CREATE_PIT2),
	C(ON(VM), KVM_GET_PIT),
	C(ON(VM), KVM_SET_PIT),
	C(ON(VM), KVM_GET_PIT2),
	C(ON(VM), KVM_SET_PIT2, .get = (u32)KVM_GET_PIT2, .weight = 3),
	C(ON(VM), KVM_REINJECT_CONTROL, make_vapic),
	C(ON(VM), KVM_REGISTER_COALESCED_MMIO, make_zone, .weight = 2),
	C(ON(VM), KVM_UNREGISTER_COALESCED_MMIO, make_zone),
	C(ON(VM), KVM_SET_GSI_ROUTING, make_routing, .weight = 3),
	C(ON(VM), KVM_IRQFD, make_irqfd, .weight = 4),
	C(ON(VM), KVM_IOEVENTFD, make_ioeventfd, .weight = 4),
	C(ON(VM), KVM_SIGNAL_MSI, make_msi, .weight = 3),
	C(ON(VM), KVM_SET_BOOT_CPU_ID),
	C(ON(VM), KVM_XEN_HVM_CONFIG),
	C(ON(VM), KVM_GET_CLOCK),
	C(ON(VM), KVM_SET_CLOCK, .get = (u32)KVM_GET_CLOCK),
	C(ON(VM), KVM_CREATE_DEVICE, make_device, .weight = 2),
	C(ON(VM) | ON(VCPU) | ON(DEV), KVM_SET_DEVICE_ATTR, make_attr),
	C(ON(VM) | ON(VCPU) | ON(DEV), KVM_GET_DEVICE_ATTR, make_attr),
	C(ON(VM) | ON(VCPU) | ON(DEV), KVM_HAS_DEVICE_ATTR, make_attr),
	C(ON(VM), KVM_SET_PMU_EVENT_FILTER),
	C(ON(VM), KVM_X86_SET_MSR_FILTER, make_filter),
	C(ON(VM), KVM_MEMORY_ENCRYPT_OP),
	C(ON(VM) | ON(VCPU), KVM_GET_STATS_FD),
	C(ON(VM) | ON(VCPU), KVM_ENABLE_CAP, make_cap, .weight = 2),
	C(ON(VM) | ON(VCPU), KVM_SET_TSC_KHZ),
	C(ON(VM) | ON(VCPU), KVM_GET_TSC_KHZ),
	C(ON(VCPU), KVM_RUN, .weight = 40),
	C(ON(VCPU), KVM_GET_REGS),
	C(ON(VCPU), KVM_SET_REGS, .get = (u32)KVM_GET_REGS, .weight = 6),
	C(ON(VCPU), KVM_GET_SREGS),
	C(ON(VCPU), KVM_SET_SREGS, .get = (u32)KVM_GET_SREGS, .weight = 6),
	C(ON(VCPU), KVM_GET_SREGS2),
	C(ON(VCPU), KVM_SET_SREGS2, .get = (u32)KVM_GET_SREGS2, .weight = 4),
	C(ON(VCPU), KVM_TRANSLATE, .weight = 2),
	C(ON(VCPU), KVM_INTERRUPT, .weight = 2),
	C(ON(VCPU), KVM_SET_MSRS, make_msrs, .weight = 6),
	C(ON(VCPU), KVM_SET_CPUID, make_old_cpuid),
	C(ON(VCPU), KVM_SET_CPUID2, make_cpuid, .weight = 2),
	C(ON(VCPU), KVM_GET_CPUID2, make_cpuid),
	C(ON(VCPU), KVM_SET_SIGNAL_MASK, make_sigmask),
	C(ON(VCPU), KVM_GET_FPU),
	C(ON(VCPU), KVM_SET_FPU, .get = (u32)KVM_GET_FPU, .weight = 2),
	C(ON(VCPU), KVM_GET_LAPIC),
	C(ON(VCPU), KVM_SET_LAPIC, .get = (u32)KVM_GET_LAPIC, .weight = 4),
	C(ON(VCPU), KVM_TPR_ACCESS_REPORTING),
	C(ON(VCPU), KVM_SET_VAPIC_ADDR, make_vapic),
	C(ON(VCPU), KVM_GET_MP_STATE),
	C(ON(VCPU), KVM_SET_MP_STATE, .weight = 3),
	C(ON(VCPU), KVM_NMI, .weight = 2),
	C(ON(VCPU), KVM_SMI),
	C(ON(VCPU), KVM_SET_GUEST_DEBUG, .weight = 2),
	C(ON(VCPU), KVM_X86_SETUP_MCE),
	C(ON(VCPU), KVM_X86_SET_MCE),
	C(ON(VCPU), KVM_GET_VCPU_EVENTS),
	C(ON(VCPU), KVM_SET_VCPU_EVENTS, .get = (u32)KVM_GET_VCPU_EVENTS, .weight = 4),
	C(ON(VCPU), KVM_GET_DEBUGREGS),
	C(ON(VCPU), KVM_SET_DEBUGREGS, .get = (u32)KVM_GET_DEBUGREGS, .weight = 2),
	C(ON(VCPU), KVM_GET_XSAVE),
	C(ON(VCPU), KVM_SET_XSAVE, .get = (u32)KVM_GET_XSAVE, .weight = 2),
	C(ON(VCPU), KVM_GET_XSAVE2),
	C(ON(VCPU), KVM_GET_XCRS),
	C(ON(VCPU), KVM_SET_XCRS, .get = (u32)KVM_GET_XCRS, .weight = 2),
	C(ON(VCPU), KVM_GET_NESTED_STATE),
	C(ON(VCPU), KVM_SET_NESTED_STATE),
	C(ON(VCPU), KVM_KVMCLOCK_CTRL),
	C(ON(VCPU), KVM_GET_ONE_REG),
	C(ON(VM), RINGLET_CREATE_DEVICE, make_vdev, .weight = 5),
	C(ON(SYS) | ON(VM), RINGLET_GET_CAPS),
	C(ON(VDEV), RINGLET_DEV_SET_FEATURES, make_features, .weight = 2),
	C(ON(VDEV), RINGLET_DEV_SET_QUEUE, make_queue, .weight = 4),
	C(ON(VDEV), RINGLET_DEV_SET_DOORBELL, make_bell, .weight = 3),
	C(ON(VDEV), RINGLET_DEV_SET_IRQ, make_virq, .weight = 2),
	C(ON(VDEV), RINGLET_DEV_START, .weight = 4),
	C(ON(VDEV), RINGLET_DEV_STOP, .weight = 2),
	C(ON(VDEV), RINGLET_DEV_GET_STATE, make_qstate),
	C(ON(VDEV), RINGLET_DEV_SET_STATE, make_qstate, .get = (u32)RINGLET_DEV_GET_STATE),
	C(ON(VDEV), RINGLET_DEV_GET_STATUS),
	C(ON(VDEV), RINGLET_DEV_GET_STATS, make_qstats),
	C(ON(VDEV), RINGLET_DEV_KICK, .weight = 4),
	C(ON(VDEV), RINGLET_DEV_WORK, .weight = 2),
};

const u32 nr_calls = ARRAY_SIZE(calls);
