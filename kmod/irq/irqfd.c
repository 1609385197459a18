// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqfd: an eventfd whose signal is an interrupt; and its counterpart, an
 * eventfd that is signalled when a level-triggered interrupt was served.
 *
 * Owns:    struct irqfd, struct resampler.
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

/* Level-triggered irqfds of one GSI: an EOI lowers the line once for all. */
struct resampler {
	struct list_head link;		/* irq.resamplers */
	struct list_head irqfds;	/* RCU */
	u32 gsi;
};

struct irqfd {
	struct rl_vm *vm;
	u32 gsi;
	struct eventfd_ctx *ctx;
	wait_queue_entry_t wait;
	poll_table pt;
	struct list_head link;		/* irq.irqfds or irq.dead_irqfds */
	bool dead;			/* under irqfd_lock */
	struct resampler *resampler;	/* NULL: edge */
	struct eventfd_ctx *resamplefd;
	struct list_head resampler_link;
};

static void irqfd_inject(struct irqfd *irqfd)
{
	rl_trace(irqfd, irqfd->vm, irqfd->gsi);
	if (irqfd->resampler) {
		rl_set_gsi_from(irqfd->vm, RL_SRC_RESAMPLE, irqfd->gsi, 1, false);
		return;
	}
	rl_set_gsi_from(irqfd->vm, RL_SRC_USER, irqfd->gsi, 1, false);
	rl_set_gsi_from(irqfd->vm, RL_SRC_USER, irqfd->gsi, 0, false);
}

/* Resampling */

bool rl_resample_wanted(struct rl_vm *vm, u32 gsi)
{
	struct resampler *rs;

	list_for_each_entry_srcu(rs, &vm->irq.resamplers, link, srcu_read_lock_held(&vm->srcu))
		if (rs->gsi == gsi)
			return true;
	return false;
}

/* A GSI was served: lower it, and have its devices look whether they still want it. */
void rl_resample_acked(struct rl_vm *vm, u32 gsi)
{
	struct resampler *rs;
	struct irqfd *irqfd;

	list_for_each_entry_srcu(rs, &vm->irq.resamplers, link, srcu_read_lock_held(&vm->srcu)) {
		if (rs->gsi != gsi)
			continue;
		rl_set_gsi_from(vm, RL_SRC_RESAMPLE, gsi, 0, false);
		list_for_each_entry_srcu(irqfd, &rs->irqfds, resampler_link,
					 srcu_read_lock_held(&vm->srcu))
			rl_eventfd_signal(irqfd->resamplefd);
	}
}

static int resampler_join(struct irqfd *irqfd)
{
	struct rl_irq *irq = &irqfd->vm->irq;
	struct resampler *rs;

	list_for_each_entry(rs, &irq->resamplers, link)
		if (rs->gsi == irqfd->gsi)
			goto found;
	rs = kzalloc(sizeof(*rs), GFP_KERNEL_ACCOUNT);
	if (!rs)
		return -ENOMEM;
	rs->gsi = irqfd->gsi;
	INIT_LIST_HEAD(&rs->irqfds);
	list_add_rcu(&rs->link, &irq->resamplers);
	rl_ioapic_notifiers_changed(irqfd->vm);
found:
	irqfd->resampler = rs;
	list_add_rcu(&irqfd->resampler_link, &rs->irqfds);
	return 0;
}

static void resampler_leave(struct irqfd *irqfd)
{
	struct resampler *rs = irqfd->resampler;
	struct rl_vm *vm = irqfd->vm;
	bool last;

	list_del_rcu(&irqfd->resampler_link);
	last = list_empty(&rs->irqfds);
	if (last)
		list_del_rcu(&rs->link);
	synchronize_srcu_expedited(&vm->srcu);
	if (!last)
		return;
	rl_ioapic_notifiers_changed(vm);
	rl_set_gsi_from(vm, RL_SRC_RESAMPLE, rs->gsi, 0, false);
	kfree(rs);
}

/* The end of an irqfd; irq.lock held. */
static void irqfd_free(struct irqfd *irqfd)
{
	u64 count;

	/* From here on nobody is in irqfd_wakeup(). */
	eventfd_ctx_remove_wait_queue(irqfd->ctx, &irqfd->wait, &count);
	if (irqfd->resampler) {
		resampler_leave(irqfd);
		eventfd_ctx_put(irqfd->resamplefd);
	}
	eventfd_ctx_put(irqfd->ctx);
	kfree(irqfd);
}

