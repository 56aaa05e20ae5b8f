//! The program `waterspout`: the command line with the components of this crate.

use std::process::ExitCode;

/// Batches are allocated on one core and freed on another, which halves the speed of glibc's
/// allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    waterspout::fault::heed_environment();
    waterspout::cli::main(waterspout::components::standard())
}
