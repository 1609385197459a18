// SPDX-License-Identifier: GPL-2.0
/*
 * Two vCPUs go through all of the guest's memory, check what is in it and write some of it anew,
 * while the host swaps it out, merges equal pages, makes large pages and splits them, moves pages,
 * and takes some away. What the guest wrote last is what it finds; where memory is gone, user
 * space hears of it and the guest goes on with what it is given.
 */
#define _GNU_SOURCE
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib.h"
#include "harness.h"

#define SLOT		5
#define PAGE		0x1000ull
#define HUGE		(2ull << 20)
#define GPA		0x20000000ull
#define PAGES		4096ull
#define SIZE		(PAGES * PAGE)
#define NR_VCPUS	2
#define WORDS		4		/* looked at in each page */
#define WORD(k)		((k) * 0x3f8ull)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#define MPOL_MF_MOVE	(1 << 1)

/* Guest side. Each page: version in the first word, in the others what follows from it. */

static u32 stop;
static u32 hold;		/* touch nothing, for now */
static u64 passes[NR_VCPUS];
static u32 version[PAGES];	/* as written last */
static u8 may_vanish[PAGES];	/* the host has taken such pages, or will */

/* Pages of the same version are equal, eight kinds of them: something to merge. */
static u64 pattern(u64 page, u32 ver, int k)
{
	return k ? (ver + 1) * 0x9e3779b97f4a7c15ull + k + ((page & 7) << 56) : ver;
}

static void write_page(u64 page, u32 ver)
{
	for (int k = 0; k < WORDS; k++)
		guest_writeq(GPA + page * PAGE + WORD(k), pattern(page, ver, k));
	version[page] = ver;
}

/* A page that was taken away is all zero; one that is half gone would be wrong. */
static void check_page(u64 page)
{
	u64 at = GPA + page * PAGE, bits = 0;

	if (READ_ONCE(may_vanish[page])) {
		for (int k = 1; k < WORDS; k++)
			bits |= guest_readq(at + WORD(k));
		if (!bits) {
			write_page(page, version[page]);
			return;
		}
		/* it may go between two words: then they say nothing */
		if (READ_ONCE(may_vanish[page]) == 2)
			return;
	}
	for (int k = 0; k < WORDS; k++)
		GUEST_ASSERT_EQ(pattern(page, version[page], k), guest_readq(at + WORD(k)));
}

static void guest_check(u64 id)
{
	u64 first = id * PAGES / NR_VCPUS, n = 0;

	for (u64 i = first; i < first + PAGES / NR_VCPUS; i++)
		write_page(i, 1);
	while (!READ_ONCE(stop)) {
		for (u64 i = first; i < first + PAGES / NR_VCPUS; i++) {
			while (READ_ONCE(hold))
				asm volatile("pause");
			check_page(i);
			if ((i + n) % 16 == 0)
				write_page(i, version[i] < 4 ? version[i] + 1 : 1);
		}
		WRITE_ONCE(passes[id], ++n);
	}
	GUEST_DONE();
}

/* Host side */

