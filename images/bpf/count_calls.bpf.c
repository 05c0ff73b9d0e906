// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Counts calls of any function. The count is in a map, not in a global variable, so that user space can read it
 * after the program is unloaded.
 */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

SEC("fexit")
int count_calls(void *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&calls, &zero);

	if (count && is_ours())
		(*count)++;
	return 0;
}
