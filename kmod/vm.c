// SPDX-License-Identifier: GPL-2.0-only
/*
 * One virtual machine: creation and end, its ioctls, what KVM_CHECK_EXTENSION
 * says.
 *
 * Owns:    struct rl_vm and the VM file descriptor.
 * Touches: mm/, irq/, cpu/clock.c for the parts that live in struct rl_vm.
 * Locks:   vm->lock for the array of vCPUs and the one-time switches.
 *
 * Lifetime: the VM descriptor, every vCPU descriptor and every in-kernel
 * helper holds a reference. Closing the VM descriptor does not stop vCPUs that
 * are still open, as with KVM.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/kvm_para.h>

#include "cpu/cpu.h"
#include "ioctl.h"
#include "netlink.h"
#include "vcpu.h"
#include "virtio/virtio.h"
#include "vm.h"

/* Also of one whose creation failed half-way: what is not there yet is all zeroes. */
static void vm_free(struct rl_vm *vm)
{
	int i;

	rl_irq_stop(vm);
	rl_notifier_unregister(vm);
	for (i = 0; i < vm->nr_vcpus; i++)
		rl_vcpu_destroy(vm->vcpus[i]);
	rl_bus_destroy(vm);
	rl_irq_destroy(vm);
	rl_mmu_destroy(vm);
	rl_slots_destroy(vm);
	rl_coalesced_destroy(vm);
	rl_msr_filter_destroy(vm);
	cleanup_srcu_struct(&vm->srcu);
	preempt_notifier_dec();
	mmdrop(vm->mm);
	kvfree(vm);
	rl_hw_put();
	module_put(THIS_MODULE);
}

static void vm_destroy(struct rl_vm *vm)
{
	rl_netlink_del_vm(vm);
	vm_free(vm);
}

void rl_vm_get(struct rl_vm *vm)
{
	refcount_inc(&vm->users);
}

void rl_vm_put(struct rl_vm *vm)
{
	if (refcount_dec_and_test(&vm->users))
		vm_destroy(vm);
}

/**
 * rl_vm_retire() - Take a VM out of service after a bug of ours
 * @vm: the VM
 * @why: for the log
 *
 * Every later ioctl on it answers -EIO; no vCPU enters the guest again.
 * Context: any.
 */
void rl_vm_retire(struct rl_vm *vm, const char *why)
{
	struct rl_vcpu *vcpu;
	int i;

	WARN_ONCE(1, "ringlet: VM of pid %d retired: %s\n", pid_nr(vm->owner.pid), why);
	WRITE_ONCE(vm->dead, true);
	rl_for_each_vcpu(i, vcpu, vm) {
		rl_request(vcpu, RL_REQ_VM_DEAD);
		rl_vcpu_kick(vcpu);
	}
}

struct rl_vcpu *rl_vcpu_by_id(struct rl_vm *vm, u32 id)
{
	struct rl_vcpu *vcpu;
	int i;

	rl_for_each_vcpu(i, vcpu, vm)
		if (vcpu->id == id)
			return vcpu;
	return NULL;
}

static int vm_release(struct inode *inode, struct file *filp)
{
	struct rl_vm *vm = filp->private_data;

	rl_irq_stop(vm);
	rl_vm_put(vm);
	return 0;
}

static const struct file_operations vm_fops;

static struct rl_vm *vm_alloc(void)
{
	struct rl_vm *vm;
	int r = -ENOMEM;

