/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the programs of the tools start from: a way for records to reach user space, and whom to watch.
 *
 * A program that reports has two forms, NAME for a ring buffer and NAME_perf for perf events, which a kernel before 5.8
 * has to do with. Each refers to its own map only, and `fexit` creates just the maps of the programs that it loads.
 */
#ifndef TOOL_H
#define TOOL_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* The kernel's types are declared only as far as a program looks into them: CO-RE finds the fields at load. */
#define KERNEL_TYPE __attribute__((preserve_access_index))

#define COMM_LEN 16

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} perf SEC(".maps");

/* Records that found no room. */
__u64 dropped = 0;

/* The only process to watch; 0 for all. */
const volatile __u32 only_pid = 0;

static __always_inline int is_watched(void)
{
	return !only_pid || bpf_get_current_pid_tgid() >> 32 == only_pid;
}

static __always_inline void report(void *ctx, int by_ring, void *record, __u64 size)
{
	long error;

	if (by_ring)
		error = bpf_ringbuf_output(&ring, record, size, 0);
	else
		error = bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, record, size);
	if (error)
		__sync_fetch_and_add(&dropped, 1);
}

/*
 * An argument, or behind the last one the return value, as a number. Read as memory: a verifier that took it for a
 * pointer would not let it be sorted, stored or sent.
 */
static __always_inline __u64 number(__u64 *ctx, int index)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), ctx + index);
	return value;
}

/* Both forms of a program; FUNCTION(ctx, by_ring, ...) does the work. */
#define REPORTS(target, name, function, ...)                                                                          \
	SEC("fexit/" target)                                                                                           \
	int name(__u64 *ctx)                                                                                           \
	{                                                                                                              \
		return function(ctx, 1, ##__VA_ARGS__);                                                                \
	}                                                                                                              \
	SEC("fexit/" target)                                                                                           \
	int name##_perf(__u64 *ctx)                                                                                    \
	{                                                                                                              \
		return function(ctx, 0, ##__VA_ARGS__);                                                                \
	}

char _license[] SEC("license") = "GPL";

#endif
