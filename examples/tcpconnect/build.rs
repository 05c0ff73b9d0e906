//! Compiles the BPF programs.

fn main() -> std::process::ExitCode {
    bpf_build::compile_all("src", &["../tool/bpf"])
}
