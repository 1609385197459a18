// SPDX-License-Identifier: GPL-2.0
/*
 * The local APIC from inside the guest, in xAPIC and x2APIC mode: timers, IPIs
 * of every kind, INIT and SIPI, priorities, end of interrupt, NMI.
 */
#include "lib.h"
#include "harness.h"

#define ICR_NMI		0x400
#define ICR_INIT	0x500
#define ICR_SIPI	0x600
#define ICR_LOWEST	0x100
#define ICR_LOGICAL	0x800
#define ICR_ASSERT	0x4000
#define ICR_LEVEL	0x8000
#define ICR_SELF	0x40000
#define ICR_ALL		0x80000
#define ICR_OTHERS	0xc0000

#define LVT_MASKED	0x10000
#define LVT_PERIODIC	0x20000
#define LVT_DEADLINE	0x40000

/* Guest side: one way to a register, whichever mode guest_eoi stands for. */
static u32 apic_read(u32 reg)
{
	return guest_eoi == EOI_X2APIC ? guest_rdmsr(MSR_X2APIC(reg)) : xapic_read(reg);
}

static void apic_write(u32 reg, u32 val)
{
	if (guest_eoi == EOI_X2APIC)
		guest_wrmsr(MSR_X2APIC(reg), val);
	else
		xapic_write(reg, val);
}

static u64 guest_apic_read(u64 reg)
{
	return apic_read(reg);
}

static u64 guest_apic_write(u64 reg_val)
{
	apic_write(reg_val >> 32, reg_val);
	return 0;
}
#define apic_set(v, reg, val) puppet_call(v, guest_apic_write, (u64)(reg) << 32 | (val))
#define apic_get(v, reg) puppet_call(v, guest_apic_read, reg)

/* dest << 32 | command */
static u64 guest_ipi(u64 icr)
{
	if (guest_eoi == EOI_X2APIC) {
		guest_wrmsr(MSR_X2APIC(APIC_ICR), icr);
	} else {
		xapic_write(APIC_ICR2, icr >> 32 << 24);
		xapic_write(APIC_ICR, icr);
	}
	return 0;
}
#define ipi(v, dest, cmd) puppet_call(v, guest_ipi, (u64)(dest) << 32 | (cmd))

FIXTURE(lapic) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_VARIANT(lapic) {
	enum eoi mode;
};

FIXTURE_VARIANT_ADD(lapic, xapic) {
	.mode = EOI_XAPIC,
};

FIXTURE_VARIANT_ADD(lapic, x2apic) {
	.mode = EOI_X2APIC,
};

FIXTURE_SETUP(lapic)
{
	self->vm = vm_puppet(1, VM_IRQCHIP);
	self->v = self->vm->vcpus[0];
	puppet_call(self->v, guest_irq_setup, variant->mode);
}

FIXTURE_TEARDOWN(lapic)
{
	vm_free(self->vm);
}

static u32 seen(struct vcpu *v, u32 vector)
{
	puppet_call(v, guest_irq_window, 0);
	return G(v->vm, guest_irqs[v->id][vector]);
}

TEST_F(lapic, registers)
{
	struct vcpu *v = self->v;
	u32 version = apic_get(v, APIC_LVR);

	EXPECT_EQ(0, apic_get(v, APIC_ID));
	EXPECT_GE(version & 0xff, 0x10);
	EXPECT_GE(version >> 16 & 0xff, 3);
	EXPECT_EQ(0x1ff, apic_get(v, APIC_SPIV));
	apic_set(v, APIC_TPR, 0x30);
	EXPECT_EQ(0x30, apic_get(v, APIC_TPR));
	EXPECT_EQ(0x30, apic_get(v, APIC_PPR));
	apic_set(v, APIC_TPR, 0);
	apic_set(v, APIC_LVT0, LVT_MASKED | 0x44);
	EXPECT_EQ(LVT_MASKED | 0x44, apic_get(v, APIC_LVT0));
	apic_set(v, APIC_TDCR, 0xb);
	EXPECT_EQ(0xb, apic_get(v, APIC_TDCR));
	if (variant->mode == EOI_XAPIC) {
		apic_set(v, APIC_LDR, 0x05000000);
		EXPECT_EQ(0x05000000, apic_get(v, APIC_LDR));
		EXPECT_EQ(0xffffffff, apic_get(v, APIC_DFR));
		apic_set(v, APIC_DFR, 0x0fffffff);
		EXPECT_EQ(0x0fffffff, apic_get(v, APIC_DFR));
	} else {
		EXPECT_EQ(1, apic_get(v, APIC_LDR));
		EXPECT_EQ(0xfee00d00, puppet_rdmsr(v, MSR_APIC_BASE));
	}
}

