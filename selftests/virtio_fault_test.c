// SPDX-License-Identifier: GPL-2.0
/*
 * The block data plane on backends that fail: sectors that cannot be read or written
 * (dm-error, dm-flakey), one that stands still, one that is taken away, a full file
 * system, a frozen one. The guest is told of its own requests, of the right ones, and goes on.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/vdev.h"
#include "harness.h"

#define SECTORS		2048u		/* of the mapped device */
#define BAD		1024u		/* the first of 8 that are bad */
#define DM_NAME		"ringlet_fault"
#define NULLB		"/sys/kernel/config/nullb/ringlet_fault"

static char disk[32];		/* node of a block device in memory */

/* A reason why there is none. */
static const char *disk_create(void)
{
	char index[16] = "";
	int fd;

	system("modprobe -q null_blk nr_devices=0; modprobe -q configfs; "
	       "mount -t configfs none /sys/kernel/config 2> /dev/null");
	if (mkdir(NULLB, 0700) && errno != EEXIST)
		return "no null_blk";
	rl_put(NULLB "/memory_backed", "1");
	rl_put(NULLB "/size", "8");
	rl_put(NULLB "/power", "1");
	fd = open(NULLB "/index", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, index, sizeof(index) - 1) <= 0)
		return "no null_blk device";
	close(fd);
	/* Newer kernels name it after its folder. */
	sprintf(disk, "/dev/ringlet_fault");
	if (access(disk, F_OK))
		sprintf(disk, "/dev/nullb%d", atoi(index));
	return access(disk, F_OK) ? "no node of it" : NULL;
}

/* 0, or an error when somebody has it. */
static int disk_remove(void)
{
	return rmdir(NULLB) ? -errno : 0;
}

/* Device mapper */

struct dm {
	struct dm_ioctl io;
	char table[1024] __attribute__((aligned(8)));
	u32 len;			/* of what is in it */
};

static int dm_control = -1;

static int dm_do(unsigned long cmd, struct dm *dm, u32 flags)
{
	dm->io.version[0] = DM_VERSION_MAJOR;
	dm->io.data_size = sizeof(*dm);
	dm->io.data_start = offsetof(struct dm, table);
	dm->io.flags = flags;
	strcpy(dm->io.name, DM_NAME);
	return ioctl(dm_control, cmd, dm) ? -errno : 0;
}

/* One more target at the end of a table; @args come after the disk, if any. */
static void dm_target(struct dm *dm, u64 start, u64 len, const char *type, const char *args)
{
	struct dm_target_spec *t = (void *)(dm->table + dm->len);
	char *text = dm->table + dm->len + sizeof(*t);

	t->sector_start = start;
	t->length = len;
	strcpy(t->target_type, type);
	sprintf(text, *args ? "%s %s" : "", disk, args);
	t->next = (sizeof(*t) + strlen(text) + 8) & ~7u;
	dm->len += t->next;
	dm->io.target_count++;
}

/* What the sectors are from now on. */
static int dm_load(const char *bad_type, const char *bad_args)
{
	struct dm dm = {};
	int r;

	dm_target(&dm, 0, BAD, "linear", "0");
	dm_target(&dm, BAD, 8, bad_type, bad_args);
	dm_target(&dm, BAD + 8, SECTORS - BAD - 8, "linear", "1032");
	r = dm_do(DM_TABLE_LOAD, &dm, 0);
	memset(&dm, 0, sizeof(dm));
	return r ?: dm_do(DM_DEV_SUSPEND, &dm, 0);	/* without the flag: resume */
}

static int dm_suspend(void)
{
	struct dm dm = {};

	return dm_do(DM_DEV_SUSPEND, &dm, DM_SUSPEND_FLAG | DM_NOFLUSH_FLAG | DM_SKIP_LOCKFS_FLAG);
}

static int dm_remove(void)
{
	struct dm dm = {};
	int r;

	/* udev or a last bio may still have it open. */
	for (int i = 0; (r = dm_do(DM_DEV_REMOVE, &dm, 0)) == -EBUSY && i < 200; i++) {
		memset(&dm, 0, sizeof(dm));
		usleep(10000);
	}
	return r;
}

