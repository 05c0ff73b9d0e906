// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* An fexit program and programs of other types. */
#include "common.h"

SEC("fexit/filename_lookup")
int on_exit(void *ctx)
{
	return 0;
}

SEC("fentry/filename_lookup")
int on_entry(void *ctx)
{
	return 0;
}

SEC("xdp")
int on_packet(void *ctx)
{
	return XDP_PASS;
}

SEC("kprobe/filename_lookup")
int on_trap(void *ctx)
{
	return 0;
}
