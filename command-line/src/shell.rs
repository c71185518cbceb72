use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// Which shell is to complete command lines.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// Shell
    shell: Shell,
}

impl CompletionsArgs {
    /// The script with which that shell completes command lines of a program.
    pub fn script(&self, mut program: Command) -> String {
        let mut script = Vec::new();
        let name = program.get_name().to_owned();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}

/// What a manual page is of.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Command to document [default: the program]
    command: Option<String>,
}

impl ManArgs {
    /// The manual page of a program, or of one of its commands, in roff.
    ///
    /// # Errors
    /// If it has no such command.
    pub fn page(&self, mut program: Command) -> io::Result<String> {
        program.build();
        let source = format!("{} {}", program.get_name(), env!("CARGO_PKG_VERSION"));
        let command = match &self.command {
            None => program,
            Some(name) => program.find_subcommand(name).cloned().ok_or_else(|| {
                let known: Vec<&str> = program.get_subcommands().map(Command::get_name).collect();
                let message = format!("no command \"{name}\" (known: {})", known.join(", "));
                io::Error::new(io::ErrorKind::NotFound, message)
            })?,
        };
        let mut page = Vec::new();
        Man::new(command).source(source).render(&mut page)?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }
}
