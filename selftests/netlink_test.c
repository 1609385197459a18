// SPDX-License-Identifier: GPL-2.0
/*
 * The generic netlink family: what it lists, who sees it, events, and requests
 * that are wrong. ringlet.ko's own: skipped on another hypervisor.
 */
#include "nl.h"
#include "harness.h"
#include "vdev.h"
#include <linux/userfaultfd.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define NOBODY		65534
#define MEMORY		0x400000ull
#define GPA		((u64)HOLE_GPA)

/* Count of one reason, 0 when it is not there. */
static u64 exits(struct nlmsghdr *h, const char *reason)
{
	void *end = (void *)h + h->nlmsg_len, *at = (void *)h + NLMSG_LENGTH(GENL_HDRLEN);
	struct nlattr *a;
	u64 count;

	while ((a = nl_find(at, end - at, RINGLET_A_VCPU_EXIT))) {
		void *in = (void *)a + NLA_HDRLEN;
		size_t len = a->nla_len - NLA_HDRLEN;

		if (!strcmp(payload(nl_find(in, len, RINGLET_A_EXIT_REASON)), reason)) {
			memcpy(&count, payload(nl_find(in, len, RINGLET_A_EXIT_COUNT)), 8);
			return count;
		}
		at = (void *)a + NLA_ALIGN(a->nla_len);
	}
	return 0;
}

struct list {
	int nr;
	u32 ids[200];
	struct nlmsghdr *last;	/* copies */
	u32 want;		/* keep this one */
};

static void take_vm(struct nlmsghdr *h, void *arg)
{
	struct list *l = arg;

	l->ids[l->nr++ % 200] = attr_u32(h, RINGLET_A_VM_ID);
	if (!l->want || l->ids[l->nr - 1] == l->want) {
		free(l->last);
		l->last = memcpy(malloc(h->nlmsg_len), h, h->nlmsg_len);
	}
}

static void take_vcpu(struct nlmsghdr *h, void *arg)
{
	struct list *l = arg;

	l->ids[l->nr++ % 200] = attr_u32(h, RINGLET_A_VCPU_ID);
	free(l->last);
	l->last = memcpy(malloc(h->nlmsg_len), h, h->nlmsg_len);
}

static int vms(struct nl *nl, struct list *l)
{
	struct request r;

	request_init(&r, nl->family, RINGLET_CMD_VM_GET, NLM_F_DUMP);
	return nl_do(nl, &r, take_vm, l);
}

static bool lists(struct nl *nl, u32 id)
{
	struct list l = {};
	bool found = false;

	CHECK(NULL, !vms(nl, &l), "dump");
	for (int i = 0; i < l.nr; i++)
		found |= l.ids[i] == id;
	free(l.last);
	return found;
}

static struct nlmsghdr *vcpu_msg(struct nl *nl, u32 vm_id, u32 id)
{
	struct list l = {};
	struct request r;

	request_init(&r, nl->family, RINGLET_CMD_VCPU_GET, 0);
	request_u32(&r, RINGLET_A_VCPU_VM_ID, vm_id);
	request_u32(&r, RINGLET_A_VCPU_ID, id);
	CHECK(NULL, !nl_do(nl, &r, take_vcpu, &l) && l.nr == 1, "vcpu-get");
	return l.last;
}

/* A new VM, and its number from the event of its creation. */
static int create_vm(int dev, struct nl *events, u32 *id)
{
	int fd = kvm_try(dev, KVM_CREATE_VM, 0), cmd;

	CHECK(NULL, fd >= 0, "KVM_CREATE_VM");
	do
		cmd = next_event(events);
	while (cmd >= 0 && cmd != RINGLET_CMD_VM_CREATED_NTF);
	CHECK(NULL, cmd >= 0, "no event");
	*id = event_u32(events, RINGLET_A_VM_ID);
	return fd;
}

/* The next event is that of a new VM: its id. */
static u32 created_id(struct nl *events)
{
	int cmd = next_event(events);

	CHECK(NULL, cmd == RINGLET_CMD_VM_CREATED_NTF, "event %d", cmd);
	return event_u32(events, RINGLET_A_VM_ID);
}

FIXTURE(netlink) {
	struct nl *nl, *events;
	int dev;
	const char *skip;
};

FIXTURE_SETUP(netlink)
{
	self->skip = strcmp(rl_dev_path(), "/dev/ringlet") ? "not ringlet" :
		     geteuid() ? "not root" : NULL;
	if (self->skip)
		return;
	self->dev = rl_dev_open();
	self->nl = nl_open();
	self->events = nl_open();
	CHECK(NULL, !nl_join(self->events), "join the group");
}

FIXTURE_TEARDOWN(netlink)
{
	if (self->skip)
		return;
	nl_close(self->nl);
	nl_close(self->events);
	close(self->dev);
}

#define FOR_RINGLET() \
	do { \
		if (self->skip) \
			SKIP(return, "%s", self->skip); \
	} while (0)