TEST_F(lapic, self_ipi)
{
	struct vcpu *v = self->v;

	ipi(v, 0, ICR_SELF | 0x41);
	EXPECT_EQ(1, seen(v, 0x41));
	ipi(v, 0, 0x42);			/* physical, to itself */
	EXPECT_EQ(1, seen(v, 0x42));
	ipi(v, 0, ICR_ALL | 0x43);
	EXPECT_EQ(1, seen(v, 0x43));
	ipi(v, 0, ICR_OTHERS | 0x44);		/* there are none */
	EXPECT_EQ(0, seen(v, 0x44));
	ipi(v, 9, 0x45);			/* nobody there */
	EXPECT_EQ(0, seen(v, 0x45));
	if (variant->mode == EOI_X2APIC) {
		apic_set(v, APIC_SELF_IPI, 0x46);
		EXPECT_EQ(1, seen(v, 0x46));
	}
}

TEST_F(lapic, order_of_priority)
{
	static const u8 vectors[] = { 0x31, 0xc1, 0x52, 0x91, 0x53, 0xf0 };
	static const u8 order[] = { 0xf0, 0xc1, 0x91, 0x53, 0x52, 0x31 };
	struct vcpu *v = self->v;

	for (u32 i = 0; i < sizeof(vectors); i++)
		ipi(v, 0, ICR_SELF | vectors[i]);
	ipi(v, 0, ICR_SELF | 0x52);		/* pending already: merges */
	seen(v, 0);
	EXPECT_EQ(sizeof(order), G(self->vm, guest_irq_total));
	for (u32 i = 0; i < sizeof(order); i++)
		EXPECT_EQ(order[i], G(self->vm, guest_irq_order[i]));
}

static u64 guest_set_cr8(u64 val)
{
	asm volatile("mov %0, %%cr8" : : "r"(val));
	return 0;
}

static u64 guest_set_eoi(u64 eoi)
{
	guest_eoi = eoi;
	return 0;
}

static u64 guest_bit(u64 reg_vector)
{
	u32 vector = reg_vector & 0xff;

	return apic_read((reg_vector >> 8) + vector / 32 * 0x10) >> vector % 32 & 1;
}
#define APIC_BIT(v, reg, vector) puppet_call(v, guest_bit, (reg) << 8 | (vector))

TEST_F(lapic, task_priority)
{
	struct vcpu *v = self->v;
	struct kvm_sregs s;

	apic_set(v, APIC_TPR, 0x50);
	ipi(v, 0, ICR_SELF | 0x5f);
	EXPECT_EQ(0, seen(v, 0x5f));
	EXPECT_EQ(1, APIC_BIT(v, APIC_IRR, 0x5f));
	ipi(v, 0, ICR_SELF | 0x60);
	EXPECT_EQ(1, seen(v, 0x60));
	kvm_do(v->fd, KVM_GET_SREGS, &s);
	EXPECT_EQ(5, s.cr8);
	/* CR8 is the same register's upper half */
	puppet_call(v, guest_set_cr8, 0xf);
	EXPECT_EQ(0xf0, apic_get(v, APIC_TPR));
	ipi(v, 0, ICR_SELF | 0xef);
	EXPECT_EQ(0, seen(v, 0xef));
	puppet_call(v, guest_set_cr8, 4);
	EXPECT_EQ(1, seen(v, 0xef));
	EXPECT_EQ(1, seen(v, 0x5f));
	EXPECT_EQ(0, APIC_BIT(v, APIC_IRR, 0x5f));
}

static u32 nested_order[4], nested_nr;

static void guest_nesting(struct guest_regs *regs)
{
	nested_order[nested_nr++ % 4] = regs->vector;
	if (regs->vector == 0x55) {
		guest_ipi(ICR_SELF | 0x54);	/* same class: must wait */
		guest_ipi(ICR_SELF | 0x66);	/* higher: nests */
		sti();
		cli();
		nested_order[nested_nr++ % 4] = 1;
	}
	apic_write(APIC_EOI, 0);
}

static u64 guest_nesting_setup(u64 arg)
{
	guest_handlers[0x54] = guest_handlers[0x55] = guest_handlers[0x66] = guest_nesting;
	return 0;
}

TEST_F(lapic, nesting)
{
	struct vcpu *v = self->v;

	puppet_call(v, guest_nesting_setup, 0);
	ipi(v, 0, ICR_SELF | 0x55);
	seen(v, 0);
	EXPECT_EQ(0x55, G(self->vm, nested_order[0]));
	EXPECT_EQ(0x66, G(self->vm, nested_order[1]));
	EXPECT_EQ(1, G(self->vm, nested_order[2]));
	EXPECT_EQ(0x54, G(self->vm, nested_order[3]));
	EXPECT_EQ(4, G(self->vm, nested_nr));
}

