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

static void vm_destroy(struct rl_vm *vm)
{
	int i;

	rl_netlink_del_vm(vm);
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
	int r;

	vm = kvzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return ERR_PTR(-ENOMEM);

	refcount_set(&vm->users, 1);
	mutex_init(&vm->lock);
	mutex_init(&vm->slots_lock);
	INIT_LIST_HEAD(&vm->vdevs);
	vm->mm = current->mm;
	vm->halt_poll_ns = -1;
	mmgrab(vm->mm);
	rl_vm_clock_init(vm);

	r = init_srcu_struct(&vm->srcu);
	if (r)
		goto err_free;
	r = rl_slots_init(vm);
	if (r)
		goto err_srcu;
	r = rl_coalesced_init(vm);
	if (r)
		goto err_slots;
	r = rl_bus_init(vm);
	if (r)
		goto err_coalesced;
	r = rl_mmu_init(vm);
	if (r)
		goto err_bus;
	r = rl_irq_init(vm);
	if (r)
		goto err_mmu;
	r = rl_notifier_register(vm);
	if (r)
		goto err_irq;
	r = rl_netlink_add_vm(vm);
	if (r)
		goto err_notifier;
	preempt_notifier_inc();
	return vm;

err_notifier:
	rl_notifier_unregister(vm);
err_irq:
	rl_irq_destroy(vm);
err_mmu:
	rl_mmu_destroy(vm);
err_bus:
	rl_bus_destroy(vm);
err_coalesced:
	rl_coalesced_destroy(vm);
err_slots:
	rl_slots_destroy(vm);
err_srcu:
	cleanup_srcu_struct(&vm->srcu);
err_free:
	mmdrop(vm->mm);
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
	struct file *file;
	struct rl_vm *vm;
	int fd, r;

	if (type)
		return -EINVAL;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	r = rl_hw_get();
	if (r)
		goto err_fd;
	vm = vm_alloc();
	if (IS_ERR(vm)) {
		r = PTR_ERR(vm);
		goto err_hw;
	}
	/* Until vm_destroy(), which runs in code of this module. */
	__module_get(THIS_MODULE);
	file = anon_inode_getfile("ringlet-vm", &vm_fops, vm, O_RDWR);
	if (IS_ERR(file)) {
		rl_vm_put(vm);
		r = PTR_ERR(file);
		goto err_fd;
	}
	fd_install(fd, file);
	return fd;

err_hw:
	rl_hw_put();
err_fd:
	put_unused_fd(fd);
	return r;
}

/**
 * rl_check_extension() - KVM_CHECK_EXTENSION
 * @vm: NULL: of the system
 * @ext: KVM_CAP_*
 *
 * Announces what works, nothing else. What is missing here answers 0, which is
 * also KVM's answer to a capability that it has not heard of.
 */
