// SPDX-License-Identifier: GPL-2.0
/* The network data plane: packets both ways through a tap. */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>

#include "lib/vdev.h"
#include "harness.h"

#define F(bit)		(1ull << (bit))
#define HDR		12
#define PROTO		0x88b5		/* for experiments: the host's own traffic is not ours */
#define RX		0
#define TX		1
#define BUF(i)		(VDEV_DATA + (i) * 0x4000ull)

FIXTURE(net) {
	struct vm *vm;
	struct vdev d;
	int tap, sock;
	char name[IFNAMSIZ];
	u8 frame[9000];
};

FIXTURE_VARIANT(net) {
	u64 features;
};

FIXTURE_VARIANT_ADD(net, split) {
	.features = 0,
};

FIXTURE_VARIANT_ADD(net, split_merge) {
	.features = F(VIRTIO_RING_F_EVENT_IDX) | F(VIRTIO_NET_F_MRG_RXBUF),
};

FIXTURE_VARIANT_ADD(net, packed_merge) {
	.features = F(VIRTIO_RING_F_EVENT_IDX) | F(VIRTIO_F_RING_PACKED) |
		    F(VIRTIO_NET_F_MRG_RXBUF) | F(VIRTIO_F_IN_ORDER),
};

static int tap_open(struct ifreq *ifr)
{
	int fd, hdr = HDR;

	if (access("/dev/net/tun", R_OK) || open("/dev/net/tun", O_RDWR) < 0)
		system("modprobe -q tun");
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	memset(ifr, 0, sizeof(*ifr));
	ifr->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (fd >= 0 && (ioctl(fd, TUNSETIFF, ifr) || ioctl(fd, TUNSETVNETHDRSZ, &hdr))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int vdev_net(struct vm *vm, int tap)
{
	struct ringlet_create_device args = {
		.type = RINGLET_DEVICE_NET, .nr_queues = 2, .nr_backends = 1, .backend = { tap },
	};

	return kvm_try(vm->fd, RINGLET_CREATE_DEVICE, &args);
}

FIXTURE_SETUP(net)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(PROTO) };
	struct timeval tv = { 20, 0 };
	char path[80];
	struct ifreq ifr;
	int fd;

	if (!vdev_supported())
		SKIP(_exit(KSFT_HARNESS_SKIP), "no data planes in this kernel");
	self->tap = tap_open(&ifr);
	if (self->tap < 0)
		SKIP(_exit(KSFT_HARNESS_SKIP), "no tap: %s", strerror(errno));
	strcpy(self->name, ifr.ifr_name);
	self->sock = socket(AF_PACKET, SOCK_RAW, htons(PROTO));
	ASSERT_GE(self->sock, 0);
	/* Nothing of the host's own goes through it. */
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", self->name);
	fd = open(path, O_WRONLY);
	if (fd >= 0) {
		ASSERT_EQ(1, write(fd, "1", 1));
		close(fd);
	}
	ifr.ifr_mtu = 9000;
	ASSERT_EQ(0, ioctl(self->sock, SIOCSIFMTU, &ifr));
	ASSERT_EQ(0, ioctl(self->sock, SIOCGIFFLAGS, &ifr));
	ifr.ifr_flags |= IFF_UP | IFF_NOARP;
	ASSERT_EQ(0, ioctl(self->sock, SIOCSIFFLAGS, &ifr));
	addr.sll_ifindex = if_nametoindex(self->name);
	ASSERT_EQ(0, bind(self->sock, (void *)&addr, sizeof(addr)));
	setsockopt(self->sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	self->vm = vdev_vm();
	vdev_init(&self->d, self->vm, vdev_net(self->vm, self->tap), 2, 64, variant->features);
}

FIXTURE_TEARDOWN(net)
{
	if (!self->vm)
		return;
	vdev_free(&self->d);
	close(self->tap);
	close(self->sock);
	vm_free(self->vm);
}

static void make_frame(u8 *frame, u32 len, u8 seed)
{
	static const u8 head[14] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, PROTO >> 8, PROTO & 0xff };

	memcpy(frame, head, sizeof(head));
	for (u32 i = sizeof(head); i < len; i++)
		frame[i] = i * 3 + seed;
}

