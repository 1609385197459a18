// SPDX-License-Identifier: GPL-2.0
/* Guest memory: slots, what they refuse, what the guest sees of a change, the dirty log. */
#include "lib.h"
#include "harness.h"

#define SLOT		5
#define GPA		0x20000000ull
#define SIZE		0x10000ull
#define PAGE		0x1000ull

FIXTURE(slots) {
	struct vm *vm;
	struct vcpu *v;
	u8 *mem;
};

FIXTURE_SETUP(slots)
{
	self->vm = vm_puppet(1, 0);
	self->v = self->vm->vcpus[0];
	self->mem = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	for (u64 i = 0; i < 2 * SIZE; i += 8)
		*(u64 *)(self->mem + i) = 0xabcd0000 + i;
}

FIXTURE_TEARDOWN(slots)
{
	vm_free(self->vm);
}

TEST_F(slots, bad_arguments)
{
	struct vm *vm = self->vm;
	u8 *mem = self->mem;
	int nr = rl_cap(KVM_CAP_NR_MEMSLOTS);

	ASSERT_GE(nr, 32);
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA + 1, SIZE, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA + 0x800, SIZE, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, SIZE + 0x800, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, SIZE, mem + 0x800, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, SIZE, mem, 1u << 31));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, SIZE, mem, 4));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, nr, GPA, SIZE, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, 0xffff, GPA, SIZE, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT | 0x7fff0000, GPA, SIZE, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, 0 - PAGE, 2 * PAGE, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, 1ull << 60, PAGE, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, 1ull << 52, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, SIZE, (void *)0xffff888000000000, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, SIZE, (void *)(1ull << 62), 0));
	/* nothing of all this is there */
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, 0, mem, 0));
	EXPECT_EQ(-EFAULT, kvm_try(vm->fd, KVM_SET_USER_MEMORY_REGION, 8));
	EXPECT_EQ(0, vm_set_region(vm, SLOT, GPA, SIZE, mem, 0));
	EXPECT_EQ(0, vm_set_region(vm, nr - 1, GPA + SIZE, SIZE, mem, 0));
}

TEST_F(slots, overlaps)
{
	struct vm *vm = self->vm;
	u8 *mem = self->mem;

	ASSERT_EQ(0, vm_set_region(vm, SLOT, GPA, SIZE, mem, 0));
	EXPECT_EQ(-EEXIST, vm_set_region(vm, SLOT + 1, GPA, SIZE, mem, 0));
	EXPECT_EQ(-EEXIST, vm_set_region(vm, SLOT + 1, GPA + SIZE - PAGE, SIZE, mem, 0));
	EXPECT_EQ(-EEXIST, vm_set_region(vm, SLOT + 1, GPA - PAGE, 2 * PAGE, mem, 0));
	EXPECT_EQ(-EEXIST, vm_set_region(vm, SLOT + 1, GPA + PAGE, PAGE, mem, 0));
	EXPECT_EQ(-EEXIST, vm_set_region(vm, SLOT + 1, GPA - SIZE, 2 * SIZE, mem, 0));
	/* also when it reaches beyond what there can be */
	EXPECT_EQ(-EEXIST, vm_set_region(vm, SLOT + 1, GPA, 1ull << 41, (u8 *)PAGE, 0));
	/* neighbours on both sides, and two windows on the same memory, are fine */
	EXPECT_EQ(0, vm_set_region(vm, SLOT + 1, GPA + SIZE, SIZE, mem, 0));
	EXPECT_EQ(0, vm_set_region(vm, SLOT + 2, GPA - SIZE, SIZE, mem, 0));
	/* a move onto another slot is refused, and the slot stays where it was */
	EXPECT_EQ(-EEXIST, vm_set_region(vm, SLOT + 1, GPA - SIZE, SIZE, mem, 0));
	EXPECT_EQ(0xabcd0000, puppet_read(self->v, GPA + SIZE));
}