	vm = kvzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(r);
	r = init_srcu_struct(&vm->srcu);
	if (r)
		goto err_free;
	r = rl_hw_get();
	if (r)
		goto err_srcu;
	/* Until vm_free(), which is code of this module. */
	__module_get(THIS_MODULE);
	preempt_notifier_inc();
	refcount_set(&vm->users, 1);
	mutex_init(&vm->lock);
	mutex_init(&vm->slots_lock);
	INIT_LIST_HEAD(&vm->vdevs);
	mutex_init(&vm->vdevs_lock);
	vm->mm = current->mm;
	mmgrab(vm->mm);
	vm->halt_poll_ns = -1;
	vm->platform_info = true;
	rl_vm_clock_init(vm);
	rl_irq_init(vm);
	r = rl_slots_init(vm) ?: rl_coalesced_init(vm) ?: rl_bus_init(vm) ?: rl_mmu_init(vm) ?:
	    rl_notifier_register(vm) ?: rl_netlink_add_vm(vm);
	if (!r)
		return vm;
	vm_free(vm);
	return ERR_PTR(r);

err_srcu:
	cleanup_srcu_struct(&vm->srcu);
err_free:
	kvfree(vm);
	return ERR_PTR(r);
}

/**
 * rl_vm_create() - KVM_CREATE_VM
 * @type: machine type, 0 only
 *
 * Return: a new descriptor, -EINVAL, -EBUSY when another hypervisor owns a
 * CPU, -ENOMEM, -EMFILE.
 */
int rl_vm_create(unsigned long type)
{
	struct rl_vm *vm;
	int fd;

	if (type)
		return -EINVAL;
	vm = vm_alloc();
	if (IS_ERR(vm))
		return PTR_ERR(vm);
	fd = anon_inode_getfd("ringlet-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		rl_vm_put(vm);
	return fd;
}

/* Capabilities that are there or not, and on without anybody's asking. */
static const u8 plain_caps[] = {
	KVM_CAP_IRQCHIP, KVM_CAP_HLT, KVM_CAP_USER_MEMORY, KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
	KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, KVM_CAP_SYNC_MMU, KVM_CAP_INTERNAL_ERROR_DATA,
	KVM_CAP_READONLY_MEM, KVM_CAP_SET_TSS_ADDR, KVM_CAP_SET_IDENTITY_MAP_ADDR,
	KVM_CAP_EXT_CPUID, KVM_CAP_EXT_EMUL_CPUID, KVM_CAP_CLOCKSOURCE, KVM_CAP_PIT,
	KVM_CAP_NOP_IO_DELAY, KVM_CAP_MP_STATE, KVM_CAP_USER_NMI, KVM_CAP_REINJECT_CONTROL,
	KVM_CAP_IRQ_INJECT_STATUS, KVM_CAP_IRQFD, KVM_CAP_SET_BOOT_CPU_ID,
	KVM_CAP_IRQFD_RESAMPLE, KVM_CAP_IOEVENTFD, KVM_CAP_IOEVENTFD_NO_LENGTH,
	KVM_CAP_IOEVENTFD_ANY_LENGTH, KVM_CAP_PIT2, KVM_CAP_PIT_STATE2, KVM_CAP_VCPU_EVENTS,
	KVM_CAP_DEBUGREGS, KVM_CAP_XSAVE, KVM_CAP_GET_TSC_KHZ, KVM_CAP_TSC_DEADLINE_TIMER,
	KVM_CAP_SIGNAL_MSI, KVM_CAP_CHECK_EXTENSION_VM, KVM_CAP_ENABLE_CAP_VM,
	KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_GET_MSR_FEATURES, KVM_CAP_KVMCLOCK_CTRL, KVM_CAP_SREGS2,
	KVM_CAP_COALESCED_PIO, KVM_CAP_MMU_SHADOW_CACHE_CONTROL, KVM_CAP_PCI_SEGMENT,
	KVM_CAP_IOAPIC_POLARITY_IGNORED, KVM_CAP_LAST_CPU, KVM_CAP_ENABLE_CAP,
	KVM_CAP_ENFORCE_PV_FEATURE_CPUID, KVM_CAP_SYS_ATTRIBUTES, KVM_CAP_VCPU_ATTRIBUTES,
	KVM_CAP_BINARY_STATS_FD, KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_VAPIC, KVM_CAP_X86_MSR_FILTER,
	KVM_CAP_ASYNC_PF,
};

#define RL_BUS_LOCK_MODES	(KVM_BUS_LOCK_DETECTION_OFF | KVM_BUS_LOCK_DETECTION_EXIT)
/* Flags below, the window in TSC ticks above. */
#define RL_NOTIFY_VALID		(KVM_X86_NOTIFY_VMEXIT_ENABLED | KVM_X86_NOTIFY_VMEXIT_USER | \
				 GENMASK_ULL(63, 32))

