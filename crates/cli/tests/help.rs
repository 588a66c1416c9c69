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
fn help_fits_the_terminal_and_breaks_at_words_only() {
    let pages = |width: usize| {
        let mut command = Cli::command().term_width(width);
        command.build();
        let subcommands: Vec<_> = command.get_subcommands().cloned().collect();
        let pages = [vec![command], subcommands].concat();
        pages.into_iter().map(|mut page| page.render_long_help().to_string()).collect::<Vec<_>>()
    };
    for (narrow, wide) in pages(80).iter().zip(pages(110)) {
        for line in narrow.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        // A paragraph that was broken by hand has a short line in its middle when it is broken again: the words then
        // end up on other lines than they could.
        let paragraphs = |text: &str| {
            let ours =
                text.split("\n\n").filter(|paragraph| !paragraph.starts_with([' ', '\n'])).map(str::to_owned);
            ours.filter(|paragraph| !paragraph.contains("\n  ") && paragraph.lines().count() > 1)
                .collect::<Vec<_>>()
        };
        for paragraph in [paragraphs(narrow), paragraphs(&wide)].concat() {
            let width = if narrow.contains(&paragraph) { 80 } else { 110 };
            let lines: Vec<&str> = paragraph.lines().collect();
            for (line, next) in lines.iter().zip(&lines[1..]) {
                let word = next.split(' ').next().unwrap_or_default();
                assert!(line.chars().count() + 1 + word.chars().count() > width, "{line:?} then {next:?}");
            }
        }
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
