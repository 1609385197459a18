// SPDX-License-Identifier: GPL-2.0-only
/*
 * Load and unload, the device nodes with their system ioctls, and who has
 * virtualization switched on: every CPU from the first VM to the last.
 *
 * Owns:    rl_ops, rl_caps, hw_users, the per-CPU "virtualization is on" flag.
 * Touches: vm.h to create VMs.
 * Locks:   hw_lock, inside it cpus_read_lock(). A CPU's own flag is written on
 *          that CPU with IRQs off.
 * Manuals: SDM Vol 3C, "Enabling and Entering VMX Operation"; APM Vol 2,
 *          "Enabling SVM".
 */
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/panic_notifier.h>
#include <linux/reboot.h>
#include <linux/syscore_ops.h>

#include "cpu/cpu.h"
#include "ioctl.h"
#include "netlink.h"
#include "vcpu.h"
#include "vendor.h"
#include "virtio/virtio.h"
#include "vm.h"

static bool kvm_node;
module_param(kvm_node, bool, 0444);
MODULE_PARM_DESC(kvm_node, "also register /dev/kvm (fails when kvm.ko holds it)");

const struct rl_vendor_ops *rl_ops __ro_after_init;
const struct rl_tdp_fmt *rl_tdp_fmt __ro_after_init;
struct rl_vendor_caps rl_caps;

static DEFINE_MUTEX(hw_lock);
static int hw_users;			/* [hw_lock] VMs alive */
static bool hw_down;			/* reboot or panic: nothing is switched on again */
DEFINE_PER_CPU(bool, rl_cpu_on);
static enum cpuhp_state hp_state;

/* IRQs off on the CPU concerned. */
static int this_cpu_enable(void)
{
	int r;

	if (rl_cpu_is_on())
		return 0;
	r = rl_ops->cpu_enable();
	if (!r)
		__this_cpu_write(rl_cpu_on, true);
	return r;
}

static void this_cpu_disable(void *unused)
{
	if (!rl_cpu_is_on())
		return;
	__this_cpu_write(rl_cpu_on, false);
	rl_ops->cpu_disable();
}

static void enable_one(void *result)
{
	int r = this_cpu_enable();

	/* Any one of the failures will do; they have been reported per CPU. */
	if (r)
		atomic_cmpxchg((atomic_t *)result, 0, r);
}

/**
 * rl_hw_get() - Switch virtualization on for one more VM
 *
 * Context: may sleep. Pairs with rl_hw_put().
 * Return: 0, -EBUSY when another hypervisor has a CPU, -EIO when a CPU refuses.
 */
int rl_hw_get(void)
{
	atomic_t result = ATOMIC_INIT(0);
	int r = 0;

	cpus_read_lock();
	mutex_lock(&hw_lock);
	if (hw_down) {
		r = -EIO;
	} else if (hw_users++ == 0) {
		on_each_cpu(enable_one, &result, 1);
		r = atomic_read(&result);
		if (r) {
			hw_users--;
			on_each_cpu(this_cpu_disable, NULL, 1);
		}
	}
	mutex_unlock(&hw_lock);
	cpus_read_unlock();
	return r;
}

void rl_hw_put(void)
{
	cpus_read_lock();
	mutex_lock(&hw_lock);
	if (--hw_users == 0)
		on_each_cpu(this_cpu_disable, NULL, 1);
	mutex_unlock(&hw_lock);
	cpus_read_unlock();
}

/* Hotplug: on the CPU that comes or goes, its own kernel thread. */
static int cpu_comes(unsigned int cpu)
{
	unsigned long flags;
	int r = 0;

	mutex_lock(&hw_lock);
	if (hw_users && !hw_down) {
		local_irq_save(flags);
		r = this_cpu_enable();
		local_irq_restore(flags);
	}
	mutex_unlock(&hw_lock);
	return r;
}

static int cpu_goes(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	this_cpu_disable(NULL);
	local_irq_restore(flags);
	return 0;
}

/* Suspend reaches the last CPU only; hotplug has dealt with the others. */
static int hw_suspend(void)
{
	this_cpu_disable(NULL);
	return 0;
}

static void hw_resume(void)
{
	if (hw_users && !hw_down)
		WARN_ON(this_cpu_enable());
}

static struct syscore_ops hw_syscore_ops = { .suspend = hw_suspend, .resume = hw_resume };

/*
 * INIT is blocked in VMX operation and a kexec'ed kernel expects the extension
 * off. vCPU threads may still be running; rl_cpu_is_on() keeps them out of the
 * guest from here on.
 */
static int hw_reboot(struct notifier_block *nb, unsigned long val, void *v)
{
	mutex_lock(&hw_lock);
	hw_down = true;
	on_each_cpu(this_cpu_disable, NULL, 1);
	mutex_unlock(&hw_lock);
	return NOTIFY_OK;
}

static struct notifier_block reboot_nb = { .notifier_call = hw_reboot };

/* In a panic only the CPU that panics can still be helped. */
static int hw_panic(struct notifier_block *nb, unsigned long val, void *v)
{
	hw_down = true;
	this_cpu_disable(NULL);
	return NOTIFY_DONE;
}

static struct notifier_block panic_nb = { .notifier_call = hw_panic };

/* The one attribute: components of XCR0 that a guest can be given. */
static int sys_attr(const struct kvm_device_attr *attr, bool get)
{
	if (attr->group || attr->attr != KVM_X86_XCOMP_GUEST_SUPP)
		return -ENXIO;
	return get ? put_user(rl_xcr0_offered, (u64 __user *)attr->addr) : 0;
}

