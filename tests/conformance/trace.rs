//! Traces as text: reading them, and writing what the generator made. The format is described in README.md; this file
//! accepts nothing beyond it.

use std::fmt::{self, Write as _};

/// The version of the format that this file reads and writes.
pub const VERSION: &str = "1";

/// The longest line in bytes, so that readers in C need no growing buffer.
pub const LONGEST_LINE: usize = 4095;

/// What a runner may lack.
pub const FEATURES: [&str; 6] = ["guards", "queue", "callback", "clock", "snapshot", "replace"];

/// All settings, with their values in a trace that does not set them, and the feature that a value other than that needs.
pub const SETTINGS: [(&str, u64, Option<&str>); 16] = [
    ("host_ttl_ms", 3_600_000, None),
    ("grace_ms", 15_000, None),
    ("min_interval_ms", 1000, None),
    ("max_interval_ms", 2_073_600_000, None),
    ("watchdog_ms", 0, None),
    ("backstop_ms", 300_000, None),
    ("settle_timeout_ms", 60_000, None),
    ("max_hosts", 4096, None),
    ("max_outstanding", 4096, None),
    ("silence_expected", 0, Some("guards")),
    ("brake_burst_permille", 0, Some("guards")),
    ("brake_burst_min", 0, Some("guards")),
    ("brake_refill_permille", 0, Some("guards")),
    ("brake_refill_min", 0, Some("guards")),
    ("callback", 0, Some("callback")),
    ("own_clock", 0, Some("clock")),
];

/// The settings of one trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings([u64; SETTINGS.len()]);

impl Default for Settings {
    fn default() -> Settings {
        Settings(SETTINGS.map(|(_, value, _)| value))
    }
}

impl Settings {
    fn place(name: &str) -> Option<usize> {
        SETTINGS.iter().position(|(known, ..)| *known == name)
    }

    pub fn get(&self, name: &str) -> u64 {
        self.0[Self::place(name).expect("the runners ask for settings of the table")]
    }

    pub fn set(&mut self, name: &str, value: u64) -> Result<(), String> {
        self.0[Self::place(name).ok_or_else(|| format!("there is no setting {name}"))?] = value;
        Ok(())
    }

    /// Those that the trace changes.
    pub fn changed(&self) -> impl Iterator<Item = (&'static str, u64, Option<&'static str>)> {
        let all = SETTINGS.into_iter().zip(self.0);
        all.filter(|((_, usual, _), value)| usual != value).map(|((name, _, feature), value)| (name, value, feature))
    }
}

/// An operation. Handles are named: what stands for them differs between implementations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Open,
    Announce {
        id: Vec<u8>,
        interval_ms: u64,
        age_ms: u64,
        data: u64,
    },
    Renew {
        handle: String,
        age_ms: u64,
    },
    Replace {
        id: Vec<u8>,
        interval_ms: u64,
        data: u64,
    },
    Leave {
        id: Vec<u8>,
    },
    LeaveHandle {
        handle: String,
    },
    Find {
        id: Vec<u8>,
    },
    Inspect {
        handle: String,
    },
    /// Moves the clock, and drains until nothing more comes.
    Advance {
        to_ms: u64,
    },
    /// Moves the clock and leaves the events in the queue.
    AdvanceUndrained {
        to_ms: u64,
    },
    Drain,
    Settle {
        handle: String,
        attempt: u32,
        /// `None`: done.
        retry_ms: Option<u64>,
    },
    Stats,
    Release,
    Close,
    /// A snapshot, and another wheel with the same settings that restores it.
    Restart,
}