TEST_F(slots, change_of_size_or_address_refused)
{
	struct vm *vm = self->vm;
	u8 *mem = self->mem;

	ASSERT_EQ(0, vm_set_region(vm, SLOT, GPA, SIZE, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, SIZE * 2, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, PAGE, mem, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, SIZE, mem + SIZE, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, SIZE, mem, KVM_MEM_READONLY));
	/* the same again is no change at all */
	EXPECT_EQ(0, vm_set_region(vm, SLOT, GPA, SIZE, mem, 0));
	EXPECT_EQ(0, vm_set_region(vm, SLOT, GPA, 0, NULL, 0));
	EXPECT_EQ(-EINVAL, vm_set_region(vm, SLOT, GPA, 0, NULL, 0));
	EXPECT_EQ(0, vm_set_region(vm, SLOT, GPA, PAGE, mem + SIZE, KVM_MEM_READONLY));
}

TEST_F(slots, deleted_memory_is_mmio)
{
	struct vcpu *v = self->v;

	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, 0));
		ASSERT_EQ(0xabcd0000 + SIZE - 8, puppet_read(v, GPA + SIZE - 8));
		puppet_write(v, GPA, 0xabcd0000);
		ASSERT_EQ(0, vm_set_region(self->vm, SLOT, 0, 0, NULL, 0));
		puppet_set(v, PUPPET_READ, GPA + SIZE - 8, 8, 0);
		expect_mmio_read(v, GPA + SIZE - 8, 8);
		memset(v->run->mmio.data, 0xee, 8);
		expect_sync(v, PUPPET_STAGE);
		ASSERT_EQ(0xeeeeeeeeeeeeeeee, puppet(v)->val);
		puppet_set(v, PUPPET_WRITE, GPA, 4, 0x1234);
		expect_mmio_write(v, GPA, 4, 0x1234);
		expect_sync(v, PUPPET_STAGE);
		ASSERT_EQ(0xabcd0000, *(u64 *)self->mem);
	}
	/* what was MMIO a moment ago may be memory now */
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, 0));
	ASSERT_EQ(0xabcd0000, puppet_read(v, GPA));
}

TEST_F(slots, move)
{
	struct vcpu *v = self->v;

	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, 0));
	ASSERT_EQ(0xabcd0008, puppet_read(v, GPA + 8));
	puppet_write(v, GPA + 16, 77);
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA + SIZE / 2, SIZE, self->mem, 0));
	ASSERT_EQ(0xabcd0008, puppet_read(v, GPA + SIZE / 2 + 8));
	ASSERT_EQ(77, puppet_read(v, GPA + SIZE / 2 + 16));
	puppet_write(v, GPA + SIZE / 2 + 24, 78);
	ASSERT_EQ(78, *(u64 *)(self->mem + 24));
	puppet_set(v, PUPPET_READ, GPA + 8, 8, 0);
	expect_mmio_read(v, GPA + 8, 8);
}

TEST_F(slots, new_memory_at_the_same_place)
{
	struct vcpu *v = self->v;

	for (int i = 0; i < 10; i++) {
		u8 *mem = self->mem + (i & 1) * SIZE;

		ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, mem, 0));
		ASSERT_EQ(*(u64 *)mem, puppet_read(v, GPA));
		puppet_write(v, GPA, i);
		ASSERT_EQ(i, *(u64 *)mem);
		ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, 0, NULL, 0));
	}
}

TEST_F(slots, read_only)
{
	struct vcpu *v = self->v;

	if (!rl_cap(KVM_CAP_READONLY_MEM))
		SKIP(return, "no KVM_CAP_READONLY_MEM");
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, KVM_MEM_READONLY));
	ASSERT_EQ(0xabcd0010, puppet_read(v, GPA + 0x10));
	for (int size = 1; size <= 8; size *= 2) {
		puppet_set(v, PUPPET_WRITE, GPA + 0x10, size, 0x5a);
		expect_mmio_write(v, GPA + 0x10, size, 0x5a);
		expect_sync(v, PUPPET_STAGE);
	}
	ASSERT_EQ(0xabcd0010, puppet_read(v, GPA + 0x10));
	/* user space still writes to it, as to a flash chip */
	*(u64 *)(self->mem + 0x10) = 99;
	ASSERT_EQ(99, puppet_read(v, GPA + 0x10));
	/* a first access that is a write */
	puppet_set(v, PUPPET_WRITE, GPA + 0x2000, 8, 1);
	expect_mmio_write(v, GPA + 0x2000, 8, 1);
	expect_sync(v, PUPPET_STAGE);
	/* it may be backed by memory that user space itself only reads */
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	ASSERT_EQ(0xabcd3000, puppet_read(v, GPA + 0x3000));
}

