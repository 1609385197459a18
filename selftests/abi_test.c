// SPDX-License-Identifier: GPL-2.0
/*
 * The three kinds of descriptor: what each answers, what each refuses, and
 * that the capabilities announced are those that are there.
 */
#include "lib.h"
#include "harness.h"

FIXTURE(abi) {
	int dev;
	struct vm *vm;
	struct vcpu *v;
};

GUEST16(halt, "hlt; jmp halt_start\n");

FIXTURE_SETUP(abi)
{
	self->dev = rl_dev_open();
	self->vm = VM_BLOB(halt, 0);
	self->v = self->vm->vcpus[0];
}

FIXTURE_TEARDOWN(abi)
{
	vm_free(self->vm);
	close(self->dev);
}

TEST_F(abi, version)
{
	EXPECT_EQ(12, kvm_try(self->dev, KVM_GET_API_VERSION, 0));
	EXPECT_EQ(-EINVAL, kvm_try(self->dev, KVM_GET_API_VERSION, 1));
}

TEST_F(abi, create_vm_type)
{
	EXPECT_EQ(-EINVAL, kvm_try(self->dev, KVM_CREATE_VM, 1));
	EXPECT_EQ(-EINVAL, kvm_try(self->dev, KVM_CREATE_VM, 1ull << 40));
}

TEST_F(abi, mmap_size)
{
	long size = kvm_try(self->dev, KVM_GET_VCPU_MMAP_SIZE, 0);

	EXPECT_GE(size, 2 * 4096);	/* kvm_run, and port data behind it */
	EXPECT_EQ(0, size % 4096);
	EXPECT_EQ(-EINVAL, kvm_try(self->dev, KVM_GET_VCPU_MMAP_SIZE, 1));
}

/* A page that is not there is SIGBUS, not somebody else's memory. */
TEST_SIGNAL(mmap_behind_the_end, SIGBUS)
{
	struct vm *vm = VM_BLOB(halt, 0);
	struct vcpu *v = vm->vcpus[0];
	volatile u8 *p = mmap(NULL, v->run_size + 0x4000, PROT_READ, MAP_SHARED, v->fd, 0);

	if (p == MAP_FAILED)
		raise(SIGBUS);		/* refusing the mapping is as good */
	*(volatile u8 *)(p + v->run_size + 0x3000);
}

static const int required_caps[] = {
	KVM_CAP_IRQCHIP, KVM_CAP_HLT, KVM_CAP_USER_MEMORY, KVM_CAP_SET_TSS_ADDR, KVM_CAP_EXT_CPUID,
	KVM_CAP_NR_VCPUS, KVM_CAP_MAX_VCPUS, KVM_CAP_NR_MEMSLOTS, KVM_CAP_MP_STATE, KVM_CAP_PIT2,
	KVM_CAP_PIT_STATE2, KVM_CAP_DESTROY_MEMORY_REGION_WORKS, KVM_CAP_IRQ_ROUTING,
	KVM_CAP_IRQ_INJECT_STATUS, KVM_CAP_IRQFD, KVM_CAP_IRQFD_RESAMPLE, KVM_CAP_IOEVENTFD,
	KVM_CAP_IOEVENTFD_ANY_LENGTH, KVM_CAP_VCPU_EVENTS, KVM_CAP_DEBUGREGS, KVM_CAP_XSAVE,
	KVM_CAP_XCRS, KVM_CAP_GET_TSC_KHZ, KVM_CAP_ADJUST_CLOCK, KVM_CAP_SIGNAL_MSI,
	KVM_CAP_READONLY_MEM, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_USER_NMI, KVM_CAP_SYNC_MMU,
	KVM_CAP_CLOCKSOURCE, KVM_CAP_SET_IDENTITY_MAP_ADDR,
	KVM_CAP_CHECK_EXTENSION_VM, KVM_CAP_MAX_VCPU_ID, KVM_CAP_ENABLE_CAP_VM,
	KVM_CAP_INTERNAL_ERROR_DATA, KVM_CAP_JOIN_MEMORY_REGIONS_WORKS,
};

TEST_F(abi, capabilities)
{
	for (u32 i = 0; i < ARRAY_SIZE(required_caps); i++) {
		int cap = required_caps[i];

		EXPECT_LT(0, kvm_try(self->dev, KVM_CHECK_EXTENSION, cap)) TH_LOG("cap %d", cap);
		EXPECT_LT(0, kvm_try(self->vm->fd, KVM_CHECK_EXTENSION, cap)) TH_LOG("cap %d", cap);
	}
	EXPECT_EQ(0, kvm_try(self->dev, KVM_CHECK_EXTENSION, 100000));
	EXPECT_EQ(0, kvm_try(self->vm->fd, KVM_CHECK_EXTENSION, 100000));
	EXPECT_EQ(0, kvm_try(self->dev, KVM_CHECK_EXTENSION, -1));
	EXPECT_GE(rl_cap(KVM_CAP_MAX_VCPUS), 64);
	EXPECT_GE(rl_cap(KVM_CAP_MAX_VCPU_ID), rl_cap(KVM_CAP_MAX_VCPUS));
	EXPECT_GE(rl_cap(KVM_CAP_NR_MEMSLOTS), 32);
}

