// SPDX-License-Identifier: GPL-2.0
/*
 * The module as a whole: loading and unloading it, who may own the CPU's
 * virtualization, and /dev/kvm on request. ringlet.ko's own promises: skipped
 * on another hypervisor, without root, or when the module's file (RINGLET_KO,
 * default /ringlet.ko) is not here.
 */
#include "lib.h"
#include "harness.h"
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MODULE		"ringlet"

static const char *ko(void)
{
	return getenv("RINGLET_KO") ?: "/ringlet.ko";
}

/* With what the host gave it at first (MODARGS), too. */
static int load(const char *args)
{
	int fd = open(ko(), O_RDONLY | O_CLOEXEC), ret;
	char all[256];

	if (fd < 0)
		return -errno;
	snprintf(all, sizeof(all), "%s %s", getenv("MODARGS") ?: "", args);
	ret = syscall(SYS_finit_module, fd, all, 0) ? -errno : 0;
	close(fd);
	return ret;
}

static int unload(void)
{
	return syscall(SYS_delete_module, MODULE, O_NONBLOCK) ? -errno : 0;
}

static bool exists(const char *path)
{
	struct stat st;

	return !stat(path, &st);
}

GUEST16(halt, "hlt; jmp halt_start\n");

FIXTURE(module) {
	char kvm_node;
};

FIXTURE_SETUP(module)
{
	FILE *f = fopen("/sys/module/" MODULE "/parameters/kvm_node", "r");

	self->kvm_node = 'N';
	if (f && fread(&self->kvm_node, 1, 1, f) != 1)
		self->kvm_node = 'N';
	if (f)
		fclose(f);
}

FIXTURE_TEARDOWN(module)
{
	/* whatever happened, the next program finds the module as it was */
	if (!exists("/sys/module/" MODULE) && exists(ko()))
		load(self->kvm_node == 'Y' ? "kvm_node=1" : "");
}

static const char *not_for_us(void)
{
	if (strcmp(rl_dev_path(), "/dev/ringlet"))
		return "not ringlet";
	if (geteuid())
		return "not root";
	if (!exists(ko()))
		return "no module file (RINGLET_KO)";
	return NULL;
}

#define FOR_RINGLET() \
	do { \
		const char *why = not_for_us(); \
		if (why) \
			SKIP(return, "%s", why); \
	} while (0)

TEST_F(module, hundred_cycles)
{
	FOR_RINGLET();
	ASSERT_EQ(0, unload());
	for (int i = 0; i < 100; i++) {
		ASSERT_FALSE(exists(rl_dev_path()));
		ASSERT_FALSE(exists("/sys/module/" MODULE));
		ASSERT_EQ(0, load(""));
		ASSERT_TRUE(exists("/sys/module/" MODULE));
		if (i % 10 == 0) {
			struct vm *vm = VM_BLOB(halt, VM_IRQCHIP * (i & 1));

			if (!(i & 1))
				expect_exit(vm->vcpus[0], KVM_EXIT_HLT);
			vm_free(vm);
		}
		ASSERT_EQ(0, unload());
	}
	ASSERT_EQ(-ENOENT, unload());
	ASSERT_EQ(0, load(""));
	ASSERT_EQ(-EEXIST, load(""));
}

TEST_F(module, stays_while_it_is_used)
{
	struct vm *vm;
	int dev, fd;

	FOR_RINGLET();
	vm = VM_BLOB(halt, 0);
	EXPECT_EQ(-EAGAIN, unload());
	expect_exit(vm->vcpus[0], KVM_EXIT_HLT);
	/* each descriptor by itself holds it */
	fd = dup(vm->vcpus[0]->fd);
	vm_free(vm);
	EXPECT_EQ(-EAGAIN, unload());
	close(fd);
	dev = rl_dev_open();
	EXPECT_EQ(-EAGAIN, unload());
	close(dev);
	EXPECT_EQ(0, unload());
	EXPECT_EQ(0, load(""));
}

