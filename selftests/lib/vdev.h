/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A data plane of <linux/ringlet.h> whose guest is the test: it writes the rings
 * in the VM's memory, kicks by ioctl and has interrupts as eventfds.
 */
#ifndef RL_VDEV_H
#define RL_VDEV_H

#include <linux/ringlet.h>
#include <linux/virtio_config.h>
#include <poll.h>

#include "lib.h"
#include "virtq.h"

#define VDEV_QUEUES	4
#define VDEV_THREADS	2

struct vdev {
	struct vm *vm;
	int fd;
	u64 features;
	struct virtq q[VDEV_QUEUES];
	int irq[VDEV_QUEUES];		/* eventfds */
	pthread_t threads[VDEV_THREADS];
	bool running;
};

/* Memory of a VM made by vdev_vm(): slot 0 from 0 on. */
#define VDEV_RAM	0x400000ull
#define VDEV_RING(n)	(0x10000ull + (n) * VIRTQ_BYTES)
#define VDEV_DATA	0x100000ull

bool vdev_supported(void);
/* A new disk that keeps what is written, opened with @flags; @how: null_blk's further parameters. */
int vdev_null_disk(const char *how, int flags);	/* -1 without null_blk */
struct vm *vdev_vm(void);
/* Everything but START: one more than one queue if @nr says so. @fd: from RINGLET_CREATE_DEVICE. */
void vdev_init(struct vdev *d, struct vm *vm, int fd, int nr, u16 size, u64 features);
int vdev_blk(struct vm *vm, int backend, u32 flags, u32 nr_queues);	/* descriptor, -errno */
int vdev_set_queue(struct vdev *d, int n, u16 size);
void vdev_start(struct vdev *d);
void vdev_stop(struct vdev *d);
void vdev_free(struct vdev *d);
void vdev_kick(struct vdev *d, int n);		/* publish; notify if the device wants that */
int vdev_wait(struct vdev *d, int n, u32 *len);	/* the next used chain; ends the test after 20 s */
struct ringlet_status vdev_status(struct vdev *d);
struct ringlet_queue_stats vdev_stats(struct vdev *d, int n);
/* One blk request on queue 0; answers its status byte. @n buffers of @len bytes at @gpa. */
int vdev_blk_io(struct vdev *d, u32 type, u64 sector, u64 gpa, u32 len, int n);
int vdev_blk_add(struct vdev *d, int q, u32 type, u64 sector, u64 gpa, u32 len, int n, int slot);

#endif
