//! The ports to the host, and the channel for events.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use protocol::event::{Event, Signed};
use protocol::job::EVENT_PORT;
use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, speed, tcdrain, tcgetattr, tcsetattr};

/// Opens a serial port to the host that passes on each byte as it is.
pub(crate) fn open(path: &str) -> Result<File> {
    let port = open_terminal(path)?;
    let mut settings = tcgetattr(&port).with_context(|| format!("{path} is no terminal"))?;
    settings.make_raw();
    settings.set_speed(speed::B115200)?;
    tcsetattr(&port, OptionalActions::Now, &settings)?;
    Ok(port)
}

/// Opens a terminal without making it this process's own.
pub(crate) fn open_terminal(path: &str) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(path)
        .with_context(|| format!("cannot open {path}"))
}

/// The serial port to the host.
pub(crate) struct Port {
    port: File,
    token: String,
}

impl Port {
    /// Opens it, for events that bear the token, if there is one.
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

    /// Waits until the last byte has left.
    pub(crate) fn drain(&self) -> Result<()> {
        tcdrain(&self.port).context("cannot drain the event port")
    }
}

/// For a process that is to hold it open.
impl From<Port> for Stdio {
    fn from(port: Port) -> Self {
        port.port.into()
    }
}
