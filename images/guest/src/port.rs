//! The serial ports to the host, and the event channel.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use protocol::event::{Event, Signed};
use protocol::job::EVENT_PORT;
use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, speed, tcdrain, tcgetattr, tcsetattr};

/// Opens a serial port in raw mode.
pub(crate) fn open(path: &str) -> Result<File> {
    let port = open_terminal(path)?;
    let mut settings = tcgetattr(&port).with_context(|| format!("{path} is not a terminal"))?;
    settings.make_raw();
    settings.set_speed(speed::B115200)?;
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    Ok(port)
}

/// Opens a terminal, but not as the controlling terminal.
pub(crate) fn open_terminal(path: &str) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(path)
        .with_context(|| format!("cannot open {path}"))
}

/// The event port.
pub(crate) struct Port {
    port: File,
    token: String,
}

impl Port {
    /// Opens the event port. Every event carries `token` unless it is empty.
    pub(crate) fn open(token: &str) -> Result<Self> {
        Ok(Self {
            port: open(EVENT_PORT)?,
            token: token.to_owned(),
        })
    }

    /// Sends one event, as one line.
    pub(crate) fn send(&mut self, event: &Event) -> Result<()> {
        let mut line = serde_json::to_string(&Signed {
            token: self.token.clone(),
            event,
        })?;
        line.push('\n');
        self.port
            .write_all(line.as_bytes())
            .context("cannot write to the event port")
    }

    /// Waits until the last byte is sent.
    pub(crate) fn drain(&self) -> Result<()> {
        tcdrain(&self.port).context("cannot drain the event port")
    }
}

/// Lets a child process inherit the open port.
impl From<Port> for Stdio {
    fn from(port: Port) -> Self {
        port.port.into()
    }
}
