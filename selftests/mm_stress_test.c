// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory is ordinary user memory: whatever the host does to it while a
 * guest runs, guest and user space go on seeing the same bytes.
 */
#include "lib.h"
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "harness.h"

#define SLOT		5
#define PAGE		0x1000ull
#define HUGE		(2ull << 20)
#define GPA		0x20000000ull
#define PAGES		1024ull
#define SIZE		(PAGES * PAGE)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT		21
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

/* What page @i holds in round @round. */
#define PATTERN(i, round)	(0x1234567800000000ull + (round) * 0x100000ull + (i))

FIXTURE(mm) {
	struct vm *vm;
	struct vcpu *v;
	u8 *mem;		/* SIZE bytes at GPA, 2 MiB aligned on both sides */
};

static u8 *map_aligned(int fd, u64 size)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	u8 *p = mmap(NULL, size + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	p = (u8 *)(((u64)p + HUGE - 1) & -HUGE);
	return mmap(p, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
}

FIXTURE_SETUP(mm)
{
	self->vm = vm_puppet(1, 0);
	self->v = self->vm->vcpus[0];
	self->mem = map_aligned(-1, SIZE);
	ASSERT_NE(MAP_FAILED, self->mem);
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, 0));
}

FIXTURE_TEARDOWN(mm)
{
	vm_free(self->vm);
}

/* Guest functions for PUPPET_CALL. */

static u64 guest_fill(u64 round)
{
	for (u64 i = 0; i < PAGES; i++)
		guest_writeq(GPA + i * PAGE + 8 * (i % 512), PATTERN(i, round));
	return 0;
}

/* Number of pages that are not as guest_fill(round) left them. */
static u64 guest_wrong(u64 round)
{
	u64 wrong = 0;

	for (u64 i = 0; i < PAGES; i++)
		wrong += guest_readq(GPA + i * PAGE + 8 * (i % 512)) != PATTERN(i, round);
	return wrong;
}

static u64 host_wrong(const u8 *mem, u64 round)
{
	u64 wrong = 0;

	for (u64 i = 0; i < PAGES; i++)
		wrong += *(volatile u64 *)(mem + i * PAGE + 8 * (i % 512)) != PATTERN(i, round);
	return wrong;
}

static void host_fill(u8 *mem, u64 round)
{
	for (u64 i = 0; i < PAGES; i++)
		*(volatile u64 *)(mem + i * PAGE + 8 * (i % 512)) = PATTERN(i, round);
}

static u64 read_number(const char *path)
{
	unsigned long long n = 0;
	FILE *f = fopen(path, "r");

	if (f) {
		if (fscanf(f, "%llu", &n) != 1)
			n = 0;
		fclose(f);
	}
	return n;
}

/* Its entry in /proc/self/pagemap: frame in bits 0-54, soft-dirty in bit 55. */
static u64 pagemap(const void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	u64 entry = 0;

	if (fd < 0 || pread(fd, &entry, 8, (u64)p / PAGE * 8) != 8)
		entry = 0;
	close(fd);
	return entry;
}

#define PAGEMAP_PFN(e)	((e) & ((1ull << 55) - 1))

TEST_F(mm, untouched_memory_reads_as_zero)
{
	struct vcpu *v = self->v;

	ASSERT_EQ(0, puppet_read(v, GPA));
	ASSERT_EQ(0, puppet_read(v, GPA + SIZE - 8));
	/* the host's first write replaces the zero page under the guest */
	*(u64 *)self->mem = 1;
	ASSERT_EQ(1, puppet_read(v, GPA));
	/* and so does the guest's */
	puppet_write(v, GPA + SIZE - 8, 2);
	ASSERT_EQ(2, *(u64 *)(self->mem + SIZE - 8));
	ASSERT_EQ(0, *(u64 *)(self->mem + SIZE - 16));
}

