// SPDX-License-Identifier: GPL-2.0
/*
 * The user's side of the serial console: standard input, raw when it is a
 * terminal, with the escape key.
 *
 * Owns:    the terminal's modes, and standard input.
 * Touches: nothing else; serial.c and virtio_console.c write standard output.
 * Locks:   none, the main thread only (console_is_raw() is read from anywhere).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "console.h"

#define ESCAPE	0x01	/* Ctrl-A */

static const char help[] =
	"\r\nCtrl-A x  quit\r\n"
	"Ctrl-A b  send a break (magic SysRq)\r\n"
	"Ctrl-A a  send Ctrl-A\r\n"
	"Ctrl-A h  this help\r\n";

static struct termios saved;
static bool is_terminal, ended, after_escape;
static atomic_bool raw;

/** console_open() - Take over standard input; its state is restored at exit */
void console_open(void)
{
	is_terminal = isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &saved);
	if (!is_terminal)
		return;
	atexit(console_restore);
	console_resume();
}

/** console_resume() - Raw mode again, after a shell had the terminal */
void console_resume(void)
{
	struct termios mode = saved;

	if (!is_terminal)
		return;
	cfmakeraw(&mode);
	if (!tcsetattr(STDIN_FILENO, TCSANOW, &mode))
		raw = true;
}

void console_restore(void)
{
	if (atomic_exchange(&raw, false))
		tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

bool console_is_raw(void)
{
	return raw;
}

/** console_input_fd() - What to poll for input: -1 once there will be no more */
int console_input_fd(void)
{
	return ended ? -1 : STDIN_FILENO;
}

/** console_input_ended() - A terminal that ended has been closed, a file is just read */
bool console_input_ended(void)
{
	return ended && is_terminal;
}

/* Take one typed byte. Returns the byte for the guest, or -1. */
static int filter(uint8_t c, enum console_key *key)
{
	if (!is_terminal)
		return c;
	if (!after_escape) {
		after_escape = c == ESCAPE;
		return after_escape ? -1 : c;
	}
	after_escape = false;
	switch (c) {
	case 'a':
	case ESCAPE:
		return ESCAPE;
	case 'x':
		*key = CONSOLE_QUIT;
		break;
	case 'b':
		*key = CONSOLE_BREAK;
		break;
	case 'h':
	case '?':
		fputs(help, stderr);
		break;
	}
	return -1;
}

/**
 * console_read() - Read what was typed, less what was for the launcher
 * @buf:  receives bytes for the guest
 * @room: size of @buf; what does not fit is lost, as no file is read when it is 0
 * @key:  set when an escape sequence asked for something
 *
 * Return: number of bytes in @buf.
 */
int console_read(uint8_t *buf, int room, enum console_key *key)
{
	uint8_t typed[64];
	size_t want = room > 0 && room < (int)sizeof(typed) ? (size_t)room : sizeof(typed);
	ssize_t n = read(STDIN_FILENO, typed, want);
	int kept = 0;

	*key = CONSOLE_NONE;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		ended = true;
		return 0;
	}
	for (ssize_t i = 0; i < n; i++) {
		int byte = filter(typed[i], key);

		if (byte >= 0 && kept < room)
			buf[kept++] = byte;
	}
	return kept;
}

/**
 * console_open_output() - A descriptor for what the guest says
 *
 * Standard output may be shared with the user's shell, which would not expect it
 * to become non-blocking: a terminal or pipe can be opened once more instead.
 */
int console_open_output(void)
{
	struct stat st;
	int fd = -1;

	if (!fstat(STDOUT_FILENO, &st) && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)))
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
}
