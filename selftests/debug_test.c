// SPDX-License-Identifier: GPL-2.0
/*
 * What a debugger asks for through KVM_SET_GUEST_DEBUG, in the way of QEMU's gdb stub:
 * breakpoints of both kinds, watchpoints, general detect, and a guest that uses its
 * own debug registers meanwhile.  Single steps are caps_test's.
 */
#include "lib.h"
#include "harness.h"

/* Labels of the guest's code, which has the same addresses in host and guest. */
extern const char at_int3[], at_first[], at_second[], at_stored[], at_loaded[], at_dr[];

static u64 watched, watched_too;
static u64 breakpoints, returns_to;	/* #BP that the guest itself saw, and the last one's RIP */

static void count_breakpoint(struct guest_regs *regs)
{
	breakpoints++;
	returns_to = regs->rip;
}

static void guest_debugged(u64 id)
{
	guest_handlers[BP] = count_breakpoint;
	asm volatile("at_int3: int3\n"
		     "at_first: nop\n"
		     "at_second: nop\n"
		     "movl $5, %0\n"
		     "at_stored: mov %1, %%eax\n"
		     "at_loaded: nop\n"
		     "at_dr: mov %%db0, %%rax\n"
		     : "=m"(watched), "+m"(watched_too) : : "rax");
	GUEST_SYNC(1, breakpoints);
	GUEST_DONE();
}

FIXTURE(debug) {
	struct vm *vm;
	struct vcpu *v;
	struct kvm_guest_debug dbg;
};

FIXTURE_SETUP(debug)
{
	self->vm = vm_long(1, guest_debugged, 0);
	self->v = self->vm->vcpus[0];
	self->dbg.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	self->dbg.arch.debugreg[7] = 0x400;
	if (!rl_cap(KVM_CAP_SET_GUEST_DEBUG))
		SKIP(return, "no KVM_CAP_SET_GUEST_DEBUG");
}

FIXTURE_TEARDOWN(debug)
{
	vm_free(self->vm);
}

#define DR7_ON(i)	(2u << 2 * (i))			/* G0 to G3 */
#define DR7_WRITE4(i)	(0xdu << (16 + 4 * (i)))	/* at writes of four bytes */
#define DR7_ACCESS4(i)	(0xfu << (16 + 4 * (i)))

/* QEMU's SVM compares no breakpoint of a debugger: it takes DR7 for a number. */
#define NEEDS_BREAKPOINTS() \
	do { \
		if (rl_host_is_tcg()) \
			SKIP(return, "QEMU's SVM has no breakpoints in DR7"); \
	} while (0)

/* Bochs' SVM takes no heed of nRIP in an event's injection, whoever writes it. */
#define NEEDS_NEXT_RIP() \
	do { \
		if (rl_host_is_bochs_svm()) \
			SKIP(return, "Bochs' SVM returns to the instruction"); \
	} while (0)

static void debug_set(struct vcpu *v, struct kvm_guest_debug *dbg)
{
	kvm_do(v->fd, KVM_SET_GUEST_DEBUG, dbg);
}

static u64 rip_add(struct vcpu *v, int len)
{
	struct kvm_regs regs;

	kvm_do(v->fd, KVM_GET_REGS, &regs);
	regs.rip += len;
	kvm_do(v->fd, KVM_SET_REGS, &regs);
	return regs.rip;
}

/* Run to a debug exit at a place, for a reason. */
#define EXPECT_DEBUG(v, vector, at, reason) \
	do { \
		struct kvm_debug_exit_arch *d_ = &(v)->run->debug.arch; \
		expect_exit(v, KVM_EXIT_DEBUG); \
		EXPECT_EQ(vector, d_->exception); \
		EXPECT_EQ((u64)(at), d_->pc); \
		EXPECT_EQ((u64)(at), rip_add(v, 0)); \
		/* Bochs' SVM does not say which. */ \
		if ((vector) == DB && !rl_host_is_bochs_svm()) \
			EXPECT_EQ(0xffff0ff0 | (reason), d_->dr6); \
	} while (0)

