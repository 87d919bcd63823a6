//! A message sequence diagram of a short part of a run: a lifeline for each client and machine,
//! time downwards, an arrow for each message, and what replicas believe beside their lines.
//!
//! Time runs evenly while something happens; where nothing does for long, the axis is broken and
//! says how long it was.

use crate::{
    describe::Described,
    journal::{Belief, Journal, Note, What},
    seat::Seat,
};
use quorate_types::{ReplicaId, Time};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// Which part of a run is drawn, and how much of it.
#[derive(Clone, Debug)]
pub struct View {
    /// What stands above.
    pub title: String,
    /// From when on.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// How many messages at most, each counted once however many it goes to.
    pub messages_max: usize,
    /// Whether what replicas tell each other now and then is drawn, too.
    pub chatter: bool,
}

impl View {
    /// The first 400 messages, without chatter.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        let (from, until) = (Time::default(), Time(u64::MAX));
        Self { title: title.into(), from, until, messages_max: 400, chatter: false }
    }
}

/// Between two lifelines.
const COLUMN: f64 = 196.0;
/// Left of the first, for the time.
const MARGIN: f64 = 150.0;
/// Above the first event.
const TOP: f64 = 118.0;
/// How high a message of usual speed falls.
const FALL: f64 = 74.0;
/// How long the axis is where nothing happens, at most.
const GAP_MAX: f64 = 58.0;
/// How high a line of text is.
const LINE: f64 = 15.0;
/// How wide a letter is, about.
const LETTER: f64 = 5.9;

/// What belongs together, and its colour.
const GROUPS: [(&str, &str, &[&str]); 9] = [
    ("client", "#111827", &["asks", "answers"]),
    ("request on its way", "#64748b", &["Forward"]),
    ("proposal", "#2563eb", &["PrePrepare", "Payload", "Fetch", "Decided"]),
    ("prepare", "#0891b2", &["Prepare"]),
    ("commit", "#15803d", &["Commit"]),
    ("cosignature", "#b45309", &["Cosign", "Stable"]),
    ("view change", "#9333ea", &["ViewChange", "NewView"]),
    ("state transfer, rejoin", "#db2777", TRANSFER),
    ("chatter", "#94a3b8", CHATTER),
];
const TRANSFER: &[&str] = &[
    "AskCertificate",
    "Certificate",
    "AskPage",
    "Page",
    "AskManifest",
    "NoSnapshot",
    "Manifest",
    "AskState",
    "State",
    "RejoinAsk",
    "RejoinReport",
    "RejoinOffer",
];
const CHATTER: &[&str] = &["Status", "Progress"];
const ALARM: &str = "#dc2626";

fn group_of(kind: &str) -> usize {
    GROUPS.iter().position(|(_, _, kinds)| kinds.contains(&kind)).unwrap_or(GROUPS.len() - 1)
}

/// Whose line it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Line {
    Client(usize),
    Machine(Seat),
}

/// Draws a part of a run, as SVG.
#[must_use]
pub fn draw(journal: &Journal, view: &View) -> String {
    let (notes, cut_off) = chosen(journal, view);
    let mut drawing = Drawing::new(journal, &notes);
    for note in &notes {
        drawing.note(note);
    }
    drawing.finish(view, cut_off)
}

/// The notes to draw, and whether there were more.
fn chosen<'a>(journal: &'a Journal, view: &View) -> (Vec<&'a Note>, bool) {
    let (mut notes, mut messages) = (Vec::new(), 0);
    for note in journal.notes.iter().filter(|note| (view.from..=view.until).contains(&note.at)) {
        match &note.what {
            What::Counted { .. } | What::Withheld { .. } => continue,
            What::Sent { message, .. } if !view.chatter && is_chatter(message) => continue,
            What::Sent { .. } => messages += 1,
            _ => {}
        }
        if messages > view.messages_max {
            return (notes, true);
        }
        notes.push(note);
    }
    (notes, false)
}

fn is_chatter(message: &Described) -> bool {
    CHATTER.contains(&message.kind) && !message.rest.contains("suspects")
}

/// Where moments are on the page.
struct Axis {
    places: BTreeMap<Time, f64>,
    breaks: Vec<(f64, Time, Time)>,
    scale: f64,
}

