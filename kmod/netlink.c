// SPDX-License-Identifier: GPL-2.0-only
/*
 * The generic netlink family of uapi/ringlet.yaml: VMs, vCPUs, data planes, their
 * counters, and events.
 *
 * Owns:    the numbers of VMs, vm->owner, the list of subscribers.
 * Touches: counters, which it reads while others bump them.
 * Locks:   vms_lock while a VM is looked at: vm_destroy() takes the VM out under
 *          it first, so no reference is needed and none is ever the last. Who
 *          looks at one VM keeps all others from being made: no lock under which
 *          a VM's owner may make somebody wait. vm->vdevs_lock is none.
 *          subs_lock for subscribers. Neither is held while taking the other.
 *
 * Who sees what is decided for each VM, by struct viewer. A multicast group
 * cannot do that: it is for administrators of the host. Others subscribe, and
 * get the same messages one by one; a subscription ends with its socket.
 */
#include <linux/netlink.h>
#include <linux/pid_namespace.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>
#include <linux/xarray.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "compat.h"
#include "netlink.h"
#include "vcpu.h"
#include "virtio/virtio.h"
#include "vm.h"

static_assert(RINGLET_VCPU_STATE_RUNNABLE == KVM_MP_STATE_RUNNABLE);
static_assert(RINGLET_VCPU_STATE_SIPI_RECEIVED == KVM_MP_STATE_SIPI_RECEIVED);
static_assert(RINGLET_DEVICE_STATE_STOPPED == RINGLET_STATE_STOPPED);
static_assert(RINGLET_DEVICE_STATE_NEEDS_RESET == RINGLET_STATE_NEEDS_RESET);

static DEFINE_XARRAY_ALLOC1(vms);
static DEFINE_MUTEX(vms_lock);
static DEFINE_MUTEX(subs_lock);
static LIST_HEAD(subs);
static struct genl_family family;

struct viewer {
	kuid_t uid;			/* sees the VMs of this user, if valid */
	struct user_namespace *all_of;	/* and those created here or below, if not NULL */
	struct user_namespace *user_ns;	/* tells user ids as here */
	struct pid_namespace *pid_ns;
};

struct sub {
	struct list_head link;
	struct net *net;		/* the socket's, which keeps it */
	u32 portid;
	struct viewer viewer;		/* with references */
};

/* One message under construction. */
struct msg {
	struct sk_buff *skb;
	const struct viewer *viewer;
	u32 portid, seq;
	int flags;
	u8 cmd;
	struct rl_vcpu *vcpu;		/* of an event */
	u32 reason, suberror;
	struct rl_vdev *dev;		/* likewise, with the queue and the error */
	u32 queue;
	int error;
};

/* The sender of a request, as far as the socket's opener was the same. */
static void viewer_init(struct viewer *v, struct sk_buff *skb)
{
	struct sock *sk = NETLINK_CB(skb).sk;

	v->uid = NETLINK_CREDS(skb)->uid;
	if (!uid_eq(v->uid, sock_i_uid(sk)))
		v->uid = INVALID_UID;
	v->user_ns = sk_user_ns(sk);
	v->pid_ns = task_active_pid_ns(current);
	v->all_of = netlink_ns_capable(skb, v->user_ns, CAP_SYS_ADMIN) ||
		    netlink_ns_capable(skb, v->user_ns, CAP_NET_ADMIN) ? v->user_ns : NULL;
}

static bool may_see(const struct viewer *v, const struct rl_vm *vm)
{
	struct user_namespace *ns;

	if (uid_valid(v->uid) && uid_eq(v->uid, vm->owner.uid))
		return true;
	for (ns = vm->owner.user_ns; ns && v->all_of; ns = ns->parent)
		if (ns == v->all_of)
			return true;
	return false;
}

static int msg_end(struct msg *m, void *head, int err)
{
	if (err) {
		genlmsg_cancel(m->skb, head);
		return -EMSGSIZE;
	}
	genlmsg_end(m->skb, head);
	return 0;
}