/* A device that maps the disk, at @path; a reason why there is none. */
static const char *dm_create(char *path)
{
	struct dm dm = {};

	system("modprobe -q dm_mod; modprobe -q dm_flakey");
	dm_control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (dm_control < 0)
		return "no device mapper";
	dm_remove();
	if (dm_do(DM_DEV_CREATE, &dm, 0))
		return "cannot make a mapped device";
	sprintf(path, "/dev/dm-%u", (unsigned int)(dm.io.dev & 0xff));
	return NULL;
}

FIXTURE(bad) {
	struct vm *vm;
	struct vdev d;
	char path[32];
	bool dm;
};

FIXTURE_VARIANT(bad) {
	int flags;
	bool cached;
};

FIXTURE_VARIANT_ADD(bad, direct) {
	.flags = O_DIRECT,
};

FIXTURE_VARIANT_ADD(bad, cached) {
	.cached = true,
};

FIXTURE_SETUP(bad)
{
	const char *why;
	int fd;

	if (!vdev_supported())
		SKIP(_exit(KSFT_HARNESS_SKIP), "no data planes in this kernel");
	why = dm_create(self->path) ?: disk_create();	/* a skip leaves no disk behind */
	if (why)
		SKIP(_exit(KSFT_HARNESS_SKIP), "%s", why);
	self->dm = true;
	ASSERT_EQ(0, dm_load("linear", "1024"));
	fd = open(self->path, O_RDWR | variant->flags | O_CLOEXEC);
	ASSERT_GE(fd, 0) TH_LOG("%s: %s", self->path, strerror(errno));
	self->vm = vdev_vm();
	vdev_init(&self->d, self->vm, vdev_blk(self->vm, fd, 0, 1), 1, 64,
		  1ull << VIRTIO_BLK_F_FLUSH);
	close(fd);
	vdev_start(&self->d);
}

FIXTURE_TEARDOWN(bad)
{
	if (self->vm) {
		vdev_free(&self->d);
		vm_free(self->vm);
	}
	if (self->dm) {
		EXPECT_EQ(0, dm_remove());
		EXPECT_EQ(0, disk_remove());
	}
}

/* 8 sectors of them, or whatever; the status. */
static int io(struct vdev *d, u32 type, u64 sector, u32 sectors)
{
	return vdev_blk_io(d, type, sector, VDEV_DATA, sectors * 512, 1);
}

static void fill(struct vdev *d, u8 val)
{
	memset(vm_hva(d->vm, VDEV_DATA), val, 64 * 512);
}

/* Nothing of what the bad sectors' neighbours have may be lost. */
static void expect_good(struct __test_metadata *_metadata, struct vdev *d, u8 val)
{
	static const u64 good[] = { 0, BAD - 8, BAD + 8, SECTORS - 8 };

	for (u32 i = 0; i < ARRAY_SIZE(good); i++) {
		fill(d, val + i);
		ASSERT_EQ(0, io(d, VIRTIO_BLK_T_OUT, good[i], 8));
	}
	for (u32 i = 0; i < ARRAY_SIZE(good); i++) {
		fill(d, 0);
		ASSERT_EQ(0, io(d, VIRTIO_BLK_T_IN, good[i], 8));
		EXPECT_EQ(val + i, *(u8 *)vm_hva(d->vm, VDEV_DATA));
		EXPECT_EQ(val + i, *(u8 *)vm_hva(d->vm, VDEV_DATA + 8 * 512 - 1));
	}
}

