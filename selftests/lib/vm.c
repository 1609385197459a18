// SPDX-License-Identifier: GPL-2.0
/*
 * The device, virtual machines, their memory and their vCPUs, as bare as the
 * ABI has them. What runs inside is set up by x86.c.
 */
#include "lib.h"
#include <stdarg.h>

__thread const char *rl_file = __FILE__;
__thread int rl_line;

const char *rl_dev_path(void)
{
	return getenv("RINGLET_DEV") ?: "/dev/ringlet";
}

int rl_dev_open(void)
{
	int fd = open(rl_dev_path(), O_RDWR | O_CLOEXEC);

	if (fd < 0)
		AT(rl_fail(NULL, "%s: %s", rl_dev_path(), strerror(errno)));
	return fd;
}

long kvm_try_(int fd, unsigned long cmd, unsigned long arg)
{
	long ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

long kvm_do_(int fd, unsigned long cmd, unsigned long arg, const char *name)
{
	long ret = kvm_try_(fd, cmd, arg);

	if (ret < 0)
		rl_fail(NULL, "%s: %s", name, strerror(-ret));
	return ret;
}

int rl_cap(int cap)
{
	int dev = rl_dev_open();
	int ret = kvm_do(dev, KVM_CHECK_EXTENSION, cap);

	close(dev);
	return ret;
}

bool rl_host_is_amd(void)
{
	u32 out[4];

	guest_cpuid(0, 0, out);
	return out[1] == 0x68747541;	/* "Auth" */
}

bool rl_host_is_tcg(void)
{
	u32 out[4];

	guest_cpuid(1, 0, out);
	if (!(out[2] >> 31))
		return false;
	guest_cpuid(0x40000000, 0, out);
	return out[1] == 0x54474354;	/* "TCGT" */
}

/*
 * After VMRUN has delivered an interrupt, QEMU's emulator still has its vector as an exception that
 * is pending, until the next #VMEXIT (helper_vmrun()). When another CPU's turn comes meanwhile, it
 * delivers that as well.
 */
bool rl_host_repeats_irqs(void)
{
	return rl_host_is_tcg() && sysconf(_SC_NPROCESSORS_CONF) > 1;
}

/* Its CPUID is that of the CPU it plays; the script that starts it tells. */
bool rl_host_is_bochs(void)
{
	const char *host = getenv("TESTHOST");

	return host && (!strcmp(host, "intel") || !strcmp(host, "amd-full"));
}

bool rl_host_is_bochs_svm(void)
{
	return rl_host_is_bochs() && rl_host_is_amd();
}

struct vm *vm_new(unsigned int flags)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = 24 };
	struct vm *vm = calloc(1, sizeof(*vm));

	vm->dev = rl_dev_open();
	vm->fd = kvm_do(vm->dev, KVM_CREATE_VM, 0);
	if (flags & VM_IRQCHIP)
		kvm_do(vm->fd, KVM_CREATE_IRQCHIP, 0);
	if (flags & VM_SPLIT)
		kvm_do(vm->fd, KVM_ENABLE_CAP, &split);
	return vm;
}

void vm_free(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++) {
		munmap(vm->vcpus[i]->run, vm->vcpus[i]->run_size);
		close(vm->vcpus[i]->fd);
		free(vm->vcpus[i]);
	}
	close(vm->fd);
	close(vm->dev);
	for (unsigned int i = 0; i < MAX_SLOTS; i++)
		if (vm->slots[i].size)
			munmap(vm->slots[i].hva, vm->slots[i].size);
	free(vm);
}

