//! Boots a VM until its init waits, and saves it.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use protocol::event::Event;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use super::restore::window;
use crate::{
    initramfs::{cpio::Initramfs, guest},
    kernels::Arch,
    support::stop::Stop,
    vm::{
        Config, Qemu, Severity, Splat, VmEvent,
        channel::pipe_to_us,
        monitor::Monitor,
        role::{Parts, Role},
        run::Vm,
    },
};

/// The time limit for QEMU to write the state, which takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Saves a VM whose memory is `ram`, and returns the state of its devices.
pub(super) fn save(
    qemu: &Qemu,
    config: &Config<'_>,
    window_bytes: u64,
    ram: &File,
    stop: &Stop,
) -> Result<Saved> {
    let (state, state_end) = pipe_to_us()?;
    let (mut monitor, monitor_end) = Monitor::new()?;
    let role = Role::Saved(Parts {
        ram: ram.try_clone()?.into(),
        window: window(window_bytes)?,
        window_bytes,
        monitor: monitor_end,
        state: None,
    });
    let archive = stage1(config.arch)?;
    let config = Config {
        initramfs: &archive,
        keep: None,
        template: None,
        // The waiting init has no job, and so no token.
        token: "",
        ..config.like()
    };
    let mut vm = Vm::launch(qemu, &config, Some(&role))?;
    let mut refusal = None;
    let waits = vm.until_waiting(stop, &mut |event: VmEvent| {
        if let VmEvent::Guest(Event::Warning { message }) = event {
            refusal.get_or_insert(message);
        }
    })?;
    if let Some(refusal) = refusal {
        return Ok(Saved::Never(refusal));
    }
    if let Some(splat) = splat_at_boot(vm.splats()) {
        return Ok(Saved::Never(splat));
    }
    if !waits {
        let finished = vm.run(stop, &mut |_: VmEvent| {})?;
        bail!("the VM ended before it could be saved: {}", finished.ending);
    }
    monitor.save_to(state_end)?;
    let state = read_all(state)?;
    monitor.saved()?;
    Ok(Saved::State(state))
}

/// The splat at boot, if there is one. A restored VM does not show the console of its boot, so a kernel with a splat gets
/// no template: it boots each time, and each report has the splat.
fn splat_at_boot(splats: &[Splat]) -> Option<String> {
    let splat = splats
        .iter()
        .find(|splat| matches!(splat.severity, Severity::Warning | Severity::Oops))?;
    Some(format!("{} at boot: {}", splat.meaning, splat.message))
}

/// The result of [`save`].
pub(super) enum Saved {
    State(Vec<u8>),
    /// This kernel never can be a template, for this reason.
    Never(String),
}

/// The initramfs with the waiting init, and the devices that it needs.
fn stage1(arch: Arch) -> Result<Vec<u8>> {
    let mut image = Initramfs::new();
    image
        .char_device("/dev/console", 0o600, (5, 1))?
        .char_device("/dev/urandom", 0o666, (1, 9))?
        .char_device("/dev/ttyS1", 0o600, (4, 65))?
        .file("/init", 0o755, guest::of(arch)?.stage1)?;
    Ok(image.to_bytes())
}

/// Reads a pipe to its end, within the time limit.
fn read_all(pipe: OwnedFd) -> Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let (mut pipe, mut all, mut buffer) = (File::from(pipe), Vec::new(), [0; 64 << 10]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(&pipe, PollFlags::IN)];
        if retry_on_intr(|| poll(&mut fds, Timespec::try_from(left).ok().as_ref()))? == 0 {
            bail!("QEMU did not write the VM's state within {PATIENCE:?}");
        }
        match pipe
            .read(&mut buffer)
            .context("cannot read the VM's state")?
        {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::Console;

    #[test]
    fn splat_at_boot_prevents_a_template_but_an_rcu_stall_does_not() {
        let of = |text| splat_at_boot(Console::of(text).splats());
        assert_eq!(of("[    0.1] all is well"), None);
        assert_eq!(
            of("[    0.1] watchdog: BUG: soft lockup - CPU#0 stuck"),
            None
        );
        assert_eq!(
            of("[    0.1] WARNING: CPU: 0 PID: 1 at here").as_deref(),
            Some("the kernel warned at boot: WARNING: CPU: 0 PID: 1 at here")
        );
    }
}
