/* SPDX-License-Identifier: GPL-2.0 */
/* A small generic netlink client for the module's family, and for spoiled requests. */
#ifndef RL_NL_H
#define RL_NL_H

#include "lib.h"
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/ringlet_netlink.h>
#include <sys/socket.h>

struct nl {
	int fd;
	u16 family;
	u32 group, seq;
	size_t len;		/* of what is in buf */
	char *buf;
	size_t buf_size;
};

struct request {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	char attrs[200];
};

struct nl *nl_open(void);			/* ends the test when there is no family */
struct nl *nl_open_with(size_t buf_size);
void nl_close(struct nl *nl);
int nl_join(struct nl *nl);			/* the group of events; 0 or -errno */
int nl_subscribe(struct nl *nl);
/*
 * Send, and call @fn with each message of the answer. 0, or the error of the
 * acknowledgement or of the dump's end.
 */
int nl_do(struct nl *nl, struct request *r, void (*fn)(struct nlmsghdr *h, void *arg), void *arg);
/* The next event's command; its message is in nl->buf. -EAGAIN: there is none. */
int next_event(struct nl *nl);

void request_init(struct request *r, u16 family, u8 cmd, u16 flags);
/* Returns the attribute, for those who want to spoil it. */
struct nlattr *request_add(struct request *r, u16 type, const void *data, u16 len);
void request_u32(struct request *r, u16 type, u32 val);

/* A message's attribute, or NULL; of what lies between, likewise. */
struct nlattr *attr(struct nlmsghdr *h, u16 type);
struct nlattr *nl_find(void *from, size_t len, u16 type);
/* These end the test when it is missing. */
void *payload(struct nlattr *a);
u32 attr_u32(struct nlmsghdr *h, u16 type);
u64 attr_u64(struct nlmsghdr *h, u16 type);

#define event_u32(nl, type)	attr_u32((struct nlmsghdr *)(nl)->buf, type)

#endif
