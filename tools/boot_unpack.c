// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel inside a bzImage, unpacked here: the image's own code would do it in
 * the guest, where every page of it costs a fault, and slower. Like that code it
 * gives the kernel a random place in its address space (KASLR).
 *
 * Owns:    the unpacked file, until it is in the guest's memory.
 * Touches: the guest's memory, where the kernel's segments belong.
 * Locks:   none, no vCPU runs yet.
 * Manuals: Linux Documentation/x86/boot.rst, "payload_offset"; ELF-64 Object File
 *          Format, "Program Header Table".
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "boot.h"
#include "unxz.h"

#define UNPACKED_MAX	GiB
#define SEGMENTS_MAX	16
#define KERNEL_MAP	0xffffffff80000000ULL	/* where physical 0 would be linked */
#define KERNEL_MAP_SIZE	GiB			/* what a kernel with KASLR may use of it */

struct unpacked {
	uint8_t *file;
	size_t size;
	const Elf64_Phdr *ph;
	unsigned int segments;
	size_t end;			/* of the ELF file; its relocations follow */
};

static bool in_file(const struct unpacked *u, uint64_t offset, uint64_t len)
{
	return offset <= u->size && len <= u->size - offset;
}

/* Is it an ELF kernel whose segments fit the memory that its header asked for? */
static bool look_at(struct unpacked *u, const struct setup_header *hdr)
{
	const Elf64_Ehdr *eh = (const Elf64_Ehdr *)u->file;
	uint64_t end = hdr->pref_address + hdr->init_size;

	if (u->size < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) ||
	    eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_machine != EM_X86_64 ||
	    eh->e_phentsize != sizeof(*u->ph) || eh->e_phnum > SEGMENTS_MAX ||
	    !in_file(u, eh->e_phoff, eh->e_phnum * sizeof(*u->ph)) || eh->e_phoff % 8 ||
	    eh->e_shentsize != sizeof(Elf64_Shdr) ||
	    !in_file(u, eh->e_shoff, (uint64_t)eh->e_shnum * sizeof(Elf64_Shdr)))
		return false;
	u->ph = (const Elf64_Phdr *)(u->file + eh->e_phoff);
	u->segments = eh->e_phnum;
	u->end = eh->e_shoff + eh->e_shnum * sizeof(Elf64_Shdr);
	for (unsigned int i = 0; i < u->segments; i++) {
		const Elf64_Phdr *ph = &u->ph[i];

		if (ph->p_type != PT_LOAD)
			continue;
		if (!in_file(u, ph->p_offset, ph->p_filesz) || ph->p_filesz > ph->p_memsz ||
		    ph->p_paddr < hdr->pref_address || ph->p_paddr > end ||
		    ph->p_memsz > end - ph->p_paddr)
			return false;
	}
	return eh->e_entry >= hdr->pref_address && eh->e_entry < end;
}

/* One list of addresses to be changed, from its end to the zero before it. */
static const uint8_t *relocate(struct vm *vm, const uint8_t *list, const uint8_t *start,
			       unsigned int width, uint64_t delta)
{
	for (list -= 4; list >= start; list -= 4) {
		int32_t where;
		uint64_t value = 0;
		void *p;

		memcpy(&where, list, sizeof(where));
		if (!where)
			break;
		p = guest_ptr(vm, (int64_t)where - KERNEL_MAP, width);
		if (!p)
			continue;
		memcpy(&value, p, width);
		value += delta;
		memcpy(p, &value, width);
	}
	return list;
}

/*
 * Three lists follow the kernel: of 64-bit addresses, of 32-bit ones to be moved the
 * other way (per-CPU offsets), and of 32-bit ones. A kernel without KASLR has none.
 */
static bool randomize(struct vm *vm, const struct unpacked *u, const struct setup_header *hdr)
{
	const uint8_t *start = u->file + u->end, *list = u->file + u->size;
	uint64_t align = hdr->kernel_alignment, slots, delta, number;

	if (list - start < 12 || !align || hdr->pref_address + hdr->init_size > KERNEL_MAP_SIZE ||
	    getrandom(&number, sizeof(number), 0) != sizeof(number))
		return false;
	slots = (KERNEL_MAP_SIZE - hdr->pref_address - hdr->init_size) / align + 1;
	delta = number % slots * align;
	list = relocate(vm, list, start, 4, delta);
	list = relocate(vm, list, start, 4, -delta);
	relocate(vm, list, start, 8, delta);
	return true;
}

/**
 * boot_unpack() - Load the kernel from a bzImage's payload
 * @random: give it another virtual address; KASLR_FLAG in @hdr tells that this was done
 *
 * Return: the address of its 64-bit entry, or 0 when the image has to unpack itself.
 */
uint64_t boot_unpack(struct vm *vm, const struct image *kernel, struct setup_header *hdr,
		     uint64_t code, bool random)
{
	struct unpacked u = { 0 };
	uint8_t *packed = NULL;
	uint64_t entry = 0;
	uint32_t size;

	if (hdr->payload_length < 16 || code + hdr->payload_offset > kernel->size ||
	    hdr->payload_length > kernel->size - code - hdr->payload_offset)
		return 0;
	packed = xcalloc(1, hdr->payload_length);
	image_read(kernel, code + hdr->payload_offset, packed, hdr->payload_length);
	/* The last four bytes are the unpacked size. */
	memcpy(&size, packed + hdr->payload_length - 4, sizeof(size));
	u.size = size;
	if (u.size > UNPACKED_MAX || u.size > vm->config->memory)
		goto out;
	u.file = mmap(NULL, u.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (u.file == MAP_FAILED)
		goto out;
	madvise(u.file, u.size, MADV_HUGEPAGE);
	/* What is packed otherwise unpacks itself. */
	if (unxz(packed, hdr->payload_length - 4, u.file, u.size) && look_at(&u, hdr)) {
		for (unsigned int i = 0; i < u.segments; i++)
			if (u.ph[i].p_type == PT_LOAD)
				memcpy(boot_ptr(vm, u.ph[i].p_paddr, u.ph[i].p_memsz),
				       u.file + u.ph[i].p_offset, u.ph[i].p_filesz);
		if (random && randomize(vm, &u, hdr))
			hdr->loadflags |= KASLR_FLAG;
		entry = ((const Elf64_Ehdr *)u.file)->e_entry;
	}
	munmap(u.file, u.size);
out:
	free(packed);
	return entry;
}
