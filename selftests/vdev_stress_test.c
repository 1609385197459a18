// SPDX-License-Identifier: GPL-2.0
/*
 * Data planes that come, go and break at any moment, under vCPUs that ring their doorbells all the
 * time, and among changes of the VM's memory. Whatever is done, the guests go on, a new device
 * works, and nothing is left when the descriptors are closed.
 */
#define _GNU_SOURCE
#include <linux/virtio_blk.h>
#include <sys/syscall.h>

#include "lib/vdev.h"
#include "harness.h"

#define F(bit)		(1ull << (bit))
#define BELL_PORT	0x5670
#define BELL_GPA	(HOLE_GPA + 0x100)
#define NR_BELLS	4
#define NR_VCPUS	2
#define NR_WORKERS	3
#define EXTRA_GPA	0x20000000ull
#define PAGE		0x1000ull
/* Of worker @w, within the test's 1 MiB: two rings, requests, data. */
#define RING(w, q)	(FREE_GPA + (w) * 0x40000ull + (q) * VIRTQ_BYTES)
#define REQ(w, i)	(FREE_GPA + (w) * 0x40000ull + 0x8000 + (i) * 0x40ull)
#define DATA(w)		(FREE_GPA + (w) * 0x40000ull + 0x10000)

static u32 rnd(u64 *state, u32 below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (*state >> 20) % below;
}

static int make_disk(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	CHECK(NULL, !ftruncate(fd, 1 << 20), "ftruncate");
	return fd;
}

/* What the kernel says of a thread: R, S, D, ... */
static char thread_state(pid_t tid)
{
	char path[64], text[256] = "", *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	if (f && !fgets(text, sizeof(text), f))
		text[0] = 0;
	if (f)
		fclose(f);
	end = strrchr(text, ')');
	return end ? end[2] : '?';
}

struct lent {
	pthread_t thread;
	int fd;
	volatile pid_t tid;
	volatile bool over;
};

static void *lend(void *arg)
{
	struct lent *l = arg;

	l->tid = syscall(SYS_gettid);
	while (!l->over && kvm_try(l->fd, RINGLET_DEV_WORK, 0) == -EINTR)
		;
	return NULL;
}

/* A device whose guest broke a rule has no work: its threads sleep until it is stopped. */
TEST(broken_device_is_quiet)
{
	struct lent l = {};
	struct vdev d;
	struct vm *vm;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	vm = vdev_vm();
	vdev_init(&d, vm, vdev_blk(vm, make_disk(), 0, 1), 1, 64, F(VIRTIO_BLK_F_FLUSH));
	kvm_do(d.fd, RINGLET_DEV_START, 0);
	l.fd = d.fd;
	ASSERT_EQ(0, pthread_create(&l.thread, NULL, lend, &l));
	WAIT_FOR(l.tid && thread_state(l.tid) == 'S');
	/* one that is for a thread, and behind it one without room for an answer */
	ASSERT_LE(0, vdev_blk_add(&d, 0, VIRTIO_BLK_T_FLUSH, 0, VDEV_DATA, 0, 0, 0));
	ASSERT_LE(0, virtq_add(&d.q[0], &(struct virtq_buf){ VDEV_DATA, 16 }, 1, 0, 0));
	virtq_publish(&d.q[0]);
	kvm_do(d.fd, RINGLET_DEV_KICK, 0);
	ASSERT_EQ(RINGLET_STATE_NEEDS_RESET, vdev_status(&d).state);
	WAIT_FOR(thread_state(l.tid) == 'S');
	vdev_stop(&d);
	pthread_join(l.thread, NULL);
	/* and back to work */
	ASSERT_EQ(0, vdev_set_queue(&d, 0, 64));
	vdev_start(&d);
	EXPECT_EQ(0, vdev_blk_io(&d, VIRTIO_BLK_T_IN, 0, VDEV_DATA, 512, 1));
	vdev_free(&d);
	vm_free(vm);
}

/* A queue that is not in use lies nowhere, and needs no memory there. */
TEST(unused_queue)
{
	struct vdev d;
	struct vm *vm;
	u8 *mem;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	vm = vdev_vm();
	mem = vm_hva(vm, 0);
	/* address 0, where a queue that nobody set up seems to be, is no memory to write to */
	ASSERT_EQ(0, vm_set_region(vm, 0, 0, 0, NULL, 0));
	ASSERT_EQ(0, vm_set_region(vm, 0, 0x4000, VDEV_RAM - 0x4000, mem + 0x4000, 0));
	vdev_init(&d, vm, vdev_blk(vm, make_disk(), 0, 2), 1, 64, F(VIRTIO_BLK_F_MQ));
	vdev_start(&d);
	EXPECT_EQ(RINGLET_STATE_RUNNING, vdev_status(&d).state);
	kvm_do(d.fd, RINGLET_DEV_KICK, 1);
	EXPECT_EQ(RINGLET_STATE_RUNNING, vdev_status(&d).state);
	EXPECT_EQ(0, vdev_blk_io(&d, VIRTIO_BLK_T_IN, 0, VDEV_DATA, 512, 1));
	vdev_free(&d);
	vm_free(vm);
}

