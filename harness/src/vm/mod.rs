//! QEMU: its command line, the accelerator, and running a VM.
//!
//! [`Vm::start`] starts a VM, and [`Vm::run`] follows it to its end. The result is an [`Ending`] for all that the VM does;
//! an error is about the host, as a full disk. Nothing is written to the disk without [`Config::keep`], and no VM outlives
//! the thread that started it.

pub mod accel;
pub mod boot_profile;
mod channel;
mod command;
mod config;
mod console;
mod ending;
pub mod gdb;
mod keep;
mod lines;
mod machine;
mod machine_cache;
mod monitor;
pub mod mounts;
pub mod options;
mod process;
mod qemu;
mod received;
mod role;
mod run;
mod scan;
mod shell_line;
pub mod slots;
mod sys;
mod template;

pub use protocol::splats::Severity;

pub use self::accel::{Accelerator, Choice, Mode};
pub use self::command::kernel_command_line;
pub use self::config::{Config, Limits, Streams};
pub use self::console::Console;
pub use self::ending::{Ending, Finished};
pub use self::qemu::Qemu;
pub use self::received::{Observer, VmEvent};
pub use self::run::Vm;
pub use self::scan::Splat;
pub use self::template::{Kept, Template, Templates};