TEST_F(netlink, what_a_vm_says)
{
	struct nlmsghdr *h;
	struct list l = {};
	struct request r;
	struct vm *vm;

	FOR_RINGLET();
	vm = vm_puppet(2, VM_IRQCHIP);
	vm_add_mem(vm, 9, GPA, MEMORY, 0);
	l.want = created_id(self->events);
	ASSERT_EQ(0, vms(self->nl, &l));
	h = l.last;
	ASSERT_NE(NULL, h);
	EXPECT_EQ(RINGLET_CMD_VM_GET, ((struct genlmsghdr *)NLMSG_DATA(h))->cmd);
	EXPECT_EQ(getpid(), attr_u32(h, RINGLET_A_VM_PID));
	EXPECT_EQ(0, attr_u32(h, RINGLET_A_VM_UID));
	EXPECT_EQ(0, strcmp("netlink_test", payload(attr(h, RINGLET_A_VM_COMM))));
	EXPECT_EQ(2, attr_u32(h, RINGLET_A_VM_VCPUS));
	EXPECT_LE(MEMORY, attr_u64(h, RINGLET_A_VM_MEMORY));
	EXPECT_LT(0, attr_u64(h, RINGLET_A_VM_FAULTS));
	EXPECT_LT(3, attr_u64(h, RINGLET_A_VM_TABLES));

	/* By its number, and with one more page mapped and one slot less. */
	for (int i = 0; i < 2; i++) {
		u64 memory = attr_u64(h, RINGLET_A_VM_MEMORY);
		u64 mapped = attr_u64(h, RINGLET_A_VM_MAPPED_4K) +
			     512 * attr_u64(h, RINGLET_A_VM_MAPPED_2M);

		if (i)
			vm_set_region(vm, 9, GPA, 0, NULL, 0);
		else
			puppet_write(vm->vcpus[0], GPA, 1);
		request_init(&r, self->nl->family, RINGLET_CMD_VM_GET, 0);
		request_u32(&r, RINGLET_A_VM_ID, l.want);
		ASSERT_EQ(0, nl_do(self->nl, &r, take_vm, &l));
		h = l.last;
		EXPECT_EQ(memory - (i ? MEMORY : 0), attr_u64(h, RINGLET_A_VM_MEMORY));
		mapped -= attr_u64(h, RINGLET_A_VM_MAPPED_4K) +
			  512 * attr_u64(h, RINGLET_A_VM_MAPPED_2M);
		/* more the first time, less the second */
		EXPECT_NE(0, mapped);
		EXPECT_EQ(!i, mapped >> 63);
	}
	vm_free(vm);
	ASSERT_EQ(RINGLET_CMD_VM_DESTROYED_NTF, next_event(self->events));
	EXPECT_EQ(l.want, event_u32(self->events, RINGLET_A_VM_ID));
	EXPECT_EQ(-EAGAIN, next_event(self->events));
	EXPECT_FALSE(lists(self->nl, l.want));
	EXPECT_EQ(-ENOENT, nl_do(self->nl, &r, NULL, NULL));
}

TEST_F(netlink, what_a_vcpu_says)
{
	struct nlmsghdr *before, *after;
	struct list l = {};
	struct request r;
	struct vm *vm;
	u32 id;

	FOR_RINGLET();
	vm = vm_puppet(2, VM_IRQCHIP);
	id = created_id(self->events);
	before = vcpu_msg(self->nl, id, 1);
	for (int i = 0; i < 10; i++)
		puppet_do(vm->vcpus[1], PUPPET_CPUID, 0, 0, 0);
	puppet_do(vm->vcpus[1], PUPPET_RDMSR, 0x1234567, 0, 0);		/* #GP */
	after = vcpu_msg(self->nl, id, 1);
	EXPECT_EQ(id, attr_u32(after, RINGLET_A_VCPU_VM_ID));
	EXPECT_EQ(1, attr_u32(after, RINGLET_A_VCPU_ID));
	EXPECT_EQ(getpid(), attr_u32(after, RINGLET_A_VCPU_TID));
	EXPECT_EQ(NULL, attr(after, RINGLET_A_VCPU_CPU));
	EXPECT_EQ(RINGLET_VCPU_STATE_RUNNABLE, attr_u32(after, RINGLET_A_VCPU_STATE));
	EXPECT_EQ(exits(before, "cpuid") + 10, exits(after, "cpuid"));
	EXPECT_EQ(exits(before, "msr") + 1, exits(after, "msr"));
	EXPECT_EQ(exits(before, "io") + 11, exits(after, "io"));
	EXPECT_EQ(attr_u64(before, RINGLET_A_VCPU_EXCEPTIONS) + 1,
		  attr_u64(after, RINGLET_A_VCPU_EXCEPTIONS));
	EXPECT_EQ(0, attr_u64(after, RINGLET_A_VCPU_HALTS));

	request_init(&r, self->nl->family, RINGLET_CMD_VCPU_GET, NLM_F_DUMP);
	request_u32(&r, RINGLET_A_VCPU_VM_ID, id);
	ASSERT_EQ(0, nl_do(self->nl, &r, take_vcpu, &l));
	EXPECT_EQ(2, l.nr);
	EXPECT_EQ(0, l.ids[0]);
	EXPECT_EQ(1, l.ids[1]);

	request_init(&r, self->nl->family, RINGLET_CMD_VCPU_GET, 0);
	request_u32(&r, RINGLET_A_VCPU_VM_ID, id);
	request_u32(&r, RINGLET_A_VCPU_ID, 2);
	EXPECT_EQ(-ENOENT, nl_do(self->nl, &r, NULL, NULL));
	vm_free(vm);
	request_init(&r, self->nl->family, RINGLET_CMD_VCPU_GET, NLM_F_DUMP);
	request_u32(&r, RINGLET_A_VCPU_VM_ID, id);
	EXPECT_EQ(-ENOENT, nl_do(self->nl, &r, NULL, NULL));
}

