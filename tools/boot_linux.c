// SPDX-License-Identifier: GPL-2.0
/*
 * The Linux/x86 boot protocol for a bzImage, entered in 64-bit mode.
 *
 * Owns:    the zero page, and the page tables and GDT that the kernel starts on.
 * Touches: boot.c for the rest.
 * Locks:   none, no vCPU runs yet.
 * Manuals: Linux Documentation/x86/boot.rst, "64-bit Boot Protocol"; SDM Vol 3A
 *          "4-Level Paging and 5-Level Paging", "Segment Descriptors".
 */
#include <string.h>

#include "boot.h"

#define HEADER_OFFSET	offsetof(struct boot_params, hdr)
#define HEADER_MAGIC	0x53726448	/* "HdrS" */
#define BOOT_FLAG	0xaa55
#define VERSION_2_12	0x020c		/* the first with a 64-bit entry */
#define VERSION_2_14	0x020e		/* the first with acpi_rsdp_addr */
#define LOADER_UNKNOWN	0xff
#define ENTRY_64	0x200
#define SECTOR		512ULL

#define CR0_PE		BIT_ULL(0)
#define CR0_ET		BIT_ULL(4)
#define CR0_PG		BIT_ULL(31)
#define CR4_PAE		BIT_ULL(5)
#define EFER_LME	BIT_ULL(8)
#define EFER_LMA	BIT_ULL(10)
#define RFLAGS_RESERVED	BIT_ULL(1)

#define PTE_PRESENT	BIT_ULL(0)
#define PTE_WRITE	BIT_ULL(1)
#define PDE_LARGE	BIT_ULL(7)
#define MAPPED		GiB		/* by one page directory */

#define TYPE_CODE	0xb		/* execute/read, accessed */
#define TYPE_DATA	0x3		/* read/write, accessed */
#define TYPE_TSS	0xb		/* 64-bit, busy */

static uint64_t image_offset(const struct setup_header *hdr)
{
	return ((hdr->setup_sects ?: 4) + 1) * SECTOR;
}

static uint64_t image_bytes(const struct setup_header *hdr)
{
	return hdr->syssize * 16ULL;
}

/* The header, which is 2.12 or newer and offers the 64-bit entry when this returns. */
static void read_header(const struct image *kernel, struct setup_header *hdr)
{
	uint8_t end;
	size_t len;

	/* The header ends where the jump over it lands: it grew with the protocol. */
	image_read(kernel, HEADER_OFFSET + 0x10, &end, 1);
	len = 0x11 + end;
	memset(hdr, 0, sizeof(*hdr));
	image_read(kernel, HEADER_OFFSET, hdr, len < sizeof(*hdr) ? len : sizeof(*hdr));

	if (hdr->version < VERSION_2_12)
		die("--kernel: %s: speaks boot protocol %u.%02u, 2.12 is the oldest usable",
		    kernel->path, hdr->version >> 8, hdr->version & 0xff);
	if (!(hdr->xloadflags & XLF_KERNEL_64))
		die("--kernel: %s: not a 64-bit kernel", kernel->path);
	if (!(hdr->loadflags & LOADED_HIGH))
		die("--kernel: %s: a zImage, not a bzImage", kernel->path);
}

/** is_bzimage() - Has it the boot protocol's magic numbers? */
bool is_bzimage(const struct image *kernel)
{
	struct setup_header hdr;

	if (kernel->size < HEADER_OFFSET + sizeof(hdr))
		return false;
	image_read(kernel, HEADER_OFFSET, &hdr, sizeof(hdr));
	return hdr.boot_flag == BOOT_FLAG && hdr.header == HEADER_MAGIC;
}

/** bzimage_check() - Returns the end of what the kernel needs to unpack itself */
uint64_t bzimage_check(const struct image *kernel)
{
	struct setup_header hdr;
	uint64_t end;

	read_header(kernel, &hdr);
	end = image_offset(&hdr) + image_bytes(&hdr);
	if (!hdr.syssize || end > kernel->size)
		die("--kernel: %s: truncated: it has %llu bytes, its header tells of %llu",
		    kernel->path, (unsigned long long)kernel->size, (unsigned long long)end);
	end = hdr.pref_address + hdr.init_size;
	if (hdr.pref_address < GPA_HIGH_MEMORY || hdr.pref_address > MAPPED || end > MAPPED ||
	    hdr.init_size < image_bytes(&hdr))
		die("--kernel: %s: wants to be loaded at %#llx-%#llx, 1 MiB-1 GiB is possible",
		    kernel->path, (unsigned long long)hdr.pref_address, (unsigned long long)end);
	return end;
}

