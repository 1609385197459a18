// SPDX-License-Identifier: GPL-2.0
/*
 * Random ioctls on every kind of descriptor, valid, nearly valid and absurd, with vCPUs that run
 * in between. Whatever they are, each answers within its time with an errno that user space can
 * know, writes no byte outside its argument, and leaves a host that says nothing in its log and
 * makes a working VM afterwards.
 *
 * The calls follow from a seed, so a failure is repeated with what it prints:
 *
 *	SEED=N		the first round's seed, others count on from it (default 1)
 *	CALLS=N		how many calls in all (default 100000)
 *	VERBOSE=1	print each call before it is made
 */
#include "lib.h"
#include "harness.h"
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>

#define ROUND_CALLS	2500u		/* of one process; its end tears everything down */
#define HANG_SECONDS	60
#define MAX_FDS		6		/* of each kind */
#define ARENA_PAGES	512u
#define NOTHING_BEHIND	(512ul << 20)
#define TRACE		12
#define PAGE		0x1000u

enum kind { SYS, VM, VCPU, DEV, KINDS };

static const char * const kind_names[KINDS] = { "system", "VM", "vCPU", "device" };

/* What the parent sees of a child that hangs or dies. */
struct progress {
	volatile u32 calls;		/* begun in this round */
	char trace[TRACE][120];		/* the last of them */
};

struct obj {
	int fd, vm;			/* vm: index of the VM it belongs to */
	struct kvm_run *run;
};

static struct {
	u64 rng;
	int nr[KINDS];
	struct obj objs[KINDS][MAX_FDS];
	int events[4], kmsg;
	u8 *arena;			/* what guests get as memory */
	u8 *page;			/* an argument lies at its end, before nothing */
	size_t run_size;
	struct kvm_cpuid2 *cpuid;
	bool may_enter, tcg;
	struct progress *progress;
} s;

static u64 rnd64(void)
{
	s.rng ^= s.rng << 13;
	s.rng ^= s.rng >> 7;
	s.rng ^= s.rng << 17;
	return s.rng * 0x2545f4914f6cdd1d;
}

static u32 rnd(u32 below)
{
	return (rnd64() >> 33) % below;
}

static bool one_in(u32 n)
{
	return !rnd(n);
}

/* Numbers that code is likely to mistake. */
static u64 odd_number(void)
{
	static const u64 numbers[] = {
		0, 1, 2, 3, 4, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 511, 512, 1023, 1024,
		4095, 4096, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff,
		0x100000000, 0xfee00000, 0xfec00000, 1ull << 40, 1ull << 47, 1ull << 52,
		0xffff800000000000, 0x7fffffffffffffff, 1ull << 63, -4096ull, -1ull,
	};

	return one_in(8) ? rnd64() : numbers[rnd(ARRAY_SIZE(numbers))] + (one_in(6) ? rnd(3) - 1 : 0);
}

static void scribble(u8 *p, size_t size)
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

static void flip(u8 *p, size_t size)
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

/* Without make, the argument is a random structure of the command's size, or a number. */
struct call {
	const char *name;
	u32 cmd, kinds;
	size_t (*make)(void *p);
	u32 get;		/* fills the same structure, which then is changed a little */
	u32 weight;
};

#define ON(k)		(1u << (k))
#define C(kinds, name, ...)	{ #name, (u32)(name), kinds, ##__VA_ARGS__ }

static const struct call calls[] = {
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
	C(ON(VM), KVM_REGISTER_COALESCED_MMIO),
	C(ON(VM), KVM_UNREGISTER_COALESCED_MMIO),
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
};

static bool may_answer(int err)
{
	switch (err) {
	case 0: case EPERM: case ENOENT: case ESRCH: case EINTR: case ENXIO: case E2BIG: case EBADF:
	case EAGAIN: case ENOMEM: case EACCES: case EFAULT: case EBUSY: case EEXIST: case ENODEV:
	case EINVAL: case EMFILE: case ENOTTY: case EFBIG: case ENOSPC: case ENOEXEC:
	case EOPNOTSUPP:
		return true;
	}
	return false;	/* EIO among them: that VM was given up */
}

static void __attribute__((noreturn)) child_fails(const char *why)
{
	printf("# %s\n", why);
	fflush(stdout);
	_exit(1);
}

