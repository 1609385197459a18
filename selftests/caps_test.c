// SPDX-License-Identifier: GPL-2.0
/*
 * What a hypervisor may leave out: each test skips when the capability is not
 * announced, and otherwise wants all of it to work.
 */
#include "lib.h"
#include "harness.h"

#define GP	TRAP(13, 0)

FIXTURE(caps) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(caps)
{
	self->vm = vm_puppet(1, 0);
	self->v = self->vm->vcpus[0];
}

FIXTURE_TEARDOWN(caps)
{
	vm_free(self->vm);
}

#define NEEDS(cap) \
	do { \
		if (!rl_cap(cap)) \
			SKIP(return, "no " #cap); \
	} while (0)

static long enable_cap(int fd, u32 cap, u64 arg)
{
	struct kvm_enable_cap c = { .cap = cap, .args[0] = arg };

	return kvm_try(fd, KVM_ENABLE_CAP, &c);
}

TEST_F(caps, sregs2)
{
	struct kvm_sregs2 a, b;
	struct vcpu *v = self->v;

	NEEDS(KVM_CAP_SREGS2);
	kvm_do(v->fd, KVM_GET_SREGS2, &a);
	EXPECT_EQ(PT_GPA, a.cr3);
	EXPECT_EQ(0, a.flags);
	a.cr2 = 0x1234000;
	a.ds.selector = SEL_UDATA;
	kvm_do(v->fd, KVM_SET_SREGS2, &a);
	kvm_do(v->fd, KVM_GET_SREGS2, &b);
	EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));
	a.flags = 1u << 31;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_SREGS2, &a));
	a.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;	/* but no PAE paging */
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_SREGS2, &a));
	a.flags = 0;
	a.cr4 &= ~(u64)X86_CR4_PAE;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_SREGS2, &a));
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_SREGS2, 8));
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_GET_SREGS2, 8));
	puppet_write(v, FREE_GPA, 1);
}

static u64 taken_vector, taken_error, taken_cr2, taken_rf;

static void guest_note(struct guest_regs *regs)
{
	taken_vector = regs->vector;
	taken_error = regs->error;
	taken_rf = regs->rflags >> 16 & 1;
	asm volatile("mov %%cr2, %0" : "=r"(taken_cr2));
}

static u64 guest_note_exceptions(u64 unused)
{
	for (int i = 0; i < 32; i++)
		guest_handlers[i] = guest_note;
	return 0;
}

TEST_F(caps, exception_payload)
{
	struct vcpu *v = self->v;
	struct kvm_vcpu_events e;

	NEEDS(KVM_CAP_EXCEPTION_PAYLOAD);
	puppet_call(v, guest_note_exceptions, 0);
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	e.flags = KVM_VCPUEVENT_VALID_PAYLOAD;
	e.exception.pending = 1;
	e.exception.nr = PF;
	e.exception.has_error_code = 1;
	e.exception.error_code = 6;
	e.exception_has_payload = 1;
	e.exception_payload = 0x7654321000;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_SET_VCPU_EVENTS, &e));	/* not enabled */
	EXPECT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_EXCEPTION_PAYLOAD, 1));
	EXPECT_EQ(0, kvm_try(v->fd, KVM_SET_VCPU_EVENTS, &e));
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &e);
	EXPECT_EQ(1, e.exception.pending);
	EXPECT_EQ(1, e.exception_has_payload);
	EXPECT_EQ(0x7654321000, e.exception_payload);
	puppet_call(v, guest_note_exceptions, 0);
	EXPECT_EQ(PF, G(self->vm, taken_vector));
	EXPECT_EQ(6, G(self->vm, taken_error));
	if (!rl_host_is_bochs_svm())	/* which does not load CR2, on kvm.ko either */
		EXPECT_EQ(0x7654321000, G(self->vm, taken_cr2));

	/* A fault's frame has RF, so that the instruction comes again; an abort's has not. */
	EXPECT_EQ(1, G(self->vm, taken_rf));
	memset(&e.exception, 0, sizeof(e.exception));
	e.exception.pending = 1;
	e.exception.nr = MC;
	e.exception_has_payload = 0;
	kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &e);
	puppet_call(v, guest_note_exceptions, 0);
	EXPECT_EQ(MC, G(self->vm, taken_vector));
	EXPECT_EQ(0, G(self->vm, taken_rf));
}

#define MSR_MCG_CAP	0x179
#define MSR_MC_STATUS(bank)	(0x401 + (bank) * 4)
#define MSR_MC_CTL2(bank)	(0x280 + (bank))
#define MCG_CMCI		(1 << 10)

static u64 guest_set_cr4_mce(u64 unused)
{
	u64 cr4;

	asm volatile("mov %%cr4, %0" : "=r"(cr4));
	asm volatile("mov %0, %%cr4" : : "r"(cr4 | 0x40));
	return guest_note_exceptions(0);
}

