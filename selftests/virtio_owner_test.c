// SPDX-License-Identifier: GPL-2.0
/*
 * Who does a disk's work, and who pays for it: the vCPU that notifies and the threads that are
 * lent, in the owner's cgroup, each as itself; no thread of the kernel's. A lent thread sleeps
 * while there is nothing to do.
 */
#define _GNU_SOURCE
#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/vdev.h"
#include "harness.h"

#define F(bit)		(1ull << (bit))
#define BELL_PORT	0x5670
#define CODE_GPA	0x8000
#define CGROUPS		"/tmp/ringlet_cgroups"
#define OWNER		CGROUPS "/ringlet_owner"
#define POLL_NS		"/sys/module/ringlet/parameters/virtio_poll_ns"
#define PATTERN		0x5a

/* mov $BELL_PORT, %dx; 1: out %ax, (%dx); out %al, $UCALL_PORT; jmp 1b */
static const u8 ringer[] = { 0xba, BELL_PORT & 0xff, BELL_PORT >> 8, 0xef, 0xe6, UCALL_PORT,
			     0xeb, 0xfb };

/* The number behind @key in a file of such pairs, "key number" or "key=number"; -1: not there. */
static long long value(const char *path, const char *key)
{
	char text[4096] = "", *at = text;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	while ((at = strstr(at, key))) {
		at += strlen(key);
		if (strchr("= :", *at))
			return strtoll(at + strspn(at, "= :\t"), NULL, 10);
	}
	return -1;
}

/* A thread that is lent */
struct lent {
	pthread_t thread;
	int fd;
	const char *cgroup;		/* threads' file of another, or NULL */
	int nice;
	volatile pid_t tid;
};

static void *lend(void *arg)
{
	struct lent *l = arg;

	if (l->cgroup)
		CHECK(NULL, !rl_put(l->cgroup, "0"), "%s", l->cgroup);
	if (l->nice)
		CHECK(NULL, nice(l->nice) == l->nice, "nice");
	l->tid = syscall(SYS_gettid);
	while (kvm_try(l->fd, RINGLET_DEV_WORK, 0) == -EINTR)
		;
	return NULL;
}

/* A number that the kernel has of a thread of this process. */
static long long of_thread(pid_t tid, const char *file, const char *key)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, file);
	return value(path, key);
}

static bool asleep(const struct lent *l)
{
	char path[64], text[512] = "", *end;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", l->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	end = strrchr(text, ')');
	return l->tid && end && end[2] == 'S';
}

static void lend_to(struct vdev *d, struct lent *l)
{
	l->fd = d->fd;
	CHECK(NULL, !pthread_create(&l->thread, NULL, lend, l), "thread");
	WAIT_FOR(asleep(l));
}

/* A disk with a guest that notifies */
struct owner {
	struct vm *vm;
	struct vcpu *v;
	struct vdev d;
};

static void owner_init(struct owner *o, int disk)
{
	struct ringlet_doorbell bell = { .flags = RINGLET_DOORBELL_PIO, .addr = BELL_PORT,
					 .len = 2 };

	o->vm = vdev_vm();
	o->v = vcpu_new(o->vm, 0);
	memcpy(vm_hva(o->vm, CODE_GPA), ringer, sizeof(ringer));
	vcpu_bits(o->v, 16, CODE_GPA);
	vdev_init(&o->d, o->vm, vdev_blk(o->vm, disk, 0, 1), 1, 64, F(VIRTIO_BLK_F_FLUSH));
	kvm_do(o->d.fd, RINGLET_DEV_SET_DOORBELL, &bell);
	kvm_do(o->d.fd, RINGLET_DEV_START, 0);
}

static void owner_free(struct owner *o, struct lent *l)
{
	vdev_stop(&o->d);
	if (l)
		pthread_join(l->thread, NULL);
	vdev_free(&o->d);
	vm_free(o->vm);
}

