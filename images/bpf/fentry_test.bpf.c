// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The kernel's test functions, which a test run calls with known arguments: one, and six of different sizes. */
#include "common.h"

__u64 calls_of_one = 0;
__s32 one_a = 0, one_ret = 0;

__u64 calls_of_six = 0;
__u64 six_a = 0, six_b = 0, six_e = 0, six_f = 0;
__s16 six_c = 0;
__s32 six_d = 0, six_ret = 0;

SEC("fexit/bpf_fentry_test1")
int BPF_PROG(one, int a, int ret)
{
	calls_of_one++;
	one_a = a;
	one_ret = ret;
	return 0;
}

SEC("fexit/bpf_fentry_test6")
int BPF_PROG(six, __u64 a, void *b, short c, int d, void *e, __u64 f, int ret)
{
	calls_of_six++;
	six_a = a;
	six_b = (__u64)b;
	six_c = c;
	six_d = d;
	six_e = (__u64)e;
	six_f = f;
	six_ret = ret;
	return 0;
}