TEST_F(caps, machine_check)
{
	struct kvm_x86_mce mce = {
		.status = 1ull << 63 | 1ull << 61 | 1ull << 60 | 0x135, .addr = 0x1000, .bank = 3,
		.mcg_status = 5,
	};
	struct vcpu *v = self->v;
	u64 supported = 0, caps;
	int banks = rl_cap(KVM_CAP_MCE);

	NEEDS(KVM_CAP_MCE);
	kvm_do(self->vm->dev, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported);
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->dev, KVM_X86_GET_MCE_CAP_SUPPORTED, 8));
	caps = (supported & ~0xffull) | 200;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_X86_SETUP_MCE, &caps));
	caps = supported & ~0xffull;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_X86_SETUP_MCE, &caps));	/* no bank at all */
	caps = 10 | 1ull << 60;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_X86_SETUP_MCE, &caps));
	ASSERT_GE(banks, 10);
	caps = (supported & ~0xffull) | 10;
	EXPECT_EQ(0, kvm_try(v->fd, KVM_X86_SETUP_MCE, &caps));
	EXPECT_EQ(caps & 0x1ff, puppet_rdmsr(v, MSR_MCG_CAP) & 0x1ff);
	mce.bank = 10;
	EXPECT_EQ(-EINVAL, kvm_try(v->fd, KVM_X86_SET_MCE, &mce));
	mce.bank = 3;
	puppet_call(v, guest_set_cr4_mce, 0);
	EXPECT_EQ(0, kvm_try(v->fd, KVM_X86_SET_MCE, &mce));
	puppet_call(v, guest_note_exceptions, 0);
	EXPECT_EQ(18, G(self->vm, taken_vector));
	EXPECT_EQ(mce.status, puppet_rdmsr(v, MSR_MC_STATUS(3)));
}

/* An error that nobody has used yet: logged, and told by an interrupt where there is one. */
TEST(unused_machine_check)
{
	struct kvm_x86_mce mce = {
		.bank = 3, .addr = 0x1000,
		.status = 1ull << 63 | 1ull << 61 | 1ull << 60 | 1ull << 58 | 0x90,
	};
	struct vm *vm = vm_puppet(1, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_lapic_state apic;
	struct kvm_vcpu_events ev;
	u64 supported = 0, caps;
	u32 *lvt = (u32 *)(apic.regs + 0x2f0), *irr = (u32 *)(apic.regs + 0x220);

	NEEDS(KVM_CAP_MCE);
	kvm_do(vm->dev, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported);
	caps = 10;
	kvm_do(v->fd, KVM_X86_SETUP_MCE, &caps);
	puppet_rdmsr(v, MSR_MC_CTL2(3));
	EXPECT_EQ(GP, puppet(v)->trap);
	kvm_do(v->fd, KVM_X86_SET_MCE, &mce);
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &ev);
	EXPECT_EQ(0, ev.exception.injected | ev.exception.pending);
	EXPECT_EQ(mce.addr, puppet_rdmsr(v, MSR_MC_STATUS(3) + 1));
	EXPECT_EQ(mce.status, puppet_rdmsr(v, MSR_MC_STATUS(3)));

	if (!(supported & MCG_CMCI))
		SKIP(return, "no corrected machine-check interrupts");
	kvm_do(v->fd, KVM_GET_LAPIC, &apic);
	EXPECT_EQ(5, apic.regs[0x32]);			/* the last LVT entry's number */
	caps |= MCG_CMCI;
	kvm_do(v->fd, KVM_X86_SETUP_MCE, &caps);
	kvm_do(v->fd, KVM_GET_LAPIC, &apic);
	EXPECT_EQ(6, apic.regs[0x32]);
	EXPECT_EQ(0x10000, *lvt);
	*lvt = 0x45;
	*(u32 *)(apic.regs + 0xf0) |= 0x100;
	kvm_do(v->fd, KVM_SET_LAPIC, &apic);
	EXPECT_EQ(0, puppet_rdmsr(v, MSR_MC_CTL2(3)));
	puppet_rdmsr(v, MSR_MC_CTL2(10));
	EXPECT_EQ(GP, puppet(v)->trap);
	puppet_wrmsr(v, MSR_MC_CTL2(3), 1 << 29);
	EXPECT_EQ(GP, puppet(v)->trap);
	for (int on = 0; on < 2; on++) {
		puppet_wrmsr(v, MSR_MC_CTL2(3), on << 30);
		EXPECT_EQ(0, puppet(v)->trap);
		mce.addr += 0x1000;
		kvm_do(v->fd, KVM_X86_SET_MCE, &mce);
		EXPECT_EQ(mce.addr, puppet_rdmsr(v, MSR_MC_STATUS(3) + 1));
		kvm_do(v->fd, KVM_GET_LAPIC, &apic);
		EXPECT_EQ(on << (0x45 % 32), *irr);
	}
	vm_free(vm);
}