TEST_F(debug, int3)
{
	struct vcpu *v = self->v;

	/*
	 * Without a debugger it is the guest's own. Not counted the first time, when the
	 * fault of an untouched stack interrupts it: kvm.ko on Bochs' SVM begins anew.
	 */
	expect_sync(v, 1);
	G(self->vm, breakpoints) = 0;
	vcpu_long(v, guest_debugged, 0);
	expect_sync(v, 1);
	EXPECT_EQ(1, G(self->vm, breakpoints));
	if (rl_host_is_tcg())
		SKIP(return, "QEMU's SVM takes INT3 for an INT n");
	vcpu_long(v, guest_debugged, 0);
	self->dbg.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
	debug_set(v, &self->dbg);
	EXPECT_DEBUG(v, BP, at_int3, 0);
	NEEDS_NEXT_RIP();
	self->dbg.control |= KVM_GUESTDBG_INJECT_BP;
	debug_set(v, &self->dbg);
	EXPECT_EQ(-EBUSY, kvm_try(v->fd, KVM_SET_GUEST_DEBUG, &self->dbg));
	expect_sync(v, 1);
	EXPECT_EQ(2, G(self->vm, breakpoints));
}

/*
 * A stub gives the guest what it did not plant: by either call, with RIP at the
 * instruction. The handler returns behind it, also when its stack must be mapped first.
 */
TEST_F(debug, int3_given_back)
{
	struct vcpu *v = self->v;
	struct kvm_vcpu_events ev;

	NEEDS_NEXT_RIP();
	if (rl_host_is_tcg() && strcmp(rl_dev_path(), "/dev/ringlet"))
		SKIP(return, "kvm_amd without nRIP save runs past the instruction");
	expect_sync(v, 1);
	for (int how = 0; how < 4; how++) {
		G(self->vm, breakpoints) = G(self->vm, returns_to) = 0;
		vcpu_long(v, guest_debugged, 0);
		self->dbg.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
		if (rl_host_is_tcg()) {		/* takes INT3 for an INT n */
			rip_add(v, at_int3 - (char *)guest_debugged);
		} else {
			debug_set(v, &self->dbg);
			EXPECT_DEBUG(v, BP, at_int3, 0);
		}
		if (how & 2) {
			ASSERT_EQ(0, vm_set_region(self->vm, 0, self->vm->slots[0].gpa,
						   self->vm->slots[0].size, self->vm->slots[0].hva,
						   KVM_MEM_LOG_DIRTY_PAGES));
		}
		self->dbg.control = how & 1 ? 0 : KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_BP;
		debug_set(v, &self->dbg);
		if (how & 1) {
			kvm_do(v->fd, KVM_GET_VCPU_EVENTS, &ev);
			ev.exception.injected = 1;
			ev.exception.nr = BP;
			ev.exception.has_error_code = 0;
			kvm_do(v->fd, KVM_SET_VCPU_EVENTS, &ev);
		}
		expect_sync(v, 1);
		EXPECT_EQ(1, G(self->vm, breakpoints)) TH_LOG("how %d", how);
		EXPECT_EQ((u64)at_first, G(self->vm, returns_to)) TH_LOG("how %d", how);
	}
}

TEST_F(debug, breakpoints)
{
	struct vcpu *v = self->v;

	NEEDS_BREAKPOINTS();
	for (int i = 0; i < 4; i++) {
		int j = 3 - i;

		/*
		 * Two at once; each exit names its own alone. The others are cleared: DR6
		 * may show a match that is not enabled.
		 */
		memset(self->dbg.arch.debugreg, 0, sizeof(self->dbg.arch.debugreg));
		self->dbg.arch.debugreg[i] = (u64)at_first;
		self->dbg.arch.debugreg[j] = (u64)at_second;
		self->dbg.arch.debugreg[7] = 0x400 | DR7_ON(i) | DR7_ON(j);
		vcpu_long(v, guest_debugged, 0);
		debug_set(v, &self->dbg);
		EXPECT_DEBUG(v, DB, at_first, 1 << i);
		EXPECT_EQ(0x400 | DR7_ON(i) | DR7_ON(j), v->run->debug.arch.dr7);
		rip_add(v, 1);
		EXPECT_DEBUG(v, DB, at_second, 1 << j);
		rip_add(v, 1);
		expect_sync(v, 1);
	}
	/* Switched off, they are gone. */
	self->dbg.arch.debugreg[7] = 0x400;
	vcpu_long(v, guest_debugged, 0);
	debug_set(v, &self->dbg);
	expect_sync(v, 1);
}

