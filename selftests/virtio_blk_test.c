// SPDX-License-Identifier: GPL-2.0
/* The block data plane: requests, errors, states, hostile rings, lifetimes. */
#define _GNU_SOURCE
#include <linux/virtio_blk.h>
#include <sys/wait.h>

#include "lib/vdev.h"
#include "harness.h"

#define F(bit)		(1ull << (bit))
#define FLUSH		F(VIRTIO_BLK_F_FLUSH)
#define DISK		0x100000		/* bytes */
#define SECTOR(off)	((off) / 512)

static u8 byte_at(u32 off)
{
	return off / 512 * 7 + off;
}

static int make_disk(void)
{
	static u8 buf[DISK];
	int fd = memfd_create("disk", MFD_CLOEXEC);

	for (u32 i = 0; i < DISK; i++)
		buf[i] = byte_at(i);
	if (write(fd, buf, DISK) != DISK)
		return -1;
	return fd;
}

FIXTURE(blk) {
	struct vm *vm;
	struct vdev d;
	int disk;
	u8 *data;
};

FIXTURE_VARIANT(blk) {
	u64 features;
};

FIXTURE_VARIANT_ADD(blk, split) {
	.features = FLUSH,
};

FIXTURE_VARIANT_ADD(blk, split_event) {
	.features = FLUSH | F(VIRTIO_RING_F_EVENT_IDX) | F(VIRTIO_RING_F_INDIRECT_DESC),
};

FIXTURE_VARIANT_ADD(blk, packed_event) {
	.features = FLUSH | F(VIRTIO_RING_F_EVENT_IDX) | F(VIRTIO_F_RING_PACKED),
};

FIXTURE_VARIANT_ADD(blk, packed_in_order) {
	.features = FLUSH | F(VIRTIO_F_RING_PACKED) | F(VIRTIO_F_IN_ORDER),
};

FIXTURE_SETUP(blk)
{
	if (!vdev_supported())
		SKIP(_exit(KSFT_HARNESS_SKIP), "no data planes in this kernel");
	self->vm = vdev_vm();
	self->disk = make_disk();
	ASSERT_GE(self->disk, 0);
	self->data = vm_hva(self->vm, VDEV_DATA);
	vdev_init(&self->d, self->vm, vdev_blk(self->vm, self->disk, 0, 1), 1, 64,
		  variant->features);
	vdev_start(&self->d);
}

FIXTURE_TEARDOWN(blk)
{
	if (!self->vm)
		return;
	vdev_free(&self->d);
	vm_free(self->vm);
}

TEST_F(blk, read_and_write)
{
	struct ringlet_queue_stats st;
	u8 back[8192];

	for (u32 off = 0; off < 0x10000; off += 8192) {
		memset(self->data, 0x55, 8192);
		ASSERT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, SECTOR(off), VDEV_DATA,
					 4096, 2));
		for (int i = 0; i < 8192; i++)
			ASSERT_EQ(byte_at(off + i), self->data[i]);
	}
	memset(self->data, 0xab, 8192);
	ASSERT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_OUT, SECTOR(0x8000), VDEV_DATA, 512, 16));
	ASSERT_EQ(8192, pread(self->disk, back, 8192, 0x8000));
	ASSERT_EQ(0, memcmp(back, self->data, 8192));
	ASSERT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_FLUSH, 0, VDEV_DATA, 0, 0));
	st = vdev_stats(&self->d, 0);
	EXPECT_EQ(10, st.requests);
	EXPECT_EQ(0x10000, st.bytes_read);
	EXPECT_EQ(8192, st.bytes_written);
	EXPECT_EQ(0, st.errors);
}

