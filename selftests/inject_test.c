// SPDX-License-Identifier: GPL-2.0
/*
 * Each call with its first, second, ... allocation or copy made to fail (failslab,
 * fail_page_alloc, fail_usercopy through /proc/thread-self/fail-nth), until nothing is left to
 * fail. A failure answers an errno that says so and changes nothing; the same call then works, and
 * so does the guest. That nothing has leaked is what kmemleak says when the module has gone.
 *
 * Skipped where the kernel has no fault injection.
 */
#include "inject.h"
#include "harness.h"

#define PAGE		0x1000ull
#define SLOT		3
#define GPA		0x20000000ull
#define SLOT_SIZE	(32 * PAGE)
#define MSI_ADDR	0xfee00000u

/* All that user space can ask of a vCPU and its VM, but clocks. */
struct state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_sregs2 sregs2;
	struct kvm_fpu fpu;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	struct kvm_lapic_state lapic;
	struct kvm_irqchip chips[3];
	struct kvm_pit_state2 pit;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[6];
	} msrs;
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 e[256];
	} cpuid;
};

static const u32 state_msrs[] = { 0x174, 0x175, 0x176, MSR_EFER, MSR_STAR, MSR_APIC_BASE };

static void get_state(struct vcpu *v, struct state *s)
{
	memset(s, 0, sizeof(*s));
	kvm_do(v->fd, KVM_GET_REGS, &s->regs);
	kvm_do(v->fd, KVM_GET_SREGS, &s->sregs);
	kvm_do(v->fd, KVM_GET_SREGS2, &s->sregs2);
	kvm_do(v->fd, KVM_GET_FPU, &s->fpu);
	kvm_do(v->fd, KVM_GET_XSAVE, &s->xsave);
	kvm_do(v->fd, KVM_GET_XCRS, &s->xcrs);
	kvm_do(v->fd, KVM_GET_DEBUGREGS, &s->debugregs);
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &s->events);
	kvm_do(v->fd, KVM_GET_MP_STATE, &s->mp_state);
	kvm_do(v->fd, KVM_GET_LAPIC, &s->lapic);
	for (u32 i = 0; i < 3; i++) {
		s->chips[i].chip_id = i;
		kvm_do(v->vm->fd, KVM_GET_IRQCHIP, &s->chips[i]);
	}
	kvm_do(v->vm->fd, KVM_GET_PIT2, &s->pit);
	s->msrs.head.nmsrs = ARRAY_SIZE(state_msrs);
	for (u32 i = 0; i < ARRAY_SIZE(state_msrs); i++)
		s->msrs.e[i].index = state_msrs[i];
	kvm_do(v->fd, KVM_GET_MSRS, &s->msrs);
	s->cpuid.head.nent = ARRAY_SIZE(s->cpuid.e);
	kvm_do(v->fd, KVM_GET_CPUID2, &s->cpuid);
}

static struct state before, now;

static void put_back(struct shot *s, long ret)
{
	kvm_do(s->fd, s->cmd, s->old);
	get_state(s->v, &before);	/* XSTATE_BV does not come back with the registers */
}

static void same_state(struct shot *s)
{
	get_state(s->v, &now);
	for (size_t i = 0; i < sizeof(now); i++)
		CHECK(NULL, ((u8 *)&now)[i] == ((u8 *)&before)[i],
		      "%s failed and changed byte %zu of the state", s->name, i);
}

static struct vm *whole_vm(void)
{
	struct kvm_pit_config pit = {};
	struct vm *vm = vm_new(VM_IRQCHIP);

	kvm_do(vm->fd, KVM_CREATE_PIT2, &pit);
	vcpu_new(vm, 0);
	return vm;
}

