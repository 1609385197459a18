/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_BOOT_H
#define RINGLET_BOOT_H

#include <asm/bootparam.h>
#include <linux/kvm.h>

#include "vm.h"

/* What boot code finds in low memory, a page each; Linux leaves the first 64 KiB alone. */
#define GPA_GDT		0x1000ULL
#define GPA_PML4	0x2000ULL
#define GPA_PDPT	0x3000ULL
#define GPA_PD		0x4000ULL
#define GPA_START_INFO	0x5000ULL	/* PVH: start info, module list and memory map */
#define GPA_ZERO_PAGE	0x6000ULL	/* Linux boot protocol: struct boot_params */
#define GPA_CMDLINE	0x7000ULL
#define CMDLINE_MAX	0x1000u

struct image {
	const char *option;	/* that named it, for messages */
	const char *path;
	int fd;
	uint64_t size;
};

struct boot_config {
	struct image kernel, initrd;	/* initrd.path may be NULL */
	const char *cmdline;
};

/* The descriptors that both protocols ask for. */
enum { SEL_CODE = 0x10, SEL_DATA = 0x18, SEL_TSS = 0x20 };

/* boot.c */
void image_open(struct image *image, const char *option, const char *path);
void image_read(const struct image *image, uint64_t offset, void *to, uint64_t size);
void *boot_ptr(struct vm *vm, uint64_t gpa, uint64_t len);
unsigned int boot_memory_map(struct vm *vm, struct boot_e820_entry *map);
uint64_t boot_load_initrd(struct vm *vm, const struct image *initrd, uint64_t above,
			  uint64_t below);
uint32_t boot_load_cmdline(struct vm *vm, const char *cmdline, uint64_t max);
struct kvm_segment boot_segment(unsigned int selector, unsigned int type, bool is_64bit);
void boot_set_state(struct vm *vm, const struct kvm_sregs *sregs, const struct kvm_regs *regs);
void boot_get_sregs(struct vm *vm, struct kvm_sregs *sregs);
void boot_check(const struct boot_config *config, uint64_t memory);
void boot_load(struct vm *vm, const struct boot_config *config);

/* boot_linux.c, boot_unpack.c, boot_pvh.c */
bool is_bzimage(const struct image *kernel);
uint64_t bzimage_check(const struct image *kernel);
uint64_t boot_unpack(struct vm *vm, const struct image *kernel, struct setup_header *hdr,
		     uint64_t code, bool random);
void boot_linux(struct vm *vm, const struct boot_config *config, uint64_t rsdp);
bool is_elf(const struct image *kernel);
uint64_t elf_check(const struct image *kernel);
void boot_pvh(struct vm *vm, const struct boot_config *config, uint64_t rsdp);

/* acpi_tables.c */
uint64_t acpi_write_tables(struct vm *vm);

#endif
