// SPDX-License-Identifier: GPL-2.0
/* The dirty ring: what is in it, when it is full, what taking entries back does. */
#include "lib.h"
#include "harness.h"
#include <linux/ringlet.h>

#define SLOT		5
#define GPA		0x20000000ull
#define PAGES		1200u
#define PAGE		0x1000ull
#define RING_SIZE	0x4000u		/* KVM on a CPU with PML takes no smaller one */
#define ENTRIES		(RING_SIZE / sizeof(struct kvm_dirty_gfn))
#define MSR_KVM_CLOCK	0x4b564d01

FIXTURE(ring) {
	struct vm *vm;
	struct vcpu *v;
	struct kvm_dirty_gfn *gfns;
	u8 *mem;
	u32 next;		/* entry to harvest */
	u8 seen[PAGES];		/* how many entries a page had */
};

static long enable(struct vm *vm, u64 size)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { size } };

	return kvm_try(vm->fd, KVM_ENABLE_CAP, &cap);
}

FIXTURE_SETUP(ring)
{
	if (!rl_cap(KVM_CAP_DIRTY_LOG_RING))
		SKIP(return, "no KVM_CAP_DIRTY_LOG_RING");
	self->vm = vm_new(0);
	ASSERT_EQ(0, enable(self->vm, RING_SIZE));
	vm_add_mem(self->vm, 0, 0, RAM_SIZE, 0);
	vm_load_program(self->vm);
	self->v = vcpu_new(self->vm, 0);
	vcpu_long(self->v, guest_puppet, 0);
	expect_sync(self->v, PUPPET_STAGE);
	self->gfns = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, self->v->fd,
			  KVM_DIRTY_LOG_PAGE_OFFSET * PAGE);
	ASSERT_NE(MAP_FAILED, self->gfns);
	self->mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, PAGES * PAGE, self->mem,
				   KVM_MEM_LOG_DIRTY_PAGES));
}

FIXTURE_TEARDOWN(ring)
{
	munmap(self->gfns, RING_SIZE);
	vm_free(self->vm);
}

/* Mark up to @max entries as seen. */
static u32 harvest(FIXTURE_DATA(ring) *self, u32 max)
{
	u32 n;

	for (n = 0; n < max; n++) {
		struct kvm_dirty_gfn *e = &self->gfns[self->next % ENTRIES];

		if (__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
			break;
		CHECK(self->v, e->slot == SLOT && e->offset < PAGES, "slot %u page %llu",
		      e->slot, e->offset);
		self->seen[e->offset]++;
		__atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
		self->next++;
	}
	return n;
}

static long reset(FIXTURE_DATA(ring) *self)
{
	return kvm_try(self->vm->fd, KVM_RESET_DIRTY_RINGS, 0);
}

TEST(arguments)
{
	u64 max = rl_cap(KVM_CAP_DIRTY_LOG_RING);
	struct vm *vm;

	if (!max)
		SKIP(return, "no KVM_CAP_DIRTY_LOG_RING");
	EXPECT_EQ(max, (u64)rl_cap(KVM_CAP_DIRTY_LOG_RING_ACQ_REL));
	vm = vm_new(0);
	EXPECT_EQ(-EINVAL, kvm_try(vm->fd, KVM_RESET_DIRTY_RINGS, 0));
	EXPECT_EQ(-EINVAL, enable(vm, 0));
	EXPECT_EQ(-EINVAL, enable(vm, 0x5000));
	EXPECT_EQ(-EINVAL, enable(vm, 512));
	EXPECT_EQ(-E2BIG, enable(vm, 2 * max));
	EXPECT_EQ(0, enable(vm, max));
	EXPECT_EQ(-EINVAL, enable(vm, max));
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_RESET_DIRTY_RINGS, 0));
	vm_free(vm);

	vm = vm_new(0);
	vcpu_new(vm, 0);
	EXPECT_EQ(-EINVAL, enable(vm, RING_SIZE));	/* too late */
	EXPECT_EQ(-EINVAL, kvm_try(vm->fd, KVM_RESET_DIRTY_RINGS, 0));
	vm_free(vm);
}

TEST_F(ring, mapping)
{
	int fd = self->v->fd;
	u64 at = KVM_DIRTY_LOG_PAGE_OFFSET * PAGE;

	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, at));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, at));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, at + RING_SIZE - PAGE));
	for (u32 i = 0; i < ENTRIES; i++)
		EXPECT_EQ(0, self->gfns[i].flags);
}