/*
 * Those that KVM_CHECK_EXTENSION answers by a number, @says. KVM_ENABLE_CAP sets
 * @field, a u64 of struct rl_vm, of some: to args[0], in which only @valid bits may be.
 */
static const struct {
	u32 cap;
	u32 says;
	u64 valid;
	size_t field;
} number_caps[] = {
#define NUMBER(cap, says)		{ cap, says }
#define SWITCH(cap, says, valid, field) { cap, says, valid, offsetof(struct rl_vm, field) }
#define FLAGS(cap, valid, field)	SWITCH(cap, valid, valid, field)
	SWITCH(KVM_CAP_DISABLE_QUIRKS, 1, ~0ull, quirks_off),
	FLAGS(KVM_CAP_DISABLE_QUIRKS2, RL_QUIRKS, quirks_off),
	SWITCH(KVM_CAP_EXCEPTION_PAYLOAD, 1, ~0ull, exception_payload),
	SWITCH(KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1, ~0ull, triple_fault_event),
	SWITCH(KVM_CAP_MSR_PLATFORM_INFO, 1, ~0ull, platform_info),
	SWITCH(KVM_CAP_HALT_POLL, 1, UINT_MAX, halt_poll_ns),
	SWITCH(KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1, 1, exit_on_emul_failure),
	FLAGS(KVM_CAP_EXIT_HYPERCALL, BIT(KVM_HC_MAP_GPA_RANGE), user_hypercalls),
	FLAGS(KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE,
	      disabled_exits),
	SWITCH(KVM_CAP_X86_USER_SPACE_MSR, 1, KVM_MSR_EXIT_REASON_INVAL |
	       KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER, user_msr_reasons),
	FLAGS(KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS |
	      KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK, x2apic_api),
	SWITCH(KVM_CAP_MAX_VCPU_ID, RL_MAX_VCPU_ID, ~0ull, max_vcpu_id),
	/* What these say depends on the CPU. */
	SWITCH(KVM_CAP_X86_BUS_LOCK_EXIT, 0, RL_BUS_LOCK_MODES, bus_lock_mode),
	SWITCH(KVM_CAP_X86_NOTIFY_VMEXIT, 0, RL_NOTIFY_VALID, notify),
	NUMBER(KVM_CAP_DIRTY_LOG_RING, RL_DIRTY_RING_MAX),
	NUMBER(KVM_CAP_DIRTY_LOG_RING_ACQ_REL, RL_DIRTY_RING_MAX),
	NUMBER(KVM_CAP_MAX_VCPUS, RL_MAX_VCPUS),
	NUMBER(KVM_CAP_NR_MEMSLOTS, RL_NR_MEMSLOTS),
	NUMBER(KVM_CAP_IRQ_ROUTING, RL_NR_GSIS),
	NUMBER(KVM_CAP_MCE, RL_MAX_MCE_BANKS),
	NUMBER(KVM_CAP_COALESCED_MMIO, KVM_COALESCED_MMIO_PAGE_OFFSET),
	NUMBER(KVM_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS),
	NUMBER(KVM_CAP_XSAVE2, sizeof(struct kvm_xsave)),	/* all that is offered fits */
	NUMBER(KVM_CAP_ADJUST_CLOCK,
	       KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC),
	NUMBER(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	       KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET),
};

/**
 * rl_check_extension() - KVM_CHECK_EXTENSION
 * @vm: NULL: of the system
 * @ext: KVM_CAP_*
 *
 * Announces what works, nothing else. What is missing here answers 0, which is
 * also KVM's answer to a capability that it has not heard of.
 */
