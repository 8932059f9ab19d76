//! The manual page and the shells' completions, from the tables that say what `rvsadm` understands: `make docs` writes
//! them, and a test holds the written ones against these.

mod bash;
mod fish;
mod man;
mod zsh;

use crate::ipvsadm::described::{Described, Offer, all};
use crate::ipvsadm::options::{KNOWN, Tag, Verb, goes_with};

/// What can be made: a word for it, and where the tree has it.
pub const FILES: [(&str, &str); 4] = [
    ("man", "docs/rvsadm.8"),
    ("bash", "contrib/completions/rvsadm.bash"),
    ("zsh", "contrib/completions/_rvsadm"),
    ("fish", "contrib/completions/rvsadm.fish"),
];

/// Makes one of [`FILES`], by its word.
#[must_use]
pub fn generate(what: &str) -> Option<String> {
    match what {
        "man" => Some(man::page()),
        "bash" => Some(bash::completion()),
        "zsh" => Some(zsh::completion()),
        "fish" => Some(fish::completion()),
        _ => None,
    }
}

/// The options that are commands, and the long names of the rest that go with each; `help` and `version` go with none.
fn commands() -> impl Iterator<Item = (&'static Described, Vec<&'static str>)> {
    all().filter_map(|option| match tag(option) {
        Tag::Command(verb) => Some((option, companions(verb))),
        Tag::Help | Tag::Version => Some((option, Vec::new())),
        _ => None,
    })
}

fn companions(verb: Verb) -> Vec<&'static str> {
    let mut with: Vec<&str> = KNOWN.iter().filter(|known| goes_with(known.tag, verb)).map(|known| known.long).collect();
    with.dedup();
    with
}

/// The options that are no commands.
fn companion_options() -> impl Iterator<Item = &'static Described> {
    all().filter(|option| !matches!(tag(option), Tag::Command(_) | Tag::Help | Tag::Version))
}

/// The long names of the commands that an option goes with.
fn commands_of(option: &Described) -> Vec<&'static str> {
    commands().filter(|(_, with)| with.contains(&option.long)).map(|(command, _)| command.long).collect()
}

fn tag(option: &Described) -> Tag {
    // the table of descriptions has no other options than this one: a test holds them together
    KNOWN.iter().find(|known| known.long == option.long).map_or(Tag::Help, |known| known.tag)
}

/// Every spelling: `-s`, `--scheduler`.
fn spellings(option: &Described) -> Vec<String> {
    option.letters().map(|letter| format!("-{letter}")).chain([format!("--{}", option.long)]).collect()
}

/// The words that an offer is, if it is words.
fn offered(offer: Offer) -> Option<Vec<&'static str>> {
    match offer {
        Offer::Words(words) => Some(words.to_vec()),
        Offer::Schedulers => Some(forwarder::scheduler::SCHEDULERS.iter().map(|known| known.name).collect()),
        Offer::Nothing | Offer::Services(_) | Offer::Interfaces => None,
    }
}