TEST_F(bad, sectors)
{
	struct vdev *d = &self->d;
	struct ringlet_queue_stats before, after;

	fill(d, 7);
	ASSERT_EQ(0, io(d, VIRTIO_BLK_T_OUT, BAD, 8));
	ASSERT_EQ(0, io(d, VIRTIO_BLK_T_FLUSH, 0, 0));
	if (variant->cached) {
		/* Out of the cache, or the device would not be asked. */
		int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

		ASSERT_EQ(1, write(fd, "3", 1));
		close(fd);
	}
	ASSERT_EQ(0, dm_load("error", ""));
	before = vdev_stats(d, 0);
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(d, VIRTIO_BLK_T_IN, BAD, 8));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(d, VIRTIO_BLK_T_IN, BAD - 8, 16));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(d, VIRTIO_BLK_T_IN, BAD, 16));
	after = vdev_stats(d, 0);
	EXPECT_EQ(before.errors + 3, after.errors);
	/* An error is not a length: no more was transferred than was asked for. */
	EXPECT_GE((8 + 16 + 16) * 512, after.bytes_read - before.bytes_read);
	expect_good(_metadata, d, 1);
	fill(d, 9);
	before = vdev_stats(d, 0);
	if (!variant->cached) {
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(d, VIRTIO_BLK_T_OUT, BAD, 8));
	} else if (!io(d, VIRTIO_BLK_T_OUT, BAD, 8)) {
		/* Taken by the cache: then the flush has to tell. */
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(d, VIRTIO_BLK_T_FLUSH, 0, 0));
	}
	EXPECT_GE(8 * 512, vdev_stats(d, 0).bytes_written - before.bytes_written);
	expect_good(_metadata, d, 10);
	ASSERT_EQ(0, io(d, VIRTIO_BLK_T_FLUSH, 0, 0));
	EXPECT_EQ(RINGLET_STATE_RUNNING, vdev_status(d).state);

	/* repaired, as it was before */
	ASSERT_EQ(0, dm_load("linear", "1024"));
	if (!variant->cached) {
		ASSERT_EQ(0, io(d, VIRTIO_BLK_T_IN, BAD, 8));
		EXPECT_EQ(7, *(u8 *)vm_hva(d->vm, VDEV_DATA));
	}
	ASSERT_EQ(0, io(d, VIRTIO_BLK_T_OUT, BAD, 8));
	ASSERT_EQ(0, io(d, VIRTIO_BLK_T_FLUSH, 0, 0));
}

/* Reads work, writes fail: at once, or when they are flushed. */
TEST_F(bad, writes)
{
	struct vdev *d = &self->d;

	fill(d, 5);
	ASSERT_EQ(0, io(d, VIRTIO_BLK_T_OUT, BAD, 8));
	ASSERT_EQ(0, io(d, VIRTIO_BLK_T_FLUSH, 0, 0));
	if (dm_load("flakey", "1024 0 600 1 error_writes"))
		SKIP(return, "no dm-flakey");
	fill(d, 0);
	ASSERT_EQ(0, io(d, VIRTIO_BLK_T_IN, BAD, 8));
	EXPECT_EQ(5, *(u8 *)vm_hva(d->vm, VDEV_DATA));
	fill(d, 6);
	if (variant->cached) {
		ASSERT_EQ(0, io(d, VIRTIO_BLK_T_OUT, BAD, 8));
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(d, VIRTIO_BLK_T_FLUSH, 0, 0));
	} else {
		EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(d, VIRTIO_BLK_T_OUT, BAD, 8));
	}
	expect_good(_metadata, d, 20);
	ASSERT_EQ(0, dm_load("linear", "1024"));
}

static void *stop_device(void *arg)
{
	kvm_do(((struct vdev *)arg)->fd, RINGLET_DEV_STOP, 0);
	return NULL;
}