impl Axis {
    fn new(notes: &[&Note]) -> Self {
        let mut moments = BTreeSet::new();
        let mut flights = Vec::new();
        for note in notes {
            moments.insert(note.at);
            if let What::Sent { to, .. } = &note.what {
                for arrival in to.iter().flat_map(|(_, arrivals)| arrivals) {
                    moments.insert(*arrival);
                    flights.push(arrival.since(note.at).as_secs_f64() * 1e3);
                }
            }
        }
        flights.sort_by(f64::total_cmp);
        let usual = flights.get(flights.len() / 2).copied().unwrap_or(1.0).max(0.05);
        let scale = FALL / usual;
        let (mut places, mut breaks, mut y) = (BTreeMap::new(), Vec::new(), TOP);
        let mut last: Option<Time> = None;
        for moment in moments {
            if let Some(last) = last {
                let step = moment.since(last).as_secs_f64() * 1e3 * scale;
                if step > 2.0 * GAP_MAX {
                    breaks.push((y + GAP_MAX / 2.0, last, moment));
                }
                y += if step > 2.0 * GAP_MAX { GAP_MAX } else { step };
            }
            places.insert(moment, y);
            last = Some(moment);
        }
        Self { places, breaks, scale }
    }

    fn y(&self, at: Time) -> f64 {
        self.places.get(&at).copied().unwrap_or(TOP)
    }

    fn end(&self) -> f64 {
        self.places.last_key_value().map_or(TOP, |(_, y)| *y)
    }
}

struct Drawing<'a> {
    journal: &'a Journal,
    axis: Axis,
    lines: Vec<Line>,
    /// From the back to the front.
    ground: String,
    arrows: String,
    marks: String,
    labels: String,
    /// Down to where the text on both sides of a line goes.
    taken: BTreeMap<(Line, bool), f64>,
    /// Since when each machine leads, or is down.
    leads: BTreeMap<Seat, f64>,
    down: BTreeMap<Seat, f64>,
    groups: BTreeSet<usize>,
    last: f64,
}

impl<'a> Drawing<'a> {
    fn new(journal: &'a Journal, notes: &[&Note]) -> Self {
        let clients: BTreeSet<usize> = notes
            .iter()
            .filter_map(|note| match &note.what {
                What::Asked { client, .. } | What::Answered { client, .. } => Some(*client),
                _ => None,
            })
            .collect();
        let seats = (0..u16::try_from(journal.names.len()).unwrap_or(u16::MAX)).map(Seat);
        let lines: Vec<Line> =
            clients.into_iter().map(Line::Client).chain(seats.map(Line::Machine)).collect();
        let axis = Axis::new(notes);
        let last = axis.end();
        let mut drawing = Self {
            journal,
            axis,
            lines,
            ground: String::new(),
            arrows: String::new(),
            marks: String::new(),
            labels: String::new(),
            taken: BTreeMap::new(),
            leads: BTreeMap::new(),
            down: BTreeMap::new(),
            groups: BTreeSet::new(),
            last,
        };
        drawing.before(notes.first().map_or(Time::default(), |note| note.at));
        drawing
    }

    /// Who led, and who was down, when the drawing begins.
    fn before(&mut self, first: Time) {
        let mut known: BTreeMap<Seat, Option<Belief>> = BTreeMap::new();
        for note in self.journal.notes.iter().take_while(|note| note.at < first) {
            if let What::Believes { at, is, .. } = &note.what {
                known.insert(*at, *is);
            }
        }
        for (at, belief) in known {
            match belief {
                None => drop(self.down.insert(at, TOP - 20.0)),
                Some(belief) if self.is_primary(at, &belief) => {
                    self.leads.insert(at, TOP - 20.0);
                }
                Some(_) => {}
            }
        }
    }

    fn is_primary(&self, at: Seat, belief: &Belief) -> bool {
        let name = self.journal.name(at).trim_end_matches('\'').to_owned();
        belief.primary.as_ref().map(ReplicaId::to_string) == Some(name)
    }

    fn x(&self, line: Line) -> f64 {
        let place = self.lines.iter().position(|it| *it == line).unwrap_or(0);
        MARGIN + place as f64 * COLUMN
    }

