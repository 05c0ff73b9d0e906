// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A program with an exception callback. Both call a function of their own, and the callback one that only it calls. */
#include "common.h"

#define EXCEPTION_CALLBACK(name) __attribute__((btf_decl_tag("exception_callback:" #name)))

extern void bpf_throw(__u64 cookie) __ksym;

__attribute__((noinline)) int twice(__u64 number)
{
	return number * 2;
}

__attribute__((noinline)) int three_more(__u64 number)
{
	return number + 3;
}

int caught(__u64 cookie)
{
	return three_more(twice(cookie));
}

/* The length of the packet is what is thrown. */
SEC("xdp")
EXCEPTION_CALLBACK(caught)
int throws(struct xdp_md *ctx)
{
	__u64 length = ctx->data_end - ctx->data;

	if (length > 64)
		bpf_throw(length);
	return twice(length);
}

/* Without a callback, the result is what is thrown. */
SEC("xdp")
int throws_alone(struct xdp_md *ctx)
{
	bpf_throw(7);
	return 0;
}

SEC("xdp")
EXCEPTION_CALLBACK(no_such_function)
int misnamed(struct xdp_md *ctx)
{
	return 0;
}
