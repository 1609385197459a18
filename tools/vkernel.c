// SPDX-License-Identifier: GPL-2.0
/*
 * Queues that the module serves (uapi/linux/ringlet.h): the launcher's part is to
 * tell it where they are, to lend it threads, and to watch for trouble.
 *
 * Owns:    struct vkernel: the data plane's descriptor and worker threads.
 * Touches: virtio.c's queues and pci.c's vectors, to pass them on.
 * Locks:   the device's, which a vCPU holds; vkernel_poll() and vkernel_ready()
 *          are the device's thread's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "linux/ringlet.h"
#include "virtio.h"

struct vkernel {
	int fd;
	int intx_fd;			/* signalled for guests that do without MSI-X */
	unsigned int threads;		/* wanted */
	unsigned int working;		/* there are */
	pthread_t worker[VKERNEL_THREADS];
	bool reported;			/* the backend is gone */
};

/**
 * vkernel_caps() - Ask for the module's data planes
 *
 * Return: whether there are any.
 */
bool vkernel_caps(int device_fd, struct ringlet_caps *caps)
{
	return !ioctl(device_fd, RINGLET_GET_CAPS, caps) && caps->version == 1;
}

/** vkernel_features() - Those of @features that the module can serve, and its rings' own */
uint64_t vkernel_features(struct vm *vm, unsigned int type, uint64_t features)
{
	const uint64_t rings = BIT_ULL(VIRTIO_F_RING_PACKED) | BIT_ULL(VIRTIO_F_IN_ORDER) |
			       BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |
			       BIT_ULL(VIRTIO_RING_F_EVENT_IDX);
	struct ringlet_caps caps;

	if (!vkernel_caps(vm->config->device_fd, &caps))
		return features;
	return (features | rings) & caps.features[type];
}

/** vkernel_create() - A data plane; dies with a message that @what begins when refused */
struct vkernel *vkernel_create(struct vm *vm, const struct ringlet_create_device *create,
			       unsigned int threads, const char *what)
{
	struct vkernel *k = xcalloc(1, sizeof(*k));

	k->threads = threads;
	k->intx_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	k->fd = k->intx_fd < 0 ? -1 : ioctl(vm->fd, RINGLET_CREATE_DEVICE, create);
	if (k->fd < 0)
		die("%s: the module cannot serve it (try --device-model user): %s", what,
		    strerror(errno));
	return k;
}

void vkernel_destroy(struct virtio_dev *dev)
{
	close(dev->kernel->fd);
	close(dev->kernel->intx_fd);
	free(dev->kernel);
}

static bool call(struct virtio_dev *dev, unsigned long cmd, const char *name, void *arg)
{
	if (!ioctl(dev->kernel->fd, cmd, arg))
		return true;
	warn("%s (PCI slot %u): %s: %s", dev->model->name, dev->pci.slot, name, strerror(errno));
	virtio_broken(dev, "the module cannot serve it");
	return false;
}

static void set_irq(struct virtio_dev *dev, struct virtio_queue *q)
{
	struct ringlet_irq irq = { .queue = q->index, .type = RINGLET_IRQ_NONE };
	struct kvm_msi msi;

	if (!pci_uses_msix(&dev->pci)) {
		irq.type = RINGLET_IRQ_EVENTFD;
		irq.fd = dev->kernel->intx_fd;
	} else if (pci_vector_get(&dev->pci, q->vector, &msi)) {
		irq.type = RINGLET_IRQ_MSI;
		irq.msi_addr = msi.address_lo | (uint64_t)msi.address_hi << 32;
		irq.msi_data = msi.data;
	}
	call(dev, RINGLET_DEV_SET_IRQ, "RINGLET_DEV_SET_IRQ", &irq);
}

/** vkernel_vector() - A vector's message or mask is another now */
void vkernel_vector(struct virtio_dev *dev, unsigned int vector)
{
	for (unsigned int i = 0; i < dev->kernel_queues; i++) {
		struct virtio_queue *q = &dev->queue[i];

		if (q->enabled && (q->vector == vector || !pci_uses_msix(&dev->pci)))
			set_irq(dev, q);
	}
}

/* @port is 0 while the guest has the ports switched off. */
static void set_doorbell(struct virtio_dev *dev, struct virtio_queue *q, uint64_t port)
{
	struct ringlet_doorbell bell = {
		.queue = q->index,
		.flags = port ? RINGLET_DOORBELL_PIO : RINGLET_DOORBELL_UNBIND,
		.addr = port,
		.len = port ? 2 : 0,
	};

	if (ioctl(dev->kernel->fd, RINGLET_DEV_SET_DOORBELL, &bell) && errno != ENOENT)
		warn("%s (PCI slot %u): queue %u: no doorbell: %s", dev->model->name,
		     dev->pci.slot, q->index, strerror(errno));
}