int rl_check_extension(struct rl_vm *vm, long ext)
{
	switch (ext) {
	case KVM_CAP_IRQCHIP:
	case KVM_CAP_HLT:
	case KVM_CAP_USER_MEMORY:
	case KVM_CAP_DESTROY_MEMORY_REGION_WORKS:
	case KVM_CAP_JOIN_MEMORY_REGIONS_WORKS:
	case KVM_CAP_INTERNAL_ERROR_DATA:
	case KVM_CAP_READONLY_MEM:
	case KVM_CAP_SET_TSS_ADDR:
	case KVM_CAP_SET_IDENTITY_MAP_ADDR:
	case KVM_CAP_EXT_CPUID:
	case KVM_CAP_EXT_EMUL_CPUID:
	case KVM_CAP_CLOCKSOURCE:
	case KVM_CAP_PIT:
	case KVM_CAP_NOP_IO_DELAY:
	case KVM_CAP_MP_STATE:
	case KVM_CAP_USER_NMI:
	case KVM_CAP_REINJECT_CONTROL:
	case KVM_CAP_IRQ_INJECT_STATUS:
	case KVM_CAP_IRQFD:
	case KVM_CAP_SET_BOOT_CPU_ID:
	case KVM_CAP_IRQFD_RESAMPLE:
	case KVM_CAP_IOEVENTFD:
	case KVM_CAP_IOEVENTFD_NO_LENGTH:
	case KVM_CAP_IOEVENTFD_ANY_LENGTH:
	case KVM_CAP_PIT2:
	case KVM_CAP_PIT_STATE2:
	case KVM_CAP_VCPU_EVENTS:
	case KVM_CAP_DEBUGREGS:
	case KVM_CAP_XSAVE:
	case KVM_CAP_GET_TSC_KHZ:
	case KVM_CAP_TSC_DEADLINE_TIMER:
	case KVM_CAP_SIGNAL_MSI:
	case KVM_CAP_CHECK_EXTENSION_VM:
	case KVM_CAP_ENABLE_CAP_VM:
	case KVM_CAP_DISABLE_QUIRKS:
	case KVM_CAP_IMMEDIATE_EXIT:
	case KVM_CAP_GET_MSR_FEATURES:
	case KVM_CAP_KVMCLOCK_CTRL:
	case KVM_CAP_EXCEPTION_PAYLOAD:
	case KVM_CAP_SREGS2:
	case KVM_CAP_COALESCED_PIO:
	case KVM_CAP_MMU_SHADOW_CACHE_CONTROL:
	case KVM_CAP_PCI_SEGMENT:
	case KVM_CAP_IOAPIC_POLARITY_IGNORED:
	case KVM_CAP_LAST_CPU:
	case KVM_CAP_ENABLE_CAP:
	case KVM_CAP_ENFORCE_PV_FEATURE_CPUID:
	case KVM_CAP_EXIT_ON_EMULATION_FAILURE:
	case KVM_CAP_HALT_POLL:
	case KVM_CAP_MSR_PLATFORM_INFO:
	case KVM_CAP_SYS_ATTRIBUTES:
	case KVM_CAP_VCPU_ATTRIBUTES:
	case KVM_CAP_X86_TRIPLE_FAULT_EVENT:
	case KVM_CAP_BINARY_STATS_FD:
	case KVM_CAP_SPLIT_IRQCHIP:
	case KVM_CAP_VAPIC:
	case KVM_CAP_X86_USER_SPACE_MSR:
	case KVM_CAP_X86_MSR_FILTER:
		return 1;
	case KVM_CAP_DISABLE_QUIRKS2:
		return RL_QUIRKS;
	case KVM_CAP_COALESCED_MMIO:
		return KVM_COALESCED_MMIO_PAGE_OFFSET;
	case KVM_CAP_STEAL_TIME:
		return sched_info_on();
	case KVM_CAP_XSAVE2:
		return sizeof(struct kvm_xsave);	/* all that is offered fits */
	case KVM_CAP_EXIT_HYPERCALL:
		return BIT(KVM_HC_MAP_GPA_RANGE);
	case KVM_CAP_SYNC_REGS:
		return KVM_SYNC_X86_VALID_FIELDS;
	case KVM_CAP_XCRS:
		return boot_cpu_has(X86_FEATURE_XSAVE);
	case KVM_CAP_ADJUST_CLOCK:
		return KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	case KVM_CAP_SYNC_MMU:
		return 1;
	case KVM_CAP_IRQ_ROUTING:
		return RL_NR_GSIS;
	case KVM_CAP_NR_VCPUS:
		return min_t(int, num_online_cpus(), RL_MAX_VCPUS);
	case KVM_CAP_MAX_VCPUS:
		return RL_MAX_VCPUS;
	case KVM_CAP_MAX_VCPU_ID:
		return RL_MAX_VCPU_ID;
	case KVM_CAP_NR_MEMSLOTS:
		return RL_NR_MEMSLOTS;
	case KVM_CAP_MCE:
		return RL_MAX_MCE_BANKS;
	case KVM_CAP_TSC_CONTROL:
	case KVM_CAP_VM_TSC_CONTROL:
		return rl_caps.tsc_scaling;
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		return KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;
	case KVM_CAP_X2APIC_API:
		return KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
	case KVM_CAP_X86_DISABLE_EXITS:
		return KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE;
	case KVM_CAP_X86_ROBUST_SINGLESTEP:
	case KVM_CAP_SET_GUEST_DEBUG:
		return rl_caps.guest_debug;
	case KVM_CAP_SET_GUEST_DEBUG2:
		return rl_caps.guest_debug ? RL_GUESTDBG_VALID : 0;
	default:
		return 0;
	}
}

