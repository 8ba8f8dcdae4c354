//! How a program ends that measures something and knows within which bounds that is to be.

use std::error::Error;
use std::process::ExitCode;

/// Prints what was out of bounds, or why nothing was measured; a failure in both cases.
pub fn verdict(program: &str, measured: Result<Vec<String>, Box<dyn Error>>) -> ExitCode {
    match measured {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
            missed.iter().for_each(|line| eprintln!("out of bounds: {line}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}
