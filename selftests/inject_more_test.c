// SPDX-License-Identifier: GPL-2.0
/*
 * inject_test's other half: failures of allocations and copies in what only some VMs use, in a
 * vCPU's first entry, in statistics descriptors, in data planes, and in loading the module.
 */
#define _GNU_SOURCE
#include <linux/if_tun.h>
#include <linux/virtio_blk.h>
#include <net/if.h>
#include <sys/syscall.h>

#include "vdev.h"
#include "inject.h"
#include "harness.h"

#define PAGE		0x1000ull
#define SLOT		3
#define GPA		0x20000000ull
#define BELL_PORT	0x5670
#define MSR_PAT		0x277

/* What a VM can be asked to be, once: a failure leaves it as willing as before. */

/* Returns how many failures there were. */
static int walk_new_vms(long (*with)(int vm))
{
	int dev = rl_dev_open(), n = 0;
	bool failed = true;

	while (failed) {
		int vm = kvm_do(dev, KVM_CREATE_VM, 0);
		long ret, again;

		inject_arm(++n);
		ret = with(vm);
		failed = inject_disarm();
		if (ret) {
			CHECK(NULL, failed && inject_is_failure(ret), "failure %d: %ld", n, ret);
			again = with(vm);
			CHECK(NULL, !again, "after failure %d (%ld): %ld", n, ret, again);
		}
		close(vm);
	}
	close(dev);
	return n - 1;
}

static long make_split(int vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = 24 };

	return kvm_try(vm, KVM_ENABLE_CAP, &cap);
}

static long make_old_pit(int vm)
{
	long ret = kvm_try(vm, KVM_CREATE_IRQCHIP, 0);

	return ret && ret != -EEXIST ? ret : kvm_try(vm, KVM_CREATE_PIT, 0);
}

static long make_ring(int vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args[0] = 0x4000 };
	long ret = kvm_try(vm, KVM_ENABLE_CAP, &cap);

	if (ret && ret != -EINVAL)	/* it has one */
		return ret;
	ret = kvm_try(vm, KVM_CREATE_VCPU, 0);
	if (ret < 0)
		return ret;
	close(ret);
	return 0;
}

TEST(irqchips)
{
	NEEDS_INJECTION();
	EXPECT_LE(2, walk_new_vms(make_split));
	EXPECT_LE(5, walk_new_vms(make_old_pit));
}

TEST(dirty_ring)
{
	NEEDS_INJECTION();
	if (!rl_cap(KVM_CAP_DIRTY_LOG_RING))
		SKIP(return, "no KVM_CAP_DIRTY_LOG_RING");
	EXPECT_LE(5, walk_new_vms(make_ring));
}

/* A new vCPU's first KVM_RUNs, each with one failure more; it gets where it would have got. */
GUEST32(first, "movl $0x1234, 0x10000000; mov $0x5a, %al; out %al, $0x10; hlt\n");

static int run_failing(struct vcpu *v, int n, bool *failed)
{
	int ret;

	inject_arm(n);
	ret = vcpu_try_run(v);
	*failed = inject_disarm();
	if (!*failed || !ret)
		return ret;
	CHECK(v, inject_is_failure(ret), "KVM_RUN with failure %d: %s", n, strerror(-ret));
	return vcpu_try_run(v);
}

TEST(first_run)
{
	bool failed = true;
	int n;

	NEEDS_INJECTION();
	for (n = 1; failed; n++) {
		struct vm *vm = VM_BLOB(first, 0);
		struct vcpu *v = vm->vcpus[0];

		ASSERT_GT(200, n);
		ASSERT_EQ(0, run_failing(v, n, &failed));
		/* KVM gives an instruction up that it cannot read */
		if (!is_ringlet() && failed && v->run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
			goto next;
		ASSERT_EQ(KVM_EXIT_MMIO, v->run->exit_reason);
		ASSERT_EQ(HOLE_GPA, v->run->mmio.phys_addr);
		expect_out(v, 0x10, 1, 0x5a);
next:
		vm_free(vm);
	}
	ASSERT_LE(5, n);
}

/* The rest of what a VM's and a vCPU's descriptor know. */

static u64 tsc_offset(struct vcpu *v)
{
	u64 offset = 0;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (u64)&offset,
	};

	kvm_do(v->fd, KVM_GET_DEVICE_ATTR, &attr);
	return offset;
}

