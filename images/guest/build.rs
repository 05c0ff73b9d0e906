//! Compiles the BPF programs of `images/bpf`.

fn main() -> std::process::ExitCode {
    bpf_build::compile_all("../bpf", &[])
}
