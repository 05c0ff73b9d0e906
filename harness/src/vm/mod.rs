//! QEMU: its command line, the accelerator, and the life and death of one VM.
//!
//! [`Vm::start`] starts a VM and [`Vm::run`] stays with it to its end. Whatever happens in between, the answer
//! is an [`Ending`]; an error is left for what is no fault of the VM, as a full disk. Nothing touches the disk
//! unless [`Config::keep`] asks for it, and no VM outlives the thread that started it.

pub mod accel;
pub mod boot_profile;
mod channel;
mod command;
mod config;
mod console;
mod ending;
mod keep;
mod lines;
mod machine_cache;
mod monitor;
mod process;
mod qemu;
mod received;
mod role;
mod run;
mod scan;
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
