//! The command with the ABI before this one; see the feature `previous-abi`.

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis::cli::main()
}
