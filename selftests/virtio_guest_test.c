// SPDX-License-Identifier: GPL-2.0
/* The block data plane with a guest that notifies and is interrupted; load, and sudden ends. */
#define _GNU_SOURCE
#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "lib/vdev.h"
#include "harness.h"

#define F(bit)		(1ull << (bit))
#define VECTOR		0x50
#define BELL_PORT	0x5670
#define BELL_GPA	(HOLE_GPA + 0x20)
#define RING_GPA	FREE_GPA
#define REQ_GPA(i)	(FREE_GPA + 0x4000 + (i) * 0x40)
#define BUF_GPA(i)	(FREE_GPA + 0x10000 + (i) * 0x1000)

/* Guest side */

static struct virtq gq;
static u32 bell_port, burst, rounds;

static void guest_notify(void)
{
	if (bell_port)
		outw(BELL_PORT, 0);
	else
		guest_writew(BELL_GPA, 0);
}

static void guest_request(u32 i, u32 type, u64 sector)
{
	struct virtio_blk_outhdr *hdr = (void *)REQ_GPA(i);
	struct virtq_buf b[3] = {
		{ REQ_GPA(i), sizeof(*hdr) }, { BUF_GPA(i), 4096 }, { REQ_GPA(i) + sizeof(*hdr), 1 },
	};

	hdr->type = type;
	hdr->sector = sector;
	*(volatile u8 *)b[2].gpa = 0xee;
	GUEST_ASSERT(virtq_add(&gq, b, type == VIRTIO_BLK_T_OUT ? 2 : 1,
			       type == VIRTIO_BLK_T_OUT ? 1 : 2, 0) >= 0);
}

/* Writes and reads in bursts; the interrupt is waited for, not polled. */
static void guest_blk(u64 id)
{
	u32 len = 0, i, k, seen, type;

	guest_irq_setup(EOI_X2APIC);
	GUEST_SYNC(1, 0);
	for (k = 0; k < rounds; k++) {
		type = k & 1 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
		for (i = 0; i < burst; i++) {
			*(volatile u64 *)BUF_GPA(i) = k & 1 ? 0 : k << 16 | i;
			guest_request(i, type, (k / 2 * burst + i) * 8);
		}
		virtq_want_irq(&gq, 1, 0);
		seen = READ_ONCE(guest_irqs[0][VECTOR]);
		if (virtq_publish(&gq))
			guest_notify();
		for (i = 0; i < burst; i++) {
			cli();
			while (!virtq_pending(&gq)) {
				virtq_want_irq(&gq, 1, 0);
				if (virtq_pending(&gq))
					break;
				if (READ_ONCE(guest_irqs[0][VECTOR]) == seen)
					safe_halt();
				cli();
				seen = READ_ONCE(guest_irqs[0][VECTOR]);
			}
			sti();
			GUEST_ASSERT(virtq_used(&gq, &len) >= 0);
			GUEST_ASSERT_EQ(type == VIRTIO_BLK_T_IN ? 4097 : 1, len);
		}
		for (i = 0; i < burst; i++) {
			GUEST_ASSERT_EQ(0, *(volatile u8 *)(REQ_GPA(i) + 16));
			if (k & 1)
				GUEST_ASSERT_EQ((k - 1) << 16 | i, *(volatile u64 *)BUF_GPA(i));
		}
	}
	GUEST_DONE();
}

/* What is done at once is done when the guest goes on behind its notification. */
static void guest_at_once(u64 id)
{
	u32 len = 0;

	GUEST_SYNC(1, 0);
	for (u32 k = 0; k < 10; k++) {
		guest_request(0, VIRTIO_BLK_T_IN, k * 8);
		virtq_want_irq(&gq, 0, 0);
		GUEST_ASSERT(virtq_publish(&gq));
		guest_notify();
		GUEST_ASSERT(virtq_used(&gq, &len) >= 0);
		GUEST_ASSERT_EQ(4097, len);
	}
	GUEST_DONE();
}

/* Host side */