/* Header and status need not be buffers of their own, nor whole ones. */
TEST_F(blk, layout)
{
	struct virtq_buf b[6];
	struct virtio_blk_outhdr hdr = { .type = VIRTIO_BLK_T_IN, .sector = 3 };
	u32 len;

	memcpy(self->data, &hdr, 16);
	self->data[4096 + 512] = 0xee;
	for (int i = 0; i < 3; i++)	/* 5, 5 and 6 bytes of header */
		b[i] = (struct virtq_buf){ VDEV_DATA + 5 * i, 5 + i / 2 };
	b[3] = (struct virtq_buf){ VDEV_DATA + 4096, 100 };
	b[4] = (struct virtq_buf){ VDEV_DATA + 4096 + 100, 413 };
	ASSERT_GE(virtq_add(&self->d.q[0], b, 3, 2, 0), 0);
	vdev_kick(&self->d, 0);
	ASSERT_GE(vdev_wait(&self->d, 0, &len), 0);
	ASSERT_EQ(513, len);
	ASSERT_EQ(0, self->data[4096 + 512]);
	for (int i = 0; i < 512; i++)
		ASSERT_EQ(byte_at(3 * 512 + i), self->data[4096 + i]);
}

TEST_F(blk, other_requests)
{
	struct virtio_blk_discard_write_zeroes *range = (void *)self->data;
	u8 back[4096];

	ASSERT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_GET_ID, 0, VDEV_DATA, 20, 1));
	ASSERT_EQ(0, strcmp((char *)self->data, "a disk of ringlet"));
	ASSERT_EQ(VIRTIO_BLK_S_UNSUPP, vdev_blk_io(&self->d, 77, 0, VDEV_DATA, 512, 1));

	/* zeroes, with and without giving up the room */
	for (int unmap = 0; unmap < 2; unmap++) {
		*range = (struct virtio_blk_discard_write_zeroes){
			.sector = SECTOR(0x2000) + 8 * unmap, .num_sectors = 8, .flags = unmap };
		ASSERT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_WRITE_ZEROES, 0, VDEV_DATA, 16, 1));
		ASSERT_EQ(4096, pread(self->disk, back, 4096, 0x2000 + 4096 * unmap));
		for (int i = 0; i < 4096; i++)
			ASSERT_EQ(0, back[i]);
	}
	ASSERT_EQ(1, pread(self->disk, back, 1, 0x4000));
	ASSERT_EQ(byte_at(0x4000), back[0]);
	*range = (struct virtio_blk_discard_write_zeroes){
		.sector = SECTOR(0x6000), .num_sectors = 8 };
	ASSERT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_DISCARD, 0, VDEV_DATA, 16, 1));
	range->num_sectors = 0xffffffff;
	ASSERT_EQ(VIRTIO_BLK_S_IOERR,
		  vdev_blk_io(&self->d, VIRTIO_BLK_T_DISCARD, 0, VDEV_DATA, 16, 1));
	ASSERT_EQ(VIRTIO_BLK_S_IOERR,
		  vdev_blk_io(&self->d, VIRTIO_BLK_T_DISCARD, 0, VDEV_DATA, 15, 1));
	/* As many ranges as there may be, none of them with anything in it, and one more. */
	memset(range, 0, 257 * sizeof(*range));
	ASSERT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_DISCARD, 0, VDEV_DATA, 256 * 16, 1));
	ASSERT_EQ(VIRTIO_BLK_S_IOERR,
		  vdev_blk_io(&self->d, VIRTIO_BLK_T_DISCARD, 0, VDEV_DATA, 257 * 16, 1));
	range->sector = SECTOR(0x6000);
	range->num_sectors = 8;
	range->flags = 2;
	ASSERT_EQ(VIRTIO_BLK_S_UNSUPP,
		  vdev_blk_io(&self->d, VIRTIO_BLK_T_WRITE_ZEROES, 0, VDEV_DATA, 16, 1));
}