TEST_F(ring, bitmap_is_gone)
{
	u64 bits[PAGES / 64 + 1];
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = bits };
	struct kvm_clear_dirty_log clear = { .slot = SLOT, .num_pages = 64, .dirty_bitmap = bits };

	EXPECT_EQ(-ENXIO, kvm_try(self->vm->fd, KVM_GET_DIRTY_LOG, &log));
	EXPECT_EQ(-ENXIO, kvm_try(self->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
}

TEST_F(ring, entries)
{
	struct vcpu *v = self->v;

	puppet_write(v, GPA + 3 * PAGE, 1);
	puppet_write(v, GPA + 3 * PAGE, 2);		/* once is enough */
	puppet_write(v, GPA + 70 * PAGE - 4, 1);	/* two pages */
	puppet_write(v, GPA + 2 * PAGE, 1);
	ASSERT_EQ(4, harvest(self, ENTRIES));
	EXPECT_EQ(1, self->seen[3]);
	EXPECT_EQ(1, self->seen[69]);
	EXPECT_EQ(1, self->seen[70]);
	EXPECT_EQ(1, self->seen[2]);
	/* Harvested, but not taken back: nothing new of the same page. */
	puppet_write(v, GPA + 3 * PAGE, 3);
	ASSERT_EQ(0, harvest(self, ENTRIES));
	ASSERT_EQ(4, reset(self));
	ASSERT_EQ(0, reset(self));
	puppet_write(v, GPA + 70 * PAGE, 4);
	puppet_write(v, GPA + 3 * PAGE, 4);
	ASSERT_EQ(2, harvest(self, ENTRIES));
	EXPECT_EQ(2, self->seen[3]);
	EXPECT_EQ(2, self->seen[70]);
	ASSERT_EQ(2, reset(self));

	/* What is not harvested stays, and what is taken back goes in order. */
	puppet_write(v, GPA, 5);
	puppet_write(v, GPA + PAGE, 5);
	ASSERT_EQ(1, harvest(self, 1));
	ASSERT_EQ(1, reset(self));
	puppet_write(v, GPA + PAGE, 6);
	puppet_write(v, GPA, 6);
	ASSERT_EQ(2, harvest(self, ENTRIES));
	EXPECT_EQ(2, self->seen[0]);
	EXPECT_EQ(1, self->seen[1]);
	ASSERT_EQ(2, reset(self));
}

/* The kernel writes for the vCPU: its clock, and an instruction that it emulates. */
TEST_F(ring, written_by_the_kernel)
{
	struct vcpu *v = self->v;

	vcpu_set_msr(v, MSR_KVM_CLOCK, (GPA + 9 * PAGE) | 1);
	puppet_read(v, GPA);
	ASSERT_GE(harvest(self, ENTRIES), 1);
	EXPECT_LE(1, self->seen[9]);
	EXPECT_GE(reset(self), 1);
	EXPECT_NE(0, *(u32 *)(self->mem + 9 * PAGE));
	vcpu_set_msr(v, MSR_KVM_CLOCK, 0);
}

static u64 guest_fill(u64 pages)
{
	for (u64 i = 0; i < pages; i++)
		*(volatile u64 *)(GPA + i * PAGE) = i + 1;
	return 0;
}

static bool exit_is_full(struct vcpu *v)
{
	int r = vcpu_try_run(v);

	CHECK(v, !r, "%d", r);
	return v->run->exit_reason == KVM_EXIT_DIRTY_RING_FULL;
}

TEST_F(ring, full)
{
	struct vcpu *v = self->v;
	u32 n, got;

	for (int round = 0; round < 3; round++) {
		puppet_set(v, PUPPET_CALL, (u64)guest_fill, 0, PAGES);
		memset(self->seen, 0, sizeof(self->seen));
		n = 0;
		while (exit_is_full(v)) {
			ASSERT_TRUE(exit_is_full(v));	/* until there is room again */
			got = harvest(self, ENTRIES);
			ASSERT_GE(got, 100);
			ASSERT_LT(got, ENTRIES);
			n += got;
			ASSERT_TRUE(exit_is_full(v));
			ASSERT_EQ(got, reset(self));
		}
		ASSERT_GT(n, 0);
		n += harvest(self, ENTRIES);
		reset(self);
		/* A page whose write waited for room may be there again, none is missing. */
		ASSERT_GE(n, PAGES);
		ASSERT_LT(n, PAGES + 20);
		for (u32 i = 0; i < PAGES; i++)
			ASSERT_GE(self->seen[i], 1);
	}
}

/* User space may write what it likes there: it finds less, and nothing breaks. */
TEST_F(ring, nonsense_from_user_space)
{
	struct vcpu *v = self->v;
	long n;

	puppet_write(v, GPA, 1);
	for (u32 i = 0; i < ENTRIES; i++)
		self->gfns[i] = (struct kvm_dirty_gfn) { 3, i * 0x10001, ~0ull - i };
	n = reset(self);
	ASSERT_GE(n, 1);
	if (n >= ENTRIES)
		SKIP(return, "more taken back than was there: full for ever, on KVM");
	for (u32 i = 0; i < ENTRIES; i++)
		self->gfns[i] = (struct kvm_dirty_gfn) { 3, SLOT, i * 7 };
	reset(self);
	puppet_write(v, GPA + PAGE, 1);
	puppet_set(v, PUPPET_CALL, (u64)guest_fill, 0, 50);
	expect_sync(v, PUPPET_STAGE);
}

TEST_F(ring, no_device_in_the_kernel)
{
	struct ringlet_create_device dev = {
		.type = RINGLET_DEVICE_BLK, .nr_queues = 1, .nr_backends = 1,
		.backend = { memfd_create("disk", 0) },
	};
	struct vm *vm;
	int fd;

	ASSERT_EQ(0, ftruncate(dev.backend[0], 1 << 20));
	if (kvm_try(self->vm->fd, RINGLET_CREATE_DEVICE, &dev) == -ENOTTY)
		SKIP(return, "not ringlet");
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, RINGLET_CREATE_DEVICE, &dev));
	vm = vm_new(0);
	fd = kvm_try(vm->fd, RINGLET_CREATE_DEVICE, &dev);
	ASSERT_GE(fd, 0);
	EXPECT_EQ(-EINVAL, enable(vm, RING_SIZE));
	close(fd);
	EXPECT_EQ(0, enable(vm, RING_SIZE));
	close(dev.backend[0]);
	vm_free(vm);
}

TEST_HARNESS_MAIN
