//! `--color`: when text for people has colours.

use std::env;
use std::ffi::OsString;
use std::sync::atomic::{AtomicU8, Ordering};

use clap::{ColorChoice, ValueEnum};

/// An option of every command.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// When to use colours; `auto` uses them on a terminal, unless NO_COLOR is set or TERM is dumb
    #[arg(long, global = true, value_name = "WHEN", value_enum, hide_short_help = true)]
    color: Option<ColorWhen>,
}

/// When text has colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[repr(u8)]
pub(crate) enum ColorWhen {
    /// On a terminal
    #[default]
    Auto = 0,
    /// Also where the output is piped
    Always = 1,
    /// Never
    Never = 2,
}

/// The choice of this process.
static CHOSEN: AtomicU8 = AtomicU8::new(ColorWhen::Auto as u8);

impl ColorWhen {
    /// Finds the option among arguments that aren't parsed yet, since the messages of the parser
    /// have colours too. A wrong value counts as none: the parser reports it.
    pub(crate) fn of(arguments: &[OsString]) -> Self {
        let words: Vec<_> = arguments.iter().map_while(|word| word.to_str()).collect();
        let end = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        let mut when = Self::Auto;
        for (index, word) in words[..end].iter().enumerate() {
            let value = match word.strip_prefix("--color") {
                Some("") => words[..end].get(index + 1).copied(),
                Some(rest) => rest.strip_prefix('='),
                None => None,
            };
            let value = value.and_then(|value| Self::from_str(value, false).ok());
            when = value.unwrap_or(when);
        }
        when
    }

    /// Makes it the choice of this process.
    pub(crate) fn choose(self) {
        CHOSEN.store(self as u8, Ordering::Relaxed);
    }

    /// Returns the same for the parser's help and messages.
    pub(crate) fn for_parser(self) -> ColorChoice {
        match self {
            Self::Auto => ColorChoice::Auto,
            Self::Always => ColorChoice::Always,
            Self::Never => ColorChoice::Never,
        }
    }
}

/// Returns true if what is drawn on a terminal has colours.
pub(crate) fn is_wanted_on_terminal() -> bool {
    let chosen = CHOSEN.load(Ordering::Relaxed);
    if chosen == ColorWhen::Auto as u8 {
        let refuses = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        return !refuses && !is_dumb;
    }
    chosen == ColorWhen::Always as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_found_before_the_arguments_are_parsed() {
        for (words, expected) in [
            ("run --color always x.ron", ColorWhen::Always),
            ("run --color=never", ColorWhen::Never),
            ("--color never --color auto run", ColorWhen::Auto),
            ("run --color sometimes", ColorWhen::Auto),
            ("run -- --color=never", ColorWhen::Auto),
            ("run --colors=never --color", ColorWhen::Auto),
        ] {
            let arguments: Vec<_> = words.split(' ').map(OsString::from).collect();
            assert_eq!(ColorWhen::of(&arguments), expected, "{words}");
        }
    }
}
