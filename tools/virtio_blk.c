// SPDX-License-Identifier: GPL-2.0
/*
 * Disks: a raw file or block device behind virtio-blk. By default the module serves
 * the queues; here is what it costs to do it in a program.
 *
 * Owns:    struct disk.
 * Touches: its file, which stays open over the guest's resets.
 * Locks:   none: the device's thread does the requests, one after the other.
 * Manuals: Virtual I/O Device (VIRTIO) Version 1.2, "Block Device".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "linux/ringlet.h"
#include "virtio.h"

#define CLASS_STORAGE	0x01800000u
#define SECTOR		512ULL
#define SEGMENTS	254		/* what a chain of a full queue has room for */
#define DISCARD_MAX	BIT(22)	/* sectors of one range */
#define RANGES_MAX	16
#define CONFIG_LEN	offsetof(struct virtio_blk_config, max_secure_erase_sectors)

struct disk {
	struct virtio_dev dev;		/* first */
	const struct disk_config *config;
	bool is_block;
	uint64_t sectors;
	char id[VIRTIO_BLK_ID_BYTES];
};

/* All of a transfer; the file behaves as if there were zeros after its end. */
static int transfer(struct disk *disk, bool write, struct iovec *iov, unsigned int count,
		    uint64_t offset)
{
	while (count) {
		ssize_t n = write ? pwritev(disk->config->fd, iov, count, offset) :
				    preadv(disk->config->fd, iov, count, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		offset += n;
		while (count && (size_t)n >= iov->iov_len) {
			n -= iov->iov_len;
			iov++;
			count--;
		}
		if (count) {
			iov->iov_base = (uint8_t *)iov->iov_base + n;
			iov->iov_len -= n;
		}
	}
	return 0;
}

static bool in_range(const struct disk *disk, uint64_t sector, uint64_t bytes)
{
	return !(bytes % SECTOR) && sector <= disk->sectors &&
	       bytes / SECTOR <= disk->sectors - sector;
}

static uint8_t read_write(struct disk *disk, bool write, struct iovec *iov, unsigned int count,
			  uint64_t sector, uint64_t bytes)
{
	if (!in_range(disk, sector, bytes) || (write && disk->config->readonly) ||
	    transfer(disk, write, iov, count, sector * SECTOR))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static int clear(struct disk *disk, bool zero, bool unmap, uint64_t offset, uint64_t bytes)
{
	uint64_t range[2] = { offset, bytes };
	int fd = disk->config->fd;

	if (disk->is_block)
		return ioctl(fd, zero ? BLKZEROOUT : BLKDISCARD, range);
	if (zero && !unmap &&
	    !fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE, offset, bytes))
		return 0;
	/* Not every file system can do that; this clears as well. */
	return fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, offset, bytes);
}

static uint8_t clear_ranges(struct disk *disk, bool zero, const struct iovec *iov,
			    unsigned int count, size_t bytes)
{
	struct virtio_blk_discard_write_zeroes range[RANGES_MAX];
	size_t n = bytes / sizeof(range[0]);

	if (disk->config->readonly || !n || n > RANGES_MAX || bytes % sizeof(range[0]))
		return VIRTIO_BLK_S_IOERR;
	iov_read(iov, count, 0, range, bytes);
	for (size_t i = 0; i < n; i++) {
		uint64_t size = range[i].num_sectors * SECTOR;
		bool unmap = range[i].flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

		if ((range[i].flags & ~(zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0)))
			return VIRTIO_BLK_S_UNSUPP;
		if (!in_range(disk, range[i].sector, size) || range[i].num_sectors > DISCARD_MAX ||
		    (size && clear(disk, zero, unmap, range[i].sector * SECTOR, size)))
			return VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_OK;
}

/*
 * The driver may cut header, data and status into pieces as it likes: the header is
 * the first 16 bytes to read, the status the last byte to write.
 */
static int request(struct virtio_queue *q, struct chain *chain)
{
	struct disk *disk = (struct disk *)q->dev;
	struct virtio_blk_outhdr head;
	uint32_t written = 1, out_len, in_len;
	uint8_t status = VIRTIO_BLK_S_OK, *at;
	struct iovec *last;

	if (chain->c.out_len < sizeof(head) || !chain->c.in_len)
		return -1;
	iov_read(chain->out, chain->nout, 0, &head, sizeof(head));
	iov_skip(&chain->out, &chain->nout, sizeof(head));
	last = &chain->in[chain->nin - 1];
	at = (uint8_t *)last->iov_base + --last->iov_len;
	out_len = chain->c.out_len - sizeof(head);
	in_len = chain->c.in_len - 1;

	switch (head.type) {
	case VIRTIO_BLK_T_IN:
		status = read_write(disk, false, chain->in, chain->nin, head.sector, in_len);
		written += in_len;
		break;
	case VIRTIO_BLK_T_OUT:
		status = read_write(disk, true, chain->out, chain->nout, head.sector, out_len);
		break;
	case VIRTIO_BLK_T_FLUSH:
		if (fdatasync(disk->config->fd))
			status = VIRTIO_BLK_S_IOERR;
		break;
	case VIRTIO_BLK_T_GET_ID:
		written += iov_write(chain->in, chain->nin, 0, disk->id, sizeof(disk->id));
		break;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		status = clear_ranges(disk, head.type == VIRTIO_BLK_T_WRITE_ZEROES, chain->out,
				      chain->nout, out_len);
		break;
	default:
		status = VIRTIO_BLK_S_UNSUPP;
	}
	*at = status;
	vring_push(q, &chain->c, status == VIRTIO_BLK_S_OK ? written : 1);
	return 0;
}

static int disk_serve(struct virtio_dev *dev, struct virtio_queue *q)
{
	return vring_serve(q, request);
}

static const struct virtio_model disk_model = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.class_revision = CLASS_STORAGE,
	.serve = disk_serve,
};

