// SPDX-License-Identifier: GPL-2.0
/* KVM_CAP_SYNC_REGS: registers that travel in the shared page with KVM_RUN. */
#include "lib.h"
#include "harness.h"

GUEST16(count, "1: inc %ebx\nout %al, $0x10\njmp 1b\n");

FIXTURE(sync) {
	struct vm *vm;
	struct vcpu *v;
	struct kvm_sync_regs *s;
};

FIXTURE_SETUP(sync)
{
	if (rl_cap(KVM_CAP_SYNC_REGS) != KVM_SYNC_X86_VALID_FIELDS)
		SKIP(return, "no KVM_CAP_SYNC_REGS");
	self->vm = VM_BLOB(count, 0);
	self->v = self->vm->vcpus[0];
	self->s = &self->v->run->s.regs;
}

FIXTURE_TEARDOWN(sync)
{
	vm_free(self->vm);
}

TEST_F(sync, out)
{
	struct kvm_vcpu_events events;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	memset(self->s, 0xff, sizeof(*self->s));
	expect_exit(self->v, KVM_EXIT_IO);
	EXPECT_EQ(~0ull, self->s->regs.rbx);		/* not asked for */

	memset(self->s, 0, sizeof(*self->s));	/* padding is nobody's */
	self->v->run->kvm_valid_regs = KVM_SYNC_X86_VALID_FIELDS;
	expect_exit(self->v, KVM_EXIT_IO);
	kvm_do(self->v->fd, KVM_GET_REGS, &regs);
	kvm_do(self->v->fd, KVM_GET_SREGS, &sregs);
	kvm_do(self->v->fd, KVM_GET_VCPU_EVENTS, &events);
	EXPECT_EQ(0, memcmp(&regs, &self->s->regs, sizeof(regs)));
	EXPECT_EQ(0, memcmp(&sregs, &self->s->sregs, sizeof(sregs)));
	EXPECT_EQ(0, memcmp(&events, &self->s->events, sizeof(events)));
	EXPECT_EQ(2, regs.rbx);

	self->v->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	memset(&self->s->sregs, 0xff, sizeof(sregs));
	expect_exit(self->v, KVM_EXIT_IO);
	EXPECT_EQ(3, self->s->regs.rbx);
	EXPECT_EQ(~0ull, self->s->sregs.cr0);

	/* also when the guest is not entered */
	self->v->run->immediate_exit = 1;
	self->s->regs.rbx = 0;
	EXPECT_EQ(-EINTR, vcpu_try_run(self->v));
	EXPECT_EQ(3, self->s->regs.rbx);
}

TEST_F(sync, in)
{
	struct kvm_vcpu_events events;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	self->v->run->kvm_valid_regs = KVM_SYNC_X86_VALID_FIELDS;
	expect_exit(self->v, KVM_EXIT_IO);

	/* changed, but not said to be */
	self->s->regs.rbx = 0x1000;
	expect_exit(self->v, KVM_EXIT_IO);
	EXPECT_EQ(2, self->s->regs.rbx);

	self->s->regs.rbx = 0x1000;
	self->s->sregs.es.base = 0x12340;
	self->v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	expect_exit(self->v, KVM_EXIT_IO);
	EXPECT_EQ(0, self->v->run->kvm_dirty_regs);
	EXPECT_EQ(0x1001, self->s->regs.rbx);
	kvm_do(self->v->fd, KVM_GET_SREGS, &sregs);
	EXPECT_NE(0x12340, sregs.es.base);

	self->s->sregs.es.base = 0x12340;
	self->s->events.nmi.masked = 1;
	self->v->run->kvm_valid_regs = 0;
	self->v->run->kvm_dirty_regs = KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
	expect_exit(self->v, KVM_EXIT_IO);
	kvm_do(self->v->fd, KVM_GET_SREGS, &sregs);
	kvm_do(self->v->fd, KVM_GET_VCPU_EVENTS, &events);
	kvm_do(self->v->fd, KVM_GET_REGS, &regs);
	EXPECT_EQ(0x12340, sregs.es.base);
	EXPECT_EQ(1, events.nmi.masked);
	EXPECT_EQ(0x1002, regs.rbx);
}

TEST_F(sync, refused)
{
	struct kvm_regs regs;

	self->v->run->kvm_valid_regs = KVM_SYNC_X86_VALID_FIELDS + 1;
	EXPECT_EQ(-EINVAL, vcpu_try_run(self->v));
	self->v->run->kvm_valid_regs = 1ull << 63;
	EXPECT_EQ(-EINVAL, vcpu_try_run(self->v));
	self->v->run->kvm_valid_regs = 0;
	self->v->run->kvm_dirty_regs = KVM_SYNC_X86_VALID_FIELDS + 1;
	EXPECT_EQ(-EINVAL, vcpu_try_run(self->v));
	self->v->run->kvm_dirty_regs = 0;
	kvm_do(self->v->fd, KVM_GET_REGS, &regs);
	EXPECT_EQ(0, regs.rbx);

	/* what the ioctl would refuse */
	self->v->run->kvm_valid_regs = KVM_SYNC_X86_VALID_FIELDS;
	expect_exit(self->v, KVM_EXIT_IO);
	self->s->sregs.cr0 |= X86_CR0_PG;	/* without PE */
	self->s->sregs.cr0 &= ~(u64)X86_CR0_PE;
	self->v->run->kvm_dirty_regs = KVM_SYNC_X86_SREGS;
	EXPECT_EQ(-EINVAL, vcpu_try_run(self->v));
	kvm_do(self->v->fd, KVM_GET_SREGS, &self->s->sregs);
	self->s->events.exception.injected = 1;
	self->s->events.exception.nr = 2;
	self->v->run->kvm_dirty_regs = KVM_SYNC_X86_EVENTS;
	EXPECT_EQ(-EINVAL, vcpu_try_run(self->v));
	self->v->run->kvm_dirty_regs = 0;
	expect_exit(self->v, KVM_EXIT_IO);
	EXPECT_EQ(2, self->s->regs.rbx);
}

TEST_HARNESS_MAIN
