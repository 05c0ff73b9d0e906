// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* kfuncs of the module nf_conntrack, which has them for XDP since 5.18. */
#include "common.h"

struct nf_conn;
struct bpf_ct_opts;

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, __u32 tuple_size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern void bpf_ct_release(struct nf_conn *connection) __ksym;

/* The fields of struct bpf_ct_opts that all kernels have. */
struct options {
	__s32 netns_id;
	__s32 error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

__u64 found;

SEC("xdp")
int module_kfunc(struct xdp_md *ctx)
{
	struct options options = { .netns_id = -1, .l4proto = 6 };
	struct bpf_sock_tuple tuple = {};
	struct nf_conn *connection;

	connection = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple.ipv4), (void *)&options, sizeof(options));
	if (connection) {
		found++;
		bpf_ct_release(connection);
	}
	return XDP_PASS;
}
