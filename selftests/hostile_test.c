// SPDX-License-Identifier: GPL-2.0
/*
 * Guests and users that do the worst they can: random instructions, random
 * MSRs, wild page tables, random state. Whatever comes of it is one of the
 * defined ends, within a bound, and the next VM works. All random numbers come
 * from a seed, which a failure can be repeated with (RINGLET_SEED).
 */
#include "lib.h"
#include "harness.h"
#include <sys/time.h>

static u64 rng;

static void seed(u64 extra)
{
	rng = (getenv("RINGLET_SEED") ? strtoull(getenv("RINGLET_SEED"), NULL, 0) : 1) *
	      0x9e3779b97f4a7c15 + extra * 2 + 1;
}

static u64 rnd(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

static void fill(void *p, u64 size)
{
	for (u64 i = 0; i < size; i++)
		((u8 *)p)[i] = rnd() >> 20;
}

static void tick(int sig)
{
}

/* KVM_RUN ends at least every @usec from here on; 0 stops that. */
static void tick_every(u32 usec)
{
	struct sigaction sa = { .sa_handler = tick };
	struct itimerval it = { { 0, usec }, { 0, usec } };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
}

/* Up to @exits exits; an interruption counts for 100 of them. */
static void run_on(struct vcpu *v, int exits)
{
	while (exits > 0) {
		int ret = vcpu_try_run(v);

		if (ret == -EINTR || ret == -EAGAIN) {
			exits -= 100;
			continue;
		}
		if (ret) {
			/* refused state, no such memory, not implemented: all defined */
			CHECK(v, ret == -EINVAL || ret == -EFAULT || ret == -ENOEXEC ||
			      ret == -EIO, "KVM_RUN: %d", ret);
			return;
		}
		exits--;
		switch (v->run->exit_reason) {
		case KVM_EXIT_IO:
			if (v->run->io.direction == KVM_EXIT_IO_IN)
				fill(run_io_data(v), v->run->io.size);
			break;
		case KVM_EXIT_MMIO:
			fill(v->run->mmio.data, 8);
			break;
		case KVM_EXIT_HLT:
		case KVM_EXIT_SHUTDOWN:
		case KVM_EXIT_INTERNAL_ERROR:
		case KVM_EXIT_FAIL_ENTRY:
		case KVM_EXIT_SYSTEM_EVENT:
			return;
		case KVM_EXIT_IRQ_WINDOW_OPEN:
		case KVM_EXIT_INTR:
		case KVM_EXIT_DEBUG:
		case KVM_EXIT_SET_TPR:
		case KVM_EXIT_HYPERCALL:
		case KVM_EXIT_IOAPIC_EOI:
		case KVM_EXIT_X86_RDMSR:
		case KVM_EXIT_X86_WRMSR:
			break;
		default:
			AT(rl_fail(v, "exit %u is no defined end", v->run->exit_reason));
		}
	}
}

static void run_wild(struct vcpu *v, int exits)
{
	tick_every(20000);
	run_on(v, exits);
	tick_every(0);
}

GUEST16(healthy, "mov $0x5a, %al; out %al, $0x10; hlt\n");

static void host_is_healthy(void)
{
	struct vm *vm = VM_BLOB(healthy, 0);

	expect_out(vm->vcpus[0], 0x10, 1, 0x5a);
	expect_exit(vm->vcpus[0], KVM_EXIT_HLT);
	vm_free(vm);
}

static void random_code(int bits, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		struct vm *vm = VM_BLOB(healthy, i & 1 ? VM_IRQCHIP : 0);
		struct vcpu *v = vm->vcpus[0];
		struct kvm_regs regs;

		seed(i * 100 + bits);
		fill(vm_hva(vm, FREE_GPA), 0x40000);
		fill(vm_hva(vm, BLOB_GPA), 0x1000);
		vcpu_bits(v, bits, BLOB_GPA + i * 4);
		kvm_do(v->fd, KVM_GET_REGS, &regs);
		fill(&regs, 6 * 8);
		regs.rflags = (rnd() & 0xcd5 & ~0x100) | RFLAGS_FIXED;
		kvm_do(v->fd, KVM_SET_REGS, &regs);
		/* real code among the noise, so that more of it runs */
		if (bits != 16) {
			regs.rip = i & 2 ? FREE_GPA : BLOB_GPA;
			kvm_do(v->fd, KVM_SET_REGS, &regs);
		}
		run_wild(v, 300);
		vm_free(vm);
	}
	host_is_healthy();
}

