// SPDX-License-Identifier: GPL-2.0
/*
 * virtio over PCI, without the legacy interface: the registers that the guest's
 * driver finds through capabilities, and the thread that serves a device's queues.
 *
 * Notifications go to ports, one per queue, in BAR 1: a hypervisor decodes an OUT
 * faster than a store to a device. All else is in BAR 0.
 *
 * Owns:    struct virtio_dev, the life of its thread, its doorbells.
 * Touches: the models, through struct virtio_model; pci.c.
 * Locks:   called with the device's lock by a vCPU. The thread never takes it, so
 *          that a vCPU can hold it while it waits for the thread's end.
 * Manuals: Virtual I/O Device (VIRTIO) Version 1.2, "Virtio Over PCI Bus".
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "virtio.h"

#define COMMON_OFFSET	0x000		/* in BAR 0; pci.c has MSI-X from 0x1000 on */
#define ISR_OFFSET	0x100
#define CONFIG_OFFSET	0x200
#define BAR_SIZE	0x2000

#define PCI_DEVICE_BASE	0x1040
#define PCI_REVISION	1
/* What ring.c can do; a data plane of the module has said what it can. */
#define RING_FEATURES	(BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) | \
			 BIT_ULL(VIRTIO_RING_F_EVENT_IDX) | BIT_ULL(VIRTIO_F_RING_PACKED) | \
			 BIT_ULL(VIRTIO_F_IN_ORDER))

#define COMMON(field)	offsetof(struct virtio_pci_common_cfg, field)

/** virtio_interrupt() - Tell the driver; @why is a bit of the ISR, for guests without MSI-X */
void virtio_interrupt(struct virtio_dev *dev, unsigned int vector, unsigned int why)
{
	atomic_fetch_or(&dev->isr, why);
	pci_signal(&dev->pci, vector);
}

/** virtio_config_changed() - Have the driver look at the configuration again */
void virtio_config_changed(struct virtio_dev *dev)
{
	atomic_fetch_add(&dev->generation, 1);
	if (atomic_load(&dev->status) & VIRTIO_CONFIG_S_DRIVER_OK)
		virtio_interrupt(dev, dev->config_vector, VIRTIO_PCI_ISR_CONFIG);
}

