// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtio data planes: a device's descriptor, its states and its set-up.
 *
 * Owns:    struct rl_vdev but for what is of its type.
 * Touches: bus.h for doorbells.
 * Locks:   dev->lock > vq->lock; vm->slots_lock inside dev->lock;
 *          vm->vdevs_lock for the VM's list, with none of them.
 */
#include <linux/anon_inodes.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "../ioctl.h"
#include "../vcpu.h"
#include "../vm.h"
#include "virtio.h"

static_assert(sizeof(struct ringlet_caps) == 128);
static_assert(sizeof(struct ringlet_create_device) == 152);
static_assert(sizeof(struct ringlet_queue) == 64);
static_assert(sizeof(struct ringlet_doorbell) == 48);
static_assert(sizeof(struct ringlet_irq) == 48);
static_assert(sizeof(struct ringlet_queue_state) == 32);
static_assert(sizeof(struct ringlet_status) == 64);
static_assert(sizeof(struct ringlet_queue_stats) == 128);
static_assert(RINGLET_MAX_QUEUES <= BITS_PER_LONG);

static const struct rl_vdev_ops *const types[] = {
	[RINGLET_DEVICE_NET] = &rl_net_ops,
	[RINGLET_DEVICE_BLK] = &rl_blk_ops,
};

/* The device ends: no doorbell of it rings any more, none that rang is left. */
static void vdev_forget_bells(struct rl_vdev *dev)
{
	struct rl_vm *vm = dev->vm;
	struct rl_vcpu *vcpu;
	unsigned int n;
	int i;

	for (n = 0; n < dev->nr_queues; n++)
		rl_doorbell_del(vm, &dev->vq[n].bell);
	rl_for_each_vcpu(i, vcpu, vm)
		for (n = 0; n < dev->nr_queues; n++) {
			cmpxchg(&vcpu->doorbell, &dev->vq[n], NULL);
			cmpxchg(&vcpu->lingering, &dev->vq[n], NULL);
		}
	synchronize_srcu_expedited(&vm->srcu);
}

static struct rl_vq *vdev_vq(struct rl_vdev *dev, u64 n)
{
	if (n >= dev->nr_queues)
		return NULL;
	return &dev->vq[array_index_nospec(n, dev->nr_queues)];
}

