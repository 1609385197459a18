// SPDX-License-Identifier: GPL-2.0
/* HLT: whoever sleeps there is woken by each interrupt meant for it; none is lost. */
#include "lib.h"
#include "harness.h"

#define ROUNDS		500
#define VECTOR		0x45

static u32 token, hops_left;
static u32 nr_players;

/* The token goes round: each vCPU halts until it has it, then passes it on by IPI. */
static void guest_ring(u64 id)
{
	guest_irq_setup(EOI_X2APIC);
	GUEST_SYNC(1, 0);
	for (;;) {
		while (READ_ONCE(token) != id && READ_ONCE(hops_left)) {
			safe_halt();
			cli();
		}
		if (!READ_ONCE(hops_left))
			break;
		WRITE_ONCE(hops_left, hops_left - 1);
		WRITE_ONCE(token, (id + 1) % nr_players);
		guest_wrmsr(MSR_X2APIC(APIC_ICR), (u64)((id + 1) % nr_players) << 32 | VECTOR);
	}
	guest_wrmsr(MSR_X2APIC(APIC_ICR), 0xc0000 | VECTOR);	/* the others may go too */
	GUEST_DONE();
}

static void ring(u32 players, u32 hops)
{
	struct vm *vm = vm_long(players, guest_ring, VM_IRQCHIP);

	G(vm, nr_players) = players;
	G(vm, hops_left) = hops;
	G(vm, token) = players;			/* nobody's, until all are there */
	for (u32 i = 0; i < players; i++)
		vcpu_start(vm->vcpus[i]);
	for (u32 i = 0; i < players; i++)
		vcpu_wait_stage(vm->vcpus[i], 1);
	G(vm, token) = 0;
	kvm_do(vm->fd, KVM_SIGNAL_MSI, (&(struct kvm_msi){
	       .address_lo = 0xfee00000, .data = VECTOR }));
	for (u32 i = 0; i < players; i++)
		vcpu_join(vm->vcpus[i]);
	CHECK(NULL, !G(vm, hops_left), "%u left", G(vm, hops_left));
	vm_free(vm);
}

TEST(ping_pong)
{
	ring(2, ROUNDS);
}

TEST(ring_of_four)
{
	ring(4, ROUNDS);
}

/* The other side is a thread of the host, which waits for each to be seen. */
static void guest_sleeper(u64 id)
{
	guest_irq_setup(EOI_X2APIC);
	GUEST_SYNC(1, 0);
	while (READ_ONCE(guest_irqs[0][VECTOR]) < ROUNDS) {
		safe_halt();
		cli();
	}
	GUEST_DONE();
}

TEST(woken_by_msi)
{
	struct vm *vm = vm_long(1, guest_sleeper, VM_IRQCHIP);
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VECTOR };

	vcpu_start(vm->vcpus[0]);
	vcpu_wait_stage(vm->vcpus[0], 1);
	for (u32 i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(1, kvm_try(vm->fd, KVM_SIGNAL_MSI, &msi));
		while (G(vm, guest_irqs[0][VECTOR]) <= i)
			sched_yield();
		if (i % 50 == 0)
			usleep(2000);	/* long enough asleep to be off the CPU */
	}
	vcpu_join(vm->vcpus[0]);
	ASSERT_EQ(ROUNDS, G(vm, guest_irqs[0][VECTOR]));
	vm_free(vm);
}

static void guest_timer_sleeper(u64 id)
{
	guest_irq_setup(EOI_X2APIC);
	guest_wrmsr(MSR_X2APIC(APIC_TDCR), 0xb);
	guest_wrmsr(MSR_X2APIC(APIC_LVTT), VECTOR);
	for (u32 i = 0; i < 200; i++) {
		guest_wrmsr(MSR_X2APIC(APIC_TMICT), 1 + i * 1000);
		guest_irq_wait(VECTOR);
	}
	GUEST_ASSERT_EQ(guest_irqs[0][VECTOR], 200);
	GUEST_DONE();
}

TEST(woken_by_timer)
{
	struct vm *vm = vm_long(1, guest_timer_sleeper, VM_IRQCHIP);

	expect_done(vm->vcpus[0]);
	vm_free(vm);
}

static u64 guest_halt_open(u64 unused)
{
	safe_halt();
	cli();
	return guest_irq_total;
}

static u64 guest_halt_closed(u64 unused)
{
	cli();
	asm volatile("hlt");
	return guest_irq_total;
}

static void interrupted(int sig)
{
}

static void *send_signal(void *arg)
{
	usleep(50000);
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	return NULL;
}

