//! `quorate top`: the status of all replicas, live.
//!
//! | file | holds |
//! |---|---|
//! | this | arguments, and the loop: ask, draw, listen for an end |
//! | [`board`] | what each replica said last, and the picture that it makes |
//! | [`frame`] | a picture as lines of text |
//! | [`screen`] | the terminal: taken over, drawn on, given back |

mod board;
mod frame;
mod screen;

use super::{bench::duration, block_on, curl::parse_url, status};
use crate::{
    console::Console,
    failure::{Exit, Failure},
};
use board::{Board, Heard, Picture};
use quorate_client::Endpoint;
use screen::Screen;
use std::{
    io::IsTerminal as _,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};

/// How long one question may go without its answer before it is asked anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the first picture waits for those that have not answered yet.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Arguments.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    quorate top\n  \
    quorate top --interval 250ms http://127.0.0.1:7500\n  \
    quorate top --count 10 --output json http://127.0.0.1:7400\n  \
    quorate top http://a.example:7500 http://b.example:7500\n\n\
    Keys: q or Ctrl-C ends. Where standard output is no terminal, and with --output json, each\n\
    refresh is one JSON object on a line.\n\n\
    The other replicas' listeners are learnt from those that are named, where their\n\
    configurations tell them; name those that they do not tell. A replica that does not answer is\n\
    shown as such and holds up nobody. All of it is the replicas' own word; nothing proves it.")]
pub(crate) struct Top {
    /// How often to look, such as 1s or 250ms; at least 50ms
    #[arg(long, value_name = "D", default_value = "1s", value_parser = pause)]
    interval: Duration,
    /// End after so many refreshes
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Gateways or operations listeners of one cluster
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:7400")]
    urls: Vec<String>,
}

fn pause(text: &str) -> Result<Duration, String> {
    let pause = duration(text)?;
    if (Duration::from_millis(50)..=Duration::from_secs(3600)).contains(&pause) {
        return Ok(pause);
    }
    Err(format!("`{text}` is not between 50ms and 1h"))
}

impl Top {
    /// Shows it until it is told to stop.
    pub(crate) fn run(self, console: &Console) -> Result<Exit, Failure> {
        let endpoints = self
            .urls
            .iter()
            .map(|url| Ok(parse_url(url)?.endpoint))
            .collect::<Result<Vec<_>, Failure>>()?;
        let draws = !console.is_json() && std::io::stdout().is_terminal();
        block_on(async {
            let mut watch = Watch::of(endpoints, self.interval)?;
            watch.hear_all(FIRST_WAIT.max(self.interval)).await?;
            let output = match draws {
                true => Output::Screen(Screen::take(&watch.keys)?),
                false => Output::Lines(*console),
            };
            watch.run(self.count.unwrap_or(u64::MAX), &output).await;
            Ok(Exit::Done)
        })?
    }
}

/// Where pictures go.
enum Output {
    Screen(Screen),
    Lines(Console),
}

impl Output {
    fn show(&self, picture: &Picture) {
        match self {
            Self::Screen(screen) => screen.draw(picture),
            Self::Lines(console) => console.json(picture),
        }
    }
}

/// Everything that the loop listens to.
struct Watch {
    board: Board,
    interval: Duration,
    heard: UnboundedReceiver<Heard>,
    tell: UnboundedSender<Heard>,
    pressed: UnboundedReceiver<u8>,
    keys: UnboundedSender<u8>,
    ends: [Signal; 3],
    resized: Signal,
}

impl Watch {
    fn of(endpoints: Vec<Endpoint>, interval: Duration) -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::failed("signals", error));
        let (tell, heard) = unbounded_channel();
        let (keys, pressed) = unbounded_channel();
        let watch = Self {
            board: Board::of(endpoints, interval),
            interval,
            heard,
            tell,
            pressed,
            keys,
            ends: [
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
            ],
            resized: listen(SignalKind::window_change())?,
        };
        for (place, endpoint) in watch.board.endpoints().enumerate() {
            watch.ask(place, endpoint.clone());
        }
        Ok(watch)
    }

    /// Asks a replica over and over, whatever the others do.
    fn ask(&self, place: usize, endpoint: Endpoint) {
        let (tell, interval) = (self.tell.clone(), self.interval);
        tokio::spawn(async move {
            loop {
                let asked = Instant::now();
                let said = match timeout(PATIENCE, status::of(&endpoint)).await {
                    Ok(Ok(status)) => Ok(Box::new(status)),
                    Ok(Err(failure)) => Err(failure),
                    Err(_) => Err(Failure::failed("no-answer", "no answer in time")),
                };
                if tell.send(Heard { place, at: Instant::now(), said }).is_err() {
                    return;
                }
                sleep_until((asked + interval).into()).await;
            }
        });
    }

    fn take(&mut self, heard: Heard) {
        for (place, endpoint) in self.board.take(heard) {
            self.ask(place, endpoint);
        }
    }

    /// Waits for a first word of each replica, those included that others name, but not for long.
    /// Fails when nobody can be asked at all.
    async fn hear_all(&mut self, most: Duration) -> Result<(), Failure> {
        let hear = async {
            while !self.board.is_complete() {
                if let Some(heard) = self.heard.recv().await {
                    self.take(heard);
                }
            }
        };
        let _ = timeout(most, hear).await;
        // One that hangs may be the only one that knows the others.
        while !self.board.has_heard() {
            if let Some(failure) = self.board.hopeless() {
                return Err(failure);
            }
            if let Some(heard) = self.heard.recv().await {
                self.take(heard);
            }
        }
        Ok(())
    }

    async fn run(&mut self, count: u64, output: &Output) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut shown = 0;
        while shown < count {
            let [interrupt, terminate, hangup] = &mut self.ends;
            tokio::select! {
                biased;
                _ = interrupt.recv() => return,
                _ = terminate.recv() => return,
                _ = hangup.recv() => return,
                Some(key) = self.pressed.recv() => {
                    if screen::ends(key) {
                        return;
                    }
                }
                Some(heard) = self.heard.recv() => self.take(heard),
                _ = self.resized.recv() => {
                    if let Output::Screen(_) = output {
                        output.show(&self.picture());
                    }
                }
                _ = ticks.tick() => {
                    output.show(&self.picture());
                    shown += 1;
                }
            }
        }
    }

    fn picture(&self) -> Picture {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.board.picture(Instant::now(), u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }
}