TEST_F(debug, watchpoints)
{
	struct vcpu *v = self->v;

	NEEDS_BREAKPOINTS();
	for (int i = 0; i < 4; i++) {
		int j = 3 - i;

		memset(self->dbg.arch.debugreg, 0, sizeof(self->dbg.arch.debugreg));
		self->dbg.arch.debugreg[i] = (u64)&watched;
		self->dbg.arch.debugreg[j] = (u64)&watched_too;
		self->dbg.arch.debugreg[7] = 0x400 | DR7_ON(i) | DR7_WRITE4(i) |
					     DR7_ON(j) | DR7_ACCESS4(j);
		G(self->vm, watched) = 0;
		vcpu_long(v, guest_debugged, 0);
		debug_set(v, &self->dbg);
		EXPECT_DEBUG(v, DB, at_stored, 1 << i);
		EXPECT_EQ(5, (u32)G(self->vm, watched));	/* behind the instruction */
		EXPECT_DEBUG(v, DB, at_loaded, 1 << j);
		expect_sync(v, 1);
	}
}

/* A debugger that wants to see who looks at the debug registers. */
TEST_F(debug, general_detect)
{
	struct vcpu *v = self->v;

	if (!strcmp(rl_dev_path(), "/dev/kvm") && rl_host_is_amd())
		SKIP(return, "no emulated CPU raises this before SVM's intercept");
	self->dbg.arch.debugreg[7] = 0x2400;
	debug_set(v, &self->dbg);
	EXPECT_DEBUG(v, DB, at_dr, 0x2000);
	EXPECT_EQ(0x2400, v->run->debug.arch.dr7);
	EXPECT_DEBUG(v, DB, at_dr, 0x2000);	/* until the debugger says otherwise */
	self->dbg.arch.debugreg[7] = 0x400;
	debug_set(v, &self->dbg);
	expect_sync(v, 1);
}

static void guest_own_registers(u64 id)
{
	u64 val;

	asm volatile("mov %0, %%db0; mov %1, %%db3; mov %2, %%db7"
		     : : "r"(0x1234000ull), "r"(0x5678ull), "r"(0x402ull));
	GUEST_SYNC(1, 0);
	asm volatile("mov %%db0, %0" : "=r"(val));
	GUEST_ASSERT_EQ(0x1234000, val);
	asm volatile("mov %%db3, %0" : "=r"(val));
	GUEST_ASSERT_EQ(0x5678, val);
	asm volatile("mov %%db7, %0" : "=r"(val));
	GUEST_ASSERT_EQ(0x402, val);
	GUEST_DONE();
}

/* The debugger's registers are not the guest's, and the other way round. */
TEST_F(debug, own_registers)
{
	struct kvm_debugregs regs;
	struct vcpu *v = self->v;

	vcpu_long(v, guest_own_registers, 0);
	self->dbg.arch.debugreg[0] = (u64)at_first;
	self->dbg.arch.debugreg[7] = 0x400 | DR7_ON(0);
	debug_set(v, &self->dbg);
	expect_sync(v, 1);
	kvm_do(v->fd, KVM_GET_DEBUGREGS, &regs);
	EXPECT_EQ(0x1234000, regs.db[0]);
	EXPECT_EQ(0x5678, regs.db[3]);
	EXPECT_EQ(0x402, regs.dr7);
	/* The debugger goes away; the guest's come into force. */
	self->dbg.control = 0;
	debug_set(v, &self->dbg);
	expect_done(v);
	kvm_do(v->fd, KVM_GET_DEBUGREGS, &regs);
	EXPECT_EQ(0x1234000, regs.db[0]);
	if (rl_host_is_tcg())
		return;
	/* And the debugger's are as they were left. */
	self->dbg.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	vcpu_long(v, guest_debugged, 0);
	debug_set(v, &self->dbg);
	EXPECT_DEBUG(v, DB, at_first, 1);
}

/* A bit that nobody knows is ignored. */
TEST_F(debug, unknown_control)
{
	self->dbg.control = KVM_GUESTDBG_ENABLE | 1u << 31;
	EXPECT_EQ(0, kvm_try(self->v->fd, KVM_SET_GUEST_DEBUG, &self->dbg));
	expect_sync(self->v, 1);
}

TEST_HARNESS_MAIN