TEST_F(mm, dontneed)
{
	struct vcpu *v = self->v;

	for (u64 round = 0; round < 8; round++) {
		u64 at = round * 37 * PAGE, n = (round + 1) * PAGE;

		puppet_call(v, guest_fill, round);
		ASSERT_EQ(0, host_wrong(self->mem, round));
		ASSERT_EQ(0, madvise(self->mem + at, n, MADV_DONTNEED));
		/* what was discarded is gone for both, the neighbours are not */
		ASSERT_EQ(0, puppet_read(v, GPA + at + 8 * (at / PAGE % 512)));
		ASSERT_EQ(round + 1, puppet_call(v, guest_wrong, round));
		ASSERT_EQ(round + 1, host_wrong(self->mem, round));
	}
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_DONTNEED));
	ASSERT_EQ(PAGES, puppet_call(v, guest_wrong, 7));
}

TEST_F(mm, other_memory_at_the_same_address)
{
	struct vcpu *v = self->v;
	u8 *other = map_aligned(-1, SIZE), *away = map_aligned(-1, SIZE);

	host_fill(other, 1);
	puppet_call(v, guest_fill, 0);
	/* the guest's memory moves away, and another takes its place */
	ASSERT_EQ(away, mremap(self->mem, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, away));
	ASSERT_EQ(self->mem, mremap(other, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, self->mem));
	ASSERT_EQ(0, puppet_call(v, guest_wrong, 1));
	puppet_call(v, guest_fill, 2);
	ASSERT_EQ(0, host_wrong(away, 0));
	ASSERT_EQ(0, host_wrong(self->mem, 2));
	/* no memory at all: user space hears of it, and may put some there */
	ASSERT_EQ(0, munmap(self->mem, SIZE));
	puppet_set(v, PUPPET_READ, GPA, 8, 0);
	ASSERT_EQ(-EFAULT, vcpu_try_run(v));
	ASSERT_EQ(self->mem, mremap(away, SIZE, SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, self->mem));
	expect_sync(v, PUPPET_STAGE);
	ASSERT_EQ(0, puppet_call(v, guest_wrong, 0));
}

TEST_F(mm, mprotect)
{
	struct vcpu *v = self->v;

	puppet_call(v, guest_fill, 0);
	ASSERT_EQ(0, mprotect(self->mem + PAGE, PAGE, PROT_READ));
	ASSERT_EQ(0, puppet_call(v, guest_wrong, 0));
	puppet_write(v, GPA, 1);
	puppet_write(v, GPA + 2 * PAGE, 1);
	puppet_set(v, PUPPET_WRITE, GPA + PAGE, 8, 5);
	ASSERT_EQ(-EFAULT, vcpu_try_run(v));
	ASSERT_EQ(-EFAULT, vcpu_try_run(v));
	ASSERT_EQ(0, *(u64 *)(self->mem + PAGE));
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_NONE));
	ASSERT_EQ(-EFAULT, vcpu_try_run(v));
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ | PROT_WRITE));
	expect_sync(v, PUPPET_STAGE);
	ASSERT_EQ(5, *(u64 *)(self->mem + PAGE));
	puppet_call(v, guest_fill, 1);
	ASSERT_EQ(0, host_wrong(self->mem, 1));
}

/* The child's snapshot must not see what the guest writes later. */
TEST_F(mm, fork_copies)
{
	struct vcpu *v = self->v;
	int go[2], status;
	char c = 0;
	pid_t pid;

	for (u64 round = 0; round < 4; round++) {
		puppet_call(v, guest_fill, round);
		ASSERT_EQ(0, pipe(go));
		pid = fork();
		if (!pid) {
			if (read(go[0], &c, 1) != 1)
				_exit(2);
			_exit(host_wrong(self->mem, round) ? 1 : 0);
		}
		puppet_call(v, guest_fill, round + 100);
		ASSERT_EQ(1, write(go[1], &c, 1));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
		ASSERT_EQ(0, host_wrong(self->mem, round + 100));
		ASSERT_EQ(0, puppet_call(v, guest_wrong, round + 100));
		close(go[0]);
		close(go[1]);
	}
}

