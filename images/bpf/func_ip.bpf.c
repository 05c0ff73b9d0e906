// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The address of the traced function. */
#include "common.h"

__u64 calls = 0;
__u64 seen_ip = 0;

SEC("fexit/filename_lookup")
int func_ip(void *ctx)
{
	if (!is_ours())
		return 0;
	calls++;
	seen_ip = bpf_get_func_ip(ctx);
	return 0;
}