TEST(system_ioctls)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 e[256];
	} cpuid = {};
	struct {
		struct kvm_msr_list head;
		u32 e[512];
	} list = {};
	u64 mce;
	int dev;

	NEEDS_INJECTION();
	dev = rl_dev_open();
	INJECT(dev, KVM_GET_API_VERSION, NULL);
	list.head.nmsrs = ARRAY_SIZE(list.e);
	INJECT(dev, KVM_GET_MSR_INDEX_LIST, &list);
	list.head.nmsrs = ARRAY_SIZE(list.e);
	INJECT(dev, KVM_GET_MSR_FEATURE_INDEX_LIST, &list);
	cpuid.head.nent = ARRAY_SIZE(cpuid.e);
	INJECT(dev, KVM_GET_SUPPORTED_CPUID, &cpuid);
	cpuid.head.nent = ARRAY_SIZE(cpuid.e);
	/* padding that cannot be read is padding that is not zero */
	INJECT(dev, KVM_GET_EMULATED_CPUID, &cpuid, .also = -EINVAL);
	INJECT(dev, KVM_X86_GET_MCE_CAP_SUPPORTED, &mce);
	close(dev);
}

static long open_device(struct shot *s)
{
	int fd = open(rl_dev_path(), O_RDWR);

	return fd < 0 ? -errno : fd;
}

static long map_vcpu(struct shot *s)
{
	void *p = mmap(NULL, s->v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		       s->v->fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, s->v->run_size);
	return 0;
}

/* Each success takes a number for good; a failure leaves it to the next try. */
static u64 next_id;

static long create_vcpu(struct shot *s)
{
	return kvm_try(s->vm->fd, KVM_CREATE_VCPU, next_id);
}

static void close_vcpu(struct shot *s, long ret)
{
	close(ret);
	next_id++;
}

/* After a failure the same VM takes what it has not got yet. */
static long vm_with_chips(struct shot *s)
{
	struct kvm_pit_config pit = {};
	int fd = kvm_try(s->fd, KVM_CREATE_VM, 0), ret, chip, timer;

	if (fd < 0)
		return fd;
	chip = ret = kvm_try(fd, KVM_CREATE_IRQCHIP, 0);
	if (!ret)
		ret = kvm_try(fd, KVM_CREATE_PIT2, &pit);
	if (ret) {
		if (chip)
			chip = kvm_try(fd, KVM_CREATE_IRQCHIP, 0);
		timer = kvm_try(fd, KVM_CREATE_PIT2, &pit);
		CHECK(NULL, !chip && !timer, "after a failure (%d): irqchip %d, PIT %d", ret, chip,
		      timer);
	}
	close(fd);
	return ret;
}

TEST(descriptors)
{
	struct shot open_it = { .name = "open", .call = open_device, .undo = close_fd };
	struct shot map_it = { .name = "mmap", .call = map_vcpu };
	struct vm *vm;
	int dev, most = is_ringlet() ? 3 : 1;

	NEEDS_INJECTION();
	close(inject_ok(&open_it));
	dev = rl_dev_open();
	for (int i = 0; i < most; i++)
		close(INJECT(dev, KVM_CREATE_VM, NULL, .undo = close_fd));
	close(dev);

	vm = whole_vm();
	for (next_id = 1; next_id < 4; next_id++) {
		struct shot s = { .name = "KVM_CREATE_VCPU", .call = create_vcpu, .vm = vm,
				  .undo = close_vcpu };

		close(inject_ok(&s));
		ASSERT_NE(0, s.failures);
	}
	map_it.v = vm->vcpus[0];
	inject_ok(&map_it);
	vm_free(vm);

	dev = rl_dev_open();
	for (int i = 0; i < most; i++) {
		struct shot s = { .name = "a VM with its chips", .call = vm_with_chips, .fd = dev };

		inject_ok(&s);
		ASSERT_LE(20, s.failures);
	}
	close(dev);
}

