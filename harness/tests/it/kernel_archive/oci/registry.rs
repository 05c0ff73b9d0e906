//! Debian's docker-registry, and images that skopeo copied to it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::image::{Entry, Image, Packing, digest, tar};
use crate::kernel_archive::archive::Archive;
use crate::kernel_archive::server::{Reply, Server};
use crate::kernel_archive::{assert_contains, get, infra};
use crate::support::{harness, run};

/// A registry that ends with the test.
pub(crate) struct Registry {
    /// As `127.0.0.1:35231`.
    pub(crate) address: String,
    dir: tempfile::TempDir,
    process: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::with("", "")
    }

    /// A registry with more in its configuration: of `http`, and at the top.
    fn with(http: &str, top: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.yml");
        let root = dir.path().join("root");
        // It chooses a free port, and logs it.
        let text = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage: {{filesystem: {{rootdirectory: {root:?}}}}}\n\
             http: {{addr: '127.0.0.1:0'{http}}}\n{top}"
        );
        fs::write(&config, text).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry, which ci/setup --tests installs");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, rest) = line.split_once("listening on ")?;
                let address = rest.split(['"', ',']).next()?;
                Some(address.to_owned())
            })
            .expect("the address of the registry");
        // It must not wait for a reader of its log.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            address,
            dir,
            process,
        }
    }

    /// Copies images to `repository:tag`, several of them as an index.
    pub(crate) fn push(&self, images: &[Image], repository: &str, tag: &str, options: &[&str]) {
        let layout = tempfile::tempdir().unwrap();
        Image::layout(images, layout.path(), tag);
        let from = format!("oci:{}:{tag}", layout.path().display());
        let to = format!("docker://{}/{repository}:{tag}", self.address);
        skopeo(
            &[
                &["copy", "--all", "--dest-tls-verify=false"],
                options,
                &[&from, &to],
            ]
            .concat(),
        );
    }

    /// The manifest or index that skopeo sees.
    fn manifest(&self, repository: &str, tag: &str) -> Vec<u8> {
        let image = format!("docker://{}/{repository}:{tag}", self.address);
        skopeo(&["inspect", "--raw", "--tls-verify=false", &image])
    }

    pub(crate) fn digest(&self, repository: &str, tag: &str) -> String {
        digest(&self.manifest(repository, tag))
    }

    fn name(&self, repository: &str, tag: &str) -> String {
        format!("oci:{}/{repository}:{tag}", self.address)
    }
}

/// Runs skopeo, and returns its output.
fn skopeo(args: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo")
        .arg("--insecure-policy")
        .args(args)
        .output()
        .expect("skopeo, which ci/setup --tests installs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {args:?}: {stderr}");
    output.stdout
}

#[test]
fn images_that_skopeo_copied() {
    let registry = Registry::start();
    let archive = Archive::empty();
    let zstd: &[&str] = &["--format=oci", "--dest-compress-format=zstd"];
    let cases: [(&str, Packing, &[&str], &str); 3] = [
        ("1", Packing::Gzip, &[], "image.layer.v1.tar+gzip"),
        ("2", Packing::Gzip, &["--format=v2s2"], "diff.tar.gzip"),
        ("3", Packing::Plain, zstd, "image.layer.v1.tar+zstd"),
    ];
    for (tag, packing, options, layer_type) in cases {
        let release = format!("6.6.{tag}");
        let ci_kernels = Image::like_ci_kernels(packing, &release);
        let lvh = Image::like_lvh(packing, "6.6", &release);
        for (image, repository) in [(ci_kernels, "ci-kernels"), (lvh, "lvh")] {
            registry.push(&[image], repository, tag, options);
            let manifest = registry.manifest(repository, tag);
            assert_contains(&String::from_utf8_lossy(&manifest), &[layer_type]);
            let kernel = get(&archive.open(), &registry.name(repository, tag)).unwrap();
            assert_eq!(kernel.version, release, "{repository}:{tag}");
            let version = format!("{tag}@{}", digest(&manifest));
            assert_eq!(kernel.source.package_version, version);
            let modules = kernel.modules.unwrap();
            assert!(modules.join("extra").exists() || modules.join("kernel").exists());
        }
    }
}

#[test]
fn an_index_that_skopeo_copied_and_its_digest() {
    let registry = Registry::start();
    let archive = Archive::empty();
    let images = [
        Image::of(Packing::Gzip, "arm64", &[tar(&[("a", Entry::Folder)])]),
        Image::like_ci_kernels(Packing::Gzip, "6.6.134"),
    ];
    registry.push(&images, "cilium/ci-kernels", "6.6", &[]);
    let index = registry.digest("cilium/ci-kernels", "6.6");
    let name = registry.name("cilium/ci-kernels", "6.6");
    for name in [format!("{name}@{index}"), name] {
        let kernel = get(&archive.open(), &name).unwrap();
        assert_eq!(kernel.version, "6.6.134");
        assert_eq!(kernel.source.package_version, format!("6.6@{index}"));
    }
}

#[test]
fn what_was_changed_in_the_registry_is_refused() {
    let registry = Registry::start();
    let archive = Archive::empty();
    let image = Image::like_ci_kernels(Packing::Gzip, "6.6.134");
    let layer = digest(&image.blobs[1]);
    registry.push(&[image], "k", "1", &[]);
    let (kind, hash) = layer.split_once(':').unwrap();
    let stored = registry.dir.path().join("root/docker/registry/v2/blobs");
    let stored = stored.join(kind).join(&hash[..2]).join(hash).join("data");
    let mut bytes = fs::read(&stored).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&stored, bytes).unwrap();
    assert_contains(
        &infra(&archive.open(), &registry.name("k", "1")),
        &["layer 1 of", "its SHA-256 is", hash],
    );
}