TEST_F(mm, huge_pages)
{
	struct vcpu *v = self->v;

	if (madvise(self->mem, SIZE, MADV_HUGEPAGE))
		SKIP(return, "no transparent huge pages");
	puppet_call(v, guest_fill, 0);
	ASSERT_EQ(0, host_wrong(self->mem, 0));
	/* a hole in one large page, a wall in the other */
	ASSERT_EQ(0, madvise(self->mem + 100 * PAGE, PAGE, MADV_DONTNEED));
	ASSERT_EQ(1, puppet_call(v, guest_wrong, 0));
	ASSERT_EQ(0, mprotect(self->mem + 700 * PAGE, PAGE, PROT_READ));
	ASSERT_EQ(1, puppet_call(v, guest_wrong, 0));
	puppet_set(v, PUPPET_WRITE, GPA + 700 * PAGE, 8, 5);
	ASSERT_EQ(-EFAULT, vcpu_try_run(v));
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ | PROT_WRITE));
	expect_sync(v, PUPPET_STAGE);
	puppet_call(v, guest_fill, 1);
	ASSERT_EQ(0, host_wrong(self->mem, 1));

	/* small pages become large ones under the guest, again and again */
	for (u64 round = 2; round < 6; round++) {
		if (madvise(self->mem, SIZE, MADV_COLLAPSE))
			SKIP(return, "no MADV_COLLAPSE: %s", strerror(errno));
		ASSERT_EQ(0, puppet_call(v, guest_wrong, round - 1));
		puppet_call(v, guest_fill, round);
		ASSERT_EQ(0, host_wrong(self->mem, round));
		ASSERT_EQ(0, madvise(self->mem + round * PAGE, PAGE, MADV_DONTNEED));
		ASSERT_EQ(1, puppet_call(v, guest_wrong, round));
		ASSERT_EQ(0, madvise(self->mem + HUGE, HUGE, MADV_DONTNEED));
		puppet_call(v, guest_fill, round);
		ASSERT_EQ(0, puppet_call(v, guest_wrong, round));
	}
}

/* Large pages of the host that do not line up with the guest's frames. */
TEST_F(mm, huge_pages_askew)
{
	struct vcpu *v = self->v;

	madvise(self->mem, SIZE, MADV_HUGEPAGE);
	for (u64 i = 0; i < PAGES; i++)
		*(u64 *)(self->mem + i * PAGE) = i;
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT + 1, GPA + 4 * HUGE + PAGE, SIZE, self->mem, 0));
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT + 2, GPA + 9 * HUGE, HUGE - PAGE, self->mem, 0));
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT + 3, GPA + 10 * HUGE - PAGE, HUGE + PAGE,
				   self->mem + HUGE - PAGE, 0));
	for (u64 i = 0; i < PAGES; i += 73)
		ASSERT_EQ(i, puppet_read(v, GPA + 4 * HUGE + (i + 1) * PAGE));
	for (u64 i = 0; i < 511; i += 73)
		ASSERT_EQ(i, puppet_read(v, GPA + 9 * HUGE + i * PAGE));
	for (u64 i = 511; i < PAGES; i += 73)
		ASSERT_EQ(i, puppet_read(v, GPA + 9 * HUGE + i * PAGE));
	/* just outside of each there is nothing */
	puppet_set(v, PUPPET_READ, GPA + 4 * HUGE, 8, 0);
	expect_mmio_read(v, GPA + 4 * HUGE, 8);
	expect_sync(v, PUPPET_STAGE);
	puppet_set(v, PUPPET_READ, GPA + 4 * HUGE + PAGE + SIZE, 8, 0);
	expect_mmio_read(v, GPA + 4 * HUGE + PAGE + SIZE, 8);
	expect_sync(v, PUPPET_STAGE);
	/* all windows show the same memory */
	puppet_write(v, GPA + 511 * PAGE, 77);
	ASSERT_EQ(77, puppet_read(v, GPA + 4 * HUGE + HUGE));
	ASSERT_EQ(77, puppet_read(v, GPA + 10 * HUGE - PAGE));
	ASSERT_EQ(0, madvise(self->mem + 511 * PAGE, PAGE, MADV_DONTNEED));
	ASSERT_EQ(0, puppet_read(v, GPA + 511 * PAGE));
	ASSERT_EQ(0, puppet_read(v, GPA + 4 * HUGE + HUGE));
	ASSERT_EQ(0, puppet_read(v, GPA + 10 * HUGE - PAGE));
}

