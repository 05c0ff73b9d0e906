//! The init of a VM template. It prepares the VM as `/init` does, and waits while the VM is saved. In each restored VM it
//! unpacks the initramfs from shared memory and executes its `/init`.

mod archive;
#[path = "../environment.rs"]
mod environment;
#[path = "../mounts.rs"]
mod mounts;
#[path = "../network.rs"]
mod network;
#[path = "../port.rs"]
mod port;
mod shared_memory;
mod sys;

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use protocol::event::Event;
use rustix::system::{RebootCommand, reboot};
use rustix::time::{ClockId, Timespec, clock_settime};

use environment::Missing;
use port::Port;
use shared_memory::SharedMemory;

/// How long the kernel may finish deferred work before the VM is saved; otherwise each restored VM would do it.
const SETTLE: Duration = Duration::from_millis(1500);

fn main() -> ExitCode {
    let Err(error) = wait_and_become_init();
    // The host reads the event port, and makes no template of this kernel.
    let message = format!("{error:#}");
    if let Ok(mut port) = Port::open("") {
        let _ = port.send(&Event::Warning { message });
        let _ = port.drain();
    }
    let _ = reboot(RebootCommand::Restart);
    ExitCode::FAILURE
}

fn wait_and_become_init() -> Result<std::convert::Infallible> {
    let missing = environment::prepare()?;
    // The first program load makes the kernel parse its BTF.
    let _ = guest::sys::load_nothing();
    // Without it scenarios read the table itself.
    let _ = guest::kallsyms::save();
    let memory = SharedMemory::find()?;
    let mut port = Port::open("")?;
    thread::sleep(SETTLE);
    port.send(&Event::Waiting)?;
    port.drain()?;

    let header = memory.wait();
    // This VM is restored from here on.
    sys::add_randomness(&header.seed).context("cannot reseed the random number generator")?;
    set_clock(header.time_ns).context("cannot set the system clock")?;
    archive::unpack(memory.archive(&header)?)?;
    let mut init = Command::new("/init");
    // An open port need not be initialized again.
    init.args(env::args_os().skip(1)).stdin(port);
    // `/init` tries again what is missing, and warns.
    if missing == Missing::default() {
        init.arg(environment::PREPARED);
    }
    Err(init.exec()).context("cannot run /init")
}

fn set_clock(time_ns: u64) -> Result<()> {
    let time = Timespec {
        tv_sec: (time_ns / 1_000_000_000).cast_signed(),
        tv_nsec: (time_ns % 1_000_000_000).cast_signed(),
    };
    Ok(clock_settime(ClockId::Realtime, time)?)
}
