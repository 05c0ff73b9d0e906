//! Kernel modules: the files of a module and its dependencies, in load order.
//!
//! Debian's packages contain no `modules.dep`, which the installation makes. So the dependencies come from the
//! `.modinfo` section of each module.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection};

use crate::kernels::Kernel;

/// The modules `names` with their dependencies, in load order.
///
/// A module that is built into the kernel has no file. If the kernel does not tell which are (an image of ci-kernels has no
/// `modules.builtin`), those without a file count as built in. `-` and `_` are equal in the name of a module.
pub fn closure(kernel: &Kernel, names: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let Some(dir) = &kernel.modules else {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        bail!(
            "kernel {} has no modules: {} cannot be loaded",
            kernel.release,
            names.join(", ")
        );
    };
    let tree = Tree::read(dir)?;
    let mut order = Order {
        tree: &tree,
        release: &kernel.release,
        visited: HashSet::new(),
        loaded: Vec::new(),
    };
    for name in names {
        order
            .visit(&normal(name))
            .with_context(|| format!("kernel {}", kernel.release))?;
    }
    Ok(order.loaded)
}

/// The file of a module; none if the kernel has no such module, or has it built in.
pub fn file(kernel: &Kernel, name: &str) -> Result<Option<PathBuf>> {
    let tree = kernel.modules.as_deref().map(Tree::read).transpose()?;
    Ok(tree.and_then(|mut tree| tree.files.remove(&normal(name))))
}

/// Reads a module, and uncompresses it (`.ko`, `.ko.xz`, `.ko.zst`, `.ko.gz`).
pub fn read_module(path: &Path) -> Result<Vec<u8>> {
    let context = || format!("cannot read the module {}", path.display());
    let bytes = fs::read(path).with_context(context)?;
    let mut module = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => liblzma::read::XzDecoder::new(&bytes[..]).read_to_end(&mut module),
        Some("zst") => zstd::Decoder::new(&bytes[..]).and_then(|mut d| d.read_to_end(&mut module)),
        Some("gz") => flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut module),
        _ => return Ok(bytes),
    }
    .with_context(context)?;
    Ok(module)
}

/// A module of the user.
#[derive(Debug)]
pub struct Module {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// The names of the modules that it depends on.
    pub depends: Vec<String>,
    /// Its file, uncompressed.
    pub bytes: Vec<u8>,
}

impl Module {
    /// Reads a module from a file that may be compressed.
    pub fn read(path: &Path) -> Result<Self> {
        let name = module_name(path)
            .with_context(|| format!("{} is not named NAME.ko", path.display()))?;
        let Info { depends, .. } = info(path)?;
        let bytes = read_module(path)?;
        Ok(Self {
            name,
            depends,
            bytes,
        })
    }
}

/// All modules: files by the name of the module, and the names of built-in modules.
struct Tree {
    files: HashMap<String, PathBuf>,
    /// Unless they are not known.
    builtin: Option<HashSet<String>>,
}

impl Tree {
    fn read(dir: &Path) -> Result<Self> {
        let mut files = HashMap::new();
        collect(dir, &mut files).with_context(|| format!("cannot read {}", dir.display()))?;
        let names = |list: String| {
            let names = list.lines().map(Path::new);
            names.filter_map(module_name).collect()
        };
        let list = fs::read_to_string(dir.join("modules.builtin"));
        let builtin = list.ok().map(names);
        Ok(Self { files, builtin })
    }
}