/* The guests: each rings all bells, by port and by address. */

static u64 counters[NR_VCPUS];
static u32 stop;

static void guest_ring(u64 id)
{
	guest_irq_setup(EOI_X2APIC);
	sti();
	while (!READ_ONCE(stop)) {
		u64 n = ++counters[id];

		if (n & 1)
			outw(BELL_PORT + 2 * (n / 2 % NR_BELLS), 0);
		else
			guest_writew(BELL_GPA + 2 * (n / 2 % NR_BELLS), 0);
	}
	cli();
	GUEST_DONE();
}

static void ignore(int sig)
{
}

/* Until the guest is through, or its descriptor is closed. A bell that nobody has comes out. */
static void *runner(void *arg)
{
	struct vcpu *v = arg;
	struct ucall uc;

	for (;;) {
		int ret = vcpu_try_run(v);

		if (ret == -EBADF)
			return NULL;
		if (ret == -EINTR || ret == -EAGAIN)
			continue;
		CHECK(v, !ret, "KVM_RUN: %s", strerror(-ret));
		if (vcpu_ucall(v, &uc)) {
			CHECK(v, uc.code == UCALL_DONE, "ucall %u", uc.code);
			return NULL;
		}
		CHECK(v, v->run->exit_reason == KVM_EXIT_IO || v->run->exit_reason == KVM_EXIT_MMIO,
		      "an exit that nobody asked for");
	}
}

static struct vm *ringing_vm(void)
{
	struct sigaction sa = { .sa_handler = ignore };
	struct vm *vm = vm_long(NR_VCPUS, guest_ring, VM_IRQCHIP);

	sigaction(SIGUSR1, &sa, NULL);
	for (int i = 0; i < NR_VCPUS; i++)
		CHECK(NULL, !pthread_create(&vm->vcpus[i]->thread, NULL, runner, vm->vcpus[i]),
		      "pthread_create");
	return vm;
}

/* One device in the hands of one thread. */
struct worker {
	pthread_t thread;
	struct vm *vm;
	int nr, disk, event, rounds;
	u64 rng;
	struct vdev d;
	struct lent lent;
	bool lends;
};

static void new_ring(struct worker *w, int q)
{
	struct ringlet_queue args = { .queue = q, .size = 32 };

	virtq_init(&w->d.q[q], vm_hva(w->vm, 0), RING(w->nr, q), args.size,
		   !!(w->d.features & F(VIRTIO_F_RING_PACKED)), 0);
	args.desc = w->d.q[q].desc;
	args.driver = w->d.q[q].driver;
	args.device = w->d.q[q].device;
	kvm_try(w->d.fd, RINGLET_DEV_SET_QUEUE, &args);
}

static int add_request(struct worker *w, int q, u32 type, u32 i)
{
	struct virtio_blk_outhdr *hdr = vm_hva(w->vm, REQ(w->nr, i));
	bool in = type == VIRTIO_BLK_T_IN, data = in || type == VIRTIO_BLK_T_OUT;
	struct virtq_buf b[3] = { { REQ(w->nr, i), sizeof(*hdr) }, { DATA(w->nr), 4096 } };

	*hdr = (struct virtio_blk_outhdr){ .type = type, .sector = i % 64 * 8 };
	b[1 + data] = (struct virtq_buf){ REQ(w->nr, i) + sizeof(*hdr), 1 };
	*(u8 *)vm_hva(w->vm, REQ(w->nr, i) + sizeof(*hdr)) = 0xee;
	return virtq_add(&w->d.q[q], b, data && !in ? 2 : 1, in ? 2 : 1, 0);
}

static void some_requests(struct worker *w)
{
	static const u32 types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH };
	int q = rnd(&w->rng, 2);
	u32 len;

	while (virtq_used(&w->d.q[q], &len) >= 0)
		;
	for (u32 i = 0; i < 8; i++)
		if (add_request(w, q, types[rnd(&w->rng, 3)], 8 * q + i) < 0)
			break;
	virtq_publish(&w->d.q[q]);
	kvm_try(w->d.fd, RINGLET_DEV_KICK, q);
}