/** virtio_broken() - The guest has broken a rule: nothing more until it resets the device */
void virtio_broken(struct virtio_dev *dev, const char *why)
{
	if (atomic_fetch_or(&dev->status, VIRTIO_CONFIG_S_NEEDS_RESET) &
	    VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	warn("%s (PCI slot %u): %s, the device needs a reset", dev->model->name, dev->pci.slot,
	     why);
	virtio_config_changed(dev);
}

static bool needs_reset(struct virtio_dev *dev)
{
	return atomic_load(&dev->status) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

/* Wait for bells and the model's descriptors until told to stop. */
static void *device_thread(void *opaque)
{
	struct virtio_dev *dev = opaque;
	struct pollfd fds[1 + VIRTIO_QUEUES + VIRTIO_FDS + VKERNEL_FDS];
	struct virtio_queue *bell[VIRTIO_QUEUES];
	char name[16] = "virtio";
	unsigned int nq = 0;

	strncpy(name, dev->model->name, sizeof(name) - 1);
	pthread_setname_np(pthread_self(), name);
	for (unsigned int i = dev->kernel_queues; i < dev->nqueues; i++)
		if (dev->queue[i].enabled)
			bell[nq++] = &dev->queue[i];
	while (!atomic_load(&dev->stopping) && !needs_reset(dev)) {
		unsigned int n = 0, nkernel;
		int bad = 0;

		fds[n++] = (struct pollfd){ .fd = dev->wake_fd, .events = POLLIN };
		for (unsigned int i = 0; i < nq; i++)
			fds[n++] = (struct pollfd){ .fd = bell[i]->kick_fd, .events = POLLIN };
		for (unsigned int i = 0; i < dev->nfds; i++)
			fds[n++] = dev->fds[i];
		nkernel = n;
		if (dev->kernel)
			n += vkernel_poll(dev, fds + n);
		if (poll(fds, n, -1) < 0)
			continue;
		if (n > nkernel)
			vkernel_ready(dev, fds + nkernel);
		for (unsigned int i = 0; i < nq && !bad; i++) {
			eventfd_t count;

			if (fds[1 + i].revents && !eventfd_read(bell[i]->kick_fd, &count))
				bad = dev->model->serve(dev, bell[i]);
		}
		for (unsigned int i = 0; i < dev->nfds && !bad; i++)
			if (fds[1 + nq + i].revents && fds[1 + nq + i].fd == dev->fds[i].fd) {
				dev->fds[i].revents = fds[1 + nq + i].revents;
				bad = dev->model->ready(dev, i);
			}
		if (bad)
			virtio_broken(dev, "a ring that breaks the rules");
	}
	return NULL;
}

static void set_doorbell(struct virtio_queue *q, uint64_t port, bool on)
{
	struct kvm_ioeventfd bell = {
		.addr = port,
		.len = 2,
		.fd = q->kick_fd,
		.flags = KVM_IOEVENTFD_FLAG_PIO | (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	/* Without it the OUT comes to notify_write(), which is slower and no more. */
	ioctl(q->dev->pci.vm->fd, KVM_IOEVENTFD, &bell);
}

static void bind_doorbells(struct virtio_dev *dev, uint64_t base, bool on)
{
	for (unsigned int i = dev->kernel_queues; i < dev->nqueues; i++)
		if (dev->queue[i].enabled && base)
			set_doorbell(&dev->queue[i], base + VIRTIO_NOTIFY_STEP * i, on);
}

static bool start_queues(struct virtio_dev *dev)
{
	for (unsigned int i = dev->kernel_queues; i < dev->nqueues; i++) {
		struct virtio_queue *q = &dev->queue[i];

		if (q->enabled && !vring_start(q))
			return false;
	}
	return true;
}

/* The driver is ready. */
static void start(struct virtio_dev *dev)
{
	eventfd_t count;

	if (dev->running)
		return;
	if (!start_queues(dev)) {
		virtio_broken(dev, "a ring outside of memory");
		return;
	}
	eventfd_read(dev->wake_fd, &count);
	atomic_store(&dev->stopping, false);
	dev->bound = dev->pci.bar[1].base;
	if (dev->model->start)
		dev->model->start(dev);
	bind_doorbells(dev, dev->bound, true);
	if (dev->kernel)
		vkernel_start(dev);
	if (pthread_create(&dev->thread, NULL, device_thread, dev)) {
		warn("%s: no thread for it: %s", dev->model->name, strerror(errno));
		virtio_broken(dev, "no thread");
		return;
	}
	dev->running = true;
	/* What was put into the rings before the bells were bound has to be found. */
	for (unsigned int i = dev->kernel_queues; i < dev->nqueues; i++)
		if (dev->queue[i].enabled)
			eventfd_write(dev->queue[i].kick_fd, 1);
}

/* Returns when nothing is served any more. */
static void stop(struct virtio_dev *dev)
{
	if (!dev->running)
		return;
	atomic_store(&dev->stopping, true);
	eventfd_write(dev->wake_fd, 1);
	pthread_join(dev->thread, NULL);
	bind_doorbells(dev, dev->bound, false);
	if (dev->kernel)
		vkernel_stop(dev);
	if (dev->model->stop)
		dev->model->stop(dev);
	dev->nfds = 0;
	dev->running = false;
}

static void reset(struct virtio_dev *dev)
{
	stop(dev);
	dev->features = 0;
	dev->config_vector = MSIX_NONE;
	atomic_store(&dev->status, 0);
	atomic_store(&dev->isr, 0);
	pci_set_intx(&dev->pci, false);
	for (unsigned int i = 0; i < dev->nqueues; i++) {
		struct virtio_queue *q = &dev->queue[i];

		q->size = VIRTIO_QUEUE_SIZE;
		q->enabled = false;
		q->vector = MSIX_NONE;
		q->desc = 0;
		q->driver = 0;
		q->device = 0;
	}
}

static void set_status(struct virtio_dev *dev, uint8_t status)
{
	unsigned int old = atomic_load(&dev->status), kept = old & VIRTIO_CONFIG_S_NEEDS_RESET;

	if (!status) {
		reset(dev);
		return;
	}
	if ((dev->features & ~dev->offered) || !virtio_has(dev, VIRTIO_F_VERSION_1))
		status &= ~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!(status & VIRTIO_CONFIG_S_FEATURES_OK))
		status &= ~VIRTIO_CONFIG_S_DRIVER_OK;
	atomic_store(&dev->status, status | kept);
	if (status & ~old & VIRTIO_CONFIG_S_DRIVER_OK)
		start(dev);
}

static struct virtio_queue *selected(struct virtio_dev *dev)
{
	return dev->queue_select < dev->nqueues ? &dev->queue[dev->queue_select] : NULL;
}

static uint32_t half(uint64_t value, uint32_t select)
{
	return select > 1 ? 0 : value >> 32 * select;
}

static void read_common(struct virtio_dev *dev, struct virtio_pci_common_cfg *c)
{
	const struct virtio_queue *q = selected(dev);

	*c = (struct virtio_pci_common_cfg){
		.device_feature_select = dev->feature_select,
		.device_feature = half(dev->offered, dev->feature_select),
		.guest_feature_select = dev->driver_select,
		.guest_feature = half(dev->features, dev->driver_select),
		.msix_config = dev->config_vector,
		.num_queues = dev->nqueues,
		.device_status = atomic_load(&dev->status),
		.config_generation = atomic_load(&dev->generation),
		.queue_select = dev->queue_select,
		.queue_msix_vector = MSIX_NONE,
	};
	if (!q)
		return;
	c->queue_size = q->size;
	c->queue_msix_vector = q->vector;
	c->queue_enable = q->enabled;
	c->queue_notify_off = q->index;
	c->queue_desc_lo = q->desc;
	c->queue_desc_hi = q->desc >> 32;
	c->queue_avail_lo = q->driver;
	c->queue_avail_hi = q->driver >> 32;
	c->queue_used_lo = q->device;
	c->queue_used_hi = q->device >> 32;
}

static uint16_t usable_vector(struct virtio_dev *dev, uint16_t vector)
{
	return vector < dev->pci.vectors ? vector : MSIX_NONE;
}

static void set_half(uint64_t *reg, bool high, uint32_t value)
{
	*reg = high ? (uint32_t)*reg | (uint64_t)value << 32 : (*reg & ~0xffffffffULL) | value;
}

/* The rings' places; a queue that is enabled keeps its own. */
static void write_address(struct virtio_queue *q, uint64_t offset, uint32_t value)
{
	if (offset >= COMMON(queue_used_lo))
		set_half(&q->device, offset == COMMON(queue_used_hi), value);
	else if (offset >= COMMON(queue_avail_lo))
		set_half(&q->driver, offset == COMMON(queue_avail_hi), value);
	else
		set_half(&q->desc, offset == COMMON(queue_desc_hi), value);
}

static bool valid_size(const struct virtio_dev *dev, uint64_t size)
{
	if (!size || size > VIRTIO_QUEUE_SIZE)
		return false;
	return virtio_has(dev, VIRTIO_F_RING_PACKED) || !(size & (size - 1));
}

static void write_queue(struct virtio_dev *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct virtio_queue *q = selected(dev);

	if (!q)
		return;
	switch (offset) {
	case COMMON(queue_size):
		if (!q->enabled && valid_size(dev, value))
			q->size = value;
		break;
	case COMMON(queue_msix_vector):
		q->vector = usable_vector(dev, value);
		break;
	case COMMON(queue_enable):
		if (value == 1 && !dev->running)
			q->enabled = true;
		break;
	case COMMON(queue_desc_lo) ... COMMON(queue_used_hi):
		if (!q->enabled && size == 4 && !(offset & 3))
			write_address(q, offset, value);
		break;
	}
}

static void write_common(struct virtio_dev *dev, uint64_t offset, unsigned int size,
			 uint64_t value)
{
	switch (offset) {
	case COMMON(device_feature_select):
		dev->feature_select = value;
		break;
	case COMMON(guest_feature_select):
		dev->driver_select = value;
		break;
	case COMMON(guest_feature):
		if (dev->driver_select < 2 &&
		    !(atomic_load(&dev->status) & VIRTIO_CONFIG_S_FEATURES_OK))
			set_half(&dev->features, dev->driver_select, value);
		break;
	case COMMON(msix_config):
		dev->config_vector = usable_vector(dev, value);
		break;
	case COMMON(device_status):
		set_status(dev, value);
		break;
	case COMMON(queue_select):
		dev->queue_select = value;
		break;
	default:
		write_queue(dev, offset, size, value);
	}
}

static uint64_t read_isr(struct virtio_dev *dev)
{
	uint8_t isr = atomic_exchange(&dev->isr, 0);

	pci_set_intx(&dev->pci, false);
	return isr;
}

static uint64_t regs_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct virtio_dev *dev = opaque;
	struct virtio_pci_common_cfg common;
	uint64_t value = 0;

	if (offset < sizeof(common)) {
		read_common(dev, &common);
		if (size > sizeof(common) - offset)
			size = sizeof(common) - offset;
		memcpy(&value, (uint8_t *)&common + offset, size);
	} else if (offset == ISR_OFFSET) {
		value = read_isr(dev);
	} else if (offset >= CONFIG_OFFSET && offset - CONFIG_OFFSET < dev->config_len) {
		offset -= CONFIG_OFFSET;
		if (size > dev->config_len - offset)
			size = dev->config_len - offset;
		memcpy(&value, dev->config + offset, size);
	}
	return value;
}

static void regs_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct virtio_dev *dev = opaque;

	if (offset < ISR_OFFSET) {
		write_common(dev, offset, size, value);
		return;
	}
	if (offset < CONFIG_OFFSET || offset - CONFIG_OFFSET >= dev->config_len)
		return;
	for (offset -= CONFIG_OFFSET; size-- && offset < dev->config_len; offset++, value >>= 8)
		dev->config[offset] = (dev->config[offset] & ~dev->writable[offset]) |
				      (value & dev->writable[offset]);
	if (dev->model->config_written)
		dev->model->config_written(dev);
}

static uint64_t notify_read(void *opaque, uint64_t offset, unsigned int size)
{
	return 0;
}

static void notify_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct virtio_dev *dev = opaque;
	unsigned int i = offset / VIRTIO_NOTIFY_STEP;

	if (i >= dev->nqueues || !dev->queue[i].enabled || !dev->running)
		return;
	if (i < dev->kernel_queues)
		vkernel_kick(dev, i);
	else
		eventfd_write(dev->queue[i].kick_fd, 1);
}