impl Op {
    pub fn name(&self) -> &'static str {
        match self {
            Op::Open => "open",
            Op::Announce { .. } => "announce",
            Op::Renew { .. } => "renew",
            Op::Replace { .. } => "replace",
            Op::Leave { .. } => "leave",
            Op::LeaveHandle { .. } => "leave_handle",
            Op::Find { .. } => "find",
            Op::Inspect { .. } => "inspect",
            Op::Advance { .. } => "advance",
            Op::AdvanceUndrained { .. } => "advance_undrained",
            Op::Drain => "drain",
            Op::Settle { .. } => "settle",
            Op::Stats => "stats",
            Op::Release => "release",
            Op::Close => "close",
            Op::Restart => "restart",
        }
    }

    /// The feature without which a runner does not have the operation.
    fn feature(&self) -> Option<&'static str> {
        match self {
            Op::AdvanceUndrained { .. } | Op::Drain => Some("queue"),
            Op::Release => Some("guards"),
            Op::Restart => Some("snapshot"),
            Op::Replace { .. } => Some("replace"),
            _ => None,
        }
    }

    fn parse(words: &[&str]) -> Result<Op, String> {
        let [name, args @ ..] = words else { return Err("an operation is missing before ->".into()) };
        let mut args = Args(args.iter().map(|arg| pair(arg)).collect::<Result<_, _>>()?);
        let op = match *name {
            "open" => Op::Open,
            "announce" => Op::Announce {
                id: args.id()?,
                interval_ms: args.number("interval")?,
                age_ms: args.number_or("age", 0)?,
                data: args.number_or("data", 0)?,
            },
            "renew" => Op::Renew { handle: args.text("handle")?, age_ms: args.number_or("age", 0)? },
            "replace" => {
                Op::Replace { id: args.id()?, interval_ms: args.number("interval")?, data: args.number_or("data", 0)? }
            }
            "leave" => Op::Leave { id: args.id()? },
            "leave_handle" => Op::LeaveHandle { handle: args.text("handle")? },
            "find" => Op::Find { id: args.id()? },
            "inspect" => Op::Inspect { handle: args.text("handle")? },
            "advance" => Op::Advance { to_ms: args.number("to")? },
            "advance_undrained" => Op::AdvanceUndrained { to_ms: args.number("to")? },
            "drain" => Op::Drain,
            "settle" => Op::Settle {
                handle: args.text("handle")?,
                attempt: args.number("attempt")?.try_into().map_err(|_| "an attempt has 32 bits")?,
                retry_ms: args.take("retry").map(|ms| number(&ms)).transpose()?,
            },
            "stats" => Op::Stats,
            "release" => Op::Release,
            "close" => Op::Close,
            "restart" => Op::Restart,
            other => return Err(format!("there is no operation {other}")),
        };
        match args.0.first() {
            Some((key, _)) => Err(format!("{name} has no argument {key}")),
            None => Ok(op),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Op::Announce { id, interval_ms, age_ms, data } => {
                write!(f, " id={} interval={interval_ms} age={age_ms} data={data}", hex(id))
            }
            Op::Renew { handle, age_ms } => write!(f, " handle={handle} age={age_ms}"),
            Op::Replace { id, interval_ms, data } => {
                write!(f, " id={} interval={interval_ms} data={data}", hex(id))
            }
            Op::Leave { id } | Op::Find { id } => write!(f, " id={}", hex(id)),
            Op::LeaveHandle { handle } | Op::Inspect { handle } => write!(f, " handle={handle}"),
            Op::Advance { to_ms } | Op::AdvanceUndrained { to_ms } => write!(f, " to={to_ms}"),
            Op::Settle { handle, attempt, retry_ms } => {
                write!(f, " handle={handle} attempt={attempt}")?;
                retry_ms.map_or(Ok(()), |ms| write!(f, " retry={ms}"))
            }
            Op::Open | Op::Drain | Op::Stats | Op::Release | Op::Close | Op::Restart => Ok(()),
        }
    }
}

/// What a line expects: a word, and the values of those fields that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The line in the file, from 1.
    pub line: usize,
    pub word: String,
    pub fields: Vec<(String, String)>,
}

impl Expected {
    fn parse(line: usize, words: &[&str]) -> Result<Expected, String> {
        let [word, fields @ ..] = words else { return Err("an answer is missing".into()) };
        let fields = fields.iter().map(|field| pair(field)).collect::<Result<_, _>>()?;
        Ok(Expected { line, word: (*word).into(), fields })
    }

    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// An operation, its answer, and the events that come with it, as a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub op: Op,
    pub answer: Expected,
    pub events: Vec<Expected>,
}

/// A whole trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The file, as failures name it.
    pub name: String,
    pub needs: Vec<String>,
    pub settings: Settings,
    pub steps: Vec<Step>,
}

impl Trace {
    /// Reads a trace; the error names file and line.
    pub fn parse(name: &str, text: &str) -> Result<Trace, String> {
        let mut trace = Trace::new(name);
        let mut headed = false;
        for (at, text) in text.lines().enumerate() {
            let words: Vec<&str> = text.split_ascii_whitespace().take_while(|word| !word.starts_with('#')).collect();
            if text.len() > LONGEST_LINE {
                return Err(format!("{name}:{}: longer than {LONGEST_LINE} bytes", at + 1));
            }
            if !words.is_empty() {
                trace.add(at + 1, &words, &mut headed).map_err(|wrong| format!("{name}:{}: {wrong}", at + 1))?;
            }
        }
        if trace.steps.is_empty() {
            return Err(format!("{name}: there is no operation"));
        }
        Ok(trace)
    }