    fn note(&mut self, note: &Note) {
        let y = self.axis.y(note.at);
        match &note.what {
            What::Sent { from, message, lie, to } => self.sent(y, *from, message, *lie, to),
            What::Believes { at, was, is, .. } => self.believes(y, *at, was.as_ref(), is.as_ref()),
            What::Asked { client, at, request, taken } => {
                let (from, to) = (Line::Client(*client), Line::Machine(*at));
                let words = if *taken { request.clone() } else { format!("{request} (refused)") };
                self.between(y, from, to, &words, "asks");
            }
            What::Answered { client, at, answer, believed } => {
                let (from, to) = (Line::Machine(*at), Line::Client(*client));
                let words = if *believed { answer } else { "not believed" };
                self.between(y, from, to, words, "answers");
            }
            What::Fault(words) => self.across(y, words, "#b91c1c"),
            What::Failed(failure) => self.across(y, &failure.violation.to_string(), ALARM),
            What::Withheld { .. } | What::Counted { .. } => {}
        }
    }

    fn sent(
        &mut self,
        y: f64,
        from: Seat,
        message: &Described,
        lie: bool,
        to: &[(Seat, Vec<Time>)],
    ) {
        let group = group_of(message.kind);
        self.groups.insert(group);
        let (colour, x) = (GROUPS[group].1, self.x(Line::Machine(from)));
        for (to, arrivals) in to {
            let there = self.x(Line::Machine(*to));
            for arrival in arrivals {
                self.arrow((x, y), (there, self.axis.y(*arrival)), group);
            }
            if arrivals.is_empty() {
                self.lost((x, y), there, colour);
            }
        }
        let words = match message.place.is_empty() {
            true => message.kind.to_owned(),
            false => format!("{} {}", message.kind, message.place),
        };
        let (words, colour) =
            if lie { (format!("{words}, a lie"), ALARM) } else { (words, colour) };
        self.label(Line::Machine(from), y, &words, colour);
    }

    fn arrow(&mut self, from: (f64, f64), to: (f64, f64), group: usize) {
        let tip = if to.0 > from.0 { to.0 - 3.0 } else { to.0 + 3.0 };
        let _ = writeln!(
            self.arrows,
            "<line x1='{:.1}' y1='{:.1}' x2='{tip:.1}' y2='{:.1}' class='k{group}' \
             marker-end='url(#a{group})'/>",
            from.0, from.1, to.1
        );
        self.last = self.last.max(to.1);
    }

    /// An arrow that ends on the way, in a cross.
    fn lost(&mut self, (x, y): (f64, f64), there: f64, colour: &str) {
        let (to, down) = (x + (there - x).clamp(-COLUMN, COLUMN) * 0.42, y + FALL * 0.3);
        let _ = writeln!(
            self.arrows,
            "<path d='M{x:.1} {y:.1}L{to:.1} {down:.1}' stroke='{colour}' class='lost'/>\
             <path d='M{:.1} {:.1}l8 8m0 -8l-8 8' stroke='{ALARM}' class='cross'/>",
            to - 4.0,
            down - 4.0
        );
        self.last = self.last.max(down);
    }

    /// A call or its answer, which take no time.
    fn between(&mut self, y: f64, from: Line, to: Line, words: &str, kind: &'static str) {
        let group = group_of(kind);
        self.groups.insert(group);
        let (a, b) = (self.x(from), self.x(to));
        self.arrow((a, y), (b, y), group);
        let client = if matches!(from, Line::Client(_)) { from } else { to };
        self.label(client, y, words, GROUPS[group].1);
    }

    /// What is sent, right of the sender's line, below what stands there already.
    fn label(&mut self, line: Line, y: f64, words: &str, colour: &str) {
        let (x, place) = (self.x(line), self.free(line, true, y));
        let width = words.chars().count() as f64 * LETTER + 10.0;
        let _ = writeln!(
            self.labels,
            "<path d='M{x:.1} {y:.1}L{:.1} {place:.1}' stroke='{colour}' class='lead'/>\
             <rect x='{:.1}' y='{:.1}' width='{width:.1}' height='13' rx='6.5' fill='{colour}'/>\
             <text x='{:.1}' y='{:.1}' class='pill'>{}</text>",
            x + 7.0,
            x + 7.0,
            place - 6.5,
            x + 12.0,
            place + 3.3,
            escaped(words)
        );
    }

