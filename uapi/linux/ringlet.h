/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What ringlet offers beyond KVM's interface: virtio data planes in the kernel.
 *
 * A data plane serves the queues of one virtio device: it takes the guest's
 * notifications, reads and writes the rings in the VM's memory slots, does the
 * requests on a backend (a file, a block device, taps) and sends the interrupts.
 * Everything else of the device is user space's: the transport (PCI, MMIO), its
 * configuration space, feature negotiation, control queues, reset.
 *
 *   RINGLET_GET_CAPS	   on /dev/ringlet: what there is
 *   RINGLET_CREATE_DEVICE on a VM descriptor: a new descriptor, the device
 *   RINGLET_DEV_*	   on the device's descriptor
 *
 * States of a device, and the calls that are allowed in each:
 *
 *   stopped	  all; the only one for SET_FEATURES, SET_QUEUE, SET_STATE, START
 *   running	  SET_DOORBELL, SET_IRQ, KICK, WORK, STOP, GET_*
 *   needs reset  as running: the guest broke the rules of a ring (or took away
 *		  the memory it is in), nothing is served any more. STOP leads out.
 *
 * A call in the wrong state gives EBUSY, and changes nothing; so does every call
 * that fails. All calls want the address space that created the VM (EIO), and
 * arguments whose reserved fields and unknown flags are zero (EINVAL). A number
 * that no queue has is EINVAL.
 *
 * Who does the work. A guest's notification is served by the vCPU that made it,
 * before it enters the guest again: a request whose backend answers at once is
 * finished then. What has to wait (a page that is not in the cache, the end of a
 * transfer, a packet that comes in) is the business of the threads that user
 * space lends the device with RINGLET_DEV_WORK, so that it is done in the
 * owner's address space and charged to his cgroup, with the priority and
 * affinity of those threads. At least one is needed while a device runs. A thread
 * is taken up by one blk request that waits in it (what is not in the page cache,
 * flush, discard, write zeroes): as many of those are done at a time as there are
 * threads, and with one only, nothing else meanwhile.
 *
 * Lifetime. The device ends with the last close of its descriptor (a thread in
 * RINGLET_DEV_WORK has it open: STOP brings it back) or the death of the
 * process. It keeps the VM's memory, not its vCPUs, in existence.
 *
 * poll(2) on the descriptor: EPOLLIN | EPOLLPRI when the device needs a reset
 * (user space then sets DEVICE_NEEDS_RESET and sends a configuration interrupt),
 * EPOLLERR when the backend is gone (the tap was deleted).
 *
 * Writes to guest memory are in the VM's dirty log (KVM_GET_DIRTY_LOG).
 */
#ifndef _UAPI_LINUX_RINGLET_H
#define _UAPI_LINUX_RINGLET_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define RINGLET_IOC			0xB9

#define RINGLET_MAX_QUEUES		32	/* of a device */
#define RINGLET_MAX_QUEUE_SIZE		1024	/* descriptors */
#define RINGLET_MAX_BACKENDS		16
#define RINGLET_BLK_MAX_RANGES		256	/* of one discard or write zeroes, or it fails */

/* Types of devices: the numbers of the virtio specification, "Device Types". */
#define RINGLET_DEVICE_NET		1
#define RINGLET_DEVICE_BLK		2

/**
 * struct ringlet_caps - What this module's data planes can do
 * @version:	    of this interface, 1
 * @types:	    bit n: devices of type n
 * @max_queues:	    of a device
 * @max_queue_size: descriptors
 * @features:	    by device type: feature bits that a device may be started
 *		    with. What concerns user space alone (MAC address, control
 *		    queue, ...) is among them. To offer one to the guest,
 *		    user space must do its own part of it.
 */
struct ringlet_caps {
	__u32 version;
	__u32 types;
	__u32 max_queues;
	__u32 max_queue_size;
	__u64 features[8];
	__u64 reserved[6];
};

/* Fails with EFAULT only. ENOTTY or EINVAL: not ringlet, or one without data planes. */
#define RINGLET_GET_CAPS	_IOR(RINGLET_IOC, 0x00, struct ringlet_caps)

#define RINGLET_BLK_RDONLY	(1 << 0)	/* refuse writes; the guest has VIRTIO_BLK_F_RO */