TEST_F(module, unknown_parameter_and_bad_value)
{
	FOR_RINGLET();
	ASSERT_EQ(0, unload());
	EXPECT_NE(0, load("kvm_node=perhaps"));
	EXPECT_FALSE(exists("/sys/module/" MODULE));
	EXPECT_EQ(0, load("kvm_node=0"));
}

static bool kvm_loaded(void)
{
	return exists("/sys/module/kvm_amd") || exists("/sys/module/kvm_intel");
}

static int kvm_modprobe(bool in)
{
	const char *vendor = rl_host_is_amd() ? "kvm_amd" : "kvm_intel";
	char cmd[100];

	snprintf(cmd, sizeof(cmd), "modprobe %s %s >/dev/null 2>&1", in ? "" : "-r", vendor);
	return system(cmd);
}

TEST_F(module, answers_as_dev_kvm)
{
	int fd, vm;

	FOR_RINGLET();
	if (kvm_loaded())
		SKIP(return, "kvm.ko holds /dev/kvm");
	ASSERT_EQ(0, unload());
	EXPECT_FALSE(exists("/dev/kvm"));
	ASSERT_EQ(0, load("kvm_node=1"));
	fd = open("/dev/kvm", O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(12, kvm_try(fd, KVM_GET_API_VERSION, 0));
	vm = kvm_try(fd, KVM_CREATE_VM, 0);
	EXPECT_LE(0, vm);
	EXPECT_TRUE(exists("/dev/ringlet"));
	close(vm);
	close(fd);
	/* Not left like that: Linux 6.1's kvm.ko corrupts a list when it finds its name taken. */
	EXPECT_EQ(0, unload());
	EXPECT_EQ(0, load(""));
}

/* Beside kvm.ko: one owner at a time, and the loser is told so, without harm to the other. */
TEST_F(module, beside_kvm)
{
	struct vm *ours;
	int dev, kvm, theirs, vcpu, watch;
	char event[512];

	FOR_RINGLET();
	if (kvm_loaded() || kvm_modprobe(true))
		SKIP(return, "kvm.ko cannot be loaded by modprobe");
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, kvm);

	/* theirs first */
	theirs = kvm_try(kvm, KVM_CREATE_VM, 0);
	ASSERT_LE(0, theirs);
	dev = rl_dev_open();
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(-EBUSY, kvm_try(dev, KVM_CREATE_VM, 0));
	close(dev);
	vcpu = kvm_try(theirs, KVM_CREATE_VCPU, 0);
	EXPECT_LE(0, vcpu);
	close(vcpu);
	close(theirs);
	close(kvm);
	usleep(20000);

	/* ours first */
	ours = VM_BLOB(halt, 0);
	expect_exit(ours->vcpus[0], KVM_EXIT_HLT);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, kvm);
	EXPECT_EQ(-EBUSY, kvm_try(kvm, KVM_CREATE_VM, 0));
	expect_exit(ours->vcpus[0], KVM_EXIT_HLT);
	vm_free(ours);
	theirs = kvm_try(kvm, KVM_CREATE_VM, 0);
	EXPECT_LE(0, theirs);
	close(theirs);
	close(kvm);

	/* and /dev/kvm is taken: loading with kvm_node=1 says so */
	ASSERT_EQ(0, unload());
	watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch >= 0)
		ASSERT_LE(0, inotify_add_watch(watch, "/dev", IN_CREATE));
	EXPECT_NE(0, load("kvm_node=1"));
	EXPECT_FALSE(exists("/sys/module/" MODULE));
	/* nor was there a node for a moment, whose opener would have lost the code behind it */
	EXPECT_EQ(-1, read(watch, event, sizeof(event)));
	close(watch);
	EXPECT_EQ(0, load(""));
	EXPECT_EQ(0, kvm_modprobe(false));
}

TEST_HARNESS_MAIN
