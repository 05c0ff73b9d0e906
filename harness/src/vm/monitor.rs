//! QEMU's monitor: JSON lines (QMP) over an inherited socket.

use std::io::{BufRead, BufReader, IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::{Value, json};

/// The time limit for a response. QEMU needs milliseconds, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The migration capability that leaves out shared memory.
const WITHOUT_SHARED_MEMORY: &str = "x-ignore-shared";

/// The harness's end of the socket.
#[derive(Debug)]
pub(super) struct Monitor {
    lines: BufReader<UnixStream>,
}

impl Monitor {
    /// A monitor, and QEMU's end of its socket.
    pub(super) fn new() -> Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            UnixStream::pair().context("cannot create a socket for QEMU's monitor")?;
        ours.set_read_timeout(Some(PATIENCE))?;
        ours.set_write_timeout(Some(PATIENCE))?;
        let lines = BufReader::new(ours);
        Ok((Self { lines }, theirs.into()))
    }

    /// Makes QEMU load the state from `fd` when it starts, and run it. If that fails, QEMU prints why on stderr and exits.
    pub(super) fn restore_from(&mut self, fd: i32) -> Result<()> {
        self.say("qmp_capabilities", &json!({}))?;
        self.say("migrate-set-capabilities", &capabilities())?;
        self.say("migrate-incoming", &json!({"uri": format!("fd:{fd}")}))
    }

    /// Makes QEMU write the state of the VM to `pipe`, whose other end must be read, and then stop the VM. A VM that was
    /// stopped before would be restored as stopped.
    pub(super) fn save_to(&mut self, pipe: OwnedFd) -> Result<()> {
        self.ask("qmp_capabilities", &json!({}))?;
        self.ask("migrate-set-capabilities", &capabilities())?;
        self.hand_over(&pipe, "state")?;
        // QEMU has a copy. The pipe ends when all copies are closed.
        drop(pipe);
        self.ask("migrate", &json!({"uri": "fd:state"}))?;
        Ok(())
    }

    /// Passes an open file to QEMU under `name`.
    fn hand_over(&mut self, file: &OwnedFd, name: &str) -> Result<()> {
        let files = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        message.push(SendAncillaryMessage::ScmRights(&files));
        let line = line("getfd", &json!({"fdname": name}));
        let sent = sendmsg(
            self.lines.get_ref(),
            &[IoSlice::new(line.as_bytes())],
            &mut message,
            SendFlags::empty(),
        );
        if sent.context("cannot pass a file to QEMU")? < line.len() {
            bail!("cannot pass a file to QEMU");
        }
        self.answer("getfd")?;
        Ok(())
    }

    /// Checks that [`Monitor::save_to`] has succeeded.
    pub(super) fn saved(&mut self) -> Result<()> {
        let state = self.ask("query-migrate", &json!({}))?;
        match state["status"].as_str() {
            Some("completed") => Ok(()),
            _ => bail!("QEMU could not save the VM: {state}"),
        }
    }

    fn say(&mut self, command: &str, arguments: &Value) -> Result<()> {
        self.lines
            .get_mut()
            .write_all(line(command, arguments).as_bytes())
            .with_context(|| format!("cannot ask QEMU to {command}"))
    }

    /// Reads the response. Skips events.
    fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        self.say(command, arguments)?;
        self.answer(command)
    }

    fn answer(&mut self, command: &str) -> Result<Value> {
        loop {
            let mut line = String::new();
            let read = self
                .lines
                .read_line(&mut line)
                .with_context(|| format!("QEMU did not answer {command}"))?;
            if read == 0 {
                bail!("QEMU ended when asked to {command}");
            }
            let answer: Value = serde_json::from_str(&line)
                .with_context(|| format!("QEMU's answer to {command} is not JSON: {line}"))?;
            if let Some(result) = answer.get("return") {
                return Ok(result.clone());
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU refused to {command}: {}", error["desc"]);
            }
        }
    }
}

fn line(command: &str, arguments: &Value) -> String {
    json!({"execute": command, "arguments": arguments}).to_string() + "\n"
}

fn capabilities() -> Value {
    json!({"capabilities": [{"capability": WITHOUT_SHARED_MEMORY, "state": true}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A monitor with these lines from QEMU.
    fn received(lines: &str) -> (Monitor, UnixStream) {
        let (monitor, theirs) = Monitor::new().unwrap();
        let mut theirs = UnixStream::from(theirs);
        theirs.write_all(lines.as_bytes()).unwrap();
        (monitor, theirs)
    }

    #[test]
    fn qmp_events_are_skipped() {
        let greeting = r#"{"QMP":{}}"#;
        let event = r#"{"event":"STOP"}"#;
        let (mut monitor, _theirs) = received(&format!(
            "{greeting}\n{event}\n{}\n",
            r#"{"return":{"status":"completed"}}"#
        ));
        monitor.saved().unwrap();
    }

    #[test]
    fn qmp_errors_name_the_command() {
        let (mut monitor, theirs) = received("{\"error\":{\"desc\":\"no such thing\"}}\n");
        let error = monitor.saved().unwrap_err().to_string();
        assert_eq!(error, r#"QEMU refused to query-migrate: "no such thing""#);
        drop(theirs);
        assert!(
            monitor
                .saved()
                .unwrap_err()
                .to_string()
                .contains("query-migrate")
        );
        let (mut monitor, _theirs) = received("{\"return\":{\"status\":\"failed\"}}\n");
        assert!(
            monitor
                .saved()
                .unwrap_err()
                .to_string()
                .contains("could not save")
        );
    }
}