/* A frame from the guest, in buffer @i, as @parts buffers. */
static int guest_sends(struct vdev *d, int i, u32 len, u8 seed, int parts)
{
	struct virtq_buf b[4];
	u64 gpa = BUF(i);
	u32 total = len + HDR;

	memset(vm_hva(d->vm, gpa), 0, HDR);
	make_frame((u8 *)vm_hva(d->vm, gpa) + HDR, len, seed);
	for (int p = 0; p < parts; p++) {
		b[p] = (struct virtq_buf){ gpa, p + 1 < parts ? total / parts : total - (parts - 1) *
					   (total / parts) };
		gpa += b[p].len;
	}
	return virtq_add(&d->q[TX], b, parts, 0, 0);
}

/* The next of our frames that the host sees on the tap. */
static int host_gets(int sock, u8 *frame)
{
	struct sockaddr_ll from;
	socklen_t n = sizeof(from);
	int len;

	do
		len = recvfrom(sock, frame, 9000, 0, (void *)&from, &n);
	while (len >= 0 && from.sll_pkttype == PACKET_OUTGOING);
	return len;
}

static const u32 sizes[] = { 60, 61, 590, 1514, 4000, 8000 };

TEST_F(net, guest_to_host)
{
	u8 want[9000];
	u32 len;

	vdev_start(&self->d);
	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_GE(guest_sends(&self->d, 0, sizes[i], i, 1 + i % 4), 0);
		vdev_kick(&self->d, TX);
		ASSERT_GE(vdev_wait(&self->d, TX, &len), 0);
		ASSERT_EQ(0, len);
		ASSERT_EQ(sizes[i], host_gets(self->sock, self->frame));
		make_frame(want, sizes[i], i);
		ASSERT_EQ(0, memcmp(want, self->frame, sizes[i]));
	}
	ASSERT_EQ(ARRAY_SIZE(sizes), vdev_stats(&self->d, TX).requests);
}

/* A burst costs one notification and one interrupt. */
TEST_F(net, burst)
{
	struct ringlet_queue_stats before, after;
	u32 len;

	vdev_start(&self->d);
	for (int round = 0; round < 20; round++) {
		before = vdev_stats(&self->d, TX);
		for (int i = 0; i < 16; i++)
			ASSERT_GE(guest_sends(&self->d, i, 100, i, 1), 0);
		vdev_kick(&self->d, TX);
		for (int i = 0; i < 16; i++) {
			ASSERT_GE(vdev_wait(&self->d, TX, &len), 0);
			ASSERT_EQ(100, host_gets(self->sock, self->frame));
			ASSERT_EQ((u8)(14 * 3 + i), self->frame[14]);
		}
		virtq_want_irq(&self->d.q[TX], 1, 0);
		after = vdev_stats(&self->d, TX);
		EXPECT_EQ(before.requests + 16, after.requests);
		EXPECT_EQ(before.kicks + 1, after.kicks);
		EXPECT_EQ(before.interrupts + 1, after.interrupts);
	}
}

#define BELL_PORT	0x5670
#define VECTOR		0x50
#define PACKETS		60
#define GONE		2

static struct virtq gq;
static u32 halts, sent, go_on;

/* Packets one by one, notified of as the device wants it, whatever is behind them. */
static void guest_stream(u64 id)
{
	struct virtq_buf b = { FREE_GPA + 0x4000, HDR + 60 };
	u32 len, seen;

	guest_irq_setup(EOI_X2APIC);
	GUEST_SYNC(1, 0);
	for (u32 i = 0; i < PACKETS; i++) {
		GUEST_ASSERT(virtq_add(&gq, &b, 1, 0, 0) >= 0);
		if (virtq_publish(&gq))
			outw(BELL_PORT, 0);
	}
	WRITE_ONCE(sent, 1);
	while (!halts && !READ_ONCE(go_on))
		;
	if (READ_ONCE(go_on) == GONE)
		GUEST_DONE();
	for (u32 i = 0; i < PACKETS; i++) {
		cli();
		seen = READ_ONCE(guest_irqs[0][VECTOR]);
		virtq_want_irq(&gq, 1, 0);
		if (halts && !virtq_pending(&gq) && READ_ONCE(guest_irqs[0][VECTOR]) == seen)
			safe_halt();
		sti();
		while (!virtq_pending(&gq))
			;
		GUEST_ASSERT(virtq_used(&gq, &len) >= 0);
	}
	GUEST_DONE();
}

static bool set_batch_ns(const char *ns)
{
	int fd = open("/sys/module/ringlet/parameters/virtio_batch_ns", O_WRONLY);
	bool done = fd >= 0 && write(fd, ns, strlen(ns)) == (ssize_t)strlen(ns);

	close(fd);
	return done;
}