/*
 * A capability and the ioctl that belongs to it. A bad pointer tells a known
 * ioctl (EFAULT, or a refusal of its own) from one that nobody implements.
 */
TEST_F(abi, capabilities_tell_the_truth)
{
	enum { SYS, VM, CPU };
	static const struct { int cap; unsigned long cmd; int fd; } pairs[] = {
		{ KVM_CAP_VCPU_EVENTS, KVM_GET_VCPU_EVENTS, CPU },
		{ KVM_CAP_DEBUGREGS, KVM_GET_DEBUGREGS, CPU },
		{ KVM_CAP_XSAVE, KVM_GET_XSAVE, CPU },
		{ KVM_CAP_XSAVE2, KVM_GET_XSAVE2, CPU },
		{ KVM_CAP_XCRS, KVM_GET_XCRS, CPU },
		{ KVM_CAP_MP_STATE, KVM_GET_MP_STATE, CPU },
		{ KVM_CAP_NESTED_STATE, KVM_GET_NESTED_STATE, CPU },
		{ KVM_CAP_ADJUST_CLOCK, KVM_GET_CLOCK, VM },
		{ KVM_CAP_SIGNAL_MSI, KVM_SIGNAL_MSI, VM },
		{ KVM_CAP_IRQFD, KVM_IRQFD, VM },
		{ KVM_CAP_IOEVENTFD, KVM_IOEVENTFD, VM },
		{ KVM_CAP_COALESCED_MMIO, KVM_REGISTER_COALESCED_MMIO, VM },
		{ KVM_CAP_X86_MSR_FILTER, KVM_X86_SET_MSR_FILTER, VM },
		{ KVM_CAP_PMU_EVENT_FILTER, KVM_SET_PMU_EVENT_FILTER, VM },
		{ KVM_CAP_EXT_EMUL_CPUID, KVM_GET_EMULATED_CPUID, SYS },
		{ KVM_CAP_GET_MSR_FEATURES, KVM_GET_MSR_FEATURE_INDEX_LIST, SYS },
		{ KVM_CAP_EXT_CPUID, KVM_GET_SUPPORTED_CPUID, SYS },
	};

	for (u32 i = 0; i < ARRAY_SIZE(pairs); i++) {
		int fds[] = { self->dev, self->vm->fd, self->v->fd };
		long has = kvm_try(self->vm->fd, KVM_CHECK_EXTENSION, pairs[i].cap);
		long ret = kvm_try(fds[pairs[i].fd], pairs[i].cmd, 8);

		if (has > 0) {
			EXPECT_EQ(-EFAULT, ret) TH_LOG("cap %d is announced", pairs[i].cap);
		} else {
			EXPECT_TRUE(ret == -ENOTTY || ret == -EINVAL)
				TH_LOG("cap %d: %ld", pairs[i].cap, ret);
		}
	}
}

TEST_F(abi, unknown_ioctls)
{
	static const unsigned long unknown[] = {
		_IO(KVMIO, 0xff), _IOW(KVMIO, 0xf0, u64), _IOR(KVMIO, 0x3f, u32),
		_IO('x', 1), _IOWR('x', 0x40, u64), 0,
	};

	for (u32 i = 0; i < ARRAY_SIZE(unknown); i++) {
		EXPECT_EQ(-EINVAL, kvm_try(self->dev, unknown[i], 0));
		EXPECT_EQ(-ENOTTY, kvm_try(self->vm->fd, unknown[i], 0));
		EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, unknown[i], 0));
	}
	/* known ones on the wrong descriptor */
	EXPECT_EQ(-EINVAL, kvm_try(self->dev, KVM_RUN, 0));
	EXPECT_EQ(-ENOTTY, kvm_try(self->vm->fd, KVM_RUN, 0));
	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_CREATE_VM, 0));
	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_CREATE_IRQCHIP, 0));
	EXPECT_EQ(-ENOTTY, kvm_try(self->vm->fd, KVM_GET_API_VERSION, 0));
	/* a plain read, write or lseek does nothing to any of them */
	for (int i = 0; i < 3; i++) {
		int fds[] = { self->dev, self->vm->fd, self->v->fd };
		char c = 0;

		EXPECT_EQ(-1, read(fds[i], &c, 1));
		EXPECT_EQ(-1, write(fds[i], &c, 1));
	}
	expect_exit(self->v, KVM_EXIT_HLT);
}

