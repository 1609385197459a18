// SPDX-License-Identifier: GPL-2.0
/* The 8254 and what it drives: ticks through the 8259 in real mode, channel 2, the speaker port. */
#include "lib.h"
#include "harness.h"

/* Five ticks of channel 0 at about 200 Hz, each through vector 0x20. */
GUEST16(ticks,
	"movw $(handler - ticks_start + 0x8000), 0x80\n"
	"movw $0, 0x82\n"
	"mov $0x11, %al; out %al, $0x20\n"
	"mov $0x20, %al; out %al, $0x21\n"
	"mov $4, %al; out %al, $0x21\n"
	"mov $1, %al; out %al, $0x21\n"
	"mov $0xfe, %al; out %al, $0x21\n"
	"mov $0x34, %al; out %al, $0x43\n"
	"mov $0x4e, %al; out %al, $0x40\n"
	"mov $0x17, %al; out %al, $0x40\n"
	"xor %bx, %bx\n"
	"1: sti; hlt; cli\n"
	"cmp $5, %bx; jb 1b\n"
	"mov %bl, %al; out %al, $0xcc\n"
	/* one shot, mode 0: exactly one more */
	"mov $0x30, %al; out %al, $0x43\n"
	"mov $0x4e, %al; out %al, $0x40\n"
	"mov $0x17, %al; out %al, $0x40\n"
	"xor %bx, %bx\n"
	"2: sti; nop; cli\n"
	"or %bx, %bx; jz 2b\n"
	"mov %bl, %al; out %al, $0xcc\n"
	"hlt\n"
	"handler: inc %bx\n"
	"push %ax; mov $0x20, %al; out %al, $0x20; pop %ax\n"
	"iret\n");

static void create_pit(struct vm *vm, u32 flags)
{
	struct kvm_pit_config config = { .flags = flags };

	kvm_do(vm->fd, KVM_CREATE_PIT2, &config);
}

TEST(ticks_in_real_mode)
{
	struct vm *vm = VM_BLOB(ticks, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];

	create_pit(vm, KVM_PIT_SPEAKER_DUMMY);
	expect_exit(v, KVM_EXIT_IO);
	ASSERT_EQ(UCALL_PORT, v->run->io.port);
	ASSERT_LE(5, *(u8 *)run_io_data(v));
	expect_exit(v, KVM_EXIT_IO);
	/* a tick of the periodic mode may have been waiting in the 8259 */
	ASSERT_LE(1, *(u8 *)run_io_data(v));
	ASSERT_GE(2, *(u8 *)run_io_data(v));
	vm_free(vm);
}

TEST(creation)
{
	struct kvm_pit_config config = {};
	struct kvm_pit_state2 state;
	struct vm *vm = vm_new(0);

	EXPECT_EQ(-ENXIO, kvm_try(vm->fd, KVM_GET_PIT2, &state));
	kvm_do(vm->fd, KVM_CREATE_IRQCHIP, 0);
	EXPECT_EQ(-EFAULT, kvm_try(vm->fd, KVM_CREATE_PIT2, 8));
	EXPECT_EQ(-ENXIO, kvm_try(vm->fd, KVM_GET_PIT2, &state));
	memset(&state, 0, sizeof(state));
	EXPECT_EQ(-ENXIO, kvm_try(vm->fd, KVM_SET_PIT2, &state));
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_CREATE_PIT2, &config));
	EXPECT_EQ(-EEXIST, kvm_try(vm->fd, KVM_CREATE_PIT2, &config));
	EXPECT_EQ(0, kvm_try(vm->fd, KVM_GET_PIT2, &state));
	EXPECT_EQ(-EFAULT, kvm_try(vm->fd, KVM_GET_PIT2, 8));
	EXPECT_EQ(-EFAULT, kvm_try(vm->fd, KVM_SET_PIT2, 8));
	vm_free(vm);
}

FIXTURE(pit) {
	struct vm *vm;
	struct vcpu *v;
};

FIXTURE_SETUP(pit)
{
	self->vm = vm_puppet(1, VM_IRQCHIP);
	self->v = self->vm->vcpus[0];
	create_pit(self->vm, KVM_PIT_SPEAKER_DUMMY);
}

FIXTURE_TEARDOWN(pit)
{
	vm_free(self->vm);
}

static u64 guest_outb(u64 port_val)
{
	outb(port_val >> 8, port_val);
	return 0;
}

static u64 guest_inb(u64 port)
{
	return inb(port);
}