static void device_for(struct vdev *d, struct vm *vm, int disk, bool port)
{
	struct ringlet_doorbell bell = {
		.flags = port ? RINGLET_DOORBELL_PIO : 0,
		.addr = port ? BELL_PORT : BELL_GPA,
		.len = 2,
	};
	struct ringlet_irq irq = { .type = RINGLET_IRQ_MSI, .msi_addr = 0xfee00000,
				   .msi_data = VECTOR };
	struct ringlet_queue q = { .size = 64 };
	struct virtq *gqp = vm_hva(vm, (u64)&gq);

	vdev_init(d, vm, vdev_blk(vm, disk, 0, 1), 0, 0,
		  F(VIRTIO_BLK_F_FLUSH) | F(VIRTIO_RING_F_EVENT_IDX));
	virtq_init(&d->q[0], vm_hva(vm, 0), RING_GPA, 64, 0, 1);
	*gqp = d->q[0];
	gqp->mem = NULL;		/* as the guest sees it */
	q.desc = d->q[0].desc;
	q.driver = d->q[0].driver;
	q.device = d->q[0].device;
	kvm_do(d->fd, RINGLET_DEV_SET_QUEUE, &q);
	kvm_do(d->fd, RINGLET_DEV_SET_DOORBELL, &bell);
	kvm_do(d->fd, RINGLET_DEV_SET_IRQ, &irq);
	G(vm, bell_port) = port;
}

FIXTURE(vblk) {
	struct vm *vm;
	struct vdev d;
	int disk;
};

FIXTURE_VARIANT(vblk) {
	const char *disk;	/* NULL: memory, which waits for a thread */
	bool port;
};

FIXTURE_VARIANT_ADD(vblk, memory_port) {
	.port = true,
};

FIXTURE_VARIANT_ADD(vblk, memory_mmio) {
	.port = false,
};

FIXTURE_VARIANT_ADD(vblk, immediate) {
	.disk = "irqmode=0", .port = true,
};

FIXTURE_VARIANT_ADD(vblk, timer) {
	.disk = "irqmode=2 completion_nsec=200000", .port = false,
};

FIXTURE_SETUP(vblk)
{
	if (!vdev_supported())
		SKIP(_exit(KSFT_HARNESS_SKIP), "no data planes in this kernel");
	if (variant->disk) {
		self->disk = vdev_null_disk(variant->disk, O_DIRECT);
		if (self->disk < 0)
			SKIP(_exit(KSFT_HARNESS_SKIP), "no null_blk");
	} else {
		self->disk = memfd_create("disk", MFD_CLOEXEC);
		ASSERT_EQ(0, ftruncate(self->disk, 8 << 20));
	}
	self->vm = vm_long(1, guest_blk, VM_IRQCHIP);
	device_for(&self->d, self->vm, self->disk, variant->port);
}

FIXTURE_TEARDOWN(vblk)
{
	if (!self->vm)
		return;
	vdev_free(&self->d);
	close(self->disk);
	vm_free(self->vm);
}

static void run_guest(struct vdev *d, u32 nr_rounds, u32 nr_burst)
{
	struct vcpu *v = d->vm->vcpus[0];

	G(d->vm, rounds) = nr_rounds;
	G(d->vm, burst) = nr_burst;
	expect_sync(v, 1);
	vdev_start(d);
	expect_done(v);
}

TEST_F(vblk, one_at_a_time)
{
	run_guest(&self->d, 100, 1);
	EXPECT_EQ(100, vdev_stats(&self->d, 0).requests);
	EXPECT_EQ(0, vdev_stats(&self->d, 0).errors);
}

TEST_F(vblk, bursts)
{
	struct ringlet_queue_stats st;

	run_guest(&self->d, 40, 16);
	st = vdev_stats(&self->d, 0);
	EXPECT_EQ(40 * 16, st.requests);
	EXPECT_EQ(0, st.errors);
	/* one notification for each, and one interrupt where all is done at once */
	EXPECT_EQ(40, st.kicks);
	if (variant->disk && !strcmp(variant->disk, "irqmode=0"))
		EXPECT_EQ(40, st.interrupts);
}