TEST(random_instructions_16)
{
	random_code(16, 16);
}

TEST(random_instructions_32)
{
	random_code(32, 16);
}

TEST(random_instructions_64)
{
	random_code(64, 16);
}

static u64 guest_rng;

static u64 guest_rnd(void)
{
	guest_rng ^= guest_rng << 13;
	guest_rng ^= guest_rng >> 7;
	guest_rng ^= guest_rng << 17;
	return guest_rng;
}

/* The privileged instructions, over and over with random operands; faults are caught. */
static void guest_privileged(u64 id)
{
	for (int i = 0; i < 600; i++) {
		u64 a = guest_rnd(), b = guest_rnd() & guest_rnd();

		switch (a % 10) {
		case 0:
			GUEST_TRY("mov %1, %%cr0", : TRAP_OUT
				  : "r"(0x80010033ull ^ (1ull << b % 64)));
			GUEST_TRY("mov %1, %%cr0", : TRAP_OUT : "r"(0x80010033ull));
			break;
		case 1:
			GUEST_TRY("mov %1, %%cr4", : TRAP_OUT : "r"(0x620ull ^ (1ull << b % 64)));
			GUEST_TRY("mov %1, %%cr4", : TRAP_OUT : "r"(0x620ull));
			break;
		case 2:
			GUEST_TRY("mov %1, %%db6", : TRAP_OUT : "r"(b));
			GUEST_TRY("mov %1, %%db0", : TRAP_OUT : "r"(b));
			break;
		case 3:
			GUEST_TRY("invlpg (%1)", : TRAP_OUT : "r"(b));
			break;
		case 4:
			GUEST_TRY("wbinvd", : TRAP_OUT : );
			GUEST_TRY("clts", : TRAP_OUT : );
			break;
		case 5:
			GUEST_TRY("vmrun", : TRAP_OUT : "a"(b) : "memory");
			GUEST_TRY("vmload", : TRAP_OUT : "a"(FREE_GPA) : "memory");
			break;
		case 6:
			GUEST_TRY("vmmcall", : TRAP_OUT : "a"(b), "b"(a), "c"(b), "d"(a)
				  : "memory");
			GUEST_TRY("vmcall", : TRAP_OUT : "a"(b & 15), "b"(0), "c"(0), "d"(0)
				  : "memory");
			break;
		case 7:
			GUEST_TRY("mov %1, %%cr8", : TRAP_OUT : "r"(b & 0x1f));
			break;
		case 8:
			GUEST_TRY("monitor", : TRAP_OUT : "a"(FREE_GPA), "c"(0), "d"(0));
			GUEST_TRY("rdpmc", : TRAP_OUT : "c"((u32)b) : "rax", "rdx");
			break;
		case 9:
			GUEST_TRY("skinit", : TRAP_OUT : "a"(0) : "memory");
			GUEST_TRY("invlpga", : TRAP_OUT : "a"(b), "c"(1));
			GUEST_TRY("stgi", : TRAP_OUT : );
			break;
		}
	}
	GUEST_DONE();
}

TEST(privileged_instructions)
{
	for (int i = 0; i < 5; i++) {
		struct vm *vm = vm_long(1, guest_privileged, i & 1 ? VM_IRQCHIP : 0);

			seed(i);
		G(vm, guest_rng) = rnd();
		run_wild(vm->vcpus[0], 3000);
		vm_free(vm);
	}
	host_is_healthy();
}

