// SPDX-License-Identifier: GPL-2.0
/*
 * PVH: an ELF kernel that names a 32-bit entry point in a note, as an
 * uncompressed vmlinux does.
 *
 * Owns:    the start information that the kernel is handed.
 * Touches: boot.c for the rest.
 * Locks:   none, no vCPU runs yet.
 * Manuals: Xen's docs/misc/pvh.pandoc, "x86/HVM direct boot ABI", and
 *          xen/include/public/arch-x86/hvm/start_info.h; ELF-64 Object File
 *          Format, "Note Section".
 */
#include <assert.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "boot.h"

#define NOTE_NAME	"Xen"
#define NOTE_PHYS32_ENTRY 18
#define NOTES_MAX	MiB
#define SEGMENTS_MAX	64

#define START_MAGIC	0x336ec578	/* "xEn3", with the first letter's top bit set */
#define START_VERSION	1

#define CR0_PE		BIT_ULL(0)
#define CR0_ET		BIT_ULL(4)
#define RFLAGS_RESERVED	BIT_ULL(1)
#define TYPE_CODE	0xb		/* execute/read, accessed */
#define TYPE_DATA	0x3		/* read/write, accessed */
#define TYPE_TSS	0xb		/* 32-bit, busy */

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modules, cmdline, rsdp, memmap;
	uint32_t nr_memmap, reserved;
};

struct start_module {
	uint64_t gpa, size, cmdline, reserved;
};

struct start_memmap {
	uint64_t gpa, size;
	uint32_t type, reserved;
};

/* All that GPA_START_INFO's page holds. */
struct start_page {
	struct start_info info;
	struct start_module module;
	struct start_memmap map[4];
};

static_assert(sizeof(struct start_info) == 56, "start info has an ABI");
static_assert(sizeof(struct start_module) == 32, "start module has an ABI");
static_assert(sizeof(struct start_memmap) == 24, "start memory map has an ABI");
static_assert(sizeof(struct start_page) <= PAGE_SIZE, "start information fills one page");

/** is_elf() - Does it start like an ELF file? */
bool is_elf(const struct image *kernel)
{
	char magic[SELFMAG];

	if (kernel->size < sizeof(Elf64_Ehdr))
		return false;
	image_read(kernel, 0, magic, sizeof(magic));
	return !memcmp(magic, ELFMAG, SELFMAG);
}

static _Noreturn void bad(const struct image *kernel, const char *why)
{
	die("--kernel: %s: %s", kernel->path, why);
}

/* Find the entry point in a note segment: name and value are padded to 4 bytes. */
static bool find_note(const struct image *kernel, const Elf64_Phdr *ph, uint32_t *entry)
{
	uint64_t size = ph->p_filesz, pos = 0;
	bool found = false;
	uint8_t *notes;

	if (size > NOTES_MAX)
		bad(kernel, "its notes are too long");
	notes = xcalloc(1, size + 1);
	image_read(kernel, ph->p_offset, notes, size);
	while (!found && size - pos >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr note;
		uint64_t name, desc;

		memcpy(&note, notes + pos, sizeof(note));
		name = pos + sizeof(note);
		desc = name + ALIGN_UP((uint64_t)note.n_namesz, 4);
		pos = desc + ALIGN_UP((uint64_t)note.n_descsz, 4);
		if (pos > size)
			break;
		if (note.n_type != NOTE_PHYS32_ENTRY || note.n_namesz != sizeof(NOTE_NAME) ||
		    memcmp(notes + name, NOTE_NAME, sizeof(NOTE_NAME)) || note.n_descsz < 4)
			continue;
		memcpy(entry, notes + desc, sizeof(*entry));
		found = true;
	}
	free(notes);
	return found;
}

/* Read the program headers. Returns how many there are. */
static unsigned int read_headers(const struct image *kernel, Elf64_Phdr *ph)
{
	Elf64_Ehdr eh;

	image_read(kernel, 0, &eh, sizeof(eh));
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64)
		bad(kernel, "not an ELF file for x86-64");
	if (eh.e_phentsize != sizeof(*ph) || !eh.e_phnum || eh.e_phnum > SEGMENTS_MAX)
		bad(kernel, "an ELF file without usable program headers");
	image_read(kernel, eh.e_phoff, ph, eh.e_phnum * sizeof(*ph));
	return eh.e_phnum;
}