/* Readers answer all or an error, writers change all or nothing. */
TEST(state)
{
	static const struct {
		const char *name;
		unsigned long set, get;
		u32 of, at, size, flip;		/* a bit that may be changed: byte, value */
		bool vm;
	} rows[] = {
#define ROW(n, f, byte, bit, ...) \
	{ #n, KVM_SET_##n, KVM_GET_##n, offsetof(struct state, f), byte, \
	  sizeof(((struct state *)0)->f), bit, ##__VA_ARGS__ }
		ROW(REGS, regs, offsetof(struct kvm_regs, rbx), 1),
		ROW(SREGS, sregs, offsetof(struct kvm_sregs, cr2), 1),
		ROW(SREGS2, sregs2, offsetof(struct kvm_sregs2, cr2), 1),
		ROW(FPU, fpu, offsetof(struct kvm_fpu, xmm), 1),
		ROW(XSAVE, xsave, 160, 1),
		ROW(XCRS, xcrs, offsetof(struct kvm_xcrs, xcrs[0].value), 2),
		ROW(DEBUGREGS, debugregs, 0, 1),
		ROW(VCPU_EVENTS, events, offsetof(struct kvm_vcpu_events, nmi.masked), 1),
		ROW(MP_STATE, mp_state, 0, KVM_MP_STATE_HALTED),
		ROW(LAPIC, lapic, APIC_TPR, 0x10),
		ROW(MSRS, msrs, offsetof(struct kvm_msrs, entries[1].data), 1),
		ROW(CPUID2, cpuid, offsetof(struct kvm_cpuid2, entries[1].eax), 1),
		ROW(IRQCHIP, chips[2], offsetof(struct kvm_irqchip, chip.ioapic.redirtbl[5]), 1, true),
		ROW(IRQCHIP, chips[0], offsetof(struct kvm_irqchip, chip.pic.imr), 1, true),
		ROW(PIT2, pit, offsetof(struct kvm_pit_state2, channels[2].bcd), 1, true),
	};
	struct vm *vm;
	struct vcpu *v;

	NEEDS_INJECTION();
	vm = whole_vm();
	v = vm->vcpus[0];
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		int fd = rows[i].vm ? vm->fd : v->fd;
		static u8 arg[sizeof(struct state)];
		struct shot s = { .name = rows[i].name, .fd = fd, .cmd = rows[i].get, .arg = arg,
				  .unchanged = same_state, .v = v };

		get_state(v, &before);
		memcpy(arg, (u8 *)&before + rows[i].of, rows[i].size);
		inject_ok(&s);
		ASSERT_NE(0, s.failures);
		same_state(&s);

		memcpy(arg, (u8 *)&before + rows[i].of, rows[i].size);
		arg[rows[i].at] ^= rows[i].flip;
		if (rows[i].set == KVM_SET_XSAVE)
			arg[512] |= 3;		/* XSTATE_BV: what is given counts */
		s.cmd = rows[i].set;
		s.old = (u8 *)&before + rows[i].of;
		s.undo = put_back;
		inject_ok(&s);
		ASSERT_NE(0, s.failures);
		get_state(v, &now);
		EXPECT_EQ(arg[rows[i].at], ((u8 *)&now)[rows[i].of + rows[i].at]) {
			TH_LOG("KVM_SET_%s did not set it", rows[i].name);
		}
		kvm_do(fd, rows[i].set, memcpy(arg, (u8 *)&before + rows[i].of, rows[i].size));
	}
	vm_free(vm);
}

TEST(small_vcpu_ioctls)
{
	struct kvm_translation t = { .linear_address = 0x1000 };
	struct {
		struct kvm_signal_mask head;
		u64 mask;
	} __packed mask = { .head.len = 8 };
	struct kvm_vapic_addr vapic = {};
	struct kvm_guest_debug debug = {};
	struct kvm_x86_mce mce = { .status = 1ull << 63 };
	u64 banks = 10;
	struct vcpu *v;
	struct vm *vm;

	NEEDS_INJECTION();
	vm = whole_vm();
	v = vm->vcpus[0];
	get_state(v, &before);
	INJECT(v->fd, KVM_TRANSLATE, &t, .unchanged = same_state, .v = v);
	INJECT(v->fd, KVM_SET_SIGNAL_MASK, &mask, .unchanged = same_state, .v = v);
	INJECT(v->fd, KVM_SET_SIGNAL_MASK, NULL);
	INJECT(v->fd, KVM_SET_VAPIC_ADDR, &vapic, .unchanged = same_state, .v = v);
	INJECT(v->fd, KVM_SET_GUEST_DEBUG, &debug, .unchanged = same_state, .v = v);
	INJECT(v->fd, KVM_X86_SETUP_MCE, &banks, .unchanged = same_state, .v = v);
	INJECT(v->fd, KVM_X86_SET_MCE, &mce, .unchanged = same_state, .v = v);
	INJECT(v->fd, KVM_SET_TSC_KHZ, NULL, .unchanged = same_state, .v = v);
	INJECT(v->fd, KVM_NMI, NULL);
	vm_free(vm);
}