/* One request, notified of by the guest; the status. */
static u8 ring(struct owner *o, u32 type, u64 sector, u32 len)
{
	u32 written;

	CHECK(NULL, vdev_blk_add(&o->d, 0, type, sector, VDEV_DATA, len, !!len, 0) >= 0, "full");
	virtq_publish(&o->d.q[0]);
	AT(expect_io_(o->v, KVM_EXIT_IO_OUT, UCALL_PORT, 1, *(u8 *)run_io_data(o->v)));
	vdev_wait(&o->d, 0, &written);
	return *(u8 *)vm_hva(o->vm, VDEV_DATA - 0x8000 + sizeof(struct virtio_blk_outhdr));
}

static int put_cold(void)
{
	return rl_put("/proc/sys/vm/drop_caches", "1");
}

/* Which thread a transfer is by is what the kernel's own accounting says. */
TEST(by_whom)
{
	int disk = vdev_null_disk("irqmode=0", O_DIRECT), cached;
	struct lent l = { .nice = 7 };
	pid_t me = getpid();
	struct owner o;
	long long mine, lents;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	if (disk < 0)
		SKIP(return, "no null_blk");
	if (of_thread(me, "io", "read_bytes") < 0)
		SKIP(return, "no accounting of threads' I/O");

	/* Directly: in the vCPU's exit, with a thread lent that could. */
	owner_init(&o, disk);
	lend_to(&o.d, &l);
	mine = of_thread(me, "io", "read_bytes");
	lents = of_thread(l.tid, "io", "read_bytes");
	for (int i = 0; i < 50; i++)
		ASSERT_EQ(0, ring(&o, VIRTIO_BLK_T_IN, i * 8, 4096));
	EXPECT_EQ(mine + 50 * 4096, of_thread(me, "io", "read_bytes"));
	EXPECT_EQ(lents, of_thread(l.tid, "io", "read_bytes"));
	mine = of_thread(me, "io", "write_bytes");
	for (int i = 0; i < 50; i++)
		ASSERT_EQ(0, ring(&o, VIRTIO_BLK_T_OUT, i * 8, 4096));
	EXPECT_EQ(mine + 50 * 4096, of_thread(me, "io", "write_bytes"));
	EXPECT_EQ(0, of_thread(l.tid, "io", "write_bytes"));
	owner_free(&o, &l);

	/* What is not in the page cache: read by the one or, with the lock, the other. */
	cached = open("/dev/nullb0", O_RDWR | O_CLOEXEC);
	owner_init(&o, cached);
	lend_to(&o.d, &l);
	ASSERT_EQ(0, put_cold());
	mine = of_thread(me, "io", "read_bytes");
	for (int i = 0; i < 20; i++)
		ASSERT_EQ(0, ring(&o, VIRTIO_BLK_T_IN, i * 8192, 4096));
	EXPECT_EQ(20, vdev_stats(&o.d, 0).deferred);
	EXPECT_LE(mine + 20 * 4096, of_thread(me, "io", "read_bytes") +
				    of_thread(l.tid, "io", "read_bytes"));
	/* The priority that it came with; nobody's but its own. */
	EXPECT_EQ(7, getpriority(PRIO_PROCESS, l.tid));
	EXPECT_EQ(0, getpriority(PRIO_PROCESS, me));
	owner_free(&o, &l);
	close(cached);
	close(disk);
}

/* Names of the kernel's threads, but for its pools of workers, which serve everybody. */
static int kernel_threads(char *names, size_t size)
{
	/* One by one: awk ends at the first that has gone in the meantime. */
	FILE *f = popen("for f in /proc/[0-9]*/status; do "
			"awk '/^Name:/ { name = $2 } /^PPid:.2$/ && name !~ /^kworker/ "
			"{ print name }' $f 2> /dev/null; done | sort", "r");
	size_t n = f ? fread(names, 1, size - 1, f) : 0;

	names[n] = 0;
	if (f)
		pclose(f);
	return n;
}

TEST(no_kernel_threads)
{
	static char before[16384], during[16384];
	int disk = vdev_null_disk("irqmode=2 completion_nsec=1000000", O_DIRECT);
	struct lent l = {};
	struct owner o;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	if (disk < 0)
		SKIP(return, "no null_blk");
	ASSERT_LT(0, kernel_threads(before, sizeof(before)));
	owner_init(&o, disk);
	lend_to(&o.d, &l);
	for (int i = 0; i < 20; i++)
		ASSERT_EQ(0, ring(&o, i & 1 ? VIRTIO_BLK_T_FLUSH : VIRTIO_BLK_T_IN, 0,
				  i & 1 ? 0 : 4096));
	ASSERT_LT(0, kernel_threads(during, sizeof(during)));
	EXPECT_STREQ(before, during);
	owner_free(&o, &l);
	close(disk);
}

