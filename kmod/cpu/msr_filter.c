// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_X86_SET_MSR_FILTER: which MSRs user space lets the guest read and write.
 *
 * Owns:    vm->msr_filter.
 * Touches: the backend's MSR bitmap: with a filter, every access exits.
 * Locks:   vm->lock to replace the filter, vm->srcu to look at it.
 *
 * Documentation/virt/kvm/api.rst, KVM_X86_SET_MSR_FILTER.
 */
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/apicdef.h>

#include "../vcpu.h"
#include "../vm.h"
#include "cpu.h"

struct filter_range {
	u32 flags, base, nmsrs;
	unsigned long *allowed;
};

/* Immutable once published. */
struct rl_msr_filter {
	bool default_allow;
	int nr;
	struct filter_range range[KVM_MSR_FILTER_MAX_RANGES];
};

/**
 * rl_msr_allowed() - Does user space let the guest have this MSR?
 * @vcpu: the vCPU
 * @index: of the MSR
 * @write: WRMSR
 *
 * The x2APIC's are always the guest's. Context: vm->srcu is taken inside.
 */
bool rl_msr_allowed(struct rl_vcpu *vcpu, u32 index, bool write)
{
	u32 type = write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ;
	struct rl_vm *vm = vcpu->vm;
	const struct rl_msr_filter *f;
	const struct filter_range *r;
	bool allowed = true;
	u32 bit;
	int i, idx;

	if (index - APIC_BASE_MSR < 0x100)
		return true;
	idx = srcu_read_lock(&vm->srcu);
	f = srcu_dereference(vm->msr_filter, &vm->srcu);
	if (f) {
		allowed = f->default_allow;
		for (i = 0; i < f->nr; i++) {
			r = &f->range[i];
			bit = index - r->base;
			if (bit >= r->nmsrs || !(r->flags & type))
				continue;
			allowed = test_bit(array_index_nospec(bit, r->nmsrs), r->allowed);
			break;
		}
	}
	srcu_read_unlock(&vm->srcu, idx);
	return allowed;
}

static void filter_free(struct rl_msr_filter *f)
{
	if (!f)
		return;
	while (f->nr--)
		kfree(f->range[f->nr].allowed);
	kfree(f);
}

static int filter_add(struct rl_msr_filter *f, const struct kvm_msr_filter_range *user)
{
	struct filter_range *r = &f->range[f->nr];
	size_t size = BITS_TO_LONGS((u64)user->nmsrs) * sizeof(long);

	if (!user->nmsrs)
		return 0;
	if (!user->flags || user->flags & ~(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE) ||
	    size > KVM_MSR_FILTER_MAX_BITMAP_SIZE)
		return -EINVAL;
	r->allowed = memdup_user((void __user *)user->bitmap, size);
	if (IS_ERR(r->allowed))
		return PTR_ERR(r->allowed);
	r->flags = user->flags;
	r->base = user->base;
	r->nmsrs = user->nmsrs;
	f->nr++;
	return 0;
}

/**
 * rl_set_msr_filter() - KVM_X86_SET_MSR_FILTER
 * @vm: whose
 * @user: in kernel memory, but for the bitmaps
 *
 * Return: 0, -EINVAL (flags, size of a bitmap, "deny" without a range that
 * allows anything), -EFAULT, -ENOMEM.
 */
int rl_set_msr_filter(struct rl_vm *vm, const struct kvm_msr_filter *user)
{
	struct rl_msr_filter *f, *old;
	int i, r = 0;

	if (user->flags & ~KVM_MSR_FILTER_DEFAULT_DENY)
		return -EINVAL;
	f = kzalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
	if (!f)
		return -ENOMEM;
	f->default_allow = !(user->flags & KVM_MSR_FILTER_DEFAULT_DENY);
	for (i = 0; i < KVM_MSR_FILTER_MAX_RANGES && !r; i++)
		r = filter_add(f, &user->ranges[i]);
	if (!r && !f->nr && !f->default_allow)
		r = -EINVAL;
	if (r) {
		filter_free(f);
		return r;
	}
	/* None at all is what lets everything through at full speed. */
	if (!f->nr) {
		filter_free(f);
		f = NULL;
	}
	mutex_lock(&vm->lock);
	old = rcu_dereference_protected(vm->msr_filter, lockdep_is_held(&vm->lock));
	rcu_assign_pointer(vm->msr_filter, f);
	rl_request_all(vm, RL_REQ_INTERCEPTS, false);
	mutex_unlock(&vm->lock);
	synchronize_srcu(&vm->srcu);
	filter_free(old);
	return 0;
}

void rl_msr_filter_destroy(struct rl_vm *vm)
{
	filter_free(rcu_dereference_protected(vm->msr_filter, true));
}
