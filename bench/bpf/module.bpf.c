// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A function of a module. */
#include "common.h"

SEC("fexit/tun_chr_open")
int counts(void *ctx)
{
	__sync_fetch_and_add(&calls, 1);
	return 0;
}