/// Runs `openssl` in a folder.
fn openssl(dir: &Path, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    let output = command.args(args).current_dir(dir).output();
    let output = output.expect("openssl, which ci/setup --tests installs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {args:?}: {stderr}");
    output.stdout
}

/// Base64 without padding, for URLs.
fn base64url(dir: &Path, bytes: &[u8]) -> String {
    fs::write(dir.join("bytes"), bytes).unwrap();
    let text = openssl(dir, &["base64", "-A", "-in", "bytes"]);
    let text = String::from_utf8(text).unwrap();
    text.replace('+', "-").replace('/', "_").replace('=', "")
}

/// A key, and a certificate for this machine that signs itself.
fn certificate(dir: &Path) {
    let args = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=issuer \
                -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    openssl(dir, &args.split_whitespace().collect::<Vec<_>>());
}

/// A signed token that allows to read and write a repository.
fn token(dir: &Path, repository: &str) -> String {
    let certificate = openssl(dir, &["x509", "-in", "cert.pem", "-outform", "DER"]);
    fs::write(dir.join("bytes"), certificate).unwrap();
    let certificate = openssl(dir, &["base64", "-A", "-in", "bytes"]);
    let header = serde_json::json!({
        "typ": "JWT", "alg": "RS256", "x5c": [String::from_utf8(certificate).unwrap()],
    });
    let claims = serde_json::json!({
        "iss": "issuer", "sub": "", "aud": "test registry", "jti": "1",
        "nbf": 0, "iat": 0, "exp": 4_102_444_800_u64,
        "access": [{"type": "repository", "name": repository, "actions": ["pull", "push"]}],
    });
    let part = |json: &serde_json::Value| base64url(dir, json.to_string().as_bytes());
    let signed = format!("{}.{}", part(&header), part(&claims));
    fs::write(dir.join("signed"), &signed).unwrap();
    let signature = openssl(dir, &["dgst", "-sha256", "-sign", "key.pem", "signed"]);
    format!("{signed}.{}", base64url(dir, &signature))
}

#[test]
fn a_registry_over_tls_needs_a_certificate_that_the_system_trusts() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let [key, cert] = ["key.pem", "cert.pem"].map(|name| dir.path().join(name));
    let tls = format!(", tls: {{certificate: {cert:?}, key: {key:?}}}");
    let registry = Registry::with(&tls, "");
    let image = Image::like_ci_kernels(Packing::Gzip, "6.6.134");
    registry.push(&[image], "k", "1", &[]);

    let (_, port) = registry.address.split_once(':').unwrap();
    let name = format!("oci:https://localhost:{port}/k:1");
    let fetch = |trusted: bool| {
        let mut command = harness(&["kernels", "fetch", &name]);
        command.arg("--cache-dir").arg(dir.path().join("cache"));
        if trusted {
            command.env("SSL_CERT_FILE", &cert);
        }
        run(&mut command)
    };
    // It does not fall back to plain HTTP.
    let untrusted = fetch(false);
    assert_eq!(untrusted.status, 3, "{}", untrusted.stderr);
    assert_contains(&untrusted.stderr, &["certificate"]);
    let trusted = fetch(true);
    assert_eq!(trusted.status, 0, "{}", trusted.stderr);
    assert_contains(&trusted.stderr, &["6.6.134 is in the cache"]);
}

#[test]
fn a_registry_that_requires_tokens() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let tokens = Server::start();
    let bundle = dir.path().join("cert.pem");
    let auth = format!(
        "auth: {{token: {{realm: '{}/token', service: 'test registry', issuer: issuer, rootcertbundle: {bundle:?}}}}}\n",
        tokens.url
    );
    let registry = Registry::with("", &auth);
    let answer = format!(
        "{{\"token\": \"{}\"}}",
        token(dir.path(), "cilium/ci-kernels")
    );
    let scope = |actions: &str| {
        let scope = format!("scope=repository%3Acilium%2Fci-kernels%3A{actions}");
        [
            format!("/token?service=test%20registry&{scope}"),
            format!("/token?{scope}&service=test+registry"),
        ]
    };
    for path in [scope("pull"), scope("pull%2Cpush")].concat() {
        tokens.put(&path, Reply::Bytes(answer.clone().into_bytes()));
    }
    let image = Image::like_ci_kernels(Packing::Gzip, "6.6.134");
    registry.push(&[image], "cilium/ci-kernels", "6.6", &[]);
    tokens.requests();

    let archive = Archive::empty();
    let name = registry.name("cilium/ci-kernels", "6.6");
    assert_eq!(get(&archive.open(), &name).unwrap().version, "6.6.134");
    assert_eq!(tokens.requests(), [scope("pull")[0].clone()]);

    // A token for another repository.
    let other = format!("{{\"token\": \"{}\"}}", token(dir.path(), "another"));
    tokens.put(&scope("pull")[0], Reply::Bytes(other.into_bytes()));
    let archive = Archive::empty();
    assert_contains(
        &infra(&archive.open(), &name),
        &[
            "status 401",
            "requires a login, or has nothing of this name",
        ],
    );
}