static struct kvm_userspace_memory_region region;
static u64 dirty[1];

static void no_slot(struct shot *s)
{
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = dirty };

	CHECK(NULL, kvm_try(s->vm->fd, KVM_GET_DIRTY_LOG, &log) == -ENOENT,
	      "a slot that could not be made is there");
	puppet_set(s->v, PUPPET_READ, GPA, 8, 0);
	expect_mmio_read(s->v, GPA, 8);
	expect_sync(s->v, PUPPET_STAGE);
}

static void slot_is_there(struct shot *s)
{
	CHECK(NULL, puppet_read(s->v, GPA + PAGE) == 77, "memory that could not be changed is gone");
}

static void remove_slot(struct shot *s, long ret)
{
	vm_set_region(s->vm, SLOT, 0, 0, NULL, 0);
}

static void put_slot_back(struct shot *s, long ret)
{
	vm_set_region(s->vm, SLOT, 0, 0, NULL, 0);
	vm_set_region(s->vm, SLOT, GPA, SLOT_SIZE, (void *)region.userspace_addr, 0);
}

/* Pages that user space has not heard of are still dirty. */
static void still_dirty(struct shot *s)
{
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = dirty };

	dirty[0] = 0;
	kvm_do(s->vm->fd, KVM_GET_DIRTY_LOG, &log);
	CHECK(NULL, dirty[0] == 1ull << 5, "a failed KVM_GET_DIRTY_LOG lost a page: %#lx", dirty[0]);
	puppet_write(s->v, GPA + 5 * PAGE, 1);
}

/* A failure that does no harm, in a checker of the host's: handed out, and written again. */
static void dirty_again(struct shot *s, long ret)
{
	CHECK(NULL, !s->unchanged || dirty[0] == 1ull << 5, "KVM_GET_DIRTY_LOG: %#lx", dirty[0]);
	puppet_write(s->v, GPA + 5 * PAGE, 1);
}

TEST(memory_slots)
{
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = dirty };
	struct vcpu *v;
	struct vm *vm;
	u8 *mem;

	NEEDS_INJECTION();
	vm = vm_puppet(1, VM_IRQCHIP);
	v = vm->vcpus[0];
	mem = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	region = (struct kvm_userspace_memory_region) {
		SLOT, KVM_MEM_LOG_DIRTY_PAGES, GPA, SLOT_SIZE, (u64)mem };
	*(u64 *)(mem + PAGE) = 77;

	/* created */
	INJECT(vm->fd, KVM_SET_USER_MEMORY_REGION, &region, .unchanged = no_slot,
	       .undo = remove_slot, .vm = vm, .v = v);
	ASSERT_EQ(77, puppet_read(v, GPA + PAGE));
	puppet_write(v, GPA + 5 * PAGE, 1);
	kvm_do(vm->fd, KVM_GET_DIRTY_LOG, &log);
	puppet_write(v, GPA + 5 * PAGE, 1);
	/* KVM forgets what it could not copy out */
	INJECT(vm->fd, KVM_GET_DIRTY_LOG, &log, .vm = vm, .v = v, .undo = dirty_again,
	       .unchanged = is_ringlet() ? still_dirty : NULL);
	/* the log switched off, on, the slot moved, deleted */
	region.flags = 0;
	INJECT(vm->fd, KVM_SET_USER_MEMORY_REGION, &region, .unchanged = slot_is_there,
	       .vm = vm, .v = v);
	region.flags = KVM_MEM_LOG_DIRTY_PAGES;
	INJECT(vm->fd, KVM_SET_USER_MEMORY_REGION, &region, .unchanged = slot_is_there,
	       .vm = vm, .v = v);
	region.guest_phys_addr = GPA + (1ull << 30);
	INJECT(vm->fd, KVM_SET_USER_MEMORY_REGION, &region, .unchanged = slot_is_there,
	       .undo = put_slot_back, .vm = vm, .v = v);
	ASSERT_EQ(77, puppet_read(v, region.guest_phys_addr + PAGE));
	region.guest_phys_addr = GPA;
	kvm_do(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
	region.memory_size = 0;
	INJECT(vm->fd, KVM_SET_USER_MEMORY_REGION, &region, .unchanged = slot_is_there,
	       .undo = put_slot_back, .vm = vm, .v = v);
	no_slot(&(struct shot) { .vm = vm, .v = v });
	vm_free(vm);
}