/**
 * struct ringlet_create_device - A data plane for one virtio device
 * @type:      RINGLET_DEVICE_*
 * @flags:     RINGLET_BLK_RDONLY, or 0
 * @nr_queues: served by the data plane, 1 to RINGLET_MAX_QUEUES. Net: twice
 *	       @nr_backends, queue 2n receives and queue 2n + 1 sends by
 *	       backend n; the control queue is user space's.
 * @nr_backends: number of descriptors in @backend; blk: 1
 * @backend:   blk: a regular file or block device, open for reading (and, unless
 *	       RINGLET_BLK_RDONLY, writing). With O_DIRECT transfers bypass the
 *	       page cache and many are in flight at a time.
 *	       net: queues of a tap or macvtap made with IFF_VNET_HDR, whose
 *	       header user space sets to 12 bytes (TUNSETVNETHDRSZ) and whose
 *	       offloads it sets as the guest's features say (TUNSETOFFLOAD).
 * @blk_sectors: blk: capacity in units of 512 bytes; 0: all of the backend, as
 *	       large as it is now. GET_STATUS tells. Net: 0.
 * @blk_id:    blk: what VIRTIO_BLK_T_GET_ID answers, padded with zeros. Net: 0.
 *
 * The descriptors may be closed afterwards.
 *
 * Errors: EINVAL (type, flags, numbers, a backend of the wrong kind, a VM with
 * KVM_CAP_DIRTY_LOG_RING: a device writes with no vCPU to log it), EBADF (no
 * such descriptor, or not open for what is wanted), EIO, ENOMEM, EMFILE, ENFILE.
 */
struct ringlet_create_device {
	__u32 type;
	__u32 flags;
	__u32 nr_queues;
	__u32 nr_backends;
	__s32 backend[RINGLET_MAX_BACKENDS];
	__u64 blk_sectors;
	__u8 blk_id[20];
	__u32 reserved[11];
};

#define RINGLET_CREATE_DEVICE	_IOW(RINGLET_IOC, 0x01, struct ringlet_create_device)

/*
 * The features that driver and device agreed on. VIRTIO_F_VERSION_1 must be
 * among them when the device is started.
 * Errors: EBUSY, EINVAL (a bit that is not in ringlet_caps.features).
 */
#define RINGLET_DEV_SET_FEATURES	_IOW(RINGLET_IOC, 0x10, __u64)

/**
 * struct ringlet_queue - Where a queue is
 * @queue:  number
 * @size:   descriptors; a power of two for a split ring; 0: not in use
 * @desc:   guest physical address of the descriptor table, or the packed ring;
 *	    a multiple of 16
 * @driver: of the available ring (multiple of 2), or the driver's event structure
 *	    (multiple of 4)
 * @device: of the used ring or the device's event structure, a multiple of 4
 *
 * Each of the three areas lies in one memory slot, the last (and a packed ring)
 * in a writable one; whether that is so is seen when the queue is served. Resets
 * the queue's state to that of a new queue.
 *
 * Errors: EBUSY, EINVAL (number, size, alignment, wrap-around).
 */
struct ringlet_queue {
	__u32 queue;
	__u32 size;
	__u64 desc;
	__u64 driver;
	__u64 device;
	__u64 reserved[4];
};

#define RINGLET_DEV_SET_QUEUE	_IOW(RINGLET_IOC, 0x11, struct ringlet_queue)

#define RINGLET_DOORBELL_PIO		(1 << 0)	/* a port, not an address */
#define RINGLET_DOORBELL_DATAMATCH	(1 << 1)	/* this value only */
#define RINGLET_DOORBELL_UNBIND		(1 << 2)	/* take it away; only @queue counts */

/**
 * struct ringlet_doorbell - Which write of the guest notifies a queue
 * @queue:     number
 * @flags:     RINGLET_DOORBELL_*
 * @addr:      guest physical address, or port; an address without a memory slot
 * @len:       of the write, 1, 2, 4 or 8 bytes; 0: any length
 * @datamatch: with RINGLET_DOORBELL_DATAMATCH (@len not 0) what is written
 *
 * Replaces the queue's doorbell. Unbound at first. Such a write does not leave
 * KVM_RUN, whether the device is running or not.
 *
 * Errors: EINVAL (flags, length, wrap-around), EEXIST (another doorbell takes
 * this write), ENOENT (UNBIND: there is none), ENOSPC (too many on this bus),
 * ENOMEM.
 */
struct ringlet_doorbell {
	__u32 queue;
	__u32 flags;
	__u64 addr;
	__u64 datamatch;
	__u32 len;
	__u32 reserved[5];
};

#define RINGLET_DEV_SET_DOORBELL	_IOW(RINGLET_IOC, 0x12, struct ringlet_doorbell)

/* What a queue's interrupt is. */
#define RINGLET_IRQ_NONE	0	/* masked: kept until another kind is set, then sent */
#define RINGLET_IRQ_MSI		1	/* @msi_addr, @msi_data; in-kernel local APIC */
#define RINGLET_IRQ_GSI		2	/* a pulse on @gsi, by KVM_SET_GSI_ROUTING's table */
#define RINGLET_IRQ_EVENTFD	3	/* signal @fd: user space sends it (INTx, tests) */

/**
 * struct ringlet_irq - How a queue interrupts the guest
 * @queue: number
 * @type:  RINGLET_IRQ_*; NONE at first
 *
 * Errors: EINVAL (type; MSI or GSI without an in-kernel irqchip; GSI out of
 * range; @fd not an eventfd), EBADF.
 */
struct ringlet_irq {
	__u32 queue;
	__u32 type;
	__u64 msi_addr;
	__u32 msi_data;
	__u32 gsi;
	__s32 fd;
	__u32 reserved[5];
};