TEST_F(mm, shared_file)
{
	struct vcpu *v = self->v;
	int fd = memfd_create("guest", 0);
	u8 *mem, *other;

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	mem = map_aligned(fd, SIZE);
	other = map_aligned(fd, SIZE);
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, 0, 0, NULL, 0));
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, mem, 0));
	puppet_call(v, guest_fill, 0);
	ASSERT_EQ(0, host_wrong(other, 0));
	host_fill(other, 1);
	ASSERT_EQ(0, puppet_call(v, guest_wrong, 1));
	/* one mapping's pages go, the file's stay */
	ASSERT_EQ(0, madvise(mem, SIZE, MADV_DONTNEED));
	ASSERT_EQ(0, puppet_call(v, guest_wrong, 1));
	/* the file's pages go */
	ASSERT_EQ(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * PAGE, 2 * PAGE));
	ASSERT_EQ(2, puppet_call(v, guest_wrong, 1));
	ASSERT_EQ(0, puppet_read(v, GPA + 3 * PAGE + 24));
	/* cut short: beyond the end there is no memory, as for a process (SIGBUS) */
	ASSERT_EQ(0, ftruncate(fd, SIZE - PAGE));
	puppet_set(v, PUPPET_READ, GPA + SIZE - PAGE, 8, 0);
	ASSERT_EQ(-EFAULT, vcpu_try_run(v));
	ASSERT_EQ(0, ftruncate(fd, SIZE));
	expect_sync(v, PUPPET_STAGE);
	ASSERT_EQ(0, puppet(v)->val);
}

/* Equal pages are merged; who writes gets a copy, guest or host. */
TEST_F(mm, ksm)
{
	const char *run = "/sys/kernel/mm/ksm/run";
	struct vcpu *v = self->v;
	u64 *words = (u64 *)self->mem;
	u64 before;

	if (rl_put("/sys/kernel/mm/ksm/sleep_millisecs", "0") ||
	    rl_put("/sys/kernel/mm/ksm/pages_to_scan", "5000"))
		SKIP(return, "no KSM");
	for (int i = 0; i < 64 * 512; i++)
		words[i] = 0x6b736d6b736d + i % 512;
	for (int i = 0; i < 64; i++)
		ASSERT_EQ(0x6b736d6b736d, puppet_read(v, GPA + i * PAGE));
	before = read_number("/sys/kernel/mm/ksm/pages_sharing");
	ASSERT_EQ(0, madvise(self->mem, 64 * PAGE, MADV_MERGEABLE));
	ASSERT_EQ(0, rl_put(run, "1"));
	WAIT_FOR(read_number("/sys/kernel/mm/ksm/pages_sharing") >= before + 60);
	for (int i = 0; i < 64; i++)
		ASSERT_EQ(0x6b736d6b736d, puppet_read(v, GPA + i * PAGE));
	puppet_write(v, GPA + 7 * PAGE, 7);
	words[9 * 512] = 9;
	for (int i = 0; i < 64; i++) {
		u64 want = i == 7 ? 7 : i == 9 ? 9 : 0x6b736d6b736d;

		ASSERT_EQ(want, puppet_read(v, GPA + i * PAGE));
		ASSERT_EQ(want, words[i * 512]);
		ASSERT_EQ(0x6b736d6b736d + 1, words[i * 512 + 1]);
	}
	/* unmerge: every page is its own again */
	ASSERT_EQ(0, rl_put(run, "2"));
	puppet_write(v, GPA + 11 * PAGE, 11);
	for (int i = 12; i < 64; i++)
		ASSERT_EQ(0x6b736d6b736d, puppet_read(v, GPA + i * PAGE));
	ASSERT_EQ(11, words[11 * 512]);
	rl_put(run, "0");
}