static int vm_check_extension(void *obj, void *data, unsigned long arg)
{
	return rl_check_extension(obj, arg);
}

static int vm_create_vcpu(void *obj, void *data, unsigned long id)
{
	struct rl_vm *vm = obj;
	struct rl_vcpu *vcpu;
	int r;

	if (id >= RL_MAX_VCPU_ID)
		return -EINVAL;
	mutex_lock(&vm->lock);
	r = -EINVAL;
	if (vm->nr_vcpus >= RL_MAX_VCPUS || (vm->max_vcpu_id && id >= vm->max_vcpu_id))
		goto out;
	r = -EEXIST;
	if (rl_vcpu_by_id(vm, id))
		goto out;
	vcpu = rl_vcpu_create(vm, id);
	r = PTR_ERR_OR_ZERO(vcpu);
	if (r)
		goto out;
	vcpu->index = vm->nr_vcpus;
	/* The descriptor's reference; given back with the descriptor. */
	rl_vm_get(vm);
	r = rl_vcpu_new_fd(vcpu);
	if (r < 0) {
		/* Not the last one: the VM descriptor of this very call lives. */
		rl_vm_put(vm);
		rl_vcpu_destroy(vcpu);
		goto out;
	}
	vm->vcpus[vm->nr_vcpus] = vcpu;
	/* Pairs with rl_for_each_vcpu(): the slot is filled before it counts. */
	smp_store_release(&vm->nr_vcpus, vm->nr_vcpus + 1);
	rl_lapic_map_update(vm);
	fd_install(r, vcpu->filp);
out:
	mutex_unlock(&vm->lock);
	return r;
}