int rl_check_extension(struct rl_vm *vm, unsigned long ext)
{
	int i;

	switch (ext) {
	case KVM_CAP_STEAL_TIME:
		return sched_info_on();
	case KVM_CAP_XCRS:
		return boot_cpu_has(X86_FEATURE_XSAVE);
	case KVM_CAP_NR_VCPUS:
		return min_t(int, num_online_cpus(), RL_MAX_VCPUS);
	case KVM_CAP_TSC_CONTROL:
	case KVM_CAP_VM_TSC_CONTROL:
		return rl_caps.tsc_scaling;
	case KVM_CAP_X86_ROBUST_SINGLESTEP:
	case KVM_CAP_SET_GUEST_DEBUG:
		return rl_caps.guest_debug;
	case KVM_CAP_SET_GUEST_DEBUG2:
		return rl_caps.guest_debug ? RL_GUESTDBG_VALID : 0;
	case KVM_CAP_X86_BUS_LOCK_EXIT:
		return rl_caps.bus_lock ? RL_BUS_LOCK_MODES : 0;
	case KVM_CAP_X86_NOTIFY_VMEXIT:
		return rl_caps.notify;
	}
	for (i = 0; i < ARRAY_SIZE(plain_caps); i++)
		if (plain_caps[i] == ext)
			return 1;
	for (i = 0; i < ARRAY_SIZE(number_caps); i++)
		if (number_caps[i].cap == ext)
			return number_caps[i].says;
	return 0;
}

/* The ioctls that take vm->lock; see LOCKED(). */

static int vm_create_vcpu(struct rl_vm *vm, unsigned long id)
{
	struct rl_vcpu *vcpu;
	int fd;

	if (id >= (vm->max_vcpu_id ?: RL_MAX_VCPU_ID) || vm->nr_vcpus >= RL_MAX_VCPUS)
		return -EINVAL;
	if (rl_vcpu_by_id(vm, id))
		return -EEXIST;
	vcpu = rl_vcpu_create(vm, id);
	if (IS_ERR(vcpu))
		return PTR_ERR(vcpu);
	vcpu->index = vm->nr_vcpus;
	/* The descriptor's reference; given back with the descriptor. */
	rl_vm_get(vm);
	fd = rl_vcpu_new_fd(vcpu);
	if (fd < 0) {
		/* Not the last one: the VM descriptor of this very call lives. */
		rl_vm_put(vm);
		rl_vcpu_destroy(vcpu);
		return fd;
	}
	vm->vcpus[vm->nr_vcpus] = vcpu;
	/* Pairs with rl_for_each_vcpu(): the slot is filled before it counts. */
	smp_store_release(&vm->nr_vcpus, vm->nr_vcpus + 1);
	rl_lapic_map_update(vm);
	fd_install(fd, vcpu->filp);
	return fd;
}

static int vm_enable_cap(struct rl_vm *vm, const struct kvm_enable_cap *cap)
{
	u64 val = cap->args[0];
	int i;

	if (cap->flags)
		return -EINVAL;
	switch (cap->cap) {
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return rl_set_manual_protect(vm, val);
	case KVM_CAP_DIRTY_LOG_RING:
	case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
		return rl_set_dirty_ring(vm, val);
	case KVM_CAP_SPLIT_IRQCHIP:
		return rl_split_irqchip(vm, val);
	case KVM_CAP_X86_DISABLE_EXITS:
		/* Others than those that are offered are taken, and do nothing. */
		if (vm->nr_vcpus || val & ~KVM_X86_DISABLE_VALID_EXITS)
			return -EINVAL;
		val = (val & rl_check_extension(vm, cap->cap)) | vm->disabled_exits;
		break;
	case KVM_CAP_X86_BUS_LOCK_EXIT:
		if (val == RL_BUS_LOCK_MODES)
			return -EINVAL;
		break;
	case KVM_CAP_X86_NOTIFY_VMEXIT:
		if (!rl_caps.notify || vm->nr_vcpus || !(val & KVM_X86_NOTIFY_VMEXIT_ENABLED))
			return -EINVAL;
		break;
	case KVM_CAP_X2APIC_API:
		val |= vm->x2apic_api;		/* never off again */
		break;
	case KVM_CAP_MAX_VCPU_ID:
		/* Once, for what it saves user space is the VM's to hold. */
		if (val > RL_MAX_VCPU_ID || (vm->max_vcpu_id && vm->max_vcpu_id != val))
			return -EINVAL;
		break;
	}
	for (i = 0; i < ARRAY_SIZE(number_caps); i++) {
		if (number_caps[i].cap != cap->cap)
			continue;
		if (!number_caps[i].field || val & ~number_caps[i].valid)
			return -EINVAL;
		WRITE_ONCE(*(u64 *)((void *)vm + number_caps[i].field), val);
		return 0;
	}
	return -EINVAL;
}

