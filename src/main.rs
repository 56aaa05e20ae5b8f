//! The program `waterspout`: the command line with the components of this crate.

use std::process::ExitCode;

use waterspout::registry::Registry;

fn main() -> ExitCode {
    waterspout::cli::main(Registry::standard())
}
