// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* An XDP program with subprograms, to be traced. What each returns depends on the length of the packet. */
#include "common.h"

static __noinline int scaled(int len, int factor)
{
	return len * factor;
}

__noinline int shifted(int len)
{
	return len - 1000;
}

SEC("xdp")
int verdict(struct xdp_md *ctx)
{
	int len = ctx->data_end - ctx->data;

	/* Nothing here is constant: clang makes copies of static functions for constant arguments. */
	return shifted(len) + scaled(len, len >> 4);
}