/* Errors are the request's: the device goes on. */
TEST_F(blk, request_errors)
{
	const u64 end = SECTOR(DISK);

	EXPECT_EQ(VIRTIO_BLK_S_IOERR, vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, end, VDEV_DATA, 512, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR,
		  vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, end - 1, VDEV_DATA, 512, 2));
	EXPECT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, end - 1, VDEV_DATA, 512, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR,
		  vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, ~0ull, VDEV_DATA, 512, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR,
		  vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, 1ull << 55, VDEV_DATA, 512, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, 0, VDEV_DATA, 511, 1));
	/* data where the VM has no memory */
	EXPECT_EQ(VIRTIO_BLK_S_IOERR,
		  vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, 0, VDEV_RAM - 256, 512, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR,
		  vdev_blk_io(&self->d, VIRTIO_BLK_T_OUT, 0, 1ull << 40, 512, 1));
	/* the backend became shorter */
	ASSERT_EQ(0, ftruncate(self->disk, 0x8000));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR,
		  vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, SECTOR(0x7e00), VDEV_DATA, 512, 2));
	EXPECT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, SECTOR(0x7e00), VDEV_DATA, 512, 1));
	EXPECT_EQ(RINGLET_STATE_RUNNING, vdev_status(&self->d).state);
	EXPECT_EQ(8, vdev_stats(&self->d, 0).errors);
}

TEST_F(blk, many_in_flight)
{
	int ids[21], n = 20;

	for (int round = 0; round < 10; round++) {
		u32 len, seen = 0;

		/* Before they are there: a device that still looks need not be told of them. */
		memset(self->data, 0, n * 0x1000);
		for (int i = 0; i < n; i++) {
			ids[i] = vdev_blk_add(&self->d, 0, VIRTIO_BLK_T_IN, SECTOR(i * 0x1000),
					      VDEV_DATA + i * 0x1000, 4096, 1, i);
			ASSERT_GE(ids[i], 0);
		}
		vdev_kick(&self->d, 0);
		for (int i = 0; i < n; i++) {
			int id = vdev_wait(&self->d, 0, &len), k;

			for (k = 0; k < n && ids[k] != id; k++)
				;
			ASSERT_LT(k, n);
			ASSERT_EQ(4097, len);
			ASSERT_EQ(0, seen & 1u << k);
			if (variant->features & F(VIRTIO_F_IN_ORDER))
				ASSERT_EQ(i, k);
			seen |= 1u << k;
			for (int j = 0; j < 4096; j += 97)
				ASSERT_EQ(byte_at(k * 0x1000 + j), self->data[k * 0x1000 + j]);
		}
	}
}

/* Stop, look, set up another device of the same state, and go on there. */
TEST_F(blk, state_moves)
{
	struct ringlet_queue_state st = { .queue = 0 };
	struct vdev next = self->d;

	for (int i = 0; i < 70; i++)	/* more than once round the ring */
		ASSERT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, i, VDEV_DATA, 512, 1));
	vdev_stop(&self->d);
	kvm_do(self->d.fd, RINGLET_DEV_GET_STATE, &st);
	EXPECT_EQ(self->d.q[0].avail_idx, st.avail_idx);
	EXPECT_EQ(self->d.q[0].used_idx, st.used_idx);
	if (self->d.q[0].packed)
		EXPECT_EQ(self->d.q[0].avail_wrap, st.avail_wrap);
	/* the guest goes on while nobody serves */
	next.q[0] = self->d.q[0];
	next.fd = vdev_blk(self->vm, self->disk, 0, 1);
	ASSERT_GE(next.fd, 0);
	ASSERT_EQ(0, kvm_try(next.fd, RINGLET_DEV_SET_FEATURES, &next.features));
	{
		struct ringlet_queue q = { 0, 64, next.q[0].desc, next.q[0].driver, next.q[0].device };
		struct ringlet_irq irq = { .type = RINGLET_IRQ_EVENTFD, .fd = next.irq[0] };

		ASSERT_EQ(0, kvm_try(next.fd, RINGLET_DEV_SET_QUEUE, &q));
		ASSERT_EQ(0, kvm_try(next.fd, RINGLET_DEV_SET_IRQ, &irq));
	}
	ASSERT_EQ(0, kvm_try(next.fd, RINGLET_DEV_SET_STATE, &st));
	vdev_blk_add(&next, 0, VIRTIO_BLK_T_IN, 5, VDEV_DATA, 512, 1, 0);
	virtq_publish(&next.q[0]);
	vdev_start(&next);	/* finds it without being told */
	{
		u32 len;

		ASSERT_GE(vdev_wait(&next, 0, &len), 0);
		ASSERT_EQ(513, len);
	}
	for (int i = 0; i < 70; i++)
		ASSERT_EQ(0, vdev_blk_io(&next, VIRTIO_BLK_T_IN, i, VDEV_DATA, 512, 1));
	vdev_stop(&next);
	close(next.fd);
}

