// SPDX-License-Identifier: GPL-2.0
/* A small generic netlink client for the module's family, and for spoiled requests. */
#include "nl.h"

void request_init(struct request *r, u16 family, u8 cmd, u16 flags)
{
	memset(r, 0, sizeof(*r));
	r->nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	r->nlh.nlmsg_type = family;
	r->nlh.nlmsg_flags = NLM_F_REQUEST | flags;
	r->genl.cmd = cmd;
	r->genl.version = 1;
}

struct nlattr *request_add(struct request *r, u16 type, const void *data, u16 len)
{
	struct nlattr *a = (void *)r + NLMSG_ALIGN(r->nlh.nlmsg_len);

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	memcpy((void *)a + NLA_HDRLEN, data, len);
	r->nlh.nlmsg_len = NLMSG_ALIGN(r->nlh.nlmsg_len) + NLA_ALIGN(a->nla_len);
	return a;
}

void request_u32(struct request *r, u16 type, u32 val)
{
	request_add(r, type, &val, sizeof(val));
}

static void nl_send(struct nl *nl, struct request *r)
{
	r->nlh.nlmsg_seq = ++nl->seq;
	CHECK(NULL, send(nl->fd, r, r->nlh.nlmsg_len, 0) == r->nlh.nlmsg_len, "send");
}

struct nlattr *nl_find(void *from, size_t len, u16 type)
{
	struct nlattr *a = from;

	for (; len >= NLA_HDRLEN && a->nla_len >= NLA_HDRLEN && a->nla_len <= len;
	     len -= NLA_ALIGN(a->nla_len), a = (void *)a + NLA_ALIGN(a->nla_len)) {
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		if (NLA_ALIGN(a->nla_len) > len)
			break;
	}
	return NULL;
}

struct nlattr *attr(struct nlmsghdr *h, u16 type)
{
	return nl_find((void *)h + NLMSG_LENGTH(GENL_HDRLEN),
		    h->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), type);
}

void *payload(struct nlattr *a)
{
	CHECK(NULL, a, "an attribute is missing");
	return (void *)a + NLA_HDRLEN;
}

u32 attr_u32(struct nlmsghdr *h, u16 type)
{
	u32 val;

	memcpy(&val, payload(attr(h, type)), sizeof(val));
	return val;
}

u64 attr_u64(struct nlmsghdr *h, u16 type)
{
	u64 val;

	memcpy(&val, payload(attr(h, type)), sizeof(val));
	return val;
}

static void nl_recv(struct nl *nl)
{
	ssize_t n = recv(nl->fd, nl->buf, nl->buf_size, MSG_TRUNC);

	CHECK(NULL, n > 0 && n <= (ssize_t)nl->buf_size, "recv: %zd %s", n, strerror(errno));
	nl->len = n;
}

int nl_do(struct nl *nl, struct request *r, void (*fn)(struct nlmsghdr *h, void *arg),
		 void *arg)
{
	struct nlmsghdr *h;
	int left, err;

	r->nlh.nlmsg_flags |= NLM_F_ACK;
	nl_send(nl, r);
	for (;;) {
		nl_recv(nl);
		left = nl->len;
		for (h = (void *)nl->buf; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_seq != nl->seq)
				continue;	/* an event */
			if (h->nlmsg_type == NLMSG_ERROR || h->nlmsg_type == NLMSG_DONE) {
				memcpy(&err, NLMSG_DATA(h), sizeof(err));
				return err;
			}
			if (fn)
				fn(h, arg);
		}
	}
}

static void take_family(struct nlmsghdr *h, void *arg)
{
	struct nl *nl = arg;
	struct nlattr *groups = attr(h, CTRL_ATTR_MCAST_GROUPS), *group;

	memcpy(&nl->family, payload(attr(h, CTRL_ATTR_FAMILY_ID)), 2);
	group = payload(groups);
	memcpy(&nl->group, payload(nl_find((void *)group + NLA_HDRLEN, group->nla_len - NLA_HDRLEN,
					CTRL_ATTR_MCAST_GRP_ID)), 4);
}

struct nl *nl_open_with(size_t buf_size)
{
	struct nl *nl = calloc(1, sizeof(*nl));
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK };
	struct request r;

	nl->buf_size = buf_size;
	nl->buf = malloc(buf_size);
	nl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	CHECK(NULL, nl->fd >= 0 && !bind(nl->fd, (void *)&sa, sizeof(sa)), "netlink socket");
	request_init(&r, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	request_add(&r, CTRL_ATTR_FAMILY_NAME, RINGLET_FAMILY_NAME, sizeof(RINGLET_FAMILY_NAME));
	CHECK(NULL, !nl_do(nl, &r, take_family, nl), "no family");
	return nl;
}

struct nl *nl_open(void)
{
	return nl_open_with(32768);
}

void nl_close(struct nl *nl)
{
	close(nl->fd);
	free(nl->buf);
	free(nl);
}

int nl_join(struct nl *nl)
{
	return setsockopt(nl->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &nl->group, 4) ? -errno : 0;
}

int nl_subscribe(struct nl *nl)
{
	struct request r;

	request_init(&r, nl->family, RINGLET_CMD_SUBSCRIBE, 0);
	return nl_do(nl, &r, NULL, NULL);
}

int next_event(struct nl *nl)
{
	ssize_t n = recv(nl->fd, nl->buf, nl->buf_size, MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	nl->len = n;
	return ((struct genlmsghdr *)NLMSG_DATA((struct nlmsghdr *)nl->buf))->cmd;
}
