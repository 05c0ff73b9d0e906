//! The integration tests of the harness, in one binary. Those named `vm_*` boot kernels in QEMU and need the feature
//! `vm-tests`; the checks turn it on.

mod ci_setup;
mod cli_build;
mod cli_config;
mod cli_help;
mod cli_infra;
mod cli_inspect;
mod cli_objects;
mod cli_reports;
mod cli_terminal;
mod cli_usage;
mod features;
#[cfg(feature = "browser-tests")]
mod html;
mod image_cpio;
mod kernel_archive;
mod kernel_debian;
mod kernel_local;
mod report_schema;
mod support;
#[cfg(feature = "vm-tests")]
mod vm_archives;
#[cfg(all(feature = "vm-tests", target_arch = "x86_64"))]
mod vm_arm64;
#[cfg(feature = "vm-tests")]
mod vm_control;
#[cfg(feature = "vm-tests")]
mod vm_engine;
#[cfg(feature = "vm-tests")]
mod vm_exec;
#[cfg(feature = "vm-tests")]
mod vm_exec_output;
#[cfg(feature = "vm-tests")]
mod vm_faults;
#[cfg(feature = "vm-tests")]
mod vm_gdb;
#[cfg(feature = "vm-tests")]
mod vm_killed;
#[cfg(feature = "vm-tests")]
mod vm_mounts;
#[cfg(feature = "vm-tests")]
mod vm_object_faults;
#[cfg(feature = "vm-tests")]
mod vm_objects;
#[cfg(feature = "vm-tests")]
mod vm_oci;
#[cfg(feature = "vm-tests")]
mod vm_offline;
#[cfg(feature = "vm-tests")]
mod vm_options;
#[cfg(feature = "vm-tests")]
mod vm_parallel;
#[cfg(feature = "vm-tests")]
mod vm_program_types;
#[cfg(feature = "vm-tests")]
mod vm_qemu;
#[cfg(feature = "vm-tests")]
mod vm_runs;
#[cfg(feature = "vm-tests")]
mod vm_shell;
#[cfg(feature = "vm-tests")]
mod vm_signals;
#[cfg(feature = "vm-tests")]
mod vm_targets;
#[cfg(feature = "vm-tests")]
mod vm_templates;
#[cfg(feature = "vm-tests")]
mod vm_tools;
#[cfg(feature = "vm-tests")]
mod vm_tutorial;
#[cfg(feature = "vm-tests")]
mod vm_vendor;
