//! The manual as people read it.

use clap::{CommandFactory, ValueEnum};
use rolecall_cli::args::Cli;
use rolecall_cli::output::Output;

#[test]
fn every_page_of_help() {
    let mut command = Cli::command().term_width(110);
    command.build();
    let mut pages = vec![("kubectl-rolecall".to_owned(), command.clone())];
    pages.extend(command.get_subcommands().map(|page| (page.get_name().to_owned(), page.clone())));
    for (name, mut page) in pages {
        insta::assert_snapshot!(name, page.render_long_help());
    }
}

#[test]
fn help_names_every_form_of_output() {
    let help = Cli::command().render_long_help().to_string();
    for form in Output::value_variants() {
        let name = form.to_possible_value().expect("no form is hidden").get_name().to_owned();
        assert!(help.contains(&name), "{name}");
    }
}