/* More than fits one buffer, of the smallest size. */
TEST_F(netlink, many)
{
	int fds[60], vcpu;
	struct list l = {};
	struct nl *small;
	struct request r;
	u32 id, last = 0;

	FOR_RINGLET();
	for (u32 i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = create_vm(self->dev, self->events, &id);
		ASSERT_LT(last, id);
		last = id;
		for (u32 n = 0; n < i % 3; n++) {
			vcpu = kvm_do(fds[i], KVM_CREATE_VCPU, n);
			close(vcpu);
		}
	}
	small = nl_open_with(4096);
	ASSERT_EQ(0, vms(small, &l));
	ASSERT_LE(ARRAY_SIZE(fds), l.nr);
	for (int i = 1; i < l.nr; i++)
		ASSERT_LT(l.ids[i - 1], l.ids[i]);
	ASSERT_EQ(last, l.ids[l.nr - 1]);
	l = (struct list){};
	request_init(&r, small->family, RINGLET_CMD_VCPU_GET, NLM_F_DUMP);
	ASSERT_EQ(0, nl_do(small, &r, take_vcpu, &l));
	EXPECT_EQ(ARRAY_SIZE(fds), l.nr);
	for (u32 i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	nl_close(small);
}

TEST_F(netlink, wrong_requests)
{
	struct nl *nl = self->nl;
	u16 type = RINGLET_A_VM_ID;
	struct nlattr *a;
	struct request r;
	u64 big = 1;
	u32 id;
	int vm;

	FOR_RINGLET();
	vm = create_vm(self->dev, self->events, &id);

	request_init(&r, nl->family, RINGLET_CMD_VM_GET, 0);
	EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));		/* no number */
	request_u32(&r, type, 0);
	EXPECT_EQ(-ERANGE, nl_do(nl, &r, NULL, NULL));
	for (u32 len = 0; len <= 8; len++) {
		request_init(&r, nl->family, RINGLET_CMD_VM_GET, 0);
		request_add(&r, type, &id, len < 5 ? len : 4);
		a = request_add(&r, type, &big, len);
		a->nla_len = NLA_HDRLEN + len;
		if (len != 4)
			EXPECT_GT(0, nl_do(nl, &r, NULL, NULL));
	}
	/* longer than the message; shorter than itself */
	request_init(&r, nl->family, RINGLET_CMD_VM_GET, 0);
	a = request_add(&r, type, &id, 4);
	a->nla_len = 200;
	EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));
	a->nla_len = 3;
	EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));
	/* not of a request, not known, behind all that are known */
	for (u16 t = RINGLET_A_VM_PID; t < 40; t++) {
		request_init(&r, nl->family, RINGLET_CMD_VM_GET, 0);
		request_u32(&r, type, id);
		request_u32(&r, t, 1);
		EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));
	}
	/* half a vCPU */
	request_init(&r, nl->family, RINGLET_CMD_VCPU_GET, 0);
	request_u32(&r, RINGLET_A_VCPU_VM_ID, id);
	EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));
	request_init(&r, nl->family, RINGLET_CMD_VCPU_GET, 0);
	request_u32(&r, RINGLET_A_VCPU_ID, 0);
	EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));
	request_u32(&r, RINGLET_A_VCPU_VM_ID, ~0u);
	EXPECT_EQ(-ENOENT, nl_do(nl, &r, NULL, NULL));
	/* half a device, a device and more, no single queue */
	request_init(&r, nl->family, RINGLET_CMD_DEVICE_GET, 0);
	request_u32(&r, RINGLET_A_DEVICE_VM_ID, id);
	EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));
	request_u32(&r, RINGLET_A_DEVICE_ID, 0);
	EXPECT_EQ(-ENOENT, nl_do(nl, &r, NULL, NULL));
	request_u32(&r, RINGLET_A_DEVICE_TYPE, 0);
	EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));
	request_init(&r, nl->family, RINGLET_CMD_QUEUE_GET, 0);
	EXPECT_EQ(-EOPNOTSUPP, nl_do(nl, &r, NULL, NULL));
	request_init(&r, nl->family, RINGLET_CMD_QUEUE_GET, NLM_F_DUMP);
	request_u32(&r, RINGLET_A_QUEUE_VM_ID, id);
	request_u32(&r, RINGLET_A_QUEUE_DEVICE_ID, 0);
	EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));
	/* dumps that name one */
	request_init(&r, nl->family, RINGLET_CMD_VM_GET, NLM_F_DUMP);
	request_u32(&r, RINGLET_A_VM_ID, id);
	EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));
	request_init(&r, nl->family, RINGLET_CMD_VCPU_GET, NLM_F_DUMP);
	request_u32(&r, RINGLET_A_VCPU_VM_ID, id);
	request_u32(&r, RINGLET_A_VCPU_ID, 0);
	EXPECT_EQ(-EINVAL, nl_do(nl, &r, NULL, NULL));
	/* commands that are messages of the kernel's, or nothing at all */
	for (u32 cmd = 0; cmd < 256; cmd++) {
		if (cmd == RINGLET_CMD_VM_GET || cmd == RINGLET_CMD_VCPU_GET ||
		    cmd == RINGLET_CMD_SUBSCRIBE || cmd == RINGLET_CMD_DEVICE_GET ||
		    cmd == RINGLET_CMD_QUEUE_GET)
			continue;
		request_init(&r, nl->family, cmd, cmd & 1 ? NLM_F_DUMP : 0);
		EXPECT_EQ(-EOPNOTSUPP, nl_do(nl, &r, NULL, NULL));
	}
	request_init(&r, nl->family, RINGLET_CMD_SUBSCRIBE, NLM_F_DUMP);
	EXPECT_EQ(-EOPNOTSUPP, nl_do(nl, &r, NULL, NULL));

	/* all of that did no harm */
	EXPECT_TRUE(lists(nl, id));
	close(vm);
}