static u64 guest_msr_traps;

/* All of the ranges that exist, their neighbours, and anything; never one that moves RAM. */
static void guest_msrs(u64 id)
{
	static const u32 bases[] = { 0, 0x170, 0x1d0, 0x200, 0x260, 0x400, 0x480, 0x600, 0x800,
				     0xc0000080, 0xc0000100, 0xc0010000, 0xc0010110, 0xc0011020,
				     0x40000000, 0x40000070 };
	u64 val;

	for (int i = 0; i < 1500; i++) {
		u32 msr = bases[guest_rnd() % 16] + guest_rnd() % 0x30;

		if (i % 8 == 7)
			msr = guest_rnd();
		if (msr == MSR_EFER || msr == 0x11 || msr == 0x12 || msr >> 8 == 0x4b564d)
			continue;
		guest_msr_traps += !!guest_rdmsr_safe(msr, &val);
		val ^= 1ull << guest_rnd() % 64;
		if (i & 1)
			val = guest_rnd();
		guest_msr_traps += !!guest_wrmsr_safe(msr, val);
	}
	GUEST_DONE();
}

TEST(random_msrs)
{
	for (int i = 0; i < 4; i++) {
		struct vm *vm = vm_long(1, guest_msrs, i & 1 ? VM_IRQCHIP : 0);

			seed(i);
		G(vm, guest_rng) = rnd();
		run_wild(vm->vcpus[0], 3000);
		EXPECT_NE(0, G(vm, guest_msr_traps));
		vm_free(vm);
	}
	host_is_healthy();
}

/* Tables of random entries; tables in a hole; tables in read-only memory. */
TEST(wild_page_tables)
{
	for (int i = 0; i < 24; i++) {
		struct vm *vm = vm_puppet(1, i & 1 ? VM_IRQCHIP : 0);
		struct vcpu *v = vm->vcpus[0];
		u64 *pt = vm_hva(vm, PT_GPA);
		struct kvm_sregs s;

		seed(i);
		switch (i % 4) {
		case 0:		/* all random, below the first entry that the code needs */
			for (int e = 0; e < 3 * 512; e++)
				pt[e] = rnd();
			break;
		case 1:		/* present, pointing all over RAM and outside it */
			for (int e = 0; e < 6 * 512; e++)
				pt[e] = (rnd() & 0x1ffffff000) | (rnd() & 0xff) | 1;
			break;
		case 2:		/* the root in a hole */
			kvm_do(v->fd, KVM_GET_SREGS, &s);
			s.cr3 = HOLE_GPA;
			kvm_do(v->fd, KVM_SET_SREGS, &s);
			break;
		case 3:		/* the root in memory that nobody may write, A bits unset */
			memcpy(vm_add_mem(vm, 4, HOLE_GPA, 0x1000, KVM_MEM_READONLY), pt, 0x1000);
			*(u64 *)vm_hva(vm, HOLE_GPA) &= ~0x20ull;
			kvm_do(v->fd, KVM_GET_SREGS, &s);
			s.cr3 = HOLE_GPA;
			kvm_do(v->fd, KVM_SET_SREGS, &s);
			break;
		}
		run_wild(v, 300);
		vm_free(vm);
	}
	host_is_healthy();
}

