// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The cookie of the attachment. */
#include "common.h"

__u64 calls = 0;
__u64 seen_cookie = 0;

SEC("fexit/filename_lookup")
int cookie(void *ctx)
{
	if (!is_ours())
		return 0;
	calls++;
	seen_cookie = bpf_get_attach_cookie(ctx);
	return 0;
}
