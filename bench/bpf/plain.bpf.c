// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* One function, two maps, nothing that depends on the kernel's types. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} by_process SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("fexit/__do_sys_getppid")
int counts(void *ctx)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u64 one = 1;

	bpf_map_update_elem(&by_process, &tgid, &one, BPF_ANY);
	bpf_ringbuf_output(&events, &tgid, sizeof(tgid), 0);
	__sync_fetch_and_add(&calls, 1);
	return 0;
}