static void some_bell(struct worker *w)
{
	u32 n = rnd(&w->rng, NR_BELLS), port = rnd(&w->rng, 2);
	struct ringlet_doorbell bell = {
		.queue = rnd(&w->rng, 2), .len = 2,
		.flags = (port ? RINGLET_DOORBELL_PIO : 0) |
			 (rnd(&w->rng, 4) ? 0 : RINGLET_DOORBELL_UNBIND),
		.addr = (port ? BELL_PORT : BELL_GPA) + 2 * n,
	};

	kvm_try(w->d.fd, RINGLET_DEV_SET_DOORBELL, &bell);
}

static void some_irq(struct worker *w)
{
	struct ringlet_irq irq = {
		.queue = rnd(&w->rng, 2), .type = rnd(&w->rng, 4), .gsi = 16, .fd = w->event,
		.msi_addr = 0xfee00000 | rnd(&w->rng, NR_VCPUS) << 12, .msi_data = 0x50,
	};

	kvm_do(w->d.fd, RINGLET_DEV_SET_IRQ, &irq);
}

/* The lent thread leaves at the stop, as it says, or never came. */
static void stop_device(struct worker *w)
{
	kvm_do(w->d.fd, RINGLET_DEV_STOP, 0);
	if (w->lends)
		pthread_join(w->lent.thread, NULL);
	w->lends = false;
}

static void start_device(struct worker *w)
{
	if (kvm_try(w->d.fd, RINGLET_DEV_START, 0) || w->lends || !rnd(&w->rng, 4))
		return;
	w->lent = (struct lent){ .fd = w->d.fd };
	w->lends = !pthread_create(&w->lent.thread, NULL, lend, &w->lent);
}

static void break_ring(struct worker *w)
{
	int q = rnd(&w->rng, 2);

	virtq_desc(&w->d.q[q])[rnd(&w->rng, 8)].len = rnd(&w->rng, 2) ? ~0u : 0;
	virtq_avail(&w->d.q[q])[1] += rnd(&w->rng, 100);
	kvm_try(w->d.fd, RINGLET_DEV_KICK, q);
}

/* Memory that no ring is in: with another array of slots all rings are looked up anew. */
static void change_memory(struct worker *w)
{
	u8 *mem = vm_hva(w->vm, FREE_GPA);

	vm_set_region(w->vm, 8 + w->nr, 0, 0, NULL, 0);
	vm_set_region(w->vm, 8 + w->nr, EXTRA_GPA + w->nr * 0x100000,
		      PAGE * (1 + rnd(&w->rng, 4)), mem, rnd(&w->rng, 2));
}

static void new_device(struct worker *w)
{
	w->d = (struct vdev){ .vm = w->vm, .fd = vdev_blk(w->vm, w->disk, 0, 2) };
	CHECK(NULL, w->d.fd >= 0, "no device: %d", w->d.fd);
	w->d.features = F(VIRTIO_F_VERSION_1) | (rnd(&w->rng, 2) ? F(VIRTIO_F_RING_PACKED) : 0) |
			(rnd(&w->rng, 2) ? F(VIRTIO_BLK_F_FLUSH) : 0);
	kvm_do(w->d.fd, RINGLET_DEV_SET_FEATURES, &w->d.features);
	new_ring(w, 0);
	new_ring(w, 1);
}

/* Closed as it is, running or not. */
static void close_device(struct worker *w)
{
	/* a thread that was lent has it open, and brings nobody else back */
	if (w->lends)
		stop_device(w);
	close(w->d.fd);
}

static void one_step(struct worker *w)
{
	struct ringlet_status st;

	switch (rnd(&w->rng, 10)) {
	case 0:
		stop_device(w);
		new_ring(w, rnd(&w->rng, 2));
		break;
	case 1:
	case 2:
		start_device(w);
		break;
	case 3:
		some_bell(w);
		break;
	case 4:
		some_irq(w);
		break;
	case 5:
		if (!rnd(&w->rng, 4))
			break_ring(w);
		break;
	case 6:
		change_memory(w);
		break;
	case 7:
		vdev_stats(&w->d, rnd(&w->rng, 2));
		st = vdev_status(&w->d);
		CHECK(NULL, (st.state == RINGLET_STATE_NEEDS_RESET) == (st.error > 0),
		      "state %u, error %d", st.state, st.error);
		break;
	default:
		some_requests(w);
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < w->rounds; i++) {
		new_device(w);
		for (u32 left = 5 + rnd(&w->rng, 30); left; left--)
			one_step(w);
		close_device(w);
	}
	vm_set_region(w->vm, 8 + w->nr, 0, 0, NULL, 0);
	return NULL;
}

static void start_worker(struct worker *w, struct vm *vm, int nr, int rounds)
{
	*w = (struct worker){ .vm = vm, .nr = nr, .rounds = rounds, .rng = 88172645463325252ull + nr,
			      .disk = make_disk(), .event = eventfd(0, EFD_NONBLOCK) };
	CHECK(NULL, !pthread_create(&w->thread, NULL, work, w), "pthread_create");
}

