// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A pinned map, shared by all loads of this object. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, __u64);
} shared_calls SEC(".maps");

SEC("fexit/filename_lookup")
int pinned(void *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&shared_calls, &zero);

	if (count && is_ours())
		__sync_fetch_and_add(count, 1);
	return 0;
}
