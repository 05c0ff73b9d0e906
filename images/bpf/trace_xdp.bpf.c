// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Arguments and return values of a BPF program and its subprograms. */
#include "common.h"

__u64 calls = 0;
__s32 seen_len = 0;
__s32 seen_factor = 0;
__s32 seen_ret = 0;

SEC("fexit")
int BPF_PROG(on_verdict, void *xdp, int ret)
{
	calls++;
	seen_ret = ret;
	return 0;
}

SEC("fexit")
int BPF_PROG(on_shifted, int len, int ret)
{
	calls++;
	seen_len = len;
	seen_ret = ret;
	return 0;
}

SEC("fexit")
int BPF_PROG(on_scaled, int len, int factor, int ret)
{
	calls++;
	seen_len = len;
	seen_factor = factor;
	seen_ret = ret;
	return 0;
}