GUEST16(triple_fault, "lidt %cs:(1f - triple_fault_start); int3; 1: .fill 6, 1, 0\n");

TEST_F(netlink, a_vcpu_stops)
{
	struct vm *vm;
	u32 id;

	FOR_RINGLET();
	vm = VM_BLOB(triple_fault, 0);
	id = created_id(self->events);
	EXPECT_EQ(-EAGAIN, next_event(self->events));
	expect_exit(vm->vcpus[0], KVM_EXIT_SHUTDOWN);
	ASSERT_EQ(RINGLET_CMD_VCPU_STOPPED_NTF, next_event(self->events));
	EXPECT_EQ(id, event_u32(self->events, RINGLET_A_VCPU_VM_ID));
	EXPECT_EQ(0, event_u32(self->events, RINGLET_A_VCPU_ID));
	EXPECT_EQ(RINGLET_STOP_REASON_SHUTDOWN,
		  event_u32(self->events, RINGLET_A_VCPU_STOP_REASON));
	vm_free(vm);

	/* memory that user space took away */
	vm = vm_puppet(1, 0);
	vm_add_mem(vm, 9, GPA, MEMORY, 0);
	munmap(vm_hva(vm, GPA), MEMORY);
	while (next_event(self->events) >= 0)
		;
	puppet_set(vm->vcpus[0], PUPPET_WRITE, GPA, 8, 1);
	EXPECT_EQ(-EFAULT, vcpu_try_run(vm->vcpus[0]));
	ASSERT_EQ(RINGLET_CMD_VCPU_STOPPED_NTF, next_event(self->events));
	EXPECT_EQ(RINGLET_STOP_REASON_MEMORY,
		  event_u32(self->events, RINGLET_A_VCPU_STOP_REASON));
	vm_free(vm);
}

static void take_part(struct nlmsghdr *h, void *arg)
{
	struct list *l = arg;

	/* the device's number is the second attribute of a queue as well */
	l->ids[l->nr++ % 200] = attr_u32(h, RINGLET_A_DEVICE_ID);
	free(l->last);
	l->last = memcpy(malloc(h->nlmsg_len), h, h->nlmsg_len);
}

static int parts(struct nl *nl, u8 cmd, u32 vm_id, struct list *l)
{
	struct request r;

	free(l->last);
	*l = (struct list){};
	request_init(&r, nl->family, cmd, NLM_F_DUMP);
	if (vm_id)
		request_u32(&r, RINGLET_A_DEVICE_VM_ID, vm_id);
	return nl_do(nl, &r, take_part, l);
}

static int get_device(struct nl *nl, u32 vm_id, u32 id, struct list *l)
{
	struct request r;

	request_init(&r, nl->family, RINGLET_CMD_DEVICE_GET, 0);
	request_u32(&r, RINGLET_A_DEVICE_VM_ID, vm_id);
	request_u32(&r, RINGLET_A_DEVICE_ID, id);
	return nl_do(nl, &r, take_part, l);
}