/** vkernel_moved() - The ports of the doorbells, dev->bound, have changed */
void vkernel_moved(struct virtio_dev *dev)
{
	for (unsigned int i = 0; i < dev->kernel_queues; i++)
		if (dev->queue[i].enabled)
			set_doorbell(dev, &dev->queue[i],
				     dev->bound ? dev->bound + VIRTIO_NOTIFY_STEP * i : 0);
}

/** vkernel_kick() - The guest's notification came here: the doorbell is not bound */
void vkernel_kick(struct virtio_dev *dev, unsigned int queue)
{
	ioctl(dev->kernel->fd, RINGLET_DEV_KICK, queue);
}

static void *work(void *opaque)
{
	struct virtio_dev *dev = opaque;

	pthread_setname_np(pthread_self(), "vwork");
	while (ioctl(dev->kernel->fd, RINGLET_DEV_WORK, 0) && errno == EINTR)
		;
	return NULL;
}

/** vkernel_start() - The driver is ready; a failure leaves a device that needs a reset */
void vkernel_start(struct virtio_dev *dev)
{
	struct vkernel *k = dev->kernel;
	bool fine = call(dev, RINGLET_DEV_SET_FEATURES, "RINGLET_DEV_SET_FEATURES",
			 &dev->features);

	for (unsigned int i = 0; fine && i < dev->kernel_queues; i++) {
		struct virtio_queue *q = &dev->queue[i];
		struct ringlet_queue queue = {
			.queue = i,
			.size = q->enabled ? q->size : 0,
			.desc = q->desc,
			.driver = q->driver,
			.device = q->device,
		};

		fine = call(dev, RINGLET_DEV_SET_QUEUE, "RINGLET_DEV_SET_QUEUE", &queue);
		if (fine && q->enabled)
			set_irq(dev, q);
	}
	if (!fine)
		return;
	vkernel_moved(dev);
	if (!call(dev, RINGLET_DEV_START, "RINGLET_DEV_START", NULL))
		return;
	/* One is enough, if there are no more. */
	while (k->working < k->threads &&
	       !pthread_create(&k->worker[k->working], NULL, work, dev))
		k->working++;
	if (!k->working) {
		ioctl(k->fd, RINGLET_DEV_STOP);
		virtio_broken(dev, "no thread for the module");
	}
}

/** vkernel_stop() - When it returns nothing is in flight */
void vkernel_stop(struct virtio_dev *dev)
{
	struct vkernel *k = dev->kernel;

	ioctl(k->fd, RINGLET_DEV_STOP);
	while (k->working)
		pthread_join(k->worker[--k->working], NULL);
	for (unsigned int i = 0; i < dev->kernel_queues; i++)
		set_doorbell(dev, &dev->queue[i], 0);
}

/** vkernel_poll() - What to wait for; room for VKERNEL_FDS. Returns how many */
unsigned int vkernel_poll(struct virtio_dev *dev, struct pollfd *fds)
{
	struct vkernel *k = dev->kernel;

	fds[0] = (struct pollfd){ .fd = k->intx_fd, .events = POLLIN };
	/* Once told of, a backend that is gone would not let the thread sleep. */
	fds[1] = (struct pollfd){ .fd = k->reported ? -1 : k->fd, .events = POLLIN | POLLPRI };
	return VKERNEL_FDS;
}

void vkernel_ready(struct virtio_dev *dev, const struct pollfd *fds)
{
	struct vkernel *k = dev->kernel;
	struct ringlet_status status;
	eventfd_t count;

	if (fds[0].revents && !eventfd_read(k->intx_fd, &count))
		virtio_interrupt(dev, MSIX_NONE, ISR_QUEUE);
	if (!fds[1].revents || ioctl(k->fd, RINGLET_DEV_GET_STATUS, &status))
		return;
	if (status.state == RINGLET_STATE_NEEDS_RESET)
		virtio_broken(dev, "a ring that breaks the rules");
	if (status.flags & RINGLET_STATUS_BACKEND_GONE) {
		warn("%s (PCI slot %u): its backend is gone", dev->model->name, dev->pci.slot);
		k->reported = true;
	}
}