static u64 guest_read_counter(u64 port)
{
	u32 lo = inb(port);

	return lo | inb(port) << 8;
}

#define OUT(v, port, val)	puppet_call(v, guest_outb, (port) << 8 | (val))

TEST_F(pit, state)
{
	struct kvm_pit_state2 a, b;
	struct vcpu *v = self->v;

	OUT(v, 0x43, 0xb6);		/* channel 2, low and high byte, mode 3 */
	OUT(v, 0x42, 0x34);
	OUT(v, 0x42, 0x12);
	OUT(v, 0x43, 0x54);		/* channel 1, low byte, mode 2 */
	OUT(v, 0x41, 0x12);
	kvm_do(self->vm->fd, KVM_GET_PIT2, &a);
	EXPECT_EQ(0x1234, a.channels[2].count);
	EXPECT_EQ(3, a.channels[2].mode);
	EXPECT_EQ(3, a.channels[2].rw_mode);
	EXPECT_EQ(0x12, a.channels[1].count);
	EXPECT_EQ(2, a.channels[1].mode);
	EXPECT_EQ(1, a.channels[1].rw_mode);
	a.channels[2].count = 0x4321;
	a.channels[2].gate = 1;
	kvm_do(self->vm->fd, KVM_SET_PIT2, &a);
	kvm_do(self->vm->fd, KVM_GET_PIT2, &b);
	EXPECT_EQ(0x4321, b.channels[2].count);
	EXPECT_EQ(1, b.channels[2].gate);
	EXPECT_EQ(a.flags, b.flags);
}

/* Values of a hostile user space: taken or refused, but survived. */
TEST_F(pit, odd_states)
{
	struct kvm_pit_state2 s;

	for (u32 i = 0; i < 0x100; i += 5) {
		memset(&s, i, sizeof(s));
		kvm_try(self->vm->fd, KVM_SET_PIT2, &s);
		puppet_call(self->v, guest_read_counter, 0x40);
		puppet_call(self->v, guest_inb, 0x61);
		for (u32 cmd = 0; cmd < 0x100; cmd += 0x1e)
			OUT(self->v, 0x43, cmd);
	}
	kvm_do(self->vm->fd, KVM_GET_PIT2, &s);
}

TEST_F(pit, latch_and_read_back)
{
	struct vcpu *v = self->v;
	u32 a, b;

	OUT(v, 0x61, 1);		/* gate of channel 2 */
	OUT(v, 0x43, 0xb4);		/* channel 2, mode 2 */
	OUT(v, 0x42, 0xff);
	OUT(v, 0x42, 0xff);
	OUT(v, 0x43, 0x80);		/* latch it: reads come from the latch */
	a = puppet_call(v, guest_inb, 0x42);
	usleep(2000);
	a |= puppet_call(v, guest_inb, 0x42) << 8;
	EXPECT_GE(0xffff, a);
	EXPECT_NE(0, a);
	/* it runs */
	do
		b = puppet_call(v, guest_read_counter, 0x42);
	while (a == b);
	/* read-back of the status: mode and access as they were written */
	OUT(v, 0x43, 0xe8);
	EXPECT_EQ(0x34, puppet_call(v, guest_inb, 0x42) & 0x3f);
}

TEST_F(pit, speaker_port)
{
	struct vcpu *v = self->v;

	OUT(v, 0x61, 0);
	EXPECT_EQ(0, puppet_call(v, guest_inb, 0x61) & 3);
	OUT(v, 0x43, 0xb0);		/* channel 2, mode 0: OUT goes high at the end */
	OUT(v, 0x61, 1);
	EXPECT_EQ(1, puppet_call(v, guest_inb, 0x61) & 3);
	OUT(v, 0x42, 0xff);
	OUT(v, 0x42, 0x0f);
	while (!(puppet_call(v, guest_inb, 0x61) & 0x20))
		;
	OUT(v, 0x61, 3);
	EXPECT_EQ(3, puppet_call(v, guest_inb, 0x61) & 3);
}

TEST(speaker_port_is_user_spaces_without_the_flag)
{
	struct vm *vm = vm_puppet(1, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];

	create_pit(vm, 0);
	puppet_set(v, PUPPET_CALL, (u64)guest_inb, 0, 0x61);
	expect_in(v, 0x61, 1);
	*(u8 *)run_io_data(v) = 0x30;
	expect_sync(v, PUPPET_STAGE);
	EXPECT_EQ(0x30, puppet(v)->val);
	vm_free(vm);
}

TEST_HARNESS_MAIN