/* Exactly the pages that the device wrote. */
TEST_F(blk, dirty_log)
{
	unsigned long bitmap[VDEV_RAM / 4096 / 64];
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };
	u64 data_gfn = VDEV_DATA >> 12, ring_gfn;

	ASSERT_EQ(0, vm_set_region(self->vm, 0, 0, VDEV_RAM, self->vm->slots[0].hva,
				   KVM_MEM_LOG_DIRTY_PAGES));
	ASSERT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_IN, 0, VDEV_DATA + 0x10800, 4096, 2));
	kvm_do(self->vm->fd, KVM_GET_DIRTY_LOG, &log);
	for (u64 gfn = 0; gfn < VDEV_RAM >> 12; gfn++) {
		bool data = gfn >= data_gfn + 0x10 && gfn <= data_gfn + 0x12;
		bool status = gfn == (VDEV_DATA - 0x8000) >> 12;
		bool ring = gfn >= VDEV_RING(0) >> 12 && gfn < VDEV_RING(1) >> 12;
		bool dirty = bitmap[gfn / 64] >> gfn % 64 & 1;

		if (!ring)
			ASSERT_EQ(data || status, dirty) TH_LOG("gfn %#llx", (unsigned long long)gfn);
	}
	ring_gfn = (self->d.q[0].packed ? self->d.q[0].desc : self->d.q[0].device) >> 12;
	EXPECT_EQ(1, bitmap[ring_gfn / 64] >> ring_gfn % 64 & 1);
	/* and a write request dirties no data */
	ASSERT_EQ(0, vdev_blk_io(&self->d, VIRTIO_BLK_T_OUT, 0, VDEV_DATA + 0x10800, 4096, 2));
	kvm_do(self->vm->fd, KVM_GET_DIRTY_LOG, &log);
	EXPECT_EQ(0, bitmap[(data_gfn + 0x11) / 64] >> (data_gfn + 0x11) % 64 & 1);
}

static void expect_reset(struct __test_metadata *_metadata, struct vdev *d, int error)
{
	struct pollfd p = { .fd = d->fd, .events = POLLIN };
	struct ringlet_status st;

	ASSERT_EQ(1, poll(&p, 1, 20000));
	EXPECT_TRUE(p.revents & POLLIN);
	st = vdev_status(d);
	EXPECT_EQ(RINGLET_STATE_NEEDS_RESET, st.state);
	EXPECT_EQ(error, st.error);
	EXPECT_EQ(0, st.queue);
}

static void back_to_work(struct __test_metadata *_metadata, struct vdev *d)
{
	struct pollfd p = { .fd = d->fd, .events = POLLIN };

	vdev_stop(d);
	EXPECT_EQ(0, poll(&p, 1, 0));
	ASSERT_EQ(0, vdev_set_queue(d, 0, 64));
	vdev_start(d);
	ASSERT_EQ(0, vdev_blk_io(d, VIRTIO_BLK_T_IN, 0, VDEV_DATA, 512, 1));
}

