//! The terminal: keys come from it, and the picture goes to it.

use super::{Key, Sample, Top};
use crate::command::Error;
use crate::ipvsadm::Executor;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Why there is no more picture.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The director is gone.
    #[error(transparent)]
    Lost(#[from] Error),
    /// The terminal does not work.
    #[error("the terminal does not work: {0}")]
    Terminal(#[from] io::Error),
}

/// Shows the picture until somebody ends it.
///
/// # Errors
/// [`Ended`].
pub fn run(executor: &mut dyn Executor, interval: Duration) -> Result<(), Ended> {
    let start = Instant::now();
    let mut ask = || {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Sample::ask(executor, start.elapsed(), clock)
    };
    // Before the screen is taken: an error is best read on an ordinary one.
    let mut top = Top::new(ask()?, interval);
    let mut terminal = ratatui::try_init()?;
    let ended = (|| {
        loop {
            terminal.draw(|frame| top.draw(frame))?;
            let next = Instant::now() + top.interval();
            loop {
                let left = next.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                if event::poll(left)? {
                    if let Event::Key(event) = event::read()?
                        && let Some(key) = key(event)
                        && !top.key(key)
                    {
                        return Ok(());
                    }
                    terminal.draw(|frame| top.draw(frame))?;
                }
            }
            if !top.is_paused() {
                top.take(ask()?);
            }
        }
    })();
    ratatui::try_restore()?;
    ended
}

fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    Some(match event.code {
        KeyCode::Char('c' | 'd') if event.modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        _ => return None,
    })
}