static int vm_enable_cap(struct rl_vm *vm, const struct kvm_enable_cap *cap)
{
	int r = -EINVAL;

	if (cap->flags)
		return -EINVAL;
	mutex_lock(&vm->lock);
	switch (cap->cap) {
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		r = rl_set_manual_protect(vm, cap->args[0]);
		break;
	case KVM_CAP_DISABLE_QUIRKS2:
		if (cap->args[0] & ~(u64)RL_QUIRKS)
			break;
		fallthrough;
	case KVM_CAP_DISABLE_QUIRKS:
		vm->quirks_off = cap->args[0];
		r = 0;
		break;
	case KVM_CAP_X2APIC_API:
		if (cap->args[0] & ~(KVM_X2APIC_API_USE_32BIT_IDS |
				     KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK))
			break;
		if (cap->args[0] & KVM_X2APIC_API_USE_32BIT_IDS)
			vm->x2apic_32bit = true;
		if (cap->args[0] & KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK)
			vm->x2apic_no_broadcast = true;
		r = 0;
		break;
	case KVM_CAP_X86_DISABLE_EXITS:
		if (cap->args[0] & ~(u64)rl_check_extension(vm, KVM_CAP_X86_DISABLE_EXITS) ||
		    vm->nr_vcpus)
			break;
		vm->disabled_exits = cap->args[0];
		r = 0;
		break;
	case KVM_CAP_X86_TRIPLE_FAULT_EVENT:
		vm->triple_fault_event = cap->args[0];
		r = 0;
		break;
	case KVM_CAP_EXIT_ON_EMULATION_FAILURE:
		if (cap->args[0] > 1)
			break;
		vm->exit_on_emul_failure = cap->args[0];
		r = 0;
		break;
	case KVM_CAP_EXIT_HYPERCALL:
		if (cap->args[0] & ~(u64)BIT(KVM_HC_MAP_GPA_RANGE))
			break;
		vm->user_hypercalls = cap->args[0];
		r = 0;
		break;
	case KVM_CAP_MSR_PLATFORM_INFO:
		vm->hide_platform_info = !cap->args[0];
		r = 0;
		break;
	case KVM_CAP_HALT_POLL:
		if (cap->args[0] > UINT_MAX)
			break;
		WRITE_ONCE(vm->halt_poll_ns, cap->args[0]);
		r = 0;
		break;
	case KVM_CAP_MAX_VCPU_ID:
		/* Once, for what it saves user space is the VM's to hold. */
		if (cap->args[0] > RL_MAX_VCPU_ID ||
		    (vm->max_vcpu_id && vm->max_vcpu_id != cap->args[0]))
			break;
		vm->max_vcpu_id = cap->args[0];
		r = 0;
		break;
	case KVM_CAP_SPLIT_IRQCHIP:
		r = rl_split_irqchip(vm, cap->args[0]);
		break;
	case KVM_CAP_X86_USER_SPACE_MSR:
		if (cap->args[0] & ~(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
				     KVM_MSR_EXIT_REASON_FILTER))
			break;
		WRITE_ONCE(vm->user_msr_reasons, cap->args[0]);
		r = 0;
		break;
	case KVM_CAP_EXCEPTION_PAYLOAD:
		vm->exception_payload = cap->args[0];
		r = 0;
		break;
	}
	mutex_unlock(&vm->lock);
	return r;
}

/*
 * Three pages for real-mode guests and one for an identity map, which CPUs
 * without unrestricted guest need. Checked and otherwise ignored: every CPU
 * that the module loads on has it.
 */
static int vm_set_tss_addr(void *obj, void *data, unsigned long addr)
{
	return addr > UINT_MAX - 3 * PAGE_SIZE ? -EINVAL : 0;
}

static int vm_set_identity_map(struct rl_vm *vm, u64 *addr)
{
	return vm->nr_vcpus ? -EINVAL : 0;
}

static int vm_set_boot_cpu(void *obj, void *data, unsigned long id)
{
	struct rl_vm *vm = obj;
	int r = -EBUSY;

	mutex_lock(&vm->lock);
	if (!vm->nr_vcpus) {
		vm->irq.bsp_id = id;
		r = 0;
	}
	mutex_unlock(&vm->lock);
	return r;
}

static int vm_set_tsc_khz(void *obj, void *data, unsigned long khz)
{
	return rl_vm_set_tsc_khz(obj, khz);
}

static int vm_get_tsc_khz(void *obj, void *data, unsigned long arg)
{
	return ((struct rl_vm *)obj)->clock.default_tsc_khz;
}

static int vm_create_irqchip(void *obj, void *data, unsigned long arg)
{
	struct rl_vm *vm = obj;
	int r;

	mutex_lock(&vm->lock);
	r = rl_create_irqchip(vm);
	mutex_unlock(&vm->lock);
	return r;
}

static int vm_create_pit(struct rl_vm *vm, const struct kvm_pit_config *cfg)
{
	int r;

	mutex_lock(&vm->lock);
	r = rl_create_pit(vm, cfg);
	mutex_unlock(&vm->lock);
	return r;
}

static int vm_create_pit1(void *obj, void *data, unsigned long arg)
{
	static const struct kvm_pit_config cfg = { .flags = KVM_PIT_SPEAKER_DUMMY };

	return vm_create_pit(obj, &cfg);
}