/* A signal ends the wait, not the guest's HLT: it is still halted afterwards. */
TEST(signal_while_halted)
{
	struct sigaction sa = { .sa_handler = interrupted };
	struct vm *vm = vm_puppet(1, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];
	pthread_t me = pthread_self(), thread;
	struct kvm_mp_state mp;

	sigaction(SIGUSR1, &sa, NULL);
	puppet_call(v, guest_irq_setup, EOI_XAPIC);
	puppet_set(v, PUPPET_CALL, (u64)guest_halt_open, 0, 0);
	for (int i = 0; i < 2; i++) {
		pthread_create(&thread, NULL, send_signal, &me);
		ASSERT_EQ(-EINTR, vcpu_try_run(v));
		pthread_join(thread, NULL);
		kvm_do(v->fd, KVM_GET_MP_STATE, &mp);
		ASSERT_EQ(KVM_MP_STATE_HALTED, mp.mp_state);
	}
	kvm_do(vm->fd, KVM_SIGNAL_MSI, (&(struct kvm_msi){
	       .address_lo = 0xfee00000, .data = VECTOR }));
	expect_sync(v, PUPPET_STAGE);
	ASSERT_EQ(1, puppet(v)->val);
	kvm_do(v->fd, KVM_GET_MP_STATE, &mp);
	ASSERT_EQ(KVM_MP_STATE_RUNNABLE, mp.mp_state);
	vm_free(vm);
}

static u64 nmis;

static void guest_count_nmi(struct guest_regs *regs)
{
	nmis++;
}

static u64 guest_nmi_setup(u64 unused)
{
	guest_handlers[NMI] = guest_count_nmi;
	return 0;
}

/* With interrupts off only an NMI ends HLT; user space may also declare it over. */
TEST(halted_with_interrupts_off)
{
	struct sigaction sa = { .sa_handler = interrupted };
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct vm *vm = vm_puppet(1, VM_IRQCHIP);
	struct vcpu *v = vm->vcpus[0];
	pthread_t me = pthread_self(), thread;

	sigaction(SIGUSR1, &sa, NULL);
	puppet_call(v, guest_irq_setup, EOI_XAPIC);
	puppet_call(v, guest_nmi_setup, 0);
	puppet_set(v, PUPPET_CALL, (u64)guest_halt_closed, 0, 0);
	kvm_do(vm->fd, KVM_SIGNAL_MSI, (&(struct kvm_msi){
	       .address_lo = 0xfee00000, .data = VECTOR }));
	pthread_create(&thread, NULL, send_signal, &me);
	ASSERT_EQ(-EINTR, vcpu_try_run(v));
	pthread_join(thread, NULL);
	kvm_do(v->fd, KVM_NMI, 0);
	expect_sync(v, PUPPET_STAGE);
	ASSERT_EQ(1, G(vm, nmis));
	ASSERT_EQ(0, puppet(v)->val);
	puppet_set(v, PUPPET_CALL, (u64)guest_halt_closed, 0, 0);
	pthread_create(&thread, NULL, send_signal, &me);
	ASSERT_EQ(-EINTR, vcpu_try_run(v));
	pthread_join(thread, NULL);
	kvm_do(v->fd, KVM_SET_MP_STATE, &mp);
	expect_sync(v, PUPPET_STAGE);
	ASSERT_EQ(1, puppet_call(v, guest_irq_window, 0));
	vm_free(vm);
}

static bool amd;	/* the guest's copy */

static u64 guest_kick(u64 id)
{
	u64 ret = 5;		/* KVM_HC_KICK_CPU */

	if (amd)
		asm volatile("vmmcall" : "+a"(ret) : "b"(0), "c"(id) : "memory");
	else
		asm volatile("vmcall" : "+a"(ret) : "b"(0), "c"(id) : "memory");
	return ret;
}

/* A paravirtual lock's holder wakes who sleeps for it, or is about to. */
TEST(kicked_by_hypercall)
{
	struct sigaction sa = { .sa_handler = interrupted };
	struct vm *vm = vm_puppet(2, VM_IRQCHIP);
	struct vcpu *a = vm->vcpus[0], *b = vm->vcpus[1];
	pthread_t me = pthread_self(), thread;
	struct kvm_mp_state mp;

	sigaction(SIGUSR1, &sa, NULL);
	G(vm, amd) = rl_host_is_amd();
	puppet_call(b, guest_irq_setup, EOI_XAPIC);
	ASSERT_EQ(0, puppet_call(a, guest_kick, 1));		/* before it sleeps */
	puppet_call(b, guest_halt_closed, 0);
	for (int i = 0; i < 3; i++) {
		puppet_set(b, PUPPET_CALL, (u64)guest_halt_closed, 0, 0);
		pthread_create(&thread, NULL, send_signal, &me);
		ASSERT_EQ(-EINTR, vcpu_try_run(b));
		pthread_join(thread, NULL);
		kvm_do(b->fd, KVM_GET_MP_STATE, &mp);
		ASSERT_EQ(KVM_MP_STATE_HALTED, mp.mp_state);
		ASSERT_EQ(0, puppet_call(a, guest_kick, 1));
		kvm_do(b->fd, KVM_GET_MP_STATE, &mp);
		ASSERT_EQ(KVM_MP_STATE_RUNNABLE, mp.mp_state);
		expect_sync(b, PUPPET_STAGE);
	}
	ASSERT_EQ(0, puppet_call(a, guest_kick, 77));		/* nobody */
	vm_free(vm);
}

TEST_HARNESS_MAIN
