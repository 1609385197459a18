/* SPDX-License-Identifier: GPL-2.0 */
/* KVM_GET_STATS_FD, read as its header says. */
#ifndef RL_STATS_H
#define RL_STATS_H

#include "lib.h"

struct stats {
	int fd;
	struct kvm_stats_header head;
	u8 *desc;
	char id[256];
};

static inline struct kvm_stats_desc *stats_desc(struct stats *s, u32 i)
{
	return (void *)(s->desc + i * (sizeof(struct kvm_stats_desc) + s->head.name_size));
}

static inline void stats_open(struct stats *s, int fd)
{
	size_t size;

	s->fd = kvm_do(fd, KVM_GET_STATS_FD, 0);
	CHECK(NULL, read(s->fd, &s->head, sizeof(s->head)) == sizeof(s->head), "header");
	CHECK(NULL, s->head.name_size <= sizeof(s->id), "name size %u", s->head.name_size);
	size = s->head.num_desc * (sizeof(struct kvm_stats_desc) + s->head.name_size);
	CHECK(NULL, pread(s->fd, s->id, s->head.name_size, s->head.id_offset) ==
		    s->head.name_size, "id");
	s->desc = malloc(size);
	CHECK(NULL, pread(s->fd, s->desc, size, s->head.desc_offset) == (ssize_t)size, "desc");
}

static inline void stats_close(struct stats *s)
{
	free(s->desc);
	close(s->fd);
}

static inline u64 stat(struct stats *s, const char *name)
{
	u64 val = 0;

	for (u32 i = 0; i < s->head.num_desc; i++) {
		if (strcmp(stats_desc(s, i)->name, name))
			continue;
		CHECK(NULL, pread(s->fd, &val, 8, s->head.data_offset + stats_desc(s, i)->offset) ==
			    8, "value of %s", name);
		return val;
	}
	AT(rl_fail(NULL, "no %s", name));
}

#endif
