// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory as ordinary memory of the process: all page sizes on both
 * sides, and what the host may do to it while the guest has it mapped.
 */
#include "lib.h"
#include "harness.h"

#define PAGE		0x1000ull
#define MEM_GPA		0x40000000ull		/* 1 GiB aligned */
#define MEM_SIZE	(4ull << 20)
#define SLOT		1

/* Three views of MEM_GPA that the test adds to the guest's tables. */
#define VA_4K		0x8000000000ull
#define VA_2M		0x10000000000ull
#define VA_1G		0x18000000000ull

static void map_views(struct vm *vm)
{
	u64 *pml4 = vm_hva(vm, PT_GPA);
	u64 *pdpt = vm_hva(vm, FREE_GPA), *pd = pdpt + 512, *pt = pd + 512;

	/* one PDPT, PD and set of PTs for the small pages, PDPT and PD for the next, ... */
	pml4[1] = FREE_GPA | 7;
	pdpt[0] = (FREE_GPA + 0x1000) | 7;
	for (u64 i = 0; i < MEM_SIZE >> 21; i++)
		pd[i] = (FREE_GPA + 0x2000 + i * 0x1000) | 7;
	for (u64 i = 0; i < MEM_SIZE >> 12; i++)
		pt[i] = (MEM_GPA + (i << 12)) | 7;
	pdpt = vm_hva(vm, FREE_GPA + 0x40000);
	pd = pdpt + 512;
	pml4[2] = (FREE_GPA + 0x40000) | 7;
	pdpt[0] = (FREE_GPA + 0x41000) | 7;
	for (u64 i = 0; i < MEM_SIZE >> 21; i++)
		pd[i] = (MEM_GPA + (i << 21)) | 0x87;
	pdpt = vm_hva(vm, FREE_GPA + 0x42000);
	pml4[3] = (FREE_GPA + 0x42000) | 7;
	pdpt[0] = MEM_GPA | 0x87;
}

static u64 guest_fill(u64 va)
{
	for (u64 a = 0; a < MEM_SIZE; a += PAGE)
		guest_writeq(va + a + (a >> 9 & 0xff8), a ^ 0x5a5a);
	return 0;
}

static u64 guest_check(u64 va)
{
	u64 bad = 0;

	for (u64 a = 0; a < MEM_SIZE; a += PAGE)
		bad += guest_readq(va + a + (a >> 9 & 0xff8)) != (a ^ 0x5a5a);
	return bad;
}

static u64 guest_sum(u64 va)
{
	u64 sum = 0;

	for (u64 a = 0; a < MEM_SIZE; a += PAGE)
		sum += guest_readq(va + a + (a >> 9 & 0xff8));
	return sum;
}

/* Written through one view, read through all of them and by the host. */
static void pattern(struct vcpu *v, u8 *mem)
{
	u64 views[] = { VA_4K, VA_2M, MEM_GPA, VA_1G };
	u32 nr = rl_guest_has(0x80000001, 3, 26) ? 4 : 3;

	for (u32 w = 0; w < nr; w++) {
		memset(mem, 0, MEM_SIZE);
		puppet_call(v, guest_fill, views[w]);
		for (u32 r = 0; r < nr; r++)
			CHECK(v, !puppet_call(v, guest_check, views[r]), "%u, %u", w, r);
		for (u64 a = 0; a < MEM_SIZE; a += PAGE)
			CHECK(v, (a ^ 0x5a5a) == *(u64 *)(mem + a + (a >> 9 & 0xff8)), "%u", w);
	}
}

enum backing { SMALL, THP, THP_UNALIGNED, MEMFD };

FIXTURE(paging) {
	struct vm *vm;
	struct vcpu *v;
	u8 *map, *mem;
	u64 map_size;
};

FIXTURE_VARIANT(paging) {
	enum backing backing;
};

FIXTURE_VARIANT_ADD(paging, small) { .backing = SMALL };
FIXTURE_VARIANT_ADD(paging, thp) { .backing = THP };
FIXTURE_VARIANT_ADD(paging, thp_unaligned) { .backing = THP_UNALIGNED };
FIXTURE_VARIANT_ADD(paging, memfd) { .backing = MEMFD };