static u64 old_offset;

static void same_offset(struct shot *s)
{
	CHECK(s->v, tsc_offset(s->v) == old_offset, "it failed and changed the TSC");
}

static long read_stats(struct shot *s)
{
	static u8 buf[8192];
	long n = pread(s->fd, buf, sizeof(buf), 0);

	return n < 0 ? -errno : n;
}

static void walk_stats(int fd)
{
	int stats = INJECT(fd, KVM_GET_STATS_FD, NULL, .undo = close_fd);
	struct shot s = { .name = "a read of statistics", .fd = stats, .call = read_stats };

	CHECK(NULL, inject_ok(&s) > 0, "no statistics");
	close(stats);
}

TEST(other_vcpu_calls)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args[0] = 0 };
	struct kvm_tpr_access_ctl tpr = { .enabled = 0 };
	struct kvm_device_attr attr;
	static u8 xsave[0x4000];
	struct {
		struct kvm_cpuid head;
		struct kvm_cpuid_entry e[2];
	} old = { .head.nent = 2, .e = { { 0, 1 }, { 1 } } };
	struct kvm_interrupt irq = { .irq = 0x20 };
	u64 offset;
	struct vcpu *v;
	struct vm *vm;

	NEEDS_INJECTION();
	vm = vm_puppet(1, VM_IRQCHIP);
	v = vm->vcpus[0];
	walk_stats(v->fd);
	INJECT(v->fd, KVM_GET_XSAVE2, xsave);
	INJECT(v->fd, KVM_ENABLE_CAP, &cap);
	INJECT(v->fd, KVM_TPR_ACCESS_REPORTING, &tpr);
	INJECT(v->fd, KVM_GET_TSC_KHZ, NULL);
	attr = (struct kvm_device_attr) {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (u64)&offset,
	};
	INJECT(v->fd, KVM_HAS_DEVICE_ATTR, &attr);
	INJECT(v->fd, KVM_GET_DEVICE_ATTR, &attr);
	old_offset = offset;
	offset += 1ull << 40;
	INJECT(v->fd, KVM_SET_DEVICE_ATTR, &attr, .unchanged = same_offset, .v = v);
	EXPECT_EQ(old_offset + (1ull << 40), tsc_offset(v));
	vm_free(vm);

	vm = vm_new(0);
	v = vcpu_new(vm, 0);
	INJECT(v->fd, KVM_SET_CPUID, &old);
	INJECT(v->fd, KVM_INTERRUPT, &irq);
	vm_free(vm);
}

static void read_denied(struct shot *s)
{
	puppet_do(s->v, PUPPET_RDMSR, MSR_PAT, 0, 0);
	CHECK(s->v, puppet(s->v)->trap == TRAP(13, 0), "the old MSR filter is gone");
}

static void deny_again(struct shot *s, long ret)
{
	kvm_do(s->vm->fd, KVM_X86_SET_MSR_FILTER, s->old);
}

static void not_coalesced(struct shot *s)
{
	puppet_set(s->v, PUPPET_WRITE, HOLE_GPA, 4, 5);
	expect_mmio_write(s->v, HOLE_GPA, 4, 5);
	expect_sync(s->v, PUPPET_STAGE);
}

static void drop_zone(struct shot *s, long ret)
{
	kvm_do(s->vm->fd, KVM_UNREGISTER_COALESCED_MMIO, s->arg);
}

static void coalesced(struct shot *s)
{
	puppet_do(s->v, PUPPET_WRITE, HOLE_GPA, 4, 5);
}

