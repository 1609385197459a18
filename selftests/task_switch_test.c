// SPDX-License-Identifier: GPL-2.0
/*
 * Hardware task switches: by JMP, CALL, IRET, INT and an exception, to 32-bit
 * and 16-bit tasks. Each task says on port 0x99 that it runs.
 */
#include "lib.h"
#include "harness.h"

#define TABLES		FREE_GPA
#define IDT		(TABLES + 0x800)
#define TSS(nr)		(TABLES + 0x1000 + (nr) * 0x200)
#define STACK(nr)	(TABLES + 0x4000 + (nr) * 0x1000)
#define SEL_B		0x40		/* JMP, CALL, INT 0x30 */
#define SEL_C		0x48		/* #GP */
#define SEL_D		0x50		/* 16-bit */
#define SEL_SHORT	0x58		/* too short for a TSS */

#define REPORT		"out %eax, $0x99\n"
#define REPORT_NT	"pushf; pop %eax; and $0x4000, %eax; or %ebx, %eax; inc %ebx\n" REPORT
#define NT		0x4000

GUEST32(tasks,
	"mov $0x10, %esi\n"
	"ljmp $0x40, $0\n"
	"lea 1(%esi), %eax\n" REPORT
	"lcall $0x40, $0\n"
	"lea 2(%esi), %eax\n" REPORT
	"int $0x30\n"
	"lea 3(%esi), %eax\n" REPORT
	"int $0x31\n"			/* not in the IDT: #GP, which C skips */
	"lea 4(%esi), %eax\n" REPORT
	"ljmp $0x50, $0\n"
	"lea 5(%esi), %eax\n" REPORT
	"lcall $0x58, $0\n"		/* #TS, whose handler skips it */
	"lea 6(%esi), %eax\n" REPORT
	"hlt\n"
	".org tasks_start + 0x100\n"	/* B */
	REPORT_NT "ljmp $0x30, $0\n"
	REPORT_NT "iret\n"
	REPORT_NT "iret\n"
	".org tasks_start + 0x180\n"	/* C */
	"pop %eax\n" REPORT
	"addl $2, 0x2020\n"		/* EIP in the TSS of the first task */
	"iret\n"
	".org tasks_start + 0x1c0\n"	/* D */
	"mov %ebp, %eax\n" REPORT "ljmp $0x30, $0\n"
	".org tasks_start + 0x200\n"	/* handler of #TS */
	"pop %eax\n" REPORT
	"addl $7, (%esp)\n"
	"iret\n");

static void set_tss_desc(struct vm *vm, u16 sel, u8 type, u32 base, u32 limit)
{
	*(u64 *)vm_hva(vm, TABLES + sel) = limit | (u64)(base & 0xffffff) << 16 |
		(u64)(0x80 | type) << 40 | (u64)(base >> 24) << 56;
}

static u8 tss_type(struct vm *vm, u16 sel)
{
	return *(u64 *)vm_hva(vm, TABLES + sel) >> 40 & 0x1f;
}

static void set_task(struct vm *vm, int nr, u16 sel, u32 eip, u32 ebx)
{
	u32 *tss = vm_hva(vm, TSS(nr));

	tss[8] = eip;
	tss[9] = RFLAGS_FIXED;
	tss[13] = ebx;
	tss[14] = STACK(nr);
	for (int i = 0; i < 6; i++)		/* ES CS SS DS FS GS */
		tss[18 + i] = i == 1 ? SEL_CODE32 : SEL_DATA;
	tss[25] = 0x68u << 16;
	set_tss_desc(vm, sel, 9, TSS(nr), 0x67);
}

static void set_task16(struct vm *vm, int nr, u16 sel, u16 ip, u16 bp)
{
	u16 *tss = vm_hva(vm, TSS(nr));

	tss[7] = ip;
	tss[8] = RFLAGS_FIXED;
	tss[13] = 0x7000;			/* SP */
	tss[14] = bp;
	for (int i = 0; i < 4; i++)		/* ES CS SS DS */
		tss[17 + i] = i == 1 ? SEL_CODE32 : SEL_DATA;
	set_tss_desc(vm, sel, 1, TSS(nr), 0x2b);
}

static void set_gate(struct vm *vm, int vector, u8 type, u16 sel, u32 offset)
{
	*(u64 *)vm_hva(vm, IDT + vector * 8) = (offset & 0xffff) | (u64)sel << 16 |
		(u64)(0x80 | type) << 40 | (u64)(offset >> 16) << 48;
}

TEST(between_tasks)
{
	const u32 expected[] = {
		0xb0, 0x11, NT | 0xb1, 0x12, NT | 0xb2, 0x13,
		0x31 * 8 + 2, 0x14, 0xd, 0x15, SEL_SHORT, 0x16,
	};
	const u32 error_code = 6;
	struct vm *vm = VM_BLOB(tasks, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_sregs s;

	memcpy(vm_hva(vm, TABLES), vm_hva(vm, GDT_GPA), 0x40);
	set_tss_desc(vm, SEL_TSS, 0xb, TSS_GPA(0), 0x67);
	set_task(vm, 1, SEL_B, BLOB_GPA + 0x100, 0xb0);
	set_task(vm, 2, SEL_C, BLOB_GPA + 0x180, 0);
	set_task16(vm, 3, SEL_D, BLOB_GPA + 0x1c0, 0xd);
	set_tss_desc(vm, SEL_SHORT, 9, TSS(4), 0x66);
	set_gate(vm, 10, 0xe, SEL_CODE32, BLOB_GPA + 0x200);
	set_gate(vm, 13, 5, SEL_C, 0);
	set_gate(vm, 0x30, 5, SEL_B, 0);
	kvm_do(v->fd, KVM_GET_SREGS, &s);
	s.gdt.base = TABLES;
	s.gdt.limit = 0x5f;
	s.idt.base = IDT;
	s.idt.limit = 0x31 * 8 - 1;
	kvm_do(v->fd, KVM_SET_SREGS, &s);

	for (u32 i = 0; i < ARRAY_SIZE(expected); i++) {
		if (i != error_code || !rl_host_is_tcg()) {
			expect_out(v, 0x99, 4, expected[i]);
			continue;
		}
		/* QEMU's task switch pushes 0, unless an exit cut the delivery short and it is injected. */
		vcpu_run(v);
		EXPECT_EQ(KVM_EXIT_IO, v->run->exit_reason);
		if (*(u32 *)run_io_data(v))
			EXPECT_EQ(expected[i], *(u32 *)run_io_data(v));
	}
	expect_exit(v, KVM_EXIT_HLT);

	kvm_do(v->fd, KVM_GET_SREGS, &s);
	EXPECT_EQ(SEL_TSS, s.tr.selector);
	EXPECT_EQ(TSS_GPA(0), s.tr.base);
	EXPECT_EQ(11, s.tr.type);
	EXPECT_EQ(SEL_CODE32, s.cs.selector);
	EXPECT_EQ(SEL_DATA, s.gs.selector);
	EXPECT_EQ(8, s.cr0 & 8);			/* TS */
	EXPECT_EQ(11, tss_type(vm, SEL_TSS));
	EXPECT_EQ(9, tss_type(vm, SEL_B));
	EXPECT_EQ(9, tss_type(vm, SEL_C));
	EXPECT_EQ(1, tss_type(vm, SEL_D));
	EXPECT_EQ(SEL_TSS, *(u16 *)vm_hva(vm, TSS(1)));	/* whom B was nested in */
	vm_free(vm);
}

TEST_HARNESS_MAIN
