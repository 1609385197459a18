// SPDX-License-Identifier: GPL-2.0
/*
 * Runs a test for a feature that not every hypervisor has, if the device announces it:
 * for tests that take the feature for granted.
 *
 *	if-cap CAPABILITY PROGRAM ARGUMENT...	kselftest's status for a skip, else the program's
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CAP(name) { #name, KVM_CAP_##name }

static const struct {
	const char *name;
	int nr;
} caps[] = {
	CAP(X86_SMM), CAP(HYPERV_TIME), CAP(HYPERV_ENFORCE_CPUID), CAP(PMU_CAPABILITY),
};

int main(int argc, char **argv)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0 || argc < 3) {
		perror("if-cap");
		return 1;
	}
	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		if (strcmp(argv[1], caps[i].name))
			continue;
		if (ioctl(kvm, KVM_CHECK_EXTENSION, caps[i].nr) <= 0) {
			printf("1..0 # SKIP KVM_CAP_%s is not announced\n", argv[1]);
			return 4;
		}
		execv(argv[2], argv + 2);
		perror(argv[2]);
		return 1;
	}
	fprintf(stderr, "if-cap: unknown capability %s\n", argv[1]);
	return 1;
}
