// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqfd: an eventfd whose signal is an interrupt; and its counterpart, an
 * eventfd that is signalled when a level-triggered interrupt was served.
 *
 * Owns:    struct irqfd.
 * Touches: routing.c to inject.
 * Locks:   irq.lock for assigning, removing and resamplers; irq.irqfd_lock,
 *          IRQs off, for the two lists of irqfds; vm->srcu to walk resamplers.
 *
 * A signal arrives in irqfd_wakeup(), with the eventfd's wait queue locked and
 * IRQs off, and is injected right there: nothing below takes a lock that
 * sleeps or one under which an eventfd is signalled.
 *
 * An irqfd ends by deassignment, by the VM's end, or by the last close of its
 * eventfd. The last also comes in irqfd_wakeup(), where it cannot be freed; so
 * all ends put it on the dead list, which irqfd_reap() empties. A VM has one
 * work item for that and waits for it, hence irqfds hold no reference on it.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "../compat.h"
#include "../trace.h"
#include "irq_priv.h"

struct irqfd {
	struct rl_vm *vm;
	u32 gsi;
	struct eventfd_ctx *ctx;
	wait_queue_entry_t wait;
	poll_table pt;
	struct list_head link;		/* irq.irqfds or irq.dead_irqfds */
	bool dead;			/* under irqfd_lock */
	/* Of a level-triggered one, whose line falls when it was served, else NULL. */
	struct eventfd_ctx *resamplefd;
	struct list_head resampler_link;	/* irq.resamplers */
};

static void irqfd_inject(struct irqfd *irqfd)
{
	rl_trace(irqfd, irqfd->vm, irqfd->gsi);
	if (irqfd->resamplefd) {
		rl_set_gsi_from(irqfd->vm, RL_SRC_RESAMPLE, irqfd->gsi, 1, false);
		return;
	}
	rl_set_gsi_from(irqfd->vm, RL_SRC_USER, irqfd->gsi, 1, false);
	rl_set_gsi_from(irqfd->vm, RL_SRC_USER, irqfd->gsi, 0, false);
}

/* Resampling; all irqfds of a GSI drive its line together. */

#define for_each_resampler(irqfd, vm)								\
	list_for_each_entry_srcu(irqfd, &(vm)->irq.resamplers, resampler_link,			\
				 srcu_read_lock_held(&(vm)->srcu) ||				\
				 lockdep_is_held(&(vm)->irq.lock))

bool rl_resample_wanted(struct rl_vm *vm, u32 gsi)
{
	struct irqfd *irqfd;

	for_each_resampler(irqfd, vm)
		if (irqfd->gsi == gsi)
			return true;
	return false;
}

/* A GSI was served: lower it, and have its devices look whether they still want it. */
void rl_resample_acked(struct rl_vm *vm, u32 gsi)
{
	bool lowered = false;
	struct irqfd *irqfd;

	for_each_resampler(irqfd, vm) {
		if (irqfd->gsi != gsi)
			continue;
		if (!lowered)
			rl_set_gsi_from(vm, RL_SRC_RESAMPLE, gsi, 0, false);
		lowered = true;
		rl_eventfd_signal(irqfd->resamplefd);
	}
}

static void resampler_leave(struct irqfd *irqfd)
{
	struct rl_vm *vm = irqfd->vm;

	list_del_rcu(&irqfd->resampler_link);
	synchronize_srcu_expedited(&vm->srcu);
	if (rl_resample_wanted(vm, irqfd->gsi))
		return;
	rl_ioapic_notifiers_changed(vm);
	rl_set_gsi_from(vm, RL_SRC_RESAMPLE, irqfd->gsi, 0, false);
}

static void irqfd_free(struct irqfd *irqfd)
{
	if (!IS_ERR_OR_NULL(irqfd->resamplefd))
		eventfd_ctx_put(irqfd->resamplefd);
	if (!IS_ERR_OR_NULL(irqfd->ctx))
		eventfd_ctx_put(irqfd->ctx);
	kfree(irqfd);
}

static void irqfd_reap_locked(struct rl_irq *irq)
{
	struct irqfd *irqfd;
	u64 count;

	lockdep_assert_held(&irq->lock);
	for (;;) {
		spin_lock_irq(&irq->irqfd_lock);
		irqfd = list_first_entry_or_null(&irq->dead_irqfds, struct irqfd, link);
		if (irqfd)
			list_del(&irqfd->link);
		spin_unlock_irq(&irq->irqfd_lock);
		if (!irqfd)
			return;
		/* From here on nobody is in irqfd_wakeup(). */
		eventfd_ctx_remove_wait_queue(irqfd->ctx, &irqfd->wait, &count);
		if (irqfd->resamplefd)
			resampler_leave(irqfd);
		irqfd_free(irqfd);
	}
}

static void irqfd_reap(struct work_struct *work)
{
	struct rl_irq *irq = container_of(work, struct rl_irq, reap);

	mutex_lock(&irq->lock);
	irqfd_reap_locked(irq);
	mutex_unlock(&irq->lock);
}

static void irqfd_kill(struct irqfd *irqfd)
{
	lockdep_assert_held(&irqfd->vm->irq.irqfd_lock);
	if (irqfd->dead)
		return;
	irqfd->dead = true;
	list_move_tail(&irqfd->link, &irqfd->vm->irq.dead_irqfds);
}