    /// The next free place beside a line.
    fn free(&mut self, line: Line, right: bool, y: f64) -> f64 {
        let taken = self.taken.entry((line, right)).or_insert(0.0);
        let place = y.max(*taken);
        *taken = place + LINE;
        self.last = self.last.max(place);
        place
    }

    fn believes(&mut self, y: f64, at: Seat, was: Option<&Belief>, is: Option<&Belief>) {
        let Some(is) = is else {
            self.ends_to_lead(at, y);
            self.down.insert(at, y);
            return self.mark(y, at, &["down".to_owned()], ALARM);
        };
        match (self.leads.contains_key(&at), self.is_primary(at, is)) {
            (false, true) => drop(self.leads.insert(at, y)),
            (true, false) => self.ends_to_lead(at, y),
            _ => {}
        }
        let Some(was) = was else {
            self.comes_up(at, y);
            return self.mark(y, at, &[format!("up, in view {}", is.view)], "#15803d");
        };
        let mut words = Vec::new();
        let mut colour = "#334155";
        if (was.view, was.primary) != (is.view, is.primary) {
            let left = is.primary.is_none();
            words.push(format!("{} view {}", if left { "leaves for" } else { "in" }, is.view));
            colour = "#9333ea";
        }
        if was.executed != is.executed {
            words.push(format!("executed s{}", is.executed));
        } else if was.committed != is.committed {
            words.push(format!("committed s{}", is.committed));
        }
        if was.stable != is.stable {
            words.push(format!("stable s{}", is.stable));
            colour = if words.len() == 1 { "#b45309" } else { colour };
        }
        for (was, is, yes, no) in [
            (was.syncing, is.syncing, "fetches state", "has fetched"),
            (was.votes, is.votes, "may vote", "may not vote"),
        ] {
            if was != is {
                words.push((if is { yes } else { no }).to_owned());
            }
        }
        if !words.is_empty() {
            self.mark(y, at, &words, colour);
        }
    }

    /// A dot on the line, and words left of it.
    fn mark(&mut self, y: f64, at: Seat, words: &[String], colour: &str) {
        let line = Line::Machine(at);
        let x = self.x(line);
        let _ = writeln!(self.marks, "<circle cx='{x:.1}' cy='{y:.1}' r='3.4' fill='{colour}'/>");
        for words in words {
            let place = self.free(line, false, y);
            let _ = writeln!(
                self.labels,
                "<text x='{:.1}' y='{:.1}' class='mark' fill='{colour}'>{}</text>",
                x - 8.0,
                place + 3.3,
                escaped(words)
            );
        }
    }

    fn ends_to_lead(&mut self, at: Seat, y: f64) {
        if let Some(since) = self.leads.remove(&at) {
            let (x, height) = (self.x(Line::Machine(at)) - 3.0, y - since);
            let _ = writeln!(
                self.ground,
                "<rect x='{x:.1}' y='{since:.1}' width='6' height='{height:.1}' class='leads'/>"
            );
        }
    }

    fn comes_up(&mut self, at: Seat, y: f64) {
        if let Some(since) = self.down.remove(&at) {
            let x = self.x(Line::Machine(at));
            let _ = writeln!(
                self.ground,
                "<path d='M{x:.1} {since:.1}V{y:.1}' class='over'/>\
                 <path d='M{x:.1} {since:.1}V{y:.1}' class='down'/>"
            );
        }
    }

    /// Something that happens to all: a line over the whole width.
    fn across(&mut self, y: f64, words: &str, colour: &str) {
        let width = self.width();
        let short: String = words.chars().take(120).collect();
        let place = self.free(Line::Client(usize::MAX), false, y);
        let _ = writeln!(
            self.ground,
            "<path d='M{:.1} {y:.1}H{width:.1}' stroke='{colour}' class='across'/>",
            MARGIN - 60.0
        );
        let _ = writeln!(
            self.labels,
            "<text x='{:.1}' y='{:.1}' class='fault' fill='{colour}'>{}</text>",
            width - 14.0,
            place - 4.0,
            escaped(&short)
        );
    }

    fn width(&self) -> f64 {
        MARGIN + (self.lines.len().max(2) as f64 - 1.0) * COLUMN + 150.0
    }