static int vm_set_routing(void *obj, void *data, unsigned long arg)
{
	struct kvm_irq_routing __user *user = (void __user *)arg;
	struct kvm_irq_routing_entry *entries = NULL;
	struct kvm_irq_routing head;
	struct rl_vm *vm = obj;
	int r;

	if (copy_from_user(&head, user, sizeof(head)))
		return -EFAULT;
	if (!rl_irqchip_in_kernel(&vm->irq) || head.nr > RL_NR_GSIS || head.flags)
		return -EINVAL;
	if (head.nr) {
		entries = vmemdup_user(user->entries, array_size(head.nr, sizeof(*entries)));
		if (IS_ERR(entries))
			return PTR_ERR(entries);
	}
	r = rl_set_routing(vm, entries, head.nr);
	kvfree(entries);
	return r;
}

/* Its number says nothing of an argument. */
static int vm_reinject_control(void *obj, void *data, unsigned long arg)
{
	struct kvm_reinject_control ctl;

	if (copy_from_user(&ctl, (void __user *)arg, sizeof(ctl)))
		return -EFAULT;
	return rl_reinject_control(obj, &ctl);
}

/*
 * A bound for the page tables of a guest whose memory is shadowed. Two-stage
 * tables are bounded by the guest's memory itself: kept, and no more than that.
 */
static int vm_set_nr_mmu_pages(void *obj, void *data, unsigned long n)
{
	struct rl_vm *vm = obj;

	if (n < 64)
		return -EINVAL;
	WRITE_ONCE(vm->nr_mmu_pages, n);
	return 0;
}

static int vm_get_nr_mmu_pages(void *obj, void *data, unsigned long arg)
{
	return READ_ONCE(((struct rl_vm *)obj)->nr_mmu_pages);
}

/* The old pair lacks the flags. */
static int vm_get_pit1(struct rl_vm *vm, struct kvm_pit_state *old)
{
	struct kvm_pit_state2 st;
	int r = rl_get_pit(vm, &st);

	if (!r)
		memcpy(old->channels, st.channels, sizeof(old->channels));
	return r;
}

static int vm_set_pit1(struct rl_vm *vm, const struct kvm_pit_state *old)
{
	struct kvm_pit_state2 st = {};

	memcpy(st.channels, old->channels, sizeof(old->channels));
	return rl_set_pit(vm, &st);
}

static int vm_irq_line(struct rl_vm *vm, struct kvm_irq_level *level)
{
	return rl_irq_line(vm, level);
}

static int vm_stats_fd(void *obj, void *data, unsigned long arg)
{
	return rl_vm_stats_fd(obj);
}

static int vm_caps(struct rl_vm *vm, struct ringlet_caps *caps)
{
	return rl_vdev_caps(caps);
}

RL_IOC_FN(rl_set_memory_region)
RL_IOC_FN(rl_get_dirty_log)
RL_IOC_FN(rl_clear_dirty_log)
RL_IOC_FN(rl_get_irqchip)
RL_IOC_FN(rl_set_irqchip)
RL_IOC_FN(rl_signal_msi)
RL_IOC_FN(rl_irqfd)
RL_IOC_FN(rl_ioeventfd)
RL_IOC_FN(rl_get_pit)
RL_IOC_FN(rl_set_pit)
RL_IOC_FN(rl_get_clock)
RL_IOC_FN(rl_set_clock)
RL_IOC_FN(rl_coalesced_add)
RL_IOC_FN(rl_coalesced_del)
RL_IOC_FN(rl_set_msr_filter)
RL_IOC_FN(vm_get_pit1)
RL_IOC_FN(vm_set_pit1)
RL_IOC_FN(rl_vdev_create)
RL_IOC_FN(vm_caps)
RL_IOC_FN(vm_irq_line)
RL_IOC_FN(vm_enable_cap)
RL_IOC_FN(vm_set_identity_map)
RL_IOC_FN(vm_create_pit)

