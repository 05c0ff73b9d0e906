#!/bin/sh
# Passes for a QEMU until it is to start a VM. What it does then, the name of the kernel says.
[ "$1" = --version ] && echo "QEMU emulator version 99.1 (not a real one)" && exit
for argument; do
    case "$previous" in -kernel) kernel=${argument##*/} ;; esac
    previous=$argument
done
case "$kernel" in
    fails) echo "qemu: cannot do that" >&2; exit 1 ;;
    says-a-lot) head -c 10000000 /dev/zero | tr '\0' x >&2; echo "the end" >&2; exit 1 ;;
    ends) exit 0 ;;
    is-killed) kill -KILL $$ ;;
    crashes) kill -SEGV $$ ;;
    hangs) sleep 9876 & echo "$!" >&2; wait ;;
    leaves-a-child) sleep 9876 & echo "$!" >&2; exit 1 ;;
esac
