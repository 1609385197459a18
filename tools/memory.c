// SPDX-License-Identifier: GPL-2.0
/*
 * Guest memory: one memfd, mapped once, shown to the guest as one slot below
 * the hole and one above 4 GiB.
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

/** memory_create() - Make the guest's memory and its slots; dies when it cannot be had */
void memory_create(struct vm *vm)
{
	const struct vm_config *config = vm->config;
	unsigned int flags = MFD_CLOEXEC | (config->hugepages ? MFD_HUGETLB : 0);
	unsigned long long mib = config->memory / MiB;
	int fd = memfd_create("ringlet-guest", flags);

	if (fd < 0)
		die("cannot create guest memory: %s", strerror(errno));
	if (ftruncate(fd, config->memory))
		die("--memory: cannot have %llu MiB%s: %s", mib,
		    config->hugepages ? " (is it a multiple of the huge page size?)" : "",
		    strerror(errno));
	/* Huge pages are reserved now, or they would end the launcher when they run out. */
	vm->ram = mmap(NULL, config->memory, PROT_READ | PROT_WRITE,
		       MAP_SHARED | (config->hugepages ? 0 : MAP_NORESERVE), fd, 0);
	if (vm->ram == MAP_FAILED) {
		if (config->hugepages && errno == ENOMEM)
			die("--hugepages: not enough free huge pages for %llu MiB (see %s)", mib,
			    "/proc/sys/vm/nr_hugepages");
		die("--memory: cannot map %llu MiB: %s", mib, strerror(errno));
	}
	close(fd);
	madvise(vm->ram, config->memory, MADV_HUGEPAGE);
	madvise(vm->ram, config->memory, MADV_DONTDUMP);

	vm->ram_low = config->memory < GPA_HOLE ? config->memory : GPA_HOLE;
	add_slot(vm, 0, 0, 0, vm->ram_low);
	add_slot(vm, 1, GPA_ABOVE_HOLE, vm->ram_low, config->memory - vm->ram_low);
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
