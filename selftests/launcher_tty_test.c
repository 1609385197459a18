// SPDX-License-Identifier: GPL-2.0
/*
 * The launcher on a terminal: raw mode and back, the escape key, a terminal that
 * goes away. The guest is a few instructions that send back what they receive.
 *
 * RINGLET and RINGLET_DEV name another launcher or hypervisor's node.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "kselftest_harness.h"

#define GUEST_GPA	0x100000
#define WAIT_MS		20000

/*
 * 32-bit: says "up" and switches receive interrupts on, which is when input comes;
 * then sends back each byte, "B" for a break, and after an "F" that without end.
 */
asm(".pushsection .rodata\n"
	".code32\n"
	"guest_start:\n"
	"mov $0x3f8, %dx\n"
	"mov $'u', %al\n"
	"out %al, %dx\n"
	"mov $'p', %al\n"
	"out %al, %dx\n"
	"mov $0x3f9, %dx\n"
	"mov $1, %al\n"
	"out %al, %dx\n"
	"1: mov $0x3fd, %dx\n"
	"in %dx, %al\n"
	"test $0x10, %al\n"
	"jnz 2f\n"
	"test $1, %al\n"
	"jz 1b\n"
	"mov $0x3f8, %dx\n"
	"in %dx, %al\n"
	"3: out %al, %dx\n"
	"cmp $'F', %al\n"
	"je 3b\n"
	"jmp 1b\n"
	"2: mov $0x3f8, %dx\n"
	"in %dx, %al\n"
	"mov $'B', %al\n"
	"out %al, %dx\n"
	"jmp 1b\n"
	"guest_end:\n"
	".code64\n"
	".popsection\n");

extern const char guest_start[], guest_end[];

struct guest {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[2];
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint32_t entry, pad;
	} note;
	char code[256];
};

static void write_guest(const char *path)
{
	struct guest g = {
		.eh = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
			.e_phoff = offsetof(struct guest, ph), .e_ehsize = sizeof(g.eh),
			.e_phentsize = sizeof(g.ph[0]), .e_phnum = 2,
		},
		.ph = {
			{ .p_type = PT_LOAD, .p_paddr = GUEST_GPA, .p_filesz = sizeof(g),
			  .p_memsz = sizeof(g) },
			{ .p_type = PT_NOTE, .p_offset = offsetof(struct guest, note),
			  .p_filesz = sizeof(g.note) },
		},
		.note = { { 4, 4, 18 }, "Xen", GUEST_GPA + offsetof(struct guest, code), 0 },
	};
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	memcpy(g.code, guest_start, guest_end - guest_start);
	if (fd < 0 || write(fd, &g, sizeof(g)) != sizeof(g))
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
	close(fd);
}

static const char *device(void)
{
	return getenv("RINGLET_DEV") ?: "/dev/ringlet";
}

static void exec_launcher(const char *kernel)
{
	char self[PATH_MAX] = "", path[PATH_MAX + 32];

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		_exit(127);
	snprintf(path, sizeof(path), "%s/../tools/ringlet", dirname(self));
	execlp(getenv("RINGLET") ?: path, "ringlet", "run", "--device", device(), "--kernel",
	       kernel, NULL);
	_exit(127);
}

FIXTURE(tty)
{
	char kernel[32];
	int master, slave;
	pid_t pid;
	char seen[4096];
	size_t len;
};

FIXTURE_SETUP(tty)
{
	int fd;

	if (access(device(), R_OK | W_OK))
		SKIP(return, "no %s", device());
	strcpy(self->kernel, "/tmp/launcher.XXXXXX");
	fd = mkstemp(self->kernel);
	ASSERT_LE(0, fd);
	close(fd);
	write_guest(self->kernel);
	/* The slave stays open here, so that its modes can be looked at afterwards. */
	ASSERT_EQ(0, openpty(&self->master, &self->slave, NULL, NULL, NULL));
	self->pid = fork();
	if (!self->pid) {
		close(self->master);
		login_tty(dup(self->slave));
		close(self->slave);
		exec_launcher(self->kernel);
	}
}

FIXTURE_TEARDOWN(tty)
{
	if (self->pid > 0) {
		kill(self->pid, SIGKILL);
		waitpid(self->pid, NULL, 0);
	}
	unlink(self->kernel);
}