/* A guest, about to send, with a device on the fixture's tap. */
static struct vm *stream_begin(int tap, u64 features, struct vdev *d)
{
	struct ringlet_doorbell bell = { .queue = TX, .flags = RINGLET_DOORBELL_PIO,
					 .addr = BELL_PORT, .len = 2 };
	struct ringlet_irq irq = { .queue = TX, .type = RINGLET_IRQ_MSI,
				   .msi_addr = 0xfee00000, .msi_data = VECTOR };
	struct vm *vm = vm_long(1, guest_stream, VM_IRQCHIP);
	struct ringlet_queue q = { .queue = TX, .size = 64 };

	vdev_init(d, vm, vdev_net(vm, tap), 0, 0, features);
	virtq_init(&d->q[TX], vm_hva(vm, 0), FREE_GPA, 64,
		   !!(features & F(VIRTIO_F_RING_PACKED)),
		   !!(features & F(VIRTIO_RING_F_EVENT_IDX)));
	memcpy(vm_hva(vm, (u64)&gq), &d->q[TX], sizeof(gq));
	G(vm, gq).mem = NULL;		/* as the guest sees it */
	q.desc = d->q[TX].desc;
	q.driver = d->q[TX].driver;
	q.device = d->q[TX].device;
	kvm_do(d->fd, RINGLET_DEV_SET_QUEUE, &q);
	kvm_do(d->fd, RINGLET_DEV_SET_DOORBELL, &bell);
	kvm_do(d->fd, RINGLET_DEV_SET_IRQ, &irq);
	make_frame((u8 *)vm_hva(vm, FREE_GPA) + 0x4000 + HDR, 60, 7);
	expect_sync(vm->vcpus[0], 1);
	vdev_start(d);
	return vm;
}

/* A guest that sends packet after packet need not notify of each; none is forgotten. */
TEST_F(net, stream)
{
	static const struct {
		const char *batch_ns;
		bool halts;
	} ways[] = {
		{ "4000000000", true },	/* found when the vCPU halts */
		{ "2000000", false },		/* or in time, while it is busy */
		{ "0", true },			/* at once */
	};
	struct ringlet_queue_stats st;
	struct vdev d;
	struct vm *vm;

	for (int i = 0; i < ARRAY_SIZE(ways); i++) {
		if (!set_batch_ns(ways[i].batch_ns))
			SKIP(return, "no right to change the module's parameters");
		vm = stream_begin(self->tap, variant->features, &d);
		G(vm, halts) = ways[i].halts;
		G(vm, go_on) = 1;
		expect_done(vm->vcpus[0]);
		for (int k = 0; k < PACKETS; k++)
			ASSERT_EQ(60, host_gets(self->sock, self->frame));
		st = vdev_stats(&d, TX);
		EXPECT_EQ(PACKETS, st.requests);
		if (i == 0)
			EXPECT_GT(PACKETS / 2, st.kicks);
		if (i == 2)
			EXPECT_EQ(PACKETS, st.kicks);
		vdev_free(&d);
		vm_free(vm);
	}
	set_batch_ns("150000");
}

/* A device that has such packets is stopped, started, and goes away. */
TEST_F(net, stream_cut_off)
{
	struct vdev d;
	struct vm *vm;

	if (!set_batch_ns("4000000000"))
		SKIP(return, "no right to change the module's parameters");
	for (int restart = 0; restart <= 1; restart++) {
		vm = stream_begin(self->tap, variant->features, &d);
		vcpu_start(vm->vcpus[0]);
		while (!READ_ONCE(G(vm, sent)))
			sched_yield();
		if (restart) {
			vdev_stop(&d);
			EXPECT_GT(PACKETS, vdev_stats(&d, TX).requests);
			vdev_start(&d);
			for (int k = 0; k < PACKETS; k++)
				ASSERT_EQ(60, host_gets(self->sock, self->frame));
			EXPECT_EQ(PACKETS, vdev_stats(&d, TX).requests);
			WRITE_ONCE(G(vm, go_on), 1);
			vcpu_join(vm->vcpus[0]);
		}
		vdev_free(&d);
		if (!restart) {
			WRITE_ONCE(G(vm, go_on), GONE);
			vcpu_join(vm->vcpus[0]);
		}
		vm_free(vm);
	}
	set_batch_ns("150000");
}

static int add_rx(struct vdev *d, int i, u32 len)
{
	return virtq_add(&d->q[RX], &(struct virtq_buf){ BUF(i), len }, 0, 1, 0);
}