/* The guest's writes are the process's writes, also for CRIU's dirty bits. */
TEST_F(mm, soft_dirty)
{
	const u64 bit = 1ull << 55;
	struct vcpu *v = self->v;

	madvise(self->mem, SIZE, MADV_NOHUGEPAGE);
	host_fill(self->mem, 0);
	if (!(pagemap(self->mem) & bit))
		SKIP(return, "no soft-dirty bits");
	for (int round = 0; round < 3; round++) {
		puppet_call(v, guest_fill, round);
		ASSERT_EQ(0, rl_put("/proc/self/clear_refs", "4"));
		ASSERT_EQ(0, puppet_call(v, guest_wrong, round));
		for (u64 i = 0; i < PAGES; i++)
			ASSERT_EQ(0, pagemap(self->mem + i * PAGE) & bit);
		puppet_write(v, GPA + 3 * PAGE, 1);
		puppet_write(v, GPA + 600 * PAGE, 1);
		for (u64 i = 0; i < PAGES; i++)
			ASSERT_EQ(i == 3 || i == 600, !!(pagemap(self->mem + i * PAGE) & bit));
	}
}

/* Pages change places: the kernel takes a frame out of service and moves its data. */
TEST_F(mm, migration)
{
	struct vcpu *v = self->v;
	u64 pfn[16];
	int moved = 0;

	madvise(self->mem, SIZE, MADV_NOHUGEPAGE);
	puppet_call(v, guest_fill, 0);
	for (int i = 0; i < 16; i++) {
		pfn[i] = PAGEMAP_PFN(pagemap(self->mem + i * PAGE));
		if (!pfn[i] || madvise(self->mem + i * PAGE, PAGE, MADV_SOFT_OFFLINE))
			SKIP(return, "no MADV_SOFT_OFFLINE: %s", strerror(errno));
	}
	for (int i = 0; i < 16; i++)
		moved += PAGEMAP_PFN(pagemap(self->mem + i * PAGE)) != pfn[i];
	ASSERT_EQ(16, moved);
	ASSERT_EQ(0, puppet_call(v, guest_wrong, 0));
	puppet_call(v, guest_fill, 1);
	ASSERT_EQ(0, host_wrong(self->mem, 1));
}

/* A broken frame: the thread that touches it gets the signal, with the address. */
static siginfo_t sigbus_info;

static void on_sigbus(int sig, siginfo_t *info, void *ucontext)
{
	sigbus_info = *info;
}

TEST_F(mm, poisoned_memory)
{
	struct sigaction act = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	struct vcpu *v = self->v;

	madvise(self->mem, SIZE, MADV_NOHUGEPAGE);
	puppet_call(v, guest_fill, 0);
	sigaction(SIGBUS, &act, NULL);
	if (madvise(self->mem + 5 * PAGE, PAGE, MADV_HWPOISON))
		SKIP(return, "no MADV_HWPOISON: %s", strerror(errno));
	puppet_set(v, PUPPET_READ, GPA + 5 * PAGE + 8, 8, 0);
	ASSERT_EQ(-EINTR, vcpu_try_run(v));
	ASSERT_EQ(BUS_MCEERR_AR, sigbus_info.si_code);
	ASSERT_EQ((u64)self->mem + 5 * PAGE, (u64)sigbus_info.si_addr & -PAGE);
	/* user space gives it another page */
	ASSERT_EQ(self->mem + 5 * PAGE, mmap(self->mem + 5 * PAGE, PAGE, PROT_READ | PROT_WRITE,
					     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	expect_sync(v, PUPPET_STAGE);
	ASSERT_EQ(0, puppet(v)->val);
	ASSERT_EQ(1, puppet_call(v, guest_wrong, 0));
}

TEST_F(mm, swap)
{
	struct vcpu *v = self->v;
	FILE *f = fopen("/proc/swaps", "r");
	int lines = 0, c;

	while (f && (c = fgetc(f)) != EOF)
		lines += c == '\n';
	if (lines < 2)
		SKIP(return, "no swap space");
	madvise(self->mem, SIZE, MADV_NOHUGEPAGE);
	for (u64 round = 0; round < 4; round++) {
		u64 swapped = 0;

		puppet_call(v, guest_fill, round);
		/* pages that were accessed get a second chance, and not more */
		for (int try = 0; try < 4; try++)
			ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_PAGEOUT));
		for (u64 i = 0; i < PAGES; i++)
			swapped += pagemap(self->mem + i * PAGE) >> 62 & 1;
		ASSERT_EQ(PAGES, swapped);
		ASSERT_EQ(0, puppet_call(v, guest_wrong, round));
		ASSERT_EQ(0, host_wrong(self->mem, round));
	}
}