static int irqfd_wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct irqfd *irqfd = container_of(wait, struct irqfd, wait);
	struct rl_irq *irq = &irqfd->vm->irq;
	__poll_t events = key_to_poll(key);
	unsigned long flags;
	u64 count;
	int r = 0;

	if (events & EPOLLIN) {
		eventfd_ctx_do_read(irqfd->ctx, &count);
		irqfd_inject(irqfd);
		r = 1;
	}
	if (events & EPOLLHUP) {
		spin_lock_irqsave(&irq->irqfd_lock, flags);
		irqfd_kill(irqfd);
		spin_unlock_irqrestore(&irq->irqfd_lock, flags);
		schedule_work(&irq->reap);
	}
	return r;
}

static void irqfd_poll(struct file *file, wait_queue_head_t *wqh, poll_table *pt)
{
	/* Before other waiters, and alone with the count when it comes first. */
	add_wait_queue_priority(wqh, &container_of(pt, struct irqfd, pt)->wait);
}

/* irq.lock held. -EBUSY when its eventfd is an irqfd of this VM already. */
static int irqfd_start(struct irqfd *irqfd, struct file *file)
{
	struct rl_irq *irq = &irqfd->vm->irq;
	struct irqfd *other;
	int r = 0;

	init_waitqueue_func_entry(&irqfd->wait, irqfd_wakeup);
	init_poll_funcptr(&irqfd->pt, irqfd_poll);
	spin_lock_irq(&irq->irqfd_lock);
	list_for_each_entry(other, &irq->irqfds, link)
		if (other->ctx == irqfd->ctx)
			r = -EBUSY;
	if (!r)
		list_add_tail(&irqfd->link, &irq->irqfds);
	spin_unlock_irq(&irq->irqfd_lock);
	if (r)
		return r;
	if (irqfd->resamplefd) {
		list_add_rcu(&irqfd->resampler_link, &irq->resamplers);
		rl_ioapic_notifiers_changed(irqfd->vm);
	}
	/* A signal from before counts as well. */
	if (vfs_poll(file, &irqfd->pt) & EPOLLIN)
		irqfd_inject(irqfd);
	return 0;
}

static int irqfd_assign(struct rl_vm *vm, const struct kvm_irqfd *args)
{
	bool resample = args->flags & KVM_IRQFD_FLAG_RESAMPLE;
	struct irqfd *irqfd;
	struct file *file;
	int r;

	/* The end of a level is seen by an I/O APIC here. */
	if (resample ? !rl_irqchip_full(&vm->irq) : !rl_irqchip_in_kernel(&vm->irq))
		return -EINVAL;
	/* Kept to the end: no EPOLLHUP while this goes on. */
	file = fget(args->fd);
	if (!file)
		return -EBADF;
	r = -ENOMEM;
	irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	if (!irqfd)
		goto out;
	irqfd->vm = vm;
	irqfd->gsi = args->gsi;
	irqfd->ctx = eventfd_ctx_fileget(file);
	r = PTR_ERR_OR_ZERO(irqfd->ctx);
	if (!r && resample) {
		irqfd->resamplefd = eventfd_ctx_fdget(args->resamplefd);
		r = PTR_ERR_OR_ZERO(irqfd->resamplefd);
	}
	if (!r) {
		mutex_lock(&vm->irq.lock);
		r = irqfd_start(irqfd, file);
		mutex_unlock(&vm->irq.lock);
	}
	if (r)
		irqfd_free(irqfd);
out:
	fput(file);
	return r;
}

/* Those of @ctx and @gsi, or with @ctx NULL all; no interrupt comes from them after this. */
static void irqfd_kill_all(struct rl_vm *vm, struct eventfd_ctx *ctx, u32 gsi)
{
	struct irqfd *irqfd, *next;

	mutex_lock(&vm->irq.lock);
	spin_lock_irq(&vm->irq.irqfd_lock);
	list_for_each_entry_safe(irqfd, next, &vm->irq.irqfds, link)
		if (!ctx || (irqfd->ctx == ctx && irqfd->gsi == gsi))
			irqfd_kill(irqfd);
	spin_unlock_irq(&vm->irq.irqfd_lock);
	irqfd_reap_locked(&vm->irq);
	mutex_unlock(&vm->irq.lock);
}

static int irqfd_deassign(struct rl_vm *vm, const struct kvm_irqfd *args)
{
	struct eventfd_ctx *ctx = eventfd_ctx_fdget(args->fd);

	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	irqfd_kill_all(vm, ctx, args->gsi);
	eventfd_ctx_put(ctx);
	return 0;
}

/**
 * rl_irqfd() - KVM_IRQFD
 * @vm:   whose
 * @args: in kernel memory
 *
 * Return: 0, -EINVAL (flags, no in-kernel irqchip, not an eventfd), -EBADF,
 * -EBUSY (the eventfd is an irqfd of this VM already), -ENOMEM. Deassigning
 * what was not assigned is no error.
 */
int rl_irqfd(struct rl_vm *vm, const struct kvm_irqfd *args)
{
	if (args->flags & ~(KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE))
		return -EINVAL;
	if (args->flags & KVM_IRQFD_FLAG_DEASSIGN)
		return irqfd_deassign(vm, args);
	return irqfd_assign(vm, args);
}

void rl_irqfd_init(struct rl_vm *vm)
{
	spin_lock_init(&vm->irq.irqfd_lock);
	INIT_LIST_HEAD(&vm->irq.irqfds);
	INIT_LIST_HEAD(&vm->irq.dead_irqfds);
	INIT_LIST_HEAD(&vm->irq.resamplers);
	INIT_WORK(&vm->irq.reap, irqfd_reap);
}

/* No VM ioctl can come any more, so none is assigned after. */
void rl_irqfd_stop(struct rl_vm *vm)
{
	irqfd_kill_all(vm, NULL, 0);
	cancel_work_sync(&vm->irq.reap);
}