TEST_F(caps, disable_exits)
{
	struct vm *fresh = vm_new(0);
	int modes = rl_cap(KVM_CAP_X86_DISABLE_EXITS);

	NEEDS(KVM_CAP_X86_DISABLE_EXITS);
	EXPECT_EQ(-EINVAL, enable_cap(fresh->fd, KVM_CAP_X86_DISABLE_EXITS, 1u << 31));
	EXPECT_EQ(0, enable_cap(fresh->fd, KVM_CAP_X86_DISABLE_EXITS,
				modes & KVM_X86_DISABLE_EXITS_PAUSE));
	/* known ones are taken, offered or not */
	EXPECT_EQ(0, enable_cap(fresh->fd, KVM_CAP_X86_DISABLE_EXITS,
				KVM_X86_DISABLE_VALID_EXITS & ~KVM_X86_DISABLE_EXITS_HLT));
}

static u32 split_words[33] __aligned(128);

/* A locked access across two cache lines locks the bus. */
static void guest_locks_bus(u64 id)
{
	u32 *p = (u32 *)((char *)split_words + 62);

	asm volatile("lock; incl %0" : "+m" (*p));
	GUEST_SYNC(1, *p);
	GUEST_DONE();
}

/* Modes are judged on any host; the exit needs VMX's bus-lock detection. */
TEST(bus_lock_exit)
{
	struct vm *vm = vm_new(0);
	u64 modes = KVM_BUS_LOCK_DETECTION_OFF | KVM_BUS_LOCK_DETECTION_EXIT;
	int says = rl_cap(KVM_CAP_X86_BUS_LOCK_EXIT);
	struct vcpu *v;

	EXPECT_EQ(-EINVAL, enable_cap(vm->fd, KVM_CAP_X86_BUS_LOCK_EXIT, 4));
	EXPECT_EQ(-EINVAL, enable_cap(vm->fd, KVM_CAP_X86_BUS_LOCK_EXIT, modes));
	EXPECT_EQ(0, enable_cap(vm->fd, KVM_CAP_X86_BUS_LOCK_EXIT, KVM_BUS_LOCK_DETECTION_OFF));
	EXPECT_EQ(0, enable_cap(vm->fd, KVM_CAP_X86_BUS_LOCK_EXIT, KVM_BUS_LOCK_DETECTION_EXIT));
	vm_add_mem(vm, 0, 0, RAM_SIZE, 0);
	vm_load_program(vm);
	v = vcpu_new(vm, 0);
	vcpu_long(v, guest_locks_bus, 0);
	if (says) {
		EXPECT_EQ(modes, says);
		expect_exit(v, KVM_EXIT_X86_BUS_LOCK);
		EXPECT_NE(0, v->run->flags & KVM_RUN_X86_BUS_LOCK);
	}
	expect_sync(v, 1);
	EXPECT_EQ(0, v->run->flags);
	expect_done(v);
	vm_free(vm);
}

TEST(notify_exit)
{
	struct vm *vm = vm_new(0);
	u64 window = 1ull << 52;
	int says = rl_cap(KVM_CAP_X86_NOTIFY_VMEXIT);
	struct vcpu *v;

	EXPECT_EQ(-EINVAL, enable_cap(vm->fd, KVM_CAP_X86_NOTIFY_VMEXIT, window));
	EXPECT_EQ(-EINVAL, enable_cap(vm->fd, KVM_CAP_X86_NOTIFY_VMEXIT,
				      window | KVM_X86_NOTIFY_VMEXIT_ENABLED | 4));
	EXPECT_EQ(says ? 0 : -EINVAL, enable_cap(vm->fd, KVM_CAP_X86_NOTIFY_VMEXIT,
						 window | KVM_X86_NOTIFY_VMEXIT_ENABLED));
	vm_add_mem(vm, 0, 0, RAM_SIZE, 0);
	vm_load_program(vm);
	v = vcpu_new(vm, 0);
	EXPECT_EQ(-EINVAL, enable_cap(vm->fd, KVM_CAP_X86_NOTIFY_VMEXIT,
				      window | KVM_X86_NOTIFY_VMEXIT_ENABLED));
	vcpu_long(v, guest_locks_bus, 0);
	expect_sync(v, 1);
	vm_free(vm);
}