static const struct rl_ioctl vm_ioctls[] = {
	{ KVM_CHECK_EXTENSION, RL_IOC_RAW, vm_check_extension },
	{ KVM_CREATE_VCPU, RL_IOC_RAW, vm_create_vcpu },
	{ KVM_ENABLE_CAP, RL_IOC_IN, ioc_vm_enable_cap },
	{ KVM_SET_USER_MEMORY_REGION, RL_IOC_IN, ioc_rl_set_memory_region },
	{ KVM_GET_DIRTY_LOG, RL_IOC_IN, ioc_rl_get_dirty_log },
	{ KVM_CLEAR_DIRTY_LOG, RL_IOC_IN, ioc_rl_clear_dirty_log },
	{ KVM_SET_NR_MMU_PAGES, RL_IOC_RAW, vm_set_nr_mmu_pages },
	{ KVM_GET_NR_MMU_PAGES, RL_IOC_RAW, vm_get_nr_mmu_pages },
	{ KVM_REGISTER_COALESCED_MMIO, RL_IOC_IN, ioc_rl_coalesced_add },
	{ KVM_UNREGISTER_COALESCED_MMIO, RL_IOC_IN, ioc_rl_coalesced_del },
	{ KVM_GET_STATS_FD, RL_IOC_RAW, vm_stats_fd },
	{ KVM_SET_TSS_ADDR, RL_IOC_RAW, vm_set_tss_addr },
	{ KVM_SET_IDENTITY_MAP_ADDR, RL_IOC_IN, ioc_vm_set_identity_map },
	{ KVM_SET_BOOT_CPU_ID, RL_IOC_RAW, vm_set_boot_cpu },
	{ KVM_CREATE_IRQCHIP, RL_IOC_RAW, vm_create_irqchip },
	{ KVM_GET_IRQCHIP, RL_IOC_INOUT, ioc_rl_get_irqchip },
	{ KVM_SET_IRQCHIP, RL_IOC_IN, ioc_rl_set_irqchip },
	{ KVM_CREATE_PIT, RL_IOC_RAW, vm_create_pit1 },
	{ KVM_CREATE_PIT2, RL_IOC_IN, ioc_vm_create_pit },
	{ KVM_GET_PIT, RL_IOC_OUT, ioc_vm_get_pit1 },
	{ KVM_SET_PIT, RL_IOC_IN, ioc_vm_set_pit1 },
	{ KVM_GET_PIT2, RL_IOC_OUT, ioc_rl_get_pit },
	{ KVM_SET_PIT2, RL_IOC_IN, ioc_rl_set_pit },
	{ KVM_REINJECT_CONTROL, RL_IOC_RAW, vm_reinject_control },
	{ KVM_SET_GSI_ROUTING, RL_IOC_RAW, vm_set_routing },
	{ KVM_IRQ_LINE, RL_IOC_IN, ioc_vm_irq_line },
	{ KVM_IRQ_LINE_STATUS, RL_IOC_INOUT, ioc_vm_irq_line },
	{ KVM_SIGNAL_MSI, RL_IOC_IN, ioc_rl_signal_msi },
	{ KVM_IRQFD, RL_IOC_IN, ioc_rl_irqfd },
	{ KVM_IOEVENTFD, RL_IOC_IN, ioc_rl_ioeventfd },
	{ KVM_X86_SET_MSR_FILTER, RL_IOC_IN, ioc_rl_set_msr_filter },
	{ KVM_SET_TSC_KHZ, RL_IOC_RAW, vm_set_tsc_khz },
	{ RINGLET_GET_CAPS, RL_IOC_OUT, ioc_vm_caps },
	{ RINGLET_CREATE_DEVICE, RL_IOC_IN, ioc_rl_vdev_create },
	{ KVM_GET_TSC_KHZ, RL_IOC_RAW, vm_get_tsc_khz },
	{ KVM_GET_CLOCK, RL_IOC_OUT, ioc_rl_get_clock },
	{ KVM_SET_CLOCK, RL_IOC_IN, ioc_rl_set_clock },
};

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