/*
 * Put functions: the first item of @vm that is not before *@at as a message; *@at
 * becomes its own. 0, -ENOENT when there is none, -EMSGSIZE. A few counters at a
 * time, hence the sums of errors.
 */

static int put_vm(struct msg *m, struct rl_vm *vm, unsigned long *at)
{
	const struct rl_vm_stats *st = &vm->stat;
	struct sk_buff *skb = m->skb;
	void *head;
	int err;

	if (*at)
		return -ENOENT;
	head = genlmsg_put(skb, m->portid, m->seq, &family, m->flags, m->cmd);
	if (!head)
		return -EMSGSIZE;
	err = nla_put_u32(skb, RINGLET_A_VM_ID, vm->id) ?:
	      nla_put_u32(skb, RINGLET_A_VM_PID, pid_nr_ns(vm->owner.pid, m->viewer->pid_ns)) ?:
	      nla_put_u32(skb, RINGLET_A_VM_UID,
			  from_kuid_munged(m->viewer->user_ns, vm->owner.uid)) ?:
	      nla_put_string(skb, RINGLET_A_VM_COMM, vm->owner.comm) ?:
	      nla_put_u32(skb, RINGLET_A_VM_VCPUS, READ_ONCE(vm->nr_vcpus));
#define PUT(attr, val) \
	(err = err ?: nla_put_u64_64bit(skb, RINGLET_A_VM_##attr, val, RINGLET_A_VM_PAD))
	PUT(MEMORY, rl_slots_pages(vm) << PAGE_SHIFT);
	PUT(TABLES, READ_ONCE(vm->mmu.nr_tables));
	PUT(MAPPED_4K, atomic64_read(&st->mapped_4k));
	PUT(MAPPED_2M, atomic64_read(&st->mapped_2m));
	PUT(MAPPED_1G, atomic64_read(&st->mapped_1g));
	PUT(FAULTS, atomic64_read(&st->faults));
#undef PUT
	return msg_end(m, head, err);
}

static int put_exits(struct sk_buff *skb, const u64 *exits)
{
#define WORD(kind, word) word,
	static const char * const words[] = { RL_EXIT_KINDS(WORD) };
#undef WORD
	struct nlattr *nest;
	u64 count;
	int i;

	for (i = 0; i < RL_NR_EXITS; i++) {
		count = READ_ONCE(exits[i]);
		if (!count)
			continue;
		nest = nla_nest_start(skb, RINGLET_A_VCPU_EXIT);
		if (!nest || nla_put_string(skb, RINGLET_A_EXIT_REASON, words[i]) ||
		    nla_put_u64_64bit(skb, RINGLET_A_EXIT_COUNT, count, RINGLET_A_EXIT_PAD))
			return -EMSGSIZE;
		nla_nest_end(skb, nest);
	}
	return 0;
}

static pid_t last_tid(struct rl_vcpu *vcpu, struct pid_namespace *ns)
{
	pid_t tid;

	rcu_read_lock();
	tid = pid_nr_ns(rcu_dereference(vcpu->pid), ns);
	rcu_read_unlock();
	return tid;
}

static int put_vcpu(struct msg *m, struct rl_vm *vm, unsigned long *at)
{
	struct sk_buff *skb = m->skb;
	const struct rl_vcpu_stats *st;
	struct rl_vcpu *vcpu;
	int err, cpu;
	void *head;
	pid_t tid;

	/* Pairs with vm_create_vcpu(). */
	if (*at >= smp_load_acquire(&vm->nr_vcpus))
		return -ENOENT;
	vcpu = vm->vcpus[*at];
	st = &vcpu->stat;
	cpu = READ_ONCE(vcpu->cpu);
	tid = last_tid(vcpu, m->viewer->pid_ns);

	head = genlmsg_put(skb, m->portid, m->seq, &family, m->flags, m->cmd);
	if (!head)
		return -EMSGSIZE;
	err = nla_put_u32(skb, RINGLET_A_VCPU_VM_ID, vm->id) ?:
	      nla_put_u32(skb, RINGLET_A_VCPU_ID, vcpu->id) ?:
	      nla_put_u32(skb, RINGLET_A_VCPU_STATE, READ_ONCE(vcpu->mp_state));
	if (!err && tid)
		err = nla_put_u32(skb, RINGLET_A_VCPU_TID, tid);
	if (!err && cpu >= 0)
		err = nla_put_u32(skb, RINGLET_A_VCPU_CPU, cpu);
#define PUT(attr, val) \
	(err = err ?: nla_put_u64_64bit(skb, RINGLET_A_VCPU_##attr, val, RINGLET_A_VCPU_PAD))
	PUT(HALTS, READ_ONCE(st->halts));
	PUT(HALT_POLLS, READ_ONCE(st->halt_polls));
	PUT(HALT_WAKEUPS, atomic64_read(&st->halt_wakeups));
	PUT(INTERRUPTS, READ_ONCE(st->injected_irqs));
	PUT(NMIS, READ_ONCE(st->injected_nmis));
	PUT(EXCEPTIONS, READ_ONCE(st->injected_exceptions));
	PUT(EMULATED, READ_ONCE(st->emulated));
	PUT(TLB_FLUSHES, READ_ONCE(st->tlb_flushes));
	PUT(KICKS, atomic64_read(&st->kicks));
#undef PUT
	return msg_end(m, head, err ?: put_exits(skb, st->exits));
}

static int put_stopped(struct msg *m, struct rl_vm *vm, unsigned long *at)
{
	struct sk_buff *skb = m->skb;
	void *head;
	int err;

	head = genlmsg_put(skb, m->portid, m->seq, &family, m->flags, m->cmd);
	if (!head)
		return -EMSGSIZE;
	err = nla_put_u32(skb, RINGLET_A_VCPU_VM_ID, vm->id) ?:
	      nla_put_u32(skb, RINGLET_A_VCPU_ID, m->vcpu->id) ?:
	      nla_put_u32(skb, RINGLET_A_VCPU_STOP_REASON, m->reason) ?:
	      nla_put_u32(skb, RINGLET_A_VCPU_SUBERROR, m->suberror) ?:
	      nla_put_u64_64bit(skb, RINGLET_A_VCPU_HW_REASON, m->vcpu->exit.hw_reason,
				RINGLET_A_VCPU_PAD);
	return msg_end(m, head, err);
}

static int put_one_vdev(struct msg *m, const struct rl_vdev *dev, u32 state, u32 queue, int error)
{
	struct sk_buff *skb = m->skb;
	void *head;
	int err;

	head = genlmsg_put(skb, m->portid, m->seq, &family, m->flags, m->cmd);
	if (!head)
		return -EMSGSIZE;
	err = nla_put_u32(skb, RINGLET_A_DEVICE_VM_ID, dev->vm->id) ?:
	      nla_put_u32(skb, RINGLET_A_DEVICE_ID, dev->id) ?:
	      nla_put_u32(skb, RINGLET_A_DEVICE_TYPE, dev->type) ?:
	      nla_put_u32(skb, RINGLET_A_DEVICE_STATE, state) ?:
	      nla_put_u32(skb, RINGLET_A_DEVICE_QUEUES, dev->nr_queues) ?:
	      nla_put_u64_64bit(skb, RINGLET_A_DEVICE_FEATURES, READ_ONCE(dev->features),
				RINGLET_A_DEVICE_PAD);
	if (!err && READ_ONCE(dev->flags) & RINGLET_STATUS_BACKEND_GONE)
		err = nla_put_flag(skb, RINGLET_A_DEVICE_BACKEND_GONE);
	if (!err && state == RINGLET_STATE_NEEDS_RESET)
		err = nla_put_u32(skb, RINGLET_A_DEVICE_BAD_QUEUE, queue) ?:
		      nla_put_u32(skb, RINGLET_A_DEVICE_ERROR, -error);
	return msg_end(m, head, err);
}

/* vm->vdevs_lock held: in the order of their numbers, which the list has them in. */
static struct rl_vdev *next_vdev(struct rl_vm *vm, u32 id)
{
	struct rl_vdev *dev;

	list_for_each_entry(dev, &vm->vdevs, link)
		if (dev->id >= id)
			return dev;
	return NULL;
}

static int put_vdev(struct msg *m, struct rl_vm *vm, unsigned long *at)
{
	struct rl_vdev *dev;
	int r = -ENOENT;
	u32 state;

	mutex_lock(&vm->vdevs_lock);
	dev = next_vdev(vm, *at);
	if (dev) {
		*at = dev->id;
		state = smp_load_acquire(&dev->state);	/* pairs with vq_broke() */
		r = put_one_vdev(m, dev, state, READ_ONCE(dev->bad_queue),
				 READ_ONCE(dev->error));
	}
	mutex_unlock(&vm->vdevs_lock);
	return r;
}

static int put_broken(struct msg *m, struct rl_vm *vm, unsigned long *at)
{
	return put_one_vdev(m, m->dev, RINGLET_STATE_NEEDS_RESET, m->queue, m->error);
}

static int put_one_vq(struct msg *m, const struct rl_vdev *dev, const struct rl_vq *vq)
{
	const struct ringlet_queue_stats *st = &vq->stat;
	struct sk_buff *skb = m->skb;
	void *head;
	int err;

	head = genlmsg_put(skb, m->portid, m->seq, &family, m->flags, m->cmd);
	if (!head)
		return -EMSGSIZE;
	err = nla_put_u32(skb, RINGLET_A_QUEUE_VM_ID, dev->vm->id) ?:
	      nla_put_u32(skb, RINGLET_A_QUEUE_DEVICE_ID, dev->id) ?:
	      nla_put_u32(skb, RINGLET_A_QUEUE_ID, vq->index) ?:
	      nla_put_u32(skb, RINGLET_A_QUEUE_SIZE, READ_ONCE(vq->ring.size));
#define PUT(attr, field) \
	(err = err ?: nla_put_u64_64bit(skb, RINGLET_A_QUEUE_##attr, READ_ONCE(st->field), \
					RINGLET_A_QUEUE_PAD))
	PUT(DOORBELLS, kicks);
	PUT(REQUESTS, requests);
	PUT(BYTES_READ, bytes_read);
	PUT(BYTES_WRITTEN, bytes_written);
	PUT(INTERRUPTS, interrupts);
	PUT(SUPPRESSED, suppressed);
	PUT(ERRORS, errors);
	PUT(DEFERRED, deferred);
	PUT(POLLS, polls);
#undef PUT
	return msg_end(m, head, err);
}

/* Items are queues, of all devices: device number and queue in one. */
static int put_vq(struct msg *m, struct rl_vm *vm, unsigned long *at)
{
	unsigned long id = *at / RINGLET_MAX_QUEUES, n = *at % RINGLET_MAX_QUEUES;
	struct rl_vdev *dev;
	int r = -ENOENT;

	mutex_lock(&vm->vdevs_lock);
	dev = next_vdev(vm, id);
	if (dev && dev->id == id && n >= dev->nr_queues)
		dev = next_vdev(vm, id + 1);
	if (dev) {
		if (dev->id != id)
			n = 0;
		*at = (unsigned long)dev->id * RINGLET_MAX_QUEUES + n;
		r = put_one_vq(m, dev, &dev->vq[n]);
	}
	mutex_unlock(&vm->vdevs_lock);
	return r;
}

typedef int (*put_fn)(struct msg *m, struct rl_vm *vm, unsigned long *at);

/* Requests */

/* cb->args: VM and item to go on with. @only: one VM, or 0. */
static int dump(struct sk_buff *skb, struct netlink_callback *cb, u8 cmd, put_fn put, u32 only)
{
	struct viewer viewer;
	struct msg m = {
		.skb = skb,
		.viewer = &viewer,
		.portid = NETLINK_CB(cb->skb).portid,
		.seq = cb->nlh->nlmsg_seq,
		.flags = NLM_F_MULTI,
		.cmd = cmd,
	};
	unsigned long id, at;
	int r = -ENOENT;
	struct rl_vm *vm;

	viewer_init(&viewer, cb->skb);
	mutex_lock(&vms_lock);
	xa_for_each_start(&vms, id, vm, max_t(unsigned long, cb->args[0], only)) {
		if (only && id != only)
			break;
		if (!may_see(&viewer, vm))
			continue;
		for (at = id == cb->args[0] ? cb->args[1] : 0; !(r = put(&m, vm, &at)); at++)
			;
		cb->args[0] = id;
		cb->args[1] = at;
		if (r != -ENOENT)
			break;
	}
	mutex_unlock(&vms_lock);
	if (r == -ENOENT && !skb->len && only && !cb->args[0])
		return -ENOENT;		/* the one that was asked for */
	if (r == -ENOENT)
		cb->args[0] = LONG_MAX;	/* beyond the last one */
	return skb->len ?: r == -ENOENT ? 0 : r;
}

/* Where the part with a number is for its put function; ~0: nowhere. */
typedef unsigned long (*find_fn)(struct rl_vm *vm, u32 id);

static unsigned long find_vcpu(struct rl_vm *vm, u32 id)
{
	struct rl_vcpu *vcpu = rl_vcpu_by_id(vm, id);

	return vcpu ? vcpu->index : ~0ul;
}

static unsigned long find_vdev(struct rl_vm *vm, u32 id)
{
	return id;
}

/* By command; without @find there is no request for one part. */
static const struct {
	put_fn put;
	find_fn find;
} kinds[] = {
	[RINGLET_CMD_VM_GET] = { put_vm },
	[RINGLET_CMD_VCPU_GET] = { put_vcpu, find_vcpu },
	[RINGLET_CMD_DEVICE_GET] = { put_vdev, find_vdev },
	[RINGLET_CMD_QUEUE_GET] = { put_vq },
};

/* A VM's number is the first attribute of each set, a part's the second. */
static_assert(RINGLET_A_VM_ID == 1 && RINGLET_A_VCPU_VM_ID == 1 &&
	      RINGLET_A_DEVICE_VM_ID == 1 && RINGLET_A_QUEUE_VM_ID == 1);
static_assert(RINGLET_A_VCPU_ID == 2 && RINGLET_A_DEVICE_ID == 2);

/* All VMs, or the parts of all of them or of one. */
static int dump_all(struct sk_buff *skb, struct netlink_callback *cb)
{
	u8 cmd = ((struct genlmsghdr *)nlmsg_data(cb->nlh))->cmd;
	struct nlattr **attrs = rl_dump_attrs(cb);

	/* One of them is what a request without NLM_F_DUMP asks for. */
	if (attrs[1] && cmd == RINGLET_CMD_VM_GET)
		return -EINVAL;
	if (kinds[cmd].find && attrs[2])
		return -EINVAL;
	return dump(skb, cb, cmd, kinds[cmd].put, attrs[1] ? nla_get_u32(attrs[1]) : 0);
}

/* One VM, or one of its parts. */
static int get(struct sk_buff *request, struct genl_info *info)
{
	find_fn find = kinds[info->genlhdr->cmd].find;
	struct viewer viewer;
	struct msg m = {
		.viewer = &viewer,
		.portid = info->snd_portid,
		.seq = info->snd_seq,
		.cmd = info->genlhdr->cmd,
	};
	struct nlattr **attrs = info->attrs;
	unsigned long at = 0, want;
	int r = -ENOENT;
	struct sk_buff *skb;
	struct rl_vm *vm;

	if (GENL_REQ_ATTR_CHECK(info, 1) || (find && GENL_REQ_ATTR_CHECK(info, 2)))
		return -EINVAL;
	skb = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	if (!skb)
		return -ENOMEM;
	m.skb = skb;
	viewer_init(&viewer, request);
	mutex_lock(&vms_lock);
	vm = xa_load(&vms, nla_get_u32(attrs[1]));
	if (vm && may_see(&viewer, vm)) {
		if (find)
			at = find(vm, nla_get_u32(attrs[2]));
		want = at;
		r = kinds[m.cmd].put(&m, vm, &at) ?: at == want ? 0 : -ENOENT;
	}
	mutex_unlock(&vms_lock);
	if (!r)
		return genlmsg_reply(skb, info);
	nlmsg_free(skb);
	return r;
}

/* Events */

/* A message of its own for each viewer: ids read differently. */
static struct sk_buff *event_msg(struct msg *m, struct rl_vm *vm, put_fn put,
				 const struct viewer *viewer)
{
	unsigned long at = 0;

	m->skb = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	m->viewer = viewer;
	if (m->skb && put(m, vm, &at)) {
		nlmsg_free(m->skb);
		m->skb = NULL;
	}
	return m->skb;
}

/* Whoever has no memory or no room for it misses it, as with any multicast. */
static void event(struct msg *m, struct rl_vm *vm, put_fn put)
{
	static const struct viewer host = { .user_ns = &init_user_ns, .pid_ns = &init_pid_ns };
	struct sub *sub;

	might_sleep();
	if (genl_has_listeners(&family, &init_net, 0) && event_msg(m, vm, put, &host))
		genlmsg_multicast(&family, m->skb, 0, 0, GFP_KERNEL);
	mutex_lock(&subs_lock);
	list_for_each_entry(sub, &subs, link)
		if (may_see(&sub->viewer, vm) && event_msg(m, vm, put, &sub->viewer))
			genlmsg_unicast(sub->net, m->skb, sub->portid);
	mutex_unlock(&subs_lock);
}

static void vm_event(struct rl_vm *vm, u8 cmd)
{
	struct msg m = { .cmd = cmd };

	event(&m, vm, put_vm);
}

void rl_netlink_vcpu_stopped(struct rl_vcpu *vcpu, enum ringlet_stop_reason reason, u32 suberror)
{
	struct msg m = {
		.cmd = RINGLET_CMD_VCPU_STOPPED_NTF,
		.vcpu = vcpu,
		.reason = reason,
		.suberror = suberror,
	};

	event(&m, vcpu->vm, put_stopped);
}

/* What it is about is told by the caller: a reset may come first. */
void rl_netlink_device_broken(struct rl_vdev *dev, u32 queue, int error)
{
	struct msg m = {
		.cmd = RINGLET_CMD_DEVICE_BROKEN_NTF,
		.dev = dev,
		.queue = queue,
		.error = error,
	};

	event(&m, dev->vm, put_broken);
}

/* subs_lock held. */
static struct sub *find_sub(const struct net *net, u32 portid)
{
	struct sub *sub;

	list_for_each_entry(sub, &subs, link)
		if (sub->net == net && sub->portid == portid)
			return sub;
	return NULL;
}

static void free_sub(struct sub *sub)
{
	list_del(&sub->link);
	put_user_ns(sub->viewer.user_ns);
	put_pid_ns(sub->viewer.pid_ns);
	kfree(sub);
}

static int subscribe(struct sk_buff *skb, struct genl_info *info)
{
	struct sub *sub;

	sub = kzalloc(sizeof(*sub), GFP_KERNEL_ACCOUNT);
	if (!sub)
		return -ENOMEM;
	sub->net = genl_info_net(info);
	sub->portid = info->snd_portid;
	viewer_init(&sub->viewer, skb);
	mutex_lock(&subs_lock);
	if (find_sub(sub->net, sub->portid)) {
		kfree(sub);
	} else {
		get_user_ns(sub->viewer.user_ns);
		get_pid_ns(sub->viewer.pid_ns);
		list_add_tail(&sub->link, &subs);
	}
	mutex_unlock(&subs_lock);
	return 0;
}

/* A socket was closed. May sleep. */
static int socket_released(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct netlink_notify *n = data;
	struct sub *sub;

	if (action != NETLINK_URELEASE || n->protocol != NETLINK_GENERIC)
		return NOTIFY_DONE;
	mutex_lock(&subs_lock);
	sub = find_sub(n->net, n->portid);
	if (sub)
		free_sub(sub);
	mutex_unlock(&subs_lock);
	return NOTIFY_DONE;
}

static struct notifier_block netlink_nb = { .notifier_call = socket_released };

/* Policies end with the last attribute that a request may have. */
static const struct nla_policy vm_policy[] = {
	[RINGLET_A_VM_ID] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy part_policy[] = {
	[RINGLET_A_VCPU_VM_ID] = NLA_POLICY_MIN(NLA_U32, 1),
	[RINGLET_A_VCPU_ID] = { .type = NLA_U32 },
};

#define REQUEST(set) .policy = set##_policy, .maxattr = ARRAY_SIZE(set##_policy) - 1

static const struct genl_ops ops[] = {
	{ .cmd = RINGLET_CMD_VM_GET, .doit = get, .dumpit = dump_all, REQUEST(vm) },
	{ .cmd = RINGLET_CMD_VCPU_GET, .doit = get, .dumpit = dump_all, REQUEST(part) },
	{ .cmd = RINGLET_CMD_SUBSCRIBE, .doit = subscribe },
	{ .cmd = RINGLET_CMD_DEVICE_GET, .doit = get, .dumpit = dump_all, REQUEST(part) },
	{ .cmd = RINGLET_CMD_QUEUE_GET, .dumpit = dump_all, REQUEST(vm) },
};

static const struct genl_multicast_group groups[] = {
	{ .name = RINGLET_MCGRP_EVENTS, .flags = GENL_MCAST_CAP_NET_ADMIN },
};

static struct genl_family family __ro_after_init = {
	.name = RINGLET_FAMILY_NAME,
	.version = RINGLET_FAMILY_VERSION,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = ops,
	.n_ops = ARRAY_SIZE(ops),
	.resv_start_op = RINGLET_CMD_MAX + 1,
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
};

int rl_netlink_add_vm(struct rl_vm *vm)
{
	static u32 last_id;
	int r;

	vm->owner.pid = get_pid(task_tgid(current));
	vm->owner.uid = current_uid();
	vm->owner.user_ns = get_user_ns(current_user_ns());
	get_task_comm(vm->owner.comm, current);
	mutex_lock(&vms_lock);
	r = xa_alloc_cyclic(&vms, &vm->id, vm, xa_limit_31b, &last_id, GFP_KERNEL_ACCOUNT);
	mutex_unlock(&vms_lock);
	if (r < 0) {
		put_pid(vm->owner.pid);
		put_user_ns(vm->owner.user_ns);
		return r;
	}
	vm_event(vm, RINGLET_CMD_VM_CREATED_NTF);
	return 0;
}

void rl_netlink_del_vm(struct rl_vm *vm)
{
	mutex_lock(&vms_lock);
	xa_erase(&vms, vm->id);
	mutex_unlock(&vms_lock);
	vm_event(vm, RINGLET_CMD_VM_DESTROYED_NTF);
	put_pid(vm->owner.pid);
	put_user_ns(vm->owner.user_ns);
}

int __init rl_netlink_init(void)
{
	int r = genl_register_family(&family);

	if (!r)
		netlink_register_notifier(&netlink_nb);
	return r;
}

void rl_netlink_exit(void)
{
	struct sub *sub, *next;

	/* No request comes after this. */
	genl_unregister_family(&family);
	netlink_unregister_notifier(&netlink_nb);
	list_for_each_entry_safe(sub, next, &subs, link)
		free_sub(sub);
}
