//! Registries that ask for an anonymous token, as ghcr.io and quay.io do.

use harness::support::progress::Silent;

use super::image::{Image, Packing};
use super::{REPOSITORY, serve};
use crate::kernel_archive::archive::Archive;
use crate::kernel_archive::server::{Reply, Server};
use crate::kernel_archive::{assert_contains, get, infra};

const TOKEN: &str = "/token?service=test%20registry&scope=repository%3Acilium%2Fci-kernels%3Apull";

/// The reply to a request with the token.
fn protected(archive: &Archive, realm: &str, token: &str, then: Reply) -> Reply {
    let realm = realm.replace("SERVER", &archive.server.url);
    Reply::Protected {
        challenge: format!(
            "Bearer realm=\"{realm}\",service=\"test registry\",scope=\"repository:{REPOSITORY}:pull\""
        ),
        token: token.to_owned(),
        then: Box::new(then),
    }
}

/// All files require a token of `realm`.
fn protect(archive: &Archive, realm: &str) {
    for path in archive.server.paths() {
        let then = Reply::Bytes(archive.server.bytes(&path));
        let reply = protected(archive, realm, "secret-1", then);
        archive.server.put(&path, reply);
    }
}

const REALM: &str = "SERVER/token";

fn answer(token: &str) -> Reply {
    Reply::Bytes(format!("{{\"token\": \"{token}\"}}").into_bytes())
}

fn registry() -> (Archive, String) {
    serve(&Image::like_ci_kernels(Packing::Gzip, "6.6.134"), "6.6")
}

#[test]
fn a_token_is_asked_for_once() {
    for field in ["token", "access_token"] {
        let (archive, name) = registry();
        protect(&archive, REALM);
        let answer = format!("{{\"{field}\": \"secret-1\", \"expires_in\": 300}}");
        archive.server.put(TOKEN, Reply::Bytes(answer.into_bytes()));
        assert_eq!(get(&archive.open(), &name).unwrap().version, "6.6.134");
        let tokens = archive.server.requests();
        let tokens = tokens.iter().filter(|path| *path == TOKEN).count();
        assert_eq!(tokens, 1);
    }
}

#[test]
fn an_expired_token_is_replaced() {
    let (archive, name) = registry();
    let layers = archive.server.paths().into_iter();
    let layers = layers.filter(|path| path.contains("/blobs/"));
    let layers: Vec<_> = layers
        .map(|path| (archive.server.bytes(&path), path))
        .collect();
    protect(&archive, REALM);
    archive.server.put(TOKEN, answer("secret-1"));
    let kernels = archive.open();
    let resolved = kernels.resolve(&name, &Silent).unwrap();
    for (bytes, path) in layers {
        let reply = protected(&archive, REALM, "secret-2", Reply::Bytes(bytes));
        archive.server.put(&path, reply);
    }
    archive.server.put(TOKEN, answer("secret-2"));
    let kernel = kernels.fetch(&resolved, &Silent).unwrap();
    assert_eq!(kernel.version, "6.6.134");
}

#[test]
fn what_gives_no_token_is_an_error() {
    let cases: [(Reply, &str); 4] = [
        (
            Reply::Status(403),
            "requires a login, or has nothing of this name",
        ),
        (Reply::Bytes(b"{}".to_vec()), "the answer has no token"),
        (
            Reply::Bytes(b"{\"token\": \"wrong\"}".to_vec()),
            "requires a login, or has nothing of this name",
        ),
        (Reply::RetryAfter(429, "900"), "asks to wait 900 s"),
    ];
    for (reply, message) in cases {
        let (archive, name) = registry();
        protect(&archive, REALM);
        archive.server.put(TOKEN, reply);
        assert_contains(&infra(&archive.open(), &name), &[message]);
    }
    let (archive, name) = registry();
    protect(&archive, "file:///etc/passwd");
    assert_contains(&infra(&archive.open(), &name), &["which is not HTTPS"]);
}

#[test]
fn a_token_is_not_sent_to_another_host() {
    let (archive, name) = registry();
    let elsewhere = Server::start();
    let host = elsewhere.url.replace("127.0.0.1", "localhost");
    for path in archive.server.paths() {
        let bytes = archive.server.bytes(&path);
        let then = match path.contains("/blobs/") {
            true => {
                elsewhere.put(&path, Reply::Bytes(bytes));
                Reply::Redirect(format!("{host}{path}"))
            }
            false => Reply::Bytes(bytes),
        };
        let reply = protected(&archive, REALM, "secret-1", then);
        archive.server.put(&path, reply);
    }
    archive.server.put(TOKEN, answer("secret-1"));
    get(&archive.open(), &name).unwrap();
    // For the manifest, the configuration and the layer.
    assert_eq!(archive.server.authorizations(), ["Bearer secret-1"; 3]);
    assert_eq!(elsewhere.authorizations(), Vec::<String>::new());
    assert!(!elsewhere.requests().is_empty());
}