    pub fn new(name: &str) -> Trace {
        Trace { name: name.into(), needs: Vec::new(), settings: Settings::default(), steps: Vec::new() }
    }

    fn add(&mut self, line: usize, words: &[&str], headed: &mut bool) -> Result<(), String> {
        if !std::mem::replace(headed, true) {
            return match words {
                ["hostwheel-trace", VERSION] => Ok(()),
                _ => Err(format!("a trace begins with: hostwheel-trace {VERSION}")),
            };
        }
        match words {
            ["needs" | "config", ..] if !self.steps.is_empty() => Err("comes before the first operation".into()),
            ["needs", features @ ..] => {
                self.needs.extend(features.iter().map(|feature| (*feature).to_owned()));
                Ok(())
            }
            ["config", settings @ ..] => settings.iter().try_for_each(|setting| {
                let (name, value) = pair(setting)?;
                self.settings.set(&name, number(&value)?)?;
                self.must_need(SETTINGS[Settings::place(&name).expect("just set")].2)
            }),
            ["event", rest @ ..] => {
                let event = Expected::parse(line, rest)?;
                event.field("handle").ok_or("an event names its handle")?;
                self.steps.last_mut().ok_or("an event follows an operation")?.events.push(event);
                Ok(())
            }
            _ => {
                let arrow = words.iter().position(|word| *word == "->").ok_or("there is no ->")?;
                let op = Op::parse(&words[..arrow])?;
                self.must_need(op.feature())?;
                let answer = Expected::parse(line, &words[arrow + 1..])?;
                self.steps.push(Step { op, answer, events: Vec::new() });
                Ok(())
            }
        }
    }

    fn must_need(&self, feature: Option<&str>) -> Result<(), String> {
        match feature {
            Some(feature) if !self.needs.iter().any(|needed| needed == feature) => {
                Err(format!("is allowed after: needs {feature}"))
            }
            _ => Ok(()),
        }
    }
}

/// As [`Trace::parse`] reads it.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "hostwheel-trace {VERSION}")?;
        if !self.needs.is_empty() {
            writeln!(f, "needs {}", self.needs.join(" "))?;
        }
        for (name, value, _) in self.settings.changed() {
            writeln!(f, "config {name}={value}")?;
        }
        let fields = |expected: &Expected| {
            expected.fields.iter().fold(expected.word.clone(), |mut text, (key, value)| {
                write!(text, " {key}={value}").expect("a string takes all");
                text
            })
        };
        for step in &self.steps {
            writeln!(f, "{} -> {}", step.op, fields(&step.answer))?;
            step.events.iter().try_for_each(|event| writeln!(f, "  event {}", fields(event)))?;
        }
        Ok(())
    }
}

/// The arguments of an operation that were not used yet.
struct Args(Vec<(String, String)>);

impl Args {
    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(at).1)
    }

    fn text(&mut self, key: &str) -> Result<String, String> {
        self.take(key).ok_or_else(|| format!("{key}= is missing"))
    }

    fn number(&mut self, key: &str) -> Result<u64, String> {
        number(&self.text(key)?)
    }

    fn number_or(&mut self, key: &str, usual: u64) -> Result<u64, String> {
        self.take(key).map_or(Ok(usual), |value| number(&value))
    }

    fn id(&mut self) -> Result<Vec<u8>, String> {
        bytes(&self.text("id")?)
    }
}

fn pair(word: &str) -> Result<(String, String), String> {
    let (key, value) = word.split_once('=').ok_or_else(|| format!("{word} is not of the form key=value"))?;
    Ok((key.into(), value.into()))
}

fn number(text: &str) -> Result<u64, String> {
    // As it would be written: so that texts can be compared in place of numbers.
    text.parse().ok().filter(|n: &u64| n.to_string() == text).ok_or_else(|| format!("{text} is not a number"))
}

/// An id as it stands in traces.
pub fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if !digits || !text.len().is_multiple_of(2) {
        return Err(format!("{text} is not an id in lower-case hex"));
    }
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|e| e.to_string());
    (0..text.len()).step_by(2).map(byte).collect()
}