/* KVM_SET_USER_MEMORY_REGION as it is: 0 or -errno, nothing remembered. */
int vm_set_region(struct vm *vm, u32 slot, u64 gpa, u64 size, void *hva, u32 flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (u64)hva,
	};

	return kvm_try(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

void *vm_add_mem(struct vm *vm, u32 slot, u64 gpa, u64 size, u32 flags)
{
	void *hva = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int ret;

	CHECK(NULL, hva != MAP_FAILED, "%s", strerror(errno));
	ret = vm_set_region(vm, slot, gpa, size, hva, flags);
	CHECK(NULL, !ret, "slot %u at %#lx: %s", slot, gpa, strerror(-ret));
	vm->slots[slot].gpa = gpa;
	vm->slots[slot].size = size;
	vm->slots[slot].hva = hva;
	return hva;
}

void *vm_hva(struct vm *vm, u64 gpa)
{
	for (unsigned int i = 0; i < MAX_SLOTS; i++)
		if (gpa - vm->slots[i].gpa < vm->slots[i].size)
			return (u8 *)vm->slots[i].hva + (gpa - vm->slots[i].gpa);
	AT(rl_fail(NULL, "no memory at %#lx", gpa));
}

struct vcpu *vcpu_new(struct vm *vm, unsigned int id)
{
	struct vcpu *v = calloc(1, sizeof(*v));
	struct kvm_cpuid_entry2 *e;
	struct kvm_cpuid2 *cpuid;

	v->vm = vm;
	v->id = id;
	v->fd = kvm_do(vm->fd, KVM_CREATE_VCPU, id);
	v->run_size = kvm_do(vm->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	v->run = mmap(NULL, v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	CHECK(NULL, v->run != MAP_FAILED, "%s", strerror(errno));
	vm->vcpus[vm->nr_vcpus++] = v;

	cpuid = rl_supported_cpuid(vm->dev);
	e = rl_cpuid_find(cpuid, 1, 0);
	if (e) {
		e->ebx = (e->ebx & 0xffffff) | id << 24;
		e->ecx |= 1u << 31;		/* a hypervisor is here */
		if (kvm_do(vm->dev, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER))
			e->ecx |= 1u << 24;
	}
	for (u32 i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 0xb || cpuid->entries[i].function == 0x1f)
			cpuid->entries[i].edx = id;
	vcpu_set_cpuid(v, cpuid);
	free(cpuid);
	return v;
}

struct kvm_cpuid2 *rl_supported_cpuid(int dev)
{
	const u32 nent = 256;
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + nent * sizeof(c->entries[0]));

	c->nent = nent;
	kvm_do(dev, KVM_GET_SUPPORTED_CPUID, c);
	return c;
}

struct kvm_cpuid_entry2 *rl_cpuid_find(struct kvm_cpuid2 *c, u32 leaf, u32 sub)
{
	for (u32 i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function != leaf)
			continue;
		if (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == sub)
			return e;
	}
	return NULL;
}

void vcpu_set_cpuid(struct vcpu *v, struct kvm_cpuid2 *cpuid)
{
	kvm_do(v->fd, KVM_SET_CPUID2, cpuid);
}

bool rl_guest_has(u32 leaf, int reg, int bit)
{
	int dev = rl_dev_open();
	struct kvm_cpuid2 *c = rl_supported_cpuid(dev);
	struct kvm_cpuid_entry2 *e = rl_cpuid_find(c, leaf, 0);
	bool has = e && (&e->eax)[reg] >> bit & 1;

	free(c);
	close(dev);
	return has;
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

u64 vcpu_get_msr(struct vcpu *v, u32 msr)
{
	struct one_msr m = { .head.nmsrs = 1, .entry.index = msr };
	int ret = kvm_try(v->fd, KVM_GET_MSRS, &m);

	CHECK(v, ret == 1, "KVM_GET_MSRS of %#x answers %d", msr, ret);
	return m.entry.data;
}

int vcpu_try_set_msr(struct vcpu *v, u32 msr, u64 val)
{
	struct one_msr m = { .head.nmsrs = 1, .entry = { .index = msr, .data = val } };

	return kvm_try(v->fd, KVM_SET_MSRS, &m);
}

void vcpu_set_msr(struct vcpu *v, u32 msr, u64 val)
{
	int ret = vcpu_try_set_msr(v, msr, val);

	CHECK(v, ret == 1, "KVM_SET_MSRS of %#x to %#lx answers %d", msr, val, ret);
}
