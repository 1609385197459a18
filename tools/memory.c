// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: one mapping, shown to the guest as one slot below the hole and one
 * above 4 GiB.
 *
 * Owns:    vm->ram and the memory slots.
 * Touches: nothing is read or written here: pages come to be when used.
 * Locks:   none, set up before vCPUs run.
 */
#include <errno.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define HUGE_PAGE	(2 * MiB)

static void add_slot(struct vm *vm, uint32_t slot, uint64_t gpa, uint64_t offset, uint64_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)vm->ram + offset,
	};

	if (size && vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION",
			     &region))
		die("cannot give the guest %llu MiB at %#llx: %s",
		    (unsigned long long)size / MiB, (unsigned long long)gpa, strerror(errno));
}

/* Reserved huge pages: taken now, or they would end the launcher when they run out. */
static void *map_reserved(uint64_t size)
{
	int fd = memfd_create("ringlet-guest", MFD_CLOEXEC | MFD_HUGETLB);
	void *p;

	if (fd < 0)
		die("--hugepages: cannot create guest memory: %s", strerror(errno));
	if (ftruncate(fd, size))
		die("--memory: cannot have %llu MiB%s: %s", (unsigned long long)size / MiB,
		    " (is it a multiple of the huge page size?)", strerror(errno));
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p;
}

/*
 * Anonymous memory, which the host gives transparent huge pages by itself. They have
 * to lie alike in both address spaces, so that the guest's mapping is huge, too.
 */
static void *map_anonymous(uint64_t size)
{
	uint64_t room = size + HUGE_PAGE;
	uint8_t *p = mmap(NULL, room, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *start;

	if (p == MAP_FAILED)
		return p;
	start = (uint8_t *)ALIGN_UP((uintptr_t)p, HUGE_PAGE);
	if (start > p)
		munmap(p, start - p);
	munmap(start + size, p + room - (start + size));
	madvise(start, size, MADV_HUGEPAGE);
	return start;
}

/** memory_create() - Make the guest's memory and its slots; dies when it cannot be had */
void memory_create(struct vm *vm)
{
	const struct vm_config *config = vm->config;
	unsigned long long mib = config->memory / MiB;

	vm->ram = config->hugepages ? map_reserved(config->memory) : map_anonymous(config->memory);
	if (vm->ram == MAP_FAILED) {
		if (config->hugepages && errno == ENOMEM)
			die("--hugepages: not enough free huge pages for %llu MiB (see %s)", mib,
			    "/proc/sys/vm/nr_hugepages");
		die("--memory: cannot map %llu MiB: %s", mib, strerror(errno));
	}
	madvise(vm->ram, config->memory, MADV_DONTDUMP);

	vm->ram_low = config->memory < GPA_HOLE ? config->memory : GPA_HOLE;
	add_slot(vm, 0, 0, 0, vm->ram_low);
	add_slot(vm, 1, GPA_ABOVE_HOLE, vm->ram_low, config->memory - vm->ram_low);
}

/** memory_discard() - Give pages back to the host: they read as zeros when used again */
void memory_discard(struct vm *vm, void *p, uint64_t len)
{
	/* What lies in a file goes from the file; huge pages only go as a whole. */
	madvise(p, len, vm->config->hugepages ? MADV_REMOVE : MADV_DONTNEED);
}

void memory_destroy(struct vm *vm)
{
	munmap(vm->ram, vm->config->memory);
}

/**
 * guest_ptr() - Where the launcher sees guest memory
 *
 * Return: pointer to @len bytes at guest physical address @gpa, or NULL when
 * they are not all RAM.
 */
void *guest_ptr(struct vm *vm, uint64_t gpa, uint64_t len)
{
	uint64_t above = vm->config->memory - vm->ram_low;

	if (gpa < vm->ram_low && len <= vm->ram_low - gpa)
		return vm->ram + gpa;
	if (gpa >= GPA_ABOVE_HOLE && gpa - GPA_ABOVE_HOLE < above &&
	    len <= above - (gpa - GPA_ABOVE_HOLE))
		return vm->ram + vm->ram_low + (gpa - GPA_ABOVE_HOLE);
	return NULL;
}
