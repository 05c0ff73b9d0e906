// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Minimal programs, one for each attach type. */
#include "common.h"

__u64 calls = 0;

SEC("fexit/__do_sys_getppid")
int fexit_empty(void *ctx)
{
	return 0;
}

SEC("fexit/__do_sys_getppid")
int fexit_counting(void *ctx)
{
	calls++;
	return 0;
}

SEC("fentry/__do_sys_getppid")
int fentry_empty(void *ctx)
{
	return 0;
}

SEC("kprobe/__do_sys_getppid")
int kprobe_empty(void *ctx)
{
	return 0;
}

SEC("kretprobe/__do_sys_getppid")
int kretprobe_empty(void *ctx)
{
	return 0;
}