static const struct io_ops regs_ops = { regs_read, regs_write };
static const struct io_ops notify_ops = { notify_read, notify_write };

/* The guest has moved BAR 1, or changed its decoding. */
static void moved(struct pci_dev *pci)
{
	struct virtio_dev *dev = (struct virtio_dev *)pci;

	if (!dev->running || dev->bound == pci->bar[1].base)
		return;
	bind_doorbells(dev, dev->bound, false);
	dev->bound = pci->bar[1].base;
	bind_doorbells(dev, dev->bound, true);
	if (dev->kernel)
		vkernel_moved(dev);
}

static void vector_changed(struct pci_dev *pci, unsigned int vector)
{
	struct virtio_dev *dev = (struct virtio_dev *)pci;

	if (dev->kernel && dev->running)
		vkernel_vector(dev, vector);
}

/* Answers where in configuration space it is. @more: bytes behind the common part. */
static unsigned int add_capability(struct virtio_dev *dev, uint8_t type, uint8_t bar,
				   uint32_t offset, uint32_t len, unsigned int more)
{
	unsigned int size = sizeof(struct virtio_pci_cap) + more;
	uint8_t *cap = pci_add_capability(&dev->pci, PCI_CAP_ID_VNDR, size);

	cap[offsetof(struct virtio_pci_cap, cap_len)] = size;
	cap[offsetof(struct virtio_pci_cap, cfg_type)] = type;
	cap[offsetof(struct virtio_pci_cap, bar)] = bar;
	put_le32(cap + offsetof(struct virtio_pci_cap, offset), offset);
	put_le32(cap + offsetof(struct virtio_pci_cap, length), len);
	return cap - dev->pci.config;
}

