// SPDX-License-Identifier: GPL-2.0
/*
 * The launcher on a terminal: raw mode and back, the escape key, a terminal that
 * goes away, with a guest of a few instructions that send back what they receive;
 * and a shell in Debian's kernel on the virtio console, with the terminal's size.
 *
 * RINGLET and RINGLET_DEV name another launcher or hypervisor's node, KERNEL and
 * INITRD another guest.
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
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include "harness.h"

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

/* @options: what comes after --device */
static void exec_launcher(const char *const *options)
{
	char self[PATH_MAX] = "", path[PATH_MAX + 32];
	const char *argv[16] = { "ringlet", "run", "--device", device() };

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		_exit(127);
	snprintf(path, sizeof(path), "%s/../tools/ringlet", dirname(self));
	for (int i = 4; *options && i < 15; i++)
		argv[i] = *options++;
	execvp(getenv("RINGLET") ?: path, (char *const *)argv);
	_exit(127);
}

/* The launcher on a terminal of its own. */
struct term {
	int master, slave;
	pid_t pid;
	int wait_ms;
	char seen[65536];
	size_t len;
};

static bool term_start(struct term *t, const struct winsize *size, const char *const *options)
{
	/* The slave stays open here, so that its modes can be looked at afterwards. */
	if (openpty(&t->master, &t->slave, NULL, NULL, size))
		return false;
	t->wait_ms = WAIT_MS;
	t->pid = fork();
	if (!t->pid) {
		close(t->master);
		login_tty(dup(t->slave));
		close(t->slave);
		exec_launcher(options);
	}
	return t->pid > 0;
}

static void term_end(struct term *t)
{
	if (t->pid > 0) {
		kill(t->pid, SIGKILL);
		waitpid(t->pid, NULL, 0);
	}
}

FIXTURE(tty)
{
	char kernel[32];
	struct term t;
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
	ASSERT_TRUE(term_start(&self->t, NULL, (const char *const []){ "--kernel", self->kernel,
								       NULL }));
}

FIXTURE_TEARDOWN(tty)
{
	term_end(&self->t);
	unlink(self->kernel);
}

/* Read until the launcher or the guest has said @text. */
static bool await(struct term *t, const char *text)
{
	struct pollfd in = { .fd = t->master, .events = POLLIN };
	ssize_t n;

	while (!strstr(t->seen, text)) {
		if (poll(&in, 1, t->wait_ms) != 1)
			return false;
		n = read(t->master, t->seen + t->len, sizeof(t->seen) - 1 - t->len);
		if (n <= 0)
			return false;
		/* A boot has a zero byte here and there. */
		for (char *p = t->seen + t->len; p < t->seen + t->len + n; p++)
			*p = *p ?: ' ';
		t->len += n;
	}
	return true;
}

static bool type(struct term *t, const char *text)
{
	ssize_t len = strlen(text);

	return write(t->master, text, len) == len;
}