    fn finish(mut self, view: &View, cut_off: bool) -> String {
        let bottom = self.last + 26.0;
        let seats: Vec<Seat> = self.leads.keys().copied().collect();
        seats.into_iter().for_each(|at| self.ends_to_lead(at, bottom));
        let seats: Vec<Seat> = self.down.keys().copied().collect();
        seats.into_iter().for_each(|at| self.comes_up(at, bottom));
        let (width, height) = (self.width(), bottom + 64.0);
        let mut out = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0} {height:.0}' \
             width='{width:.0}' height='{height:.0}' role='img' aria-label='{}'>\n<style>{STYLE}",
            escaped(&view.title)
        );
        for (place, (_, colour, _)) in GROUPS.iter().enumerate() {
            let _ = write!(out, ".k{place}{{stroke:{colour}}}");
        }
        out.push_str("</style>\n<defs>\n");
        for (place, (_, colour, _)) in GROUPS.iter().enumerate() {
            let _ = writeln!(
                out,
                "<marker id='a{place}' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' \
                 markerHeight='7' orient='auto'><path d='M0 0.8L8 4L0 7.2Z' fill='{colour}'/>\
                 </marker>"
            );
        }
        let _ = writeln!(
            out,
            "</defs>\n<rect width='100%' height='100%' rx='8' fill='#fff'/>\n\
             <text x='24' y='34' class='title'>{}</text>",
            escaped(&view.title)
        );
        self.write_axis(&mut out, bottom);
        self.write_lifelines(&mut out, bottom);
        for layer in [&self.ground, &self.arrows, &self.marks, &self.labels] {
            out.push_str(layer);
        }
        self.write_legend(&mut out, bottom + 34.0, view, cut_off);
        out.push_str("</svg>\n");
        out
    }

    /// Times on the left, not closer than can be read, and where the axis is broken.
    fn write_axis(&self, out: &mut String, bottom: f64) {
        let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3];
        let step = step.iter().copied().find(|step| step * self.axis.scale >= 44.0).unwrap_or(5e3);
        let places: Vec<(f64, f64)> = self
            .axis
            .places
            .iter()
            .map(|(at, y)| (at.since(Time::default()).as_secs_f64() * 1e3, *y))
            .collect();
        for pair in places.windows(2) {
            let [(a, from), (b, to)] = *pair else { continue };
            let is_break = (b - a) * self.axis.scale > 2.0 * GAP_MAX;
            let mut tick = (a / step).ceil() * step;
            while !is_break && tick < b {
                let y = from + (to - from) * (tick - a) / (b - a);
                let text = if step < 1.0 { format!("{tick:.1}") } else { format!("{tick:.0}") };
                let right = self.width() - 14.0;
                let _ = writeln!(
                    out,
                    "<path d='M84 {y:.1}H{right:.1}' class='tick'/>\
                     <text x='76' y='{:.1}' class='time'>{text} ms</text>",
                    y + 3.5
                );
                tick += step;
            }
        }
        for (y, from, to) in &self.axis.breaks {
            let ms = to.since(*from).as_secs_f64() * 1e3;
            let _ = writeln!(
                out,
                "<rect x='0' y='{:.1}' width='100%' height='22' class='break'/>\
                 <text x='76' y='{:.1}' class='later'>{ms:.0} ms later</text>",
                y - 11.0,
                y + 3.5
            );
        }
        let _ = writeln!(out, "<path d='M84 {:.1}V{bottom:.1}' class='tick'/>", TOP - 24.0);
    }

    fn write_lifelines(&self, out: &mut String, bottom: f64) {
        for &line in &self.lines {
            let x = self.x(line);
            let (name, class) = match line {
                Line::Client(number) => (format!("client {number}"), "client"),
                Line::Machine(at) => (self.journal.name(at).to_owned(), "machine"),
            };
            let _ = writeln!(
                out,
                "<path d='M{x:.1} {:.1}V{bottom:.1}' class='life'/>\
                 <rect x='{:.1}' y='56' width='84' height='28' rx='6' class='{class}'/>\
                 <text x='{x:.1}' y='75' class='name'>{}</text>",
                84.0,
                x - 42.0,
                escaped(&name)
            );
        }
    }

    fn write_legend(&self, out: &mut String, y: f64, view: &View, cut_off: bool) {
        let mut x = 24.0;
        for &group in &self.groups {
            let (name, colour, _) = GROUPS[group];
            let _ = writeln!(
                out,
                "<path d='M{x:.1} {y:.1}h22' stroke='{colour}' stroke-width='2.4'/>\
                 <text x='{:.1}' y='{:.1}' class='legend'>{name}</text>",
                x + 28.0,
                y + 3.6
            );
            x += 28.0 + name.len() as f64 * LETTER + 22.0;
        }
        let _ = writeln!(
            out,
            "<rect x='{x:.1}' y='{:.1}' width='22' height='6' class='leads'/>\
             <text x='{:.1}' y='{:.1}' class='legend'>leads</text>",
            y - 3.0,
            x + 28.0,
            y + 3.6
        );
        if cut_off {
            let _ = writeln!(
                out,
                "<text x='24' y='{:.1}' class='legend'>cut off after {} messages</text>",
                y + 20.0,
                view.messages_max
            );
        }
    }
}