/* Without an EOI, its priority class and all below stay closed. */
TEST_F(lapic, in_service)
{
	struct vcpu *v = self->v;

	puppet_call(v, guest_set_eoi, EOI_NONE);
	if (variant->mode == EOI_X2APIC) {
		puppet_wrmsr(v, MSR_X2APIC(APIC_SELF_IPI), 0x61);
		EXPECT_EQ(1, seen(v, 0x61));
		puppet_wrmsr(v, MSR_X2APIC(APIC_SELF_IPI), 0x62);
		puppet_wrmsr(v, MSR_X2APIC(APIC_SELF_IPI), 0x71);
	} else {
		ipi(v, 0, ICR_SELF | 0x61);
		EXPECT_EQ(1, seen(v, 0x61));
		ipi(v, 0, ICR_SELF | 0x62);
		ipi(v, 0, ICR_SELF | 0x71);
	}
	EXPECT_EQ(0, seen(v, 0x62));
	EXPECT_EQ(1, seen(v, 0x71));
	puppet_call(v, guest_set_eoi, variant->mode);
	EXPECT_EQ(1, APIC_BIT(v, APIC_ISR, 0x61));
	EXPECT_EQ(1, APIC_BIT(v, APIC_ISR, 0x71));
	EXPECT_EQ(0x70, apic_get(v, APIC_PPR));
	apic_set(v, APIC_EOI, 0);
	EXPECT_EQ(0x60, apic_get(v, APIC_PPR));
	EXPECT_EQ(0, seen(v, 0x62));
	apic_set(v, APIC_EOI, 0);
	EXPECT_EQ(1, seen(v, 0x62));
	EXPECT_EQ(0, apic_get(v, APIC_PPR));
	EXPECT_EQ(0, APIC_BIT(v, APIC_ISR, 0x61));
}

TEST_F(lapic, timer_one_shot)
{
	struct vcpu *v = self->v;

	apic_set(v, APIC_TDCR, 0xb);
	apic_set(v, APIC_LVTT, 0x70);
	EXPECT_EQ(0, apic_get(v, APIC_TMCCT));
	for (u32 i = 1; i <= 5; i++) {
		apic_set(v, APIC_TMICT, 100000);
		EXPECT_EQ(i, puppet_call(v, guest_irq_wait, 0x70));
		EXPECT_EQ(0, apic_get(v, APIC_TMCCT));
		EXPECT_EQ(i, seen(v, 0x70));
	}
	/* far away: counts down, does not fire, can be stopped */
	apic_set(v, APIC_TMICT, 0xffffffff);
	EXPECT_NE(0, apic_get(v, APIC_TMCCT));
	EXPECT_GE(apic_get(v, APIC_TMCCT), apic_get(v, APIC_TMCCT));
	apic_set(v, APIC_TMICT, 0);
	EXPECT_EQ(0, apic_get(v, APIC_TMCCT));
	EXPECT_EQ(5, seen(v, 0x70));
	/* masked: runs out unheard */
	apic_set(v, APIC_LVTT, LVT_MASKED | 0x70);
	apic_set(v, APIC_TMICT, 1000);
	while (apic_get(v, APIC_TMCCT))
		;
	EXPECT_EQ(5, seen(v, 0x70));
	/* fires while the vCPU is in user space */
	apic_set(v, APIC_LVTT, 0x70);
	apic_set(v, APIC_TMICT, 1000);
	usleep(20000);
	while (seen(v, 0x70) < 6)
		;
}

TEST_F(lapic, timer_periodic)
{
	struct vcpu *v = self->v;
	u32 n;

	apic_set(v, APIC_TDCR, 0xb);
	apic_set(v, APIC_LVTT, LVT_PERIODIC | 0x71);
	apic_set(v, APIC_TMICT, 2000000);
	EXPECT_EQ(2000000, apic_get(v, APIC_TMICT));
	for (u32 i = 0; i < 5; i++)
		n = puppet_call(v, guest_irq_wait, 0x71);
	EXPECT_GE(n, 5);
	apic_set(v, APIC_TMICT, 0);
	n = seen(v, 0x71);
	usleep(10000);
	EXPECT_EQ(n, seen(v, 0x71));
}

static u64 guest_deadline_in(u64 ticks)
{
	guest_wrmsr(MSR_TSC_DEADLINE, rdtsc() + ticks);
	return guest_rdmsr(MSR_TSC_DEADLINE);
}