TEST_F(vblk, at_once)
{
	if (!variant->disk || strcmp(variant->disk, "irqmode=0"))
		SKIP(return, "this disk waits");
	vcpu_long(self->vm->vcpus[0], guest_at_once, 0);
	expect_sync(self->vm->vcpus[0], 1);
	kvm_do(self->d.fd, RINGLET_DEV_START, 0);	/* and no thread */
	expect_done(self->vm->vcpus[0]);
	EXPECT_EQ(10, vdev_stats(&self->d, 0).requests);
	EXPECT_EQ(0, vdev_stats(&self->d, 0).interrupts);
	EXPECT_EQ(10, vdev_stats(&self->d, 0).suppressed);
	kvm_do(self->d.fd, RINGLET_DEV_STOP, 0);
}

/* So it is when the guest does not go on: KVM_RUN ends with its notification. */
TEST_F(vblk, single_step)
{
	struct kvm_guest_debug dbg = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	struct vcpu *v = self->vm->vcpus[0];
	int steps = 0;

	if (!variant->disk || strcmp(variant->disk, "irqmode=0"))
		SKIP(return, "this disk waits");
	if (!rl_cap(KVM_CAP_SET_GUEST_DEBUG))
		SKIP(return, "no KVM_CAP_SET_GUEST_DEBUG");
	if (rl_host_is_bochs())		/* see caps_test's single_step */
		SKIP(return, "Bochs steps before the instruction");
	vcpu_long(v, guest_at_once, 0);
	expect_sync(v, 1);
	kvm_do(self->d.fd, RINGLET_DEV_START, 0);
	kvm_do(v->fd, KVM_SET_GUEST_DEBUG, &dbg);
	while (!vdev_stats(&self->d, 0).kicks && steps++ < 2000)
		expect_exit(v, KVM_EXIT_DEBUG);
	EXPECT_EQ(1, vdev_stats(&self->d, 0).kicks);
	EXPECT_EQ(1, vdev_stats(&self->d, 0).requests);
	EXPECT_TRUE(virtq_pending(&self->d.q[0]));
	dbg.control = 0;
	kvm_do(v->fd, KVM_SET_GUEST_DEBUG, &dbg);
	expect_done(v);
	kvm_do(self->d.fd, RINGLET_DEV_STOP, 0);
}

/* A masked interrupt is sent when it is unmasked, once. */
TEST_F(vblk, masked)
{
	struct ringlet_irq irq = { .type = RINGLET_IRQ_NONE };
	int fd = eventfd(0, EFD_NONBLOCK);
	eventfd_t n = 0;

	kvm_do(self->d.fd, RINGLET_DEV_SET_IRQ, &irq);
	kvm_do(self->d.fd, RINGLET_DEV_START, 0);
	self->d.running = false;
	self->d.q[0].mem = vm_hva(self->vm, 0);
	{
		u64 base = REQ_GPA(0);
		struct virtq_buf b[3] = { { base, 16 }, { BUF_GPA(0), 20 }, { base + 16, 1 } };

		*(struct virtio_blk_outhdr *)vm_hva(self->vm, base) =
			(struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_GET_ID };
		virtq_add(&self->d.q[0], b, 1, 2, 0);
		virtq_publish(&self->d.q[0]);
		kvm_do(self->d.fd, RINGLET_DEV_KICK, 0);
	}
	EXPECT_TRUE(virtq_pending(&self->d.q[0]));
	EXPECT_EQ(0, vdev_stats(&self->d, 0).interrupts);
	irq.type = RINGLET_IRQ_EVENTFD;
	irq.fd = fd;
	kvm_do(self->d.fd, RINGLET_DEV_SET_IRQ, &irq);
	ASSERT_EQ(0, eventfd_read(fd, &n));
	EXPECT_EQ(1, n);
	kvm_do(self->d.fd, RINGLET_DEV_SET_IRQ, &irq);
	EXPECT_EQ(-1, eventfd_read(fd, &n));
	EXPECT_EQ(1, vdev_stats(&self->d, 0).interrupts);
	close(fd);
}

