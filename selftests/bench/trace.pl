#!/usr/bin/perl
# SPDX-License-Identifier: GPL-2.0
#
# Takes an emulator's log of executed instructions apart: which belong to one
# exit of each case of bench, and what they are. Called by ./trace:
#
#	trace.pl FORMAT TRACE SYMBOLS CASE...
#
# TRACE comes from QEMU (`log exec,in_asm`: a line per executed instruction and,
# the first time, its disassembly) or from Bochs (`trace on`: a line with both).
# SYMBOLS is the host's /proc/kallsyms.

use strict;
use warnings;
no warnings 'portable';		# 64-bit numbers in hex

# As in bench.c: where the guest's code is, and how it tells which case it is.
my ($CODE, $CODE_STEP, $GUEST_END) = (0x1000, 0x100, 0x10000);
my @CASES = qw(cpuid rdmsr out-ioeventfd out-user mmio-ioeventfd mmio-user touch-4k empty);

# What silicon charges a multiple of an ordinary instruction for.
my $EXPENSIVE = qr/^(vmread|vmwrite|vmptrld|vmclear|vmload|vmsave|vmrun|vmlaunch|vmresume|
	clgi|stgi|invept|invvpid|invlpga?|invpcid|rdmsr|wrmsr|xsave\w*|xrstor\w*|fxsave\w*|
	fxrstor\w*|xsetbv|xgetbv|cpuid|rdtscp?|rdpmc|popf[wdq]?|iret\w*|syscall|sysret\w*|
	swapgs|[rw][dr][fg]sbase\w*|verw|str[wlq]?|[sl][gil]dt\w*|ltr\w*|in[bwl]?|out[bwl]?|
	lock|[lm]fence)$/x;

my ($format, $trace, $symbols, @wanted) = @ARGV;
my (%insn, @pcs);
my (@sym_addr, @sym_name);

# read_symbols FILE: text symbols, by address.
sub read_symbols
{
	my %at;
	open(my $f, '<', $symbols) or die "$symbols: $!\n";
	while (<$f>) {
		my ($addr, $type, $name, $module) = split;
		next unless defined $name && $type =~ /^[tTwW]$/;
		$module = defined $module ? "$module " : '';
		$at{hex $addr} //= "$module$name";
	}
	for my $addr (sort { $a <=> $b } keys %at) {
		push @sym_addr, $addr;
		push @sym_name, $at{$addr};
	}
}

my %symbol_of;
sub symbol
{
	my ($pc) = @_;
	return $symbol_of{$pc} //= find_symbol($pc);
}

sub find_symbol
{
	my ($pc) = @_;
	return 'user space' if $pc < 0x800000000000;
	my ($low, $high) = (0, scalar @sym_addr);
	while ($low < $high) {
		my $mid = ($low + $high) >> 1;
		if ($sym_addr[$mid] <= $pc) { $low = $mid + 1 } else { $high = $mid }
	}
	return $low ? $sym_name[$low - 1] : sprintf('%x', $pc);
}

# read_trace: calls back with the guest's case and the host's instructions of
# each exit: what is between two instructions of the guest.
sub read_trace
{
	my ($each) = @_;
	my ($case, @exit);
	open(my $f, '<', $trace) or die "$trace: $!\n";
	while (<$f>) {
		my $pc;
		if (m{^Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/}) {
			$pc = hex $1;
		} elsif (/^0x([0-9a-f]+):\s+((?:[0-9a-f]{2} )+)\s*(.*?)\s*$/) {
			$insn{hex $1} = $3;
			next;
		} elsif (/^\(\d\)\.\[\d+\] \[0x[0-9a-f]+\] [0-9a-f]{4}:([0-9a-f]+) \([^)]*\): (.*?)\s*;/) {
			$pc = hex $1;
			$insn{$pc} = $2;
		} else {
			next;
		}
		if ($pc >= $GUEST_END) {
			push @exit, $pc if defined $case;
			next;
		}
		$each->($case, \@exit) if @exit;
		@exit = ();
		my $n = ($pc - $CODE) / $CODE_STEP;
		$case = $n >= 0 && $n < @CASES ? $CASES[int $n] : undef;
	}
}

# steady: the exits' most frequent way, as a list of addresses; the loop's own
# exits are many times the ones around it.
my (%ways, %example);
read_symbols();
read_trace(sub {
	my ($case, $exit) = @_;
	return unless defined $case;
	my $length = @$exit;
	$ways{$case}{$length}++;
	$example{$case}{$length} //= [@$exit];
});

my $failed = 0;
for my $case (@wanted) {
	my $lengths = $ways{$case};
	unless ($lengths) {
		print STDERR "trace: no exit of $case in the trace\n";
		$failed = 1;
		next;
	}
	my ($length) = sort { $lengths->{$b} <=> $lengths->{$a} || $a <=> $b } keys %$lengths;
	my @way = @{$example{$case}{$length}};
	my (%expensive, %total, @visits);
	for my $pc (@way) {
		my $text = $insn{$pc} // '?';
		my ($op) = split ' ', $text;
		if ($op =~ $EXPENSIVE) {
			$expensive{$op}++;
		}
		$expensive{"mov to \U$1"}++
			if $text =~ /^movq?\s+%r\w+, %([cd]r\d)/ || $text =~ /^mov ([cd]r\d), /;
		my $name = symbol($pc);
		$total{$name}++;
		if (@visits && $visits[-1][0] eq $name) {
			$visits[-1][1]++;
		} else {
			push @visits, [$name, 1];
		}
	}
	my $list = join ', ', map { "$expensive{$_} $_" } sort keys %expensive;
	if ($format eq 'counts') {
		print "$case $length: $list\n";
		next;
	}
	my $times = 0;
	$times += $_ for values %$lengths;
	print "== $case: $length instructions of the host in one exit",
		" ($lengths->{$length} of $times went this way)\n";
	if ($format eq 'insns') {
		my $last = '';
		for my $pc (@way) {
			my $name = symbol($pc);
			print "$name\n" if $name ne $last;
			$last = $name;
			printf "  %x  %s\n", $pc, $insn{$pc} // '?';
		}
		next;
	}
	printf "%6d  %s\n", $_->[1], $_->[0] for @visits;
	print "-- by function\n";
	printf "%6d  %s\n", $total{$_}, $_
		for sort { $total{$b} <=> $total{$a} || $a cmp $b } keys %total;
	print "-- expensive: $list\n";
}
exit $failed;