TEST(x2apic_api)
{
	struct vm *vm = vm_puppet(3, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[2];
	struct kvm_lapic_state s;

	NEEDS(KVM_CAP_X2APIC_API);
	EXPECT_EQ(-EINVAL, enable_cap(vm->fd, KVM_CAP_X2APIC_API, 1u << 31));
	puppet_call(v, guest_irq_setup, EOI_X2APIC);
	kvm_do(v->fd, KVM_GET_LAPIC, &s);
	EXPECT_EQ(2u << 24, *(u32 *)(s.regs + APIC_ID));	/* as xAPIC has it, by default */
	kvm_do(v->fd, KVM_SET_LAPIC, &s);
	EXPECT_EQ(0, enable_cap(vm->fd, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS));
	kvm_do(v->fd, KVM_GET_LAPIC, &s);
	EXPECT_EQ(2, *(u32 *)(s.regs + APIC_ID));
	kvm_do(v->fd, KVM_SET_LAPIC, &s);
	EXPECT_EQ(2, puppet_rdmsr(v, MSR_X2APIC(APIC_ID)));
	vm_free(vm);
}

GUEST64(three_steps, "nop; mov $5, %ebx; inc %rbx; cpuid; hlt");

TEST(single_step)
{
	struct kvm_guest_debug dbg = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	};
	static const u8 at[] = { 1, 6, 9, 11 };
	struct vm *vm = VM_BLOB(three_steps, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_regs regs;

	NEEDS(KVM_CAP_SET_GUEST_DEBUG);
	/*
	 * Bochs 2.7 raises the #DB before the first instruction is carried out, and
	 * with SVM once more in the host, which does not survive it. So on kvm.ko.
	 */
	if (rl_host_is_bochs())
		SKIP(return, "Bochs does not enter a guest with TF set");
	ASSERT_EQ(0, kvm_try(v->fd, KVM_SET_GUEST_DEBUG, &dbg));
	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		expect_exit(v, KVM_EXIT_DEBUG);
		EXPECT_EQ(DB, v->run->debug.arch.exception);
		EXPECT_EQ(BLOB_GPA + at[i], v->run->debug.arch.pc);
		EXPECT_EQ(1u << 14, v->run->debug.arch.dr6 & 1u << 14);
	}
	dbg.control = 0;
	ASSERT_EQ(0, kvm_try(v->fd, KVM_SET_GUEST_DEBUG, &dbg));
	expect_exit(v, KVM_EXIT_HLT);
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	EXPECT_EQ(0, regs.rflags & 0x100);	/* the trap flag was the debugger's */
	EXPECT_EQ(-EFAULT, kvm_try(v->fd, KVM_SET_GUEST_DEBUG, 8));
	vm_free(vm);
}

GUEST64(four_steps, "nop; nop; nop; nop; hlt");

/* A debugger that steps does not want to end up in a handler. */
TEST(single_step_without_interrupts)
{
	struct kvm_guest_debug dbg = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ,
	};
	struct vm *vm = VM_BLOB(four_steps, 0);
	struct vcpu *v = vm->vcpus[0];
	struct kvm_vcpu_events ev;
	struct ucall uc;

	if (!(kvm_do(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2) &
	      KVM_GUESTDBG_BLOCKIRQ))
		SKIP(return, "no KVM_GUESTDBG_BLOCKIRQ");
	if (rl_host_is_bochs())
		SKIP(return, "Bochs does not enter a guest with TF set");
	ASSERT_EQ(0, kvm_try(v->fd, KVM_SET_GUEST_DEBUG, &dbg));
	ASSERT_EQ(0, kvm_try(v->fd, KVM_NMI, 0));
	for (u32 i = 1; i <= 4; i++) {
		expect_exit(v, KVM_EXIT_DEBUG);
		EXPECT_EQ(BLOB_GPA + i, v->run->debug.arch.pc);
	}
	kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &ev);
	EXPECT_EQ(1, ev.nmi.pending);
	EXPECT_EQ(0, ev.nmi.injected);
	/* It comes as soon as it may, and there the guest's library tells of it. */
	dbg.control = 0;
	ASSERT_EQ(0, kvm_try(v->fd, KVM_SET_GUEST_DEBUG, &dbg));
	ASSERT_EQ(0, vcpu_try_run(v));
	ASSERT_TRUE(vcpu_ucall(v, &uc));
	EXPECT_EQ(UCALL_TRAP, uc.code);
	EXPECT_EQ(NMI, uc.a);
	vm_free(vm);
}

TEST(reinject_control)
{
	struct kvm_reinject_control control = { .pit_reinject = 0 };
	struct kvm_pit_config pit = {};
	struct vm *vm = vm_new(VM_IRQCHIP);

	NEEDS(KVM_CAP_REINJECT_CONTROL);
	EXPECT_EQ(-ENXIO, kvm_try(vm->fd, KVM_REINJECT_CONTROL, &control));
	kvm_do(vm->fd, KVM_CREATE_PIT2, &pit);
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_REINJECT_CONTROL, &control));
	control.pit_reinject = 1;
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_REINJECT_CONTROL, &control));
	EXPECT_EQ(-EFAULT, kvm_try(vm->fd, KVM_REINJECT_CONTROL, 8));
	vm_free(vm);
}

