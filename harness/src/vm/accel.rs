//! The accelerator of a VM: KVM if it is fast enough, otherwise TCG.
//!
//! A `/dev/kvm` that opens is not enough. Some hosts have a KVM that interprets every instruction: it passes a test of
//! a few instructions, but does not boot a kernel in time. So a vCPU runs a countdown, and its speed decides.

use std::fmt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::machine_cache::MachineCache;
use crate::kernels::Arch;

/// The accelerator that the user requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// KVM if it is usable, otherwise TCG.
    #[default]
    Auto,
    /// KVM, or an error that says why not.
    Kvm,
    /// TCG: slower, works everywhere.
    Tcg,
}

/// The accelerator that QEMU uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor runs the guest's instructions itself.
    Kvm,
    /// QEMU translates the guest's instructions.
    Tcg,
}

impl Accelerator {
    /// Its name in QEMU.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An accelerator, and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The accelerator.
    pub accelerator: Accelerator,
    /// The reason for it.
    pub reason: String,
}

impl Choice {
    /// TCG, since only TCG can count instructions.
    pub fn icount() -> Self {
        Self {
            accelerator: Accelerator::Tcg,
            reason: "asked for by --icount".to_owned(),
        }
    }

    /// What to do about a failure that may be the accelerator's: the test of KVM does not use QEMU.
    pub fn hint(&self) -> &'static str {
        match self.accelerator {
            Accelerator::Kvm => "; if KVM is the reason, use `--accel tcg`",
            Accelerator::Tcg => "",
        }
    }
}

/// A KVM below this speed, in instructions per second, is emulated, and TCG is faster. A real KVM runs thousands of
/// millions, an emulated one about one million.
const REAL: f64 = 100e6;

/// Time limit for the countdown. A real KVM needs a thousandth of it.
const BUDGET: Duration = Duration::from_millis(100);

/// Time limit for a system call of KVM.
const PATIENCE: Duration = Duration::from_millis(400);

/// The result of testing KVM.
#[derive(Clone, Debug, PartialEq)]
enum Kvm {
    /// A vCPU ran at this many instructions a second.
    Speed(f64),
    /// It makes VMs. Its speed is not measured on this architecture.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(dead_code, reason = "its speed is measured")
    )]
    Untested,
    /// It cannot be used, for this reason.
    Unusable(String),
}

/// Chooses the accelerator for a guest. Tests KVM only if the choice depends on it and `cache` does not have its speed.
pub fn choose(mode: Mode, guest: Arch, cache: &Path) -> Result<Choice> {
    decide(mode, || {
        if guest != Arch::host() {
            let host = std::env::consts::ARCH;
            return Kvm::Unusable(format!("the guest is {guest}, and this machine {host}"));
        }
        let mut cached = MachineCache::read(cache);
        if let Some(speed) = cached.kvm() {
            return Kvm::Speed(speed);
        }
        let found = probe();
        if let Kvm::Speed(speed) = found {
            cached.learn_kvm(speed);
        }
        found
    })
}

fn decide(mode: Mode, probe: impl FnOnce() -> Kvm) -> Result<Choice> {
    if mode == Mode::Tcg {
        let reason = "asked for".to_owned();
        return Ok(Choice {
            accelerator: Accelerator::Tcg,
            reason,
        });
    }
    let (usable, reason) = match probe() {
        Kvm::Speed(speed) => {
            let millions = speed / 1e6;
            let rounded = if millions < 10.0 {
                format!("{millions:.1}")
            } else {
                format!("{millions:.0}")
            };
            let emulated = if speed < REAL { ": emulated" } else { "" };
            (
                speed >= REAL,
                format!("KVM runs {rounded} million instructions a second{emulated}"),
            )
        }
        Kvm::Untested => (true, "KVM works".to_owned()),
        Kvm::Unusable(reason) => (false, reason),
    };
    match (mode, usable) {
        (_, true) => Ok(Choice {
            accelerator: Accelerator::Kvm,
            reason,
        }),
        (Mode::Kvm, false) => {
            bail!("KVM is not usable: {reason}; use `--accel auto` or `--accel tcg`")
        }
        (_, false) => Ok(Choice {
            accelerator: Accelerator::Tcg,
            reason,
        }),
    }
}