fn collect(dir: &Path, files: &mut HashMap<String, PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let path = entry.path();
        // Links point to build trees and sources.
        if kind.is_dir() {
            collect(&path, files)?;
        } else if kind.is_file()
            && let Some(name) = module_name(&path)
        {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `virtio_net` of `kernel/drivers/net/virtio-net.ko.xz`.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let stem = ["", ".xz", ".zst", ".gz"]
        .iter()
        .find_map(|end| file.strip_suffix(end)?.strip_suffix(".ko"))?;
    Some(normal(stem))
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Depth first, so that dependencies come first.
struct Order<'a> {
    tree: &'a Tree,
    release: &'a str,
    visited: HashSet<String>,
    loaded: Vec<(String, PathBuf)>,
}

impl Order<'_> {
    fn visit(&mut self, name: &str) -> Result<()> {
        if !self.visited.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.tree.files.get(name) else {
            let builtin = self.tree.builtin.as_ref();
            if builtin.is_none_or(|names| names.contains(name)) {
                return Ok(());
            }
            bail!("there is no module {name}, neither as a file nor built in");
        };
        let info = info(path)?;
        if let Some(release) = info.release
            && release != self.release
        {
            bail!("{} was built for {release}", path.display());
        }
        for needed in info.depends {
            self.visit(&needed)
                .with_context(|| format!("module {name} needs {needed}"))?;
        }
        self.loaded.push((name.to_owned(), path.clone()));
        Ok(())
    }
}

/// The `.modinfo` of a module.
struct Info {
    depends: Vec<String>,
    /// The kernel that it was built for.
    release: Option<String>,
}