static int vm_set_boot_cpu(struct rl_vm *vm, unsigned long id)
{
	if (vm->nr_vcpus)
		return -EBUSY;
	vm->irq.bsp_id = id;
	return 0;
}

/* Others */

static int vm_set_routing(struct rl_vm *vm, const struct kvm_irq_routing *head,
			  const struct kvm_irq_routing_entry __user *user)
{
	struct kvm_irq_routing_entry *entries = NULL;
	int r;

	if (!rl_irqchip_in_kernel(&vm->irq) || head->nr > RL_NR_GSIS || head->flags)
		return -EINVAL;
	if (head->nr) {
		entries = vmemdup_user(user, array_size(head->nr, sizeof(*entries)));
		if (IS_ERR(entries))
			return PTR_ERR(entries);
	}
	r = rl_set_routing(vm, entries, head->nr);
	kvfree(entries);
	return r;
}

static int vm_pit2(struct rl_vm *vm, struct kvm_pit_state2 *st, bool set)
{
	return rl_pit_state(vm, st->channels, &st->flags, set);
}

/* Its number says nothing of an argument. */
static int vm_reinject_control(struct rl_vm *vm, const struct kvm_reinject_control __user *user)
{
	struct kvm_reinject_control ctl;

	return copy_from_user(&ctl, user, sizeof(ctl)) ? -EFAULT : rl_reinject_control(vm, &ctl);
}

/*
 * A bound for the page tables of a guest whose memory is shadowed. Two-stage
 * tables are bounded by the guest's memory itself: kept, and no more than that.
 */
static int vm_set_nr_mmu_pages(struct rl_vm *vm, unsigned long n)
{
	if (n < 64)
		return -EINVAL;
	WRITE_ONCE(vm->nr_mmu_pages, n);
	return 0;
}

#define LOCKED(vm, expr) ({		\
	int _r;				\
					\
	mutex_lock(&(vm)->lock);	\
	_r = expr;			\
	mutex_unlock(&(vm)->lock);	\
	_r;				\
})

/*
 * KVM_SET_TSS_ADDR and KVM_SET_IDENTITY_MAP_ADDR: three pages for real-mode
 * guests and one for an identity map, which CPUs without unrestricted guest
 * need. Checked and otherwise ignored: every CPU that the module loads on has
 * it. KVM_GET_PIT and KVM_SET_PIT lack KVM_GET_PIT2's flags, behind the channels.
 */
