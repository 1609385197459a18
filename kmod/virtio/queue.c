// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtqueue at work: who serves it when, notifications, interrupts, lent threads.
 *
 * Owns:    struct rl_vq but for its ring and what is of the type of device.
 * Touches: vcpu->doorbell, irq/ for interrupts, guest memory.
 * Locks:   vq->lock > mmap_lock; vm->srcu while a queue is served.
 *
 * Three may serve a queue: the vCPU that notifies it, a thread that user space
 * lends, and the caller of an ioctl. Who finds vq->lock taken leaves the work to
 * the holder:
 *
 *   kicker                        holder
 *   kicked = true                 unlock
 *   smp_mb()                      smp_mb()
 *   trylock, or leave             kicked? lock again, or defer
 *
 * Threads are the owner's own, not the kernel's: they have his mm, limits and
 * cgroup without anybody keeping those in step, die with him, and are placed and
 * weighted by the tools that he has for threads.
 */
#include <linux/eventfd.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/slab.h>

#include "../compat.h"
#include "../netlink.h"
#include "../vcpu.h"
#include "../vm.h"
#include "virtio.h"

static unsigned int virtio_poll_ns = 50000;
module_param(virtio_poll_ns, uint, 0644);
MODULE_PARM_DESC(virtio_poll_ns, "longest time that a data plane's thread polls before it sleeps");

#define POLL_START_NS	5000

static unsigned int virtio_batch_ns = 150000;
module_param(virtio_batch_ns, uint, 0644);
MODULE_PARM_DESC(virtio_batch_ns, "longest time that a packet of a burst waits for others; 0: none");

#define STREAK		8

/* What ring.c wants to know of the VM's memory. */

int rl_ring_map(struct rl_vm *vm, u64 gpa, u64 len, bool write, struct rl_area *area)
{
	area->gpa = gpa;
	area->ptr = rl_guest_map(vm, gpa, len, write, &area->slot);
	return area->ptr ? 0 : -EFAULT;
}

u64 rl_ring_gen(struct rl_vm *vm)
{
	return srcu_dereference(vm->slots, &vm->srcu)->gen;
}

static int bufs_copy(struct rl_vm *vm, const struct rl_buf *b, int nr, u64 off, void *data,
		     u32 len, bool write)
{
	int r = 0;
	u32 n;

	for (; nr && len && !r; nr--, b++) {
		if (off >= b->len) {
			off -= b->len;
			continue;
		}
		n = min_t(u64, len, b->len - off);
		r = write ? rl_guest_write(vm, b->gpa + off, data, n) :
			    rl_guest_read(vm, b->gpa + off, data, n);
		data += n;
		len -= n;
		off = 0;
	}
	return r ?: len ? -EINVAL : 0;
}

int rl_bufs_read(struct rl_vm *vm, const struct rl_buf *b, int nr, u64 off, void *data, u32 len)
{
	return bufs_copy(vm, b, nr, off, data, len, false);
}

int rl_bufs_write(struct rl_vm *vm, const struct rl_buf *b, int nr, u64 off, const void *data,
		  u32 len)
{
	return bufs_copy(vm, b, nr, off, (void *)data, len, true);
}

int rl_bufs_iov(struct rl_vm *vm, const struct rl_buf *b, int nr, bool write, struct iovec *iov)
{
	int n, nr_iov = 0;

	for (; nr; nr--, b++) {
		n = rl_guest_iov(vm, b->gpa, b->len, write, iov + nr_iov,
				 RL_RING_MAX_SEGS - nr_iov);
		if (n < 0)
			return n;
		/* What is contiguous for the guest often is for its owner. */
		if (nr_iov && n == 1 &&
		    iov[nr_iov - 1].iov_base + iov[nr_iov - 1].iov_len == iov[nr_iov].iov_base) {
			iov[nr_iov - 1].iov_len += iov[nr_iov].iov_len;
			n = 0;
		}
		nr_iov += n;
	}
	return nr_iov;
}

void rl_bufs_dirty(struct rl_vm *vm, const struct rl_buf *b, int nr, u32 len)
{
	for (u32 part; nr-- > 0 && len; len -= part, b++) {
		part = min(len, b->len);
		rl_guest_dirty(vm, b->gpa, part);
	}
}

void rl_vq_defer(struct rl_vq *vq)
{
	struct rl_vdev *dev = vq->dev;

	/* Pairs with rl_vdev_away(): who looks sees the bit, or is seen to look no more. */
	if (!test_and_set_bit(vq->index, &dev->work) && atomic_read(&dev->looking) <= 0)
		wake_up(&dev->wait);
}