/* Every page that a guest touches takes allocations: it comes back to where it was. */
static long touch(struct shot *s)
{
	return vcpu_try_run(s->v);
}

TEST(running)
{
	struct shot s = { .name = "KVM_RUN", .call = touch };
	struct vcpu *v;
	struct vm *vm;
	u8 *mem;

	NEEDS_INJECTION();
	vm = vm_puppet(1, VM_IRQCHIP);
	s.v = v = vm->vcpus[0];
	mem = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* in a place that needs new tables on every level */
	for (int i = 0; i < 4; i++) {
		u64 gpa = GPA + i * (1ull << 32) / 2 + PAGE;
		struct ucall uc;

		if (i)
			ASSERT_EQ(0, vm_set_region(vm, SLOT, 0, 0, NULL, 0));
		ASSERT_EQ(0, vm_set_region(vm, SLOT, gpa, SLOT_SIZE, mem, i & 1));
		madvise(mem, SLOT_SIZE, MADV_DONTNEED);
		puppet_set(v, PUPPET_WRITE, gpa + i * PAGE, 8, 100 + i);
		ASSERT_EQ(0, inject(&s));
		/* it got over a failure, or over none: either way it is through */
		ASSERT_TRUE(vcpu_ucall(v, &uc) && uc.code == UCALL_SYNC);
		ASSERT_EQ(100 + i, *(u64 *)(mem + i * PAGE));
	}
	ASSERT_NE(0, s.failures);
	vm_free(vm);
}

struct one_route {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry e[1];
};

static struct one_route route(u32 vector)
{
	return (struct one_route) {
		.head.nr = 1,
		.e[0] = { .gsi = 30, .type = KVM_IRQ_ROUTING_MSI,
			  .u.msi = { MSI_ADDR, 0, vector } },
	};
}

/* An interrupt on GSI 30 arrives as the old route says. */
static void old_route(struct shot *s)
{
	struct kvm_irq_level level = { .irq = 30, .level = 1 };
	u32 had = G(s->vm, guest_irqs[0][0x50]);

	kvm_do(s->vm->fd, KVM_IRQ_LINE, &level);
	puppet_call(s->v, guest_irq_window, 0);
	CHECK(s->v, G(s->vm, guest_irqs[0][0x50]) == had + 1, "the old route is gone");
}

static int event;

static void set_old_route(struct shot *s, long ret)
{
	struct one_route old = route(0x50);

	kvm_do(s->vm->fd, KVM_SET_GSI_ROUTING, &old);
}

static void not_armed(struct shot *s)
{
	eventfd_t n = 0;

	puppet_call(s->v, guest_irq_window, 0);
	eventfd_write(event, 1);
	puppet_call(s->v, guest_irq_window, 0);
	CHECK(s->v, !eventfd_read(event, &n) && n == 1, "an irqfd that failed is there");
}

static void disarm(struct shot *s, long ret)
{
	struct kvm_irqfd i = *(struct kvm_irqfd *)s->arg;

	i.flags = KVM_IRQFD_FLAG_DEASSIGN;
	kvm_do(s->vm->fd, KVM_IRQFD, &i);
}