/* In a cgroup of its own, with one more for each of its two threads. */
static int owner_in_cgroup(void)
{
	int disk = vdev_null_disk("irqmode=0", O_DIRECT), cached = open("/dev/nullb0", O_RDWR);
	struct lent l = { .cgroup = OWNER "/lent/cgroup.threads" };
	long long cpu_vcpu, cpu_lent, reads, writes;
	struct owner o;

	CHECK(NULL, disk >= 0 && cached >= 0, "null_blk");
	CHECK(NULL, !rl_put(OWNER "/cgroup.procs", "0"), "cgroup.procs");
	CHECK(NULL, !rl_put(OWNER "/vcpu/cgroup.threads", "0"), "cgroup.threads");

	/* The doorbell's way: nothing else runs. */
	owner_init(&o, disk);
	lend_to(&o.d, &l);
	cpu_vcpu = value(OWNER "/vcpu/cpu.stat", "usage_usec");
	cpu_lent = value(OWNER "/lent/cpu.stat", "usage_usec");
	for (int i = 0; i < 100; i++) {
		CHECK(NULL, !ring(&o, VIRTIO_BLK_T_OUT, i * 8, 4096), "write %d", i);
		CHECK(NULL, !ring(&o, VIRTIO_BLK_T_IN, i * 8, 4096), "read %d", i);
	}
	sched_yield();			/* up to here */
	reads = value(OWNER "/io.stat", "rbytes");
	writes = value(OWNER "/io.stat", "wbytes");
	CHECK(NULL, reads == 100 * 4096 && writes == 100 * 4096, "%lld, %lld", reads, writes);
	CHECK(NULL, value(OWNER "/vcpu/cpu.stat", "usage_usec") > cpu_vcpu, "%lld", cpu_vcpu);
	CHECK(NULL, value(OWNER "/lent/cpu.stat", "usage_usec") == cpu_lent, "%lld", cpu_lent);
	owner_free(&o, &l);

	/* A lent thread's: reads that miss the page cache, a flush of what was written there. */
	CHECK(NULL, !put_cold(), "drop_caches");
	owner_init(&o, cached);
	lend_to(&o.d, &l);
	cpu_lent = value(OWNER "/lent/cpu.stat", "usage_usec");
	for (int i = 0; i < 50; i++)
		CHECK(NULL, !ring(&o, VIRTIO_BLK_T_IN, i * 8192, 4096), "read %d", i);
	CHECK(NULL, vdev_stats(&o.d, 0).deferred == 50, "in the cache");
	CHECK(NULL, value(OWNER "/io.stat", "rbytes") >= reads + 50 * 4096, "%lld", reads);
	CHECK(NULL, value(OWNER "/lent/cpu.stat", "usage_usec") > cpu_lent, "%lld", cpu_lent);
	writes = value(OWNER "/io.stat", "wbytes");
	for (int i = 0; i < 50; i++)
		CHECK(NULL, !ring(&o, VIRTIO_BLK_T_OUT, i * 8192, 4096), "write %d", i);
	CHECK(NULL, !ring(&o, VIRTIO_BLK_T_FLUSH, 0, 0), "flush");
	CHECK(NULL, value(OWNER "/io.stat", "wbytes") >= writes + 50 * 4096, "%lld", writes);
	owner_free(&o, &l);
	return 0;
}