TEST_F(abi, create_vcpu)
{
	EXPECT_EQ(-EEXIST, kvm_try(self->vm->fd, KVM_CREATE_VCPU, 0));
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_CREATE_VCPU, rl_cap(KVM_CAP_MAX_VCPU_ID)));
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_CREATE_VCPU, -1));
	/* identifiers need not come in order, nor without holes */
	EXPECT_LE(0, kvm_try(self->vm->fd, KVM_CREATE_VCPU, 5));
	EXPECT_LE(0, kvm_try(self->vm->fd, KVM_CREATE_VCPU, 2));
	EXPECT_EQ(-EEXIST, kvm_try(self->vm->fd, KVM_CREATE_VCPU, 5));
	expect_exit(self->v, KVM_EXIT_HLT);
}

TEST(as_many_vcpus_as_announced)
{
	struct vm *vm = vm_new(0);
	int max = rl_cap(KVM_CAP_MAX_VCPUS);

	if (max > 256)
		max = 256;
	for (int i = 0; i < max; i++)
		ASSERT_LE(0, kvm_try(vm->fd, KVM_CREATE_VCPU, i));
}

TEST_F(abi, addresses_set_before_vcpus)
{
	u64 addr = 0xfeffc000;
	struct vm *fresh = vm_new(0);

	EXPECT_EQ(0, kvm_try(fresh->fd, KVM_SET_TSS_ADDR, 0xfeffd000));
	EXPECT_EQ(0, kvm_try(fresh->fd, KVM_SET_TSS_ADDR, 0xffffd000));
	EXPECT_EQ(-EINVAL, kvm_try(fresh->fd, KVM_SET_TSS_ADDR, 0xffffd001));
	EXPECT_EQ(-EINVAL, kvm_try(fresh->fd, KVM_SET_TSS_ADDR, 0xfffff000));
	EXPECT_EQ(0, kvm_try(fresh->fd, KVM_SET_IDENTITY_MAP_ADDR, &addr));
	EXPECT_EQ(-EFAULT, kvm_try(fresh->fd, KVM_SET_IDENTITY_MAP_ADDR, 8));
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &addr));
	if (!rl_cap(KVM_CAP_SET_BOOT_CPU_ID))
		return;
	EXPECT_EQ(0, kvm_try(fresh->fd, KVM_SET_BOOT_CPU_ID, 0));
	EXPECT_EQ(-EBUSY, kvm_try(self->vm->fd, KVM_SET_BOOT_CPU_ID, 0));
}

TEST_F(abi, enable_cap)
{
	struct kvm_enable_cap cap = { .cap = 100000 };

	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_ENABLE_CAP, &cap));
	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_ENABLE_CAP, &cap));
	cap.flags = 1;
	EXPECT_EQ(-EINVAL, kvm_try(self->vm->fd, KVM_ENABLE_CAP, &cap));
	EXPECT_EQ(-EINVAL, kvm_try(self->v->fd, KVM_ENABLE_CAP, &cap));
	EXPECT_EQ(-EFAULT, kvm_try(self->vm->fd, KVM_ENABLE_CAP, 8));
}

/* A VM belongs to the address space that made it. */
TEST_F(abi, another_process_is_refused)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int bad = 0;

		bad += kvm_try(self->vm->fd, KVM_CREATE_VCPU, 1) != -EIO;
		bad += kvm_try(self->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQCHIP) != -EIO;
		bad += kvm_try(self->v->fd, KVM_RUN, 0) != -EIO;
		bad += kvm_try(self->v->fd, KVM_GET_REGS, &(struct kvm_regs){}) != -EIO;
		_exit(bad);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);
	expect_exit(self->v, KVM_EXIT_HLT);
}

/* A vCPU keeps its VM, whichever descriptor goes first. */
TEST(descriptors_closed_in_any_order)
{
	for (int order = 0; order < 3; order++) {
		struct vm *vm = VM_BLOB(halt, order == 2 ? VM_IRQCHIP : 0);
		struct vcpu *v = vm->vcpus[0];

		close(vm->dev);
		vm->dev = -1;
		if (order) {
			close(vm->fd);
			vm->fd = -1;
		}
		if (order < 2)
			expect_exit(v, KVM_EXIT_HLT);
		kvm_do(v->fd, KVM_GET_REGS, &(struct kvm_regs){});
		vm_free(vm);
	}
}

TEST(many_vms)
{
	struct vm *vms[12];

	for (int round = 0; round < 2; round++) {
		for (u32 i = 0; i < ARRAY_SIZE(vms); i++)
			vms[i] = VM_BLOB(halt, 0);
		for (u32 i = 0; i < ARRAY_SIZE(vms); i++)
			expect_exit(vms[i]->vcpus[0], KVM_EXIT_HLT);
		for (u32 i = 0; i < ARRAY_SIZE(vms); i++)
			vm_free(vms[i]);
	}
}

/* A process that dies with everything open leaves nothing behind. */
TEST(killed_in_the_middle)
{
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();

		if (!pid) {
			struct vm *vm = VM_BLOB(halt, VM_IRQCHIP);

			vcpu_run(vm->vcpus[0]);		/* sleeps in HLT */
			_exit(0);
		}
		usleep(i * 30000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	expect_exit(VM_BLOB(halt, 0)->vcpus[0], KVM_EXIT_HLT);
}

TEST_HARNESS_MAIN