#define VM_IOCTLS(X)									\
	X(KVM_CHECK_EXTENSION, RAW, rl_check_extension(vm, arg))			\
	X(KVM_CREATE_VCPU, RAW, LOCKED(vm, vm_create_vcpu(vm, arg)))			\
	X(KVM_ENABLE_CAP, IN, LOCKED(vm, vm_enable_cap(vm, data)))			\
	X(KVM_SET_USER_MEMORY_REGION, IN, rl_set_memory_region(vm, data))		\
	X(KVM_GET_DIRTY_LOG, IN, rl_get_dirty_log(vm, data))				\
	X(KVM_CLEAR_DIRTY_LOG, IN, rl_clear_dirty_log(vm, data))			\
	X(KVM_SET_NR_MMU_PAGES, RAW, vm_set_nr_mmu_pages(vm, arg))			\
	X(KVM_GET_NR_MMU_PAGES, RAW, READ_ONCE(vm->nr_mmu_pages))			\
	X(KVM_REGISTER_COALESCED_MMIO, IN, rl_coalesced_add(vm, data))			\
	X(KVM_UNREGISTER_COALESCED_MMIO, IN, rl_coalesced_del(vm, data))		\
	X(KVM_RESET_DIRTY_RINGS, RAW, rl_reset_dirty_rings(vm))				\
	X(KVM_GET_STATS_FD, RAW, rl_vm_stats_fd(vm))					\
	X(KVM_SET_TSS_ADDR, RAW, arg > (u32)(-3 * PAGE_SIZE) ? -EINVAL : 0)		\
	X(KVM_SET_IDENTITY_MAP_ADDR, IN, vm->nr_vcpus ? -EINVAL : 0)			\
	X(KVM_SET_BOOT_CPU_ID, RAW, LOCKED(vm, vm_set_boot_cpu(vm, arg)))		\
	X(KVM_CREATE_IRQCHIP, RAW, LOCKED(vm, rl_create_irqchip(vm)))			\
	X(KVM_GET_IRQCHIP, INOUT, rl_irqchip_state(vm, data, false))			\
	X(KVM_SET_IRQCHIP, IN, rl_irqchip_state(vm, data, true))			\
	X(KVM_CREATE_PIT, RAW, LOCKED(vm, rl_create_pit(vm, KVM_PIT_SPEAKER_DUMMY)))	\
	X(KVM_CREATE_PIT2, IN,								\
	  LOCKED(vm, rl_create_pit(vm, ((struct kvm_pit_config *)data)->flags)))	\
	X(KVM_GET_PIT, OUT, rl_pit_state(vm, data, NULL, false))			\
	X(KVM_SET_PIT, IN, rl_pit_state(vm, data, NULL, true))				\
	X(KVM_GET_PIT2, OUT, vm_pit2(vm, data, false))					\
	X(KVM_SET_PIT2, IN, vm_pit2(vm, data, true))					\
	X(KVM_REINJECT_CONTROL, RAW, LOCKED(vm, vm_reinject_control(vm, user)))		\
	X(KVM_SET_GSI_ROUTING, IN,							\
	  vm_set_routing(vm, data, user + sizeof(struct kvm_irq_routing)))		\
	X(KVM_IRQ_LINE, IN, rl_irq_line(vm, data))					\
	X(KVM_IRQ_LINE_STATUS, INOUT, rl_irq_line(vm, data))				\
	X(KVM_SIGNAL_MSI, IN, rl_signal_msi(vm, data))					\
	X(KVM_IRQFD, IN, rl_irqfd(vm, data))						\
	X(KVM_IOEVENTFD, IN, rl_ioeventfd(vm, data))					\
	X(KVM_X86_SET_MSR_FILTER, IN, rl_set_msr_filter(vm, data))			\
	X(KVM_SET_TSC_KHZ, RAW, rl_vm_set_tsc_khz(vm, arg))				\
	X(KVM_GET_TSC_KHZ, RAW, vm->clock.default_tsc_khz)				\
	X(KVM_GET_CLOCK, OUT, rl_get_clock(vm, data))					\
	X(KVM_SET_CLOCK, IN, rl_set_clock(vm, data))					\
	X(RINGLET_GET_CAPS, OUT, rl_vdev_caps(data))					\
	X(RINGLET_CREATE_DEVICE, IN, rl_vdev_create(vm, data))

RL_IOCTL_TABLE(vm_ioctls, VM_IOCTLS);

static long vm_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct rl_vm *vm = filp->private_data;

	/* Slots are addresses of the creator's memory, and its alone. */
	if (vm->mm != current->mm || READ_ONCE(vm->dead))
		return -EIO;
	return rl_ioctl(vm_ioctls, ARRAY_SIZE(vm_ioctls), vm, cmd, arg, -ENOTTY);
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.release = vm_release,
	.unlocked_ioctl = vm_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};
