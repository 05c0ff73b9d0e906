// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* An array of programs and an array of maps with initial values. */
#include "common.h"

struct numbers {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 3);
	__type(key, __u32);
	__array(values, struct numbers);
} both SEC(".maps") = {
	.values = { [0] = &first, [2] = &second },
};

int from_first(struct xdp_md *ctx);
int from_second(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} programs SEC(".maps") = {
	.values = { [1] = from_first, [3] = from_second },
};

static __always_inline int number(__u32 index)
{
	__u32 zero = 0;
	void *numbers = bpf_map_lookup_elem(&both, &index);
	__u32 *found = numbers ? bpf_map_lookup_elem(numbers, &zero) : 0;

	return found ? *found : 0;
}

SEC("xdp")
int from_first(struct xdp_md *ctx)
{
	return number(0);
}

SEC("xdp")
int from_second(struct xdp_md *ctx)
{
	return number(2);
}

/* The length of the packet chooses the program. */
SEC("xdp")
int choose(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, ctx->data_end - ctx->data - 64);
	return 1;
}