static void take_queue(struct nlmsghdr *h, void *arg)
{
	struct list *l = arg;

	if (attr_u32(h, RINGLET_A_QUEUE_ID) == l->want)
		take_part(h, arg);
}

/* Queue @n, of one device alone. */
static int queue_of(struct nl *nl, u32 vm_id, u32 n, struct list *l)
{
	struct request r;
	int err;

	free(l->last);
	*l = (struct list){ .want = n };
	request_init(&r, nl->family, RINGLET_CMD_QUEUE_GET, NLM_F_DUMP);
	request_u32(&r, RINGLET_A_QUEUE_VM_ID, vm_id);
	err = nl_do(nl, &r, take_queue, l);
	return err ?: l->nr == 1 ? 0 : -ENOENT;
}

TEST_F(netlink, devices)
{
	int disk = memfd_create("disk", MFD_CLOEXEC), others[3];
	struct list l = {};
	struct vdev d;
	struct vm *vm;
	u32 id;

	FOR_RINGLET();
	ASSERT_EQ(0, ftruncate(disk, 1 << 20));
	vm = vdev_vm();
	id = created_id(self->events);
	EXPECT_EQ(0, parts(self->nl, RINGLET_CMD_DEVICE_GET, id, &l));
	EXPECT_EQ(0, l.nr);
	others[0] = vdev_blk(vm, disk, 0, 1);
	vdev_init(&d, vm, vdev_blk(vm, disk, 0, 3), 2, 64, 0);
	others[1] = vdev_blk(vm, disk, RINGLET_BLK_RDONLY, RINGLET_MAX_QUEUES);

	ASSERT_EQ(0, get_device(self->nl, id, 1, &l));
	EXPECT_EQ(RINGLET_CMD_DEVICE_GET, ((struct genlmsghdr *)NLMSG_DATA(l.last))->cmd);
	EXPECT_EQ(id, attr_u32(l.last, RINGLET_A_DEVICE_VM_ID));
	EXPECT_EQ(1, attr_u32(l.last, RINGLET_A_DEVICE_ID));
	EXPECT_EQ(RINGLET_DEVICE_BLK, attr_u32(l.last, RINGLET_A_DEVICE_TYPE));
	EXPECT_EQ(RINGLET_DEVICE_STATE_STOPPED, attr_u32(l.last, RINGLET_A_DEVICE_STATE));
	EXPECT_EQ(3, attr_u32(l.last, RINGLET_A_DEVICE_QUEUES));
	EXPECT_EQ(d.features, attr_u64(l.last, RINGLET_A_DEVICE_FEATURES));
	EXPECT_EQ(NULL, attr(l.last, RINGLET_A_DEVICE_BACKEND_GONE));
	EXPECT_EQ(NULL, attr(l.last, RINGLET_A_DEVICE_BAD_QUEUE));

	/* one of three goes; numbers stay, and are not given again */
	close(others[0]);
	others[0] = vdev_blk(vm, disk, 0, 1);
	EXPECT_EQ(-ENOENT, get_device(self->nl, id, 0, &l));
	EXPECT_EQ(-ENOENT, get_device(self->nl, id, 4, &l));
	EXPECT_EQ(-ENOENT, get_device(self->nl, id, ~0u, &l));
	EXPECT_EQ(-ENOENT, get_device(self->nl, id + 1, 1, &l));
	ASSERT_EQ(0, parts(self->nl, RINGLET_CMD_DEVICE_GET, id, &l));
	ASSERT_EQ(3, l.nr);
	for (u32 i = 0; i < 3; i++)
		EXPECT_EQ(i + 1, l.ids[i]);
	ASSERT_EQ(0, parts(self->nl, RINGLET_CMD_DEVICE_GET, 0, &l));
	EXPECT_EQ(3, l.nr);
	ASSERT_EQ(0, parts(self->nl, RINGLET_CMD_QUEUE_GET, id, &l));
	EXPECT_EQ(3 + RINGLET_MAX_QUEUES + 1, l.nr);
	close(others[0]);
	close(others[1]);

	/* what a queue has done */
	vdev_start(&d);
	ASSERT_EQ(0, vdev_blk_io(&d, VIRTIO_BLK_T_OUT, 0, VDEV_DATA, 4096, 2));
	ASSERT_EQ(0, vdev_blk_io(&d, VIRTIO_BLK_T_IN, 8, VDEV_DATA, 512, 1));
	ASSERT_EQ(1, vdev_blk_io(&d, VIRTIO_BLK_T_IN, 1 << 20, VDEV_DATA, 512, 1));
	ASSERT_EQ(0, get_device(self->nl, id, 1, &l));
	EXPECT_EQ(RINGLET_DEVICE_STATE_RUNNING, attr_u32(l.last, RINGLET_A_DEVICE_STATE));
	ASSERT_EQ(0, queue_of(self->nl, id, 0, &l));
	EXPECT_EQ(1, attr_u32(l.last, RINGLET_A_QUEUE_DEVICE_ID));
	EXPECT_EQ(64, attr_u32(l.last, RINGLET_A_QUEUE_SIZE));
	EXPECT_EQ(3, attr_u64(l.last, RINGLET_A_QUEUE_REQUESTS));
	EXPECT_EQ(3, attr_u64(l.last, RINGLET_A_QUEUE_DOORBELLS));
	EXPECT_EQ(512, attr_u64(l.last, RINGLET_A_QUEUE_BYTES_READ));
	EXPECT_EQ(8192, attr_u64(l.last, RINGLET_A_QUEUE_BYTES_WRITTEN));
	EXPECT_EQ(1, attr_u64(l.last, RINGLET_A_QUEUE_ERRORS));
	EXPECT_EQ(3, attr_u64(l.last, RINGLET_A_QUEUE_INTERRUPTS) +
		     attr_u64(l.last, RINGLET_A_QUEUE_SUPPRESSED));
	ASSERT_EQ(0, queue_of(self->nl, id, 1, &l));
	EXPECT_EQ(0, attr_u64(l.last, RINGLET_A_QUEUE_REQUESTS));
	ASSERT_EQ(0, queue_of(self->nl, id, 2, &l));
	EXPECT_EQ(0, attr_u32(l.last, RINGLET_A_QUEUE_SIZE));	/* not in use */
	ASSERT_EQ(-ENOENT, queue_of(self->nl, id, 3, &l));
	EXPECT_EQ(-EAGAIN, next_event(self->events));

	vdev_free(&d);
	EXPECT_EQ(-ENOENT, get_device(self->nl, id, 1, &l));
	ASSERT_EQ(0, parts(self->nl, RINGLET_CMD_QUEUE_GET, id, &l));
	EXPECT_EQ(0, l.nr);
	vm_free(vm);
	close(disk);
}

