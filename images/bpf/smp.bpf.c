// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Counts and reports calls that several CPUs make at the same time. The traced function cannot sleep, and its first
 * argument, the id of a process that does not exist, tells what the caller is doing.
 */
#include "common.h"

#define FIRST_PID 0x40000000
#define TAGS 256

struct record {
	__u32 tag;
	__u32 cpu;
	__u64 number;
	__u64 check;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TAGS);
	__type(key, __u32);
	__type(value, __u64);
} by_tag SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TAGS);
	__type(key, __u32);
	__type(value, __u64);
} by_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

__u64 dropped = 0;

static __always_inline int tag_of(int pid, __u32 *tag)
{
	*tag = pid - FIRST_PID;
	return is_ours() && *tag < TAGS;
}

SEC("fexit/sched_getaffinity")
int BPF_PROG(count_by_tag, int pid, void *mask, long ret)
{
	__u64 *count;
	__u32 tag;

	if (!tag_of(pid, &tag))
		return 0;
	count = bpf_map_lookup_elem(&by_tag, &tag);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}

SEC("fexit/sched_getaffinity")
int BPF_PROG(count_by_cpu, int pid, void *mask, long ret)
{
	__u64 *count;
	__u32 tag;

	if (!tag_of(pid, &tag))
		return 0;
	count = bpf_map_lookup_elem(&by_cpu, &tag);
	if (count)
		(*count)++;
	return 0;
}

SEC("fexit/sched_getaffinity")
int BPF_PROG(report, int pid, void *mask, long ret)
{
	struct record *record;
	__u64 *count;
	__u32 tag;

	if (!tag_of(pid, &tag))
		return 0;
	count = bpf_map_lookup_elem(&by_cpu, &tag);
	if (!count)
		return 0;
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		__sync_fetch_and_add(&dropped, 1);
		return 0;
	}
	record->tag = tag;
	record->cpu = bpf_get_smp_processor_id();
	record->number = (*count)++;
	record->check = ~record->number ^ ((__u64)record->cpu << 32 | tag);
	bpf_ringbuf_submit(record, 0);
	return 0;
}