/* Read until the launcher or the guest has said @text. */
static bool await(FIXTURE_DATA(tty) *self, const char *text)
{
	struct pollfd in = { .fd = self->master, .events = POLLIN };
	ssize_t n;

	while (!strstr(self->seen, text)) {
		if (poll(&in, 1, WAIT_MS) != 1)
			return false;
		n = read(self->master, self->seen + self->len,
			 sizeof(self->seen) - 1 - self->len);
		if (n <= 0)
			return false;
		self->len += n;
	}
	return true;
}

static bool type(FIXTURE_DATA(tty) *self, const char *text)
{
	ssize_t len = strlen(text);

	return write(self->master, text, len) == len;
}

/* The launcher's exit status, or -1 when it does not end. */
static int end_status(FIXTURE_DATA(tty) *self)
{
	int status;

	for (int ms = 0; ms < WAIT_MS; ms += 10) {
		if (waitpid(self->pid, &status, WNOHANG) == self->pid) {
			self->pid = 0;
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		}
		usleep(10 * 1000);
	}
	return -1;
}

static bool is_raw(int fd)
{
	struct termios mode;

	return !tcgetattr(fd, &mode) && !(mode.c_lflag & (ICANON | ECHO | ISIG)) &&
	       !(mode.c_oflag & OPOST);
}

TEST_F(tty, quit)
{
	EXPECT_FALSE(is_raw(self->slave));
	ASSERT_TRUE(await(self, "up"));
	EXPECT_TRUE(is_raw(self->slave));
	ASSERT_TRUE(type(self, "\001x"));
	EXPECT_EQ(0, end_status(self));
	EXPECT_FALSE(is_raw(self->slave));
}

TEST_F(tty, escape)
{
	ASSERT_TRUE(await(self, "up"));
	/* Ctrl-C and Ctrl-Z are the guest's. */
	ASSERT_TRUE(type(self, "1\003\032\0012\001a3"));
	ASSERT_TRUE(await(self, "up1\003\032\0013"));
	ASSERT_TRUE(type(self, "\001\001" "4"));
	ASSERT_TRUE(await(self, "3\0014"));
	ASSERT_TRUE(type(self, "\001b"));
	ASSERT_TRUE(await(self, "4B"));
	ASSERT_TRUE(type(self, "\001h"));
	ASSERT_TRUE(await(self, "Ctrl-A x"));
	ASSERT_TRUE(type(self, "5"));
	ASSERT_TRUE(await(self, "5"));
	ASSERT_TRUE(type(self, "\001x"));
	EXPECT_EQ(0, end_status(self));
}

TEST_F(tty, signal_restores)
{
	ASSERT_TRUE(await(self, "up"));
	ASSERT_EQ(0, kill(self->pid, SIGTERM));
	EXPECT_EQ(128 + SIGTERM, end_status(self));
	EXPECT_FALSE(is_raw(self->slave));
}

TEST_F(tty, continued)
{
	ASSERT_TRUE(await(self, "up"));
	ASSERT_EQ(0, kill(self->pid, SIGSTOP));
	/* As a shell does while the job is stopped. */
	ASSERT_EQ(0, tcsetattr(self->slave, TCSANOW, &(struct termios){
		.c_lflag = ICANON | ECHO | ISIG, .c_cflag = CS8 | CREAD }));
	ASSERT_FALSE(is_raw(self->slave));
	ASSERT_EQ(0, kill(self->pid, SIGCONT));
	for (int ms = 0; ms < WAIT_MS && !is_raw(self->slave); ms += 10)
		usleep(10 * 1000);
	EXPECT_TRUE(is_raw(self->slave));
	ASSERT_TRUE(type(self, "\001x"));
	EXPECT_EQ(0, end_status(self));
}

TEST_F(tty, closed)
{
	ASSERT_TRUE(await(self, "up"));
	close(self->slave);
	close(self->master);
	EXPECT_EQ(128 + SIGHUP, end_status(self));
}

/* A reader that does not read must not keep a signal from being heeded. */
TEST_F(tty, stuck_output)
{
	ASSERT_TRUE(await(self, "up"));
	ASSERT_TRUE(type(self, "F"));
	ASSERT_TRUE(await(self, "FF"));
	sleep(2);	/* more than enough to fill what a terminal buffers */
	ASSERT_EQ(0, kill(self->pid, SIGTERM));
	EXPECT_EQ(128 + SIGTERM, end_status(self));
}

TEST_HARNESS_MAIN