#define SYS_IOCTLS(X)									\
	X(KVM_GET_API_VERSION, RAW, arg ? -EINVAL : KVM_API_VERSION)			\
	X(KVM_CREATE_VM, RAW, rl_vm_create(arg))					\
	X(KVM_CHECK_EXTENSION, RAW, rl_check_extension(NULL, arg))			\
	X(KVM_HAS_DEVICE_ATTR, IN, sys_attr(data, false))				\
	X(KVM_GET_DEVICE_ATTR, IN, sys_attr(data, true))				\
	X(KVM_GET_VCPU_MMAP_SIZE, RAW, arg ? -EINVAL : RL_VCPU_MMAP_PAGES * PAGE_SIZE)	\
	X(KVM_GET_SUPPORTED_CPUID, RAW, rl_get_supported_cpuid(user, false))		\
	X(KVM_GET_EMULATED_CPUID, RAW, rl_get_supported_cpuid(user, true))		\
	X(KVM_GET_MSR_INDEX_LIST, RAW, rl_get_msr_index_list(user))			\
	X(KVM_GET_MSR_FEATURE_INDEX_LIST, RAW, rl_get_msr_feature_list(user))		\
	X(KVM_GET_MSRS, RAW, rl_msr_ioctl(NULL, user, false))					\
	X(KVM_X86_GET_MCE_CAP_SUPPORTED, OUT, (*(u64 *)data = RL_MCE_CAPS, 0)) \
	X(RINGLET_GET_CAPS, OUT, rl_vdev_caps(data))

RL_IOCTL_TABLE(sys_ioctls, SYS_IOCTLS);

static long sys_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	return rl_ioctl(sys_ioctls, ARRAY_SIZE(sys_ioctls), NULL, cmd, arg, -EINVAL);
}

static const struct file_operations sys_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = sys_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice rl_dev = { MISC_DYNAMIC_MINOR, "ringlet", &sys_fops };
static struct miscdevice kvm_dev = { KVM_MINOR, "kvm", &sys_fops };

#define RL_DEFINE_OP(op) DEFINE_STATIC_CALL_NULL(rl_op_##op, *((struct rl_vendor_ops *)NULL)->op);
RL_HOT_OPS(RL_DEFINE_OP)

static int __init choose_backend(void)
{
	switch (boot_cpu_data.x86_vendor) {
	case X86_VENDOR_AMD:
	case X86_VENDOR_HYGON:
		rl_ops = &rl_svm_ops;
		rl_tdp_fmt = &rl_npt_fmt;
		break;
#ifdef RL_WITH_VMX
	case X86_VENDOR_INTEL:
	case X86_VENDOR_CENTAUR:
	case X86_VENDOR_ZHAOXIN:
		rl_ops = &rl_vmx_ops;
		rl_tdp_fmt = &rl_ept_fmt;
		break;
#endif
	default:
		pr_err("no backend for CPUs of vendor \"%s\"\n", boot_cpu_data.x86_vendor_id);
		return -EOPNOTSUPP;
	}
#define RL_SET_OP(op) static_call_update(rl_op_##op, rl_ops->op);
	RL_HOT_OPS(RL_SET_OP)
	return rl_ops->hardware_setup();
}

static int __init rl_init(void)
{
	int r;

	r = choose_backend();
	if (r)
		return r;
	r = rl_xsave_init() ?: rl_cpuid_init() ?: rl_msr_init() ?: rl_clock_init();
	if (r)
		goto err_backend;
	r = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "x86/ringlet:online", cpu_comes, cpu_goes);
	if (r < 0)
		goto err_backend;
	hp_state = r;
	r = rl_netlink_init();
	if (r)
		goto err_cpuhp;
	register_syscore_ops(&hw_syscore_ops);
	register_reboot_notifier(&reboot_nb);
	atomic_notifier_chain_register(&panic_notifier_list, &panic_nb);

	/* Last, and first of them what may well fail. */
	if (kvm_node) {
		r = misc_register(&kvm_dev);
		if (r) {
			pr_err("kvm_node=1: /dev/kvm is taken, is kvm.ko loaded? (error %d)\n", r);
			goto err_notifiers;
		}
	}
	r = misc_register(&rl_dev);
	if (r)
		goto err_kvm_dev;
	pr_info("%s backend ready\n", rl_ops->name);
	return 0;

err_kvm_dev:
	if (kvm_node) {
		misc_deregister(&kvm_dev);
		/* Who opened it meanwhile is served to the end: then the code may go. */
		while (module_refcount(THIS_MODULE) > 1)
			msleep(20);
	}
err_notifiers:
	atomic_notifier_chain_unregister(&panic_notifier_list, &panic_nb);
	unregister_reboot_notifier(&reboot_nb);
	unregister_syscore_ops(&hw_syscore_ops);
	rl_netlink_exit();
err_cpuhp:
	cpuhp_remove_state(hp_state);
err_backend:
	rl_xsave_exit();
	rl_ops->hardware_unsetup();
	return r;
}

static void __exit rl_exit(void)
{
	if (kvm_node)
		misc_deregister(&kvm_dev);
	misc_deregister(&rl_dev);
	atomic_notifier_chain_unregister(&panic_notifier_list, &panic_nb);
	unregister_reboot_notifier(&reboot_nb);
	unregister_syscore_ops(&hw_syscore_ops);
	rl_netlink_exit();
	cpuhp_remove_state(hp_state);
	rl_xsave_exit();
	rl_ops->hardware_unsetup();
}

module_init(rl_init);
module_exit(rl_exit);

MODULE_DESCRIPTION("ringlet: a small hypervisor with KVM's interface");
MODULE_AUTHOR("ringlet maintainers");
MODULE_LICENSE("GPL");
