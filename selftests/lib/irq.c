// SPDX-License-Identifier: GPL-2.0
/* The guest's interrupt handler that counts, and ways to let it run. */
#include "lib.h"

u32 guest_irqs[128][256];
u8 guest_irq_order[64];
u32 guest_irq_total;
enum eoi guest_eoi;

static void count_irq(struct guest_regs *regs)
{
	u32 n = __atomic_fetch_add(&guest_irq_total, 1, __ATOMIC_SEQ_CST);

	guest_irq_order[n % sizeof(guest_irq_order)] = regs->vector;
	WRITE_ONCE(guest_irqs[guest_cpu()][regs->vector],
		   guest_irqs[guest_cpu()][regs->vector] + 1);
	if (guest_eoi == EOI_XAPIC)
		xapic_write(APIC_EOI, 0);
	else if (guest_eoi == EOI_X2APIC)
		guest_wrmsr(MSR_X2APIC(APIC_EOI), 0);
}

u64 guest_irq_setup(u64 eoi)
{
	for (int i = 0x20; i < 0x100; i++)
		guest_handlers[i] = count_irq;
	guest_eoi = eoi;
	if (eoi == EOI_X2APIC)
		x2apic_enable();
	else
		xapic_enable();
	return 0;
}

u64 guest_irq_window(u64 unused)
{
	sti();
	/* An emulator may miss a window as wide as one instruction when it is busy with its host. */
	asm volatile("nop; nop; nop; nop; nop; nop; nop; nop");
	cli();
	return guest_irq_total;
}

u64 guest_irq_wait(u64 vector)
{
	volatile u32 *count = &guest_irqs[guest_cpu()][vector];
	u32 before = *count;

	while (*count == before) {
		safe_halt();
		cli();
	}
	return *count;
}
