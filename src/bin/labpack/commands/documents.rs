//! `completions` and `man`: made from the command line's own description.

use clap::CommandFactory;
use labpack::report::Findings;
use serde_json::json;

use crate::{
    answer::{Answer, Failure},
    cli::Cli,
};

/// The completion script for a shell.
///
/// # Errors
/// Where the script is not Unicode, which would be a fault of its generator.
pub(super) fn completions(shell: clap_complete::Shell) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "labpack", &mut script);
    document(script)
}

/// The manual page of labpack, or of the command with these words.
///
/// # Errors
/// Where there is no such command.
pub(super) fn man(words: &[String]) -> Result<Answer, Failure> {
    let mut command = Cli::command();
    command.build();
    for word in words {
        let next = command.find_subcommand(word).cloned();
        command = next.ok_or_else(|| Failure::usage(format!("there is no command `{word}`")))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    document(page)
}

fn document(bytes: Vec<u8>) -> Result<Answer, Failure> {
    let text = String::from_utf8(bytes)?;
    let body = json!({ "text": text });
    Ok(Answer::new(text, body, Findings::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_its_manual_page() {
        let page = man(&["store".to_owned(), "gc".to_owned()]).unwrap().text;
        assert!(page.contains("grace"), "{page}");
        assert!(man(&[]).unwrap().text.contains("unpack"));
        assert_eq!(
            man(&["no".to_owned()]).err().unwrap().exit,
            crate::exit::Exit::Usage
        );
    }

    #[test]
    fn every_shell_gets_a_script() {
        use clap::ValueEnum;
        for shell in clap_complete::Shell::value_variants() {
            assert!(
                completions(*shell).unwrap().text.contains("labpack"),
                "{shell}"
            );
        }
    }
}