FIXTURE_SETUP(paging)
{
	u64 align = 2 << 20;

	self->vm = vm_puppet(1, 0);
	self->v = self->vm->vcpus[0];
	map_views(self->vm);
	self->map_size = MEM_SIZE + 2 * align;
	if (variant->backing == MEMFD) {
		int fd = memfd_create("guest", 0);

		ASSERT_EQ(0, ftruncate(fd, self->map_size));
		self->map = mmap(NULL, self->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	} else {
		self->map = mmap(NULL, self->map_size, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	ASSERT_NE(MAP_FAILED, self->map);
	self->mem = (u8 *)(((u64)self->map + align - 1) & -align);
	if (variant->backing == THP_UNALIGNED)
		self->mem += PAGE;
	if (variant->backing == THP || variant->backing == THP_UNALIGNED)
		madvise(self->map, self->map_size, MADV_HUGEPAGE);
	else if (variant->backing == SMALL)
		madvise(self->map, self->map_size, MADV_NOHUGEPAGE);
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, MEM_GPA, MEM_SIZE, self->mem, 0));
}

FIXTURE_TEARDOWN(paging)
{
	vm_free(self->vm);
	munmap(self->map, self->map_size);
}

TEST_F(paging, pattern_through_all_views)
{
	pattern(self->v, self->mem);
}

TEST(pattern_on_hugetlb)
{
	struct vm *vm = vm_puppet(1, 0);
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");
	u8 *mem;

	if (f) {
		fprintf(f, "%llu\n", MEM_SIZE >> 21);
		fclose(f);
	}
	mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (mem == MAP_FAILED)
		SKIP(return, "no hugetlb pages can be set aside");
	map_views(vm);
	ASSERT_EQ(0, vm_set_region(vm, SLOT, MEM_GPA, MEM_SIZE, mem, 0));
	pattern(vm->vcpus[0], mem);
	vm_free(vm);
}

/* The host writes before the guest has ever touched it, and after. */
TEST_F(paging, shared_with_the_host)
{
	struct vcpu *v = self->v;

	for (u64 a = 0; a < MEM_SIZE; a += 64 * PAGE)
		*(u64 *)(self->mem + a) = a + 1;
	for (u64 a = 0; a < MEM_SIZE; a += 64 * PAGE) {
		ASSERT_EQ(a + 1, puppet_read(v, VA_4K + a));
		*(u64 *)(self->mem + a) = a + 2;
		ASSERT_EQ(a + 2, puppet_read(v, VA_2M + a));
	}
}

TEST_F(paging, dontneed)
{
	struct vcpu *v = self->v;
	int advice = variant->backing == MEMFD ? MADV_REMOVE : MADV_DONTNEED;

	for (int i = 0; i < 3; i++) {
		puppet_call(v, guest_fill, VA_2M);
		ASSERT_NE(0, puppet_call(v, guest_sum, VA_4K));
		ASSERT_EQ(0, madvise(self->map, self->map_size, advice));
		ASSERT_EQ(0, puppet_call(v, guest_sum, VA_4K));
		/* a piece of it; it takes the large mapping apart */
		puppet_call(v, guest_fill, VA_2M);
		ASSERT_EQ(0, madvise(self->mem + 5 * PAGE, PAGE, advice));
		ASSERT_EQ(1, puppet_call(v, guest_check, VA_4K));
	}
}

/* Other memory at the same address. */
TEST_F(paging, remap)
{
	struct vcpu *v = self->v;

	puppet_call(v, guest_fill, VA_4K);
	for (u64 i = 0; i < 5; i++) {
		u8 *p = mmap(self->mem + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

		ASSERT_EQ(self->mem + 3 * PAGE, p);
		*(u64 *)(p + 8) = i + 100;
		ASSERT_EQ(i + 100, puppet_read(v, VA_4K + 3 * PAGE + 8));
		puppet_write(v, VA_2M + 3 * PAGE + 16, i);
		ASSERT_EQ(i, *(u64 *)(p + 16));
	}
}

static void expect_efault(struct vcpu *v)
{
	for (int i = 0; i < 3; i++)
		CHECK(v, vcpu_try_run(v) == -EFAULT, "a fault that the host does not want");
}

TEST_F(paging, protected_by_the_host)
{
	struct vcpu *v = self->v;

	puppet_write(v, VA_4K + 8, 1);
	/* read-only for the process: reads go on, a write is user space's problem */
	ASSERT_EQ(0, mprotect(self->mem, 4 * PAGE, PROT_READ));
	ASSERT_EQ(1, puppet_read(v, VA_4K + 8));
	puppet_set(v, PUPPET_WRITE, VA_4K + 8, 8, 2);
	expect_efault(v);
	ASSERT_EQ(1, *(u64 *)(self->mem + 8));
	/* which it can solve, and the instruction goes on */
	ASSERT_EQ(0, mprotect(self->mem, 4 * PAGE, PROT_READ | PROT_WRITE));
	expect_sync(v, PUPPET_STAGE);
	ASSERT_EQ(2, *(u64 *)(self->mem + 8));

	ASSERT_EQ(0, mprotect(self->mem, 4 * PAGE, PROT_NONE));
	puppet_set(v, PUPPET_READ, VA_4K + 8, 8, 0);
	expect_efault(v);
	ASSERT_EQ(0, mprotect(self->mem, 4 * PAGE, PROT_READ | PROT_WRITE));
	expect_sync(v, PUPPET_STAGE);
	ASSERT_EQ(2, puppet(v)->val);
}

TEST_F(paging, unmapped_by_the_host)
{
	struct vcpu *v = self->v;

	puppet_write(v, VA_4K + 8, 1);
	ASSERT_EQ(0, munmap(self->mem, PAGE));
	puppet_set(v, PUPPET_WRITE, VA_4K + 8, 8, 2);
	expect_efault(v);
	mmap(self->mem, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
	     -1, 0);
	expect_sync(v, PUPPET_STAGE);
	ASSERT_EQ(2, *(u64 *)(self->mem + 8));
}

/* After a fork the two processes have memory of their own; the guest is the parent's. */
TEST_F(paging, fork)
{
	struct vcpu *v = self->v;
	int up[2], down[2], status;
	char c = 0;
	pid_t pid;

	if (variant->backing == MEMFD)
		SKIP(return, "private memory only");
	puppet_write(v, VA_4K + 8, 1);
	ASSERT_EQ(0, pipe(up) | pipe(down));
	pid = fork();
	if (!pid) {
		*(u64 *)(self->mem + PAGE) = 77;
		if (write(up[1], &c, 1) != 1 || read(down[0], &c, 1) != 1)
			_exit(2);
		_exit(*(volatile u64 *)(self->mem + 8) != 1);
	}
	ASSERT_EQ(1, read(up[0], &c, 1));
	puppet_write(v, VA_4K + 8, 2);
	ASSERT_EQ(2, *(u64 *)(self->mem + 8));
	ASSERT_NE(77, puppet_read(v, VA_4K + PAGE));
	ASSERT_EQ(1, write(down[1], &c, 1));
	waitpid(pid, &status, 0);
	ASSERT_EQ(0, status);
}

/* Accessed and dirty bits in the guest's own tables. */
TEST(guest_accessed_and_dirty)
{
	struct vm *vm = vm_puppet(1, 0);
	struct vcpu *v = vm->vcpus[0];
	u64 *pt = vm_hva(vm, FREE_GPA + 0x2000), *pd = vm_hva(vm, FREE_GPA + 0x1000);

	map_views(vm);
	vm_add_mem(vm, SLOT, MEM_GPA, MEM_SIZE, 0);
	puppet_read(v, VA_4K + 4 * PAGE);
	EXPECT_EQ(0x20, pt[4] & 0x60);
	puppet_write(v, VA_4K + 5 * PAGE, 1);
	EXPECT_EQ(0x60, pt[5] & 0x60);
	EXPECT_EQ(0, pt[6] & 0x60);
	EXPECT_EQ(0x20, pd[0] & 0x20);
	vm_free(vm);
}

/*
 * 32-bit guests: two levels with 4 MiB pages, then PAE. Linear 0x400000 and up
 * is physical 0x600000 and up; a string output makes the module walk as well.
 */
GUEST32(two_levels,
	"mov $0x20000, %eax\n"
	"movl $0x83, (%eax)\n"			/* 0: one to one */
	"movl $0x30003, 4(%eax)\n"		/* 4 MiB: a page table */
	"movl $0x600003, 0x30000\n"
	"movl $0x600003 + 0x1000, 0x30004\n"
	"mov %eax, %cr3\n"
	"mov %cr4, %eax; or $0x10, %eax; mov %eax, %cr4\n"
	"mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
	"jmp 1f\n"
	"1: movl $0x64636261, 0x400ffe\n"
	"mov $0x400ffe, %esi; mov $4, %ecx; mov $0x99, %edx; rep outsb\n"
	"mov 0x401000, %al; out %al, $0x98\n"
	"hlt\n");

GUEST32(pae,
	"movl $0x21001, 0x20000; movl $0, 0x20004\n"	/* PDPTE 0 */
	"movl $0, 0x20008; movl $0, 0x2000c\n"
	"movl $0, 0x20010; movl $0, 0x20018\n"
	"movl $0x83, 0x21000; movl $0, 0x21004\n"
	"movl $0x200083, 0x21008; movl $0, 0x2100c\n"
	"movl $0x30003, 0x21010; movl $0, 0x21014\n"	/* 4 MiB: a page table */
	"movl $0x600003, 0x30000; movl $0, 0x30004\n"
	"movl $0x601003, 0x30008; movl $0, 0x3000c\n"
	"mov $0x20000, %eax; mov %eax, %cr3\n"
	"mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4\n"
	"mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
	"jmp 1f\n"
	"1: movl $0x64636261, 0x400ffe\n"
	"mov $0x400ffe, %esi; mov $4, %ecx; mov $0x99, %edx; rep outsb\n"
	"mov 0x401000, %al; out %al, $0x98\n"
	"hlt\n");

static void judge_32_bit_paging(struct vm *vm)
{
	struct vcpu *v = vm->vcpus[0];
	u8 text[5] = {};
	u32 n = 0;

	while (n < 4) {
		expect_exit(v, KVM_EXIT_IO);
		CHECK(v, v->run->io.port == 0x99 && n + v->run->io.count <= 4, "not the string");
		memcpy(text + n, run_io_data(v), v->run->io.count);
		n += v->run->io.count;
	}
	CHECK(v, !memcmp(text, "abcd", 4), "%s", text);
	expect_out(v, 0x98, 1, 'c');
	expect_exit(v, KVM_EXIT_HLT);
	CHECK(v, !memcmp(vm_hva(vm, 0x600ffe), "abcd", 4), "not in memory");
	vm_free(vm);
}

TEST(two_level_paging)
{
	judge_32_bit_paging(VM_BLOB(two_levels, 0));
}

TEST(pae_paging)
{
	judge_32_bit_paging(VM_BLOB(pae, 0));
}

TEST_HARNESS_MAIN
