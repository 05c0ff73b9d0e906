// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The latency and the result of opening a file.
 *
 * The latency is that of do_filp_open, do_file_open from 7.0 on, which looks up the path and opens the file: a fentry
 * program stores the time, and a fexit program has the result.
 */
#include "tool.h"

#define PATH_LEN 256

struct filename {
	const char *name;
} KERNEL_TYPE;

struct open {
	__u64 latency_ns;
	__s64 result; /* a pointer, or an error as a small negative number */
	__u32 pid;
	__u32 tid;
	char comm[COMM_LEN];
	char path[PATH_LEN];
};

/* Faster opens are not reported. */
const volatile __u64 min_ns = 0;
const volatile __u8 failed_only = 0;

/* By thread. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} begun_at SEC(".maps");

SEC("fentry/do_filp_open")
int begun(__u64 *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 now;

	if (!is_watched())
		return 0;
	now = bpf_ktime_get_ns();
	bpf_map_update_elem(&begun_at, &tid, &now, BPF_ANY);
	return 0;
}

/* struct file *do_filp_open(int dfd, struct filename *pathname, const struct open_flags *op) */
static __always_inline int on_ended(__u64 *ctx, int by_ring)
{
	__u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns(), *since;
	struct open open = {};

	open.pid = id >> 32;
	open.tid = id;
	since = bpf_map_lookup_elem(&begun_at, &open.tid);
	if (!since)
		return 0;
	open.latency_ns = now - *since;
	bpf_map_delete_elem(&begun_at, &open.tid);
	open.result = number(ctx, 3);
	if (open.latency_ns < min_ns)
		return 0;
	if (failed_only && (open.result >= 0 || open.result < -4095))
		return 0;
	bpf_get_current_comm(open.comm, sizeof(open.comm));
	bpf_probe_read_kernel_str(open.path, sizeof(open.path), ((struct filename *)ctx[1])->name);
	report(ctx, by_ring, &open, sizeof(open));
	return 0;
}

REPORTS("do_filp_open", ended, on_ended)