static void zone_again(struct shot *s, long ret)
{
	kvm_do(s->vm->fd, KVM_REGISTER_COALESCED_MMIO, s->arg);
}

TEST(other_vm_calls)
{
	u8 none[8] = {}, all[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct kvm_msr_filter deny = { .ranges[0] = {
		.flags = KVM_MSR_FILTER_READ, .base = MSR_PAT, .nmsrs = 1, .bitmap = none } };
	struct kvm_msr_filter allow = { .ranges = {
		{ .flags = KVM_MSR_FILTER_READ, .base = MSR_PAT, .nmsrs = 1, .bitmap = all },
		{ .flags = KVM_MSR_FILTER_WRITE, .base = 0, .nmsrs = 64, .bitmap = all } } };
	struct kvm_coalesced_mmio_zone zone = { .addr = HOLE_GPA, .size = 0x100 };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args[0] = 0 };
	struct kvm_reinject_control reinject = { 0 };
	struct kvm_pit_config config = {};
	struct kvm_pit_state pit;
	u64 identity = 0xfffbc000;
	struct vcpu *v;
	struct vm *vm;

	NEEDS_INJECTION();
	vm = vm_puppet(1, VM_IRQCHIP);
	v = vm->vcpus[0];
	kvm_do(vm->fd, KVM_CREATE_PIT2, &config);
	walk_stats(vm->fd);
	INJECT(vm->fd, KVM_ENABLE_CAP, &cap);
	INJECT(vm->fd, KVM_GET_PIT, &pit);
	INJECT(vm->fd, KVM_SET_PIT, &pit);
	INJECT(vm->fd, KVM_REINJECT_CONTROL, &reinject);
	INJECT(vm->fd, KVM_SET_TSS_ADDR, (void *)0xfffbd000);
	INJECT(vm->fd, KVM_SET_NR_MMU_PAGES, (void *)1024);

	kvm_do(vm->fd, KVM_X86_SET_MSR_FILTER, &deny);
	INJECT(vm->fd, KVM_X86_SET_MSR_FILTER, &allow, .unchanged = read_denied, .undo = deny_again,
	       .old = &deny, .vm = vm, .v = v);
	puppet_rdmsr(v, MSR_PAT);
	EXPECT_EQ(0, puppet(v)->trap);

	INJECT(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone, .unchanged = not_coalesced,
	       .undo = drop_zone, .vm = vm, .v = v);
	coalesced(&(struct shot) { .v = v });
	if (is_ringlet())	/* KVM gives the whole bus up */
		INJECT(vm->fd, KVM_UNREGISTER_COALESCED_MMIO, &zone, .unchanged = coalesced,
		       .undo = zone_again, .vm = vm, .v = v);
	vm_free(vm);

	vm = vm_new(0);
	INJECT(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	INJECT(vm->fd, KVM_SET_BOOT_CPU_ID, NULL);
	INJECT(vm->fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_NR_VCPUS);
	vm_free(vm);
}

static u64 bits[1];

static void still_dirty(struct shot *s)
{
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = bits };

	kvm_do(s->vm->fd, KVM_GET_DIRTY_LOG, &log);
	CHECK(NULL, bits[0] == 1ull << 5, "a failed KVM_CLEAR_DIRTY_LOG: %#lx", bits[0]);
}

static void write_again(struct shot *s, long ret)
{
	puppet_write(s->v, GPA + 5 * PAGE, 1);
}

TEST(manual_dirty_log)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { 1 } };
	u64 clear_bits[1] = { ~0ull };
	struct kvm_clear_dirty_log clear = {
		.slot = SLOT, .num_pages = 32, .dirty_bitmap = clear_bits,
	};
	struct vcpu *v;
	struct vm *vm;

	NEEDS_INJECTION();
	vm = vm_puppet(1, 0);
	v = vm->vcpus[0];
	kvm_do(vm->fd, KVM_ENABLE_CAP, &cap);
	vm_add_mem(vm, SLOT, GPA, 32 * PAGE, KVM_MEM_LOG_DIRTY_PAGES);
	write_again(&(struct shot) { .v = v }, 0);
	INJECT(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear, .unchanged = still_dirty, .undo = write_again,
	       .vm = vm, .v = v);
	vm_free(vm);
}