/* The VM's descriptor is closed with everything going on. */
TEST_F(vblk, vm_closed)
{
	G(self->vm, rounds) = 100;
	G(self->vm, burst) = 16;
	expect_sync(self->vm->vcpus[0], 1);
	vdev_start(&self->d);
	close(self->vm->fd);
	self->vm->fd = open("/dev/null", O_RDWR);
	expect_done(self->vm->vcpus[0]);
	EXPECT_EQ(1600, vdev_stats(&self->d, 0).requests);
}

/* Migration under load */

static struct kvm_run *timed_run;

static void time_is_up(int sig)
{
	WRITE_ONCE(timed_run->immediate_exit, 1);
}

/* Run the guest for about @us. True: it has come to its end. */
static bool run_for(struct vcpu *v, timer_t timer, long us)
{
	struct itimerspec when = { .it_value.tv_nsec = us * 1000 };
	struct ucall uc;
	int r;

	timed_run = v->run;
	WRITE_ONCE(v->run->immediate_exit, 0);
	if (us)
		timer_settime(timer, 0, &when, NULL);
	do
		r = vcpu_try_run(v);
	while (r == -EINTR && !READ_ONCE(v->run->immediate_exit));
	if (r == -EINTR)
		return false;
	CHECK(v, !r && vcpu_ucall(v, &uc) && uc.code == UCALL_DONE, "%d", r);
	memset(&when, 0, sizeof(when));
	timer_settime(timer, 0, &when, NULL);
	return true;
}

/* All memory, or with @log what changed since the log was switched on. */
static void copy_memory(struct vm *to, struct vm *from, bool log)
{
	for (int i = 0; i < MAX_SLOTS; i++) {
		u64 size = from->slots[i].size;
		struct kvm_dirty_log dirty = { .slot = i };
		u64 *bits;

		if (!size)
			continue;
		if (!log) {
			/* First: what is written from here on is in the log. */
			CHECK(NULL, !vm_set_region(from, i, from->slots[i].gpa, size,
						   from->slots[i].hva, KVM_MEM_LOG_DIRTY_PAGES),
			      "slot %d", i);
			memcpy(to->slots[i].hva, from->slots[i].hva, size);
			continue;
		}
		bits = calloc(size / 4096 / 64 + 1, sizeof(*bits));
		dirty.dirty_bitmap = bits;
		kvm_do(from->fd, KVM_GET_DIRTY_LOG, &dirty);
		for (u64 n = 0; n < size / 4096; n++)
			if (bits[n / 64] >> n % 64 & 1)
				memcpy((u8 *)to->slots[i].hva + n * 4096,
				       (u8 *)from->slots[i].hva + n * 4096, 4096);
		free(bits);
	}
}

static void copy_vcpu(struct vcpu *to, struct vcpu *from)
{
	struct kvm_vcpu_events events;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	kvm_do(from->fd, KVM_GET_REGS, &regs);
	kvm_do(from->fd, KVM_GET_SREGS, &sregs);
	kvm_do(from->fd, KVM_GET_LAPIC, &lapic);
	kvm_do(from->fd, KVM_GET_VCPU_EVENTS, &events);
	kvm_do(from->fd, KVM_GET_MP_STATE, &mp);
	kvm_do(to->fd, KVM_SET_SREGS, &sregs);
	kvm_do(to->fd, KVM_SET_REGS, &regs);
	kvm_do(to->fd, KVM_SET_LAPIC, &lapic);
	kvm_do(to->fd, KVM_SET_VCPU_EVENTS, &events);
	kvm_do(to->fd, KVM_SET_MP_STATE, &mp);
}

/*
 * From VM to VM, with requests under way: memory first, while the guest and its disk
 * write on, then what the dirty log has of both, the vCPU, and the queue's indexes.
 */
