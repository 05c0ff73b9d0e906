//! Kernels from a URL.

use std::fs;

use harness::support::error::exit_code;
use harness::{
    kernels::{Kernels, Kind},
    support::progress::Silent,
};

use super::archive::{Archive, deb, image, sha256, xz};
use super::server::Reply;
use super::{assert_contains, get, infra};

/// Adds a file to the server, and returns the value for `--kernel`.
fn serve(archive: &Archive, path: &str, bytes: &[u8]) -> String {
    archive.server.put(path, Reply::Bytes(bytes.to_vec()));
    format!("{}{path}#sha256={}", archive.server.url, sha256(bytes))
}

fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in [
        ("boot/vmlinuz-6.6.7", image("6.6.7")),
        ("lib/modules/6.6.7/modules.builtin", Vec::new()),
        ("lib/modules/6.6.7/kernel/a.ko", vec![1]),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, &content[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

#[test]
fn url_accepts_images_and_archives() {
    let archive = Archive::empty();
    let tar = tar();
    let packed = deb(&[
        ("./boot/vmlinuz-6.6.7", &image("6.6.7")),
        ("./lib/modules/6.6.7/kernel/a.ko", b"x"),
    ]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &tar).unwrap();
    for (path, bytes, modules) in [
        ("/bzImage", image("6.6.7"), false),
        ("/kernel.deb", packed, true),
        ("/kernel.tar", tar.clone(), true),
        ("/kernel.tar.xz", xz(&tar), true),
        (
            "/kernel.tar.zst",
            zstd::encode_all(&tar[..], 1).unwrap(),
            true,
        ),
        ("/kernel.tar.gz", gz.finish().unwrap(), true),
        ("/", image("6.6.8"), false),
    ] {
        let request = serve(&archive, path, &bytes);
        let kernels = archive.open();
        assert_eq!(
            kernels.expand(std::slice::from_ref(&request)).unwrap(),
            [request.as_str()]
        );
        let kernel = get(&kernels, &request).unwrap();
        assert!(
            kernel.version.starts_with("6.6."),
            "{path}: {}",
            kernel.version
        );
        assert_eq!(kernel.modules.is_some(), modules, "{path}");
        assert_eq!(kernel.source.kind, Kind::Url);
        assert_contains(&kernel.source.verified_by, &["the checksum in its URL"]);
        assert_eq!(
            get(&archive.offline(), &request).unwrap().version,
            kernel.version
        );
    }
}

#[test]
fn url_without_a_checksum_is_refused() {
    let archive = Archive::empty();
    let request = serve(&archive, "/bzImage", &image("6.6.7"));
    for (request, message) in [
        (request.split('#').next().unwrap().to_owned(), "#sha256="),
        (
            request[..request.len() - 1].to_owned(),
            "64 hexadecimal digits",
        ),
    ] {
        for error in [
            archive.open().resolve(&request, &Silent).unwrap_err(),
            archive
                .open()
                .expand(std::slice::from_ref(&request))
                .unwrap_err(),
        ] {
            assert_eq!(exit_code(&error), 2);
            assert_contains(&error.to_string(), &[message]);
        }
    }
    archive.server.put("/bzImage", Reply::Bytes(image("6.6.8")));
    assert_contains(
        &infra(&archive.open(), &request),
        &["its SHA-256 is", "refused"],
    );
    archive.server.put("/bzImage", Reply::Status(404));
    assert_contains(&infra(&archive.open(), &request), &["not found"]);
}

#[test]
fn matrix_accepts_url_sources() {
    let archive = Archive::empty();
    let (address, sum) = {
        let request = serve(&archive, "/bzImage", &image("5.5.0"));
        let (address, sum) = request.split_once("#sha256=").unwrap();
        (address.to_owned(), sum.to_owned())
    };
    let matrix = |sum: &str| {
        format!(
            "[source.mine]\nkind = 'url'\nfiles = [{{ url = '{address}', sha256 = '{sum}' }}]\n\
             [[series]]\nnames = ['5.5']\nsource = 'mine'\n"
        )
    };
    fs::write(archive.path("kernels.toml"), matrix(&sum)).unwrap();
    let kernel = get(&archive.open(), "5.5").unwrap();
    assert_eq!(
        (kernel.version.as_str(), kernel.requested.as_str()),
        ("5.5.0", "5.5")
    );
    assert_eq!(kernel.source.verified_by, "kernels.toml");
    let error = archive.open().resolve("5.5.1", &Silent).unwrap_err();
    assert_eq!(exit_code(&error), 2);

    for (text, message) in [
        (matrix("abc"), "not a SHA-256"),
        (matrix(&sum).replace("kind = 'url'", "kind = 'ftp'"), "ftp"),
        (matrix(&sum).replace("'mine'", "'yours'"), "yours"),
        (
            matrix(&sum).replace("names = ['5.5']", "names = ['5.5', '5.5']"),
            "5.5 is there twice",
        ),
        (
            matrix(&sum).replace("names = ['5.5']", "names = ['latest']"),
            "not named like a version",
        ),
        (matrix(&sum).replace("'5.5'", "5.5"), "expected a string"),
        ("rubbish".to_owned(), "TOML"),
    ] {
        fs::write(archive.path("kernels.toml"), text).unwrap();
        let error = Kernels::open(archive.options()).unwrap_err();
        assert_eq!(exit_code(&error), 2, "{error:#}");
        assert_contains(&format!("{error:#}"), &["kernels.toml", message]);
    }
    fs::remove_file(archive.path("kernels.toml")).unwrap();
    let error = Kernels::open(archive.options()).unwrap_err();
    assert_contains(&error.to_string(), &["cannot read", "kernels.toml"]);
}