/* One event for the first bad thing, to those who may see the VM. */
TEST_F(netlink, a_device_breaks)
{
	int disk = memfd_create("disk", MFD_CLOEXEC);
	struct list l = {};
	struct vdev d;
	struct vm *vm;
	u32 id;

	FOR_RINGLET();
	ASSERT_EQ(0, ftruncate(disk, 1 << 20));
	vm = vdev_vm();
	id = created_id(self->events);
	vdev_init(&d, vm, vdev_blk(vm, disk, 0, 2), 2, 64, 0);
	for (int i = 0; i < 2; i++) {
		vdev_start(&d);
		/* a chain that begins behind the table */
		virtq_avail(&d.q[1])[2] = 64;
		virtq_avail(&d.q[1])[1] = 1;
		kvm_do(d.fd, RINGLET_DEV_KICK, 1);
		kvm_do(d.fd, RINGLET_DEV_KICK, 1);
		kvm_do(d.fd, RINGLET_DEV_KICK, 0);
		EXPECT_EQ(RINGLET_STATE_NEEDS_RESET, vdev_status(&d).state);
		ASSERT_EQ(RINGLET_CMD_DEVICE_BROKEN_NTF, next_event(self->events));
		EXPECT_EQ(id, event_u32(self->events, RINGLET_A_DEVICE_VM_ID));
		EXPECT_EQ(0, event_u32(self->events, RINGLET_A_DEVICE_ID));
		EXPECT_EQ(RINGLET_DEVICE_BLK, event_u32(self->events, RINGLET_A_DEVICE_TYPE));
		EXPECT_EQ(RINGLET_DEVICE_STATE_NEEDS_RESET,
			  event_u32(self->events, RINGLET_A_DEVICE_STATE));
		EXPECT_EQ(1, event_u32(self->events, RINGLET_A_DEVICE_BAD_QUEUE));
		EXPECT_EQ(EINVAL, event_u32(self->events, RINGLET_A_DEVICE_ERROR));
		EXPECT_EQ(-EAGAIN, next_event(self->events));
		ASSERT_EQ(0, get_device(self->nl, id, 0, &l));
		EXPECT_EQ(RINGLET_DEVICE_STATE_NEEDS_RESET,
			  attr_u32(l.last, RINGLET_A_DEVICE_STATE));
		EXPECT_EQ(1, attr_u32(l.last, RINGLET_A_DEVICE_BAD_QUEUE));
		/* and again after a reset */
		vdev_stop(&d);
		ASSERT_EQ(0, vdev_set_queue(&d, 0, 64));
		ASSERT_EQ(0, vdev_set_queue(&d, 1, 64));
	}
	vdev_free(&d);
	vm_free(vm);
	close(disk);
}

/* A child that is somebody else; @fn answers 0 or the line where it went wrong. */
static int as_nobody(int (*fn)(int dev, u32 root_vm), int dev, u32 root_vm)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(60);
		_exit(setgid(NOBODY) || setuid(NOBODY) ? 255 : fn(dev, root_vm) & 0x7f);
	}
	CHECK(NULL, pid > 0 && waitpid(pid, &status, 0) == pid, "child");
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define NEED(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "# %s:%d: %s\n", __FILE__, __LINE__, #cond); \
			return 1; \
		} \
	} while (0)

