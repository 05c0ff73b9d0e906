//! A server that accepts a connection and never replies, and Ctrl-C for a command that waits for it.

use std::{
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::Ran;

pub(crate) struct Stalled {
    pub(crate) url: String,
    listener: TcpListener,
}

impl Stalled {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            listener,
        }
    }

    /// Sends Ctrl-C after the request of the command. The command must end by the signal, not by a time limit, after
    /// which it would connect again.
    #[track_caller]
    pub(crate) fn interrupt(&self, command: &mut Command) -> Ran {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let _never_answered = self.asked();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.status, 130, "{}", ran.stderr);
        let again = self.listener.accept();
        assert!(again.is_err(), "it did not end until it had asked again");
        ran
    }

    /// The first connection, within the time limit of the test.
    fn asked(&self) -> TcpStream {
        let start = Instant::now();
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return stream,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the harness never asked"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}