const STYLE: &str = "text{font-family:system-ui,'Segoe UI','DejaVu Sans',sans-serif;font-size:11px}\
.title{font-size:17px;font-weight:600;fill:#0f172a}\
.name{font-size:13px;font-weight:600;text-anchor:middle;fill:#0f172a}\
.machine{fill:#e2e8f0;stroke:#94a3b8}.client{fill:#fef3c7;stroke:#d6a945}\
.life{stroke:#cbd5e1;stroke-width:1.4;fill:none}\
.over{stroke:#fff;stroke-width:4}.down{stroke:#dc2626;stroke-width:1.4;stroke-dasharray:2 5}\
.leads{fill:#bfdbfe}\
.tick{stroke:#eef2f6;fill:none}.time{text-anchor:end;fill:#94a3b8;font-size:10px}\
.break{fill:#f8fafc}.later{text-anchor:end;fill:#64748b;font-size:10px;font-style:italic}\
line{stroke-width:1.3;opacity:.85}.lost{stroke-width:1.3;fill:none;stroke-dasharray:4 3}\
.cross{stroke-width:1.8;fill:none}.lead{stroke-width:1;fill:none;opacity:.5}\
.pill{fill:#fff;font-size:10px}.mark{text-anchor:end;font-size:10px;stroke:#fff;\
stroke-width:3px;paint-order:stroke}\
.across{stroke-width:1;fill:none;stroke-dasharray:6 4}.fault{text-anchor:end;font-weight:600}\
.legend{fill:#334155}";

/// As XML wants it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{journal::recorded, scenario::Scenario};

    fn journal(name: &str) -> Journal {
        recorded(Scenario::named(name).unwrap().plan(1, None)).1
    }

    /// Every tag is closed, in order.
    fn is_well_formed(svg: &str) -> bool {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').unwrap();
            match (tag.strip_prefix('/'), tag.ends_with('/')) {
                (Some(name), _) if open.pop() != Some(name) => return false,
                (None, false) => open.push(tag.split([' ', '\n']).next().unwrap()),
                _ => {}
            }
        }
        open.is_empty()
    }

    #[test]
    fn every_scenario_can_be_drawn() {
        for scenario in Scenario::ALL {
            let svg = draw(&journal(scenario.name), &View::new("a <run> & more"));
            assert!(is_well_formed(&svg), "{}", scenario.name);
            assert!(svg.contains("a &lt;run&gt; &amp; more"));
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", scenario.name);
        }
    }

    #[test]
    fn a_drawing_shows_what_happened_and_no_more_than_asked_for() {
        let journal = journal("view-change");
        let all = draw(&journal, &View::new("all"));
        for part in ["PrePrepare v0 s1", "Commit v0 s1", "NewView v1", "in view 1", "crash: r0"] {
            assert!(all.contains(part), "{part}");
        }
        assert!(!all.contains("Progress"));
        assert!(draw(&journal, &View { chatter: true, ..View::new("all") }).contains("Progress"));
        let few = draw(&journal, &View { messages_max: 5, ..View::new("few") });
        assert!(few.contains("cut off after 5 messages") && !few.contains("NewView"));
        let until = View { until: Time(300_000_000), ..View::new("first") };
        assert!(!draw(&journal, &until).contains("crash"));
    }
}