#define RINGLET_DEV_SET_IRQ	_IOW(RINGLET_IOC, 0x13, struct ringlet_irq)

/*
 * Serve the queues in use; what the guest has put there already, at once.
 * Errors: EBUSY (not stopped), EINVAL (no VIRTIO_F_VERSION_1; a queue's size
 * does not go with VIRTIO_F_RING_PACKED; features that exclude each other).
 */
#define RINGLET_DEV_START	_IO(RINGLET_IOC, 0x14)

/*
 * Serve nothing more, and wait for what is in flight. When it returns all
 * requests that were taken from the rings are answered in them, and the threads
 * in RINGLET_DEV_WORK are on their way out. Of a stopped device: nothing to do.
 * Errors: none.
 */
#define RINGLET_DEV_STOP	_IO(RINGLET_IOC, 0x15)

/**
 * struct ringlet_queue_state - How far a queue is; to save, restore and migrate
 * @queue:     number
 * @avail_idx: split: what is taken next, as the available ring's index (0-65535).
 *	       Packed: position of the next available descriptor.
 * @used_idx:  the same for what is used next
 * @avail_wrap, @used_wrap: packed: wrap counters, 1 at first. Split: 0.
 * @flags:     0
 *
 * While a device runs GET answers a moment's value. SET wants it stopped, and a
 * split ring's @used_idx equal to @avail_idx: nothing is in flight.
 * Errors: EBUSY, EINVAL (an index out of range).
 */
struct ringlet_queue_state {
	__u32 queue;
	__u16 avail_idx;
	__u16 used_idx;
	__u8 avail_wrap;
	__u8 used_wrap;
	__u16 flags;
	__u32 reserved[5];
};

#define RINGLET_DEV_GET_STATE	_IOWR(RINGLET_IOC, 0x16, struct ringlet_queue_state)
#define RINGLET_DEV_SET_STATE	_IOW(RINGLET_IOC, 0x17, struct ringlet_queue_state)

#define RINGLET_STATE_STOPPED		0
#define RINGLET_STATE_RUNNING		1
#define RINGLET_STATE_NEEDS_RESET	2

#define RINGLET_STATUS_BACKEND_GONE	(1 << 0)	/* e.g. the tap was deleted */

/**
 * struct ringlet_status - How the device is
 * @state:  RINGLET_STATE_*
 * @flags:  RINGLET_STATUS_*
 * @queue:  needs reset: the first queue that broke
 * @error:  needs reset: why, as an errno: EINVAL (a rule of the ring), EFAULT (no
 *	    memory slot there), ELOOP (chain too long), ENOMEM
 * @blk_sectors: capacity of a blk device, in 512 bytes
 */
struct ringlet_status {
	__u32 state;
	__u32 flags;
	__u32 queue;
	__s32 error;
	__u64 blk_sectors;
	__u64 reserved[5];
};

#define RINGLET_DEV_GET_STATUS	_IOR(RINGLET_IOC, 0x18, struct ringlet_status)

/**
 * struct ringlet_queue_stats - Counters of a queue since the device was created
 * @queue:	number
 * @kicks:	notifications by the guest (and RINGLET_DEV_KICK)
 * @requests:	blk: requests, net: packets, taken from the guest and answered
 * @bytes_read:	  transferred to the guest (blk reads, packets received)
 * @bytes_written: transferred from the guest
 * @interrupts:	sent
 * @suppressed:	not sent since the guest did not want one
 * @errors:	blk: answered with VIRTIO_BLK_S_IOERR; net: packets dropped
 * @deferred:	blk: requests that waited for a thread in RINGLET_DEV_WORK
 * @polls:	times that a thread found work by polling instead of sleeping
 * @polls_in_vain: times that it polled after this queue's work, found none and slept
 */
struct ringlet_queue_stats {
	__u32 queue;
	__u32 reserved0;
	__u64 kicks;
	__u64 requests;
	__u64 bytes_read;
	__u64 bytes_written;
	__u64 interrupts;
	__u64 suppressed;
	__u64 errors;
	__u64 deferred;
	__u64 polls;
	__u64 polls_in_vain;
	__u64 reserved[5];
};

#define RINGLET_DEV_GET_STATS	_IOWR(RINGLET_IOC, 0x19, struct ringlet_queue_stats)

/*
 * Serve a queue as if the guest had notified it; the argument is its number. For
 * a user space that sees the notification itself, and for tests.
 * Errors: EBUSY (stopped), EINVAL.
 */
#define RINGLET_DEV_KICK	_IO(RINGLET_IOC, 0x1a)

/*
 * Lend the device this thread, as many as wanted. Returns 0 when the device
 * is stopped (at once, when it is not running; also when it needs a reset and
 * is stopped then), EINTR for a signal. Call it again after EINTR, and after
 * RINGLET_DEV_START.
 */
#define RINGLET_DEV_WORK	_IO(RINGLET_IOC, 0x1b)

#endif