/* Everything that is needed for that, or why not. */
static const char *make_cgroups(void)
{
	mkdir(CGROUPS, 0700);
	if (mount("none", CGROUPS, "cgroup2", 0, NULL))
		return "no cgroup v2";
	if (rl_put(CGROUPS "/cgroup.subtree_control", "+io +cpu +memory"))
		return "no controllers for I/O, CPU and memory";
	if (mkdir(OWNER, 0700) || mkdir(OWNER "/vcpu", 0700) || mkdir(OWNER "/lent", 0700))
		return "no right to make cgroups";
	if (rl_put(OWNER "/vcpu/cgroup.type", "threaded") ||
	    rl_put(OWNER "/lent/cgroup.type", "threaded") ||
	    rl_put(OWNER "/cgroup.subtree_control", "+cpu"))
		return "no cgroups of threads";
	return NULL;
}

TEST(cgroup)
{
	const char *why;
	int status;
	pid_t pid;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	status = vdev_null_disk("", 0);
	if (status < 0)
		SKIP(return, "no null_blk");
	close(status);
	why = make_cgroups();
	if (!why) {
		pid = fork();
		if (!pid)
			_exit(owner_in_cgroup());
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
	rmdir(OWNER "/vcpu");
	rmdir(OWNER "/lent");
	rmdir(OWNER);
	umount2(CGROUPS, MNT_DETACH);
	rmdir(CGROUPS);
	if (why)
		SKIP(return, "%s", why);
}

/* How often a thread has been taken off its CPU, for whatever reason: it was woken so often. */
static long long switches(const struct lent *l)
{
	return of_thread(l->tid, "status", "\nvoluntary_ctxt_switches") +
	       of_thread(l->tid, "status", "nonvoluntary_ctxt_switches");
}

TEST(idle)
{
	int disk = vdev_null_disk("irqmode=0", O_DIRECT);
	struct lent l = {};
	struct owner o;
	long long n;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	if (disk < 0)
		SKIP(return, "no null_blk");
	owner_init(&o, disk);
	lend_to(&o.d, &l);
	n = switches(&l);
	ASSERT_LE(0, n);
	/* What a doorbell's exit does alone is no reason to wake anybody. */
	for (int i = 0; i < 200; i++)
		ASSERT_EQ(0, ring(&o, i & 1 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 8 * i, 4096));
	/* Nor is a guest that runs, or one that rings for nothing. */
	for (int i = 0; i < 500; i++)
		expect_exit(o.v, KVM_EXIT_IO);
	EXPECT_EQ(n, switches(&l));
	EXPECT_LE(700, vdev_stats(&o.d, 0).kicks);
	EXPECT_EQ(0, vdev_stats(&o.d, 0).polls + vdev_stats(&o.d, 0).polls_in_vain);
	/* It would have been seen. */
	ASSERT_EQ(0, ring(&o, VIRTIO_BLK_T_FLUSH, 0, 0));
	EXPECT_LT(n, switches(&l));
	owner_free(&o, &l);
	close(disk);
}

/* Nobody polls where the bound is nothing. */
TEST(no_polling)
{
	int disk = vdev_null_disk("irqmode=2 completion_nsec=2000000", O_DIRECT);
	struct ringlet_queue_stats st;
	struct lent l = {};
	char old[16] = "";
	struct vdev d;
	struct vm *vm;
	int fd;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	if (disk < 0)
		SKIP(return, "no null_blk");
	fd = open(POLL_NS, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, old, sizeof(old) - 1) <= 0)
		SKIP(return, "another module");
	close(fd);
	vm = vdev_vm();
	vdev_init(&d, vm, vdev_blk(vm, disk, 0, 1), 1, 64, F(VIRTIO_BLK_F_FLUSH));
	kvm_do(d.fd, RINGLET_DEV_START, 0);

	ASSERT_EQ(0, rl_put(POLL_NS, "0"));
	lend_to(&d, &l);
	for (int i = 0; i < 20; i++)
		ASSERT_EQ(0, vdev_blk_io(&d, VIRTIO_BLK_T_IN, 0, VDEV_DATA, 4096, 1));
	st = vdev_stats(&d, 0);
	EXPECT_EQ(0, st.polls);
	EXPECT_EQ(0, st.polls_in_vain);

	EXPECT_EQ(0, rl_put(POLL_NS, old));
	vdev_stop(&d);
	pthread_join(l.thread, NULL);
	vdev_free(&d);
	vm_free(vm);
	close(disk);
}

TEST_HARNESS_MAIN
