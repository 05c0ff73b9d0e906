// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The same record by a ring buffer and by perf events, and a count for each CPU. A kernel without ring buffers still
 * runs the programs that do not use one.
 */
#include "common.h"

struct record {
	__u64 number;
	__s32 dfd;
	__s32 ret;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, __s32);
	__type(value, __u64);
} by_result SEC(".maps");

__u64 number = 0;
__u64 dropped = 0;

SEC("fexit/filename_lookup")
int BPF_PROG(to_ring, int dfd, struct filename *name, unsigned int flags, struct path *path,
	     struct path *root, int ret)
{
	struct record *record;

	if (!is_ours())
		return 0;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		dropped++;
		return 0;
	}
	record->number = number++;
	record->dfd = dfd;
	record->ret = ret;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("fexit/filename_lookup")
int BPF_PROG(to_events, int dfd, struct filename *name, unsigned int flags, struct path *path,
	     struct path *root, int ret)
{
	struct record record = {};

	if (!is_ours())
		return 0;
	record.number = number++;
	record.dfd = dfd;
	record.ret = ret;
	if (bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &record, sizeof(record)))
		dropped++;
	return 0;
}

SEC("fexit/filename_lookup")
int BPF_PROG(to_counts, int dfd, struct filename *name, unsigned int flags, struct path *path,
	     struct path *root, int ret)
{
	__u32 second = 1, *count;
	__u64 one = 1, *by;

	if (!is_ours())
		return 0;
	count = bpf_map_lookup_elem(&counts, &second);
	if (count)
		(*count)++;
	by = bpf_map_lookup_elem(&by_result, &ret);
	if (by)
		(*by)++;
	else
		bpf_map_update_elem(&by_result, &ret, &one, BPF_ANY);
	return 0;
}
