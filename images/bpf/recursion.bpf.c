// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A program that calls its own target. Only kernels with a recursion guard (5.12) may load
 * it: on older ones it recurses without end.
 */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} knocker SEC(".maps");

__u64 calls = 0;

SEC("fexit/htab_map_update_elem")
int recurses(void *ctx)
{
	__u32 key = 1;
	__u64 value = 2;

	if (!is_ours())
		return 0;
	calls++;
	bpf_map_update_elem(&scratch, &key, &value, BPF_ANY);
	return 0;
}