static int host_sends(int sock, u32 len, u8 seed)
{
	u8 frame[9000];

	make_frame(frame, len, seed);
	return send(sock, frame, len, 0);
}

/* The next frame that the guest has. */
static int guest_gets(struct vdev *d, u8 *frame)
{
	struct virtq *q = &d->q[RX];
	u32 len, got = 0, n = 1;

	for (u32 k = 0; k < n; k++) {
		int id = vdev_wait(d, RX, &len), skip = k ? 0 : HDR;
		u8 *buf;

		CHECK(NULL, id >= 0, "%d", id);
		buf = vm_hva(d->vm, q->packed ? BUF(id) : virtq_desc(q)[id].addr);
		if (!k) {
			n = ((struct virtio_net_hdr_mrg_rxbuf *)buf)->num_buffers;
			CHECK(NULL, n >= 1 && len >= HDR, "%u buffers, %u bytes", n, len);
		}
		memcpy(frame + got, buf + skip, len - skip);
		got += len - skip;
	}
	return got;
}

TEST_F(net, host_to_guest)
{
	bool merge = variant->features & F(VIRTIO_NET_F_MRG_RXBUF);
	u8 want[9000];

	vdev_start(&self->d);
	for (int i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* Names of packed buffers come off a stack: 0, 1, 2 of what is free. */
		for (int k = 0; k < (merge ? 10 : 1); k++) {
			int id = self->d.q[RX].free[self->d.q[RX].nr_free - 1];

			ASSERT_GE(add_rx(&self->d, id, merge ? 1024 : 0x4000), 0);
		}
		vdev_kick(&self->d, RX);
		ASSERT_EQ(sizes[i], host_sends(self->sock, sizes[i], i));
		ASSERT_EQ(sizes[i], guest_gets(&self->d, self->frame));
		make_frame(want, sizes[i], i);
		ASSERT_EQ(0, memcmp(want, self->frame, sizes[i]));
		/* take back what is left by stopping; the queue starts anew */
		vdev_stop(&self->d);
		ASSERT_EQ(0, vdev_set_queue(&self->d, RX, 64));
		vdev_start(&self->d);
	}
}

/* Packets wait in the tap while the guest has no buffers. */
TEST_F(net, no_buffers)
{
	vdev_start(&self->d);
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(200 + i, host_sends(self->sock, 200 + i, i));
	for (int i = 0; i < 10; i++) {
		int id = self->d.q[RX].free[self->d.q[RX].nr_free - 1];

		ASSERT_GE(add_rx(&self->d, id, 2048), 0);
		vdev_kick(&self->d, RX);
		ASSERT_EQ(200 + i, guest_gets(&self->d, self->frame));
	}
	EXPECT_EQ(0, vdev_stats(&self->d, RX).errors);
}

/* What fits into no buffer is dropped, and does not hold up what comes behind it. */
TEST_F(net, too_large)
{
	if (variant->features & F(VIRTIO_NET_F_MRG_RXBUF))
		SKIP(return, "buffers are merged");
	vdev_start(&self->d);
	for (int i = 0; i < 4; i++)
		ASSERT_GE(add_rx(&self->d, self->d.q[RX].free[self->d.q[RX].nr_free - 1], 256), 0);
	vdev_kick(&self->d, RX);
	ASSERT_EQ(1000, host_sends(self->sock, 1000, 1));
	ASSERT_EQ(100, host_sends(self->sock, 100, 2));
	ASSERT_EQ(100, guest_gets(&self->d, self->frame));
	ASSERT_EQ((u8)(14 * 3 + 2), self->frame[14]);
	EXPECT_EQ(1, vdev_stats(&self->d, RX).errors);
}

