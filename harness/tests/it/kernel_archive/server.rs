//! A web server whose replies are configured, also invalid ones.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// The reply to a request.
#[derive(Clone)]
pub(crate) enum Reply {
    Bytes(Vec<u8>),
    Status(u16),
    /// A status with `Retry-After`.
    RetryAfter(u16, &'static str),
    Redirect(String),
    /// The reply to a request with this token; to another, the challenge.
    Protected {
        challenge: String,
        token: String,
        then: Box<Self>,
    },
    /// Only the first half of the announced length.
    Truncated(Vec<u8>),
    /// The first half, and the rest after [`Server::go_on`].
    Stall(Vec<u8>),
    /// The first reply for the first request, the second from then on.
    Then(Box<Self>, Box<Self>),
}

#[derive(Default)]
struct State {
    files: HashMap<String, Reply>,
    log: Vec<String>,
    /// The values of `Authorization`.
    authorizations: Vec<String>,
    /// Set by [`Server::go_on`].
    released: bool,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self {
            url,
            state: Arc::default(),
        };
        let accepting = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = accepting.clone();
                thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    pub(crate) fn put(&self, path: &str, reply: Reply) {
        self.state
            .0
            .lock()
            .unwrap()
            .files
            .insert(path.to_owned(), reply);
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        match &self.state.0.lock().unwrap().files[path] {
            Reply::Bytes(bytes) => bytes.clone(),
            _ => panic!("{path} is no plain file"),
        }
    }

    pub(crate) fn change(&self, path: &str, change: impl FnOnce(Vec<u8>) -> Reply) {
        let bytes = self.bytes(path);
        self.put(path, change(bytes));
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.state.0.lock().unwrap().files.keys().cloned().collect()
    }

    /// The requested paths since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state.0.lock().unwrap().log)
    }

    /// The values of `Authorization` in all requests.
    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.state.0.lock().unwrap().authorizations.clone()
    }

    /// Waits for a request of this path.
    pub(crate) fn wait_for(&self, path: &str) {
        let mut state = self.state.0.lock().unwrap();
        while !state.log.iter().any(|asked| asked == path) {
            state = self.state.1.wait(state).unwrap();
        }
    }

    pub(crate) fn go_on(&self) {
        self.state.0.lock().unwrap().released = true;
        self.state.1.notify_all();
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap())
            .lines()
            .map_while(Result::ok);
        let Some(path) = lines
            .next()
            .and_then(|line| line.split(' ').nth(1).map(str::to_owned))
        else {
            return;
        };
        let headers = lines.by_ref().take_while(|line| !line.is_empty());
        let authorization = headers.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("authorization")
                .then(|| value.to_owned())
        });
        let authorization = authorization.last();
        let reply = self.take(&path, authorization);
        // The client may have closed the connection.
        let _ = self.answer(&mut stream, reply);
    }

    fn take(&self, path: &str, authorization: Option<String>) -> Reply {
        let mut state = self.state.0.lock().unwrap();
        state.log.push(path.to_owned());
        let authorized = authorization.clone().unwrap_or_default();
        state.authorizations.extend(authorization);
        self.state.1.notify_all();
        match state.files.get(path).cloned() {
            Some(Reply::Then(first, second)) => {
                state.files.insert(path.to_owned(), *second);
                *first
            }
            Some(Reply::Protected { token, then, .. })
                if authorized == format!("Bearer {token}") =>
            {
                *then
            }
            Some(reply) => reply,
            None => Reply::Status(404),
        }
    }

    fn answer(&self, stream: &mut TcpStream, reply: Reply) -> std::io::Result<()> {
        let head = |status: u16, length: usize, more: &str| {
            format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n"
            )
        };
        match reply {
            Reply::Bytes(bytes) => {
                stream.write_all(head(200, bytes.len(), "").as_bytes())?;
                stream.write_all(&bytes)
            }
            Reply::Status(status) => stream.write_all(head(status, 0, "").as_bytes()),
            Reply::RetryAfter(status, when) => {
                let after = format!("Retry-After: {when}\r\n");
                stream.write_all(head(status, 0, &after).as_bytes())
            }
            Reply::Protected { challenge, .. } => {
                let challenge = format!("WWW-Authenticate: {challenge}\r\n");
                stream.write_all(head(401, 0, &challenge).as_bytes())
            }
            Reply::Redirect(to) => {
                stream.write_all(head(302, 0, &format!("Location: {to}\r\n")).as_bytes())
            }
            Reply::Truncated(bytes) => {
                stream.write_all(head(200, bytes.len(), "").as_bytes())?;
                stream.write_all(&bytes[..bytes.len() / 2])
            }
            Reply::Stall(bytes) => {
                let (first, second) = bytes.split_at(bytes.len() / 2);
                stream.write_all(head(200, bytes.len(), "").as_bytes())?;
                stream.write_all(first)?;
                let mut state = self.state.0.lock().unwrap();
                while !state.released {
                    state = self.state.1.wait(state).unwrap();
                }
                drop(state);
                stream.write_all(second)
            }
            Reply::Then(..) => unreachable!("taken apart before"),
        }
    }
}