TEST_F(lapic, timer_tsc_deadline)
{
	struct kvm_lapic_state state;
	struct vcpu *v = self->v;

	if (!rl_cap(KVM_CAP_TSC_DEADLINE_TIMER))
		SKIP(return, "no KVM_CAP_TSC_DEADLINE_TIMER");
	/* in another mode the MSR is without effect */
	apic_set(v, APIC_LVTT, 0x72);
	EXPECT_EQ(0, puppet_call(v, guest_deadline_in, 1000));
	EXPECT_EQ(0, seen(v, 0x72));
	apic_set(v, APIC_LVTT, LVT_DEADLINE | 0x72);
	for (u32 i = 1; i <= 5; i++) {
		puppet_call(v, guest_deadline_in, 100000);
		if (seen(v, 0x72) < i)
			puppet_call(v, guest_irq_wait, 0x72);
		EXPECT_EQ(i, seen(v, 0x72));
		EXPECT_EQ(0, puppet_rdmsr(v, MSR_TSC_DEADLINE));
	}
	puppet_wrmsr(v, MSR_TSC_DEADLINE, 1);		/* long ago: at once */
	while (seen(v, 0x72) < 6)
		;
	/* far away: reads back; another value replaces it; zero stops it */
	EXPECT_NE(0, puppet_call(v, guest_deadline_in, 1ull << 50));
	EXPECT_NE(0, vcpu_get_msr(v, MSR_TSC_DEADLINE));
	/* user space that sets the registers as they are leaves it armed */
	kvm_do(v->fd, KVM_GET_LAPIC, &state);
	kvm_do(v->fd, KVM_SET_LAPIC, &state);
	EXPECT_NE(0, vcpu_get_msr(v, MSR_TSC_DEADLINE));
	puppet_wrmsr(v, MSR_TSC_DEADLINE, 0);
	EXPECT_EQ(0, puppet_rdmsr(v, MSR_TSC_DEADLINE));
	EXPECT_EQ(6, seen(v, 0x72));
	/* the count registers rest in this mode */
	apic_set(v, APIC_TMICT, 1000);
	EXPECT_EQ(0, apic_get(v, APIC_TMCCT));
}

TEST_F(lapic, software_disable)
{
	struct vcpu *v = self->v;

	apic_set(v, APIC_LVTT, 0x70);
	apic_set(v, APIC_SPIV, 0xff);
	EXPECT_EQ(LVT_MASKED | 0x70, apic_get(v, APIC_LVTT));
	ipi(v, 0, ICR_SELF | 0x41);
	EXPECT_EQ(0, seen(v, 0x41));
	apic_set(v, APIC_LVTT, 0x70);			/* the mask cannot go */
	EXPECT_EQ(LVT_MASKED | 0x70, apic_get(v, APIC_LVTT));
	apic_set(v, APIC_SPIV, 0x1ff);
	EXPECT_EQ(0, seen(v, 0x41));
	ipi(v, 0, ICR_SELF | 0x41);
	EXPECT_EQ(1, seen(v, 0x41));
}

#define MSR_PV_EOI	0x4b564d04

enum { TAKE, IGNORE, EXIT_FIRST };
static u32 pv_eoi_way, pv_eoi_offers, pv_eoi_count;

static void guest_pv_eoi(struct guest_regs *regs)
{
	u8 offered;

	pv_eoi_count++;
	if (pv_eoi_way == EXIT_FIRST)
		guest_rdmsr(MSR_APIC_BASE);
	if (pv_eoi_way == IGNORE) {
		pv_eoi_offers += *(volatile u8 *)FREE_GPA & 1;
		apic_write(APIC_EOI, 0);
		return;
	}
	asm volatile("btrl $0, %0\n\tsetc %1" : "+m"(*(u32 *)FREE_GPA), "=q"(offered) : : "cc");
	pv_eoi_offers += offered;
	if (!offered)
		apic_write(APIC_EOI, 0);
}

static u64 guest_pv_eoi_setup(u64 way)
{
	guest_handlers[0x61] = guest_handlers[0x71] = guest_pv_eoi;
	pv_eoi_way = way;
	pv_eoi_offers = pv_eoi_count = 0;
	return 0;
}

/* With virtual-interrupt delivery the CPU takes EOIs itself and there is nothing to save. */
static bool may_have_apicv(void)
{
	static const char *const files[] = { "ringlet/parameters/apicv",
					     "kvm_intel/parameters/enable_apicv" };
	char name[64];
	bool may = false;

	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "/sys/module/%s", files[i]);
		FILE *f = fopen(name, "r");

		may |= f && getc(f) == 'Y';
		if (f)
			fclose(f);
	}
	return may && !rl_host_is_amd();
}

/*
 * Its #GP is what Bochs reports again when an exit cuts short a virtual interrupt, until
 * the next event that is injected: that of nmi.
 */
