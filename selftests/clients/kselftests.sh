# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# Linux's own KVM selftests: those of Debian's linux-source-6.1, unpacked and built
# in build/clients/kselftests.  Sourced.

KSELFTESTS=$CACHE/kselftests
KSELFTEST_ONLY=''		# these, where not all are wanted

# What says most in little time.
KSELFTEST_FAST="x86_64/cpuid_test x86_64/cr4_cpuid_sync_test x86_64/get_msr_index_features
	x86_64/kvm_clock_test x86_64/set_boot_cpu_id x86_64/set_sregs_test
	x86_64/state_test x86_64/tsc_msrs_test x86_64/userspace_io_test
	x86_64/xapic_state_test x86_64/fix_hypercall_test x86_64/monitor_mwait_test
	x86_64/platform_info_test x86_64/sync_regs_test x86_64/userspace_msr_exit_test
	kvm_create_max_vcpus set_memory_region_test steal_time system_counter_offset_test"
# What takes an emulator longer than there is time for.
KSELFTEST_SLOW="hardware_disable_test memslot_perf_test rseq_test"
# And Bochs; set_memory_region_test adds 32764 slots one by one.
KSELFTEST_LONG="set_memory_region_test $KSELFTEST_SLOW"
KSELFTEST_TARBALL=/usr/src/linux-source-6.1.tar.xz

# Only what they are built from: the headers of the kernel's interface are those of
# linux-libc-dev.
KSELFTEST_FILES="tools/testing/selftests/lib.mk tools/testing/selftests/kselftest*
	tools/testing/selftests/kvm tools/testing/selftests/rseq tools/include
	tools/arch/x86/include tools/arch/x86/lib tools/build/Build.include tools/lib
	tools/scripts scripts/subarch.include lib/rbtree.c"

# Two tests lack something: dirty_log_test a macro that a later kernel has under
# another name, steal_time a header.
KSELFTEST_CFLAGS="-DTEST_ASSERT_EQ=ASSERT_EQ -include /usr/include/linux/stddef.h"

kselftests_build()
{
	local src=$KSELFTESTS/src bin=$KSELFTESTS/bin key

	key="$KSELFTEST_FILES $KSELFTEST_CFLAGS$KSELFTEST_ONLY
$(dpkg-query -W -f '${Version} ' linux-source-6.1 linux-libc-dev)"
	[ "$(cat "$KSELFTESTS/.done" 2> /dev/null)" != "$key" ] || return 0
	say "building Linux's KVM selftests (a minute; log in $KSELFTESTS/log)"
	rm -rf "$KSELFTESTS"
	mkdir -p "$src" "$bin"
	# shellcheck disable=SC2086 # a list of words
	tar -C "$src" --strip-components=1 --touch -xf "$KSELFTEST_TARBALL" --wildcards \
		$(printf 'linux-source-6.1/%s ' $KSELFTEST_FILES) || return 1
	# One that does not compile must not take the others along.
	# shellcheck disable=SC2086
	make -k -j"$(nproc)" -C "$src/tools/testing/selftests/kvm" OUTPUT="$bin" \
		ARCH=x86_64 KHDR_INCLUDES= EXTRA_CFLAGS="$KSELFTEST_CFLAGS" \
		${KSELFTEST_ONLY:+$(printf "$bin/%s " $KSELFTEST_ONLY)} \
		> "$KSELFTESTS/log" 2>&1 < /dev/null ||
		grep -E 'error|Error' "$KSELFTESTS/log" >&2
	find "$bin" -name '*.o' -delete
	find "$bin" -type f -perm -u+x -exec strip -s {} +
	[ -n "$(kselftests_list)" ] && echo "$key" > "$KSELFTESTS/.done"
}

kselftests_list()	# the names of all tests that were built
{
	(cd "$KSELFTESTS/bin" && find . -type f -perm -u+x -printf '%P\n' | LC_ALL=C sort)
}

kselftests_fill()
{
	local root=$1 test
	local -a elfs=()

	kselftests_build || return 1
	mkdir -p "$root/kvm"
	while read -r test; do
		[ "$test" = "${test##*/}" ] || mkdir -p "$root/kvm/${test%/*}"
		ln -s "$KSELFTESTS/bin/$test" "$root/kvm/$test"
		elfs+=("$KSELFTESTS/bin/$test")
	done < <(kselftests_list)
	gcc -O2 -Wall -static -o "$root/kvm/if-cap" "$CLIENTS/if-cap.c" || return 1
	add_libs "$root" "${elfs[@]}"
	# pthread_cancel() loads it when it is called.
	stage_file "$root" "$(gcc -print-file-name=libgcc_s.so.1)" \
		/lib/x86_64-linux-gnu/libgcc_s.so.1
}

kselftests_archive()
{
	[ -r "$KSELFTEST_TARBALL" ] || die "no $KSELFTEST_TARBALL; run make setup"
	cached "${KSELFTESTS##*/}" "$(dpkg-query -W -f '${Version} ' linux-source-6.1 linux-libc-dev
		{ echo "$KSELFTEST_FILES $KSELFTEST_CFLAGS $KSELFTEST_ONLY"
		  declare -f kselftests_build kselftests_fill
		  cat "$CLIENTS/if-cap.c"; } | sha256sum)" kselftests_fill
}

# kselftests_command TEST: how it is run.  Some take a gigabyte of memory by default,
# which an emulated host touches slowly; some take a feature for granted that a
# hypervisor need not have.
kselftests_command()
{
	local cap='' args=''

	case ${1##*/} in
	access_tracking_perf_test|demand_paging_test|memslot_modification_stress_test)
		args='-b 32M' ;;
	dirty_log_perf_test)	args='-b 32M -i 2' ;;
	dirty_log_test)		args='-i 3' ;;
	kvm_page_table_test)	args='-b 64M' ;;
	max_guest_memory_test)	args='-c 1 -m 1 -s 1' ;;
	memslot_perf_test)	args='-l 1' ;;
	smm_test)		cap=X86_SMM ;;
	hyperv_clock)		cap=HYPERV_TIME ;;
	hyperv_features)	cap=HYPERV_ENFORCE_CPUID ;;
	vmx_pmu_caps_test)	cap=PMU_CAPABILITY ;;
	esac
	echo "${cap:+/kvm/if-cap $cap }/kvm/$1${args:+ $args}"
}
