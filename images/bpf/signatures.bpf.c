// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Functions that take more than six arguments, and a struct by value. */
#include "common.h"

__u64 futex_calls = 0;
__s32 futex_op = 0;
__u32 futex_val = 0, futex_val3 = 0;
__s64 futex_ret = 0;

/* The seventh argument is the first that is not in a register. */
SEC("fexit/do_futex")
int BPF_PROG(seven, __u32 *address, int op, __u32 val, void *timeout, __u32 *address2, __u32 val2,
	     __u32 val3, long ret)
{
	if (!is_ours())
		return 0;
	futex_calls++;
	futex_op = op;
	futex_val = val;
	futex_val3 = val3;
	futex_ret = ret;
	return 0;
}

__u64 uid_calls = 0;
__u32 seen_uid = 0, uid_ret = 0;

/* `kuid_t` is a struct of one number. */
SEC("fexit/from_kuid_munged")
int BPF_PROG(by_value, void *namespace, __u32 uid, __u32 ret)
{
	if (!is_ours())
		return 0;
	uid_calls++;
	seen_uid = uid;
	uid_ret = ret;
	return 0;
}