static u64 number(const char *path)
{
	unsigned long long n = 0;
	FILE *f = fopen(path, "r");

	if (f && fscanf(f, "%llu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

FIXTURE(mem) {
	struct vm *vm;
	u8 *mem;
	int fd;
	bool cgroup;
};

FIXTURE_VARIANT(mem) {
	bool huge, shared;
};

FIXTURE_VARIANT_ADD(mem, small) {
	.huge = false,
};

FIXTURE_VARIANT_ADD(mem, huge) {
	.huge = true,
};

FIXTURE_VARIANT_ADD(mem, shared) {
	.shared = true,
};

static u8 *map_memory(int fd)
{
	u8 *p = mmap(NULL, SIZE + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	p = (u8 *)(((u64)p + HUGE - 1) & -HUGE);
	return mmap(p, SIZE, PROT_READ | PROT_WRITE,
		    MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), fd, 0);
}

static volatile u64 faults;
static void (*repair)(struct vm *vm);

static void *runner(void *arg)
{
	struct vcpu *v = arg;
	struct ucall uc;

	for (;;) {
		int ret = vcpu_try_run(v);

		if (ret == -EINTR || ret == -EAGAIN)
			continue;
		if (ret == -EFAULT && repair) {
			__atomic_add_fetch(&faults, 1, __ATOMIC_SEQ_CST);
			usleep(100);
			continue;
		}
		CHECK(v, !ret, "KVM_RUN: %s", strerror(-ret));
		CHECK(v, vcpu_ucall(v, &uc), "an exit that nobody asked for");
		CHECK(v, uc.code == UCALL_DONE, "the guest found %#llx, not %#llx (line %llu)",
		      (long long)uc.c, (long long)uc.b, (long long)uc.a);
		return NULL;
	}
}

/* Every vCPU has been through all of its memory @n times more. */
static void wait_passes(struct vm *vm, u64 n)
{
	u64 seen[NR_VCPUS];

	for (int i = 0; i < NR_VCPUS; i++)
		seen[i] = G(vm, passes[i]) + n;
	for (int i = 0; i < NR_VCPUS; i++)
		WAIT_FOR(G(vm, passes[i]) >= seen[i]);
}

#define CGROUPS		"/tmp/cgroups"
#define CGROUP		CGROUPS "/ringlet"

/* What this process touches from now on is charged there. */
static bool enter_cgroup(void)
{
	char pid[20];

	mkdir(CGROUPS, 0700);
	if (mount("cgroup", CGROUPS, "cgroup2", 0, NULL))
		return false;
	rl_put(CGROUPS "/cgroup.subtree_control", "+memory");
	mkdir(CGROUP, 0700);
	snprintf(pid, sizeof(pid), "%d", getpid());
	return !rl_put(CGROUP "/cgroup.procs", pid);
}

static void leave_cgroup(void)
{
	char pid[20];

	snprintf(pid, sizeof(pid), "%d", getpid());
	rl_put(CGROUPS "/cgroup.procs", pid);
	rmdir(CGROUP);
	umount(CGROUPS);
}

FIXTURE_SETUP(mem)
{
	self->cgroup = enter_cgroup();
	self->fd = variant->shared ? memfd_create("guest", MFD_CLOEXEC) : -1;
	if (variant->shared)
		ASSERT_EQ(0, ftruncate(self->fd, SIZE));
	self->vm = vm_long(NR_VCPUS, guest_check, 0);
	self->mem = map_memory(self->fd);
	if (madvise(self->mem, SIZE, variant->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) &&
	    variant->huge)
		SKIP(_exit(KSFT_HARNESS_SKIP), "no transparent huge pages");
	ASSERT_EQ(0, vm_set_region(self->vm, SLOT, GPA, SIZE, self->mem, 0));
	repair = NULL;
	for (int i = 0; i < NR_VCPUS; i++)
		ASSERT_EQ(0, pthread_create(&self->vm->vcpus[i]->thread, NULL, runner,
					    self->vm->vcpus[i]));
	wait_passes(self->vm, 1);
}

FIXTURE_TEARDOWN(mem)
{
	struct vm *vm = self->vm;

	wait_passes(vm, 1);
	G(vm, stop) = 1;
	for (int i = 0; i < NR_VCPUS; i++)
		vcpu_join(vm->vcpus[i]);
	/* and the host sees what the guests saw */
	for (u64 i = 0; i < PAGES; i++)
		for (int k = 0; k < WORDS && !G(vm, may_vanish[i]); k++)
			ASSERT_EQ(pattern(i, G(vm, version[i]), k),
				  *(u64 *)(self->mem + i * PAGE + WORD(k)));
	vm_free(vm);
	munmap(self->mem, SIZE);
	close(self->fd);
	leave_cgroup();
}

/* Less room than the guest has memory: it lives in swap, mostly. */
TEST_F(mem, limited)
{
	u64 swapped = 0;

	if (!self->cgroup || access(CGROUP "/memory.swap.current", F_OK))
		SKIP(return, "no memory cgroup with swap");
	/* A guest that touches everything at once leaves nothing to reclaim on the way down. */
	G(self->vm, hold) = 1;
	ASSERT_EQ(0, rl_put(CGROUP "/memory.max", "12M"));
	G(self->vm, hold) = 0;
	for (int i = 0; i < 3; i++) {
		wait_passes(self->vm, 1);
		swapped += number(CGROUP "/memory.swap.current");
		EXPECT_GE(12 << 20, number(CGROUP "/memory.current"));
	}
	EXPECT_LT(3 << 20, swapped);
	ASSERT_EQ(0, rl_put(CGROUP "/memory.max", "max"));
}

/* All of it, again and again, by the owner's wish. */
TEST_F(mem, paged_out)
{
	u64 begin = G(self->vm, passes[0]);

	for (int i = 0; i < 200 && G(self->vm, passes[0]) < begin + 4; i++)
		ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_PAGEOUT));
	wait_passes(self->vm, 1);
}

TEST_F(mem, merged)
{
	u64 before = number("/sys/kernel/mm/ksm/pages_sharing"), most = 0, now;

	if (variant->shared)
		SKIP(return, "KSM merges anonymous pages");
	if (rl_put("/sys/kernel/mm/ksm/sleep_millisecs", "0") ||
	    rl_put("/sys/kernel/mm/ksm/pages_to_scan", "4000"))
		SKIP(return, "no KSM");
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_MERGEABLE));
	ASSERT_EQ(0, rl_put("/sys/kernel/mm/ksm/run", "1"));
	/* what is merged is written and parts again: there is always some of it */
	for (int i = 0; i < 3 || most < before + 64; i++) {
		wait_passes(self->vm, 1);
		now = number("/sys/kernel/mm/ksm/pages_sharing");
		most = now > most ? now : most;
	}
	ASSERT_EQ(0, rl_put("/sys/kernel/mm/ksm/run", "2"));
	wait_passes(self->vm, 1);
	rl_put("/sys/kernel/mm/ksm/run", "0");
	madvise(self->mem, SIZE, MADV_UNMERGEABLE);
}