/* A driver that breaks the rules stops its device, and no other. */
TEST_F(blk, hostile)
{
	struct vdev *d = &self->d, other;
	struct virtq *q = &d->q[0];

	vdev_init(&other, self->vm, vdev_blk(self->vm, self->disk, 0, 2), 0, 0, FLUSH);
	for (int n = 0; n < 2; n++) {	/* rings elsewhere */
		virtq_init(&other.q[n], vm_hva(self->vm, 0), VDEV_RING(4 + n), 8, 0, 0);
		struct ringlet_queue args = { n, 8, other.q[n].desc, other.q[n].driver,
					      other.q[n].device };
		struct ringlet_irq irq = { .queue = n, .type = RINGLET_IRQ_EVENTFD };

		other.irq[n] = eventfd(0, EFD_NONBLOCK);
		irq.fd = other.irq[n];
		ASSERT_EQ(0, kvm_try(other.fd, RINGLET_DEV_SET_QUEUE, &args));
		ASSERT_EQ(0, kvm_try(other.fd, RINGLET_DEV_SET_IRQ, &irq));
	}
	vdev_start(&other);

	/* a chain that has no room for the answer */
	virtq_add(q, &(struct virtq_buf){ VDEV_DATA, 16 }, 1, 0, 0);
	virtq_publish(q);
	kvm_do(d->fd, RINGLET_DEV_KICK, 0);
	expect_reset(_metadata, d, EINVAL);
	EXPECT_EQ(-EBUSY, kvm_try(d->fd, RINGLET_DEV_START, 0));
	ASSERT_EQ(0, vdev_blk_io(&other, VIRTIO_BLK_T_IN, 0, VDEV_DATA, 512, 1));
	back_to_work(_metadata, d);

	/* a loop, or too many descriptors */
	vdev_blk_add(d, 0, VIRTIO_BLK_T_IN, 0, VDEV_DATA, 512, 4, 0);
	for (int i = 0; i < 64; i++) {
		if (q->packed) {
			virtq_pdesc(q)[i].addr = VDEV_DATA;
			virtq_pdesc(q)[i].len = 16;
			virtq_pdesc(q)[i].flags = VRING_DESC_F_NEXT |
				(virtq_pdesc(q)[q->avail_idx - 1].flags &
				 (1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED));
		} else {
			virtq_desc(q)[i].addr = VDEV_DATA;
			virtq_desc(q)[i].len = 16;
			virtq_desc(q)[i].flags = VRING_DESC_F_NEXT;
			virtq_desc(q)[i].next = 0;
		}
	}
	virtq_publish(q);
	kvm_do(d->fd, RINGLET_DEV_KICK, 0);
	expect_reset(_metadata, d, ELOOP);
	back_to_work(_metadata, d);

	/* the ring's memory goes away under it */
	ASSERT_EQ(0, vm_set_region(self->vm, 0, 0, 0, NULL, 0));
	kvm_do(d->fd, RINGLET_DEV_KICK, 0);
	expect_reset(_metadata, d, EFAULT);
	ASSERT_EQ(0, vm_set_region(self->vm, 0, 0, VDEV_RAM, self->vm->slots[0].hva, 0));
	back_to_work(_metadata, d);
	vdev_free(&other);
}

