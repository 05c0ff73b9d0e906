// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A hundred functions. */
#include "many.h"

CALL(creat) CALL(delete_module) CALL(dup) CALL(dup2) CALL(dup3) CALL(faccessat) CALL(fallocate) CALL(fchdir)
CALL(fchmod) CALL(fchmodat) CALL(fchown) CALL(fchownat) CALL(fdatasync) CALL(fgetxattr) CALL(flistxattr)
CALL(flock) CALL(fremovexattr) CALL(fsetxattr) CALL(fsync) CALL(ftruncate) CALL(futimesat) CALL(getcpu)
CALL(getcwd) CALL(getdents) CALL(getdents64) CALL(getgroups) CALL(getitimer) CALL(getpeername) CALL(getpgid)
CALL(getpriority) CALL(getresgid) CALL(getresuid) CALL(getrlimit) CALL(getrusage) CALL(getsid)
CALL(getsockname) CALL(getsockopt) CALL(getxattr) CALL(inotify_add_watch) CALL(inotify_init1)
CALL(inotify_rm_watch) CALL(ioprio_get) CALL(ioprio_set) CALL(kcmp) CALL(lchown) CALL(link) CALL(linkat)
CALL(listen) CALL(listxattr) CALL(lremovexattr) CALL(madvise) CALL(mincore) CALL(mkdir) CALL(mkdirat)
CALL(mknod) CALL(mknodat) CALL(mlock) CALL(mlock2) CALL(mremap) CALL(msync) CALL(munlock) CALL(newuname)
CALL(personality) CALL(pipe2) CALL(pivot_root) CALL(prlimit64) CALL(pwritev) CALL(readahead) CALL(readlink)
CALL(readlinkat) CALL(removexattr) CALL(rename) CALL(renameat) CALL(renameat2) CALL(rmdir)
CALL(sched_getaffinity) CALL(sched_getparam) CALL(sched_getscheduler) CALL(sched_setaffinity)
CALL(sched_setparam) CALL(setgid) CALL(setitimer) CALL(setpgid) CALL(setpriority) CALL(setregid)
CALL(setresgid) CALL(setresuid) CALL(setreuid) CALL(setuid) CALL(socketpair)
