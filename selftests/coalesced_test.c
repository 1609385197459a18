// SPDX-License-Identifier: GPL-2.0
/* Coalesced MMIO and port I/O: writes that wait in a ring until user space looks. */
#include "lib.h"
#include "harness.h"

#define MMIO_GPA	0xf1000000ull
#define PORT		0x5c0

static struct kvm_coalesced_mmio_ring *ring_of(struct vcpu *v)
{
	return (void *)((u8 *)v->run + rl_cap(KVM_CAP_COALESCED_MMIO) * 4096);
}

static long zone(struct vm *vm, bool add, u64 addr, u32 size, u32 pio)
{
	struct kvm_coalesced_mmio_zone z = { .addr = addr, .size = size, .pio = pio };

	return kvm_try(vm->fd, add ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO,
		       &z);
}

FIXTURE(coalesced) {
	struct vm *vm;
	struct vcpu *v;
	struct kvm_coalesced_mmio_ring *ring;
};

FIXTURE_SETUP(coalesced)
{
	if (!rl_cap(KVM_CAP_COALESCED_MMIO) || !rl_cap(KVM_CAP_COALESCED_PIO))
		SKIP(return, "no coalesced MMIO");
	self->vm = vm_puppet(1, 0);
	self->v = self->vm->vcpus[0];
	self->ring = ring_of(self->v);
}

FIXTURE_TEARDOWN(coalesced)
{
	vm_free(self->vm);
}

static u64 guest_out(u64 n)
{
	for (u64 i = 0; i < n; i++)
		outb(PORT, i);
	return 0;
}

static u64 guest_outs(u64 gva)
{
	u64 count = 4;

	asm volatile("rep outsw" : "+S"(gva), "+c"(count) : "d"(PORT) : "memory");
	return count;
}

TEST_F(coalesced, mmio)
{
	struct kvm_coalesced_mmio *e = self->ring->coalesced_mmio;

	ASSERT_EQ(0, zone(self->vm, true, MMIO_GPA, 0x100, 0));
	puppet_do(self->v, PUPPET_WRITE, MMIO_GPA + 8, 4, 0x11223344);
	puppet_do(self->v, PUPPET_WRITE, MMIO_GPA + 0xf8, 8, 0x8877665544332211);
	puppet_do(self->v, PUPPET_WRITE, MMIO_GPA, 1, 0xa5);
	EXPECT_EQ(0, self->ring->first);
	ASSERT_EQ(3, self->ring->last);
	EXPECT_EQ(MMIO_GPA + 8, e[0].phys_addr);
	EXPECT_EQ(4, e[0].len);
	EXPECT_EQ(0, e[0].pio);
	EXPECT_EQ(0, memcmp(e[0].data, "\x44\x33\x22\x11", 4));
	EXPECT_EQ(MMIO_GPA + 0xf8, e[1].phys_addr);
	EXPECT_EQ(8, e[1].len);
	EXPECT_EQ(0, memcmp(e[1].data, "\x11\x22\x33\x44\x55\x66\x77\x88", 8));
	EXPECT_EQ(1, e[2].len);
	EXPECT_EQ(0xa5, e[2].data[0]);

	/* a zone that begins at the end of a page and ends in the next */
	ASSERT_EQ(0, zone(self->vm, true, MMIO_GPA + 0x2ffe, 4, 0));
	puppet_do(self->v, PUPPET_WRITE, MMIO_GPA + 0x2ffe, 2, 1);
	puppet_do(self->v, PUPPET_WRITE, MMIO_GPA + 0x3000, 2, 2);
	ASSERT_EQ(5, self->ring->last);
	EXPECT_EQ(MMIO_GPA + 0x3000, e[4].phys_addr);

	/* reads, and writes that the zone does not cover, exit */
	puppet_set(self->v, PUPPET_READ, MMIO_GPA, 4, 0);
	expect_mmio_read(self->v, MMIO_GPA, 4);
	expect_sync(self->v, PUPPET_STAGE);
	puppet_set(self->v, PUPPET_WRITE, MMIO_GPA + 0xfe, 4, 5);
	expect_mmio_write(self->v, MMIO_GPA + 0xfe, 4, 5);
	expect_sync(self->v, PUPPET_STAGE);
	EXPECT_EQ(5, self->ring->last);
}