TEST_F(slots, above_4g)
{
	struct vcpu *v = self->v;
	u64 gpa = 0x123456000;

	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, gpa, SIZE, self->mem, 0));
	ASSERT_EQ(0xabcd0000 + 0x18, puppet_read(v, gpa + 0x18));
	puppet_write(v, gpa + SIZE - 8, 0x5555);
	ASSERT_EQ(0x5555, *(u64 *)(self->mem + SIZE - 8));
	puppet_set(v, PUPPET_READ, gpa + SIZE, 8, 0);
	expect_mmio_read(v, gpa + SIZE, 8);
	expect_sync(v, PUPPET_STAGE);
	puppet_set(v, PUPPET_WRITE, gpa - 0x100000000, 8, 3);
	expect_mmio_write(v, gpa - 0x100000000, 8, 3);
}

TEST_F(slots, adjacent_slots_join)
{
	struct vcpu *v = self->v;

	/* the guest sees one stretch, the host has it in the other order */
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, PAGE, self->mem + SIZE, 0));
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT + 1, GPA + PAGE, PAGE, self->mem, 0));
	puppet_write(v, GPA + PAGE - 3, 0x1122334455667788);
	ASSERT_EQ(0x1122334455667788, puppet_read(v, GPA + PAGE - 3));
	ASSERT_EQ(0x11, self->mem[4]);
	ASSERT_EQ(0x88, self->mem[SIZE + PAGE - 3]);
	ASSERT_EQ(0x66, self->mem[SIZE + PAGE - 1]);
	ASSERT_EQ(0x55, self->mem[0]);
}

TEST_F(slots, many)
{
	struct vcpu *v = self->v;
	int nr = rl_cap(KVM_CAP_NR_MEMSLOTS) - 1;

	if (nr > 100)
		nr = 100;
	/* backwards and with gaps, so that the lookup has something to do */
	for (int i = nr; i > 0; i--) {
		u64 gpa = GPA + (u64)((i * 37) % 101) * 2 * PAGE;

		ASSERT_EQ(0, vm_set_region(self->vm, i, gpa, PAGE, self->mem + i % 16 * PAGE, 0));
	}
	for (int i = 1; i <= nr; i += 13) {
		u64 gpa = GPA + (u64)((i * 37) % 101) * 2 * PAGE;

		ASSERT_EQ(0xabcd0000 + i % 16 * PAGE, puppet_read(v, gpa));
		puppet_set(v, PUPPET_READ, gpa + PAGE, 4, 0);
		expect_mmio_read(v, gpa + PAGE, 4);
		expect_sync(v, PUPPET_STAGE);
	}
	for (int i = 1; i <= nr; i++)
		ASSERT_EQ(0, vm_set_region(self->vm, i, 0, 0, NULL, 0));
}

static u64 guest_hammer_stop, guest_hammer_sum;

static void guest_hammer(u64 id)
{
	while (!READ_ONCE(guest_hammer_stop)) {
		for (u64 a = 0; a < SIZE; a += PAGE)
			WRITE_ONCE(guest_hammer_sum, guest_readq(GPA + a));
		guest_writeq(GPA + 0x800, id);
	}
	GUEST_DONE();
}

/* A thread runs the guest, its MMIO reads as zero, while slots come and go. */
static void *hammer_thread(void *arg)
{
	struct vcpu *v = arg;
	struct ucall uc;

	for (;;) {
		vcpu_run(v);
		if (v->run->exit_reason == KVM_EXIT_MMIO) {
			memset(v->run->mmio.data, 0, 8);
			v->stage++;
			continue;
		}
		CHECK(v, vcpu_ucall(v, &uc) && uc.code == UCALL_DONE, "unexpected exit");
		return NULL;
	}
}