/* A PIT may come first, or alone: its ticks go nowhere. The old pair has no flags. */
TEST(pit_without_irqchip)
{
	struct kvm_pit_config cfg = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct kvm_pit_state2 st2 = {};
	struct kvm_pit_state st = {};
	struct vm *vm = vm_new(0);

	EXPECT_EQ(-ENXIO, kvm_try(vm->fd, KVM_GET_PIT, &st));
	EXPECT_EQ(-ENXIO, kvm_try(vm->fd, KVM_SET_PIT, &st));
	ASSERT_EQ(0, kvm_try(vm->fd, KVM_CREATE_PIT2, &cfg));
	EXPECT_EQ(-EEXIST, kvm_try(vm->fd, KVM_CREATE_PIT2, &cfg));
	EXPECT_EQ(-EEXIST, kvm_try(vm->fd, KVM_CREATE_PIT, 0));
	st.channels[2].count = 0x1234;
	st.channels[2].mode = 3;
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_SET_PIT, &st));
	memset(&st, 0, sizeof(st));
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_GET_PIT, &st));
	EXPECT_EQ(0x1234, st.channels[2].count);
	EXPECT_EQ(3, st.channels[2].mode);
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_GET_PIT2, &st2));
	EXPECT_EQ(0x1234, st2.channels[2].count);
	/* the old call knows no flags and leaves them alone */
	st2.flags = KVM_PIT_FLAGS_HPET_LEGACY;
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_SET_PIT2, &st2));
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_SET_PIT, &st));
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_GET_PIT2, &st2));
	EXPECT_EQ(KVM_PIT_FLAGS_HPET_LEGACY, st2.flags & KVM_PIT_FLAGS_HPET_LEGACY);
	EXPECT_EQ(-EFAULT, kvm_try(vm->fd, KVM_SET_PIT, 8));
	vm_free(vm);
}

TEST(mmu_pages)
{
	struct vm *vm = vm_new(0);

	NEEDS(KVM_CAP_MMU_SHADOW_CACHE_CONTROL);
	EXPECT_EQ(-EINVAL, kvm_try(vm->fd, KVM_SET_NR_MMU_PAGES, 63));
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_SET_NR_MMU_PAGES, 1000));
	EXPECT_EQ(1000, kvm_try(vm->fd, KVM_GET_NR_MMU_PAGES, 0));
	vm_free(vm);
}

/* A VM's own TSC frequency is that of the vCPUs that come after. */
static u64 guest_rdtsc(u64 unused)
{
	return rdtsc();
}

TEST_F(caps, tsc_offset)
{
	u64 offset, before;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (u64)&offset,
	};
	int fd = self->v->fd;

	NEEDS(KVM_CAP_VCPU_ATTRIBUTES);
	EXPECT_EQ(0, kvm_try(fd, KVM_HAS_DEVICE_ATTR, &attr));
	ASSERT_EQ(0, kvm_try(fd, KVM_GET_DEVICE_ATTR, &attr));
	before = puppet_call(self->v, guest_rdtsc, 0);
	offset += 1ull << 50;
	ASSERT_EQ(0, kvm_try(fd, KVM_SET_DEVICE_ATTR, &attr));
	EXPECT_EQ(1, (puppet_call(self->v, guest_rdtsc, 0) - before) >> 50);
	offset = 0;
	ASSERT_EQ(0, kvm_try(fd, KVM_GET_DEVICE_ATTR, &attr));
	EXPECT_EQ(1, (offset + (1ull << 49)) >> 50);
	attr.addr = 8;
	EXPECT_EQ(-EFAULT, kvm_try(fd, KVM_GET_DEVICE_ATTR, &attr));
	EXPECT_EQ(-EFAULT, kvm_try(fd, KVM_SET_DEVICE_ATTR, &attr));
	EXPECT_EQ(-EFAULT, kvm_try(fd, KVM_SET_DEVICE_ATTR, 8));
	for (u32 i = 0; i < 2; i++) {
		attr.group = KVM_VCPU_TSC_CTRL + i;
		attr.attr = KVM_VCPU_TSC_OFFSET + 1 - i;
		EXPECT_EQ(-ENXIO, kvm_try(fd, KVM_HAS_DEVICE_ATTR, &attr));
		EXPECT_EQ(-ENXIO, kvm_try(fd, KVM_GET_DEVICE_ATTR, &attr));
		EXPECT_EQ(-ENXIO, kvm_try(fd, KVM_SET_DEVICE_ATTR, &attr));
	}
}

#define MSR_PLATFORM_INFO	0xce

TEST_F(caps, platform_info)
{
	NEEDS(KVM_CAP_MSR_PLATFORM_INFO);
	vcpu_set_msr(self->v, MSR_PLATFORM_INFO, 0xab00);
	EXPECT_EQ(0xab00, puppet_rdmsr(self->v, MSR_PLATFORM_INFO));
	EXPECT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_MSR_PLATFORM_INFO, 0));
	puppet_rdmsr(self->v, MSR_PLATFORM_INFO);
	EXPECT_EQ(TRAP(GP, 0), puppet(self->v)->trap);
	EXPECT_EQ(0xab00, vcpu_get_msr(self->v, MSR_PLATFORM_INFO));
	EXPECT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_MSR_PLATFORM_INFO, 1));
	EXPECT_EQ(0xab00, puppet_rdmsr(self->v, MSR_PLATFORM_INFO));
}

static u64 guest_mwait(u64 unused)
{
	return GUEST_TRY("mwait", : TRAP_OUT : "a"(0), "c"(0));
}

/* A call that no hypervisor has, by either vendor's instruction; its answer or the trap. */
static u64 guest_hypercall(u64 amd)
{
	u64 ret = 0x7fffffff, trap;

	if (amd)
		trap = GUEST_TRY("vmmcall", : TRAP_OUT, "+a"(ret) : : "memory");
	else
		trap = GUEST_TRY("vmcall", : TRAP_OUT, "+a"(ret) : : "memory");
	return trap ?: ret;
}

