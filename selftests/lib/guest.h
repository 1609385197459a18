/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a test's guest code may call. Everything here runs inside the virtual
 * machine, in 64-bit mode, ring 0 unless said otherwise.
 *
 * The guest has a copy of the whole program at the addresses where the program
 * is linked, so a guest function is an ordinary C function of the test file and
 * G(vm, variable) on the host names the guest's copy of a variable.
 */
#ifndef RL_GUEST_H
#define RL_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#ifndef __packed
#define __packed	__attribute__((packed))
#define __aligned(n)	__attribute__((aligned(n)))
#endif

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

/* The port by which a guest calls its test; no device of a PC has it. */
#define UCALL_PORT	0xcc

enum ucall_code {
	UCALL_DONE = 1,		/* the guest is through */
	UCALL_SYNC,		/* it reached stage a, with value b */
	UCALL_ASSERT,		/* a guest assertion failed: line a, values b, c */
	UCALL_TRAP,		/* nobody wanted exception a: rip b, error code c */
};

/* Frame that the entry stubs of x86.c leave for guest_trap(). */
struct guest_regs {
	u64 r15, r14, r13, r12, r11, r10, r9, r8;
	u64 rbp, rdi, rsi, rdx, rcx, rbx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

typedef void (*guest_handler_t)(struct guest_regs *regs);

extern guest_handler_t guest_handlers[256];
extern u64 guest_cr2;		/* CR2 at the last page fault */

void guest_trap(struct guest_regs *regs);

static inline void ucall(u32 code, u64 a, u64 b, u64 c)
{
	asm volatile("outl %%eax, %0" : : "i"(UCALL_PORT), "a"(code), "D"(a), "S"(b), "d"(c)
		     : "memory");
}

#define GUEST_DONE()		ucall(UCALL_DONE, 0, 0, 0)
#define GUEST_SYNC(stage, val)	ucall(UCALL_SYNC, stage, (u64)(val), 0)
#define GUEST_ASSERT(cond)	\
	do { if (!(cond)) ucall(UCALL_ASSERT, __LINE__, 0, 0); } while (0)
#define GUEST_ASSERT_EQ(a, b)	\
	do { \
		u64 __a = (u64)(a), __b = (u64)(b); \
		if (__a != __b) \
			ucall(UCALL_ASSERT, __LINE__, __a, __b); \
	} while (0)

/*
 * One instruction that may fault. The result is 0, or TRAP(vector, error) when
 * it did; execution goes on behind the instruction either way.
 */
#define TRAP(vector, error)	(0x100ull | (vector) | (u64)(error) << 32)
#define GUEST_TRY(insn, ...) \
	({ \
		register u64 __trap asm("r8") = 0; \
		asm volatile("1: " insn "\n2:\n" \
			     ".pushsection guest_fixups, \"a\"\n" \
			     ".quad 1b, 2b\n.popsection" \
			     __VA_ARGS__); \
		__trap; \
	})
/* Outputs of GUEST_TRY start with this. */
#define TRAP_OUT		"+r"(__trap)

static inline u64 guest_rdmsr(u32 msr)
{
	u32 lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return lo | (u64)hi << 32;
}

static inline void guest_wrmsr(u32 msr, u64 val)
{
	asm volatile("wrmsr" : : "c"(msr), "a"((u32)val), "d"((u32)(val >> 32)) : "memory");
}

static inline u64 guest_rdmsr_safe(u32 msr, u64 *val)
{
	u32 lo = 0, hi = 0;
	u64 trap = GUEST_TRY("rdmsr", : TRAP_OUT, "+a"(lo), "+d"(hi) : "c"(msr) : "memory");

	*val = lo | (u64)hi << 32;
	return trap;
}

static inline u64 guest_wrmsr_safe(u32 msr, u64 val)
{
	return GUEST_TRY("wrmsr", : TRAP_OUT : "c"(msr), "a"((u32)val), "d"((u32)(val >> 32))
			 : "memory");
}

static inline void guest_cpuid(u32 leaf, u32 sub, u32 out[4])
{
	asm volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
		     : "a"(leaf), "c"(sub));
}

static inline void outb(u16 port, u8 val)
{
	asm volatile("outb %0, %1" : : "a"(val), "Nd"(port) : "memory");
}

static inline void outw(u16 port, u16 val)
{
	asm volatile("outw %0, %1" : : "a"(val), "Nd"(port) : "memory");
}

static inline void outl(u16 port, u32 val)
{
	asm volatile("outl %0, %1" : : "a"(val), "Nd"(port) : "memory");
}

static inline u8 inb(u16 port)
{
	u8 val;

	asm volatile("inb %1, %0" : "=a"(val) : "Nd"(port) : "memory");
	return val;
}