void rl_vdev_away(struct rl_vdev *dev)
{
	atomic_dec(&dev->looking);
	/* See rl_vq_defer(). */
	smp_mb__after_atomic();
	if (READ_ONCE(dev->work))
		wake_up(&dev->wait);
}

void rl_vdev_back(struct rl_vdev *dev)
{
	atomic_inc(&dev->looking);
}

void rl_vdev_backend_gone(struct rl_vdev *dev)
{
	WRITE_ONCE(dev->flags, dev->flags | RINGLET_STATUS_BACKEND_GONE);
	wake_up_interruptible_poll(&dev->poll, EPOLLERR);
}

/* The guest broke a rule, or took its memory away: this device serves no more. */
static void vq_broke(struct rl_vq *vq, int err)
{
	struct rl_vdev *dev = vq->dev;

	WRITE_ONCE(vq->live, false);
	/* It is about the first one. Who sees the state sees the reason: both are full barriers. */
	if (cmpxchg(&dev->error, 0, err))
		return;
	WRITE_ONCE(dev->bad_queue, vq->index);
	if (cmpxchg(&dev->state, RINGLET_STATE_RUNNING, RINGLET_STATE_NEEDS_RESET) !=
	    RINGLET_STATE_RUNNING)
		return;
	pr_debug_ratelimited("virtio device %u of pid %d needs a reset: queue %u, error %d\n",
			     dev->type, pid_nr(dev->vm->owner.pid), vq->index, err);
	wake_up_interruptible_poll(&dev->poll, EPOLLIN | EPOLLPRI);
	rl_netlink_device_broken(dev, vq->index, err);
}

void rl_vq_interrupt(struct rl_vq *vq)
{
	struct rl_vm *vm = vq->dev->vm;

	vq->stat.interrupts++;
	switch (vq->irq.type) {
	case RINGLET_IRQ_MSI:
		rl_send_msi(vm, vq->irq.msi_addr, vq->irq.msi_data);
		break;
	case RINGLET_IRQ_GSI:
		rl_set_gsi(vm, vq->irq.gsi, 1, false);
		rl_set_gsi(vm, vq->irq.gsi, 0, false);
		break;
	case RINGLET_IRQ_EVENTFD:
		rl_eventfd_signal(vq->irq.eventfd);
		break;
	default:
		vq->stat.interrupts--;
		vq->irq.owed = true;
	}
}

int rl_vq_flush(struct rl_vq *vq)
{
	bool any = vq->ring.unsignalled;
	int r = rl_ring_flush(&vq->ring);

	if (r > 0)
		rl_vq_interrupt(vq);
	else if (any && !r)
		vq->stat.suppressed++;
	return min(r, 0);
}

/* @vq->lock held: what has ended, then what is new. */
static int vq_serve_locked(struct rl_vq *vq)
{
	const struct rl_vdev_ops *ops = vq->dev->ops;
	int r;

	if (READ_ONCE(vq->dev->state) == RINGLET_STATE_NEEDS_RESET)
		return ops->reap ? ops->reap(vq, true) : 0;
	/* Not in use, it lies nowhere. What is in flight at a stop is for rl_vq_drain(). */
	if (!READ_ONCE(vq->live))
		return 0;
	r = rl_ring_begin(&vq->ring);
	if (!r && ops->reap)
		r = ops->reap(vq, false);
	if (!r && READ_ONCE(vq->dev->state) == RINGLET_STATE_RUNNING)
		r = ops->serve(vq);
	if (r < 0) {
		vq_broke(vq, r);
		if (ops->reap)
			ops->reap(vq, true);
	}
	return r;
}

/* Let go of a lock under which a queue may have been kicked. */
void rl_vq_unlock(struct rl_vq *vq)
{
	mutex_unlock(&vq->lock);
	/* See the table on top. */
	smp_mb();
	if (READ_ONCE(vq->kicked))
		rl_vq_defer(vq);
}

static void vq_serve(struct rl_vq *vq, struct rl_vcpu *by, bool due)
{
	struct rl_vm *vm = vq->dev->vm;
	int r, idx;

	WRITE_ONCE(vq->kicked, true);
	/* See the table on top. */
	smp_mb();
	if (!mutex_trylock(&vq->lock))
		return;
	WRITE_ONCE(vq->kicked, false);
	/* What was there before the kick is seen below. */
	smp_mb();
	idx = srcu_read_lock(&vm->srcu);
	vq->linger.by = by;
	vq->linger.due = due;
	r = vq_serve_locked(vq);
	srcu_read_unlock(&vm->srcu, idx);
	rl_vq_unlock(vq);
	/* Not all at once: others want this thread. */
	if (r > 0)
		rl_vq_defer(vq);
}

