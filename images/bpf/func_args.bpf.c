// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Arguments and return value, read with helpers. */
#include "common.h"

__u64 calls = 0;
__s64 seen_count = 0;
__u64 seen_dfd = 0;
__u64 seen_flags = 0;
__u64 seen_ret = 0;
__s64 behind_the_last = 0;

SEC("fexit/filename_lookup")
int func_args(void *ctx)
{
	__u64 value = 0;

	if (!is_ours())
		return 0;
	calls++;
	seen_count = bpf_get_func_arg_cnt(ctx);
	bpf_get_func_arg(ctx, 0, &value);
	seen_dfd = value;
	bpf_get_func_arg(ctx, 2, &value);
	seen_flags = value;
	bpf_get_func_ret(ctx, &value);
	seen_ret = value;
	behind_the_last = bpf_get_func_arg(ctx, 5, &value);
	return 0;
}