static void irqfd_reap_locked(struct rl_irq *irq)
{
	struct irqfd *irqfd;

	lockdep_assert_held(&irq->lock);
	for (;;) {
		spin_lock_irq(&irq->irqfd_lock);
		irqfd = list_first_entry_or_null(&irq->dead_irqfds, struct irqfd, link);
		if (irqfd)
			list_del(&irqfd->link);
		spin_unlock_irq(&irq->irqfd_lock);
		if (!irqfd)
			return;
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

/* irq.lock held; @irqfd->ctx is this VM's alone. */
static int irqfd_publish(struct irqfd *irqfd)
{
	struct rl_irq *irq = &irqfd->vm->irq;
	struct irqfd *other;
	int r = 0;

	spin_lock_irq(&irq->irqfd_lock);
	list_for_each_entry(other, &irq->irqfds, link)
		if (other->ctx == irqfd->ctx)
			r = -EBUSY;
	if (!r)
		list_add_tail(&irqfd->link, &irq->irqfds);
	spin_unlock_irq(&irq->irqfd_lock);
	return r;
}

static int irqfd_setup(struct irqfd *irqfd, struct file *file)
{
	int r;

	if (irqfd->resamplefd) {
		r = resampler_join(irqfd);
		if (r)
			return r;
	}
	init_waitqueue_func_entry(&irqfd->wait, irqfd_wakeup);
	init_poll_funcptr(&irqfd->pt, irqfd_poll);
	r = irqfd_publish(irqfd);
	if (r) {
		if (irqfd->resampler)
			resampler_leave(irqfd);
		return r;
	}
	/* A signal from before counts as well. */
	if (vfs_poll(file, &irqfd->pt) & EPOLLIN)
		irqfd_inject(irqfd);
	return 0;
}

static int irqfd_assign(struct rl_vm *vm, const struct kvm_irqfd *args)
{
	struct irqfd *irqfd;
	struct file *file;
	int r;

	/* The end of a level is seen by an I/O APIC here. */
	if (args->flags & KVM_IRQFD_FLAG_RESAMPLE ? !rl_irqchip_full(&vm->irq) :
						    !rl_irqchip_in_kernel(&vm->irq))
		return -EINVAL;
	irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	if (!irqfd)
		return -ENOMEM;
	irqfd->vm = vm;
	irqfd->gsi = args->gsi;

	/* Kept to the end: no EPOLLHUP while this goes on. */
	file = fget(args->fd);
	r = -EBADF;
	if (!file)
		goto err_free;
	irqfd->ctx = eventfd_ctx_fileget(file);
	r = PTR_ERR_OR_ZERO(irqfd->ctx);
	if (r)
		goto err_file;
	if (args->flags & KVM_IRQFD_FLAG_RESAMPLE) {
		irqfd->resamplefd = eventfd_ctx_fdget(args->resamplefd);
		r = PTR_ERR_OR_ZERO(irqfd->resamplefd);
		if (r)
			goto err_ctx;
	}
	mutex_lock(&vm->irq.lock);
	r = irqfd_setup(irqfd, file);
	mutex_unlock(&vm->irq.lock);
	if (r)
		goto err_resamplefd;
	fput(file);
	return 0;

err_resamplefd:
	if (irqfd->resamplefd)
		eventfd_ctx_put(irqfd->resamplefd);
err_ctx:
	eventfd_ctx_put(irqfd->ctx);
err_file:
	fput(file);
err_free:
	kfree(irqfd);
	return r;
}

static int irqfd_deassign(struct rl_vm *vm, const struct kvm_irqfd *args)
{
	struct eventfd_ctx *ctx = eventfd_ctx_fdget(args->fd);
	struct irqfd *irqfd, *next;

	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	mutex_lock(&vm->irq.lock);
	spin_lock_irq(&vm->irq.irqfd_lock);
	list_for_each_entry_safe(irqfd, next, &vm->irq.irqfds, link)
		if (irqfd->ctx == ctx && irqfd->gsi == args->gsi)
			irqfd_kill(irqfd);
	spin_unlock_irq(&vm->irq.irqfd_lock);
	/* No interrupt comes from it after this call. */
	irqfd_reap_locked(&vm->irq);
	mutex_unlock(&vm->irq.lock);
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
	struct irqfd *irqfd, *next;

	mutex_lock(&vm->irq.lock);
	spin_lock_irq(&vm->irq.irqfd_lock);
	list_for_each_entry_safe(irqfd, next, &vm->irq.irqfds, link)
		irqfd_kill(irqfd);
	spin_unlock_irq(&vm->irq.irqfd_lock);
	irqfd_reap_locked(&vm->irq);
	mutex_unlock(&vm->irq.lock);
	cancel_work_sync(&vm->irq.reap);
}