TEST_F(coalesced, ports)
{
	struct kvm_coalesced_mmio *e = self->ring->coalesced_mmio;
	u16 *data = vm_hva(self->vm, 0x1000);

	ASSERT_EQ(0, zone(self->vm, true, PORT, 4, 1));
	puppet_call(self->v, guest_out, 2);
	ASSERT_EQ(2, self->ring->last);
	EXPECT_EQ(PORT, e[1].phys_addr);
	EXPECT_EQ(1, e[1].len);
	EXPECT_EQ(1, e[1].pio);
	EXPECT_EQ(1, e[1].data[0]);

	for (int i = 0; i < 4; i++)
		data[i] = 0x100 + i;
	EXPECT_EQ(0, puppet_call(self->v, guest_outs, 0x1000));
	ASSERT_EQ(6, self->ring->last);
	for (int i = 0; i < 4; i++) {
		EXPECT_EQ(2, e[2 + i].len);
		EXPECT_EQ(i, e[2 + i].data[0]);
		EXPECT_EQ(1, e[2 + i].data[1]);
	}
}

/*
 * A full ring makes the write exit; read, it takes the next ones, around its
 * end too. (Linux 6.1 thinks it full at half its size.)
 */
TEST_F(coalesced, full)
{
	const u32 max = (4096 - sizeof(struct kvm_coalesced_mmio_ring)) /
			sizeof(struct kvm_coalesced_mmio);
	u32 n, val = 0;

	ASSERT_EQ(0, zone(self->vm, true, PORT, 1, 1));
	for (int round = 0; round < 3; round++) {
		puppet_set(self->v, PUPPET_CALL, (u64)guest_out, 0, max);
		vcpu_run(self->v);
		ASSERT_EQ(KVM_EXIT_IO, self->v->run->exit_reason);
		ASSERT_EQ(PORT, self->v->run->io.port);
		n = 0;
		do {		/* what was written is in the ring, or here, in order */
			for (; self->ring->first != self->ring->last; n++) {
				val = self->ring->coalesced_mmio[self->ring->first].data[0];
				EXPECT_EQ(n, val);
				self->ring->first = (self->ring->first + 1) % max;
			}
			if (self->v->run->io.port != PORT)
				break;
			EXPECT_EQ(n++, *(u8 *)run_io_data(self->v));
			vcpu_run(self->v);
		} while (self->v->run->exit_reason == KVM_EXIT_IO);
		EXPECT_EQ(max, n);
	}

	/* an index that cannot be is as good as full */
	self->ring->last = 0x40000000;
	puppet_set(self->v, PUPPET_CALL, (u64)guest_out, 0, 1);
	expect_out(self->v, PORT, 1, 0);
	expect_sync(self->v, PUPPET_STAGE);
}

TEST_F(coalesced, zones)
{
	EXPECT_EQ(-EINVAL, zone(self->vm, true, PORT, 1, 2));
	EXPECT_EQ(-EINVAL, zone(self->vm, false, PORT, 1, 2));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_REGISTER_COALESCED_MMIO, 8));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_UNREGISTER_COALESCED_MMIO, 8));
	EXPECT_EQ(0, zone(self->vm, false, PORT, 1, 1));

	/* a zone that wraps around, or is empty, takes nothing */
	EXPECT_EQ(0, zone(self->vm, true, PORT, 0, 1));
	EXPECT_EQ(0, zone(self->vm, true, ~0ull - 3, 16, 1));
	puppet_set(self->v, PUPPET_CALL, (u64)guest_out, 0, 1);
	expect_out(self->v, PORT, 1, 0);
	expect_sync(self->v, PUPPET_STAGE);

	/* two over one another: both go with a range that both cover */
	EXPECT_EQ(0, zone(self->vm, true, PORT, 4, 1));
	EXPECT_EQ(0, zone(self->vm, true, PORT, 2, 1));
	EXPECT_EQ(0, zone(self->vm, false, PORT, 2, 0));	/* not memory */
	puppet_call(self->v, guest_out, 1);
	EXPECT_EQ(1, self->ring->last);
	EXPECT_EQ(0, zone(self->vm, false, PORT, 2, 1));
	puppet_set(self->v, PUPPET_CALL, (u64)guest_out, 0, 1);
	expect_out(self->v, PORT, 1, 0);
	expect_sync(self->v, PUPPET_STAGE);
	EXPECT_EQ(1, self->ring->last);
}

/* All vCPUs of a VM share one ring, and it is the same in every mapping. */
TEST(one_ring)
{
	struct vm *vm;

	if (!rl_cap(KVM_CAP_COALESCED_PIO))
		SKIP(return, "no coalesced PIO");
	vm = vm_puppet(2, VM_IRQCHIP);
	ASSERT_EQ(0, zone(vm, true, PORT, 1, 1));
	for (int i = 0; i < 2; i++) {
		struct kvm_mp_state st = { KVM_MP_STATE_RUNNABLE };

		kvm_do(vm->vcpus[i]->fd, KVM_SET_MP_STATE, &st);
		puppet_call(vm->vcpus[i], guest_out, 3);
	}
	EXPECT_EQ(6, ring_of(vm->vcpus[0])->last);
	EXPECT_EQ(6, ring_of(vm->vcpus[1])->last);
	vm_free(vm);
}

TEST_HARNESS_MAIN