/* A backend that stands still: STOP waits for what is in flight, all of it ends well. */
TEST_F(bad, stands_still)
{
	struct vdev *d = &self->d;
	pthread_t thread;
	int ids[8];
	u32 len;

	if (variant->cached)
		SKIP(return, "the cache answers");
	ASSERT_EQ(0, dm_suspend());
	for (u32 i = 0; i < ARRAY_SIZE(ids); i++) {
		ids[i] = vdev_blk_add(d, 0, VIRTIO_BLK_T_IN, 64 * i, VDEV_DATA + 4096 * i, 4096,
				      1, i);
		ASSERT_LE(0, ids[i]);
	}
	vdev_kick(d, 0);
	EXPECT_EQ(-1, virtq_used(&d->q[0], &len));
	ASSERT_EQ(0, pthread_create(&thread, NULL, stop_device, d));
	/* It has begun when the device takes no more notifications. */
	while (kvm_try(d->fd, RINGLET_DEV_KICK, 0) != -EBUSY)
		usleep(1000);
	EXPECT_EQ(-1, virtq_used(&d->q[0], &len));
	ASSERT_EQ(0, dm_load("linear", "1024"));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	vdev_stop(d);
	for (u32 i = 0; i < ARRAY_SIZE(ids); i++) {
		ASSERT_LE(0, virtq_used(&d->q[0], &len));
		EXPECT_EQ(0, *(u8 *)vm_hva(d->vm, VDEV_DATA - 0x8000 + i * 0x20 +
					   sizeof(struct virtio_blk_outhdr)));
	}
}

/* The block device goes away with requests under way and to come. */
TEST(unplugged)
{
	struct vdev d;
	struct vm *vm;
	int fd, n;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	if (disk_create())
		SKIP(return, "no null_blk");
	fd = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, fd) TH_LOG("%s: %s", disk, strerror(errno));
	vm = vdev_vm();
	vdev_init(&d, vm, vdev_blk(vm, fd, 0, 1), 1, 64, 0);
	close(fd);
	vdev_start(&d);
	fill(&d, 3);
	ASSERT_EQ(0, io(&d, VIRTIO_BLK_T_OUT, 0, 64));
	for (n = 0; n < 16; n++)
		ASSERT_LE(0, vdev_blk_add(&d, 0, VIRTIO_BLK_T_IN, 0, VDEV_DATA, 32768, 1, n));
	vdev_kick(&d, 0);
	ASSERT_EQ(0, rl_put(NULLB "/power", "0"));
	/* Those end well or with an error, but they do; the next ones fail. */
	for (; n; n--) {
		u32 len;

		ASSERT_LE(0, vdev_wait(&d, 0, &len));
	}
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(&d, VIRTIO_BLK_T_IN, 0, 64));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(&d, VIRTIO_BLK_T_OUT, 0, 64));
	EXPECT_EQ(RINGLET_STATE_RUNNING, vdev_status(&d).state);
	vdev_stop(&d);
	vdev_free(&d);
	vm_free(vm);
	/* Nobody holds it any more. */
	EXPECT_EQ(0, disk_remove());
}

/* A sparse file, and a file system that has no room for all of it. */
TEST(full)
{
	char dir[] = "/tmp/fault.XXXXXX", path[64], filler[64];
	struct vdev d;
	struct vm *vm;
	int fd, status = 0, fill_fd;
	u64 sector;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	ASSERT_NE(NULL, mkdtemp(dir));
	if (mount("full", dir, "tmpfs", 0, "size=1m")) {
		rmdir(dir);
		SKIP(return, "no right to mount");
	}
	sprintf(path, "%s/disk", dir);
	sprintf(filler, "%s/filler", dir);
	fill_fd = open(filler, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_EQ(0, posix_fallocate(fill_fd, 0, 512 << 10));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ASSERT_EQ(0, ftruncate(fd, 4 << 20));
	vm = vdev_vm();
	vdev_init(&d, vm, vdev_blk(vm, fd, 0, 1), 1, 64, 1ull << VIRTIO_BLK_F_FLUSH);
	close(fd);
	vdev_start(&d);
	for (sector = 0; sector < 8192 && !status; sector += 64) {
		fill(&d, sector / 64 + 1);
		status = io(&d, VIRTIO_BLK_T_OUT, sector, 64);
	}
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, status);
	EXPECT_LT(512, sector);
	sector -= 64;
	/* What was written is there, what there is no room for reads as zeros. */
	for (u64 s = 0; s < sector; s += 64) {
		ASSERT_EQ(0, io(&d, VIRTIO_BLK_T_IN, s, 64));
		EXPECT_EQ((u8)(s / 64 + 1), *(u8 *)vm_hva(vm, VDEV_DATA));
	}
	fill(&d, 9);
	ASSERT_EQ(0, io(&d, VIRTIO_BLK_T_IN, 8192 - 64, 64));
	EXPECT_EQ(0, *(u8 *)vm_hva(vm, VDEV_DATA));
	ASSERT_EQ(0, io(&d, VIRTIO_BLK_T_FLUSH, 0, 0));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, io(&d, VIRTIO_BLK_T_OUT, 8192 - 64, 64));

	/* Room again. */
	close(fill_fd);
	ASSERT_EQ(0, unlink(filler));
	EXPECT_EQ(0, io(&d, VIRTIO_BLK_T_OUT, 8192 - 64, 64));
	EXPECT_EQ(RINGLET_STATE_RUNNING, vdev_status(&d).state);
	vdev_free(&d);
	vm_free(vm);
	EXPECT_EQ(0, umount(dir));
	rmdir(dir);
}