/* Clean pages that nobody needs any more, until somebody writes them. */
TEST_F(mm, madv_free)
{
	struct vcpu *v = self->v;

	puppet_call(v, guest_fill, 0);
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_FREE));
	puppet_call(v, guest_fill, 1);
	/* written since: no memory pressure may drop them */
	madvise(self->mem, SIZE, MADV_PAGEOUT);
	ASSERT_EQ(0, puppet_call(v, guest_wrong, 1));
	ASSERT_EQ(0, host_wrong(self->mem, 1));
}

/* A page that user space delivers when the guest asks for it. */

static void *uffd_thread(void *arg)
{
	int uffd = *(int *)arg;
	static u64 page[512];
	struct uffd_msg msg;

	for (int i = 0; i < 4; i++) {
		struct pollfd pfd = { uffd, POLLIN };
		struct uffdio_copy copy = { .src = (u64)page, .len = PAGE };

		if (poll(&pfd, 1, -1) != 1 || read(uffd, &msg, sizeof(msg)) != sizeof(msg))
			return "no message";
		page[0] = msg.arg.pagefault.address & -PAGE;
		copy.dst = page[0];
		usleep(1000);
		if (ioctl(uffd, UFFDIO_COPY, &copy))
			return "UFFDIO_COPY";
	}
	return NULL;
}

TEST_F(mm, userfaultfd)
{
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { (u64)self->mem, SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct vcpu *v = self->v;
	pthread_t thread;
	void *ret;

	if (uffd < 0)
		SKIP(return, "no userfaultfd");
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_REGISTER, &reg));
	pthread_create(&thread, NULL, uffd_thread, &uffd);
	for (u64 i = 0; i < 4; i++) {
		if (i & 1)
			puppet_write(v, GPA + i * 3 * PAGE + 8, i);
		ASSERT_EQ((u64)self->mem + i * 3 * PAGE, puppet_read(v, GPA + i * 3 * PAGE));
		ASSERT_EQ(i & 1 ? i : 0, puppet_read(v, GPA + i * 3 * PAGE + 8));
	}
	pthread_join(thread, &ret);
	ASSERT_EQ(NULL, ret);
	close(uffd);
}

/* Device memory has no struct page: the BIOS, as /dev/mem maps it. */
TEST_F(mm, device_memory)
{
	int fd = open("/dev/mem", O_RDONLY);
	u8 *bios = MAP_FAILED;

	if (fd >= 0)
		bios = mmap(NULL, 0x10000, PROT_READ, MAP_SHARED, fd, 0xf0000);
	if (bios == MAP_FAILED)
		SKIP(return, "no /dev/mem");
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT + 1, 0x30000000, 0x10000, bios, KVM_MEM_READONLY));
	for (u64 a = 0; a < 0x10000; a += 0x0ff0)
		ASSERT_EQ(*(u64 *)(bios + a), puppet_read(self->v, 0x30000000 + a));
	/* gone from the process: gone from the guest */
	ASSERT_EQ(0, munmap(bios, 0x10000));
	puppet_set(self->v, PUPPET_READ, 0x30000000, 8, 0);
	ASSERT_EQ(-EFAULT, vcpu_try_run(self->v));
}

/*
 * Stress: each vCPU keeps counting in its own pages, which must hold what it
 * wrote last, while the host does all of the above at once to them.
 */