TEST_F(net, hostile)
{
	struct vdev *d = &self->d;
	struct pollfd p = { .fd = d->fd, .events = POLLIN };

	/* a buffer to write to among those to send */
	vdev_start(d);
	ASSERT_GE(virtq_add(&d->q[TX], &(struct virtq_buf){ BUF(0), 100 }, 0, 1, 0), 0);
	virtq_publish(&d->q[TX]);
	kvm_do(d->fd, RINGLET_DEV_KICK, TX);
	ASSERT_EQ(1, poll(&p, 1, 20000));
	EXPECT_EQ(TX, vdev_status(d).queue);
	EXPECT_EQ(EINVAL, vdev_status(d).error);
	vdev_stop(d);
	ASSERT_EQ(0, vdev_set_queue(d, TX, 64));
	/* no room for the header */
	vdev_start(d);
	ASSERT_GE(virtq_add(&d->q[TX], &(struct virtq_buf){ BUF(0), HDR - 1 }, 1, 0, 0), 0);
	virtq_publish(&d->q[TX]);
	kvm_do(d->fd, RINGLET_DEV_KICK, TX);
	ASSERT_EQ(1, poll(&p, 1, 20000));
	EXPECT_EQ(RINGLET_STATE_NEEDS_RESET, vdev_status(d).state);
	vdev_stop(d);
	ASSERT_EQ(0, vdev_set_queue(d, TX, 64));
	/* a buffer to read from where packets go */
	vdev_start(d);
	ASSERT_GE(virtq_add(&d->q[RX], &(struct virtq_buf){ BUF(0), 2000 }, 1, 0, 0), 0);
	vdev_kick(d, RX);
	ASSERT_EQ(100, host_sends(self->sock, 100, 1));
	ASSERT_EQ(1, poll(&p, 1, 20000));
	EXPECT_EQ(RX, vdev_status(d).queue);
	vdev_stop(d);
	ASSERT_EQ(0, vdev_set_queue(d, RX, 64));
	/* buffers that are not there */
	vdev_start(d);
	ASSERT_GE(virtq_add(&d->q[RX], &(struct virtq_buf){ VDEV_RAM - 8, 2000 }, 0, 1, 0), 0);
	virtq_publish(&d->q[RX]);
	kvm_do(d->fd, RINGLET_DEV_KICK, RX);
	ASSERT_EQ(100, host_sends(self->sock, 100, 1));
	ASSERT_EQ(1, poll(&p, 1, 20000));
	EXPECT_EQ(EFAULT, vdev_status(d).error);
}

/* The tap is deleted: user space is told, packets go nowhere, nothing hangs. */
TEST_F(net, tap_deleted)
{
	struct pollfd p = { .fd = self->d.fd, .events = 0 };
	char cmd[64];
	u32 len;

	vdev_start(&self->d);
	snprintf(cmd, sizeof(cmd), "ip link delete %s", self->name);
	if (system(cmd))
		SKIP(return, "no ip(8)");
	ASSERT_GE(guest_sends(&self->d, 0, 100, 0, 1), 0);
	vdev_kick(&self->d, TX);
	ASSERT_GE(vdev_wait(&self->d, TX, &len), 0);
	ASSERT_EQ(1, poll(&p, 1, 20000));
	EXPECT_EQ(POLLERR, p.revents);
	EXPECT_EQ(RINGLET_STATUS_BACKEND_GONE, vdev_status(&self->d).flags);
	EXPECT_EQ(RINGLET_STATE_RUNNING, vdev_status(&self->d).state);
	EXPECT_EQ(1, vdev_stats(&self->d, TX).errors);
}

TEST(errors)
{
	struct ringlet_create_device c = {
		.type = RINGLET_DEVICE_NET, .nr_queues = 2, .nr_backends = 1,
	};
	struct ifreq ifr;
	struct vm *vm;

	if (!vdev_supported())
		SKIP(return, "no data planes in this kernel");
	c.backend[0] = tap_open(&ifr);
	if (c.backend[0] < 0)
		SKIP(return, "no tap: %s", strerror(errno));
	vm = vdev_vm();
#define REFUSED(field, val, expected)							\
	do {										\
		typeof(field) saved = field;						\
		field = val;								\
		EXPECT_EQ(expected, kvm_try(vm->fd, RINGLET_CREATE_DEVICE, &c))		\
			TH_LOG(#field " = " #val);					\
		field = saved;								\
	} while (0)
	REFUSED(c.nr_queues, 1, -EINVAL);
	REFUSED(c.nr_queues, 3, -EINVAL);
	REFUSED(c.nr_backends, 2, -EINVAL);
	REFUSED(c.flags, 1, -EINVAL);
	REFUSED(c.blk_sectors, 1, -EINVAL);
	REFUSED(c.blk_id[3], 1, -EINVAL);
	REFUSED(c.backend[0], -1, -EBADF);
	REFUSED(c.backend[0], vm->fd, -EINVAL);
	REFUSED(c.backend[0], eventfd(0, 0), -EINVAL);
	close(vdev_net(vm, c.backend[0]));
	vm_free(vm);
}

TEST_HARNESS_MAIN
