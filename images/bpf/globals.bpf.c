// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Global variables of each section, used by the program and by user space. */
#include "common.h"

/* .rodata */
const volatile __u32 STEP = 1;
const volatile __u16 UNTOUCHED = 0xbeef;

/* .data */
__u64 total = 1000;
char label[8] = "initial";

/* .bss */
__u64 calls = 0;
__u8 flag = 0;
__u8 flag_seen = 0;

/* The kernel sees the lock only if it knows the types of the section. */
struct bpf_spin_lock lock SEC(".bss.locked");
__u64 locked_calls SEC(".bss.locked");

SEC("fexit/filename_lookup")
int globals(void *ctx)
{
	if (!is_ours())
		return 0;
	total += STEP;
	calls++;
	flag_seen = flag;
	label[0]++;
	return 0;
}

SEC("fexit/filename_lookup")
int locked(void *ctx)
{
	struct bpf_spin_lock *held = &lock;

	/* One register holds the address: up to 6.1 the verifier takes two loads of it for two locks. */
	asm volatile("" : "+r"(held));
	if (!is_ours())
		return 0;
	bpf_spin_lock(held);
	locked_calls++;
	bpf_spin_unlock(held);
	return 0;
}