TEST_F(lapic, pv_eoi)
{
	struct vcpu *v = self->v;
	u8 *bit = vm_hva(self->vm, FREE_GPA);

	puppet_wrmsr(v, MSR_PV_EOI, FREE_GPA | 3);		/* reserved */
	EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap);
	EXPECT_EQ(0, vcpu_get_msr(v, MSR_PV_EOI));
	puppet_wrmsr(v, MSR_PV_EOI, HOLE_GPA | 1);
	EXPECT_EQ(0, vcpu_get_msr(v, MSR_PV_EOI));
	puppet_wrmsr(v, MSR_PV_EOI, FREE_GPA | 1);
	EXPECT_EQ(FREE_GPA | 1, vcpu_get_msr(v, MSR_PV_EOI));

	for (u32 way = TAKE; way <= EXIT_FIRST; way++) {
		puppet_call(v, guest_pv_eoi_setup, way);
		for (u32 n = 1; n <= 10; n++) {
			ipi(v, 0, ICR_SELF | 0x61);
			seen(v, 0);
			EXPECT_EQ(n, G(self->vm, pv_eoi_count));
			EXPECT_EQ(0, APIC_BIT(v, APIC_ISR, 0x61));
			EXPECT_EQ(0, *bit);
		}
		/* Any exit takes it back, also one that the host has its own reason for. */
		if (way == EXIT_FIRST) {
			EXPECT_EQ(0, G(self->vm, pv_eoi_offers));
		} else if (!may_have_apicv()) {
			EXPECT_LT(0, G(self->vm, pv_eoi_offers));
		}
	}

	/* While another one waits, the end of the first has to be known at once. */
	puppet_call(v, guest_pv_eoi_setup, TAKE);
	ipi(v, 0, ICR_SELF | 0x61);
	ipi(v, 0, ICR_SELF | 0x71);
	seen(v, 0);
	EXPECT_EQ(2, G(self->vm, pv_eoi_count));
	EXPECT_GE(1, G(self->vm, pv_eoi_offers));
	EXPECT_EQ(0, apic_get(v, APIC_PPR));

	puppet_wrmsr(v, MSR_PV_EOI, 0);
	puppet_call(v, guest_pv_eoi_setup, TAKE);
	ipi(v, 0, ICR_SELF | 0x61);
	seen(v, 0);
	EXPECT_EQ(1, G(self->vm, pv_eoi_count));
	EXPECT_EQ(0, G(self->vm, pv_eoi_offers));
}

static u64 nmis, nmi_depth, nmi_nested;

static void guest_nmi(struct guest_regs *regs)
{
	nmis++;
	if (nmi_depth++)
		nmi_nested = 1;
	if (nmis == 10) {		/* two more from inside one: they merge, and wait */
		guest_ipi(ICR_SELF | ICR_NMI);
		guest_ipi(ICR_SELF | ICR_NMI);
	}
	nmi_depth--;
}

static u64 guest_nmi_setup(u64 arg)
{
	guest_handlers[NMI] = guest_nmi;
	return 0;
}

static u64 guest_nmis(u64 arg)
{
	return nmis;
}

TEST_F(lapic, nmi)
{
	struct kvm_vcpu_events e;
	struct vcpu *v = self->v;

	puppet_call(v, guest_nmi_setup, 0);
	EXPECT_EQ(0, kvm_try(v->fd, KVM_NMI, 0));
	EXPECT_EQ(1, puppet_call(v, guest_nmis, 0));	/* with interrupts off */
	/* ICR's shorthands carry NMIs to the others only; itself by address */
	ipi(v, 0, ICR_NMI);
	EXPECT_EQ(2, puppet_call(v, guest_nmis, 0));
	/* while they are masked one is remembered, whoever looks meanwhile */
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	e.nmi.masked = 1;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &e);
	EXPECT_EQ(0, kvm_try(v->fd, KVM_NMI, 0));
	EXPECT_EQ(0, kvm_try(v->fd, KVM_NMI, 0));
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	EXPECT_EQ(1, e.nmi.pending);
	EXPECT_EQ(2, puppet_call(v, guest_nmis, 0));
	e.flags = 0;
	e.nmi.masked = 0;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &e);
	EXPECT_EQ(3, puppet_call(v, guest_nmis, 0));
	G(self->vm, nmis) = 9;
	EXPECT_EQ(0, kvm_try(v->fd, KVM_NMI, 0));
	EXPECT_LE(11, puppet_call(v, guest_nmis, 0));
	EXPECT_EQ(0, G(self->vm, nmi_nested));
}

