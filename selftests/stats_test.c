// SPDX-License-Identifier: GPL-2.0
/* KVM_GET_STATS_FD: files that say what they hold, and counters that count. */
#include "lib.h"
#include "harness.h"
#include "stats.h"

GUEST16(outs, "mov $5, %cx\n1: out %al, $0x10\nloop 1b\nhlt\n");

FIXTURE(stats) {
	struct vm *vm;
	struct vcpu *v;
	struct stats of_vm, of_vcpu;
};

FIXTURE_SETUP(stats)
{
	if (!rl_cap(KVM_CAP_BINARY_STATS_FD))
		SKIP(return, "no KVM_CAP_BINARY_STATS_FD");
	self->vm = VM_BLOB(outs, 0);
	self->v = self->vm->vcpus[0];
	stats_open(&self->of_vm, self->vm->fd);
	stats_open(&self->of_vcpu, self->v->fd);
}

FIXTURE_TEARDOWN(stats)
{
	vm_free(self->vm);
}

TEST_F(stats, layout)
{
	struct stats *both[] = { &self->of_vm, &self->of_vcpu };
	void *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char c;

	for (int i = 0; i < 2; i++) {
		struct stats *s = both[i];
		u32 size = 0;

		EXPECT_EQ(0, s->head.flags);
		EXPECT_EQ(0, strncmp(s->id, "kvm-", 4));
		EXPECT_EQ(i, !!strstr(s->id, "/vcpu-0"));
		EXPECT_LT(0, s->head.num_desc);
		for (u32 n = 0; n < s->head.num_desc; n++) {
			struct kvm_stats_desc *d = stats_desc(s, n);

			EXPECT_LT(0, d->size);
			EXPECT_LT(0, strlen(d->name));
			EXPECT_GT(s->head.name_size, strlen(d->name));
			EXPECT_GE(KVM_STATS_TYPE_MAX, d->flags & KVM_STATS_TYPE_MASK);
			for (u32 k = 0; k < n; k++) {
				EXPECT_NE(0, strcmp(d->name, stats_desc(s, k)->name));
				EXPECT_NE(d->offset, stats_desc(s, k)->offset);
			}
			size += d->size * 8;
		}
		for (u32 n = 0; n < s->head.num_desc; n++)
			EXPECT_GE(size, stats_desc(s, n)->offset + stats_desc(s, n)->size * 8);
		/* the values are the end of the file, and nobody writes it */
		EXPECT_EQ(1, pread(s->fd, &c, 1, s->head.data_offset + size - 1));
		EXPECT_EQ(0, pread(s->fd, &c, 1, s->head.data_offset + size));
		EXPECT_EQ(-1, write(s->fd, &c, 1));
		EXPECT_EQ(-1, pread(s->fd, hole, 8, 0));
		EXPECT_EQ(EFAULT, errno);
	}
}

TEST_F(stats, count)
{
	u64 io = stat(&self->of_vcpu, "io_exits"), exits = stat(&self->of_vcpu, "exits");

	EXPECT_EQ(0, io);
	for (int i = 0; i < 5; i++)
		expect_out(self->v, 0x10, 1, 0);
	expect_exit(self->v, KVM_EXIT_HLT);
	EXPECT_EQ(5, stat(&self->of_vcpu, "io_exits"));
	EXPECT_EQ(1, stat(&self->of_vcpu, "halt_exits"));
	EXPECT_LE(exits + 6, stat(&self->of_vcpu, "exits"));
	EXPECT_LT(0, stat(&self->of_vm, "pages_4k") + stat(&self->of_vm, "pages_2m"));
}

/* The file keeps what it shows. */
TEST_F(stats, outlives_its_vm)
{
	struct vm *vm = VM_BLOB(outs, 0);
	struct stats s[2];

	stats_open(&s[0], vm->fd);
	stats_open(&s[1], vm->vcpus[0]->fd);
	expect_out(vm->vcpus[0], 0x10, 1, 0);
	vm_free(vm);
	EXPECT_EQ(1, stat(&s[1], "io_exits"));
	stat(&s[0], "pages_4k");
	close(s[0].fd);
	EXPECT_EQ(1, stat(&s[1], "io_exits"));
	close(s[1].fd);
}

TEST_HARNESS_MAIN