static long run_synced(struct shot *s)
{
	s->v->run->kvm_valid_regs = s->v->run->kvm_dirty_regs =
		KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
	return vcpu_try_run(s->v);
}

TEST(synced_registers)
{
	struct shot s = { .name = "KVM_RUN with registers", .call = run_synced };
	struct vm *vm;

	NEEDS_INJECTION();
	vm = vm_puppet(1, VM_IRQCHIP);
	s.v = vm->vcpus[0];
	s.v->run->kvm_valid_regs = KVM_SYNC_X86_VALID_FIELDS;
	puppet_do(s.v, PUPPET_CPUID, 0, 0, 0);
	puppet_set(s.v, PUPPET_CPUID, 0, 0, 0);
	inject_ok(&s);
	vm_free(vm);
}

/* Data planes */

TEST(system_calls_of_ringlet)
{
	struct kvm_device_attr attr = { .attr = KVM_X86_XCOMP_GUEST_SUPP };
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[1];
	} msrs = { .head.nmsrs = 1, .e[0].index = 0x8b };
	struct ringlet_caps caps;
	u64 supported;
	int dev;

	NEEDS_INJECTION();
	dev = rl_dev_open();
	attr.addr = (u64)&supported;
	INJECT(dev, KVM_HAS_DEVICE_ATTR, &attr);
	INJECT(dev, KVM_GET_DEVICE_ATTR, &attr);
	if (kvm_try(dev, KVM_GET_MSRS, &msrs) == 1)
		INJECT(dev, KVM_GET_MSRS, &msrs);
	if (is_ringlet())
		INJECT(dev, RINGLET_GET_CAPS, &caps);
	close(dev);
}

static void old_doorbell(struct shot *s)
{
	struct ringlet_queue_stats before = vdev_stats((void *)s->old, 0);

	puppet_call(s->v, (u64)s->arg, 0);
	CHECK(s->v, vdev_stats((void *)s->old, 0).kicks == before.kicks + 1,
	      "the doorbell that was there is gone");
}

static u64 guest_ring(u64 port)
{
	outw(BELL_PORT, 0);
	return 0;
}

static void ring_old(struct shot *s)
{
	old_doorbell(&(struct shot) { .v = s->v, .old = s->old, .arg = (void *)guest_ring });
}

static void bell_back(struct shot *s, long ret)
{
	struct ringlet_doorbell bell = {
		.flags = RINGLET_DOORBELL_PIO, .addr = BELL_PORT, .len = 2,
	};

	kvm_do(s->fd, RINGLET_DEV_SET_DOORBELL, &bell);
}

static void is_stopped(struct shot *s)
{
	CHECK(NULL, vdev_status((void *)s->old).state == RINGLET_STATE_STOPPED, "not stopped");
}

static void stop_it(struct shot *s, long ret)
{
	kvm_do(s->fd, RINGLET_DEV_STOP, 0);
}

/*
 * One request through a device without a thread. A request that there is no memory for leaves a
 * device that needs a reset, and works after it.
 */
static long one_request(struct shot *s)
{
	struct vdev *d = (void *)s->old;
	volatile u8 *status = (u8 *)vm_hva(d->vm, VDEV_DATA - 0x8000) + 16;
	u32 len;

	if (vdev_blk_add(d, 0, VIRTIO_BLK_T_IN, 8, VDEV_DATA, 4096, 1, 0) < 0)
		return -EPERM;
	virtq_publish(&d->q[0]);
	kvm_try(d->fd, RINGLET_DEV_KICK, 0);
	kvm_try(d->fd, RINGLET_DEV_STOP, 0);
	if (virtq_used(&d->q[0], &len) < 0)
		return -ENOMEM;
	return *status ? -EFAULT : 0;
}