TEST_F(caps, quirks)
{
	const u64 all = KVM_X86_QUIRK_LINT0_REENABLED | KVM_X86_QUIRK_CD_NW_CLEARED |
			KVM_X86_QUIRK_LAPIC_MMIO_HOLE | KVM_X86_QUIRK_OUT_7E_INC_RIP |
			KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT |
			KVM_X86_QUIRK_FIX_HYPERCALL_INSN | KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS;
	struct vcpu *v = self->v;
	int vm = self->vm->fd, other = !rl_host_is_amd();

	NEEDS(KVM_CAP_DISABLE_QUIRKS2);
	ASSERT_EQ(all, rl_cap(KVM_CAP_DISABLE_QUIRKS2) & all);
	EXPECT_EQ(-EINVAL, enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, 1ull << 40));
	EXPECT_EQ(0, puppet_call(v, guest_mwait, 0));
	EXPECT_EQ(0, enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS));
	EXPECT_EQ(TRAP(UD, 0), puppet_call(v, guest_mwait, 0));
	EXPECT_EQ(0, enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, 0));
	EXPECT_EQ(0, puppet_call(v, guest_mwait, 0));

	/* The wrong hypercall is replaced by the right one, unless that is not wanted. */
	EXPECT_EQ(0, enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN));
	EXPECT_EQ(-1000ull, puppet_call(v, guest_hypercall, !other));
	EXPECT_EQ(TRAP(UD, 0), puppet_call(v, guest_hypercall, other));
	EXPECT_EQ(0, enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, 0));
	EXPECT_EQ(-1000ull, puppet_call(v, guest_hypercall, other));
	EXPECT_EQ(0, enable_cap(vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN));
	EXPECT_EQ(-1000ull, puppet_call(v, guest_hypercall, other));
}

GUEST64(out_7e, "out %al, $0x7e; hlt");

TEST(port_7e)
{
	struct vm *vm = VM_BLOB(out_7e, 0);
	struct kvm_regs regs;

	NEEDS(KVM_CAP_DISABLE_QUIRKS2);
	expect_exit(vm->vcpus[0], KVM_EXIT_IO);
	kvm_do(vm->vcpus[0]->fd, KVM_GET_REGS, &regs);
	EXPECT_EQ(BLOB_GPA + 2, regs.rip);		/* already behind it */
	expect_exit(vm->vcpus[0], KVM_EXIT_HLT);
	vm_free(vm);

	vm = VM_BLOB(out_7e, 0);
	ASSERT_EQ(0, enable_cap(vm->fd, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_OUT_7E_INC_RIP));
	expect_exit(vm->vcpus[0], KVM_EXIT_IO);
	kvm_do(vm->vcpus[0]->fd, KVM_GET_REGS, &regs);
	EXPECT_EQ(BLOB_GPA, regs.rip);
	expect_exit(vm->vcpus[0], KVM_EXIT_HLT);
	vm_free(vm);
}

TEST_F(caps, vm_tsc_khz)
{
	long khz = kvm_try(self->v->fd, KVM_GET_TSC_KHZ, 0);
	struct vm *vm = vm_new(0);

	NEEDS(KVM_CAP_VM_TSC_CONTROL);
	EXPECT_EQ(khz, kvm_try(vm->fd, KVM_GET_TSC_KHZ, 0));
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_SET_TSC_KHZ, khz));
	EXPECT_EQ(khz, kvm_try(vcpu_new(vm, 0)->fd, KVM_GET_TSC_KHZ, 0));
}

TEST_F(caps, tsc_scaling)
{
	long khz = kvm_try(self->v->fd, KVM_GET_TSC_KHZ, 0);
	struct vm *vm = vm_puppet(1, 0);
	u64 slow[2], fast[2];

	NEEDS(KVM_CAP_TSC_CONTROL);
	ASSERT_EQ(0, kvm_try(self->v->fd, KVM_SET_TSC_KHZ, khz * 4));
	EXPECT_EQ(khz * 4, kvm_try(self->v->fd, KVM_GET_TSC_KHZ, 0));
	/* what lies within the slow clock's interval is longer by the fast clock */
	for (int i = 0; i < 2; i++) {
		if (i)
			usleep(50000);
		slow[i] = puppet_call(vm->vcpus[0], guest_rdtsc, 0);
		fast[i] = puppet_call(self->v, guest_rdtsc, 0);
	}
	EXPECT_GT(fast[1] - fast[0], (slow[1] - slow[0]) * 2);
}

/* Those that user space switches on: what each changes, and what it refuses. */

static bool amd;	/* the guest's copy */

static u64 guest_map_range(u64 npages)
{
	return hypercall(amd, 12 /* KVM_HC_MAP_GPA_RANGE */, 0x5000, npages, 0x13, 0);
}

