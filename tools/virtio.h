/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_VIRTIO_H
#define RINGLET_VIRTIO_H

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <sys/uio.h>

#include "kernel_types.h"

#include "../kmod/virtio/ring.h"
#include "pci.h"

#define ISR_QUEUE	BIT(0)	/* the other bit is VIRTIO_PCI_ISR_CONFIG */
#define VIRTIO_QUEUES	33	/* of a device: 16 pairs and a control queue */
#define VIRTIO_QUEUE_SIZE 256
#define VIRTIO_NOTIFY_STEP 2	/* ports per queue */
#define VKERNEL_FDS	2
#define VKERNEL_THREADS	64	/* at most lent to a device */
#define VIRTIO_FDS	16	/* that a model's thread waits for beside doorbells */
#define CHAIN_BUFFERS	(VIRTIO_QUEUE_SIZE + 2)

/* A request of the guest: what it wrote, and what it wants written. */
struct chain {
	struct rl_chain c;
	struct iovec *out, *in;
	unsigned int nout, nin;
	struct iovec iov[CHAIN_BUFFERS];
};

struct virtio_dev;
struct ringlet_caps;
struct ringlet_create_device;

struct virtio_queue {
	struct virtio_dev *dev;
	unsigned int index;
	unsigned int size;		/* chosen by the guest */
	bool enabled;
	uint16_t vector;
	uint64_t desc, driver, device;	/* guest physical */
	struct rl_ring ring;
	struct rl_done order[VIRTIO_QUEUE_SIZE];
	int kick_fd;			/* doorbell, while this program serves the queue */
};

/*
 * A device model. A thread of the device's own calls @serve and @ready while the
 * guest's driver runs it; the other calls come with no such thread.
 */
struct virtio_model {
	const char *name;
	uint16_t id;			/* VIRTIO_ID_* */
	uint32_t class_revision;
	/* The guest rang a queue's bell: work until it is empty. -1: the ring is broken. */
	int (*serve)(struct virtio_dev *dev, struct virtio_queue *q);
	/* dev->fds[i] has revents. -1 as above. */
	int (*ready)(struct virtio_dev *dev, unsigned int i);
	void (*start)(struct virtio_dev *dev);	/* features and queues are settled */
	void (*stop)(struct virtio_dev *dev);	/* nobody serves the queues any more */
	void (*config_written)(struct virtio_dev *dev);
	void (*destroy)(struct virtio_dev *dev);
};

/*
 * Embedded in its model's struct. [c] set at creation  [l] pci.lock
 * [t] the device's thread while there is one, else [l]  [a] atomic
 */
struct virtio_dev {
	struct pci_dev pci;
	const struct virtio_model *model;	/* [c] */
	uint64_t offered;			/* [c] features */
	uint64_t features;			/* [l] agreed on */
	unsigned int nqueues;			/* [c] */
	unsigned int kernel_queues;		/* [c] first so many are the module's */
	uint8_t config[96], writable[96];	/* [l] device-specific configuration */
	unsigned int config_len;		/* [c] */

	uint32_t feature_select, driver_select;	/* [l] */
	uint16_t queue_select, config_vector;	/* [l] */
	atomic_uint status;			/* [a] */
	atomic_uchar isr;			/* [a] */
	atomic_uchar generation;		/* [a] */
	bool running;				/* [l] */
	uint64_t bound;				/* [l] port that the doorbells are bound to, or 0 */
	struct virtio_queue queue[VIRTIO_QUEUES];

	struct pollfd fds[VIRTIO_FDS];		/* [t] */
	unsigned int nfds;			/* [t] */
	pthread_t thread;			/* [l] */
	int wake_fd;				/* [c] eventfd: stop, please */
	atomic_bool stopping;			/* [a] */
	struct vkernel *kernel;			/* [c] the module's part, if any */
};

/* virtio.c */
void virtio_init(struct vm *vm, struct virtio_dev *dev, const struct virtio_model *model,
		 uint64_t features, unsigned int queues, unsigned int config_len);
void virtio_destroy(struct virtio_dev *dev);
void virtio_interrupt(struct virtio_dev *dev, unsigned int vector, unsigned int why);
void virtio_config_changed(struct virtio_dev *dev);
void virtio_broken(struct virtio_dev *dev, const char *why);

static inline bool virtio_has(const struct virtio_dev *dev, unsigned int bit)
{
	return dev->features & BIT_ULL(bit);
}

/* vring.c */
bool vring_start(struct virtio_queue *q);
int vring_pop(struct virtio_queue *q, struct chain *chain);
void vring_unpop(struct virtio_queue *q, const struct chain *chain);
void vring_push(struct virtio_queue *q, const struct rl_chain *chain, uint32_t written);
void vring_flush(struct virtio_queue *q);
int vring_listen(struct virtio_queue *q);
int vring_next(struct virtio_queue *q, struct chain *chain);
int vring_serve(struct virtio_queue *q, int (*fn)(struct virtio_queue *q, struct chain *chain));
size_t iov_read(const struct iovec *iov, unsigned int count, size_t skip, void *to, size_t len);
size_t iov_write(const struct iovec *iov, unsigned int count, size_t skip, const void *from,
		 size_t len);
void iov_skip(struct iovec **iov, unsigned int *count, size_t bytes);

/* virtio_console.c */
int virtio_console_feed(struct virtio_dev *dev, const uint8_t *data, int len);
void virtio_console_resized(struct virtio_dev *dev);

/* vkernel.c: the module's data planes */
bool vkernel_caps(int device_fd, struct ringlet_caps *caps);
uint64_t vkernel_features(struct vm *vm, unsigned int type, uint64_t features);
struct vkernel *vkernel_create(struct vm *vm, const struct ringlet_create_device *create,
			       unsigned int threads, const char *what);
void vkernel_start(struct virtio_dev *dev);
void vkernel_stop(struct virtio_dev *dev);
void vkernel_moved(struct virtio_dev *dev);
void vkernel_kick(struct virtio_dev *dev, unsigned int queue);
void vkernel_vector(struct virtio_dev *dev, unsigned int vector);
unsigned int vkernel_poll(struct virtio_dev *dev, struct pollfd *fds);
void vkernel_ready(struct virtio_dev *dev, const struct pollfd *fds);
void vkernel_destroy(struct virtio_dev *dev);

#endif
