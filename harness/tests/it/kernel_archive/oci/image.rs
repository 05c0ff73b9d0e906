//! Images, made as builders make them: layers, configuration, manifest, index.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::kernel_archive::archive::{image as kernel, sha256};
use crate::kernel_archive::server::{Reply, Server};

/// What a layer has at a path.
#[derive(Clone, Copy)]
pub(crate) enum Entry<'a> {
    File(&'a [u8]),
    Folder,
    Symlink(&'a str),
    HardLink(&'a str),
}

/// How a layer is compressed, and the names of its type.
#[derive(Clone, Copy)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
    DockerGzip,
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256(bytes))
}

/// A layer as a tar archive. Its paths may be ones that no builder writes.
pub(crate) fn tar(entries: &[(&str, Entry<'_>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, entry) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(0o755);
        header.set_size(0);
        let mut content: &[u8] = &[];
        let kind = match entry {
            Entry::File(bytes) => {
                content = bytes;
                header.set_size(bytes.len() as u64);
                tar::EntryType::Regular
            }
            Entry::Folder => tar::EntryType::Directory,
            Entry::Symlink(_) => tar::EntryType::Symlink,
            Entry::HardLink(_) => tar::EntryType::Link,
        };
        header.set_entry_type(kind);
        if let Entry::Symlink(to) | Entry::HardLink(to) = entry {
            header.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
        }
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }
    tar.into_inner().unwrap()
}

impl Packing {
    fn pack(self, tar: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => tar.to_vec(),
            Self::Gzip | Self::DockerGzip => {
                let mut gzip =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gzip.write_all(tar).unwrap();
                gzip.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(tar, 1).unwrap(),
        }
    }

    fn types(self) -> [&'static str; 3] {
        let config = "application/vnd.oci.image.config.v1+json";
        match self {
            Self::Plain => [MANIFEST, config, "application/vnd.oci.image.layer.v1.tar"],
            Self::Gzip => [
                MANIFEST,
                config,
                "application/vnd.oci.image.layer.v1.tar+gzip",
            ],
            Self::Zstd => [
                MANIFEST,
                config,
                "application/vnd.oci.image.layer.v1.tar+zstd",
            ],
            Self::DockerGzip => [
                DOCKER_MANIFEST,
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ],
        }
    }
}

pub(crate) fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": digest(bytes), "size": bytes.len()})
}

/// An image for one platform.
pub(crate) struct Image {
    pub(crate) manifest: Vec<u8>,
    manifest_type: &'static str,
    architecture: &'static str,
    /// The configuration and the layers.
    pub(crate) blobs: Vec<Vec<u8>>,
}

impl Image {
    pub(crate) fn new(packing: Packing, layers: &[Vec<u8>]) -> Self {
        Self::of(packing, "amd64", layers)
    }

    pub(crate) fn of(packing: Packing, architecture: &'static str, layers: &[Vec<u8>]) -> Self {
        let [manifest_type, config_type, layer_type] = packing.types();
        let diff_ids: Vec<_> = layers.iter().map(|tar| digest(tar)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = serde_json::to_vec(&config).unwrap();
        let layers: Vec<_> = layers.iter().map(|tar| packing.pack(tar)).collect();
        let described: Vec<_> = layers.iter().map(|l| descriptor(layer_type, l)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": manifest_type,
            "config": descriptor(config_type, &config), "layers": described,
        });
        Self {
            manifest: serde_json::to_vec(&manifest).unwrap(),
            manifest_type,
            architecture,
            blobs: [vec![config], layers].concat(),
        }
    }

    /// The image of a kernel as `ghcr.io/cilium/ci-kernels` has it.
    pub(crate) fn like_ci_kernels(packing: Packing, release: &str) -> Self {
        let module = format!("usr/lib/modules/{release}/extra/bpf_testmod.ko");
        Self::new(
            packing,
            &[tar(&[
                ("boot/", Entry::Folder),
                ("boot/vmlinuz", Entry::File(&kernel(release))),
                ("lib", Entry::Symlink("usr/lib")),
                (&module, Entry::File(b"module")),
            ])],
        )
    }

    /// The image of a kernel as `quay.io/lvh-images/kernel-images` has it: on top of a small system.
    pub(crate) fn like_lvh(packing: Packing, series: &str, release: &str) -> Self {
        let path = |file: &str| format!("data/kernels/{series}/{file}");
        let build = path(&format!("lib/modules/{release}/build"));
        Self::new(
            packing,
            &[
                tar(&[
                    ("bin/busybox", Entry::File(b"program")),
                    ("bin/sh", Entry::HardLink("bin/busybox")),
                ]),
                tar(&[
                    (
                        &path(&format!("boot/vmlinuz-{release}")),
                        Entry::File(&kernel(release)),
                    ),
                    (
                        &path(&format!("boot/vmlinux-{release}")),
                        Entry::File(b"\x7fELF"),
                    ),
                    (
                        &path(&format!("boot/config-{release}")),
                        Entry::File(b"CONFIG_BPF=y\n"),
                    ),
                    (
                        &path(&format!("lib/modules/{release}/modules.builtin")),
                        Entry::File(b""),
                    ),
                    (
                        &path(&format!("lib/modules/{release}/kernel/a.ko")),
                        Entry::File(b"module"),
                    ),
                    (&build, Entry::Symlink("/data/src")),
                ]),
            ],
        )
    }

    pub(crate) fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// Changes the manifest after all.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        let mut manifest = serde_json::from_slice(&self.manifest).unwrap();
        edit(&mut manifest);
        self.manifest = serde_json::to_vec(&manifest).unwrap();
    }

    /// Serves it under a tag, as a registry does.
    pub(crate) fn serve(&self, server: &Server, repository: &str, tag: &str) {
        for blob in &self.blobs {
            let path = format!("/v2/{repository}/blobs/{}", digest(blob));
            server.put(&path, Reply::Bytes(blob.clone()));
        }
        for name in [tag, &self.digest()] {
            let path = format!("/v2/{repository}/manifests/{name}");
            server.put(&path, Reply::Bytes(self.manifest.clone()));
        }
    }

    /// Writes it, and the index of all, as a layout that skopeo reads.
    pub(crate) fn layout(images: &[Self], dir: &Path, tag: &str) {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let write = |bytes: &[u8]| fs::write(blobs.join(sha256(bytes)), bytes).unwrap();
        for image in images {
            write(&image.manifest);
            image.blobs.iter().for_each(|blob| write(blob));
        }
        let mut described = match images {
            [image] => descriptor(image.manifest_type, &image.manifest),
            images => {
                let index = index(images);
                write(&index);
                descriptor("application/vnd.oci.image.index.v1+json", &index)
            }
        };
        described["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let top = json!({"schemaVersion": 2, "manifests": [described]});
        fs::write(dir.join("index.json"), top.to_string()).unwrap();
        let version = json!({"imageLayoutVersion": "1.0.0"});
        fs::write(dir.join("oci-layout"), version.to_string()).unwrap();
    }
}

/// The index of images for several platforms.
pub(crate) fn index(images: &[Image]) -> Vec<u8> {
    let described = |image: &Image| {
        let mut described = descriptor(image.manifest_type, &image.manifest);
        described["platform"] = json!({"architecture": image.architecture, "os": "linux"});
        described
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": images.iter().map(described).collect::<Vec<_>>(),
    });
    serde_json::to_vec(&index).unwrap()
}
