//! `script`: golden scripts, run one by one.

use std::path::PathBuf;
use std::process::ExitCode;

use actix_raft_sim::script;
use anyhow::Context;
use clap::Args;

#[derive(Args)]
pub(super) struct Scripts {
    /// The scripts.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print what the scripts give now, not whether it is what they hold.
    #[arg(long)]
    print: bool,
}

impl Scripts {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut differ = 0;
        for file in &self.files {
            let name = file.display();
            let outcome = script::run(file).with_context(|| name.to_string())?;
            if self.print {
                print!("{}", outcome.found);
                continue;
            }
            match outcome.difference() {
                None => println!("{name}: as written"),
                Some((line, written, found)) => {
                    differ += 1;
                    println!("{name}:{line}: differs\n  written: {written}\n  found:   {found}");
                }
            }
        }
        Ok(if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