static int sees_his_own(int dev, u32 root_vm)
{
	struct nl *nl = nl_open(), *events = nl_open();
	struct request r;
	struct list l = {};
	u32 id, other;
	int vm;

	NEED(nl_join(events) == -EPERM);
	NEED(nl_subscribe(events) == 0);
	NEED(nl_subscribe(events) == 0);	/* twice is once */
	NEED(vms(nl, &l) == 0 && l.nr == 0);
	request_init(&r, nl->family, RINGLET_CMD_VM_GET, 0);
	request_u32(&r, RINGLET_A_VM_ID, root_vm);
	NEED(nl_do(nl, &r, NULL, NULL) == -ENOENT);
	request_init(&r, nl->family, RINGLET_CMD_VCPU_GET, NLM_F_DUMP);
	request_u32(&r, RINGLET_A_VCPU_VM_ID, root_vm);
	NEED(nl_do(nl, &r, NULL, NULL) == -ENOENT);
	NEED(parts(nl, RINGLET_CMD_DEVICE_GET, root_vm, &l) == -ENOENT);
	NEED(parts(nl, RINGLET_CMD_QUEUE_GET, root_vm, &l) == -ENOENT);
	NEED(get_device(nl, root_vm, 0, &l) == -ENOENT);
	NEED(parts(nl, RINGLET_CMD_DEVICE_GET, 0, &l) == 0 && l.nr == 0);
	NEED(parts(nl, RINGLET_CMD_QUEUE_GET, 0, &l) == 0 && l.nr == 0);

	vm = create_vm(dev, events, &id);
	NEED(event_u32(events, RINGLET_A_VM_UID) == NOBODY);
	NEED(event_u32(events, RINGLET_A_VM_PID) == (u32)getpid());
	NEED(next_event(events) == -EAGAIN);
	l = (struct list){};
	NEED(vms(nl, &l) == 0 && l.nr == 1 && l.ids[0] == id);
	NEED(attr_u32(l.last, RINGLET_A_VM_UID) == NOBODY);
	close(vm);
	NEED(next_event(events) == RINGLET_CMD_VM_DESTROYED_NTF);
	NEED(!lists(nl, id));

	/* Nothing comes to a socket that did not subscribe. */
	NEED(next_event(nl) == -EAGAIN);
	vm = create_vm(dev, events, &other);
	nl_close(events);
	close(vm);
	return 0;
}

TEST_F(netlink, unprivileged)
{
	int vm, disk, device, cmd, seen = 0;
	struct list l = {};
	u32 id;

	FOR_RINGLET();
	vm = create_vm(self->dev, self->events, &id);
	disk = memfd_create("disk", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(disk, 4096));
	device = vdev_blk(&(struct vm){ .fd = vm }, disk, 0, 1);
	ASSERT_EQ(0, get_device(self->nl, id, 0, &l));
	EXPECT_EQ(0, as_nobody(sees_his_own, self->dev, id));
	EXPECT_TRUE(lists(self->nl, id));
	/* root was told of everything */
	while ((cmd = next_event(self->events)) >= 0) {
		EXPECT_EQ(NOBODY, event_u32(self->events, RINGLET_A_VM_UID));
		seen++;
	}
	EXPECT_EQ(4, seen);
	close(device);
	close(disk);
	close(vm);
}

/* Root's VM comes and goes while nobody listens. */
static int hears_nothing(int dev, u32 root_vm)
{
	struct nl *events = nl_open();

	NEED(nl_subscribe(events) == 0);
	kill(getppid(), SIGUSR1);
	raise(SIGSTOP);
	NEED(next_event(events) == -EAGAIN);
	return 0;
}