/// Tests KVM in a separate thread, which stays behind if KVM does not respond.
fn probe() -> Kvm {
    let (sender, receiver) = mpsc::channel();
    let worker = thread::Builder::new()
        .name("kvm-probe".into())
        .spawn(move || {
            // After the time limit there is no receiver.
            let _ = sender.send(measure());
        });
    match worker {
        Ok(_) => receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            Kvm::Unusable(format!(
                "KVM did not run a few instructions within {PATIENCE:?}"
            ))
        }),
        Err(error) => Kvm::Unusable(format!("no thread to look at KVM: {error}")),
    }
}

#[cfg(target_arch = "x86_64")]
fn measure() -> Kvm {
    use super::sys::kvm::{Loop, PER_TURN};

    let mut failure = None;
    let mut countdown = match Loop::new() {
        Ok(countdown) => countdown,
        Err(error) => return Kvm::Unusable(why(error.errno())),
    };
    let speed = speed_of(BUDGET, |turns| match countdown.time(turns) {
        Ok(Some(elapsed)) => Some((PER_TURN * u64::from(turns), elapsed)),
        Ok(None) => {
            failure = Some("a vCPU of KVM did not finish a loop of a few instructions".to_owned());
            None
        }
        Err(error) => {
            failure = Some(format!("KVM cannot run a vCPU: {error}"));
            None
        }
    });
    failure.map_or(Kvm::Speed(speed), Kvm::Unusable)
}

/// Whether KVM makes a VM; the loop that measures its speed is for x86-64.
#[cfg(not(target_arch = "x86_64"))]
fn measure() -> Kvm {
    let made = kvm_ioctls::Kvm::new().and_then(|kvm| kvm.create_vm());
    made.map_or_else(|error| Kvm::Unusable(why(error.errno())), |_| Kvm::Untested)
}

/// The best speed over longer and longer countdowns, in instructions per second. Stops when the result is certain, and
/// before a countdown that would exceed the time limit.
fn speed_of(budget: Duration, mut countdown: impl FnMut(u32) -> Option<(u64, Duration)>) -> f64 {
    let start = Instant::now();
    let (mut best, mut turns) = (0.0_f64, 64);
    while let Some((instructions, elapsed)) = countdown(turns) {
        best = best.max(instructions as f64 / elapsed.as_secs_f64().max(1e-9));
        let left = budget.saturating_sub(start.elapsed());
        let fits = |factor| elapsed * factor <= left;
        turns = match turns.checked_mul(4) {
            _ if best >= REAL => break,
            Some(longer) if fits(4) => longer,
            _ if fits(1) => turns,
            _ => break,
        };
    }
    best
}