/* The launcher's exit status, or -1 when it does not end. */
static int end_status(struct term *t)
{
	int status;

	for (int ms = 0; ms < t->wait_ms; ms += 10) {
		if (waitpid(t->pid, &status, WNOHANG) == t->pid) {
			t->pid = 0;
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
	EXPECT_FALSE(is_raw(self->t.slave));
	ASSERT_TRUE(await(&self->t, "up"));
	EXPECT_TRUE(is_raw(self->t.slave));
	ASSERT_TRUE(type(&self->t, "\001x"));
	EXPECT_EQ(0, end_status(&self->t));
	EXPECT_FALSE(is_raw(self->t.slave));
}

TEST_F(tty, escape)
{
	ASSERT_TRUE(await(&self->t, "up"));
	/* Ctrl-C and Ctrl-Z are the guest's. */
	ASSERT_TRUE(type(&self->t, "1\003\032\0012\001a3"));
	ASSERT_TRUE(await(&self->t, "up1\003\032\0013"));
	ASSERT_TRUE(type(&self->t, "\001\001" "4"));
	ASSERT_TRUE(await(&self->t, "3\0014"));
	ASSERT_TRUE(type(&self->t, "\001b"));
	ASSERT_TRUE(await(&self->t, "4B"));
	ASSERT_TRUE(type(&self->t, "\001h"));
	ASSERT_TRUE(await(&self->t, "Ctrl-A x"));
	ASSERT_TRUE(type(&self->t, "5"));
	ASSERT_TRUE(await(&self->t, "5"));
	ASSERT_TRUE(type(&self->t, "\001x"));
	EXPECT_EQ(0, end_status(&self->t));
}

TEST_F(tty, signal_restores)
{
	ASSERT_TRUE(await(&self->t, "up"));
	ASSERT_EQ(0, kill(self->t.pid, SIGTERM));
	EXPECT_EQ(128 + SIGTERM, end_status(&self->t));
	EXPECT_FALSE(is_raw(self->t.slave));
}

TEST_F(tty, continued)
{
	ASSERT_TRUE(await(&self->t, "up"));
	ASSERT_EQ(0, kill(self->t.pid, SIGSTOP));
	/* As a shell does while the job is stopped. */
	ASSERT_EQ(0, tcsetattr(self->t.slave, TCSANOW, &(struct termios){
		.c_lflag = ICANON | ECHO | ISIG, .c_cflag = CS8 | CREAD }));
	ASSERT_FALSE(is_raw(self->t.slave));
	ASSERT_EQ(0, kill(self->t.pid, SIGCONT));
	for (int ms = 0; ms < WAIT_MS && !is_raw(self->t.slave); ms += 10)
		usleep(10 * 1000);
	EXPECT_TRUE(is_raw(self->t.slave));
	ASSERT_TRUE(type(&self->t, "\001x"));
	EXPECT_EQ(0, end_status(&self->t));
}

TEST_F(tty, closed)
{
	ASSERT_TRUE(await(&self->t, "up"));
	close(self->t.slave);
	close(self->t.master);
	EXPECT_EQ(128 + SIGHUP, end_status(&self->t));
}

/* A reader that does not read must not keep a signal from being heeded. */
TEST_F(tty, stuck_output)
{
	ASSERT_TRUE(await(&self->t, "up"));
	ASSERT_TRUE(type(&self->t, "F"));
	ASSERT_TRUE(await(&self->t, "FF"));
	sleep(2);	/* more than enough to fill what a terminal buffers */
	ASSERT_EQ(0, kill(self->t.pid, SIGTERM));
	EXPECT_EQ(128 + SIGTERM, end_status(&self->t));
}

FIXTURE(hvc)
{
	struct term t;
};

static char *guest_file(const char *variable, const char *name)
{
	static char paths[2][PATH_MAX];
	static int n;
	char *path = getenv(variable) ?: paths[n++ % 2];

	if (!getenv(variable))
		snprintf(path, PATH_MAX, "%s/%s", getenv("GUEST_DIR") ?: "/guest", name);
	return path;
}

FIXTURE_SETUP(hvc)
{
	char *kernel = guest_file("KERNEL", "vmlinux"), *initrd = guest_file("INITRD", "initrd");
	struct winsize size = { .ws_row = 33, .ws_col = 101 };

	if (access(device(), R_OK | W_OK))
		SKIP(return, "no %s", device());
	if (access(kernel, R_OK) || access(initrd, R_OK))
		SKIP(return, "no %s or %s", kernel, initrd);
	ASSERT_TRUE(term_start(&self->t, &size,
			       (const char *const []){ "--kernel", kernel, "--initrd", initrd,
						       "--console", "virtio", "--cmdline",
						       "quiet", NULL }));
	self->t.wait_ms = 100000;
}

FIXTURE_TEARDOWN(hvc)
{
	term_end(&self->t);
}

/* A session, from the prompt to poweroff, by the virtio console alone. */
TEST_F_TIMEOUT(hvc, shell, 300)
{
	struct winsize size = { .ws_row = 44, .ws_col = 132 };

	if (!self->t.pid)
		return;			/* skipped */
	ASSERT_TRUE(await(&self->t, "guest# ")) TH_LOG("%s", self->t.seen);
	EXPECT_TRUE(is_raw(self->t.slave));
	ASSERT_TRUE(type(&self->t, "echo on $(tty), $((6 * 7))\n"));
	ASSERT_TRUE(await(&self->t, "on /dev/hvc0, 42"));
	ASSERT_TRUE(type(&self->t, "cat /sys/class/tty/console/active | sed s/^/active:/\n"));
	ASSERT_TRUE(await(&self->t, "active:hvc0"));
	/* more than one buffer, both ways */
	ASSERT_TRUE(type(&self->t, "seq 1 3000 | tail -n 1 | sed s/^/last:/; seq 1 3000\n"));
	ASSERT_TRUE(await(&self->t, "\n3000\r"));
	EXPECT_NE(NULL, strstr(self->t.seen, "last:3000"));
	EXPECT_NE(NULL, strstr(self->t.seen, "\n1499\r\n1500\r\n1501\r"));
	/* the user makes the window larger */
	ASSERT_EQ(0, ioctl(self->t.master, TIOCSWINSZ, &size));
	ASSERT_TRUE(type(&self->t, "until stty size | grep '^44 132'; do sleep 1; done\n"));
	ASSERT_TRUE(await(&self->t, "\n44 132\r"));
	/* Ctrl-C is the guest's, the escape key ours */
	ASSERT_TRUE(type(&self->t, "stty raw; echo raw $((4 + 4)); head -c 1 | od -t x1; stty sane\n"));
	ASSERT_TRUE(await(&self->t, "raw 8"));
	ASSERT_TRUE(type(&self->t, "\003"));
	ASSERT_TRUE(await(&self->t, "0000000 03"));
	ASSERT_TRUE(type(&self->t, "echo still $((50 + 5))\n"));
	ASSERT_TRUE(await(&self->t, "still 55"));
	/* it interrupts what runs there, and Ctrl-Z stops it */
	ASSERT_TRUE(type(&self->t, "sh -c 'echo asleep $((6 * 8)); sleep 1000'\n"));
	ASSERT_TRUE(await(&self->t, "asleep 48"));
	ASSERT_TRUE(type(&self->t, "\003"));
	ASSERT_TRUE(type(&self->t, "echo status $?\n"));
	ASSERT_TRUE(await(&self->t, "status 130"));
	ASSERT_TRUE(type(&self->t, "sh -c 'echo asleep $((6 * 9)); sleep 1000'\n"));
	ASSERT_TRUE(await(&self->t, "asleep 54"));
	ASSERT_TRUE(type(&self->t, "\032"));
	ASSERT_TRUE(await(&self->t, "Stopped"));
	ASSERT_TRUE(type(&self->t, "kill %1; echo back $((7 * 7))\n"));
	ASSERT_TRUE(await(&self->t, "back 49"));
	ASSERT_TRUE(type(&self->t, "\001h"));
	ASSERT_TRUE(await(&self->t, "Ctrl-A x"));
	ASSERT_TRUE(type(&self->t, "poweroff\n"));
	EXPECT_EQ(0, end_status(&self->t));
	EXPECT_FALSE(is_raw(self->t.slave));
}

TEST_HARNESS_MAIN