TEST_F(slots, change_under_a_running_guest)
{
	struct vm *vm = vm_long(2, guest_hammer, 0);

	for (int i = 0; i < 2; i++)
		pthread_create(&vm->vcpus[i]->thread, NULL, hammer_thread, vm->vcpus[i]);
	for (int i = 0; i < 200; i++) {
		u64 gpa = GPA + (i % 3) * PAGE;

		ASSERT_EQ(0, vm_set_region(vm, SLOT, gpa, SIZE, self->mem, 0));
		if (i & 1)
			ASSERT_EQ(0, vm_set_region(vm, SLOT, gpa, SIZE, self->mem,
						   KVM_MEM_LOG_DIRTY_PAGES));
		ASSERT_EQ(0, vm_set_region(vm, SLOT, gpa, 0, NULL, 0));
		usleep(100);
	}
	ASSERT_EQ(0, vm_set_region(vm, SLOT, GPA, SIZE, self->mem, 0));
	G(vm, guest_hammer_stop) = 1;
	for (int i = 0; i < 2; i++)
		vcpu_join(vm->vcpus[i]);
	ASSERT_EQ(0xabcd0000, *(u64 *)self->mem);
	vm_free(vm);
}

/* Dirty log */

static long get_log(struct vm *vm, u32 slot, void *bitmap)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };

	return kvm_try(vm->fd, KVM_GET_DIRTY_LOG, &log);
}

TEST_F(slots, dirty_log)
{
	struct vcpu *v = self->v;
	u64 bits = ~0ull;

	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, 0));
	puppet_write(v, GPA + 3 * PAGE, 1);	/* mapped writable before logging starts */
	ASSERT_EQ(-ENOENT, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(-ENOENT, get_log(self->vm, SLOT + 1, &bits));
	ASSERT_EQ(-EINVAL, get_log(self->vm, rl_cap(KVM_CAP_NR_MEMSLOTS), &bits));
	ASSERT_EQ(-EINVAL, get_log(self->vm, SLOT | 0x7fff0000, &bits));
	ASSERT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_GET_DIRTY_LOG, 8));

	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, KVM_MEM_LOG_DIRTY_PAGES));
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(0, bits);
	puppet_read(v, GPA + 2 * PAGE);
	puppet_write(v, GPA + 3 * PAGE, 1);
	puppet_write(v, GPA + 15 * PAGE + 0xff8, 1);
	puppet_write(v, GPA + 5 * PAGE - 4, 1);	/* both pages of it */
	ASSERT_EQ(-EFAULT, get_log(self->vm, SLOT, (void *)8));
	puppet_write(v, GPA + PAGE, 1);
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(0, bits & ~0x803eull);
	ASSERT_EQ(2, bits & 2);
	/* getting it has cleared it */
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(0, bits);
	puppet_write(v, GPA + 3 * PAGE, 2);
	puppet_write(v, GPA + 3 * PAGE, 3);
	puppet_write(v, GPA + 15 * PAGE + 0xff8, 1);
	puppet_write(v, GPA + 5 * PAGE - 4, 1);
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(0x8038, bits);

	/* off and on again starts empty */
	puppet_write(v, GPA, 1);
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, 0));
	puppet_write(v, GPA, 1);
	ASSERT_EQ(-ENOENT, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, KVM_MEM_LOG_DIRTY_PAGES));
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(0, bits);
	puppet_write(v, GPA, 1);
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(1, bits);
}

/*
 * A page that is mapped for the first time may be mapped writable, and is dirty then:
 * kvm-ioctls' own tests count the page that holds the code.
 */
TEST_F(slots, dirty_log_of_what_is_read)
{
	u64 bits = 0;

	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, KVM_MEM_LOG_DIRTY_PAGES));
	puppet_read(self->v, GPA + 2 * PAGE);
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	EXPECT_EQ(4, bits);
	puppet_read(self->v, GPA + 2 * PAGE);
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	EXPECT_EQ(0, bits);
	puppet_write(self->v, GPA + 2 * PAGE, 1);
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	EXPECT_EQ(4, bits);
}