/* Identity map of the first GiB: kernel, zero page and command line are all there. */
static void write_page_tables(struct vm *vm)
{
	uint64_t *pml4 = boot_ptr(vm, GPA_PML4, PAGE_SIZE);
	uint64_t *pdpt = boot_ptr(vm, GPA_PDPT, PAGE_SIZE);
	uint64_t *pd = boot_ptr(vm, GPA_PD, PAGE_SIZE);

	pml4[0] = GPA_PDPT | PTE_PRESENT | PTE_WRITE;
	pdpt[0] = GPA_PD | PTE_PRESENT | PTE_WRITE;
	for (unsigned int i = 0; i < MAPPED / (2 * MiB); i++)
		pd[i] = i * 2 * MiB | PTE_PRESENT | PTE_WRITE | PDE_LARGE;
}

static uint64_t descriptor(const struct kvm_segment *s)
{
	uint64_t limit = s->g ? s->limit >> 12 : s->limit;

	return (limit & 0xffff) | (s->base & 0xffffff) << 16 | (uint64_t)s->type << 40 |
	       (uint64_t)s->s << 44 | (uint64_t)s->dpl << 45 | (uint64_t)s->present << 47 |
	       (limit >> 16) << 48 | (uint64_t)s->l << 53 | (uint64_t)s->db << 54 |
	       (uint64_t)s->g << 55 | (s->base >> 24 & 0xff) << 56;
}

static void set_state(struct vm *vm, uint64_t entry)
{
	const struct kvm_segment code = boot_segment(SEL_CODE, TYPE_CODE, true);
	const struct kvm_segment data = boot_segment(SEL_DATA, TYPE_DATA, false);
	uint64_t *gdt = boot_ptr(vm, GPA_GDT, PAGE_SIZE);
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = entry,
		.rsi = GPA_ZERO_PAGE,
		.rflags = RFLAGS_RESERVED,
	};

	write_page_tables(vm);
	gdt[SEL_CODE / 8] = descriptor(&code);
	gdt[SEL_DATA / 8] = descriptor(&data);

	boot_get_sregs(vm, &sregs);
	sregs.cs = code;
	sregs.ds = data;
	sregs.es = data;
	sregs.fs = data;
	sregs.gs = data;
	sregs.ss = data;
	sregs.tr = boot_segment(SEL_TSS, TYPE_TSS, false);
	sregs.gdt.base = GPA_GDT;
	sregs.gdt.limit = SEL_TSS - 1;
	sregs.idt.limit = 0;
	sregs.cr0 = CR0_PE | CR0_ET | CR0_PG;
	sregs.cr3 = GPA_PML4;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	boot_set_state(vm, &sregs, &regs);
}

static bool has_word(const char *line, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = line; (at = strstr(at, word)); at += len)
		if ((at == line || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
	return false;
}

/** boot_linux() - Load a bzImage and point the boot vCPU at it */
void boot_linux(struct vm *vm, const struct boot_config *config, uint64_t rsdp)
{
	struct boot_params *params = boot_ptr(vm, GPA_ZERO_PAGE, sizeof(*params));
	struct setup_header *hdr = &params->hdr;
	struct setup_header copy;
	uint64_t kernel, entry;

	/* The guest's memory is zero, as the rest of the zero page has to be. */
	read_header(&config->kernel, &copy);
	*hdr = copy;
	kernel = hdr->pref_address;
	entry = boot_unpack(vm, &config->kernel, hdr, image_offset(hdr),
			    !has_word(config->cmdline, "nokaslr"));
	if (!entry) {
		image_read(&config->kernel, image_offset(hdr),
			   boot_ptr(vm, kernel, image_bytes(hdr)), image_bytes(hdr));
		entry = kernel + ENTRY_64;
	}
	hdr->type_of_loader = LOADER_UNKNOWN;
	hdr->code32_start = kernel;
	hdr->cmd_line_ptr = boot_load_cmdline(vm, config->cmdline, hdr->cmdline_size);
	if (config->initrd.path) {
		hdr->ramdisk_image = boot_load_initrd(vm, &config->initrd,
						      kernel + hdr->init_size,
						      hdr->initrd_addr_max + 1ULL);
		hdr->ramdisk_size = config->initrd.size;
	}
	params->e820_entries = boot_memory_map(vm, params->e820_table);
	if (hdr->version >= VERSION_2_14)
		params->acpi_rsdp_addr = rsdp;
	set_state(vm, entry);
}
