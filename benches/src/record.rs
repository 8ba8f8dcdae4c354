//! What a comparison has found out, a line each, as it is written down while it runs and read again: a comparison that was
//! interrupted goes on, and a report can be made anew without measuring.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::process_cost::Cpu;
use crate::slice::{QUANTILES, Sample};

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Something about the machine or a version: what, and its value.
    About(String, String),
    /// A server that takes no part, and why.
    LeftOut(String, String),
    /// A slice.
    Slice(Key, usize, Sample),
    /// User instructions per request.
    Instructions(Key, f64),
    /// System calls per request.
    Syscalls(Key, f64),
    /// The head of an answer: its length, and the names of its fields.
    Head(Key, usize, String),
    /// A scenario that has all its slices.
    Done(String),
}

/// Which server in which scenario.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The scenario's name.
    pub scenario: String,
    /// The server's.
    pub server: String,
}

impl Key {
    /// The key of these names.
    pub fn new(scenario: &str, server: &str) -> Key {
        Key { scenario: scenario.to_string(), server: server.to_string() }
    }
}

/// A line that is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no record")]
pub struct NoRecord;

/// Words and numbers separated by tabs; what kind it is comes first.
impl fmt::Display for Record {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Record::About(what, value) => write!(to, "about\t{what}\t{value}"),
            Record::LeftOut(server, why) => {
                write!(to, "left-out\t{server}\t{}", why.replace(['\t', '\n'], " "))
            }
            Record::Slice(Key { scenario, server }, round, sample) => {
                write!(to, "slice\t{scenario}\t{server}\t{round}")?;
                write!(to, "\t{}\t{}\t{}", sample.answers, sample.failures, sample.seconds)?;
                for cpu in [sample.server, sample.load] {
                    write!(to, "\t{}\t{}\t{}", cpu.ran.as_nanos(), cpu.waited.as_nanos(), cpu.threads)?;
                }
                write!(to, "\t{}", sample.peak_rss_bytes)?;
                sample.latency.iter().try_for_each(|micros| write!(to, "\t{micros}"))
            }
            Record::Instructions(Key { scenario, server }, count) => {
                write!(to, "instructions\t{scenario}\t{server}\t{count}")
            }
            Record::Syscalls(Key { scenario, server }, count) => {
                write!(to, "syscalls\t{scenario}\t{server}\t{count}")
            }
            Record::Head(Key { scenario, server }, bytes, fields) => {
                write!(to, "head\t{scenario}\t{server}\t{bytes}\t{fields}")
            }
            Record::Done(scenario) => write!(to, "done\t{scenario}"),
        }
    }
}

impl FromStr for Record {
    type Err = NoRecord;

    fn from_str(line: &str) -> Result<Record, NoRecord> {
        Words(line.split('\t')).record().ok_or(NoRecord)
    }
}

struct Words<'a>(std::str::Split<'a, char>);

impl Words<'_> {
    fn record(&mut self) -> Option<Record> {
        let record = match self.0.next()? {
            "about" => Record::About(self.word()?, self.word()?),
            "left-out" => Record::LeftOut(self.word()?, self.word()?),
            "slice" => Record::Slice(self.key()?, self.number()?, self.sample()?),
            "instructions" => Record::Instructions(self.key()?, self.number()?),
            "syscalls" => Record::Syscalls(self.key()?, self.number()?),
            "head" => Record::Head(self.key()?, self.number()?, self.word()?),
            "done" => Record::Done(self.word()?),
            _ => return None,
        };
        self.0.next().is_none().then_some(record)
    }

    fn sample(&mut self) -> Option<Sample> {
        Some(Sample {
            answers: self.number()?,
            failures: self.number()?,
            seconds: self.number()?,
            server: self.cpu()?,
            load: self.cpu()?,
            peak_rss_bytes: self.number()?,
            latency: {
                let mut latency = [0.0; QUANTILES.len()];
                for micros in &mut latency {
                    *micros = self.number()?;
                }
                latency
            },
        })
    }

    fn cpu(&mut self) -> Option<Cpu> {
        let (ran, waited) = (Duration::from_nanos(self.number()?), Duration::from_nanos(self.number()?));
        Some(Cpu { ran, waited, threads: self.number()? })
    }

    fn key(&mut self) -> Option<Key> {
        Some(Key { scenario: self.word()?, server: self.word()? })
    }

    fn number<T: FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    fn word(&mut self) -> Option<String> {
        self.0.next().map(str::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<Record> {
        let key = || Key::new("plaintext-64", "hyper");
        let cpu = |ran| Cpu { ran: Duration::from_nanos(ran), waited: Duration::from_nanos(7), threads: 2 };
        let sample = Sample {
            answers: 10,
            failures: 1,
            seconds: 0.333_125,
            server: cpu(12_345),
            load: cpu(9),
            peak_rss_bytes: 1 << 20,
            latency: [1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.25],
        };
        vec![
            Record::About("kernel".to_string(), "Linux 6.1".to_string()),
            Record::LeftOut("ntex".to_string(), "error: no".to_string()),
            Record::Slice(key(), 3, sample),
            Record::Instructions(key(), 8031.5),
            Record::Syscalls(key(), 2.03),
            Record::Head(key(), 113, "content-length date".to_string()),
            Record::Done("plaintext-64".to_string()),
        ]
    }

    #[test]
    fn what_is_written_is_read_again() {
        for record in every_kind() {
            assert_eq!(record.to_string().parse(), Ok(record));
        }
    }

    #[test]
    fn a_line_that_was_cut_short_or_goes_on_is_no_record() {
        for record in every_kind() {
            let line = record.to_string();
            let cut = line.rsplit_once('\t').unwrap().0;
            for bad in [cut.to_string(), format!("{line}\tmore")] {
                assert_eq!(bad.parse::<Record>(), Err(NoRecord), "{bad}");
            }
        }
        assert_eq!("".parse::<Record>(), Err(NoRecord));
    }

    #[test]
    fn a_reason_of_several_lines_stays_one_line() {
        let record = Record::LeftOut("may".to_string(), "first\nsecond\tthird".to_string());
        assert_eq!(record.to_string(), "left-out\tmay\tfirst second third");
    }
}