fn info(path: &Path) -> Result<Info> {
    let module = read_module(path)?;
    let context = || format!("{} is not a kernel module", path.display());
    let elf = object::File::parse(&*module).with_context(context)?;
    let section = elf
        .section_by_name(".modinfo")
        .context("it has no .modinfo")
        .with_context(context)?;
    let text = String::from_utf8_lossy(section.data().with_context(context)?);
    let fields = |name: &'static str| {
        text.split('\0')
            .filter_map(move |field| field.strip_prefix(name))
    };
    Ok(Info {
        depends: fields("depends=")
            .flat_map(|list| list.split(','))
            .filter(|n| !n.is_empty())
            .map(normal)
            .collect(),
        // "5.10.0-46-cloud-amd64 SMP mod_unload modversions"
        release: fields("vermagic=")
            .find_map(|magic| magic.split(' ').next())
            .map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::source::{Kind, Source};
    use std::io::Write;

    /// The least that is an ELF file with a `.modinfo` section.
    fn module(release: &str, depends: &str) -> Vec<u8> {
        let info =
            format!("license=GPL\0vermagic={release} SMP mod_unload \0depends={depends}\0name=x\0");
        let names = "\0.modinfo\0.shstrtab\0";
        let info_at = 64;
        let names_at = info_at + info.len();
        let table_at = (names_at + names.len()).next_multiple_of(8);
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(16, 0);
        for (value, size) in [
            (1u64, 2),
            (62, 2),
            (1, 4),
            (0, 8),
            (0, 8),
            (table_at as u64, 8),
            (0, 4),
            (64, 2),
            (0, 2),
            (0, 2),
            (64, 2),
            (3, 2),
            (2, 2),
        ] {
            elf.extend(&value.to_le_bytes()[..size]);
        }
        elf.extend(info.as_bytes());
        elf.extend(names.as_bytes());
        elf.resize(table_at + 64, 0);
        for (name, kind, at, len) in [
            (1u64, 1u64, info_at, info.len()),
            (10, 3, names_at, names.len()),
        ] {
            for (value, size) in [
                (name, 4),
                (kind, 4),
                (0, 8),
                (0, 8),
                (at as u64, 8),
                (len as u64, 8),
                (0, 4),
                (0, 4),
                (1, 8),
                (0, 8),
            ] {
                elf.extend(&value.to_le_bytes()[..size]);
            }
        }
        elf
    }

    fn compress(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match name.rsplit('.').next().unwrap() {
            "xz" => drop(
                liblzma::read::XzEncoder::new(bytes, 1)
                    .read_to_end(&mut out)
                    .unwrap(),
            ),
            "zst" => out = zstd::encode_all(bytes, 1).unwrap(),
            "gz" => {
                let mut encoder =
                    flate2::write::GzEncoder::new(&mut out, flate2::Compression::fast());
                encoder.write_all(bytes).unwrap();
            }
            _ => out = bytes.to_vec(),
        }
        out
    }

    fn kernel(modules: &[(&str, &str)]) -> (tempfile::TempDir, Kernel) {
        let dir = tempfile::tempdir().unwrap();
        for (path, depends) in modules {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(
                &path,
                compress(path.to_str().unwrap(), &module("6.1.0", depends)),
            )
            .unwrap();
        }
        fs::write(
            dir.path().join("modules.builtin"),
            "kernel/drivers/virtio/virtio-mmio.ko\n",
        )
        .unwrap();
        let source = Source {
            kind: Kind::Debian,
            name: String::new(),
            package_version: String::new(),
            artifacts: Vec::new(),
            verified_by: String::new(),
            notes: Vec::new(),
            build: None,
        };
        let kernel = Kernel {
            requested: "6.1".into(),
            arch: crate::kernels::Arch::X86_64,
            release: "6.1.0".into(),
            version: "6.1".into(),
            image: PathBuf::new(),
            sha256: String::new(),
            modules: Some(dir.path().to_owned()),
            config: None,
            source,
        };
        (dir, kernel)
    }

    fn names(kernel: &Kernel, requested: &[&str]) -> Vec<String> {
        closure(kernel, requested)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn dependencies_come_first() {
        let (_dir, kernel) = kernel(&[
            ("kernel/net/virtio-net.ko.xz", "net_failover,virtio_mmio"),
            ("kernel/net/net_failover.ko.zst", "failover"),
            ("kernel/net/failover.ko.gz", ""),
            ("kernel/net/veth.ko", ""),
        ]);
        assert_eq!(
            names(&kernel, &["virtio_net"]),
            ["failover", "net_failover", "virtio_net"]
        );
        assert_eq!(
            names(&kernel, &["virtio-net", "failover", "veth"]),
            ["failover", "net_failover", "virtio_net", "veth"]
        );
        assert_eq!(
            names(&kernel, &["virtio_mmio", "virtio-mmio"]),
            Vec::<String>::new()
        );
        for (_, path) in closure(&kernel, &["virtio_net"]).unwrap() {
            assert!(
                read_module(&path).unwrap().starts_with(b"\x7fELF"),
                "{path:?}"
            );
        }
    }

    #[test]
    fn missing_module_is_named() {
        let (dir, kernel) = kernel(&[("kernel/a.ko", "b"), ("kernel/b.ko", "no_such")]);
        let error = |requested| format!("{:#}", closure(&kernel, &[requested]).unwrap_err());
        assert_eq!(
            error("a"),
            "kernel 6.1.0: module a needs b: module b needs no_such: there is no module no_such, neither as a file \
             nor built in"
        );
        fs::write(dir.path().join("kernel/b.ko"), "rubbish").unwrap();
        assert!(
            error("a").contains("b.ko is not a kernel module"),
            "{}",
            error("a")
        );
        fs::write(dir.path().join("kernel/b.ko"), module("6.1.1", "")).unwrap();
        assert!(
            error("a").contains("b.ko was built for 6.1.1"),
            "{}",
            error("a")
        );
        fs::write(dir.path().join("kernel/c.ko.xz"), "rubbish").unwrap();
        assert!(
            error("c").contains("cannot read the module"),
            "{}",
            error("c")
        );
        fs::remove_file(dir.path().join("modules.builtin")).unwrap();
        assert!(names(&kernel, &["no_such"]).is_empty());
    }

    #[test]
    fn circular_dependency_terminates() {
        let (_dir, kernel) = kernel(&[("a.ko", "b"), ("b.ko", "a")]);
        assert_eq!(names(&kernel, &["a"]), ["b", "a"]);
    }
}
