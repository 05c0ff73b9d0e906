/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Shared by the programs of the tools: buffers for records, and a filter by process.
 *
 * A program that sends records has two variants: NAME for a ring buffer, and NAME_perf for perf events on kernels before
 * 5.8. Each uses one of the maps, and `fexit` creates only the maps of the programs that it loads.
 */
#ifndef TOOL_H
#define TOOL_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* The kernel's types are declared only with the fields that a program reads: CO-RE relocates them. */
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

/* Records that did not fit into the buffer. */
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
 * An argument as a number; the return value follows the last one. Read as memory, since the verifier does not let a
 * program store or send a pointer.
 */
static __always_inline __u64 number(__u64 *ctx, int index)
{
	__u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), ctx + index);
	return value;
}

/* Both variants of a program, which call FUNCTION(ctx, by_ring, ...). */
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