/* What is refused, and in which state. */
TEST(errors)
{
	struct ringlet_create_device c = { .type = RINGLET_DEVICE_BLK, .nr_queues = 1,
					   .nr_backends = 1 };
	struct ringlet_queue q = { .size = 8, .desc = 0x1000, .driver = 0x2000, .device = 0x3000 };
	struct ringlet_queue_state st = {};
	struct ringlet_queue_stats stats = { .queue = 1 };
	struct ringlet_doorbell bell = { .addr = 0x10000000, .len = 2 };
	struct ringlet_irq irq = { .type = RINGLET_IRQ_MSI };
	u64 features = FLUSH | F(VIRTIO_F_VERSION_1);
	struct vm *vm;
	int pipefd[2], ro, fd;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	vm = vdev_vm();
	ASSERT_EQ(0, pipe(pipefd));
	ro = open("/proc/self/exe", O_RDONLY);
#define CREATE()	kvm_try(vm->fd, RINGLET_CREATE_DEVICE, &c)
#define WITH(field, val, expr, expected)				\
	do {								\
		typeof(field) saved = field;				\
		field = val;						\
		EXPECT_EQ(expected, expr) TH_LOG(#field " = " #val);	\
		field = saved;						\
	} while (0)
	c.backend[0] = make_disk();
	WITH(c.type, 0, CREATE(), -EINVAL);
	WITH(c.type, 3, CREATE(), -EINVAL);
	WITH(c.type, ~0u, CREATE(), -EINVAL);
	WITH(c.flags, 2, CREATE(), -EINVAL);
	WITH(c.nr_queues, 0, CREATE(), -EINVAL);
	WITH(c.nr_queues, RINGLET_MAX_QUEUES + 1, CREATE(), -EINVAL);
	WITH(c.nr_backends, 0, CREATE(), -EINVAL);
	WITH(c.nr_backends, 2, CREATE(), -EINVAL);
	WITH(c.reserved[10], 1, CREATE(), -EINVAL);
	WITH(c.blk_sectors, ~0ull, CREATE(), -EINVAL);
	WITH(c.backend[0], -1, CREATE(), -EBADF);
	WITH(c.backend[0], pipefd[0], CREATE(), -EBADF);
	WITH(c.backend[0], vm->fd, CREATE(), -EINVAL);
	WITH(c.backend[0], ro, CREATE(), -EBADF);
	EXPECT_EQ(-EFAULT, kvm_try(vm->fd, RINGLET_CREATE_DEVICE, 8));
	fd = CREATE();
	ASSERT_GE(fd, 0);

	EXPECT_EQ(-ENOTTY, kvm_try(fd, KVM_RUN, 0));
	EXPECT_EQ(-EINVAL, kvm_try(fd, RINGLET_DEV_START, 0));	/* no VERSION_1 */
	WITH(features, 1ull << 63, kvm_try(fd, RINGLET_DEV_SET_FEATURES, &features), -EINVAL);
	EXPECT_EQ(0, kvm_try(fd, RINGLET_DEV_SET_FEATURES, &features));
	EXPECT_EQ(-EFAULT, kvm_try(fd, RINGLET_DEV_SET_FEATURES, 8));
#define SET(what, args)	kvm_try(fd, RINGLET_DEV_SET_##what, &args)
	WITH(q.queue, 1, SET(QUEUE, q), -EINVAL);
	WITH(q.queue, ~0u, SET(QUEUE, q), -EINVAL);
	WITH(q.size, RINGLET_MAX_QUEUE_SIZE + 1, SET(QUEUE, q), -EINVAL);
	WITH(q.desc, 0x1008, SET(QUEUE, q), -EINVAL);
	WITH(q.driver, 0x2001, SET(QUEUE, q), -EINVAL);
	WITH(q.device, 0x3002, SET(QUEUE, q), -EINVAL);
	WITH(q.desc, -16ull, SET(QUEUE, q), -EINVAL);
	WITH(q.reserved[3], 1, SET(QUEUE, q), -EINVAL);
	EXPECT_EQ(0, SET(QUEUE, q));
	WITH(st.queue, 1, SET(STATE, st), -EINVAL);
	WITH(st.avail_idx, 1, SET(STATE, st), -EINVAL);
	WITH(st.avail_wrap, 2, SET(STATE, st), -EINVAL);
	WITH(st.flags, 1, SET(STATE, st), -EINVAL);
	EXPECT_EQ(0, SET(STATE, st));
	EXPECT_EQ(-EINVAL, kvm_try(fd, RINGLET_DEV_GET_STATS, &stats));
	WITH(bell.queue, 1, SET(DOORBELL, bell), -EINVAL);
	WITH(bell.flags, 8, SET(DOORBELL, bell), -EINVAL);
	WITH(bell.len, 3, SET(DOORBELL, bell), -EINVAL);
	WITH(bell.len, 16, SET(DOORBELL, bell), -EINVAL);
	WITH(bell.addr, ~0ull, SET(DOORBELL, bell), -EINVAL);
	WITH(bell.flags, RINGLET_DOORBELL_UNBIND, SET(DOORBELL, bell), -ENOENT);
	WITH(bell.flags, RINGLET_DOORBELL_PIO, SET(DOORBELL, bell), -EINVAL);
	WITH(bell.reserved[0], 1, SET(DOORBELL, bell), -EINVAL);
	EXPECT_EQ(0, SET(DOORBELL, bell));
	EXPECT_EQ(0, SET(DOORBELL, bell));	/* replaces itself */
	WITH(irq.queue, 1, SET(IRQ, irq), -EINVAL);
	WITH(irq.type, 4, SET(IRQ, irq), -EINVAL);
	WITH(irq.gsi, 5000, SET(IRQ, irq), -EINVAL);
	WITH(irq.type, RINGLET_IRQ_EVENTFD, SET(IRQ, irq), -EINVAL);	/* fd 0 */
	EXPECT_EQ(0, SET(IRQ, irq));
	EXPECT_EQ(-EBUSY, kvm_try(fd, RINGLET_DEV_KICK, 0));
	EXPECT_EQ(-EINVAL, kvm_try(fd, RINGLET_DEV_KICK, 1));
	EXPECT_EQ(0, kvm_try(fd, RINGLET_DEV_WORK, 0));
	EXPECT_EQ(0, kvm_try(fd, RINGLET_DEV_STOP, 0));
	WITH(q.size, 7, SET(QUEUE, q), 0);	/* good for a packed ring, and it is not */
	EXPECT_EQ(0, kvm_try(fd, RINGLET_DEV_STOP, 0));
	q.size = 7;
	EXPECT_EQ(0, SET(QUEUE, q));
	EXPECT_EQ(-EINVAL, kvm_try(fd, RINGLET_DEV_START, 0));
	q.size = 8;
	EXPECT_EQ(0, SET(QUEUE, q));
	EXPECT_EQ(0, kvm_try(fd, RINGLET_DEV_START, 0));
	EXPECT_EQ(-EBUSY, kvm_try(fd, RINGLET_DEV_START, 0));
	EXPECT_EQ(-EBUSY, SET(FEATURES, features));
	EXPECT_EQ(-EBUSY, SET(QUEUE, q));
	EXPECT_EQ(-EBUSY, SET(STATE, st));
	EXPECT_EQ(0, kvm_try(fd, RINGLET_DEV_KICK, 0));

	/* a doorbell is nobody else's */
	{
		struct kvm_ioeventfd k = { .addr = bell.addr, .len = 2, .fd = eventfd(0, 0) };
		int fd2 = CREATE();

		EXPECT_EQ(-EEXIST, kvm_try(vm->fd, KVM_IOEVENTFD, &k));
		EXPECT_EQ(-EEXIST, kvm_try(fd2, RINGLET_DEV_SET_DOORBELL, &bell));
		close(fd2);
		bell.flags = RINGLET_DOORBELL_UNBIND;
		EXPECT_EQ(0, SET(DOORBELL, bell));
		EXPECT_EQ(0, kvm_try(vm->fd, KVM_IOEVENTFD, &k));
	}
	/* another process has no business here */
	if (!fork())
		_exit(kvm_try(fd, RINGLET_DEV_STOP, 0) == -EIO ? 0 : 1);
	{
		int status;

		wait(&status);
		EXPECT_EQ(0, status);
	}
	close(fd);
	vm_free(vm);
}

/* A disk that is not to be written, by a guest that tries. */
TEST(read_only)
{
	struct virtio_blk_discard_write_zeroes *range;
	struct vm *vm;
	struct vdev d;
	int disk;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	vm = vdev_vm();
	disk = make_disk();
	vdev_init(&d, vm, vdev_blk(vm, disk, RINGLET_BLK_RDONLY, 1), 1, 16, F(VIRTIO_BLK_F_RO));
	vdev_start(&d);
	range = vm_hva(vm, VDEV_DATA);
	*range = (struct virtio_blk_discard_write_zeroes){ .num_sectors = 1 };
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, vdev_blk_io(&d, VIRTIO_BLK_T_OUT, 0, VDEV_DATA, 512, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, vdev_blk_io(&d, VIRTIO_BLK_T_DISCARD, 0, VDEV_DATA, 16, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, vdev_blk_io(&d, VIRTIO_BLK_T_WRITE_ZEROES, 0, VDEV_DATA, 16, 1));
	EXPECT_EQ(0, vdev_blk_io(&d, VIRTIO_BLK_T_IN, 0, VDEV_DATA + 512, 512, 1));
	vdev_free(&d);
	vm_free(vm);
}

TEST_HARNESS_MAIN