#define STRESS_PAGES	64ull
static u64 guest_stop, guest_rounds[4];

static void guest_count(u64 id)
{
	u64 base = GPA + id * STRESS_PAGES * PAGE;
	u64 n = 0;

	while (!READ_ONCE(guest_stop)) {
		for (u64 i = 0; i < STRESS_PAGES; i++) {
			u64 at = base + i * PAGE + 8 * i;

			GUEST_ASSERT_EQ(guest_readq(at), n ? n + i : 0);
			guest_writeq(at, n + 1 + i);
		}
		n++;
		WRITE_ONCE(guest_rounds[id], n);
	}
	GUEST_DONE();
}

FIXTURE(stress) {
	struct vm *vm;
	u8 *mem;
};

FIXTURE_SETUP(stress)
{
	self->vm = vm_long(2, guest_count, 0);
	self->mem = map_aligned(-1, SIZE);
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, 0));
	vcpu_start(self->vm->vcpus[0]);
	vcpu_start(self->vm->vcpus[1]);
}

FIXTURE_TEARDOWN(stress)
{
	G(self->vm, guest_stop) = 1;
	vcpu_join(self->vm->vcpus[0]);
	vcpu_join(self->vm->vcpus[1]);
	/* every page has what its owner wrote last */
	for (u64 id = 0; id < 2; id++) {
		u64 n = G(self->vm, guest_rounds)[id];

		EXPECT_LT(0, n);
		for (u64 i = 0; i < STRESS_PAGES; i++)
			ASSERT_EQ(n + i, *(u64 *)(self->mem + (id * STRESS_PAGES + i) * PAGE + 8 * i));
	}
	vm_free(self->vm);
}

/* Both vCPUs have gone round once more. */
static void wait_round(struct vm *vm)
{
	u64 n[2] = { G(vm, guest_rounds)[0], G(vm, guest_rounds)[1] };

	WAIT_FOR(G(vm, guest_rounds)[0] > n[0] && G(vm, guest_rounds)[1] > n[1]);
}