/* Look at a queue now, or have its present holder do so. Owner's mm, may sleep. */
void rl_vq_serve(struct rl_vq *vq)
{
	vq_serve(vq, NULL, false);
}

/* Doorbells */

/* Runs in the vCPU's exit, perhaps with IRQs off: the queue is served right after. */
void rl_vq_bell(struct rl_vcpu *vcpu, struct rl_doorbell *bell)
{
	struct rl_vq *vq = container_of(bell, struct rl_vq, bell);

	vq->stat.kicks++;
	if (READ_ONCE(vq->dev->state) != RINGLET_STATE_RUNNING)
		return;
	if (vcpu->doorbell && vcpu->doorbell != vq) {
		/* Several notifications by one instruction. */
		rl_vq_defer(vq);
		return;
	}
	WRITE_ONCE(vcpu->doorbell, vq);
	rl_request(vcpu, RL_REQ_DOORBELL);
}

/* srcu keeps the queues: see vdev_forget_bells(). */
static void serve_rung(struct rl_vcpu *vcpu, struct rl_vcpu *by)
{
	int idx = srcu_read_lock(&vcpu->vm->srcu);
	struct rl_vq *lingers = READ_ONCE(vcpu->lingering) ? xchg(&vcpu->lingering, NULL) : NULL;
	struct rl_vq *vq = xchg(&vcpu->doorbell, NULL);

	if (lingers && lingers != vq)
		vq_serve(lingers, by, true);
	if (vq)
		vq_serve(vq, by, false);
	srcu_read_unlock(&vcpu->vm->srcu, idx);
}

void rl_vdev_doorbell(struct rl_vcpu *vcpu)
{
	serve_rung(vcpu, vcpu);
}

void rl_vdev_leave(struct rl_vcpu *vcpu)
{
	serve_rung(vcpu, NULL);
}

/**
 * rl_vq_linger() - The ring is empty: leave notifications off, and look again soon?
 * @vq: the queue, being served
 * @n:  chains found this time
 *
 * Bursts, rule: a vCPU that notified a queue STREAK times, each less than
 * virtio_batch_ns after the one before, need not notify any more. What it puts there is
 * found that time later, at the vCPU's next notification of anything, or when it goes idle;
 * more of it together, with one interrupt and one wake-up of the receiver. When there is
 * not more, that is over. Cost: the delay for packets of a vCPU that is busy, and a timer for
 * each batch.
 *
 * Return: true: the caller leaves, with notifications off.
 */
bool rl_vq_linger(struct rl_vq *vq, unsigned int n)
{
	u32 batch_ns = READ_ONCE(virtio_batch_ns);
	u64 now;

	if (!vq->linger.by || !batch_ns)
		return false;
	now = local_clock();
	if (vq->linger.due)
		vq->linger.streak = n < 2 ? 0 : STREAK;
	else if (vq->linger.streak < STREAK)
		vq->linger.streak = now - vq->linger.last_ns < batch_ns ? vq->linger.streak + 1 : 0;
	vq->linger.last_ns = now;
	if (vq->linger.streak < STREAK || cmpxchg(&vq->linger.by->lingering, NULL, vq))
		return false;
	WRITE_ONCE(vq->linger.vcpu, vq->linger.by);
	hrtimer_start(&vq->linger.timer, ns_to_ktime(batch_ns), HRTIMER_MODE_REL_PINNED);
	return true;
}

/* Whoever is on its CPU enters no guest, and does not leave, without looking. */
enum hrtimer_restart rl_vq_timer(struct hrtimer *timer)
{
	struct rl_vq *vq = container_of(timer, struct rl_vq, linger.timer);
	struct rl_vcpu *vcpu = READ_ONCE(vq->linger.vcpu);

	if (READ_ONCE(vcpu->lingering) == vq && READ_ONCE(vcpu->cpu) >= 0) {
		rl_request(vcpu, RL_REQ_DOORBELL);
		rl_vcpu_kick(vcpu);
	} else {
		rl_vq_defer(vq);
	}
	return HRTIMER_NORESTART;
}

