//! The real archives. Run with `cargo test -p harness --test it kernel_debian -- --ignored --nocapture`.

use std::time::Instant;

use harness::{
    kernels::{Kernels, Options, files::modules, operations},
    support::progress::Progress,
};

struct Print;

impl Progress for Print {
    fn start(&self, what: &str, total: Option<u64>) {
        println!("  download {what} {total:?}");
    }

    fn note(&self, message: &str) {
        println!("  note: {message}");
    }
}

#[test]
#[ignore = "downloads from Debian"]
fn every_series_is_fetched_and_found_again() {
    let kernels = Kernels::open(crate::support::kernel_options()).unwrap();
    let requested = std::env::var("KERNELS").unwrap_or_else(|_| "all".into());
    for name in kernels.expand(&[requested]).unwrap() {
        let start = Instant::now();
        let resolved = kernels.resolve(&name, &Print).unwrap();
        let resolve = start.elapsed();
        let kernel = kernels.fetch(&resolved, &Print).unwrap();
        let fetch = start.elapsed() - resolve;
        println!(
            "{name}: {} {resolve:?} {fetch:?} {:?}",
            kernel.release, kernel.source.verified_by
        );
        assert_eq!(kernel.version, resolved.version);
        assert!(kernel.release.starts_with(&name), "{}", kernel.release);
        assert!(kernel.image.exists());

        let names = ["virtio_net", "virtio-pci", "veth", "dummy", "overlay"];
        if kernel.modules.is_some() {
            let start = Instant::now();
            let closure = modules::closure(&kernel, &names).unwrap();
            let order: Vec<_> = closure.iter().map(|(name, _)| name).collect();
            println!("  {:?} {order:?}", start.elapsed());
            for (_, path) in &closure {
                assert!(modules::read_module(path).unwrap().starts_with(b"\x7fELF"));
            }
        } else {
            let error = modules::closure(&kernel, &names).unwrap_err().to_string();
            assert!(error.contains("has no modules"), "{error}");
        }

        let offline = Kernels::open(Options {
            offline: true,
            ..Options::default()
        })
        .unwrap();
        let start = Instant::now();
        let again = offline.fetch(&resolved, &Print).unwrap();
        println!("  again in {:?}", start.elapsed());
        assert_eq!(again.image, kernel.image);
    }
}

#[test]
#[ignore = "asks the archives, and writes the lock of the source tree"]
fn update_the_lock() {
    let kernels = Kernels::open(crate::support::kernel_options()).unwrap();
    let start = Instant::now();
    for change in operations::update(&kernels, &[], &Print).unwrap() {
        println!(
            "{} {:?} -> {:?}",
            change.series,
            change.old,
            change.new.map_err(|e| e.to_string())
        );
    }
    println!("{:?}", start.elapsed());
    let start = Instant::now();
    for series in operations::list(&kernels).unwrap() {
        println!("{series:?}");
    }
    println!("{:?}", start.elapsed());
    let start = Instant::now();
    println!(
        "{:?} {:?}",
        operations::verify(&kernels, &["all".into()]).unwrap(),
        start.elapsed()
    );
}