TEST_F(lapic, state_from_user_space)
{
	struct kvm_lapic_state a, b;
	struct vcpu *v = self->v;
	u32 *irr = (u32 *)(a.regs + APIC_IRR + 0x70 / 32 * 0x10);

	apic_set(v, APIC_LVTT, LVT_PERIODIC | 0x70);
	kvm_do(v->fd, KVM_GET_LAPIC, &a);
	EXPECT_EQ(LVT_PERIODIC | 0x70, *(u32 *)(a.regs + APIC_LVTT));
	EXPECT_EQ(0x1ff, *(u32 *)(a.regs + APIC_SPIV));
	kvm_do(v->fd, KVM_SET_LAPIC, &a);
	kvm_do(v->fd, KVM_GET_LAPIC, &b);
	EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));
	/* what is pending in there is delivered */
	*irr |= 1 << 0x71 % 32;
	*(u32 *)(a.regs + APIC_TPR) = 0x20;
	kvm_do(v->fd, KVM_SET_LAPIC, &a);
	EXPECT_EQ(1, seen(v, 0x71));
	EXPECT_EQ(0x20, apic_get(v, APIC_TPR));
	/* and a timer that has its count runs on */
	*irr = 0;
	*(u32 *)(a.regs + APIC_LVTT) = 0x70;
	*(u32 *)(a.regs + APIC_TMICT) = 1000;
	*(u32 *)(a.regs + APIC_TMCCT) = 900;
	kvm_do(v->fd, KVM_SET_LAPIC, &a);
	while (!seen(v, 0x70))
		;
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_LAPIC, 8));
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_GET_LAPIC, 8));
}

TEST(x2apic_faults)
{
	static const u32 no_read[] = { APIC_EOI, APIC_SELF_IPI, APIC_DFR, 0x40, APIC_ICR2 };
	static const u32 no_write[] = { APIC_ID, APIC_LVR, APIC_LDR, APIC_PPR, APIC_ISR, APIC_IRR,
					APIC_TMCCT, APIC_DFR, APIC_ICR2, 0x40 };
	struct vm *vm = vm_puppet(1, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];

	/* neither straight from off to x2APIC ... */
	puppet_wrmsr(v, MSR_APIC_BASE, 0xfee00100);
	EXPECT_EQ(0, puppet(v)->trap);
	puppet_wrmsr(v, MSR_APIC_BASE, 0xfee00d00);
	EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap);
	puppet_wrmsr(v, MSR_APIC_BASE, 0xfee00900);
	puppet_call(v, guest_irq_setup, EOI_X2APIC);
	/* ... nor back from there to xAPIC */
	puppet_wrmsr(v, MSR_APIC_BASE, 0xfee00900);
	EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap);
	for (u32 i = 0; i < ARRAY_SIZE(no_read); i++) {
		puppet_rdmsr(v, MSR_X2APIC(no_read[i]));
		EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap) TH_LOG("read %#x", no_read[i]);
	}
	for (u32 i = 0; i < ARRAY_SIZE(no_write); i++) {
		puppet_wrmsr(v, MSR_X2APIC(no_write[i]), 0);
		EXPECT_EQ(TRAP(GP, 0), puppet(v)->trap) TH_LOG("write %#x", no_write[i]);
	}
	puppet_wrmsr(v, MSR_APIC_BASE, 0xfee00100);		/* off is always open */
	EXPECT_EQ(0, puppet(v)->trap);
}

/* Several vCPUs */

static u32 receivers_stop;
static enum eoi receivers_mode;

static void guest_receiver(u64 id)
{
	if (!id)
		guest_puppet(id);
	if (receivers_mode == EOI_X2APIC)
		x2apic_enable();
	else
		xapic_enable();
	GUEST_SYNC(1, 0);
	while (!READ_ONCE(receivers_stop)) {
		safe_halt();
		cli();
	}
	GUEST_DONE();
}

#define NR	4

static struct vm *receivers(enum eoi mode)
{
	struct vm *vm = vm_long(NR, guest_receiver, VM_IRQCHIP);

	G(vm, receivers_mode) = mode;
	expect_sync(vm->vcpus[0], PUPPET_STAGE);
	puppet_call(vm->vcpus[0], guest_irq_setup, mode);
	for (int i = 1; i < NR; i++) {
		vcpu_start(vm->vcpus[i]);
		vcpu_wait_stage(vm->vcpus[i], 1);
	}
	return vm;
}

static void stop_receivers(struct vm *vm)
{
	G(vm, receivers_stop) = 1;
	ipi(vm->vcpus[0], 0, ICR_OTHERS | 0xfe);
	for (int i = 1; i < NR; i++)
		vcpu_join(vm->vcpus[i]);
	vm_free(vm);
}

/* Which vCPUs get the vector, as a bit mask; waits for as many as are wanted. */
static u32 got(struct vm *vm, u32 vector, u32 wanted)
{
	u32 mask;

	do {
		mask = seen(vm->vcpus[0], vector) ? 1 : 0;
		for (int i = 1; i < NR; i++)
			if (G(vm, guest_irqs[i][vector]))
				mask |= 1 << i;
	} while (__builtin_popcount(mask) < wanted);
	return mask;
}