/* Until nothing of the queue is in flight. @dead: the guest's memory is gone. */
void rl_vq_drain(struct rl_vq *vq, struct iovec *iov, bool dead)
{
	struct rl_vdev *dev = vq->dev;
	struct rl_vm *vm = dev->vm;
	bool done;
	int idx, r;

	for (;;) {
		clear_bit(vq->index, &dev->work);
		/* Whatever ends from here on sets the bit again. */
		smp_mb__after_atomic();
		mutex_lock(&vq->lock);
		idx = srcu_read_lock(&vm->srcu);
		vq->live = false;
		if (dev->ops->reap && vq->flying) {
			r = dead ? -EFAULT : rl_ring_begin(&vq->ring);
			r = dev->ops->reap(vq, r);
			if (r < 0)
				dev->ops->reap(vq, true);
		}
		done = !vq->flying;
		srcu_read_unlock(&vm->srcu, idx);
		mutex_unlock(&vq->lock);
		if (done)
			return;
		if (!dead && dev->ops->work && dev->ops->work(vq, iov))
			continue;
		wait_event(dev->wait, test_bit(vq->index, &dev->work));
	}
}

/* Lent threads */

/*
 * One thread after the other: while one is awake and will look at @work again, nobody is
 * woken for a new bit. Who begins with what may take long leaves the looking to another.
 *
 * Polling, rule: who has run out of work, and looks alone, looks on for up to dev->poll_ns
 * before he sleeps. A sleep that was shorter than the module parameter doubles that, from
 * 5 us to the parameter: it would have been caught. One that was longer halves it.
 * Cost: that much CPU time for each sleep, only while no other task wants the CPU; a device
 * that sees little sleeps at once.
 */
static bool vdev_poll(struct rl_vdev *dev, struct rl_vq *last)
{
	u64 poll_ns = min_t(u64, READ_ONCE(dev->poll_ns), READ_ONCE(virtio_poll_ns));
	u64 end = local_clock() + poll_ns;

	if (READ_ONCE(dev->work))
		return true;
	if (!poll_ns || !last || atomic_read(&dev->looking) > 1)
		return false;
	while (single_task_running() && !need_resched() && !signal_pending(current) &&
	       local_clock() < end) {
		if (READ_ONCE(dev->work)) {
			last->stat.polls++;
			return true;
		}
		cpu_relax();
	}
	last->stat.polls_in_vain++;
	return false;
}

static bool vdev_running(struct rl_vdev *dev)
{
	return READ_ONCE(dev->state) != RINGLET_STATE_STOPPED;
}

static int vdev_sleep(struct rl_vdev *dev)
{
	u32 max = READ_ONCE(virtio_poll_ns);
	u64 poll_ns;
	int r;

	WRITE_ONCE(dev->idle_since, local_clock());
	atomic_dec(&dev->looking);
	r = wait_event_interruptible_exclusive(dev->wait,
					       READ_ONCE(dev->work) || !vdev_running(dev));
	rl_vdev_back(dev);
	poll_ns = READ_ONCE(dev->poll_ns);
	poll_ns = local_clock() - READ_ONCE(dev->idle_since) >= max ? poll_ns / 2 :
		  min_t(u64, max_t(u64, 2 * poll_ns, POLL_START_NS), max);
	WRITE_ONCE(dev->poll_ns, poll_ns);
	return r;
}

static void vq_work(struct rl_vq *vq, struct iovec *iov)
{
	const struct rl_vdev_ops *ops = vq->dev->ops;

	if (ops->work) {
		ops->work(vq, iov);
		rl_vq_serve(vq);
	} else {
		rl_vdev_away(vq->dev);
		rl_vq_serve(vq);
		rl_vdev_back(vq->dev);
	}
	/* rl_vq_drain() may have found it in use. */
	if (!vdev_running(vq->dev))
		rl_vq_defer(vq);
}

int rl_vdev_work(struct rl_vdev *dev)
{
	struct rl_vq *last = NULL;
	struct iovec *iov;
	unsigned int n;
	int r = 0;

	iov = kvmalloc_array(RL_RING_MAX_SEGS, sizeof(*iov), GFP_KERNEL_ACCOUNT);
	if (!iov)
		return -ENOMEM;
	rl_vdev_back(dev);
	while (vdev_running(dev)) {
		if (!vdev_poll(dev, last))
			r = vdev_sleep(dev);
		/* There may be work without end. */
		if (!r && signal_pending(current))
			r = -EINTR;
		if (r)
			break;
		for_each_set_bit(n, &dev->work, dev->nr_queues)
			if (vdev_running(dev) && test_and_clear_bit(n, &dev->work)) {
				last = &dev->vq[n];
				vq_work(last, iov);
			}
		cond_resched();
	}
	atomic_dec(&dev->looking);
	/* What is left, or came in the meantime, is another's; at a stop, rl_vq_drain()'s. */
	wake_up(&dev->wait);
	kvfree(iov);
	return r ? -EINTR : 0;
}