static int vdev_set_doorbell(struct rl_vdev *dev, const struct ringlet_doorbell *args)
{
	const u32 known = RINGLET_DOORBELL_PIO | RINGLET_DOORBELL_DATAMATCH |
			  RINGLET_DOORBELL_UNBIND;
	struct rl_vq *vq = vdev_vq(dev, args->queue);
	struct rl_doorbell bell = {
		.ring = rl_vq_bell,
		.bus = args->flags & RINGLET_DOORBELL_PIO ? RL_BUS_PIO : RL_BUS_MMIO,
		.addr = args->addr,
		.len = args->len,
		.wildcard = !(args->flags & RINGLET_DOORBELL_DATAMATCH),
		.datamatch = args->datamatch,
	};
	int r;

	if (!vq || args->flags & ~known || memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	if (!(args->flags & RINGLET_DOORBELL_UNBIND)) {
		if (args->len > 8 || (args->len && !is_power_of_2(args->len)) ||
		    args->addr + args->len < args->addr || (!args->len && !bell.wildcard) ||
		    (bell.bus == RL_BUS_PIO && args->addr + args->len > 0x10000))
			return -EINVAL;
	}
	mutex_lock(&dev->lock);
	r = rl_doorbell_del(dev->vm, &vq->bell);
	if (!(args->flags & RINGLET_DOORBELL_UNBIND)) {
		struct rl_doorbell old = vq->bell;
		bool had = !r;

		vq->bell = bell;
		r = rl_doorbell_add(dev->vm, &vq->bell);
		if (r && had) {
			/* As it was. That can fail only for want of memory. */
			vq->bell = old;
			if (rl_doorbell_add(dev->vm, &vq->bell))
				r = -ENOMEM;
		}
	}
	mutex_unlock(&dev->lock);
	return r;
}

/* Interrupts */

static int vdev_set_irq(struct rl_vdev *dev, const struct ringlet_irq *args)
{
	struct rl_vq *vq = vdev_vq(dev, args->queue);
	struct eventfd_ctx *ctx = NULL;

	if (!vq || args->type > RINGLET_IRQ_EVENTFD ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	if (args->type == RINGLET_IRQ_MSI || args->type == RINGLET_IRQ_GSI) {
		if (!rl_irqchip_in_kernel(&dev->vm->irq) || args->gsi >= RL_NR_GSIS)
			return -EINVAL;
	} else if (args->type == RINGLET_IRQ_EVENTFD) {
		ctx = eventfd_ctx_fdget(args->fd);
		if (IS_ERR(ctx))
			return PTR_ERR(ctx);
	}
	mutex_lock(&vq->lock);
	swap(vq->irq.eventfd, ctx);
	vq->irq.type = args->type;
	vq->irq.gsi = args->gsi;
	vq->irq.msi_addr = args->msi_addr;
	vq->irq.msi_data = args->msi_data;
	if (args->type != RINGLET_IRQ_NONE && vq->irq.owed) {
		vq->irq.owed = false;
		rl_vq_interrupt(vq);
	}
	rl_vq_unlock(vq);
	if (ctx)
		eventfd_ctx_put(ctx);
	return 0;
}

/* Set-up, with the device stopped */

static int vdev_set_features(struct rl_vdev *dev, const u64 *features)
{
	int r = -EBUSY;

	if (*features & ~dev->ops->features)
		return -EINVAL;
	mutex_lock(&dev->lock);
	if (dev->state == RINGLET_STATE_STOPPED) {
		dev->features = *features;
		r = 0;
	}
	mutex_unlock(&dev->lock);
	return r;
}

static bool area_ok(u64 gpa, u64 align)
{
	/* The longest area there is, a packed ring, ends below 2^64. */
	return IS_ALIGNED(gpa, align) && gpa <= ~0ull - RINGLET_MAX_QUEUE_SIZE * 16;
}

static int vdev_set_queue(struct rl_vdev *dev, const struct ringlet_queue *args)
{
	struct rl_vq *vq = vdev_vq(dev, args->queue);
	int r = -EBUSY;

	if (!vq || args->size > RINGLET_MAX_QUEUE_SIZE || !area_ok(args->desc, 16) ||
	    !area_ok(args->driver, 2) || !area_ok(args->device, 4) ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	mutex_lock(&dev->lock);
	if (dev->state == RINGLET_STATE_STOPPED) {
		mutex_lock(&vq->lock);
		vq->ring.size = args->size;
		vq->ring.gpa[0] = args->desc;
		vq->ring.gpa[1] = args->driver;
		vq->ring.gpa[2] = args->device;
		rl_ring_reset(&vq->ring);
		/* Which kind of ring it is shows at the start. */
		vq->ring.avail_wrap = true;
		vq->ring.used_wrap = true;
		rl_vq_unlock(vq);
		r = 0;
	}
	mutex_unlock(&dev->lock);
	return r;
}

static int vdev_get_state(struct rl_vdev *dev, struct ringlet_queue_state *args)
{
	struct rl_vq *vq = vdev_vq(dev, args->queue);
	struct ringlet_queue_state st = { .queue = args->queue };
	bool packed = dev->features & BIT_ULL(VIRTIO_F_RING_PACKED);

	if (!vq)
		return -EINVAL;
	mutex_lock(&vq->lock);
	st.avail_idx = vq->ring.avail_idx;
	st.used_idx = vq->ring.used_idx;
	st.avail_wrap = packed && vq->ring.avail_wrap;
	st.used_wrap = packed && vq->ring.used_wrap;
	rl_vq_unlock(vq);
	*args = st;
	return 0;
}

static int vdev_set_state(struct rl_vdev *dev, const struct ringlet_queue_state *args)
{
	struct rl_vq *vq = vdev_vq(dev, args->queue);
	int r = -EBUSY;

	if (!vq || args->flags || args->avail_wrap > 1 || args->used_wrap > 1 ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	/* Nothing is in flight in a stopped device. */
	if (args->avail_idx != args->used_idx || args->avail_wrap != args->used_wrap)
		return -EINVAL;
	mutex_lock(&dev->lock);
	if (dev->state == RINGLET_STATE_STOPPED) {
		bool packed = dev->features & BIT_ULL(VIRTIO_F_RING_PACKED);

		mutex_lock(&vq->lock);
		r = -EINVAL;
		if (!packed || args->avail_idx < vq->ring.size) {
			rl_ring_reset(&vq->ring);
			vq->ring.avail_idx = args->avail_idx;
			vq->ring.avail_seen = args->avail_idx;
			vq->ring.used_idx = args->used_idx;
			vq->ring.avail_wrap = args->avail_wrap;
			vq->ring.used_wrap = args->used_wrap;
			r = 0;
		}
		rl_vq_unlock(vq);
	}
	mutex_unlock(&dev->lock);
	return r;
}

/* Start and stop */

/* @vq->lock held: a thread may still be on its way out. */
static int vq_prepare(struct rl_vq *vq)
{
	struct rl_ring *r = &vq->ring;
	u64 features = vq->dev->features;

	r->packed = features & BIT_ULL(VIRTIO_F_RING_PACKED);
	r->event_idx = features & BIT_ULL(VIRTIO_RING_F_EVENT_IDX);
	r->indirect = features & BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC);
	if (!r->packed && !is_power_of_2(r->size))
		return -EINVAL;
	if (r->packed && !IS_ALIGNED(r->gpa[1], 4))
		return -EINVAL;
	kvfree(r->order);
	r->order = NULL;
	r->gen = 0;
	r->seq = 0;
	r->done_seq = 0;
	r->in_flight = 0;
	r->unsignalled = 0;
	if (features & BIT_ULL(VIRTIO_F_IN_ORDER)) {
		r->order = kvcalloc(r->size, sizeof(*r->order), GFP_KERNEL_ACCOUNT);
		if (!r->order)
			return -ENOMEM;
	}
	if (!vq->segs)
		vq->segs = kvmalloc_array(RL_RING_MAX_SEGS, sizeof(*vq->segs), GFP_KERNEL_ACCOUNT);
	if (!vq->iov)
		vq->iov = kvmalloc_array(RL_RING_MAX_SEGS, sizeof(*vq->iov), GFP_KERNEL_ACCOUNT);
	return vq->segs && vq->iov ? 0 : -ENOMEM;
}

static int vdev_start(struct rl_vdev *dev)
{
	unsigned int n;
	int r = -EBUSY;

	mutex_lock(&dev->lock);
	if (dev->state != RINGLET_STATE_STOPPED)
		goto out;
	r = -EINVAL;
	if (!(dev->features & BIT_ULL(VIRTIO_F_VERSION_1)))
		goto out;
	r = 0;
	for (n = 0; n < dev->nr_queues && !r; n++) {
		mutex_lock(&dev->vq[n].lock);
		if (dev->vq[n].ring.size)
			r = vq_prepare(&dev->vq[n]);
		rl_vq_unlock(&dev->vq[n]);
	}
	if (r)
		goto out;
	WRITE_ONCE(dev->error, 0);
	/* First: a queue that breaks as soon as it is live has to be heard of. */
	WRITE_ONCE(dev->state, RINGLET_STATE_RUNNING);
	for (n = 0; n < dev->nr_queues; n++)
		WRITE_ONCE(dev->vq[n].live, dev->vq[n].ring.size);
	if (dev->ops->start)
		dev->ops->start(dev);
	for (n = 0; n < dev->nr_queues; n++)
		rl_vq_serve(&dev->vq[n]);
out:
	mutex_unlock(&dev->lock);
	return r;
}

static void vdev_stop_locked(struct rl_vdev *dev, bool dead)
{
	unsigned int n;

	if (dev->state == RINGLET_STATE_STOPPED)
		return;
	if (dev->ops->stop)
		dev->ops->stop(dev);
	WRITE_ONCE(dev->state, RINGLET_STATE_STOPPED);
	wake_up_all(&dev->wait);
	for (n = 0; n < dev->nr_queues; n++) {
		if (dev->vq[n].ring.size)
			/* Nobody else uses the queue's array: it is not served any more. */
			rl_vq_drain(&dev->vq[n], dev->vq[n].iov, dead);
		/* Nor does anybody start it. */
		hrtimer_cancel(&dev->vq[n].linger.timer);
	}
	WRITE_ONCE(dev->error, 0);
}

static int vdev_stop(struct rl_vdev *dev)
{
	mutex_lock(&dev->lock);
	vdev_stop_locked(dev, false);
	mutex_unlock(&dev->lock);
	return 0;
}

static int vdev_get_status(struct rl_vdev *dev, struct ringlet_status *st)
{
	mutex_lock(&dev->lock);
	st->state = smp_load_acquire(&dev->state);	/* pairs with vq_broke() */
	st->flags = READ_ONCE(dev->flags);
	if (st->state == RINGLET_STATE_NEEDS_RESET) {
		st->queue = READ_ONCE(dev->bad_queue);
		st->error = -READ_ONCE(dev->error);
	}
	st->blk_sectors = dev->blk_sectors;
	mutex_unlock(&dev->lock);
	return 0;
}

static int vdev_get_stats(struct rl_vdev *dev, struct ringlet_queue_stats *stats)
{
	struct rl_vq *vq = vdev_vq(dev, stats->queue);

	if (!vq)
		return -EINVAL;
	mutex_lock(&vq->lock);
	vq->stat.queue = vq->index;
	*stats = vq->stat;
	rl_vq_unlock(vq);
	return 0;
}

static int vdev_kick(struct rl_vdev *dev, unsigned long n)
{
	struct rl_vq *vq = vdev_vq(dev, n);

	if (!vq)
		return -EINVAL;
	if (READ_ONCE(dev->state) == RINGLET_STATE_STOPPED)
		return -EBUSY;
	vq->stat.kicks++;
	rl_vq_serve(vq);
	return 0;
}

/* The descriptor */

#define VDEV_IOCTLS(X)							\
	X(RINGLET_DEV_SET_FEATURES, IN, vdev_set_features(dev, data))	\
	X(RINGLET_DEV_SET_QUEUE, IN, vdev_set_queue(dev, data))		\
	X(RINGLET_DEV_SET_DOORBELL, IN, vdev_set_doorbell(dev, data))	\
	X(RINGLET_DEV_SET_IRQ, IN, vdev_set_irq(dev, data))		\
	X(RINGLET_DEV_START, RAW, vdev_start(dev))			\
	X(RINGLET_DEV_STOP, RAW, vdev_stop(dev))			\
	X(RINGLET_DEV_GET_STATE, INOUT, vdev_get_state(dev, data))	\
	X(RINGLET_DEV_SET_STATE, IN, vdev_set_state(dev, data))		\
	X(RINGLET_DEV_GET_STATUS, OUT, vdev_get_status(dev, data))	\
	X(RINGLET_DEV_GET_STATS, INOUT, vdev_get_stats(dev, data))	\
	X(RINGLET_DEV_KICK, RAW, vdev_kick(dev, arg))			\
	X(RINGLET_DEV_WORK, RAW, rl_vdev_work(dev))

RL_IOCTL_TABLE(vdev_ioctls, VDEV_IOCTLS);

static long vdev_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct rl_vdev *dev = filp->private_data;

	/* Slots are addresses of the creator's memory, and its alone. */
	if (dev->vm->mm != current->mm || READ_ONCE(dev->vm->dead))
		return -EIO;
	return rl_ioctl(vdev_ioctls, ARRAY_SIZE(vdev_ioctls), dev, cmd, arg, -ENOTTY);
}

static __poll_t vdev_poll_fd(struct file *filp, poll_table *wait)
{
	struct rl_vdev *dev = filp->private_data;
	__poll_t mask = 0;

	poll_wait(filp, &dev->poll, wait);
	if (READ_ONCE(dev->state) == RINGLET_STATE_NEEDS_RESET)
		mask |= EPOLLIN | EPOLLPRI;
	if (READ_ONCE(dev->flags) & RINGLET_STATUS_BACKEND_GONE)
		mask |= EPOLLERR;
	return mask;
}

static void vdev_free(struct rl_vdev *dev)
{
	unsigned int n;

	for (n = 0; n < dev->nr_queues; n++) {
		if (dev->vq[n].irq.eventfd)
			eventfd_ctx_put(dev->vq[n].irq.eventfd);
		kvfree(dev->vq[n].ring.order);
		kvfree(dev->vq[n].segs);
		kvfree(dev->vq[n].iov);
	}
	rl_vm_put(dev->vm);
	kvfree(dev);
}

static int vdev_release(struct inode *inode, struct file *filp)
{
	struct rl_vdev *dev = filp->private_data;

	mutex_lock(&dev->vm->vdevs_lock);
	list_del(&dev->link);
	mutex_unlock(&dev->vm->vdevs_lock);
	/* Whose memory this process has, if any, and whether the rings matter: no longer. */
	vdev_stop_locked(dev, true);
	vdev_forget_bells(dev);
	dev->ops->destroy(dev);
	vdev_free(dev);
	return 0;
}

static const struct file_operations vdev_fops = {
	.owner = THIS_MODULE,
	.release = vdev_release,
	.unlocked_ioctl = vdev_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = vdev_poll_fd,
	.llseek = noop_llseek,
};

static struct rl_vdev *vdev_alloc(struct rl_vm *vm, const struct ringlet_create_device *args)
{
	struct rl_vdev *dev;
	unsigned int n;

	dev = kvzalloc(struct_size(dev, vq, args->nr_queues), GFP_KERNEL_ACCOUNT);
	if (!dev)
		return NULL;
	dev->vm = vm;
	rl_vm_get(vm);
	dev->type = args->type;
	dev->ops = types[args->type];
	dev->nr_queues = args->nr_queues;
	INIT_LIST_HEAD(&dev->link);
	mutex_init(&dev->lock);
	init_waitqueue_head(&dev->wait);
	init_waitqueue_head(&dev->poll);
	for (n = 0; n < dev->nr_queues; n++) {
		dev->vq[n].dev = dev;
		dev->vq[n].index = n;
		dev->vq[n].ring.vm = vm;
		mutex_init(&dev->vq[n].lock);
		hrtimer_init(&dev->vq[n].linger.timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED);
		dev->vq[n].linger.timer.function = rl_vq_timer;
	}
	return dev;
}

/**
 * rl_vdev_create() - RINGLET_CREATE_DEVICE
 * @vm:	  the VM
 * @args: in kernel memory
 *
 * Return: a new descriptor, or the errors that uapi/linux/ringlet.h lists.
 */
int rl_vdev_create(struct rl_vm *vm, const struct ringlet_create_device *args)
{
	struct rl_vdev *dev;
	struct file *file;
	int fd, r;

	if (args->type >= ARRAY_SIZE(types) || !types[args->type] || !args->nr_queues ||
	    args->nr_queues > RINGLET_MAX_QUEUES || !args->nr_backends ||
	    args->nr_backends > RINGLET_MAX_BACKENDS ||
	    memchr_inv(args->reserved, 0, sizeof(args->reserved)))
		return -EINVAL;
	dev = vdev_alloc(vm, args);
	if (!dev)
		return -ENOMEM;
	r = dev->ops->create(dev, args);
	if (r)
		goto err_free;
	fd = get_unused_fd_flags(O_CLOEXEC);
	r = fd;
	if (fd < 0)
		goto err_destroy;
	mutex_lock(&vm->vdevs_lock);
	if (vm->dirty_ring_size)		/* what it writes is no vCPU's */
		file = ERR_PTR(-EINVAL);
	else if (vm->next_vdev == U32_MAX)	/* lists of devices go by numbers: none twice */
		file = ERR_PTR(-ENOSPC);
	else
		file = anon_inode_getfile("ringlet-virtio", &vdev_fops, dev, O_RDWR);
	r = PTR_ERR_OR_ZERO(file);
	if (r) {
		mutex_unlock(&vm->vdevs_lock);
		goto err_fd;
	}
	dev->id = vm->next_vdev++;
	list_add_tail(&dev->link, &vm->vdevs);
	mutex_unlock(&vm->vdevs_lock);
	fd_install(fd, file);
	return fd;

err_fd:
	put_unused_fd(fd);
err_destroy:
	dev->ops->destroy(dev);
err_free:
	vdev_free(dev);
	return r;
}

/**
 * rl_vdev_caps() - RINGLET_GET_CAPS
 * @caps: filled in; zeroed by the caller
 */
int rl_vdev_caps(struct ringlet_caps *caps)
{
	unsigned int n;

	caps->version = 1;
	caps->max_queues = RINGLET_MAX_QUEUES;
	caps->max_queue_size = RINGLET_MAX_QUEUE_SIZE;
	for (n = 0; n < ARRAY_SIZE(types); n++) {
		if (!types[n])
			continue;
		caps->types |= BIT(n);
		caps->features[n] = types[n]->features;
	}
	return 0;
}