/* Large pages form and break under the guest. */
TEST_F(mem, collapsed_and_split)
{
	char text[80];

	if (variant->shared)
		SKIP(return, "small pages only");
	madvise(self->mem, SIZE, MADV_HUGEPAGE);
	if (madvise(self->mem, HUGE, MADV_COLLAPSE) && errno == EINVAL)
		SKIP(return, "no MADV_COLLAPSE");
	snprintf(text, sizeof(text), "%d,%p,%p", getpid(), self->mem, self->mem + SIZE);
	for (int i = 0; i < 12; i++) {
		/* may find no large page free, or one in use */
		madvise(self->mem, SIZE, MADV_COLLAPSE);
		if (i % 3 == 0)
			wait_passes(self->vm, 1);
		/* split in the page table, where one small page differs, and really */
		for (u64 at = (i % 5) * PAGE; at < SIZE; at += HUGE) {
			mprotect(self->mem + at, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
			mprotect(self->mem + at, PAGE, PROT_READ | PROT_WRITE);
		}
		rl_put("/sys/kernel/debug/split_huge_pages", text);
	}
}

static long move_all(u8 *mem, int node)
{
	static void *pages[PAGES];
	static int nodes[PAGES], status[PAGES];

	for (u64 i = 0; i < PAGES; i++) {
		pages[i] = mem + i * PAGE;
		nodes[i] = node;
	}
	return syscall(SYS_move_pages, 0, PAGES, pages, nodes, status, MPOL_MF_MOVE);
}

/* From one node to another and back; without nodes compaction moves them, and soft offlining. */
TEST_F(mem, moved)
{
	bool nodes = !access("/sys/devices/system/node/node1", F_OK);
	int moved = 0;

	for (int i = 0; i < 6; i++) {
		if (nodes) {
			ASSERT_LE(0, move_all(self->mem, i & 1 ? 0 : 1));
		} else {
			moved += !rl_put("/proc/sys/vm/compact_memory", "1");
		}
		if (i < 4)
			moved += !madvise(self->mem + (37 + i * 601) * PAGE, PAGE,
					  MADV_SOFT_OFFLINE);
		wait_passes(self->vm, 1);
	}
	if (!nodes && !moved)
		SKIP(return, "nothing here moves pages");
}

static void vanishing(struct vm *vm, u64 first, u64 n, u8 how)
{
	for (u64 i = first; i < first + n; i++)
		G(vm, may_vanish[i]) = how;
}

/* Holes, small and large ones: zeroes there, and nothing lost beside them. */
TEST_F(mem, holes)
{
	const u64 first = PAGES / 2 + 300, n = 700;	/* not the large pages' bounds */

	vanishing(self->vm, first, n, 2);
	wait_passes(self->vm, 1);
	for (u64 i = 0; i < 40; i++) {
		u64 at = first + i * 97 % (n - 20);

		if (variant->shared) {
			ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					       at * PAGE, (1 + i % 20) * PAGE));
		} else {
			ASSERT_EQ(0, madvise(self->mem + at * PAGE, (1 + i % 20) * PAGE,
					     MADV_DONTNEED));
		}
		if (i % 10 == 0)
			wait_passes(self->vm, 1);
	}
	ASSERT_EQ(0, madvise(self->mem + first * PAGE, n * PAGE, MADV_DONTNEED));
	wait_passes(self->vm, 1);
}

static void by_the_test(struct vm *vm)
{
}

/* No memory at all for a while: KVM_RUN says so, as often as it is asked. */
TEST_F(mem, unmapped)
{
	const u64 first = PAGES - 600, n = 600;
	u8 *hole = self->mem + first * PAGE;

	vanishing(self->vm, first, n, 2);
	wait_passes(self->vm, 1);
	faults = 0;
	repair = by_the_test;
	for (int i = 0; i < 4; i++) {
		u64 seen = faults;

		if (variant->shared && i & 1) {
			ASSERT_EQ(0, ftruncate(self->fd, first * PAGE));
		} else {
			ASSERT_EQ(0, munmap(hole, n * PAGE));
		}
		WAIT_FOR(faults > seen + 3);
		ASSERT_EQ(0, self->fd >= 0 ? ftruncate(self->fd, SIZE) : 0);
		ASSERT_EQ(hole, mmap(hole, n * PAGE, PROT_READ | PROT_WRITE,
				     MAP_FIXED | (self->fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS
							       : MAP_SHARED),
				     self->fd, self->fd < 0 ? 0 : first * PAGE));
		wait_passes(self->vm, 1);
	}
}

TEST_HARNESS_MAIN
