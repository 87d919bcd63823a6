//! The terminal: taken over, drawn on, given back as it was.

use super::{board::Picture, frame::Tone, frame::frame};
use crate::failure::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Read as _, Write as _, stdin, stdout},
    thread,
};
use tokio::sync::mpsc::UnboundedSender;

/// The alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
/// The screen from before, and the cursor.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A terminal that was taken over. It is given back when this is dropped, on a panic too.
pub(super) struct Screen {
    /// How keys were read before.
    before: Option<Termios>,
    colours: bool,
}

/// Whether a key ends it: q, or Ctrl-C, which is read as a key here.
pub(super) fn ends(key: u8) -> bool {
    matches!(key, b'q' | b'Q' | 3)
}

impl Screen {
    /// Takes the terminal over, and hands on the keys that are pressed.
    pub(super) fn take(keys: &UnboundedSender<u8>) -> Result<Self, Failure> {
        let failed = |error| Failure::failed("terminal", format_args!("the terminal: {error}"));
        let before = match stdin().is_terminal() {
            true => Some(tcgetattr(stdin()).map_err(failed)?),
            false => None,
        };
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
            tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(failed)?;
            hear_keys(keys.clone());
        }
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        write(ENTER);
        Ok(Self { before, colours })
    }

    /// Draws a picture over the one before.
    pub(super) fn draw(&self, picture: &Picture) {
        let (width, height) = size();
        let mut text = "\x1b[H".to_owned();
        let lines = frame(picture, width, height);
        let last = lines.len().saturating_sub(1);
        for (place, line) in lines.iter().enumerate() {
            let style = match line.tone {
                _ if !self.colours => "",
                Tone::Plain => "",
                Tone::Strong => "\x1b[1m",
                Tone::Alarm => "\x1b[31m",
            };
            let reset = if style.is_empty() { "" } else { "\x1b[0m" };
            let end = if place == last { "" } else { "\r\n" };
            let _ = write!(text, "{style}{}{reset}\x1b[K{end}", line.text);
        }
        text.push_str("\x1b[J");
        write(&text);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// Reads keys on a thread that ends with the process: nothing else can be done about a read.
fn hear_keys(keys: UnboundedSender<u8>) {
    thread::spawn(move || {
        let mut key = [0; 1];
        while let Ok(1) = stdin().read(&mut key) {
            if keys.send(key[0]).is_err() {
                return;
            }
        }
    });
}

/// Columns and rows; 80 by 24 where the terminal does not say.
fn size() -> (usize, usize) {
    match tcgetwinsize(stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (80, 24),
    }
}

/// A terminal that went away sends a signal, which ends the program.
fn write(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