TEST_F(stress, everything)
{
	int status;

	rl_put("/sys/kernel/mm/ksm/pages_to_scan", "1000");
	rl_put("/sys/kernel/mm/ksm/run", "1");
	for (int i = 0; i < 60; i++) {
		pid_t pid;

		/* neighbours come and go, with large pages around the counters */
		madvise(self->mem, SIZE, i & 1 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		madvise(self->mem, SIZE, MADV_COLLAPSE);
		madvise(self->mem + 2 * STRESS_PAGES * PAGE, HUGE, MADV_DONTNEED);
		/* mergeable, and not */
		madvise(self->mem, SIZE, i % 3 ? MADV_MERGEABLE : MADV_UNMERGEABLE);
		/* no access for a moment would end the guest; fewer rights do not */
		mprotect(self->mem, SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
		mprotect(self->mem, SIZE, PROT_READ | PROT_WRITE);
		pid = fork();
		if (!pid)
			_exit(0);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		madvise(self->mem, SIZE, MADV_PAGEOUT);
		rl_put("/proc/sys/vm/compact_memory", "1");
		rl_put("/proc/self/clear_refs", i & 1 ? "4" : "1");
		if (i % 4 == 0)
			wait_round(self->vm);
	}
	rl_put("/sys/kernel/mm/ksm/run", "2");
	wait_round(self->vm);
	rl_put("/sys/kernel/mm/ksm/run", "0");
}

/* A copy that is kept up by the dirty log alone is complete in the end. */
static void copy_dirty(u8 *copy, const u8 *mem, const u64 *bits)
{
	for (u64 i = 0; i < 2 * STRESS_PAGES; i++)
		if (bits[i / 64] >> (i % 64) & 1)
			memcpy(copy + i * PAGE, mem + i * PAGE, PAGE);
}

static void migrate(struct __test_metadata *_metadata, struct vm *vm, const u8 *mem, bool manual,
		    u64 initially)
{
	u8 *copy = map_aligned(-1, SIZE);
	u64 bits[PAGES / 64];
	struct kvm_dirty_log log = { .slot = SLOT, .dirty_bitmap = bits };
	struct kvm_clear_dirty_log clear = {
		.slot = SLOT, .num_pages = PAGES, .dirty_bitmap = bits,
	};
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args = { manual | initially },
	};

	kvm_do(vm->fd, KVM_ENABLE_CAP, &cap);
	ASSERT_EQ(0, vm_set_region(vm, SLOT, GPA, SIZE, (void *)mem, KVM_MEM_LOG_DIRTY_PAGES));
	memcpy(copy, mem, 2 * STRESS_PAGES * PAGE);
	for (int i = 0; i < 40; i++) {
		ASSERT_EQ(0, kvm_try(vm->fd, KVM_GET_DIRTY_LOG, &log));
		if (!i)
			ASSERT_EQ(initially ? ~0ull : 0, bits[15]);
		if (manual)
			ASSERT_EQ(0, kvm_try(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
		copy_dirty(copy, mem, bits);
		if (i % 8 == 0)
			wait_round(vm);
	}
	/* a whole round after the last look: all pages are in the log again */
	wait_round(vm);
	wait_round(vm);
	ASSERT_EQ(0, kvm_try(vm->fd, KVM_GET_DIRTY_LOG, &log));
	ASSERT_EQ(~0ull, bits[0]);
	ASSERT_EQ(~0ull, bits[1]);
	ASSERT_EQ(0, bits[2]);
	if (manual)
		ASSERT_EQ(0, kvm_try(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear));
	copy_dirty(copy, mem, bits);

	G(vm, guest_stop) = 1;
	vcpu_join(vm->vcpus[0]);
	vcpu_join(vm->vcpus[1]);
	ASSERT_EQ(0, kvm_try(vm->fd, KVM_GET_DIRTY_LOG, &log));
	copy_dirty(copy, mem, bits);
	ASSERT_EQ(0, memcmp(copy, mem, 2 * STRESS_PAGES * PAGE));

	/* off: nothing is logged, and the guest goes on where it was */
	ASSERT_EQ(0, vm_set_region(vm, SLOT, GPA, SIZE, (void *)mem, 0));
	ASSERT_EQ(-ENOENT, kvm_try(vm->fd, KVM_GET_DIRTY_LOG, &log));
	memset((void *)mem, 0, 2 * STRESS_PAGES * PAGE);
	G(vm, guest_stop) = 0;
	for (int i = 0; i < 2; i++) {
		struct vcpu *v = vm->vcpus[i];

		G(vm, guest_rounds)[i] = 0;
		v->run->immediate_exit = 1;
		ASSERT_EQ(-EINTR, vcpu_try_run(v));	/* ends the OUT of GUEST_DONE() */
		v->run->immediate_exit = 0;
		vcpu_long(v, guest_count, i);
		vcpu_start(v);
	}
	wait_round(vm);
	munmap(copy, SIZE);
}

TEST_F(stress, dirty_log)
{
	migrate(_metadata, self->vm, self->mem, false, 0);
}

TEST_F(stress, dirty_log_of_huge_pages)
{
	madvise(self->mem, SIZE, MADV_HUGEPAGE);
	madvise(self->mem, SIZE, MADV_COLLAPSE);
	migrate(_metadata, self->vm, self->mem, false, 0);
}

TEST_F(stress, dirty_log_manual)
{
	if (!rl_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2))
		SKIP(return, "no KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	migrate(_metadata, self->vm, self->mem, true, 0);
}

TEST_F(stress, dirty_log_initially_set)
{
	if (!(rl_cap(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & KVM_DIRTY_LOG_INITIALLY_SET))
		SKIP(return, "no KVM_DIRTY_LOG_INITIALLY_SET");
	madvise(self->mem, SIZE, MADV_HUGEPAGE);
	madvise(self->mem, SIZE, MADV_COLLAPSE);
	migrate(_metadata, self->vm, self->mem, true, KVM_DIRTY_LOG_INITIALLY_SET);
}

TEST_HARNESS_MAIN
