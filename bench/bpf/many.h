/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Programs on many functions: system calls that every kernel has, and that do not block. */
#include "common.h"

#define ON(function)                              \
	SEC("fexit/" #function)                   \
	int on_##function(void *ctx)              \
	{                                         \
		__sync_fetch_and_add(&calls, 1);  \
		return 0;                         \
	}

#define CALL(name) ON(__x64_sys_##name)

ON(__do_sys_getppid)
CALL(access) CALL(alarm) CALL(bind) CALL(capget) CALL(capset) CALL(chdir) CALL(chmod) CALL(chown) CALL(connect)