TEST_F(caps, exit_hypercall)
{
	const u64 map_range = 1ull << 12;

	amd = rl_host_is_amd();
	NEEDS(KVM_CAP_EXIT_HYPERCALL);
	G(self->vm, amd) = amd;
	EXPECT_EQ(map_range, rl_cap(KVM_CAP_EXIT_HYPERCALL));
	EXPECT_EQ(-EINVAL, enable_cap(self->vm->fd, KVM_CAP_EXIT_HYPERCALL, 1));
	EXPECT_EQ(-1000, puppet_call(self->v, guest_map_range, 1));	/* not asked for */

	ASSERT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_EXIT_HYPERCALL, map_range));
	for (u64 ret = 0; ret < 2; ret++) {
		puppet_set(self->v, PUPPET_CALL, (u64)guest_map_range, 0, 3);
		expect_exit(self->v, KVM_EXIT_HYPERCALL);
		EXPECT_EQ(12, self->v->run->hypercall.nr);
		EXPECT_EQ(0x5000, self->v->run->hypercall.args[0]);
		EXPECT_EQ(3, self->v->run->hypercall.args[1]);
		EXPECT_EQ(0x13, self->v->run->hypercall.args[2]);
		self->v->run->hypercall.ret = -ret;
		expect_sync(self->v, PUPPET_STAGE);
		EXPECT_EQ(-ret, puppet(self->v)->val);
	}
	EXPECT_EQ(-22, puppet_call(self->v, guest_map_range, 0));
	EXPECT_EQ(-22, puppet_call(self->v, guest_map_range, ~0ull));
	ASSERT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_EXIT_HYPERCALL, 0));
	EXPECT_EQ(-1000, puppet_call(self->v, guest_map_range, 1));
}

static const u32 pv_msrs[] = { 0x11, 0x12, 0x4b564d00, 0x4b564d01, 0x4b564d03, 0x4b564d02 };

static void guest_pv_msrs(u64 expected)
{
	for (u32 i = 0; i < ARRAY_SIZE(pv_msrs); i++) {
		u64 val, want = expected >> i & 1 ? 0 : GP;

		GUEST_ASSERT_EQ(guest_rdmsr_safe(pv_msrs[i], &val), want);
		GUEST_ASSERT_EQ(guest_wrmsr_safe(pv_msrs[i], 0), want);
	}
	GUEST_DONE();
}

static void run_pv(u32 features, bool enforce, u64 expected)
{
	struct vm *vm = vm_long(1, guest_pv_msrs, 0);
	struct kvm_cpuid2 *cpuid = rl_supported_cpuid(vm->dev);
	struct kvm_cpuid_entry2 *e = rl_cpuid_find(cpuid, 0x40000001, 0);

	CHECK(NULL, e, "no leaf of features");
	e->eax = features;
	vcpu_set_cpuid(vm->vcpus[0], cpuid);
	vcpu_long(vm->vcpus[0], guest_pv_msrs, expected);
	if (enforce)
		CHECK(NULL, !enable_cap(vm->vcpus[0]->fd, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1),
		      "not to be enforced");
	expect_done(vm->vcpus[0]);
	free(cpuid);
	vm_free(vm);
}

TEST_F(caps, pv_features)
{
	struct kvm_enable_cap flags = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .flags = 1 };

	NEEDS(KVM_CAP_ENFORCE_PV_FEATURE_CPUID);
	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_ENABLE_CAP, &flags));
	EXPECT_EQ(-EINVAL, enable_cap(self->v->fd, KVM_CAP_EXIT_HYPERCALL, 0));
	EXPECT_EQ(-EINVAL, enable_cap(self->vm->fd, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1));
	run_pv(0, false, 0x3f);
	run_pv(0, true, 0);
	run_pv(1u << 0, true, 0x03);	/* CLOCKSOURCE */
	run_pv(1u << 3, true, 0x0c);	/* CLOCKSOURCE2 */
	run_pv(1u << 5, true, 0x10);	/* STEAL_TIME */
	run_pv(1u << 4, true, 0x20);	/* ASYNC_PF */
}

/* What QEMU's CPU models ask for unless told otherwise, some of it with "enforce". */
TEST_F(caps, pv_features_that_are_expected)
{
	u32 want = 0x1000000 | 0xb | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7;
	struct kvm_cpuid2 *cpuid = rl_supported_cpuid(self->vm->dev);
	struct kvm_cpuid_entry2 *e = rl_cpuid_find(cpuid, 0x40000001, 0);

	ASSERT_NE(NULL, e);
	EXPECT_EQ(want, e->eax & want);
	free(cpuid);
}

static u64 wrmsr_trap(struct vcpu *v, u32 msr, u64 val)
{
	puppet_wrmsr(v, msr, val);
	return puppet(v)->trap;
}