/// Why opening or setting up KVM failed, and what to do if there is a remedy.
fn why(errno: i32) -> String {
    match errno {
        libc::ENOENT => "/dev/kvm is missing".to_owned(),
        libc::EACCES | libc::EPERM => {
            "/dev/kvm may not be opened: permission denied; add yourself to the group kvm"
                .to_owned()
        }
        libc::ENODEV | libc::ENXIO => {
            "/dev/kvm has no driver behind it; load kvm_intel or kvm_amd".to_owned()
        }
        _ => format!(
            "KVM cannot make a VM: {}",
            std::io::Error::from_raw_os_error(errno)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unusable() -> Kvm {
        Kvm::Unusable("/dev/kvm is missing".into())
    }

    #[test]
    fn auto_uses_kvm_only_if_it_is_hardware() {
        let choice = |kvm| decide(Mode::Auto, || kvm).unwrap();
        let real = choice(Kvm::Speed(2.345e9));
        assert_eq!(real.accelerator, Accelerator::Kvm);
        assert_eq!(real.reason, "KVM runs 2345 million instructions a second");
        let emulated = choice(Kvm::Speed(0.97e6));
        assert_eq!(emulated.accelerator, Accelerator::Tcg);
        assert_eq!(
            emulated.reason,
            "KVM runs 1.0 million instructions a second: emulated"
        );
        assert_eq!(choice(unusable()).reason, "/dev/kvm is missing");
        assert_eq!(choice(unusable()).accelerator, Accelerator::Tcg);
    }

    #[test]
    fn unusable_kvm_is_an_error_that_suggests_tcg() {
        for (kvm, why) in [
            (unusable(), "/dev/kvm is missing"),
            (Kvm::Speed(1e6), "emulated"),
        ] {
            let error = decide(Mode::Kvm, || kvm).unwrap_err().to_string();
            assert!(
                error.contains(why) && error.contains("--accel tcg"),
                "{error}"
            );
        }
        let choice = decide(Mode::Kvm, || Kvm::Speed(1e9)).unwrap();
        assert_eq!(choice.accelerator, Accelerator::Kvm);
    }

    #[test]
    fn guest_of_another_architecture_uses_tcg() {
        let cache = tempfile::tempdir().unwrap();
        let other = Arch::ALL
            .into_iter()
            .find(|arch| *arch != Arch::host())
            .unwrap();
        let choice = choose(Mode::Auto, other, cache.path()).unwrap();
        assert_eq!(choice.accelerator, Accelerator::Tcg);
        assert!(
            choice.reason.contains(&format!("the guest is {other}")),
            "{}",
            choice.reason
        );
        let error = choose(Mode::Kvm, other, cache.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("--accel tcg"), "{error}");
    }

    #[test]
    fn tcg_does_not_probe_kvm() {
        let choice = decide(Mode::Tcg, || unreachable!()).unwrap();
        assert_eq!(choice.accelerator, Accelerator::Tcg);
    }

    /// A countdown at a fixed speed that takes no time of ours; gives back what was asked of it.
    fn at_speed(speed: f64, budget: Duration) -> (f64, Duration) {
        let mut total = Duration::ZERO;
        let best = speed_of(budget, |turns| {
            let elapsed = Duration::from_secs_f64(2.0 * f64::from(turns) / speed);
            total += elapsed;
            Some((2 * u64::from(turns), elapsed))
        });
        (best, total)
    }

    #[test]
    fn hardware_kvm_is_recognized_in_the_first_measurement() {
        let (best, total) = at_speed(2e9, BUDGET);
        assert!(
            best > REAL && total < Duration::from_micros(1),
            "{best} {total:?}"
        );
    }

    #[test]
    fn no_measurement_starts_that_exceeds_the_time_budget() {
        let (best, total) = at_speed(1e3, BUDGET);
        assert_eq!(
            (best, total),
            (1e3, Duration::from_millis(128)),
            "only the first"
        );
    }

    #[test]
    fn one_slow_measurement_does_not_reject_hardware_kvm() {
        let mut calls = 0;
        let best = speed_of(BUDGET, |turns| {
            calls += 1;
            let busy = Duration::from_millis(if calls == 1 { 20 } else { 0 });
            Some((
                2 * u64::from(turns),
                busy + Duration::from_nanos(u64::from(turns)),
            ))
        });
        assert!(best > REAL, "{best}");
        assert_eq!(calls, 2);
    }

    #[test]
    fn vcpu_that_stops_early_has_no_speed() {
        assert_eq!(speed_of(BUDGET, |_| None), 0.0);
    }

    #[test]
    fn kvm_open_error_says_what_to_do() {
        assert_eq!(why(libc::ENOENT), "/dev/kvm is missing");
        assert!(why(libc::EACCES).contains("group kvm"));
        assert!(why(libc::ENODEV).contains("kvm_intel"));
        assert!(why(libc::EMFILE).contains("Too many open files"));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn real_probe_matches_this_machine() {
        let missing = !Path::new("/dev/kvm").exists();
        match probe() {
            Kvm::Speed(speed) => assert!(!missing && speed > 0.0, "{speed}"),
            Kvm::Untested => panic!("its speed is measured"),
            Kvm::Unusable(why) => assert_eq!(why == "/dev/kvm is missing", missing, "{why}"),
        }
    }
}
