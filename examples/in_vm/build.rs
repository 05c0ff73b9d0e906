//! Compiles the BPF program.

fn main() -> std::process::ExitCode {
    bpf_build::compile_all("src", &[])
}
