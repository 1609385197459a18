// SPDX-License-Identifier: GPL-2.0
/* A data plane whose guest is the test. */
#include <linux/virtio_blk.h>

#include "vdev.h"

bool vdev_supported(void)
{
	struct ringlet_caps caps;
	int dev = rl_dev_open();
	long r = kvm_try(dev, RINGLET_GET_CAPS, &caps);

	close(dev);
	return !r && caps.version == 1;
}

int vdev_null_disk(const char *how, int flags)
{
	char cmd[200];

	snprintf(cmd, sizeof(cmd), "exec >/dev/null 2>&1; rmmod null_blk; "
		 "modprobe null_blk memory_backed=1 nr_devices=1 gb=1 bs=512 %s", how);
	if (system(cmd))
		return -1;
	return open("/dev/nullb0", O_RDWR | O_CLOEXEC | flags);
}

struct vm *vdev_vm(void)
{
	struct vm *vm = vm_new(VM_IRQCHIP);

	vm_add_mem(vm, 0, 0, VDEV_RAM, 0);
	return vm;
}

int vdev_blk(struct vm *vm, int backend, u32 flags, u32 nr_queues)
{
	struct ringlet_create_device args = {
		.type = RINGLET_DEVICE_BLK,
		.flags = flags,
		.nr_queues = nr_queues,
		.nr_backends = 1,
		.backend = { backend },
		.blk_id = "a disk of ringlet",
	};

	return kvm_try(vm->fd, RINGLET_CREATE_DEVICE, &args);
}

int vdev_set_queue(struct vdev *d, int n, u16 size)
{
	struct virtq *q = &d->q[n];
	struct ringlet_queue args = { .queue = n, .size = size };

	virtq_init(q, vm_hva(d->vm, 0), VDEV_RING(n), size,
		   !!(d->features & 1ull << VIRTIO_F_RING_PACKED),
		   !!(d->features & 1ull << VIRTIO_RING_F_EVENT_IDX));
	args.desc = q->desc;
	args.driver = q->driver;
	args.device = q->device;
	return kvm_try(d->fd, RINGLET_DEV_SET_QUEUE, &args);
}

void vdev_init(struct vdev *d, struct vm *vm, int fd, int nr, u16 size, u64 features)
{
	memset(d, 0, sizeof(*d));
	d->vm = vm;
	CHECK(NULL, fd >= 0, "no device: %d", fd);
	d->fd = fd;
	d->features = features | 1ull << VIRTIO_F_VERSION_1;
	kvm_do(fd, RINGLET_DEV_SET_FEATURES, &d->features);
	for (int n = 0; n < nr; n++) {
		struct ringlet_irq irq = { .queue = n, .type = RINGLET_IRQ_EVENTFD };
		int r = vdev_set_queue(d, n, size);

		CHECK(NULL, !r, "SET_QUEUE %d: %d", n, r);
		d->irq[n] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		irq.fd = d->irq[n];
		kvm_do(fd, RINGLET_DEV_SET_IRQ, &irq);
		virtq_want_irq(&d->q[n], 1, 0);
	}
}

static void *vdev_thread(void *arg)
{
	struct vdev *d = arg;
	long r;

	do
		r = kvm_try(d->fd, RINGLET_DEV_WORK, 0);
	while (r == -EINTR);
	return (void *)r;
}

void vdev_start(struct vdev *d)
{
	kvm_do(d->fd, RINGLET_DEV_START, 0);
	for (int i = 0; i < VDEV_THREADS; i++)
		pthread_create(&d->threads[i], NULL, vdev_thread, d);
	d->running = true;
}

void vdev_stop(struct vdev *d)
{
	void *r;

	kvm_do(d->fd, RINGLET_DEV_STOP, 0);
	for (int i = 0; d->running && i < VDEV_THREADS; i++) {
		pthread_join(d->threads[i], &r);
		CHECK(NULL, !r, "RINGLET_DEV_WORK: %ld", (long)r);
	}
	d->running = false;
}

void vdev_free(struct vdev *d)
{
	vdev_stop(d);
	close(d->fd);
	for (int n = 0; n < VDEV_QUEUES; n++)
		if (d->irq[n])
			close(d->irq[n]);
}

void vdev_kick(struct vdev *d, int n)
{
	if (virtq_publish(&d->q[n]))
		kvm_do(d->fd, RINGLET_DEV_KICK, n);
}

int vdev_wait(struct vdev *d, int n, u32 *len)
{
	struct pollfd p[2] = { { .fd = d->irq[n], .events = POLLIN }, { .fd = d->fd } };
	eventfd_t count;
	int id;

	while ((id = virtq_used(&d->q[n], len)) == -1) {
		/* Ask for the interrupt, then look again. */
		virtq_want_irq(&d->q[n], 1, 0);
		if (virtq_pending(&d->q[n]))
			continue;
		if (poll(p, 2, 20000) <= 0) {
			struct ringlet_queue_stats st = vdev_stats(d, n);

			rl_fail(NULL, "queue %d: no interrupt; %llu kicks, %llu requests, %llu errors",
				n, st.kicks, st.requests, st.errors);
		}
		eventfd_read(d->irq[n], &count);
	}
	return id;
}

struct ringlet_status vdev_status(struct vdev *d)
{
	struct ringlet_status st;

	kvm_do(d->fd, RINGLET_DEV_GET_STATUS, &st);
	return st;
}

struct ringlet_queue_stats vdev_stats(struct vdev *d, int n)
{
	struct ringlet_queue_stats st = { .queue = n };

	kvm_do(d->fd, RINGLET_DEV_GET_STATS, &st);
	return st;
}

/*
 * A request with header and status of number @slot; the buffers lie behind each
 * other from @gpa on. Answers virtq_add()'s.
 */
int vdev_blk_add(struct vdev *d, int q, u32 type, u64 sector, u64 gpa, u32 len, int n, int slot)
{
	u64 base = VDEV_DATA - 0x8000 + slot * 0x20;
	struct virtio_blk_outhdr *hdr = vm_hva(d->vm, base);
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	struct virtq_buf b[18] = { { base, sizeof(*hdr) } };
	int i;

	*hdr = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	for (i = 0; i < n; i++)
		b[1 + i] = (struct virtq_buf){ gpa + i * len, len };
	b[1 + n] = (struct virtq_buf){ base + sizeof(*hdr), 1 };
	*(u8 *)vm_hva(d->vm, base + sizeof(*hdr)) = 0xee;
	return virtq_add(&d->q[q], b, in ? 1 : 1 + n, in ? 1 + n : 1, 0);
}

int vdev_blk_io(struct vdev *d, u32 type, u64 sector, u64 gpa, u32 len, int n)
{
	int id = vdev_blk_add(d, 0, type, sector, gpa, len, n, 0), used;
	u8 status;
	u32 written;

	CHECK(NULL, id >= 0, "ring full");
	vdev_kick(d, 0);
	used = vdev_wait(d, 0, &written);
	CHECK(NULL, used == id, "used %d, not %d", used, id);
	status = *(u8 *)vm_hva(d->vm, VDEV_DATA - 0x8000 + sizeof(struct virtio_blk_outhdr));
	if (!status && type == VIRTIO_BLK_T_IN)
		CHECK(NULL, written == n * len + 1, "%u bytes written", written);
	return status;
}
