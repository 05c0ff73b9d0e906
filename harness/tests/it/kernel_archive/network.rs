//! Network failures.

use std::fs;
use std::net::TcpListener;

use harness::support::progress::Silent;

use super::archive::{Archive, IN_RELEASE, PACKAGES};
use super::server::{Reply, Server};
use super::{assert_contains, get, infra};

/// An interrupted download must leave no file.
fn nothing_is_left(archive: &Archive) {
    let left = fs::read_dir(archive.path("cache/kernels")).map(|dir| dir.flatten().count());
    assert_eq!(left.unwrap_or(0), 0);
}

#[test]
fn temporary_failures_are_retried() {
    let deb = Archive::deb_path("6.1.5");
    for path in [IN_RELEASE, PACKAGES, &deb] {
        let archive = Archive::new();
        let bytes = archive.server.bytes(path);
        for problem in [
            Reply::Status(503),
            Reply::Truncated(bytes.clone()),
            Reply::Stall(bytes.clone()),
        ] {
            let reply = Reply::Then(Box::new(problem), Box::new(Reply::Bytes(bytes.clone())));
            archive.server.put(path, reply);
            let kernels = archive.open();
            let kernel = get(&kernels, "6.1").unwrap();
            // The index is in the cache by then.
            let noted = kernel.source.notes.join("\n").contains("tried again: ");
            assert_eq!(noted, path.ends_with(".deb"), "{path}");
            fs::remove_dir_all(archive.path("cache")).unwrap();
        }
    }
}

#[test]
fn a_server_that_limits_requests_is_asked_again_after_the_wait() {
    let deb = Archive::deb_path("6.1.5");
    for path in [IN_RELEASE, PACKAGES, &deb] {
        for (status, when, note) in [
            (429, "0", "127.0.0.1 limits requests (status 429)"),
            (503, "1", "127.0.0.1 is unavailable (status 503)"),
            (429, "Sun, 22 Nov 2026 02:09:05 GMT", "asks to wait 0 s"),
        ] {
            let archive = Archive::new();
            let bytes = archive.server.bytes(path);
            let limit = Reply::RetryAfter(status, when);
            let then = Reply::Then(Box::new(limit), Box::new(Reply::Bytes(bytes)));
            archive.server.put(path, then);
            let kernels = archive.open();
            let resolved = kernels.resolve("6.1", &Silent).unwrap();
            let kernel = kernels.fetch(&resolved, &Silent).unwrap();
            let notes = [resolved.source.notes, kernel.source.notes].concat();
            assert_contains(&notes.join("\n"), &[note, ": waiting"]);
        }
    }
}

#[test]
fn a_server_that_limits_requests_for_long_is_named() {
    for when in ["3600", "18446744073709551615"] {
        let archive = Archive::new();
        let deb = Archive::deb_path("6.1.5");
        archive.server.put(&deb, Reply::RetryAfter(429, when));
        let wait = format!("127.0.0.1 limits requests (status 429) and asks to wait {when} s");
        let error = infra(&archive.open(), "6.1");
        assert_contains(&error, &[&wait, "at most 2 s", "try again later"]);
        let requests = archive.server.requests();
        assert_eq!(requests.iter().filter(|path| **path == deb).count(), 1);
        nothing_is_left(&archive);
    }
}

#[test]
fn a_server_that_limits_requests_again_is_named() {
    let archive = Archive::new();
    let deb = Archive::deb_path("6.1.5");
    archive.server.put(&deb, Reply::RetryAfter(503, "1"));
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["127.0.0.1 is unavailable", "again, after a wait of 1 s"],
    );
    // It does not say for how long.
    archive.server.put(&deb, Reply::Status(429));
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["status 429", "does not say for how long"],
    );
}

#[test]
fn transfer_that_always_breaks_is_an_error() {
    let archive = Archive::new();
    let deb = archive.server.bytes(&Archive::deb_path("6.1.5"));
    archive
        .server
        .change(&Archive::deb_path("6.1.5"), Reply::Truncated);
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["linux-image-6.1.5-cloud-amd64", "broke off"],
    );
    nothing_is_left(&archive);
    archive
        .server
        .put(&Archive::deb_path("6.1.5"), Reply::Bytes(deb));
    get(&archive.open(), "6.1").unwrap();
}

#[test]
fn package_that_is_too_short_is_an_error() {
    let archive = Archive::new();
    archive
        .server
        .change(&Archive::deb_path("6.1.5"), |mut bytes| {
            bytes.truncate(100);
            Reply::Bytes(bytes)
        });
    assert_contains(&infra(&archive.open(), "6.1"), &["it ended after 100 of"]);
    nothing_is_left(&archive);
}

#[test]
fn stalled_server_times_out() {
    let archive = Archive::new();
    archive
        .server
        .change(&Archive::deb_path("6.1.5"), Reply::Stall);
    assert_contains(&infra(&archive.open(), "6.1"), &["timeout"]);
    nothing_is_left(&archive);
}

#[test]
fn connection_refused_is_an_error() {
    let archive = Archive::new();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    archive.matrix(&[&format!("http://127.0.0.1:{port}/debian")]);
    assert_contains(
        &infra(&archive.open(), "6.1"),
        &["no mirror has a usable index", &port.to_string()],
    );

    archive.matrix(&["http://no-such-host.invalid/debian"]);
    assert_contains(&infra(&archive.open(), "6.1"), &["no-such-host.invalid"]);
}

#[test]
fn endless_index_is_refused() {
    let archive = Archive::new();
    archive
        .server
        .change(PACKAGES, |bytes| Reply::Bytes(bytes.repeat(1000)));
    assert_contains(&infra(&archive.open(), "6.1"), &["it is larger than"]);
}

#[test]
fn redirects_are_followed() {
    let archive = Archive::new();
    let elsewhere = Server::start();
    for path in archive.server.paths() {
        elsewhere.put(&path, Reply::Bytes(archive.server.bytes(&path)));
        archive
            .server
            .put(&path, Reply::Redirect(format!("{}{path}", elsewhere.url)));
    }
    get(&archive.open(), "6.1").unwrap();
    archive.server.put(
        IN_RELEASE,
        Reply::Redirect(format!("{}{IN_RELEASE}", archive.server.url)),
    );
    fs::remove_dir_all(archive.path("cache")).unwrap();
    assert_contains(&infra(&archive.open(), "6.1"), &["redirect"]);
}

#[test]
fn offline_sends_no_request() {
    let archive = Archive::new();
    assert_contains(
        &infra(&archive.offline(), "6.1"),
        &["not in the cache", "--offline"],
    );
    archive.open().resolve("6.1", &Silent).unwrap();
    assert_contains(
        &infra(&archive.offline(), "6.1"),
        &["6.1.5-1 is not in the cache", "--offline"],
    );
    archive.server.requests();
    assert!(get(&archive.offline(), "6.1").is_err());
    assert_eq!(archive.server.requests(), Vec::<String>::new());
}
