// SPDX-License-Identifier: GPL-2.0
/*
 * What every boot protocol needs: image files, the memory map, initrd and
 * command line, and the boot vCPU's registers.
 *
 * Owns:    the guest's memory before it runs, laid out in boot.h.
 * Touches: the boot vCPU's registers.
 * Locks:   none, no vCPU runs yet.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot.h"

static unsigned long long to_mib(uint64_t bytes)
{
	return ALIGN_UP(bytes, MiB) / MiB;
}

/** image_open() - Open a kernel or initrd, which stays open for the guest's resets */
void image_open(struct image *image, const char *option, const char *path)
{
	struct stat st;

	*image = (struct image){ .option = option, .path = path };
	image->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (image->fd < 0 || fstat(image->fd, &st))
		die("%s: %s: %s", option, path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		die("%s: %s: not a regular file", option, path);
	if (!st.st_size)
		die("%s: %s: the file is empty", option, path);
	image->size = st.st_size;
}

/** image_read() - Read a part of an image, all of it */
void image_read(const struct image *image, uint64_t offset, void *to, uint64_t size)
{
	while (size) {
		ssize_t n = pread(image->fd, to, size, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("%s: %s: %s", image->option, image->path, strerror(errno));
		if (!n)
			die("%s: %s: the file ends too early", image->option, image->path);
		to = (uint8_t *)to + n;
		offset += n;
		size -= n;
	}
}

/** boot_ptr() - Guest memory that boot_check() has seen to be there */
void *boot_ptr(struct vm *vm, uint64_t gpa, uint64_t len)
{
	void *p = guest_ptr(vm, gpa, len);

	if (!p)
		die("--memory: nothing at %#llx to load to", (unsigned long long)gpa);
	return p;
}

/**
 * boot_memory_map() - Fill in an e820 map
 * @map: room for 4 entries
 */
unsigned int boot_memory_map(struct vm *vm, struct boot_e820_entry *map)
{
	unsigned int n = 0;

	enum { RAM = 1, RESERVED = 2 };

	map[n++] = (struct boot_e820_entry){ 0, GPA_EBDA, RAM };
	map[n++] = (struct boot_e820_entry){ GPA_ACPI, GPA_ACPI_END - GPA_ACPI, RESERVED };
	map[n++] = (struct boot_e820_entry){ GPA_HIGH_MEMORY, vm->ram_low - GPA_HIGH_MEMORY, RAM };
	if (vm->config->memory > vm->ram_low)
		map[n++] = (struct boot_e820_entry){ GPA_ABOVE_HOLE,
						     vm->config->memory - vm->ram_low, RAM };
	return n;
}

/**
 * boot_load_initrd() - Put the initrd as high as it may be
 * @above: lowest address that is free
 * @below: first address that the kernel cannot reach
 *
 * Return: its address.
 */
uint64_t boot_load_initrd(struct vm *vm, const struct image *initrd, uint64_t above,
			  uint64_t below)
{
	uint64_t end = vm->ram_low < below ? vm->ram_low : below;
	uint64_t gpa = ALIGN_DOWN(end - initrd->size, PAGE_SIZE);

	if (end < initrd->size || gpa < above)
		die("--initrd: %s (%llu MiB) does not fit where the kernel can reach it",
		    initrd->path, to_mib(initrd->size));
	image_read(initrd, 0, boot_ptr(vm, gpa, initrd->size), initrd->size);
	return gpa;
}

/**
 * boot_load_cmdline() - Put the kernel's command line where it is expected
 * @max: longest that the kernel takes, without the closing zero
 */
uint32_t boot_load_cmdline(struct vm *vm, const char *cmdline, uint64_t max)
{
	size_t len = strlen(cmdline);

	if (max > CMDLINE_MAX - 1)
		max = CMDLINE_MAX - 1;
	if (len > max)
		die("--cmdline: %zu characters are more than the %llu that the kernel takes",
		    len, (unsigned long long)max);
	memcpy(boot_ptr(vm, GPA_CMDLINE, CMDLINE_MAX), cmdline, len + 1);
	return GPA_CMDLINE;
}

/**
 * boot_segment() - A flat segment, 4 GiB from 0, or the TSS
 * @type: as in a descriptor, SDM Vol 3A "Segment Descriptors"
 */
struct kvm_segment boot_segment(unsigned int selector, unsigned int type, bool is_64bit)
{
	bool system = selector == SEL_TSS;

	return (struct kvm_segment){
		.limit = system ? 0x67 : 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = !system,
		.l = is_64bit,
		.db = !system && !is_64bit,
		.g = !system,
	};
}

void boot_get_sregs(struct vm *vm, struct kvm_sregs *sregs)
{
	if (ioctl(vm->vcpus[0].fd, KVM_GET_SREGS, sregs))
		die("KVM_GET_SREGS: %s", strerror(errno));
}

/** boot_set_state() - Where the boot vCPU starts; the others wait for its SIPI */
void boot_set_state(struct vm *vm, const struct kvm_sregs *sregs, const struct kvm_regs *regs)
{
	if (ioctl(vm->vcpus[0].fd, KVM_SET_SREGS, sregs))
		die("KVM_SET_SREGS: %s", strerror(errno));
	if (ioctl(vm->vcpus[0].fd, KVM_SET_REGS, regs))
		die("KVM_SET_REGS: %s", strerror(errno));
}

/**
 * boot_check() - Refuse what cannot be booted, before there is a VM
 * @memory: the guest's, in bytes
 */
void boot_check(const struct boot_config *config, uint64_t memory)
{
	const struct image *kernel = &config->kernel, *initrd = &config->initrd;
	uint64_t end, low = memory < GPA_HOLE ? memory : GPA_HOLE;

	if (is_elf(kernel))
		end = elf_check(kernel);
	else if (is_bzimage(kernel))
		end = bzimage_check(kernel);
	else
		die("--kernel: %s: neither a bzImage nor an ELF file", kernel->path);
	if (end > low)
		die("--memory: %llu MiB is too little for %s, which needs %llu MiB to start",
		    to_mib(memory), kernel->path, to_mib(end));
	if (initrd->path && initrd->size > low - end)
		die("--initrd: %s (%llu MiB) does not fit: the kernel needs %llu of %llu MiB",
		    initrd->path, to_mib(initrd->size), to_mib(end), to_mib(low));
}

/** boot_load() - Load what the user asked for, by whichever protocol it speaks */
void boot_load(struct vm *vm, const struct boot_config *config)
{
	uint64_t rsdp = acpi_write_tables(vm);

	if (is_elf(&config->kernel))
		boot_pvh(vm, config, rsdp);
	else
		boot_linux(vm, config, rsdp);
}