TEST_F(vblk, moves)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	struct ringlet_queue_state st = { .queue = 0 };
	u64 requests = 0;
	timer_t timer;
	int hops;

	ev._sigev_un._tid = gettid();
	signal(SIGUSR1, time_is_up);
	ASSERT_EQ(0, timer_create(CLOCK_MONOTONIC, &ev, &timer));
	G(self->vm, rounds) = 400;
	G(self->vm, burst) = 8;
	expect_sync(self->vm->vcpus[0], 1);
	vdev_start(&self->d);
	for (hops = 0; hops < 12; hops++) {
		struct vm *vm;
		struct vdev d;

		if (run_for(self->vm->vcpus[0], timer, 1000 + rand() % 3000))
			break;
		vm = vm_long(1, guest_blk, VM_IRQCHIP);
		device_for(&d, vm, self->disk, variant->port);
		copy_memory(vm, self->vm, false);
		if (run_for(self->vm->vcpus[0], timer, 1000 + rand() % 3000)) {
			vdev_free(&d);
			vm_free(vm);
			break;
		}
		vdev_stop(&self->d);
		requests += vdev_stats(&self->d, 0).requests;
		kvm_do(self->d.fd, RINGLET_DEV_GET_STATE, &st);
		copy_memory(vm, self->vm, true);
		copy_vcpu(vm->vcpus[0], self->vm->vcpus[0]);
		kvm_do(d.fd, RINGLET_DEV_SET_STATE, &st);
		vdev_free(&self->d);
		vm_free(self->vm);
		self->vm = vm;
		self->d = d;
		vdev_start(&self->d);
	}
	EXPECT_LT(0, hops);
	if (hops == 12)
		EXPECT_TRUE(run_for(self->vm->vcpus[0], timer, 0));
	requests += vdev_stats(&self->d, 0).requests;
	EXPECT_EQ(400 * 8, requests);
	timer_delete(timer);
}

static long refs(void)
{
	FILE *f = fopen("/sys/module/ringlet/refcnt", "r");
	long n = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

/* Killed in the middle, again and again: nothing stays behind. */
TEST_F(vblk, killed)
{
	long before;

	vdev_free(&self->d);
	vm_free(self->vm);
	self->vm = NULL;
	before = refs();
	for (int i = 0; i < 25; i++) {
		pid_t pid;
		int status, fds[2];
		char c;

		ASSERT_EQ(0, pipe(fds));
		pid = fork();
		if (!pid) {
			struct vm *vm = vm_long(1, guest_blk, VM_IRQCHIP);
			struct vdev d;

			device_for(&d, vm, self->disk, variant->port);
			G(vm, rounds) = 1000;	/* within the disk */
			G(vm, burst) = 4;
			expect_sync(vm->vcpus[0], 1);
			vdev_start(&d);
			write(fds[1], "", 1);
			for (;;)
				vcpu_try_run(vm->vcpus[0]);
		}
		ASSERT_GT(pid, 0);
		ASSERT_EQ(1, read(fds[0], &c, 1));
		/* Somewhere in it; where does not matter for what is expected. */
		usleep(rand() % 4000);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(SIGKILL, WTERMSIG(status));
		close(fds[0]);
		close(fds[1]);
	}
	if (before >= 0)
		EXPECT_EQ(before, refs());
}

/* Pages that are pinned for transfers now, by anybody. */
static long pinned(void)
{
	long val, sum = 0;
	char line[80];
	FILE *f;

	system("echo 1 > /proc/sys/vm/stat_refresh");
	f = fopen("/proc/vmstat", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "nr_foll_pin_acquired %ld", &val) == 1)
			sum += val;
		if (sscanf(line, "nr_foll_pin_released %ld", &val) == 1)
			sum -= val;
	}
	if (f)
		fclose(f);
	return sum;
}

/* What this process has had written to disks, in bytes; -1: the kernel does not count. */
static long charged(void)
{
	FILE *f = fopen("/proc/self/io", "r");
	char line[80];
	long val = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "write_bytes: %ld", &val) == 1)
			break;
	if (f)
		fclose(f);
	return val;
}

/*
 * Transfers of the guest's pages themselves: buffers that begin and end anywhere, more of them
 * than a bio holds, alignments that the disk does not take, the page cache's newer data, and
 * memory that is not there. The owner is charged for them, and no page stays pinned.
 */