static void reset_it(struct shot *s)
{
	struct vdev *d = (void *)s->old;

	kvm_do(d->fd, RINGLET_DEV_STOP, 0);
	CHECK(NULL, !vdev_set_queue(d, 0, 64), "SET_QUEUE");
	kvm_do(d->fd, RINGLET_DEV_START, 0);
}

static void reset_after(struct shot *s, long ret)
{
	reset_it(s);
}

TEST(block_device)
{
	struct ringlet_doorbell bell = {
		.flags = RINGLET_DOORBELL_PIO, .addr = BELL_PORT + 2, .len = 2,
	};
	struct ringlet_create_device create = {
		.type = RINGLET_DEVICE_BLK, .nr_queues = 2, .nr_backends = 1,
	};
	struct ringlet_irq irq = { .type = RINGLET_IRQ_EVENTFD };
	struct ringlet_queue queue = { .size = 64 };
	struct ringlet_queue_state state = {};
	struct ringlet_queue_stats stats = {};
	struct ringlet_status status;
	struct shot io = { .name = "a request", .call = one_request, .unchanged = reset_it,
			   .undo = reset_after };
	struct vdev d = {};
	struct vcpu *v;
	struct vm *vm;
	int fd;

	NEEDS_INJECTION();
	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	vm = vm_puppet(1, VM_IRQCHIP);
	v = vm->vcpus[0];
	/* the rings of vdev.h lie where this program is not */
	create.backend[0] = memfd_create("disk", 0);
	ASSERT_EQ(0, ftruncate(create.backend[0], 1 << 20));

	fd = INJECT(vm->fd, RINGLET_CREATE_DEVICE, &create, .undo = close_fd);
	d.vm = vm;
	d.fd = fd;
	d.features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_IN_ORDER;
	INJECT(fd, RINGLET_DEV_SET_FEATURES, &d.features);
	queue.desc = FREE_GPA;
	queue.driver = FREE_GPA + 0x1000;
	queue.device = FREE_GPA + 0x2000;
	INJECT(fd, RINGLET_DEV_SET_QUEUE, &queue);
	INJECT(fd, RINGLET_DEV_SET_STATE, &state);
	INJECT(fd, RINGLET_DEV_GET_STATE, &state);
	irq.fd = eventfd(0, EFD_NONBLOCK);
	INJECT(fd, RINGLET_DEV_SET_IRQ, &irq);
	bell_back(&(struct shot) { .fd = fd }, 0);
	INJECT(fd, RINGLET_DEV_SET_DOORBELL, &bell, .unchanged = ring_old, .undo = bell_back,
	       .old = &d, .v = v);
	bell_back(&(struct shot) { .fd = fd }, 0);
	bell.flags |= RINGLET_DOORBELL_UNBIND;
	INJECT(fd, RINGLET_DEV_SET_DOORBELL, &bell, .unchanged = ring_old, .undo = bell_back,
	       .old = &d, .v = v);
	INJECT(fd, RINGLET_DEV_START, NULL, .unchanged = is_stopped, .undo = stop_it, .old = &d);
	INJECT(fd, RINGLET_DEV_GET_STATUS, &status);
	EXPECT_EQ(RINGLET_STATE_RUNNING, status.state);
	INJECT(fd, RINGLET_DEV_GET_STATS, &stats);
	INJECT(fd, RINGLET_DEV_STOP, NULL);
	INJECT(fd, RINGLET_DEV_WORK, NULL);
	close(fd);
	vm_free(vm);

	vm = vdev_vm();
	vdev_init(&d, vm, vdev_blk(vm, create.backend[0], 0, 1), 1, 64, 0);
	kvm_do(d.fd, RINGLET_DEV_START, 0);
	io.old = &d;
	inject_ok(&io);
	ASSERT_LE(1, io.failures);
	vdev_free(&d);
	vm_free(vm);
	close(create.backend[0]);
	close(irq.fd);
}