TEST_F(netlink, others_events)
{
	int status, vm;
	pid_t pid;
	u32 id;

	FOR_RINGLET();
	signal(SIGUSR1, SIG_IGN);
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(setgid(NOBODY) || setuid(NOBODY) ? 255 : hears_nothing(self->dev, 0));
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	vm = create_vm(self->dev, self->events, &id);
	close(vm);
	kill(pid, SIGCONT);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* An administrator of his own user namespace is nobody's elsewhere. */
static int in_own_namespace(int dev, u32 root_vm)
{
	struct list l = {};
	struct nl *nl;
	int vm;

	if (unshare(CLONE_NEWUSER))
		return 77;
	nl = nl_open();
	NEED(nl_join(nl) == -EPERM);
	NEED(!lists(nl, root_vm));
	vm = kvm_try(dev, KVM_CREATE_VM, 0);
	NEED(vm >= 0);
	NEED(vms(nl, &l) == 0 && l.nr == 1);
	/* which has no name for the user */
	NEED(attr_u32(l.last, RINGLET_A_VM_UID) == NOBODY);
	/* A VM from there is seen from the outside, too. */
	return 0;
}

TEST_F(netlink, user_namespace)
{
	int vm, ret;
	u32 id;

	FOR_RINGLET();
	vm = create_vm(self->dev, self->events, &id);
	ret = as_nobody(in_own_namespace, self->dev, id);
	if (ret == 77)
		SKIP(goto out, "no user namespaces");
	EXPECT_EQ(0, ret);
out:
	close(vm);
}

/* VMs that come and go while they are looked at. */
static volatile bool stop;

static void *churn(void *arg)
{
	int dev = *(int *)arg;

	while (!stop) {
		int vm = kvm_do(dev, KVM_CREATE_VM, 0);
		int vcpu = kvm_do(vm, KVM_CREATE_VCPU, 0);
		int disk = memfd_create("disk", MFD_CLOEXEC), device;

		if (ftruncate(disk, 4096))
			break;
		device = vdev_blk(&(struct vm){ .fd = vm }, disk, 0, 1);
		close(vm);
		close(vcpu);
		close(device);
		close(disk);
	}
	return NULL;
}

TEST_F(netlink, churn)
{
	pthread_t threads[2];
	struct request r;
	struct list l;

	FOR_RINGLET();
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, churn, &self->dev));
	for (int i = 0; i < 200; i++) {
		struct nl *nl = nl_open();

		EXPECT_EQ(0, nl_subscribe(nl));
		l = (struct list){};
		ASSERT_EQ(0, vms(self->nl, &l));
		free(l.last);
		l = (struct list){};
		request_init(&r, self->nl->family, RINGLET_CMD_VCPU_GET, NLM_F_DUMP);
		ASSERT_EQ(0, nl_do(self->nl, &r, take_vcpu, &l));
		ASSERT_EQ(0, parts(self->nl, RINGLET_CMD_DEVICE_GET, 0, &l));
		ASSERT_EQ(0, parts(self->nl, RINGLET_CMD_QUEUE_GET, 0, &l));
		free(l.last);
		nl_close(nl);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

/* Threads that wait for user space with a VM's locks in their hands. */

struct stuck {
	pthread_t thread;
	volatile pid_t tid;
	int fd;
	unsigned long cmd;
	void *arg;
};

static void *get_stuck(void *arg)
{
	struct stuck *s = arg;

	s->tid = syscall(SYS_gettid);
	kvm_try(s->fd, s->cmd, s->arg);
	return NULL;
}

static bool waits(struct stuck *s)
{
	char path[64], text[256] = "", *end;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", s->tid);
	f = s->tid ? fopen(path, "r") : NULL;
	if (f && !fgets(text, sizeof(text), f))
		text[0] = 0;
	if (f)
		fclose(f);
	end = strrchr(text, ')');
	return end && (end[2] == 'S' || end[2] == 'D');
}

/* Nobody who asks about a VM, and so nobody else, waits for what its owner does. */
TEST_F(netlink, a_vm_that_hangs)
{
	u8 *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_register reg = {
		.range = { (u64)page, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_zeropage zero = { .range = { (u64)page, 4096 } };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { 1 } };
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = page };
	struct uffdio_api api = { .api = UFFD_API };
	struct stuck reader = {}, setter = {};
	struct list l = {};
	struct vm *vm;
	u32 id;

	FOR_RINGLET();
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &reg))
		SKIP(return, "no userfaultfd");
	vm = vm_new(0);
	id = created_id(self->events);
	vm_add_mem(vm, 0, 0, MEMORY, KVM_MEM_LOG_DIRTY_PAGES);
	/* one has the slots' lock and waits for a page; the next has the VM's and waits for that */
	reader = (struct stuck){ .fd = vm->fd, .cmd = KVM_GET_DIRTY_LOG, .arg = &log };
	ASSERT_EQ(0, pthread_create(&reader.thread, NULL, get_stuck, &reader));
	ASSERT_EQ(1, poll(&(struct pollfd){ uffd, POLLIN }, 1, 20000));
	setter = (struct stuck){ .fd = vm->fd, .cmd = KVM_ENABLE_CAP, .arg = &cap };
	ASSERT_EQ(0, pthread_create(&setter.thread, NULL, get_stuck, &setter));
	WAIT_FOR(waits(&reader) && waits(&setter));

	EXPECT_EQ(0, parts(self->nl, RINGLET_CMD_DEVICE_GET, id, &l));
	EXPECT_EQ(0, parts(self->nl, RINGLET_CMD_QUEUE_GET, id, &l));
	EXPECT_EQ(0, vms(self->nl, &l));
	vm_free(vm_new(0));

	ASSERT_EQ(0, ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	pthread_join(reader.thread, NULL);
	pthread_join(setter.thread, NULL);
	vm_free(vm);
	close(uffd);
	free(l.last);
}

TEST_HARNESS_MAIN