static inline u16 inw(u16 port)
{
	u16 val;

	asm volatile("inw %1, %0" : "=a"(val) : "Nd"(port) : "memory");
	return val;
}

static inline u32 inl(u16 port)
{
	u32 val;

	asm volatile("inl %1, %0" : "=a"(val) : "Nd"(port) : "memory");
	return val;
}

#define MMIO_ACCESS(type, suffix) \
static inline type guest_read##suffix(u64 addr) \
{ \
	return *(volatile type *)addr; \
} \
static inline void guest_write##suffix(u64 addr, type val) \
{ \
	*(volatile type *)addr = val; \
}
MMIO_ACCESS(u8, b)
MMIO_ACCESS(u16, w)
MMIO_ACCESS(u32, l)
MMIO_ACCESS(u64, q)

static inline void cli(void)
{
	asm volatile("cli" : : : "memory");
}

static inline void sti(void)
{
	asm volatile("sti; nop" : : : "memory");
}

static inline void safe_halt(void)
{
	asm volatile("sti; hlt" : : : "memory");
}

static inline void cpu_relax(void)
{
	asm volatile("pause" : : : "memory");
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;

	asm volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return lo | (u64)hi << 32;
}

#define READ_ONCE(x)		(*(volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile typeof(x) *)&(x) = (v))

/* The hypercall instruction of the one vendor or the other. */
static inline u64 hypercall(bool amd, u64 nr, u64 a0, u64 a1, u64 a2, u64 a3)
{
	if (amd)
		asm volatile("vmmcall" : "+a"(nr) : "b"(a0), "c"(a1), "d"(a2), "S"(a3) : "memory");
	else
		asm volatile("vmcall" : "+a"(nr) : "b"(a0), "c"(a1), "d"(a2), "S"(a3) : "memory");
	return nr;
}

/*
 * Interrupts as counted events: guest_irq_setup() takes vectors 0x20 to 0xff.
 * The handler counts, notes the order, and ends the interrupt in the way that
 * guest_eoi says.
 */
enum eoi { EOI_NONE, EOI_XAPIC, EOI_X2APIC };
extern u32 guest_irqs[128][256];	/* [vCPU][vector] */
extern u8 guest_irq_order[64];		/* vectors in order of arrival, all vCPUs */
extern u32 guest_irq_total;
extern enum eoi guest_eoi;
u64 guest_irq_setup(u64 eoi);		/* and switches this vCPU's APIC on, in that mode */
u64 guest_irq_window(u64 unused);	/* interrupts on for a few instructions */
u64 guest_irq_wait(u64 vector);		/* HLT until this vCPU has seen one more of it */

/* Which vCPU this is, as its stack tells. */
static inline u32 guest_cpu(void)
{
	u64 rsp;

	asm volatile("mov %%rsp, %0" : "=r"(rsp));
	return (rsp - 0x200000) / 0x4000;
}

/* Local APIC, xAPIC and x2APIC by the same register offsets. */
#define APIC_GPA		0xfee00000ull
#define APIC_ID			0x20
#define APIC_LVR		0x30
#define APIC_TPR		0x80
#define APIC_PPR		0xa0
#define APIC_EOI		0xb0
#define APIC_LDR		0xd0
#define APIC_DFR		0xe0
#define APIC_SPIV		0xf0
#define APIC_ISR		0x100
#define APIC_TMR		0x180
#define APIC_IRR		0x200
#define APIC_ESR		0x280
#define APIC_ICR		0x300
#define APIC_ICR2		0x310
#define APIC_LVTT		0x320
#define APIC_LVTPC		0x340
#define APIC_LVT0		0x350
#define APIC_LVT1		0x360
#define APIC_LVTERR		0x370
#define APIC_TMICT		0x380
#define APIC_TMCCT		0x390
#define APIC_TDCR		0x3e0
#define APIC_SELF_IPI		0x3f0

#define MSR_TSC			0x10
#define MSR_APIC_BASE		0x1b
#define MSR_TSC_DEADLINE	0x6e0
#define MSR_X2APIC(reg)		(0x800 + ((reg) >> 4))

static inline u32 xapic_read(u32 reg)
{
	return guest_readl(APIC_GPA + reg);
}

static inline void xapic_write(u32 reg, u32 val)
{
	guest_writel(APIC_GPA + reg, val);
}

static inline void xapic_enable(void)
{
	xapic_write(APIC_SPIV, 0x1ff);
}

static inline void x2apic_enable(void)
{
	guest_wrmsr(MSR_APIC_BASE, guest_rdmsr(MSR_APIC_BASE) | 0xc00);
	guest_wrmsr(MSR_X2APIC(APIC_SPIV), 0x1ff);
}

#endif
