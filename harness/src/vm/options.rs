//! Options that every command has which runs VMs.

use std::ffi::OsString;

use clap::Args;

/// What the user adds to a VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct MachineArgs {
    /// Add arguments to the kernel's command line, as `nokaslr`; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, value_parser = kernel_arguments)]
    pub append: Vec<String>,

    /// Pass an argument to QEMU, after the harness's own; may be repeated. The VM then boots, without a template
    #[arg(long = "qemu-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub qemu_args: Vec<OsString>,

    /// Wait while this many VMs run, of all harness processes with the same cache and this option
    #[arg(long, value_name = "N", env = "HARNESS_MAX_VMS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_vms: Option<u16>,
}

impl MachineArgs {
    /// The kernel's arguments: those of the harness, then those of the user.
    pub fn kernel_args(&self, own: &[String]) -> Vec<String> {
        own.iter().chain(&self.append).cloned().collect()
    }

    /// Whether such a VM can start from a template: QEMU may be unable to save the devices of the user.
    pub fn allows_template(&self) -> bool {
        self.qemu_args.is_empty()
    }
}

/// Arguments of the kernel with which the harness cannot run a VM, and why.
const NEEDED: [(&str, &str); 6] = [
    (
        "console",
        "the harness reads the console at the first serial port",
    ),
    ("init", INIT),
    ("noinitrd", INIT),
    ("panic", "a panic must end the VM"),
    ("rdinit", INIT),
    (
        "--",
        "the kernel would pass what follows to the harness's init",
    ),
];
const INIT: &str = "the VM must start the harness's init";

/// Checks arguments for the kernel: one, or several with spaces in between.
fn kernel_arguments(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(format!("it contains the control character {control:?}"));
    }
    for word in text.split_whitespace() {
        // The kernel removes quotes.
        let name = word
            .trim_start_matches('"')
            .split('=')
            .next()
            .unwrap_or_default();
        if let Some((name, why)) = NEEDED.iter().find(|(needed, _)| *needed == name) {
            return Err(format!("`{name}` cannot be changed: {why}"));
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_arguments_that_the_harness_needs_are_refused() {
        for good in [
            "nokaslr",
            "loglevel=7 nokaslr",
            "dyndbg=\"file bpf.c +p\"",
            "panic_on_warn=1",
            "initcall_debug",
            "console_msg_format=syslog",
        ] {
            assert_eq!(kernel_arguments(good).as_deref(), Ok(good));
        }
        for (bad, why) in [
            ("", "empty"),
            (" ", "empty"),
            ("a\nb", "control character '\\n'"),
            (
                "console=tty0",
                "`console` cannot be changed: the harness reads",
            ),
            ("nokaslr \"rdinit=/bin/sh\"", "`rdinit`"),
            ("init=/bin/sh", "`init`"),
            ("panic=0", "`panic`"),
            ("noinitrd", "`noinitrd`"),
            ("a -- b", "`--`"),
        ] {
            let error = kernel_arguments(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn kernel_arguments_of_the_user_come_last() {
        let args = MachineArgs {
            append: vec!["mine=1".into()],
            ..MachineArgs::default()
        };
        assert_eq!(args.kernel_args(&["own".into()]), ["own", "mine=1"]);
    }
}