TEST(network_device)
{
	struct ringlet_create_device create = {
		.type = RINGLET_DEVICE_NET, .nr_queues = 2, .nr_backends = 1,
	};
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int hdr = 12, fd;
	struct vdev d;
	struct vm *vm;

	NEEDS_INJECTION();
	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	if (access("/dev/net/tun", R_OK) && system("modprobe -q tun"))
		SKIP(return, "no taps");
	create.backend[0] = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (create.backend[0] < 0 || ioctl(create.backend[0], TUNSETIFF, &ifr) ||
	    ioctl(create.backend[0], TUNSETVNETHDRSZ, &hdr))
		SKIP(return, "no tap: %s", strerror(errno));
	vm = vdev_vm();
	fd = INJECT(vm->fd, RINGLET_CREATE_DEVICE, &create, .undo = close_fd);
	vdev_init(&d, vm, fd, 2, 64, 0);
	INJECT(fd, RINGLET_DEV_START, NULL, .unchanged = is_stopped, .undo = stop_it, .old = &d);
	INJECT(fd, RINGLET_DEV_KICK, NULL);
	INJECT(fd, RINGLET_DEV_STOP, NULL);
	vdev_free(&d);
	vm_free(vm);
	close(create.backend[0]);
}

/* Loading the module */

static const char *ko(void)
{
	return getenv("RINGLET_KO") ?: "/ringlet.ko";
}

static void unload(void)
{
	CHECK(NULL, !syscall(SYS_delete_module, "ringlet", O_NONBLOCK), "rmmod: %s", strerror(errno));
}

static long load(int fd, const char *args)
{
	return syscall(SYS_finit_module, fd, args, 0) ? -errno : 0;
}

/* Load it with failure @n; did that come? What could not be loaded leaves nothing behind. */
static bool load_fails(int fd, int n)
{
	bool failed;
	long ret;

	inject_arm(n);
	ret = load(fd, "");
	failed = inject_disarm();
	if (!ret) {
		unload();
	} else {
		CHECK(NULL, failed && inject_is_failure(ret), "finit_module with failure %d: %s", n,
		      strerror(-ret));
		CHECK(NULL, access("/sys/module/ringlet", F_OK) && access("/dev/ringlet", F_OK),
		      "failure %d left something of the module", n);
	}
	return failed;
}

/* How much there is to fail in a load that ends with @answer. */
static int load_failures(int fd, const char *args, long answer)
{
	const int many = 1 << 20;
	long ret;
	int left;

	inject_arm(many);
	ret = load(fd, args);
	left = inject_left();
	CHECK(NULL, ret == answer && left > 0, "finit_module: %s", strerror(-ret));
	if (!ret)
		unload();
	return many - left;
}

/*
 * Most of what can fail is the kernel's own business, some of it with a WARN: that ends where a bad
 * parameter ends it. Of the rest the last failures are the module's.
 */
TEST(module_load)
{
	int fd = open(ko(), O_RDONLY | O_CLOEXEC), tried = 0, kernels, all;

	NEEDS_INJECTION();
	if (!is_ringlet() || fd < 0)
		SKIP(return, "no module file (RINGLET_KO)");
	unload();
	kernels = load_failures(fd, "kvm_node=?", -EINVAL);
	all = load_failures(fd, "", 0);
	printf("# %d of %d failures are the kernel's\n", kernels, all);
	if (kernels < all - 120)
		kernels = all - 120;
	while (load_fails(fd, kernels + ++tried))
		;
	EXPECT_LE(50, tried);		/* from one load to the next some have been cached */
	/* without a failure it is as good as ever */
	ASSERT_EQ(0, syscall(SYS_finit_module, fd, getenv("MODARGS") ?: "", 0));
	close(fd);
	vm_free(VM_BLOB(first, VM_IRQCHIP));
}

TEST_HARNESS_MAIN