/* A large page under the log is dirty in 4 KiB pieces. */
TEST_F(slots, dirty_log_of_huge_pages)
{
	const u64 size = 4ull << 20;
	struct vcpu *v = self->v;
	u64 bits[16];
	u8 *mem;

	mem = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mem = (u8 *)(((u64)mem + size - 1) & -size);
	madvise(mem, size, MADV_HUGEPAGE);
	memset(mem, 1, size);
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, size, mem, 0));
	for (u64 a = 0; a < size; a += PAGE)
		puppet_write(v, GPA + a, a);
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, size, mem, KVM_MEM_LOG_DIRTY_PAGES));
	ASSERT_EQ(0, get_log(self->vm, SLOT, bits));
	for (int i = 0; i < 3; i++) {
		puppet_write(v, GPA + 65 * PAGE, i);
		puppet_write(v, GPA + 1023 * PAGE, i);
		ASSERT_EQ(0, get_log(self->vm, SLOT, bits));
		for (int w = 0; w < 16; w++)
			ASSERT_EQ(w == 1 ? 2 : w == 15 ? 1ull << 63 : 0, bits[w]);
	}
	for (u64 a = 0; a < size; a += PAGE)
		if (a != 65 * PAGE && a != 1023 * PAGE)
			ASSERT_EQ(a, *(u64 *)(mem + a));
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, size, mem, 0));
	puppet_write(v, GPA + 66 * PAGE, 7);
	ASSERT_EQ(7, *(u64 *)(mem + 66 * PAGE));
}

/* Writes that the module does on the guest's behalf count as well. */
TEST_F(slots, dirty_log_of_string_input)
{
	struct vm *vm = self->vm;
	struct vcpu *v = self->v;
	u64 bits;
	static const u8 code[] = { 0x6c, 0xf4 };	/* insb; hlt */
	struct kvm_regs regs;

	ASSERT_EQ(0, vm_set_region(vm, SLOT, GPA, SIZE, self->mem, KVM_MEM_LOG_DIRTY_PAGES));
	memcpy(vm_hva(vm, BLOB_GPA), code, sizeof(code));
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	regs.rip = BLOB_GPA;
	regs.rdi = GPA + 9 * PAGE;
	regs.rdx = 0x60;
	v->run->immediate_exit = 1;
	ASSERT_EQ(-EINTR, vcpu_try_run(v));	/* end the puppet's OUT first */
	v->run->immediate_exit = 0;
	kvm_do(v->fd, KVM_SET_REGS, &regs);
	expect_in(v, 0x60, 1);
	*(u8 *)run_io_data(v) = 0x42;
	expect_exit(v, KVM_EXIT_HLT);
	ASSERT_EQ(0x42, self->mem[9 * PAGE]);
	ASSERT_EQ(0, get_log(vm, SLOT, &bits));
	ASSERT_EQ(1u << 9, bits);
}

TEST_F(slots, manual_dirty_log_protect)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };
	struct kvm_clear_dirty_log clear = { .slot = SLOT, .num_pages = 16 };
	int modes = rl_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	struct vcpu *v = self->v;
	u64 bits = 0;

	if (!(modes & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE))
		SKIP(return, "no KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	clear.dirty_bitmap = &bits;
	cap.args[0] = 0x80;
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_ENABLE_CAP, &cap));
	cap.args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
	ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_ENABLE_CAP, &cap));
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, KVM_MEM_LOG_DIRTY_PAGES));
	puppet_write(v, GPA + 3 * PAGE, 1);
	puppet_write(v, GPA + 4 * PAGE, 1);
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(0x18, bits);
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));	/* not cleared by that */
	ASSERT_EQ(0x18, bits);
	bits = 0x8;
	ASSERT_EQ(0, kvm_try(self->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(0x10, bits);
	puppet_write(v, GPA + 3 * PAGE, 1);
	ASSERT_EQ(0, get_log(self->vm, SLOT, &bits));
	ASSERT_EQ(0x18, bits);
	clear.first_page = 1;
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
	clear.first_page = 64;
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
	clear.first_page = 0;
	clear.num_pages = 17;
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
	clear.slot = SLOT + 1;
	EXPECT_EQ(-ENOENT, kvm_try(self->vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
}

TEST_HARNESS_MAIN