static void add_notify(struct virtio_dev *dev)
{
	unsigned int at = add_capability(dev, VIRTIO_PCI_CAP_NOTIFY_CFG, 1, 0,
					 VIRTIO_NOTIFY_STEP * dev->nqueues, 4);

	put_le32(dev->pci.config + at + sizeof(struct virtio_pci_cap), VIRTIO_NOTIFY_STEP);
}

/* All of the BARs, for drivers that reach nothing but configuration space. */
static void add_window(struct virtio_dev *dev)
{
	unsigned int at = add_capability(dev, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0, 4);
	uint8_t *writable = dev->pci.writable + at;

	writable[offsetof(struct virtio_pci_cap, bar)] = 0xff;
	memset(writable + offsetof(struct virtio_pci_cap, offset), 0xff, 12);
	dev->pci.window = at;
}

static uint32_t power_of_two(uint32_t n)
{
	uint32_t p = 4;

	while (p < n)
		p *= 2;
	return p;
}

/**
 * virtio_init() - A device on the PCI bus
 * @dev:	zeroed; the model has filled in its queues' number of the module's, if any
 * @features:	beyond those of every device
 * @config_len: of dev->config, which the model fills in
 */
void virtio_init(struct vm *vm, struct virtio_dev *dev, const struct virtio_model *model,
		 uint64_t features, unsigned int queues, unsigned int config_len)
{
	uint32_t ports = power_of_two(VIRTIO_NOTIFY_STEP * queues);

	dev->model = model;
	dev->offered = features | (dev->kernel ? BIT_ULL(VIRTIO_F_VERSION_1) : RING_FEATURES);
	dev->nqueues = queues;
	dev->config_len = config_len;
	dev->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dev->wake_fd < 0)
		die("%s: cannot create its events: %s", model->name, strerror(errno));
	for (unsigned int i = 0; i < queues; i++) {
		struct virtio_queue *q = &dev->queue[i];

		q->dev = dev;
		q->index = i;
		q->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (q->kick_fd < 0)
			die("%s: cannot create its events: %s", model->name, strerror(errno));
	}
	pci_init(&dev->pci, PCI_DEVICE_BASE + model->id, model->class_revision | PCI_REVISION,
		 queues + 1);
	add_capability(dev, VIRTIO_PCI_CAP_COMMON_CFG, 0, COMMON_OFFSET,
		       sizeof(struct virtio_pci_common_cfg), 0);
	add_capability(dev, VIRTIO_PCI_CAP_ISR_CFG, 0, ISR_OFFSET, 1, 0);
	if (config_len)
		add_capability(dev, VIRTIO_PCI_CAP_DEVICE_CFG, 0, CONFIG_OFFSET, config_len, 0);
	add_notify(dev);
	add_window(dev);
	dev->pci.bar[0] = (struct pci_bar){ .size = BAR_SIZE, .ops = &regs_ops };
	dev->pci.bar[1] = (struct pci_bar){ .size = ports, .is_io = true, .ops = &notify_ops };
	dev->pci.moved = moved;
	dev->pci.vector_changed = vector_changed;
	pci_add(vm, &dev->pci);
	reset(dev);
	vm_add_virtio(vm, dev);
}

/** virtio_destroy() - The VM's end: no vCPU runs */
void virtio_destroy(struct virtio_dev *dev)
{
	stop(dev);
	if (dev->kernel)
		vkernel_destroy(dev);
	if (dev->model->destroy)
		dev->model->destroy(dev);
	for (unsigned int i = 0; i < dev->nqueues; i++)
		close(dev->queue[i].kick_fd);
	close(dev->wake_fd);
}