static void arm_again(struct shot *s, long ret)
{
	struct kvm_irqfd i = *(struct kvm_irqfd *)s->arg;

	i.flags = 0;
	kvm_do(s->vm->fd, KVM_IRQFD, &i);
}

static void no_doorbell(struct shot *s)
{
	puppet_set(s->v, PUPPET_WRITE, HOLE_GPA, 4, 5);
	expect_mmio_write(s->v, HOLE_GPA, 4, 5);
	expect_sync(s->v, PUPPET_STAGE);
}

static void take_doorbell(struct shot *s, long ret)
{
	struct kvm_ioeventfd i = *(struct kvm_ioeventfd *)s->arg;

	i.flags ^= KVM_IOEVENTFD_FLAG_DEASSIGN;
	kvm_do(s->vm->fd, KVM_IOEVENTFD, &i);
}

static void doorbell(struct shot *s)
{
	eventfd_t n = 0;

	puppet_do(s->v, PUPPET_WRITE, HOLE_GPA, 4, 5);
	CHECK(s->v, !eventfd_read(event, &n) && n == 1, "the doorbell is gone");
}

TEST(interrupts_and_doorbells)
{
	struct kvm_ioeventfd bell = { .addr = HOLE_GPA, .len = 4 };
	struct kvm_msi msi = { .address_lo = MSI_ADDR, .data = 0x51 };
	struct kvm_irq_level level = { .irq = 3 };
	struct kvm_clock_data clock = {};
	struct kvm_irqfd irqfd = { .gsi = 30 };
	struct one_route r = route(0x50);
	struct vcpu *v;
	struct vm *vm;

	NEEDS_INJECTION();
	vm = vm_puppet(1, VM_IRQCHIP);
	v = vm->vcpus[0];
	bell.fd = event = irqfd.fd = eventfd(0, EFD_NONBLOCK);
	puppet_call(v, guest_irq_setup, EOI_X2APIC);
	kvm_do(vm->fd, KVM_SET_GSI_ROUTING, &r);
	r = route(0x52);
	INJECT(vm->fd, KVM_SET_GSI_ROUTING, &r, .unchanged = old_route, .undo = set_old_route,
	       .vm = vm, .v = v);
	r = route(0x50);
	kvm_do(vm->fd, KVM_SET_GSI_ROUTING, &r);
	INJECT(vm->fd, KVM_SIGNAL_MSI, &msi);
	INJECT(vm->fd, KVM_IRQ_LINE, &level);
	INJECT(vm->fd, KVM_IRQ_LINE_STATUS, &level);
	INJECT(vm->fd, KVM_GET_CLOCK, &clock);
	clock.flags = 0;
	INJECT(vm->fd, KVM_SET_CLOCK, &clock);

	INJECT(vm->fd, KVM_IRQFD, &irqfd, .unchanged = not_armed, .undo = disarm, .vm = vm, .v = v);
	irqfd.flags = KVM_IRQFD_FLAG_DEASSIGN;
	INJECT(vm->fd, KVM_IRQFD, &irqfd, .undo = arm_again, .vm = vm, .v = v);
	not_armed(&(struct shot) { .vm = vm, .v = v });
	irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
	irqfd.resamplefd = eventfd(0, 0);
	INJECT(vm->fd, KVM_IRQFD, &irqfd, .undo = disarm, .vm = vm, .v = v);
	disarm(&(struct shot) { .vm = vm, .arg = &irqfd }, 0);
	eventfd_read(event, &(eventfd_t) { 0 });

	INJECT(vm->fd, KVM_IOEVENTFD, &bell, .unchanged = no_doorbell, .undo = take_doorbell,
	       .vm = vm, .v = v);
	if (!is_ringlet())	/* KVM gives the whole bus up when it cannot make a smaller one */
		goto out;
	bell.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
	INJECT(vm->fd, KVM_IOEVENTFD, &bell, .unchanged = doorbell, .undo = take_doorbell,
	       .vm = vm, .v = v);
	no_doorbell(&(struct shot) { .vm = vm, .v = v });
out:
	vm_free(vm);
}

TEST_HARNESS_MAIN