TEST_F(caps, async_pf_msr)
{
	const u32 msr = 0x4b564d02;
	struct vcpu *v;
	struct vm *vm;

	NEEDS(KVM_CAP_ASYNC_PF);
	vm = vm_puppet(1, VM_IRQCHIP);
	v = vm->vcpus[0];
	EXPECT_EQ(0, wrmsr_trap(v, msr, 0x5003));
	EXPECT_EQ(TRAP(GP, 0), wrmsr_trap(v, msr, 0x5011));	/* reserved */
	EXPECT_EQ(TRAP(GP, 0), wrmsr_trap(v, msr, 0x5021));
	EXPECT_EQ(0x5003, vcpu_get_msr(v, msr));
	EXPECT_EQ(0, wrmsr_trap(v, msr, 0));
	vm_free(vm);

	/* What belongs to it comes by interrupt. */
	vm = vm_puppet(1, 0);
	v = vm->vcpus[0];
	EXPECT_EQ(TRAP(GP, 0), wrmsr_trap(v, msr, 0x5001));
	EXPECT_EQ(0, wrmsr_trap(v, msr, 0));
	vm_free(vm);
}

TEST_F(caps, triple_fault_event)
{
	struct kvm_vcpu_events ev;

	NEEDS(KVM_CAP_X86_TRIPLE_FAULT_EVENT);
	kvm_do(self->v->fd, KVM_GET_VCPU_EVENTS, &ev);
	EXPECT_EQ(0, ev.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	ev.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	ev.triple_fault.pending = 1;
	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_SET_VCPU_EVENTS, &ev));

	ASSERT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1));
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_VCPU_EVENTS, &ev));
	kvm_do(self->v->fd, KVM_GET_VCPU_EVENTS, &ev);
	EXPECT_TRUE(ev.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT);
	EXPECT_EQ(1, ev.triple_fault.pending);
	ev.triple_fault.pending = 0;
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_VCPU_EVENTS, &ev));
	puppet_rdmsr(self->v, 0x10);			/* runs */
	ev.triple_fault.pending = 1;
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_VCPU_EVENTS, &ev));
	expect_exit(self->v, KVM_EXIT_SHUTDOWN);
	kvm_do(self->v->fd, KVM_GET_VCPU_EVENTS, &ev);
	EXPECT_EQ(0, ev.triple_fault.pending);
}

TEST(system_attribute)
{
	struct kvm_device_attr a = { .attr = 1 };
	int dev = rl_dev_open();
	u64 xcr0 = ~0ull;

	NEEDS(KVM_CAP_SYS_ATTRIBUTES);
	EXPECT_EQ(-ENXIO, kvm_try(dev, KVM_HAS_DEVICE_ATTR, &a));
	EXPECT_EQ(-ENXIO, kvm_try(dev, KVM_GET_DEVICE_ATTR, &a));
	a.attr = KVM_X86_XCOMP_GUEST_SUPP;
	EXPECT_EQ(0, kvm_try(dev, KVM_HAS_DEVICE_ATTR, &a));
	EXPECT_EQ(-EFAULT, kvm_try(dev, KVM_GET_DEVICE_ATTR, &a));
	a.addr = (u64)&xcr0;
	EXPECT_EQ(0, kvm_try(dev, KVM_GET_DEVICE_ATTR, &a));
	if (xcr0) {	/* a host without XSAVE has none */
		EXPECT_EQ(3, xcr0 & 3);
	}
}

TEST_F(caps, xsave2)
{
	struct kvm_xsave *a = calloc(1, 1 << 16), *b = calloc(1, 1 << 16);

	NEEDS(KVM_CAP_XSAVE2);
	EXPECT_LE(4096, rl_cap(KVM_CAP_XSAVE2));
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_GET_XSAVE2, a));
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_GET_XSAVE, b));
	EXPECT_EQ(0, memcmp(a, b, 4096));
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_XSAVE, a));
}

TEST(max_vcpu_id)
{
	struct vm *vm = vm_new(0);
	int max = rl_cap(KVM_CAP_MAX_VCPU_ID);

	EXPECT_EQ(-EINVAL, enable_cap(vm->fd, KVM_CAP_MAX_VCPU_ID, max + 1));
	EXPECT_EQ(0, enable_cap(vm->fd, KVM_CAP_MAX_VCPU_ID, 4));
	EXPECT_EQ(0, enable_cap(vm->fd, KVM_CAP_MAX_VCPU_ID, 4));
	EXPECT_EQ(-EINVAL, enable_cap(vm->fd, KVM_CAP_MAX_VCPU_ID, 5));
	EXPECT_EQ(-EINVAL, kvm_try(vm->fd, KVM_CREATE_VCPU, 4));
	EXPECT_LE(0, kvm_try(vm->fd, KVM_CREATE_VCPU, 3));
	vm_free(vm);
}

TEST_F(caps, halt_poll)
{
	NEEDS(KVM_CAP_HALT_POLL);
	EXPECT_EQ(-EINVAL, enable_cap(self->vm->fd, KVM_CAP_HALT_POLL, 1ull << 32));
	EXPECT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_HALT_POLL, 0));
	EXPECT_EQ(0, enable_cap(self->vm->fd, KVM_CAP_HALT_POLL, 100000));
}

TEST_HARNESS_MAIN