static void end_worker(struct worker *w)
{
	pthread_join(w->thread, NULL);
	close(w->disk);
	close(w->event);
}

TEST(devices_come_and_go)
{
	struct ringlet_doorbell bell = {
		.flags = RINGLET_DOORBELL_PIO, .addr = BELL_PORT, .len = 2,
	};
	struct worker w[NR_WORKERS];
	u64 counted[NR_VCPUS];
	struct vm *vm;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	vm = ringing_vm();
	for (int i = 0; i < NR_WORKERS; i++)
		start_worker(&w[i], vm, i, rl_host_is_bochs() ? 6 : 30);
	for (int i = 0; i < NR_WORKERS; i++)
		end_worker(&w[i]);
	for (int i = 0; i < NR_VCPUS; i++) {
		counted[i] = G(vm, counters[i]);
		WAIT_FOR(G(vm, counters[i]) > counted[i]);
	}
	/* one more device does what it should, by a bell of the guests */
	w[0].disk = make_disk();
	new_device(&w[0]);
	ASSERT_LE(0, add_request(&w[0], 0, VIRTIO_BLK_T_IN, 0));
	ASSERT_LE(0, add_request(&w[0], 0, VIRTIO_BLK_T_FLUSH, 1));
	while (!w[0].lends) {
		kvm_do(w[0].d.fd, RINGLET_DEV_STOP, 0);
		start_device(&w[0]);
	}
	virtq_publish(&w[0].d.q[0]);
	kvm_do(w[0].d.fd, RINGLET_DEV_SET_DOORBELL, &bell);
	for (u32 i = 0, len; i < 2; i++) {
		WAIT_FOR(virtq_pending(&w[0].d.q[0]));
		ASSERT_LE(0, virtq_used(&w[0].d.q[0], &len));
	}
	for (u32 i = 0; i < 2; i++)
		EXPECT_EQ(0, *(u8 *)vm_hva(vm, REQ(0, i) + sizeof(struct virtio_blk_outhdr)));
	close_device(&w[0]);
	G(vm, stop) = 1;
	for (int i = 0; i < NR_VCPUS; i++)
		vcpu_join(vm->vcpus[i]);
	vm_free(vm);
}

static long refs(void)
{
	FILE *f = fopen("/sys/module/ringlet/refcnt", "r");
	long n = -1;

	if (f && fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

/* VM, vCPUs and running devices, closed in any order with everybody still in them. */
TEST(closed_in_every_order)
{
	u64 rng = 4711;
	long before;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	before = refs();
	for (int round = rl_host_is_bochs() ? 15 : 0; round < 20; round++) {
		struct vm *vm = ringing_vm();
		struct worker w[2];
		int *fds[] = { &vm->fd, &vm->dev, &vm->vcpus[0]->fd, &vm->vcpus[1]->fd,
			       &w[0].d.fd, &w[1].d.fd };
		int event = eventfd(0, EFD_NONBLOCK);

		for (int i = 0; i < 2; i++) {
			w[i] = (struct worker){ .vm = vm, .nr = i, .rng = rng + i, .event = event,
						.disk = make_disk() };
			new_device(&w[i]);
			some_bell(&w[i]);
			some_irq(&w[i]);
			start_device(&w[i]);
			some_requests(&w[i]);
		}
		for (u32 left = ARRAY_SIZE(fds); left; left--) {
			u32 n = rnd(&rng, left);

			close(*fds[n]);
			*fds[n] = -1;
			fds[n] = fds[left - 1];
			pthread_kill(vm->vcpus[rnd(&rng, NR_VCPUS)]->thread, SIGUSR1);
		}
		/* whoever is still in one comes out by a signal, and finds it closed */
		for (int i = 0; i < NR_VCPUS; i++)
			while (pthread_tryjoin_np(vm->vcpus[i]->thread, NULL)) {
				pthread_kill(vm->vcpus[i]->thread, SIGUSR1);
				usleep(200);
			}
		for (int i = 0; i < 2; i++) {
			while (w[i].lends && pthread_tryjoin_np(w[i].lent.thread, NULL)) {
				w[i].lent.over = true;
				pthread_kill(w[i].lent.thread, SIGUSR1);
				usleep(200);
			}
			close(w[i].disk);
		}
		close(event);
		for (int i = 0; i < NR_VCPUS; i++)
			munmap(vm->vcpus[i]->run, vm->vcpus[i]->run_size);
		for (u32 i = 0; i < MAX_SLOTS; i++)
			if (vm->slots[i].size)
				munmap(vm->slots[i].hva, vm->slots[i].size);
	}
	if (before >= 0)
		EXPECT_EQ(before, refs());
}

TEST_HARNESS_MAIN
