// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Global variables of each section, used by the program and by user space. */
#include "common.h"

/* .rodata */
const volatile __u32 STEP = 1;
const volatile __u16 UNTOUCHED = 0xbeef;

/* .data */
__u64 total = 1000;
char label[8] = "initial";

/* .bss */
__u64 calls = 0;
__u8 flag = 0;
__u8 flag_seen = 0;

SEC("fexit/filename_lookup")
int globals(void *ctx)
{
	if (!is_ours())
		return 0;
	total += STEP;
	calls++;
	flag_seen = flag;
	label[0]++;
	return 0;
}
