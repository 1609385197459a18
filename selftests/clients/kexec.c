// SPDX-License-Identifier: GPL-2.0
/*
 * Runs in a guest: another kernel in place of this one, with this one's command line.
 *
 *	kexec KERNEL INITRAMFS		does not come back when it went well
 */
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char line[2048];
	FILE *cmdline = fopen("/proc/cmdline", "r");
	int kernel, initramfs;

	if (argc != 3 || !cmdline || !fgets(line, sizeof(line), cmdline))
		return 2;
	line[strcspn(line, "\n")] = 0;
	kernel = open(argv[1], O_RDONLY);
	initramfs = open(argv[2], O_RDONLY);
	if (syscall(SYS_kexec_file_load, kernel, initramfs, strlen(line) + 1, line, 0) ||
	    syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		    LINUX_REBOOT_CMD_KEXEC, NULL))
		perror("kexec");
	return 1;
}
