//! QEMU: the only part of the harness that knows of it.