/* The first complaint of the kernel since the last look. */
static void look_at_log(void)
{
	static const char * const bad[] = {
		"WARNING:", "BUG:", "kernel BUG", "Oops", "KASAN", "UBSAN", "INFO: ", "refcount_t",
		"suspicious RCU", "unchecked MSR", "general protection", "sleeping function",
	};
	char line[1024];
	ssize_t n;

	while (s.kmsg >= 0 && (n = read(s.kmsg, line, sizeof(line) - 1)) > 0) {
		line[n] = 0;
		for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
			if (strstr(line, bad[i])) {
				line[strcspn(line, "\n")] = 0;
				child_fails(line);
			}
	}
}

static void add_object(enum kind k, int fd, int vm)
{
	struct obj *o;

	if (s.nr[k] < MAX_FDS) {
		o = &s.objs[k][s.nr[k]++];
	} else {
		o = &s.objs[k][rnd(MAX_FDS)];
		if (o->run)
			munmap(o->run, s.run_size);
		close(o->fd);
	}
	*o = (struct obj) { .fd = fd, .vm = vm };
	if (k == VCPU) {
		o->run = mmap(NULL, s.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (o->run == MAP_FAILED)
			child_fails("no mmap of a vCPU");
	}
}

/* Descriptors end at any time, too, and eventfds are signalled. */
static void something_else(void)
{
	enum kind k = rnd(KINDS);
	struct obj *o;

	switch (rnd(6)) {
	case 0:
		if (s.nr[k] > 1 || (s.nr[k] && k == DEV)) {
			o = &s.objs[k][rnd(s.nr[k])];
			if (o->run)
				munmap(o->run, s.run_size);
			close(o->fd);
			*o = s.objs[k][--s.nr[k]];
		}
		break;
	case 1:
		madvise(s.arena + PAGE * rnd(ARENA_PAGES / 2), PAGE * rnd(ARENA_PAGES / 2),
			MADV_DONTNEED);
		break;
	case 2:
		scribble(s.arena + PAGE * rnd(ARENA_PAGES), PAGE);
		break;
	case 3:
		if (s.nr[VCPU]) {
			/* the shared page is user space's to spoil */
			o = &s.objs[VCPU][rnd(s.nr[VCPU])];
			flip((u8 *)o->run, sizeof(*o->run));
		}
		break;
	default:
		eventfd_write(s.events[rnd(ARRAY_SIZE(s.events))], 1);
	}
}

/*
 * QEMU's emulator loses the host's CR0 when it leaves a guest with EFER.LME set and CR4.PAE
 * clear (its cpu_x86_update_cr0() looks at the guest's CR4), and the host is no more.
 */
static bool emulator_survives(int fd)
{
	struct kvm_sregs sregs;

	return !s.tcg || (!ioctl(fd, KVM_GET_SREGS, &sregs) &&
			  (!(sregs.efer & EFER_LME) || sregs.cr4 & X86_CR4_PAE));
}

static void prepare_run(struct obj *o)
{
	o->run->immediate_exit = !s.may_enter || one_in(8) || !emulator_survives(o->fd);
	o->run->request_interrupt_window = one_in(4);
	if (one_in(3))
		o->run->cr8 = rnd(16);
}

static u32 weight(const struct call *c, enum kind k)
{
	return c->kinds & ON(k) ? c->weight ?: 1 : 0;
}

static const struct call *pick(enum kind k)
{
	static u32 total[KINDS];
	u32 at, i;

	if (!total[k])
		for (i = 0; i < ARRAY_SIZE(calls); i++)
			total[k] += weight(&calls[i], k);
	at = rnd(total[k]);
	for (i = 0; at >= weight(&calls[i], k); i++)
		at -= weight(&calls[i], k);
	return &calls[i];
}

/* Mostly the vCPU's, as it has most; now and then one that belongs to another kind. */
static const struct call *choose(enum kind *k)
{
	static const enum kind kinds[] = { SYS, VM, VM, VM, VCPU, VCPU, VCPU, VCPU, VCPU, DEV };

	*k = kinds[rnd(ARRAY_SIZE(kinds))];
	while (!s.nr[*k])
		*k = *k == DEV ? VCPU : *k - 1;
	return one_in(30) ? &calls[rnd(ARRAY_SIZE(calls))] : pick(*k);
}

static u64 make_number(const struct call *c)
{
	if (c->cmd == KVM_CREATE_VM || c->cmd == (u32)KVM_RUN || c->cmd == KVM_CREATE_IRQCHIP)
		return one_in(20) ? odd_number() : 0;
	if (c->cmd == KVM_CREATE_VCPU)
		return one_in(8) ? odd_number() : rnd(6);
	return odd_number();
}

#define GUARD	64			/* bytes that no call may touch */

/* At the end of the page, so that one byte too far is a fault; in front a guard. */
static u8 *make_argument(const struct call *c, const struct obj *o, enum kind k, size_t *size)
{
	static u8 tmp[0x4000];
	u8 *at;

	if (c->make) {
		*size = c->make(tmp);
	} else {
		*size = _IOC_SIZE(c->cmd);
		if (c->get && !one_in(4) && s.nr[k]) {
			scribble(tmp, 16);		/* which chip */
			*(u32 *)tmp %= 3;
			ioctl(o->fd, c->get, tmp);
			flip(tmp, *size);
		} else {
			scribble(tmp, *size);
		}
		if (c->cmd == (u32)KVM_IRQ_LINE || c->cmd == (u32)KVM_IRQ_LINE_STATUS)
			*(u32 *)tmp = rnd(30);
		if (c->cmd == (u32)KVM_SET_MP_STATE && !one_in(8))
			*(u32 *)tmp = one_in(3) ? rnd(10) : KVM_MP_STATE_RUNNABLE;
	}
	at = s.page + 4 * PAGE - *size;
	memcpy(at, tmp, *size);
	memset(at - GUARD, 0xa5, GUARD);
	return at;
}

/* KVM_SET_SIGNAL_MASK through a bad pointer fails; through none it is harmless. */
static u64 spoil(u64 arg)
{
	switch (rnd(4)) {
	case 0:
		return 0;
	case 1:
		return (u64)s.page + 4 * PAGE - rnd(8);		/* it ends too early */
	case 2:
		return odd_number();
	default:
		return arg + rnd(8);
	}
}

static void one_call(u32 nr)
{
	struct progress *p = s.progress;
	const struct call *c;
	struct obj *o;
	u8 *at = NULL;
	enum kind k;
	size_t size;
	u64 arg;
	long ret;

	if (one_in(10))
		something_else();
	c = choose(&k);
	o = &s.objs[k][rnd(s.nr[k])];
	if (c->make || _IOC_SIZE(c->cmd)) {
		at = make_argument(c, o, k, &size);
		arg = one_in(20) ? spoil((u64)at) : (u64)at;
	} else {
		arg = make_number(c);
	}
	if (c->cmd == (u32)KVM_RUN && o->run)
		prepare_run(o);
	snprintf(p->trace[nr % TRACE], sizeof(p->trace[0]), "call %u: %s fd %d: %s(%#lx)", nr + 1,
		 kind_names[k], o->fd, c->name, arg);
	p->calls = nr + 1;
	if (getenv("VERBOSE"))
		printf("# %s\n", p->trace[nr % TRACE]);
	ret = ioctl(o->fd, c->cmd, arg);
	if (ret < 0 && !may_answer(errno)) {
		printf("# %s: errno %d (%s)\n", c->name, errno, strerror(errno));
		child_fails("not an answer that user space can expect");
	}
	look_at_log();
	for (int i = 0; at && arg == (u64)at && i < GUARD; i++)
		if (at[i - GUARD] != 0xa5)
			child_fails("bytes in front of the argument have changed");
	if (ret < 0)
		return;
	if (k == SYS && c->cmd == KVM_CREATE_VM)
		add_object(VM, ret, -1);
	else if (k == VM && c->cmd == KVM_CREATE_VCPU)
		add_object(VCPU, ret, o - s.objs[VM]);
	else if (k == VM && c->cmd == (u32)KVM_CREATE_DEVICE && arg == (u64)at)
		add_object(DEV, ((struct kvm_create_device *)at)->fd, o - s.objs[VM]);
	else if (c->cmd == KVM_GET_STATS_FD && (k == VM || k == VCPU))
		close(ret);
}

GUEST16(healthy, "mov $0x5a, %al; out %al, $0x10; hlt\n");

/* Another VM is as good as the first one ever. */
static void host_is_healthy(void)
{
	struct vm *vm = VM_BLOB(healthy, 0);

	if (s.may_enter) {
		expect_out(vm->vcpus[0], 0x10, 1, 0x5a);
		expect_exit(vm->vcpus[0], KVM_EXIT_HLT);
	}
	vm_free(vm);
}

static void tick(int sig)
{
}

static void set_up(u64 seed)
{
	struct sigaction sa = { .sa_handler = tick };
	struct itimerval every = { { 0, 5000 }, { 0, 5000 } };
	const char *host = getenv("TESTHOST") ?: "";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	s.rng = (seed + 1) * 0x9e3779b97f4a7c15;
	/* Bochs does not come back from a guest that spins with interrupts off. */
	s.tcg = rl_host_is_tcg();
	s.may_enter = strcmp(host, "intel") && strcmp(host, "amd-full");
	s.kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (s.kmsg >= 0)
		lseek(s.kmsg, 0, SEEK_END);
	for (u32 i = 0; i < ARRAY_SIZE(s.events); i++)
		s.events[i] = eventfd(0, EFD_NONBLOCK);
	/* A dirty bitmap may be larger than the arena: then there is nothing behind it. */
	s.arena = mmap(NULL, NOTHING_BEHIND, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(s.arena, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE);
	s.page = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(s.page + 4 * PAGE, PAGE, PROT_NONE);
	for (u32 i = 0; i < ARENA_PAGES; i += 1 + rnd(8))
		scribble(s.arena + i * PAGE, 256);
	add_object(SYS, rl_dev_open(), -1);
	s.run_size = kvm_do(s.objs[SYS][0].fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	s.cpuid = rl_supported_cpuid(s.objs[SYS][0].fd);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

static void child(u64 seed, u32 nr_calls)
{
	struct itimerval off = {};

	set_up(seed);
	for (u32 i = 0; i < nr_calls; i++)
		one_call(i);
	setitimer(ITIMER_REAL, &off, NULL);
	snprintf(s.progress->trace[nr_calls % TRACE], sizeof(s.progress->trace[0]),
		 "after the last call: another VM");
	host_is_healthy();
	look_at_log();
	_exit(0);		/* and with it goes all that is open */
}

static void show(const char *path)
{
	char line[200];
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		printf("#   %s", line);
	if (f)
		fclose(f);
}

/* True when the child ended well; a hang shows where and is killed. */
static bool child_ends(pid_t pid, struct progress *p)
{
	u32 seen = ~0u, quiet = 0;
	char path[40];
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (p->calls != seen)
			seen = p->calls, quiet = 0;
		if (++quiet > HANG_SECONDS * 1000) {
			printf("# no call ended for %u s\n", HANG_SECONDS);
			snprintf(path, sizeof(path), "/proc/%d/stack", pid);
			show(path);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return false;
		}
		usleep(1000);
	}
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	return !status;
}

static u64 from_env(const char *name, u64 otherwise)
{
	return getenv(name) ? strtoull(getenv(name), NULL, 0) : otherwise;
}

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	86400	/* CALLS= may be many; check has a bound of its own */

TEST(random_ioctls)
{
	u64 seed = from_env("SEED", 1), left = from_env("CALLS", 100000);
	struct progress *p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	for (; left; seed++) {
		u32 n = left < ROUND_CALLS ? left : ROUND_CALLS;
		pid_t pid;

		memset(p, 0, sizeof(*p));
		s.progress = p;
		fflush(stdout);
		pid = fork();
		if (!pid)
			child(seed, n);
		if (!child_ends(pid, p)) {
			for (u32 i = 1; i <= TRACE; i++)
				if (p->trace[(p->calls + i) % TRACE][0])
					printf("# %s\n", p->trace[(p->calls + i) % TRACE]);
			printf("# SEED=%lu CALLS=%u repeats it\n", seed, p->calls);
			fflush(stdout);
			ASSERT_TRUE(false);
		}
		left -= n;
	}
}

TEST_HARNESS_MAIN