/** disk_open() - Open a --disk; it stays open for the guest's resets */
void disk_open(struct disk_config *config)
{
	struct stat st;
	int flags = (config->readonly ? O_RDONLY : O_RDWR) | (config->direct ? O_DIRECT : 0);

	config->fd = open(config->path, flags | O_CLOEXEC);
	if (config->fd < 0 || fstat(config->fd, &st)) {
		bool direct = config->direct && errno == EINVAL;

		die("--disk: %s: %s%s", config->path, strerror(errno),
		    direct ? " (its file system cannot do direct I/O)" : "");
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		die("--disk: %s: neither a regular file nor a block device", config->path);
	if (lseek(config->fd, 0, SEEK_END) < (off_t)SECTOR)
		die("--disk: %s: smaller than a sector", config->path);
}

static void fill_config(struct disk *disk, unsigned int queues)
{
	struct virtio_blk_config c = {
		.capacity = disk->sectors,
		.seg_max = SEGMENTS,
		.blk_size = SECTOR,
		.num_queues = queues,
		.max_discard_sectors = DISCARD_MAX,
		.max_discard_seg = RANGES_MAX,
		.discard_sector_alignment = 8,
		.max_write_zeroes_sectors = DISCARD_MAX,
		.max_write_zeroes_seg = RANGES_MAX,
		.write_zeroes_may_unmap = 1,
	};
	int block;

	if (disk->is_block && !ioctl(disk->config->fd, BLKSSZGET, &block))
		c.blk_size = block;
	memcpy(disk->dev.config, &c, CONFIG_LEN);
}

static void start_disk(struct vm *vm, unsigned int n)
{
	const struct disk_config *config = &vm->config->disks[n];
	uint64_t features = BIT_ULL(VIRTIO_BLK_F_SEG_MAX) | BIT_ULL(VIRTIO_BLK_F_BLK_SIZE) |
			    BIT_ULL(VIRTIO_BLK_F_FLUSH);
	struct disk *disk = vm_alloc(vm, sizeof(*disk));
	struct stat st;

	disk->config = config;
	disk->is_block = !fstat(config->fd, &st) && S_ISBLK(st.st_mode);
	disk->sectors = lseek(config->fd, 0, SEEK_END) / SECTOR;
	snprintf(disk->id, sizeof(disk->id), "ringlet-%u", n);
	fill_config(disk, config->queues);
	if (config->queues > 1)
		features |= BIT_ULL(VIRTIO_BLK_F_MQ);
	if (config->readonly)
		features |= BIT_ULL(VIRTIO_BLK_F_RO);
	else
		features |= BIT_ULL(VIRTIO_BLK_F_DISCARD) | BIT_ULL(VIRTIO_BLK_F_WRITE_ZEROES);
	if (vm->config->kernel_types & BIT(RINGLET_DEVICE_BLK)) {
		struct ringlet_create_device create = {
			.type = RINGLET_DEVICE_BLK,
			.flags = config->readonly ? RINGLET_BLK_RDONLY : 0,
			.nr_queues = config->queues,
			.nr_backends = 1,
			.backend = { config->fd },
			.blk_sectors = disk->sectors,
		};

		memcpy(create.blk_id, disk->id, sizeof(create.blk_id));
		disk->dev.kernel = vkernel_create(vm, &create, config->threads, "--disk");
		disk->dev.kernel_queues = config->queues;
		features = vkernel_features(vm, RINGLET_DEVICE_BLK, features);
	}
	virtio_init(vm, &disk->dev, &disk_model, features, config->queues, CONFIG_LEN);
}

void virtio_blk_start(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->config->ndisks; i++)
		start_disk(vm, i);
}