/*
 * Writes that wait for a file system to thaw hold up a lent thread each, not who
 * notifies, nor what is asked for while there is another thread.
 */
TEST(frozen)
{
	char dir[] = "/tmp/fault.XXXXXX", path[64], cmd[80];
	struct vdev d;
	struct vm *vm;
	int fd, fs, id;
	u32 len;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	if (disk_create())
		SKIP(return, "no null_blk");
	ASSERT_NE(NULL, mkdtemp(dir));
	sprintf(cmd, "modprobe -q ext4; mke2fs %s > /dev/null 2>&1", disk);
	if (system(cmd) || mount(disk, dir, "ext4", MS_NOATIME, NULL)) {
		rmdir(dir);
		disk_remove();
		SKIP(return, "no file system that can be frozen");
	}
	fs = open(dir, O_RDONLY | O_CLOEXEC);
	sprintf(path, "%s/disk", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	vm = vdev_vm();
	fill(&(struct vdev){ .vm = vm }, 4);
	for (int i = 0; i < 64; i++)
		ASSERT_EQ(32768, write(fd, vm_hva(vm, VDEV_DATA), 32768));
	ASSERT_EQ(0, fsync(fd));
	vdev_init(&d, vm, vdev_blk(vm, fd, 0, 1), 1, 64, 1ull << VIRTIO_BLK_F_FLUSH);
	close(fd);
	vdev_start(&d);
	ASSERT_EQ(0, rl_put("/proc/sys/vm/drop_caches", "1"));
	ASSERT_EQ(0, ioctl(fs, FIFREEZE, 0));
	fill(&d, 5);
	id = vdev_blk_add(&d, 0, VIRTIO_BLK_T_OUT, 0, VDEV_DATA, 4096, 1, 1);
	ASSERT_LE(0, id);
	vdev_kick(&d, 0);
	EXPECT_EQ(1, vdev_stats(&d, 0).deferred);
	/* from the disk, then from the page cache */
	for (int i = 0; i < 20; i++)
		ASSERT_EQ(0, io(&d, VIRTIO_BLK_T_IN, 1024 + i / 2 * 64, 8));
	EXPECT_LT(1, vdev_stats(&d, 0).deferred);
	EXPECT_EQ(4, *(u8 *)vm_hva(vm, VDEV_DATA));
	EXPECT_EQ(-1, virtq_used(&d.q[0], &len));
	ASSERT_EQ(0, ioctl(fs, FITHAW, 0));
	EXPECT_EQ(id, vdev_wait(&d, 0, &len));
	EXPECT_EQ(0, *(u8 *)vm_hva(vm, VDEV_DATA - 0x8000 + 0x20 +
				   sizeof(struct virtio_blk_outhdr)));
	vdev_free(&d);
	vm_free(vm);
	close(fs);
	EXPECT_EQ(0, umount(dir));
	rmdir(dir);
	EXPECT_EQ(0, disk_remove());
}

TEST_HARNESS_MAIN
