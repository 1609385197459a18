/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtio data planes: a device and its queues, as device.c, blk.c and net.c see
 * them, and what the rest of the module calls.
 */
#ifndef RL_VIRTIO_H
#define RL_VIRTIO_H

#include <linux/hrtimer.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/ringlet.h>
#include <linux/uio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <linux/wait.h>

#include "../bus.h"
#include "ring.h"

struct rl_vdev;
struct eventfd_ctx;

/*
 * One queue. [c] set at creation  [d] dev->lock  [q] lock  [a] atomic, see use
 */
struct rl_vq {
	struct rl_vdev *dev;		/* [c] */
	unsigned int index;		/* [c] */
	struct mutex lock;
	struct rl_ring ring;		/* [q] */
	struct rl_buf *segs;		/* [q] buffers of the chain being worked on */
	struct iovec *iov;		/* [q] the same as the owner's addresses */
	bool live;			/* [q] served: the device runs, the queue is in use */
	u32 flying;			/* [q] requests taken and not ended */
	bool kicked;			/* [a] to be looked at by whoever holds lock */
	struct {			/* [q] see rl_vq_linger() */
		struct rl_vcpu *by;	/* that serves it now for its own notification, or NULL */
		struct rl_vcpu *vcpu;	/* [a] that will look again */
		u64 last_ns;
		unsigned int streak;
		bool due;		/* served because it lingered */
		struct hrtimer timer;
	} linger;
	struct rl_doorbell bell;	/* [d] */
	struct {			/* [q] */
		u32 type;		/* RINGLET_IRQ_* */
		u32 gsi, msi_data;
		u64 msi_addr;
		struct eventfd_ctx *eventfd;
		bool owed;		/* came while the type was RINGLET_IRQ_NONE */
	} irq;
	struct ringlet_queue_stats stat;	/* [q], but for the kicks */
	void *priv;			/* [c] blk.c's or net.c's */
};

/**
 * struct rl_vdev_ops - One type of device
 * @features: that it may be started with
 * @create:  take the backends; the device is zeroed but for its queues' locks
 * @destroy: give them back; nothing is in flight, nobody is left
 * @start:   the queues are live, before they are first served; NULL: nothing to do
 * @stop:    they are not any more; NULL: nothing to do
 * @serve:   take what is in the ring. @vq->lock and vm->srcu held, in the owner's
 *	     address space; may sleep, not long. 0, 1 (there is more), or an error
 *	     of the ring
 * @work:    what may take long; like @serve but without @vq->lock. @iov: room for
 *	     RL_RING_MAX_SEGS. Answers whether there was anything. NULL: nothing
 * @reap:    give back what has ended; @vq->lock held. With @dead the guest's memory
 *	     cannot be reached, and there is nothing else that may be. Answers
 *	     as @serve. NULL: nothing
 */
struct rl_vdev_ops {
	u64 features;
	int (*create)(struct rl_vdev *dev, const struct ringlet_create_device *args);
	void (*destroy)(struct rl_vdev *dev);
	void (*start)(struct rl_vdev *dev);
	void (*stop)(struct rl_vdev *dev);
	int (*serve)(struct rl_vq *vq);
	bool (*work)(struct rl_vq *vq, struct iovec *iov);
	int (*reap)(struct rl_vq *vq, bool dead);
};

/* [c] set at creation  [d] lock  [v] vm->vdevs_lock  [a] atomic */
struct rl_vdev {
	struct rl_vm *vm;		/* [c] holds a reference */
	const struct rl_vdev_ops *ops;	/* [c] */
	u32 type, nr_queues;		/* [c] */
	u32 id;				/* [c] in the VM; what netlink calls it */
	struct list_head link;		/* [v] vm->vdevs */
	struct mutex lock;		/* state and everything that goes with it */
	u32 state;			/* [d] RINGLET_STATE_*; [a] RUNNING to NEEDS_RESET */
	u32 flags;			/* [a] RINGLET_STATUS_* */
	u32 bad_queue;			/* [a] set once per NEEDS_RESET */
	int error;
	u64 features;			/* [d] */
	u64 blk_sectors;		/* [c] */
	unsigned long work;		/* [a] bit n: a thread is wanted for queue n */
	atomic_t looking;		/* lent threads that will look at @work before they sleep */
	u64 poll_ns, idle_since;	/* [a] see vdev_poll() */
	wait_queue_head_t wait;		/* for bits in @work, and for a change of state */
	wait_queue_head_t poll;
	void *priv;			/* [c] */
	struct rl_vq vq[];
};

/* What every type of device can do. */
#define RL_VIRTIO_FEATURES	(BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_RING_PACKED) | \
			 BIT_ULL(VIRTIO_F_IN_ORDER) | BIT_ULL(VIRTIO_F_ORDER_PLATFORM) | \
			 BIT_ULL(VIRTIO_RING_F_EVENT_IDX) | \
			 BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC))

/* device.c */
int rl_vdev_caps(struct ringlet_caps *caps);
int rl_vdev_create(struct rl_vm *vm, const struct ringlet_create_device *args);
/* queue.c */
int rl_vdev_work(struct rl_vdev *dev);	/* RINGLET_DEV_WORK */
/* Look at the queue now, or have its present holder do so. Owner's mm, may sleep. */
void rl_vq_serve(struct rl_vq *vq);
/* Let go of @vq->lock, under which the queue may have been kicked. */
void rl_vq_unlock(struct rl_vq *vq);
void rl_vq_drain(struct rl_vq *vq, struct iovec *iov, bool dead);
void rl_vq_interrupt(struct rl_vq *vq);		/* @vq->lock held */
/* On RL_REQ_DOORBELL: serve the queue that this vCPU notified, and the one that lingers. */
void rl_vdev_doorbell(struct rl_vcpu *vcpu);
/* The same before the vCPU sleeps and before KVM_RUN ends: it will not see to it again soon. */
void rl_vdev_leave(struct rl_vcpu *vcpu);
bool rl_vq_linger(struct rl_vq *vq, unsigned int n);
enum hrtimer_restart rl_vq_timer(struct hrtimer *timer);
void rl_vq_bell(struct rl_vcpu *vcpu, struct rl_doorbell *bell);
/* Have a thread look at the queue; any context. */
void rl_vq_defer(struct rl_vq *vq);
/* Around what may take long: another thread looks meanwhile. */
void rl_vdev_away(struct rl_vdev *dev);
void rl_vdev_back(struct rl_vdev *dev);
void rl_vdev_backend_gone(struct rl_vdev *dev);
/* Publish what was put, interrupt the guest if it wants that; @vq->lock held. 0 or -errno. */
int rl_vq_flush(struct rl_vq *vq);

/* Bytes at @off of a chain's buffers; vm->srcu held. 0, -EFAULT, -EINVAL (there are fewer). */
int rl_bufs_read(struct rl_vm *vm, const struct rl_buf *b, int nr, u64 off, void *data, u32 len);
int rl_bufs_write(struct rl_vm *vm, const struct rl_buf *b, int nr, u64 off, const void *data,
		  u32 len);
/* The buffers as the owner's addresses: the number of pieces, or an error as rl_guest_iov()'s. */
int rl_bufs_iov(struct rl_vm *vm, const struct rl_buf *b, int nr, bool write, struct iovec *iov);
/* The first @len bytes have been written: into the dirty log. */
void rl_bufs_dirty(struct rl_vm *vm, const struct rl_buf *b, int nr, u32 len);

extern const struct rl_vdev_ops rl_blk_ops, rl_net_ops;

#endif
