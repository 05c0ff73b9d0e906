// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Maps that the program writes and user space reads, and vice versa. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __s32);
	__type(value, __u64);
} by_result SEC(".maps");

/* The program reads element 0, and writes 1 and 2. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __s64);
} slots SEC(".maps");

SEC("fexit/filename_lookup")
int BPF_PROG(maps, int dfd, struct filename *name, unsigned int flags, struct path *path,
	     struct path *root, int ret)
{
	__u32 in = 0, sum = 1, last = 2;
	__s64 *addend, value;
	__u64 one = 1, *count;

	if (!is_ours())
		return 0;
	count = bpf_map_lookup_elem(&by_result, &ret);
	if (count)
		(*count)++;
	else
		bpf_map_update_elem(&by_result, &ret, &one, BPF_ANY);

	addend = bpf_map_lookup_elem(&slots, &in);
	if (!addend)
		return 0;
	value = *addend + dfd;
	bpf_map_update_elem(&slots, &sum, &value, BPF_ANY);
	value = ret;
	bpf_map_update_elem(&slots, &last, &value, BPF_ANY);
	return 0;
}