TEST(ipi_xapic)
{
	struct vm *vm = receivers(EOI_XAPIC);
	struct vcpu *v = vm->vcpus[0];

	ipi(v, 2, 0x41);
	EXPECT_EQ(4, got(vm, 0x41, 1));
	ipi(v, 0, ICR_OTHERS | 0x42);
	EXPECT_EQ(0xe, got(vm, 0x42, 3));
	ipi(v, 0, ICR_ALL | 0x43);
	EXPECT_EQ(0xf, got(vm, 0x43, 4));
	ipi(v, 0xff, 0x44);			/* physical broadcast */
	EXPECT_EQ(0xf, got(vm, 0x44, 4));
	ipi(v, 0x0f, ICR_LOGICAL | 0x45);	/* nobody has a logical ID */
	ipi(v, 3, 0x46);
	EXPECT_EQ(8, got(vm, 0x46, 1));
	EXPECT_EQ(0, got(vm, 0x45, 0));
	stop_receivers(vm);
}

TEST(ipi_x2apic)
{
	struct vm *vm = receivers(EOI_X2APIC);
	struct vcpu *v = vm->vcpus[0];

	ipi(v, 2, 0x41);
	EXPECT_EQ(4, got(vm, 0x41, 1));
	ipi(v, 0, ICR_OTHERS | 0x42);
	EXPECT_EQ(0xe, got(vm, 0x42, 3));
	ipi(v, 0, ICR_ALL | 0x43);
	EXPECT_EQ(0xf, got(vm, 0x43, 4));
	ipi(v, 0xffffffff, 0x44);
	EXPECT_EQ(0xf, got(vm, 0x44, 4));
	ipi(v, 0xa, ICR_LOGICAL | 0x45);	/* cluster 0, members 1 and 3 */
	EXPECT_EQ(0xa, got(vm, 0x45, 2));
	ipi(v, 0x1000f, ICR_LOGICAL | 0x46);	/* cluster 1: empty */
	ipi(v, 0xc, ICR_LOGICAL | ICR_LOWEST | 0x47);
	EXPECT_EQ(1, __builtin_popcount(got(vm, 0x47, 1) & 0xc));
	EXPECT_EQ(0, got(vm, 0x46, 0));
	stop_receivers(vm);
}

static struct { u64 low, high, min, icr; } pv_ipi;

static u64 guest_pv_ipi(u64 amd)
{
	u64 ret = 10;		/* KVM_HC_SEND_IPI */

	if (amd)
		asm volatile("vmmcall" : "+a"(ret) : "b"(pv_ipi.low), "c"(pv_ipi.high),
			     "d"(pv_ipi.min), "S"(pv_ipi.icr) : "memory");
	else
		asm volatile("vmcall" : "+a"(ret) : "b"(pv_ipi.low), "c"(pv_ipi.high),
			     "d"(pv_ipi.min), "S"(pv_ipi.icr) : "memory");
	return ret;
}

static u64 send_pv_ipi(struct vm *vm, u64 low, u64 high, u64 min, u64 icr)
{
	G(vm, pv_ipi.low) = low;
	G(vm, pv_ipi.high) = high;
	G(vm, pv_ipi.min) = min;
	G(vm, pv_ipi.icr) = icr;
	return puppet_call(vm->vcpus[0], guest_pv_ipi, rl_host_is_amd());
}

/* Everybody may ask for it, told by CPUID or not. */
TEST(ipi_hypercall)
{
	struct vm *vm = receivers(EOI_X2APIC);

	EXPECT_EQ(2, send_pv_ipi(vm, 0x5, 0, 0, 0x41));
	EXPECT_EQ(0x5, got(vm, 0x41, 2));
	EXPECT_EQ(2, send_pv_ipi(vm, 0x86, 0, 1, 0x42));	/* from id 1 on */
	EXPECT_EQ(0xc, got(vm, 0x42, 2));
	EXPECT_EQ(0, send_pv_ipi(vm, 0, ~0ull, 0, 0x43));	/* from 64 on */
	EXPECT_EQ(0, send_pv_ipi(vm, ~0u, 0, ~0u, 0x43));
	EXPECT_EQ(0, send_pv_ipi(vm, ~0u, 0, 1ull << 31, 0x43));
	EXPECT_EQ(-22ull, send_pv_ipi(vm, 1, 0, 0, ICR_ALL | 0x43));
	EXPECT_EQ(-22ull, send_pv_ipi(vm, 1, 0, 0, ICR_LOGICAL | 0x43));
	EXPECT_EQ(1, send_pv_ipi(vm, 8, 0, 0, 0x44));
	EXPECT_EQ(8, got(vm, 0x44, 1));
	EXPECT_EQ(0, got(vm, 0x43, 0));
	stop_receivers(vm);
}

