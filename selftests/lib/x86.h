/* SPDX-License-Identifier: GPL-2.0 */
/* Architecture constants, and where the library puts things in guest memory. */
#ifndef RL_X86_H
#define RL_X86_H

#define X86_CR0_PE	(1u << 0)
#define X86_CR0_MP	(1u << 1)
#define X86_CR0_EM	(1u << 2)
#define X86_CR0_TS	(1u << 3)
#define X86_CR0_ET	(1u << 4)
#define X86_CR0_NE	(1u << 5)
#define X86_CR0_WP	(1u << 16)
#define X86_CR0_NW	(1u << 29)
#define X86_CR0_CD	(1u << 30)
#define X86_CR0_PG	(1u << 31)
#define X86_CR4_PSE	(1u << 4)
#define X86_CR4_PAE	(1u << 5)
#define X86_CR4_OSFXSR	(1u << 9)
#define X86_CR4_OSXMM	(1u << 10)
#define X86_CR4_LA57	(1u << 12)
#define X86_CR4_VMXE	(1u << 13)
#define X86_CR4_OSXSAVE	(1u << 18)
#define EFER_SCE	(1u << 0)
#define EFER_LME	(1u << 8)
#define EFER_LMA	(1u << 10)
#define EFER_NX		(1u << 11)
#define EFER_SVME	(1u << 12)
#define RFLAGS_IF	(1u << 9)
#define RFLAGS_FIXED	2

#define MSR_EFER	0xc0000080
#define MSR_STAR	0xc0000081
#define MSR_LSTAR	0xc0000082
#define MSR_CSTAR	0xc0000083
#define MSR_SFMASK	0xc0000084
#define MSR_FS_BASE	0xc0000100
#define MSR_GS_BASE	0xc0000101
#define MSR_KERNEL_GS	0xc0000102
#define MSR_TSC_AUX	0xc0000103

enum { DE = 0, DB = 1, NMI = 2, BP = 3, UD = 6, NM = 7, DF = 8, NP = 11, SS = 12, GP = 13,
       PF = 14, AC = 17, MC = 18 };

#define SEL_CODE64	0x08
#define SEL_DATA	0x10
#define SEL_CODE32	0x18
#define SEL_UDATA	0x23
#define SEL_UCODE64	0x2b
#define SEL_TSS		0x30

/* Guest physical memory of vm_long() and vm_blob(), all of it in slot 0. */
#define GDT_GPA		0x1000ull
#define TSS_GPA(id)	(0x2000ull + (id) * 0x80)	/* 128 of them */
#define IDT_GPA		0x6000ull
#define BLOB_GPA	0x8000ull
#define BLOB_STACK	0x7f00ull
#define PT_GPA		0x10000ull	/* PML4, PDPT, four PDs */
#define FREE_GPA	0x100000ull	/* 1 MiB for the test */
#define STACK_GPA(id)	(0x200000ull + ((id) + 1) * 0x4000)	/* top of stack */
#define RAM_SIZE	0x800000ull	/* the program itself is at 0x400000 */
#define HOLE_GPA	0x10000000ull	/* never backed: MMIO */

/*
 * Assembly for the guest, in 16-, 32- or 64-bit mode, between two labels. It
 * runs at BLOB_GPA: jumps within it work, absolute addresses are BLOB_GPA plus
 * (label - NAME_start).
 */
#define __GUEST(name, bits, text) \
	asm(".pushsection .rodata\n.balign 16\n.code" #bits "\n" \
	    #name "_start:\n" text "\n" #name "_end:\n.code64\n.popsection\n"); \
	extern const char name##_start[], name##_end[]; \
	enum { name##_bits = bits }
#define GUEST16(name, text)	__GUEST(name, 16, text)
#define GUEST32(name, text)	__GUEST(name, 32, text)
#define GUEST64(name, text)	__GUEST(name, 64, text)

#endif
