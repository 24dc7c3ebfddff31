//! Runs a trace on a subject, the library or the oracle, and compares every answer.

use std::collections::HashMap;

use super::trace::{Expected, Op, Settings, Step, Trace};

/// What a subject answered, or an event, in the words of the format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub word: String,
    /// The subject's own number for the handle.
    pub handle: Option<u64>,
    pub fields: Vec<(&'static str, String)>,
    pub events: Vec<Answer>,
}

impl Answer {
    pub fn new(word: impl Into<String>) -> Answer {
        Answer { word: word.into(), ..Answer::default() }
    }

    pub fn ok() -> Answer {
        Answer::new("ok")
    }

    /// An error by the name of its case, in the spelling of the format: the library and the oracle use the same names.
    pub fn refused(error: impl std::fmt::Debug) -> Answer {
        let mut name = String::new();
        for c in format!("{error:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        Answer::new(format!("error:{name}"))
    }

    pub fn with(mut self, key: &'static str, value: impl ToString) -> Answer {
        self.fields.push((key, value.to_string()));
        self
    }

    pub fn of(self, handle: u64) -> Answer {
        Answer { handle: Some(handle), ..self }
    }

    pub fn telling(self, events: Vec<Answer>) -> Answer {
        Answer { events, ..self }
    }
}

/// What a trace calls the handles, and what the subject does.
#[derive(Clone, Debug, Default)]
pub struct Names {
    handles: HashMap<String, u64>,
    names: HashMap<u64, String>,
}

impl Names {
    /// The subject's number of a handle that the runner found to be bound.
    pub fn handle(&self, name: &str) -> u64 {
        self.handles[name]
    }

    pub fn name(&self, handle: u64) -> Option<&str> {
        self.names.get(&handle).map(String::as_str)
    }

    /// Gives a handle its name; no handle has two, and no name stands for two.
    pub fn bind(&mut self, name: &str, handle: u64) -> Result<(), String> {
        if let Some(other) = self.names.get(&handle) {
            return Err(format!("handle: the subject gave out that of {other} again"));
        }
        if self.handles.insert(name.into(), handle).is_some() {
            return Err(format!("{name} names two handles"));
        }
        self.names.insert(handle, name.into());
        Ok(())
    }

    fn check(&mut self, name: &str, handle: Option<u64>, binds: bool) -> Result<(), String> {
        let handle = handle.ok_or("handle: there is none")?;
        match self.name(handle) {
            Some(known) if known == name && !binds => Ok(()),
            Some(known) => Err(format!("handle: expected {name}, got {known}")),
            None if binds => self.bind(name, handle),
            None => Err(format!("handle: expected {name}, got one without a name")),
        }
    }
}

/// An implementation of the rules.
pub trait Subject: Sized {
    /// What of [`FEATURES`](super::trace::FEATURES) it has.
    const FEATURES: &'static [&'static str];

    /// Opens a wheel.
    fn open(settings: &Settings) -> Result<Self, Answer>;

    /// Performs one operation, any but `open`.
    fn perform(&mut self, op: &Op, names: &Names) -> Answer;
}

/// How a trace ended that does not contradict the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    Passed,
    /// The subject lacks a feature.
    Skipped,
}

/// Runs one trace; the error names file and line of the first difference.
pub fn run<S: Subject>(trace: &Trace, features: &[&str]) -> Result<Ran, String> {
    if trace.needs.iter().any(|needed| !features.contains(&needed.as_str())) {
        return Ok(Ran::Skipped);
    }
    let at = |line: usize| move |wrong: String| format!("{}:{line}: {wrong}", trace.name);
    let mut names = Names::default();
    let (opened, rest) = match trace.steps.split_first() {
        Some((first, rest)) if first.op == Op::Open => (Some(first), rest),
        _ => (None, &trace.steps[..]),
    };
    let subject = S::open(&trace.settings);
    if let Some(step) = opened {
        let answer = subject.as_ref().map_or_else(Answer::clone, |_| Answer::ok());
        compare(step, &answer, &mut names).map_err(|(line, wrong)| at(line)(wrong))?;
    }
    let mut subject = match subject {
        Ok(subject) => subject,
        Err(_) if opened.is_some() && rest.is_empty() => return Ok(Ran::Passed),
        Err(answer) => return Err(at(trace.steps[0].answer.line)(format!("open: {}", answer.word))),
    };
    for step in rest {
        if let Some(unknown) = handle_of(&step.op).filter(|name| !names.handles.contains_key(*name)) {
            return Err(at(step.answer.line)(format!("{unknown} was not bound")));
        }
        let answer = subject.perform(&step.op, &names);
        compare(step, &answer, &mut names).map_err(|(line, wrong)| at(line)(wrong))?;
    }
    Ok(Ran::Passed)
}

fn handle_of(op: &Op) -> Option<&str> {
    match op {
        Op::Renew { handle, .. } | Op::LeaveHandle { handle } | Op::Inspect { handle } | Op::Settle { handle, .. } => {
            Some(handle)
        }
        _ => None,
    }
}

type Difference = (usize, String);

fn compare(step: &Step, answer: &Answer, names: &mut Names) -> Result<(), Difference> {
    let line = step.answer.line;
    let found = match &step.op {
        // After a restart nobody knows the handles; a look-up is how they get their names.
        Op::Find { .. } => step.answer.field("handle").is_some_and(|name| !names.handles.contains_key(name)),
        _ => false,
    };
    check(&step.answer, answer, step.answer.word == "registered" || found, names).map_err(|wrong| (line, wrong))?;
    let mut left: Vec<&Answer> = answer.events.iter().collect();
    for expected in &step.events {
        let name = expected.field("handle");
        let same = |event: &&Answer| {
            event.word == expected.word && event.handle.is_some_and(|handle| names.name(handle) == name)
        };
        let event = left.iter().position(same).map(|at| left.remove(at));
        let event = event.ok_or_else(|| {
            let came: Vec<String> = left.iter().map(|event| told(event, names)).collect();
            (expected.line, format!("no event {} of {}, but {came:?}", expected.word, name.unwrap_or("?")))
        })?;
        check(expected, event, false, names).map_err(|wrong| (expected.line, wrong))?;
    }
    match left.first() {
        Some(event) => Err((line, format!("an event that was not expected: {}", told(event, names)))),
        None => Ok(()),
    }
}

fn told(event: &Answer, names: &Names) -> String {
    let name = event.handle.and_then(|handle| names.name(handle)).unwrap_or("?");
    let fields: Vec<String> = event.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{} handle={name} {}", event.word, fields.join(" "))
}

/// Compares the word and the fields that are mentioned. `binds`: the handle is new, and gets the name.
fn check(expected: &Expected, answer: &Answer, binds: bool, names: &mut Names) -> Result<(), String> {
    if expected.word != answer.word {
        return Err(format!("expected {}, got {}", expected.word, told(answer, names)));
    }
    for (key, value) in &expected.fields {
        if key == "handle" {
            names.check(value, answer.handle, binds)?;
            continue;
        }
        match answer.fields.iter().find(|(known, _)| known == key) {
            None => return Err(format!("{} has no field {key}", answer.word)),
            Some((_, got)) if got != value => return Err(format!("{key}: expected {value}, got {got}")),
            Some(_) => {}
        }
    }
    Ok(())
}
