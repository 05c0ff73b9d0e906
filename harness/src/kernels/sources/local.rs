//! A local kernel: an installed one, or one in the tree where it was built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::kernels::Kernel;
use crate::kernels::files::image::{self, Identity};
use crate::kernels::files::manifest::hash_file;
use crate::kernels::source::{Artifact, Kind, Source};
use crate::support::error::usage;

/// Where a build writes the image, by architecture.
const BUILT: [&str; 2] = ["arch/x86/boot/bzImage", "arch/arm64/boot/Image"];

/// Opens an image (`bzImage`, `vmlinuz`, `vmlinux`), or a tree in which a kernel was built.
///
/// `modules` is a folder of modules (`lib/modules/RELEASE`), a folder that contains one (the `INSTALL_MOD_PATH` of
/// `make modules_install`), or a build tree. If it is absent, the modules are searched in the usual places for this image.
pub fn open(image: &Path, modules: Option<&Path>) -> Result<Kernel> {
    let (path, tree) = find_image(image)?;
    let identity = image::identify(&path).map_err(|error| usage(format!("{error:#}")))?;
    let modules = match modules {
        Some(dir) => Some(given_modules(dir, &identity)?),
        None => tree
            .filter(|tree| is_module_dir(tree))
            .or_else(|| usual_modules(&path, &identity)),
    };
    let sha256 = hash_file(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let artifact = Artifact {
        package: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        version: identity.version.clone(),
        path: path.display().to_string(),
        size: fs::metadata(&path).map(|metadata| metadata.len()).ok(),
        sha256: sha256.clone(),
        url: None,
    };
    Ok(Kernel {
        requested: image.display().to_string(),
        arch: identity.arch,
        config: find_config(&path, &identity.release),
        image: path,
        sha256,
        modules,
        source: Source {
            kind: Kind::Local,
            name: "local".to_owned(),
            package_version: identity.version.clone(),
            artifacts: vec![artifact],
            verified_by: "nothing: it is the user's own".to_owned(),
            notes: Vec::new(),
            build: None,
        },
        release: identity.release,
        version: identity.version,
    })
}

/// The image, and the build tree if the path is one.
fn find_image(path: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let name = path.display();
    let metadata = fs::metadata(path)
        .map_err(|e| usage(format!("cannot read the kernel image {name}: {e}")))?;
    if !metadata.is_dir() {
        return Ok((absolute(path)?, None));
    }
    let images = BUILT.map(|built| path.join(built));
    if let Some(image) = images.iter().find(|image| image.is_file()) {
        return Ok((absolute(image)?, Some(absolute(path)?)));
    }
    Err(usage(format!(
        "{name} is a folder without {}: name a kernel image, or a tree in which one was built",
        BUILT.join(" and ")
    )))
}

fn given_modules(dir: &Path, identity: &Identity) -> Result<PathBuf> {
    let (name, release) = (dir.display(), &identity.release);
    fs::read_dir(dir)
        .map_err(|e| usage(format!("cannot read the folder of modules {name}: {e}")))?;
    let below = [
        dir.join("lib/modules"),
        dir.join("usr/lib/modules"),
        dir.join("modules"),
        dir.to_owned(),
    ];
    let named = below
        .iter()
        .map(|base| base.join(release))
        .find(|dir| dir.is_dir());
    match named {
        Some(dir) => absolute(&dir),
        None if is_module_dir(dir) => absolute(dir),
        None => Err(usage(format!(
            "there are no modules for {release} in {name}"
        ))),
    }
}

/// Next to the image (`lib/modules/RELEASE/vmlinuz`), in its build tree, or in the `lib/modules` next to `boot`.
fn usual_modules(image: &Path, identity: &Identity) -> Option<PathBuf> {
    let dir = image.parent()?;
    let adjacent = dir
        .ends_with(Path::new("modules").join(&identity.release))
        .then(|| dir.to_owned());
    let built = built_in(image);
    let root = dir.parent().unwrap_or(dir);
    let installed =
        ["lib/modules", "usr/lib/modules"].map(|base| root.join(base).join(&identity.release));
    [adjacent, built]
        .into_iter()
        .flatten()
        .chain(installed)
        .find(|dir| is_module_dir(dir))
}

/// The tree in which this image was built.
fn built_in(image: &Path) -> Option<PathBuf> {
    let path = image.to_str()?;
    let mut trees = BUILT.iter().filter_map(|built| path.strip_suffix(built));
    trees.next().map(PathBuf::from)
}

/// A build writes these files to its tree, and the installation copies them.
fn is_module_dir(dir: &Path) -> bool {
    ["modules.order", "modules.builtin", "modules.dep"]
        .iter()
        .any(|name| dir.join(name).is_file())
}

fn find_config(image: &Path, release: &str) -> Option<PathBuf> {
    let dir = image.parent()?;
    let built = built_in(image).map(|tree| tree.join(".config"));
    let adjacent = [dir.join(format!("config-{release}")), dir.join("config")];
    built
        .into_iter()
        .chain(adjacent)
        .find(|path| path.is_file())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))
}