TEST(direct)
{
	static const struct {
		u32 offset, len, n;
		bool deferred;
	} cases[] = {
		{ 0, 4096, 1 }, { 512, 512, 3 }, { 3584, 1024, 5 }, { 1024, 61440, 16 },
		{ 0, 1 << 16, 16 }, { 0, 1536, 2 }, { 256, 512, 1, true }, { 0, 256, 2 },
	};
	int disk = vdev_null_disk("", O_DIRECT), cached = open("/dev/nullb0", O_RDWR | O_CLOEXEC);
	u8 *data, *copy = malloc(1 << 20);
	long before = pinned(), bytes;
	struct vm *vm;
	struct vdev d;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	if (disk < 0)
		SKIP(return, "no null_blk");
	vm = vdev_vm();
	vdev_init(&d, vm, vdev_blk(vm, disk, 0, 1), 1, 64, F(VIRTIO_BLK_F_FLUSH));
	close(disk);
	vdev_start(&d);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		u32 size = cases[i].len * cases[i].n;
		u64 gpa = VDEV_DATA + cases[i].offset, deferred = vdev_stats(&d, 0).deferred;
		off_t at = (8 + i * 4096) * 512;

		data = vm_hva(vm, gpa);
		for (u32 k = 0; k < size; k++)
			data[k] = rand();
		memcpy(copy, data, size);
		bytes = charged();
		EXPECT_EQ(0, vdev_blk_io(&d, VIRTIO_BLK_T_OUT, at / 512, gpa, cases[i].len,
					 cases[i].n));
		if (bytes >= 0)
			EXPECT_LE(bytes + size, charged()) TH_LOG("case %u", i);
		memset(data - 1, 0xaa, size + 2);
		EXPECT_EQ(0, vdev_blk_io(&d, VIRTIO_BLK_T_IN, at / 512, gpa, cases[i].len,
					 cases[i].n));
		EXPECT_EQ(0, memcmp(data, copy, size)) TH_LOG("case %u", i);
		EXPECT_EQ(0xaa, data[-1]);
		EXPECT_EQ(0xaa, data[size]);
		EXPECT_EQ(cases[i].deferred ? deferred + 2 : deferred,
			  vdev_stats(&d, 0).deferred) TH_LOG("case %u", i);

		/* What others have in the page cache is what the guest reads, and the reverse. */
		ASSERT_EQ(size, pread(cached, copy, size, at));
		EXPECT_EQ(0, memcmp(data, copy, size)) TH_LOG("case %u", i);
		copy[0] ^= 1;
		ASSERT_EQ(size, pwrite(cached, copy, size, at));
		EXPECT_EQ(0, vdev_blk_io(&d, VIRTIO_BLK_T_IN, at / 512, gpa, cases[i].len,
					 cases[i].n));
		EXPECT_EQ(0, memcmp(data, copy, size)) TH_LOG("case %u", i);
		data[size - 1] ^= 1;
		EXPECT_EQ(0, vdev_blk_io(&d, VIRTIO_BLK_T_OUT, at / 512, gpa, cases[i].len,
					 cases[i].n));
		ASSERT_EQ(size, pread(cached, copy, size, at));
		EXPECT_EQ(0, memcmp(data, copy, size)) TH_LOG("case %u", i);
	}
	EXPECT_EQ(0, vdev_stats(&d, 0).errors);
	/* The second half is in no slot; the third page is not the owner's to read. */
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, vdev_blk_io(&d, VIRTIO_BLK_T_IN, 0, VDEV_RAM - 4096, 8192, 1));
	ASSERT_EQ(0, mprotect(vm_hva(vm, VDEV_DATA + 8192), 4096, PROT_NONE));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, vdev_blk_io(&d, VIRTIO_BLK_T_IN, 0, VDEV_DATA, 16384, 1));
	EXPECT_EQ(VIRTIO_BLK_S_IOERR, vdev_blk_io(&d, VIRTIO_BLK_T_OUT, 0, VDEV_DATA, 4096, 4));
	EXPECT_EQ(RINGLET_STATE_RUNNING, vdev_status(&d).state);
	vdev_free(&d);
	vm_free(vm);
	close(cached);
	free(copy);
	EXPECT_EQ(before, pinned());
}

TEST_HARNESS_MAIN