/* A user who hands in garbage: each ioctl says yes or no, then the vCPU runs. */
TEST(random_state)
{
	static const unsigned long vcpu_cmds[] = {
		KVM_SET_REGS, KVM_SET_SREGS, KVM_SET_FPU, KVM_SET_LAPIC, KVM_SET_XCRS,
		KVM_SET_VCPU_EVENTS, KVM_SET_DEBUGREGS, KVM_SET_MP_STATE, KVM_SET_XSAVE,
		KVM_INTERRUPT, KVM_SET_MSRS, KVM_SET_CPUID2, KVM_SET_SIGNAL_MASK,
	};
	static u8 buf[0x2000];

	for (int i = 0; i < 60; i++) {
		struct vm *vm = VM_BLOB(healthy, i & 1 ? VM_IRQCHIP : 0);
		struct vcpu *v = vm->vcpus[0];

		seed(i);
		for (int n = 0; n < 8; n++) {
			unsigned long cmd = vcpu_cmds[rnd() % (ARRAY_SIZE(vcpu_cmds))];
			u64 flips = rnd() % 6;

			/* mostly a valid state with some bits turned, sometimes noise */
			memset(buf, 0, sizeof(buf));
			if (cmd == KVM_SET_REGS)
				kvm_try(v->fd, KVM_GET_REGS, buf);
			else if (cmd == KVM_SET_SREGS)
				kvm_try(v->fd, KVM_GET_SREGS, buf);
			else if (cmd == KVM_SET_LAPIC)
				kvm_try(v->fd, KVM_GET_LAPIC, buf);
			else if (cmd == KVM_SET_VCPU_EVENTS)
				kvm_try(v->fd, KVM_GET_VCPU_EVENTS, buf);
			else if (cmd == KVM_SET_XSAVE)
				kvm_try(v->fd, KVM_GET_XSAVE, buf);
			else
				fill(buf, 64);
			for (u64 f = 0; f < flips; f++)
				buf[rnd() % (_IOC_SIZE(cmd) ?: 64) % sizeof(buf)] ^= 1 << rnd() % 8;
			if (rnd() % 8 == 0)
				fill(buf, sizeof(buf));
			kvm_try(v->fd, cmd, buf);
		}
		run_wild(v, 100);
		vm_free(vm);
	}
	host_is_healthy();
}

TEST(random_vm_state)
{
	static const unsigned long vm_cmds[] = {
		KVM_SET_IRQCHIP, KVM_SET_PIT2, KVM_SET_CLOCK, KVM_SET_GSI_ROUTING, KVM_SIGNAL_MSI,
		KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS, KVM_IOEVENTFD, KVM_IRQFD, KVM_GET_DIRTY_LOG,
		KVM_SET_USER_MEMORY_REGION, KVM_SET_TSS_ADDR, KVM_CREATE_VCPU, KVM_ENABLE_CAP,
	};
	static u8 buf[0x2000];
	struct kvm_pit_config pit = {};

	for (int i = 0; i < 24; i++) {
		struct vm *vm = VM_BLOB(healthy, i % 4 ? VM_IRQCHIP : 0);

		seed(i);
		if (i & 1)
			kvm_try(vm->fd, KVM_CREATE_PIT2, &pit);
		for (int n = 0; n < 16; n++) {
			unsigned long cmd = vm_cmds[rnd() % (ARRAY_SIZE(vm_cmds))];

			fill(buf, sizeof(buf));
			for (u64 f = rnd() % 128; f; f--)	/* thin it out */
				buf[rnd() % 64] = 0;
			kvm_try(vm->fd, cmd, cmd == KVM_CREATE_VCPU ? rnd() % 300 : (u64)buf);
		}
		run_wild(vm->vcpus[0], 100);
		vm_free(vm);
	}
	host_is_healthy();
}

TEST(random_ioctls)
{
	struct vm *vm = VM_BLOB(healthy, VM_IRQCHIP);
	static u8 buf[0x8000];

	seed(77);
	for (int i = 0; i < 3000; i++) {
		int fds[] = { vm->dev, vm->fd, vm->vcpus[0]->fd };
		unsigned long cmd = _IOC(rnd() % 4, KVMIO, rnd() % 256, rnd() % 0x400);
		u64 arg = rnd() % 3 ? (u64)buf : rnd();
		long ret;

		if (cmd == KVM_RUN || cmd == KVM_CREATE_VM)
			continue;
		fill(buf, 256);
		ret = kvm_try(fds[rnd() % 3], cmd, arg);
		CHECK(NULL, ret >= -4095, "%ld", ret);
	}
	vm_free(vm);
	host_is_healthy();
}

TEST_HARNESS_MAIN
