//! The init of a VM template: it does what every `/init` does first, waits, is saved waiting, and in every VM that is
//! started from that save unpacks the archive it is handed and becomes the `/init` in it.

mod archive;
#[path = "../environment.rs"]
mod environment;
#[path = "../mounts.rs"]
mod mounts;
#[path = "../network.rs"]
mod network;
#[path = "../port.rs"]
mod port;
mod sys;
mod window;

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
use window::Window;

/// How long the kernel has for what it puts off until there is nothing else to do: else each VM that starts from the save
/// would do it.
const SETTLE: Duration = Duration::from_millis(1500);

fn main() -> ExitCode {
    let Err(error) = wait_and_become_init();
    // The host listens to the event port first, and takes this for what it is: no template of this kernel.
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
    // The kernel reads its own types when it is first given a program.
    let _ = guest::sys::load_nothing();
    let window = Window::find()?;
    let mut port = Port::open("")?;
    thread::sleep(SETTLE);
    port.send(&Event::Waiting)?;
    port.drain()?;

    let header = window.wait();
    // From here on this VM differs from all others that were saved as this one.
    sys::add_randomness(&header.seed).context("cannot renew the random numbers")?;
    set_clock(header.time_ns).context("cannot set the clock")?;
    archive::unpack(window.archive(&header)?)?;
    let mut init = Command::new("/init");
    // As long as somebody has the port open, it need not be started anew.
    init.args(env::args_os().skip(1)).stdin(port);
    // What is missing it will try again, and say so.
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