static uint32_t find_entry(const struct image *kernel, const Elf64_Phdr *ph, unsigned int count)
{
	uint32_t entry;

	for (unsigned int i = 0; i < count; i++)
		if (ph[i].p_type == PT_NOTE && find_note(kernel, &ph[i], &entry))
			return entry;
	bad(kernel, "has no PVH entry point (build it with CONFIG_PVH, or use its bzImage)");
}

/** elf_check() - Returns the end of the last segment */
uint64_t elf_check(const struct image *kernel)
{
	Elf64_Phdr ph[SEGMENTS_MAX];
	unsigned int count = read_headers(kernel, ph);
	uint64_t end = 0;

	find_entry(kernel, ph, count);
	for (unsigned int i = 0; i < count; i++) {
		if (ph[i].p_type != PT_LOAD)
			continue;
		if (ph[i].p_paddr < GPA_HIGH_MEMORY || ph[i].p_filesz > ph[i].p_memsz ||
		    ph[i].p_memsz > GPA_HOLE || ph[i].p_paddr > GPA_HOLE)
			bad(kernel, "has a segment outside 1 MiB-3 GiB, or a broken one");
		if (ph[i].p_offset > kernel->size ||
		    ph[i].p_filesz > kernel->size - ph[i].p_offset)
			bad(kernel, "truncated: a segment goes beyond the end of the file");
		if (ph[i].p_paddr + ph[i].p_memsz > end)
			end = ph[i].p_paddr + ph[i].p_memsz;
	}
	return end;
}

static void set_state(struct vm *vm, uint32_t entry)
{
	const struct kvm_segment data = boot_segment(SEL_DATA, TYPE_DATA, false);
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = entry,
		.rbx = GPA_START_INFO,
		.rflags = RFLAGS_RESERVED,
	};

	boot_get_sregs(vm, &sregs);
	sregs.cs = boot_segment(SEL_CODE, TYPE_CODE, false);
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	sregs.tr = boot_segment(SEL_TSS, TYPE_TSS, false);
	sregs.cr0 = CR0_PE | CR0_ET;
	boot_set_state(vm, &sregs, &regs);
}

/** boot_pvh() - Load an ELF kernel and point the boot vCPU at its PVH entry */
void boot_pvh(struct vm *vm, const struct boot_config *config, uint64_t rsdp)
{
	struct start_page *page = boot_ptr(vm, GPA_START_INFO, sizeof(*page));
	struct boot_e820_entry map[4];
	struct start_info *info = &page->info;
	Elf64_Phdr ph[SEGMENTS_MAX];
	unsigned int count = read_headers(&config->kernel, ph);

	for (unsigned int i = 0; i < count; i++)
		if (ph[i].p_type == PT_LOAD)
			image_read(&config->kernel, ph[i].p_offset,
				   boot_ptr(vm, ph[i].p_paddr, ph[i].p_memsz), ph[i].p_filesz);
	*info = (struct start_info){
		.magic = START_MAGIC,
		.version = START_VERSION,
		.cmdline = boot_load_cmdline(vm, config->cmdline, CMDLINE_MAX),
		.rsdp = rsdp,
		.memmap = GPA_START_INFO + offsetof(struct start_page, map),
		.nr_memmap = boot_memory_map(vm, map),
	};
	for (unsigned int i = 0; i < info->nr_memmap; i++)
		page->map[i] = (struct start_memmap){ map[i].addr, map[i].size, map[i].type, 0 };
	if (config->initrd.path) {
		info->nr_modules = 1;
		info->modules = GPA_START_INFO + offsetof(struct start_page, module);
		page->module.size = config->initrd.size;
		page->module.gpa = boot_load_initrd(vm, &config->initrd,
						    elf_check(&config->kernel), 4 * GiB);
	}
	set_state(vm, find_entry(&config->kernel, ph, count));
}