/* Logical destinations, each vCPU's LDR set through its APIC state before it starts. */
static struct vm *logical_receivers(u32 dfr, const u8 ldr[NR])
{
	struct vm *vm = vm_long(NR, guest_receiver, VM_IRQCHIP);

	expect_sync(vm->vcpus[0], PUPPET_STAGE);
	puppet_call(vm->vcpus[0], guest_irq_setup, EOI_XAPIC);
	for (int i = 0; i < NR; i++) {
		struct kvm_lapic_state s;

		if (i)
			expect_sync(vm->vcpus[i], 1);
		kvm_do(vm->vcpus[i]->fd, KVM_GET_LAPIC, &s);
		*(u32 *)(s.regs + APIC_LDR) = ldr[i] << 24;
		*(u32 *)(s.regs + APIC_DFR) = dfr;
		kvm_do(vm->vcpus[i]->fd, KVM_SET_LAPIC, &s);
		if (i)
			vcpu_start(vm->vcpus[i]);
	}
	return vm;
}

TEST(ipi_logical_flat)
{
	static const u8 ldr[NR] = { 1, 2, 4, 8 };
	struct vm *vm = logical_receivers(0xffffffff, ldr);
	struct vcpu *v = vm->vcpus[0];

	ipi(v, 0x6, ICR_LOGICAL | 0x41);
	EXPECT_EQ(6, got(vm, 0x41, 2));
	ipi(v, 0xff, ICR_LOGICAL | 0x42);
	EXPECT_EQ(0xf, got(vm, 0x42, 4));
	ipi(v, 0x30, ICR_LOGICAL | 0x43);
	for (int i = 0; i < 5; i++) {
		u32 vector = 0x50 + i;

		ipi(v, 0xe, ICR_LOGICAL | ICR_LOWEST | vector);
		EXPECT_EQ(1, __builtin_popcount(got(vm, vector, 1) & 0xe));
	}
	EXPECT_EQ(0, got(vm, 0x43, 0));
	stop_receivers(vm);
}

TEST(ipi_logical_cluster)
{
	static const u8 ldr[NR] = { 0x11, 0x12, 0x21, 0x22 };
	struct vm *vm = logical_receivers(0x0fffffff, ldr);
	struct vcpu *v = vm->vcpus[0];

	ipi(v, 0x13, ICR_LOGICAL | 0x41);
	EXPECT_EQ(3, got(vm, 0x41, 2));
	ipi(v, 0x22, ICR_LOGICAL | 0x42);
	EXPECT_EQ(8, got(vm, 0x42, 1));
	ipi(v, 0x3f, ICR_LOGICAL | 0x43);
	ipi(v, 0x2f, ICR_LOGICAL | 0x44);
	EXPECT_EQ(0xc, got(vm, 0x44, 2));
	EXPECT_EQ(0, got(vm, 0x43, 0));
	stop_receivers(vm);
}

/* INIT and SIPI: the AP starts in real mode at the page that the vector names. */
#define AP_PAGE	0x9000ull

GUEST16(ap_start,
	"cli\n"
	"mov %cs, %ax\n"
	"mov %ax, %ds\n"
	"incw 0x40\n"			/* how often it came here */
	"mov %ax, 0x42\n"
	"1: hlt\n"
	"jmp 1b\n");

TEST_F(lapic, init_sipi)
{
	struct vcpu *v = self->v, *ap = vcpu_new(self->vm, 1);
	volatile u16 *counter = vm_hva(self->vm, AP_PAGE + 0x40);

	memcpy(vm_hva(self->vm, AP_PAGE), ap_start_start, ap_start_end - ap_start_start);
	/* kvm.ko looks for new vCPUs when some APIC changes its mode or its ID */
	apic_set(v, APIC_SPIV, 0xff);
	apic_set(v, APIC_SPIV, 0x1ff);
	vcpu_start(ap);
	ipi(v, 1, ICR_INIT | ICR_LEVEL | ICR_ASSERT);
	ipi(v, 1, ICR_INIT | ICR_LEVEL);
	ipi(v, 1, ICR_SIPI | AP_PAGE >> 12);
	WAIT_FOR(counter[0] == 1);
	WAIT_FOR(counter[1] == AP_PAGE >> 4);
	/* the second one that the protocol sends finds it running */
	ipi(v, 1, ICR_SIPI | AP_PAGE >> 12);
	EXPECT_EQ(1, counter[0]);
	/* INIT takes a halted CPU back to the start */
	for (u32 i = 2; i < 5; i++) {
		ipi(v, 1, ICR_INIT | ICR_LEVEL | ICR_ASSERT);
		ipi(v, 1, ICR_SIPI | AP_PAGE >> 12);
		WAIT_FOR(counter[0] == i);
	}
}

TEST_HARNESS_MAIN
